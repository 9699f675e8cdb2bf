"""The search: penalty, depth, main effects and noise by slice, chosen on held-out entries.

Two ways to start are raced over penalties from large to small:

- *grow*: from nothing, warm-started down the path, components offered by annealing at each step;
- *prune*: from many random components at each penalty, near where growing turned.

A walk is shallow, and its fits near the best one are then deepened, so all depths share one start. It
ends when its score has turned; a model without components is a valid point and does not end it. On
large data all this happens on a part of the entries, and all of them are grown once, near what won.
The best fits of all walks stay in a pool: the answer is the best, or a blend with others that pay. One
of these is no fit but the mean of draws from the posterior, which knows what few entries leave open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import numpy as np

from rankless.als.annealing import anneal, empty, with_random
from rankless.als.gibbs import mean_of_draws
from rankless.als.settle import settle
from rankless.als.solver import Entries, Problem, State, component_sizes
from rankless.als.workers import Workers
from rankless.blend import MOST_FITS, Part, Pool, blend, fitted, in_shares, lone, total, whole
from rankless.cp_tensor import CPTensor
from rankless.effects import MainEffects
from rankless.frame import Frame
from rankless.kriging import Kriging, choose
from rankless.observations import Observations
from rankless.scoring import Point, better_by_slice, frame_after, noise_mode, rmse_of, score_of, scored, unit_noise

DEPTHS = (0.0, 1.0, 3.0)
START_RANK = 60  # components a pruned fit starts from: several times what real data keep
PRUNED = 1.5  # ... or this many times what was grown
OFFERED = 20  # components offered at each step of a grown path
GRID = 0.5  # ratio of neighbouring penalties
FINE, FINE_STEPS = 2**0.25, 4  # ratio and number of the last, fine steps on either side of the winner
GUARD = 0.003  # guard as a share of penalty x share observed: stops runaways, costs 1 to 2 % of the error on small planted data
NOISE_GUARD = 20.0  # ... of at least this many times the noise: small penalties need it most
GROW_PATIENCE, PRUNE_PATIENCE = 5, 2  # worse points after which a walk ends; hopeless ones count twice
SIMPLER, SIMPLER_STEPS = 4.0, 3  # ratio and number of the penalties at which spare components are shed
LARGE, LARGE_A_SLICE = 100_000, 20  # entries, in all and a slice, above which choices are made on a part
ADDITIVE = 1e-4  # size left, in a frame's units of about 1, at which data are additive to the last digits
EARNED = 0.99  # a score below this share of the other's, and main effects are worth having
HOPELESS = 1.15  # a shallow score this many times the best is not deepened, and may end a walk at once
COARSE = Problem(0.0, 1.0, tol=2e-4, max_sweeps=25)  # how far points of a walk are driven
PATIENT = Problem(0.0, 1.0, tol=2e-6, max_sweeps=700)  # how far points of a walk are driven where nothing was found
LOST, LOST_STEPS = 0.75, 6  # score over that of no model at which nothing was found; penalties then tried below the one that kills all
FINAL = Problem(0.0, 1.0, tol=1e-5, max_sweeps=60)  # how far the refit is
UTMOST = Problem(0.0, 1.0, tol=1e-6, max_sweeps=200)  # ... where data are noiseless
FEWEST, THINNER, THIN_STEPS = 2, 0.7, 8  # components at which thinning ends; share kept at each step; penalties tried at each
EXACT = 1e-4  # error as a share of what is to be explained, below which data are noiseless
DRAWN_RANK, DRAWN_MOST = 1.4, (50, 100)  # components of draws, as many times the best fit's; at least, at most
DRAWS, FEWEST_DRAWS = 200, 30  # sweeps of drawing, at most; below the second number it isn't tried
DRAWN_WORK = 1e11  # multiply-adds that drawing may take
EXACT_STEP, EXACT_STEPS = 1e-2, 6  # ratio and number of the penalties then tried in double precision

Say = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Limits:
    """What may be searched; a single value is a thing fixed by hand."""

    depths: tuple[float, ...] = DEPTHS
    penalties: tuple[float, ...] | None = None  # None: from the one that kills everything downwards
    max_rank: int | None = None  # None: as many as the data ask for
    effects: tuple[bool, ...] = (False, True)
    noise: str | int | None = "auto"
    fits: int = MOST_FITS  # fits that may be blended
    local: bool = True  # whether neighbours may help

    @property
    def free(self) -> bool:
        """Whether nothing is fixed that a mean of draws does not have: depth, penalty, rank, a single fit."""
        return len(self.depths) > 1 and self.penalties is None and self.max_rank is None and self.fits > 1


@dataclass(eq=False)
class Found:
    """What the search chose, refitted on everything."""

    frame: Frame
    fits: list[CPTensor]  # the answer is their sum, the best fit first; in the units of the data, without the offset
    drawn: CPTensor | None  # ... and the mean of draws, where one is in it
    point: Point  # the best fit, with the held-out errors of the sum
    alone: Point  # the best fit before others were blended in: shares were fitted to the held-out entries
    held: Observations  # the entries held out
    nearby: Kriging | None = None  # what close cells add, in the units of the data
    path: list[dict] = field(default_factory=list)

    @property
    def model(self) -> CPTensor:
        return total([*self.fits, *([] if self.drawn is None else [self.drawn])])


def search(
    obs: Observations,
    limits: Limits,
    *,
    holdout: float,
    seed,
    workers: Workers,
    say: Say,
    error: Callable[[Point, Observations], float] | None = None,
) -> Found:
    """Choose everything in `limits` on held-out entries of `obs`, then refit on all of them.

    `error(point, held)` is what `path` calls the hold-out error, where that isn't the RMSE of the values as they are.
    """
    streams = iter(np.random.default_rng(seed).spawn(64))
    train, held = obs.split(holdout, seed=next(streams))
    if not held.size:
        raise ValueError(
            f"of {obs.size} observed entries none can be held out to choose on: each is the last of its slice; "
            "observe more entries a slice, or join slices (days into weeks)"
        )
    hunt = Search(_scout(train, streams), held, limits, streams, workers, say, error)
    best = hunt.choose()
    if hunt.train is not train:
        hunt = replace(hunt, train=train, pool=Pool())
        frame = frame_after(best, train, held, best.frame.mode)
        penalty = hunt.guess(best, frame)
        moved = hunt.moved(best, frame, best.depth, penalty)
        best = min(moved, hunt.walk("grow", frame, _window(penalty, 2)), key=score_of)
    if limits.penalties is None:
        best = hunt.refined(hunt.simpler(best))
    if limits.penalties is None and best.depth == 0 and best.frame.mode is None:
        best = hunt.thinner(best)
    exact = best.rmse < EXACT * rmse_of(held.values - best.frame.offset_at(held.coords), held)
    if limits.penalties is None and exact:
        best = hunt.sharpened(best)
    others = hunt.pool.beside(best)
    if limits.free and not exact:
        others += hunt.averaged(best)
    parts = blend(best, others, held, most=limits.fits, max_rank=limits.max_rank)
    offset = MainEffects.fit(obs) if best.frame.offset else None  # the parts share it
    points = [hunt.guarded(part.point) for part in parts]
    models = in_shares(parts, [_refit(point, offset, obs, UTMOST if exact else FINAL, streams, workers) for point in points])
    fits, drawn = [], None
    for part, model in zip(parts, models, strict=True):
        if part.point.drawn is None:
            fits.append(model)
        else:
            drawn = model
    found = Found(replace(best.frame, offset=offset), fits, drawn, whole(parts, held), best, held, path=hunt.path)
    return _with_neighbours(found, parts, obs, train) if limits.local else found


def _with_neighbours(found: Found, parts: Sequence[Part], obs: Observations, train: Observations) -> Found:
    """`found`, and what close cells add to it, where that pays on the held-out entries."""
    held, frame = found.held, parts[0].point.frame
    bare, bare_held = (part.with_values(part.values - frame.offset_at(part.coords)) for part in (train, held))
    chosen = choose(bare, fitted(parts, train), bare_held, bare_held.values - found.point.residual, frame.mode)
    if chosen is None:
        return found
    neighbours, residual = chosen
    fits = [neighbours.of(model) for model in found.fits]
    found = replace(found, fits=fits, drawn=found.drawn and neighbours.of(found.drawn))
    rest = obs.values - found.frame.offset_at(obs.coords) - found.model.at(obs.indices)
    point = replace(found.point, residual=residual, rmse=rmse_of(residual, held))
    return replace(found, point=point, nearby=neighbours.given(obs, rest))


@dataclass(eq=False)
class Search:
    """What every walk needs: the entries to fit and to score on, the limits, and where its rows go."""

    train: Observations
    held: Observations
    limits: Limits
    streams: Iterator[np.random.Generator]
    workers: Workers
    say: Say
    error: Callable[[Point, Observations], float] | None = None  # for `path`, where the RMSE of the values won't do
    path: list[dict] = field(default_factory=list)
    pool: Pool = field(default_factory=Pool)

    def choose(self) -> Point:
        """The best point over effects, noise, ways to start, depths and penalties."""
        base = [Frame.of(self.train, effects=effects) for effects in self.limits.effects]
        units = base[-1].to_units(self.train)
        if units.rms() < ADDITIVE:  # main effects explain everything, and what they leave is rounding
            return self.scored(base[-1], "grow", COARSE, empty(Entries(units, np.float32)), 0, perf_counter())
        # the simpler frame comes first; main effects have to earn their place
        best = self.walk("grow", base[0], _penalties(base[0].to_units(self.train)))
        others = [self.walk("grow", frame, _window(self.guess(best, frame), 3)) for frame in base[1:]]
        best = min([best, *(other for other in others if other.score < EARNED * best.score)], key=score_of)
        if best.frame.offset is not None and base[0].offset is None:  # a walk without them may have failed by chance
            best = min(self.moved(best, base[0], best.depth, best.penalty), best, key=score_of)
        best = self.reweighed(best, partial(self.walk, "grow"))
        best = self.pruned(best)
        best = self.plainer(self.reweighed(best, self.race))
        return best if self.limits.penalties else self.patient(best, base[0])

    def patient(self, best: Point, frame: Frame) -> Point:
        """`best`, or where it explains next to nothing, what many more sweeps find.

        With few entries for each unknown the right components stand out of many only after hundreds of sweeps.
        """
        nothing = rmse_of(self.held.values - frame.offset_at(self.held.coords), self.held)
        if best.rmse < LOST * nothing:
            return best
        top = _penalties(frame.to_units(self.train))[0]
        fine = [top * GRID ** (j / 2) for j in range(2 * LOST_STEPS)]
        found = self.walk("patient", frame, fine, START_RANK, how=PATIENT)
        below = [found.penalty * GRID**j for j in range(24)]
        grown = self.walk("grow", frame, below, shallow=found.state)
        return min(best, found, grown, key=lambda point: point.rmse)  # scores of other frames don't compare

    def thinner(self, best: Point) -> Point:
        """The winner's largest components alone, at smaller penalties.

        A shallow penalty takes as much from faint components as from noise; few of them, fitted closely and
        then shrunk by one share, may err less.
        """
        last, choice = best, (lone(best, self.held)[1], best)
        while last.state.rank > FEWEST:
            state = last.state.copy()
            state.keep(np.sort(np.argsort(-component_sizes(state), kind="stable")[: int(state.rank * THINNER)]))
            point, trials = replace(last, start="thin", state=state), []
            for step in range(THIN_STEPS):
                point = self.moved(point, point.frame, point.depth, best.penalty * FINE**-step)
                trials.append((lone(point, self.held)[1], point))
                if step and trials[-1][0] >= trials[-2][0]:
                    break
            last = trials[0][1]
            choice = min(choice, *trials, key=lambda trial: trial[0])
            if trials[0][0] > HOPELESS * choice[0]:
                break
        return choice[1]

    def sharpened(self, best: Point) -> Point:
        """Data without noise: smaller penalties in double precision, for as long as that helps.

        Single precision, in which walks are made, cannot tell the last of them apart.
        """
        units, state = best.frame.to_units(self.train), best.state.copy()
        entries, state.stack = Entries(units), state.stack.astype(np.float64)
        problem = _at(UTMOST, best.depth, best.penalty, units, 0.0)
        for _ in range(EXACT_STEPS if best.state.rank else 0):
            clock, state = perf_counter(), state.copy()
            problem = replace(problem, penalty=problem.penalty * EXACT_STEP, guard=problem.guard * EXACT_STEP)
            sweeps = len(settle(entries, state, problem, self.workers).objective)
            trial = self.scored(best.frame, best.start, problem, state, sweeps, clock)
            if trial.score >= 0.5 * best.score:
                break
            best = trial
        return best

    def plainer(self, best: Point) -> Point:
        """`best`, or its components in a plainer frame where slices' noise or main effects don't earn their place.

        They may have won because a walk without them had failed by chance.
        """
        if best.frame.mode is not None:
            frame = Frame.of(self.train, effects=best.frame.offset is not None)
            plain = self.moved(best, frame, best.depth, self.guess(best, frame))
            if not better_by_slice(best, plain, self.held, best.frame.mode):
                best = plain
        if best.frame.offset is not None and False in self.limits.effects:
            bare = replace(best, frame=replace(best.frame, offset=None))
            frame = frame_after(bare, self.train, self.held, best.frame.mode)
            plain = self.moved(best, frame, best.depth, self.guess(best, frame))
            if best.score > EARNED * plain.score:
                best = plain
        return best

    def race(self, frame: Frame, penalties: Sequence[float]) -> Point:
        """Both ways to start."""
        return self.pruned(self.walk("grow", frame, penalties))

    def pruned(self, grown: Point) -> Point:
        """`grown`, or the best fit from many components, if that is better: growing shows where to look."""
        count = max(START_RANK, int(PRUNED * grown.state.rank))
        return min(grown, self.walk("prune", grown.frame, _window(grown.penalty, 3), count), key=score_of)

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

    def walk(
        self,
        kind: str,
        frame: Frame,
        penalties: Sequence[float],
        count: int = OFFERED,
        *,
        how: Problem = COARSE,
        shallow: State | None = None,
    ) -> Point:
        """One walk down the penalties, then deeper around its best point; every point's row goes to `path`.

        `count` components are offered at every step of a grown walk, or started from at every step of a pruned one.
        """
        penalties = self.limits.penalties or penalties
        units, rng = frame.to_units(self.train), next(self.streams)
        entries = Entries(units, np.float32)
        start, patience = {"grow": (_grow, GROW_PATIENCE), "prune": (_prune, PRUNE_PATIENCE), "patient": (_prune, GROW_PATIENCE)}[kind]
        first, *deeper = self.limits.depths
        trail, top, worse, shallow = [], 0, 0, empty(entries) if shallow is None else shallow.copy()
        best = replace(scored(frame, kind, _at(how, first, penalties[0], units, frame.noise), shallow, self.held), score=np.inf)
        for step, penalty in enumerate(penalties):
            self.say(f"{kind} at penalty {penalty:.3g}, rank {best.state.rank} so far", None)
            clock = perf_counter()
            problem = _at(how, 0.0, penalty, units, frame.noise)
            shallow, sweeps = start(entries, shallow, problem, count, self.limits.max_rank, rng, self.workers)
            trail.append((problem, shallow))
            point = self.deepened(frame, kind, entries, replace(problem, depth=first), shallow, sweeps, clock)
            alive, hopeless = point.state.rank > 0, best.state.rank > 0 and point.score > HOPELESS * best.score
            if point.score < best.score:
                best, top, worse = point, step, 0
            elif alive:
                worse += 1 + hopeless
            if worse >= patience or (worse >= 2 and shallow.rank > best.state.rank + OFFERED):
                break
        return self.climbed(best, entries, trail, top, deeper) if deeper else best

    def climbed(self, best: Point, entries: Entries, trail: list[tuple[Problem, State]], top: int, deeper: Sequence[float]) -> Point:
        """The fits of a walk made deeper, from its best one both ways for as long as that helps.

        Deepening costs as much as walking, and what is deep is best near where what is shallow is.
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

    def guarded(self, point: Point) -> Point:
        """`point` with a guard that knows the noise it leaves: held-out entries need not lie where a component runs away."""
        noise = unit_noise(point.frame, point, self.held)
        return replace(point, guard=max(point.guard, GUARD * NOISE_GUARD * noise * self.train.share))

    def averaged(self, best: Point) -> list[Point]:
        """The mean of draws from the posterior, where it is cheap enough; its start knows nothing of `best`."""
        least, most = DRAWN_MOST
        rank = min(max(least, int(DRAWN_RANK * best.state.rank)), most)
        sweeps = _sweeps_of(self.train, rank)
        if sweeps < FEWEST_DRAWS:
            return []
        units, rng, clock = best.frame.to_units(self.train), next(self.streams), perf_counter()
        self.say(f"draws of {rank} components", None)
        entries = Entries(units)
        state = with_random(entries, empty(entries), rank, rng)
        noise = unit_noise(best.frame, best, self.held)
        drawn = mean_of_draws(entries, state, rng, self.workers, noise=noise, sweeps=sweeps)
        return [self.scored(best.frame, "draw", _at(COARSE, 0.0, noise, units, noise), state, sweeps, clock, drawn)]

    def scored(
        self, frame: Frame, start: str, problem: Problem, state: State, sweeps: int, clock: float, drawn: CPTensor | None = None
    ) -> Point:
        """A fit scored on the held-out entries, its row written to `path`."""
        point = scored(frame, start, problem, state, self.held, drawn)
        row = point.row(self.train, sweeps, perf_counter() - clock)
        self.path.append(row if self.error is None else row | {"holdout_rmse": self.error(point, self.held)})
        if drawn is None:
            self.pool.offer(point)
        return point

    def moved(self, point: Point, frame: Frame, depth: float, penalty: float) -> Point:
        """The components of `point`, settled in another frame, or at another depth and penalty."""
        units, clock, state = frame.to_units(self.train), perf_counter(), point.state.copy()
        problem = replace(_at(COARSE, depth, penalty, units, frame.noise), max_sweeps=2 * COARSE.max_sweeps)
        sweeps = len(settle(Entries(units, np.float32), state, problem, self.workers).objective)
        return self.scored(frame, point.start, problem, state, sweeps, clock)

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
                problem = _at(COARSE, best.depth, penalty, units, best.frame.noise)
                state, sweeps = _grow(entries, best.state, problem, OFFERED, self.limits.max_rank, rng, self.workers)
                trial = self.scored(best.frame, best.start, problem, state, sweeps, clock)
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


