"""Depth at three prices: explicit layers, the collapsed flow, ALS; and what a step costs as depth and size grow."""

from __future__ import annotations

import importlib.util
import math
import statistics
from typing import Any

from campaign import page
from campaign.machine import source_stamp
from campaign.store import Cell, Store

from benchmarks.measures import dynamics

SEEDS = (0, 1, 2)
DEPTHS, SIZES = (0, 1, 2, 4), (20, 100, 500)
ENGINE = (
    "src/rankless/dynamics/*.py",
    "src/rankless/depth.py",
    "src/rankless/tensors/cp_tensor.py",
    "src/rankless/figures/planted.py",
    "benchmarks/measures/dynamics.py",
)
COLUMNS = {"seconds": "to 1.05 times the error of ALS, s", "loose": "to .1, s"}


def store(**how: Any) -> Store:
    return Store("dynamics", timed=True, stamp=source_stamp(ENGINE), **how)


def races(**how: Any) -> Store:
    """The cells of the race, which age with `als` as well."""
    return Store("dynamics", timed=True, stamp=source_stamp((*ENGINE, "src/rankless/als/*.py")), **how)


def of(cells: Store, what: str) -> list[Cell]:
    return cells.current(what=what)


def typical(cells: list[Cell], column: str) -> float:
    """Median over seeds, one that never arrives counting as infinitely late; NaN where there is none."""
    found = [float(cell[column]) for cell in cells if cell[column]]
    return statistics.median(math.inf if math.isnan(x) else x for x in found) if found else math.nan


def ratio(cells: Store, racer: str, column: str = "seconds") -> float:
    """Time of `racer` over that of ALS, from the seeds measured of both."""
    return typical(of(cells, racer), column) / typical(of(cells, dynamics.ALS), column)


def at_least(cells: Store, racer: str, column: str = "seconds") -> tuple[float, bool]:
    """The ratio of times, or where the median seed never arrives what it is above; and whether it arrives."""
    value = ratio(cells, racer, column)
    if not math.isinf(value):
        return value, True
    return typical(of(cells, racer), "spent") / typical(of(cells, dynamics.ALS), column), False


def _time(cells: Store, racer: str, column: str) -> str:
    seconds = typical(of(cells, racer), column)
    if math.isinf(seconds):
        return f"not in {page.number(typical(of(cells, racer), 'spent'))} (> {page.number(at_least(cells, racer, column)[0])} : 1)"
    return f"{page.number(seconds)} ({page.number(ratio(cells, racer, column))} : 1)"


def run(fresh: bool = False) -> None:
    cells = races(fresh=fresh)
    racers = [r for r in dynamics.RACERS if "PyTorch" not in r or importlib.util.find_spec("torch")]
    for seed in SEEDS:
        for racer in racers:  # by turns: what else the machine does falls on all of them
            cells.measure({"what": racer, "seed": seed}, lambda r=racer, s=seed: dynamics.race(r, s))
    rows = []
    for racer in racers:
        found = of(cells, racer)
        rows.append([racer, *(_time(cells, racer, column) for column in COLUMNS), page.number(typical(found, "error"))])
    alone = store(fresh=fresh)
    prices = []
    for size in SIZES:
        for depth in DEPTHS:
            key, forms = {"what": "step", "size": size, "depth": depth}, ("explicit", "collapsed")
            both = [alone.measure(key | {"form": f}, lambda f=f, n=size, k=depth: dynamics.step_cost(n, k, f)) for f in forms]
            prices.append([size, depth, *(page.number(float(c[q])) for q in ("ms", "MB") for c in both)])
    back = [alone.measure({"what": "gradient", "form": way}, lambda w=way: dynamics.gradient_cost(w)) for way in dynamics.BACK]
    first = alone.measure({"what": "fresh process"}, dynamics.first_flow)
    page.write(
        "dynamics",
        "Depth, explicit and collapsed",
        f"20^3, rank {dynamics.RANK}, 20 % observed, noise {dynamics.NOISE}, {dynamics.COMPONENTS} components, k = {dynamics.DEPTH}: "
        f"seconds to a relative error on the whole tensor, and in parentheses against ALS (run to its end). Compiling and looking are not "
        f"counted. Weight decay {dynamics.PENALTY:g} where there is any; SGD with all entries in every step at rate {dynamics.RATE:g}, the "
        f"fastest of .3, 1, 2 and 4. Medians of {len(SEEDS)} seeds.",
        page.table(["way", *COLUMNS.values(), "least error"], rows),
        "One velocity of d^3 with 10 components and 20,000 observed entries by coordinates, and the memory of the parameters.",
        page.table(["d", "k", "ms explicit", "ms collapsed", "MB explicit", "MB collapsed"], prices),
        "Gradient of a CP of 200^3, 16 components, from 1,000,000 entries by coordinates: four ways back from entries to rows, each with "
        "what it wants sorted beforehand. The library goes the first way: it differentiates its gather, and needs no sort order.",
        page.table(["way", "seconds"], [[c["form"], page.number(float(c["seconds"]))] for c in back]),
        f"In a fresh process the first result of a collapsed flow (20^3, 40 components) comes after "
        f"{page.number(float(first['first']))} s, a second depth {page.number(float(first['second']))} s later.",
    )
