"""Collapse beyond strict balance: aligned layers of rank one whose norms differ.

Layers ``w = c_0 v_0``, ``A_i = c_i v_i v_{i-1}^T`` stay of rank one and aligned whatever their norms: the flow conserves
``A_{i+1}^T A_{i+1} - A_i A_i^T = (c_{i+1}^2 - c_i^2) v_i v_i^T``, so every ``b_j = c_j^2 - c_k^2`` is constant. With ``z = c_k^2`` the
norms are those of

    prod_j (z + b_j) = |u|^2,        c_j^2 = z + b_j,

and the end-to-end vector, ``u = c_0 ... c_k v_k``, moves alone:

    u' = - [ prod_{j<k} c_j^2 g + (sum_{i<k} prod_{j != i} c_j^2) (u u^T / |u|^2) g ],        g = dL/du.

Equal norms, all ``b_j = 0``, give back the metric of `CP`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import as_key, double
from rankless.dynamics._once import normal
from rankless.dynamics.cp import CP, DeepCP
from rankless.dynamics.factorization import AbstractFactorization, balanced_enough, safe_norm


class AlignedCP(AbstractFactorization):
    """Deep CP of aligned rank-one layers of unequal norms, by its end-to-end vectors and what the flow conserves.

    `factors` are ``(d_n, R)``; `offsets` has ``b_j = c_j^2 - c_k^2`` for the layers ``j = 0 ... k - 1`` below the last, ``(N, k, R)``.
    Without weight decay only: decay shrinks the offsets, and a problem that has it raises ValueError.

    >>> start = AlignedCP.random((4, 5), components=3, depth=2, scale=0.1, spread=0.5, key=0)
    >>> start.offsets.shape, bool(abs(start.layer_norms().prod(axis=(0, 1)) - 0.1).max() < 1e-12)
    ((2, 2, 3), True)
    """

    factors: tuple[jax.Array, ...]
    offsets: jax.Array

    @double
    def __init__(self, factors: Sequence, offsets):
        self.factors = CP(factors).factors
        self.offsets = jnp.asarray(offsets, dtype=float)
        rows = len(self.factors), self.factors[0].shape[1]
        if self.offsets.ndim != 3 or (self.offsets.shape[0], self.offsets.shape[2]) != rows:
            raise ValueError(f"offsets of shape {self.offsets.shape} do not fit {rows[0]} modes and {rows[1]} components; pass (N, k, R)")

    @classmethod
    @double
    def random(cls, shape: Sequence[int], *, components: int, depth: int, scale: float, spread: float, key: int | jax.Array) -> Self:
        """The directions of ``CP.balanced``, every component of norm `scale`; layer norms lognormal about equal ones, by `spread`."""
        model = CP.balanced(shape, components=components, depth=depth, scale=scale, key=key)
        draws = spread * normal(jax.random.fold_in(as_key(key), 1), (len(shape), depth + 1, components))
        squares = (model.layer_norms() * jnp.exp(draws - jnp.mean(draws, axis=1, keepdims=True))) ** 2
        return cls(model.factors, (squares - squares[:, -1:])[:, :-1])

    @classmethod
    @double
    def from_layers(cls, model: DeepCP, *, tolerance: float = 1e-6) -> Self:
        """The collapse of explicit layers; raises ValueError where they are not of rank one and aligned, to `tolerance`."""
        gaps, u = {}, list(model.vectors)
        for n, layers in enumerate(model.layers):
            for i, a in enumerate(layers):
                ahead = jnp.einsum("rij,rj->ri", a, u[n])
                whole = safe_norm(a, axis=(1, 2)) * safe_norm(u[n], axis=1)
                gaps[f"layer {i + 1} of mode {n} and those below it"] = 1 - jnp.min(
                    safe_norm(ahead, axis=1) / jnp.where(whole > 0, whole, 1.0)
                )
                u[n] = ahead
        mend = "collapse() asks for strict balance instead; or keep the layers explicit"
        squares = balanced_enough(model, gaps, tolerance, mend).layer_norms() ** 2
        return cls([x.T for x in u], (squares - squares[:, -1:])[:, :-1])

    @double
    def to_layers(self, *, key: int | jax.Array) -> DeepCP:
        """Explicit layers that flow as this does, hidden directions random."""
        equal = DeepCP.from_cp(CP(self.factors, self.offsets.shape[1]), key=key)
        ratio = self.layer_norms() / equal.layer_norms()
        vectors = [w * ratio[n, 0][:, None] for n, w in enumerate(equal.vectors)]
        return DeepCP(vectors, [a * ratio[n, 1:][..., None, None] for n, a in enumerate(equal.layers)])

    # --- the factorization --------------------------------------------------------------------

    def end_to_end(self) -> CP:
        """The same tensor, as a `CP` of equal norms."""
        return CP(self.factors, self.offsets.shape[1])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(f.shape[0] for f in self.factors)

    @double
    def full(self) -> jax.Array:
        return self.end_to_end().full()

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.end_to_end().at(indices)

    @double
    def spectrum(self) -> jax.Array:
        return self.end_to_end().spectrum()

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Each component's share of the values at `indices` ``(n, order)``, shape ``(n, R)``."""
        return self.end_to_end().contributions(indices)

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components: the spectrum."""
        return self.spectrum()

    @double
    def layer_norms(self) -> jax.Array:
        """Norm of each layer ``c_0 ... c_k``, shape ``(N, k+1, R)``."""
        lengths = jnp.stack([safe_norm(u, axis=0) for u in self.factors])
        return jnp.sqrt(_squares(lengths, self.offsets))

    @double
    def velocity(self, gradient: Self) -> Self:
        squares = self.layer_norms() ** 2

        def move(u, g, c):
            length = safe_norm(u, axis=0)
            radial = u * (jnp.sum(u * g, axis=0) / jnp.where(length > 0, length, 1.0) ** 2)
            others = _products_without_one(c, axis=0)
            return -(others[-1] * g + jnp.sum(others[:-1], axis=0) * radial)

        moved = tuple(move(u, g, c) for u, g, c in zip(self.factors, gradient.factors, squares, strict=True))
        return eqx.tree_at(lambda f: (f.factors, f.offsets), self, (moved, jnp.zeros_like(self.offsets)))

    def penalty(self) -> NoReturn:
        raise ValueError(
            "weight decay shrinks the differences between layers, which AlignedCP holds fixed; use DeepCP, or CP for balanced layers"
        )


def _squares(lengths: jax.Array, offsets: jax.Array) -> jax.Array:
    """``c_j^2``, ``(N, k+1, R)``: the root of ``prod_j (z + b_j) = |u|^2`` above which every square is positive."""
    b = jnp.concatenate([offsets, jnp.zeros_like(offsets[:, :1])], axis=1)
    e = b - jnp.min(b, axis=1, keepdims=True)  # then y = c^2 of the smallest layer solves prod (y + e_j) = |u|^2, convex and increasing
    target = lengths**2

    def newton(_, y):
        shifted = y[:, None, :] + e
        value = jnp.prod(shifted, axis=1)
        slope = jnp.sum(_products_without_one(shifted, axis=1), axis=1)
        return jnp.maximum(y - (value - target) / jnp.where(slope > 0, slope, 1.0), 0.0)

    above = target ** (1 / e.shape[1])  # Newton falls from above to the root of a convex function and never passes it
    return jax.lax.fori_loop(0, 60, newton, above)[:, None, :] + e


def _products_without_one(x: jax.Array, axis: int) -> jax.Array:
    """``prod_{j != i} x_j`` for every `i` along `axis`, without a division."""
    x = jnp.moveaxis(x, axis, 0)
    ones = jnp.ones_like(x[:1])
    before = jnp.concatenate([ones, jnp.cumprod(x[:-1], axis=0)])
    behind = jnp.concatenate([jnp.cumprod(x[:0:-1], axis=0)[::-1], ones])
    return jnp.moveaxis(before * behind, 0, axis)
