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
import numpy as np

from rankless.dynamics._once import normal

Chain = tuple[jax.Array, ...]


def chain_velocity(matrix: jax.Array, gradient: jax.Array, layers: jax.Array) -> jax.Array:
    """``- M_L(X)[G]`` for any real ``L >= 1``; real or complex matrices ``(..., m, n)``.

    In singular bases ``M_L(X)[G] = U [ m(a_i, a_j) (U^T G V)_ij ] V^T`` with ``m(a, b) = (a^L - b^L)/(a - b)`` and ``a = s^(2/L)``.

    It has a first derivative of its own, finite everywhere (`_wide_velocity_jvp`); where singular values meet there is no second.

    >>> x, g = jnp.diag(jnp.array([4.0, 1.0])), jnp.ones((2, 2))
    >>> chain_velocity(x, g, jnp.array(2.0)).tolist()
    [[-8.0, -5.0], [-5.0, -2.0]]
    """
    tall = matrix.shape[-2] > matrix.shape[-1]
    if tall:
        return _adjoint(_wide_velocity(_adjoint(matrix), _adjoint(gradient), layers))
    return _wide_velocity(matrix, gradient, layers)


@jax.custom_jvp
def chain_penalty(matrix: jax.Array, layers: jax.Array) -> jax.Array:
    """``L/2 sum s^(2/L)`` over all singular values: the least half sum of squares of `L` factors; for ``L = 2`` the nuclear norm.

    It can be differentiated twice, where singular values meet too (`_penalty_slope_jvp`).
    """
    return _penalty(jnp.linalg.svd(matrix, compute_uv=False), layers)


@chain_penalty.defjvp
def _chain_penalty_jvp(given, moved):
    (matrix, layers), (matrix_moved, layers_moved) = given, moved
    s = jnp.linalg.svd(matrix, compute_uv=False)
    value, by_layers = jax.jvp(lambda power: _penalty(s, power), (layers,), (layers_moved,))
    return value, jnp.sum(jnp.real(jnp.conj(_penalty_slope(matrix, layers)) * matrix_moved)) + by_layers


def _penalty(s: jax.Array, layers: jax.Array) -> jax.Array:
    return 0.5 * layers * jnp.sum(_power(s, 2 / layers))


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


# --- derivatives, by divided differences rather than those of singular vectors, which have none where singular values meet ----


@jax.custom_jvp
def _wide_velocity(matrix: jax.Array, gradient: jax.Array, layers: jax.Array) -> jax.Array:
    """`chain_velocity` of a matrix with no more rows than columns."""
    return _velocity(jnp.linalg.svd(matrix, full_matrices=False), gradient, layers)


def _velocity(parts, gradient: jax.Array, layers: jax.Array) -> jax.Array:
    left, s, right = parts
    a = s ** (2 / layers)
    along, beyond = _coordinates(left, right, gradient)
    # outside the row space of X the other singular value is zero, where m(a, 0) = a^(L-1)
    beyond = a[..., :, None] ** (layers - 1) * beyond
    return -left @ ((_mean_power(a[..., :, None], a[..., None, :], layers) * along) @ right + beyond)


