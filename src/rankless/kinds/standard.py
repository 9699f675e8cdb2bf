"""Units of variables set equal: each slice of the last mode less its mean, over its standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.tensors.observations import Observations


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each slice of the last mode, and the way there and back.

    >>> obs = Observations.from_array([[1.0, 100.0], [3.0, 300.0]])
    >>> Standard.of(obs).apply(obs).values.tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, obs: Observations) -> Standard:
        """Of the observed values; a slice that is constant or empty keeps its unit."""
        variable = obs.coords[-1]
        groups = [obs.values[variable == v] for v in range(obs.shape[-1])]
        means = [group.mean(dtype=np.float64) if len(group) else 0.0 for group in groups]
        return cls(np.array(means), np.array([(len(group) and group.std(dtype=np.float64)) or 1.0 for group in groups]))

    def apply(self, obs: Observations) -> Observations:
        variable = obs.coords[-1]
        values = (obs.values - self.mean[variable]) / self.deviation[variable]
        return obs.with_values(values.astype(obs.values.dtype, copy=False))

    def undo(self, values: np.ndarray, variable: np.ndarray) -> np.ndarray:
        return values * self.deviation[variable] + self.mean[variable]
