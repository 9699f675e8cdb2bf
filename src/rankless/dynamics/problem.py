"""`Problem`: what was observed, and what is minimised over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import double
from rankless.dynamics.factorization import AbstractFactorization
from rankless.dynamics.losses import squared
from rankless.tensors.observations import Observations

# A dense gradient is all matrix products; one by coordinates gathers rows and scatters them back. On
# two cores, R = 40, dense was 5 times faster at 20 % observed, 7 times at 50^3 and 10 % (measured).
_DENSE_CELLS = 2_000_000

Factorization = TypeVar("Factorization", bound=AbstractFactorization)


class Dense(eqx.Module):
    """Values and weights for every cell, weight 0 where nothing was observed."""

    values: jax.Array
    weights: jax.Array

    def predictions(self, factorization: AbstractFactorization) -> jax.Array:
        # unobserved cells are replaced before the loss: an overflow there must not become 0 x inf
        return jnp.where(self.weights > 0, factorization.full(), 0.0)


class Coordinates(eqx.Module):
    """Observed entries only: coordinates ``(n, order)``, values and weights ``(n,)``."""

    indices: jax.Array
    values: jax.Array
    weights: jax.Array

    def predictions(self, factorization: AbstractFactorization) -> jax.Array:
        return factorization.at(self.indices)


class Problem(eqx.Module):
    """``L(T) = sum over observed entries of loss(T, y)  +  decay x penalty``.

    `loss` is any function of prediction and value (`losses`); ``mean=True`` divides the sum by the
    total weight. `decay` is weight decay: on explicit layers half the sum of their squares, on
    collapsed ones the least that any layers would need. `storage` changes speed only.

    >>> problem = Problem(Observations.from_array(np.array([[1.0, np.nan], [0.0, 2.0]])))
    >>> problem.shape, problem.size, type(problem.observed).__name__
    ((2, 2), 3, 'Dense')
    """

    observed: Dense | Coordinates
    indices: jax.Array
    decay: jax.Array | None  # None rather than 0: no penalty is then computed
    factor: jax.Array
    loss: Callable = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)

    @double
    def __init__(
        self,
        obs: Observations,
        loss: Callable = squared,
        *,
        storage: Literal["auto", "dense", "coordinates"] = "auto",
        mean: bool = False,
        decay: float = 0.0,
    ):
        if not 0 <= decay < float("inf"):
            raise ValueError(f"decay={decay!r} is not a finite number >= 0; pass decay=0 for none")
        if storage not in ("auto", "dense", "coordinates"):
            raise ValueError(f"storage={storage!r} is not known; pass 'auto', 'dense' or 'coordinates'")
        values = np.asarray(obs.values, dtype=np.float64)
        weights = np.ones_like(values) if obs.weights is None else np.asarray(obs.weights, dtype=np.float64)
        self.loss = loss
        self.shape = tuple(map(int, obs.shape))
        self.decay = jnp.asarray(float(decay)) if decay else None
        self.factor = jnp.asarray(1 / weights.sum() if mean else 1.0)
        self.indices = jnp.asarray(obs.indices)
        if storage == "dense" or (storage == "auto" and obs.cells <= _DENSE_CELLS):
            self.observed = Dense(_spread(obs, values), _spread(obs, weights))
        else:
            self.observed = Coordinates(self.indices, jnp.asarray(values), jnp.asarray(weights))

    @property
    def size(self) -> int:
        """Number of observed entries."""
        return self.indices.shape[0]

    @double
    def data_loss(self, factorization: AbstractFactorization) -> jax.Array:
        """The loss without weight decay."""
        losses = self.loss(self.observed.predictions(factorization), self.observed.values)
        return self.factor * jnp.sum(self.observed.weights * losses)

    @double
    def objective(self, factorization: AbstractFactorization) -> jax.Array:
        """What the flow descends: the loss and the weight decay."""
        loss = self.data_loss(factorization)
        return loss if self.decay is None else loss + self.decay * factorization.penalty()

    @double
    def gradient(self, factorization: Factorization) -> Factorization:
        """Derivative of the objective with respect to every parameter."""
        return jax.grad(self.objective)(factorization)

    @double
    def velocity(self, factorization: Factorization) -> Factorization:
        """The vector field of the flow."""
        return factorization.velocity(self.gradient(factorization))


def _spread(obs: Observations, entries: np.ndarray) -> jax.Array:
    full = np.zeros(obs.shape)
    full[tuple(obs.coords)] = entries
    return jnp.asarray(full)
