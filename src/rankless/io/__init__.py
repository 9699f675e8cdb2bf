"""Files: one reader and one writer a format, chosen by the suffix of the name.

======================  ===============================================  ===============================
suffix                  read                                             written
======================  ===============================================  ===============================
``.npy``, ``.npz``      a dense array, NaN where nothing was observed    the filled array
``.csv``, ``.parquet``  a long table: one row an entry                   the filled table
``.nc``, ``.zarr``      variables of NetCDF or Zarr, with their labels   the same file, its holes filled
``.mat``                an array of MATLAB, NaN where not observed       the filled array
``.tns``                FROSTT: coordinates and value, line by line      all cells, line by line
======================  ===============================================  ===============================

Missing is not zero: a 0 in a file is a value. Which columns of a table are its modes is never
guessed. No pickle is ever loaded.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rankless.io.broken import check_file
from rankless.kinds import Given, Roles, understand
from rankless.runtime.files import check_writable, is_store
from rankless.runtime.memory import check_fits
from rankless.tensors.observations import Duplicates, Marks, Observations, listed, marks_of

if TYPE_CHECKING:
    from rankless.completion import Completion


@dataclass(frozen=True)
class Format:
    """The module here that has ``read(path, modes=, value=)`` and ``save(path, done)``, and what it takes besides."""

    module: str
    reads_with: tuple[str, ...] = ()
    saves_with: tuple[str, ...] = ()
    chunks: str = ""  # the class of `sources` that reads it in chunks, if it can be
    long: bool = False  # a line a cell
    folder: bool = False
    reads_folder: bool = False  # though it writes none


# The one list of what can be read, and written.
FORMATS = {
    ".npy": Format("arrays"),
    ".npz": Format("arrays", saves_with=("coverage",)),
    ".csv": Format("tables", ("duplicates", "where", "encoding"), saves_with=("coverage",), chunks="Table", long=True),
    ".parquet": Format("tables", ("duplicates", "where"), saves_with=("coverage",), chunks="Table", long=True, reads_folder=True),
    ".nc": Format("labelled", ("where",), chunks="Blocks"),
    ".zarr": Format("labelled", ("where",), chunks="Blocks", folder=True),
    ".mat": Format("matlab", ("absent",)),
    ".tns": Format("tns", ("duplicates", "index_base"), saves_with=("index_base",), chunks="Lines", long=True),
}


def suffix_of(path: str | os.PathLike) -> str:
    """The suffix of a file name, in lower case; raises ValueError unless it is one that we read and write.

    >>> suffix_of("Rain.CSV")
    '.csv'
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS and Path(path).is_dir() and next(Path(path).rglob("*.parquet"), None) is not None:
        return ".parquet"  # in parts
    if suffix not in FORMATS:
        raise ValueError(f"{str(path)!r} has suffix {suffix!r}; rankless knows {', '.join(FORMATS)}: convert or rename it")
    return suffix


def check_output(
    path: str | os.PathLike, *inputs: str | os.PathLike, suffixes: Sequence[str] = tuple(FORMATS), called: str = "the output"
) -> None:
    """Raise ValueError for an output that could not be written, or is one of the `inputs`, before any work is done for it.

    It needs one of the `suffixes`, and is `called` so in what is said.
    """
    target, suffix = Path(path), Path(path).suffix.lower()
    which = f"{called} {str(path)!r}"
    if suffix not in suffixes:
        raise ValueError(f"{which} has suffix {target.suffix!r}; what is written here is {' or '.join(suffixes)}")
    folder = suffix in FORMATS and FORMATS[suffix].folder
    if target.is_dir() and not folder:
        raise ValueError(f"{which} is a folder; name a file in it")
    if folder and target.exists() and not is_store(target):
        raise ValueError(f"{which} is there and is no {suffix} store; choose another name, so that it is kept")
    if not target.parent.is_dir():
        raise ValueError(f"{which} cannot be written: {str(target.parent)!r} is no folder; create it or choose another")
    if target.exists() and any(Path(source).exists() and target.samefile(source) for source in inputs):
        raise ValueError(f"{which} is the input; choose another name, so that what was observed is kept")
    check_writable(target)


def check_size(path: str | os.PathLike, obs: Observations) -> None:
    """Raise ValueError if all cells of `obs`, filled, would not fit in memory on their way to `path`."""
    long = FORMATS[suffix_of(path)].long
    check_fits(obs.shape, 8 * (obs.order + 1) if long else obs.values.dtype.itemsize)


