"""Rows without negative numbers: coordinate descent on the normal equations of each.

    minimise over u >= 0   1/2 u' G u - g' u + penalty/2 sum_r u_r^2 / D_r^2

with ``G``, ``g`` and ``D`` as in `kernels`. One number at a time is set to its best value, or to 0 where that
is negative, from where the row stands [hsieh2011]: no step raises the objective, and a row that is
stopped early is a valid step still.
"""

from __future__ import annotations

import numpy as np

from rankless.als.entries import Entries
from rankless.als.kernels import _add_entries
from rankless.als.modes import SortedMode
from rankless.als.rows import over_rows
from rankless.als.solver import Problem, State, gram_of_others
from rankless.als.vectors import jit
from rankless.depth import mobility
from rankless.runtime.workers import Workers

CYCLES, TOL = 100, 1e-9  # rounds over a row's numbers, at most; largest step over the largest number at which it rests


def update_mode(entries: Entries, state: State, own: SortedMode, problem: Problem, workers: Workers) -> None:
    """Lower the majoriser over one mode's rows, which are nonnegative and stay so; leaves gains and energies in `state`."""
    rank, rows, dtype = state.rank, own.rows, entries.dtype
    root = np.sqrt(mobility(np.linalg.norm(state.factor(own.mode), axis=0), problem.depth))
    with np.errstate(divide="ignore", over="ignore"):
        ridge = (problem.penalty / root**2).astype(dtype)  # infinite for a dead component, which stays dead
    guard = (problem.guard * gram_of_others(state, own.mode) if problem.guard else np.zeros((rank, rank))).astype(dtype)
    energies, gains = np.zeros((rows, rank)), np.zeros((rows, rank))
    rest = guard, ridge, CYCLES, TOL, energies, gains
    over_rows(_update_rows, own, state.stack, rest, rank * rank / 2, workers, long_too=True)
    state.energies, state.gains = energies.sum(axis=0), gains.sum(axis=0)


@jit
def descend(gram, slope, ridge, row, cycles, tol):
    """Coordinate descent in place on `row` >= 0; `slope`, ``g - G row`` at the start, is kept up with it."""
    rank = len(row)
    for _ in range(cycles):
        step, size = 0.0, 0.0
        for r in range(rank):
            before, bent = row[r], gram[r, r] + ridge[r]
            value = before
            if bent > 0 and bent < np.inf:
                value = max(0.0, (slope[r] + gram[r, r] * before) / bent)
            elif not bent < np.inf:
                value = 0.0
            move = value - before
            if move != 0.0:
                row[r] = value
                for s in range(rank):
                    slope[s] -= gram[r, s] * move
            step, size = max(step, abs(move)), max(size, value)
        if step <= tol * size:
            break


@jit
def _update_rows(calls, room, first, last, starts, base, keys, places, stack, values, weights, guard, ridge, cycles, tol, energies, gains):
    rank, gram, right, whole, slope = stack.shape[1], room.gram, room.right, room.scaled, room.half
    for row in range(first, last):
        lo, hi = starts[row], starts[row + 1]
        if lo == hi:  # nothing seen: the penalty alone decides
            for r in range(rank):
                stack[base + row, r] = 0
            continue
        for r in range(rank):
            right[r] = 0
            for s in range(rank):
                gram[r, s] = 0
        _add_entries(calls, room, lo, hi, keys, places, stack, values, weights, gram, right)
        for r in range(rank):
            for s in range(r, rank):
                whole[r, s] = whole[s, r] = gram[r, s] + guard[r, s]
        own = stack[base + row]
        for r in range(rank):
            slope[r] = right[r]
            for s in range(rank):
                slope[r] -= whole[r, s] * own[s]
        descend(whole, slope, ridge, own, cycles, tol)
        for r in range(rank):
            energies[row, r] = whole[r, r] * own[r] * own[r]
            gains[row, r] = own[r] * slope[r]
