"""Planted tensors: components, noise and holes of a known size."""

from __future__ import annotations

import numpy as np


def planted(shape, rank: int, share: float, *, noise: float | np.ndarray = 0.1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """``(truth, seen)``: a tensor at unit standard deviation, and what is seen of it, NaN elsewhere."""
    rng = np.random.default_rng(seed)
    letters = "abcdefgh"[: len(shape)]
    factors = [rng.normal(size=(d, rank)) for d in shape]
    truth = np.einsum(",".join(c + "r" for c in letters) + "->" + letters, *factors)
    truth /= truth.std()
    seen = truth + noise * rng.normal(size=shape)
    seen[rng.random(shape) > share] = np.nan
    return truth, seen


def hidden_error(filled: np.ndarray, truth: np.ndarray, seen: np.ndarray) -> float:
    """Root mean square error on the cells not seen."""
    hidden = np.isnan(seen)
    return float(np.sqrt(np.mean((filled - truth)[hidden] ** 2)))
