"""A sweep, a balance, a prune: each lowers the objective, as the dense tensors say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense, factors_of, objective, observed, penalty_of, problems, random_state

from rankless.als import modes as modes_module
from rankless.als import solver
from rankless.als.entries import Entries
from rankless.als.normal import LINE
from rankless.als.settle import settle
from rankless.als.solver import Problem, State, balance, gram_of_others, norms_of, prune, sweep, whole_energy
from rankless.runtime import workers as workers_module
from rankless.runtime.workers import Workers

depths = st.floats(0.0, 4.0)
penalties = st.floats(1e-3, 5.0)
guards = st.sampled_from([0.0, 0.05, 1.0])


@settings(max_examples=300)
@given(problems(), st.integers(1, 6), depths, penalties, guards)
def test_the_objective_never_rises_and_is_the_dense_one(obs, rank, depth, penalty, guard):
    """Sweep and prune by hand: what the solver says of the objective is what plain numpy says, and it only falls."""
    entries, problem = Entries(obs), Problem(depth, penalty, guard)
    state = random_state(entries, rank, seed=0)
    before = objective(obs, factors_of(state), depth, penalty, guard)
    with Workers(1) as workers:
        for _ in range(12):
            if state.rank == 0:
                break
            sweep(entries, state, problem, workers)
            swept = objective(obs, factors_of(state), depth, penalty, guard)
            assert solver.objective(state, problem) == pytest.approx(swept, rel=1e-9, abs=1e-12)
            assert swept <= before * (1 + 1e-10) + 1e-12
            prune(state, problem)
            before = objective(obs, factors_of(state), depth, penalty, guard)
            assert before <= swept * (1 + 1e-10) + 1e-12, "what was pruned did not pay for itself"


@settings(max_examples=300)
@given(problems(), st.integers(1, 6), depths, penalties, guards, st.sampled_from([np.float32, np.float64]), st.sampled_from([1, 2, 5, 60]))
def test_the_history_of_a_fit_never_rises(obs, rank, depth, penalty, guard, dtype, max_sweeps):
    """... and ends at the objective of the state it leaves, also where the last sweep pruned."""
    entries, problem = Entries(obs, dtype), Problem(depth, penalty, guard, tol=1e-9, max_sweeps=max_sweeps)
    state = random_state(entries, rank, seed=0)
    with Workers(1) as workers:
        trace = settle(entries, state, problem, workers)
    history = np.array(trace.objective)
    rounding = 1e-4 if dtype == np.float32 else 1e-10
    assert (np.diff(history) <= rounding * history[:-1] + 1e-12).all()
    assert trace.objective[-1] == solver.objective(state, problem)
    assert history[-1] == pytest.approx(objective(obs, factors_of(state), depth, penalty, guard), rel=rounding, abs=1e-6)


@given(problems(), st.integers(1, 6), depths)
def test_balancing_leaves_the_tensor_and_lowers_the_penalty(obs, rank, depth):
    entries = Entries(obs)
    state = random_state(entries, rank, seed=0)
    before = factors_of(state.copy())
    balance(state)
    after = factors_of(state)
    np.testing.assert_allclose(dense(after), dense(before), rtol=1e-10, atol=1e-12)
    assert penalty_of(after, depth) <= penalty_of(before, depth) * (1 + 1e-12)
    np.testing.assert_allclose(state.norms(), np.broadcast_to(state.norms()[:1], state.norms().shape))
    # least among all ways to spread the norm: N(k+1)/2 s^(2/(N(k+1))) by AM-GM
    sizes = [np.linalg.norm(dense([f[:, [r]] for f in before])) for r in range(rank)]
    factors = obs.order * (depth + 1)
    assert penalty_of(after, depth) == pytest.approx(0.5 * factors * np.sum(np.array(sizes) ** (2 / factors)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_and_inner_products_are_those_of_numpy_in_double_precision(dtype):
    rng = np.random.default_rng(0)
    offsets = np.array([0, 4, 5, 12])
    state = State(rng.standard_normal((12, 3)).astype(dtype), offsets)
    factors, smooth = factors_of(state), (0.0, 2.0, 5.0)
    expected = [
        np.linalg.norm(f, axis=0) ** 2 + tau * np.sum(np.diff(f, axis=0) ** 2, axis=0) for f, tau in zip(factors, smooth, strict=True)
    ]
    np.testing.assert_allclose(state.norms(smooth), np.sqrt(expected), rtol=1e-14)
    np.testing.assert_allclose(state.norms(), [np.linalg.norm(f, axis=0) for f in factors], rtol=1e-14)
    np.testing.assert_allclose(norms_of(state.factor(2), 5.0), np.sqrt(expected[2]), rtol=1e-14)
    grams = [f.T @ f for f in factors]
    for mode in range(3):
        others = np.prod([gram for m, gram in enumerate(grams) if m != mode], axis=0)
        np.testing.assert_allclose(gram_of_others(state, mode), others, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(whole_energy(state), np.sum(dense(factors) ** 2), rtol=1e-12)


def test_nothing_is_pruned_where_every_component_explains_more_than_it_costs_and_all_that_dies_goes_at_once():
    """Against every prefix of the components in the order of what their removal costs, tried one by one."""
    rng, problem, offsets = np.random.default_rng(1), Problem(0.0, 1.0), np.array([0, 3, 6])
    for spread in (0.1, 1.0, 3.0):
        for _ in range(20):
            state = State(rng.standard_normal((6, 4)), offsets, gains=rng.exponential(spread, 4), energies=rng.exponential(spread, 4))
            price = rng.exponential(1.0, 4)
            by_cost = np.argsort(state.gains + 0.5 * state.energies - price)
            firsts = [by_cost[:count] for count in range(5)]
            rises = [state.gains[s].sum() + 0.5 * np.sqrt(state.energies[s]).sum() ** 2 - price[s].sum() for s in firsts]
            kept = np.delete(state.stack, firsts[int(np.argmin(rises))], axis=1)
            assert prune(state, problem, price) == 4 - kept.shape[1]
            np.testing.assert_array_equal(state.stack, kept)


def test_balancing_a_dead_component_kills_all_of_it():
    entries = Entries(observed((3, 4, 5), seed=0))
    state = random_state(entries, 2, seed=0)
    state.factor(1)[:, 0] = 0
    balance(state)
    assert not state.stack[:, 0].any()
    assert np.isfinite(state.stack).all()


def test_pruning_removes_what_costs_more_than_it_explains_and_nothing_else():
    """Two strong planted components and three of pure noise: the dense objective of every subset agrees."""
    obs = observed((6, 7, 5), seed=3, share=1.0, noise=0.01)
    entries, problem = Entries(obs), Problem(1.0, 0.5)
    with Workers(1) as workers:
        state = random_state(entries, 6, seed=0)
        settle(entries, state, Problem(0.0, 0.5), workers)
        settle(entries, state, problem, workers)
        assert state.rank == 2
        weak = np.random.default_rng(0).normal(size=(len(state.stack), 3)) * 0.3
        state = State(np.concatenate([weak[:, :1], state.stack, weak[:, 1:]], axis=1), entries.offsets)
        sweep(entries, state, problem, workers)
        swept = state.copy()
        assert prune(state, problem) == 3
    np.testing.assert_array_equal(state.stack, swept.stack[:, [1, 2]])

    def at(keep) -> float:
        return objective(obs, [f[:, keep] for f in factors_of(swept)], 1.0, 0.5)

    assert at([1, 2]) < at([0, 1, 2, 3, 4])
    assert all(at([1, 2]) < at(sorted({1, 2} - {gone})) for gone in (1, 2))


def test_everything_is_pruned_where_the_penalty_is_large():
    obs = observed((5, 5, 5), seed=0)
    entries, state = Entries(obs), random_state(Entries(obs), 3, seed=0)
    with Workers(1) as workers:
        trace = settle(entries, state, Problem(1.0, 1e4), workers)
        again = settle(entries, state, Problem(1.0, 1e4), workers)
    assert state.rank == 0
    assert trace.converged
    assert trace.objective[-1] == again.objective[-1] == state.loss == pytest.approx(0.5 * np.sum(obs.values**2))


@given(problems(), st.integers(1, 5))
def test_energy_of_all_cells_comes_from_the_factors(obs, rank):
    state = random_state(Entries(obs), rank, seed=0)
    assert whole_energy(state) == pytest.approx(np.sum(dense(factors_of(state)) ** 2), rel=1e-9, abs=1e-12)


def test_the_guard_tames_what_no_entry_holds():
    """A component seen in one cell only: without a guard it may spread, with one it may not."""
    obs = observed((6, 6, 6), seed=0, share=0.08, rank=1)
    entries = Entries(obs)
    energies = []
    for guard in (0.0, 0.3):
        state = random_state(entries, 3, seed=0)
        with Workers(1) as workers:
            settle(entries, state, Problem(2.0, 0.01, guard), workers)
        energies.append(whole_energy(state))
    assert energies[1] < energies[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_numbers_do_not_depend_on_the_threads(monkeypatch, dtype):
    monkeypatch.setattr(modes_module, "_LONG_ROW", 100)
    monkeypatch.setattr(workers_module, "_SMALL_WORK", 0)
    obs = observed((4, 30, 9), seed=0, weighted=True)
    entries = Entries(obs, dtype)
    assert entries.modes[0].long_rows
    assert entries.modes[1].blocks
    states = []
    for n_jobs in (1, 2, 3):
        state = random_state(entries, 5, seed=0)
        with Workers(n_jobs) as workers:
            trace = settle(entries, state, Problem(1.0, 0.3, 0.01, tol=0, max_sweeps=20), workers)
        states.append((state.stack.tobytes(), trace.objective))
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize(("shape", "cut"), [((4, 30, 9), 60), ((2, 150, 60), 3000)], ids=["a wave", "several waves"])
def test_long_rows_give_the_numbers_of_short_ones(monkeypatch, shape, cut):
    obs = observed(shape, seed=0, weighted=True)
    objectives = []
    for long_row in (16_384, cut):
        monkeypatch.setattr(modes_module, "_LONG_ROW", long_row)
        entries = Entries(obs)
        state = random_state(entries, 3, seed=0)
        with Workers(1) as workers:
            objectives.append(settle(entries, state, Problem(1.0, 0.3, 0.01, tol=0, max_sweeps=10), workers).objective)
    np.testing.assert_allclose(objectives[0], objectives[1], rtol=1e-9)


def test_factors_start_on_a_cache_line_after_a_sweep():
    entries = Entries(observed((4, 30, 9), seed=0))
    wanted = random_state(entries, 3, seed=0).stack
    stacks = []
    for start in range(2):  # at most one of them starts on a line
        state = State(np.empty(wanted.size + 1)[start : start + wanted.size].reshape(wanted.shape), entries.offsets)
        state.stack[:] = wanted
        with Workers(1) as workers:
            sweep(entries, state, Problem(1.0, 0.3), workers)
        assert state.stack.ctypes.data % LINE == 0
        stacks.append(state.stack.tobytes())
    assert stacks[0] == stacks[1]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [(1e25, np.float32), (3e38, np.float32), (1e200, np.float64), (1e200, np.float32)],
    ids=["float32", "float32 at its end", "float64", "float64 into float32"],
)
@pytest.mark.parametrize("order", [2, 3])
def test_overflow_is_said_with_a_mend(values, dtype, order):
    obs = observed((4,) * order, seed=0)
    obs = obs.with_values((obs.values / np.abs(obs.values).max()).astype(dtype if values < 1e39 else np.float64) * values)
    with (
        pytest.raises(FloatingPointError, match=r"scale the values to about 1 .*, use float64, or"),
        Workers(1) as workers,
    ):
        entries = Entries(obs, dtype)
        size = np.sqrt(entries.square / entries.size) ** (1 / order)
        state = random_state(entries, 4, seed=0)
        state.stack *= dtype(size)
        settle(entries, state, Problem(1.0, 1.0), workers)


def test_large_values_that_fit_are_no_overflow():
    obs = observed((4, 5, 6), seed=0)
    state = random_state(Entries(obs, np.float32), 2, seed=0)
    with Workers(1) as workers:
        trace = settle(Entries(obs.with_values((obs.values * 1e12).astype(np.float32)), np.float32), state, Problem(0.0, 1.0), workers)
    assert np.isfinite(trace.objective).all()
