"""The laws of the papers as functions: the growth that happens (`growth`), and what each formula says.

====================  =========================================================================  =============
system                law                                                                        source
====================  =========================================================================  =============
deep matrix           ``d/dt s_r = L a_r s_r^(2 - 2/L)``                                         [arora2019]
shallow CP            ``d/dt ||(x) w_r|| = N g_r ||(x) w_r||^(2 - 2/N)``                         [razin2021]
deep CP               ``d/dt ||(x) w_r|| = N d_r ||(x) w_r||^(2 - 2/N + k)``                     [hariz2022]
its end-to-end form   ``d/dt s_r = N(k+1) g_r s_r^(2 - 2/(N(k+1)))``, ``s_r = ||(x) u_r||``      here
bound                 ``||(x) A_k ... A_1 w_r|| <= ||(x) w_r||^(1+k)``                           [hariz2022]
====================  =========================================================================  =============

with ``a_r = <-grad L, u_r v_r^T>``, ``g_r = <-grad L, (x) u_r/|u_r|>`` and
``d_r = <-grad L, (x) A_k/|A_k| ... A_1/|A_1| w_r/|w_r|>``. Both inner products come from the
parameters by Euler's identity, ``<grad L, component_r> = <dL/dw_r, w_r>``: no dense gradient is built.
All but the end-to-end form, which needs strict balance, ask only for equal Frobenius norms at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rankless.depth import end_to_end_exponent, last_layer_exponent
from rankless.dynamics._double import double
from rankless.dynamics.cp import CP, DeepCP
from rankless.dynamics.matrix import DeepMatrix, Matrix
from rankless.dynamics.problem import Problem


@double
def growth(problem: Problem, factorization: Any, quantity: Callable[[Any], Any]) -> Any:
    """``d/dt quantity(factorization)`` along the flow, by forward differentiation: the left side of every law."""
    return jax.jvp(quantity, (factorization,), (problem.velocity(factorization),))[1]


@double
def drive(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``<-grad L, component_r>``, shape ``(R,)``."""

    def first_mode(f: CP | DeepCP) -> jax.Array:
        return f.factors[0].T if isinstance(f, CP) else f.vectors[0]

    return -jnp.sum(first_mode(factorization) * first_mode(problem.gradient(factorization)), axis=1)


@double
def deep_matrix_law(problem: Problem, factorization: Matrix | DeepMatrix) -> jax.Array:
    """``L a_r s_r^(2 - 2/L)``, shape ``(min(d),)``: the growth of the singular values [arora2019]."""
    collapsed = factorization if isinstance(factorization, Matrix) else Matrix(factorization.full(), len(factorization.factors))
    product, layers, gradient = collapsed.product, collapsed.layers, problem.gradient(collapsed).product
    left, s, right = jnp.linalg.svd(product, full_matrices=False)
    pull = -jnp.einsum("ir,ij,rj->r", left, gradient, right)
    return layers * pull * s ** (2 - 2 / layers)


@double
def shallow_cp_law(problem: Problem, factorization: CP) -> jax.Array:
    """``N g_r ||(x) w_r||^(2 - 2/N)``, shape ``(R,)``, for depth 0 and balanced modes [razin2021]."""
    order, norms = len(factorization.shape), factorization.spectrum()
    return order * _over(drive(problem, factorization), norms) * norms ** (2 - 2 / order)


@double
def deep_cp_law(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``N d_r ||(x) w_r||^(2 - 2/N + k)``, shape ``(R,)``: the growth of `last_layer_norms` [hariz2022]."""
    order, norms = len(factorization.shape), factorization.last_layer_norms()
    return order * normalised_drive(problem, factorization) * norms ** last_layer_exponent(factorization.depth, order)


@double
def normalised_drive(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``d_r``: the drive over the product of all layer norms, shape ``(R,)``."""
    norms = factorization.layer_norms()  # (N, k+1, R), one layer standing for k+1 equal ones where collapsed
    power = (factorization.depth + 1) / norms.shape[1]
    return _over(drive(problem, factorization), jnp.prod(norms, axis=(0, 1)) ** power)


@double
def end_to_end_law(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``N(k+1) g_r s_r^(2 - 2/(N(k+1)))``, shape ``(R,)``: the growth of `spectrum` under strict balance."""
    order, depth, norms = len(factorization.shape), factorization.depth, factorization.spectrum()
    return order * (depth + 1) * _over(drive(problem, factorization), norms) * norms ** end_to_end_exponent(depth, order)


@double
def unbalanced_law(problem: Problem, factorization: DeepCP) -> jax.Array:
    """``||(x) w_r|| <-grad L, component_r> sum_n |w_r^n|^-2``: the growth of `last_layer_norms` from any start."""
    vector_norms = factorization.layer_norms()[:, 0, :]
    return factorization.last_layer_norms() * drive(problem, factorization) * jnp.sum(vector_norms**-2, axis=0)


@double
def bound(factorization: CP | DeepCP) -> tuple[jax.Array, jax.Array]:
    """``||(x) A_k ... A_1 w_r||`` and ``||(x) w_r||^(1+k)``; the first is the smaller where norms are equal [hariz2022]."""
    return factorization.spectrum(), factorization.last_layer_norms() ** (1 + factorization.depth)


def fit_exponent(ts: np.ndarray, norms: np.ndarray, pull: np.ndarray) -> float:
    """Slope of ``log(norm' / pull)`` over ``log(norm)``, with ``norm'`` from the trajectory by a cubic spline.

    `ts`, `norms` and `pull` (``d_r`` or ``g_r``) have shape ``(n,)``, the norms growing. The ends, where
    a spline is least sure of its slope, are left out. Raises ValueError for fewer than 8 usable records.

    >>> ts = np.linspace(0, 0.9, 40)
    >>> round(fit_exponent(ts, 1 / (1 - ts), np.ones(40)), 3)  # y' = y^2
    2.0
    """
    from scipy.interpolate import CubicSpline

    logs = np.log(norms)
    rate = CubicSpline(ts, logs)(ts, 1) * norms
    inner = np.arange(2, len(ts) - 2)
    usable = inner[(rate[inner] > 0) & (pull[inner] > 0)]
    if len(usable) < 8:
        raise ValueError(f"{len(usable)} of {len(ts)} records have growing norms; record at more times, while the component grows")
    return float(np.polyfit(logs[usable], np.log(rate[usable] / pull[usable]), 1)[0])


def _over(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    return numerator / jnp.where(denominator > 0, denominator, 1.0)
