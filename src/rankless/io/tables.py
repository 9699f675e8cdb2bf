"""Long tables, one row an entry: ``.csv`` and ``.parquet``."""

from __future__ import annotations

import codecs
import contextlib
import functools
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rankless.io.broken import Unclear, listing, named, need, short
from rankless.runtime.files import write_beside
from rankless.tensors.observations import (
    EXACT,
    Duplicates,
    Marks,
    Observations,
    all_exact,
    check_exact,
    is_mark,
    marks_of,
    not_exact,
    numeric_column,
)

if TYPE_CHECKING:
    from rankless.completion import Completion

# What stands for "no value" in a value column. In a mode's column only an empty cell does: a country may be called NA.
_NO_VALUE = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
_TRUTH = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_MARK = 12  # letters of a text that may stand for no value
_ROWS_AT_ONCE = 200_000  # with all their columns


def read(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | None,
    value: str | None,
    duplicates: Duplicates = "error",
    missing: Marks = (),
    where: Any = None,
    encoding: str | None = None,
) -> Observations:
    """Observations from the columns `modes` and `value`; raises ValueError rather than guess them.

    `missing` may hold texts, too, that stand for no value in a .csv; `where` may be a column that says where there are cells.
    """
    with named(path, "write it again"), _in_encoding(path, encoding):
        modes, value = declared(path, columns_of(path, encoding), modes, value)
        column = where if isinstance(where, str) and where not in modes else None
        beside = [] if column is None else [column]
        if column is not None and column not in columns_of(path, encoding):
            raise Unclear(f"no column {short(column)} in {path}, nor a mode or a file of that name, to say where there are cells")
        if is_parquet(path):
            table = _read_parquet(path, [*modes, value, *beside], value, missing)
        else:
            table = _read_csv(path, modes, value, beside, missing, encoding)
    try:
        return Observations.from_table(table, modes, value, duplicates=duplicates, missing=missing, where=column)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def side(path: str | os.PathLike, mode: str) -> pd.DataFrame:
    """A table of what is known of the slices of `mode`, whose labels stand in a column of that name; raises ValueError for any other."""
    if is_parquet(path):
        _need_pyarrow(path)
        table = pd.read_parquet(path)
    elif Path(path).suffix == ".csv":
        table = pd.read_csv(path, dtype={mode: str})
    else:
        raise ValueError(f"{path} is no .csv and no .parquet; write what is known of {mode} as one of them")
    if mode not in table.columns:
        raise ValueError(f"{path} has no column {mode!r} to tell its rows by; it has {', '.join(map(str, table.columns))}")
    return table


def save(path: str | os.PathLike, done: Completion, *, coverage: float | None = None) -> None:
    """Write all cells, observed and filled, with a column that says which were observed, and the ends of intervals where asked for."""
    write(path, done.table(coverage))


def write(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write a table, without its index."""
    parquet = Path(path).suffix.lower() == ".parquet"
    if parquet:
        _need_pyarrow(path)
    with write_beside(path) as temporary:
        if parquet:
            table.to_parquet(temporary, engine="pyarrow", index=False)
        else:
            table.to_csv(temporary, index=False)


def declared(path, columns: list[str], modes: Sequence[str] | None, value: str | None) -> tuple[list[str], str]:
    """The columns that hold the modes and the value; raises ValueError rather than guess them."""
    held = listing(columns)
    if modes is None or value is None:
        *first, last = columns if 1 < len(columns) < 9 else ["a", "b", "c"]
        raise Unclear(
            f"{path} is a table with columns {held}; say which are its modes and which its value, "
            f"for example modes={first!r}, value={last!r} (--modes {','.join(map(str, first))} --value {last})"
        )
    absent = [name for name in [*modes, value] if name not in columns]
    if absent:
        raise Unclear(f"no column {short(absent[0])} in {path}; it has {held}{_otherwise(columns)}")
    double = [name for name in [*modes, value] if columns.count(name) > 1]
    if double:
        raise Unclear(f"column {short(double[0])} stands twice in {path}; it has {held}: rename one")
    if len({*modes, value}) <= len(modes):
        raise Unclear(f"modes={list(modes)!r}, value={value!r} name a column of {path} twice; it has {held}")
    return list(modes), value


def columns_of(path, encoding: str | None = None) -> list[str]:
    """Names of a table's columns."""
    return list(_dataset(path).schema.names) if is_parquet(path) else _csv_columns(path, encoding)


def is_empty(path) -> bool:
    """Whether it is a table that has columns and no row; False for what cannot be read, which reading it says."""
    try:
        return _dataset(path).count_rows() == 0 if is_parquet(path) else pd.read_csv(path, nrows=1).empty
    except (ValueError, OSError):
        return False


def nothing_of(path) -> pd.DataFrame:
    """The columns of a table, and no row."""
    return pd.DataFrame(columns=columns_of(path))


def parts(path, wanted: list[str], value: str, rows: int) -> Iterator[pd.DataFrame]:
    """The columns `wanted` of a table, `rows` rows at a time."""
    return _parquet_parts(path, wanted, value, rows) if is_parquet(path) else _csv_parts(path, wanted, value, rows)


def is_parquet(path) -> bool:
    """Whether it is a .parquet file, or a folder of them."""
    return Path(path).suffix.lower() == ".parquet" or Path(path).is_dir()


# --- csv ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _in_encoding(path, encoding: str | None) -> Iterator[None]:
    """Say how a .csv that is not in UTF-8 is read."""
    try:
        if encoding is not None:
            codecs.lookup(encoding)
        yield
    except LookupError as problem:
        if "encoding" not in str(problem):
            raise
        raise Unclear(f"encoding={encoding!r} is not known; pass one such as 'cp1252' or 'utf-16' (--encoding cp1252)") from None
    except UnicodeError as problem:
        with open(path, "rb") as stream:
            start = stream.read(400)
        wide = start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or start.count(0) > len(start) // 4
        guess = "utf-16" if wide else "cp1252"
        if (encoding is not None and encoding.lower() == guess) or (0 in start and not wide):  # or no text at all
            raise
        raise Unclear(
            f"{path} is not in {encoding or 'UTF-8'} ({problem.__class__.__name__}), but may be in {guess}: "
            f"pass encoding={guess!r} (--encoding {guess}), or save it as UTF-8"
        ) from None


def _csv_columns(path, encoding: str | None = None) -> list[str]:
    """Names in the header, as they stand there: pandas calls the second ``a`` another name. It also names a column without one."""
    stand = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, encoding=encoding).iloc[0]
    called = pd.read_csv(path, nrows=0, index_col=False, encoding=encoding).columns
    return [here or name for here, name in zip(stand, called, strict=True)]


