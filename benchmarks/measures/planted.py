"""Planted recovery: is the true rank found, and is the error that of a fit told the truth?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rankless import CPTensor, Observations, complete

if TYPE_CHECKING:
    from rankless.completion import Completion

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
    from rankless.als.entries import Entries
    from rankless.als.settle import settle
    from rankless.als.solver import Problem, State
    from rankless.runtime.workers import Workers

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


def fill(planted: Planted, seed: int, **options) -> tuple[Completion, dict[str, float]]:
    """`rankless.complete` with every default but `options` on a planted tensor, and rank, error, seconds by wall clock and processor."""
    start, worked = time.perf_counter(), time.process_time()
    done = complete(planted.seen, random_state=seed, **options)
    seconds, processor = time.perf_counter() - start, time.process_time() - worked
    return done, {"rank": done.rank, "error": planted.error(done.filled), "seconds": seconds, "processor": processor}


def recovered(setting: Setting, rank: float, error: float, oracle: float) -> bool:
    """Whether the true rank is found with an error within `SLACK` of the oracle's."""
    return rank == setting.rank and error <= SLACK * oracle


def recovery(setting: Setting, seed: int) -> dict[str, float]:
    """What `fill` gives with every default, beside the oracle; `recovered` is 1 or 0."""
    planted = plant(setting, seed)
    (done, found), bound = fill(planted, seed), oracle(planted)
    return {
        "rank": found["rank"],
        "error": found["error"],
        "oracle": bound,
        "ratio": found["error"] / bound,
        "recovered": int(recovered(setting, found["rank"], found["error"], bound)),
        "depth": done.depth,
        "effects": int(done.estimator.effects_),
        "seconds": found["seconds"],
    }
