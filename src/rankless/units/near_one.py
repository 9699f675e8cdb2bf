"""Values brought near 1 by a power of two, so that no unit of measurement overflows a square."""

from __future__ import annotations

import math

import numpy as np

from rankless.tensors.observations import Observations


def near_one_of(obs: Observations) -> tuple[Observations, int]:
    """Values near 1 and weights of mean 1, and the power of two that brings the values back.

    A power of two rounds nothing, so it is felt only where squares of the values would overflow.
    """
    exponent = math.floor(math.log2(obs.rms()))
    return near_one_by(obs, exponent), exponent


def near_one_by(obs: Observations, exponent: int, among: np.ndarray | slice = slice(None)) -> Observations:
    """Values over ``2**exponent``, and weights of mean 1 `among` some of the entries."""
    weights = obs.weights
    if weights is not None:
        weights = weights / np.mean(weights[among], dtype=np.float64).astype(weights.dtype)
    return obs.with_values(np.ldexp(obs.values, -exponent), weights)
