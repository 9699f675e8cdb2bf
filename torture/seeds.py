"""Small valid files of every format that rankless reads, for fuzzing to start from.

A seed is a dictionary from file names to bytes: one file, or a folder with its files for a format that is one.
"""

from __future__ import annotations

import io as streams
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankless import CPTensor, Observations, complete, io
from rankless.large import LargeCompletion
from rankless.units.effects import MainEffects
from torture.zoo import archive

Seed = dict[str, bytes]

MODES, VALUE = ("site", "day"), "rain"
NAME = "seed"
MODEL = ".model.npz"  # what rankless.large saves


def suffixes() -> tuple[str, ...]:
    """Every suffix that rankless reads."""
    return tuple(io.FORMATS)


def targets() -> tuple[str, ...]:
    """All that is fuzzed: what has one of the suffixes, and models."""
    return (*suffixes(), MODEL)


def roles(suffix: str) -> list[dict[str, Any]]:
    """The options to read a seed with, by turns."""
    named = {"modes": MODES, "value": VALUE}
    if suffix in (".csv", ".parquet"):
        return [named]
    if suffix == MODEL:
        return [{}]
    return [{}, {"modes": MODES}, named, *([{"absent": "missing"}] if suffix == ".mat" else [])]


@cache
def seeds(suffix: str) -> tuple[Seed, ...]:
    """Valid files with that suffix: by hand where there is a maker below, and as rankless writes it."""
    made = _MAKERS.get(suffix, lambda: ())()
    if suffix == MODEL:
        return tuple({f"{NAME}{suffix}": content} for content in made)
    try:
        own = (saved(f"{NAME}{suffix}", lambda path: io.write(path, _constant())),)
    except ValueError:  # read only
        own = ()
    return (*({f"{NAME}{suffix}": content} for content in made), *own)


def _constant():
    labels = [np.array(["b", "ä", "a"]), np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")]
    array = np.array([[2.0, np.nan], [2.0, 2.0], [np.nan, 2.0]])
    return complete(Observations.from_array(array, modes=MODES, labels=labels, value_name=VALUE))


def saved(name: str, save: Callable[[Path], object]) -> Seed:
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder, name))
        return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


# --- makers ---------------------------------------------------------------------------------------


def _models() -> Iterator[bytes]:
    """With labels that are texts, times and numbers, and without; with components and with none."""
    rng = np.random.default_rng(0)
    labels = (np.array(["b", "ä", "a"]), np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]"), np.array([3, 7, 8, 20]))
    for rank, names in ((2, labels), (0, (None, None, None))):
        effects = MainEffects(1.5, tuple(rng.normal(size=d) for d in (3, 2, 4)))
        model = CPTensor([rng.normal(size=(d, rank)) for d in (3, 2, 4)])
        done = LargeCompletion(model, effects, ("site", "day", "hour"), names, VALUE, 1.0, 0.5, 20, 0.1)
        yield saved(f"{NAME}{MODEL}", done.save)[f"{NAME}{MODEL}"]


def npy(array: np.ndarray) -> bytes:
    stream = streams.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def _numbers() -> Iterator[np.ndarray]:
    array = np.add.outer(np.arange(4.0), 10 * np.arange(3.0))
    array[1, 2] = np.nan
    yield array
    yield np.asfortranarray(array.astype(np.float32))
    yield array.astype(">f8")
    yield array.astype(np.float16)
    yield np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    yield np.eye(3, dtype=bool)


def _npz() -> Iterator[bytes]:
    array = next(_numbers())
    labels = {"site.npy": npy(np.array(["a", "b", "ä", ""])), "day.npy": npy(np.arange(3))}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        yield archive({"tensor.npy": npy(array), **labels}, method)
    yield archive({"rain.npy": npy(np.asfortranarray(array))})


def _csv() -> Iterator[bytes]:
    yield b"site,day,rain\na,1,0.5\nb,2,\na,2,1e3\n"
    yield '"site","day","rain"\r\n"k\u00f6ln, west",2020-01-01,1\r\n"a ""b""",2020-01-02,NA\r\n\r\n'.encode()
    yield b"\xef\xbb\xbfjunk,day,site,rain\n?,007,9007199254740993,-0\n,7,2,0.1\n"


