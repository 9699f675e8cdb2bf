"""What a reader may do with a file: give sound observations, or say in one line what is wrong. Nothing else."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from rankless import Observations, io
from torture.mutate import write
from torture.record import Outcome
from torture.seeds import Seed, roles, seeds, suffixes

LONGEST = 1000  # letters of an error

_FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "subprocess.Popen",
    "socket.connect",
    "urllib.Request",
    "os.remove",
    "os.rename",
    "os.mkdir",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_watched: list[str] | None = None  # what reading made the process do; None while nothing is read
_listening = False


def read(given: tuple[str, Seed]) -> tuple[Outcome, str]:
    """The outcome of reading one file, given as its suffix and contents; to be run in a child process."""
    suffix, files = given
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = write(files, Path(folder))
        outcome: Outcome = "refused"
        said = ""
        for options in roles(suffix):
            came, text = judge(path, options)
            if came == "crashed":
                return came, text
            if outcome != "accepted":
                outcome, said = came, text
        return outcome, said


def warm() -> None:
    """Read a valid file of every format, so that every library is loaded and has made its reserves."""
    for suffix in suffixes():
        for seed in seeds(suffix):
            outcome, said = read((suffix, seed))
            assert outcome != "crashed", f"a valid {suffix}: {said}"


def judge(path: Path, options: dict[str, Any]) -> tuple[Outcome, str]:
    """Read `path` and say what came of it; `path` is taken out of the text."""
    _watch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            obs = io.read(path, **options)
    except (ValueError, OSError) as problem:
        text = str(problem)
        clear = len(text.splitlines()) == 1 and len(text) < LONGEST and path.name in text
        outcome, said = ("refused" if clear else "crashed"), f"{type(problem).__name__}: {text}"
    except BaseException as problem:
        outcome, said = "crashed", f"{type(problem).__name__}: {problem}"
    else:
        fault = unsound(obs)
        outcome, said = ("crashed", fault) if fault else ("accepted", repr(obs))
    deeds = _stop_watching()
    if deeds:
        outcome, said = "crashed", deeds[0]
    return outcome, said.replace(str(path.parent), "")


def unsound(obs: Observations) -> str:
    """What is wrong with observations, in words; nothing where they are sound."""
    sound = {
        "coordinates outside the shape": all(c.min() >= 0 and c.max() < d for c, d in zip(obs.coords, obs.shape, strict=True)),
        "values that are not finite": bool(np.isfinite(obs.values).all()),
        "coordinates out of order or twice": len(np.unique(obs.indices, axis=0)) == obs.size
        and np.array_equal(np.lexsort(obs.coords[::-1]), np.arange(obs.size)),
        "labels that do not fit": all(names is None or names.shape == (d,) for names, d in zip(obs.labels, obs.shape, strict=True)),
    }
    return next((name for name, holds in sound.items() if not holds), "")


def _watch() -> None:
    global _watched, _listening
    if not _listening:  # a hook cannot be taken off again
        sys.addaudithook(_hear)
        _listening = True
    _watched = []


def _stop_watching() -> list[str]:
    global _watched
    deeds, _watched = _watched or [], None
    return deeds


def _hear(event: str, arguments: tuple) -> None:
    if _watched is None:
        return
    if event in _FORBIDDEN:
        _watched.append(f"{event} {arguments}")
    elif event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
        _watched.append(f"opened {arguments[0]!r} for writing")
