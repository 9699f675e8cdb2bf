"""Files written a block at a time, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.als.entries import canonical_mode
from rankless.io.broken import need
from rankless.io.labelled import plain
from rankless.runtime.files import folder_beside, write_beside

if TYPE_CHECKING:
    import pandas as pd

    from rankless.io.chunks import Scan
    from rankless.large.answer import LargeCompletion

_BLOCK = 2**20  # cells written at a time, or a slice of the first mode if that is more


def cells(done: LargeCompletion, parts: Iterable[np.ndarray], output: str | os.PathLike, coverage: float | None = None) -> int:
    """Write cells, shape ``(n, order)`` each part, with their values to a .csv or .parquet; returns how many.

    With `coverage` also `lower` and `upper`, the ends of their intervals.
    """
    return _tables((_table(done, part, done.predict(part)).assign(**_ends(done, part, coverage)) for part in parts), Path(output))


def whole(done: LargeCompletion, source: Scan, output: str | os.PathLike, coverage: float | None = None) -> None:
    """Write every cell, those that were observed as they were, to a .zarr or .parquet; with `coverage` the ends of their intervals."""
    path = Path(output)
    if path.suffix.lower() == ".zarr":
        _store(done, _blocks(done, source), path, coverage)
    else:
        _tables((_flat(done, *block, coverage) for block in _blocks(done, source)), path)


def _ends(done: LargeCompletion, coords: np.ndarray, coverage: float | None) -> dict[str, np.ndarray]:
    """Ends of the intervals of cells, by name; nothing without `coverage`."""
    if coverage is None:
        return {}
    names = [f"{name}_of_interval" if name in (*done.modes, done.value_name) else name for name in ("lower", "upper")]
    return dict(zip(names, done.predict_interval(coords, coverage), strict=True))


def _blocks(done: LargeCompletion, source: Scan) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For some slices of the first mode at a time: coordinates of their cells, these filled, and which were observed."""
    shape = done.shape
    own = canonical_mode(source.chunks, np.float64)
    step = max(1, _BLOCK // int(np.prod(shape[1:], dtype=object)))
    for first in range(0, shape[0], step):
        last = min(first + step, shape[0])
        block = (last - first, *shape[1:])
        coords = np.stack(np.unravel_index(np.arange(int(np.prod(block))), block), axis=1)
        coords[:, 0] += first
        values, seen = done.predict(coords).reshape(block), np.zeros(block, dtype=bool)
        lo, hi = int(own.starts[first]), int(own.starts[last])
        rows = np.repeat(np.arange(last - first), np.diff(own.starts[first : last + 1]))
        where = (rows, *own.others(lo, hi))
        values[where], seen[where] = own.values[lo:hi], True
        yield coords, values, seen


def _flat(done: LargeCompletion, coords: np.ndarray, values: np.ndarray, seen: np.ndarray, coverage: float | None) -> pd.DataFrame:
    ends = {name: end.reshape(-1) for name, end in _around(done, coords, values, seen, coverage).items()}
    return _table(done, coords, values.reshape(-1)).assign(observed=seen.reshape(-1), **ends)


def _around(
    done: LargeCompletion, coords: np.ndarray, values: np.ndarray, seen: np.ndarray, coverage: float | None
) -> dict[str, np.ndarray]:
    """Ends of the intervals of a block, in its shape; observed cells are their own ends."""
    return {name: np.where(seen, values, end.reshape(values.shape)) for name, end in _ends(done, coords, coverage).items()}


def _table(done: LargeCompletion, coords: np.ndarray, values: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    for mode, (name, label) in enumerate(zip(done.modes, done.labels, strict=True)):
        columns[name] = coords[:, mode] if label is None else label[coords[:, mode]]
    return pd.DataFrame({**columns, done.value_name: values})


def _tables(parts: Iterable[pd.DataFrame], path: Path) -> int:
    """Tables below each other in one file; returns the number of rows."""
    suffix, count = path.suffix.lower(), 0
    if suffix not in (".csv", ".parquet"):
        raise ValueError(f"{str(path)!r} has suffix {suffix!r}; cells are written as .csv or .parquet, whole arrays as .zarr or .parquet")
    if suffix == ".parquet":
        need(path, "parquet", "pyarrow")
    with write_beside(path) as temporary:
        if suffix == ".csv":
            for part in parts:
                part.to_csv(temporary, index=False, header=not count, mode="a" if count else "w")
                count += len(part)
            return count
        import pyarrow as pa
        from pyarrow import parquet

        writer = None
        try:
            for part in parts:
                table = pa.Table.from_pandas(part, preserve_index=False)
                writer = writer or parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                count += len(part)
        finally:
            if writer is not None:
                writer.close()
    return count


def _store(done: LargeCompletion, blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path, coverage: float | None) -> None:
    """One variable, its labels as coordinates, which cells were observed, and with `coverage` the ends of intervals."""
    need(path, "labelled", "xarray", "zarr")
    import xarray as xr

    name = done.value_name if done.value_name not in done.modes else "value"
    coords = {mode: plain(label) for mode, label in zip(done.modes, done.labels, strict=True) if label is not None}
    with folder_beside(path) as temporary:
        for cells_, values, seen in blocks:
            first = int(cells_[0, 0])
            last = first + len(values)
            own = {mode: label[first:last] if mode == done.modes[0] else label for mode, label in coords.items()}
            ends = {each: (done.modes, end) for each, end in _around(done, cells_, values, seen, coverage).items()}
            part = xr.Dataset({name: (done.modes, values), "observed": (done.modes, seen), **ends}, coords=own)
            if first == 0:
                part.to_zarr(temporary, mode="w", zarr_format=2)
            else:
                part.to_zarr(temporary, append_dim=done.modes[0], zarr_format=2)
