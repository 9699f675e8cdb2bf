"""One mode's rows, updated or measured where their entries lie: the kernels, a long row shared between threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rankless.als import kernels
from rankless.als.modes import SortedMode, segments
from rankless.als.workers import Workers

_GATHER = 64  # multiply-adds that cost as much as gathering an entry


@dataclass(frozen=True, eq=False)
class Terms:
    """What the majoriser of one mode adds to its rows' squares, as the kernels take it."""

    step: int  # 2 where every other row is updated, neighbours held still
    guard: np.ndarray  # (R, R)
    root: np.ndarray  # (R,), square roots of the mobilities
    penalty: np.floating
    stiffness: np.floating  # what a smooth mode's step between neighbours costs
    eps: np.floating
    measure: bool

    def ridge(self) -> tuple:
        return self.root, self.penalty, self.stiffness, self.eps


def update(
    own: SortedMode, stack: np.ndarray, terms: Terms, start: int, losses: np.ndarray, energies: np.ndarray, workers: Workers
) -> None:
    """Update all rows of `own`, with step 2 every other one from `start`; measure into `losses` and `energies` where asked to."""
    rest = terms.step, terms.guard, *terms.ridge(), terms.measure, losses, energies
    rank = stack.shape[1]
    over_rows(kernels.update_rows, own, stack, rest, rank * rank / 2, workers, start=start, step=terms.step)
    for row in own.long_rows:
        if row % terms.step == start:
            _update_long_row(row, own, stack, terms, losses, energies, workers)


def measure(own: SortedMode, stack: np.ndarray, losses: np.ndarray, workers: Workers) -> None:
    """``losses[row]`` gets the squared residual of each row as it is."""
    over_rows(kernels.measure_rows, own, stack, (losses,), stack.shape[1], workers)
    for row in own.long_rows:
        losses[row] = _long_row_loss(row, own, stack, workers)


def read_by_kernels(own: SortedMode, stack: np.ndarray) -> tuple[np.ndarray, ...]:
    """What every kernel reads of one mode's entries and of the factors."""
    return own.keys, own.places, stack, own.values, own.weights


def over_rows(
    kernel: Callable,
    own: SortedMode,
    stack: np.ndarray,
    rest: tuple,
    each: float,
    workers: Workers,
    *,
    start: int = 0,
    step: int = 1,
    long_too: bool = False,
) -> None:
    """`kernel` over all but the long rows, or over these too, where an entry takes `each` multiply-adds once it is gathered.

    With `step` 2, which the kernel has to be told as well, it runs over every other row: from `start` 0 or 1.
    """
    work = own.size * (each + _GATHER) / step
    ranges = own.blocks if workers.pay(work) else own.runs
    if long_too:
        ranges = (*((row, row + 1) for row in own.long_rows), *ranges)
    data = read_by_kernels(own, stack)
    calls = [(first + (start - first) % step, last, own.starts, own.base, *data, *rest) for first, last in ranges]
    workers.run(kernel, calls, work)


def _long_row_loss(row: int, own: SortedMode, stack: np.ndarray, workers: Workers) -> float:
    parts = segments(int(own.starts[row]), int(own.starts[row + 1]))
    residuals, data = np.zeros(len(parts)), read_by_kernels(own, stack)

    def measure(j: int, lo: int, hi: int) -> None:
        residuals[j] = kernels.residual_segment(lo, hi, own.base + row, *data)

    workers.run(measure, [(j, lo, hi) for j, (lo, hi) in enumerate(parts)], (parts[-1][1] - parts[0][0]) * stack.shape[1])
    return float(residuals.sum())


def _update_long_row(row: int, own: SortedMode, stack, terms: Terms, losses, energies, workers: Workers) -> None:
    rank, dtype = stack.shape[1], stack.dtype
    parts = segments(int(own.starts[row]), int(own.starts[row + 1]))
    grams, rights = np.empty((len(parts), rank, rank), dtype), np.empty((len(parts), rank), dtype)
    work = (parts[-1][1] - parts[0][0]) * rank * rank / 2
    calls = [(lo, hi, *read_by_kernels(own, stack), grams[j], rights[j]) for j, (lo, hi) in enumerate(parts)]
    workers.run(kernels.accumulate_segment, calls, work)
    spare = np.zeros(rank, dtype)
    gram, right = grams.sum(axis=0) + terms.guard, rights.sum(axis=0)
    kernels.finish_row(own.base + row, own.base, own.base + own.rows, gram, right, *terms.ridge(), stack, spare)  # pyright: ignore[reportCallIssue]
    if terms.measure:
        energies[row] = spare
        losses[row] = _long_row_loss(row, own, stack, workers)
