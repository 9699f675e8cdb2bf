"""Ways to fill series along time: a straight line, the season and a line, boosted trees on what was seen last and next.

Each takes a matrix (times, sensors) with NaN and a seed and returns it filled. A sensor that was never seen is filled with zeros, the
mean of standardised columns.
"""

from __future__ import annotations

import numpy as np


def line(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Straight lines between what was seen of a sensor; before the first and after the last its value is held."""
    filled, times = np.zeros_like(matrix), np.arange(len(matrix))
    for sensor, values in enumerate(matrix.T):
        seen = ~np.isnan(values)
        if seen.any():
            filled[:, sensor] = np.interp(times, times[seen], values[seen])
    return filled


def seasonal(matrix: np.ndarray, seed: int, *, period: int) -> np.ndarray:
    """The mean of each sensor at each step of the `period`, and straight lines of what it leaves.

    A step of which nothing was seen gets the line between its neighbours around the period.
    """
    phase = np.arange(len(matrix)) % period
    means = np.stack([_mean(matrix[phase == step]) for step in range(period)])
    season = line(np.tile(means, (3, 1)), seed)[period : 2 * period][phase]
    return season + line(matrix - season, seed)


def _mean(part: np.ndarray) -> np.ndarray:
    """Means of columns; NaN where nothing was seen."""
    count = np.sum(~np.isnan(part), axis=0)
    return np.where(count, np.nansum(part, axis=0) / np.maximum(count, 1), np.nan)


def trees(matrix: np.ndarray, seed: int) -> np.ndarray:
    """scikit-learn's HistGradientBoostingRegressor, one a sensor, with its own settings.

    It is given the values seen last and next and how long ago and ahead they lie, the line between these, and of every other sensor what
    was seen now (or nothing) and its line. At an entry that was seen it is given what it would have, were that entry missing.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    filled, lines = matrix.copy(), line(matrix, seed)
    for sensor, values in enumerate(matrix.T):
        seen = ~np.isnan(values)
        if not seen.any():
            filled[:, sensor] = 0.0
            continue
        others = np.delete(np.arange(matrix.shape[1]), sensor)
        features = np.column_stack([near(values), matrix[:, others], lines[:, others]])
        model = HistGradientBoostingRegressor(random_state=seed).fit(features[seen], values[seen])
        filled[~seen, sensor] = model.predict(features[~seen]) if not seen.all() else []
    return filled


def near(values: np.ndarray) -> np.ndarray:
    """Of each step: the values last and next seen, without the step's own, how far they lie, and the line between them; NaN for none."""
    times, seen = np.arange(len(values)), ~np.isnan(values)
    marked = np.where(seen, times, -1)
    last = np.concatenate([[-1], np.maximum.accumulate(marked)[:-1]])
    marked = np.where(seen, times, len(values))
    ahead = np.concatenate([np.minimum.accumulate(marked[::-1])[::-1][1:], [len(values)]])
    before = np.where(last >= 0, values[np.maximum(last, 0)], np.nan)
    after = np.where(ahead < len(values), values[np.minimum(ahead, len(values) - 1)], np.nan)
    back, on = np.where(last >= 0, times - last, np.nan), np.where(ahead < len(values), ahead - times, np.nan)
    between = (before * on + after * back) / (back + on)
    between = np.where(np.isnan(between), np.where(np.isnan(before), after, before), between)
    return np.column_stack([before, after, back, on, between])
