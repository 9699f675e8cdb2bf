"""pandas tables, long and wide, and Series with a level of their index for each mode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.kinds.given import Filled, Given, Roles, check_exact, in_dtype
from rankless.kinds.wide import Axis, Wide, no_number
from rankless.tensors.observations import Observations, check_columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LongTable(Given):
    """A row an entry; all cells come back, in order, the columns in their dtypes."""

    columns: dict[Any, Any]  # name -> dtype

    def back(self, done: Filled) -> pd.DataFrame:
        *modes, value = self.columns
        obs = self.observations
        table = done.table(coverage=None)[[*obs.modes, obs.value_name]].set_axis(list(self.columns), axis=1)
        table = table.astype({mode: self.columns[mode] for mode in modes})
        table[value] = _in_dtype(table[value].to_numpy(), self.columns[value])
        return table


@dataclass(frozen=True, eq=False)
class LongSeries(LongTable):
    """A long table whose modes are the levels of its index."""

    name: Any
    levels: list[Any]

    def back(self, done: Filled) -> pd.Series:
        table = super().back(done)
        *modes, value = self.columns
        filled: Any = table.set_index(modes)[value]
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
            table.isetitem(position, _in_dtype(values, column.dtype))
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
    return LongSeries(long.observations, long.columns, series.name, list(series.index.names))


def check_named(columns: list[Any], roles: Roles) -> tuple[list[str], str]:
    """The columns of a long table that are its modes and its value; raises ValueError unless both are named."""
    if roles.modes is None or roles.value is None:
        raise ValueError(
            f"a table needs its roles named; it has {', '.join(map(repr, columns))}: pass modes=[...] and value='...' "
            "where each row is an entry, or wide=True where rows and columns are modes"
        )
    if isinstance(roles.value, list):
        raise ValueError(f"value={roles.value!r} names several columns and a long table has one for its values: melt it, or pass wide=True")
    return list(roles.modes), roles.value  # pyright: ignore[reportReturnType]


def _long(table: pd.DataFrame, modes: list[str], value: str, roles: Roles) -> LongTable:
    obs = Observations.from_table(table, modes, value, duplicates=roles.duplicates)
    _floats(table[value])
    return LongTable(obs, {name: table[name].dtype for name in [*modes, value]})


def _wide(table: pd.DataFrame, roles: Roles) -> WideTable:
    import pandas as pd

    if roles.value is not None:
        raise ValueError(f"value={roles.value!r} goes with a long table; every column of a wide one is filled: leave it out")
    check_columns(list(table.columns), list(roles.modes or []))
    filling = tuple(p for p, name in enumerate(table.columns) if name not in (roles.modes or []))
    for position in filling:
        dtype = table.dtypes.iloc[position]
        if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
            raise no_number(table.columns[position], dtype)
    rows = _axes(table.index, "row") if roles.modes is None else [_axis(name, table[name], "row") for name in roles.modes]
    columns = _axes(table.columns[list(filling)], "column")
    parts: list[Any] = [table.iloc[:, p] for p in filling]
    obs, wide = Wide.of(rows, columns, [_floats(part) for part in parts], [_numpy_dtype(part.dtype) for part in parts])
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
    return Axis(fallback if name is None else str(name), codes, np.asarray(labels))


def _floats(column: Any) -> np.ndarray:
    """A column's numbers, NaN where there is none; raises ValueError for whole numbers that would not come back."""
    dtype = _numpy_dtype(column.dtype)
    if dtype.kind in "iu":
        check_exact(column.dropna().to_numpy(dtype=dtype), f"column {column.name!r}")
    return column.to_numpy(dtype=np.float32 if dtype == np.float32 else np.float64, na_value=np.nan)


def _numpy_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype under a pandas one that has marks of the missing, or is sparse."""
    return np.dtype(getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype)))


def _in_dtype(values: np.ndarray, dtype: Any) -> Any:
    import pandas as pd

    plain = in_dtype(values, _numpy_dtype(dtype))
    return plain if isinstance(dtype, np.dtype) else pd.array(plain, dtype=dtype)
