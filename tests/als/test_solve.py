"""`als.solve` against what must be true of a minimum: soft thresholds, deep layers, symmetries."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense, objective, observed, problems, residual, weighted_mask

from rankless import als
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

RESTED = {"tol": 1e-15, "max_sweeps": 20_000, "random_state": 0}


# --- exact oracles --------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6, 5), (4, 9)])
@pytest.mark.parametrize("penalty", [0.05, 1.0, 2.5])
def test_shallow_matrix_is_the_soft_thresholded_svd(shape, penalty):
    """k = 0, N = 2, everything seen: the nuclear norm, whose minimiser is known in closed form."""
    array = np.random.default_rng(1).normal(size=shape)
    left, values, right = np.linalg.svd(array, full_matrices=False)
    expected = left * np.maximum(values - penalty, 0) @ right
    fit = als.solve(Observations.from_array(array), depth=0, penalty=penalty, max_rank=8, **RESTED)
    np.testing.assert_allclose(fit.model.full(), expected, atol=1e-5)
    assert fit.objective[-1] == pytest.approx(
        0.5 * np.sum((array - expected) ** 2) + penalty * np.sum(np.maximum(values - penalty, 0)), rel=1e-8
    )
    assert np.linalg.matrix_rank(fit.model.full(), tol=1e-3) == np.sum(values > penalty)


@pytest.mark.parametrize("depth", [0.5, 1.0, 3.0])
def test_deep_matrix_shrinks_each_singular_value_by_its_scalar_equation(depth):
    """All seen: s = sigma - p s^(1/(k+1) - 1), and a value is kept only if that beats 0."""
    array = np.diag([5.0, 3.0, 2.0, 0.4]) + 0.0
    penalty = 0.3
    fit = als.solve(Observations.from_array(array), depth=depth, penalty=penalty, max_rank=4, **RESTED)
    sizes = fit.model.component_norms()
    assert len(sizes) == 3
    for s, sigma in zip(sizes, (5.0, 3.0, 2.0), strict=True):
        assert s + penalty * s ** (1 / (depth + 1) - 1) == pytest.approx(sigma, rel=1e-6)
        assert 0.5 * (s - sigma) ** 2 + penalty * (depth + 1) * s ** (1 / (depth + 1)) < 0.5 * sigma**2


def deep_layers(vector: np.ndarray, k: int, rng) -> list[np.ndarray]:
    """Balanced, aligned layers w, A_1, ..., A_k whose product is `vector`."""
    size = np.linalg.norm(vector) ** (1 / (k + 1))
    axes = [v / np.linalg.norm(v) for v in rng.normal(size=(k, len(vector)))] + [vector / np.linalg.norm(vector)]
    return [size * axes[0]] + [size * np.outer(above, below) for below, above in pairwise(axes)]


def deep_objective(layers, obs: Observations, penalty: float) -> float:
    """The explicit model: layers[n][r] = [w, A_1, ..., A_k]; weight decay on each of them."""
    factors = []
    for mode in layers:
        columns = []
        for w, *squares in mode:
            for square in squares:
                w = square @ w
            columns.append(w)
        factors.append(np.column_stack(columns))
    decay = sum(np.sum(layer**2) for mode in layers for component in mode for layer in component)
    return 0.5 * np.sum(weighted_mask(obs) * residual(obs, factors) ** 2) + 0.5 * penalty * decay


def numerical_gradients(layers, function) -> list[np.ndarray]:
    """Central differences, one array a layer."""
    gradients = []
    for layer in (layer for mode in layers for component in mode for layer in component):
        gradient, step = np.zeros(layer.shape), 1e-5
        for at in np.ndindex(layer.shape):
            was = layer[at]
            layer[at] = was + step
            above = function(layers)
            layer[at] = was - step
            below = function(layers)
            layer[at] = was
            gradient[at] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("shape", [(5, 4), (4, 3, 5)])
def test_a_minimum_is_a_stationary_point_of_explicit_layers_with_weight_decay(k, shape):
    obs, penalty = observed(shape, seed=6, share=0.9, rank=2, noise=0.05, weighted=True), 0.2
    fit = als.solve(obs, depth=k, penalty=penalty, max_rank=4, **RESTED)
    assert fit.rank >= 1
    rng = np.random.default_rng(0)
    layers = [[deep_layers(column, k, rng) for column in factor.T] for factor in fit.model.factors]
    assert deep_objective(layers, obs, penalty) == pytest.approx(fit.objective[-1], rel=1e-8), "the penalty is the layers' decay"

    gradients = numerical_gradients(layers, lambda at: deep_objective(at, obs, penalty))
    flat = [layer for mode in layers for component in mode for layer in component]
    for gradient, layer in zip(gradients, flat, strict=True):
        assert np.linalg.norm(gradient) < 1e-5 * penalty * np.linalg.norm(layer)

    elsewhere = als.solve(obs, depth=k + 0.5, penalty=penalty, max_rank=4, **RESTED)
    layers = [[deep_layers(column, k, rng) for column in factor.T] for factor in elsewhere.model.factors]
    gradients = numerical_gradients(layers, lambda at: deep_objective(at, obs, penalty))
    assert max(np.linalg.norm(g) for g in gradients) > 1e-3 * penalty, "the minimum of another depth is none of this one"


# --- histories ------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(problems(), st.floats(0.0, 4.0), st.floats(1e-3, 5.0), st.sampled_from([0.0, 0.1]))
def test_the_history_falls_to_the_objective_of_the_model(obs, depth, penalty, guard):
    fit = als.solve(obs, depth=depth, penalty=penalty, guard=guard, max_rank=5, max_sweeps=50, random_state=0)
    history = np.array(fit.objective)
    assert (np.diff(history) <= 1e-10 * history[:-1] + 1e-12).all()
    assert history[-1] == pytest.approx(objective(obs, fit.model.factors, depth, penalty, guard), rel=1e-8, abs=1e-10)
    assert fit.rank <= 5


def test_annealing_only_helps():
    obs = observed((12, 12, 12), seed=0, share=0.3, rank=4, noise=0.1)
    for seed in range(4):
        alone, annealed = (als.solve(obs, depth=2, penalty=0.5, max_rank=12, anneal_rounds=n, random_state=seed) for n in (0, 10))
        assert annealed.objective[-1] <= alone.objective[-1]
        assert annealed.objective[: len(alone.objective)] == alone.objective


@pytest.mark.parametrize(("loss", "nonnegative"), [("gaussian", False), ("gaussian", True), ("huber", False)])
def test_a_fit_that_starts_at_rest_stays_there(loss, nonnegative):
    obs = observed((9, 8, 7), seed=0, share=0.6, rank=2, noise=0.1)
    options = {"depth": 1.0, "penalty": 0.3, "loss": loss, "nonnegative": nonnegative, "anneal_rounds": 0, "random_state": 0}
    first = als.solve(obs, max_rank=4, tol=1e-13, max_sweeps=5000, **options)
    again = als.solve(obs, start=first.model, **options)
    assert again.converged and len(again.objective) <= 5 < len(first.objective)
    assert again.objective[-1] == pytest.approx(first.objective[-1], rel=1e-6)
    np.testing.assert_allclose(again.model.full(), first.model.full(), atol=1e-3)


def test_a_fit_of_more_entries_goes_on_below_where_it_starts():
    whole = observed((12, 9, 8), seed=1, share=0.6, rank=2, noise=0.1)
    yesterday = whole.subset(whole.coords[0] < 11)
    options = {"depth": 1.0, "penalty": 0.3, "random_state": 0}
    before = als.solve(yesterday, max_rank=4, **options)
    after = als.solve(whole, start=before.model, anneal_rounds=0, **options)
    scratch = als.solve(whole, max_rank=4, **options)
    assert after.objective[0] < objective(whole, before.model.factors, 1.0, 0.3, 0.0)
    assert after.objective[-1] == pytest.approx(scratch.objective[-1], rel=1e-6) and after.objective[0] < scratch.objective[0]
    np.testing.assert_array_equal(before.model.factors[0][11], 0.0)  # what was given is not changed
    nothing = als.solve(whole, start=CPTensor([np.zeros((d, 0)) for d in whole.shape]), max_rank=4, **options)
    np.testing.assert_array_equal(nothing.model.full(), scratch.model.full())


def test_a_start_that_does_not_fit_is_named():
    obs = observed((4, 5), seed=0)
    with pytest.raises(ValueError, match=r"start has shape \(4, 6\) and the entries \(4, 5\)"):
        als.solve(obs, start=CPTensor([np.ones((4, 1)), np.ones((6, 1))]))
    with pytest.raises(ValueError, match="start has negative numbers"):
        als.solve(obs, start=CPTensor([np.ones((4, 1)), -np.ones((5, 1))]), nonnegative=True)


def test_same_seed_same_bits_another_seed_others():
    obs = observed((6, 7, 8), seed=0)
    one, two, other = (als.solve(obs, max_rank=6, random_state=s, n_jobs=j) for s, j in [(3, 1), (3, 2), (4, 1)])
    assert [f.tobytes() for f in one.model.factors] == [f.tobytes() for f in two.model.factors]
    assert one.objective == two.objective
    assert one.objective != other.objective


# --- symmetries -----------------------------------------------------------------------------------


def test_the_order_of_the_entries_does_not_matter():
    obs = observed((6, 7, 8), seed=0, weighted=True)
    arrival = np.random.default_rng(0).permutation(obs.size)
    assert obs.weights is not None
    shuffled = Observations.from_indices(obs.indices[arrival], obs.values[arrival], shape=obs.shape, weights=obs.weights[arrival])
    one, two = (als.solve(o, max_rank=6, random_state=0) for o in (obs, shuffled))
    assert [f.tobytes() for f in one.model.factors] == [f.tobytes() for f in two.model.factors]


@pytest.mark.parametrize("depth", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("factor", [1e-6, 3.0, 1e5])
def test_scaling_the_data_scales_the_answer(depth, factor):
    """c y at penalty p c^(2 - 2/(N(k+1))) is the same problem."""
    obs = observed((6, 5, 7), seed=2, noise=0.1)
    other = factor ** (2 - 2 / (obs.order * (depth + 1)))
    one = als.solve(obs, depth=depth, penalty=0.3, max_rank=4, max_sweeps=100, random_state=0)
    two = als.solve(obs.with_values(factor * obs.values), depth=depth, penalty=0.3 * other, max_rank=4, max_sweeps=100, random_state=0)
    assert one.rank == two.rank
    np.testing.assert_allclose(two.model.full(), factor * one.model.full(), atol=1e-8 * factor)
    np.testing.assert_allclose(two.objective, factor**2 * np.array(one.objective), rtol=1e-8)


@pytest.mark.parametrize("depth", [0.0, 1.0, 2.0])
def test_permuting_slices_and_transposing_modes_permute_the_answer(depth):
    array = dense([np.random.default_rng(m).normal(size=(d, 2)) for m, d in enumerate((7, 6, 8))])
    array += 0.05 * np.random.default_rng(9).normal(size=array.shape)
    array[np.random.default_rng(10).random(array.shape) < 0.2] = np.nan
    rng = np.random.default_rng(0)
    rows = [rng.permutation(d) for d in array.shape]

    def run(a):
        return als.solve(Observations.from_array(a), depth=depth, penalty=0.3, max_rank=5, tol=1e-12, max_sweeps=3000, random_state=0)

    fit, permuted, transposed = run(array), run(array[np.ix_(*rows)]), run(array.transpose(2, 0, 1))
    assert fit.objective[-1] == pytest.approx(permuted.objective[-1], rel=1e-6) == pytest.approx(transposed.objective[-1], rel=1e-6)
    np.testing.assert_allclose(permuted.model.full(), fit.model.full()[np.ix_(*rows)], atol=1e-3)
    np.testing.assert_allclose(transposed.model.full(), fit.model.full().transpose(2, 0, 1), atol=1e-3)


def test_an_integer_weight_is_that_many_entries():
    """A weight of 2 charges an entry's residual twice; weights of 1 are no weights."""
    obs = observed((5, 6), seed=0)
    plain = als.solve(obs, penalty=0.5, max_rank=3, random_state=0)
    ones = als.solve(obs.with_values(obs.values, np.ones(obs.size)), penalty=0.5, max_rank=3, random_state=0)
    twice = als.solve(obs.with_values(obs.values, np.full(obs.size, 2.0)), penalty=1.0, max_rank=3, random_state=0)
    np.testing.assert_allclose(ones.model.full(), plain.model.full(), atol=1e-10)
    np.testing.assert_allclose(twice.model.full(), plain.model.full(), atol=1e-10)


