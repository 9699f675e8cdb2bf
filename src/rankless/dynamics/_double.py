"""float64 without a global switch: x64 is a context at every public door, never a setting at import."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


def double(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """`function` run in float64, whatever the caller's JAX is set to.

    Called where x64 is off, it returns NumPy arrays: there JAX would round its own to float32.

    >>> import jax.numpy as jnp
    >>> double(jnp.ones)(3)
    array([1., 1., 1.])
    """

    @functools.wraps(function)
    def inside(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        if jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
            return function(*args, **kwargs)
        with jax.enable_x64(True):
            out = function(*args, **kwargs)
        return jax.tree.map(_leaving, out, is_leaf=lambda x: isinstance(x, eqx.Module))

    return inside


def as_key(key: int | jax.Array) -> jax.Array:
    """A JAX random key from a key or a seed."""
    return jax.random.key(key) if isinstance(key, int) else key


def _leaving(x):
    return np.asarray(x) if isinstance(x, jax.Array) and not isinstance(x, Tracer) else x
