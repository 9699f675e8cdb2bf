"""Any loss by the kernel of squares: each sweep lowers a quadratic that lies above the loss where the last one ended.

A sweep first replaces the entries' values and weights by the working responses and weights of
`losses`, then updates every mode as `solver` does, or as `nonnegative` does where numbers may not be negative.
Where the quadratic is one that need not hold everywhere, the loss is looked at: a sweep that raised it is
taken back and made again under a steeper quadratic, and one steep enough always holds. The objective
recorded, loss and penalty, never rises.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np

from rankless.als import matrices, said
from rankless.als.entries import MEND, Entries
from rankless.als.losses import Loss
from rankless.als.nonnegative import update_mode as update_nonnegative
from rankless.als.settle import Trace, sweeps
from rankless.als.solver import Problem, State, balance, objective, prune, update_mode, whole_energy
from rankless.runtime.journal import digest
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

_STEEPER, _RELAXED, _STEEPEST = 4.0, 0.5, 1e10  # times the quadratic's curvature: after a failure, after a success, at most
_ROUNDING = 1e-12  # relative rise of the objective that is no rise
_FASTER, _SLOWER, _MOST = 1.5, 0.5, 8.0  # step ahead over the last step: after a success, a failure, at most


class Target(Entries):
    """Entries whose loss is any; ``offset + T`` is what the loss takes.

    `offset` is a number or one number an entry, in canonical order; `nonnegative` says of each mode whether its
    factor may hold negative numbers.
    """

    def __init__(self, obs: Observations, loss: Loss, nonnegative: tuple[bool, ...], *, offset: np.ndarray | float = 0.0):
        loss.check(obs)
        places = obs.with_values(np.arange(obs.size, dtype=np.float64), None)
        super().__init__(places)
        self._places = [own.values.astype(np.intp) for own in self.modes]  # where each mode has put the entries
        self.obs, self.loss, self.nonnegative, self.offset = obs, loss, nonnegative, offset
        self.square = 2.0 * self.value(np.zeros(obs.size))  # what the loss of nothing is twice of
        if not np.isfinite(self.square):
            raise FloatingPointError(f"the loss of the values overflows; {MEND}")
        self.unit = obs.rms() if loss.name == "gaussian" else 1.0  # gross errors say nothing of the size of components

    @property
    def identity(self) -> tuple[Hashable, ...]:
        return repr(self.loss), self.nonnegative, self.size, self.square, digest(self.obs.values)

    def value(self, fitted: np.ndarray) -> float:
        """The loss of all entries, weights counted, where the components are `fitted`."""
        each = self.loss.value(self.offset + fitted, self.obs.values)
        # einsum, not dot: bits that do not hang on how many threads BLAS has
        return float(each.sum() if self.obs.weights is None else np.einsum("e,e->", each, self.obs.weights))

    def turn(self, fitted: np.ndarray, steep: float) -> None:
        """Make the entries those of the quadratic at `fitted`, its curvature times `steep`."""
        t = self.offset + fitted
        responses, weights = self.loss.working(t, self.obs.values)
        values = fitted + (responses - t) / steep
        weights = steep * weights if self.obs.weights is None else steep * weights * self.obs.weights
        pairs = zip(self.modes, self._places, strict=True)
        self.modes = [replace(own, values=values[place], weights=weights[place]) for own, place in pairs]

    def admit(self, state: State) -> None:
        """Take signs from what may not have them."""
        for mode, positive in enumerate(self.nonnegative):
            if positive:
                np.abs(state.factor(mode), out=state.factor(mode))

    def measure(self, state: State, problem: Problem) -> np.ndarray:
        """Leave the loss in `state`; returns what its components say at the entries."""
        fitted = said.at(state, self.obs.coords)
        state.loss = self.value(fitted) + (0.5 * problem.guard * whole_energy(state) if problem.guard else 0.0)
        return fitted

    def sweep(self, state: State, problem: Problem, workers: Workers) -> None:
        """Lower the quadratic mode by mode, then balance."""
        for own in self.modes:
            if self.nonnegative[own.mode]:
                update_nonnegative(self, state, own, problem, workers)
            else:
                update_mode(self, state, own, problem, workers, measure=own.mode == self.order - 1)
        balance(state)


@sweeps.register(Target)
def _sweeps(target: Target, state: State, problem: Problem, workers: Workers, *, pruning: bool) -> Trace:
    """What `settle` does where the loss is any: quadratics that lie above it are lowered, one a sweep."""
    trace, steep, pace, last = Trace(), 1.0, 1.0, None
    matrix = target.order == 2 and not any(target.nonnegative)
    target.admit(state)
    balance(state)
    with np.errstate(over="ignore", invalid="ignore"):
        fitted = target.measure(state, problem)
        now = objective(state, problem)
    if not np.isfinite(now):
        raise FloatingPointError(f"the objective is {now} where the fit starts; {MEND}")
    while state.rank and len(trace.objective) < problem.max_sweeps:
        good, before = state.copy(), now
        target.turn(fitted, steep)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not lower
            if matrix:
                matrices.turn(state)
            target.sweep(state, problem, workers)
            removed = prune(state, problem) if pruning else 0
            trial = target.measure(state, problem)
            now = objective(state, problem)
        if not now <= before + _ROUNDING * abs(before):
            state.take(good.arrays())
            now, steep = before, steep * _STEEPER
            if steep > _STEEPEST:  # nothing but rounding is left
                trace.converged = True
                break
            continue
        fitted, steep, now = trial, max(1.0, steep * _RELAXED), min(now, before)
        trace.objective.append(now)
        workers.tracker.beat()
        if not removed and len(trace.objective) > 1 and steep <= 1.0 and before - now <= problem.tol * abs(now):
            trace.converged = True
            break
        if removed:
            last = None
            continue
        here, last = last, state.stack.copy()
        if here is None or here.shape != last.shape or len(trace.objective) >= problem.max_sweeps:
            continue
        if matrix:
            here = matrices.alike(here, last)
        ahead = _ahead(target, state, here, pace, problem)
        pace = min(pace * _FASTER, _MOST) if ahead else pace * _SLOWER
        if ahead:
            fitted, now = ahead
    if not trace.objective:  # nothing to sweep, or no sweep that lowered anything
        trace.objective.append(now)
    if state.rank == 0:
        state.loss, trace.converged = 0.5 * target.square, True
    return trace


def _ahead(target: Target, state: State, last: np.ndarray, pace: float, problem: Problem) -> tuple[np.ndarray, float] | None:
    """Move `state` on in the direction of its last step where that lowers the objective: what it then says, and the objective."""
    ahead = State(state.stack + pace * (state.stack - last), state.offsets)
    for mode, positive in enumerate(target.nonnegative):
        if positive:
            np.maximum(ahead.factor(mode), 0.0, out=ahead.factor(mode))
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not lower
        balance(ahead)
        fitted = target.measure(ahead, problem)
        if not objective(ahead, problem) < objective(state, problem):
            return None
    state.stack, state.loss = ahead.stack, ahead.loss
    return fitted, objective(state, problem)
