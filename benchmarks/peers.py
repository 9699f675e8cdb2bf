"""The peers' side of the completion page: every data set, pattern and share, every peer at every setting of its grid.

``python -m benchmarks peers`` measures the peers only, and writes the page with what is on file of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from benchmarks.machine import source_stamp
from benchmarks.measures import data, peers
from benchmarks.measures.peers import PEERS, Peer
from benchmarks.store import Cell, Store, median, numbers, peers_store

SEEDS = (0, 1, 2, 3, 4)
FIRST = 3  # so many seeds of all tables come before the others
TABLES = tuple((pattern, share) for pattern in ("fibres", "blocks", "cells") for share in data.PATTERNS[pattern])
DEAR = {("nyc_airport_weather", "SMURFF"), ("nyc_airport_weather", "KNNImputer")}  # most of a minute a seed


def store(peer: Peer, **how: Any) -> Store:
    """A peer's cells do not age with our code, but with the library or the file that makes them."""
    if isinstance(peer.maker, str):
        return peers_store("peers", peer.maker, **how)
    return Store("peers", timed=False, stamp=source_stamp(peer.maker), **how)


@dataclass(frozen=True)
class Entry:
    """What one peer gave in one table."""

    peer: Peer
    cells: list[Cell]

    def whole(self) -> list[Cell]:
        """The cells of seeds at which as much of the grid is measured as at any."""
        counts = {c["seed"]: sum(other["seed"] == c["seed"] for other in self.cells) for c in self.cells}
        return [c for c in self.cells if counts[c["seed"]] == max(counts.values())]

    def best(self) -> float:
        """Median over seeds of the least error in the grid, chosen on the very cells that are scored."""
        return self._over_seeds("nrmse", _least)

    def untuned(self) -> float:
        return median([c for c in self.cells if c["method"] == self.peer.untuned], "nrmse")

    def scan(self) -> float:
        """Median over seeds of the processor seconds of the whole grid."""
        timed = Entry(self.peer, [c for c in self.cells if c.get("processor")])
        return timed._over_seeds("processor", sum)

    def missing(self) -> int:
        return len(SEEDS) * len(self.peer.grid) - len(self.cells)

    def _over_seeds(self, column: str, reduce) -> float:
        cells = self.whole()
        seeds = {c["seed"] for c in cells}
        return median([{"value": str(reduce(numbers([c for c in cells if c["seed"] == seed], column)))} for seed in seeds], "value")


def _least(errors: list[float]) -> float:
    return min((e for e in errors if e == e), default=float("inf"))  # NaN: the fit went to nothing


Table = tuple[str, str, float]  # data, pattern, share


def entries() -> dict[Table, list[Entry]]:
    """The finished cells of every table, peer by peer."""
    found = {(name, *table): [Entry(peer, []) for peer in PEERS] for name in data.NAMES for table in TABLES}
    for i, peer in enumerate(PEERS):
        for c in store(peer).current():
            table = c["data"], c["pattern"], float(c["hidden"])
            if c["method"] in peer.grid and int(c["seed"]) in SEEDS and table in found:
                found[table][i].cells.append(c)
    return found


def best(found: list[Entry]) -> Entry | None:
    """The peer of least error, each at its best setting."""
    return min((entry for entry in found if entry.cells), key=Entry.best, default=None)


def over_best(ours: list[Cell], theirs: list[Entry]) -> float:
    """Our error over the best peer's at its best setting, on the same hidden cells; NaN where one is not measured."""
    both = {c["seed"] for c in ours} & {c["seed"] for entry in theirs for c in entry.cells}
    entry = best([Entry(entry.peer, [c for c in entry.cells if c["seed"] in both]) for entry in theirs])
    return median([c for c in ours if c["seed"] in both], "nrmse") / entry.best() if entry else float("nan")


def _order() -> Iterator[tuple[str, tuple[str, float], int, Peer]]:
    """A few seeds of what is cheap, one of what is dear, and then the rest in that order."""
    every = list(product(PEERS, SEEDS, TABLES, data.available()))
    every.sort(key=lambda at: (at[1] >= 1, True) if (at[3], at[0].name) in DEAR else (at[1] >= FIRST, False))  # stable
    for peer, seed, table, name in every:
        yield name, table, seed, peer


def run(fresh: bool = False) -> None:
    from benchmarks import completion

    stores = {peer.name: store(peer, fresh=fresh) for peer in PEERS}
    done = set() if fresh else {_key(c) for cells in stores.values() for c in cells.current()}
    for name, (pattern, share), seed, peer in _order():
        for method in peer.grid:
            key = {"data": name, "pattern": pattern, "hidden": share, "seed": seed, "method": method}
            if _key({what: f"{value:g}" if isinstance(value, float) else str(value) for what, value in key.items()}) not in done:
                stores[peer.name].attempt(key, partial(peers.real, method, name, share, seed, pattern=pattern))
    completion.write()


def _key(cell: Cell) -> tuple[str, ...]:
    return tuple(cell[what] for what in ("data", "pattern", "hidden", "seed", "method"))
