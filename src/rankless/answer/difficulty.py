"""How large an error to expect, cell by cell, learned from the errors on held-out entries.

    E |error| = s(cell),      log s = gradient-boosted trees

of the cell's coordinates, of what was said of it, of how much was seen in its slices and of how many
of its neighbours were seen. Trees need no model of the noise: rain is hard to fill, and more so
where it rained, at the end of a long gap, or at a sensor that was mostly silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from rankless.tensors.canonical import COUNTABLE, beside, numbers_of
from rankless.tensors.observations import Observations
from rankless.units.link import Units, variance

TREES, LEAVES, LEAST = 60, 16, 20  # trees; leaves of each, and entries in each leaf, at least
FEW = 200  # errors below which they are taken to be the same everywhere
POWERS = (0.0, 0.5, 1.0)  # how far widths follow `s`: not at all, by its root, wholly
AIM = 0.9  # coverage at which the power is chosen
NOTHING = 1e-3  # the least size of error, in means of all, so that its logarithm is finite


@dataclass(frozen=True, eq=False)
class Difficulty:
    """The size of error to expect, up to a factor: `power` 0 is the same everywhere."""

    trees: Any  # a regressor of scikit-learn, or None
    power: float

    @classmethod
    def of(cls, cells: np.ndarray, said: np.ndarray, errors: np.ndarray, seen: Observations) -> Difficulty:
        """From `errors` at `cells`, shape ``(order, n)``, of a fit to the entries `seen` that says `said` there."""
        size = np.abs(errors)
        if len(size) < FEW or not size.any():
            return cls(None, 0.0)
        size = size / np.mean(size)
        about = features(cells, said, seen)
        first = np.random.default_rng(0).permutation(len(size)) < len(size) // 2
        widths = np.zeros(len(POWERS))
        for part in (first, ~first):
            expected = _expected(_trees(about[part], size[part]), about[~part])
            widths += [np.mean(expected**p) * np.quantile(size[~part] / expected**p, AIM) for p in POWERS]
        power = POWERS[int(np.argmin(widths))]
        return cls(_trees(about, size) if power else None, power)

    def at(self, cells: np.ndarray, said: np.ndarray, seen: Observations) -> np.ndarray:
        """Sizes at `cells`, shape ``(order, n)``, of a fit to the entries `seen` that says `said` there."""
        if self.trees is None:
            return np.ones(cells.shape[1])
        return _expected(self.trees, features(cells, said, seen)) ** self.power


@dataclass(frozen=True)
class ByMean:
    """Sizes of errors where the loss says how values vary around a mean: the standard deviation of a count, or of a zero or one."""

    loss: str

    def at(self, cells: np.ndarray, said: np.ndarray, seen: Observations) -> np.ndarray:
        """Sizes, up to a factor, at cells where the mean is `said`."""
        return self.around(said)

    def around(self, means: np.ndarray) -> np.ndarray:
        """Sizes, up to a factor, around these means: wherever they lie."""
        return np.sqrt(variance(self.loss, means))

    @classmethod
    def of(cls, loss: Units | None) -> ByMean | None:
        """That of `loss`; None for squares, and where the loss does not say how values vary."""
        return cls(loss.loss.name) if loss is not None and loss.varies else None


def features(cells: np.ndarray, said: np.ndarray, seen: Observations) -> np.ndarray:
    """What is known of each cell before it is filled, shape ``(n, 1 + 3 order)``; no neighbours where cells cannot be numbered."""
    columns = [said]
    countable = seen.cells < COUNTABLE
    numbers, own = (numbers_of(c, seen.shape) if countable else np.empty(0, np.int64) for c in (seen.coords, cells))
    for mode, place in enumerate(cells):
        columns += [place, np.log1p(seen.counts(mode)[place])]
        if countable:  # in canonical order: sorted
            before, after = (beside(numbers, cells, own, seen.shape, mode, step)[1] for step in (-1, 1))
            columns.append(before.astype(float) + after)
    return np.column_stack(columns)


def _trees(about: np.ndarray, size: np.ndarray) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    options: Any = {"max_iter": TREES, "max_leaf_nodes": LEAVES, "min_samples_leaf": LEAST, "early_stopping": False}
    trees = HistGradientBoostingRegressor(loss="gamma", random_state=0, **options)
    with threadpool_limits(1, user_api="openmp"):  # threads add up gradients in an order of their own
        return trees.fit(about, np.maximum(size, NOTHING))


def _expected(trees: Any, about: np.ndarray) -> np.ndarray:
    return np.maximum(trees.predict(about), NOTHING)
