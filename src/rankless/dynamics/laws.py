"""The laws of the papers as functions: the growth that happens (`growth`), and what each formula says.

====================  =========================================================================  =============
system                law                                                                        source
====================  =========================================================================  =============
deep matrix           ``d/dt s_r = L a_r s_r^(2 - 2/L)``                                         [arora2019]
shallow CP            ``d/dt ||(x) w_r|| = N g_r ||(x) w_r||^(2 - 2/N)``                         [razin2021]
deep CP               ``d/dt ||(x) w_r|| = N d_r ||(x) w_r||^(2 - 2/N + k)``                     [hariz2022]
its end-to-end form   ``d/dt s_r = N(k+1) g_r s_r^(2 - 2/(N(k+1)))``, ``s_r = ||(x) u_r||``      here
blocks of a network   ``d/dt s_r = L a_r s_r^(2 - 2/L)``, ``s_r`` of each chained block           here
core slices           ``d/dt g = delta / g``                                                     [hariz2024]
local components      ``d/dt sigma = L_v delta sigma^(2 - 2/L_v)``                               [razin2022]
bound                 ``||(x) A_k ... A_1 w_r|| <= ||(x) w_r||^(1+k)``                           [hariz2022]
====================  =========================================================================  =============

with ``a_r = <-grad L, u_r v_r^T>``, ``g_r = <-grad L, (x) u_r/|u_r|>`` and
``d_r = <-grad L, (x) A_k/|A_k| ... A_1/|A_1| w_r/|w_r|>``. ``L`` is the loss on the data, without weight
decay; decay `p` shrinks every layer at rate `p`, so each law then reads ``- M p norm`` beside what it says
above, `M` the layers that the norm is a product of. The inner products come from the parameters by Euler's
identity, ``<grad L, component_r> = <dL/dw_r, w_r>``: no dense gradient is built.

The two laws of ``||(x) w_r||`` ask only for equal Frobenius norms at the start. The end-to-end form and the law
of deep matrices and of blocks need strict balance, ``A_{i+1}^T A_{i+1} = A_i A_i^T``; equal norms are not enough for them.
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
from rankless.dynamics.hierarchical import Hierarchical
from rankless.dynamics.matrix import DeepMatrix, Matrix
from rankless.dynamics.problem import Problem
from rankless.dynamics.tubal import Tubal
from rankless.dynamics.tucker import DeepTucker, Tucker


@double
def growth(problem: Problem, factorization: Any, quantity: Callable[[Any], Any]) -> Any:
    """``d/dt quantity(factorization)`` along the flow, by forward differentiation: the left side of every law."""
    return jax.jvp(quantity, (factorization,), (problem.velocity(factorization),))[1]


@double
def drive(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``delta_r = <-grad L, component_r>``, shape ``(R,)``, of the loss on the data: weight decay does not enter."""

    def first_mode(f: CP | DeepCP) -> jax.Array:
        return f.factors[0].T if isinstance(f, CP) else f.vectors[0]

    return -jnp.sum(first_mode(factorization) * first_mode(data_gradient(problem, factorization)), axis=1)