@_wide_velocity.defjvp
def _wide_velocity_jvp(given, moved):
    """By the theorem of Daleckii and Krein [higham2008, theorem 3.11], for ``M = sum_ij f[a_i, a_j] E_i G F_j``.

    ``f[x, y]`` and ``f[x, y, z]`` are divided differences of ``f(x) = x^L``; ``E_i`` and ``F_j`` project on the eigenvectors of
    ``P = X X^T`` and ``Q = X^T X``, whose eigenvalues are ``a^L``. Then `dM` is `M` of ``dG`` and

        sum_ikj f[a_i, a_k, a_j]/f[a_i, a_k] E_i dP E_k G F_j + sum_ijk f[a_i, a_j, a_k]/f[a_j, a_k] E_i G F_j dQ F_k,

    whose quotients are divided differences of ``f[., .]`` in the eigenvalues of `P` and of `Q`. At singular values of zero (to the
    precision of a singular value decomposition) `M` need not have a derivative in the directions that make them positive: with them
    `a` grows like ``s^(2/L)``. It is even in those directions, so that central differences are zero, and zero is what they get here.
    """
    (matrix, gradient, layers), (matrix_moved, gradient_moved, layers_moved) = given, moved
    parts = left, s, right = jnp.linalg.svd(matrix, full_matrices=False)
    value = _velocity(parts, gradient, layers)
    by_gradient = _velocity(parts, gradient_moved, layers)
    s = _without_rounding(s, matrix.shape)
    g, g_beyond = _coordinates(left, right, gradient)
    x, x_beyond = _coordinates(left, right, matrix_moved)
    dp = _twice_hermitian(x * s[..., None, :])
    dq, dq_beyond = _twice_hermitian(s[..., :, None] * x), s[..., :, None] * x_beyond
    # the last eigenvalue is the zero of Q outside the row space of X
    a = jnp.concatenate([s ** (2 / layers), jnp.zeros_like(s[..., :1])], axis=-1)
    i, k, j = a[..., :, None, None], a[..., None, :, None], a[..., None, None, :]
    first = _mean_power(i, k, layers)
    ratio = jnp.where(first > 0, _second_difference(i, k, j, layers) / jnp.where(first > 0, first, 1.0), 0.0)
    inner, last, outer = ratio[..., :-1, :-1, :-1], ratio[..., :-1, :-1, -1], ratio[..., :-1, -1, :-1]
    along = jnp.einsum("...ikj,...ik,...kj->...ij", inner, dp, g) + jnp.einsum("...kji,...ik,...kj->...ij", inner, g, dq)
    along += jnp.swapaxes(outer, -1, -2) * (g_beyond @ _adjoint(dq_beyond))
    beyond = (last * dp) @ g_beyond + (jnp.swapaxes(outer, -1, -2) * g) @ dq_beyond
    i, j = a[..., :-1, None], a[..., None, :]
    by_layers = layers_moved / layers * _mean_power(i, j, layers) * _mean_log(i, j)
    along, beyond = along + by_layers[..., :-1] * g, beyond + by_layers[..., -1:] * g_beyond
    return value, by_gradient - left @ (along @ right + beyond)


@jax.custom_jvp
def _penalty_slope(matrix: jax.Array, layers: jax.Array) -> jax.Array:
    """``U s^(2/L - 1) V^T``, the gradient of `chain_penalty`."""
    left, s, right = jnp.linalg.svd(matrix, full_matrices=False)
    return left @ (_power(s, 2 / layers - 1)[..., :, None] * right)


@_penalty_slope.defjvp
def _penalty_slope_jvp(given, moved):
    """``h(s) = s^(2/L - 1)`` continued as an odd function: differences of `h` at ``s_i, s_j`` and at ``s_i, -s_j``.

    The first multiply the hermitian half of ``U^T dX V``, the second the other. Where both values are zero, `h` has no derivative
    but for ``L = 1``, and zero stands for it.
    """
    (matrix, layers), (matrix_moved, layers_moved) = given, moved
    left, s, right = jnp.linalg.svd(matrix, full_matrices=False)
    power = 2 / layers - 1
    value = left @ (_power(s, power)[..., :, None] * right)
    s = jnp.concatenate([_without_rounding(s, matrix.shape), jnp.zeros_like(s[..., :1])], axis=-1)  # the zero outside the row space
    h, i, j = _power(s, power), s[..., :, None], s[..., None, :]
    nonzero, flat = jnp.maximum(i, j) > 0, jnp.where(power == 1, 1.0, 0.0)
    apart = jnp.where(nonzero, _mean_power(i, j, power), flat)
    across = jnp.where(nonzero, (h[..., :, None] + h[..., None, :]) / jnp.where(nonzero, i + j, 1.0), flat)
    x, x_beyond = _coordinates(left, right, matrix_moved)
    inner = 0.5 * (apart[..., :-1, :-1] * (x + _adjoint(x)) + across[..., :-1, :-1] * (x - _adjoint(x)))
    x_above = matrix_moved @ _adjoint(right) - left @ x  # outside the column space
    by_matrix = left @ (inner @ right + across[..., :-1, -1:] * x_beyond) + (across[..., -1:, :-1] * x_above) @ right
    by_layers = left @ ((h * jnp.log(jnp.where(s > 0, s, 1.0)))[..., :-1, None] * right)
    return value, by_matrix - 2 / layers**2 * layers_moved * by_layers


