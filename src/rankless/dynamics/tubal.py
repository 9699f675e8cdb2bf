"""Tubal and deep tubal factorization: third-order tensors multiplied by the t-product [karnik2025].

``(A * B)`` is the matrix product of tubes under circular convolution along the third mode: a discrete Fourier transform along it makes
it one matrix product for each frequency. A chain of `L` balanced tensors therefore moves, frequency by frequency, as a chain of
matrices does:

    X_f' = - M_L(X_f)[G_f],      least weight decay  L/2 mean over the d_3 frequencies of ||X_f||_{S_{2/L}}^{2/L}
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


class Tubal(AbstractFactorization):
    """Collapsed deep tubal factorization of any real number of factors `layers` >= 1, by its product.

    >>> start = Tubal.gaussian((4, 3, 5), layers=2.5, scale=0.1, key=0)
    >>> start.full().shape, round(float(start.spectrum().max()), 6), start.spectrum().shape
    ((4, 3, 5), 0.1, (15,))
    """

    product: jax.Array
    layers: jax.Array  # an array, so that one compilation serves all depths

    @double
    def __init__(self, product, layers: float = 1.0):
        self.product = jnp.asarray(product, dtype=float)
        self.layers = jnp.asarray(check_layers(layers))
        if self.product.ndim != 3:
            raise ValueError(f"an array of shape {self.product.shape} has no tubes; pass three modes, or use Tucker or Train")

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Random orthogonal directions: every singular value of every frequency is `scale`."""
        left, _, right = jnp.linalg.svd(_frequencies(normal(as_key(key), tuple(shape))), full_matrices=False)
        return cls(_tubes(check_scale(scale) * left @ right, shape[2]), layers)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries; the largest singular value of any frequency is `scale`."""
        raw = cls(normal(as_key(key), tuple(shape)))
        return cls(raw.product * (check_scale(scale) / jnp.max(raw.spectrum())), layers)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.product.shape

    @double
    def full(self) -> jax.Array:
        return self.product

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.product[indices[:, 0], indices[:, 1], indices[:, 2]]

    @double
    def spectrum(self) -> jax.Array:
        """Singular values of every frequency, conjugate ones twice, shape ``(d_3 min(d_1, d_2),)``."""
        return _spectrum(self.product)

    @double
    def velocity(self, gradient: Self) -> Self:
        moved = chain_velocity(_frequencies(self.product), _frequencies(gradient.product), self.layers)
        return eqx.tree_at(lambda f: (f.product, f.layers), self, (_tubes(moved, self.shape[2]), jnp.zeros_like(self.layers)))

    @double
    def penalty(self) -> jax.Array:
        values = jnp.fft.fft(self.product, axis=2)
        return chain_penalty(jnp.moveaxis(values, 2, 0), self.layers) / self.shape[2]

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Share of the values of each tubal component ``U_r * S_r * V_r^T``, shape ``(n, min(d_1, d_2))``."""
        return jax.vmap(lambda part: part[indices[:, 0], indices[:, 1], indices[:, 2]])(_parts(self.product)).T

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components, shape ``(min(d_1, d_2),)``."""
        return jnp.sqrt(jnp.sum(_parts(self.product) ** 2, axis=(1, 2, 3)))


class DeepTubal(AbstractFactorization):
    """Deep tubal factorization with every factor explicit; ``factors[0]`` acts first: ``X = factors[-1] * ... * factors[0]``.

    >>> start = DeepTubal.balanced((4, 3, 5), layers=3, scale=0.1, key=0)
    >>> [f.shape for f in start.factors], start.collapse().product.shape
    ([(3, 3, 5), (3, 3, 5), (4, 3, 5)], (4, 3, 5))
    """

    factors: tuple[jax.Array, ...]

    @double
    def __init__(self, factors: Sequence):
        self.factors = tuple(jnp.asarray(f, dtype=float) for f in factors)
        shapes = [f.shape for f in self.factors]
        chained = all(len(s) == 3 and s[2] == shapes[0][2] for s in shapes)
        if not shapes or not chained or any(b[1] != a[0] for a, b in itertools.pairwise(shapes)):
            raise ValueError(f"factors of shapes {shapes} do not chain; pass (d_1, d_0, t), (d_2, d_1, t), ..., the first to act first")

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array) -> Self:
        """Balanced factors of ``Tubal.balanced`` under the same key."""
        return cls.from_tubal(Tubal.balanced(shape, layers=layers, scale=scale, key=key))

    @classmethod
    @double
    def from_tubal(cls, model: Tubal) -> Self:
        """Balanced factors that build a tensor, frequency by frequency."""
        chain = balanced_chain(_frequencies(model.product), whole_layers(float(model.layers)))
        return cls([_tubes(a, model.shape[2]) for a in chain])

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries in every factor, not balanced; the largest singular value of any frequency is `scale`."""
        count, (m, n, t) = whole_layers(layers), shape
        raw = cls([jnp.moveaxis(a, 0, 2) for a in gaussian_chain((t, m, n), count, as_key(key))])
        factor = (check_scale(scale) / jnp.max(raw.spectrum())) ** (1 / count)
        return jax.tree.map(lambda x: x * factor, raw)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.factors[-1].shape[0], self.factors[0].shape[1], self.factors[0].shape[2]

    @double
    def full(self) -> jax.Array:
        return _tubes(multiplied([_frequencies(f) for f in self.factors]), self.shape[2])

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.full()[indices[:, 0], indices[:, 1], indices[:, 2]]

    @double
    def spectrum(self) -> jax.Array:
        """Singular values of every frequency of the product, conjugate ones twice."""
        return _spectrum(self.full())

    @double
    def velocity(self, gradient: Self) -> Self:
        return steepest(gradient)

    @double
    def penalty(self) -> jax.Array:
        return half_square(self)

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Share of the values of each tubal component, shape ``(n, min(d_1, d_2))``."""
        return Tubal(self.full()).contributions(indices)

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components."""
        return Tubal(self.full()).part_norms()

    @double
    def layer_norms(self) -> jax.Array:
        """Frobenius norm of each factor, shape ``(L,)``."""
        return jnp.stack([jnp.sqrt(jnp.sum(f**2)) for f in self.factors])

    @double
    def imbalance(self) -> list[jax.Array]:
        """``A_{j+1}^T * A_{j+1} - A_j * A_j^T`` for each pair; the flow conserves it."""
        return [_tubes(gap, self.shape[2]) for gap in chain_gaps([_frequencies(f) for f in self.factors])]

    @double
    def collapse(self, *, tolerance: float = 1e-6) -> Tubal:
        """The `Tubal` that flows as these factors do; raises ValueError with the relative imbalance above `tolerance`."""
        size = jnp.max(self.layer_norms()) ** 2
        gaps = {
            f"factors {j} and {j + 1}": jnp.sqrt(jnp.sum(gap**2)) / jnp.where(size > 0, size, 1.0) for j, gap in enumerate(self.imbalance())
        }
        same = balanced_enough(self, gaps, tolerance, "start from DeepTubal.balanced(...), or keep the factors explicit")
        return Tubal(same.full(), len(self.factors))


def _frequencies(tensor: jax.Array) -> jax.Array:
    """``(d_1, d_2, d_3)`` to one complex matrix a frequency, the conjugate ones left out, ``(d_3 // 2 + 1, d_1, d_2)``."""
    return jnp.moveaxis(jnp.fft.rfft(tensor, axis=2), 2, 0)


def _tubes(matrices: jax.Array, length: int) -> jax.Array:
    return jnp.fft.irfft(jnp.moveaxis(matrices, 0, 2), n=length, axis=2)


def _spectrum(tensor: jax.Array) -> jax.Array:
    return jnp.ravel(jnp.linalg.svd(jnp.moveaxis(jnp.fft.fft(tensor, axis=2), 2, 0), compute_uv=False))


def _parts(tensor: jax.Array) -> jax.Array:
    """The tubal components, stacked: those of the largest singular values of all frequencies, the next, ..."""
    left, s, right = jnp.linalg.svd(_frequencies(tensor), full_matrices=False)
    ones = jnp.einsum("fir,fr,frj->rfij", left, s, right)
    return jax.vmap(lambda part: _tubes(part, tensor.shape[2]))(ones)