@double
def pull(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``g_r = <-grad L, (x) u_r/|u_r|>``, shape ``(R,)``: the drive of a component's direction, whatever its norm."""
    return _over(drive(problem, factorization), factorization.spectrum())


@double
def block_law(problem: Problem, factorization: Any) -> jax.Array:
    """``L (a_r s_r^(2 - 2/L) - p s_r)``, shape ``(R,)``: the growth of the singular values of each chained block, its `spectrum`.

    ``a_r = <-dL/dX, u_r v_r^T>`` for a block `X` of a network (`Tucker`, `Train`, `Hierarchical`, and their deep forms), or
    for each frequency of a `Tubal`. Raises ValueError where explicit layers are not balanced, as ``collapse`` does.
    """
    collapsed = factorization.collapse() if hasattr(factorization, "collapse") else factorization
    slope = data_gradient(problem, collapsed)
    if isinstance(collapsed, Tubal):
        pairs = [(jnp.moveaxis(jnp.fft.fft(x.product, axis=2), 2, 0)) for x in (collapsed, slope)]
        blocks, slopes = pairs[:1], pairs[1:]
    else:
        blocks, slopes = collapsed.blocks, slope.blocks
    layers, out = collapsed.layers, []
    for x, g in zip(blocks, slopes, strict=True):
        left, s, right = jnp.linalg.svd(x, full_matrices=False)
        along = -jnp.real(jnp.einsum("...ir,...ij,...rj->...r", jnp.conj(left), g, jnp.conj(right)))
        out.append(jnp.ravel(layers * (along * s ** (2 - 2 / layers) - decay_of(problem) * s)))
    return jnp.concatenate(out)


@double
def core_slice_law(problem: Problem, factorization: Tucker | DeepTucker) -> jax.Array:
    """``delta / g - p g``, shape ``(r_1 + ... + r_N,)``: the growth of `Tucker.core_slices` from any start [hariz2024].

    ``delta`` is ``<-grad L, part of the tensor through that slice>``, which Euler's identity takes from the slice itself.
    """
    tucker = factorization if isinstance(factorization, Tucker) else factorization.end_to_end()
    core, slope = tucker.core, data_gradient(problem, tucker).core  # pyright: ignore[reportAttributeAccessIssue]
    drives = [-jnp.sum(core * slope, axis=tuple(m for m in range(core.ndim) if m != n)) for n in range(core.ndim)]
    norms = tucker.core_slices()  # pyright: ignore[reportAttributeAccessIssue]
    return _over(jnp.concatenate(drives), norms) - decay_of(problem) * norms


@double
def local_component_law(problem: Problem, factorization: Hierarchical) -> jax.Array:
    """``L_v (delta sigma^(2 - 2/L_v) - p sigma)``, shape ``(R + ... + R,)``: the growth of `Hierarchical.component_norms` [razin2022].

    For plain matrices (``layers = 1``) whose rows and columns that meet have equal norms; ``delta`` is
    ``<-grad L, local component> / sigma``, from a row of the node's own matrix by Euler's identity.
    """
    slope = data_gradient(problem, factorization)
    inner = [(x, g) for x, g, node in zip(factorization.matrices, slope.matrices, factorization.nodes(), strict=True) if node.mode is None]
    out = []
    for (x, g), norms in zip(inner, factorization.component_factors(), strict=True):
        count, sigma = norms.shape[0], jnp.prod(norms, axis=0)
        delta = _over(-jnp.sum(x * g, axis=1), sigma)
        out.append(count * (delta * sigma ** (2 - 2 / count) - decay_of(problem) * sigma))
    return jnp.concatenate(out)


def data_gradient(problem: Problem, factorization: Any) -> Any:
    """Derivative of the loss on the data, without weight decay, with respect to every parameter."""
    return jax.grad(problem.data_loss)(factorization)


def decay_of(problem: Problem) -> jax.Array:
    """The problem's weight decay as a number."""
    return jnp.zeros(()) if problem.decay is None else problem.decay


@double
def deep_matrix_law(problem: Problem, factorization: Matrix | DeepMatrix) -> jax.Array:
    """``L a_r s_r^(2 - 2/L) - L p s_r``, shape ``(min(d),)``: the growth of the singular values [arora2019].

    Factors must be balanced, as for `DeepMatrix.collapse`: raises ValueError with the measured imbalance where
    they are not, and RuntimeError where that is found inside a compiled run.
    """
    collapsed = factorization if isinstance(factorization, Matrix) else factorization.collapse()
    product, layers, gradient = collapsed.product, collapsed.layers, data_gradient(problem, collapsed).product
    left, s, right = jnp.linalg.svd(product, full_matrices=False)
    along = -jnp.einsum("ir,ij,rj->r", left, gradient, right)
    return layers * (along * s ** (2 - 2 / layers) - decay_of(problem) * s)


@double
def shallow_cp_law(problem: Problem, factorization: CP) -> jax.Array:
    """``N g_r ||(x) w_r||^(2 - 2/N) - N p ||(x) w_r||``, shape ``(R,)``, for depth 0 and balanced modes [razin2021]."""
    order, norms = len(factorization.shape), factorization.spectrum()
    return order * (pull(problem, factorization) * norms ** (2 - 2 / order) - decay_of(problem) * norms)


@double
def deep_cp_law(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``N d_r ||(x) w_r||^(2 - 2/N + k) - N p ||(x) w_r||``, shape ``(R,)``: the growth of `last_layer_norms` [hariz2022]."""
    order, norms = len(factorization.shape), factorization.last_layer_norms()
    grown = normalised_drive(problem, factorization) * norms ** last_layer_exponent(factorization.depth, order)
    return order * (grown - decay_of(problem) * norms)


@double
def normalised_drive(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``d_r``: the drive over the product of all layer norms, shape ``(R,)``."""
    norms = factorization.layer_norms()  # (N, k+1, R), one layer standing for k+1 equal ones where collapsed
    power = (factorization.depth + 1) / norms.shape[1]
    return _over(drive(problem, factorization), jnp.prod(norms, axis=(0, 1)) ** power)


@double
def end_to_end_law(problem: Problem, factorization: CP | DeepCP) -> jax.Array:
    """``N(k+1) (g_r s_r^(2 - 2/(N(k+1))) - p s_r)``, shape ``(R,)``: the growth of `spectrum` under strict balance."""
    order, depth, norms = len(factorization.shape), factorization.depth, factorization.spectrum()
    grown = pull(problem, factorization) * norms ** end_to_end_exponent(depth, order)
    return order * (depth + 1) * (grown - decay_of(problem) * norms)


@double
def unbalanced_law(problem: Problem, factorization: DeepCP) -> jax.Array:
    """``||(x) w_r|| sum_n (delta_r / |w_r^n|^2 - p)``: the growth of `last_layer_norms` from any start, under weight decay `p`."""
    vector_norms = factorization.layer_norms()[:, 0, :]
    rates = drive(problem, factorization) * vector_norms**-2 - decay_of(problem)
    return factorization.last_layer_norms() * jnp.sum(rates, axis=0)


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
