"""Reweighted alternating least squares: one sweep, and what is pruned after it.

    minimise  1/2 sum_e w_e (y_e - T_e)^2  +  penalty * (k+1)/2 * sum_{n,r} |u_r^n|^(2/(k+1))
              + guard/2 * sum_{all cells} T^2

Every step of a sweep is a descent step: a mode's update minimises a majoriser that touches the
objective at the present point; balancing spreads a component's norm over its modes, which lowers
the penalty and leaves the tensor alone; pruning removes components whose removal pays.

A mode may be smooth, its slices in order and neighbours alike: for its vectors ``|u|^2`` then reads

    u' (I + tau L) u = |u|^2 + tau * sum_i (u_{i+1} - u_i)^2,

`L` the Laplacian of the path through its slices. Every other row of it is updated, then
the rest: each half is an exact minimum with the other held still, in whatever order its rows come.
A slice without an entry lies between its neighbours instead of at zero.

The guard is off by default. It charges for energy on cells that were not seen, where nothing else
stops a component fitted to a spike from running away, and costs one small Gram matrix a mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rankless.als.entries import Entries
from rankless.als.modes import SortedMode
from rankless.als.normal import LINE
from rankless.als.rows import Terms
from rankless.als.vectors import jit
from rankless.depth import component_penalty, mobility
from rankless.runtime.journal import Arrays
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor


@dataclass(frozen=True)
class Problem:
    """What is minimised: depth `k`, penalty, guard, smoothness; and when `settle` stops."""

    depth: float
    penalty: float
    guard: float = 0.0
    tol: float = 1e-6  # relative fall of the objective in one sweep, below which a fit has converged
    max_sweeps: int = 500
    forgiving: bool = False  # whether a fit that overflows ends at its last finite state, with a warning, instead of raising
    smooth: tuple[float, ...] = ()  # tau of each mode, 0 where its slices have no order; () where none has

    def tau(self, mode: int) -> float:
        return self.smooth[mode] if self.smooth else 0.0


@dataclass
class State:
    """Factors of all modes stacked in one ``(sum d_n, R)`` array, and what the last sweep measured."""

    stack: np.ndarray
    offsets: np.ndarray
    loss: float = np.inf
    gains: np.ndarray = field(default_factory=lambda: np.empty(0))  # <residual, component> of each component
    energies: np.ndarray = field(default_factory=lambda: np.empty(0))  # |component|^2 over observed entries

    @property
    def rank(self) -> int:
        return self.stack.shape[1]

    @property
    def order(self) -> int:
        return len(self.offsets) - 1

    def factor(self, mode: int) -> np.ndarray:
        return self.stack[self.offsets[mode] : self.offsets[mode + 1]]

    def norms(self, smooth: Sequence[float] = ()) -> np.ndarray:
        """Norms of all vectors, shape ``(N, R)``; roughness counts in `smooth` modes."""
        norms, stack = np.empty((self.order, self.rank)), np.ascontiguousarray(self.stack)
        for m in range(self.order):
            set_lengths(stack, self.offsets[m], self.offsets[m + 1], smooth[m] if smooth else 0.0, norms[m])
        return norms

    def copy(self) -> State:
        return State(self.stack.copy(), self.offsets, self.loss, self.gains.copy(), self.energies.copy())

    def arrays(self) -> Arrays:
        """All that a fit changes, by name."""
        return {"stack": self.stack, "loss": np.array(self.loss), "gains": self.gains, "energies": self.energies}

    def take(self, arrays: Arrays) -> None:
        """Become the state whose `arrays` these are."""
        self.stack, self.loss, self.gains, self.energies = arrays["stack"], float(arrays["loss"]), arrays["gains"], arrays["energies"]

    def keep(self, which: np.ndarray) -> None:
        """Keep only the components `which`."""
        self.stack = np.ascontiguousarray(self.stack[:, which])
        self.gains, self.energies = self.gains[which], self.energies[which]

    def model(self) -> CPTensor:
        return CPTensor([self.factor(m).copy() for m in range(self.order)]).balanced()


def norms_of(factor: np.ndarray, tau: float = 0.0) -> np.ndarray:
    """``sqrt(u' (I + tau L) u)`` of each column, in double precision."""
    norms = np.empty(factor.shape[1])
    set_lengths(np.ascontiguousarray(factor), 0, len(factor), tau, norms)
    return norms


def _set_lengths(stack, first, last, tau, norms):
    """``norms[r] = sqrt(u' (I + tau L) u)`` with `u` rows first..last of column `r`; summed row by row in double precision."""
    rank = stack.shape[1]
    for r in range(rank):
        norms[r] = 0.0
    for i in range(first, last):
        row = stack[i]
        for r in range(rank):
            norms[r] += np.float64(row[r]) * np.float64(row[r])
    if tau > 0:
        for i in range(first + 1, last):
            row, before = stack[i], stack[i - 1]
            for r in range(rank):
                step = np.float64(row[r]) - np.float64(before[r])
                norms[r] += tau * step * step
    for r in range(rank):
        norms[r] = np.sqrt(norms[r])


set_lengths = jit(_set_lengths, fastmath=False)


def sweep(entries: Entries, state: State, problem: Problem, workers: Workers) -> None:
    """Update every mode once, then balance. Leaves loss, gains and energies of the new point in `state`."""
    state.stack = _on_lines(state.stack)
    for own in entries.modes:
        update_mode(entries, state, own, problem, workers, measure=own.mode == entries.order - 1)
    balance(state, problem.smooth)


def _on_lines(stack: np.ndarray) -> np.ndarray:
    """The same numbers, the first at the start of a cache line: a row of 64 bytes that lies across two takes two reads."""
    if stack.ctypes.data % LINE == 0:
        return stack
    room = np.empty(stack.size + LINE // stack.itemsize, stack.dtype)
    first = -room.ctypes.data % LINE // stack.itemsize
    moved = room[first : first + stack.size].reshape(stack.shape)
    moved[:] = stack
    return moved


def update_mode(entries: Entries, state: State, own: SortedMode, problem: Problem, workers: Workers, *, measure: bool) -> None:
    """Minimise the majoriser over one mode's rows."""
    rank, dtype, tau, factor = state.rank, entries.dtype, problem.tau(own.mode), state.factor(own.mode)
    root = np.sqrt(mobility(norms_of(factor, tau), problem.depth)).astype(dtype) if problem.depth else np.ones(rank, dtype)
    losses = np.zeros(own.rows if measure else 0)
    energies = np.zeros((own.rows if measure else 0, rank), dtype)
    guard = (problem.guard * gram_of_others(state, own.mode)).astype(dtype) if problem.guard else np.zeros((rank, rank), dtype)
    step, pulls = (2, np.empty_like(factor)) if tau else (1, factor)
    penalty, stiffness, eps = dtype.type(problem.penalty), dtype.type(problem.penalty * tau), dtype.type(np.finfo(dtype).eps)
    terms = Terms(step, guard, root, penalty, stiffness, eps, measure)
    for start in range(step):
        if tau:
            pulls[start::step] = _neighbours(factor)[start::step]
        entries.update_rows(own, state.stack, terms, start, losses, energies, workers)
    if measure:
        state.loss = _with_guard(state, losses, problem)
        state.energies = energies.sum(axis=0, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            # a minimised row leaves (residual, component) = penalty * |v|^2 in the kernel's coordinates ...
            state.gains = problem.penalty * np.where(root > 0, norms_of(factor) / root, 0.0) ** 2
            if tau:  # ... and as much as its neighbours, as they then were, pulled at it
                degrees = np.minimum(np.arange(own.rows), 1) + np.minimum(np.arange(own.rows)[::-1], 1)
                pulled = np.einsum("ir,ir->r", factor, degrees[:, None] * factor - pulls, dtype=np.float64)
                state.gains += problem.penalty * tau * np.where(root > 0, pulled / root.astype(np.float64) ** 2, 0.0)


def _neighbours(factor: np.ndarray) -> np.ndarray:
    """Sum of the rows before and after each row."""
    total = np.zeros_like(factor)
    total[1:] += factor[:-1]
    total[:-1] += factor[1:]
    return total


def measure_loss(entries: Entries, state: State, problem: Problem, workers: Workers) -> None:
    """The loss of factors that no sweep has just left: one pass over the entries, an `R`-th of a sweep."""
    own, state.stack = entries.modes[-1], _on_lines(state.stack)
    losses = np.zeros(own.rows)
    entries.measure_rows(own, state.stack, losses, workers)
    state.loss = _with_guard(state, losses, problem)


def _with_guard(state: State, losses: np.ndarray, problem: Problem) -> float:
    return 0.5 * float(losses.sum()) + (0.5 * problem.guard * whole_energy(state) if problem.guard else 0.0)


def gram_of_others(state: State, mode: int | None) -> np.ndarray:
    """``prod_{m != mode} U_m^T U_m``, entrywise: inner products of the components' other parts over all cells, in double precision."""
    gram, part = np.empty((2, state.rank, state.rank))
    set_gram(np.ascontiguousarray(state.stack), state.offsets, -1 if mode is None else mode, gram, part)
    return gram


def _set_gram(stack, offsets, left_out, gram, part):
    """`gram` as `gram_of_others` says, of all modes but `left_out`; `part` is room for one mode's."""
    rank = stack.shape[1]
    for r in range(rank):
        for s in range(rank):
            gram[r, s] = 1.0
    for m in range(len(offsets) - 1):
        if m == left_out:
            continue
        for r in range(rank):
            for s in range(r, rank):
                part[r, s] = 0.0
        for i in range(offsets[m], offsets[m + 1]):
            row = stack[i]
            for r in range(rank):
                number, into = np.float64(row[r]), part[r]
                for s in range(r, rank):
                    into[s] += number * np.float64(row[s])
        for r in range(rank):
            for s in range(r, rank):
                gram[r, s] *= part[r, s]
    for r in range(rank):
        for s in range(r):
            gram[r, s] = gram[s, r]


set_gram = jit(_set_gram, fastmath=False)


def whole_energy(state: State) -> float:
    """``|T|^2`` over all cells, seen or not."""
    return float(gram_of_others(state, None).sum())


def balance(state: State, smooth: Sequence[float] = ()) -> None:
    """Spread each component's norm evenly over its modes: same tensor, least penalty."""
    norms = state.norms(smooth)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        target = np.exp(np.add.reduce(np.log(norms)) / state.order)
        scales = np.where(norms > 0, target / norms, 0.0).astype(state.stack.dtype)
    for mode in range(state.order):
        factor = state.factor(mode)
        factor *= scales[mode]


def component_sizes(state: State, smooth: Sequence[float] = ()) -> np.ndarray:
    """Norm of each component over the whole tensor; roughness counts in `smooth` modes."""
    return np.multiply.reduce(state.norms(smooth))


def largest(state: State, share: float) -> State:
    """`share` of the components, the largest, as a state of its own."""
    thin = state.copy()
    thin.keep(np.sort(np.argsort(-component_sizes(state), kind="stable")[: int(state.rank * share)]))
    return thin


def prices(state: State, problem: Problem) -> np.ndarray:
    """What each component pays in penalty."""
    return problem.penalty * component_penalty(component_sizes(state, problem.smooth), problem.depth, state.order)


def objective(state: State, problem: Problem, price: np.ndarray | None = None) -> float:
    """Loss of the last sweep plus the penalty of the balanced factors; their `prices` where they are known already."""
    return state.loss + float((prices(state, problem) if price is None else price).sum())


def prune(state: State, problem: Problem, price: np.ndarray | None = None) -> int:
    """Remove components whose removal lowers the objective; returns how many went. `price`: `prices`, where they are known already.

    Removing a set `S` changes the loss by ``sum_S <residual, component> + 1/2 |sum_S component|^2``,
    at most ``sum_S gains + 1/2 (sum_S |component|)^2``, and frees their penalties. Both parts are
    known exactly from the sweep, so the test needs no pass over the data.
    """
    if state.rank == 0:
        return 0
    if price is None:
        price = prices(state, problem)
    cost = state.gains + 0.5 * state.energies
    if (cost > price).all():  # and all the more together: |sum component|^2 is taken to be no less than the sum of their squares
        return 0
    order = np.argsort(cost - price, kind="stable")
    rise = np.cumsum(state.gains[order]) + 0.5 * np.cumsum(np.sqrt(state.energies[order])) ** 2 - np.cumsum(price[order])
    count = int(np.argmin(rise)) + 1 if np.min(rise) <= 0 else 0
    if count:
        state.keep(np.sort(order[count:]))
    return count
