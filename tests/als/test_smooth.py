"""Smooth modes: the objective with `u'(I + tau L)u`, against scipy and plain numpy over all cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense, factors_of, observed, problems, random_state, residual, weighted_mask
from scipy.optimize import minimize

from rankless import als
from rankless.als import modes as modes_module
from rankless.als import solver
from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem, balance, prune, sweep, update_mode
from rankless.runtime import workers as workers_module
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

taus = st.sampled_from([0.0, 0.3, 5.0, 300.0])


def laplacian(size: int) -> np.ndarray:
    steps = np.diff(np.eye(size), axis=0)
    return steps.T @ steps


def objective(obs, factors, problem: Problem) -> float:
    """The objective with the Laplacian written out."""
    loss = 0.5 * float(np.sum(weighted_mask(obs) * residual(obs, factors) ** 2)) + 0.5 * problem.guard * float(np.sum(dense(factors) ** 2))
    for factor, tau in zip(factors, problem.smooth, strict=True):
        squares = np.einsum("ir,ij,jr->r", factor, np.eye(len(factor)) + tau * laplacian(len(factor)), factor)
        loss += problem.penalty * 0.5 * (problem.depth + 1) * float(np.sum(np.maximum(squares, 0) ** (1 / (problem.depth + 1))))
    return loss


@settings(max_examples=300)
@given(problems(), st.integers(1, 5), st.sampled_from([0.0, 1.0, 3.0]), st.floats(1e-3, 5.0), st.sampled_from([0.0, 0.1]), st.data())
def test_the_objective_never_rises_and_is_the_dense_one(obs, rank, depth, penalty, guard, data):
    smooth = tuple(data.draw(taus) for _ in obs.shape)
    entries, problem = Entries(obs), Problem(depth, penalty, guard, smooth=smooth)
    state = random_state(entries, rank, seed=0)
    before = objective(obs, factors_of(state), problem)
    with Workers(1) as workers:
        for _ in range(12):
            if state.rank == 0:
                break
            sweep(entries, state, problem, workers)
            swept = objective(obs, factors_of(state), problem)
            assert solver.objective(state, problem) == pytest.approx(swept, rel=1e-9, abs=1e-12)
            assert swept <= before * (1 + 1e-10) + 1e-12
            prune(state, problem)
            before = objective(obs, factors_of(state), problem)
            assert before <= swept * (1 + 1e-10) + 1e-12, "what was pruned did not pay for itself"


@pytest.mark.parametrize("long_row", [16_384, 5])
@settings(max_examples=100)
@given(obs=problems(), rank=st.integers(1, 5), depth=st.floats(0.0, 4.0), guard=st.sampled_from([0.0, 0.3]), tau=taus)
def test_what_the_update_measures_is_true(long_row, obs, rank, depth, guard, tau):
    """Loss, energies and inner products with the residual, also before the halves agree with each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modes_module, "_LONG_ROW", long_row)
        entries = Entries(obs)
        state = random_state(entries, rank, seed=1)
        problem = Problem(depth, 0.5, guard, smooth=(*(0.0,) * (obs.order - 1), tau))
        with Workers(1) as workers:
            update_mode(entries, state, entries.modes[-1], problem, workers, measure=True)
    factors, weight = factors_of(state), weighted_mask(obs)
    gap, whole = residual(obs, factors), dense(factors)
    assert state.loss == pytest.approx(0.5 * np.sum(weight * gap**2) + 0.5 * guard * np.sum(whole**2), rel=1e-9)
    for r in range(rank):
        part = dense([f[:, [r]] for f in factors])
        gain = np.sum(weight * gap * part) - guard * np.sum(whole * part)
        assert state.energies[r] == pytest.approx(np.sum((weight + guard) * part**2), rel=1e-8, abs=1e-10)
        assert state.gains[r] == pytest.approx(gain, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("rank", [1, 3])
def test_a_fit_at_depth_0_is_the_least_that_scipy_finds(rank):
    obs = observed((6, 5, 4), seed=2, share=0.6, weighted=True)
    entries, problem = Entries(obs), Problem(0.0, 0.4, tol=1e-14, max_sweeps=20_000, smooth=(2.0, 0.0, 30.0))
    state = random_state(entries, rank, seed=0)
    with Workers(1) as workers:
        settle(entries, state, problem, workers, pruning=False)
    edges = np.cumsum([d * rank for d in obs.shape])[:-1]

    def value(flat: np.ndarray) -> float:
        return objective(obs, [part.reshape(-1, rank) for part in np.split(flat, edges)], problem)

    start = np.concatenate([f.ravel() for f in factors_of(state)])
    found = minimize(value, start + 0.01 * np.random.default_rng(0).normal(size=len(start)), method="BFGS", options={"gtol": 1e-8})
    assert value(start) == pytest.approx(solver.objective(state, problem), rel=1e-10)
    assert value(start) == pytest.approx(found.fun, rel=1e-6)


def test_a_slice_without_entries_lies_between_its_neighbours():
    obs = observed((9, 8, 7), seed=0, share=1.0, rank=1, noise=0.0)
    obs = obs.subset(~np.isin(obs.coords[0], [0, 3, 4]))
    fit = als.solve(obs, depth=1.0, penalty=1e-3, max_rank=1, smooth={0: 1e4}, tol=1e-14, max_sweeps=5000, random_state=0)
    u = fit.model.factors[0][:, 0]
    np.testing.assert_allclose(u[[0, 3, 4]], [u[1], (2 * u[2] + u[5]) / 3, (u[2] + 2 * u[5]) / 3], rtol=1e-2)
    plain = als.solve(obs, depth=1.0, penalty=1e-3, max_rank=1, random_state=0)
    assert not plain.model.factors[0][[0, 3, 4]].any()


def test_a_very_smooth_mode_is_constant():
    rng = np.random.default_rng(0)
    obs = Observations.from_array(1 + rng.normal(size=(8, 6, 5)), modes=["day", "b", "c"])
    fit = als.solve(obs, depth=1.0, penalty=0.1, smooth={"day": 1e8}, random_state=0)
    factor = fit.model.factors[0]
    assert fit.rank
    np.testing.assert_allclose(factor, np.broadcast_to(factor.mean(axis=0), factor.shape), rtol=1e-3)


def test_no_smoothness_is_none():
    obs = observed((6, 5, 4), seed=0)
    assert als.solve(obs, random_state=0).objective == als.solve(obs, smooth={0: 0.0}, random_state=0).objective


def test_balancing_is_least_in_the_norms_that_count():
    entries = Entries(observed((4, 5, 6), seed=0))
    state, smooth = random_state(entries, 3, seed=0), (2.0, 0.0, 50.0)
    before = dense(factors_of(state.copy()))
    balance(state, smooth)
    np.testing.assert_allclose(dense(factors_of(state)), before, rtol=1e-10)
    np.testing.assert_allclose(state.norms(smooth), np.broadcast_to(state.norms(smooth)[:1], (3, 3)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_do_not_depend_on_the_threads_nor_on_the_order_of_entries(monkeypatch, dtype):
    monkeypatch.setattr(workers_module, "_SMALL_WORK", 0)
    obs = observed((5, 30, 9), seed=0, weighted=True)
    order = np.random.default_rng(0).permutation(obs.size)
    weights = np.asarray(obs.weights)
    mixed = Observations.from_indices(obs.indices[order], obs.values[order], shape=obs.shape, weights=weights[order])
    problem = Problem(1.0, 0.3, 0.01, tol=0, max_sweeps=20, smooth=(10.0, 1.0, 100.0))
    objectives = {}
    for long_row in (100, 16_384):
        monkeypatch.setattr(modes_module, "_LONG_ROW", long_row)
        states = []
        for n_jobs, data in ((1, obs), (2, obs), (3, obs), (1, mixed)):
            entries = Entries(data, dtype)
            state = random_state(entries, 5, seed=0)
            with Workers(n_jobs) as workers:
                trace = settle(entries, state, problem, workers)
            states.append((state.stack.tobytes(), trace.objective))
        assert states[0] == states[1] == states[2] == states[3]
        objectives[long_row] = states[0][1]
    np.testing.assert_allclose(objectives[100], objectives[16_384], rtol=1e-4 if dtype == np.float32 else 1e-9)


def test_a_smoothness_that_is_no_number_is_named():
    with pytest.raises(ValueError, match=r"smooth\[0\]=-1 is not a number >= 0"):
        als.solve(observed((4, 4, 4), seed=0), smooth={0: -1})
