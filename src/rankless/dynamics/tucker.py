"""Tucker and deep Tucker: a core, and one chain of factors a mode [hariz2024].

``T = G x_1 U^1 ... x_N U^N`` with ``U^n = A_L ... A_1``. The flow conserves ``A_1^T A_1 - G_(n) G_(n)^T``, so the singular values of the
factors tell the multilinear rank, and slices of the core obey ``g' = delta / g``.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import as_key, double
from rankless.dynamics._once import normal
from rankless.dynamics.deepened import Deepened, Ends, Layered, evened, orthonormal, scaled_to
from rankless.dynamics.factorization import check_layers, check_scale, safe_norm


class Tucker(Deepened):
    """Collapsed deep Tucker: a core ``(r_1, ..., r_N)``, and factors ``(d_n, r_n)`` that stand for `layers` each.

    >>> start = Tucker.balanced((4, 5, 6), ranks=(2, 3, 2), layers=2.5, scale=0.1, key=0)
    >>> start.full().shape, float(start.spectrum().max().round(6))
    ((4, 5, 6), 0.1)
    """

    core: jax.Array
    factors: tuple[jax.Array, ...]
    layers: jax.Array

    @double
    def __init__(self, core, factors: Sequence, layers: float = 1.0):
        self.core = jnp.asarray(core, dtype=float)
        self.factors = tuple(jnp.asarray(f, dtype=float) for f in factors)
        self.layers = jnp.asarray(check_layers(layers))
        shapes = [f.shape for f in self.factors]
        if any(len(s) != 2 for s in shapes) or tuple(s[1] for s in shapes) != self.core.shape:
            raise ValueError(
                f"a core of shape {self.core.shape} and factors of shapes {shapes} do not fit; pass a (size, rank) factor a mode"
            )

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, ranks: Sequence[int], layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Orthogonal factors, and a core whose unfoldings have orthogonal rows as large as their layers: nothing is imbalanced.

        The largest singular value of a factor is `scale`. Raises ValueError for ranks that leave no room for that.
        """
        for d, r in zip(shape, ranks, strict=True):
            if not 0 < r <= min(d, int(np.prod(ranks)) // r):
                raise ValueError(
                    f"ranks={tuple(ranks)} have no balanced core in shape {tuple(shape)}; take each at most its mode and the "
                    "product of the others, or use gaussian(...)"
                )
        keys = jax.random.split(as_key(key), len(shape) + 1)
        core = evened(normal(keys[0], tuple(ranks)))
        root = check_scale(scale) ** (1 / layers) * np.sqrt(min(ranks))  # norm of the core
        factors = [(root / np.sqrt(r)) ** layers * orthonormal((d, r), k) for d, r, k in zip(shape, ranks, keys[1:], strict=True)]
        return cls(root * core, factors, layers)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, ranks: Sequence[int], layers: float = 1.0, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries; the largest singular value of a factor is `scale`, of the core's first unfolding ``scale^(1/L)``."""
        keys = jax.random.split(as_key(key), len(shape) + 1)
        core = normal(keys[0], tuple(ranks))
        core = core * (check_scale(scale) ** (1 / layers) / jnp.linalg.norm(core.reshape(ranks[0], -1), ord=2))
        return cls(core, [scaled_to(normal(k, (d, r)), scale) for d, r, k in zip(shape, ranks, keys[1:], strict=True)], layers)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(f.shape[0] for f in self.factors)

    @property
    def blocks(self) -> tuple[jax.Array, ...]:
        return self.factors

    @double
    def full(self) -> jax.Array:
        return _through(self.core, self.factors)

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        letters = string.ascii_lowercase[: len(self.factors)]
        rows = [f[indices[:, n]] for n, f in enumerate(self.factors)]
        return jnp.einsum(f"{letters},{','.join('z' + c for c in letters)}->z", self.core, *rows, optimize="greedy")

    @double
    def square_norm(self) -> jax.Array:
        return jnp.sum(self.core * _through(self.core, [f.T @ f for f in self.factors]))

    @double
    def core_slices(self) -> jax.Array:
        """Frobenius norm of every slice of the core, mode after mode, shape ``(r_1 + ... + r_N,)``."""
        return jnp.concatenate([safe_norm(rows, axis=1) for rows in _unfoldings(self.core)])

    @double
    def junctions(self, ends: Ends) -> list[jax.Array]:
        """``A_1^T A_1 - G_(n) G_(n)^T`` for each mode."""
        return [first - rows @ rows.T for (first, _), rows in zip(ends, _unfoldings(self.core), strict=True)]


class DeepTucker(Layered):
    """Deep Tucker with every layer explicit.

    >>> start = DeepTucker.balanced((4, 5, 6), ranks=(2, 3, 2), layers=2, scale=0.1, key=0)
    >>> [[a.shape for a in chain] for chain in start.chains][0], float(start.collapse().layers)
    ([(2, 2), (4, 2)], 2.0)
    """

    kind: ClassVar[type[Deepened]] = Tucker


def _through(core: jax.Array, factors: Sequence[jax.Array]) -> jax.Array:
    for n, factor in enumerate(factors):
        core = jnp.moveaxis(jnp.tensordot(factor, core, axes=(1, n)), 0, n)
    return core


def _unfoldings(core: jax.Array) -> list[jax.Array]:
    return [jnp.moveaxis(core, n, 0).reshape(core.shape[n], -1) for n in range(core.ndim)]
