"""One mode's rows, updated or measured where their entries lie: the kernels, a long row shared between threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    if long := [row for row in own.long_rows if row % terms.step == start]:
        _update_long_rows(long, own, stack, terms, losses, energies, workers)


def measure(own: SortedMode, stack: np.ndarray, losses: np.ndarray, workers: Workers) -> None:
    """``losses[row]`` gets the squared residual of each row as it is."""
    over_rows(kernels.measure_rows, own, stack, (losses,), stack.shape[1], workers)
    if own.long_rows:
        _measure_long_rows(_Pieces.of(own, own.long_rows), own, stack, losses, workers)


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


@dataclass(frozen=True)
class _Pieces:
    """Long rows cut into pieces for threads."""

    rows: Sequence[int]
    spans: list[tuple[int, int]]  # entries of each piece, row after row
    of_row: list[slice]  # pieces of each row
    order: list[int]  # pieces in the order they are taken

    @classmethod
    def of(cls, own: SortedMode, rows: Sequence[int]) -> _Pieces:
        """All first pieces are taken, then all second ones: entries of a row are in order, so these read about the same factor rows."""
        cut = [segments(int(own.starts[row]), int(own.starts[row + 1])) for row in rows]
        ends = np.cumsum([len(parts) for parts in cut]).tolist()
        of_row = [slice(end - len(parts), end) for parts, end in zip(cut, ends, strict=True)]
        places = [place for parts in cut for place in range(len(parts))]
        return cls(rows, [span for parts in cut for span in parts], of_row, np.argsort(places, kind="stable").tolist())

    @property
    def size(self) -> int:
        """Entries in all."""
        return sum(hi - lo for lo, hi in self.spans)


def _update_long_rows(rows: Sequence[int], own: SortedMode, stack, terms: Terms, losses, energies, workers: Workers) -> None:
    rank, dtype, data = stack.shape[1], stack.dtype, read_by_kernels(own, stack)
    pieces = _Pieces.of(own, rows)
    grams, rights = np.empty((len(pieces.spans), rank, rank), dtype), np.empty((len(pieces.spans), rank), dtype)
    calls = [(*pieces.spans[p], *data, grams[p], rights[p]) for p in pieces.order]
    workers.run(kernels.accumulate_segment, calls, pieces.size * (rank * rank / 2 + _GATHER))
    spare = np.zeros((len(rows), rank), dtype)

    def finish(i: int, row: int, mine: slice) -> None:
        summed = grams[mine].sum(axis=0) + terms.guard, rights[mine].sum(axis=0)
        kernels.finish_row(own.base + row, own.base, own.base + own.rows, *summed, *terms.ridge(), stack, spare[i])  # pyright: ignore[reportCallIssue]

    calls = [(i, row, mine) for i, (row, mine) in enumerate(zip(rows, pieces.of_row, strict=True))]
    workers.run(finish, calls, len(rows) * rank**3 / 3)
    if terms.measure:
        energies[list(rows)] = spare
        _measure_long_rows(pieces, own, stack, losses, workers)


def _measure_long_rows(pieces: _Pieces, own: SortedMode, stack: np.ndarray, losses: np.ndarray, workers: Workers) -> None:
    residuals, data = np.zeros(len(pieces.spans)), read_by_kernels(own, stack)
    row_of = [row for row, mine in zip(pieces.rows, pieces.of_row, strict=True) for _ in range(mine.start, mine.stop)]

    def measure(p: int) -> None:
        residuals[p] = kernels.residual_segment(*pieces.spans[p], own.base + row_of[p], *data)

    workers.run(measure, [(p,) for p in pieces.order], pieces.size * (stack.shape[1] + _GATHER))
    for row, mine in zip(pieces.rows, pieces.of_row, strict=True):
        losses[row] = residuals[mine].sum()
