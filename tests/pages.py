"""A small completion for pages and plots: hostile labels, dates, hours, a long gap and a slice that was never seen."""

from __future__ import annotations

import functools
import warnings

import numpy as np

from rankless.completion import Completion, complete
from rankless.tensors.observations import Observations

HOSTILE = "</script><img src=x onerror=alert(1)>"
SENSORS = [HOSTILE, "<b>bold</b> & co", "a label that is far too long to be written below a bar", "plain"]
DAYS = np.arange("2024-03-01", "2024-04-30", dtype="datetime64[D]").astype(str)


@functools.cache
def observations() -> Observations:
    """4 sensors x 60 days x 12 hours, rank 2 and noise .1; a fifth of the cells, ten days of one sensor and one day missing."""
    rng = np.random.default_rng(5)
    days, hours = np.arange(60) / 60, np.arange(12) / 12
    truth = np.einsum("i,j,k->ijk", [1.0, 2.0, 0.5, -1.0], 2 + np.sin(6 * days), 1 + np.cos(6 * hours))
    truth += np.einsum("i,j,k->ijk", [1.0, -1.0, 1.0, 0.3], np.cos(9 * days), hours)
    seen = truth + 0.1 * rng.normal(size=truth.shape)
    seen[rng.random(truth.shape) < 0.2] = np.nan
    seen[1, 20:30] = np.nan
    seen[:, 59] = np.nan
    labels = [np.array(SENSORS), DAYS, np.arange(1, 13)]
    return Observations.from_array(seen, modes=["sensor", "day", "hour"], labels=labels, value_name="flow <m3/s>")


@functools.cache
def finished() -> Completion:
    """The small data filled, quickly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the day that was never seen
        return complete(observations(), random_state=0, max_rank=3, noise=None, experts=["components", "draws"])
