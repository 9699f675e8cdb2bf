"""Start shallow, then deepen: how components come into a fit.

A deep penalty is concave, so a cold deep start sticks: components die before they have found what
to fit. New components therefore sweep a few times at depth 0 first, and a fit that went through
them is kept only if its objective fell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rankless.als.entries import Entries
from rankless.als.settle import Trace, settle
from rankless.als.solver import Problem, State, objective
from rankless.runtime.workers import Workers

_SHALLOW_SWEEPS = 5  # enough for random components to align with the residual
_START_SIZE = 0.3  # root mean square of a new component over all cells, for values of about 1
_FELL = 1e-6  # relative fall of the objective that counts


def empty(entries: Entries) -> State:
    """The model without components, a valid point of any path."""
    return State(np.zeros((entries.offsets[-1], 0), entries.dtype), entries.offsets, loss=0.5 * entries.square)


def with_random(entries: Entries, state: State, count: int, rng: np.random.Generator) -> State:
    """A copy of `state` with `count` balanced random components added."""
    added = State(rng.standard_normal((int(entries.offsets[-1]), count)).astype(entries.dtype), entries.offsets)
    size = (_START_SIZE * entries.unit) ** (1.0 / entries.order)
    norms = added.norms()
    for mode, d in enumerate(entries.shape):
        added.factor(mode)[:] *= (size * np.sqrt(d) / norms[mode]).astype(entries.dtype)
    return State(np.concatenate([state.stack, added.stack], axis=1), entries.offsets)


def deepen(entries: Entries, state: State, problem: Problem, workers: Workers, *, shallow_sweeps: int = _SHALLOW_SWEEPS) -> Trace:
    """A few sweeps at depth 0, then to rest at the wanted depth; `state` changes in place.

    A penalty weighs values to the power ``2 - 2/(N(k+1))``, so at depth 0 it is another number
    unless the values are near 1.
    """
    factors = entries.order * (problem.depth + 1)
    penalty = problem.penalty * (entries.unit or 1.0) ** (2 / factors - 2 / entries.order)
    settle(entries, state, replace(problem, depth=0.0, penalty=penalty, tol=0.0, max_sweeps=shallow_sweeps), workers, pruning=False)
    return settle(entries, state, problem, workers)


def anneal(
    entries: Entries, state: State, problem: Problem, workers: Workers, rng: np.random.Generator, count: int
) -> tuple[State, Trace | None]:
    """Offer `count` random components; the better of the two fits, and its trace if the offer was taken."""
    trial = with_random(entries, state, count, rng)
    trace = deepen(entries, trial, problem, workers)
    before = objective(state, problem)
    if trace.objective[-1] < before - _FELL * abs(before):
        return trial, trace
    return state, None
