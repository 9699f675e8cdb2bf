"""One row's update is one ridge regression: the kernels against numpy.linalg.solve, row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import LETTERS, dense, factors_of, objective, observed, problems, random_state, residual, weighted_mask

from rankless.als import modes as modes_module
from rankless.als.entries import Entries
from rankless.als.kernels import PANEL
from rankless.als.solver import Problem, State, update_mode
from rankless.runtime import workers as workers_module
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations


def ridge_rows(obs: Observations, factors, mode: int, problem: Problem) -> np.ndarray:
    """Minimise over one mode's rows: loss + guard + the ridge that majorises the penalty."""
    others = [f for m, f in enumerate(factors) if m != mode]
    letters = LETTERS[: len(others)]
    spread = np.einsum(",".join(c + "r" for c in letters) + "->" + letters + "r", *others).reshape(-1, factors[0].shape[1])
    target = np.zeros(obs.shape)
    target[tuple(obs.coords)] = obs.values
    target, weight = (np.moveaxis(a, mode, 0).reshape(obs.shape[mode], -1) for a in (target, weighted_mask(obs)))
    norms = np.linalg.norm(factors[mode], axis=0)
    ridge = problem.penalty * np.diag(norms ** (-2 * problem.depth / (problem.depth + 1))) + problem.guard * spread.T @ spread
    return np.stack(
        [np.linalg.solve(spread.T @ (w[:, None] * spread) + ridge, spread.T @ (w * y)) for y, w in zip(target, weight, strict=True)]
    )


def updated(obs: Observations, dtype, rank: int, mode: int, problem: Problem, n_jobs: int = 1) -> tuple[State, State]:
    """A random state before and after the update of one mode, with everything measured."""
    entries = Entries(obs, dtype)
    before = random_state(entries, rank, seed=1)
    after = before.copy()
    with Workers(n_jobs) as workers:
        update_mode(entries, after, entries.modes[mode], problem, workers, measure=True)
    return before, after


def assert_ridge(obs: Observations, dtype, rank: int, mode: int, problem: Problem) -> None:
    before, after = updated(obs, dtype, rank, mode, problem)
    expected = ridge_rows(obs, factors_of(before), mode, problem)
    rounding = 3e-3 if dtype == np.float32 else 1e-8
    np.testing.assert_allclose(after.factor(mode), expected, rtol=rounding, atol=rounding * np.abs(expected).max(initial=1))
    for other in range(obs.order):
        if other != mode:
            np.testing.assert_array_equal(after.factor(other), before.factor(other))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", range(2, 9))
def test_a_row_is_its_ridge_regression_at_any_order(order, dtype):
    shape = (4, 3, 5, 2, 2, 3, 2, 2)[:order]
    for mode in range(order):
        for weighted, guard in [(False, 0.0), (True, 0.2)]:
            obs = observed(shape, seed=order, share=0.6, weighted=weighted)
            assert_ridge(obs, dtype, 3, mode, Problem(depth=1.5, penalty=0.7, guard=guard))


@settings(max_examples=200)
@given(problems(), st.integers(1, 6), st.floats(0.0, 4.0), st.floats(0.05, 5.0), st.sampled_from([0.0, 0.3]), st.data())
def test_a_row_is_its_ridge_regression(obs, rank, depth, penalty, guard, data):
    assert_ridge(obs, np.float64, rank, data.draw(st.integers(0, obs.order - 1)), Problem(depth, penalty, guard))


