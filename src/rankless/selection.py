"""The search: penalty, depth, main effects and noise by slice, chosen on held-out entries.

Two ways to start are raced over penalties from large to small:

- *grow*: from nothing, warm-started down the path, components offered by annealing at each step;
- *prune*: from many random components at each penalty, near where growing turned.

At every penalty a fit starts shallow and is deepened, so all depths share one start. A walk ends
when its score has turned; a model without components is a valid point and does not end it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from rankless.als.annealing import anneal, empty, with_random
from rankless.als.solver import Entries, Problem, State, settle
from rankless.als.workers import Workers
from rankless.cp_tensor import CPTensor
from rankless.effects import MainEffects
from rankless.frame import Frame
from rankless.observations import Observations

DEPTHS = (0.0, 1.0, 3.0)
START_RANK = 60  # components a pruned fit starts from: several times what real data keep
OFFERED = 20  # components offered at each step of a grown path
GRID = 0.5  # ratio of neighbouring penalties
FINE, FINE_STEPS = 2**0.25, 4  # ratio and number of the last, fine steps on either side of the winner
GUARD = 0.003  # guard as a share of penalty x share observed: enough against runaways, no visible bias
GROW_PATIENCE, PRUNE_PATIENCE = 5, 2  # worse points after which a walk ends; hopeless ones count twice
SIMPLER, SIMPLER_STEPS = 4.0, 3  # ratio and number of the penalties at which spare components are shed
EARNED = 0.99  # a score below this share of the other's, and main effects are worth having
NOISE_SPREAD = 0.02  # variance of log noise between slices from which weighing them is tried
NOISE_ENTRIES = 10  # held-out entries a slice, on average, without which its noise is not known
NOISE_SLACK = 1.02  # how much the plain error may rise where slices are better filled on the whole
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
class Point:
    """One fit of the search, scored on the held-out entries."""

    frame: Frame
    start: str
    depth: float
    penalty: float
    state: State
    score: float  # what fits are compared by
    rmse: float  # plain root mean square error on the held-out entries
    residual: np.ndarray  # on the held-out entries, in the units of the data

    def row(self, obs: Observations, sweeps: int, seconds: float) -> dict:
        """A line of `path_`."""
        noise = None if self.frame.mode is None else obs.modes[self.frame.mode]
        return {
            "start": self.start,
            "depth": self.depth,
            "penalty": self.penalty,
            "effects": self.frame.offset is not None,
            "noise": noise,
            "rank": self.state.rank,
            "holdout_rmse": self.rmse,
            "score": self.score,
            "sweeps": sweeps,
            "seconds": seconds,
        }


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
    path: list[dict] = []

    def walk(kind: str, frame: Frame, penalties: Sequence[float]) -> Point:
        penalties = limits.penalties or penalties
        say(f"{kind} from {penalties[0]:.3g} down", None)
        return _walk(kind, frame, train, held, limits, penalties, next(streams), workers, path)

    def race(frame: Frame, penalties: Sequence[float]) -> Point:
        """Both ways to start: growing shows where pruning has to look."""
        grown = walk("grow", frame, penalties)
        return min(grown, walk("prune", frame, _window(grown.penalty, 3)), key=_score)

    def reweighed(best: Point, fit: Callable[[Frame, Sequence[float]], Point]) -> Point:
        """`best`, or a fit whose slices are weighed by the errors that `best` leaves, if that is better."""
        frame = _noise_frame(best, train, held, limits.noise)
        if frame is None:
            return best
        # penalties scale with the noise that is left, in the frame's units
        guess = best.penalty * (_unit_noise(frame, best, held) / _unit_noise(best.frame, best, held))
        trial = fit(frame, _window(guess, 6))
        return trial if _better_by_slice(trial, best, held) else best

    base = [Frame.of(train, effects=effects) for effects in limits.effects]
    # the simpler frame comes first; main effects have to earn their place
    best, *others = (walk("grow", frame, _penalties(frame.to_units(train))) for frame in base)
    best = min([best, *(other for other in others if other.score < EARNED * best.score)], key=_score)
    if best.frame.offset is not None and False in limits.effects:
        best = min(_moved(best, base[0], best.depth, best.penalty, train, held, workers, path), best, key=_score)
    best = reweighed(best, functools.partial(walk, "grow"))
    best = min(best, walk("prune", best.frame, _window(best.penalty, 3)), key=_score)
    best = reweighed(best, race)
    best = _simpler(best, train, held, limits, workers, path)
    if limits.penalties is None:
        best = _refine(best, train, held, limits, next(streams), workers, path)
    frame, model = _refit(best, obs, workers)
    return Found(frame, _shrunk(model, best, held), best, path)


def _score(point: Point) -> float:
    return point.score


# --- walks ----------------------------------------------------------------------------------------


def _penalties(units: Observations) -> list[float]:
    """From the penalty at which one component that explains everything does not pay, downwards."""
    top = units.size / (units.order * float(units.cells) ** (1.0 / units.order))
    return [top * GRID**j for j in range(1, 24)]


def _window(penalty: float, above: int) -> list[float]:
    """From `above` steps over a penalty downwards; the walk's patience ends it."""
    return [penalty * GRID**j for j in range(-above, 12)]


