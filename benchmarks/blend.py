"""What blending brings: the same search, its best fit alone, beside the sum of a few that is the default."""

from __future__ import annotations

from typing import Any

from benchmarks import completion, page
from benchmarks.measures import accuracy as measures
from benchmarks.measures import data
from benchmarks.store import Cell, Store, median

SEEDS = (0, 1, 2)
PATTERN, SHARES = "cells", data.PATTERNS["cells"]


def store(**how: Any) -> Store:
    return Store("blend", timed=False, **how)


def of(cells: Store, name: str, share: float) -> list[Cell]:
    return cells.current(data=name, hidden=share)


def run(fresh: bool = False) -> None:
    cells, defaults = store(fresh=fresh), completion.store()
    for seed in SEEDS:
        for name in data.available():
            for share in SHARES:
                completion.cell(defaults, name, PATTERN, share, seed)
                key = {"data": name, "hidden": share, "seed": seed}
                cells.measure(key, lambda at=(name, share, seed): measures.real(*at, n_fits=1))
    write(cells, defaults)


def write(cells: Store, defaults: Store) -> None:
    rows = []
    for name in data.NAMES:
        for share in SHARES:
            both = [of(cells, name, share), [c for c in completion.of(defaults, name, PATTERN, share) if int(c["seed"]) in SEEDS]]
            if all(both):
                errors, ranks = ([median(found, what) for found in both] for what in ("nrmse", "rank"))
                line = [name, f"{share:.0%}", *(f"{e:.4f}" for e in errors), f"**{errors[1] / errors[0]:.3f}**"]
                rows.append([*line, *(f"{r:.0f}" for r in ranks)])
    columns = ["data", "hidden", "one fit", "default", "default over one"]
    page.write(
        "blend",
        "One fit, or the sum of a few",
        "`rankless.complete(array, n_fits=1)` beside the default, which may sum up to three fits of the same search; everything else as "
        "on the [completion page](completion.md), cells hidden at random: NRMSE on hidden cells and components, medians of seeds 0 to 2.",
        page.table([*columns, "rank, one", "rank, default"], rows),
    )
