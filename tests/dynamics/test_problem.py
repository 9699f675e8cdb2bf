"""Losses, weights, the mean, and weight decay."""

from __future__ import annotations

import pickle

import jax
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.dynamics import losses
from rankless.dynamics._once import normal
from rankless.tensors.observations import Observations

from .conftest import CUBE, compiled, planted, relative

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


def test_precision_survives_pickling_and_tree_map_or_is_refused():
    problem = dyn.Problem(planted(CUBE), decay=0.1)
    start = dyn.CP.balanced(CUBE, components=3, depth=1.5, scale=0.3, key=0)
    run = dyn.solve(problem, start, dyn.GradientDescent(1e-2), ts=[0.1, 0.2], probes={"loss": dyn.probes.loss})
    for kept in (problem, start, run.final, dyn.probes.TensorError(np.ones(CUBE))):
        again = pickle.loads(pickle.dumps(kept))
        halved = jax.tree.map(lambda x: x / 2, kept)
        for here, there, half in zip(*map(jax.tree.leaves, (kept, again, halved)), strict=True):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there)
            np.testing.assert_array_equal(half, here / 2)
    assert pickle.loads(pickle.dumps(run)).final.factors[0].dtype == np.float64
    with jax.enable_x64(True):  # made and pickled where x64 is on, read where it is off
        sent = pickle.dumps((dyn.CP.balanced(CUBE, components=3, scale=0.3, key=0), dyn.Problem(planted(CUBE))))
    assert {x.dtype for x in jax.tree.leaves(pickle.loads(sent)) if x.dtype.kind == "f"} == {np.dtype(np.float64)}
    with pytest.raises(ValueError, match="the start holds float32 numbers"):
        dyn.solve(problem, jax.tree.map(jax.numpy.sin, start), dyn.GradientDescent(1e-2), ts=[0.1])


def test_single_precision_is_asked_for_and_stays_close():
    problem, start = dyn.Problem(planted(CUBE)), dyn.CP.balanced(CUBE, components=3, depth=1.5, scale=0.3, key=0)
    runs = {
        dtype: dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-5), ts=[1.0], probes={"loss": dyn.probes.loss}, dtype=dtype)
        for dtype in ("float64", "float32")
    }
    assert runs["float32"].final.factors[0].dtype == np.float32
    assert 0 < relative(runs["float32"].final.factors, runs["float64"].final.factors) < 1e-4
    with pytest.raises(ValueError, match="dtype='half'"):
        dyn.solve(problem, start, dyn.GradientFlow(), ts=[1.0], dtype="half")  # pyright: ignore[reportArgumentType]


def test_sensing_by_the_maps_of_entries_is_completion():
    obs = planted(CUBE)
    maps = np.zeros((obs.size, *CUBE))
    maps[(np.arange(obs.size), *obs.coords)] = 1.0
    entries, sensed = dyn.Problem(obs, decay=0.1), dyn.Problem.sensing(maps, obs.values, decay=0.1)
    assert sensed.shape == CUBE and sensed.size == obs.size
    np.testing.assert_allclose(sensed.objective(START), entries.objective(START), rtol=1e-13)
    assert relative(sensed.gradient(START), entries.gradient(START)) < 1e-12
    np.testing.assert_allclose(
        dyn.Problem.sensing(maps, obs.values, mean=True).data_loss(START), dyn.Problem(obs, mean=True).data_loss(START), rtol=1e-13
    )
    with pytest.raises(ValueError, match="do not fit; pass"):
        dyn.Problem.sensing(maps, obs.values[1:])


@pytest.mark.parametrize("kind", ["dense", "coordinates", "sensing"])
def test_a_mini_batch_has_the_gradient_of_the_whole_on_average(kind):
    obs = planted(CUBE)
    maps = np.zeros((obs.size, *CUBE))
    maps[(np.arange(obs.size), *obs.coords)] = 1.0
    problem = dyn.Problem.sensing(maps, obs.values) if kind == "sensing" else dyn.Problem(obs, storage=kind)

    @compiled
    def mean(noise):
        keys = jax.random.split(jax.random.key(0), 4000)
        each = jax.vmap(lambda key: problem.drawn(key, 5, noise).gradient(START).factors[0])(keys)
        return jax.numpy.mean(each, axis=0), jax.numpy.std(each, axis=0) / np.sqrt(len(keys))

    exact = np.asarray(problem.gradient(START).factors[0])
    for noise in (0.0, 0.5):
        average, error = mean(noise)
        assert np.all(np.abs(average - exact) < 6 * error + 1e-9)
        assert np.max(error) > 1e-6


def test_stochastic_steps_are_seeded_and_label_noise_keeps_the_loss_up():
    problem = dyn.Problem(planted(CUBE, share=1.0))
    ends = {}
    for name, options in {"plain": {}, "batch": {"batch": 8}, "again": {"batch": 8}, "noise": {"label_noise": 1.0}}.items():
        run = dyn.solve(problem, START, dyn.GradientDescent(5e-3, **options), ts=[20.0])
        ends[name] = float(problem.data_loss(run.final))
    assert ends["batch"] == ends["again"] != ends["plain"]
    assert ends["plain"] < 0.1 * float(problem.data_loss(START)) and ends["batch"] < 0.5 * float(problem.data_loss(START))
    assert ends["noise"] > 3 * ends["plain"]
    for options, words in (({"batch": 0}, "batch=0"), ({"label_noise": -1.0}, "label_noise=-1.0")):
        with pytest.raises(ValueError, match=words):
            dyn.GradientDescent(1e-3, **options)  # pyright: ignore[reportArgumentType]


def test_what_is_compiled_with_the_least_effort_gives_the_same_numbers():
    @dyn.double
    def both():
        key = jax.random.key(3)
        return normal(key, (2, 3, 4)), jax.random.normal(key, (2, 3, 4))

    mine, theirs = both()
    assert mine.dtype == np.float64
    np.testing.assert_allclose(mine, theirs, rtol=1e-14)
