"""Sizes of errors: root mean squares in which entries' own weights count, and where single errors are cut off."""

from __future__ import annotations

import numpy as np

from rankless.tensors.observations import Observations

SD = 1.4826  # standard deviation of Gaussian errors, in medians of their size
CAP = 5 * SD  # five robust standard deviations, in medians of the size


def rmse_of(residual: np.ndarray, held: Observations) -> float:
    """Root mean square of errors on the held-out entries; entries' own weights count."""
    return float(np.sqrt(np.mean((residual * root_weights(held)) ** 2)))


def spread_of(errors: np.ndarray) -> float:
    """Standard deviation of the bulk of the errors."""
    return float(SD * np.median(np.abs(errors)))


def root_weights(held: Observations) -> np.ndarray | float:
    """Square roots of the entries' own weights, of mean square 1."""
    return 1.0 if held.weights is None else np.sqrt(held.weights / np.mean(held.weights, dtype=np.float64))
