"""Components of a matrix: of the many that make it up, its singular vectors.

An array of order three or more has one set of components. A matrix has as many as there are ways to turn one, and at every depth
the penalty is least for its singular vectors: it is the sum of a concave power of the components' sizes, a Schatten norm to the
power of its order [srebro2005, shang2020]. Left unturned, a fit keeps more components than the matrix has rows or columns, each of
which is a mixture, and none of which can be told to be spare. With its singular vectors, spare ones shrink and are pruned, and
sweeps are those of soft-thresholded singular values [hastie2015].
"""

from __future__ import annotations

import numpy as np

from rankless.als.solver import State

BLOCK = 65_536  # rows that are made double at a time


def turn(state: State) -> None:
    """Components turned into singular vectors, balanced: the same matrix, no dearer, and no more of them than rows or columns."""
    if not np.isfinite(state.stack).all():  # who sweeps looks at the objective, and says that it overflowed
        return
    (left, one), (right, other) = (_orthonormal(state.factor(mode)) for mode in range(2))
    first, sizes, last = np.linalg.svd(one @ other.T, full_matrices=False)
    roots = np.sqrt(sizes)
    dtype = state.stack.dtype
    state.stack = np.concatenate([left @ (first * roots).astype(dtype), right @ (last.T * roots).astype(dtype)])


def _orthonormal(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`Q` with orthonormal columns in the precision of `factor`, and `R` in double precision, with ``factor = Q R``.

    In single precision by the Gram matrix, added up in double: of a million rows a twentieth of the time of a QR factorization, and what
    it leaves out is beyond single precision.
    """
    if factor.dtype == np.float64 or not factor.any():
        return np.linalg.qr(factor)
    gram = np.zeros((factor.shape[1],) * 2)
    for start in range(0, len(factor), BLOCK):
        rows = factor[start : start + BLOCK].astype(np.float64)
        gram += rows.T @ rows
    squares, turned = np.linalg.eigh(gram)
    kept = squares > squares[-1] * np.finfo(factor.dtype).eps ** 2
    kept[: -len(factor)] = False
    roots, turned = np.sqrt(squares[kept]), turned[:, kept]
    return factor @ (turned / roots).astype(factor.dtype), roots[:, None] * turned.T


def alike(last: np.ndarray, here: np.ndarray) -> np.ndarray:
    """The components of the matrix `last`, both modes stacked, turned by a rotation to lie as near as can be to `here` [schonemann1966]."""
    with np.errstate(over="ignore", invalid="ignore"):
        product = last.T.astype(np.float64) @ here
    if not np.isfinite(product).all():
        return last
    left, _, right = np.linalg.svd(product)
    return (last @ (left @ right)).astype(last.dtype)
