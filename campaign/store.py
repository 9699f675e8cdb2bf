"""Finished cells of a benchmark, kept in a csv, so that a long one can be run in several goes.

A cell is known by its `key`, and counts as finished while its `stamp` is that of today's code and,
where times count, of today's machine.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign.machine import ROOT, machine, source_stamp, today, version

EFFORT = ("seconds", "processor", "fits")  # columns that differ from run to run, or with what is tried besides
FOLDER = ROOT / "docs" / "benchmarks"

Cell = dict[str, str]


class Store:
    """The cells of ``docs/benchmarks/NAME.csv``.

    `timed` cells count on the machine they were measured on only; `stamp` is that of rankless' own code
    unless given; `fresh` measures every cell once more; `aged` lets cells of any stamp and machine count.
    """

    def __init__(self, name: str, *, timed: bool, stamp: str | None = None, fresh: bool = False, aged: bool = False, folder: Path = FOLDER):
        self.path = folder / f"{name}.csv"
        self.timed = timed
        self.fresh = fresh
        self.aged = aged
        self.stamp = stamp or source_stamp()
        machine()  # asked before a peer brings a BLAS of its own
        self._done_now: set[tuple] = set()

    def cells(self) -> list[Cell]:
        """All cells on file, stale ones included."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def current(self, **where: object) -> list[Cell]:
        """The cells measured with today's code (and, where times count, on this machine), those alike in the columns named."""
        return [cell for cell in self.cells() if self._is_current(cell) and _matches(cell, where)]

    def find(self, key: Mapping[str, object]) -> Cell | None:
        return next(iter(self.current(**key)), None)

    def measure(self, key: Mapping[str, object], function: Callable[[], Mapping[str, object]]) -> Cell:
        """The finished cell `key`; measured and written down where there is none."""
        name = tuple(str(v) for v in key.values())
        found = self.find(key)
        if found is not None and (not self.fresh or name in self._done_now):
            return found
        row = {**key, **function(), "date": today(), "stamp": self.stamp, "machine": machine()}
        cell = {column: _text(value) for column, value in row.items()}
        self._write([c for c in self.cells() if not _matches(c, key)] + [cell])  # read again: another run may have added cells
        self._done_now.add(name)
        return cell

    def attempt(self, key: Mapping[str, object], function: Callable[[], Mapping[str, object]]) -> None:
        """Measure `key` and say what came of it; where a peer is not installed, say that."""
        try:
            print(self.measure(key, function), flush=True)
        except ImportError as reason:
            print(f"skipped {', '.join(map(str, key.values()))}: {reason}", flush=True)

    def vouch(self, group: Sequence[str], again: Callable[[Cell], Mapping[str, object]]) -> bool:
        """Accept cells of older code, where today's gives the same numbers in one cell of their group; says whether it did in all.

        A group are cells alike in the columns `group`. For changes that should alter nothing, such as a function moved, or
        nothing in some of them. Times and dates stay those measured.
        """

        def name_of(cell: Cell) -> tuple[str, ...]:
            return tuple(cell[column] for column in group)

        old = [cell for cell in self.cells() if cell["stamp"] != self.stamp]
        names = sorted({name_of(cell) for cell in old})
        accepted = [name for name in names if self._as_before(name, [cell for cell in old if name_of(cell) == name], again)]
        self._write([{**cell, "stamp": self.stamp} if name_of(cell) in accepted else cell for cell in self.cells()])
        return accepted == names

    def _as_before(self, name: tuple[str, ...], cells: list[Cell], again: Callable[[Cell], Mapping[str, object]]) -> bool:
        sample = sorted(cells, key=lambda cell: float(cell["seconds"]))[len(cells) // 2]
        for column, value in again(sample).items():
            if column not in EFFORT and sample[column] != _text(value):
                print(f"{self.path.name}, {', '.join(name)}: {column} was {sample[column]}, is {_text(value)}; measure again", flush=True)
                return False
        print(f"{self.path.name}, {', '.join(name)}: as before", flush=True)
        return True

    def _is_current(self, cell: Cell) -> bool:
        return self.aged or (cell["stamp"] == self.stamp and (not self.timed or cell["machine"] == machine()))

    def _write(self, cells: list[Cell]) -> None:
        columns = list(dict.fromkeys(column for cell in cells for column in cell))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".partial")
        with temporary.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(cells)
        temporary.replace(self.path)


def peers_store(name: str, *libraries: str, **how: Any) -> Store:
    """A store whose cells age not with our code, but with the versions of the peers' `libraries`."""
    return Store(name, timed=False, stamp=", ".join(map(version, libraries)), **how)


def numbers(cells: Iterable[Cell], column: str) -> list[float]:
    """The figures of a column, cells without one left out."""
    return [float(cell[column]) for cell in cells if cell.get(column)]


def median(cells: Iterable[Cell], column: str) -> float:
    """Median of a column; NaN where there is none."""
    found = numbers(cells, column)
    return statistics.median(found) if found else float("nan")


def _matches(cell: Cell, key: Mapping[str, object]) -> bool:
    return all(cell.get(name) == _text(value) for name, value in key.items())


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
