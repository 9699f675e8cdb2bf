"""Losses, weights, the mean, and weight decay."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.dynamics import losses
from rankless.tensors.observations import Observations

from .conftest import CUBE, planted, relative

START = dyn.CP.balanced(CUBE, components=3, depth=1.0, scale=0.3, key=0)


@pytest.mark.parametrize(
    "loss, slope",
    [
        (losses.squared, lambda t, y: t - y),
        (losses.huber, lambda t, y: np.clip(t - y, -1, 1)),
        (losses.logistic, lambda t, y: 1 / (1 + np.exp(-t)) - y),
        (losses.poisson, lambda t, y: np.exp(t) - y),
    ],
    ids=["squared", "huber", "logistic", "poisson"],
)
def test_losses_have_the_slope_of_their_likelihood(loss, slope):
    prediction, value = np.linspace(-3, 3, 13), np.tile([0.0, 1.0], 7)[:13]
    with jax.enable_x64(True):
        measured = jax.vmap(jax.grad(loss))(prediction, value)
    np.testing.assert_allclose(measured, slope(prediction, value), rtol=1e-12, atol=1e-15)


def test_the_loss_is_half_the_sum_of_squares_over_observed_entries():
    obs = planted(CUBE)
    residual = np.asarray(START.at(obs.indices)) - obs.values
    np.testing.assert_allclose(dyn.Problem(obs).data_loss(START), 0.5 * np.sum(residual**2), rtol=1e-13)
    np.testing.assert_allclose(dyn.Problem(obs, mean=True).data_loss(START), 0.5 * np.mean(residual**2), rtol=1e-13)


@pytest.mark.parametrize("storage", ["dense", "coordinates"])
def test_weights_count_as_repeated_entries(storage):
    obs = planted(CUBE)
    double = obs.with_values(obs.values, np.full(obs.size, 2.0))
    single, twice = (dyn.Problem(o, storage=storage).data_loss(START) for o in (obs, double))
    np.testing.assert_allclose(twice, 2 * single, rtol=1e-14)


def test_an_overflow_where_nothing_is_observed_is_harmless():
    values = np.full((2, 2), np.nan)
    values[0, 0] = 1.0
    problem = dyn.Problem(Observations.from_array(values), losses.poisson)
    huge = dyn.Matrix(np.array([[0.1, 0.2], [1e4, 1e4]]))
    gradient = np.asarray(problem.gradient(huge).product)
    assert np.isfinite(gradient).all() and np.count_nonzero(gradient) == 1


def test_decay_of_a_collapsed_component_is_exponential():
    """Where the data exert no pull, ``|u|' = -(k+1) p |u|``: what k+1 decaying layers do."""
    obs = Observations.from_indices([[0, 0, 0]], [0.0], shape=CUBE)
    vectors = [np.eye(d)[:, 1:2] for d in CUBE]  # the component lives elsewhere than the one observed cell
    for depth in (0.0, 1.5):
        start = dyn.CP(vectors, depth)
        run = dyn.solve(dyn.Problem(obs, decay=0.2), start, dyn.GradientFlow(rtol=1e-9), ts=[2.0])
        np.testing.assert_allclose(np.linalg.norm(run.final.factors[0]), np.exp(-(depth + 1) * 0.2 * 2.0), rtol=1e-7)


@pytest.mark.parametrize("options, words", [({"decay": -1.0}, "decay=-1.0"), ({"storage": "sparse"}, "storage='sparse'")])
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        dyn.Problem(planted(CUBE), **options)


def test_dense_is_chosen_for_what_fits_and_coordinates_beyond():
    small = dyn.Problem(planted(CUBE))
    large = dyn.Problem(Observations.from_indices([[0, 0], [1, 5]], [1.0, 2.0], shape=(3000, 3000)))
    assert (type(small.observed).__name__, type(large.observed).__name__) == ("Dense", "Coordinates")
    assert relative(small.indices, planted(CUBE).indices) == 0
