"""The search for losses other than squares, and for nonnegative components: a walk of its own.

    minimise  sum_e w_e loss(offset_e + T_e, y_e)  +  penalty (k+1)/2 sum_{n,r} |u_r^n|^(2/(k+1))

Penalty, depth, rank and main effects are chosen by the mean deviance of held-out entries: components are
grown down the penalties, the best fits of the way deepened, and the winner is refitted on all entries. The
bound of Huber's loss follows the errors that the last walk left on held-out entries, and each walk starts
from nothing, because a fit by squares hides the gross errors that it follows. Draws, blends, close cells
and transforms are of squared errors and have no part in this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from rankless.als.annealing import anneal, deepen, empty, with_random
from rankless.als.losses import Bernoulli, Huber, Loss, Poisson, PoissonParts, loss_of
from rankless.als.majorise import Target, settle
from rankless.als.solver import Problem, State
from rankless.holdout.gaps import Gaps
from rankless.holdout.split import held_out, streams_of
from rankless.runtime.progress import Ended
from rankless.runtime.workers import Workers
from rankless.search.walk import HOPELESS, OFFERED, Limits, guard_at, penalties_of
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.link import Units

PATIENCE = 4  # worse points after which a walk ends; hopeless ones count twice
NEAR = 2  # steps on either side of a walk's best point whose fits are deepened
FINE, FINE_STEPS = 2**0.5, 3  # ratio and number of the last, fine steps on either side of the winner
EARNED = 0.99  # a deviance below this share of the other's, and main effects are worth having
TUNING = 1.345  # bound in standard deviations: 95 % as sharp as squares where the noise is Gaussian [huber1964]
SD = 1.4826  # standard deviation of Gaussian errors, in medians of their size
BOUNDS = 2  # times the bound is taken from held-out errors
COARSE = Problem(0.0, 1.0, tol=1e-4, max_sweeps=40)  # how far points of a walk are driven
FINAL = Problem(0.0, 1.0, tol=1e-7, max_sweeps=500)  # how far the refit is


@dataclass(eq=False)
class Point:
    """One fit of the search, scored on the held-out entries."""

    units: Units
    problem: Problem
    state: State
    score: float


@dataclass(eq=False)
class Found:
    """What the search chose, refitted on everything."""

    units: Units
    problem: Problem
    state: State
    held: Observations
    deviance: float  # mean, on the held-out entries
    blank: float  # mean deviance of a constant
    rmse: float  # of the means, on the held-out entries
    gaps: Gaps | None = (
        None  # how missing cells come, where not one by one: `deviance` and `rmse` are then those at entries left out like them
    )
    unfinished: bool = False
    path: list[dict] = field(default_factory=list)

    @property
    def model(self) -> CPTensor:
        """The components in the units of the data, or of the logarithms or log odds."""
        return self.state.model().times(0, np.array([self.units.scale])).balanced()

    @property
    def offset(self) -> MainEffects:
        return self.units.offset.times(self.units.scale)

    def refitted(self, obs: Observations, workers: Workers, afresh: np.random.Generator | None = None) -> Found:
        """The same choices, fitted to `obs`; with a stream, `afresh`, from random components that remember no entry left out."""
        units, state = self.units.again(obs), self.state.copy()
        target = units.target(obs)
        if afresh is None or not state.rank:
            settle(target, state, self.problem, workers)
        else:
            state = with_random(target, empty(target), state.rank, afresh)
            deepen(target, state, self.problem, workers, settle=settle)
        return replace(self, units=units, state=state)

    def means(self, indices: np.ndarray) -> np.ndarray:
        return self.units.mean(self.units.said(self.state, indices))


@dataclass(eq=False)
class _Hunt:
    train: Observations
    held: Observations
    limits: Limits
    streams: Iterator[np.random.Generator]
    workers: Workers
    path: list[dict] = field(default_factory=list)
    best: Point | None = None

    def scored(self, units: Units, problem: Problem, state: State, sweeps: int, clock: float) -> Point:
        said = units.said(state, self.held.indices)
        point = Point(units, problem, state, units.deviance(said, self.held))
        self.path.append(
            {
                "depth": problem.depth,
                "penalty": problem.penalty,
                "effects": units.effects,
                "rank": state.rank,
                "holdout_rmse": rmse(units.mean(said), self.held),
                "score": point.score,
                "sweeps": sweeps,
                "seconds": perf_counter() - clock,
            }
        )
        if self.best is None or (not isinstance(units.loss, Huber) and point.score < self.best.score):
            self.best = point
        self.workers.tracker.fitted(problem.depth, problem.penalty, state.rank, point.score)
        return point

    def moved(self, target: Target, point: Point, depth: float, penalty: float) -> Point:
        """The components of `point`, settled at another depth and penalty."""
        state, clock = point.state.copy(), perf_counter()
        problem = problem_at(COARSE, depth, penalty, target.obs)
        sweeps = len(settle(target, state, problem, self.workers).objective)
        return self.scored(point.units, problem, state, sweeps, clock)

    def walk(self, units: Units) -> Point:
        """Grown down the penalties, then deeper around the best point."""
        target, rng = units.target(self.train), next(self.streams)
        first, *deeper = self.limits.depths
        trail: list[Point] = []
        state, top, worse, least = empty(target), 0, 0, np.inf
        self.workers.tracker.stage(
            f"growing components by {units.loss.name} deviance, {'with' if units.effects else 'without'} main effects"
        )
        for step, penalty in enumerate(self.limits.penalties or _penalties(target)):
            clock, problem = perf_counter(), problem_at(COARSE, 0.0, penalty, target.obs)
            state, sweeps = _grown(target, state, problem, self.limits.max_rank, rng, self.workers)
            shallow = Point(units, problem, state, np.inf)
            point = self.scored(units, problem, state, sweeps, clock) if first == 0 else self.moved(target, shallow, first, penalty)
            trail.append(replace(shallow, score=point.score, state=state))
            if point.score < least:
                least, top, worse, best = point.score, step, 0, point
            elif point.state.rank:
                worse += 1 + (point.score > HOPELESS * least)
            if worse >= PATIENCE or (best.state.rank and self.workers.clock.over("smaller penalties")):
                break
        if not self.limits.effort.races or self.workers.clock.over("deeper fits"):
            return best
        for step in range(max(0, top - NEAR), min(len(trail), top + NEAR + 1)):
            point = trail[step]
            for depth in deeper if point.state.rank else ():
                point = self.moved(target, point, depth, trail[step].problem.penalty)
                best = min(best, point, key=lambda p: p.score)
        return best

    def refined(self, best: Point) -> Point:
        """Smaller steps of the penalty around the winner, each from the winner's components."""
        self.workers.tracker.stage("refining the best")
        target = best.units.target(self.train)
        for direction in (1 / FINE, FINE):
            for _ in range(FINE_STEPS if best.state.rank else 0):
                trial = self.moved(target, best, best.problem.depth, best.problem.penalty * direction)
                if trial.score >= best.score:
                    break
                best = trial
        return best


