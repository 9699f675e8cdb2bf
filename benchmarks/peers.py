"""The peers' side of the completion page, ``python -m benchmarks peers``; the page is written with what is on file of ours."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from campaign import data
from campaign.store import Cell

from benchmarks import completion
from benchmarks.entries import SEEDS, TABLES, store
from benchmarks.measures import peers
from benchmarks.measures.peers import PEERS, Peer

FIRST = 3  # so many seeds of all tables come before the others
DEAR = {("nyc_airport_weather", "SMURFF"), ("nyc_airport_weather", "KNNImputer")}  # most of a minute a seed


def _order() -> Iterator[tuple[str, tuple[str, float], int, Peer]]:
    """A few seeds of what is cheap, one of what is dear, and then the rest in that order."""
    every = list(product(PEERS, SEEDS, TABLES, data.available()))
    every.sort(key=lambda at: (at[1] >= 1, True) if (at[3], at[0].name) in DEAR else (at[1] >= FIRST, False))  # stable
    for peer, seed, table, name in every:
        yield name, table, seed, peer


def run(fresh: bool = False) -> None:
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
