"""ST-MVL, filling from four views of space and time, written from the paper [yi2016]."""

from __future__ import annotations

import numpy as np

ALPHA, GAMMA, WINDOW = 4.0, 0.85, 7  # the authors': powers of distances and of steps in time, and the width of the local views


def stmvl(matrix: np.ndarray, seed: int) -> np.ndarray:
    """Series (times, sensors) with NaN, filled by a regression of each sensor on four guesses.

    - other sensors now, by ``distance^-ALPHA``;
    - its own other times, by ``GAMMA (1 - GAMMA)^(steps - 1)``;
    - other sensors now, by how alike they were within the window;
    - its own times within the window, by how alike all sensors were then.

    The paper's distances are on the map. Where there is no map, as here, the distance of two sensors is the root mean square
    difference of what both have seen. A local guess that is lacking is the global one of its kind, and that, the mean.
    """
    spatial, temporal = _by_distance(matrix), _by_time(matrix)
    means = np.nansum(matrix, axis=0) / np.maximum(1, np.sum(~np.isnan(matrix), axis=0))
    temporal = np.where(np.isnan(temporal), means, temporal)
    spatial = np.where(np.isnan(spatial), temporal, spatial)
    users, items = _alike_sensors(matrix), _alike_times(matrix)
    views = np.stack(
        [spatial, temporal, np.where(np.isnan(users), spatial, users), np.where(np.isnan(items), temporal, items), np.ones_like(matrix)]
    )
    filled = matrix.copy()
    for sensor in range(matrix.shape[1]):
        seen, guesses = ~np.isnan(matrix[:, sensor]), views[:, :, sensor].T
        if seen.any():
            weights = np.linalg.lstsq(guesses[seen], matrix[seen, sensor], rcond=None)[0]
            filled[~seen, sensor] = guesses[~seen] @ weights
    return np.where(np.isnan(filled), 0.0, filled)


def _over(total: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)


def _by_distance(matrix: np.ndarray) -> np.ndarray:
    """Inverse distance weighting over the sensors seen now."""
    seen = (~np.isnan(matrix)).astype(float)
    values = np.nan_to_num(matrix)
    both = seen.T @ seen
    squares = (values**2).T @ seen + seen.T @ values**2 - 2 * values.T @ values
    distance = np.sqrt(np.maximum(squares, 0) / np.maximum(both, 1))
    weight = np.where(both > 0, np.maximum(distance, 1e-6) ** -ALPHA, 0.0)
    np.fill_diagonal(weight, 0.0)
    return _over(values @ weight, seen @ weight)


def _by_time(matrix: np.ndarray) -> np.ndarray:
    """Exponential smoothing from both sides, over a sensor's other times; weights are relative to that of the nearest."""
    sides = [_smoothed(matrix), [part[::-1] for part in _smoothed(matrix[::-1])]]
    steps = np.minimum(sides[0][2], sides[1][2])
    with np.errstate(invalid="ignore"):  # of what was never seen, infinitely far on both sides
        scales = [np.where(np.isinf(side[2]), 0.0, (1 - GAMMA) ** (side[2] - steps)) for side in sides]
    totals = [sum(scale * side[part] for scale, side in zip(scales, sides, strict=True)) for part in (0, 1)]
    return _over(np.asarray(totals[0]), np.asarray(totals[1]))


def _smoothed(matrix: np.ndarray) -> list[np.ndarray]:
    """Sums of earlier values and of their weights, over the weight of the last seen, and how many steps ago that was."""
    total, weight, steps = (np.zeros_like(matrix) for _ in range(3))
    sums, weights, ago = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1]), np.full(matrix.shape[1], np.inf)
    for time, row in enumerate(matrix):
        ago = ago + 1
        total[time], weight[time], steps[time] = sums, weights, ago
        seen = ~np.isnan(row)
        fade = np.where(np.isinf(ago), 0.0, (1 - GAMMA) ** np.where(np.isinf(ago), 0.0, ago))
        sums = np.where(seen, np.nan_to_num(row) + sums * fade, sums)
        weights = np.where(seen, 1 + weights * fade, weights)
        ago = np.where(seen, 0.0, ago)
    return [total, weight, steps]


def _windowed(values: np.ndarray) -> np.ndarray:
    """Sums over `WINDOW` steps around each."""
    half = WINDOW // 2
    padded = np.concatenate([np.zeros((half + 1, *values.shape[1:])), values, np.zeros((half, *values.shape[1:]))])
    total = np.cumsum(padded, axis=0)
    return total[WINDOW:] - total[:-WINDOW]


def _alike_sensors(matrix: np.ndarray) -> np.ndarray:
    """Collaborative filtering by sensors: their similarity is the inverse root mean square difference within the window."""
    seen, values = (~np.isnan(matrix)).astype(float), np.nan_to_num(matrix)
    total, weight = np.zeros_like(matrix), np.zeros_like(matrix)
    for other in range(matrix.shape[1]):
        both = seen * seen[:, [other]]
        squares = _windowed(both * (values - values[:, [other]]) ** 2)
        count = _windowed(both)
        similarity = np.where(count > 0.5, 1 / np.sqrt(np.maximum(squares, 1e-12) / np.maximum(count, 1)), 0.0) * seen[:, [other]]
        similarity[:, other] = 0.0
        total += similarity * values[:, [other]]
        weight += similarity
    return _over(total, weight)


def _alike_times(matrix: np.ndarray) -> np.ndarray:
    """Collaborative filtering by times within the window: their similarity is the inverse root mean square difference over sensors."""
    seen, values = (~np.isnan(matrix)).astype(float), np.nan_to_num(matrix)
    total, weight = np.zeros_like(matrix), np.zeros_like(matrix)
    for lag in range(1, WINDOW // 2 + 1):
        both = seen[lag:] * seen[:-lag]
        squares = both * (values[lag:] - values[:-lag]) ** 2
        for here, there in ((slice(lag, None), slice(None, -lag)), (slice(None, -lag), slice(lag, None))):
            # a sensor's own difference is not known where it is to be filled, so it never counts
            count = both.sum(axis=1, keepdims=True) - both
            apart = squares.sum(axis=1, keepdims=True) - squares
            similarity = np.where(count > 0.5, 1 / np.sqrt(np.maximum(apart, 1e-12) / np.maximum(count, 1)), 0.0) * seen[there]
            total[here] += similarity * values[there]
            weight[here] += similarity
    return _over(total, weight)