def _parquet() -> Iterator[bytes]:
    table = pd.DataFrame({"site": ["a", "b", "a", "c"] * 5, "day": np.arange(20) // 2, "rain": np.linspace(0, 1, 20), "junk": "x"})
    trials: tuple[tuple[pd.DataFrame, dict[str, Any]], ...] = (
        (table, {}),
        (table.astype({"site": "category", "rain": np.float32}), {"compression": "gzip"}),
        (table.assign(day=pd.date_range("2020-01-01", periods=20)), {"compression": None, "row_group_size": 7}),
    )
    for frame, options in trials:
        stream = streams.BytesIO()
        frame.to_parquet(stream, index=False, **options)
        yield stream.getvalue()


def _netcdf() -> Iterator[bytes]:
    """Old and new, packed, compressed, with groups, times and texts."""
    import xarray as xr

    array = np.round(next(_numbers()), 1)
    data = xr.Dataset(
        {"rain": (("site", "day"), array, {"units": "mm"})},
        coords={"site": ["a", "bb", "ä", ""], "day": pd.date_range("2020-01-01", periods=3), "height": ("site", np.arange(4.0))},
        attrs={"title": "rain"},
    )
    packed = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 3.0, "_FillValue": -9}
    for encoding in ({}, packed):
        yield bytes(data.drop_vars("site").to_netcdf(None, engine="scipy", encoding={"rain": encoding}))
    for encoding in ({}, {**packed, "zlib": True, "shuffle": True, "chunksizes": (2, 3)}):
        stream = streams.BytesIO()
        data.to_netcdf(stream, engine="h5netcdf", encoding={"rain": encoding}, unlimited_dims=["day"] if encoding else [])
        yield stream.getvalue()


def _matlab() -> Iterator[bytes]:
    """Versions 4, 5 and 7.3, numbers of several types, labels as vectors and cells, a sparse matrix."""
    import h5py
    from scipy.io import savemat
    from scipy.sparse import csc_array

    array = next(_numbers())
    labels: dict[str, Any] = {"site": np.array(["a", "bb", "c", ""], object), "day": np.arange(3)}
    trials: tuple[tuple[dict[str, Any], dict[str, Any]], ...] = (
        ({"tensor": array}, {"format": "4"}),
        ({"tensor": array.astype(np.float32), **labels}, {}),
        ({"tensor": array, **labels}, {"do_compression": True}),
        ({"rain": csc_array(np.nan_to_num(array))}, {}),
    )
    for arrays, options in trials:
        stream = streams.BytesIO()
        savemat(stream, arrays, **options)
        yield stream.getvalue()
    stream = streams.BytesIO()
    with h5py.File(stream, "w", userblock_size=512) as file:
        file.create_dataset("tensor", data=array.T, compression="gzip", shuffle=True).attrs["MATLAB_class"] = np.bytes_("double")
        file["day"] = np.arange(3.0).reshape(3, 1)
        file["day"].attrs["MATLAB_class"] = np.bytes_("double")
        cells = [file.create_dataset(f"#refs#/{letter}", data=np.array([[ord(letter)]], np.uint16)) for letter in "abcd"]
        for cell in cells:
            cell.attrs["MATLAB_class"] = np.bytes_("char")
        file["site"] = np.array([[cell.ref for cell in cells]], dtype=h5py.ref_dtype)
        file["site"].attrs["MATLAB_class"] = np.bytes_("cell")
    yield b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM" + stream.getvalue()[128:]


def _tns() -> Iterator[bytes]:
    yield b"# index_base: 0\n0 0 1\n1 0 2.5\n\n1 2 -3e2\n"
    yield b"1 1 1 1\n2 1 3 nan\n2 2 1 7\n"


_MAKERS: dict[str, Callable[[], Any]] = {
    ".npy": lambda: map(npy, _numbers()),
    ".npz": _npz,
    ".csv": _csv,
    ".parquet": _parquet,
    ".nc": _netcdf,
    ".mat": _matlab,
    ".tns": _tns,
    MODEL: _models,
}