# --- swamps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("penalty", [1e-12, 1e-2])
@pytest.mark.parametrize(
    "shape", [(6, 5), (4, 1, 5), (1, 1), (1, 1, 1), (3, 2, 2, 2, 2, 1, 2, 3), (3, 3, 3)], ids=lambda s: "x".join(map(str, s))
)
@pytest.mark.parametrize("depth", [0.0, 1.0, 3.0])
def test_nothing_is_too_badly_conditioned(shape, depth, penalty, dtype):
    """Duplicate slices, rank above every size, next to no penalty, modes of one slice, order 8."""
    array = observed(shape, seed=0, share=1.0).values.reshape(shape)
    array[-1] = array[0]
    array[..., -1] = array[..., 0]
    obs = Observations.from_array(array)
    fit = als.solve(obs, depth=depth, penalty=penalty, max_rank=20, max_sweeps=40, anneal_rounds=2, dtype=dtype, random_state=0)
    assert all(np.isfinite(f).all() for f in fit.model.factors)
    history = np.array(fit.objective)
    assert (np.diff(history) <= 1e-3 * history[:-1] + 1e-9 * obs.size).all()
    assert history[-1] <= 0.5 * np.sum(array**2)


def test_slices_never_seen_are_zero():
    array = dense([np.random.default_rng(m).normal(size=(d, 1)) for m, d in enumerate((6, 5, 4))])
    array[2], array[:, :, 1] = np.nan, np.nan
    fit = als.solve(Observations.from_array(array), penalty=0.01, max_rank=3, random_state=0)
    assert fit.rank >= 1
    assert not fit.model.factors[0][2].any()
    assert not fit.model.factors[2][1].any()


