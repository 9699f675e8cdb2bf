"""Losses as plain functions of prediction and observation, entry by entry; their sum is minimised."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def squared(prediction: jax.Array, value: jax.Array) -> jax.Array:
    """``1/2 (value - prediction)^2``, the loss of the papers.

    >>> float(squared(1.0, 3.0))
    2.0
    """
    return jnp.asarray(0.5 * (value - prediction) ** 2)


def huber(prediction: jax.Array, value: jax.Array) -> jax.Array:
    """Quadratic up to a residual of 1, linear beyond: ``|e| - 1/2``. Scale the data to place the knee.

    >>> float(huber(0.0, 3.0))
    2.5
    """
    error = jnp.abs(value - prediction)
    return jnp.where(error <= 1, 0.5 * error**2, error - 0.5)


def logistic(prediction: jax.Array, value: jax.Array) -> jax.Array:
    """``log(1 + e^T) - y T``: negative log-likelihood of `value` 0 or 1 with log-odds `prediction`."""
    return jax.nn.softplus(prediction) - value * prediction


def poisson(prediction: jax.Array, value: jax.Array) -> jax.Array:
    """``e^T - y T``: negative log-likelihood, up to a constant, of a count with log-rate `prediction`."""
    return jnp.exp(prediction) - value * prediction
