"""Threads that hand out blocks of rows, and the layout that makes the blocks.

A mode's entries are sorted by its own coordinate once. Rows are cut into blocks of even work;
a row too long for one thread is cut into segments whose sums are added in a fixed order. Blocks
depend on the data alone, so the numbers do not depend on how many threads there are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from rankless.als.kernels import sort_by_row
from rankless.checkpoint import Arrays, Journal
from rankless.observations import Observations
from rankless.progress import Tracker

_LONG_ROW = 16_384  # entries from which a row is shared between threads
_BLOCKS = 32  # blocks a mode is cut into: enough to even out the threads, few enough to cost nothing
_SOLVE = 64  # entries that cost as much as a row's solve, at any rank
_SMALL_WORK = 2e6  # multiply-adds below which starting threads costs more than it saves


@dataclass(frozen=True)
class SortedMode:
    """Entries sorted by one mode: row `i` owns entries ``starts[i]`` to ``starts[i + 1]``."""

    mode: int
    starts: np.ndarray  # (d + 1,)
    others: np.ndarray  # (N - 1, n) int32, coordinates in the other modes
    values: np.ndarray  # (n,)
    weights: np.ndarray  # (n,), or (0,) where every weight is one
    runs: tuple[tuple[int, int], ...]  # ranges of rows, long rows left out
    blocks: tuple[tuple[int, int], ...]  # the same, cut for threads into ranges of even work
    long_rows: tuple[int, ...]

    @classmethod
    def of(cls, obs: Observations, mode: int, values: np.ndarray, weights: np.ndarray) -> SortedMode:
        if mode == 0:  # the canonical order is already sorted by the first mode: share it
            starts = np.searchsorted(obs.coords[0], np.arange(obs.shape[0] + 1, dtype=np.int32))
            arrays = obs.coords[1:], values, weights
        else:
            starts = np.concatenate([[0], np.cumsum(obs.counts(mode))])
            arrays = np.empty((obs.order - 1, obs.size), np.int32), np.empty_like(values), np.empty_like(weights)
            sort_by_row(obs.coords, mode, values, weights, starts[:-1].copy(), *arrays)
        lengths = np.diff(starts)
        runs, blocks = _even_blocks(lengths, 1), _even_blocks(lengths, _BLOCKS)
        return cls(mode, starts, *arrays, runs, blocks, tuple(np.flatnonzero(lengths > _LONG_ROW).tolist()))

    @property
    def size(self) -> int:
        return len(self.values)


def _even_blocks(lengths: np.ndarray, count: int) -> tuple[tuple[int, int], ...]:
    """About `count` ranges of consecutive rows holding about the same work; long rows lie in none."""
    work = np.where(lengths > _LONG_ROW, 0, lengths + _SOLVE)
    edges = np.searchsorted(np.cumsum(work), np.linspace(0, work.sum(), min(count, len(lengths)) + 1)[1:-1])
    cuts = np.unique(np.concatenate([[0], edges + 1, [len(lengths)]]))
    blocks = []
    for lo, hi in pairwise(cuts):
        rows = np.flatnonzero(lengths[lo:hi] <= _LONG_ROW) + lo
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            if len(run):
                blocks.append((int(run[0]), int(run[-1]) + 1))
    return tuple(blocks)


def segments(lo: int, hi: int) -> list[tuple[int, int]]:
    """Pieces of a long row, at most `_LONG_ROW` entries each."""
    return [(start, min(start + _LONG_ROW, hi)) for start in range(lo, hi, _LONG_ROW)]


class Workers:
    """A pool of threads with the BLAS held to one thread while they work, the journal of what they have computed, and who is told of it.

    `n_jobs` None means every processor this process may use.
    """

    def __init__(self, n_jobs: int | None = None, journal: Journal | None = None, tracker: Tracker | None = None):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if n_jobs is None or n_jobs == -1:
            n_jobs = available
        if not (isinstance(n_jobs, (int, np.integer)) and n_jobs >= 1):
            raise ValueError(f"n_jobs={n_jobs!r} is not a number of threads; pass n_jobs=1 or more, or None for all {available}")
        self.n_jobs, self.journal, self.tracker = int(n_jobs), journal, tracker or Tracker()

    def __enter__(self) -> Workers:
        self._limit = _blas().limit(limits=1, user_api="blas")
        return self

    def __exit__(self, *exception) -> None:
        self._limit.restore_original_limits()
        if "_pool" in self.__dict__:
            self._pool.shutdown()
            del self._pool

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.n_jobs - 1 or 1, thread_name_prefix="rankless")

    def pay(self, work: float) -> bool:
        """Whether threads are worth starting for `work` multiply-adds."""
        return self.n_jobs > 1 and work >= _SMALL_WORK

    def run(self, function: Callable, calls: Sequence[tuple], work: float) -> None:
        """``function(*call)`` for every call; on threads where `work` multiply-adds pay for them."""
        if len(calls) < 2 or not self.pay(work):
            for call in calls:
                function(*call)
            return
        remaining = iter(calls)

        def take_blocks() -> None:  # `next` on a list iterator is atomic: each block is taken once
            for call in remaining:
                function(*call)

        futures = [self._pool.submit(take_blocks) for _ in range(min(self.n_jobs, len(calls)) - 1)]
        try:
            take_blocks()
        except BaseException:  # ctrl-C: no thread takes another block, and none still writes when the arrays are looked at
            deque(remaining, maxlen=0)
            wait(futures)
            raise
        for future in futures:
            future.result()

    def recall(self, what: str, given: Iterable[Any], compute: Callable[[], Arrays]) -> Arrays:
        """``compute()``, long and repeatable given `given`; what a journal holds of it already is not computed again."""
        return compute() if self.journal is None else self.journal.recall(what, given, compute)


def _blas() -> ThreadpoolController:
    global _controller
    if _controller is None:  # scanning the loaded libraries takes milliseconds: once a process
        import scipy.linalg.cython_blas  # noqa: F401  (the library to be limited must be loaded first)

        _controller = ThreadpoolController()
    return _controller


_controller: ThreadpoolController | None = None
