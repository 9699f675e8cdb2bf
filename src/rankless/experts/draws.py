"""A mean of draws from the posterior of components as a predictor: what few entries leave open is averaged, not picked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.gibbs import KEPT, means_of_chains
from rankless.als.solver import Problem, State
from rankless.answer.stack import total
from rankless.answer.tree import Tools
from rankless.experts.components import silenced, unseen_in
from rankless.holdout.scoring import Point, unit_noise
from rankless.runtime.progress import log
from rankless.search.effort import Effort
from rankless.search.walk import COARSE, HOPELESS, Search, problem_at
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

DRAWN_RANK, DRAWN_MOST = 1.4, (50, 100)  # components of draws, as many times the best fit's; at least, at most
FEW = 0.5  # draws of fewer components are tried too where the best fit asks for at most this share of the least
FEWEST_DRAWS = 30  # sweeps of drawing that are worth a try
MORE, FEWEST_MORE = 1 / 3, 10  # share of a fit's sweeps that chains go on for where few entries are new; at least so many
DRAWN_WORK = 1e11  # multiply-adds that drawing may take
CHAINS_WORK = 6e10  # multiply-adds that several chains may take together
PILOT = 2  # chains that tell whether all of them can pay
NOISY = 1e-2  # noise, as a variance of values of about 1, above which draws are made in single precision
HEAVY, LIGHT = 1e3, 1e-6  # single precision also asks that all entries' weights, of mean 1, lie between these
OF_CHAIN = 8  # draws kept of each chain at least, where there are several
COLUMNS = 1600  # components of all draws kept together, at least


@dataclass(frozen=True, eq=False)
class Draws:
    """The mean of draws, in the units of the data less the main effects; chains go on from where they stand given other entries."""

    point: Point
    model: CPTensor
    chains: tuple[State, ...]  # the last draw of each
    unseen: tuple[np.ndarray, ...]
    effort: Effort

    @classmethod
    def of(cls, search: Search, point: Point) -> Draws:
        return cls(point, point.frame.to_data(point.model()), point.chains, unseen_in(search.train, (), None), search.limits.effort)

    def at(self, indices: np.ndarray) -> np.ndarray:
        return silenced(self.model.at(indices), indices, self.unseen)

    def again(self, obs: Observations, tools: Tools) -> Draws:
        return self._drawn(obs, tools, max(FEWEST_DRAWS, _sweeps_of(self.effort, obs, self.point.state.rank)))

    def gone_on(self, obs: Observations, tools: Tools) -> Draws:
        """As `again` for few sweeps: where most entries are those that chains have seen, they need not be led from the start."""
        return self._drawn(obs, tools, max(FEWEST_MORE, int(MORE * _sweeps_of(self.effort, obs, self.point.state.rank))))

    def _drawn(self, obs: Observations, tools: Tools, sweeps: int) -> Draws:
        point, frame = self.point, replace(self.point.frame, offset=None)
        entries = _entries_of(frame.to_units(obs), point.penalty)
        chains = [(state.copy(), next(tools.streams)) for state in self.chains]
        if tools.afresh:  # draws that had seen what is left out would remember it for a while
            chains = [(with_random(entries, empty(entries), state.rank, rng), rng) for state, rng in chains]
            sweeps *= 2
        noise = point.penalty  # where chains start; they soon forget
        kept = _kept_of(len(chains), point.state.rank)
        means = _finite(means_of_chains(entries, chains, tools.workers, noise=noise, sweeps=sweeps, kept=kept))
        model = frame.to_data(_mean_of(means) if means else point.model())
        return replace(self, model=model, chains=tuple(state for state, _ in chains), unseen=unseen_in(obs, (), None))

    def words(self, modes: Sequence[str]) -> str:
        return f"draws x {self.point.state.rank}"


def averaged(search: Search, best: Point) -> list[Point]:
    """The mean of draws from the posterior, where it is cheap enough and can pay; its start knows nothing of `best`.

    Draws of many components leave those idle that data do not ask for. Where `best` has few, draws of few more are
    tried too: of a matrix they err less, and cost next to nothing. One chain stays near where it started; a mean over several
    errs 3 to 7 % less where little is seen. Two of them tell what more would bring.
    """
    least, most = DRAWN_MOST
    few = int(DRAWN_RANK * best.state.rank)
    ranks = [min(max(least, few), most), *([few] if 0 < few <= FEW * least else [])]
    pilots = [pilot for rank in ranks if (pilot := _Pilot.of(search, best, rank)) is not None]
    if not pilots:
        return []
    pilot = min(pilots, key=lambda each: each.promise)
    return [] if pilot.promise > HOPELESS * best.score else pilot.finished()


@dataclass(frozen=True, eq=False)
class _Pilot:
    """The first chains of draws of so many components, and the score that all of them promise."""

    search: Search
    entries: Entries
    problem: Problem
    how: dict[str, Any]  # noise, sweeps, and draws kept of each chain
    chains: list[tuple[State, np.random.Generator]]
    means: list[CPTensor]
    most: int  # chains that the work allows
    point: Point
    promise: float

    @classmethod
    def of(cls, search: Search, best: Point, rank: int) -> _Pilot | None:
        """None where drawing costs too much, or numbers overflow."""
        effort = search.limits.effort
        sweeps = _sweeps_of(effort, search.train, rank)
        if sweeps < FEWEST_DRAWS:
            return None
        units, clock = best.frame.to_units(search.train), perf_counter()
        search.tracker.stage(f"drawing {rank} components from the posterior")
        noise = unit_noise(best.frame, best, search.held)
        entries = _entries_of(units, noise)
        allowed = effort.work * CHAINS_WORK / (sweeps * _work_of(search.train, rank))
        most = int(np.clip(allowed, 1, effort.chains if search.several else 1))
        how = {"noise": noise, "sweeps": sweeps, "kept": _kept_of(most, rank)}
        chains, means = _drawn(search, entries, rank, min(PILOT, most), how)
        if not means:
            return None
        problem = problem_at(COARSE, 0.0, noise, units, noise)
        point = search.scored(best.frame, "draw", problem, chains[0][0], sweeps, clock, _mean_of(means))
        said = [best.frame.scale_at(search.held.coords) * mean.at(search.held.indices) for mean in means]
        between = 0.25 * float(np.mean((said[0] - said[-1]) ** 2))  # a mean of two chains has half the variance between chains
        whole = float(np.mean(point.residual**2))
        share = 1 - between / whole * (1 - PILOT / most) if whole > 0 and len(means) == PILOT else 1.0
        return cls(search, entries, problem, how, chains, means, most, point, point.score * np.sqrt(max(share, 0.0)))

    def finished(self) -> list[Point]:
        """The mean over all chains."""
        search, point, clock = self.search, self.point, perf_counter()
        chains, means = _drawn(search, self.entries, point.state.rank, self.most - len(self.chains), self.how)
        if means:
            drawn = _mean_of(self.means + means)
            point = search.scored(point.frame, "draw", self.problem, point.state, self.how["sweeps"], clock, drawn)
        return [replace(point, chains=tuple(state for state, _ in self.chains + chains))]


def _drawn(
    search: Search, entries: Entries, rank: int, count: int, how: dict
) -> tuple[list[tuple[State, np.random.Generator]], list[CPTensor]]:
    """`count` new chains, side by side, and the means of those that do not overflow."""
    streams = [next(search.streams) for _ in range(count)]
    chains = [(with_random(entries, empty(entries), rank, rng), rng) for rng in streams]
    return chains, _finite(means_of_chains(entries, chains, search.workers, **how)) if chains else []


def _kept_of(chains: int, rank: int) -> int:
    """Draws kept of each chain."""
    return max(KEPT // chains, OF_CHAIN, COLUMNS // (chains * rank))


def _finite(means: list[CPTensor]) -> list[CPTensor]:
    """The means that are finite; the log says where some are not: others answer then, and nobody has to do anything."""
    finite = [mean for mean in means if all(np.isfinite(factor).all() for factor in mean.factors)]
    if len(finite) < len(means):
        log.info("draws from the posterior overflowed and were left out")
    return finite


def _mean_of(means: list[CPTensor]) -> CPTensor:
    return total([CPTensor([factor if mode else factor / len(means) for mode, factor in enumerate(mean.factors)]) for mean in means])


def _entries_of(units: Observations, noise: float) -> Entries:
    """In the precision that draws take: with little noise single precision cannot tell the equations from singular ones."""
    weights = units.weights
    plain = weights is None or (weights.max() < HEAVY and weights.min() > LIGHT)
    return Entries(units, np.float32 if noise > NOISY and plain else np.float64)


def _sweeps_of(effort: Effort, obs: Observations, rank: int) -> int:
    """Sweeps of drawing that the work allows."""
    return int(min(effort.sweeps, effort.work * DRAWN_WORK / _work_of(obs, rank)))


def _work_of(obs: Observations, rank: int) -> float:
    """Multiply-adds of one sweep of drawing."""
    return obs.order * obs.size * rank**2 / 2 + sum(obs.shape) * rank**3 / 3
