"""How good the fill is, seen on entries that were observed but that no choice has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rankless.tensors.observations import Observations
from rankless.trust.errors import table_of
from rankless.views import Done


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Hidden entries and what was said of them, in the units of the fit."""

    entries: Observations
    predicted: np.ndarray
    weights: np.ndarray | None = None  # what each counts, where missing cells are of several kinds

    @classmethod
    def of(cls, done: Done) -> HeldOut | None:
        """Those that calibrate intervals, or None where none can be spared. The first call fits once more without them."""
        try:
            entries, errors = done.estimator.calibration_errors()
        except ValueError:  # too few
            return None
        if not entries.size:
            return None
        obs, kinds = done.observations, done.estimator.calibration_kinds()
        entries, predicted = replace(entries, modes=obs.modes, labels=obs.labels), entries.values - errors
        return cls(entries, predicted, None if kinds is None else kinds.weights)

    @property
    def rmse(self) -> float:
        return float(table_of(self.entries, self.entries.values - self.predicted, None, self.weights)["rmse"].iloc[0])

    @property
    def correlation(self) -> float:
        """Of what was said with what is there; 0 where either does not vary."""
        values, said = (_unit(of) for of in (self.entries.values, self.predicted))
        return float(np.corrcoef(values, said)[0, 1]) if np.ptp(said) and np.ptp(values) else 0.0

    def by_slice(self, mode: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Root mean square error of each slice of `mode`, that of guessing the slice's own mean, and its hidden entries.

        NaN where a slice has none.
        """
        slices = table_of(self.entries, self.entries.values - self.predicted, mode, self.weights)
        return slices["rmse"].to_numpy(), slices["std"].to_numpy(), slices["entries"].to_numpy()

    def sample(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Truth and prediction of at most `most` entries, evenly spread."""
        part = np.arange(0, self.entries.size, max(1, -(-self.entries.size // most)))
        return self.entries.values[part], self.predicted[part]


def _unit(values: np.ndarray) -> np.ndarray:
    """Over the largest: squares of 1e-300 are nothing."""
    return values / (float(np.max(np.abs(values), initial=0.0)) or 1.0)
