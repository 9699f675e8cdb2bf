"""Accuracy on real data with nothing chosen: `rankless.complete`, every default, seeds 0 to 2."""

from __future__ import annotations

from typing import Any

from benchmarks import page, peers
from benchmarks.measures import accuracy, data
from benchmarks.store import Store, median

SHARES = (0.5, 0.8, 0.95)
SEEDS = (0, 1, 2)


def store(**how: Any) -> Store:
    return Store("accuracy", timed=False, **how)


def cell(cells: Store, name: str, share: float, seed: int) -> dict[str, str]:
    """One fit of one data set, measured where it is not on file."""
    return cells.measure({"data": name, "hidden": share, "seed": seed}, lambda: accuracy.real(name, share, seed))


def of(cells: Store, name: str, share: float) -> list[dict[str, str]]:
    """The finished cells of one line of the table."""
    return [c for c in cells.current() if (c["data"], c["hidden"]) == (name, f"{share:g}")]


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for seed in SEEDS:
        for name in data.available():
            for share in SHARES:
                print(cell(cells, name, share, seed), flush=True)
    write(cells)


def vouch() -> None:
    """Accept the cells of older code where today's gives the same numbers."""
    cells = store()
    if cells.vouch("data", lambda cell: accuracy.real(cell["data"], float(cell["hidden"]), int(cell["seed"]))):
        write(cells)


def write(cells: Store) -> None:
    rows, given = [], peers.store()
    for name in data.NAMES:
        for share in SHARES:
            found = of(cells, name, share)
            if not found:
                continue
            ratio = peers.over_best(found, peers.of(given, name, share))
            each = " ".join(f"{float(c['nrmse']):.4f}" for c in sorted(found, key=lambda c: c["seed"]))
            ranks = " ".join(c["parts"] for c in sorted(found, key=lambda c: c["seed"]))
            line = [name, f"{share:.0%}", f"**{median(found, 'nrmse'):.4f}**", each, page.number(ratio)]
            rows.append([*line, ranks, f"{median(found, 'seconds'):.0f}"])
    page.write(
        "accuracy",
        "Accuracy on real data, nothing chosen",
        "`rankless.complete(array)` with every default. A share of the observed cells is hidden "
        "(`numpy.random.RandomState(seed).rand(*shape) < share`); values are standardised, Met Office and New York by variable, "
        "Birmingham as a whole with its zeros missing; the one New York gust above 900 mph is removed. "
        "NRMSE = RMSE over the standard deviation of the hidden cells. The best peer is the least error of main effects, HaLRTC, "
        "tensorly and pyttb at ranks 3, 10 and 30, its rank chosen by the very error that is reported; compared on the same cells "
        "([peers](peers.md)).",
        page.table(["data", "hidden", "NRMSE, median", "by seed", "over the best peer", "ranks of the fits", "seconds"], rows),
    )
