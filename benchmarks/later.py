"""``python -m benchmarks later [--quick] [--rows ...] [--seeds ...]``: what comes later, what is known beside, components to stand on.

Figures are kept in docs/benchmarks/later.csv as they are finished, and docs/benchmarks/later.md is written of them. May be cut short and
started again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from campaign import data, page
from campaign.store import Cell, Store, median

from benchmarks.measures import later

CLOSE, CHEAP = 1.02, 0.1  # an update: its error over that of a fit from scratch, its time over that fit's, at most
SLOWER = 3.0  # Poisson counts over squares, at most
ALIKE = 0.99  # components of other starts and of halves, at the least
FEEDS, SIZES, ASSEMBLIES = later.FEEDS, tuple(later.NEURONS), later.ASSEMBLIES
COUNTS = {name: case.count for name, case in later.ASSURED.items()}


@dataclass(frozen=True)
class Row:
    """What is measured, of which seeds, and whether it is among the quick ones."""

    group: str
    name: str
    measure: Callable[[int], dict[str, float]]
    seeds: Sequence[int]
    quick: bool = False


ROWS = [
    Row("feed", "New York, 60 days, then 10", partial(later.feed, "New York, 60 days, then 10"), (0, 1), True),
    Row("feed", "car parks, 57 days, then 20", partial(later.feed, "car parks, 57 days, then 20"), (0, 1)),
    Row("feed", "New York, 300 days, then 30", partial(later.feed, "New York, 300 days, then 30"), (0,)),
    Row("cold", "Met Office, stations", later.stations, (0, 1, 2)),
    Row("ratings", "ratings with features", later.ratings, (0, 1, 2), True),
    *(Row("neurons", size, partial(later.neurons, size), (0,), size == "24 x 40 x 20") for size in later.NEURONS),
    *(Row("assured", name, partial(later.assured, name), range(5 if name == "noise" else 3), name == "noise") for name in later.ASSURED),
]


def store(**how: Any) -> Store:
    return Store("later", timed=False, **how)


def run(fresh: bool = False, *, chosen: Sequence[Row] = ROWS, seeds: Sequence[int] | None = None) -> None:
    """Measure what is not on file, and write the page."""
    cells = store(fresh=fresh)
    for row in chosen:
        for seed in row.seeds if seeds is None else seeds:
            try:
                print(cells.measure({"group": row.group, "name": row.name, "seed": seed}, partial(row.measure, seed)), flush=True)
            except data.Absent as reason:
                print(f"skipped {row.name}: {reason}", flush=True)
    write()


def of(cells: Sequence[Cell], group: str, name: str | None = None) -> list[Cell]:
    """The cells of a group, or of one row of it."""
    return [cell for cell in cells if cell["group"] == group and name in (None, cell["name"])]


def ratio(cells: Sequence[Cell], one: str, other: str) -> float:
    """The median over cells of one column over another; NaN where there is none."""
    found = [float(cell[one]) / float(cell[other]) for cell in cells if cell.get(one) and cell.get(other)]
    return statistics.median(found) if found else float("nan")


def names(cells: Sequence[Cell], group: str) -> Iterator[tuple[str, list[Cell]]]:
    """The rows of a group of which something is on file."""
    for row in ROWS:
        found = of(cells, group, row.name)
        if row.group == group and found:
            yield row.name, found


def write() -> None:
    """The page, from what is on file."""
    cells, number = store(aged=True).cells(), page.number
    feeds = [
        [
            name,
            *(number(median(found, f"{what}_fed"), 4) for what in ("folded", "updated", "scratch")),
            f"{ratio(found, 'updated_fed', 'scratch_fed'):.3f}",
            f"{ratio(found, 'updated_all', 'scratch_all'):.3f}",
            *(number(median(found, column), 3) for column in ("update", "whole")),
            f"{ratio(found, 'update', 'whole'):.3f}",
            len(found),
        ]
        for name, found in names(cells, "feed")
    ]
    cold = [
        [name, *(number(median(found, c)) for c in ("side", "plain", against)), f"{ratio(found, 'side', against):.3f}", extra, len(found)]
        for group, against in (("cold", "kriging"), ("ratings", "ridge"))
        for name, found in names(cells, group)
        for extra in [number(median(found, "inside"))]
    ]
    neurons = [
        [
            name,
            *(f"{int(median(found, f'{what}_matched'))} of {later.ASSEMBLIES}" for what in ("poisson", "squares")),
            *(number(median(found, f"{what}_{column}")) for column in ("error", "seconds") for what in ("poisson", "squares")),
            f"{ratio(found, 'poisson_seconds', 'squares_seconds'):.2f}",
            len(found),
        ]
        for name, found in names(cells, "neurons")
    ]
    assured = [
        [
            name,
            later.ASSURED[name].count,
            ", ".join(cell["count"] for cell in found),
            *(number(min((float(c[column]) for c in found if c.get(column)), default=float("nan")), 4) for column in ("starts", "halves")),
            number(min((float(c["truth"]) for c in found if c.get("truth")), default=float("nan")), 4),
            number(median(found, "seconds"), 2),
        ]
        for name, found in names(cells, "assured")
    ]
    page.write(
        "later",
        "What comes later, what is known beside, and components to stand on",
        "Every default, one thread, seconds of the processor; medians over seeds unless said otherwise.",
        "## A feed, day by day",
        "A fifth of the cells is seen. The first days are fitted; the others come one by one, each taken in by `done.update`. Errors are "
        "those of hidden cells of the days that were fed, at the end, over the deviation of all hidden cells: of one `extend` with all of "
        f"them, of the updates, and of fits of everything from scratch: the mean over {later.SEARCHES} that hold out other entries. "
        f"Asked are {CLOSE} of their error and {CHEAP} of the time of one.",
        page.table(
            ["data", "extend", "updates", "scratch", "updates over scratch", "on all cells", "s, an update", "s, scratch", "time", "seeds"],
            feeds,
        ),
        "## Of whom nothing was seen",
        f"*Met Office*: {later.STATIONS_OUT} of 35 stations are left out whole, and {later.SEEN:.0%} of the cells of the others are seen; "
        "known are latitude, longitude and height. Beside stands kriging in space of every month and variable by itself (exponential "
        "covariance, with height as a drift or without, lengths and noises best by the very error). *Ratings*: made, of users with an age "
        "and a job and items with a year and a genre, which tell a part of the taste; asked are pairs of which one was never rated. Beside "
        "stands ridge regression on the features of both and their products, its penalty best by the very error. *Inside*: of intervals at "
        "90 %.",
        page.table(["data", "with side information", "without", "kriging or ridge", "ours over it", "inside", "seeds"], cold),
        "## Neurons x moments x trials",
        f"Counts of {later.ASSEMBLIES} assemblies that add up, nonnegative, a tenth missing. Found: a planted component that one of ours "
        f"matches above .95. Asked are all of them, in at most {SLOWER:g} times the time of squares.",
        page.table(
            ["neurons", "found, Poisson", "squares", "error, Poisson", "squares", "s, Poisson", "squares", "time", "seeds"],
            neurons,
        ),
        "## How many, and are they real?",
        f"`rankless.factorize`: components that are real, by seed, and how well they match at the least over ten starts and over halves of "
        f"the data ({ALIKE} is asked of fluorescence, whose samples are halved; of the others the cells are), and the planted ones.",
        page.table(["data", "planted", "found, by seed", "starts", "halves", "truth", "seconds"], assured),
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks later", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small rows, one seed each: minutes")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help=f"such as feed, cold or noise; of {'; '.join(row.name for row in ROWS)}")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="those of each row without it")
    parser.add_argument("--fresh", action="store_true", help="measure finished rows again")
    parser.add_argument("--page-only", action="store_true", help="write the page of what is on file")
    options = parser.parse_args(arguments)
    chosen = [row for row in ROWS if not options.rows or row.name in options.rows or row.group in options.rows]
    if not chosen:
        parser.error(f"no row is named {', '.join(options.rows)}; there are {'; '.join(row.name for row in ROWS)}")
    if options.quick:
        chosen = [row for row in chosen if row.quick]
    if options.page_only:
        write()
    else:
        run(fresh=options.fresh, chosen=chosen, seeds=options.seeds or ([0] if options.quick else None))
