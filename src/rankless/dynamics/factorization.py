"""What a factorization is: parameters that give values, and turn a gradient into a velocity."""

from __future__ import annotations

import abc
from typing import Any, Self, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from rankless.dynamics._double import portable


class AbstractFactorization(eqx.Module):
    """A tensor ``T(parameters)`` and the flow of its parameters; write these six members for a new one.

    The parameters are the float arrays of the module, whatever their arrangement. An explicit
    factorization moves against its gradient (`steepest`); a collapsed one moves as the layers it
    stands for would move it.
    """

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes."""

    @abc.abstractmethod
    def full(self) -> jax.Array:
        """The whole tensor, shape `shape`."""

    @abc.abstractmethod
    def at(self, indices: jax.Array | np.ndarray) -> jax.Array:
        """Values at integer coordinates ``(n, order)``, shape ``(n,)``."""

    @abc.abstractmethod
    def spectrum(self) -> jax.Array:
        """What the bias acts on: component norms of a CP, singular values of a matrix; shape ``(R,)``."""

    @abc.abstractmethod
    def velocity(self, gradient: Self) -> Self:
        """Time derivative of the parameters where the objective has this gradient."""

    @abc.abstractmethod
    def penalty(self) -> jax.Array:
        """Half the sum of squares of all layers, of the least layers where they are collapsed."""

    def __getstate__(self) -> dict[str, Any]:
        return portable(self)


Parameters = TypeVar("Parameters")
Value = TypeVar("Value")


def steepest(gradient: Parameters) -> Parameters:
    """Minus the gradient: the velocity of explicit parameters."""
    return jax.tree.map(jnp.negative, gradient)


def half_square(parameters) -> jax.Array:
    """Half the sum of squares of all arrays in a tree: the penalty of explicit parameters."""
    return 0.5 * sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(parameters)), start=jnp.zeros(()))


def safe_norm(x: jax.Array, axis: int | tuple[int, ...]) -> jax.Array:
    """Euclidean norm whose derivative at zero is zero rather than NaN."""
    square = jnp.sum(x * x, axis=axis)
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def balanced_enough(value: Value, gaps: dict[str, jax.Array], tolerance: float, mend: str) -> Value:
    """`value`, if every relative imbalance in `gaps`, named by what it is of, is at most `tolerance`.

    Raises ValueError with the first that is not; inside a compiled function, where numbers are not known yet, RuntimeError
    as it runs.
    """
    for name, gap in gaps.items():
        words = f"{name} are not balanced: relative imbalance"
        if isinstance(gap, Tracer):
            value = eqx.error_if(value, ~(gap <= tolerance), f"{words} exceeds {tolerance:.0e}; {mend}")
        elif not float(gap) <= tolerance:
            raise ValueError(f"{words} {float(gap):.2e} exceeds {tolerance:.0e}; {mend}")
    return value


def check_scale(scale: float) -> float:
    """`scale` as a float; raises ValueError unless it is a finite number > 0 (at zero nothing ever moves)."""
    value = float(scale)
    if not 0 < value < float("inf"):
        raise ValueError(f"scale={scale!r} is not a finite number > 0; a start at zero never moves: pass scale=1e-2")
    return value


def check_layers(layers: float) -> float:
    """`layers` as a float; raises ValueError unless it is a finite number >= 1."""
    value = float(layers)
    if not 1 <= value < float("inf"):
        raise ValueError(f"layers={layers!r} is not a number >= 1; pass layers=1 for a plain matrix, 2 or more to go deep")
    return value


def whole_layers(layers: float) -> int:
    """`layers` as an int; raises ValueError unless it is a whole number >= 1."""
    if check_layers(layers) != int(layers):
        raise ValueError(
            f"layers={layers!r} is not a whole number of factors; pass an integer, or use the collapsed factorization for a real one"
        )
    return int(layers)
