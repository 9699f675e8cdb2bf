"""``python -m benchmarks cases [--rows ...] [--seeds ...]``: data made like people's, and coverage by kind of missing cell.

Figures are kept in docs/benchmarks/cases.csv as they are finished, and docs/benchmarks/cases.md is written of them. May be cut
short and started again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

from campaign import page
from campaign.store import Cell, Store, median, numbers

from benchmarks import rows
from benchmarks.measures import cases
from benchmarks.measures.cases import CASES, COVERAGE

SEEDS = (1, 2, 3)
QUICK = ("air, small", "eem", "eem, nonnegative", "units", "units, 1e6", "smooth")  # measured where no row is named
POINTS = 0.03  # by how much coverage may miss
SAID = 0.25  # and the error said, relative


def store(**how: Any) -> Store:
    return Store("cases", timed=False, **how)


def run(fresh: bool = False, *, chosen: Sequence[str] = QUICK, seeds: Sequence[int] = SEEDS) -> None:
    """Measure what is not on file, a fit for each set and seed, and write the page."""
    cells = store(fresh=fresh)
    for seed in seeds:
        for name in chosen:
            if fresh or not cells.current(set=name, seed=seed):
                for kind, figures in cases.ours(name, seed).items():
                    key = {"set": name, "kind": kind, "seed": seed}
                    print(cells.measure(key, lambda figures=figures: figures), flush=True)
    write()


def write() -> None:
    """The page, from what is on file."""
    cells = store(aged=True).cells()
    by_kind, whole = [], []
    for name in CASES:
        own = [cell for cell in cells if cell["set"] == name]
        for kind in dict.fromkeys(cell["kind"] for cell in own):
            found = [cell for cell in own if cell["kind"] == kind]
            if kind == "all":
                whole.append(_whole(name, found))
            else:
                by_kind.append(_kind(name, kind, found))
    columns = ["set", "kind of missing cell", "error", "bound", f"inside at {COVERAGE:g}", "holds", "width", "cells", "seeds"]
    page.write(
        "cases",
        "Data as people have it: errors and coverage by kind of missing cell",
        _protocol(),
        page.table(columns, by_kind),
        "## What was said",
        f"The error that `done.score()` says, beside the true one, and processor seconds. It should lie within {SAID:.0%}.",
        page.table(["set", "error", "said", "said over it", "holds", "seconds, fit", "seconds, calibration", "seeds"], whole),
    )


def _kind(name: str, kind: str, found: list[Cell]) -> list[object]:
    inside, bound = statistics.mean(numbers(found, "inside")), CASES[name].bounds.get(kind)
    error = median(found, "rmse")
    holds = abs(inside - COVERAGE) <= POINTS and (bound is None or error <= bound)
    said = ["-" if bound is None else page.number(bound), f"{inside:.3f}", "yes" if holds else "no"]
    return [name, kind, page.number(error), *said, page.number(median(found, "width")), page.number(median(found, "cells"), 6), len(found)]


def _whole(name: str, found: list[Cell]) -> list[object]:
    ratio = said_over(found)
    times = [page.number(median(found, column), 2) for column in ("fit", "calibration")]
    errors = [page.number(median(found, column)) for column in ("rmse", "said")]
    return [name, *errors, f"{ratio:.2f}", "yes" if abs(ratio - 1) <= SAID else "no", *times, len(found)]


def said_over(found: list[Cell]) -> float:
    """The error said over the true one, the median over sets."""
    return statistics.median(float(cell["said"]) / float(cell["rmse"]) for cell in found)


def _protocol() -> str:
    return (
        "`rankless.complete(array)` with every default on sets that are made, so that the truth is known.\n\n"
        "- *air*: hourly NO2, O3, PM10 and PM2.5 at stations; single cells missing, whole days, a station dead for weeks, and a pair of\n"
        "  station and pollutant never measured.\n"
        "- *eem*: fluorescence, samples x emission x excitation, without the bands of scattered light and the triangle below.\n"
        "- *ocean*: three variables on a map with land, under clouds.\n"
        "- *units*: two of four variables in another unit.\n"
        "- *smooth*: eight series of two waves.\n\n"
        "Errors are root mean squares, medians over seeds; coverage is the mean. A set has one pair never measured and one dead station: "
        "over few seeds their coverage is that of a few numbers. *Holds*: within three points of the promise, and the error within its "
        "bound."
    )


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks cases", description=__doc__)
    parser.add_argument("--rows", nargs="+", metavar="SET", help=f"such as air, eem or ocean; {'; '.join(QUICK)} without it")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS), metavar="SEED", help=f"{' '.join(map(str, SEEDS))} without it")
    parser.add_argument("--fresh", action="store_true", help="measure finished sets again")
    parser.add_argument("--page-only", action="store_true", help="write the page of what is on file")
    options = parser.parse_args(arguments)
    chosen = [name for name in CASES if name in QUICK] if not options.rows else [n for n in CASES if rows.matches(n, options.rows)]
    if not chosen:
        parser.error(f"no set is named {', '.join(options.rows)}; there are {'; '.join(CASES)}")
    if options.page_only:
        write()
    else:
        run(fresh=options.fresh, chosen=chosen, seeds=options.seeds)
