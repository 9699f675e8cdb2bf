"""Planted recovery: is the true rank found, and is the error that of a fit told the truth?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem, State
from rankless.completion import complete
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

NOISE = 0.1  # of the tensor's standard deviation
SLACK = 1.05  # error over the oracle's that still counts as recovered
ORACLE_PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)  # tiny, at values of unit root mean square


@dataclass(frozen=True)
class Setting:
    """A random CP tensor of `rank` on a cube of `order` modes of `size`, of which `share` of the cells is seen."""

    size: int
    order: int
    rank: int
    share: float

    @property
    def name(self) -> str:
        return f"{self.size}^{self.order} R{self.rank} {self.share:.0%}"


SETTINGS = (Setting(20, 3, 5, 0.20), Setting(50, 3, 10, 0.05), Setting(30, 4, 5, 0.01), Setting(100, 3, 10, 0.02))


@dataclass(frozen=True, eq=False)
class Planted:
    """Truth at unit standard deviation, without noise; what is seen of it, with noise; the factors."""

    truth: np.ndarray
    seen: np.ndarray
    factors: list[np.ndarray]

    @property
    def unseen(self) -> np.ndarray:
        return np.isnan(self.seen)

    def error(self, filled: np.ndarray) -> float:
        """Root mean square error on the cells that were not seen."""
        return float(np.sqrt(np.mean((filled - self.truth)[self.unseen] ** 2)))


def plant(setting: Setting, seed: int) -> Planted:
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=(setting.size, setting.rank)) for _ in range(setting.order)]
    truth = CPTensor(factors).full()
    spread = truth.std()
    truth /= spread
    factors[0] = factors[0] / spread
    mask = rng.random(truth.shape) < setting.share
    return Planted(truth, np.where(mask, truth + NOISE * rng.normal(size=truth.shape), np.nan), factors)


def oracle(planted: Planted) -> float:
    """Error of plain ALS told the rank and started at the truth, the best of a few tiny penalties."""
    obs, scale = Observations.from_array(planted.seen).scaled()
    entries = Entries(obs)
    told = CPTensor(planted.factors).balanced().factors
    start = np.concatenate(told) * scale ** (-1.0 / obs.order)
    problem = Problem(0.0, 1.0, tol=1e-7, max_sweeps=500)
    errors = []
    with Workers() as workers:
        for penalty in ORACLE_PENALTIES:
            state = State(start.copy(), entries.offsets)
            settle(entries, state, replace(problem, penalty=penalty), workers, pruning=False)
            errors.append(planted.error(scale * state.model().full()))
    return min(errors)


def recovery(setting: Setting, seed: int) -> dict[str, float]:
    """`rankless.complete` with every default on one planted tensor, beside the oracle; `recovered` is 1 or 0."""
    planted = plant(setting, seed)
    start = time.perf_counter()
    done = complete(planted.seen, random_state=seed)
    seconds = time.perf_counter() - start
    found, bound = planted.error(done.filled), oracle(planted)
    return {
        "rank": done.rank,
        "error": found,
        "oracle": bound,
        "ratio": found / bound,
        "recovered": int(done.rank == setting.rank and found <= SLACK * bound),
        "depth": done.depth,
        "effects": int(done.estimator.effects_),
        "seconds": seconds,
    }
