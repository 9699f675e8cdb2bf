"""Does the error grow with the components that are allowed? Ours at given depths, and peers at that rank, on the same cells."""

from __future__ import annotations

import time
import warnings
from functools import cache

import numpy as np
from campaign import data

from benchmarks.measures import peers, planted
from benchmarks.measures.accuracy import nrmse
from benchmarks.measures.planted import Setting
from rankless import TensorCompleter

SETTING = Setting(50, 3, 10, 0.10)
REAL, HIDDEN = "metoffice_2001_2020", 0.8
TABLES = ("planted", "real")
ALLOWED = (10, 20, 50, 100, 200)
DEPTHS = (0, 1, 2, 4)
PEERS = {"tensorly": peers.tensorly, "pyttb": peers.pyttb}


@cache
def case(table: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is seen (NaN elsewhere), the cells asked for, and the truth there: of planted data, without its noise."""
    if table == "planted":
        made = planted.plant(SETTING, seed)
        return made.seen, made.unseen, made.truth[made.unseen]
    array = data.load(REAL)
    seen, hidden = data.hide(array, HIDDEN, seed)
    return seen, hidden, array[hidden]


def ours(table: str, seed: int, depth: float, allowed: int, **options) -> dict[str, float]:
    """One fit at a depth with at most `allowed` components, every other default but `options`."""
    seen, asked, truth = case(table, seed)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no observed entry", UserWarning)  # slices hidden as a whole
        fitted = TensorCompleter(depth=depth, max_rank=allowed, experts=["components", "neighbours"], random_state=seed, **options).fit(
            seen
        )
    found = nrmse(truth, fitted.predict(np.argwhere(asked)))
    return {"nrmse": found, "rank": fitted.rank_, "seconds": time.perf_counter() - start}


def peer(method: str, table: str, seed: int, allowed: int) -> dict[str, float]:
    """A peer told that rank."""
    seen, asked, truth = case(table, seed)
    filled, took = peers.timed(PEERS[method], seen, seed, rank=allowed)
    return {"nrmse": nrmse(truth, filled[asked]), "seconds": took["seconds"]}
