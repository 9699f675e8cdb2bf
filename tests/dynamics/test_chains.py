"""First derivatives of the metric of depth and of its penalty, where singular values meet and where they are zero too.

The oracle is central differences: of the sum of fractional powers that defines the metric, written with NumPy, and of the
penalty's gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.dynamics.chains import chain_penalty, chain_velocity

from .conftest import compiled, moved, planted, relative

SHAPES = [(3, 3), (3, 5), (5, 3)]
SPECTRA = {
    "apart": (1.3, 0.7, 0.2),
    "two equal": (1.0, 1.0, 0.4),
    "all equal": (1.0, 1.0, 1.0),
    "almost equal": (1.0, 1.0 - 1e-9, 0.4),
    "close": (1.0, 0.95, 0.89),
    "one zero": (1.0, 0.5, 0.0),
    "one alone": (1.0, 0.0, 0.0),
}
STEP = 3e-4  # of central differences of fourth order: rounding errors of 1e-12, truncated by (STEP / the least singular value)^4


@pytest.fixture(params=[False, True], ids=["real", "complex"])
def draw(request):
    """Normal entries of a shape, real or complex."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        yield lambda *shape: rng.normal(size=shape) + (1j * rng.normal(size=shape) if request.param else 0.0)


def with_spectrum(draw, shape, values):
    m, n = shape
    left, right = np.linalg.qr(draw(m, m))[0][:, : min(shape)], np.linalg.qr(draw(n, n))[0][:, : min(shape)]
    return left * np.array(values) @ right.conj().T


def central(function, h=STEP):
    """The derivative of a function of one number at zero."""
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def fractional(matrix, power):
    """Powers of a positive semidefinite matrix; eigenvalues that are rounding errors count as zero."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.where(values > 1e-12 * values.max(), values, 0.0)
    return vectors * values**power @ vectors.conj().T


def defined(x, g, layers):
    """``- sum_j (X X^T)^((j-1)/L) G (X^T X)^((L-j)/L)``."""
    p, q = x @ x.conj().T, x.conj().T @ x
    return -sum(fractional(p, (j - 1) / layers) @ g @ fractional(q, (layers - j) / layers) for j in range(1, layers + 1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_the_metric_moves_as_its_definition_does(shape, spectrum, draw):
    """Along curves that keep the rank, where it has a derivative for every L."""
    (m, n), x = shape, with_spectrum(draw, shape, SPECTRA[spectrum])
    g, dg, a, b = draw(m, n), draw(m, n), draw(m, m), draw(n, n)
    for layers in (2, 3, 5):
        wanted = central(lambda h, L=layers: defined((np.eye(m) + h * a) @ x @ (np.eye(n) + h * b), g + h * dg, L))
        found = jax.jvp(lambda x, g, L=layers: chain_velocity(x, g, jnp.array(float(L))), (x, g), (a @ x + x @ b, dg))[1]
        # a singular value of zero is rounded to eps, and what the metric makes of it to eps^(2/L)
        assert relative(found, wanted) < 1e-8 + 10 * np.finfo(float).eps ** (2 / layers)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spectrum", [name for name, values in SPECTRA.items() if min(values) > 0])
def test_real_depth_moves_too(shape, spectrum, draw):
    x, g, dx, dg = with_spectrum(draw, shape, SPECTRA[spectrum]), draw(*shape), draw(*shape), draw(*shape)
    slope = jax.grad(chain_penalty)
    for layers in (1.3, 2.0, 4.7):
        wanted = central(lambda h, L=layers: np.asarray(chain_velocity(x + h * dx, g + h * dg, jnp.array(L + 0.1 * h))))
        found = jax.jvp(chain_velocity, (x, g, jnp.array(layers)), (dx, dg, jnp.array(0.1)))[1]
        assert relative(found, wanted) < 1e-8
        wanted = central(lambda h, L=layers: np.asarray(slope(x + h * dx, jnp.array(L + 0.1 * h))))
        assert relative(jax.jvp(slope, (x, jnp.array(layers)), (dx, jnp.array(0.1)))[1], wanted) < 1e-8
        wanted = central(lambda h, L=layers: np.asarray(chain_penalty(x + h * dx, jnp.array(L + 0.1 * h))))
        assert relative(jax.jvp(chain_penalty, (x, jnp.array(layers)), (dx, jnp.array(0.1)))[1], wanted) < 1e-8


@pytest.mark.parametrize("layers", [1.0, 1.5, 2.0, 3.0])
def test_at_zero_what_is_left_is_what_central_differences_go_to(layers, draw):
    """In directions that raise the rank `M` grows like powers of the step, and is even."""
    for values in ((1.0, 0.5, 0.0), (0.0, 0.0, 0.0)):
        x, g, dx = with_spectrum(draw, (3, 5), values), draw(3, 5), draw(3, 5)
        found = jax.jvp(lambda x, L=layers: chain_velocity(x, g, jnp.array(L)), (x,), (dx,))[1]  # noqa: B023
        gaps = [
            np.abs(central(lambda h, L=layers: np.asarray(chain_velocity(x + h * dx, g, jnp.array(L))), step) - found).max()  # noqa: B023
            for step in (1e-3, 1e-5)
        ]
        assert gaps[1] < max(0.1 * gaps[0], 1e-9)


def test_backward_is_forward_and_batches_are_their_members(draw):
    x = np.stack([with_spectrum(draw, (3, 4), values) for values in SPECTRA.values()])
    g, dx, weights = (draw(len(x), 3, 4) for _ in range(3))
    velocity = lambda x: chain_velocity(x, g, jnp.array(2.5))  # noqa: E731
    value, forward = jax.jvp(velocity, (x,), (dx,))
    each = jax.vmap(lambda x, g, dx: jax.jvp(lambda x: chain_velocity(x, g, jnp.array(2.5)), (x,), (dx,)))(x, g, dx)
    assert relative(each, (value, forward)) < 1e-12
    backward = jax.grad(lambda x: jnp.sum(jnp.real(weights * velocity(x))))(jnp.asarray(x))
    np.testing.assert_allclose(np.real(np.sum(np.asarray(backward) * dx)), np.real(np.sum(weights * np.asarray(forward))), rtol=1e-9)


@pytest.mark.slow
def test_an_implicit_flow_leaves_equal_singular_values():
    """Under weight decay, which asks for the second derivative of the penalty; and a gradient goes back through the flow."""
    start, problem = dyn.Matrix.identity((4, 3), layers=2.5, scale=0.5), dyn.Problem(planted((4, 3)), decay=0.1)
    run = dyn.solve(problem, start, dyn.GradientFlow(method="kvaerno5", rtol=1e-8, max_steps=500), ts=[1.0])
    assert run.status == "reached the last time"
    assert relative(run.final, moved(problem, start, 1.0)) < 1e-6
    assert relative(run.final.full(), start.full()) > 0.1

    def loss(scale):
        ahead = dyn.GradientFlow(step=0.02).end(problem, dyn.Matrix(scale * start.product, 2.5), jax.numpy.asarray(1.0))
        return problem.data_loss(ahead)

    slope, value = compiled(jax.grad(loss)), compiled(loss)
    np.testing.assert_allclose(slope(np.array(1.0)), central(lambda h: float(value(np.array(1.0 + h)))), rtol=1e-6)