def _at(how: Problem, depth: float, penalty: float, units: Observations, noise: float) -> Problem:
    """The problem at a depth and penalty, with the guard that goes with them and with the noise."""
    return replace(how, depth=depth, penalty=penalty, guard=GUARD * max(penalty, NOISE_GUARD * noise) * units.share)


def _grow(entries, state: State, problem: Problem, count: int, max_rank: int | None, rng, workers) -> tuple[State, int]:
    """The previous penalty's fit, settled at this one, and `count` components offered to it."""
    state = state.copy()
    sweeps = len(settle(entries, state, problem, workers).objective)
    offered = count if max_rank is None else min(count, max_rank - state.rank)
    if offered > 0:
        state, trace = anneal(entries, state, problem, workers, rng, offered)
        sweeps += len(trace.objective) if trace else 0
    return state, sweeps


def _prune(entries, state: State, problem: Problem, count: int, max_rank: int | None, rng, workers) -> tuple[State, int]:
    """A fresh start from `count` components, whatever the previous penalty kept."""
    state = with_random(entries, empty(entries), count if max_rank is None else min(count, max_rank), rng)
    return state, len(settle(entries, state, problem, workers).objective)


def _sweeps_of(obs: Observations, rank: int) -> int:
    """Sweeps of drawing that the work allows."""
    solves = sum(obs.shape) * rank**3 / 3
    return int(min(DRAWS, DRAWN_WORK / (obs.order * obs.size * rank**2 / 2 + solves)))


def _refit(best: Point, offset: MainEffects | None, obs: Observations, how: Problem, streams, workers: Workers) -> CPTensor:
    """The components of `best`, settled on all entries; of a mean of draws, drawn again given all."""
    frame = replace(best.frame, offset=offset)
    units, state = frame.to_units(obs), best.state.copy()
    if best.drawn is not None:
        sweeps = max(FEWEST_DRAWS, _sweeps_of(obs, state.rank))
        noise = best.penalty  # where the chain starts; it soon forgets
        return frame.to_data(mean_of_draws(Entries(units), state, next(streams), workers, noise=noise, sweeps=sweeps))
    entries = Entries(units)
    state.stack = state.stack.astype(np.float64)
    settle(entries, state, replace(how, depth=best.depth, penalty=best.penalty, guard=best.guard), workers)
    return frame.to_data(state.model())
