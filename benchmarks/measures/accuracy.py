"""Error of the whole automatic fit on hidden entries of real data."""

from __future__ import annotations

import time
import warnings

import numpy as np

from benchmarks.measures import data
from rankless.completion import complete


def nrmse(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Root mean square error over the standard deviation of the truth."""
    return float(np.sqrt(np.mean((truth - prediction) ** 2)) / np.std(truth))


def automatic(array: np.ndarray, hidden: np.ndarray, seed: int, **options) -> dict[str, float | str]:
    """`rankless.complete`, every default but `options`, on `array` without its `hidden` cells: NRMSE there, seconds, what it chose."""
    seen = np.where(hidden, np.nan, array)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no observed entry", UserWarning)  # days hidden as a whole: part of the protocol
        done = complete(seen, random_state=seed, **options)
    prediction = done.predict(np.argwhere(hidden))
    seconds = time.perf_counter() - start
    return {
        "nrmse": nrmse(array[hidden], prediction),
        "seconds": seconds,
        "rank": done.rank,
        "depth": done.depth,
        "penalty": float(done.penalty),
        "parts": "+".join(str(fit.rank) for fit in done.fits),
        "fits": len(done.estimator.path_),
    }


def real(name: str, share: float, seed: int, **options) -> dict[str, float | str]:
    """`automatic` on a real data set with `share` of its cells hidden."""
    array = data.load(name)
    return automatic(array, data.hide(array, share, seed)[1], seed, **options)
