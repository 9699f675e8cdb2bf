"""The search: penalty, depth, main effects and noise by slice, chosen on held-out entries.

Two ways to start are raced over penalties from large to small:

- *grow*: from nothing, warm-started down the path, components offered by annealing at each step;
- *prune*: from many random components at each penalty, near where growing turned.

At every penalty a fit starts shallow and is deepened, so all depths share one start. A walk ends
when its score has turned; a model without components is a valid point and does not end it. On
large data all this happens on a part of the entries, and all of them are grown once, near what won.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import numpy as np

from rankless.als.annealing import anneal, empty, with_random
from rankless.als.settle import settle
from rankless.als.solver import Entries, Problem, State
from rankless.als.workers import Workers
from rankless.cp_tensor import CPTensor
from rankless.effects import MainEffects
from rankless.frame import Frame
from rankless.observations import Observations
from rankless.scoring import Point, better_by_slice, frame_after, noise_mode, score_of, scored, unit_noise

DEPTHS = (0.0, 1.0, 3.0)
START_RANK = 60  # components a pruned fit starts from: several times what real data keep
OFFERED = 20  # components offered at each step of a grown path
GRID = 0.5  # ratio of neighbouring penalties
FINE, FINE_STEPS = 2**0.25, 4  # ratio and number of the last, fine steps on either side of the winner
GUARD = 0.003  # guard as a share of penalty x share observed: stops runaways, costs 1 to 2 % of the error on small planted data
GROW_PATIENCE, PRUNE_PATIENCE = 5, 2  # worse points after which a walk ends; hopeless ones count twice
SIMPLER, SIMPLER_STEPS = 4.0, 3  # ratio and number of the penalties at which spare components are shed
LARGE, LARGE_A_SLICE = 100_000, 20  # entries, in all and a slice, above which choices are made on a part
ADDITIVE = 1e-4  # size left, in a frame's units of about 1, at which data are additive to the last digits
EARNED = 0.99  # a score below this share of the other's, and main effects are worth having
HOPELESS = 1.15  # a shallow score this many times the best is not deepened, and may end a walk at once
COARSE = Problem(0.0, 1.0, tol=1e-4, max_sweeps=40)  # how far points of a walk are driven
FINAL = Problem(0.0, 1.0, tol=1e-6, max_sweeps=200)  # how far the refit is

Say = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Limits:
    """What may be searched; a single value is a thing fixed by hand."""

    depths: tuple[float, ...] = DEPTHS
    penalties: tuple[float, ...] | None = None  # None: from the one that kills everything downwards
    max_rank: int | None = None  # None: as many as the data ask for
    effects: tuple[bool, ...] = (False, True)
    noise: str | int | None = "auto"


@dataclass(eq=False)
class Found:
    """What the search chose, refitted on everything."""

    frame: Frame
    model: CPTensor  # in the units of the data, without the offset
    point: Point
    path: list[dict] = field(default_factory=list)


def search(obs: Observations, limits: Limits, *, holdout: float, seed, workers: Workers, say: Say) -> Found:
    """Choose everything in `limits` on held-out entries of `obs`, then refit on all of them."""
    streams = iter(np.random.default_rng(seed).spawn(64))
    train, held = obs.split(holdout, seed=next(streams))
    if not held.size:
        raise ValueError(
            f"of {obs.size} observed entries none can be held out to choose on: each is the last of its slice; "
            "observe more entries a slice, or join slices (days into weeks)"
        )
    hunt = Search(_scout(train, streams), held, limits, streams, workers, say)
    best = hunt.choose()
    if hunt.train is not train:
        hunt = replace(hunt, train=train)
        frame = frame_after(best, train, held, best.frame.mode)
        penalty = hunt.guess(best, frame)
        moved = hunt.moved(best, frame, best.depth, penalty)
        best = min(moved, hunt.walk("grow", frame, _window(penalty, 2)), key=score_of)
    if limits.penalties is None:
        best = hunt.refined(hunt.simpler(best))
    frame, model = _refit(best, obs, workers)
    return Found(frame, _shrunk(model, best, held), best, hunt.path)


@dataclass(eq=False)
class Search:
    """What every walk needs: the entries to fit and to score on, the limits, and where its rows go."""

    train: Observations
    held: Observations
    limits: Limits
    streams: Iterator[np.random.Generator]
    workers: Workers
    say: Say
    path: list[dict] = field(default_factory=list)

    def choose(self) -> Point:
        """The best point over effects, noise, ways to start, depths and penalties."""
        base = [Frame.of(self.train, effects=effects) for effects in self.limits.effects]
        units = base[-1].to_units(self.train)
        if units.rms() < ADDITIVE:  # main effects explain everything, and what they leave is rounding
            return self.scored(base[-1], "grow", 0.0, 1.0, empty(Entries(units, np.float32)), 0, perf_counter())
        # the simpler frame comes first; main effects have to earn their place
        best, *others = (self.walk("grow", frame, _penalties(frame.to_units(self.train))) for frame in base)
        best = min([best, *(other for other in others if other.score < EARNED * best.score)], key=score_of)
        if best.frame.offset is not None and base[0].offset is None:  # a walk without them may have failed by chance
            best = min(self.moved(best, base[0], best.depth, best.penalty), best, key=score_of)
        best = self.reweighed(best, partial(self.walk, "grow"))
        best = min(best, self.walk("prune", best.frame, _window(best.penalty, 3)), key=score_of)
        return self.reweighed(best, self.race)

    def race(self, frame: Frame, penalties: Sequence[float]) -> Point:
        """Both ways to start: growing shows where pruning has to look."""
        grown = self.walk("grow", frame, penalties)
        return min(grown, self.walk("prune", frame, _window(grown.penalty, 3)), key=score_of)

    def reweighed(self, best: Point, fit: Callable[[Frame, Sequence[float]], Point]) -> Point:
        """`best`, or a fit whose slices are weighed by the errors that `best` leaves, if that is better."""
        mode = noise_mode(best, self.held, self.limits.noise)
        if mode is None:
            return best
        frame = frame_after(best, self.train, self.held, mode)
        trial = fit(frame, _window(self.guess(best, frame), 6))
        return trial if better_by_slice(trial, best, self.held, mode) else best

    def guess(self, best: Point, frame: Frame) -> float:
        """The penalty of `best` in another frame: it scales with the noise that is left, in the frame's units."""
        return best.penalty * (unit_noise(frame, best, self.held) / unit_noise(best.frame, best, self.held))

    def walk(self, kind: str, frame: Frame, penalties: Sequence[float]) -> Point:
        """One walk down the penalties: its best point; every point's row goes to `path`."""
        penalties = self.limits.penalties or penalties
        units, rng = frame.to_units(self.train), next(self.streams)
        entries = Entries(units, np.float32)
        start, patience = {"grow": (_grow, GROW_PATIENCE), "prune": (_prune, PRUNE_PATIENCE)}[kind]
        shallow = empty(entries)
        best, worse = replace(scored(frame, kind, 0.0, penalties[0], shallow, self.held), score=np.inf), 0
        for penalty in penalties:
            self.say(f"{kind} at penalty {penalty:.3g}, rank {best.state.rank} so far", None)
            clock = perf_counter()
            problem = _at(COARSE, 0.0, penalty, units)
            shallow, sweeps = start(entries, shallow, problem, self.limits.max_rank, rng, self.workers)
            state, improved, alive, shallow_score = shallow, False, False, np.inf
            for depth in self.limits.depths:
                if depth > 0 and np.inf > shallow_score > HOPELESS * best.score:
                    continue  # a bad shallow fit is not worth deepening
                if depth > 0:
                    state = state.copy()
                    sweeps += len(settle(entries, state, replace(problem, depth=depth), self.workers).objective)
                point = self.scored(frame, kind, depth, penalty, state, sweeps, clock)
                alive |= state.rank > 0
                shallow_score = min(shallow_score, point.score)
                if point.score < best.score:
                    best, improved = point, True
                sweeps, clock = 0, perf_counter()
            hopeless = alive and best.state.rank > 0 and shallow_score > HOPELESS * best.score
            worse = 0 if improved or not alive else worse + 1 + hopeless
            if worse >= patience or (hopeless and shallow.rank > best.state.rank + 1.5 * OFFERED):
                break
        return replace(best, state=best.state.copy())

    def scored(self, frame: Frame, start: str, depth: float, penalty: float, state: State, sweeps: int, clock: float) -> Point:
        """A fit scored on the held-out entries, its row written to `path`."""
        point = scored(frame, start, depth, penalty, state, self.held)
        self.path.append(point.row(self.train, sweeps, perf_counter() - clock))
        return point

    def moved(self, point: Point, frame: Frame, depth: float, penalty: float) -> Point:
        """The components of `point`, settled in another frame, or at another depth and penalty."""
        units, clock, state = frame.to_units(self.train), perf_counter(), point.state.copy()
        problem = replace(_at(COARSE, depth, penalty, units), max_sweeps=2 * COARSE.max_sweeps)
        sweeps = len(settle(Entries(units, np.float32), state, problem, self.workers).objective)
        return self.scored(frame, point.start, depth, penalty, state, sweeps, clock)

    def simpler(self, best: Point) -> Point:
        """Deeper, at larger penalties, from the winner's components: spare ones die and the others stay.

        A fit that found the right components among many spare ones gets rid of them here only:
        walks start afresh at each penalty, or come from above it.
        """
        depth, point = max(self.limits.depths), best
        for _ in range(SIMPLER_STEPS if best.state.rank else 0):
            point = self.moved(point, point.frame, depth, point.penalty * SIMPLER)
            if point.score > HOPELESS * best.score or not point.state.rank:
                break
            if point.state.rank < best.state.rank:
                best = min(point, best, key=score_of)
        return best

    def refined(self, best: Point) -> Point:
        """Smaller steps of the penalty around the winner, each from the winner's own components, more offered."""
        units, rng = best.frame.to_units(self.train), next(self.streams)
        entries = Entries(units, np.float32)
        for direction in (1 / FINE, FINE):
            for _ in range(FINE_STEPS if best.state.rank else 0):
                clock, penalty = perf_counter(), best.penalty * direction
                problem = _at(COARSE, best.depth, penalty, units)
                state, sweeps = _grow(entries, best.state, problem, self.limits.max_rank, rng, self.workers)
                trial = self.scored(best.frame, best.start, best.depth, penalty, state, sweeps, clock)
                if trial.score >= best.score:
                    break
                best = trial
        return best


