"""Depth at three prices: explicit layers, the collapsed flow, ALS; and what a step costs as depth and size grow."""

from __future__ import annotations

import importlib.util

from benchmarks import page
from benchmarks.measures import dynamics
from benchmarks.store import Store, median

SEEDS = (0, 1, 2)
DEPTHS, SIZES = (0, 1, 2, 4), (20, 100, 500)


def store(*, fresh: bool = False) -> Store:
    return Store("dynamics", timed=True, fresh=fresh)


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    racers = [r for r in dynamics.RACERS if "PyTorch" not in r or importlib.util.find_spec("torch")]
    race = {r: [cells.measure({"what": r, "seed": s}, lambda r=r, s=s: dynamics.race(r, s)) for s in SEEDS] for r in racers}
    fastest = median(race["ALS"], "seconds")
    rows = [
        [r, page.number(median(found, "seconds")), f"{median(found, 'seconds') / fastest:.0f} : 1", page.number(median(found, "error"))]
        for r, found in race.items()
    ]
    prices = []
    for size in SIZES:
        for depth in DEPTHS:
            forms = ("explicit", "collapsed")
            key = {"what": "step", "size": size, "depth": depth}
            both = [cells.measure(key | {"form": f}, lambda f=f, n=size, k=depth: dynamics.step_cost(n, k, f)) for f in forms]
            prices.append([size, depth, *(page.number(float(c[q])) for q in ("ms", "MB") for c in both)])
    page.write(
        "dynamics",
        "Depth, explicit and collapsed",
        f"20^3, rank {dynamics.RANK}, 20 % observed, noise {dynamics.NOISE}, {dynamics.COMPONENTS} components, k = {dynamics.DEPTH}, "
        f"weight decay {dynamics.PENALTY:g}: seconds to a relative error of {dynamics.TARGET:g} on the whole tensor (compilation and "
        f"looking not counted; ALS to its end), medians of {len(SEEDS)} seeds.",
        page.table(["way", "seconds", "against ALS", "error reached"], rows),
        "One velocity of d^3 with 10 components and 20,000 observed entries by coordinates, and the memory of the parameters.",
        page.table(["d", "k", "ms explicit", "ms collapsed", "MB explicit", "MB collapsed"], prices),
    )
