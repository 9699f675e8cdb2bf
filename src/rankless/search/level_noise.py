"""Whether the noise grows with the level, so that a transform is to be tried, and whether it then earns its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.holdout.scoring import Point, score_residual
from rankless.tensors.observations import Observations, slices_of
from rankless.units.error import CAP, rmse_of, root_weights
from rankless.units.frame import Frame
from rankless.units.transform import LOW, Name

GROWS, STEEP = 0.35, 0.75  # powers of the level from which the noise asks for square roots, for logarithms
BINS, IN_BIN = 10, 10  # levels, at most, at which the noise is looked at, and entries in each, at least
SURE = 3.0  # standard errors by which the noise has to be seen to grow
ZEROS = 0.01  # share of zeros from which logarithms are not tried: they make the smallest values the farthest off
DISTINCT = 10  # values that differ, without which data are grades and not amounts
NEARLY_EXACT = 3e-4  # held-out error as a share of the data's size, below which there is no noise to speak of
EARNED = 0.985  # a held-out error below this share of the other's, and a transform is worth having


def amounts(obs: Observations) -> bool:
    """Whether values may be counts or amounts: none negative, and more than a few that differ."""
    return bool(obs.values.min() >= 0) and len(np.unique(obs.values[:: max(1, obs.size // 10_000)])) > DISTINCT


@dataclass(frozen=True, eq=False)
class Noise:
    """How the noise grows with the level, ``sd = c_s level^power`` in slice `s`, as held-out entries show it.

    `s` is a slice of the mode whose slices differ in noise, where there is one: they may differ in
    their unit, and then it says nothing that large values go with large errors.
    """

    power: float
    error: float  # of the power: one standard deviation
    lowest: float  # the level below which noise isn't followed
    cap: np.ndarray  # five standard deviations at the level of each held-out entry

    @classmethod
    def of(cls, point: Point, held: Observations) -> Noise:
        """From the errors of `point`: least squares on the logs of level and noise in bins of entries alike in level."""
        level, size = held.values - point.residual, np.abs(point.residual * root_weights(held))
        slices, _ = slices_of(held.coords, held.shape, point.frame.mode)
        ordered = np.argsort(slices, kind="stable")
        parts = np.split(ordered, np.flatnonzero(np.diff(slices[ordered])) + 1)
        rises, spreads, pairs = 0.0, 0.0, []
        for part in parts:
            order = part[np.argsort(level[part], kind="stable")]
            bins = np.array_split(order, min(BINS, max(1, len(order) // IN_BIN)))
            points = [(float(np.mean(level[b])), _noise_in(size[b])) for b in bins]
            x, y = np.log([p for p in points if min(p) > 0]).reshape(-1, 2).T
            if len(x) > 1:
                x, y = x - x.mean(), y - y.mean()
                rises, spreads = rises + float(x @ y), spreads + float(x @ x)
                pairs.append((x, y))
        power = rises / spreads if spreads > 0 else 0.0
        left = sum(float(np.sum((y - power * x) ** 2)) for x, y in pairs)
        free = sum(len(x) - 1 for x, _ in pairs) - 1
        error = np.sqrt(left / free / spreads) if free > 0 and spreads > 0 else np.inf
        lowest = float(np.quantile(level[level > 0], LOW)) if np.any(level > 0) else 1.0
        grown = np.maximum(level, lowest) ** _moderate(power)
        cap = np.full(held.size, np.inf)
        for part in parts:
            middle = float(np.median(size[part] / grown[part]))
            if middle > 0:
                cap[part] = CAP * middle * grown[part]
        return cls(power, float(error), lowest, cap / root_weights(held))

    def capped(self, residual: np.ndarray) -> np.ndarray:
        """Errors in ``y``, none beyond five standard deviations of the noise at its level.

        A cap that knows no level would cut off most errors of the large values, which squares are about.
        """
        return np.clip(residual, -self.cap, self.cap)


def _moderate(power: float) -> float:
    """The power, between that of the same noise everywhere and that of noise in percent."""
    return min(max(power, 0.0), 1.0)


def _noise_in(size: np.ndarray) -> float:
    """Root mean square of errors, the largest left out: one wild entry is no noise."""
    return float(np.sqrt(np.mean(np.sort(size)[: len(size) - 1 - len(size) // 50 or 1] ** 2)))


def asked_for(obs: Observations, point: Point, held: Observations) -> tuple[Name, Noise]:
    """The transform of `obs` that would even out the noise which `point` leaves on the held-out entries, and that noise."""
    noise = Noise.of(point, held)
    if point.rmse <= NEARLY_EXACT * held.rms() or noise.power < max(GROWS, SURE * noise.error):
        return "none", noise
    return ("log" if noise.power > STEEP and np.mean(obs.values == 0) < ZEROS else "sqrt"), noise


def earns(trial: np.ndarray, residual: np.ndarray, frame: Frame, held: Observations, noise: Noise) -> bool:
    """Whether errors `trial` are clearly smaller than `residual`, both in the data's units.

    Each counts by the root of its noise, ``r^2 / sd``: of plain squares the few largest entries,
    the noisiest, would decide by their luck; of ``(r / sd)^2`` the smallest, which matter least.
    Compared as `frame`, that of the fit without a transform, compares: by slice where slices differ in noise.
    """
    level = np.maximum(held.values - 0.5 * (trial + residual), noise.lowest)
    root = level ** (0.5 * _moderate(noise.power))
    trial, residual = noise.capped(trial) / root, noise.capped(residual) / root
    if frame.mode is None:
        return rmse_of(trial, held) < EARNED * rmse_of(residual, held)
    return score_residual(frame, trial, held) < EARNED * score_residual(frame, residual, held)
