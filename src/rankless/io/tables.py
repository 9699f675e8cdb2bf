"""Long tables, one row an entry: ``.csv`` and ``.parquet``."""

from __future__ import annotations

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
from rankless.tensors.observations import Duplicates, Observations, numeric_column

if TYPE_CHECKING:
    from rankless.completion import Completion

# What stands for "no value" in a value column. In a mode's column only an empty cell does: a country may be called NA.
_NO_VALUE = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
_ROWS_AT_ONCE = 200_000  # with all their columns


def read(path: str | os.PathLike, *, modes: Sequence[str] | None, value: str | None, duplicates: Duplicates = "error") -> Observations:
    """Observations from the columns `modes` and `value`; raises ValueError rather than guess them."""
    parquet = Path(path).suffix.lower() == ".parquet"
    with named(path, "write it again"):
        modes, value = declared(path, columns_of(path), modes, value)
        table = _read_parquet(path, [*modes, value]) if parquet else _read_csv(path, modes, value)
    try:
        return Observations.from_table(table, modes, value, duplicates=duplicates)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


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


def columns_of(path) -> list[str]:
    """Names of a table's columns."""
    if Path(path).suffix.lower() != ".parquet":
        return _csv_columns(path)
    _need_pyarrow(path)
    from pyarrow import parquet

    return parquet.read_schema(path).names


def parts(path, wanted: list[str], value: str, rows: int) -> Iterator[pd.DataFrame]:
    """The columns `wanted` of a table, `rows` rows at a time."""
    parquet = Path(path).suffix.lower() == ".parquet"
    return _parquet_parts(path, wanted, rows) if parquet else _csv_parts(path, wanted, value, rows)


# --- csv ------------------------------------------------------------------------------------------


def _csv_columns(path) -> list[str]:
    """Names in the header, as they stand there: pandas calls the second ``a`` another name. It also names a column without one."""
    stand = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    called = pd.read_csv(path, nrows=0, index_col=False).columns
    return [here or name for here, name in zip(stand, called, strict=True)]


def _read_csv(path, modes: list[str], value: str) -> pd.DataFrame:
    table = pd.concat(list(_csv_parts(path, [*modes, value], value, _ROWS_AT_ONCE)), ignore_index=True)
    for name in modes:
        check_labels(path, table[name])
        table[name] = labels(table[name])
    table[value] = numbers(path, table[value])
    return table


def _csv_parts(path, wanted: list[str], value: str, rows: int) -> Iterator[pd.DataFrame]:
    """The columns `wanted` of a .csv, `rows` rows at a time: texts, but for `value`."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header, such as 1,5 for 1.5
        # all columns, and not these only: pandas counts the cells of a row only where it reads them all
        parts = pd.read_csv(
            path,
            index_col=False,  # nor would the first be an index where rows are longer than the header
            dtype={name: str for name in _csv_columns(path) if name != value},
            keep_default_na=False,
            na_values={**{name: [""] for name in wanted if name != value}, value: _NO_VALUE},
            chunksize=rows,
        )
        kinds: set[bool] = set()  # whether values are true or false: pandas looks at each part by itself
        with parts:
            for part in parts:
                kinds |= _kinds(part[value]) if value else set()
                if len(kinds) > 1:
                    raise Unclear(f"column {short(value)} of {path} holds numbers, and true or false; write 1 and 0 for these")
                yield part[wanted]


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
    return "leave the cell empty where nothing was observed"


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


def numbers(path, column: Any, start: int = 0) -> np.ndarray:
    """A column of values, NaN where there is none; `start` rows were read before these."""
    if Path(path).suffix.lower() == ".parquet":
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
    return found.to_numpy(np.float64)


# --- parquet --------------------------------------------------------------------------------------


def _need_pyarrow(path) -> None:
    need(path, "parquet", "pyarrow")


def _read_parquet(path, columns: list[str]) -> pd.DataFrame:
    from pyarrow import parquet

    return _checked(parquet.read_table(path, columns=columns))


def _parquet_parts(path, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(rows, columns=columns):
            yield _checked(batch)


def _checked(table: Any) -> pd.DataFrame:
    table.validate(full=True)  # a text that is no UTF-8 is passed on otherwise, and raises where nobody expects it
    return table.replace_schema_metadata(None).to_pandas()  # what pandas once said of it may be damaged, and is not asked
