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
from jax.flatten_util import ravel_pytree

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
def matricization_ranks(problem: Problem, factorization: Any) -> jax.Array:
    """Effective rank of the tensor unfolded along each mode, shape ``(N,)``; by the whole tensor, so for small ones."""
    full = factorization.full()

    def rank(n: int) -> jax.Array:
        s = jnp.linalg.svd(jnp.moveaxis(full, n, 0).reshape(full.shape[n], -1), compute_uv=False)
        share = s / jnp.where(jnp.sum(s) > 0, jnp.sum(s), 1.0)
        return jnp.exp(jnp.sum(jax.scipy.special.entr(share)))

    return jnp.stack([rank(n) for n in range(full.ndim)])


class QuasiNorm(eqx.Module):
    """``sum_r s_r^(2/M)`` of the spectrum: with ``M = N(k+1)``, times ``M/2``, the weight decay of balanced components.

    >>> class Two(eqx.Module):
    ...     def spectrum(self):
    ...         return jnp.array([4.0, 9.0])
    >>> float(QuasiNorm(4.0)(None, Two()))
    5.0
    """

    factors: float

    @double
    def __call__(self, problem: Problem, factorization: Any) -> jax.Array:
        s = factorization.spectrum()
        return jnp.sum(jnp.where(s > 0, jnp.where(s > 0, s, 1.0) ** (2 / self.factors), 0.0))


class Sharpness(eqx.Module):
    """Largest eigenvalue of the objective's Hessian in the parameters, by `steps` of Lanczos from a seeded start.

    Plain gradient steps at a rate above 2 over it do not settle. Of explicit factorizations: a collapsed one does not move against its
    gradient.
    """

    steps: int = eqx.field(static=True, default=30)
    seed: int = eqx.field(static=True, default=0)

    @double
    def __call__(self, problem: Problem, factorization: Any) -> jax.Array:
        flat, whole = ravel_pytree(factorization)

        def slope(x: jax.Array) -> jax.Array:
            return ravel_pytree(problem.gradient(whole(x)))[0]

        def curved(v: jax.Array) -> jax.Array:
            return jax.jvp(slope, (flat,), (v,))[1]

        first = jax.random.normal(jax.random.key(self.seed), flat.shape, flat.dtype)
        count = min(self.steps, flat.size)
        basis = jnp.zeros((count + 1, flat.size), flat.dtype).at[0].set(first / jnp.linalg.norm(first))

        def step(carry, at):
            basis, form = carry
            ahead = curved(basis[at])
            form = form.at[:, at].set(basis[:-1] @ ahead)
            for _ in range(2):  # twice is enough to keep the basis orthogonal
                ahead = ahead - basis.T @ (basis @ ahead)
            length = jnp.linalg.norm(ahead)
            return (basis.at[at + 1].set(ahead / jnp.where(length > 0, length, 1.0)), form), None

        (_, form), _ = jax.lax.scan(step, (basis, jnp.zeros((count, count), flat.dtype)), jnp.arange(count))
        return jnp.max(jnp.linalg.eigvalsh(jnp.triu(form) + jnp.triu(form, 1).T))


@double
def imbalance(problem: Problem, factorization: Any) -> jax.Array:
    """Largest entry of the layers' imbalance, which the flow conserves; explicit factorizations only."""
    return jnp.max(jnp.stack([jnp.max(jnp.abs(gap), initial=0.0) for gap in factorization.imbalance()]), initial=0.0)


@double
def observed_energy(problem: Problem, factorization: Any) -> jax.Array:
    """Each component's energy on observed cells over its whole energy, shape ``(R,)``.

    Components are what the factorization says: those of a CP, the singular components of a matrix or of each chained block.
    Far below the share of cells observed, the component lives where nothing was seen: don't trust it.
    """
    seen = jnp.sum(factorization.contributions(problem.indices) ** 2, axis=0)
    norms = factorization.part_norms()
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


