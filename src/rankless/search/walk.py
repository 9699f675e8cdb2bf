"""One walk down the penalties, and what it needs: limits, entries, and where its rows go.

Two ways to start:

- *grow*: from nothing, warm-started down the path, components offered by annealing at each step;
- *prune*: from many random components at each penalty.

A walk is shallow, and its fits near the best one are then deepened, so all depths share one start. It
ends when its score has turned; a model without components is a valid point and does not end it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal

import numpy as np

from rankless.als.annealing import anneal, empty, with_random
from rankless.als.entries import Entries
from rankless.als.losses import Gaussian, Loss
from rankless.als.settle import settle
from rankless.als.solver import Problem, State
from rankless.answer.stack import MOST_FITS, Pool
from rankless.holdout.judge import OUTDONE
from rankless.holdout.scoring import Point, score_of, scored, unit_noise
from rankless.runtime.progress import Tracker
from rankless.runtime.workers import Workers
from rankless.search.effort import DEFAULT, Effort
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.frame import Frame

DEPTHS = (0.0, 1.0, 3.0)
OFFERED = 20  # components offered at each step of a grown path
GRID = 0.5  # ratio of neighbouring penalties
GUARD = 0.003  # guard as a share of penalty x share observed: stops runaways, costs 1 to 2 % of the error on small planted data
NOISE_GUARD = 20.0  # the guard is that of a penalty of at least this many times the noise: small penalties need it most
GROW_PATIENCE, PRUNE_PATIENCE = 5, 2  # worse points after which a walk ends; hopeless ones count twice
WORSE = 1.01  # a score this many times the best is clearly worse: more components, or other depths there, are not tried
HOPELESS = 1.15  # a shallow score this many times the best is not deepened, and may end a walk at once
KINDS = {"grow": "growing components", "prune": "pruning many components", "patient": "sweeping patiently"}  # in words
COARSE = Problem(0.0, 1.0, tol=2e-4, max_sweeps=25, forgiving=True)  # how far points of a walk are driven


@dataclass(frozen=True)
class Limits:
    """The values that the search may try; where there is a single one, the user fixed it."""

    depths: tuple[float, ...] = DEPTHS
    penalties: tuple[float, ...] | None = None  # None: from the one that kills everything downwards
    max_rank: int | None = None  # None: as many as the data ask for
    effects: tuple[bool, ...] = (False, True)
    noise: str | int | None = "auto"
    fits: int = MOST_FITS  # fits that may be blended
    local: bool = True  # whether neighbours may help
    experts: tuple[Any, ...] | None = None  # names of experts, or experts, that are asked beside components; None: those of the effort
    effort: Effort = DEFAULT
    loss: Loss = field(default_factory=Gaussian)
    nonnegative: tuple[bool, ...] = ()  # for each mode whether its factor may hold no negative number; (): all may
    smooth: Literal["auto"] | tuple[int, ...] = "auto"  # modes that are smooth; "auto": those seen to be, where gaps are missing
    model: Literal["cp", "tucker", "train"] = "cp"  # what is searched for: components, or a network in their place
    side: tuple[Any, ...] = ()  # what is known of slices, `kinds.side.Known` of each mode of which something is

    @property
    def squares(self) -> bool:
        """Whether plain squares are fitted, by components of any sign."""
        return isinstance(self.loss, Gaussian) and not any(self.nonnegative)

    @property
    def free(self) -> bool:
        """Whether draws are allowed: only if depth, penalty, rank and number of fits are all free."""
        return len(self.depths) > 1 and self.penalties is None and self.max_rank is None and self.fits > 1


@dataclass(eq=False)
class Search:
    """What every walk needs: the entries to fit and to score on, the limits, and where its rows go."""

    train: Observations
    held: Observations
    limits: Limits
    streams: Iterator[np.random.Generator]
    workers: Workers
    error: Callable[[Point, Observations], float] | None = None  # for `path`, where the RMSE of the values won't do
    path: list[dict] = field(default_factory=list)
    pool: Pool = field(default_factory=Pool)
    several: bool = True  # whether a mean of draws may be taken over several chains
    least: list[Point] = field(default_factory=list)  # the point of least held-out error so far: the answer if the search is cut short
    to_beat: float = np.inf  # root mean square error at `held` of a simpler way to fill

    @property
    def tracker(self) -> Tracker:
        return self.workers.tracker

    def late(self, what: str) -> bool:
        """Whether the time is over before `what` has begun."""
        return self.workers.clock.over(what)

    def outdone(self, best: Point) -> bool:
        """Whether `best` errs so much more than a simpler way that nothing like it is worth much work."""
        return best.rmse > OUTDONE * self.to_beat

    def walk(
        self,
        kind: str,
        frame: Frame,
        penalties: Sequence[float],
        count: int = OFFERED,
        *,
        how: Problem = COARSE,
        shallow: State | None = None,
        smooth: tuple[float, ...] = (),
    ) -> Point:
        """One walk down the penalties, then deeper around its best point; every point's row goes to `path`.

        `count` components are offered at every step of a grown walk, or started from at every step of a pruned one.
        """
        penalties = self.limits.penalties or penalties
        entries, rng = frame.entries(self.train), next(self.streams)
        start, patience = {"grow": (grow, GROW_PATIENCE), "prune": (prune, PRUNE_PATIENCE), "patient": (prune, GROW_PATIENCE)}[kind]
        first, *deeper = self.limits.depths
        trail, top, worse, shallow = [], 0, 0, empty(entries) if shallow is None else shallow.copy()
        nothing = problem_at(how, first, penalties[0], self.train, frame.noise, smooth)
        best = replace(scored(frame, kind, nothing, shallow, self.held), score=np.inf)
        self.tracker.stage(KINDS[kind])
        for step, penalty in enumerate(penalties):
            clock = perf_counter()
            problem = problem_at(how, 0.0, penalty, self.train, frame.noise, smooth)
            shallow, sweeps = start(entries, shallow, problem, count, self.limits.max_rank, rng, self.workers)
            trail.append((problem, shallow))
            point = self.deepened(frame, kind, entries, replace(problem, depth=first), shallow, sweeps, clock)
            alive, hopeless = point.state.rank > 0, best.state.rank > 0 and point.score > HOPELESS * best.score
            if point.score < best.score:
                best, top, worse = point, step, 0
            elif alive:
                worse += 1 + hopeless
            clearly = point.score > WORSE * best.score
            more = shallow.rank - best.state.rank  # fits of many more components are dear, and get no better from there
            if worse >= patience or (worse >= 2 and more > OFFERED) or (worse and clearly and more > OFFERED // 2):
                break
        return self.climbed(best, entries, trail, top, deeper) if deeper else best

    def climbed(self, best: Point, entries: Entries, trail: list[tuple[Problem, State]], top: int, deeper: Sequence[float]) -> Point:
        """The fits of a walk made deeper, from its best one both ways for as long as that helps.

        Deepening costs as much as walking, and what is deep is best near where what is shallow is. A clearly
        worse fit ends it altogether: to go on the other way from there won nothing, and lost 3 % on some gaps.
        """
        for steps in (range(top, -1, -1), range(top + 1, len(trail))):
            for step in steps:
                problem, state = trail[step]
                if not state.rank:
                    break
                points = []
                for depth in deeper:
                    points.append(self.deepened(best.frame, best.start, entries, replace(problem, depth=depth), state, 0, perf_counter()))
                    state = points[-1].state
                found = min(points, key=score_of)
                if found.score > WORSE * best.score:
                    return best
                if found.score >= best.score and step != top:
                    break
                best = min(best, found, key=score_of)
        return best

    def deepened(self, frame: Frame, start: str, entries: Entries, problem: Problem, state: State, sweeps: int, clock: float) -> Point:
        """The fit `state`, settled at the problem's depth where that is not 0, and scored."""
        if problem.depth > 0:
            state = state.copy()
            sweeps += len(settle(entries, state, problem, self.workers).objective)
        return self.scored(frame, start, problem, state, sweeps, clock)

    def moved(self, point: Point, frame: Frame, depth: float, penalty: float, smooth: tuple[float, ...] | None = None) -> Point:
        """The components of `point`, settled in another frame, or at another depth, penalty and smoothness."""
        clock, state = perf_counter(), point.state.copy()
        problem = problem_at(COARSE, depth, penalty, self.train, frame.noise, point.smooth if smooth is None else smooth)
        problem = replace(problem, max_sweeps=2 * COARSE.max_sweeps)
        sweeps = len(settle(frame.entries(self.train), state, problem, self.workers).objective)
        return self.scored(frame, point.start, problem, state, sweeps, clock)

    def scored(
        self, frame: Frame, start: str, problem: Problem, state: State, sweeps: int, clock: float, drawn: CPTensor | None = None
    ) -> Point:
        """A fit scored on the held-out entries, its row written to `path`."""
        point = scored(frame, start, problem, state, self.held, drawn)
        if not np.isfinite(point.score + point.rmse):  # finite factors may overflow once multiplied
            point = replace(point, score=np.inf, rmse=np.inf)
        row = point.row(self.train, sweeps, perf_counter() - clock)
        self.path.append(row if self.error is None else row | {"holdout_rmse": self.error(point, self.held)})
        if drawn is None:
            self.pool.offer(point)
            self.least[:] = [min(*self.least, point, key=lambda p: p.rmse) if self.least else point]
        self.tracker.fitted(point.depth, point.penalty, point.state.rank, self.path[-1]["holdout_rmse"])
        return point

    def guess(self, best: Point, frame: Frame) -> float:
        """The penalty of `best` in another frame: it scales with the noise that is left, in the frame's units."""
        penalty = best.penalty * (unit_noise(frame, best, self.held) / unit_noise(best.frame, best, self.held))
        top = penalties_of(self.train)[0]  # where the other frame fits rounding only, it says nothing
        return top if window(penalty, 0)[-1] > top else penalty


