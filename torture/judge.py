"""What a reader may do with a file: give what is sound, or say in one line what is wrong. Nothing else.

What can be read in chunks is read in both ways: the same entries must come of it, or an error of each. A model of
a large file is loaded, and asked.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rankless import Observations, io
from rankless.als.entries import Entries
from rankless.io import chunks, suffix_of
from rankless.large import LargeCompletion
from torture.mutate import write
from torture.record import Outcome
from torture.seeds import MODEL, Seed, roles, seeds, targets

LONGEST = 1000  # letters of an error
ONLY_WHOLE = ("variables, and one is read in blocks", "more memory than there is")  # said in chunks alone: no disagreement

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
            came, text = loaded(path) if suffix == MODEL else judge(path, options)
            if came != "crashed" and suffix in io.FORMATS and io.FORMATS[suffix].chunks:
                came, text = in_chunks(path, options, came, text)
            if came == "crashed":
                return came, text
            if outcome != "accepted":
                outcome, said = came, text
        return outcome, said


def warm() -> None:
    """Read a valid file of every format, so that every library is loaded and has made its reserves."""
    for suffix in targets():
        for seed in seeds(suffix):
            outcome, said = read((suffix, seed))
            assert outcome != "crashed", f"a valid {suffix}: {said}"


def judge(path: Path, options: dict[str, Any]) -> tuple[Outcome, str]:
    """Read `path` and say what came of it; `path` is taken out of the text."""

    def reading() -> tuple[str, str]:
        obs = io.read(path, **options)
        return unsound(obs), repr(obs)

    return outcome_of(reading, path)


def in_chunks(path: Path, options: dict[str, Any], outcome: Outcome, said: str) -> tuple[Outcome, str]:
    """Read `path` two rows at a time, and say what came of it beside what came of reading it whole."""

    scanned: list[chunks.Scan] = []

    def reading() -> tuple[str, str]:
        scanned[:] = [chunks.scan(path, rows=2, **options)]
        for coords, values in scanned[0].chunks.read():
            assert coords.shape == (len(scanned[0].shape), len(values))
        return "", repr(scanned[0])

    def naming() -> tuple[str, str]:
        for columns in chunks.cells(path, options["modes"], 2):
            if len({len(column) for column in columns}) != 1 or any(pd.isna(np.asarray(column)).any() for column in columns):
                return "cells without a label", ""
        return "", "its cells"

    if io.FORMATS[suffix_of(path)].chunks == "Table":
        came, text = outcome_of(naming, path)
        if came == "crashed":
            return came, f"its cells: {text}"
    came, text = outcome_of(reading, path)
    if came == "accepted":
        try:  # nobody watches: compiled code comes from files that hold pickles
            entries = Entries.collected(scanned[0].chunks)
        except ValueError as problem:  # coordinates that stand twice
            came, text = "refused", str(problem)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fault = differing(scanned[0], entries, io.read(path, **options)) if outcome == "accepted" else ""
            came, text = ("crashed", fault) if fault else (came, text)
    if came == outcome or came == "crashed" or any(words in text for words in ONLY_WHOLE):
        return came, f"in chunks: {text}" if came == "crashed" else text
    return "crashed", f"{outcome} as a whole ({said}), {came} in chunks ({text})"


def loaded(path: Path) -> tuple[Outcome, str]:
    """Load a model of a large file and ask it for values, by number and by label."""

    def asking() -> tuple[str, str]:
        done = LargeCompletion.load(path)
        cells = np.argwhere(np.ones(done.shape)) if np.prod(done.shape) < 1000 else np.zeros((1, len(done.shape)), int)
        values = done.predict(cells)
        top = done.top({done.modes[0]: 0 if (label := done.labels[0]) is None else label[0]}, 3)
        return ("" if len(values) == len(cells) and len(top) else "answers that are not there"), done.summary()

    return outcome_of(asking, path)


def outcome_of(asked: Callable[[], tuple[str, str]], path: Path) -> tuple[Outcome, str]:
    """What comes of `asked`, which says what is wrong, if anything, and what it found."""
    _watch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fault, found = asked()
    except (ValueError, OSError) as problem:
        text = str(problem)
        clear = len(text.splitlines()) == 1 and len(text) < LONGEST and path.name in text
        outcome, said = ("refused" if clear else "crashed"), f"{type(problem).__name__}: {text}"
    except BaseException as problem:
        outcome, said = "crashed", f"{type(problem).__name__}: {problem}"
    else:
        outcome, said = ("crashed", fault) if fault else ("accepted", found)
    deeds = _stop_watching()
    if deeds:
        outcome, said = "crashed", deeds[0]
    return outcome, said.replace(str(path.parent), "")


def differing(found: chunks.Scan, entries: Entries, whole: Observations) -> str:
    """How what was read in chunks differs from what was read as a whole, in words; nothing where it does not."""
    own = entries.modes[0]
    coords = np.vstack([np.repeat(np.arange(own.rows), np.diff(own.starts)), own.others(0, own.size)])

    def told(labels: Sequence[np.ndarray | None], coords: np.ndarray, values: np.ndarray) -> list[tuple[object, ...]]:
        """Entries by label: categories keep their order as a whole, and not in chunks, each of which has its own."""
        names = [at.tolist() if label is None else [str(label[i]) for i in at] for label, at in zip(labels, coords, strict=True)]
        return sorted(zip(*names, values.astype(float).tolist(), strict=True))

    same = {
        "modes": tuple(found.modes) == tuple(whole.modes),
        "shape": tuple(found.shape) == tuple(whole.shape),
        "labels": all(
            (a is None and b is None) or (a is not None and b is not None and sorted(map(str, a)) == sorted(map(str, b)))
            for a, b in zip(found.labels, whole.labels, strict=True)
        ),
        "entries": told(found.labels, coords, own.values) == told(whole.labels, whole.coords, whole.values),
    }
    return next((f"other {name} in chunks than as a whole" for name, holds in same.items() if not holds), "")


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
