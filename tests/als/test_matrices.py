"""Components of a matrix are its singular vectors: the same matrix, at the least penalty, and as many as it has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import random_state

from rankless import als, complete
from rankless.als import matrices
from rankless.als.entries import Entries
from rankless.als.solver import Problem, State, balance, prices
from rankless.tensors.observations import Observations


def full_matrix(state):
    return state.factor(0) @ state.factor(1).T


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 9), st.sampled_from([0.0, 0.5, 3.0]))
def test_turned_it_is_the_same_matrix_and_no_dearer(rows, columns, rank, depth):
    entries = Entries(Observations.from_array(np.random.default_rng(0).normal(size=(rows, columns))))
    state, problem = random_state(entries, rank, seed=rows + 10 * columns), Problem(depth, 1.0)
    balance(state)
    before, paid = full_matrix(state), prices(state, problem).sum()
    matrices.turn(state)
    np.testing.assert_allclose(full_matrix(state), before, atol=1e-12)
    assert prices(state, problem).sum() <= paid * (1 + 1e-12)
    assert state.rank == min(rows, columns, rank)
    sizes = np.linalg.svd(before, compute_uv=False)[: state.rank]
    np.testing.assert_allclose(state.norms().prod(axis=0), sizes, atol=1e-12 * sizes[0])


@pytest.mark.parametrize(("rows", "columns", "rank"), [(70_000, 9, 6), (50, 8, 12), (5, 40, 7), (20, 20, 3)])
def test_in_single_precision_it_is_the_same_matrix_to_single_precision(rows, columns, rank):
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(d, rank)).astype(np.float32) for d in (rows, columns)]
    factors[0][:, -1] = factors[0][:, 0]  # one direction less than there are columns
    state = State(np.concatenate(factors), np.array([0, rows, rows + columns]))
    before = factors[0].astype(float) @ factors[1].T
    matrices.turn(state)
    assert state.stack.dtype == np.float32 and state.rank <= min(rows, columns, rank - 1)
    assert np.linalg.norm(full_matrix(state) - before) < 1e-5 * np.linalg.norm(before)
    sizes = np.linalg.svd(np.linalg.qr(factors[0].astype(float))[1] @ factors[1].T, compute_uv=False)
    np.testing.assert_allclose(state.norms().prod(axis=0), sizes[: state.rank], rtol=1e-4)
    for factor in (state.factor(0), state.factor(1)):
        gram = factor.T.astype(float) @ factor
        assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-5 * gram.max()


def test_the_last_step_is_turned_as_the_matrix_was():
    """What is near before a rotation is near after it, and is the same matrix."""
    rng = np.random.default_rng(0)
    last = rng.normal(size=(9, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    here = last @ turn + 1e-6 * rng.normal(size=(9, 3))
    found = matrices.alike(last, here)
    np.testing.assert_allclose(found, here, atol=1e-5)
    np.testing.assert_allclose(found[:5] @ found[5:].T, last[:5] @ last[5:].T, atol=1e-12)


def test_numbers_beyond_all_bounds_stay_as_they_are():
    state = random_state(Entries(Observations.from_array(np.ones((3, 2)))), 2, seed=0)
    state.stack[0, 0] = np.inf
    before = state.stack.copy()
    matrices.turn(state)
    np.testing.assert_array_equal(state.stack, before)
    np.testing.assert_array_equal(matrices.alike(before, before), before)


@pytest.mark.parametrize("depth", [0.0, 1.0])
@pytest.mark.parametrize("loss", ["gaussian", "huber"])
def test_components_of_a_fit_are_orthogonal_and_as_many_as_columns_at_most(depth, loss):
    rng = np.random.default_rng(2)
    array = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 5)) + 0.1 * rng.normal(size=(30, 5))
    array[rng.random(array.shape) < 0.3] = np.nan
    fit = als.solve(
        Observations.from_array(array), depth=depth, penalty=0.5, max_rank=12, loss=loss, tol=1e-12, max_sweeps=3000, random_state=0
    )
    first, second = fit.model.factors
    assert first.shape[1] <= 5
    for factor in (first, second):
        gram = factor.T @ factor
        assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-4 * gram.max()


def test_waves_without_noise_are_as_many_components_as_there_are():
    """Unturned, the fit of three waves in 30 columns kept 40 components, and erred a million times as much."""
    rng = np.random.default_rng(0)
    waves = np.sin(2 * np.pi * np.outer(np.linspace(0, 1, 200), [1, 2, 3]) + rng.uniform(0, 6, 3))
    truth = waves @ rng.standard_normal((3, 30))
    hidden = rng.random(truth.shape) < 0.3
    done = complete(np.where(hidden, np.nan, truth), random_state=0)
    assert done.rank == 3
    assert np.abs(done.filled - truth)[hidden].max() < 1e-10
