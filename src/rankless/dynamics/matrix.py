"""Deep matrices: `Matrix` holds the product ``W = W_L ... W_1`` only, `DeepMatrix` every factor.

With balanced factors the flow of all of them is a flow of the product [arora2018; arora2019]:

    W' = - sum_j (W W^T)^((j-1)/L)  G  (W^T W)^((L-j)/L),        G = dL/dW
       = - U [ m(a_i, a_j) (U^T G V)_ij ] V^T,    m(a, b) = (a^L - b^L) / (a - b),    a = s^(2/L)

with ``s`` the singular values of ``W``. `L` counts factors, as in [arora2019]: one more than `depth`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import as_key, double
from rankless.dynamics.factorization import AbstractFactorization, check_scale, half_square, steepest


class Matrix(AbstractFactorization):
    """Collapsed deep matrix, square or rectangular, of any real number of factors `L` >= 1.

    >>> start = Matrix.gaussian((4, 3), layers=2.5, scale=0.1, key=0)
    >>> start.full().shape, round(float(start.spectrum()[0]), 6)
    ((4, 3), 0.1)
    """

    product: jax.Array
    layers: jax.Array  # an array, so that one compilation serves all depths

    @double
    def __init__(self, product, layers: float = 1.0):
        self.product = jnp.asarray(product, dtype=float)
        self.layers = jnp.asarray(_check_layers(layers))
        if self.product.ndim != 2:
            raise ValueError(f"an array of shape {self.product.shape} is not a matrix; pass two modes, or use CP")

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Random orthogonal directions: every singular value is `scale`."""
        left, _, right = jnp.linalg.svd(jax.random.normal(as_key(key), tuple(shape)), full_matrices=False)
        return cls(check_scale(scale) * left @ right, layers)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries; the largest singular value is `scale`."""
        raw = jax.random.normal(as_key(key), tuple(shape))
        return cls(raw * (check_scale(scale) / jnp.linalg.norm(raw, ord=2)), layers)

    @classmethod
    @double
    def identity(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float) -> Self:
        """`scale` times the identity, or its first rows or columns where the matrix is not square."""
        return cls(check_scale(scale) * jnp.eye(shape[0], shape[1]), layers)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.product.shape

    @double
    def full(self) -> jax.Array:
        return self.product

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.product[indices[:, 0], indices[:, 1]]

    @double
    def spectrum(self) -> jax.Array:
        return jnp.linalg.svd(self.product, compute_uv=False)

    @double
    def velocity(self, gradient: Self) -> Self:
        tall = self.product.shape[0] > self.product.shape[1]
        w, g = (self.product.T, gradient.product.T) if tall else (self.product, gradient.product)
        left, s, right = jnp.linalg.svd(w, full_matrices=False)
        a = s ** (2 / self.layers)
        inside = left.T @ g
        along = inside @ right.T
        # outside the row space of W the other singular value is zero, where m(a, 0) = a^(L-1)
        beyond = a[:, None] ** (self.layers - 1) * (inside - along @ right)
        moved = -left @ ((_mean_power(a, self.layers) * along) @ right + beyond)
        return eqx.tree_at(lambda f: (f.product, f.layers), self, (moved.T if tall else moved, jnp.zeros_like(self.layers)))

    @double
    def penalty(self) -> jax.Array:
        """``L/2 sum_r s_r^(2/L)``, a Schatten quasi-norm; for ``L = 2`` the nuclear norm."""
        s = self.spectrum()
        return 0.5 * self.layers * jnp.sum(jnp.where(s > 0, jnp.where(s > 0, s, 1.0) ** (2 / self.layers), 0.0))


class DeepMatrix(AbstractFactorization):
    """Deep matrix with every factor explicit; ``factors[0]`` acts first: ``W = factors[-1] @ ... @ factors[0]``.

    >>> start = DeepMatrix.balanced((4, 3), layers=3, scale=0.1, key=0)
    >>> [f.shape for f in start.factors], start.collapse().product.shape
    ([(3, 3), (3, 3), (4, 3)], (4, 3))
    """

    factors: tuple[jax.Array, ...]

    @double
    def __init__(self, factors: Sequence):
        self.factors = tuple(jnp.asarray(f, dtype=float) for f in factors)
        shapes = [f.shape for f in self.factors]
        if not shapes or any(len(s) != 2 for s in shapes) or any(b[1] != a[0] for a, b in itertools.pairwise(shapes)):
            raise ValueError(f"factors of shapes {shapes} do not chain; pass (d_1, d_0), (d_2, d_1), ..., the first to act first")

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array) -> Self:
        """Balanced factors of ``Matrix.balanced`` under the same key."""
        return cls.from_matrix(Matrix.balanced(shape, layers=layers, scale=scale, key=key))

    @classmethod
    @double
    def from_matrix(cls, model: Matrix) -> Self:
        """Balanced factors that build a matrix: with ``W = U S V^T`` they are ``S^(1/L) V^T, S^(1/L), ..., U S^(1/L)``."""
        count = _whole_layers(float(model.layers))
        left, s, right = jnp.linalg.svd(model.product, full_matrices=False)
        root = s ** (1 / count)
        if count == 1:
            return cls([model.product])
        return cls([root[:, None] * right, *[jnp.diag(root)] * (count - 2), left * root])

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries in every factor, not balanced; the largest singular value is `scale`."""
        count, hidden = _whole_layers(layers), min(shape)
        sizes = [shape[1], *[hidden] * (count - 1), shape[0]]
        keys = jax.random.split(as_key(key), count)
        raw = cls([jax.random.normal(k, (b, a)) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)])
        factor = (check_scale(scale) / jnp.max(raw.spectrum())) ** (1 / count)
        return jax.tree.map(lambda x: x * factor, raw)

    @classmethod
    @double
    def identity(cls, shape: Sequence[int], *, layers: int, scale: float) -> Self:
        """Every factor the same multiple of the identity: the start of the deep matrix literature."""
        return cls.from_matrix(Matrix.identity(shape, layers=layers, scale=scale))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.factors[-1].shape[0], self.factors[0].shape[1]

    @double
    def full(self) -> jax.Array:
        product = self.factors[0]
        for factor in self.factors[1:]:
            product = factor @ product
        return product

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.full()[indices[:, 0], indices[:, 1]]

    @double
    def spectrum(self) -> jax.Array:
        return jnp.linalg.svd(self.full(), compute_uv=False)

    @double
    def velocity(self, gradient: Self) -> Self:
        return steepest(gradient)

    @double
    def penalty(self) -> jax.Array:
        return half_square(self)

    @double
    def layer_norms(self) -> jax.Array:
        """Frobenius norm of each factor, shape ``(L,)``."""
        return jnp.stack([jnp.linalg.norm(f) for f in self.factors])

    @double
    def imbalance(self) -> list[jax.Array]:
        """``W_{j+1}^T W_{j+1} - W_j W_j^T`` for ``j = 1 ... L-1``; the flow conserves it."""
        return [b.T @ b - a @ a.T for a, b in itertools.pairwise(self.factors)]

    @double
    def collapse(self, *, tolerance: float = 1e-6) -> Matrix:
        """The `Matrix` that flows as these factors do; raises ValueError with the relative imbalance above `tolerance`."""
        for j, gap in enumerate(self.imbalance()):
            worst = float(jnp.linalg.norm(gap) / jnp.max(self.layer_norms()) ** 2)
            if not worst <= tolerance:
                raise ValueError(
                    f"factors {j} and {j + 1} are not balanced: relative imbalance {worst:.2e} exceeds {tolerance:.0e}; "
                    "start from DeepMatrix.balanced(...), or keep the factors explicit"
                )
        return Matrix(self.full(), len(self.factors))


def _mean_power(a: jax.Array, power: jax.Array) -> jax.Array:
    """``(a_i^L - a_j^L)/(a_i - a_j)``, its limit ``L a^(L-1)`` where they meet, without cancellation."""
    large, small = jnp.maximum(a[:, None], a[None, :]), jnp.minimum(a[:, None], a[None, :])
    log_ratio = jnp.log(jnp.where(small > 0, small, 1.0) / jnp.where(small > 0, large, 1.0))
    apart = log_ratio < 0
    quotient = jnp.where(apart, jnp.expm1(power * log_ratio) / jnp.where(apart, jnp.expm1(log_ratio), 1.0), power)
    return large ** (power - 1) * jnp.where(small > 0, quotient, 1.0)


def _check_layers(layers: float) -> float:
    value = float(layers)
    if not 1 <= value < float("inf"):
        raise ValueError(f"layers={layers!r} is not a number >= 1; pass layers=1 for a plain matrix, 2 or more to go deep")
    return value


def _whole_layers(layers: float) -> int:
    if _check_layers(layers) != int(layers):
        raise ValueError(f"layers={layers!r} is not a whole number of factors; pass an integer, or use Matrix for a real one")
    return int(layers)
