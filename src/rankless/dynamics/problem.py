"""`Problem`: what was observed, and what is minimised over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from rankless.dynamics._double import double, portable
from rankless.dynamics._once import once
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


class Linear(eqx.Module):
    """Linear measurements ``<map, T>`` of the whole tensor: maps ``(n, *shape)``, values and weights ``(n,)``."""

    maps: jax.Array
    values: jax.Array
    weights: jax.Array

    def predictions(self, factorization: AbstractFactorization) -> jax.Array:
        full = factorization.full()
        return jnp.tensordot(self.maps, full, axes=full.ndim)


class Problem(eqx.Module):
    """``L(T) = sum over observed entries of loss(T, y)  +  decay x penalty``.

    `loss` is any function of prediction and value (`losses`); ``mean=True`` divides the sum by the
    total weight. `decay` is weight decay: on explicit layers half the sum of their squares, on
    collapsed ones the least that any layers would need. `storage` changes speed only.

    >>> problem = Problem(Observations.from_array(np.array([[1.0, np.nan], [0.0, 2.0]])))
    >>> problem.shape, problem.size, type(problem.observed).__name__
    ((2, 2), 3, 'Dense')
    """

    observed: Dense | Coordinates | Linear
    indices: jax.Array
    decay: jax.Array | None  # None rather than 0: no penalty is then computed
    factor: jax.Array
    loss: Callable = eqx.field(static=True)
    shape: tuple[int, ...] = eqx.field(static=True)
    size: int = eqx.field(static=True)  # number of observed entries, or of measurements

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
        self.size = len(values)
        if storage == "dense" or (storage == "auto" and obs.cells <= _DENSE_CELLS):
            self.observed = Dense(_spread(obs, values), _spread(obs, weights))
        else:
            self.observed = Coordinates(self.indices, jnp.asarray(values), jnp.asarray(weights))

    def __getstate__(self) -> dict[str, Any]:
        return portable(self)

    @classmethod
    @double
    def sensing(cls, maps, values, loss: Callable = squared, *, mean: bool = False, decay: float = 0.0) -> Self:
        """Observations other than entries: ``values[i] = <maps[i], T>``, `maps` of shape ``(n, *shape)``.

        An entry is the map that is 1 there and 0 elsewhere. `indices` is then empty, and so is all energy on observed cells.

        >>> Problem.sensing(np.eye(4).reshape(4, 2, 2), [1.0, 2.0, 3.0, 4.0]).shape
        (2, 2)
        """
        maps, values = np.asarray(maps, dtype=np.float64), np.asarray(values, dtype=np.float64)
        if maps.ndim < 3 or values.shape != maps.shape[:1]:
            raise ValueError(f"maps of shape {maps.shape} and values of shape {values.shape} do not fit; pass (n, d_1, d_2, ...) and (n,)")
        none = Observations.from_indices(np.zeros((1, maps.ndim - 1), dtype=int), [0.0], shape=maps.shape[1:])
        problem = cls(none, loss, storage="coordinates", decay=decay)
        observed = Linear(jnp.asarray(maps), jnp.asarray(values), jnp.ones(len(values)))
        parts = (observed, problem.indices[:0], jnp.asarray(1 / len(values) if mean else 1.0), len(values))
        return eqx.tree_at(lambda p: (p.observed, p.indices, p.factor), _resized(problem, parts[3]), parts[:3])

    @double
    def drawn(self, key: jax.Array, batch: int | None = None, label_noise: float = 0.0) -> Self:
        """What one stochastic step sees: `batch` of the observed entries, drawn anew, each value with normal noise of size `label_noise`.

        Its gradient is that of the whole loss on average: a draw counts for ``size / batch`` entries. ``batch=None`` is every entry.
        """
        first, second = jax.random.split(key)
        observed = self.observed
        if batch is not None:
            at = jax.random.choice(first, self.size, (batch,))
            rows = self.indices[at] if not isinstance(observed, Linear) else None
            pick = tuple(rows.T) if isinstance(observed, Dense) and rows is not None else (at,)
            values, weights = observed.values[pick], observed.weights[pick] * (self.size / batch)
            observed = Linear(observed.maps[at], values, weights) if rows is None else Coordinates(rows, values, weights)  # pyright: ignore[reportAttributeAccessIssue]
        noisy = observed.values + label_noise * jax.random.normal(second, observed.values.shape)
        observed = eqx.tree_at(lambda o: o.values, observed, noisy)
        return eqx.tree_at(lambda p: p.observed, self, observed)

    @double
    @once
    def data_loss(self, factorization: AbstractFactorization) -> jax.Array:
        """The loss without weight decay."""
        losses = self.loss(self.observed.predictions(factorization), self.observed.values)
        return self.factor * jnp.sum(self.observed.weights * losses)

    @double
    @once
    def objective(self, factorization: AbstractFactorization) -> jax.Array:
        """What the flow descends: the loss and the weight decay."""
        loss = self.data_loss(factorization)
        return loss if self.decay is None else loss + self.decay * factorization.penalty()

    @double
    @once
    def gradient(self, factorization: Factorization) -> Factorization:
        """Derivative of the objective with respect to every parameter."""
        return jax.grad(self.objective)(factorization)

    @double
    @once
    def velocity(self, factorization: Factorization) -> Factorization:
        """The vector field of the flow."""
        return factorization.velocity(self.gradient(factorization))


def _resized(problem: Problem, size: int) -> Problem:
    """The problem with another number of observations; `size` is static, so no leaf of the tree."""
    same = jax.tree.unflatten(jax.tree.structure(problem), jax.tree.leaves(problem))
    object.__setattr__(same, "size", size)
    return same


def _spread(obs: Observations, entries: np.ndarray) -> jax.Array:
    full = np.zeros(obs.shape)
    full[tuple(obs.coords)] = entries
    return jnp.asarray(full)
