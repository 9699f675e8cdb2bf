"""Neighbours: the conditional mean is that of a dense normal, and it is used only where residuals are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import rankless
from planted import hidden_error, planted
from rankless.experts.neighbours import Correlation, Groups, Neighbours, _tables, choose
from rankless.tensors.observations import Observations

SHAPE = (5, 4, 12, 3)
RNG = np.random.default_rng(0)
PHI, RHO, NUGGET = np.array([0.8, 0.5, 0.9]), np.array([0.3, 0.6, 0.0]), np.array([0.5, 0.1, 2.0])
HOW = Correlation(_tables(SHAPE, (2, 0), [True, False], np.stack([PHI, RHO])), NUGGET, np.ones(3))
NEAR = Neighbours(Groups(SHAPE, (2, 0), 3), HOW)


def seen(weights: bool = False) -> Observations:
    indices = np.argwhere(RNG.random(SHAPE) < 0.5)
    values = RNG.normal(size=len(indices))
    return Observations.from_indices(indices, values, shape=SHAPE, weights=RNG.uniform(0.5, 2, len(indices)) if weights else None)


@pytest.mark.parametrize("weights", [False, True])
def test_it_is_the_conditional_mean_of_a_normal(weights):
    obs = seen(weights)
    everywhere = np.argwhere(np.ones(SHAPE))
    found = NEAR.given(obs, obs.values).at(everywhere).reshape(SHAPE)
    noise = np.ones(obs.size) if obs.weights is None else obs.weights.mean() / obs.weights
    for s in range(3):
        own = obs.coords[3] == s
        here = obs.indices[own]
        mean = obs.values[own].mean()

        def covariance(a, b, s=s):
            gap = np.abs(a[:, None] - b[None])
            return PHI[s] ** gap[..., 2] * np.where(gap[..., 0] > 0, RHO[s], 1.0) * (gap[..., 1] == 0)

        cells = everywhere[everywhere[:, 3] == s]
        weight = np.linalg.solve(covariance(here, here) + NUGGET[s] * np.diag(noise[own]), obs.values[own] - mean)
        np.testing.assert_allclose(found[tuple(cells.T)], mean + covariance(cells, here) @ weight, atol=1e-10)


def test_it_scales_and_slices_without_it_get_nothing():
    obs = seen()
    off = replace(NEAR, correlation=replace(HOW, nuggets=np.array([0.5, np.inf, 2.0])))
    cells = np.argwhere(np.ones(SHAPE))
    one = off.given(obs, obs.values)
    np.testing.assert_allclose(off.given(obs, 8.0 * obs.values).at(cells), 8.0 * one.at(cells))
    np.testing.assert_array_equal(one.at(cells)[cells[:, 3] == 1], 0.0)


def weather(seed: int, phi: float, size: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A planted tensor with something on top that fades along the last mode, and what is seen of it."""
    truth, _ = planted((15, 20, 24), 3, 1.0, noise=0.0, seed=seed)
    rng = np.random.default_rng([seed, 1])
    local = rng.normal(size=truth.shape)
    for t in range(1, truth.shape[2]):
        local[..., t] = phi * local[..., t - 1] + np.sqrt(1 - phi**2) * local[..., t]
    truth = truth + size * local
    return truth, np.where(rng.random(truth.shape) < 0.5, truth + 0.05 * rng.normal(size=truth.shape), np.nan)


@pytest.fixture(scope="module")
def close() -> tuple[np.ndarray, np.ndarray, rankless.Completion]:
    """A truth whose cells are alike along the last mode, what is seen of it, and what was made of that."""
    truth, array = weather(0, 0.9)
    return truth, array, rankless.complete(array, effort="fast", random_state=0)


def test_neighbours_fill_what_components_cannot_follow(close):
    truth, array, done = close
    without = rankless.complete(array, effort="fast", random_state=0, experts=["components", "draws"])
    assert hidden_error(done.filled, truth, array) < 0.95 * hidden_error(without.filled, truth, array)
    nearby = done.estimator.nearby_
    assert nearby is not None and nearby.seen.groups.modes == (2,)
    assert "neighbours along mode_2" in done.answer and done.answer in done.summary()
    assert done.estimator.holdout_rmse_ == pytest.approx(hidden_error(done.filled, truth, array), rel=0.25)


def test_the_answer_does_not_depend_on_units(close):
    _, array, done = close
    larger = rankless.complete(1024.0 * array, effort="fast", random_state=0)
    assert larger.estimator.nearby_ is not None
    np.testing.assert_allclose(larger.filled, 1024.0 * done.filled)


def test_white_residuals_have_no_neighbours():
    _, array = planted((15, 20, 24), 3, 0.5, noise=0.3, seed=2)
    assert rankless.complete(array, random_state=0, experts=["components", "neighbours"]).estimator.nearby_ is None


def test_where_neighbours_say_it_all_components_lose_their_share():
    _, array = weather(3, 0.95, size=3.0)
    obs = Observations.from_array(array)
    train, held = obs.split(0.2, seed=0)
    worthless = np.random.default_rng(5).normal(size=obs.size)
    mask = np.isin(np.ravel_multi_index(tuple(obs.coords), obs.shape), np.ravel_multi_index(tuple(held.coords), obs.shape))
    chosen = choose(train, worthless[~mask], held, worthless[mask], None)
    assert chosen is not None
    neighbours, errors = chosen
    assert neighbours.correlation.shares[0] < 0.2
    assert np.mean(errors**2) < 0.5 * np.var(held.values)


def test_sparse_arrays_have_no_neighbours():
    rng = np.random.default_rng(6)
    indices = np.unique(rng.integers(0, 200, (3000, 3)), axis=0)
    obs = Observations.from_indices(indices, rng.normal(size=len(indices)), shape=(200,) * 3)
    train, held = obs.split(0.1, seed=0)
    assert choose(train, np.zeros(train.size), held, np.zeros(held.size), None) is None


def test_bad_value_says_what_may_be_passed():
    with pytest.raises(ValueError, match="local='yes' is not known; leave it out"):
        rankless.complete(np.ones((3, 3)) * np.arange(3), local="yes")
