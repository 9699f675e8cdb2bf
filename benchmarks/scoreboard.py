"""``python -m benchmarks.scoreboard [--quick | --stored | --release] [--fresh]``: every figure that is claimed, against its bound.

Measures what is not measured yet with today's code, page by page (it may be cut short and started
again), then writes docs/scoreboard.md. ``--quick`` measures the quick page only, ``--stored`` none, ``--release`` also those of releases;
figures of the other pages are read from their finished cells.
"""

from __future__ import annotations

import argparse
import importlib
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from campaign import data, page
from campaign.machine import ROOT, machine
from campaign.store import Cell, median, numbers

from benchmarks import (
    any_rank,
    bare,
    cases,
    completion,
    dynamics,
    entries,
    growth,
    later,
    planted,
    race,
    ratings,
    reproduce,
    scale,
    speed,
)
from benchmarks.__main__ import LONG, PAGES, QUICK
from benchmarks.measures.cases import CASES, COVERAGE
from benchmarks.measures.dynamics import ALS, PAPER, SAME
from benchmarks.measures.peers import RANKS
from benchmarks.measures.planted import SETTINGS, SLACK
from benchmarks.measures.scale import COUNTS

ACCURACY = {
    ("metoffice_2001_2020", 0.5): 0.37,
    ("metoffice_2001_2020", 0.8): 0.45,
    ("metoffice_2001_2020", 0.95): 0.66,
    ("birmingham_parking", 0.5): 0.032,
    ("birmingham_parking", 0.8): 0.075,
    ("nyc_airport_weather", 0.5): 0.45,
    ("nyc_airport_weather", 0.8): 0.53,
}
EXPLICIT_OVER_ALS = 1000
FIRST_FLOW = 8.0
REPRODUCE = {"quick": 180, "full": 1800}
RECOVERED, OF = 48, 50  # seeds of each planted setting
FLAT = 0.03  # spread of the error over the components allowed
KERNEL = {16: None, 32: 0.7, 64: 0.9}
START_UP = {
    "first_fit": ("tiny `als.solve` in a fresh process, kernels cached, s", 1.5),
    "import_over_numpy": ("`import rankless` over NumPy's, s", 0.4),
    "complete": ("`import rankless; rankless.complete`, what the lazy import leaves for the first use, s", None),
    "help": ("`rankless --help`, s", 0.5),
}


@dataclass(frozen=True)
class Figure:
    """One line of the scoreboard; `holds` is None where nothing is claimed or too little is measured."""

    what: str
    bound: str
    measured: str
    holds: bool | None
    cells: list[Cell]


def at_most(
    what: str, bound: float | None, value: float, cells: list[Cell], *, enough: bool = True, note: str = "", digits: int = 3
) -> Figure:
    known = value == value
    text = f"{value:.{digits}g}{note}" if known else "not measured"
    return Figure(
        what, "-" if bound is None else f"≤ {bound:g}", text, value <= bound if known and enough and bound is not None else None, cells
    )


def clone(**how: bool) -> Iterator[Figure]:
    cells = bare.store(**how).current()
    for target in ("demo", "test"):
        passed = bool(cells) and cells[0][f"{target}_passed"] == "1"
        text = ("passes" if passed else "fails") if cells else "not measured"
        yield Figure(f"`make {target}` in a fresh clone, nothing installed", "passes", text, passed if cells else None, cells)
    yield at_most("test suite, s", 300, median(cells, "suite_seconds"), cells, note=f" ({cells[0]['tests']} tests)" if cells else "")


def real_data(**how: bool) -> Iterator[Figure]:
    cells = completion.store(**how)
    for (name, share), bound in ACCURACY.items():
        found = completion.of(cells, name, "cells", share)
        missing = f" ({len(found)} of {len(entries.SEEDS)} seeds)" if len(found) < len(entries.SEEDS) else ""
        yield at_most(
            f"NRMSE, {name}, {share:.0%} hidden", bound, median(found, "nrmse"), found, enough=not missing, note=missing, digits=4
        )
    given = entries.entries()
    for pattern in data.PATTERNS:
        tables = {table: (completion.of(cells, *table), theirs) for table, theirs in given.items() if table[1] == pattern}
        yield _over_peers(pattern, list(tables.values()))


