"""Figures side by side: worker processes that each take one after the other, on one thread."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, cast

Make = Callable[[str, Callable[[str], None]], Any]


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread, of XLA (where it has not computed yet) and of the BLAS that it calls for singular values.

    The arrays of all figures are small: threads that share out work of microseconds wait for each other most of the time. The deep
    matrices took 46 seconds of processor time with two, and take 27 with one; beside another process on the same two cores, 130 to 160.
    """
    from rankless.runtime.workers import Workers

    os.environ.setdefault("NPROC", "1")  # the size of XLA's pool of threads, read when JAX first computes; there is no option for it
    with Workers(1):
        yield


def side_by_side(make: Make, names: Sequence[str], jobs: int, tell: Callable[[str, str], None]) -> Generator[tuple[str, Any], None, None]:
    """``(name, make(name, tell))`` of every name as it is done, `jobs` at a time; they are begun in the order given.

    `make` is pickled and called in fresh processes, which compute on one thread; what it tells comes as ``tell(name, text)``. What it
    raises is raised here and ends all of them, as does closing the iterator; RuntimeError where a process is gone.
    """
    fresh = multiprocessing.get_context("spawn")  # JAX has threads, which a fork would not survive
    waiting, busy, workers = deque(names), {}, []

    def give(pipe: Connection) -> None:
        if waiting:
            busy[pipe] = waiting.popleft()
            pipe.send(busy[pipe])

    try:
        for _ in range(min(jobs, len(names))):
            here, there = fresh.Pipe()
            workers.append(fresh.Process(target=_work, args=(make, there), daemon=True))
            workers[-1].start()
            there.close()  # the worker has its own: where it dies, `here` ends
            give(here)
        while busy:
            for pipe in cast(list[Connection], wait(list(busy))):
                name = busy[pipe]
                try:
                    kind, what = pipe.recv()
                except (EOFError, ConnectionError):
                    raise RuntimeError(f"the process that made {name!r} was ended; if memory ran out, pass jobs=1 (-j 1)") from None
                if kind == "told":
                    tell(name, what)
                elif kind == "failed":
                    raise what
                else:
                    del busy[pipe]
                    give(pipe)
                    yield name, what
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(make: Make, pipe: Connection) -> None:
    """Make what the pipe names, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends ctrl-C to all; who asked for the figures ends this process
    with one_thread():
        while True:
            try:
                name = pipe.recv()
            except EOFError:
                return
            try:
                pipe.send(("made", make(name, lambda text: pipe.send(("told", text)))))
            except Exception as error:
                pipe.send(("failed", _portable(error)))


def _portable(error: Exception) -> Exception:
    """An error that another process can read, with the traceback that only this one has."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # libraries have errors that need more than their message
        return RuntimeError("".join(traceback.format_exception(error)))
    return error
