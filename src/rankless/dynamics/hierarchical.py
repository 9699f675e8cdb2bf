"""Hierarchical tensor factorization: a tree over the modes, a matrix at every node [razin2022].

A leaf of mode `n` holds ``(d_n, R)``; an inner node `v` multiplies its children's columns, index by index, and mixes the products by its
``(R, R')``; the root has one column. Row `r` of an inner matrix and the columns `r` of its children's are one *local component*, a
product of ``L_v = children + 1`` vectors. Where their norms are equal its norm grows as that of a component of order ``L_v``,

    sigma' = L_v delta sigma^(2 - 2/L_v),      delta = <-grad L, local component> / sigma,

and the differences of their squared norms are conserved. Deep, every matrix of the tree is a chain of layers.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import as_key, double
from rankless.dynamics._once import normal
from rankless.dynamics.deepened import Deepened, Ends, Layered, orthonormal, scaled_to
from rankless.dynamics.factorization import check_layers, check_scale, safe_norm

Tree = Any  # a mode, or a tuple of trees


class Hierarchical(Deepened):
    """Collapsed deep hierarchical factorization; `matrices` has one for each node, children before their parent, each for `layers`.

    `tree` nests the modes, such as ``((0, 1), (2, 3))``; by default halves of halves.

    >>> start = Hierarchical.balanced((4, 5, 6, 4), rank=3, layers=1.0, scale=0.1, key=0)
    >>> start.tree, start.full().shape, start.component_norms().shape
    (((0, 1), (2, 3)), (4, 5, 6, 4), (9,))
    """

    matrices: tuple[jax.Array, ...]
    layers: jax.Array
    tree: Tree = eqx.field(static=True)

    @double
    def __init__(self, matrices: Sequence, layers: float = 1.0, *, tree: Tree):
        self.matrices = tuple(jnp.asarray(m, dtype=float) for m in matrices)
        self.layers = jnp.asarray(check_layers(layers))
        self.tree = tree
        nodes, shapes = _nodes(tree), [m.shape for m in self.matrices]
        if sorted(n.mode for n in nodes if n.mode is not None) != list(range(sum(n.mode is not None for n in nodes))):
            raise ValueError(f"tree={tree!r} does not name every mode once; pass nested tuples such as ((0, 1), (2, 3))")
        fits = len(nodes) == len(shapes) and all(len(s) == 2 for s in shapes) and shapes[-1][1] == 1
        if not fits or any(shapes[c][1] != shapes[v][0] for v, node in enumerate(nodes) for c in node.children):
            raise ValueError(
                f"matrices of shapes {shapes} do not fit tree={tree!r}; pass (d, R) leaves and (R, R') inner nodes, children first"
            )

    @classmethod
    @double
    def balanced(
        cls, shape: Sequence[int], *, rank: int, tree: Tree = None, layers: float = 1.0, scale: float, key: int | jax.Array
    ) -> Self:
        """Orthogonal matrices, all rows and columns that meet equally long: nothing is imbalanced. The root's singular value is `scale`.

        Raises ValueError where `rank` is above a mode, where no such leaf exists.
        """
        if not 0 < rank <= min(shape):
            raise ValueError(f"rank={rank} has no balanced leaf in shape {tuple(shape)}; pass 1 to {min(shape)}, or use gaussian(...)")
        tree = halves(range(len(shape))) if tree is None else tree
        nodes = _nodes(tree)
        length = (check_scale(scale) ** (1 / layers) / np.sqrt(rank)) ** layers
        keys = jax.random.split(as_key(key), len(nodes))
        matrices = [length * orthonormal(_size(node, shape, rank), k) for node, k in zip(nodes[:-1], keys, strict=False)]
        signs = jnp.sign(normal(keys[-1], (rank, 1)))
        return cls([*matrices, scale * signs / np.sqrt(rank)], layers, tree=tree)

    @classmethod
    @double
    def gaussian(
        cls, shape: Sequence[int], *, rank: int, tree: Tree = None, layers: float = 1.0, scale: float, key: int | jax.Array
    ) -> Self:
        """Independent normal entries; the largest singular value of every matrix is `scale`."""
        tree = halves(range(len(shape))) if tree is None else tree
        nodes = _nodes(tree)
        keys = jax.random.split(as_key(key), len(nodes))
        sizes = [(*_size(node, shape, rank)[:1], 1 if v == len(nodes) - 1 else rank) for v, node in enumerate(nodes)]
        return cls([scaled_to(normal(k, s), scale) for k, s in zip(keys, sizes, strict=True)], layers, tree=tree)

    @property
    def shape(self) -> tuple[int, ...]:
        sizes = {node.mode: m.shape[0] for node, m in zip(_nodes(self.tree), self.matrices, strict=True) if node.mode is not None}
        return tuple(sizes[n] for n in range(len(sizes)))

    @property
    def blocks(self) -> tuple[jax.Array, ...]:
        return self.matrices

    @double
    def full(self) -> jax.Array:
        modes: list[int] = []

        def leaf(node: _Node, matrix: jax.Array) -> jax.Array:
            modes.append(node.mode)  # pyright: ignore[reportArgumentType]
            return matrix

        def inner(parts: list[jax.Array], matrix: jax.Array) -> jax.Array:
            product = parts[0]
            for part in parts[1:]:
                product = _outer(product, part)
            return product @ matrix

        found = self._folded(leaf, inner)
        return jnp.transpose(found[..., 0], np.argsort(modes).tolist())

    @double
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        def leaf(node: _Node, matrix: jax.Array) -> jax.Array:
            return matrix[indices[:, node.mode]]

        return self._folded(leaf, _mixed)[:, 0]

    @double
    def square_norm(self) -> jax.Array:
        def leaf(node: _Node, matrix: jax.Array) -> jax.Array:
            return matrix.T @ matrix

        def inner(parts: list[jax.Array], matrix: jax.Array) -> jax.Array:
            return matrix.T @ _product(parts) @ matrix

        return self._folded(leaf, inner)[0, 0]

    def nodes(self) -> list[_Node]:
        """The nodes of the tree, in the order of `matrices`: `mode` of a leaf, None for an inner one, and places of `children`."""
        return _nodes(self.tree)

    def _folded(self, leaf, inner) -> jax.Array:
        """The value of the root, each node's made from its children's."""
        values: list[jax.Array] = []
        for node, matrix in zip(_nodes(self.tree), self.matrices, strict=True):
            values.append(leaf(node, matrix) if node.mode is not None else inner([values[c] for c in node.children], matrix))
        return values[-1]

    @double
    def component_norms(self) -> jax.Array:
        """Norm ``sigma`` of every local component, inner node after inner node, ``(R + ... + R,)``."""
        return jnp.concatenate([jnp.prod(norms, axis=0) for norms in self.component_factors()])

    @double
    def component_factors(self) -> list[jax.Array]:
        """For each inner node the norms of the ``L_v`` vectors of its local components, its own rows first, ``(L_v, R)``."""
        out = []
        for node, matrix in zip(_nodes(self.tree), self.matrices, strict=True):
            if node.mode is None:
                out.append(jnp.stack([safe_norm(matrix, axis=1), *(safe_norm(self.matrices[c], axis=0) for c in node.children)]))
        return out

    @double
    def junctions(self, ends: Ends) -> list[jax.Array]:
        """For each inner node and child ``|row r of A_L|^2 - |column r of A_1|^2``.

        One index meets in many matrices there, so only lengths are conserved.
        """
        return [
            jnp.diagonal(ends[v][1]) - jnp.diagonal(ends[c][0])
            for v, node in enumerate(_nodes(self.tree))
            if node.mode is None
            for c in node.children
        ]


class DeepHierarchical(Layered):
    """Hierarchical factorization with every layer of every node explicit.

    >>> start = DeepHierarchical.balanced((4, 5, 6), rank=2, layers=2, scale=0.1, key=0)
    >>> len(start.chains), float(start.collapse().layers)
    (5, 2.0)
    """

    kind: ClassVar[type[Deepened]] = Hierarchical


class _Node:
    def __init__(self, mode: int | None, children: tuple[int, ...]):
        self.mode, self.children = mode, children


def _nodes(tree: Tree) -> list[_Node]:
    """Leaves (a mode) and inner nodes (children by their place in the list), children first."""
    out: list[_Node] = []

    def visit(here: Tree) -> int:
        out.append(_Node(None, tuple(visit(child) for child in here)) if isinstance(here, tuple) else _Node(int(here), ()))
        return len(out) - 1

    visit(tree)
    return out


def halves(modes: Sequence[int]) -> Tree:
    """A tree that halves the modes, and the halves again.

    >>> halves(range(5))
    ((0, 1), (2, (3, 4)))
    """
    modes = list(modes)
    middle = len(modes) // 2
    return modes[0] if len(modes) == 1 else (halves(modes[:middle]), halves(modes[middle:]))


def _size(node: _Node, shape: Sequence[int], rank: int) -> tuple[int, int]:
    return (rank if node.mode is None else shape[node.mode], rank)


def _product(parts: list[jax.Array]) -> jax.Array:
    product = parts[0]
    for part in parts[1:]:
        product = product * part
    return product


def _mixed(parts: list[jax.Array], matrix: jax.Array) -> jax.Array:
    return _product(parts) @ matrix


def _outer(one: jax.Array, two: jax.Array) -> jax.Array:
    """``(..., r)`` and ``(___, r)`` to ``(..., ___, r)``."""
    a, b = string.ascii_lowercase[: one.ndim - 1], string.ascii_lowercase[one.ndim - 1 : one.ndim + two.ndim - 2]
    return jnp.einsum(f"{a}z,{b}z->{a}{b}z", one, two)
