"""Long tables, one row an entry: ``.csv`` and ``.parquet``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rankless._files import write_beside
from rankless.io.broken import Unclear, named, need
from rankless.observations import Duplicates, Observations

if TYPE_CHECKING:
    from rankless.completion import Completion

# What stands for "no value" in a value column. In a mode's column only an empty cell does: a country may be called NA.
_NO_VALUE = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]


def read(path: str | os.PathLike, *, modes: Sequence[str] | None, value: str | None, duplicates: Duplicates = "error") -> Observations:
    """Observations from the columns `modes` and `value`; raises ValueError rather than guess them."""
    parquet = Path(path).suffix.lower() == ".parquet"
    with named(path, "write it again"):
        columns = _parquet_columns(path) if parquet else list(pd.read_csv(path, nrows=0).columns)
        modes, value = _declared(path, columns, modes, value)
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


def _declared(path, columns: list[str], modes: Sequence[str] | None, value: str | None) -> tuple[list[str], str]:
    listing = ", ".join(map(repr, columns))
    if modes is None or value is None:
        *first, last = columns if len(columns) > 1 else ["a", "b", "c"]
        raise Unclear(
            f"{path} is a table with columns {listing}; say which are its modes and which its value, "
            f"for example modes={first!r}, value={last!r} (--modes {','.join(map(str, first))} --value {last})"
        )
    absent = [name for name in [*modes, value] if name not in columns]
    if absent:
        raise Unclear(f"no column {absent[0]!r} in {path}; it has {listing}")
    if len({*modes, value}) <= len(modes):
        raise Unclear(f"modes={list(modes)!r}, value={value!r} name a column of {path} twice; it has {listing}")
    return list(modes), value


# --- csv ------------------------------------------------------------------------------------------


def _read_csv(path, modes: list[str], value: str) -> pd.DataFrame:
    table = pd.read_csv(
        path,
        usecols=[*modes, value],
        dtype=dict.fromkeys(modes, str),
        keep_default_na=False,
        na_values={**{name: [""] for name in modes}, value: _NO_VALUE},
    )
    for name in modes:
        table[name] = _labels(path, table[name])
    table[value] = _numbers(path, table[value])
    return table


def _labels(path, column: Any) -> pd.Series:
    """Numbers if every text is just how one is written: 10 then sorts after 9, while '007' stays as it is."""
    codes, texts = pd.factorize(column)
    empty = np.flatnonzero(codes < 0)
    if len(empty):
        raise Unclear(f"row {empty[0] + 1} after the header of {path} has no {column.name!r}; fill it in or delete the row")
    numbers = np.asarray(pd.to_numeric(pd.Series(texts), errors="coerce"))
    exact = all(str(number) == text for number, text in zip(numbers, texts, strict=True))
    return pd.Series(numbers[codes], index=column.index) if exact else column


def _numbers(path, column: Any) -> pd.Series:
    numbers: Any = pd.to_numeric(column, errors="coerce")
    bad = np.flatnonzero(numbers.isna() & column.notna())
    if len(bad):
        raise Unclear(
            f"row {bad[0] + 1} after the header of {path} has {column.iloc[bad[0]]!r} for {column.name!r}, which is no number; "
            "leave the cell empty where nothing was observed"
        )
    return numbers


# --- parquet --------------------------------------------------------------------------------------


def _need_pyarrow(path) -> None:
    need(path, "parquet", "pyarrow")


def _parquet_columns(path) -> list[str]:
    _need_pyarrow(path)
    from pyarrow import parquet

    return parquet.read_schema(path).names


def _read_parquet(path, columns: list[str]) -> pd.DataFrame:
    from pyarrow import parquet

    return parquet.read_table(path, columns=columns).to_pandas(ignore_metadata=True)