def search(obs: Observations, loss: str, nonnegative: tuple[bool, ...], limits: Limits, *, holdout: float, seed, workers: Workers) -> Found:
    """Choose everything in `limits` on held-out entries of `obs`, then refit on all of them.

    ctrl-C ends the search within a sweep: what is returned is then the best fit so far, if there is one; where a
    callback of `workers` ends it, this is refitted on all of `obs`.
    """
    streams, _, across = streams_of(seed)
    train, held = held_out(obs, holdout, next(streams))
    hunt = _Hunt(train, held, limits, streams, workers)
    try:
        hunt.best = _chosen(hunt, loss_of(loss, nonnegative), nonnegative)
        workers.tracker.stage("refitting on all entries")
        found = _found(hunt, hunt.best)
        return _as_gaps_come(found, hunt, obs, holdout, across).refitted(obs, workers)
    except (Ended, KeyboardInterrupt) as stop:
        if hunt.best is None:
            raise
        found = _found(hunt, hunt.best)
        return found.refitted(obs, workers) if isinstance(stop, Ended) else replace(found, unfinished=True)


def problem_at(how: Problem, depth: float, penalty: float, obs: Observations) -> Problem:
    return replace(how, depth=depth, penalty=penalty, guard=guard_at(penalty, obs, 0.0))


