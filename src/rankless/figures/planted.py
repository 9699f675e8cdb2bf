"""Planted tensors for the figures: known truth, hidden entries, seeded noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations


@dataclass(frozen=True)
class Planted:
    """A tensor of known rank, what is seen of it (with noise), and what is hidden (without)."""

    truth: np.ndarray
    seen: Observations
    hidden: Observations


def planted(shape: tuple[int, ...], rank: int, *, observed: int, seed: int, noise: float = 0.0, norm: float | None = None) -> Planted:
    """Gaussian factors, `observed` entries drawn at random; unit root mean square, or Frobenius norm `norm`.

    >>> planted((4, 5), 2, observed=12, seed=0).seen.size
    12
    """
    rng = np.random.default_rng(seed)
    truth = CPTensor([rng.normal(size=(d, rank)) for d in shape]).full()
    truth *= (np.sqrt(truth.size) if norm is None else norm) / np.linalg.norm(truth)
    seen = np.zeros(truth.size, dtype=bool)
    seen[rng.permutation(truth.size)[:observed]] = True
    seen = seen.reshape(shape)
    noisy = truth + noise * rng.normal(size=shape)
    return Planted(truth, Observations.from_array(np.where(seen, noisy, np.nan)), Observations.from_array(np.where(seen, np.nan, truth)))
