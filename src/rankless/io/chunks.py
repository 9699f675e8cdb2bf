"""`scan`: a file of any size, read a chunk at a time and never held: what `Entries.collected` takes.

A first reading finds what the modes are: their labels, how many entries each slice has. Entries come with the
second reading, and as often as they are asked for, so a worker elsewhere can read them too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankless.als.entries import Chunks
from rankless.io import FORMATS, suffix_of
from rankless.io.broken import Unclear, check_file, named
from rankless.io.sources import Source, opened
from rankless.runtime.progress import Tracker
from rankless.tensors.observations import check_order

_NUMBERED = 2**27  # labels that are whole numbers from 0 to here are looked up in an array
ROWS = 2**21  # read at a time


@dataclass(frozen=True, eq=False)
class Scan:
    """What a file holds: its modes, and its entries a chunk at a time."""

    path: Path
    chunks: Chunks
    modes: tuple[str, ...]
    labels: tuple[np.ndarray | None, ...]
    value_name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.chunks.shape

    @property
    def size(self) -> int:
        """Number of observed entries."""
        return int(self.chunks.counts[0].sum())


def cells(path: str | os.PathLike, modes: Sequence[str], rows: int = ROWS) -> Iterator[list[Any]]:
    """The cells that a .parquet or .csv names: its columns of these modes, a chunk of rows at a time."""
    for columns, _ in _source(path, modes, None, rows, cells=True).chunks():
        yield columns


def scan(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | None = None,
    value: str | None = None,
    index_base: int | None = None,
    rows: int = ROWS,
    tracker: Tracker | None = None,
) -> Scan:
    """Look through a .parquet, .csv, .tns, .nc or .zarr file of any size, `rows` entries at a time.

    Options are those of `rankless.read`. A coordinate that stands twice is refused when entries are collected.
    """
    source, tracker = _source(path, modes, value, rows, index_base=index_base), tracker or Tracker()
    slices: list[_Slices] = [_Slices() for _ in source.modes]
    check_order(len(slices), f"{path} with modes {list(source.modes)}")
    seen = missing = 0
    for columns, values in source.chunks():
        there = ~np.isnan(values)
        if np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise ValueError(f"{path} holds an infinite value in row {seen + missing + row}; leave it empty where it means 'not observed'")
        for known, column in zip(slices, columns, strict=True):
            known.add(column, there)
        seen, missing = seen + int(there.sum()), missing + int((~there).sum())
        tracker.stage(f"looking through {Path(path).name}: {seen:,} entries")
    if not seen:
        raise ValueError(f"{path} has no observed entry; it needs at least one value that is not missing")
    found, counts, labels = [], [], []
    with named(path, "write it again"):
        for mode, known in enumerate(slices):
            order, label = source.labels(mode, known.labels())
            found.append(order)
            labels.append(label)
            counts.append(known.counts(order))
        chunks = Chunks(tuple(map(len, found)), tuple(counts), _Numbered(source, tuple(map(_look_up, found))))
    return Scan(Path(path), chunks, source.modes, tuple(labels), source.value_name)


def _source(path: str | os.PathLike, modes: Sequence[str] | None, value: str | None, rows: int, **options: Any) -> Source:
    how = FORMATS[suffix_of(path)]
    check_file(path, folder=how.folder or how.reads_folder)
    return opened(Path(path), modes, value, rows, **options)


@dataclass(frozen=True, eq=False)
class _Numbered:
    """A source whose columns are turned into numbers of slices, its missing values left out: what `Chunks.read` is."""

    source: Source
    look_up: tuple[Callable[[Any, str], np.ndarray], ...]

    def __call__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for columns, values in self.source.chunks():
            coords = np.stack([up(column, mode) for up, column, mode in zip(self.look_up, columns, self.source.modes, strict=True)])
            there = ~np.isnan(values)
            yield (coords, values) if there.all() else (coords[:, there], values[there])


class _Slices:
    """Labels met so far in one mode's column, and the observed entries of each."""

    def __init__(self) -> None:
        self._numbers = np.zeros((2, 0), np.int64)  # rows and observed entries of labels that are small whole numbers
        self._named = pd.Series(dtype=np.int64)  # observed entries by label, of all others

    def add(self, column: Any, there: np.ndarray) -> None:
        numbers = _small(column)
        if numbers is not None and self._named.empty:
            top = int(numbers.max(initial=-1)) + 1
            if top > self._numbers.shape[1]:
                self._numbers = np.pad(self._numbers, ((0, 0), (0, top - self._numbers.shape[1])))
            self._numbers[0, :top] += np.bincount(numbers, minlength=top)
            self._numbers[1, :top] += np.bincount(numbers[there], minlength=top)
            return
        if self._numbers.shape[1]:  # larger ones have come
            self._named = pd.Series(self._numbers[1][self._numbers[0] > 0], index=np.flatnonzero(self._numbers[0]))
            self._numbers = np.zeros((2, 0), np.int64)
        codes, labels = pd.factorize(column)
        fresh = pd.Series(np.bincount(codes[there], minlength=len(labels)), index=labels)
        self._named = fresh if self._named.empty else self._named.add(fresh, fill_value=0).astype(np.int64)

    def labels(self) -> np.ndarray:
        return np.asarray(self._named.index) if len(self._named) else np.flatnonzero(self._numbers[0])

    def counts(self, order: np.ndarray) -> np.ndarray:
        """Observed entries of the slices in `order`."""
        if len(self._named):
            return self._named.reindex(order).to_numpy()
        inside = np.minimum(order, self._numbers.shape[1] - 1)
        return np.where(order < self._numbers.shape[1], self._numbers[1][inside], 0)


def _small(column: Any) -> np.ndarray | None:
    """A column as an array if it holds whole numbers from 0 to `_NUMBERED`."""
    if not isinstance(column, (np.ndarray, pd.Series)) or getattr(column.dtype, "kind", "") not in "iu":
        return None
    numbers = np.asarray(column)
    if numbers.dtype.kind not in "iu" or (len(numbers) and not 0 <= numbers.min() <= numbers.max() < _NUMBERED):
        return None
    return numbers


def _look_up(found: np.ndarray) -> _ByNumber | _ByLabel:
    """From the labels of a column to numbers of slices, where slice `i` is ``found[i]``."""
    if found.dtype.kind in "iu" and len(found) and 0 <= found.min() <= found.max() < _NUMBERED:
        table = np.full(int(found.max()) + 1, -1, np.int32)
        table[found] = np.arange(len(found), dtype=np.int32)
        return _ByNumber(table)
    return _ByLabel(pd.Index(found))


@dataclass(frozen=True, eq=False)
class _ByNumber:
    table: np.ndarray

    def __call__(self, column: Any, where: str) -> np.ndarray:
        numbers = np.asarray(column)
        inside = (numbers >= 0) & (numbers < len(self.table))
        slices = np.where(inside, self.table[np.where(inside, numbers, 0)], -1)
        _check_known(slices, numbers, where)
        return slices


@dataclass(frozen=True, eq=False)
class _ByLabel:
    index: pd.Index

    def __call__(self, column: Any, where: str) -> np.ndarray:
        codes, labels = pd.factorize(column)
        slices = self.index.get_indexer(labels).astype(np.int32)[codes]
        _check_known(slices, column, where)
        return slices


def _check_known(slices: np.ndarray, column: Any, where: str) -> None:
    bad = np.flatnonzero(slices < 0)
    if len(bad):
        label = np.asarray(column)[bad[0]]
        raise Unclear(f"{where} {label!r} was not there when the file was first looked through; did it change? Run again")
