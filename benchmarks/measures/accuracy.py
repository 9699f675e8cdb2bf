"""Error of the whole automatic fit on hidden entries of real data."""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from campaign import data
from threadpoolctl import threadpool_limits

from rankless import complete

if TYPE_CHECKING:
    from rankless.completion import Completion

STAGES = ("growing", "pruning", "refining", "drawing", "refitting")  # what the search says first of each stage that takes long


def nrmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root mean square error over the standard deviation of the truth."""
    return float(np.sqrt(np.mean((truth - prediction) ** 2)) / np.std(truth))


class Profile:
    """A callback that sums the seconds of each of `STAGES`."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = ("", 0.0)

    def __call__(self, now) -> None:  # a rankless progress
        stage, began = self._last
        self.seconds[stage] += now.seconds - began
        self._last = (now.stage.split()[0], now.seconds)


def fill(array: np.ndarray, hidden: np.ndarray, seed: int, **options) -> tuple[Completion, dict[str, float]]:
    """`rankless.complete`, every default but `options`, on `array` without its `hidden` cells, and NRMSE there, seconds and rank.

    `seconds` are by the wall clock, `processor` of processor time.
    """
    seen = np.where(hidden, np.nan, array)
    start, worked = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no observed entry", UserWarning)  # days hidden as a whole: part of the protocol
        done = complete(seen, random_state=seed, **options)
    prediction = done.predict(np.argwhere(hidden))
    seconds, processor = time.perf_counter() - start, time.process_time() - worked
    return done, {"nrmse": nrmse(array[hidden], prediction), "seconds": seconds, "processor": processor, "rank": done.rank}


def automatic(array: np.ndarray, hidden: np.ndarray, seed: int, **options) -> dict[str, float | str]:
    """What `fill` gives, and what the fit chose."""
    done, found = fill(array, hidden, seed, **options)
    return found | {
        "depth": done.depth,
        "penalty": float(done.penalty),
        "parts": "+".join(str(fit.rank) for fit in done.fits),
        "fits": len(done.estimator.path_),
    }


def real(name: str, share: float, seed: int, *, pattern: str = "cells", **options) -> dict[str, float | str]:
    """`automatic` on a real data set with `share` of it hidden, on one thread, so that processor time compares."""
    with threadpool_limits(1):
        return automatic(*data.case(name, pattern, share, seed), seed, **{"n_jobs": 1, **options})
