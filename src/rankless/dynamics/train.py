"""Tensor train and deep tensor train: cores in a row, and a chain of factors on each bond between two.

``T[i_1, ..., i_N] = G_1[i_1] B_1 G_2[i_2] B_2 ... G_N[i_N]`` with ``B_n = A_L ... A_1``. A core is not a chain, and stays as it is; only
the bond matrices collapse. The flow conserves ``A_L A_L^T`` less the Gram matrix of the core before, and ``A_1^T A_1`` less that of
the core behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import as_key, double
from rankless.dynamics._once import normal
from rankless.dynamics.deepened import Deepened, Ends, Layered, orthonormal, scaled_to
from rankless.dynamics.factorization import check_layers, check_scale


class Train(Deepened):
    """Collapsed deep tensor train: cores ``(r_{n-1}, d_n, r_n)`` with ``r_0 = r_N = 1``, bonds ``(r_n, r_n)`` for `layers` each.

    >>> start = Train.balanced((4, 5, 6), ranks=(3, 2), layers=2.0, scale=0.1, key=0)
    >>> start.full().shape, [b.shape for b in start.bonds]
    ((4, 5, 6), [(3, 3), (2, 2)])
    """

    cores: tuple[jax.Array, ...]
    bonds: tuple[jax.Array, ...]
    layers: jax.Array

    @double
    def __init__(self, cores: Sequence, bonds: Sequence, layers: float = 1.0):
        self.cores = tuple(jnp.asarray(g, dtype=float) for g in cores)
        self.bonds = tuple(jnp.asarray(b, dtype=float) for b in bonds)
        self.layers = jnp.asarray(check_layers(layers))
        shapes, between = [g.shape for g in self.cores], [b.shape for b in self.bonds]
        fits = len(shapes) >= 2 and all(len(s) == 3 for s in shapes) and shapes[0][0] == shapes[-1][2] == 1
        if not fits or between != [(a[2], b[0]) for a, b in itertools.pairwise(shapes)]:
            raise ValueError(
                f"cores of shapes {shapes} and bonds of shapes {between} do not make a train; "
                "pass (r, d, r') cores from r = 1 to r' = 1, and an (r', r) bond between each two"
            )

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, ranks: Sequence[int], layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Orthogonal bonds, and cores with orthogonal rows as large as their layers on both sides: nothing is imbalanced.

        The largest singular value of a bond is `scale`. Raises ValueError for ranks that leave no room for that.
        """
        sizes = _sizes(shape, ranks)
        for n, (a, d, b) in enumerate(sizes):
            if not (0 < a <= d * b and 0 < b <= d * a):
                raise ValueError(
                    f"ranks={tuple(ranks)} have no balanced core at mode {n} of shape {tuple(shape)}; "
                    "take each at most the mode times the rank beside it, or use gaussian(...)"
                )
        keys = jax.random.split(as_key(key), (len(shape), 2))
        root = check_scale(scale) ** (1 / layers) * np.sqrt(min(ranks))  # norm of every core
        cores = [root * evened_core(normal(k[0], size)) for k, size in zip(keys, sizes, strict=True)]
        bonds = [(root / np.sqrt(r)) ** layers * orthonormal((r, r), k[1]) for r, k in zip(ranks, keys[:-1], strict=True)]
        return cls(cores, bonds, layers)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, ranks: Sequence[int], layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries; the largest singular value of a bond is `scale`, of a core's rows ``scale^(1/L)``."""
        keys = jax.random.split(as_key(key), (len(shape), 2))
        size = check_scale(scale) ** (1 / layers)
        raw = [normal(k[0], s) for k, s in zip(keys, _sizes(shape, ranks), strict=True)]
        cores = [g * (size / jnp.linalg.norm(g.reshape(-1, g.shape[2]), ord=2)) for g in raw]
        return cls(cores, [scaled_to(normal(k[1], (r, r)), scale) for r, k in zip(ranks, keys[:-1], strict=True)], layers)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(g.shape[1] for g in self.cores)

    @property
    def blocks(self) -> tuple[jax.Array, ...]:
        return self.bonds

    @double
    def full(self) -> jax.Array:
        out = self.cores[0][0]
        for bond, core in zip(self.bonds, self.cores[1:], strict=True):
            out = jnp.tensordot(out @ bond, core, axes=1)
        return out[..., 0]

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        out = self.cores[0][0, indices[:, 0]]  # (n, r)
        for n, (bond, core) in enumerate(zip(self.bonds, self.cores[1:], strict=True), 1):
            out = jnp.einsum("za,azb->zb", out @ bond, core[:, indices[:, n]])
        return out[:, 0]

    @double
    def square_norm(self) -> jax.Array:
        gram = jnp.einsum("xia,xib->ab", self.cores[0], self.cores[0])
        for bond, core in zip(self.bonds, self.cores[1:], strict=True):
            gram = jnp.einsum("ab,aic,bid->cd", bond.T @ gram @ bond, core, core)
        return gram[0, 0]

    @double
    def junctions(self, ends: Ends) -> list[jax.Array]:
        """For each bond ``A_L A_L^T`` less the Gram matrix of the core before it, and ``A_1^T A_1`` less that of the core behind it."""
        before = [last - jnp.einsum("xia,xib->ab", core, core) for (_, last), core in zip(ends, self.cores, strict=False)]
        behind = [first - jnp.einsum("aix,bix->ab", core, core) for (first, _), core in zip(ends, self.cores[1:], strict=True)]
        return before + behind


class DeepTrain(Layered):
    """Deep tensor train with every layer of its bonds explicit.

    >>> start = DeepTrain.balanced((4, 5, 6), ranks=(3, 2), layers=3, scale=0.1, key=0)
    >>> [len(chain) for chain in start.chains], float(start.collapse().layers)
    ([3, 3], 3.0)
    """

    kind: ClassVar[type[Deepened]] = Train


def _sizes(shape: Sequence[int], ranks: Sequence[int]) -> list[tuple[int, int, int]]:
    if len(ranks) != len(shape) - 1:
        raise ValueError(f"ranks={tuple(ranks)} do not fit shape {tuple(shape)}; pass one rank for each of the {len(shape) - 1} bonds")
    return list(zip((1, *ranks), shape, (*ranks, 1), strict=True))


def evened_core(core: jax.Array) -> jax.Array:
    """A core near `core` with orthogonal rows of one norm on both bonds; unit norm."""

    def once(_, g):
        a, d, b = g.shape
        for flat in ((a, d * b), (a * d, b)):
            left, _, right = jnp.linalg.svd(g.reshape(flat), full_matrices=False)
            g = (left @ right).reshape(a, d, b)
        return g / jnp.linalg.norm(jnp.ravel(g))

    return jax.lax.fori_loop(0, 200, once, core)
