"""Additive main effects: ``y = mean + sum_n a_n[i_n]``, each slice shrunk by how little it was seen.

Effects are random: level `i` of mode `n` has prior variance ``t_n``, so its estimate is its mean
residual times ``c / (c + s / t_n)``, with `c` its entries and `s` the noise. Both variances are
re-estimated from the data (backfitting with empirical Bayes); a level without entries gets 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.tensors.observations import Observations

_ROUNDS = 20
_TOL = 1e-6


@dataclass(frozen=True, eq=False)
class MainEffects:
    """A mean and one array of effects a mode."""

    mean: float
    effects: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, obs: Observations) -> MainEffects:
        """Fit by backfitting; entries' weights count.

        >>> obs = Observations.from_array(np.add.outer([0.0, 1.0, 5.0], [10.0, 20.0, 30.0]))
        >>> effects = MainEffects.fit(obs)
        >>> round(effects.mean, 1), np.round(effects.at(np.array([[2, 2]])), 0)
        (22.0, array([35.]))
        """
        w = np.ones(obs.size) if obs.weights is None else obs.weights / np.mean(obs.weights, dtype=np.float64)  # in entries
        y = obs.values.astype(np.float64)
        mean = float(np.average(y, weights=w))
        effects = [np.zeros(d) for d in obs.shape]
        residual = y - mean
        counts = [np.bincount(c, w, minlength=d) for c, d in zip(obs.coords, obs.shape, strict=True)]
        ratios = [1.0] * obs.order  # noise over prior variance: entries' worth of shrinkage
        for _ in range(_ROUNDS):
            moved = 0.0
            for n, (c, d) in enumerate(zip(obs.coords, obs.shape, strict=True)):
                sums = np.bincount(c, w * residual, minlength=d) + counts[n] * effects[n]
                fresh = sums / (counts[n] + ratios[n])
                step = fresh - effects[n]
                residual -= step[c]
                effects[n] = fresh
                moved = max(moved, float(np.max(np.abs(step))))
            noise = float(np.average(residual**2, weights=w))
            ratios = [shrinkage(effect, count, noise, ratio) for effect, count, ratio in zip(effects, counts, ratios, strict=True)]
            if moved <= _TOL * max(np.sqrt(noise), 1e-300):
                break
        return cls(mean, tuple(effects))

    def again(self, obs: Observations, tools: object) -> MainEffects:
        """Fitted to other entries."""
        return MainEffects.fit(obs)

    def words(self, modes: Sequence[str]) -> str:
        return "main effects" if any(effect.any() for effect in self.effects) else "a constant"

    @classmethod
    def constant(cls, mean: float, shape: tuple[int, ...]) -> MainEffects:
        """Every cell equal to `mean`."""
        return cls(mean, tuple(np.zeros(d) for d in shape))

    def times(self, factor: float) -> MainEffects:
        """The same effects in other units."""
        return MainEffects(self.mean * factor, tuple(effect * factor for effect in self.effects))

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``."""
        values = np.full(len(indices), self.mean)
        for n, effect in enumerate(self.effects):
            values += effect[indices[:, n]]
        return values

    def full(self) -> np.ndarray:
        """Values at all cells, shape `shape`."""
        total = np.asarray(self.mean)
        for effect in self.effects:
            total = total[..., None] + effect
        return total


def shrinkage(effect: np.ndarray, counts: np.ndarray, noise: float, ratio: float) -> float:
    """Noise over the prior variance of a mode's effects, estimated anew: entries' worth of shrinkage."""
    seen = counts > 0
    spread = float(np.mean(effect[seen] ** 2 + noise / (counts[seen] + ratio)))
    return noise / spread if spread > 0 else 1.0
