"""Ways to fill series by a matrix of low rank, written from the papers: DINEOF and CDRec.

Each takes a matrix (times, sensors) with NaN and a seed and returns it filled.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measures.along import line

HELD, LEAST = 0.01, 40  # DINEOF holds out a hundredth of the entries and 40 more, but no more than 3 % of them
MOST = 0.03


def dineof(matrix: np.ndarray, seed: int, *, tol: float = 1e-3, sweeps: int = 300) -> np.ndarray:
    """Data-interpolating empirical orthogonal functions [beckers2003], the number of them by held-out entries [alvera2005].

    What is missing begins at the mean; of each rank in turn, from where the one before ended, a truncated singular value decomposition
    fills it anew until that changes by less than `tol` of the deviation. The rank after which held-out entries are worse thrice
    running ends the search; the best is made again with every entry.
    """
    rng = np.random.default_rng(seed)
    seen = np.argwhere(~np.isnan(matrix))
    count = max(1, int(min(HELD * len(seen) + LEAST, MOST * len(seen))))
    held = tuple(seen[rng.choice(len(seen), count, replace=False)].T)
    rest = matrix.copy()
    rest[held] = np.nan
    best, least, worse = 1, np.inf, 0
    filled = _centred(rest)[0]
    for rank in range(1, min(matrix.shape)):
        filled, fitted = _settle(rest, filled, rank, tol, sweeps)
        error = float(np.sqrt(np.mean((fitted[held] - matrix[held]) ** 2)))
        best, least, worse = (rank, error, 0) if error < least else (best, least, worse + 1)
        if worse == 3:
            break
    filled = _centred(matrix)[0]
    for rank in range(1, best + 1):
        filled, _ = _settle(matrix, filled, rank, tol, sweeps)
    return filled


def _centred(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrix with holes at the means of columns, and where they are."""
    holes = np.isnan(matrix)
    means = np.nansum(matrix, axis=0) / np.maximum(1, np.sum(~holes, axis=0))
    return np.where(holes, means, matrix), holes


def _settle(matrix: np.ndarray, filled: np.ndarray, rank: int, tol: float, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrix filled by its own best approximation of a rank, and that approximation."""
    holes, fitted = np.isnan(matrix), filled
    for _ in range(sweeps):
        mean = filled.mean(axis=0)
        u, values, v = np.linalg.svd(filled - mean, full_matrices=False)
        fitted = mean + (u[:, :rank] * values[:rank]) @ v[:rank]
        change = fitted[holes] - filled[holes]
        filled = np.where(holes, fitted, matrix)
        if change.size == 0 or np.sqrt(np.mean(change**2)) < tol * np.std(filled):
            break
    return filled, fitted


def cdrec(matrix: np.ndarray, seed: int, *, rank: int, tol: float = 1e-6, sweeps: int = 100) -> np.ndarray:
    """Recovery [khayati2020] by truncated centroid decomposition [khayati2014]: begun at straight lines, repeated until nothing moves.

    Sign vectors are kept from one repetition to the next, as in the authors' code.
    """
    holes, filled = np.isnan(matrix), line(matrix, seed)
    rank = min(rank, matrix.shape[1])
    signs = [np.ones(len(matrix)) for _ in range(rank)]
    for _ in range(sweeps):
        fitted = _centroids(filled, signs)
        change = np.linalg.norm((fitted - filled)[holes]) / np.sqrt(max(1, holes.sum()))
        filled = np.where(holes, fitted, matrix)
        if change < tol:
            break
    return filled


def _centroids(matrix: np.ndarray, signs: list[np.ndarray]) -> np.ndarray:
    """Sum of the leading centroid components, ``sum_i (X_i r_i) r_i'`` with ``r = X' z / |X' z|``; `signs` are bettered in place."""
    left, total = matrix.copy(), np.zeros_like(matrix)
    for at in range(len(signs)):
        signs[at] = _sign_vector(left, signs[at])
        direction = left.T @ signs[at]
        size = np.linalg.norm(direction)
        if size == 0:
            break
        direction /= size
        part = np.outer(left @ direction, direction)
        total += part
        left = left - part
    return total


def _sign_vector(matrix: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Signs ``z`` of which no single one raises ``|X' z|`` by being turned: the one that raises it most is turned, again and again."""
    signs, squares = signs.copy(), np.einsum("ij,ij->i", matrix, matrix)
    total = matrix.T @ signs
    for _ in range(20 * len(signs)):
        gain = squares - signs * (matrix @ total)  # of turning each, over 4
        turned = int(np.argmax(gain))
        if gain[turned] <= 1e-12 * max(1.0, float(squares[turned])):
            break
        total -= 2 * signs[turned] * matrix[turned]
        signs[turned] = -signs[turned]
    return signs
