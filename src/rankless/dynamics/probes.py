"""Probes: plain functions of ``(problem, factorization)``, evaluated along a run; write your own alike.

A probe that needs data of its own is a small module with ``__call__``, so that its arrays are traced
and runs on other data share the compilation. `switch_on_times` and `live` read finished records.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import double
from rankless.dynamics.problem import Problem
from rankless.tensors.observations import Observations

# Any: a probe may ask for members that only some factorizations have, such as `layer_norms`


@double
def loss(problem: Problem, factorization: Any) -> jax.Array:
    """The loss on the observed entries, without weight decay."""
    return problem.data_loss(factorization)


@double
def objective(problem: Problem, factorization: Any) -> jax.Array:
    """The loss and the weight decay."""
    return problem.objective(factorization)


@double
def component_norms(problem: Problem, factorization: Any) -> jax.Array:
    """End-to-end norms ``||(x)_n u_r^n||``, shape ``(R,)``; of a matrix its singular values."""
    return factorization.spectrum()


@double
def last_layer_norms(problem: Problem, factorization: Any) -> jax.Array:
    """``||(x)_n w_r^n||``, shape ``(R,)``, of a CP or deep CP."""
    return factorization.last_layer_norms()


@double
def layer_norms(problem: Problem, factorization: Any) -> jax.Array:
    """Frobenius norm of every layer: ``(N, k+1, R)`` for a CP (one balanced layer where collapsed), ``(L,)`` for a matrix."""
    return factorization.layer_norms()


@double
def singular_values(problem: Problem, factorization: Any) -> jax.Array:
    """Singular values of the tensor unfolded along its first mode."""
    full = factorization.full()
    return jnp.linalg.svd(full.reshape(full.shape[0], -1), compute_uv=False)


@double
def effective_rank(problem: Problem, factorization: Any) -> jax.Array:
    """``exp(-sum p log p)``, ``p`` the spectrum over its sum: how many components share the tensor evenly."""
    s = factorization.spectrum()
    share = s / jnp.where(jnp.sum(s) > 0, jnp.sum(s), 1.0)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(share)))


@double
def stable_rank(problem: Problem, factorization: Any) -> jax.Array:
    """``sum s^2 / max s^2`` of the spectrum."""
    s = factorization.spectrum()
    return jnp.sum(s**2) / jnp.where(jnp.max(s) > 0, jnp.max(s), 1.0) ** 2


@double
def imbalance(problem: Problem, factorization: Any) -> jax.Array:
    """Largest entry of the layers' imbalance, which the flow conserves; explicit factorizations only."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(gap), initial=0.0) for gap in factorization.imbalance()]), initial=0.0)


@double
def observed_energy(problem: Problem, factorization: Any) -> jax.Array:
    """Each component's energy on observed cells over its whole energy, shape ``(R,)``, of a CP.

    Far below the share of cells observed, the component lives where nothing was seen: don't trust it.
    """
    seen = jnp.sum(factorization.contributions(problem.indices) ** 2, axis=0)
    norms = factorization.spectrum()
    return seen / jnp.where(norms > 0, norms, 1.0) ** 2


class HeldOut(eqx.Module):
    """Root mean square error on other entries than those the flow sees.

    >>> HeldOut(Observations.from_array(np.eye(3))).values.shape
    (9,)
    """

    indices: jax.Array
    values: jax.Array

    @double
    def __init__(self, obs: Observations):
        self.indices = jnp.asarray(obs.indices)
        self.values = jnp.asarray(obs.values, dtype=float)

    @double
    def __call__(self, problem: Problem, factorization: Any) -> jax.Array:
        return jnp.sqrt(jnp.mean((factorization.at(self.indices) - self.values) ** 2))


class TensorError(eqx.Module):
    """Relative error against a whole known tensor, ``||T - truth|| / ||truth||``; by matrix products only."""

    truth: jax.Array

    @double
    def __init__(self, truth):
        self.truth = jnp.asarray(truth, dtype=float)

    @double
    def __call__(self, problem: Problem, factorization: Any) -> jax.Array:
        return jnp.linalg.norm(jnp.ravel(factorization.full() - self.truth)) / jnp.linalg.norm(jnp.ravel(self.truth))


# --- of finished records --------------------------------------------------------------------------


def live(norms: np.ndarray, *, share: float = 0.01) -> np.ndarray:
    """Number of components above `share` of the largest, along the last axis.

    >>> live(np.array([[1.0, 0.5, 1e-4]]))
    array([2])
    """
    norms = np.asarray(norms)
    return np.sum((norms > share * norms.max(axis=-1, keepdims=True)) & (norms > 0), axis=-1)


def switch_on_times(ts: np.ndarray, norms: np.ndarray, *, share: float = 0.5) -> np.ndarray:
    """When each component first exceeds `share` of its last value; inf where that is below 1 % of the largest.

    `norms` has shape ``(len(ts), R)``; times are interpolated between records.

    >>> switch_on_times(np.array([0.0, 1.0, 2.0]), np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 1e-9]])).tolist()
    [1.5, inf]
    """
    ts, norms = np.asarray(ts), np.asarray(norms)
    out = np.full(norms.shape[1], np.inf)
    for r in np.flatnonzero(norms[-1] >= 0.01 * norms[-1].max()):
        level = share * norms[-1, r]
        at = int(np.argmax(norms[:, r] >= level))
        if at == 0:
            out[r] = ts[0]
        else:
            low, high = norms[at - 1, r], norms[at, r]
            out[r] = ts[at - 1] + (ts[at] - ts[at - 1]) * (level - low) / (high - low)
    return out
