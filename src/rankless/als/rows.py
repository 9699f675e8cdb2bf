"""One mode's rows, updated or measured where their entries lie: the kernels, a long row shared between threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rankless.als import kernels
from rankless.als.modes import SortedMode, segments
from rankless.als.normal import padded
from rankless.runtime.workers import Workers

_GATHER = 64  # multiply-adds that cost as much as gathering an entry
_BATCHES, _TOGETHER = 32, 128  # batches of pieces at least, to even out the threads; pieces taken together where there are many


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
    rest = terms.step, terms.guard, *terms.ridge(), True, terms.measure, losses, energies
    rank = stack.shape[1]
    over_rows(kernels.update_rows, own, stack, rest, rank * rank / 2, workers, start=start, step=terms.step)
    if long := [row for row in own.long_rows if row % terms.step == start]:
        _update_long_rows(long, own, stack, terms, losses, energies, workers)


def measure(own: SortedMode, stack: np.ndarray, losses: np.ndarray, workers: Workers) -> None:
    """``losses[row]`` gets the squared residual of each row as it is."""
    rank, nothing = stack.shape[1], stack.dtype.type(0)
    unread = np.zeros((rank, rank), stack.dtype)
    rest = 1, unread, unread[0], nothing, nothing, nothing, False, True, losses, unread
    over_rows(kernels.update_rows, own, stack, rest, rank, workers)
    if own.long_rows:
        _measure_long_rows(_Pieces.of(own, own.long_rows), own, stack, losses, workers)


def read_by_kernels(own: SortedMode, stack: np.ndarray) -> tuple[np.ndarray, ...]:
    """What every kernel reads of one mode's entries and of the factors."""
    return own.keys, own.places, stack, own.values, own.weights


def work_of(own: SortedMode, each: float) -> float:
    """Multiply-adds over all entries of a mode, where one takes `each` of them once it is gathered."""
    return own.size * (each + _GATHER)


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
    work = work_of(own, each) / step
    ranges = own.blocks if workers.pay(work) else own.runs
    if long_too:
        ranges = (*((row, row + 1) for row in own.long_rows), *ranges)
    data = read_by_kernels(own, stack)
    calls = [(first + (start - first) % step, last, own.starts, own.base, *data, *rest) for first, last in ranges]
    workers.run(kernels.in_room(kernel, stack), calls, work)


@dataclass(frozen=True)
class _Pieces:
    """Long rows cut into pieces for threads."""

    rows: Sequence[int]
    spans: np.ndarray  # (pieces, 2), entries of each, row after row
    of_row: list[slice]  # pieces of each row
    batches: list[np.ndarray]  # pieces that one thread takes together, in the order they are taken

    @classmethod
    def of(cls, own: SortedMode, rows: Sequence[int]) -> _Pieces:
        """All first pieces are taken, then all second ones: these read about the same factor rows, see `kernels.accumulate_pieces`."""
        cut = [segments(int(own.starts[row]), int(own.starts[row + 1])) for row in rows]
        ends = np.cumsum([len(parts) for parts in cut]).tolist()
        of_row = [slice(end - len(parts), end) for parts, end in zip(cut, ends, strict=True)]
        order = np.argsort([place for parts in cut for place in range(len(parts))], kind="stable")
        batches = np.array_split(order, max(min(len(order), _BATCHES), len(order) // _TOGETHER))
        return cls(rows, np.array([span for parts in cut for span in parts]), of_row, batches)

    @property
    def size(self) -> int:
        """Entries in all."""
        return int(np.diff(self.spans).sum())


def _update_long_rows(rows: Sequence[int], own: SortedMode, stack, terms: Terms, losses, energies, workers: Workers) -> None:
    rank, dtype, data = stack.shape[1], stack.dtype, read_by_kernels(own, stack)
    pieces = _Pieces.of(own, rows)
    width, count = padded(rank, stack), len(pieces.spans)
    grams, rights = np.zeros((count, width, width), dtype), np.zeros((count, width), dtype)
    calls = [(which, pieces.spans, *data, grams, rights) for which in pieces.batches]
    workers.run(kernels.in_room(kernels.accumulate_pieces, stack), calls, pieces.size * (rank * rank / 2 + _GATHER))
    spare = np.zeros((len(rows), rank), dtype)

    def finish(i: int, row: int, mine: slice) -> None:
        summed = grams[mine].sum(axis=0)[:rank, :rank] + terms.guard, rights[mine].sum(axis=0)[:rank]
        where = own.base + row, own.base, own.base + own.rows
        kernels.finish_row(*kernels.with_room(stack), *where, *summed, *terms.ridge(), stack, spare[i])  # pyright: ignore[reportCallIssue]

    calls = [(i, row, mine) for i, (row, mine) in enumerate(zip(rows, pieces.of_row, strict=True))]
    workers.run(finish, calls, len(rows) * rank**3 / 3)
    if terms.measure:
        energies[list(rows)] = spare
        _measure_long_rows(pieces, own, stack, losses, workers)


def _measure_long_rows(pieces: _Pieces, own: SortedMode, stack: np.ndarray, losses: np.ndarray, workers: Workers) -> None:
    residuals, data = np.zeros(len(pieces.spans)), read_by_kernels(own, stack)
    row_of = np.repeat(own.base + np.asarray(pieces.rows), [mine.stop - mine.start for mine in pieces.of_row])
    calls = [(which, pieces.spans, row_of, *data, residuals) for which in pieces.batches]
    workers.run(kernels.in_room(kernels.residual_of_pieces, stack), calls, pieces.size * (stack.shape[1] + _GATHER))
    for row, mine in zip(pieces.rows, pieces.of_row, strict=True):
        losses[row] = residuals[mine].sum()
