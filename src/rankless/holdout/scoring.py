"""Scores on held-out entries, and the noise that slices show in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rankless.als.solver import Problem, State
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.error import CAP, rmse_of, root_weights
from rankless.units.frame import Frame
from rankless.units.link import Units

NOISE_SPREAD = 0.02  # variance of log noise between slices from which weighing them is tried
NOISE_ENTRIES = 10  # held-out entries a slice, on average, without which its noise is not known
NOISE_GAIN = 0.005  # fall of the mean log error by which weighing slices has to earn its place
NOISE_SLACK = 1.02  # how much the plain error may rise where slices are better filled on the whole


@dataclass(eq=False)
class Point:
    """One fit of the search, scored on the held-out entries."""

    frame: Frame  # under another loss than squares `Units`, which a walk takes in its place
    start: str
    depth: float
    penalty: float
    guard: float
    state: State
    score: float  # what fits are compared by
    rmse: float  # root mean square error on the held-out entries
    residual: np.ndarray  # on the held-out entries, in the units of the data
    drawn: CPTensor | None = None  # the mean of draws of which `state` is the last, where it is no single fit
    smooth: tuple[float, ...] = ()  # tau of each mode, or () where none is smooth
    chains: tuple[State, ...] = ()  # the last draw of each chain that `drawn` is a mean over

    def model(self) -> CPTensor:
        """The components in the frame's units."""
        return self.state.model() if self.drawn is None else self.drawn

    def row(self, obs: Observations, sweeps: int, seconds: float) -> dict:
        """A line of `path_`."""
        noise = None if self.frame.mode is None else obs.modes[self.frame.mode]
        return {
            "start": self.start,
            "depth": self.depth,
            "penalty": self.penalty,
            "effects": self.frame.effects,
            "noise": noise,
            "rank": self.state.rank,
            "holdout_rmse": self.rmse,
            "score": self.score,
            "sweeps": sweeps,
            "seconds": seconds,
        }


@dataclass(frozen=True, eq=False)
class Errors:
    """What an answer leaves at entries that it was not fitted to, in the units of the data."""

    entries: Observations
    residual: np.ndarray  # (n,)

    @property
    def rmse(self) -> float:
        return rmse_of(self.residual, self.entries)


def score_of(point: Point) -> float:
    return point.score


def scored(frame: Frame, start: str, problem: Problem, state: State, held: Observations, drawn: CPTensor | None = None) -> Point:
    """The fit `state` with its errors on the held-out entries."""
    if isinstance(frame, Units):
        said = frame.said(state, held.indices)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is the worst of all
            residual, score = held.values - frame.mean(said), frame.deviance(said, held)
    else:
        fitted = frame.offset_at(held.coords)
        if state.rank:
            fitted = fitted + frame.scale_at(held.coords) * (drawn or state.model()).at(held.indices)
        residual = held.values - fitted
        score = score_residual(frame, residual, held)
    rmse = rmse_of(residual, held)
    return Point(frame, start, problem.depth, problem.penalty, problem.guard, state, score, rmse, residual, drawn, problem.smooth)


def score_residual(frame: Frame, residual: np.ndarray, held: Observations) -> float:
    """What errors on the held-out entries are compared by; entries' own weights count."""
    if frame.mode is None:
        return _robust_rms(residual * root_weights(held))
    return float(np.exp(_mean_log_rms(residual, held, frame.mode)))


def _robust_rms(residual: np.ndarray) -> float:
    """Root mean square with each residual capped at 5 robust standard deviations.

    A few wild entries in the hold-out must not choose the model for all the others.
    """
    size = np.abs(residual)
    cap = CAP * np.median(size)
    return float(np.sqrt(np.mean(np.minimum(size, cap if cap > 0 else np.inf) ** 2)))


def slice_rms(residual: np.ndarray, held: Observations, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """RMS error of each slice of `mode`, drawn towards the whole where a slice has few entries; and the counts."""
    slices, count, squared = held.coords[mode], held.shape[mode], (residual * root_weights(held)) ** 2
    seen = np.bincount(slices, minlength=count)
    squares = np.bincount(slices, squared, minlength=count)
    pooled = max(float(np.mean(squared)), np.finfo(float).tiny)
    return np.sqrt((squares + 2 * pooled) / (seen + 2)), seen


def _mean_log_rms(residual: np.ndarray, held: Observations, mode: int) -> float:
    """Mean over entries of the log of their slice's RMS error: each slice of `mode` counts in its own units."""
    rms, seen = slice_rms(residual, held, mode)
    return float(np.sum(seen * np.log(rms)) / np.sum(seen))


def noise_mode(best: Point, held: Observations, noise: str | int | None) -> int | None:
    """The mode whose slices are to be weighed by the errors `best` leaves in them; None where they do not differ."""
    if noise is None or best.rmse == 0:
        return None
    if noise != "auto":
        return held.mode_index(noise)
    if best.frame.mode is not None:
        return best.frame.mode
    return noisy_mode(best.residual, held)


def noisy_mode(residual: np.ndarray, held: Observations) -> int | None:
    """The mode between whose slices the sizes of `residual` differ beyond chance, the most of them; None where in none they do."""
    spread, mode = max((_noise_spread(residual, held, m), m) for m in range(held.order))
    return mode if spread >= NOISE_SPREAD else None


def frame_after(best: Point, train: Observations, held: Observations, mode: int | None) -> Frame:
    """The frame of `train` whose slices of `mode` have the noise that `best` leaves in them."""
    noise = None if mode is None else slice_rms(best.residual, held, mode)[0]
    frame = Frame.of(train, effects=best.frame.offset is not None, mode=mode, noise=noise)
    return replace(frame, noise=unit_noise(frame, best, held))


def _noise_spread(residual: np.ndarray, held: Observations, mode: int) -> float:
    """Variance of the log noise between slices of `mode`, less what sampling alone would give."""
    count = held.shape[mode]
    if count < 2 or len(residual) < NOISE_ENTRIES * count:
        return 0.0
    rms, seen = slice_rms(residual, held, mode)
    logs = np.log(rms)
    between = np.average((logs - np.average(logs, weights=seen)) ** 2, weights=seen)
    standard = residual * root_weights(held) / rms[held.coords[mode]]
    kurtosis = np.mean(standard**4) / np.mean(standard**2) ** 2
    return float(between - (count - 1) * (kurtosis - 1) / 4 / len(residual))


def unit_noise(frame: Frame, best: Point, held: Observations) -> float:
    """Mean square of `best`'s residual in the units and weights of `frame`."""
    return float(np.average((best.residual / frame.scale_at(held.coords)) ** 2, weights=frame.weights_at(held)))


def better_by_slice(trial: Point, best: Point, held: Observations, mode: int) -> bool:
    """Whether slices are clearly better filled on the whole, and the sum over all not worse for it."""
    closer = _mean_log_rms(trial.residual, held, mode) < _mean_log_rms(best.residual, held, mode) - NOISE_GAIN
    return closer and trial.rmse < NOISE_SLACK * best.rmse
