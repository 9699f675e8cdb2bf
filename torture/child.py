"""One function over many inputs in a child process under limits: an input that kills the child costs itself, not the campaign."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
_START = 120.0  # seconds for a fresh child to import what it needs


@dataclass(frozen=True)
class End:
    """What `function` returned, or how the child died over it."""

    value: Any = None
    died: str = ""


def over(
    function: Callable[[Any], Any],
    inputs: Iterable[Any],
    *,
    seconds: float = 20.0,
    memory: int = GIB,
    warm: Callable[[], object] | None = None,
) -> Iterator[End]:
    """The end of ``function(input)`` for each of `inputs`, one after the other.

    A call may take `seconds` and `memory` bytes more than the child had after `warm`; functions and inputs are pickled.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads of BLAS and pyarrow in any state
    child: Any = None
    pipe: Any = None
    try:
        for given in inputs:
            if child is None:
                pipe, theirs = context.Pipe()
                child = context.Process(target=_serve, args=(theirs, function, memory, warm), daemon=True)
                child.start()
                theirs.close()
                pipe.poll(_START)
                pipe.recv()
            try:
                pipe.send(given)
                if pipe.poll(seconds):
                    yield End(pipe.recv())
                    continue
                died = f"still running after {seconds:g} s"
            except (EOFError, ConnectionError):
                child.join()
                died = _cause(child.exitcode)
            child.kill()
            child.join()
            child = None
            yield End(died=died)
    finally:
        if child is not None:
            child.kill()
            child.join()


def _serve(pipe: Any, function: Callable[[Any], Any], memory: int, warm: Callable[[], object] | None) -> None:
    if warm is not None:
        warm()
    limit_memory(memory)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send("ready")
    while True:
        try:
            given = pipe.recv()
        except EOFError:
            return
        pipe.send(function(given))


def limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _cause(code: int | None) -> str:
    return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"left with code {code}"
