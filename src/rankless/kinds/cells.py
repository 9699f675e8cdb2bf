"""Cells named by labels, as coordinates in the observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rankless.tensors.observations import Observations


def cells_of(cells: Any, obs: Observations) -> np.ndarray | None:
    """Coordinates ``(n, order)`` of cells named by labels; None where `cells` are numbers, which are coordinates already.

    A table or a dictionary has a column for each mode, of labels, or of numbers of slices where the mode has none.

    >>> table = Observations.from_array(np.ones((2, 3)), modes=["who", "day"], labels=[["a", "b"], None])
    >>> cells_of([("b", 2)], table).tolist(), cells_of({"who": ["a"], "day": [1]}, table).tolist()
    ([[1, 2]], [[0, 1]])
    """
    names = list(cells) if isinstance(cells, Mapping) else list(cells.columns) if hasattr(cells, "columns") else None
    if names is not None:
        absent = [mode for mode in obs.modes if mode not in names]
        if absent:
            raise ValueError(f"no column {absent[0]!r} among {', '.join(map(repr, names))}; pass one for each mode: {', '.join(obs.modes)}")
        columns = [np.atleast_1d(np.asarray(cells[mode])) for mode in obs.modes]
    else:
        rows = cells if isinstance(cells, np.ndarray) else list(cells)
        if isinstance(rows, np.ndarray) and rows.dtype.kind in "iuf":
            return None
        if len(rows) and not isinstance(rows[0], (tuple, list, np.ndarray)):  # one cell
            rows = [tuple(rows)]
        if not any(_is_label(label) for row in rows for label in row):
            return None
        wrong = next((row for row in rows if len(row) != obs.order), None)
        if wrong is not None:
            raise ValueError(f"{tuple(wrong)!r} is no cell of the modes {', '.join(obs.modes)}; pass a label for each of them")
        columns = [_column([row[mode] for row in rows]) for mode in range(obs.order)]
    return np.column_stack([_slices(obs, mode, column) for mode, column in enumerate(columns)])


def _is_label(label: Any) -> bool:
    return not isinstance(label, (int, float, np.integer, np.floating)) or isinstance(label, bool)


def _column(labels: list[Any]) -> np.ndarray:
    column = np.empty(len(labels), dtype=object)
    column[:] = labels
    return column


def _slices(obs: Observations, mode: int, wanted: np.ndarray) -> np.ndarray:
    """The slices of `mode` that are `wanted`; ValueError, with the nearest that there are, for one that is not there."""
    labels, size = obs.labels[mode], obs.shape[mode]
    if labels is None:
        numbers = np.asarray([_number(label) for label in wanted.tolist()], dtype=float)
        bad = np.flatnonzero(~((numbers >= 0) & (numbers < size) & (numbers % 1 == 0)))
        if len(bad):
            raise ValueError(f"no slice {wanted[bad[0]]!r} of {obs.modes[mode]}, which has no labels; pass a whole number below {size}")
        return numbers.astype(np.int64)
    known = {label: place for place, label in enumerate(labels.tolist())}
    spoken: dict[str, int] = {}
    found = np.empty(len(wanted), dtype=np.int64)
    plain = wanted.astype(labels.dtype) if labels.dtype.kind in "mM" and wanted.dtype.kind in "mM" else wanted
    for row, label in enumerate(plain.tolist()):
        place = known.get(label) if label.__hash__ is not None else None
        if place is None:
            spoken = spoken or {obs.label(mode, i): i for i in range(size)}
            place = spoken.get(str(label), spoken.get(_day(label)))
        if place is None:
            some = ", ".join(obs.label(mode, i) for i in range(min(5, size)))
            raise ValueError(
                f"no {obs.modes[mode]} {label!r}; there are {some}{', ...' if size > 5 else ''} ({size} in all); "
                "from entries of its own a new one is taken in by done.extend(entries)"
            )
        found[row] = place
    return found


def _day(label: Any) -> str:
    """A moment as labels are said."""
    try:
        return str(np.datetime_as_string(np.datetime64(label), unit="auto"))
    except (ValueError, TypeError):
        return str(label)


def _number(label: Any) -> float:
    try:
        return float(label)
    except (TypeError, ValueError):
        return float("nan")