def read(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | str | None = None,
    value: str | None = None,
    duplicates: Duplicates = "error",
    index_base: int | None = None,
    absent: str | None = None,
    missing: Marks = (),
    where: Any = None,
    encoding: str | None = None,
) -> Observations:
    """Observations from a .npy, .npz, .csv, .parquet, .nc, .zarr, .mat or .tns file, or a folder of .parquet files.

    Parameters
    ----------
    modes : names of the modes. In a table these are columns, and needed; a mode named like a flat
        array of an .npz or .mat takes its labels from it; .nc and .zarr name their modes themselves.
    value : the column of a table that holds the values, needed; the array of an .npz or .mat, needed where
        it holds several and none is called ``tensor``; the variables of .nc or .zarr, by commas, if not all.
    duplicates : what to do with a coordinate that stands twice in a table or .tns: 'error', 'mean', 'last'.
    index_base : the number of the first slice in a .tns: 1, as FROSTT has it, unless the file says
        ``# index_base: 0`` or you do.
    absent : 'missing' says that what a sparse matrix of a .mat doesn't list was not observed.
    missing : numbers that mean 'not observed', such as -9999; of a .csv texts as well.
    where : where there are cells: a mask, a file that holds one (.npy, .npz), a mode along which fibres never observed
        are none, the column of a table, the variable of a .nc or .zarr.
    encoding : of a .csv that is not in UTF-8, such as 'cp1252'.

    Raises ValueError, naming the file and the mend, for anything that is not such a file.
    """
    options: dict[str, Any] = {"duplicates": duplicates, "index_base": index_base, "absent": absent}
    return load(path, modes=modes, value=value, missing=missing, where=where, encoding=encoding, **options).observations


def load(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | str | None = None,
    value: str | None = None,
    missing: Marks = (),
    where: Any = None,
    encoding: str | None = None,
    **options,
) -> Given:
    """What `read` gives, with the way back: `complete` takes it, and `write` then keeps all else that the file holds."""
    suffix = suffix_of(path)
    how = FORMATS[suffix]
    check_file(path, folder=how.folder or how.reads_folder)
    if encoding is not None and "encoding" not in how.reads_with:
        raise ValueError(f"encoding={encoding!r} is for a .csv, and {str(path)!r} is none; leave it out")
    texts = [mark for mark in marks_of(missing) if isinstance(mark, str)]
    if texts and suffix != ".csv":
        raise ValueError(f"missing={texts[0]!r} is no number, and only a .csv has texts among its values; pass a number")
    where = _mask(where)
    names = None if modes is None else listed(modes)
    options |= {"where": where, "encoding": encoding}
    read_from = _module(suffix).read(path, modes=names, value=value, missing=marks_of(missing), **_taken(suffix, "reads_with", options))
    try:
        return understand(read_from, Roles(where=where))
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def _mask(where: Any) -> Any:
    """The mask in a file, where `where` names one."""
    if not isinstance(where, (str, os.PathLike)) or Path(where).suffix.lower() not in (".npy", ".npz"):
        return where
    from rankless.io.arrays import read_mask

    check_file(where)
    return read_mask(where)


def check_ends(path: str | os.PathLike) -> None:
    """Raise ValueError for an output that has no place for intervals."""
    if "coverage" not in FORMATS[suffix_of(path)].saves_with:
        able = ", ".join(suffix for suffix, how in FORMATS.items() if "coverage" in how.saves_with)
        raise ValueError(f"{str(path)!r} has no place for intervals; leave out --coverage, or write one of {able}")


def write(path: str | os.PathLike, done: Completion, *, index_base: int | None = None, coverage: float | None = None) -> None:
    """Write a filled result: all cells as an array, or as a long table with a column that says which were observed.

    With `coverage` the ends of every cell's interval are written too, in ``lower`` and ``upper``.

    A .nc or .zarr that was read by `load` is copied and its holes are filled: nothing else in it changes.
    """
    suffix = suffix_of(path)
    _module(suffix).save(path, done, **_taken(suffix, "saves_with", {"index_base": index_base, "coverage": coverage}))


def _module(suffix: str) -> Any:
    return importlib.import_module(f"rankless.io.{FORMATS[suffix].module}")


def _taken(suffix: str, by: str, options: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that a format takes."""
    return {name: option for name, option in options.items() if name in getattr(FORMATS[suffix], by)}
