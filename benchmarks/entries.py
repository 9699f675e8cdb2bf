"""What the peers gave on the completion page: every data set, pattern and share, every peer at every setting of its grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from campaign import data
from campaign.machine import source_stamp
from campaign.store import Cell, Store, median, numbers, peers_store

from benchmarks.measures.peers import PEERS, Peer

SEEDS = (0, 1, 2, 3, 4)
TABLES = tuple((pattern, share) for pattern in ("fibres", "blocks", "cells") for share in data.PATTERNS[pattern])


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
