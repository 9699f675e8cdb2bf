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
from rankless.dynamics._once import normal
from rankless.dynamics.chains import balanced_chain, chain_gaps, chain_penalty, chain_velocity, gaussian_chain, multiplied
from rankless.dynamics.factorization import (
    AbstractFactorization,
    balanced_enough,
    check_layers,
    check_scale,
    half_square,
    steepest,
    whole_layers,
)


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
        self.layers = jnp.asarray(check_layers(layers))
        if self.product.ndim != 2:
            raise ValueError(f"an array of shape {self.product.shape} is not a matrix; pass two modes, or use CP")

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Random orthogonal directions: every singular value is `scale`."""
        left, _, right = jnp.linalg.svd(normal(as_key(key), tuple(shape)), full_matrices=False)
        return cls(check_scale(scale) * left @ right, layers)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries; the largest singular value is `scale`."""
        raw = normal(as_key(key), tuple(shape))
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
        moved = chain_velocity(self.product, gradient.product, self.layers)
        return eqx.tree_at(lambda f: (f.product, f.layers), self, (moved, jnp.zeros_like(self.layers)))

    @double
    def penalty(self) -> jax.Array:
        """``L/2 sum_r s_r^(2/L)``, a Schatten quasi-norm; for ``L = 2`` the nuclear norm."""
        return chain_penalty(self.product, self.layers)

    # --- components: singular values, each with its vectors -----------------------------------

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Each singular component's share of the values at `indices` ``(n, 2)``, shape ``(n, R)``."""
        left, s, right = jnp.linalg.svd(self.product, full_matrices=False)
        return left[indices[:, 0]] * s * right.T[indices[:, 1]]

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components: the singular values."""
        return self.spectrum()


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
        return cls(balanced_chain(model.product, whole_layers(float(model.layers))))

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries in every factor, not balanced; the largest singular value is `scale`."""
        count = whole_layers(layers)
        raw = cls(gaussian_chain(shape, count, as_key(key)))
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
        return multiplied(self.factors)

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
        return chain_gaps(self.factors)

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Each singular component's share of the values at `indices` ``(n, 2)``, shape ``(n, R)``."""
        return Matrix(self.full()).contributions(indices)

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components: the singular values."""
        return self.spectrum()

    @double
    def collapse(self, *, tolerance: float = 1e-6) -> Matrix:
        """The `Matrix` that flows as these factors do; raises ValueError with the relative imbalance above `tolerance`."""
        size = jnp.max(self.layer_norms()) ** 2
        gaps = {f"factors {j} and {j + 1}": jnp.linalg.norm(gap) / jnp.where(size > 0, size, 1.0) for j, gap in enumerate(self.imbalance())}
        same = balanced_enough(self, gaps, tolerance, "start from DeepMatrix.balanced(...), or keep the factors explicit")
        return Matrix(same.full(), len(self.factors))
