"""Ways to fill series by Kalman recursions: a Gaussian process for each series, and a factor model of all.

Each takes a matrix (times, sensors) with NaN and a seed and returns it filled.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numba import njit
from scipy.optimize import minimize

LENGTHS, NOISES = (1.0, 3.0, 10.0, 30.0, 100.0), (1e-4, 1e-2, 0.3)  # where the search for a series' numbers begins
ITERATIONS = 50  # of expectation maximisation


def process(matrix: np.ndarray, seed: int, *, smoothness: float) -> np.ndarray:
    """A Gaussian process along time for every series, by itself: Matern of `smoothness` 1/2, 3/2 or 5/2, and noise.

    Its length, and the noise over the variance, are those of greatest likelihood; the recursions are linear in time [hartikainen2010].
    """
    filled, order = matrix.copy(), round(smoothness + 0.5)
    for sensor, values in enumerate(matrix.T):
        seen = ~np.isnan(values)
        mean = float(values[seen].mean()) if seen.any() else 0.0
        left = values - mean
        if seen.sum() < 3 or not np.nanstd(left):
            filled[~seen, sensor] = mean
            continue

        def unlikely(at: np.ndarray, left: np.ndarray = left) -> float:
            if not (math.log(0.1) < at[0] < math.log(1e4) and math.log(1e-8) < at[1] < math.log(1e3)):
                return 1e10
            step, start = matern(order, math.exp(at[0]))
            squares, logarithm, count = _filtered(step, start - step @ start @ step.T, start, math.exp(at[1]), left)
            return count * math.log(squares / count) + logarithm

        grid = [np.log([length, noise]) for length in LENGTHS for noise in NOISES]
        found = minimize(unlikely, min(grid, key=unlikely), method="Nelder-Mead", options={"maxiter": 80, "xatol": 0.02, "fatol": 0.01}).x
        step, start = matern(order, math.exp(found[0]))
        smooth = _smoothed(step, start - step @ start @ step.T, start, math.exp(found[1]), left)
        filled[~seen, sensor] = mean + smooth[~seen]
    return filled


def matern(order: int, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Of a Matern process of smoothness ``order - 1/2`` and variance 1 as a state of its `order` first derivatives: how it goes on
    over one step, and its covariance for ever."""
    rate = math.sqrt(2 * order - 1) / length
    drift = np.diag(np.ones(order - 1), 1)
    drift[-1] = [-math.comb(order, at) * rate ** (order - at) for at in range(order)]
    nilpotent = drift + rate * np.eye(order)
    powers = [np.linalg.matrix_power(nilpotent, at) / math.factorial(at) for at in range(order)]
    step = math.exp(-rate) * np.sum(powers, axis=0)
    if order == 1:
        return step, np.eye(1)
    if order == 2:
        return step, np.diag([1.0, rate**2])
    middle = rate**2 / 3
    return step, np.array([[1.0, 0.0, -middle], [0.0, middle, 0.0], [-middle, 0.0, rate**4]])


@njit(cache=True)
def _filtered(step, drive, start, noise, values):  # pragma: no cover  (compiled)
    """Squares of the innovations over their variances, the sum of these variances' logarithms, and their number."""
    state, spread = np.zeros(len(start)), start.copy()
    squares, logarithm, count = 0.0, 0.0, 0
    for value in values:
        if not np.isnan(value):
            variance = spread[0, 0] + noise
            error = value - state[0]
            gain = spread[:, 0] / variance
            squares += error * error / variance
            logarithm += np.log(variance)
            count += 1
            state = state + gain * error
            spread = spread - np.outer(gain, spread[0])
        state = step @ state
        spread = step @ spread @ step.T + drive
    return squares, logarithm, count


@njit(cache=True)
def _smoothed(step, drive, start, noise, values):  # pragma: no cover  (compiled)
    """The process's mean at every time given all that was seen: Kalman forwards, Rauch, Tung and Striebel backwards."""
    times, order = len(values), len(start)
    states, spreads = np.zeros((times, order)), np.zeros((times, order, order))
    ahead, ahead_spread = np.zeros((times, order)), np.zeros((times, order, order))
    state, spread = np.zeros(order), start.copy()
    for time in range(times):
        ahead[time], ahead_spread[time] = state, spread
        if not np.isnan(values[time]):
            gain = spread[:, 0] / (spread[0, 0] + noise)
            state = state + gain * (values[time] - state[0])
            spread = spread - np.outer(gain, spread[0])
        states[time], spreads[time] = state, spread
        state = step @ state
        spread = step @ spread @ step.T + drive
    later = states[-1].copy()
    found = np.zeros(times)
    found[-1] = later[0]
    for time in range(times - 2, -1, -1):
        back = np.linalg.solve(ahead_spread[time + 1] + 1e-12 * np.eye(order), step @ spreads[time]).T
        later = states[time] + back @ (later - ahead[time + 1])
        found[time] = later[0]
    return found


def factors(matrix: np.ndarray, seed: int, *, count: int, own: bool = False) -> np.ndarray:
    """statsmodels' DynamicFactorMQ: `count` factors that go on by a vector autoregression of order 1, fitted by expectation maximisation.

    With `own`, what each series has besides goes on by an autoregression of its own; else it is noise.
    """
    import pandas as pd
    from statsmodels.tsa.statespace.dynamic_factor_mq import DynamicFactorMQ

    known = np.flatnonzero(np.nanstd(matrix, axis=0) > 0)
    filled = np.where(np.isnan(matrix), np.nanmean(matrix), matrix)
    table = pd.DataFrame(matrix[:, known], index=pd.period_range("2000-01", periods=len(matrix), freq="h"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of not having converged
        model = DynamicFactorMQ(table, factors=min(count, len(known)), factor_orders=1, idiosyncratic_ar1=own)
        fitted: Any = model.fit(disp=False, maxiter=ITERATIONS)
        said = np.asarray(fitted.get_prediction(information_set="smoothed").predicted_mean)
    holes = np.isnan(matrix[:, known])
    filled[:, known] = np.where(holes, said, matrix[:, known])
    return filled
