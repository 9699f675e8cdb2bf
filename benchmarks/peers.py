"""Accuracy of the peers on the real data, each at several given ranks, on the cells that `accuracy` hides."""

from __future__ import annotations

from functools import partial
from importlib import metadata
from itertools import product
from typing import Any

from benchmarks import page
from benchmarks.measures import data, peers
from benchmarks.store import Cell, Store, median

SHARES = (0.8, 0.5, 0.95)
SEEDS = (0, 1, 2)
BY_COST = sorted(peers.METHODS, key=lambda method: ("R=30" in method, "R=10" in method))


def store(**how: Any) -> Store:
    """Peers' cells do not age with our code, but with theirs."""
    versions = []
    for name in ("tensorly", "pyttb"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{name} absent")
    return Store("peers", timed=False, stamp=", ".join(versions), **how)


def of(cells: Store, name: str, share: float) -> list[Cell]:
    """The finished cells of one line of the table."""
    return [c for c in cells.current() if (c["data"], c["hidden"]) == (name, f"{share:g}")]


def over_best(ours: list[Cell], theirs: list[Cell]) -> float:
    """Our error over the least of any peer at any of its ranks, on the same hidden cells; NaN where none is measured."""
    errors = [median([c for c in theirs if c["method"] == method], "nrmse") for method in peers.METHODS]
    seeds = {c["seed"] for c in theirs}
    return median([c for c in ours if c["seed"] in seeds], "nrmse") / min((e for e in errors if e == e), default=float("nan"))


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    here = data.available()
    for seed, method, share, name in product(SEEDS, BY_COST, SHARES, here):  # the dear ones last, for all data
        key = {"data": name, "hidden": share, "seed": seed, "method": method}
        cells.attempt(key, partial(peers.real, method, name, share, seed))
    write(cells)


def write(cells: Store) -> None:
    rows = []
    for name in data.NAMES:
        for share in sorted(SHARES):
            found = of(cells, name, share)
            errors = [median([c for c in found if c["method"] == method], "nrmse") for method in peers.METHODS]
            if found:
                least = min(e for e in errors if e == e)
                rows.append([name, f"{share:.0%}", *(f"**{e:.3f}**" if e == least else page.number(e) for e in errors)])
    page.write(
        "peers",
        "Peers on real data, given their rank",
        "NRMSE on hidden cells (the protocol of the accuracy page, medians of seeds 0 to 2; the least of each row in bold). "
        f"pyttb's L-BFGS-B is stopped after {peers.LIMIT:.0f} processor seconds.",
        page.table(["data", "hidden", *peers.METHODS], rows),
    )