def predicted_switch_on(ts: np.ndarray, norms: np.ndarray, pull: np.ndarray, *, factors: float, grown: float = 5.0) -> np.ndarray:
    """When each component will switch on, said once it is `grown` times its start; shape ``(R,)``, inf where nothing says so.

    ``t + s^(2/M - 1)/((M - 2) g)`` with `M` `factors` and the norm `s` and pull `g` of that record (`laws.pull`): the time at which the
    growth law passes every bound if the pull stays as it is. Earlier than that a random direction still turns towards its pull.

    >>> ts = np.linspace(0, 0.9, 10)
    >>> predicted_switch_on(ts, (1 / (1 - ts))[:, None], np.full((10, 1), 1e-9), factors=1e9, grown=2.0).round(6).tolist()
    [1.0]
    """
    from rankless.depth import switch_on_time

    ts, norms, pull = np.asarray(ts), np.asarray(norms), np.asarray(pull)
    out = np.full(norms.shape[1], np.inf)
    for r in range(norms.shape[1]):
        at = int(np.argmax(norms[:, r] >= grown * norms[0, r]))
        if norms[at, r] >= grown * norms[0, r] and pull[at, r] > 0:
            out[r] = ts[at] + switch_on_time(norms[at, r], pull[at, r], factors)
    return out


def cp_rank(tensor: np.ndarray, *, error: float = 0.01, highest: int = 10, starts: int = 3, sweeps: int = 300, seed: int = 0) -> int:
    """Least number of CP components that fit a whole tensor to a relative `error`, by alternating least squares from random starts.

    An upper bound of the rank at that error: a start may miss its fit. `highest` + 1 where none up to `highest` fits.

    >>> cp_rank(np.einsum("ir,jr,kr->ijk", *(np.random.default_rng(m).normal(size=(4, 2)) for m in range(3))))
    2
    """
    tensor, rng = np.asarray(tensor, dtype=float), np.random.default_rng(seed)
    unfolded = [np.moveaxis(tensor, n, 0).reshape(size, -1) for n, size in enumerate(tensor.shape)]
    size = np.linalg.norm(tensor)
    if size == 0:
        return 0
    for rank in range(1, highest + 1):
        for _ in range(starts):
            factors = [rng.normal(size=(d, rank)) for d in tensor.shape]
            for _ in range(sweeps):
                for n, rows in enumerate(unfolded):
                    others = _khatri_rao([f for m, f in enumerate(factors) if m != n])
                    factors[n] = np.linalg.lstsq(others, rows.T, rcond=None)[0].T
                left = np.linalg.norm(unfolded[-1] - factors[-1] @ others.T)
                if left <= error * size:
                    return rank
    return highest + 1


def core_consistency(factors: list[np.ndarray] | tuple[np.ndarray, ...], tensor: np.ndarray) -> float:
    """Core consistency of a CP model with a whole tensor, in per cent [bro2003]: 100 where its best core is superdiagonal.

    The core is ``tensor x_1 U_1^+ ... x_N U_N^+`` of the factors as they are; components that overlap, or too many of
    them, bring it far below 100, and below 0. Pass live components only.

    >>> eye = np.eye(3)[:, :2]
    >>> core_consistency([eye, eye, eye], np.einsum("ir,jr,kr->ijk", eye, eye, eye))
    100.0
    """
    core, rank = np.asarray(tensor, dtype=float), np.asarray(factors[0]).shape[1]
    for n, factor in enumerate(factors):
        core = np.moveaxis(np.tensordot(np.linalg.pinv(np.asarray(factor)), core, axes=(1, n)), 0, n)
    ideal = np.zeros(core.shape)
    ideal[(np.arange(rank),) * core.ndim] = 1.0
    return float(100 * (1 - np.sum((core - ideal) ** 2) / rank))


def _khatri_rao(factors: list[np.ndarray]) -> np.ndarray:
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return product
