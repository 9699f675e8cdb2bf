"""Depth for any multilinear network: `Deepened` holds the end-to-end blocks, `Layered` every layer of each.

A network is a tensor that is linear in each of its *blocks*, matrices (or batches of them). Depth puts a chain of `L` factors in
the place of each block. Where the chains are balanced, the flow of all layers is a flow of the blocks alone: each moves by the metric of
`chains`, and every other array of the network against its gradient. So a new network is its arrays and what they multiply to;
both its collapsed and its explicit flow, their penalty, laws and probes come from here:

===================  =================================================  =====================================
network              blocks                                             plain arrays
===================  =================================================  =====================================
`Tucker`             one factor a mode                                  the core
`Train`              a bond matrix between two cores                    the cores
`Hierarchical`       the matrix of every node                           none
===================  =================================================  =====================================
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Self, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import as_key, double
from rankless.dynamics._once import normal, once
from rankless.dynamics.chains import (
    Chain,
    balanced_chain,
    chain_ends,
    chain_gaps,
    chain_penalty,
    chain_velocity,
    gaussian_chain,
    multiplied,
)
from rankless.dynamics.factorization import (
    AbstractFactorization,
    balanced_enough,
    check_scale,
    half_square,
    safe_norm,
    steepest,
    whole_layers,
)

Ends = Sequence[tuple[jax.Array, jax.Array]]


class Deepened(AbstractFactorization):
    """A multilinear network whose blocks are chains of `layers` balanced factors each, any real number >= 1, by their products.

    A subclass holds `layers` and its arrays, and says which of them are `blocks`, what they multiply to (`full`, `at`), the
    network's squared norm, and what meets at the ends of a block (`junctions`). ``layers = 1`` is the plain network.
    """

    layers: eqx.AbstractVar[jax.Array]  # an array, so that one compilation serves all depths

    @property
    @abc.abstractmethod
    def blocks(self) -> tuple[jax.Array, ...]:
        """The fields that are chains, each ``(..., m, n)``."""

    @abc.abstractmethod
    def square_norm(self) -> jax.Array:
        """Sum of squares of the whole tensor, without building it."""

    @abc.abstractmethod
    def junctions(self, ends: Ends) -> list[jax.Array]:
        """What the flow conserves where blocks meet other arrays: differences of their Gram matrices, or of the diagonals.

        `ends` has ``(A_1^T A_1, A_L A_L^T)`` for each block.
        """

    def replaced(self, blocks: Sequence[Any]) -> Self:
        """The network with other blocks."""
        return eqx.tree_at(lambda f: tuple(f.blocks), self, tuple(blocks), is_leaf=lambda x: x is None)

    @double
    def spectrum(self) -> jax.Array:
        """Singular values of every block, one block after the other, shape ``(R,)``."""
        return jnp.concatenate([jnp.ravel(jnp.linalg.svd(x, compute_uv=False)) for x in self.blocks])

    @double
    def velocity(self, gradient: Self) -> Self:
        moved = tuple(chain_velocity(x, g, self.layers) for x, g in zip(self.blocks, gradient.blocks, strict=True))
        rest = steepest(gradient)
        return eqx.tree_at(lambda f: (tuple(f.blocks), f.layers), rest, (moved, jnp.zeros_like(self.layers)))

    @double
    def penalty(self) -> jax.Array:
        chains = sum((chain_penalty(x, self.layers) for x in self.blocks), start=jnp.zeros(()))
        return chains + half_square(eqx.tree_at(lambda f: (tuple(f.blocks), f.layers), self, (tuple(0.0 * x for x in self.blocks), 0.0)))

    @double
    def imbalance(self) -> list[jax.Array]:
        """What the flow of all layers conserves, at the ends of the chains; inside them balance is taken for granted."""
        return self.junctions([chain_ends(x, self.layers) for x in self.blocks])

    # --- components: each singular component of each block ------------------------------------

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Share of the values at `indices` ``(n, order)`` of each singular component of each block, shape ``(n, R)``.

        Those of one block sum to the values.
        """
        return jnp.concatenate([jax.vmap(lambda part: part.at(indices))(parts).T for parts in self._parts()], axis=1)

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components, shape ``(R,)``."""
        return jnp.concatenate([jax.vmap(lambda part: jnp.sqrt(jnp.maximum(part.square_norm(), 0.0)))(parts) for parts in self._parts()])

    def _parts(self) -> list[Self]:
        """For each block, the networks with one singular component of it, stacked along a new first axis."""
        out = []
        for b, x in enumerate(self.blocks):
            left, s, right = jnp.linalg.svd(x, full_matrices=False)
            ones = jnp.einsum("...ir,...r,...rj->r...ij", left, s, right)
            whole = jax.tree.map(lambda leaf, n=ones.shape[0]: jnp.broadcast_to(leaf, (n, *leaf.shape)), self)
            out.append(eqx.tree_at(lambda f, b=b: f.blocks[b], whole, ones))
        return out


class Layered(AbstractFactorization):
    """A network with every layer of its blocks explicit, balanced or not.

    `chains` has the factors of each block, the first to act first; `network` the network without them. A subclass says which
    network it is of (`kind`), and that is all.
    """

    kind: ClassVar[type[Deepened]]
    network: Deepened
    chains: tuple[Chain, ...]

    @double
    def __init__(self, network: Deepened, chains: Sequence[Sequence]):
        self.chains = tuple(tuple(jnp.asarray(a, dtype=float) for a in chain) for chain in chains)
        counts = {len(chain) for chain in self.chains}
        blocks = network.blocks
        if len(counts) != 1 or len(self.chains) != len(blocks):
            raise ValueError(
                f"chains of {sorted(counts)} layers for {len(blocks)} blocks do not fit; pass one chain a block, all of one length"
            )
        for x, chain in zip(blocks, self.chains, strict=True):
            shapes = [a.shape for a in chain]
            fits = shapes[-1][-2] == x.shape[-2] and shapes[0][-1] == x.shape[-1] if x is not None else True
            if not fits or any(b[-1] != a[-2] for a, b in itertools.pairwise(shapes)):
                raise ValueError(f"layers of shapes {shapes} do not build a block of shape {x.shape}; pass the first to act first")
        self.network = eqx.tree_at(lambda f: f.layers, network.replaced([None] * len(blocks)), None, is_leaf=lambda x: x is None)

    @classmethod
    @double
    def from_network(cls, model: Deepened) -> Self:
        """Balanced layers of a collapsed network; its `layers` must be a whole number."""
        count = whole_layers(float(model.layers))
        return cls(model, [balanced_chain(x, count) for x in model.blocks])

    @classmethod
    @double
    def balanced(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array, **sizes: Any) -> Self:
        """Balanced layers of the network's own ``balanced`` start under the same key."""
        return cls.from_network(cast(Any, cls.kind).balanced(shape, layers=layers, scale=scale, key=key, **sizes))

    @classmethod
    @double
    def gaussian(cls, shape: Sequence[int], *, layers: int, scale: float, key: int | jax.Array, **sizes: Any) -> Self:
        """Independent normal entries in every layer, nothing balanced; each block's largest singular value is `scale`."""
        count, size = whole_layers(layers), check_scale(scale)
        model = cast(Any, cls.kind).gaussian(shape, layers=layers, scale=scale, key=key, **sizes)
        chains = []
        for b, x in enumerate(model.blocks):
            raw = gaussian_chain(x.shape, count, jax.random.fold_in(as_key(key), b + 1))
            top = jnp.max(jnp.linalg.svd(multiplied(raw), compute_uv=False))
            chains.append([a * (size / top) ** (1 / count) for a in raw])
        return cls(model, chains)

    # --- the factorization --------------------------------------------------------------------

    @double
    def end_to_end(self) -> Deepened:
        """The network of the chains' products, balanced or not."""
        count = jnp.asarray(float(len(self.chains[0])))
        hollow = eqx.tree_at(lambda f: f.layers, self.network, count, is_leaf=lambda x: x is None)
        return hollow.replaced([multiplied(chain) for chain in self.chains])

    @property
    def shape(self) -> tuple[int, ...]:
        return jax.eval_shape(Layered.end_to_end, self).shape

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
    def velocity(self, gradient: Self) -> Self:
        return steepest(gradient)

    @double
    def penalty(self) -> jax.Array:
        return half_square(self)

    @double
    def contributions(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Share of the values of each singular component of each block, shape ``(n, R)``."""
        return self.end_to_end().contributions(indices)

    @double
    def part_norms(self) -> jax.Array:
        """Norms of the whole of those components, shape ``(R,)``."""
        return self.end_to_end().part_norms()

    # --- layers -------------------------------------------------------------------------------

    @double
    def layer_norms(self) -> jax.Array:
        """Frobenius norm of each layer of each block, shape ``(blocks, L)``."""
        return jnp.stack([jnp.stack([jnp.sqrt(jnp.sum(a**2)) for a in chain]) for chain in self.chains])

    @double
    def imbalance(self) -> list[jax.Array]:
        """Inside the chains ``A_{j+1}^T A_{j+1} - A_j A_j^T``, then what meets at their ends; the flow conserves all of it."""
        inside = [gap for chain in self.chains for gap in chain_gaps(chain)]
        ends = [(jnp.swapaxes(c[0], -1, -2) @ c[0], c[-1] @ jnp.swapaxes(c[-1], -1, -2)) for c in self.chains]
        return inside + self.end_to_end().junctions(ends)

    @double
    def collapse(self, *, tolerance: float = 1e-6) -> Deepened:
        """The collapsed network that flows as these layers do; raises ValueError where a chain is not balanced.

        What meets at the ends of the chains may have any imbalance: the collapsed network conserves it too.
        """
        gaps = {}
        for b, (chain, norms) in enumerate(zip(self.chains, self.layer_norms(), strict=True)):
            size = jnp.max(norms) ** 2
            for j, gap in enumerate(chain_gaps(chain)):
                gaps[f"layers {j} and {j + 1} of block {b}"] = safe_norm(jnp.ravel(gap), axis=0) / jnp.where(size > 0, size, 1.0)
        return balanced_enough(
            self, gaps, tolerance, f"start from {type(self).__name__}.balanced(...), or keep the layers explicit"
        ).end_to_end()


@once
def evened(core: jax.Array) -> jax.Array:
    """A tensor near `core` whose unfoldings each have orthogonal rows of one norm, by polar factors in turn; unit norm."""

    def once(_, g):
        for n in range(g.ndim):
            rows = jnp.moveaxis(g, n, 0)
            left, _, right = jnp.linalg.svd(rows.reshape(rows.shape[0], -1), full_matrices=False)
            g = jnp.moveaxis((left @ right).reshape(rows.shape), 0, n)
        return g / jnp.linalg.norm(jnp.ravel(g))

    return jax.lax.fori_loop(0, 200, once, core)


def orthonormal(shape: tuple[int, int], key: jax.Array) -> jax.Array:
    """A random matrix with orthonormal columns, or rows where it is wide."""
    left, _, right = jnp.linalg.svd(normal(key, shape), full_matrices=False)
    return left @ right


def scaled_to(matrix: jax.Array, scale: float) -> jax.Array:
    """`matrix` with `scale` as its largest singular value."""
    return matrix * (check_scale(scale) / jnp.linalg.norm(matrix, ord=2))
