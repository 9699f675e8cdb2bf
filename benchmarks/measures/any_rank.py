"""Noiseless tensors that are low in rank in one way or another: is the rank needed to fill them?

A CP tensor of rank 16 and a Tucker tensor of ranks (4, 4, 4), with normal factors and core, on a cube of 100. The error is
``|T_hat - T|^2 / |T|^2`` over all cells.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measures import peers
from rankless import als
from rankless.completion import complete
from rankless.tensors.observations import Observations

SIZE, RANK, CORE = 100, 16, 4
KINDS = ("CP", "Tucker")
SHARES = (0.01, 0.02, 0.05, 0.10)
TINY = (1e-2, 1e-8)  # penalties of plain ALS at unit root mean square


def make(kind: str, share: float, seed: int, *, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A tensor of unit root mean square, and the same with NaN where it is not seen."""
    rng = np.random.default_rng([seed, 1 + KINDS.index(kind)])  # not [0, seed]: that is `seed` alone, from which `als.solve` starts
    columns = RANK if kind == "CP" else CORE
    core = _superdiagonal(RANK) if kind == "CP" else rng.normal(size=(CORE,) * 3)
    factors = [rng.normal(size=(size, columns)) for _ in range(3)]
    truth = np.einsum("abc,ia,jb,kc->ijk", core, *factors, optimize=True)
    truth /= np.sqrt(np.mean(truth**2))
    return truth, np.where(rng.random(truth.shape) < share, truth, np.nan)


def _superdiagonal(rank: int) -> np.ndarray:
    core = np.zeros((rank,) * 3)
    core[(np.arange(rank),) * 3] = 1.0
    return core


def error(truth: np.ndarray, filled: np.ndarray) -> float:
    return float(np.sum((filled - truth) ** 2) / np.sum(truth**2))


def ours(kind: str, share: float, seed: int) -> dict[str, float]:
    """`rankless.complete` with every default. The error is the model's, on cells seen as on others."""
    truth, seen = make(kind, share, seed)
    start = time.perf_counter()
    done = complete(seen, random_state=seed)
    seconds = time.perf_counter() - start
    everywhere = done.predict(np.argwhere(np.ones(truth.shape, bool))).reshape(truth.shape)
    return {"error": error(truth, everywhere), "rank": done.rank, "depth": done.depth, "penalty": float(done.penalty), "seconds": seconds}


def told(kind: str, share: float, seed: int) -> dict[str, float]:
    """Our own plain ALS told rank 16, from one random start: the better of two tiny penalties by the very error reported."""
    truth, seen = make(kind, share, seed)
    obs = Observations.from_array(seen)
    start = time.perf_counter()
    fits = [als.solve(obs, depth=0.0, penalty=p, max_rank=RANK, anneal_rounds=0, random_state=seed) for p in TINY]
    seconds = time.perf_counter() - start
    return {"error": min(error(truth, fit.model.full()) for fit in fits), "seconds": seconds}


def em(kind: str, share: float, seed: int) -> dict[str, float]:
    """tensorly's `parafac` with a mask, expectation and maximisation in turns, told rank 16; its own 100 iterations."""
    truth, seen = make(kind, share, seed)
    filled, took = peers.timed(peers.tensorly, seen, seed, rank=RANK)
    return {"error": error(truth, filled), "seconds": took["seconds"]}
