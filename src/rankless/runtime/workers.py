"""Threads that hand out blocks of rows. What they work on is in `modes`.

Blocks depend on the data alone, so the numbers do not depend on how many threads there are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from rankless.runtime.clock import Clock
from rankless.runtime.journal import Arrays, Journal
from rankless.runtime.progress import Ended, Tracker

_SMALL_WORK = 2e6  # multiply-adds below which starting threads costs more than it saves


class Workers:
    """A pool of threads with the BLAS held to one thread while they work, the journal of what they have computed, and who is told of it.

    `n_jobs` None means every processor this process may use. `clock` says whether it is too late to begin more.
    """

    def __init__(
        self, n_jobs: int | None = None, journal: Journal | None = None, tracker: Tracker | None = None, time_limit: float | None = None
    ):
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if n_jobs is None or n_jobs == -1:
            n_jobs = available
        if not (isinstance(n_jobs, (int, np.integer)) and n_jobs >= 1):
            raise ValueError(f"n_jobs={n_jobs!r} is not a number of threads; pass n_jobs=1 or more, or None for all {available}")
        self.n_jobs, self.journal, self.tracker = int(n_jobs), journal, tracker or Tracker()
        self.clock = Clock(time_limit, self.recall)

    def __enter__(self) -> Workers:
        self._limit = _blas().limit(limits=1, user_api="blas")
        return self

    def __exit__(self, *exception) -> None:
        self._limit.restore_original_limits()
        self.close()

    def close(self) -> None:
        """Let the threads go."""
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

        self._together(take_blocks, take_blocks, min(self.n_jobs, len(calls)), remaining)

    def each(self, function: Callable[[int, Workers], Any], count: int) -> list[Any]:
        """``function(i, workers)`` for every `i` below `count`: long tasks that need nothing of each other, side by side."""
        results, remaining, together = [None] * count, iter(range(count)), min(self.n_jobs, count)

        def take_tasks(tracker: Tracker) -> None:
            share = Workers(self.n_jobs // together, tracker=tracker)
            try:
                for task in remaining:
                    results[task] = function(task, share)
            finally:
                share.close()

        others = _Others()
        self._together(lambda: take_tasks(self.tracker), lambda: take_tasks(others), together, remaining, others)
        return results

    def _together(self, here: Callable, there: Callable, count: int, remaining: Iterator, others: _Others | None = None) -> None:
        """`here` on this thread and `there` on others, `count` in all: they take what `remaining` has.

        Where one fails, or ctrl-C or a callback ends it, no thread takes another and `others` are told to end what they are at:
        none still writes when the arrays are looked at.
        """
        futures = [self._pool.submit(there) for _ in range(count - 1)]
        try:
            here()
            for future in futures:
                future.result()
        except BaseException:
            deque(remaining, maxlen=0)
            if others is not None:
                others.over = True
            wait(futures)
            raise

    def recall(self, what: str, given: Iterable[Any], compute: Callable[[], Arrays]) -> Arrays:
        """``compute()``, long and repeatable given `given`; what a journal holds of it already is not computed again."""
        return compute() if self.journal is None else self.journal.recall(what, given, compute)


class _Others(Tracker):
    """Tells nobody of what threads beside the first are at, and ends it when that was interrupted."""

    over = False

    def beat(self, fraction: float | None = None) -> None:
        if self.over:
            raise Ended


def _blas() -> ThreadpoolController:
    global _controller
    if _controller is None:  # scanning the loaded libraries takes milliseconds: once a process
        import scipy.linalg.cython_blas  # noqa: F401  (the library to be limited must be loaded first)

        _controller = ThreadpoolController()
    return _controller


_controller: ThreadpoolController | None = None
