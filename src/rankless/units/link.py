"""`Units`: what a loss takes, `offset + T`, and what that says of the data: means, deviances, variances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rankless.als.losses import Bernoulli, Huber, Loss, Poisson
from rankless.als.majorise import Target
from rankless.als.solver import State
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.transform import TOP, Transform

ROUNDS = 25  # of working responses to which main effects are fitted


@dataclass(frozen=True, eq=False)
class Units:
    """What a fit takes: ``loss(offset + T, y / scale)``.

    The offset makes the loss small, or where it is `typical` (of counts only) it is that of the values' own logarithms: where means
    range widely a few large ones decide the first, and a component then has to take it back.
    """

    loss: Loss
    nonnegative: tuple[bool, ...]
    effects: bool
    typical: bool
    offset: MainEffects
    scale: float
    mode: ClassVar[None] = None  # no slices have noise of their own
    noise: ClassVar[float] = 0.0

    @classmethod
    def of(
        cls, obs: Observations, loss: Loss, nonnegative: tuple[bool, ...], *, effects: bool, scale: float, typical: bool = False
    ) -> Units:
        obs = obs.with_values(obs.values / scale)
        if any(nonnegative):
            offset = MainEffects.constant(0.0, obs.shape)
        else:
            offset = _typical_offset(obs, effects) if typical else _offset(obs, loss, effects)
        return cls(loss, nonnegative, effects, typical, offset, scale)

    def again(self, obs: Observations) -> Units:
        """The same choices for other entries."""
        return Units.of(obs, self.loss, self.nonnegative, effects=self.effects, scale=self.scale, typical=self.typical)

    def level(self, obs: Observations) -> float:
        """What the loss takes where all values are expected to be the same."""
        return _level(obs.with_values(obs.values / self.scale), self.loss)

    def entries(self, obs: Observations) -> Target:
        """The entries as the engine takes them."""
        weights = None if obs.weights is None else obs.weights / np.mean(obs.weights, dtype=np.float64)
        values = obs.values.astype(np.float64) / self.scale
        return Target(obs.with_values(values, weights), self.loss, self.nonnegative, offset=self.offset.at(obs.indices))

    def said(self, state: State, indices: np.ndarray) -> np.ndarray:
        """What the loss takes at `indices`."""
        values = self.offset.at(indices)
        return values + state.model().at(indices) if state.rank else values

    def mean(self, said: np.ndarray) -> np.ndarray:
        """What is to be expected, in the units of the data."""
        if isinstance(self.loss, Poisson):
            with np.errstate(over="ignore"):
                return np.exp(said)
        return 0.5 * (1.0 + np.tanh(0.5 * said)) if isinstance(self.loss, Bernoulli) else self.scale * said

    def link(self, obs: Observations) -> Transform:
        """From what the loss takes, in the units of the data, to means; none lies far above the values of `obs`."""
        if isinstance(self.loss, Poisson):
            return Transform("exp", top=TOP["exp"] * float(obs.values.max()))
        return Transform("logit", top=1.0) if isinstance(self.loss, Bernoulli) else Transform()

    @property
    def varies(self) -> bool:
        """Whether the loss says how values vary around a mean."""
        return self.loss.name in ("poisson", "bernoulli")

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which values lie; noise takes values below nonnegative parts."""
        name = self.loss.name
        return 0.0 if name in ("poisson", "bernoulli") else -np.inf, 1.0 if name == "bernoulli" else np.inf

    def deviance(self, said: np.ndarray, obs: Observations) -> float:
        """Mean deviance of entries in the units of the data, their weights counted."""
        with np.errstate(over="ignore", invalid="ignore"):
            each = 2.0 * self.loss.value(said, obs.values.astype(np.float64) / self.scale)
        value = float(np.average(each, weights=obs.weights)) * (self.scale if self.loss.name == "poisson" else self.scale**2)
        return value if np.isfinite(value) else np.inf


def variance(loss: str, means: np.ndarray) -> np.ndarray:
    """Variance of an entry up to a factor, given its mean, never 0: 3/8 and 1/400 are added."""
    if loss == "poisson":
        return np.maximum(means, 0.0) + 0.375
    return means * (1.0 - means) + 0.0025 if loss == "bernoulli" else np.ones_like(means)


def _offset(obs: Observations, loss: Loss, effects: bool) -> MainEffects:
    """A constant, or main effects, that make the loss small: least squares on working responses, over and over."""
    y = obs.values.astype(np.float64)
    best = MainEffects.constant(_level(obs, loss) if isinstance(loss, (Poisson, Bernoulli)) else float(np.median(y)), obs.shape)
    least = _loss_at(best, obs, loss)
    for _ in range(ROUNDS):
        responses, weights = loss.working(best.at(obs.indices), y)
        weights = weights if obs.weights is None else weights * obs.weights
        if effects:
            trial = MainEffects.fit(obs.with_values(responses, weights))
        else:
            trial = MainEffects.constant(float(np.average(responses, weights=weights)), obs.shape)
        value = _loss_at(trial, obs, loss)
        if not value < least * (1 - 1e-6):
            break
        best, least = trial, value
    return best


def _level(obs: Observations, loss: Loss) -> float:
    y = obs.values.astype(np.float64)
    mean = float(np.average(y, weights=obs.weights))
    if isinstance(loss, (Poisson, Bernoulli)):
        return math.log(mean) - (math.log1p(-mean) if isinstance(loss, Bernoulli) else 0.0)
    return float(np.median(y)) if isinstance(loss, Huber) else mean


def _typical_offset(obs: Observations, effects: bool) -> MainEffects:
    """A constant, or main effects, of the logarithms of counts, none of which counts as less than a half."""
    logs = obs.with_values(np.log(np.maximum(obs.values.astype(np.float64), 0.5)))
    return MainEffects.fit(logs) if effects else MainEffects.constant(float(np.average(logs.values, weights=obs.weights)), obs.shape)


def _loss_at(offset: MainEffects, obs: Observations, loss: Loss) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.average(loss.value(offset.at(obs.indices), obs.values), weights=obs.weights))