def _over_peers(pattern: str, tables: list[tuple[list[Cell], list[entries.Entry]]]) -> Figure:
    """The worst table of one pattern."""
    ratios = [entries.over_best(ours, theirs) for ours, theirs in tables]
    worst = max((r for r in ratios if r == r), default=math.nan)
    lacking = sum(len(entries.SEEDS) - len(ours) for ours, _ in tables)
    missing = sum(entry.missing() for _, theirs in tables for entry in theirs)
    notes = [f"worst of {sum(r == r for r in ratios)} tables"]
    notes += [f"{lacking} of our fits not measured"] * bool(lacking) + [f"{missing} fits of peers not measured"] * bool(missing)
    return at_most(
        f"NRMSE over the best peer's at its best setting, same cells, {pattern} hidden",
        1.0,
        worst,
        [c for ours, _ in tables for c in ours],
        enough=worst > 1 or not (lacking or missing),  # one more peer can only raise a ratio
        note=f" ({'; '.join(notes)})",
    )


def recovery(**how: bool) -> Iterator[Figure]:
    cells = planted.store(**how)
    for setting in SETTINGS:
        found = planted.of(cells, setting)
        recovered = int(sum(numbers(found, "recovered")))
        missed = len(found) - recovered
        settled = missed > OF - RECOVERED or len(found) >= OF
        text = f"{recovered} of {len(found)}" if found else "not measured"
        yield Figure(
            f"planted {setting.name}: recovered", f"≥ {RECOVERED} of {OF}", text, missed <= OF - RECOVERED if settled else None, found
        )


def rank_free(**how: bool) -> Iterator[Figure]:
    cells = any_rank.store(**how)
    for kind in any_rank.KINDS:
        for share in any_rank.SHARES:
            found = any_rank.of(cells, "rankless", kind, share)
            short = len(found) < len(any_rank.SEEDS)
            note = f" ({len(found)} of {len(any_rank.SEEDS)} seeds)" if short else ""
            bound = any_rank.PUBLISHED.get((kind, share))
            what = f"{kind} 100^3, {share:.0%} seen: squared relative error (bound: published ALS told the rank)"
            yield at_most(what, bound, median(found, "error"), found, enough=not short, note=note, digits=2)


def grown(**how: bool) -> Iterator[Figure]:
    cells, given = growth.store(**how), growth.peers()
    for table, first in (("planted", 0), ("real", 1)):
        for measure, start, text in (
            (growth.spread, first, "largest over least, less 1"),
            (growth.rise, 0, "the most that allowing more costs"),
        ):
            value, worst, found = growth.largest(cells, table, measure, first=start)
            what = f"error with {growth.ALLOWED[start]} to {growth.ALLOWED[-1]} components allowed, {growth.TITLES[table]}: {text}"
            yield at_most(what, FLAT, value, found, note=f" ({worst})" if found else "")
        value = growth.over_best_peer(cells, given, table)
        bound = SLACK if table == "planted" else 1.0  # a peer told the true rank is as good as an oracle
        yield at_most(f"{growth.TITLES[table]}: worst error at any depth over the best peer's, told its best rank", bound, value, found)


def recommender(**how: bool) -> Iterator[Figure]:
    cells, given = ratings.store(**how), ratings.peers()
    found = ratings.of(cells, "rankless")
    short = len(found) < len(ratings.SEEDS)
    for name, methods in (("cmfrec", ratings.CMFREC), ("SMURFF", ratings.SMURFF)):
        what = f"ratings like MovieLens 100K: RMSE over {name}'s at its best setting"
        yield at_most(what, 1.0, ratings.over(cells, given, methods), found, enough=not short, digits=4)


