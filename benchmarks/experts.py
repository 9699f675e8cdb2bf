"""``python -m benchmarks experts [--rows ...] [--seeds ...] [--without ...]``: every expert left out in turn, all tables.

Gain and processor time of each: docs/benchmarks/experts.csv as cells are finished, docs/benchmarks/experts.md at the end. May be cut
short and started again. One process on each core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from itertools import product
from typing import Any

from campaign import alone, page
from campaign.store import Cell, Store, median

from benchmarks import rows
from benchmarks.measures.experts import DEFAULT, VARIANTS
from benchmarks.rows import Row

SEEDS = (0, 1, 2)
WORTH = 0.005  # of the error: what buys less than this nowhere is a candidate to be deleted
LEFT_OUT = tuple(name for name in VARIANTS if name != DEFAULT)


def store(**how: Any) -> Store:
    return Store("experts", timed=False, **how)


def key(row: Row, seed: int, variant: str) -> dict[str, object]:
    return {"data": row.data, "pattern": row.pattern, "hidden": row.share, "seed": seed, "without": variant}


def of(cells: Store, row: Row, variant: str) -> list[Cell]:
    return cells.current(data=row.data, pattern=row.pattern, hidden=row.share, without=variant)


def ratios(cells: Store, row: Row, variant: str, what: str = "nrmse") -> list[float]:
    """Without the expert over with it, a number for each seed that has both."""
    plain = {c["seed"]: float(c[what]) for c in of(cells, row, DEFAULT) if c.get(what)}
    return [float(c[what]) / plain[c["seed"]] for c in of(cells, row, variant) if c.get(what) and c["seed"] in plain]


def run(
    fresh: bool = False, *, chosen: Sequence[Row] | None = None, seeds: Sequence[int] = SEEDS, without: Sequence[str] = LEFT_OUT
) -> None:
    cells, here = store(fresh=fresh), chosen if chosen is not None else rows.here()
    wanted = [(row, seed, variant) for seed, row, variant in product(seeds, here, (DEFAULT, *without))]
    missing = [at for at in wanted if fresh or cells.find(key(*at)) is None]
    jobs = [
        alone.Job(key(row, seed, variant), "benchmarks.measures.experts", "without", (variant, row.data, row.pattern, row.share, seed))
        for row, seed, variant in missing
    ]
    for job, found in alone.side_by_side(jobs):
        print(cells.measure(job.key, lambda found=found: found), flush=True)
    write()


def write() -> None:
    """The page, from what is on file."""
    today, cells = store(), store(aged=True)
    summary, each = [], []
    for variant in LEFT_OUT:
        found = {row: ratios(cells, row, variant) for row in rows.ROWS}
        found = {row: statistics.median(values) for row, values in found.items() if values}
        if found:
            summary.append(_summary(cells, variant, found))
    for row in rows.ROWS:
        plain = of(cells, row, DEFAULT)
        if plain:
            older = " †" if len(of(today, row, DEFAULT)) < len(plain) else ""
            parts = [ratios(cells, row, variant) for variant in LEFT_OUT]
            shown = [page.number(statistics.median(part)) if part else "-" for part in parts]
            each.append([row.data, f"{row.share:.0%} {row.pattern}{older}", f"{median(plain, 'nrmse'):.4f}", *shown])
    page.write(
        "experts",
        "What each expert buys",
        "`rankless.complete` with one expert left out at a time, on the tables of the [completion page](completion.md), the same hidden "
        "cells: NRMSE without it over NRMSE with every default, so above 1 the expert helps. Ratios are medians over seeds, "
        "summed up by geometric means over tables; processor time likewise.",
        page.table(
            [
                "left out",
                "asked by",
                "tables",
                "error without, over with",
                "most it buys",
                f"tables worth {WORTH:.1%}",
                "tables it hurts by as much",
                "time without, over with",
            ],
            summary,
        ),
        "## Table by table",
        "NRMSE with every default, and without each over it."
        + (" † holds cells of older code." if any("†" in line[1] for line in each) else ""),
        page.table(["data", "hidden", "error", *LEFT_OUT], each),
    )


def _summary(cells: Store, variant: str, found: dict[Row, float]) -> list[object]:
    times = [statistics.median(part) for row in found if (part := ratios(cells, row, variant, "processor"))]
    best = max(found, key=found.__getitem__)
    return [
        variant,
        "`" + ", ".join(f"{name}={value!r}" for name, value in VARIANTS[variant].items()) + "`",
        len(found),
        f"**{statistics.geometric_mean(found.values()):.4f}**",
        f"{found[best]:.3f} ({best.name})",
        sum(value > 1 + WORTH for value in found.values()),
        sum(value < 1 - WORTH for value in found.values()),
        f"{statistics.geometric_mean(times):.2f}" if times else "-",
    ]


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks experts", description=__doc__)
    rows.add_options(parser, SEEDS)
    parser.add_argument(
        "--without", nargs="+", choices=LEFT_OUT, default=LEFT_OUT, metavar="EXPERT", help=f"some of: {'; '.join(LEFT_OUT)}"
    )
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    options = parser.parse_args(arguments)
    run(fresh=options.fresh, chosen=rows.chosen(options.rows), seeds=options.seeds, without=options.without)
