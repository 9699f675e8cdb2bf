"""Ways to fill a matrix, on an unfolding: a row for each time (day and hour, year and month), a column for each sensor and variable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from campaign.data import DAYS, HOURS

from benchmarks.measures import along


def unfold(array: np.ndarray) -> np.ndarray:
    """Shape (times, sensors and variables)."""
    moved = np.moveaxis(array, (DAYS, HOURS), (0, 1))
    return moved.reshape(moved.shape[0] * moved.shape[1], -1)


def fold(matrix: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array of that `shape` of which `matrix` is the unfolding."""
    sensors = [d for mode, d in enumerate(shape) if mode not in (DAYS, HOURS)]
    return np.moveaxis(matrix.reshape(shape[DAYS], shape[HOURS], *sensors), (0, 1), (DAYS, HOURS))


def on_unfolding(fill: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """The filler of a matrix as one of arrays."""
    return lambda array, seed, **options: fold(fill(unfold(array), seed, **options), array.shape)


line = on_unfolding(along.line)


@on_unfolding
def cmfrec(matrix: np.ndarray, seed: int, *, rank: int, penalty: float) -> np.ndarray:
    """Matrix factorization with biases of rows and columns."""
    import scipy.sparse
    from cmfrec import CMF

    rows, columns = np.nonzero(~np.isnan(matrix))
    given = scipy.sparse.coo_matrix((matrix[rows, columns], (rows, columns)), shape=matrix.shape)
    model = CMF(k=rank, lambda_=penalty, nthreads=1, random_state=seed, verbose=False).fit(given)
    filled, (rows, columns) = matrix.copy(), np.nonzero(np.isnan(matrix))
    filled[rows, columns] = model.predict(rows, columns)
    return filled


@on_unfolding
def iterative(matrix: np.ndarray, seed: int, *, nearest: int | None = None) -> np.ndarray:
    """Each column by a Bayesian ridge regression on the others, or on the `nearest` of them, ten rounds."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return np.asarray(IterativeImputer(random_state=seed, n_nearest_features=nearest, keep_empty_features=True).fit_transform(matrix))


@on_unfolding
def neighbours(matrix: np.ndarray, seed: int, *, count: int) -> np.ndarray:
    """Each hole by the mean of that column in the nearest rows."""
    from sklearn.impute import KNNImputer

    return KNNImputer(n_neighbors=count, keep_empty_features=True).fit_transform(matrix)
