"""A matrix that is a chain of `L` balanced factors: how it moves, what it costs, and the factors themselves.

``X = A_L ... A_1`` with ``A_{j+1}^T A_{j+1} = A_j A_j^T`` moves under the flow of all its factors by a metric of its own [arora2018]:

    X' = - M_L(X)[dL/dX],     M_L(X)[G] = sum_j (X X^T)^((j-1)/L) G (X^T X)^((L-j)/L)

and the least weight decay of factors that build it is ``L/2 ||X||_{S_{2/L}}^{2/L}``, a Schatten quasi-norm. The metric takes the
gradient of that penalty to ``L X``: `L` factors that each decay. Matrices are the last two axes; those before are a batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from rankless.dynamics._once import normal

Chain = tuple[jax.Array, ...]


def chain_velocity(matrix: jax.Array, gradient: jax.Array, layers: jax.Array) -> jax.Array:
    """``- M_L(X)[G]`` for any real ``L >= 1``; real or complex matrices ``(..., m, n)``.

    In singular bases ``M_L(X)[G] = U [ m(a_i, a_j) (U^T G V)_ij ] V^T`` with ``m(a, b) = (a^L - b^L)/(a - b)`` and ``a = s^(2/L)``.

    >>> x, g = jnp.diag(jnp.array([4.0, 1.0])), jnp.ones((2, 2))
    >>> chain_velocity(x, g, jnp.array(2.0)).tolist()
    [[-8.0, -5.0], [-5.0, -2.0]]
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    w, g = (_adjoint(matrix), _adjoint(gradient)) if tall else (matrix, gradient)
    left, s, right = jnp.linalg.svd(w, full_matrices=False)
    a = s ** (2 / layers)
    inside = _adjoint(left) @ g
    along = inside @ _adjoint(right)
    # outside the row space of X the other singular value is zero, where m(a, 0) = a^(L-1)
    beyond = a[..., :, None] ** (layers - 1) * (inside - along @ right)
    moved = -left @ ((_mean_power(a, layers) * along) @ right + beyond)
    return _adjoint(moved) if tall else moved


def chain_penalty(matrix: jax.Array, layers: jax.Array) -> jax.Array:
    """``L/2 sum s^(2/L)`` over all singular values: the least half sum of squares of `L` factors; for ``L = 2`` the nuclear norm."""
    s = jnp.linalg.svd(matrix, compute_uv=False)
    positive = s > 0
    return 0.5 * layers * jnp.sum(jnp.where(positive, jnp.where(positive, s, 1.0) ** (2 / layers), 0.0))


def balanced_chain(matrix: jax.Array, count: int) -> Chain:
    """`count` balanced factors of a matrix, the first to act first: ``S^(1/L) V^T, S^(1/L), ..., U S^(1/L)`` for ``X = U S V^T``.

    >>> [f.shape for f in balanced_chain(jnp.ones((4, 3)), 3)]
    [(3, 3), (3, 3), (4, 3)]
    """
    if count == 1:
        return (matrix,)
    left, s, right = jnp.linalg.svd(matrix, full_matrices=False)
    root = s ** (1 / count)
    return (root[..., :, None] * right, *[root[..., :, None] * jnp.eye(root.shape[-1])] * (count - 2), left * root[..., None, :])


def gaussian_chain(shape: Sequence[int], count: int, key: jax.Array) -> Chain:
    """`count` factors with independent normal entries, hidden sizes ``min(shape)``."""
    *batch, m, n = shape
    sizes = [n, *[min(m, n)] * (count - 1), m]
    keys = jax.random.split(key, count)
    return tuple(normal(k, (*batch, b, a)) for k, a, b in zip(keys, sizes, sizes[1:], strict=False))


def multiplied(chain: Sequence[jax.Array]) -> jax.Array:
    """``A_L ... A_1``."""
    product = chain[0]
    for factor in chain[1:]:
        product = factor @ product
    return product


def chain_gaps(chain: Sequence[jax.Array]) -> list[jax.Array]:
    """``A_{j+1}^T A_{j+1} - A_j A_j^T``, which the flow conserves."""
    return [_adjoint(b) @ b - a @ _adjoint(a) for a, b in itertools.pairwise(chain)]


def chain_ends(matrix: jax.Array, layers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``A_1^T A_1 = (X^T X)^(1/L)`` and ``A_L A_L^T = (X X^T)^(1/L)`` of the balanced factors of a matrix."""
    left, s, right = jnp.linalg.svd(matrix, full_matrices=False)
    a = (s ** (2 / layers))[..., None, :]
    return _adjoint(right) * a @ right, left * a @ _adjoint(left)


def _adjoint(x: jax.Array) -> jax.Array:
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def _mean_power(a: jax.Array, power: jax.Array) -> jax.Array:
    """``(a_i^L - a_j^L)/(a_i - a_j)``, its limit ``L a^(L-1)`` where they meet, without cancellation."""
    large, small = jnp.maximum(a[..., :, None], a[..., None, :]), jnp.minimum(a[..., :, None], a[..., None, :])
    log_ratio = jnp.log(jnp.where(small > 0, small, 1.0) / jnp.where(small > 0, large, 1.0))
    apart = log_ratio < 0
    quotient = jnp.where(apart, jnp.expm1(power * log_ratio) / jnp.where(apart, jnp.expm1(log_ratio), 1.0), power)
    return large ** (power - 1) * jnp.where(small > 0, quotient, 1.0)