def _scout(train: Observations, streams: Iterator[np.random.Generator]) -> Observations:
    """The entries to choose on: all, or of large data a random part that still has many a slice."""
    enough = LARGE / 2 + LARGE_A_SLICE * sum(train.shape)
    if train.size <= max(LARGE, enough):
        return train
    return train.subset(next(streams).random(train.size) < enough / train.size)


def _penalties(units: Observations) -> list[float]:
    """From the penalty at which one component that explains everything does not pay, downwards."""
    top = units.size / (units.order * float(units.cells) ** (1.0 / units.order))
    return [top * GRID**j for j in range(1, 24)]


def _window(penalty: float, above: int) -> list[float]:
    """From `above` steps over a penalty downwards; the walk's patience ends it."""
    return [penalty * GRID**j for j in range(-above, 12)]


def _at(how: Problem, depth: float, penalty: float, units: Observations) -> Problem:
    """The problem at a depth and penalty, with the guard that goes with them."""
    return replace(how, depth=depth, penalty=penalty, guard=GUARD * penalty * units.share)


def _grow(entries, state: State, problem: Problem, max_rank: int | None, rng, workers) -> tuple[State, int]:
    """The previous penalty's fit, settled at this one, and a few components offered to it."""
    state = state.copy()
    sweeps = len(settle(entries, state, problem, workers).objective)
    offered = OFFERED if max_rank is None else min(OFFERED, max_rank - state.rank)
    if offered > 0:
        state, trace = anneal(entries, state, problem, workers, rng, offered)
        sweeps += len(trace.objective) if trace else 0
    return state, sweeps


