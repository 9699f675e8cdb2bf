"""Ours and the peers on series along time, on the same hidden cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from campaign import series
from threadpoolctl import threadpool_limits

from benchmarks.measures import accuracy, along, kalman, lowrank
from benchmarks.measures.accuracy import nrmse
from benchmarks.measures.peers import Peer, made, timed
from benchmarks.measures.stmvl import stmvl

LINE = "straight line"
PERIODS = (24, 168)
FEW = 10  # series, at most, that get an autoregression of their own each beside the factors
_ALONG = "benchmarks/measures/along.py"
_LOWRANK = ("benchmarks/measures/lowrank.py", _ALONG)
_KALMAN = ("benchmarks/measures/kalman.py",)
FACTORS: Mapping[str, Mapping] = {f"k={count}": {"count": count} for count in (2, 4, 8)}
PEERS = (
    made(LINE, (_ALONG,), along.line, {"": {}}),
    made("season and line", (_ALONG,), along.seasonal, {f"period={period}": {"period": period} for period in PERIODS}, "period=24"),
    made("DINEOF", _LOWRANK, lowrank.dineof, {"": {}}),
    made("Kalman factors", "statsmodels", kalman.factors, {**FACTORS, "k=4, own": {"count": 4, "own": True}}, "k=4"),
    made("CDRec", _LOWRANK, lowrank.cdrec, {f"rank={rank}": {"rank": rank} for rank in (2, 4, 8)}, "rank=4"),
    made("ST-MVL", ("benchmarks/measures/stmvl.py",), stmvl, {"": {}}),
    made(
        "Gaussian process",
        _KALMAN,
        kalman.process,
        {f"Matern {2 * nu:g}/2": {"smoothness": nu} for nu in (0.5, 1.5, 2.5)},
        "Matern 3/2",
    ),
    made("trees", "scikit-learn", along.trees, {"": {}}),
)
METHODS: dict[str, Callable] = {method: fill for peer in PEERS for method, fill in peer.grid.items()}


def fits(peer: Peer, method: str, name: str) -> bool:
    """Whether a method is for a set: seasons are, where the set has that period, and factors with series of their own, where that ends."""
    if peer.name == "season and line":
        return any(method.endswith(f"={period}") for period in series.SETS[name].periods)
    return not method.endswith(", own") or series.load(name).shape[1] <= FEW


def peer(method: str, name: str, pattern: str, share: float, seed: int) -> dict[str, float]:
    """NRMSE of one method on the hidden cells, and what it took, on one thread."""
    matrix, hidden = series.case(name, pattern, share, seed)
    with threadpool_limits(1):
        filled, took = timed(METHODS[method], np.where(hidden, np.nan, matrix), seed)
    return {"nrmse": nrmse(matrix[hidden], filled[hidden]), **took}


def ours(name: str, pattern: str, share: float, seed: int, **options) -> dict[str, float | str]:
    """`rankless.complete` with every default on the array that the set is folded into; what `accuracy.automatic` says."""
    matrix, hidden = (series.SETS[name].folded(part) for part in series.case(name, pattern, share, seed))
    with threadpool_limits(1):
        return accuracy.automatic(matrix, hidden, seed, **{"n_jobs": 1, **options})