def _walk(kind, frame, train, held, limits: Limits, penalties, rng, workers, path: list[dict]) -> Point:
    """One walk down the penalties: its best point; every point's row goes to `path`."""
    units = frame.to_units(train)
    entries = Entries(units, np.float32)
    start, patience = {"grow": (_grow, GROW_PATIENCE), "prune": (_prune, PRUNE_PATIENCE)}[kind]
    shallow = empty(entries)
    best, worse = None, 0
    for penalty in penalties:
        clock = perf_counter()
        problem = replace(COARSE, penalty=penalty, guard=GUARD * penalty * units.share)
        shallow, sweeps = start(entries, shallow, problem, limits.max_rank, rng, workers)
        state, improved, alive, shallow_score = shallow, False, False, np.inf
        for depth in limits.depths:
            if depth > 0 and best is not None and np.inf > shallow_score > HOPELESS * best.score:
                continue  # a bad shallow fit is not worth deepening
            if depth > 0:
                state = state.copy()
                sweeps += len(settle(entries, state, replace(problem, depth=depth), workers).objective)
            point = _scored(frame, kind, depth, penalty, state, held)
            path.append(point.row(train, sweeps, perf_counter() - clock))
            alive |= state.rank > 0
            shallow_score = min(shallow_score, point.score)
            if best is None or point.score < best.score:
                best, improved = point, True
            sweeps, clock = 0, perf_counter()
        hopeless = alive and best.state.rank > 0 and shallow_score > HOPELESS * best.score
        worse = 0 if improved or not alive else worse + 1 + hopeless
        if worse >= patience or (hopeless and shallow.rank > best.state.rank + 1.5 * OFFERED):
            break
    return replace(best, state=best.state.copy())


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


# --- scores ---------------------------------------------------------------------------------------


def _scored(frame: Frame, start: str, depth: float, penalty: float, state: State, held: Observations) -> Point:
    fitted = frame.offset_at(held.coords)
    if state.rank:
        fitted = fitted + frame.scale_at(held.coords) * state.model().at(held.indices)
    residual = held.values - fitted
    if frame.mode is None:
        score = _robust_rms(residual)
    else:
        score = float(np.exp(_mean_log_rms(residual, held.coords[frame.mode], held.shape[frame.mode])))
    return Point(frame, start, depth, penalty, state, score, float(np.sqrt(np.mean(residual**2))), residual)


def _robust_rms(residual: np.ndarray) -> float:
    """Root mean square with each residual capped at 5 robust standard deviations.

    A few wild entries in the hold-out must not choose the model for all the others.
    """
    size = np.abs(residual)
    cap = 5 * 1.4826 * np.median(size)
    return float(np.sqrt(np.mean(np.minimum(size, cap) ** 2))) if cap > 0 else float(np.sqrt(np.mean(size**2)))