@settings(max_examples=200)
@given(problems(), st.integers(1, 5), st.floats(0.0, 4.0), st.sampled_from([0.0, 0.3]))
def test_what_the_update_measures_is_true(obs, rank, depth, guard):
    """Loss, each component's energy and its inner product with the residual, all as the dense tensors say."""
    mode = obs.order - 1
    _, after = updated(obs, np.float64, rank, mode, Problem(depth, 0.5, guard))
    factors, weight = factors_of(after), weighted_mask(obs)
    gap, whole = residual(obs, factors), dense(factors)
    assert after.loss == pytest.approx(objective(obs, factors, depth, 0.0, guard), rel=1e-9)
    for r in range(rank):
        part = dense([f[:, [r]] for f in factors])
        energy = np.sum(weight * part**2) + guard * np.sum(part**2)
        gain = np.sum(weight * gap * part) - guard * np.sum(whole * part)
        assert after.energies[r] == pytest.approx(energy, rel=1e-8, abs=1e-10)
        assert after.gains[r] == pytest.approx(gain, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("count", [1, PANEL - 1, PANEL, PANEL + 1, 3 * PANEL + 7])
def test_rows_longer_than_a_panel(count):
    rng = np.random.default_rng(count)
    indices = np.column_stack([np.zeros(count, int), np.arange(count), rng.integers(0, 3, count)])
    obs = Observations.from_indices(indices, rng.normal(size=count), shape=(2, count, 3))
    assert_ridge(obs, np.float64, 5, 0, Problem(1.0, 0.3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_row_shared_between_threads_is_the_same_row(monkeypatch, dtype, weighted):
    obs = observed((3, 40, 11), seed=0, weighted=weighted)
    problem = Problem(1.0, 0.4, guard=0.1)
    _, short = updated(obs, dtype, 4, 0, problem)
    monkeypatch.setattr(modes_module, "_LONG_ROW", 50)
    monkeypatch.setattr(workers_module, "_SMALL_WORK", 0)
    assert len(Entries(obs).modes[0].long_rows) == 3
    one, two = (updated(obs, dtype, 4, 0, problem, n_jobs)[1] for n_jobs in (1, 2))
    rounding = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(one.stack, short.stack, rtol=rounding, atol=rounding)
    np.testing.assert_allclose(one.energies, short.energies, rtol=10 * rounding)
    assert one.loss == pytest.approx(short.loss, rel=rounding)
    assert one.stack.tobytes() == two.stack.tobytes()
    assert one.loss == two.loss


@pytest.mark.parametrize("long_row", [16_384, 5])
def test_a_dead_component_stays_dead_below_depth_0(monkeypatch, long_row):
    monkeypatch.setattr(modes_module, "_LONG_ROW", long_row)
    obs = observed((5, 6, 4), seed=0)
    entries = Entries(obs)
    state = random_state(entries, 3, seed=0)
    state.factor(0)[:, 1] = 0
    with Workers(1) as workers:
        update_mode(entries, state, entries.modes[0], Problem(2.0, 0.5), workers, measure=True)
    assert not state.factor(0)[:, 1].any()
    assert np.isfinite(state.stack).all()
    assert state.factor(0)[:, [0, 2]].all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("long_row", [16_384, 3])
def test_a_singular_row_is_mended_without_a_rise(monkeypatch, dtype, long_row):
    """Six equal components and next to no penalty: Cholesky fails, a proximal step must not."""
    monkeypatch.setattr(modes_module, "_LONG_ROW", long_row)
    obs = observed((3, 8, 2), seed=0, share=1.0)
    entries = Entries(obs, dtype)
    state = random_state(entries, 6, seed=0)
    state.stack[entries.offsets[1] :] = state.stack[entries.offsets[1] :, :1]
    spread = state.factor(0) - state.factor(0).mean(axis=1, keepdims=True)  # what no entry tells apart
    before = objective(obs, factors_of(state), 0.0, 1e-30)
    with Workers(1) as workers:
        update_mode(entries, state, entries.modes[0], Problem(0.0, 1e-30), workers, measure=True)
    assert np.isfinite(state.stack).all()
    np.testing.assert_allclose(state.factor(0) - state.factor(0).mean(axis=1, keepdims=True), spread, atol=0.2)  # kept, to rounding
    after = objective(obs, factors_of(state), 0.0, 1e-30)
    best = objective(obs, [np.linalg.lstsq(*_rank_one_rows(obs, state), rcond=None)[0].T, *factors_of(state)[1:]], 0.0, 0.0)
    assert after < before
    assert after == pytest.approx(best, rel=1e-3 if dtype == np.float32 else 1e-6)


def _rank_one_rows(obs: Observations, state: State) -> tuple[np.ndarray, np.ndarray]:
    spread = np.einsum("br,cr->bcr", *factors_of(state)[1:]).reshape(-1, state.rank)
    target = np.zeros(obs.shape)
    target[tuple(obs.coords)] = obs.values
    return spread, target.reshape(obs.shape[0], -1).T
