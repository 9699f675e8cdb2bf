"""What turns NaN or infinite inside a fit is named, and the last finite state is what goes on."""

from __future__ import annotations

import numpy as np
import pytest

from planted import hidden_error, planted
from rankless import TensorCompleter, als
from rankless.als import gibbs, settle, solver
from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.solver import Problem
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

TRUTH, SEEN = planted((15, 12, 10), rank=2, share=0.5)


def spoil(monkeypatch, when, value=np.nan) -> list[int]:
    """From the `when`-th sweep on (or in those of a set), what a sweep leaves is spoilt; returns the sweeps counted."""
    real, calls = solver.sweep, []

    def sweep(entries, state, problem, workers):
        real(entries, state, problem, workers)
        calls.append(state.rank)
        if state.rank and (len(calls) in when if isinstance(when, set) else len(calls) >= when):
            state.stack[0, 0] = value
            state.loss = value

    monkeypatch.setattr(settle, "sweep", sweep)
    return calls


def settled(problem: Problem):
    entries = Entries(Observations.from_array(SEEN))
    state = with_random(entries, empty(entries), 4, np.random.default_rng(0))
    with Workers(1) as workers:
        return state, lambda: settle.settle(entries, state, problem, workers, pruning=False)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_fit_that_breaks_keeps_its_last_finite_state(monkeypatch, value):
    state, run = settled(Problem(0.0, 1.0, tol=0.0, max_sweeps=3))
    run()
    good = state.copy()
    for forgiving in (False, True):
        with monkeypatch.context() as patch:
            spoil(patch, 4, value)
            state, run = settled(Problem(0.0, 1.0, tol=0.0, max_sweeps=9, forgiving=forgiving))
            if forgiving:
                with pytest.warns(RuntimeWarning, match="depth 0 and penalty 1 overflowed; its last finite state was kept"):
                    trace = run()
                assert trace.broken
                assert not trace.converged
                assert len(trace.objective) == 3
            else:
                with pytest.raises(FloatingPointError, match=r"became (nan|inf) in sweep 4; scale the values"):
                    run()
            assert np.isfinite(state.stack).all()
            # momentum may have moved it on from where the third sweep ended, never up
            assert solver.objective(state, Problem(0.0, 1.0)) <= solver.objective(good, Problem(0.0, 1.0))


def test_solve_says_that_it_broke(monkeypatch):
    spoil(monkeypatch, 7)
    with pytest.raises(FloatingPointError, match="became nan in sweep"):
        als.solve(Observations.from_array(SEEN), penalty=1.0, random_state=0)


@pytest.mark.parametrize("when", [{1}, {9}, {30, 31}, 60, 150], ids=str)
def test_the_search_goes_on_past_a_fit_that_breaks(monkeypatch, when):
    calls = spoil(monkeypatch, when)
    with pytest.warns(RuntimeWarning, match="overflowed; its last finite state was kept"):
        est = TensorCompleter(depth=0.0, experts=["components"], random_state=0).fit(SEEN)
    assert len(calls) > 60
    filled = est.predict(np.argwhere(np.ones(SEEN.shape, bool))).reshape(SEEN.shape)
    assert np.isfinite(filled).all()
    if isinstance(when, set):  # a few that broke don't cost the others
        assert hidden_error(filled, TRUTH, SEEN) < 0.1


def test_a_search_in_which_every_fit_breaks_ends_without_components(monkeypatch):
    spoil(monkeypatch, 1)
    with pytest.warns(RuntimeWarning, match="overflowed"):
        est = TensorCompleter(random_state=0, value_transform=None).fit(SEEN)
    assert np.isfinite(est.predict(np.argwhere(np.ones(SEEN.shape, bool)))).all()


def test_a_last_refit_that_breaks_keeps_what_the_search_found(monkeypatch):
    """The refit is the only fit that ends at 60 sweeps and is made in double precision."""
    real = solver.sweep

    def sweep(entries, state, problem, workers):
        real(entries, state, problem, workers)
        if problem.max_sweeps == 60 and entries.dtype == np.float64:
            state.stack[:], state.loss = np.nan, np.nan

    monkeypatch.setattr(settle, "sweep", sweep)
    with pytest.warns(RuntimeWarning, match="overflowed; its last finite state was kept"):
        est = TensorCompleter(depth=0.0, experts=["components"], value_transform=None, random_state=0).fit(SEEN)
    filled = est.predict(np.argwhere(np.ones(SEEN.shape, bool))).reshape(SEEN.shape)
    assert est.rank_ >= 2
    assert hidden_error(filled, TRUTH, SEEN) < 0.1


@pytest.mark.parametrize("how", ["nan", "singular"])
def test_draws_that_break_are_left_out_and_the_log_says_so(monkeypatch, caplog, how):
    real = gibbs._mean_of_draws

    def broken(*args, **options):
        mean = real(*args, **options)
        if how == "singular":
            raise np.linalg.LinAlgError("Matrix is not positive definite")
        mean.factors[0][0, 0] = np.nan
        return mean

    rng = np.random.default_rng(3)
    few = np.where(rng.random(SEEN.shape) < 0.4, SEEN, np.nan)
    monkeypatch.setattr(gibbs, "_mean_of_draws", broken)
    with caplog.at_level("INFO", logger="rankless"):
        est = TensorCompleter(random_state=0).fit(few)
    assert "draws from the posterior overflowed and were left out" in caplog.text
    assert est.drawn_ is None
    assert np.isfinite(est.predict([[0, 0, 0]])).all()


def test_next_to_no_data_give_no_warning():
    """Draws from 3 x 2 cells overflow as a rule; whoever fills them can do nothing about it."""
    few = np.random.default_rng(0).normal(size=(3, 2))
    few[0, 1] = np.nan
    assert np.isfinite(TensorCompleter(effort="fast", random_state=0).fit(few).predict([[0, 1]])).all()


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_weights_and_values_of_extreme_size_stay_finite(size):
    obs = Observations.from_array(SEEN)
    spread = np.exp(np.random.default_rng(0).normal(0, 12, obs.size))  # over ten powers of ten
    est = TensorCompleter(random_state=0).fit(obs.indices, obs.values * size, sample_weight=spread)
    assert np.isfinite(est.predict(obs.indices)).all()
