"""Tables of polars, pyarrow, modin and whatever else narwhals reads, long and wide."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.kinds.given import Filled, Given, Roles, check_exact, in_dtype
from rankless.kinds.tables import check_named
from rankless.kinds.wide import Axis, Wide, axis, no_number
from rankless.tensors.observations import Observations, check_columns


@dataclass(frozen=True, eq=False)
class LongFrame(Given):
    """A row an entry; all cells come back, in order, in a frame of the same package, the columns in their dtypes."""

    slices: tuple[Any, ...]  # for each mode, its labels as a column of that package
    value: Any  # an empty column, of the value's name and dtype

    def back(self, done: Filled) -> Any:
        shape = self.observations.shape
        cells = np.indices(shape).reshape(len(shape), -1)
        columns = {slices.name: _take(slices, cell) for slices, cell in zip(self.slices, cells, strict=True)}
        columns[self.value.name] = _column_like(self.value, done.array().ravel())
        first, *_ = columns.values()
        return first.to_frame().with_columns(*columns.values()).to_native()


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
        raise ValueError(f"a {type(data).__name__} holds no values until it is collected; pass data.collect()")
    if not isinstance(frame, nw.DataFrame):
        raise ValueError(f"a {type(data).__module__}.{type(data).__name__} is no table that narwhals reads; pass a pandas.DataFrame")
    if roles.wide:
        return _wide(frame, roles)
    modes, value = check_named(frame.columns, roles)
    check_columns(frame.columns, [*modes, value])
    keys = [_labels(frame[name]) for name in modes]
    if not _is_number(frame[value]):
        raise ValueError(f"column {value!r} has dtype {frame[value].dtype}; cast it to a number")
    obs = Observations.from_indices(
        np.column_stack([key.codes for key in keys]),
        _floats(frame[value]),
        shape=[len(key.labels) for key in keys],  # pyright: ignore[reportArgumentType]
        modes=modes,
        labels=[key.labels for key in keys],
        value_name=value,
        duplicates=roles.duplicates,
    )
    slices = tuple(_take(frame[name], _firsts(key.codes)) for name, key in zip(modes, keys, strict=True))
    return LongFrame(obs, slices, frame[value].head(0))


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
    obs, wide = Wide.of(rows, columns, [_floats(part) for part in parts], [_numpy_dtype(part) for part in parts])
    return WideFrame(obs, frame, wide, filling)


def _labels(column: Any, *, sort_names: bool = True) -> Axis:
    labels = column.to_numpy()
    empty = np.flatnonzero(column.is_null().to_numpy() | (labels != labels))
    if len(empty):
        raise ValueError(f"row {empty[0]} of the table has no {column.name!r}; fill it in or drop the row")
    return axis(column.name, labels, "", sort_names=sort_names)


def _firsts(codes: np.ndarray) -> np.ndarray:
    """The first row of each slice."""
    return np.unique(codes, return_index=True)[1]


def _take(column: Any, rows: np.ndarray) -> Any:
    return column[rows]


def _is_number(column: Any) -> bool:
    import narwhals as nw

    return column.dtype.is_numeric() or column.dtype == nw.Boolean


def _numpy_dtype(column: Any) -> np.dtype:
    """The NumPy dtype that holds the numbers of a column; of decimals, float64."""
    import narwhals as nw

    if column.dtype == nw.Boolean:
        return np.dtype(bool)
    name = str(column.dtype).lower()
    return np.dtype(name if name in np.sctypeDict else float)


def _floats(column: Any) -> np.ndarray:
    """A column's numbers, NaN where there is none; raises ValueError for whole numbers that would not come back."""
    import narwhals as nw

    dtype = _numpy_dtype(column)
    if dtype.kind in "iu":
        check_exact(column.drop_nulls().to_numpy(), f"column {column.name!r}")
    return np.asarray(column.cast(nw.Float32 if dtype == np.float32 else nw.Float64).to_numpy(), float if dtype != np.float32 else dtype)


def _column_like(column: Any, values: np.ndarray) -> Any:
    """`values` as a column of the same package, name and dtype."""
    import narwhals as nw

    plain = nw.new_series(column.name, in_dtype(values, _numpy_dtype(column)), backend=column.implementation)
    return plain.cast(column.dtype)
