"""Wide tables, whatever package holds them: rows and columns are modes, an empty cell is not observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.kinds.given import Filled, array_in
from rankless.tensors.observations import Observations, no_times
from rankless.tensors.spelling import sorted_by_value


@dataclass(frozen=True, eq=False)
class Axis:
    """One mode of a wide table: its name, the slice in which each row (or column) lies, and the labels of the slices."""

    name: str
    codes: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Wide:
    """The cells of a wide table as observations: the modes of its rows, then those of its columns."""

    rows: tuple[Axis, ...]
    columns: tuple[Axis, ...]
    dtypes: tuple[np.dtype, ...]  # of the columns
    holes: np.ndarray  # (rows, columns), bool

    @classmethod
    def of(
        cls, rows: Sequence[Axis], columns: Sequence[Axis], cells: Sequence[np.ndarray], dtypes: Sequence[Any]
    ) -> tuple[Observations, Wide]:
        """From the cells of each column, NaN where nothing was observed, and the dtypes in which they are to come back."""
        if not cells:
            raise ValueError(
                "the wide table has no column of numbers beside its labels; name fewer modes, or pass value='...' of a long one"
            )
        _check_once(rows, "row")
        _check_once(columns, "column")
        values = np.stack(cells, axis=1)
        holes = np.isnan(values)
        wide = cls(tuple(rows), tuple(columns), tuple(map(np.dtype, dtypes)), holes)
        axes = [*rows, *columns]
        at = wide._cells(*np.nonzero(~holes))
        shape = [int(axis.codes.max()) + 1 if axis.labels is None else len(axis.labels) for axis in axes]
        labels = [axis.labels for axis in axes]
        names = _distinct([axis.name for axis in axes])
        return Observations.from_indices(at, values[~holes], shape=shape, modes=names, labels=labels), wide

    def filled(self, done: Filled, column: int, cells: np.ndarray) -> np.ndarray:
        """The cells of a column with its holes filled, in its dtype."""
        rows = np.flatnonzero(self.holes[:, column])
        cells = cells.copy()
        if len(rows):
            cells[rows] = done.at(self._cells(rows, np.full(len(rows), column)))
        return array_in(cells, self.dtypes[column])

    def _cells(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Coordinates of cells by their rows and columns, shape ``(n, order)``."""
        return np.column_stack([*(axis.codes[row] for axis in self.rows), *(axis.codes[column] for axis in self.columns)])


def axis(name: Any, label: np.ndarray, fallback: str, *, sort_names: bool = False) -> Axis:
    """A mode from the label of each row: numbers and dates in order, also as text; names too or as they first appear."""
    labels, first, codes = np.unique(label, return_index=True, return_inverse=True)
    if not sort_names and label.dtype.kind not in "fiumMb":
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        labels, codes = labels[order], place[codes]
    return Axis(fallback if name is None else str(name), *sorted_by_value(codes, labels, numbered=sort_names))


def no_number(name: Any, dtype: Any) -> ValueError:
    """What to say of a column of a wide table that holds no numbers."""
    kind = str(dtype).lower()
    if kind.startswith(("timedelta", "duration", "datetime")):
        return ValueError(f"{no_times(f'column {name!r}', not kind.startswith('datetime'))}; pass modes=[{name!r}] if it labels the rows")
    return ValueError(
        f"column {name!r} has dtype {dtype} and a wide table has numbers alone: pass modes=[{name!r}] if it labels the rows, or drop it"
    )


def _check_once(axes: Sequence[Axis], what: str) -> None:
    """Rows, or columns, that are labelled alike would be one slice."""
    codes = np.column_stack([axis.codes for axis in axes])
    _, first, count = np.unique(codes, axis=0, return_index=True, return_counts=True)
    if (count > 1).any():
        code = codes[first[count > 1].min()]
        name = ", ".join(str(k if axis.labels is None else axis.labels[k]) for axis, k in zip(axes, code, strict=True))
        raise ValueError(f"{what} ({name}) of the wide table is there twice; label each once, for example table.groupby(...).mean()")


def _distinct(names: list[str]) -> list[str]:
    return [name if names.count(name) == 1 else f"{name}_{n}" for n, name in enumerate(names)]