def penalties_of(units: Observations) -> list[float]:
    """From the penalty at which one component that explains everything does not pay, downwards."""
    top = units.size / (units.order * float(units.cells) ** (1.0 / units.order))
    return [top * GRID**j for j in range(1, 24)]


def window(penalty: float, above: int) -> list[float]:
    """From `above` steps over a penalty downwards; the walk's patience ends it."""
    return [penalty * GRID**j for j in range(-above, 12)]


def problem_at(how: Problem, depth: float, penalty: float, obs: Observations, noise: float, smooth: tuple[float, ...] = ()) -> Problem:
    """The problem at a depth, penalty and smoothness, with the guard that goes with them and with the noise."""
    return replace(how, depth=depth, penalty=penalty, guard=guard_of(penalty, obs.share, noise), smooth=smooth)


def guard_of(penalty: float, share: float, noise: float) -> float:
    """The guard against components that run away where nothing was seen, `share` of all cells being observed."""
    return GUARD * max(penalty, NOISE_GUARD * noise) * share


def grow(entries, state: State, problem: Problem, count: int, max_rank: int | None, rng, workers) -> tuple[State, int]:
    """The previous penalty's fit, settled at this one, and `count` components offered to it."""
    state = state.copy()
    sweeps = len(settle(entries, state, problem, workers).objective)
    offered = count if max_rank is None else min(count, max_rank - state.rank)
    if offered > 0:
        state, trace = anneal(entries, state, problem, workers, rng, offered)
        sweeps += len(trace.objective) if trace else 0
    return state, sweeps


def prune(entries, state: State, problem: Problem, count: int, max_rank: int | None, rng, workers) -> tuple[State, int]:
    """A fresh start from `count` components, whatever the previous penalty kept."""
    state = with_random(entries, empty(entries), count if max_rank is None else min(count, max_rank), rng)
    return state, len(settle(entries, state, problem, workers).objective)
