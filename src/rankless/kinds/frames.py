"""Tables of polars, pyarrow, modin and whatever else narwhals reads, long and wide."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.kinds.given import Filled, Given, Roles, check_exact, in_dtype
from rankless.kinds.tables import check_named
from rankless.kinds.wide import Axis, Wide, axis, no_number
from rankless.tensors.observations import Marks, Observations, check_columns, is_cell, is_mark, no_times


@dataclass(frozen=True, eq=False)
class LongFrame(Given):
    """A row an entry; all cells come back, in order, in a frame of the same package, the columns in their dtypes."""

    frame: Any
    roles: tuple[str, ...]  # columns: the modes, then the value
    codes: tuple[np.ndarray, ...]  # for each mode the slice of each row

    def back(self, done: Filled) -> Any:
        import narwhals as nw

        *modes, value = self.roles
        shape, array = self.observations.shape, done.array().ravel()
        own = np.ravel_multi_index(self.codes, shape)
        cells = np.arange(array.size) if self.observations.where is None else np.flatnonzero(self.observations.where.ravel())
        if len(np.unique(own)) == len(own) and np.isin(cells, own).all():  # a row for each: they come back in their order
            values = _floats(self.frame[value])
            hole = ~self.observations.observed().ravel()[own] & ~np.isnan(array[own])
            values[hole] = array[own[hole]]
            return self.frame.with_columns(_column_like(self.frame[value], values)).to_native()
        last = np.full(array.size, -1)
        last[own] = np.arange(len(own))  # of rows for one cell the last
        rows, firsts = last[cells], [_firsts(codes) for codes in self.codes]
        places = np.unravel_index(cells, shape)
        columns = {name: _take(_take(self.frame[name], first), at) for name, first, at in zip(modes, firsts, places, strict=True)}
        columns[value] = _column_like(self.frame[value], array[cells])
        for name in self.frame.columns:
            if name not in columns:
                column = _take(self.frame[name], np.maximum(rows, 0))
                empty = nw.new_series(name, [None] * len(rows), dtype=column.dtype, backend=column.implementation)
                there = nw.new_series("there", rows >= 0, backend=column.implementation)
                columns[name] = column.zip_with(there, empty) if (rows < 0).any() else column
        first = columns[modes[0]]
        return first.to_frame().with_columns(*columns.values()).select(*self.frame.columns).to_native()


@dataclass(frozen=True, eq=False)
class WideFrame(Given):
    """Rows and columns are modes; the same columns come back, in their dtypes, the empty cells filled."""

    frame: Any
    wide: Wide
    filling: tuple[str, ...]

    def back(self, done: Filled) -> Any:
        columns = [self.frame[name] for name in self.filling]
        new = [_column_like(column, self.wide.filled(done, n, _floats(column))) for n, column in enumerate(columns)]
        return self.frame.with_columns(*new).to_native()


def from_frame(data: Any, roles: Roles) -> LongFrame | WideFrame:
    """Observations of a frame; raises ValueError rather than guess whether it is long or wide."""
    if importlib.util.find_spec("narwhals") is None:
        raise ValueError(
            f"a {type(data).__name__} of {type(data).__module__.partition('.')[0]} needs narwhals, which is not installed; "
            "run: pip install 'rankless[frames]'"
        )
    import narwhals as nw

    frame = nw.from_native(data, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        if type(data).__module__.startswith("dask"):
            raise ValueError(f"a {type(data).__name__} of dask holds no values until it is computed; pass data.compute()")
        raise ValueError(f"a {type(data).__name__} holds no values until it is collected; pass data.collect()")
    if not isinstance(frame, nw.DataFrame):
        raise ValueError(f"a {type(data).__module__}.{type(data).__name__} is no table that narwhals reads; pass a pandas.DataFrame")
    if roles.wide:
        return _wide(frame, roles)
    modes, value = check_named(frame.columns, roles)
    column = roles.where if isinstance(roles.where, str) and roles.where not in modes else None
    check_columns(frame.columns, [*modes, value, *([] if column is None else [column])])
    keys = [_labels(frame[name]) for name in modes]
    if not _is_number(frame[value]):
        if frame[value].dtype.is_temporal():
            raise ValueError(no_times(f"column {value!r}", frame[value].dtype == nw.Duration))
        raise ValueError(f"column {value!r} has dtype {frame[value].dtype}; cast it to a number")
    obs = Observations.from_indices(
        np.column_stack([key.codes for key in keys]),
        _floats(frame[value], roles.missing),
        shape=[len(key.labels) for key in keys],  # pyright: ignore[reportArgumentType]
        modes=modes,
        labels=[key.labels for key in keys],
        value_name=value,
        duplicates=roles.duplicates,
    )
    codes = tuple(key.codes for key in keys)
    if column is not None:
        there = is_cell(frame[column].to_numpy(), f"column {column!r}")
        cells = np.ones(obs.shape, dtype=bool)
        cells[tuple(code[~there] for code in codes)] = False
        obs = obs.within(cells)
    return LongFrame(obs, frame, (*modes, value), codes)


def _wide(frame: Any, roles: Roles) -> WideFrame:
    if roles.value is not None:
        raise ValueError(f"value={roles.value!r} goes with a long table; every column of a wide one is filled: leave it out")
    named = list(roles.modes or [])
    check_columns(frame.columns, named)
    filling = tuple(name for name in frame.columns if name not in named)
    for name in filling:
        if not _is_number(frame[name]):
            raise no_number(name, frame[name].dtype)
    rows = [_labels(frame[name], sort_names=False) for name in named] or [Axis("row", np.arange(len(frame)))]
    columns = [Axis("column", np.arange(len(filling)), np.array(filling))]
    parts = [frame[name] for name in filling]
    obs, wide = Wide.of(rows, columns, [_floats(part, roles.missing) for part in parts], [_numpy_dtype(part) for part in parts])
    return WideFrame(obs, frame, wide, filling)


def _labels(column: Any, *, sort_names: bool = True) -> Axis:
    import narwhals as nw

    labels = column.to_numpy()
    empty = np.flatnonzero(column.is_null().to_numpy() | (labels != labels))
    if len(empty):
        raise ValueError(f"row {empty[0]} of the table has no {column.name!r}; fill it in or drop the row")
    if column.dtype == nw.Enum:  # its categories have an order
        names = np.array(list(column.dtype.categories), dtype=object)
        names = names[np.isin(names, labels)]
        order = np.argsort(names)
        return Axis(column.name, order[np.searchsorted(names[order], labels)], names)
    return axis(column.name, labels, "", sort_names=sort_names)


def _firsts(codes: np.ndarray) -> np.ndarray:
    """The first row of each slice."""
    return np.unique(codes, return_index=True)[1]


def _take(column: Any, rows: np.ndarray) -> Any:
    return column[rows]


def _is_number(column: Any) -> bool:
    import narwhals as nw

    return column.dtype.is_numeric() or column.dtype == nw.Boolean or _is_blank(column)


def _is_blank(column: Any) -> bool:
    """Whether a column that could hold texts has nothing in it: a sensor without a value, whose dtype nobody could know."""
    import narwhals as nw

    return column.dtype in (nw.String, nw.Object, nw.Unknown) and bool(column.is_null().all())


def _numpy_dtype(column: Any) -> np.dtype:
    """The NumPy dtype that holds the numbers of a column; of decimals, float64."""
    import narwhals as nw

    if column.dtype == nw.Boolean:
        return np.dtype(bool)
    name = str(column.dtype).lower()
    return np.dtype(name if name in np.sctypeDict else float)


def _floats(column: Any, missing: Marks = ()) -> np.ndarray:
    """A column's numbers, NaN where there is none or a mark; raises ValueError for whole numbers that would not come back."""
    import narwhals as nw

    if _is_blank(column):
        return np.full(len(column), np.nan)
    dtype, marked = _numpy_dtype(column), None
    empty = column.is_null().to_numpy()
    if dtype.kind in "iu":
        whole = column.drop_nulls().to_numpy()
        found = is_mark(whole, missing)
        check_exact(whole if found is None else whole[~found], f"column {column.name!r}")
        if found is not None:
            marked = np.zeros(len(empty), dtype=bool)
            marked[~empty] = found
    plain = column.cast(nw.Float32 if dtype == np.float32 else nw.Float64).to_numpy()
    values = np.array(plain, float if dtype != np.float32 else dtype)
    marked = is_mark(values, missing) if marked is None else marked
    if marked is not None:
        values[marked] = np.nan
    return values


def _column_like(column: Any, values: np.ndarray) -> Any:
    """`values` as a column of the same package, name and dtype."""
    import narwhals as nw

    if _is_blank(column):
        return nw.new_series(column.name, values, backend=column.implementation)
    dtype = _numpy_dtype(column)
    if dtype.kind in "iub" and np.isnan(values).any():  # with cells that are none
        listed = [None if v != v else in_dtype(np.array([v]), dtype)[0].item() for v in values]
        return nw.new_series(column.name, listed, dtype=column.dtype, backend=column.implementation)
    return nw.new_series(column.name, in_dtype(values, dtype), backend=column.implementation).cast(column.dtype)