def people(**how: bool) -> Iterator[Figure]:
    """Coverage by kind of missing cell, and the error that was said, on the sets that are measured where none is named."""
    store = cases.store(**how)
    current = store.current()
    for name in (name for name in CASES if name in cases.QUICK):
        own = [cell for cell in current if cell["set"] == name]
        for kind in sorted({cell["kind"] for cell in store.cells() if cell["set"] == name} - {"all"}):
            found = [cell for cell in own if cell["kind"] == kind]
            inside = statistics.mean(numbers(found, "inside")) if found else math.nan
            bound = f"{COVERAGE - cases.POINTS:.2f} to {COVERAGE + cases.POINTS:.2f}"
            holds = abs(inside - COVERAGE) <= cases.POINTS if len(found) >= len(cases.SEEDS) else None
            text = f"{inside:.3f} ({len(found)} sets)" if found else "not measured"
            yield Figure(f"inside intervals at {COVERAGE:g}: {name}, {kind}", bound, text, holds, found)
        found = [cell for cell in own if cell["kind"] == "all"]
        ratio = cases.said_over(found) if found else math.nan
        what = f"{name}: the error said over the true one, less 1"
        yield at_most(what, cases.SAID, abs(ratio - 1), found, enough=len(found) >= len(cases.SEEDS))


def tomorrow(**how: bool) -> Iterator[Figure]:
    """Days fed one by one, places and people of whom nothing was seen, and components to stand on."""
    store = later.store(**how)
    given = store.current()
    for row in (row for row in later.ROWS if row.group == "feed"):
        found = later.of(given, "feed", row.name)
        columns = (("updated_all", "scratch_all"), ("updated_fed", "scratch_fed"), ("update", "whole"))
        every, error, time = (later.ratio(found, one, other) for one, other in columns)
        note = f" ({len(found)} of {len(row.seeds)} seeds)" if len(found) < len(row.seeds) else ""
        enough = not note
        what = f"fed day by day ({row.name}), {later.FEEDS[row.name].share:.0%} hidden: updates over a fit from scratch"
        yield at_most(f"{what}, error on all cells", later.CLOSE, every, found, enough=enough, note=note)
        yield at_most(f"{what}, error on the days fed", later.CLOSE, error, found, enough=enough, note=note)
        yield at_most(f"{what}, time of one", later.CHEAP, time, found, enough=enough, note=note)
    for group, against, what in (
        ("cold", "kriging", "Met Office, stations left out whole: error over kriging in space at its best setting"),
        ("ratings", "ridge", "ratings with features, a user or an item never rated: error over ridge regression at its best penalty"),
    ):
        found = later.of(given, group)
        yield at_most(what, 1.0, later.ratio(found, "side", against), found)
    for size in later.SIZES:
        found = later.of(given, "neurons", size)
        matched = int(min(numbers(found, "poisson_matched"), default=0))
        text = f"{matched} of {later.ASSEMBLIES}" if found else "not measured"
        holds = matched == later.ASSEMBLIES if found else None
        yield Figure(f"counts of neurons {size}, nonnegative: assemblies found", "all", text, holds, found)
        ratio = later.ratio(found, "poisson_seconds", "squares_seconds")
        yield at_most(f"counts of neurons {size}: time over that of squares", later.SLOWER, ratio, found)
    for row in (row for row in later.ROWS if row.group == "assured"):
        found, count = later.of(given, "assured", row.name), later.COUNTS[row.name]
        right = sum(int(cell["count"]) == count for cell in found)
        text = f"{right} of {len(found)} sets" if found else "not measured"
        holds = right == len(found) if len(found) >= len(row.seeds) else None
        yield Figure(f"components that are real: {row.name}", f"{count}", text, holds, found)
        if row.name.startswith("fluorescence"):
            least = min((min(float(c["starts"]), float(c["halves"])) for c in found if c.get("starts")), default=math.nan)
            text = f"{least:.4f}" if found else "not measured"
            holds = least >= later.ALIKE if len(found) >= len(row.seeds) else None
            yield Figure(f"the same: least match over ten starts and halves, {row.name}", f"≥ {later.ALIKE}", text, holds, found)