def _prune(entries, state: State, problem: Problem, max_rank: int | None, rng, workers) -> tuple[State, int]:
    """A fresh start from many more components than the previous penalty kept."""
    rank = max(START_RANK, 2 * state.rank)
    state = with_random(entries, empty(entries), rank if max_rank is None else min(rank, max_rank), rng)
    return state, len(settle(entries, state, problem, workers).objective)


def _refit(best: Point, obs: Observations, workers: Workers) -> tuple[Frame, CPTensor]:
    """The winner's components, settled on all entries."""
    offset = MainEffects.fit(obs) if best.frame.offset else None
    frame = replace(best.frame, offset=offset)
    units = frame.to_units(obs)
    entries, state = Entries(units), best.state.copy()
    state.stack = state.stack.astype(np.float64)
    settle(entries, state, _at(FINAL, best.depth, best.penalty, units), workers)
    return frame, frame.to_data(state.model())


def _shrunk(model: CPTensor, best: Point, held: Observations) -> CPTensor:
    """Draw slices towards their main effects where the components predict them worse than nothing would.

    Only slices of the mode that has its own noise, by the least-squares factor on their held-out
    entries: heavy-tailed slices (hourly rain) are where a component follows spikes.
    """
    mode = best.frame.mode
    if mode is None or not model.rank:
        return model
    slices, count = held.coords[mode], held.shape[mode]
    target = held.values - best.frame.offset_at(held.coords)
    fitted = target - best.residual

    def per_slice(products: np.ndarray) -> np.ndarray:
        return np.bincount(slices, products, minlength=count)

    worse = per_slice(best.residual**2) > per_slice(target**2)
    energy = per_slice(fitted**2)
    share = np.divide(per_slice(target * fitted), energy, out=np.ones(count), where=energy > 0)
    factors = list(model.factors)
    factors[mode] = factors[mode] * np.where(worse, np.clip(share, 0.0, 1.0), 1.0)[:, None]
    return CPTensor(factors).balanced()
