"""FROSTT's ``.tns``: a line an entry, its coordinates and then its value; what has no line was not observed."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rankless.io.broken import Unclear, named
from rankless.runtime.files import write_beside
from rankless.tensors.observations import EXACT, Duplicates, Marks, Observations, all_exact, not_exact

if TYPE_CHECKING:
    from rankless.completion import Completion

_SAYS_BASE = re.compile(r"#\s*index_base\s*[:=]\s*(\d+)\s*$")
_LINES_AT_ONCE = 100_000
MEND = "write a line an entry: its coordinates, then its value"


def read(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | None = None,
    value: str | None = None,
    duplicates: Duplicates = "error",
    index_base: int | None = None,
    missing: Marks = (),
) -> Observations:
    """Observations of the lines of `path`, counted from 1 as FROSTT does, unless the file or `index_base` says 0."""
    with named(path, MEND):
        base = base_of(path, index_base)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input contained no data")
            lines = np.loadtxt(path, comments="#", ndmin=2, encoding="utf-8")
        if not lines.size:
            raise Unclear(f"{path} has no observed entry; it needs a line for each: its coordinates, then its value")
        check_whole(path, lines[:, -1], missing)
        indices = lines[:, :-1] - base
        below = np.flatnonzero((indices < 0).any(axis=1))
        if base == 1 and len(below) and (lines[below, :-1] == 0).any():
            raise zero(path, int(below[0]), lines[below[0]])
    try:
        return Observations.from_indices(
            indices, lines[:, -1], modes=modes, value_name=value or "value", duplicates=duplicates, missing=missing
        )
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def check_whole(path: str | os.PathLike, values: np.ndarray, missing: Marks = ()) -> None:
    """Raise ValueError where a value that is written as a whole number was rounded on its way to float64."""
    if not (np.abs(values) >= EXACT).any():
        return
    with open(path, encoding="utf-8") as stream:
        texts = (line.split("#")[0].split()[-1:] for line in stream)
        if not all_exact((text[0] for text in texts if text), missing):
            raise Unclear(f"{path}: {not_exact('the last column')}")


def zero(path: str | os.PathLike, entry: int, line: Iterable[float]) -> Unclear:
    """What to say of a coordinate 0 where they count from 1."""
    row = " ".join(f"{number:g}" for number in line)
    return Unclear(
        f"entry {entry + 1} of {path}, {row!r}, has coordinate 0, but .tns counts from 1; "
        "pass index_base=0 (--index-base 0) if this one counts from 0"
    )


def save(path: str | os.PathLike, done: Completion, *, index_base: int | None = None) -> None:
    """Write all cells, observed and filled, counted from 1 unless `index_base` says 0; labels have no place in a .tns."""
    base = 1 if index_base is None else _checked(index_base)
    array = done.array()
    there = ~np.isnan(array.reshape(-1))  # all but what is no cell
    digits = 9 if array.dtype == np.float32 else 17
    with write_beside(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.write(f"# index_base: {base}\n")
        for start in range(0, array.size, _LINES_AT_ONCE):
            cells = np.arange(start, min(start + _LINES_AT_ONCE, array.size))
            cells = cells[there[cells]]
            indices = np.stack(np.unravel_index(cells, array.shape), axis=1) + base
            np.savetxt(stream, np.column_stack([indices, array.reshape(-1)[cells]]), fmt=["%d"] * array.ndim + [f"%.{digits}g"])


def base_of(path: str | os.PathLike, asked: int | None) -> int:
    """The number of the first slice: asked for, else said in the comments at the top of the file, else 1."""
    said = None
    with open(path, encoding="utf-8") as stream:
        for line in stream:
            if not line.startswith("#"):
                break
            if match := _SAYS_BASE.match(line):
                said = int(match[1])
    if said is not None and said not in (0, 1):
        raise Unclear(f"{path} says '# index_base: {said}', but a .tns counts from 1, as FROSTT does, or from 0; correct that line")
    if asked is None:
        return 1 if said is None else said
    if said is not None and said != asked:
        raise Unclear(f"{path} says '# index_base: {said}', but index_base={asked} was passed; leave it out")
    return _checked(asked)


def _checked(base: int) -> int:
    if base not in (0, 1):
        raise Unclear(f"index_base={base!r} is not known; pass 1, as FROSTT counts, or 0")
    return base
