"""The recommender's check, at order 2: ratings like MovieLens 100K, nothing chosen, beside cmfrec and SMURFF at their best settings."""

from __future__ import annotations

from functools import partial
from typing import Any

from campaign import page
from campaign.machine import source_stamp, version
from campaign.store import Cell, Store, median

from benchmarks.measures import ratings
from benchmarks.measures.ratings import CMFREC, OURS, PEERS, SMURFF

SEEDS = range(3)


def store(**how: Any) -> Store:
    return Store("ratings", timed=False, **how)


def peers(**how: Any) -> Store:
    """The peers' cells age with the libraries, and with the ratings that they were given."""
    made = source_stamp(("benchmarks/measures/ratings.py",), without=("ours", "main_effects", "mean", "cmfrec", "smurff"))
    return Store("ratings_peers", timed=False, stamp=f"{version('cmfrec')}, {version('smurff')}, ratings {made}", **how)


def of(cells: Store, method: str) -> list[Cell]:
    return cells.current(method=method)


def best(cells: Store, methods: dict[str, Any]) -> str | None:
    """The method of least median error; None where none is measured."""
    found = {name: median(of(cells, name), "rmse") for name in methods}
    found = {name: error for name, error in found.items() if error == error}
    return min(found, key=found.__getitem__, default=None)


def over(ours: Store, theirs: Store, methods: dict[str, Any]) -> float:
    """Our error over that of the best of `methods`; NaN where either is not measured."""
    name = best(theirs, methods)
    return median(of(ours, "rankless"), "rmse") / median(of(theirs, name), "rmse") if name else float("nan")


def run(fresh: bool = False) -> None:
    cells, given = store(fresh=fresh), peers(fresh=fresh)
    for seed in SEEDS:
        for name, measure in OURS.items():
            print(cells.measure({"method": name, "seed": seed}, partial(measure, seed)), flush=True)
        for name, measure in PEERS.items():
            given.attempt({"method": name, "seed": seed}, partial(measure, seed))
    write(cells, given)


def vouch() -> None:
    """Accept the cells of older code where today's gives the same numbers."""
    cells = store()
    if cells.vouch(("method",), lambda cell: OURS[cell["method"]](int(cell["seed"]))):
        write(cells, peers())


def write(cells: Store, given: Store) -> None:
    rows = []
    names = [(cells, name) for name in OURS] + [(given, best(given, group)) for group in (CMFREC, SMURFF)]
    for kept, name in names:
        found = of(kept, name) if name else []
        if found:
            each = " ".join(f"{float(c['rmse']):.4f}" for c in sorted(found, key=lambda c: int(c["seed"])))
            text = f"{name}, best of {len(CMFREC if name in CMFREC else SMURFF)}" if kept is given else name
            ranks = " ".join(f"{float(c['rank']):g}" for c in sorted(found, key=lambda c: int(c["seed"])) if c.get("rank"))
            rows.append([text, f"**{median(found, 'rmse'):.4f}**", each, ranks, page.number(median(found, "seconds"), 2)])
    every = [[name, f"{median(of(given, name), 'rmse'):.4f}", f"{median(of(given, name), 'seconds'):.2g}"] for name in PEERS]
    page.write(
        "ratings",
        "Ratings, nothing chosen",
        f"Made ratings like MovieLens 100K: {ratings.USERS} users, {ratings.ITEMS} items, {ratings.RATINGS:,} ratings of 1 to 5, "
        f"{ratings.TESTED:.0%} of them to predict. rating = round({ratings.MEAN} + user bias + item bias + taste + noise), normal with "
        f"deviations {ratings.USER_BIAS}, {ratings.ITEM_BIAS}, {ratings.TASTE} ({ratings.TASTES} products of normal factors) and "
        f"{ratings.NOISE}. The j-th item is drawn as (j + {ratings.OFFSET})^-{ratings.FALL:g}; a user rates at least {ratings.FEWEST}, "
        f"with a Pareto tail of exponent {ratings.TAIL:g}. The ratings' deviation and the error of biases alone are within .02 of "
        "MovieLens 100K's (1.13 and .944); none of the peers' packages ships real ratings (cmfrec's and SMURFF's wheels hold code alone).",
        "RMSE on the ratings asked for, every prediction kept within 1 and 5; medians of three seeds. rankless runs with every default. "
        "cmfrec fits biases and k factors; SMURFF, which has none, is given what our main effects leave, draws noise and penalties, and "
        "averages 200 draws after 100. Their settings are the best of the grid below by the very error reported.",
        page.table(["method", "RMSE", "by seed", "components", "seconds"], rows),
        page.table(["setting", "RMSE", "seconds"], every),
    )
