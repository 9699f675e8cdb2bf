"""pandas tables, long and wide, and Series with a level of their index for each mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.kinds.given import Filled, Given, Roles, array_in
from rankless.kinds.wide import Axis, Wide, no_number
from rankless.tensors.observations import Marks, Observations, check_columns, listed, numeric_column, ordered_by_hand
from rankless.tensors.spelling import sorted_by_value

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LongTable(Given):
    """A row an entry; all cells come back. Rows that were there keep their other columns, their index and the table its attributes.

    Where each cell has its row these come back in their order; else all cells do, in theirs.
    """

    template: pd.DataFrame
    roles: tuple[Any, ...]  # columns: the modes, then the value

    def back(self, done: Filled) -> pd.DataFrame:
        *modes, value = self.roles
        obs, table = self.observations, self.template
        filled = done.table(coverage=None)
        number = np.arange(obs.cells) if obs.where is None else np.flatnonzero(obs.where)
        own = np.ravel_multi_index(tuple(_codes(table[name], label) for name, label in zip(modes, obs.labels, strict=True)), obs.shape)
        numbers = filled[obs.value_name].to_numpy()
        if len(np.unique(own)) == len(own) and np.isin(number, own).all():  # a row for each
            place = np.full(int(max(number.max(), own.max())) + 1, -1)
            place[number] = np.arange(len(number))
            new = table.copy()
            hole = (place[own] >= 0) & ~obs.observed().ravel()[own]
            values = _floats(table[value])
            values[hole] = numbers[place[own[hole]]]
            new[value] = _in_dtype(values, table[value].dtype, table.index)
            return new
        last = np.full(int(number.max()) + 1, -1)
        inside = own <= number.max()
        last[own[inside]] = np.flatnonzero(inside)  # of rows for one cell the last
        rows = last[number]
        new = _rows(table, rows)
        for name, column in zip(modes, obs.modes, strict=True):
            new[name] = filled[column].astype(table[name].dtype).set_axis(new.index)
        new[value] = _in_dtype(numbers, table[value].dtype, new.index)
        new.attrs = table.attrs
        return new


@dataclass(frozen=True, eq=False)
class LongSeries(LongTable):
    """A long table whose modes are the levels of its index."""

    name: Any
    levels: list[Any]

    def back(self, done: Filled) -> pd.Series:
        table = super().back(done)
        *modes, value = self.roles
        filled: Any = table.set_index(modes)[value]
        filled.attrs = self.template.attrs
        return filled.rename(self.name).rename_axis(self.levels)


@dataclass(frozen=True, eq=False)
class WideTable(Given):
    """Rows and columns are modes; index, columns and dtypes come back, the empty cells filled."""

    template: pd.DataFrame
    wide: Wide
    filling: tuple[int, ...]  # positions of the columns of numbers

    def back(self, done: Filled) -> pd.DataFrame:
        table = self.template.copy()
        for n, position in enumerate(self.filling):
            column: Any = self.template.iloc[:, position]
            values = self.wide.filled(done, n, _floats(column))
            table.isetitem(position, _in_dtype(values, _dtype_of(column), table.index))
        return table


def from_pandas(table: pd.DataFrame, roles: Roles) -> LongTable | WideTable:
    """Observations of a table; raises ValueError rather than guess whether it is long or wide."""
    if roles.wide:
        return _wide(table, roles)
    return _long(table, *check_named(list(table.columns), roles), roles)


def from_series(series: pd.Series, roles: Roles) -> LongSeries:
    """Observations of a Series whose index has a level for each mode."""
    import pandas as pd

    if not isinstance(series.index, pd.MultiIndex):
        raise ValueError(
            f"a Series of {len(series)} numbers has order 1; low rank needs two modes or more: a MultiIndex with a level for each, "
            "or use series.interpolate() for a single one"
        )
    levels = [f"level_{n}" if name is None else str(name) for n, name in enumerate(series.index.names)]
    named = (roles.modes is not None and list(roles.modes) != levels) or roles.value not in (None, series.name)
    if named or roles.wide:
        raise ValueError(f"a Series names its modes itself, {', '.join(map(repr, levels))}; leave out modes=, value= and wide=")
    value = "value" if series.name is None else str(series.name)
    while value in levels:
        value += "_"
    table = series.to_frame(value).set_axis(series.index.set_names(levels), axis=0).reset_index()
    long = _long(table, levels, value, roles)
    long.template.attrs = dict(series.attrs)
    return LongSeries(long.observations, long.template, long.roles, series.name, list(series.index.names))


def check_named(columns: list[Any], roles: Roles) -> tuple[list[str], str]:
    """The columns of a long table that are its modes and its value; raises ValueError unless both are named."""
    if roles.modes is None or roles.value is None:
        raise ValueError(
            f"a table needs its roles named; it has {', '.join(map(repr, columns))}: pass modes=[...] and value='...' "
            "where each row is an entry, or wide=True where rows and columns are modes"
        )
    if isinstance(roles.value, list):
        raise ValueError(f"value={roles.value!r} names several columns and a long table has one for its values: melt it, or pass wide=True")
    return listed(roles.modes), roles.value  # pyright: ignore[reportReturnType]


def _long(table: pd.DataFrame, modes: list[str], value: str, roles: Roles) -> LongTable:
    column = roles.where if isinstance(roles.where, str) and roles.where not in modes else None
    obs = Observations.from_table(table, modes, value, duplicates=roles.duplicates, missing=roles.missing, where=column)
    return LongTable(obs, table.copy(deep=False), (*modes, value))


def _codes(column: Any, labels: np.ndarray | None) -> np.ndarray:
    """The slice in which each row lies."""
    import pandas as pd

    if labels is None:
        return column.to_numpy()
    codes, known = pd.factorize(column)
    return pd.Index(labels).get_indexer(pd.Index(np.asarray(known)))[codes]


def _rows(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Rows of a table by number, and empty ones where the number is -1: a column that says the same of each is not guessed there."""
    import pandas as pd

    index: Any = table.index
    all_there = bool((rows >= 0).all())
    new = table.take(rows) if all_there else table.reset_index(drop=True).reindex(pd.Index(np.where(rows < 0, len(table), rows)))
    if isinstance(index, pd.RangeIndex) and index.equals(pd.RangeIndex(len(table))):
        return new.reset_index(drop=True).rename_axis(index.name)
    if all_there:
        return new
    if not isinstance(index, pd.MultiIndex) and index.dtype.kind in "iu":  # numbers go on where they ended
        fresh = np.empty(len(rows), dtype=index.dtype)
        fresh[rows >= 0] = index.to_numpy()[rows[rows >= 0]]
        fresh[rows < 0] = np.arange(int((rows < 0).sum())) + int(index.max()) + 1
        return new.set_axis(pd.Index(fresh, name=index.name))
    return new.set_axis(index.take(rows, allow_fill=True, fill_value=np.nan))


