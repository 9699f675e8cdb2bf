"""float64 without a global switch: x64 is a context at every public door, never a setting at import.

Outside that context JAX rounds every float64 array of its own to float32, silently: when it is unpickled, and by any operation
of `jax.tree.map`. So what leaves a door, modules included, holds NumPy arrays, which keep their precision, and on the way in
they become JAX's again.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")

_SINGLE = contextvars.ContextVar("rankless_single", default=False)


def double(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """`function` run in float64, whatever the caller's JAX is set to.

    Called where x64 is off, it returns NumPy arrays, alone or in modules: there JAX would round its own to float32.

    >>> import jax.numpy as jnp
    >>> double(jnp.ones)(3)
    array([1., 1., 1.])
    """
    if function.__name__ == "__init__":
        return _double_init(function)

    @functools.wraps(function)
    def inside(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        if _x64() or _SINGLE.get():
            return _called(function, args, kwargs)
        with jax.enable_x64(True):
            out = _called(function, args, kwargs)
        return released(out)

    return inside


def _double_init(function: Callable[Inputs, Output]) -> Callable[Inputs, Output]:
    """The same for a constructor, whose output is what it stores."""

    @functools.wraps(function)
    def inside(*args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        if _x64() or _SINGLE.get():
            return function(*args, **kwargs)
        with jax.enable_x64(True):
            out = function(*args, **kwargs)
        module = args[0]
        for name, value in list(vars(module).items()):
            object.__setattr__(module, name, released(value))
        return out

    return inside


def released(tree: Any) -> Any:
    """`tree` with its concrete JAX arrays as NumPy arrays of the same dtype, where x64 is off; random keys and tracers stay."""
    if _x64() or _SINGLE.get():
        return tree
    return jax.tree.map(lambda x: np.asarray(x) if _concrete(x) else x, tree)


def portable(module: eqx.Module) -> dict[str, Any]:
    """The state to pickle a module by: NumPy arrays, since JAX would restore its own as float32 where x64 is off."""
    return jax.tree.map(lambda x: np.asarray(x) if _concrete(x) else x, dict(vars(module)))


@contextlib.contextmanager
def single() -> Iterator[None]:
    """Everything inside in float32: `double` then leaves precision alone."""
    token = _SINGLE.set(True)
    try:
        with jax.enable_x64(False):
            yield
    finally:
        _SINGLE.reset(token)


def as_key(key: int | jax.Array) -> jax.Array:
    """A JAX random key from a key or a seed."""
    return jax.random.key(key) if isinstance(key, int) else key


def _called(function: Callable[..., Output], args: tuple, kwargs: dict) -> Output:
    """`function` on these arguments, NumPy arrays in modules given back to JAX: indexed by a tracer, NumPy's would raise."""
    args, kwargs = jax.tree.map(_entering, (args, kwargs), is_leaf=_is_module)
    return function(*args, **kwargs)


def _entering(x):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf, x) if _is_module(x) else x


def _is_module(x) -> bool:
    return isinstance(x, eqx.Module)


def _concrete(x) -> bool:
    return isinstance(x, jax.Array) and not isinstance(x, Tracer) and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _x64() -> bool:
    return jax.config.jax_enable_x64  # pyright: ignore[reportAttributeAccessIssue]