def speeds(**how: bool) -> Iterator[Figure]:
    cells = speed.of_kernel(**how)
    for rank, bound in KERNEL.items():
        found = cells.current(what="rows", rank=rank)
        both = median(found, "ratio"), median(found, "one_thread_ratio")  # on a busy machine the first alone is luck
        text = f"{both[0]:.2f} on all cores, {both[1]:.2f} on one thread" if found else "not measured"
        holds = min(both) >= bound if found and bound is not None else None
        yield Figure(f"row kernel over dgemm, float64, rank {rank}", "-" if bound is None else f"≥ {bound:g}", text, holds, found)
    found = speed.of_matrix(**how).current()
    peer = speed.fastest_peer(found) if found else None
    name = peer or "the fastest peer"
    yield at_most(f"matrix, 4 M entries, 10 sweeps: time over {name}", 0.5, speed.ratio(found, peer) if peer else float("nan"), found)
    error = speed.ratio(found, peer, what="rmse") if peer else float("nan")
    yield at_most(f"the same: RMSE over {name}", 1.01, error, found, digits=4)
    given = race.store(**how)
    for data_set in data.NAMES:
        for share in race.SHARES:
            found = race.of(given, data_set, share)
            value, short = race.ratio(found) if found else float("nan"), len(found) < len(race.SEEDS)
            what = f"whole automatic fit over one {race.AGAINST[0]} fit, {data_set}, {share:.0%} hidden: time"
            note = f" ({len(found)} of {len(race.SEEDS)} repetitions)" if short else ""
            yield at_most(what, 1.0, value, found, enough=not short, note=note)
            for peer in race.SCANS:
                what = f"the same over {peer} scanning ranks {', '.join(map(str, RANKS))}: time"
                yield at_most(what, None, race.scan_ratio(found, peer), found)
    found = cells.current(what="set-up")
    yield at_most("sorting 4 M entries over one sweep at rank 32", 1.0, median(found, "sort_ratio"), found)
    yield at_most("reading (any order) and sorting 4 M entries over one sweep", 1.0, median(found, "whole_ratio"), found)


def science(**how: bool) -> Iterator[Figure]:
    cells = dynamics.races(**how)
    for racer, way in ((PAPER, "small start, no weight decay (the way of the paper)"), (SAME, "with weight decay")):
        found = dynamics.of(cells, racer)
        enough = len(found) >= len(dynamics.SEEDS) and bool(dynamics.of(cells, ALS))
        value, arrives = dynamics.at_least(cells, racer) if enough else (math.nan, True)
        text = f"{'' if arrives else '> '}{value:.0f} : 1{'' if arrives else ' (never arrives)'}" if enough else "not measured"
        what = f"deep CP, k = 2, to 1.05 times the error of ALS: time of explicit layers in PyTorch, {way}, over ALS"
        yield Figure(what, f"≥ {EXPLICIT_OVER_ALS}", text, value >= EXPLICIT_OVER_ALS if enough else None, found)
    found = dynamics.of(dynamics.store(**how), "fresh process")
    yield at_most("first result of a collapsed flow in a fresh process, s", FIRST_FLOW, median(found, "first"), found)
    yield at_most("a second depth in the same process, s", None, median(found, "second"), found)
    cells_of = {settings: reproduce.of(settings, **how) for settings in REPRODUCE}
    for settings, bound in REPRODUCE.items():
        found = reproduce.together(settings, **how) or cells_of[settings]
        used = reproduce.total(found, "processor_seconds")
        note = f" ({used:.0f} of processor time)" if found else ""
        yield at_most(f"{reproduce.SETTINGS[settings]}, s", bound, reproduce.total(found, "seconds"), found, note=note)
    for settings, found in cells_of.items():
        held, claims = (reproduce.total(found, column) for column in ("held", "claims"))
        text = f"{held:.0f} of {claims:.0f}" if found else "not measured"
        yield Figure(f"claims of {reproduce.SETTINGS[settings]} that hold", "all", text, held == claims if found else None, found)


def memory(**how: bool) -> Iterator[Figure]:
    found = speed.of_kernel(**how).current(what="memory")
    yield at_most("bytes an entry, order 3, float64, input included: held", 64, median(found, "held"), found)
    yield at_most("the same: peak while sorting", 64, median(found, "peak"), found)
    cells = scale.store(**how)
    for dtype, bound in (("float32", 32), ("float64", 64)):
        found = [cell for cell in cells.current(what="here", dtype=dtype) if int(cell["count"]) >= COUNTS[1]]
        what = f"bytes an entry read in chunks, 10 M or more, {dtype}: peak while sorting"
        yield at_most(what, bound, max(numbers(found, "bytes_peak"), default=math.nan), found)


