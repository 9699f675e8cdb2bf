"""Files: one reader and one writer a format, chosen by the suffix of the name.

======================  ===============================================  ===============================
suffix                  read                                             written
======================  ===============================================  ===============================
``.npy``, ``.npz``      a dense array, NaN where nothing was observed    the filled array
``.csv``, ``.parquet``  a long table: one row an entry                   the filled table
======================  ===============================================  ===============================

Missing is not zero: a 0 in a file is a value. Which columns of a table are its modes is never
guessed. No pickle is ever loaded.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rankless._memory import check_fits
from rankless.observations import Duplicates, Observations

if TYPE_CHECKING:
    from rankless.completion import Completion

ARRAYS = (".npy", ".npz")
TABLES = (".csv", ".parquet")


def suffix_of(path: str | os.PathLike) -> str:
    """The suffix of a file name, in lower case; raises ValueError unless it is one that we read and write.

    >>> suffix_of("Rain.CSV")
    '.csv'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ARRAYS + TABLES:
        raise ValueError(f"{str(path)!r} has suffix {suffix!r}; rankless knows {', '.join(ARRAYS + TABLES)}: convert or rename it")
    return suffix


def check_output(path: str | os.PathLike, source: str | os.PathLike) -> None:
    """Raise ValueError for an output that could not be written, before any work is done for it."""
    suffix_of(path)
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"the output {str(path)!r} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise ValueError(f"cannot write {str(path)!r}: {str(target.parent)!r} is no folder; create it or choose another")
    if target.exists() and Path(source).exists() and target.samefile(source):
        raise ValueError(f"the output {str(path)!r} is the input; choose another name, so that what was observed is kept")


def check_size(path: str | os.PathLike, obs: Observations) -> None:
    """Raise ValueError if all cells of `obs`, filled, would not fit in memory on their way to `path`."""
    table = suffix_of(path) in TABLES
    check_fits(obs.shape, 8 * (obs.order + 1) if table else obs.values.dtype.itemsize)


def read(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | None = None,
    value: str | None = None,
    duplicates: Duplicates = "error",
) -> Observations:
    """Observations from a .npy, .npz, .csv or .parquet file.

    Parameters
    ----------
    modes : names of the modes. In a table these are columns, and needed; a mode named like a flat
        array of an .npz takes its labels from it.
    value : the column of a table that holds the values, needed; the array of an .npz, needed where
        it holds several and none is called ``tensor``.
    duplicates : what to do with a coordinate that stands twice in a table: 'error', 'mean', 'last'.

    Raises ValueError, naming the file and the mend, for anything that is not such a file.
    """
    if suffix_of(path) in ARRAYS:
        from rankless.io import arrays

        return arrays.read(path, modes=modes, value=value)
    from rankless.io import tables

    return tables.read(path, modes=modes, value=value, duplicates=duplicates)


def write(path: str | os.PathLike, done: Completion) -> None:
    """Write a filled result: all cells as an array, or as a long table with a column that says which were observed."""
    if suffix_of(path) in TABLES:
        from rankless.io import tables

        tables.write(path, done.table(coverage=None))
        return
    from rankless.io import arrays

    obs = done.observations
    observed = np.zeros(obs.shape, dtype=bool)
    observed[tuple(obs.coords)] = True
    beside = {name: label for name, label in zip(obs.modes, obs.labels, strict=True) if label is not None}
    arrays.write(path, done.array(), observed, beside)