def _coordinates(left: jax.Array, right: jax.Array, matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A matrix in singular bases: ``U^T G V``, and ``U^T G`` of what is outside the row space."""
    inside = _adjoint(left) @ matrix
    along = inside @ _adjoint(right)
    return along, inside - along @ right


def _without_rounding(s: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Singular values with those set to zero that may be rounding errors of the largest."""
    return jnp.where(s > max(shape[-2:]) * jnp.finfo(s.dtype).eps * s[..., :1], s, 0.0)


def _twice_hermitian(x: jax.Array) -> jax.Array:
    return x + _adjoint(x)


def _power(s: jax.Array, power: jax.Array) -> jax.Array:
    """``s^p``, and zero at zero, for negative powers too."""
    positive = s > 0
    return jnp.where(positive, jnp.where(positive, s, 1.0) ** power, 0.0)


def _mean_power(x: jax.Array, y: jax.Array, power: jax.Array) -> jax.Array:
    """``(x^L - y^L)/(x - y)``, its limit ``L x^(L-1)`` where they meet, without cancellation."""
    large, small = jnp.maximum(x, y), jnp.minimum(x, y)
    log_ratio = _log_ratio(large, small)
    apart = log_ratio < 0
    quotient = jnp.where(apart, jnp.expm1(power * log_ratio) / jnp.where(apart, jnp.expm1(log_ratio), 1.0), power)
    return large ** (power - 1) * jnp.where(small > 0, quotient, 1.0)


def _mean_log(x: jax.Array, y: jax.Array) -> jax.Array:
    """``(x log x - y log y)/(x - y)``, its limit ``log x + 1`` where they meet; zero for zeros."""
    large, small = jnp.maximum(x, y), jnp.minimum(x, y)
    log_ratio = _log_ratio(large, small)
    apart = log_ratio < 0
    quotient = jnp.where(apart, log_ratio / jnp.where(apart, -jnp.expm1(-log_ratio), 1.0), 1.0)
    return jnp.where(large > 0, jnp.log(jnp.where(large > 0, large, 1.0)) + jnp.where(small > 0, quotient, 0.0), 0.0)


def _log_ratio(large: jax.Array, small: jax.Array) -> jax.Array:
    return jnp.log(jnp.where(small > 0, small, 1.0) / jnp.where(small > 0, large, 1.0))


def _second_difference(x: jax.Array, y: jax.Array, z: jax.Array, power: jax.Array) -> jax.Array:
    """``f[x, y, z]`` of ``f(x) = x^L``: a difference of differences, or where all are within a tenth the formula of Hermite and Genocchi.

    ``f[x, y, z] = int_0^1 t f'[z + t(x - z), z + t(y - z)] dt``, which five nodes of Gauss integrate to float64 that close.
    """
    low, high = jnp.minimum(jnp.minimum(x, y), z), jnp.maximum(jnp.maximum(x, y), z)
    middle = jnp.maximum(jnp.minimum(x, y), jnp.minimum(jnp.maximum(x, y), z))
    near = low > 0.9 * high
    far = (_mean_power(high, middle, power) - _mean_power(middle, low, power)) / jnp.where(near | (high == 0), 1.0, high - low)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    base = jnp.where(near, low, 1.0)
    close = jnp.zeros_like(far)
    for t, weight in zip((1 + nodes) / 2, weights / 2, strict=True):
        first, second = (base + t * (jnp.where(near, side, 1.0) - base) for side in (high, middle))
        close += weight * t * power * _mean_power(first, second, power - 1)
    return jnp.where(near, close, far)