# --- bad parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": -1}, r"depth=-1 is not a number >= 0; pass depth=0"),
        ({"penalty": 0}, r"penalty=0 is not a positive number; pass penalty=1.0"),
        ({"penalty": float("nan")}, r"penalty=nan is not a positive number"),
        ({"penalty": "auto"}, r"penalty='auto' is not a positive number"),
        ({"guard": -0.1}, r"guard=-0.1 is not a number >= 0; pass guard=0.0"),
        ({"max_rank": 0}, r"max_rank=0 is not a number of components; pass max_rank=40"),
        ({"max_rank": 2.5}, r"max_rank=2.5 is not a number of components"),
        ({"n_jobs": 0}, r"n_jobs=0 is not a number of threads"),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        als.solve(observed((3, 4), seed=0), **options)


def test_overflow_is_said_with_a_mend():
    obs = observed((4, 5), seed=0)
    with pytest.raises(FloatingPointError, match=r"scale the values to about 1 \(Observations\.scaled\), use float64"):
        als.solve(obs.with_values((obs.values * 1e30).astype(np.float32)), dtype=np.float32, random_state=0)
    scaled, scale = obs.with_values((obs.values * 1e30).astype(np.float32)).scaled()
    assert np.isfinite(als.solve(scaled, dtype=np.float32, random_state=0).model.full() * scale).all()
