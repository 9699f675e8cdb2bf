"""Momentum: faster to rest, never uphill, and the loss it looks at is the sweep's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import factors_of, objective, problems, random_state

from planted import planted
from rankless.als import modes as modes_module
from rankless.als import settle as settling
from rankless.als import solver
from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem, balance, measure_loss, sweep
from rankless.runtime import workers as workers_module
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations


@given(problems(), st.integers(1, 6), st.floats(0.0, 4.0), st.sampled_from([0.0, 0.1]))
def test_the_loss_measured_in_passing_is_the_dense_one(obs, rank, depth, guard):
    entries, problem = Entries(obs), Problem(depth, 0.5, guard)
    state = random_state(entries, rank, seed=0)
    balance(state)
    with Workers(1) as workers:
        measure_loss(entries, state, problem, workers)
    assert solver.objective(state, problem) == pytest.approx(objective(obs, factors_of(state), depth, 0.5, guard), rel=1e-9)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_loss_of_long_rows_and_many_threads_is_the_sweeps_own(monkeypatch, n_jobs):
    monkeypatch.setattr(modes_module, "_LONG_ROW", 50)
    monkeypatch.setattr(workers_module, "_SMALL_WORK", 0)
    entries = Entries(Observations.from_array(planted((12, 11, 10), rank=2, share=0.5)[1]))
    state, problem = random_state(entries, 3, seed=0), Problem(1.0, 0.5, 0.01)
    with Workers(n_jobs) as workers:
        sweep(entries, state, problem, workers)
        loss = state.loss
        measure_loss(entries, state, problem, workers)
    assert state.loss == pytest.approx(loss, rel=1e-12)


def test_momentum_needs_fewer_sweeps(monkeypatch):
    """More components than the data have is where plain sweeps creep."""
    entries = Entries(Observations.from_array(planted((20, 20, 20), rank=5, share=0.3)[1]))
    problem = Problem(0.0, 0.03, tol=1e-7, max_sweeps=1000)
    ends = {}
    for way in ("momentum", "plain"):
        if way == "plain":
            monkeypatch.setattr(settling._Momentum, "leap", lambda self, *args: None)
        lengths, finals = [], []
        for seed in range(3):
            state = random_state(entries, 25, seed=seed)
            with Workers(1) as workers:
                trace = settle(entries, state, problem, workers)
            lengths.append(len(trace.objective))
            finals.append(trace.objective[-1])
        ends[way] = np.median(lengths), np.median(finals)
    assert ends["momentum"][0] < 0.7 * ends["plain"][0]
    assert ends["momentum"][1] <= 1.01 * ends["plain"][1]


def test_a_leap_that_overflows_is_not_taken():
    entries = Entries(Observations.from_array(planted((6, 5, 4), rank=1, share=0.9)[1]))
    problem, momentum = Problem(0.0, 0.5), settling._Momentum()
    state = random_state(entries, 2, seed=0)
    with Workers(1) as workers:
        sweep(entries, state, problem, workers)
        now = solver.objective(state, problem)
        momentum.leap(entries, state, problem, workers, now)
        momentum._last = np.full_like(state.stack, -1e300)
        before = state.stack.copy(), state.loss
        momentum.leap(entries, state, problem, workers, now)
    np.testing.assert_array_equal(state.stack, before[0])
    assert state.loss == before[1]