def _wide(table: pd.DataFrame, roles: Roles) -> WideTable:
    import pandas as pd

    if roles.value is not None:
        raise ValueError(f"value={roles.value!r} goes with a long table; every column of a wide one is filled: leave it out")
    check_columns(list(table.columns), list(roles.modes or []))
    filling = tuple(p for p, name in enumerate(table.columns) if name not in (roles.modes or []))
    for position in filling:
        dtype = table.dtypes.iloc[position]
        if _is_blank(table.iloc[:, position]):
            continue
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
            raise no_number(table.columns[position], dtype)
    rows = _axes(table.index, "row") if roles.modes is None else [_axis(name, table[name], "row") for name in roles.modes]
    columns = _axes(table.columns[list(filling)], "column")
    parts: list[Any] = [table.iloc[:, p] for p in filling]
    obs, wide = Wide.of(rows, columns, [_floats(part, roles.missing) for part in parts], [_numpy_dtype(_dtype_of(part)) for part in parts])
    return WideTable(obs, table.copy(deep=False), wide, filling)


def _axes(index: pd.Index, fallback: str) -> list[Axis]:
    """A mode for each level of an index."""
    import pandas as pd

    if not isinstance(index, pd.MultiIndex):
        if isinstance(index, pd.RangeIndex) and index.name is None:
            return [Axis(fallback, np.arange(len(index)))]
        return [_axis(index.name, index, fallback)]
    levels = [index.get_level_values(n) for n in range(index.nlevels)]
    return [_axis(level.name, level, f"{fallback}_{n}") for n, level in enumerate(levels)]


def _axis(name: Any, label: Any, fallback: str) -> Axis:
    import pandas as pd

    if label.isna().any():
        row = int(np.flatnonzero(label.isna())[0])
        raise ValueError(f"label {row} of {fallback if name is None else name!r} is missing; fill it in or drop it")
    numbers = pd.api.types.is_numeric_dtype(label.dtype) or not (
        pd.api.types.is_object_dtype(label.dtype) or pd.api.types.is_string_dtype(label.dtype)
    )
    codes, labels = pd.factorize(label, sort=numbers)
    labels = np.asarray(labels)
    if not ordered_by_hand(label):
        codes, labels = sorted_by_value(codes, labels, numbered=False)
    return Axis(fallback if name is None else str(name), codes, labels)


def _is_blank(column: Any) -> bool:
    """Whether a column that could hold texts has nothing in it: a sensor without a value, whose dtype nobody could know."""
    import pandas as pd

    texts = pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)
    return bool(texts and column.isna().all())


def _floats(column: Any, missing: Marks = ()) -> np.ndarray:
    """A column's numbers, NaN where there is none; raises ValueError for whole numbers that would not come back."""
    if _is_blank(column):
        return np.full(len(column), np.nan)
    return np.array(numeric_column(column, missing))


def _dtype_of(column: Any) -> Any:
    """The dtype in which a column comes back: its own, or that of numbers where it was blank."""
    return np.dtype(float) if _is_blank(column) else column.dtype


def _numpy_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype under a pandas one that has marks of the missing, or is sparse."""
    return np.dtype(getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype)))


def _in_dtype(values: np.ndarray, dtype: Any, index: Any) -> Any:
    """`values` in the dtype of a column, missing where they are NaN."""
    import pandas as pd

    plain = array_in(values, _numpy_dtype(dtype))
    if isinstance(dtype, np.dtype):
        return pd.Series(plain, index=index)
    if plain.dtype.kind == "f" and _numpy_dtype(dtype).kind in "iub":  # with cells that are none
        return pd.Series(pd.array([None if v != v else int(np.rint(v)) for v in plain], dtype=dtype), index=index)
    return pd.Series(pd.array(plain, dtype=dtype), index=index)
