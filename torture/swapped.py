"""Files that are whole, of columns and variables of any type and with odd values: what can be read in chunks is read alike in both ways."""

from __future__ import annotations

import io as streams
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from torture.seeds import MODES, NAME, VALUE, Seed, saved

ROWS = 6
TEXTS = ["a", "b", "", "NA", "nan", "None", "1", "01", "1.0", "-1", "0", "2", "1e3", "inf", "1e999", " 1", "1_0", "0x1", "true", "ä"]
TOKENS = ["1", "2", "3", "0", "-1", "1.0", "1.5", "1e0", "nan", "NaN", "-nan", "inf", "1e999", "NA", "", "#", "x", "2147483648", "9" * 20]


def swapped(suffix: str, count: int, seed: int) -> Iterator[Seed]:
    """`count` such files with `suffix`, always the same for the same `seed`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield _MAKERS[suffix](rng)


def suffixes() -> tuple[str, ...]:
    return tuple(_MAKERS)


def _csv(rng: np.random.Generator) -> Seed:
    def cell(texts: list[str]) -> str:
        return rng.choice(TEXTS) if rng.random() < 0.1 else rng.choice(texts)

    few = [list(rng.choice(TEXTS, 3)), list(rng.choice(TEXTS, 3)), ["0.5", "2", "", "-1e3", "7"]]
    lines = [",".join((*MODES, VALUE)), *(",".join(map(cell, few)) for _ in range(rng.integers(1, ROWS + 1)))]
    return {f"{NAME}.csv": "\n".join(lines).encode()}


def _tns(rng: np.random.Generator) -> Seed:
    width, lines = rng.integers(2, 5), []
    for _ in range(rng.integers(1, ROWS + 1)):
        tokens = [str(rng.integers(1, 5)) for _ in range(width)]
        for at in range(width):
            if rng.random() < 0.06:
                tokens[at] = rng.choice(TOKENS)
        lines.append(" ".join(tokens))
    first = rng.choice(["", "# index_base: 0\n", "# index_base: 1\n", "# text\n", "\n"])
    return {f"{NAME}.tns": (first + "\n".join(lines)).encode()}


def _columns() -> dict[str, Any]:
    """Arrays of as many types as pyarrow has use for here."""
    import datetime
    import decimal

    import pyarrow as pa

    texts = ["a", "b", "a", "c", "1", ""]
    return {
        "texts": texts,
        "with none": ["a", None, "b", "c", "a", "b"],
        "all none": pa.nulls(ROWS),
        "categories": pa.array(texts).dictionary_encode(),
        "bools": [True, False, True, False, True, False],
        "bytes": pa.array([b"a", b"b", b"\xff", b"", b"a", b"b"]),
        "decimals": [decimal.Decimal(f"{n}.5") for n in range(ROWS)],
        "dates": [datetime.date(2020, 1, 1 + n % 3) for n in range(ROWS)],
        "times": pa.array([datetime.datetime(2020, 1, 1 + n % 4) for n in range(ROWS)], pa.timestamp("us", "UTC")),
        "seconds": pa.array([0, 1, 2, 0, 1, 2], pa.timestamp("s")),
        "spans": pa.array([0, 1, 2, 0, 1, 2], pa.duration("ms")),
        "hours": pa.array([0, 1, 2, 0, 1, 2], pa.time32("s")),
        "lists": [[1], [2], [], [1], [2], []],
        "structs": [{"a": n} for n in range(ROWS)],
        "numbers": [0, 1, 2, 3, 4, 5],
        "negative": pa.array([-1, 0, 1, -1, 0, 1], pa.int8()),
        "huge": pa.array([2**64 - 1, 2**63, 1, 2, 3, 4], pa.uint64()),
        "large": [2**53 + 1, 2**53, 1, 2, 3, 4],
        "far": [10**12, 5, 10**9, 5, 10**12, 10**9],
        "floats": [0.5, 1.0, 2.0, 1.0, 0.5, 2.0],
        "single": pa.array([0.1, 1.0, 2.0, 1.0, 0.1, 2.0], pa.float32()),
        "half": pa.array(np.array([0.5, 1, 2, 1, 0.5, 2], np.float16)),
        "with nan": [0.5, float("nan"), 2.0, 1.0, 0.5, 2.0],
        "with inf": [0.5, float("inf"), 2.0, 1.0, 0.5, 2.0],
        "nullable": pa.array([1, None, 2, 3, None, 4]),
        "nullable bools": pa.array([True, None, False, True, None, False]),
    }


def _parquet(rng: np.random.Generator) -> Seed:
    import pyarrow as pa
    from pyarrow import parquet

    bag = _columns()
    likely = {MODES[0]: "texts", MODES[1]: "numbers", VALUE: "floats"}
    drawn = {name: bag[known if rng.random() < 0.4 else rng.choice(list(bag))] for name, known in likely.items()}
    stream = streams.BytesIO()
    parquet.write_table(pa.table(drawn), stream, row_group_size=int(rng.integers(1, ROWS + 1)))
    return {f"{NAME}.parquet": stream.getvalue()}


def _dataset(rng: np.random.Generator) -> Any:
    import xarray as xr

    shape = (3, 2)
    values: list[np.ndarray] = [
        rng.normal(size=shape),
        np.where(rng.random(shape) < 0.4, np.nan, 1.0),
        np.full(shape, np.nan),
        np.array([[1.0, np.inf], [2.0, 3.0], [4.0, 5.0]]),
        np.array([[1.0, 9.969209968386869e36], [2.0, 3.0], [4.0, 5.0]]),
        rng.normal(size=shape).astype(np.float32),
        np.arange(6, dtype=np.int16).reshape(shape),
        np.array([[2**53 + 1, 1], [2, 3], [4, 5]]),
        rng.random(shape) < 0.5,
        np.array([["a", "b"]] * 3),
        np.arange(6).astype("datetime64[D]").astype("datetime64[ns]").reshape(shape),
    ]
    days = np.arange(3).astype("datetime64[ns]")
    labels = [np.array(["b", "a", "ä"]), np.arange(3) * 0.5, np.array([7, 7, 9]), days, np.array([1, np.nan, 3])]
    fields: dict[str, Any] = {VALUE: (MODES, values[rng.integers(len(values))])}
    if rng.random() < 0.2:
        fields["other"] = (MODES, np.ones(shape)) if rng.random() < 0.5 else (MODES[:1], np.ones(shape[0]))
    data = xr.Dataset(fields, coords={MODES[0]: labels[rng.integers(len(labels))]} if rng.random() < 0.7 else {})
    if rng.random() < 0.3 and data[VALUE].dtype.kind == "f":
        data[VALUE].attrs["units"] = str(rng.choice(["mm", "days since 2000-01-01", "seconds"]))
    return data.transpose(*reversed(MODES)) if rng.random() < 0.3 else data


def _netcdf(rng: np.random.Generator) -> Seed:
    data, stream = _dataset(rng), streams.BytesIO()
    data.to_netcdf(stream, engine="h5netcdf", encoding={VALUE: {"_FillValue": None}} if data[VALUE].dtype.kind == "f" else {})
    return {f"{NAME}.nc": stream.getvalue()}


def _zarr(rng: np.random.Generator) -> Seed:
    data = _dataset(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr, on texts
        return saved(f"{NAME}.zarr", lambda path: data.to_zarr(path, zarr_format=int(rng.integers(2, 4))))


_MAKERS = {".csv": _csv, ".tns": _tns, ".parquet": _parquet, ".nc": _netcdf, ".zarr": _zarr}