def many(**how: bool) -> Iterator[Figure]:
    cells = scale.store(**how)
    found = scale.as_full(cells)
    value = abs(scale.slope(found) - 1) if len(found) == len(COUNTS) else math.nan
    yield at_most("time of a sweep against 1 M to 100 M entries, rows as full: slope between logarithms, less 1", 0.05, value, found)
    found = cells.current(what="cluster")
    apart = max(numbers(found, "apart"), default=math.nan)
    yield at_most(
        "factors by 2 and 4 Dask workers, and with a worker killed ten times, less those by threads, relatively", 1e-12, apart, found
    )


def start_up(**how: bool) -> Iterator[Figure]:
    found = speed.of_startup(**how).current()
    for name, (what, bound) in START_UP.items():
        yield at_most(what, bound, median(found, name), found)


GROUPS: dict[str, Callable[..., Iterator[Figure]]] = {
    "A bare machine": clone,
    "Accuracy on real data, nothing chosen": real_data,
    "Planted recovery, nothing chosen": recovery,
    "Rank must not matter, nothing chosen": rank_free,
    "Error as the allowed components grow": grown,
    "Ratings, nothing chosen": recommender,
    "Data as people have it": people,
    "Tomorrow's rows, side information, components": tomorrow,
    "Speed": speeds,
    "Memory": memory,
    "Entries by the million": many,
    "Start-up": start_up,
    "Depth: the science engine": science,
}


def write() -> list[Figure]:
    """docs/scoreboard.md from the finished cells; returns all figures."""
    parts, every = ["# Scoreboard"], []
    letters = {machine(): "A"}
    for title, group in GROUPS.items():
        figures = [_with_age(new, old) for new, old in zip(group(), group(aged=True), strict=True)]
        every += figures
        lines = [_line(figure, letters) for figure in figures]
        parts += [f"## {title}", page.table(["what", "bound", "measured", "holds", "date", "machine"], lines)]
    failing = sum(f.holds is False for f in every)
    unknown = sum(f.holds is None and f.bound != "-" for f in every)
    held = sum(f.holds is True for f in every)
    count = f"**{held} hold, {failing} fail, {unknown} are not fully measured.**"
    parts.insert(1, f"{count} Each figure is measured by the function that its test and its benchmark use.")
    parts += ["## Machines", page.table(["", "machine"], [[letter, name] for name, letter in letters.items()])]
    (ROOT / "docs" / "scoreboard.md").write_text("\n\n".join([*parts, page.footer()]) + "\n")
    return every


def _with_age(new: Figure, old: Figure) -> Figure:
    """What is measured with today's code; failing that, what older code gave, which proves nothing."""
    if new.cells or not old.cells:
        return new
    return replace(old, measured=f"{old.measured} with older code or elsewhere", holds=None)


def _line(figure: Figure, letters: dict[str, str]) -> list[str]:
    """A row of the page; a machine gets its letter where it first occurs."""
    dates = sorted({c["date"] for c in figure.cells})
    for name in sorted({c["machine"] for c in figure.cells}):
        letters.setdefault(name, chr(ord("A") + len(letters)))
    where = ", ".join(sorted({letters[c["machine"]] for c in figure.cells}))
    holds = {True: "yes", False: "**no**", None: "-"}[figure.holds]
    return [figure.what, figure.bound, figure.measured, holds, dates[-1] if dates else "", where]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoreboard", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure the quick pages only")
    parser.add_argument("--release", action="store_true", help="measure also the pages that are measured at releases")
    parser.add_argument("--stored", action="store_true", help="measure nothing")
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    options = parser.parse_args()
    for name in () if options.stored else QUICK if options.quick else PAGES if options.release else (*QUICK, *LONG):
        importlib.import_module(f"benchmarks.{name}").run(fresh=options.fresh)
        write()  # what is finished is on the board even if the next page is cut short
    for figure in write():
        print(f"{ {True: 'holds', False: 'FAILS', None: '-'}[figure.holds]:6} {figure.what}: {figure.measured} (bound {figure.bound})")
    print("wrote docs/scoreboard.md")


if __name__ == "__main__":
    main()
