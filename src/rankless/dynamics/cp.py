"""CP and deep CP: `CP` holds the end-to-end vectors only, `DeepCP` every layer.

``T = sum_r  u_r^1 (x) ... (x) u_r^N`` with ``u_r^n = A_k ... A_1 w_r^n``. Where the layers of every
vector are strictly balanced, ``A_{i+1}^T A_{i+1} = A_i A_i^T``, they are of rank one and aligned, and
the flow of all of them is a flow of the ``u`` alone [arora2018, theorem 1]:

    u' = - |u|^(2k/(k+1)) ( g + k (u u^T / |u|^2) g ),        g = dL/du
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.depth import check_depth, mobility, vector_penalty
from rankless.dynamics._double import as_key, double
from rankless.dynamics._once import normal
from rankless.dynamics.factorization import AbstractFactorization, balanced_enough, check_scale, half_square, safe_norm, steepest
from rankless.tensors.cp_tensor import CPTensor


class CP(AbstractFactorization):
    """Collapsed deep CP of any real depth: one ``(d_n, R)`` factor a mode, and the metric of depth.

    >>> start = CP.balanced((4, 5, 6), components=3, depth=1.5, scale=0.1, key=0)
    >>> start.full().shape, [round(s, 6) for s in start.spectrum().tolist()]
    ((4, 5, 6), [0.1, 0.1, 0.1])
    """

    factors: tuple[jax.Array, ...]
    depth: jax.Array  # an array, so that one compilation serves all depths

    @double
    def __init__(self, factors: Sequence, depth: float = 0.0):
        self.factors = tuple(jnp.asarray(f, dtype=float) for f in factors)
        self.depth = jnp.asarray(check_depth(depth))
        shapes = [f.shape for f in self.factors]
        if not shapes or any(len(s) != 2 for s in shapes) or len({s[1] for s in shapes}) != 1:
            raise ValueError(f"factors of shapes {shapes} do not make a CP; pass one (size, components) array a mode")

    # --- starts -------------------------------------------------------------------------------

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, components: int, depth: float = 0.0, scale: float, key: int | jax.Array) -> Self:
        """Random directions; every component has norm `scale`, spread evenly over its modes."""
        factors = _gaussians(shape, components, key)
        length = check_scale(scale) ** (1 / len(shape))
        return cls([length * f / jnp.linalg.norm(f, axis=0) for f in factors], depth)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, components: int, depth: float = 0.0, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries, so modes are not balanced; the largest component has norm `scale`."""
        factors = _gaussians(shape, components, key)
        largest = jnp.max(_component_norms(factors))
        return cls([f * (check_scale(scale) / largest) ** (1 / len(shape)) for f in factors], depth)

    @classmethod
    @double
    def identity(cls, shape: Sequence[int], *, components: int | None = None, depth: float = 0.0, scale: float) -> Self:
        """Superdiagonal: component `r` is ``scale e_r (x) ... (x) e_r``; at most ``min(shape)`` components."""
        components = min(shape) if components is None else components
        if not 0 < components <= min(shape):
            raise ValueError(f"components={components} do not fit on the diagonal of shape {tuple(shape)}; pass 1 to {min(shape)}")
        return cls([check_scale(scale) ** (1 / len(shape)) * jnp.eye(d, components) for d in shape], depth)

    @classmethod
    @double
    def from_cp_tensor(cls, model: CPTensor, *, depth: float = 0.0) -> Self:
        """The same factors, ready to flow."""
        return cls(model.factors, depth)

    @double
    def to_cp_tensor(self) -> CPTensor:
        """The factors as a `CPTensor`."""
        return CPTensor([np.asarray(f) for f in self.factors])

    # --- the factorization --------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(f.shape[0] for f in self.factors)

    @double
    def full(self) -> jax.Array:
        half = (len(self.factors) + 1) // 2  # two Khatri-Rao products and one matrix product: the work is BLAS's
        return (_khatri_rao(self.factors[:half]) @ _khatri_rao(self.factors[half:]).T).reshape(self.shape)

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Each component's share of the values at `indices` ``(n, order)``, shape ``(n, R)``."""
        share = self.factors[0][indices[:, 0]]
        for n in range(1, len(self.factors)):
            share = share * self.factors[n][indices[:, n]]
        return share

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components, shape ``(R,)``: the spectrum."""
        return _component_norms(self.factors)

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.contributions(indices).sum(axis=1)

    @double
    def spectrum(self) -> jax.Array:
        return _component_norms(self.factors)

    @double
    def velocity(self, gradient: Self) -> Self:
        def move(u, g):
            norm = safe_norm(u, axis=0)
            radial = u * (jnp.sum(u * g, axis=0) / jnp.where(norm > 0, norm, 1.0) ** 2)
            return -mobility(norm, self.depth) * (g + self.depth * radial)

        moved = tuple(move(u, g) for u, g in zip(self.factors, gradient.factors, strict=True))
        return eqx.tree_at(lambda f: (f.factors, f.depth), self, (moved, jnp.zeros_like(self.depth)))

    @double
    def penalty(self) -> jax.Array:
        return sum((jnp.sum(vector_penalty(safe_norm(u, axis=0), self.depth)) for u in self.factors), start=jnp.zeros(()))

    # --- what the layers would be -------------------------------------------------------------

    @double
    def layer_norms(self) -> jax.Array:
        """Norm of each of the balanced layers, ``|u_r^n|^(1/(k+1))``, shape ``(N, 1, R)``."""
        return jnp.stack([safe_norm(u, axis=0) ** (1 / (self.depth + 1)) for u in self.factors])[:, None, :]

    @double
    def last_layer_norms(self) -> jax.Array:
        """``||(x)_n w_r^n||``, shape ``(R,)``."""
        return jnp.prod(self.layer_norms()[:, 0, :], axis=0)


class DeepCP(AbstractFactorization):
    """Deep CP with every layer explicit, balanced or not; the depth is a whole number.

    `vectors` holds ``w``, shape ``(R, d_n)`` a mode; `layers` holds ``A_1 ... A_k``, shape
    ``(k, R, d_n, d_n)`` a mode.

    >>> start = DeepCP.balanced((4, 5), components=3, depth=2, scale=0.1, key=0)
    >>> [a.shape for a in start.layers], float(start.collapse().depth)
    ([(2, 3, 4, 4), (2, 3, 5, 5)], 2.0)
    """

    vectors: tuple[jax.Array, ...]
    layers: tuple[jax.Array, ...]

    @double
    def __init__(self, vectors: Sequence, layers: Sequence):
        self.vectors = tuple(jnp.asarray(w, dtype=float) for w in vectors)
        self.layers = tuple(jnp.asarray(a, dtype=float) for a in layers)
        fits = len(self.vectors) == len(self.layers) > 0 and all(
            w.ndim == 2 and a.ndim == 4 and a.shape[1:] == (*w.shape, w.shape[1]) for w, a in zip(self.vectors, self.layers, strict=True)
        )
        if not fits or len({(a.shape[0], a.shape[1]) for a in self.layers}) != 1:
            shapes = [w.shape for w in self.vectors], [a.shape for a in self.layers]
            raise ValueError(f"vectors and layers of shapes {shapes} do not fit; pass (R, d) and (k, R, d, d) arrays, a pair for each mode")

    # --- starts -------------------------------------------------------------------------------

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, components: int, depth: int, scale: float, key: int | jax.Array) -> Self:
        """Strictly balanced layers with the end-to-end vectors of ``CP.balanced`` under the same key."""
        return cls.from_cp(CP.balanced(shape, components=components, depth=depth, scale=scale, key=key), key=key)

    @classmethod
    @double
    def from_cp(cls, model: CP, *, key: int | jax.Array) -> Self:
        """Strictly balanced layers that build the vectors of `model`, hidden directions random.

        With unit directions ``v_0 ... v_(k-1)`` and ``v_k = u/|u|``: ``w = c v_0``,
        ``A_i = c v_i v_(i-1)^T``, ``c = |u|^(1/(k+1))``.
        """
        depth = _whole_depth(float(model.depth))
        vectors, layers = [], []
        for n, u in enumerate(model.factors):
            norm = jnp.linalg.norm(u, axis=0)
            hidden = normal(jax.random.fold_in(as_key(key), n), (depth, *u.T.shape))
            v = jnp.concatenate([hidden, u.T[None]])  # (k+1, R, d)
            v = v / jnp.where(norm > 0, jnp.linalg.norm(v, axis=2), 1.0)[..., None]
            c = (norm ** (1 / (depth + 1)))[:, None]
            vectors.append(c * v[0])
            layers.append(c[..., None] * jnp.einsum("kri,krj->krij", v[1:], v[:-1]))
        return cls(vectors, layers)

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, components: int, depth: int, scale: float, key: int | jax.Array) -> Self:
        """Independent normal entries in every layer: nothing is balanced; the largest component has norm `scale`."""
        keys = jax.random.split(as_key(key), (len(shape), 2))
        vectors = [normal(keys[n, 0], (components, d)) for n, d in enumerate(shape)]
        layers = [normal(keys[n, 1], (_whole_depth(depth), components, d, d)) for n, d in enumerate(shape)]
        return cls(vectors, layers)._scaled_to(scale)

    @classmethod
    @double
    def identity(cls, shape: Sequence[int], *, components: int, depth: int, scale: float, key: int | jax.Array) -> Self:
        """Layers are multiples of the identity under random vectors; equal Frobenius norms, largest component `scale`."""
        vectors = [f.T for f in CP.balanced(shape, components=components, scale=1.0, key=key).factors]
        layers = [jnp.broadcast_to(jnp.eye(d), (_whole_depth(depth), components, d, d)) for d in shape]
        return cls(vectors, layers).equalised()._scaled_to(scale)

    def _scaled_to(self, scale: float) -> Self:
        layers = len(self.vectors) * (1 + self.layers[0].shape[0])
        return jax.tree.map(lambda x: x * (check_scale(scale) / jnp.max(self.spectrum())) ** (1 / layers), self)

    @double
    def equalised(self) -> Self:
        """The same tensor with all layers of a component at one Frobenius norm: what the laws of the paper ask for."""
        norms = self.layer_norms()  # (N, k+1, R)
        even = jnp.exp(jnp.mean(jnp.log(norms), axis=(0, 1)))
        factor = even / norms
        # modes trade norms too, so the product over all layers of all modes is what stays
        vectors = tuple(w * factor[n, 0][:, None] for n, w in enumerate(self.vectors))
        layers = tuple(a * factor[n, 1:][..., None, None] for n, a in enumerate(self.layers))
        return eqx.tree_at(lambda f: (f.vectors, f.layers), self, (vectors, layers))

    # --- the factorization --------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(w.shape[1] for w in self.vectors)

    @property
    def depth(self) -> int:
        return self.layers[0].shape[0]

    @double
    def end_to_end(self) -> CP:
        """The tensor's vectors ``u``, as a `CP` of the same depth, balanced or not."""
        return CP([_through(w, a).T for w, a in zip(self.vectors, self.layers, strict=True)], self.depth)

    @double
    def full(self) -> jax.Array:
        return self.end_to_end().full()

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Each component's share of the values at `indices` ``(n, order)``, shape ``(n, R)``."""
        return self.end_to_end().contributions(indices)

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components, shape ``(R,)``: the spectrum."""
        return self.spectrum()

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        return self.end_to_end().at(indices)

    @double
    def spectrum(self) -> jax.Array:
        return self.end_to_end().spectrum()

    @double
    def velocity(self, gradient: Self) -> Self:
        return steepest(gradient)

    @double
    def penalty(self) -> jax.Array:
        return half_square(self)

    # --- layers -------------------------------------------------------------------------------

    @double
    def layer_norms(self) -> jax.Array:
        """Frobenius norms of ``w, A_1 ... A_k``, shape ``(N, k+1, R)``."""
        pairs = zip(self.vectors, self.layers, strict=True)
        return jnp.stack([jnp.concatenate([safe_norm(w, axis=1)[None], safe_norm(a, axis=(2, 3))]) for w, a in pairs])

    @double
    def last_layer_norms(self) -> jax.Array:
        """``||(x)_n w_r^n||``, shape ``(R,)``."""
        return jnp.prod(self.layer_norms()[:, 0, :], axis=0)

    @double
    def imbalance(self) -> list[jax.Array]:
        """``A_{i+1}^T A_{i+1} - A_i A_i^T`` for each mode, shape ``(k, R, d, d)``; the flow conserves it."""
        out = []
        for w, a in zip(self.vectors, self.layers, strict=True):
            below = jnp.concatenate([w[None, :, :, None] * w[None, :, None, :], a @ jnp.swapaxes(a, 2, 3)])
            out.append(jnp.swapaxes(a, 2, 3) @ a - below[:-1])
        return out

    @double
    def collapse(self, *, tolerance: float = 1e-6) -> CP:
        """The `CP` that flows as these layers do.

        Raises ValueError with the measured imbalance, relative to the squared layer norms, where it
        exceeds `tolerance`: layers that are not balanced follow another flow.
        """
        gaps = {}
        for n, (gap, norms) in enumerate(zip(self.imbalance(), self.layer_norms(), strict=True)):
            size = jnp.max(norms**2, axis=0)
            gaps[f"the layers of mode {n}"] = jnp.max(safe_norm(gap, axis=(2, 3)) / jnp.where(size > 0, size, 1.0), initial=0.0)
        mend = "start from DeepCP.balanced(...), or keep the layers explicit"
        return balanced_enough(self, gaps, tolerance, mend).end_to_end()


def _gaussians(shape: Sequence[int], components: int, key: int | jax.Array) -> list[jax.Array]:
    keys = jax.random.split(as_key(key), len(shape))
    return [normal(k, (d, components)) for k, d in zip(keys, shape, strict=True)]


def _component_norms(factors: Sequence[jax.Array]) -> jax.Array:
    return jnp.prod(jnp.stack([safe_norm(u, axis=0) for u in factors]), axis=0)


def _khatri_rao(factors: Sequence[jax.Array]) -> jax.Array:
    product = factors[0]
    for factor in factors[1:]:
        product = (product[:, None, :] * factor[None, :, :]).reshape(-1, factor.shape[1])
    return product


def _through(w: jax.Array, layers: jax.Array) -> jax.Array:
    u = w
    for a in layers:
        u = jnp.einsum("rij,rj->ri", a, u)
    return u


def _whole_depth(depth: float) -> int:
    if check_depth(depth) != int(depth):
        raise ValueError(f"depth={depth!r} is not a whole number of layers; pass an integer, or use CP for a real depth")
    return int(depth)