def _read_csv(path, modes: list[str], value: str, beside: list[str], missing: Marks, encoding: str | None) -> pd.DataFrame:
    marks = [mark for mark in marks_of(missing) if isinstance(mark, str)]
    pieces = list(_csv_parts(path, [*modes, value, *beside], value, _ROWS_AT_ONCE, marks, encoding))
    table = pd.concat(pieces, ignore_index=True)
    for name in beside:
        table[name] = table[name].map(lambda text: _TRUTH.get(str(text).strip().lower(), text))
    for name in modes:
        check_labels(path, table[name])
        table[name] = labels(table[name])
    table[value] = numbers(path, table[value], missing=missing, encoding=encoding)
    return table


def _csv_parts(
    path, wanted: list[str], value: str, rows: int, marks: Sequence[str] = (), encoding: str | None = None
) -> Iterator[pd.DataFrame]:
    """The columns `wanted` of a .csv, `rows` rows at a time: texts, but for `value`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header, such as 1,5 for 1.5
        # all columns, and not these only: pandas counts the cells of a row only where it reads them all
        parts = pd.read_csv(
            path,
            index_col=False,  # nor would the first be an index where rows are longer than the header
            dtype={name: str for name in _csv_columns(path, encoding) if name != value},
            keep_default_na=False,
            na_values={**{name: [""] for name in wanted if name != value}, value: [*_NO_VALUE, *marks]},
            chunksize=rows,
            encoding=encoding,
        )
        kinds: set[bool] = set()  # whether values are true or false: pandas looks at each part by itself
        with parts:
            for part in parts:
                kinds |= _kinds(part[value]) if value else set()
                if len(kinds) > 1:
                    raise Unclear(f"column {short(value)} of {path} holds numbers, and true or false; write 1 and 0 for these")
                yield part[list(dict.fromkeys(wanted))]


def _kinds(column: Any) -> set[bool]:
    """Whether values are truth values: of numbers no, of truth values yes, of texts and of nothing neither."""
    if column.dtype != object:
        return {column.dtype == bool} if column.notna().any() else set()
    return {isinstance(value, bool) for value in column if not isinstance(value, str) and value == value}


def _otherwise(columns: list[str]) -> str:
    """The mend, where the header looks as if columns were separated by something else than commas."""
    found = next((mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]), None)
    if found is None:
        return ""
    return (
        f". Columns are separated by commas here; read it by pandas.read_csv(path, sep={found!r}), and pass the table to rankless.complete"
    )


def _mend(text: str) -> str:
    if re.fullmatch(r"\s*[-+]?\d{1,3}([,. ' ]\d{3})+([.,]\d+)?\s*", text) or re.fullmatch(r"\s*[-+]?\d+,\d+\s*", text):
        return "write numbers like 1234.5, or read the file by pandas.read_csv(path, thousands=..., decimal=...)"
    if re.fullmatch(r"\s*-?\d+ days?.*", text) or re.fullmatch(r"\s*\d+:\d{2}(:\d{2}(\.\d+)?)?\s*", text):
        return "a duration is written as a number, such as its seconds: pandas.to_timedelta(table['x']).dt.total_seconds()"
    mend = "leave the cell empty where nothing was observed"
    return f"{mend}, or pass missing=[{text!r}] (--missing {text})" if len(text) <= _MARK else mend


def check_labels(path, column: Any, start: int = 0) -> None:
    """Raise ValueError where a row has no label; `start` rows were read before these."""
    empty = np.flatnonzero(column.isna())
    if len(empty):
        row = f"row {start + empty[0] + 1}" + (" after the header" if Path(path).suffix.lower() == ".csv" else "")
        raise Unclear(f"{row} of {path} has no {column.name!r}; fill it in or delete the row")
    try:
        hash(column.iloc[0] if len(column) else None)  # all others are of its type
    except TypeError as problem:
        raise Unclear(f"column {column.name!r} of {path} holds no labels ({problem}); write texts or numbers") from None


def labels(column: Any) -> pd.Series:
    """Numbers if every text is just how one is written: 10 then sorts after 9, while '007' stays as it is, and so does 'nan'."""
    codes, texts = pd.factorize(column)
    found = np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce"))
    exact = bool(np.isfinite(found).all()) and all(str(number) == text for number, text in zip(found, texts, strict=True))
    return pd.Series(found[codes], index=column.index) if exact else column


def numbers(path, column: Any, start: int = 0, *, missing: Marks = (), encoding: str | None = None) -> np.ndarray:
    """A column of values, NaN where there is none; `start` rows were read before these."""
    if is_parquet(path):
        try:
            return numeric_column(column)
        except ValueError as problem:
            raise Unclear(f"{path}: {problem}") from None
    found: Any = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(found.isna() & column.notna())
    if len(bad):
        raise Unclear(
            f"row {start + bad[0] + 1} after the header of {path} has {short(column.iloc[bad[0]])} "
            f"for {short(column.name)}, which is no number; {_mend(column.iloc[bad[0]])}"
        )
    numbers = found.to_numpy(np.float64)
    if (np.abs(numbers) >= EXACT).any() and not _all_exact(str(path), os.stat(path).st_mtime_ns, column.name, marks_of(missing), encoding):
        raise Unclear(f"{path}: {not_exact(f'column {short(column.name)}')}")
    return numbers


@functools.lru_cache(maxsize=8)
def _all_exact(path: str, changed: int, value: str, missing: tuple, encoding: str | None) -> bool:
    """Whether no value of a .csv is written as a whole number that float64 would round; `changed` tells one file from another."""
    parts: Any = pd.read_csv(
        path, usecols=[value], dtype=str, index_col=False, keep_default_na=False, chunksize=_ROWS_AT_ONCE, encoding=encoding
    )
    with parts:
        return all(all_exact(part[value], missing) for part in parts)


# --- parquet --------------------------------------------------------------------------------------


def _need_pyarrow(path) -> None:
    need(path, "parquet", "pyarrow")


def _dataset(path) -> Any:
    """A file, or a folder of files whose names may say a column: ``year=2020/part.parquet``."""
    _need_pyarrow(path)
    from pyarrow import dataset

    return dataset.dataset(path, format="parquet", partitioning="hive" if Path(path).is_dir() else None)


def _read_parquet(path, columns: list[str], value: str, missing: Marks) -> pd.DataFrame:
    if Path(path).is_dir():
        return _checked(path, _dataset(path).to_table(columns=columns), value, missing)
    from pyarrow import parquet

    return _checked(path, parquet.ParquetFile(path).read(columns=columns), value, missing)


def _parquet_parts(path, columns: list[str], value: str, rows: int) -> Iterator[pd.DataFrame]:
    if Path(path).is_dir():
        for batch in _dataset(path).to_batches(columns=columns, batch_size=rows):
            yield _checked(path, batch, value)
        return
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(rows, columns=columns):
            yield _checked(path, batch, value)


def _checked(path, table: Any, value: str, missing: Marks = ()) -> pd.DataFrame:
    from pyarrow import types

    table.validate(full=True)  # a text that is no UTF-8 is passed on otherwise, and raises where nobody expects it
    column = table.column(value) if value in table.schema.names else None
    if column is not None and types.is_integer(column.type) and column.null_count:  # pandas makes floats of these
        whole = column.drop_null().to_numpy(**({"zero_copy_only": False} if not hasattr(column, "chunks") else {}))
        marked = is_mark(whole, missing)
        try:
            check_exact(whole if marked is None else whole[~marked], f"column {value!r}")
        except ValueError as problem:
            raise Unclear(f"{path}: {problem}") from None
    return table.replace_schema_metadata(None).to_pandas()  # what pandas once said of it may be damaged, and is not asked
