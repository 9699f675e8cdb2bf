"""`settle`: sweeps until the objective rests, each started a little ahead of the last.

A sweep of alternating least squares creeps along the valleys that nearly collinear components dig.
So each sweep starts not where the last one ended but further on in the direction the last two
took, wherever the objective is lower there than where the sweep ended: Nesterov's momentum,
restarted when it fails [mitchell2020]. Looking costs one pass over the entries, and the objective
recorded never rises.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np

from rankless.als import matrices
from rankless.als.entries import MEND, Entries
from rankless.als.solver import Problem, State, balance, measure_loss, objective, prices, prune, sweep
from rankless.runtime.journal import Arrays
from rankless.runtime.workers import Workers

_PACE, _FASTER, _SLOWER, _MOST = 1.0, 1.2, 0.5, 1.0  # step ahead over the last step: first, after a success, a failure, at most


@dataclass
class Trace:
    """The objective after each sweep, whether it came to rest, and whether it broke off."""

    objective: list[float] = field(default_factory=list)
    converged: bool = False
    broken: bool = False  # it overflowed, and the state is the last finite one


def settle(entries: Entries, state: State, problem: Problem, workers: Workers, *, pruning: bool = True) -> Trace:
    """Sweep until the objective rests; `state` is updated in place, its objective recorded every sweep.

    Entries of another loss than squares (`majorise.Target`) are swept as theirs are. What the workers' journal holds is not
    computed again.
    """

    def compute() -> Arrays:
        trace = sweeps(entries, state, problem, workers, pruning=pruning)
        told = {"objective": np.array(trace.objective), "converged": np.array(trace.converged), "broken": np.array(trace.broken)}
        return state.arrays() | told

    found = workers.recall("settle", (problem, pruning, *entries.identity, state.stack), compute)
    state.take(found)
    if found["broken"]:
        warnings.warn(
            f"a fit at depth {problem.depth:g} and penalty {problem.penalty:.3g} overflowed; its last finite state was kept",
            RuntimeWarning,
            stacklevel=2,
        )
    return Trace(found["objective"].tolist(), bool(found["converged"]), bool(found["broken"]))


@singledispatch
def sweeps(entries: Entries, state: State, problem: Problem, workers: Workers, *, pruning: bool) -> Trace:
    """What `settle` says, for squares; `majorise` adds what it is for other losses."""
    matrix = entries.order == 2 and not any(problem.smooth)
    trace, removed, momentum = Trace(), 0, _Momentum(matrix)
    while state.rank and (removed or len(trace.objective) < problem.max_sweeps):  # a prune leaves the loss to be measured
        good = state.copy()
        with np.errstate(over="ignore", invalid="ignore"):  # the check below speaks up
            if matrix:
                matrices.turn(state)
            sweep(entries, state, problem, workers)
            price = prices(state, problem)
            now = objective(state, problem, price)
        if not np.isfinite(now):
            state.take(good.arrays())
            if not problem.forgiving:
                raise FloatingPointError(f"the objective became {now} in sweep {len(trace.objective) + 1}; {MEND}")
            trace.objective, trace.broken = trace.objective or [objective(state, problem)], True
            return trace
        trace.objective.append(now)
        workers.tracker.beat()
        before = trace.objective[-2] if len(trace.objective) > 1 else np.inf
        rests = before - now <= problem.tol * now
        # a singular vector that is not yet aligned looks spare, even where its value exceeds the penalty: those are looked at last
        ripe = not matrix or rests or len(trace.objective) >= problem.max_sweeps
        removed = prune(state, problem, price) if pruning and ripe else 0
        if not removed and rests:
            trace.converged = True
            break
        if removed:
            momentum.forget()
        elif len(trace.objective) < problem.max_sweeps:  # the last sweep's own measurements are the result's
            momentum.leap(entries, state, problem, workers, now)
    if state.rank == 0:
        state.loss = 0.5 * entries.square
        trace.objective.append(state.loss)
        trace.converged = True
    return trace


class _Momentum:
    """Where the last sweep ended, and how far ahead the next may start."""

    def __init__(self, matrix: bool = False) -> None:
        self._matrix = matrix  # whether components are turned before each sweep
        self._last: np.ndarray | None = None
        self._pace = _PACE

    def forget(self) -> None:
        """Components were removed: the last sweep's factors no longer match."""
        self._last = None

    def leap(self, entries: Entries, state: State, problem: Problem, workers: Workers, now: float) -> None:
        """Move `state` ahead where that lowers the objective, which is `now`."""
        here, last = state.stack, self._last
        self._last = here.copy()
        if last is None or last.shape != here.shape:
            return
        if self._matrix:
            last = matrices.alike(last, here)
        ahead = State(here + here.dtype.type(self._pace) * (here - last), state.offsets)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not lower
            balance(ahead, problem.smooth)
            measure_loss(entries, ahead, problem, workers)
            lower = objective(ahead, problem) < now
        if lower:
            state.stack, state.loss = ahead.stack, ahead.loss
        self._pace = min(self._pace * _FASTER, _MOST) if lower else self._pace * _SLOWER