def rmse(means: np.ndarray, held: Observations) -> float:
    """Root mean square error; entries' own weights count."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(np.sqrt(np.average((held.values - means) ** 2, weights=held.weights)))
    return value if np.isfinite(value) else np.inf


def _found(hunt: _Hunt, best: Point) -> Found:
    units, held = best.units, hunt.held
    said, blank = units.said(best.state, held.indices), np.full(held.size, units.level(hunt.train))
    problem = replace(FINAL, depth=best.problem.depth, penalty=best.problem.penalty, guard=best.problem.guard)
    return Found(units, problem, best.state, held, best.score, units.deviance(blank, held), rmse(units.mean(said), held), path=hunt.path)


def _as_gaps_come(found: Found, hunt: _Hunt, obs: Observations, share: float, rng: np.random.Generator) -> Found:
    """`found` with its errors at entries left out as the missing ones come, where these come in fibres or runs."""
    gaps = Gaps.of(obs)
    mask = np.zeros(obs.size, bool) if gaps is None else gaps.mask(obs, gaps.share(obs, share), rng)
    if gaps is None or not mask.any():
        return found
    rest, over = obs.subset(~mask), obs.subset(mask)
    hunt.workers.tracker.stage(f"leaving out {over.size} entries as gaps come")
    again = found.refitted(rest, hunt.workers, rng)
    said, blank = again.units.said(again.state, over.indices), np.full(over.size, again.units.level(rest))
    deviances = [again.units.deviance(part, over) for part in (said, blank)]
    return replace(found, held=over, deviance=deviances[0], blank=deviances[1], rmse=rmse(again.units.mean(said), over), gaps=gaps)


def _chosen(hunt: _Hunt, loss: Loss, nonnegative: tuple[bool, ...]) -> Point:
    train, scale = hunt.train, 1.0
    if isinstance(loss, PoissonParts):
        scale = float(np.average(train.values, weights=train.weights))
    elif not isinstance(loss, (Poisson, Bernoulli)):
        scale = train.rms() if not isinstance(loss, Huber) else _spread(train.values - np.median(train.values)) or train.rms()
    if isinstance(loss, Huber):
        loss = Huber(TUNING)
        for _ in range(BOUNDS):
            units = Units.of(train, loss, nonnegative, effects=hunt.limits.effects[-1] and not any(nonnegative), scale=scale)
            rough = hunt.walk(units)
            left = hunt.held.values / scale - units.said(rough.state, hunt.held.indices)
            loss = Huber(min(TUNING * _spread(left), TUNING) or TUNING)
    levels = (True, False) if isinstance(loss, Poisson) else (False,)
    walks: list[Point] = []
    for effects in (False,) if any(nonnegative) else hunt.limits.effects:
        units = [Units.of(train, loss, nonnegative, effects=effects, scale=scale, typical=level) for level in levels]
        walks.append(min(map(hunt.walk, units), key=lambda point: point.score))
    best = walks[0]  # the simpler comes first, and main effects have to earn their place
    for other in walks[1:]:
        best = other if other.score < EARNED * best.score else best
    wanted = hunt.limits.penalties is None and hunt.limits.effort.races > 0
    return hunt.refined(best) if wanted and not hunt.workers.clock.over("refining") else best


def _penalties(target: Target) -> list[float]:
    """From the penalty at which one component that explains everything does not pay, downwards."""
    target.turn(np.full(target.size, 1.0 if isinstance(target.loss, PoissonParts) else 0.0), 1.0)
    bend = float(np.mean(target.modes[0].weights))
    return [bend * penalty for penalty in penalties_of(target.obs)]


def _grown(target: Target, state: State, problem: Problem, max_rank: int | None, rng, workers: Workers) -> tuple[State, int]:
    """The previous penalty's fit, settled at this one, and components offered to it."""
    state = state.copy()
    sweeps = len(settle(target, state, problem, workers).objective)
    offered = OFFERED if max_rank is None else min(OFFERED, max_rank - state.rank)
    if offered > 0:
        state, trace = anneal(target, state, problem, workers, rng, offered, settle=settle)
        sweeps += len(trace.objective) if trace else 0
    return state, sweeps


def _spread(errors: np.ndarray) -> float:
    """Standard deviation of the bulk."""
    return float(SD * np.median(np.abs(errors)))
