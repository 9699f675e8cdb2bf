"""A mean of draws from the posterior of components as a predictor: what few entries leave open is averaged, not picked."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.gibbs import KEPT, means_of_chains
from rankless.als.solver import State
from rankless.answer.stack import total
from rankless.answer.tree import Tools
from rankless.experts.components import silenced, unseen_in
from rankless.holdout.scoring import Point, score_of, unit_noise
from rankless.runtime.workers import Workers
from rankless.search.walk import COARSE, Search, problem_at
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

DRAWN_RANK, DRAWN_MOST = 1.4, (50, 100)  # components of draws, as many times the best fit's; at least, at most
FEW = 0.5  # draws of fewer components are tried too where the best fit asks for at most this share of the least
DRAWS, FEWEST_DRAWS = (100, 200), 30  # sweeps of drawing, at most: the second number where `CHAINS_WORK` allows; the fewest worth a try
DRAWN_WORK = 1e11  # multiply-adds that drawing may take
CHAINS_WORK = 6e10  # multiply-adds that several chains, or long ones, may take together
NOISY = 1e-2  # noise, as a variance of values of about 1, above which draws are made in single precision
HEAVY, LIGHT = 1e3, 1e-6  # single precision also asks that all entries' weights, of mean 1, lie between these
OF_CHAIN = 8  # draws kept of each chain at least, where there are several
COLUMNS = 1600  # components of all draws kept together, at least


@dataclass(frozen=True, eq=False)
class Draws:
    """The mean of draws, in the units of the data less the main effects; drawn again given other entries.

    `point.state` is the last draw of the first chain, from which that one goes on; of `chains` others start afresh.
    """

    point: Point
    model: CPTensor
    chains: int  # at most
    unseen: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, search: Search, point: Point) -> Draws:
        return cls(point, point.frame.to_data(point.model()), search.chains, unseen_in(search.train, (), None))

    def at(self, indices: np.ndarray) -> np.ndarray:
        return silenced(self.model.at(indices), indices, self.unseen)

    def again(self, obs: Observations, tools: Tools) -> Draws:
        point, frame = self.point, replace(self.point.frame, offset=None)
        entries, state = _entries_of(frame.to_units(obs), point.penalty), point.state.copy()
        sweeps = max(FEWEST_DRAWS, _sweeps_of(self.chains, obs, state.rank))
        noise = point.penalty  # where the chain starts; it soon forgets
        chain = state, next(tools.streams)
        drawn = _mean_of_chains(entries, obs, chain, tools.streams, tools.workers, most=self.chains, noise=noise, sweeps=sweeps)
        return replace(self, model=frame.to_data(drawn or point.drawn or state.model()), unseen=unseen_in(obs, (), None))

    def words(self, modes: Sequence[str]) -> str:
        return f"draws x {self.point.state.rank}"


def averaged(search: Search, best: Point) -> list[Point]:
    """The mean of draws from the posterior, where it is cheap enough; its start knows nothing of `best`.

    Draws of many components leave those idle that data do not ask for. Where `best` has few, draws of few more are
    tried too: of a matrix they err less, and cost next to nothing.
    """
    least, most = DRAWN_MOST
    few = int(DRAWN_RANK * best.state.rank)
    ranks = [min(max(least, few), most), *([few] if 0 < few <= FEW * least else [])]
    return sorted((point for rank in ranks if (point := _averaged(search, best, rank))), key=score_of)[:1]


def _averaged(search: Search, best: Point, rank: int) -> Point | None:
    """The mean of draws of `rank` components, None where it costs too much or they overflow."""
    sweeps = _sweeps_of(search.chains, search.train, rank)
    if sweeps < FEWEST_DRAWS:
        return None
    units, rng, clock = best.frame.to_units(search.train), next(search.streams), perf_counter()
    search.tracker.stage(f"drawing {rank} components from the posterior")
    noise = unit_noise(best.frame, best, search.held)
    entries = _entries_of(units, noise)
    state = with_random(entries, empty(entries), rank, rng)
    how = {"most": search.chains, "noise": noise, "sweeps": sweeps}
    drawn = _mean_of_chains(entries, search.train, (state, rng), search.streams, search.workers, **how)
    if drawn is None:
        return None
    return search.scored(best.frame, "draw", problem_at(COARSE, 0.0, noise, units, noise), state, sweeps, clock, drawn)


def _mean_of_chains(
    entries: Entries,
    obs: Observations,
    first: tuple[State, np.random.Generator],
    streams: Iterator[np.random.Generator],
    workers: Workers,
    *,
    most: int,
    noise: float,
    sweeps: int,
) -> CPTensor | None:
    """The mean of draws of the chain `first`, and of up to `most` in all where they are cheap; None where all overflow.

    One chain stays near where it started; a mean over several, each with fewer draws, errs 3 to 6 % less where little is seen.
    Several run side by side.
    """
    rank = first[0].rank
    chains = int(np.clip(CHAINS_WORK / (sweeps * _work_of(obs, rank)), 1, most))
    others = [next(streams) for _ in range(chains - 1)]
    starts = [(with_random(entries, empty(entries), rank, other), other) for other in others]
    kept = max(KEPT // chains, OF_CHAIN, COLUMNS // (chains * rank))
    return _mean_of(means_of_chains(entries, [first, *starts], workers, noise=noise, sweeps=sweeps, kept=kept))


def _mean_of(means: list[CPTensor]) -> CPTensor | None:
    """The mean of the means that are finite; None, with a warning, where there is none."""
    finite = [mean for mean in means if all(np.isfinite(factor).all() for factor in mean.factors)]
    if len(finite) < len(means):
        warnings.warn("draws from the posterior overflowed and were left out", RuntimeWarning, stacklevel=2)
    if not finite:
        return None
    return total([CPTensor([factor if mode else factor / len(finite) for mode, factor in enumerate(mean.factors)]) for mean in finite])


def _entries_of(units: Observations, noise: float) -> Entries:
    """In the precision that draws take: with little noise single precision cannot tell the equations from singular ones."""
    weights = units.weights
    plain = weights is None or (weights.max() < HEAVY and weights.min() > LIGHT)
    return Entries(units, np.float32 if noise > NOISY and plain else np.float64)


def _sweeps_of(chains: int, obs: Observations, rank: int) -> int:
    """Sweeps of drawing that the work allows: long chains only of many components, and where there may be all of them."""
    work, (least, most) = _work_of(obs, rank), DRAWS
    sweeps = np.clip(CHAINS_WORK / (chains * work), least, most if rank >= DRAWN_MOST[0] else least)
    return int(min(sweeps, DRAWN_WORK / work))


def _work_of(obs: Observations, rank: int) -> float:
    """Multiply-adds of one sweep of drawing."""
    return obs.order * obs.size * rank**2 / 2 + sum(obs.shape) * rank**3 / 3
