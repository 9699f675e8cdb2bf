"""How components come in: balanced, at a sensible size, kept only where the objective fell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import dense, factors_of, objective, observed, problems, random_state

from rankless.als import solver
from rankless.als.annealing import anneal, deepen, empty, with_random
from rankless.als.entries import Entries
from rankless.als.solver import Problem
from rankless.runtime.workers import Workers


def test_the_empty_model_is_half_the_sum_of_squares():
    obs = observed((4, 5, 6), seed=0, weighted=True)
    state = empty(Entries(obs))
    assert state.rank == 0
    assert solver.objective(state, Problem(1.0, 1.0)) == pytest.approx(objective(obs, factors_of(state), 1.0, 1.0))


@given(problems(), st.integers(1, 5), st.integers(0, 3), st.floats(-20, 20))
def test_random_components_are_balanced_and_of_the_size_of_the_data(obs, count, present, exponent):
    obs = obs.with_values(obs.values * 10.0**exponent, None)
    entries = Entries(obs)
    old = random_state(entries, present, seed=0)
    state = with_random(entries, old, count, np.random.default_rng(0))
    np.testing.assert_array_equal(state.stack[:, :present], old.stack)
    norms = state.norms()[:, present:] / np.sqrt(obs.shape)[:, None]  # root mean square over a mode's rows
    np.testing.assert_allclose(norms, np.broadcast_to(norms[:1], norms.shape), rtol=1e-9)
    sizes = [np.sqrt(np.mean(dense([f[:, [r]] for f in factors_of(state)]) ** 2)) for r in range(present, present + count)]
    np.testing.assert_allclose(sizes, 0.3 * np.sqrt(np.mean(obs.values**2)), rtol=1e-9)


def test_random_components_leave_the_old_state_alone():
    entries = Entries(observed((3, 4), seed=0))
    old = random_state(entries, 2, seed=0)
    kept = old.stack.copy()
    with_random(entries, old, 3, np.random.default_rng(0)).stack[:] = 7
    np.testing.assert_array_equal(old.stack, kept)


@settings(max_examples=40)
@given(problems(), st.floats(0.0, 4.0), st.floats(1e-3, 3.0), st.integers(1, 4))
def test_an_offer_is_taken_only_if_the_objective_fell(obs, depth, penalty, count):
    entries, problem, rng = Entries(obs), Problem(depth, penalty, max_sweeps=30), np.random.default_rng(0)
    with Workers(1) as workers:
        state = with_random(entries, empty(entries), 2, rng)
        deepen(entries, state, problem, workers)
        kept, before = state.stack.copy(), objective(obs, factors_of(state), depth, penalty)
        answer, trace = anneal(entries, state, problem, workers, rng, count)
    np.testing.assert_array_equal(state.stack, kept)
    if trace is None:
        assert answer is state
    else:
        after = objective(obs, factors_of(answer), depth, penalty)
        assert after < before
        assert trace.objective[-1] == pytest.approx(after, rel=1e-9, abs=1e-9)


def test_offers_are_taken_where_something_is_left_and_refused_where_nothing_is():
    obs = observed((9, 10, 11), seed=1, noise=0.05)
    entries, problem, rng = Entries(obs), Problem(1.0, 0.3), np.random.default_rng(0)
    with Workers(1) as workers:
        state, trace = anneal(entries, empty(entries), problem, workers, rng, 4)
        assert trace is not None
        assert state.rank == 2
        again, trace = anneal(entries, state, problem, workers, rng, 4)
    assert trace is None
    assert again is state


def test_components_grown_from_nothing_are_the_planted_ones():
    """Twenty offers from the empty model, 6 % of the cells seen: rank 5, the objective of the truth, from every seed."""
    obs = observed((30, 30, 30), seed=0, share=0.06, rank=5, noise=0.1)
    entries, problem = Entries(obs), Problem(1.0, 1.0)
    objectives = []
    with Workers(1) as workers:
        for seed in range(5):
            rng, state = np.random.default_rng(seed), empty(entries)
            for _ in range(4):
                state, _ = anneal(entries, state, problem, workers, rng, 20)
            objectives.append(solver.objective(state, problem))
            assert state.rank == 5
    np.testing.assert_allclose(objectives, min(objectives), rtol=1e-4)
