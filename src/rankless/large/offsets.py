"""Main effects of entries that are too many to hold their residuals: each round reads the entries, sorted by each mode, once.

The model and its estimate are those of `rankless.units.effects`.
"""

from __future__ import annotations

import numpy as np

from rankless.als import sorting
from rankless.als.entries import Entries
from rankless.als.modes import SortedMode
from rankless.units.effects import MainEffects, shrinkage

_ROUNDS, _TOL = 10, 1e-3  # rounds at most; largest step, over the noise's size, at which they end


def fit(entries: Entries) -> tuple[MainEffects, float]:
    """Main effects, and the root mean square of what they leave."""
    counts = [entries.counts(mode).astype(np.float64) for mode in range(entries.order)]
    stacked, mean = np.zeros(int(entries.offsets[-1])), 0.0
    sums, _ = _residuals(entries, 0, mean, stacked)
    mean = float(sums.sum()) / entries.size
    effects = [stacked[entries.offsets[m] : entries.offsets[m + 1]] for m in range(entries.order)]  # views
    ratios, noise = [1.0] * entries.order, 0.0
    for _ in range(_ROUNDS):
        moved = 0.0
        for mode, effect in enumerate(effects):
            sums, squares = _residuals(entries, mode, mean, stacked)
            fresh = (sums + counts[mode] * effect) / (counts[mode] + ratios[mode])
            step = fresh - effect
            # the squares of the new residuals, without another reading
            noise = float((squares - 2 * step * sums + counts[mode] * step**2).sum()) / entries.size
            effect[:] = fresh
            moved = max(moved, float(np.max(np.abs(step))))
        ratios = [shrinkage(effect, count, noise, ratio) for effect, count, ratio in zip(effects, counts, ratios, strict=True)]
        if moved <= _TOL * max(np.sqrt(noise), 1e-300):
            break
    return MainEffects(mean, tuple(effect.copy() for effect in effects)), float(np.sqrt(max(noise, 0.0)))


def _residuals(entries: Entries, mode: int, mean: float, stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each slice of a mode the sum of what the effects leave, and of its squares."""
    parts = entries.over(mode, _sums, mean, stacked)
    return np.concatenate([s for s, _ in parts]), np.concatenate([q for _, q in parts])


def _sums(own: SortedMode, part: tuple[int, int], mean: float, stacked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sums, squares = np.zeros(own.rows), np.zeros(own.rows)
    sorting.residual_sums(own.starts, own.places, own.keys, own.values, own.base, mean, stacked.copy(), sums, squares)
    return sums[part[0] : part[1]].copy(), squares[part[0] : part[1]].copy()
