"""Programs that run once, compiled with the least effort: on what runs for microseconds XLA spends seconds.

Random normal numbers of a start took 1 to 6 seconds of XLA, and take a quarter of a second so; the numbers are the same. A loss asked for
outside any program would be compiled operation by operation, each for a twentieth of a second. What runs in a loop (`flow`, `descent`) is
compiled as XLA does by default: with the least effort its steps take five times as long, which two thousand of them make up for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer


@functools.cache
def _least() -> dict[str, Any]:
    """XLA's options for the least effort: no optimisation, and the older way to write loops where this XLA still has it."""
    options = {"xla_backend_optimization_level": 0}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options | {"xla_cpu_use_fusion_emitters": False})(0)
    except RuntimeError:  # an option that this version does not know
        return options
    return options | {"xla_cpu_use_fusion_emitters": False}


def once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of arrays, and of what else stays the same, as one program of the least effort; inside another program a part of it."""

    @functools.cache
    def compiled() -> Callable[..., Any]:
        return eqx.filter_jit(function, compiler_options=_least())  # pyright: ignore[reportCallIssue]

    @functools.wraps(function)
    def called(*args: Any) -> Any:
        # options are those of a whole program: a part of one, or what is differentiated or mapped over, has none of its own
        inside = any(isinstance(x, Tracer) for x in (jnp.zeros(()), *jax.tree.leaves(args)))
        return function(*args) if inside else compiled()(*args)

    return called


def normal(key: jax.Array, shape: Sequence[int]) -> jax.Array:
    """Independent standard normal numbers, those of `jax.random.normal`."""
    return _flat_normal(key, math.prod(shape)).reshape(tuple(shape))


@once
def _flat_normal(key: jax.Array, count: int) -> jax.Array:
    return jax.random.normal(key, (count,))
