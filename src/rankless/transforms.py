"""Transforms that even out noise which grows with the level, and the test of whether the data ask for one.

Where the standard deviation of the noise is a power of the mean, ``sd ~ level^b``, the noise of
``y^(1-b)`` is the same everywhere [bartlett1947]: square roots for counts (b = 1/2) [anscombe1948],
logarithms for noise in percent (b = 1). A fit in those units no longer lets the largest values
decide everything. It need not be better, because what is low rank in the data need not be so in
their square roots: held-out entries decide, in the data's units.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rankless.frame import Frame
from rankless.observations import Observations, slices_of
from rankless.scoring import CAP, Point, rmse_of, root_weights, score_residual

Name = Literal["none", "sqrt", "log", "exp", "logit"]

LOW = 0.05  # the quantile of the positive values that offsets are taken from
ROUNDING = 1e-9  # ... or this share of the largest, where it is more: nobody's noise is in percent of a rounding error
OFFSETS = {"none": 0.0, "sqrt": 0.375, "log": 0.5}  # ... times this; 3/8 for counts that reach down to 1 [anscombe1948]
TOP = {"none": np.inf, "sqrt": 3.0, "log": 1.5}  # no prediction above this many times the largest value seen: exponentials know no end
GROWS, STEEP = 0.35, 0.75  # powers of the level from which the noise asks for square roots, for logarithms
BINS, IN_BIN = 10, 10  # levels, at most, at which the noise is looked at, and entries in each, at least
SURE = 3.0  # standard errors by which the noise has to be seen to grow
ZEROS = 0.01  # share of zeros from which logarithms are not tried: they make the smallest values the farthest off
DISTINCT = 10  # values that differ, without which data are grades and not amounts
HALF, SURELY = 0.5, 0.05  # what a count of nothing, and a share of nothing, are taken for where values as such stand in for means
NEARLY_EXACT = 3e-4  # held-out error as a share of the data's size, below which there is no noise to speak of
EARNED = 0.985  # a held-out error below this share of the other's, and a transform is worth having


@dataclass(frozen=True)
class Transform:
    """Values of one sign in other units, and the way back to their conditional mean.

        sqrt:  z = sqrt(y + offset)         E y = factor z^2            - offset
        log:   z = log(1 + y / offset)      E y = factor offset exp(z)  - offset

    Two are links of losses (`rankless.general`), whose fits are of the mean itself:

        exp:    z = log(E y)                logit:  z = log(E y / (1 - E y))

    An inverse alone gives a median, which is below the mean. `factor` mends it: with it the held-out
    entries' total comes back right [duan1983]. What comes back lies between 0 and `top`.

    >>> counts = Observations.from_array(np.array([[0.0, 1.0, 4.0], [9.0, 16.0, 25.0]]))
    >>> Transform.of("sqrt", counts).inverse(Transform.of("sqrt", counts).forward(counts.values)).round(9).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]
    """

    name: Name = "none"
    offset: float = 0.0
    factor: float = 1.0
    top: float = np.inf

    @classmethod
    def of(cls, name: Name, obs: Observations) -> Transform:
        """The transform for the values of `obs`; its offset follows their size, so units don't matter."""
        if name == "none":
            return cls()
        largest = float(obs.values.max())
        low = max(float(np.quantile(obs.values[obs.values > 0], LOW)), ROUNDING * largest)
        return cls(name, OFFSETS[name] * low, 1.0, TOP[name] * largest)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values ``y`` >= 0 to ``z``."""
        if self.name == "sqrt":
            return np.sqrt(values + self.offset)
        if self.name == "log":
            return np.log1p(values / self.offset)
        if self.name == "exp":
            return np.log(np.maximum(values, HALF))
        if self.name == "logit":
            inside = np.clip(values, SURELY, 1.0 - SURELY)
            return np.log(inside / (1.0 - inside))
        return values

    def inverse(self, fitted: np.ndarray) -> np.ndarray:
        """What a fit in ``z`` says of the mean of ``y``."""
        if self.name == "none":
            return fitted
        return np.clip(self.factor * self._size(fitted) - self.offset, 0.0, self.top)

    def derivative(self, fitted: np.ndarray) -> np.ndarray:
        """``d inverse / dz``: what a small error in ``z`` comes to in ``y``; 0 where the inverse is clipped."""
        if self.name == "none":
            return np.ones(np.shape(fitted))
        size = self._size(fitted)
        slope = {"sqrt": 2.0 * np.maximum(fitted, 0.0), "logit": size * (1.0 - size)}.get(self.name, size)
        value = self.factor * size - self.offset
        return np.where((value > 0.0) & (value < self.top), self.factor * slope, 0.0)

    def calibrated(self, held: Observations, residual: np.ndarray) -> Transform:
        """The transform whose `factor` brings back the total of the held-out entries; `held` and `residual` are in ``z``.

        Residuals are capped at 5 robust standard deviations: a few wild entries must not scale all the others.
        """
        if self.name == "none":
            return self
        fitted = held.values - residual
        cap = CAP * np.median(np.abs(residual))
        weights = np.square(root_weights(held))
        true, said = (np.sum(weights * self._size(z)) for z in (fitted + np.clip(residual, -cap, cap), fitted))
        return replace(self, factor=float(true / said)) if said > 0 else self

    def residual(self, held: Observations, residual: np.ndarray) -> np.ndarray:
        """Errors in ``y`` of a fit whose errors in ``z`` are `residual`, after `calibrated`; `held` is in ``z``."""
        plain = replace(self, factor=1.0, top=np.inf)
        return plain.inverse(held.values) - self.calibrated(held, residual).inverse(held.values - residual)

    @property
    def of_what(self) -> str:
        """In words, what a fit is fitted to."""
        words = {"none": "values", "sqrt": "square roots of the values", "log": "logarithms of the values"}
        return (words | {"exp": "logarithms of the means", "logit": "log odds"})[self.name]

    # --- files --------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """What `load` reads, to be kept beside a model."""
        return {"transform": np.array(self.name), "transform_numbers": np.array([self.offset, self.factor, self.top])}

    @classmethod
    def load(cls, path: str | os.PathLike) -> Transform:
        """The transform of a model written by `Completion.save`; raises ValueError for a file without one."""
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if "transform" not in stored:
                return cls()
            return cls(str(stored["transform"]), *map(float, stored["transform_numbers"]))  # pyright: ignore[reportArgumentType]

    def _size(self, fitted: np.ndarray) -> np.ndarray:
        """``y + offset`` at `fitted`."""
        if self.name == "sqrt":
            return np.square(np.maximum(fitted, 0.0))
        if self.name == "none":
            return fitted
        if self.name == "exp":
            return np.exp(np.minimum(fitted, 700.0))
        if self.name == "logit":
            return 0.5 * (1.0 + np.tanh(0.5 * fitted))
        # beyond the top all is clipped, and exp must not overflow
        limit = np.inf if np.isinf(self.top) else np.log1p(self.top / self.offset) + 1.0
        return self.offset * np.exp(np.minimum(fitted, limit))


def check_transform(name: str | None, obs: Observations) -> Name | Literal["auto"]:
    """`name` where it is known and `obs` allow it; raises ValueError with the mend where not."""
    if name is None:
        return "none"
    if name not in ("auto", "sqrt", "log"):
        raise ValueError(f"value_transform={name!r} is not known; pass 'auto', None, 'sqrt' or 'log'")
    below = np.flatnonzero(obs.values < 0)
    if name != "auto" and len(below):
        where = tuple(obs.coords[:, below[0]].tolist())
        raise ValueError(
            f"value_transform={name!r} needs values >= 0, but {len(below)} are negative, the first {obs.values[below[0]]:g} at {where}; "
            "pass value_transform='auto', or set them to NaN where they mean 'not observed'"
        )
    return name  # pyright: ignore[reportReturnType]


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
