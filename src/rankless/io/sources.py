"""Files as chunks of rows, one class a kind: what `chunks.scan` reads. See `chunks.Source`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rankless.io import FORMATS, labelled, suffix_of, tables, tns
from rankless.io.broken import Unclear, listing, named
from rankless.kinds import Roles
from rankless.kinds.labelled import check_unnamed
from rankless.tensors import spelling

_NAN = [sign + nan for sign in ("", "+", "-") for nan in ("nan", "NaN", "NAN")]
_LARGEST = 2**31 - 1  # coordinate
Chunk = tuple[list[Any], np.ndarray]  # for each mode the labels, or numbers of slices, of its rows; and the values


class Source(Protocol):
    """A file as chunks of rows."""

    @property
    def modes(self) -> tuple[str, ...]: ...
    @property
    def value_name(self) -> str: ...

    def chunks(self) -> Iterator[Chunk]:
        """For each chunk the columns of the modes, and the values, NaN where nothing was observed."""
        ...

    def labels(self, mode: int, found: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What was `found` in a mode's column, in the order of its slices, and their labels; None: numbers that need none."""
        ...


@dataclass(frozen=True, eq=False)
class Table:
    """A .parquet or .csv; without a `value_name`, of cells to be filled."""

    path: Path
    modes: tuple[str, ...]
    value_name: str
    rows: int

    @classmethod
    def open(cls, path: Path, modes: Sequence[str] | None, value: str | None, rows: int, *, index_base=None, cells: bool = False) -> Table:
        with named(path, "write it again"):
            columns = tables.columns_of(path)
            if not cells:
                names, name = tables.declared(path, columns, modes, value)
                return cls(path, tuple(names), name, rows)
            absent = [name for name in modes or () if name not in columns]
            if absent:
                raise Unclear(f"no column {absent[0]!r} in {path}; it has {listing(columns)}")
            return cls(path, tuple(modes or ()), "", rows)

    def chunks(self) -> Iterator[Chunk]:
        wanted = [*self.modes, *([self.value_name] if self.value_name else [])]
        start = 0
        with named(self.path, "write it again"):
            for part in tables.parts(self.path, wanted, self.value_name, self.rows):
                for name in self.modes:
                    tables.check_labels(self.path, part[name], start)
                values = tables.numbers(self.path, part[self.value_name], start) if self.value_name else np.zeros(len(part))
                yield [part[name] for name in self.modes], values
                start += len(part)

    def labels(self, mode: int, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sorted as `Observations.from_table` sorts them. Categories have an order in each part only."""
        label = found if tables.is_parquet(self.path) else np.asarray(tables.labels(pd.Series(found)))
        order = np.argsort(label, kind="stable")
        by_value = spelling.order(label[order])
        order = order if by_value is None else order[by_value]
        return found[order], label[order]


@dataclass(frozen=True, eq=False)
class Lines:
    """A .tns: the number of every slice up to the largest, whether or not it has an entry."""

    path: Path
    modes: tuple[str, ...]
    value_name: str
    base: int
    rows: int

    @classmethod
    def open(cls, path: Path, modes: Sequence[str] | None, value: str | None, rows: int, *, index_base: int | None = None) -> Lines:
        with named(path, tns.MEND):
            base = tns.base_of(path, index_base)
            first = next(iter(cls(path, (), "", base, 1)._parts()), None)
            order = 0 if first is None else first.shape[1] - 1
        if first is None:
            raise Unclear(f"{path} has no observed entry; it needs a line for each: its coordinates, then its value")
        if modes is not None and len(modes) != order:
            raise Unclear(f"modes={list(modes)} do not name the {order} modes of {path}; pass {order} distinct names")
        return cls(path, tuple(modes or (f"mode_{n}" for n in range(order))), value or "value", base, rows)

    def _parts(self) -> Iterator[pd.DataFrame]:
        # pandas fills a line that is too short up with nothing: nothing is not NaN here
        how: dict[str, Any] = {"header": None, "comment": "#", "keep_default_na": False, "na_values": _NAN, "engine": "c"}
        start = 0
        parts: Any = pd.read_csv(self.path, sep=r"\s+", chunksize=self.rows, **how)
        with parts:
            for part in parts:
                short = np.flatnonzero((part == "").any(axis=1))
                if len(short):
                    raise Unclear(f"entry {start + short[0] + 1} of {self.path} has fewer numbers than the first; {tns.MEND}")
                yield part
                start += len(part)

    def chunks(self) -> Iterator[Chunk]:
        with named(self.path, tns.MEND):
            start = 0
            for part in self._parts():
                indices = part.iloc[:, :-1]
                numbers = [np.asarray(indices[c]) for c in indices]
                for column in numbers:
                    self._check(column, start, part)
                yield [column.astype(np.int64) - self.base for column in numbers], part.iloc[:, -1].to_numpy(np.float64)
                start += len(part)

    def _check(self, column: np.ndarray, start: int, part: pd.DataFrame) -> None:
        if column.dtype.kind not in "iu":
            column = column.astype(np.float64)
            bad = np.flatnonzero(~np.isfinite(column) | (column != np.floor(column)))
            if len(bad):
                raise Unclear(f"entry {start + bad[0] + 1} of {self.path} has coordinate {column[bad[0]]}, no whole number; {tns.MEND}")
        beyond = np.flatnonzero(column > _LARGEST)
        if len(beyond):
            entry = start + beyond[0] + 1
            raise Unclear(f"entry {entry} of {self.path} has coordinate {column[beyond[0]]}, beyond {_LARGEST}; number slices from 1 on")
        below = np.flatnonzero(column < self.base)
        if len(below):
            if self.base == 1 and column[below[0]] == 0:
                raise tns.zero(self.path, start + int(below[0]), part.iloc[below[0]])
            raise Unclear(f"entry {start + below[0] + 1} of {self.path} has coordinate {column[below[0]]}, below {self.base}; {tns.MEND}")

    def labels(self, mode: int, found: np.ndarray) -> tuple[np.ndarray, None]:
        return np.arange(int(found.max(initial=-1)) + 1), None


@dataclass(frozen=True, eq=False)
class Blocks:
    """One variable of a .nc or .zarr, some slices of its first dim at a time."""

    path: Path
    modes: tuple[str, ...]
    value_name: str
    sizes: tuple[int, ...]
    rows: int

    @classmethod
    def open(cls, path: Path, modes: Sequence[str] | None, value: str | None, rows: int, *, index_base=None) -> Blocks:
        with labelled.variable(path, value) as field:
            check_unnamed(Roles(modes), str(path), field.dims)
            return cls(path, tuple(map(str, field.dims)), str(field.name), field.shape, rows)

    def chunks(self) -> Iterator[Chunk]:
        inner = int(np.prod(self.sizes[1:], dtype=np.int64))
        step = max(1, self.rows // max(inner, 1))
        with labelled.variable(self.path, self.value_name) as field:
            for start in range(0, self.sizes[0], step):
                values = labelled.numbers(self.path, field[start : start + step])
                here = np.nonzero(~np.isnan(values))
                yield [here[0] + start, *here[1:]], values[here]

    def labels(self, mode: int, found: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        with labelled.variable(self.path, self.value_name) as field:
            dim = field.dims[mode]
            return np.arange(self.sizes[mode]), np.asarray(field[dim].values) if dim in field.coords else None


def opened(path: Path, modes: Sequence[str] | None, value: str | None, rows: int, *, cells: bool = False, **options: Any) -> Source:
    """The source of a file, by its suffix; with `cells` of a table that names cells and need not hold values."""
    suffix = suffix_of(path)
    kind = FORMATS[suffix].chunks
    if not kind:
        able = ", ".join(known for known, how in FORMATS.items() if how.chunks)
        raise ValueError(f"{path} is read as a whole, not in chunks; these are read in chunks: {able}")
    if not cells:
        return globals()[kind].open(path, modes, value, rows, **options)
    if kind != "Table":
        raise ValueError(f"{path} has suffix {suffix!r}; a table of cells is a .csv or .parquet")
    return Table.open(path, modes, value, rows, cells=True)
