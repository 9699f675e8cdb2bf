"""Measures in processes of their own: for a peak of memory of their own, with another checkout's code, or one on each core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.machine import ROOT, cores

SOURCE = ROOT / "src"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def alone(module: str, function: str, *args: object, source: Path = SOURCE, one_thread: bool = False) -> dict[str, Any]:
    """``module.function(*args)`` in a fresh process that imports rankless from the folder `source`; the arguments go by their `repr`.

    Raises ImportError where the process lacks a library, RuntimeError with what it said where it fails otherwise.
    """
    code = f"import json; from {module} import {function} as measure; print(json.dumps(measure(*{args!r})))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), str(ROOT)])}
    if one_thread:
        environment |= dict.fromkeys(THREADS, "1")
    command = [sys.executable, "-c", f"if __name__ == '__main__':\n    {code}"]  # guarded, for measures that start processes
    run = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False)
    if run.returncode:
        said = run.stderr.strip().splitlines()[-1]
        raise ImportError(said) if said.startswith(("ImportError", "ModuleNotFoundError")) else RuntimeError(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Job:
    """One call of a measure; `key` says what it is of."""

    key: dict[str, object]
    module: str
    function: str
    args: tuple[object, ...]
    source: Path = SOURCE


def side_by_side(jobs: Iterable[Job], *, processes: int | None = None) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Every job with what it gave, as they end; one process a core unless told, each on one thread.

    Where one fails, those that have not begun are dropped and its error is raised.
    """
    with ThreadPoolExecutor(processes or cores()) as pool:
        running = {pool.submit(alone, job.module, job.function, *job.args, source=job.source, one_thread=True): job for job in jobs}
        try:
            for done in as_completed(running):
                yield running[done], done.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
