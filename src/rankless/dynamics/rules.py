"""Step rules for `GradientDescent` that optax does not have.

What a rule leaves of the implicit bias hangs on what shares a step size. One for all parameters keeps their relative speeds, and so
the head start of large components; one an entry, or one a component, takes it away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax


def group_rmsprop(
    learning_rate: float, *, decay: float = 0.99, eps: float = 1e-6, group: Callable[[Any], Any] | None = None
) -> optax.GradientTransformation:
    """RMSprop with one second moment for all parameters: steps of even length along the plain gradient.

        v <- decay v + (1 - decay) |g|^2,        step = - learning_rate g / (sqrt(v / (1 - decay^t)) + eps)

    ``|g|`` is the norm of the whole gradient. The rule of the research code of [arora2019], which that of [razin2021] adapted: it
    moves through the plateaus of a small start as fast as through the slopes, and stays on the path of the flow.
    `group` says which parameters share a moment: a function from a gradient to a tree of the same arrays, in each entry the square norm
    of its group; all of them by default (`together`). `by_component` gives every component and mode its own.

    >>> rule = group_rmsprop(0.1, decay=0.5)
    >>> step, _ = rule.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, rule.init({"a": jnp.zeros(1), "b": jnp.zeros(1)}))
    >>> round(float(step["a"][0]), 4), round(float(step["b"][0]), 4)
    (-0.06, -0.08)
    """
    squares = together if group is None else group

    def init(parameters):
        return jax.tree.map(jnp.zeros_like, parameters), jnp.zeros(())

    def update(gradient, state, parameters=None):
        moments, count = state
        moments = jax.tree.map(lambda v, new: decay * v + (1 - decay) * new, moments, squares(gradient))
        count = count + 1
        steps = jax.tree.map(lambda g, v: -learning_rate * g / (jnp.sqrt(v / (1 - decay**count)) + eps), gradient, moments)
        return steps, (moments, count)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def together(gradient: Any) -> Any:
    """One group: the square norm of the whole gradient in every entry."""
    square = sum((jnp.sum(g**2) for g in jax.tree.leaves(gradient)), start=jnp.zeros(()))
    return jax.tree.map(lambda g: jnp.broadcast_to(square, g.shape), gradient)


def by_component(gradient: Any) -> Any:
    """A group for every component and mode of a `DeepCP`, all its layers together."""
    squares = [jnp.sum(w**2, axis=1) + jnp.sum(a**2, axis=(0, 2, 3)) for w, a in zip(gradient.vectors, gradient.layers, strict=True)]
    vectors = tuple(jnp.broadcast_to(s[:, None], w.shape) for s, w in zip(squares, gradient.vectors, strict=True))
    layers = tuple(jnp.broadcast_to(s[None, :, None, None], a.shape) for s, a in zip(squares, gradient.layers, strict=True))
    return eqx.tree_at(lambda f: (f.vectors, f.layers), gradient, (vectors, layers))
