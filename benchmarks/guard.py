"""``python -m benchmarks guard --against CHECKOUT``: may this change land? Today's code beside a baseline, seed by seed.

    geometric mean of new over old error, 21 tables        at most 1.003
    median over seeds of new over old, any table           at most 1.02
    planted tensors recovered, of 50 of each setting       at least 48
    ratings, RMSE                                          at most .910
    growth: error from the fewest to the most components   within 3 %
    coverage: further from the promise than the baseline   by at most 2 points

The baseline is another checkout (its folder, or its folder ``src``), or a code whose figures are on file. Every figure is kept in
``out/guard.csv`` as it is finished, under the code that gave it, and measured once. One process on each core, each on one thread.
Exit code: 0 where every rule holds on the rows that were asked for, 1 where one is broken, 2 for a mistaken call.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from campaign import alone
from campaign.machine import ROOT, source_stamp
from campaign.store import Cell, Store

from benchmarks import growth, planted, rows
from benchmarks.measures import guarded
from benchmarks.measures.growth import ALLOWED, DEPTHS, TABLES
from benchmarks.measures.planted import recovered

MEAN, ROW = 1.003, 1.02
MISSED = 2 / 50  # of the seeds of one planted setting
RATINGS = 0.910
GROWTH = 0.03
POINTS = 0.02
FILE = ROOT / "out" / "guard.csv"
NO_NUMBERS = ("cli", "demo", "dynamics", "figures", "io", "report", "views")  # folders and modules whose change moves no figure
MODULE = "benchmarks.measures.guarded"


@dataclass(frozen=True)
class Guarded:
    """One row: what measures it at a seed, its seeds where none are asked for, and its error, where it has one."""

    name: str
    function: str
    args: tuple[object, ...]
    seeds: Sequence[int]
    error: str = ""


def every() -> list[Guarded]:
    """All rows whose data are on this machine."""
    here = rows.here()
    found = [Guarded(row.name, "completion", (row.data, row.pattern, row.share), range(5), "nrmse") for row in here]
    found += [Guarded(f"planted/{name}", "recovery", (name,), range(50), "error") for name in guarded.PLANTED]
    found += [Guarded("ratings", "rated", (), range(3), "rmse")]
    names = {row.data for row in here}
    tables = [table for table in TABLES if table != "real" or growth.growth.REAL in names]
    found += [Guarded(f"growth/{table}/k{depth:g}", "grown", (table, depth), range(3)) for table in tables for depth in DEPTHS]
    kinds = [kind for kind in guarded.KINDS if kind not in rows.SHORT or kind in names]
    found += [Guarded(f"coverage/{rows.SHORT.get(kind, kind)}", "covered", (kind,), range(5)) for kind in kinds]
    return found


@dataclass(frozen=True)
class Line:
    """What is said of a row, and whether its rule holds; None where there is nothing to compare."""

    name: str
    text: str
    holds: bool | None
    ratios: Sequence[float] = ()


def code_of(source: Path) -> str:
    """A short hash of all code in ``source/rankless`` that may move a figure."""
    package = source / "rankless"
    files = [path.relative_to(source) for path in package.rglob("*.py")]
    return source_stamp(tuple(str(f) for f in sorted(files) if f.parts[1].removesuffix(".py") not in NO_NUMBERS), root=source)


def kept(path: Path, **how: bool) -> Store:
    """The figures on file; they age with what measures them, and `code` in their key says whose they are."""
    return Store(path.stem, timed=False, stamp=source_stamp(guarded.FILES, without=guarded.NOT_COMPARED), folder=path.parent, **how)


def measure(cells: Store, wanted: Iterable[tuple[Guarded, int]], sources: dict[str, Path], *, processes: int | None = None) -> None:
    """Every row and seed with every code in `sources`, those of one seed side by side, where they are not on file."""
    jobs = []
    for row, seed in wanted:
        for code, source in sources.items():
            key: dict[str, object] = {"row": row.name, "seed": seed, "code": code}
            if cells.find(key) is None:
                jobs.append(alone.Job(key, MODULE, row.function, (*row.args, seed), source))
        if row.function == "recovery" and _oracle(cells, row, seed) is None:
            jobs.append(alone.Job({"row": row.name, "seed": seed, "code": "oracle"}, MODULE, "oracle", (*row.args, seed)))
    for at, (job, found) in enumerate(alone.side_by_side(jobs, processes=processes), 1):
        cells.measure(job.key, lambda found=found: found)
        shown = ", ".join(f"{name} {value:.5g}" for name, value in found.items())
        print(f"{at} of {len(jobs)}: {job.key['row']}, seed {job.key['seed']}, code {job.key['code']}: {shown}", flush=True)


def compare(cells: Store, row: Guarded, seeds: Sequence[int], old: str, new: str) -> Line:
    """The line of one row, from what is on file."""
    found = {code: {int(c["seed"]): c for c in cells.current(row=row.name, code=code) if int(c["seed"]) in seeds} for code in (old, new)}
    both = sorted(set(found[old]) & set(found[new]))
    pairs = [(found[old][seed], found[new][seed]) for seed in both]
    if not pairs:
        return Line(row.name, f"{len(found[old])} seeds of the baseline and {len(found[new])} of today's on file: nothing to compare", None)
    line = _compared(row, pairs)
    if row.function == "recovery":
        oracles = {seed: _oracle(cells, row, seed) for seed in both}
        return _planted(row, line, {seed: (found[new][seed], oracle) for seed, oracle in oracles.items() if oracle is not None})
    return RULES.get(row.function, _as_it_is)(row, line, pairs)


def _compared(row: Guarded, pairs: list[tuple[Cell, Cell]]) -> Line:
    """New over old error, seed by seed."""
    if not row.error:
        return Line(row.name, "", True)
    old, new = ([float(cell[row.error]) for cell in side] for side in zip(*pairs, strict=True))
    ratios = [_over(a, b) for a, b in zip(new, old, strict=True)]
    middle = statistics.median(ratios)
    text = f"{statistics.median(old):.5g} -> {statistics.median(new):.5g}, ratio {middle:.4f} ({len(pairs)} seeds)"
    return Line(row.name, text, middle <= ROW, ratios)  # False for NaN too


def _over(new: float, old: float) -> float:
    return 1.0 if new == old else new / old if old else math.inf


def _as_it_is(row: Guarded, line: Line, pairs: list[tuple[Cell, Cell]]) -> Line:
    return line


def _planted(row: Guarded, line: Line, found: dict[int, tuple[Cell, float]]) -> Line:
    setting = guarded.PLANTED[str(row.args[0])]
    missed = [seed for seed, (cell, oracle) in found.items() if not recovered(setting, float(cell["rank"]), float(cell["error"]), oracle)]
    text = f"{len(found) - len(missed)} of {len(found)} recovered; {line.text}"
    return replace(line, text=text, holds=bool(line.holds) and len(missed) <= math.ceil(MISSED * len(found)))


def _ratings(row: Guarded, line: Line, pairs: list[tuple[Cell, Cell]]) -> Line:
    error = statistics.median(float(new["rmse"]) for _, new in pairs)
    return replace(line, holds=bool(line.holds) and error <= RATINGS, text=f"{line.text}, bound {RATINGS:.3f}")


def _growth(row: Guarded, line: Line, pairs: list[tuple[Cell, Cell]]) -> Line:
    def grows(cells: list[Cell]) -> float:
        errors = [statistics.median(float(cell[f"at_{allowed}"]) for cell in cells) for allowed in ALLOWED]
        first = 0 if row.args[0] == "planted" else 1  # on real data a few components are too few
        return max(growth.spread(errors[first:]), growth.rise(errors))

    old, new = (grows(list(side)) for side in zip(*pairs, strict=True))
    return replace(line, text=f"grows by {old:.2%} -> {new:.2%} ({len(pairs)} seeds)", holds=new <= GROWTH)


def _coverage(row: Guarded, line: Line, pairs: list[tuple[Cell, Cell]]) -> Line:
    worst, texts = -math.inf, []
    for promised in guarded.COVERAGES:
        old, new = (statistics.mean(float(cell[f"inside_{promised:g}"]) for cell in side) for side in zip(*pairs, strict=True))
        worst = max(worst, abs(new - promised) - abs(old - promised))
        texts.append(f"{promised:g}: {old:.3f} -> {new:.3f}")
    return replace(line, text=f"{', '.join(texts)} ({len(pairs)} seeds)", holds=worst <= POINTS)


RULES: dict[str, Callable[[Guarded, Line, list[tuple[Cell, Cell]]], Line]] = {"rated": _ratings, "grown": _growth, "covered": _coverage}


def _oracle(cells: Store, row: Guarded, seed: int) -> float | None:
    """The oracle's error, from the guard's file or the page of planted tensors: it is the same with any code."""
    cell = cells.find({"row": row.name, "seed": seed, "code": "oracle"})
    name = guarded.PLANTED[str(row.args[0])].name
    cell = cell or next(iter(planted.store(aged=True).current(setting=name, seed=seed)), None)
    return float(cell["oracle"]) if cell else None


def verdict(lines: Sequence[Line], tables: Iterable[str]) -> tuple[list[str], bool]:
    """What is wrong, a sentence each, and whether the guard holds; `tables` are the rows whose ratios make the mean."""
    names = set(tables)
    ratios = [ratio for line in lines if line.name in names for ratio in line.ratios]
    said = [f"{line.name}: {line.text}" for line in lines if line.holds is False]
    if ratios:
        mean = math.exp(statistics.mean(math.log(ratio) if ratio > 0 else -math.inf for ratio in ratios))
        text = f"geometric mean of new over old error over {len(ratios)} fits: {mean:.5f}, bound {MEAN}"
        print(text)
        said += [] if mean <= MEAN else [text]
    return said, not said and any(line.holds is not None for line in lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks guard", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", metavar="BASELINE", help="a checkout's folder, its src, or a code on file; without it only measure")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="such as nyc/cells/50, nyc, planted, ratings, growth/real, coverage")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="all of each row without it")
    parser.add_argument("--file", type=Path, default=FILE, metavar="CSV", help="where the figures are kept, out/guard.csv without it")
    parser.add_argument("--processes", type=int, metavar="COUNT", help="one a core without it")
    options = parser.parse_args(arguments)
    wanted = [row for row in every() if not options.rows or rows.matches(row.name, options.rows)]
    if not wanted:
        parser.error(f"no row is named {', '.join(options.rows)}; there are {', '.join(row.name for row in every())}")
    cells = kept(options.file)
    new = code_of(alone.SOURCE)
    sources = {new: alone.SOURCE}
    old = _baseline(parser, cells, options.against, sources) if options.against else ""
    seeds = {row.name: list(options.seeds or row.seeds) for row in wanted}
    measure(cells, [(row, seed) for row in wanted for seed in seeds[row.name]], sources, processes=options.processes)
    if not old:
        print(f"measured; --against {new} compares with these figures")
        return
    lines = [compare(cells, row, seeds[row.name], old, new) for row in wanted]
    for line in lines:
        print(f"{ {True: 'holds ', False: 'BROKEN', None: '-     '}[line.holds] } {line.name}: {line.text}")
    said, holds = verdict(lines, (row.name for row in rows.ROWS))
    print(f"the guard holds: {new} against {old}" if holds else "\n".join([f"the guard is broken: {new} against {old}", *said]))
    sys.exit(0 if holds else 1)


def _baseline(parser: argparse.ArgumentParser, cells: Store, given: str, sources: dict[str, Path]) -> str:
    """The code of the baseline, its folder among the `sources` where it is one."""
    for source in (Path(given) / "src", Path(given)):
        if (source / "rankless" / "__init__.py").exists():
            old = code_of(source.resolve())
            sources.setdefault(old, source.resolve())
            return old
    codes = {cell["code"] for cell in cells.current()} - {"oracle"}
    if given not in codes:
        on_file = f"on file in {cells.path} are {', '.join(sorted(codes))}" if codes else f"{cells.path} has none"
        parser.error(f"--against {given} is neither a folder with rankless in it nor a code on file; {on_file}")
    return given