def _slice_rms(residual: np.ndarray, slices: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """RMS error of each slice, drawn towards the whole where a slice has few entries; and the counts."""
    seen = np.bincount(slices, minlength=count)
    squares = np.bincount(slices, residual**2, minlength=count)
    pooled = max(float(np.mean(residual**2)), np.finfo(float).tiny)
    return np.sqrt((squares + 2 * pooled) / (seen + 2)), seen


def _mean_log_rms(residual: np.ndarray, slices: np.ndarray, count: int) -> float:
    """Mean over entries of the log of their slice's RMS error: each slice counts in its own units."""
    rms, seen = _slice_rms(residual, slices, count)
    return float(np.sum(seen * np.log(rms)) / np.sum(seen))


# --- noise by slice -------------------------------------------------------------------------------


def _noise_frame(best: Point, train: Observations, held: Observations, noise: str | int | None) -> Frame | None:
    """A frame whose slices are weighed by the error `best` leaves in them; None where they do not differ."""
    if noise is None or best.rmse == 0:
        return None
    if noise != "auto":
        mode = train.mode_index(noise)
    elif best.frame.mode is not None:
        mode = best.frame.mode
    else:
        differing = [(_noise_spread(best.residual, held, m), m) for m in range(train.order)]
        spread, mode = max(differing)
        if spread < NOISE_SPREAD:
            return None
    rms, _ = _slice_rms(best.residual, held.coords[mode], held.shape[mode])
    return Frame.of(train, effects=best.frame.offset is not None, mode=mode, noise=rms)


def _noise_spread(residual: np.ndarray, held: Observations, mode: int) -> float:
    """Variance of the log noise between slices of `mode`, less what sampling alone would give."""
    count = held.shape[mode]
    if count < 2 or len(residual) < NOISE_ENTRIES * count:
        return 0.0
    rms, seen = _slice_rms(residual, held.coords[mode], count)
    logs = np.log(rms)
    between = np.average((logs - np.average(logs, weights=seen)) ** 2, weights=seen)
    standard = residual / rms[held.coords[mode]]
    kurtosis = np.mean(standard**4) / np.mean(standard**2) ** 2
    return float(between - (count - 1) * (kurtosis - 1) / 4 / len(residual))


def _unit_noise(frame: Frame, best: Point, held: Observations) -> float:
    """Mean square of `best`'s residual in the units and weights of `frame`."""
    return float(np.average((best.residual / frame.scale_at(held.coords)) ** 2, weights=frame.weights_at(held)))


def _better_by_slice(trial: Point, best: Point, held: Observations) -> bool:
    """Whether slices are better filled on the whole, and the sum over all not worse for it."""
    mode = trial.frame.mode
    slices, count = held.coords[mode], held.shape[mode]
    closer = _mean_log_rms(trial.residual, slices, count) < _mean_log_rms(best.residual, slices, count)
    return closer and trial.rmse < NOISE_SLACK * best.rmse


# --- the end --------------------------------------------------------------------------------------


def _refine(best: Point, train: Observations, held: Observations, limits: Limits, rng, workers: Workers, path: list[dict]) -> Point:
    """Smaller steps of the penalty around the winner, each from the winner's own components, more offered."""
    units = best.frame.to_units(train)
    entries = Entries(units, np.float32)
    for direction in (1 / FINE, FINE):
        for _ in range(FINE_STEPS if best.state.rank else 0):
            clock, penalty, state = perf_counter(), best.penalty * direction, best.state.copy()
            problem = replace(COARSE, depth=best.depth, penalty=penalty, guard=GUARD * penalty * units.share)
            state, sweeps = _grow(entries, state, problem, limits.max_rank, rng, workers)
            trial = _scored(best.frame, best.start, best.depth, penalty, state, held)
            path.append(trial.row(train, sweeps, perf_counter() - clock))
            if trial.score >= best.score:
                break
            best = trial
    return best


def _moved(
    point: Point, frame: Frame, depth: float, penalty: float, train: Observations, held: Observations, workers: Workers, path: list[dict]
) -> Point:
    """The components of `point`, settled in another frame, or at another depth and penalty."""
    units, clock, state = frame.to_units(train), perf_counter(), point.state.copy()
    problem = replace(COARSE, depth=depth, penalty=penalty, guard=GUARD * penalty * units.share, max_sweeps=2 * COARSE.max_sweeps)
    sweeps = len(settle(Entries(units, np.float32), state, problem, workers).objective)
    moved = _scored(frame, point.start, depth, penalty, state, held)
    path.append(moved.row(train, sweeps, perf_counter() - clock))
    return moved


def _simpler(best: Point, train: Observations, held: Observations, limits: Limits, workers: Workers, path: list[dict]) -> Point:
    """Deeper, at larger penalties, from the winner's components: spare ones die and the others stay.

    A fit that found the right components among many spare ones gets rid of them here only: walks
    start afresh at each penalty, or come from above it.
    """
    depth, point = max(limits.depths), best
    for _ in range(SIMPLER_STEPS if best.state.rank and limits.penalties is None else 0):
        point = _moved(point, point.frame, depth, point.penalty * SIMPLER, train, held, workers, path)
        if point.score > HOPELESS * best.score or not point.state.rank:
            break
        best = min(point, best, key=_score)
    return best


def _refit(best: Point, obs: Observations, workers: Workers) -> tuple[Frame, CPTensor]:
    """The winner's components, settled on all entries."""
    offset = MainEffects.fit(obs) if best.frame.offset else None
    frame = replace(best.frame, offset=offset)
    units = frame.to_units(obs)
    entries, state = Entries(units), best.state.copy()
    state.stack = state.stack.astype(np.float64)
    problem = replace(FINAL, depth=best.depth, penalty=best.penalty, guard=GUARD * best.penalty * units.share)
    settle(entries, state, problem, workers)
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
