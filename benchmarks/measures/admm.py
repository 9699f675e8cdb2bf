"""Completion by nuclear norms of the unfoldings, written from the papers: HaLRTC and LRTC-TNN.

Both minimise ``sum_n |X_(n)| / N`` over tensors `X` that agree with what was seen, `X_(n)` the unfolding
along mode `n`. HaLRTC [liu2013] takes the nuclear norm, the sum of all singular values. LRTC-TNN
[chen2020] takes the truncated one, which leaves the `r_n` largest out of the sum, with
``r_n = ceil(theta min(d_n, prod of the others))`` and one rate `theta` for all modes. ADMM splits `X`
into a copy a mode: each copy shrinks the singular values of its unfolding, the mean of the copies
fills the holes, and duals pull the copies together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def halrtc(array: np.ndarray, seed: int) -> np.ndarray:
    """High-accuracy low-rank tensor completion."""
    return _admm(array, [0] * array.ndim)


def lrtc_tnn(array: np.ndarray, seed: int, *, theta: float) -> np.ndarray:
    """Low-rank tensor completion by the truncated nuclear norm; `theta` is the share of singular values left whole."""
    return _admm(array, [math.ceil(theta * min(d, array.size // d)) for d in array.shape])


def _admm(array: np.ndarray, whole: Sequence[int], rho: float = 1e-4, tol: float = 1e-4, sweeps: int = 300) -> np.ndarray:
    """`whole`: of each mode, how many of the largest singular values are not shrunk; `rho` grows by a twentieth a sweep.

    Ends where a sweep moves nothing and the copies agree; without the latter it ends at once where a small `rho` shrinks all away.
    """
    seen = ~np.isnan(array)
    filled = np.where(seen, array, 0.0)
    duals = [np.zeros_like(filled) for _ in range(array.ndim)]
    for _ in range(sweeps):
        rho = min(rho * 1.05, 1e5)
        threshold = 1 / (array.ndim * rho)
        copies = [_shrink(filled + dual / rho, mode, threshold, whole[mode]) for mode, dual in enumerate(duals)]
        before = filled
        filled = np.where(seen, array, np.mean([c - d / rho for c, d in zip(copies, duals, strict=True)], axis=0))
        duals = [d - rho * (c - filled) for c, d in zip(copies, duals, strict=True)]
        if max(np.linalg.norm(other - filled) for other in (before, *copies)) < tol * np.linalg.norm(filled):
            break
    return filled


def _shrink(tensor: np.ndarray, mode: int, threshold: float, whole: int) -> np.ndarray:
    """Singular values of an unfolding lowered by `threshold` but for the `whole` largest, through the small Gram matrix."""
    moved = np.moveaxis(tensor, mode, 0)
    flat = moved.reshape(len(moved), -1)
    squares, vectors = np.linalg.eigh(flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat)
    values = np.sqrt(np.maximum(squares, 0.0))
    lowered = np.maximum(values - threshold, 0.0)
    if whole:
        lowered[-whole:] = values[-whole:]  # eigh's come in growing order
    keep = lowered > 0
    projector = (vectors[:, keep] * (lowered[keep] / values[keep])) @ vectors[:, keep].T
    shrunk = projector @ flat if flat.shape[0] <= flat.shape[1] else flat @ projector
    return np.moveaxis(shrunk.reshape(moved.shape), 0, mode)
