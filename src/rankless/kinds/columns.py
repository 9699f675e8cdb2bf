"""Columns of labels for the estimator: texts, dates and numbers become numbers of slices, and labels never seen are told apart."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from rankless.tensors.spelling import sorted_by_value


def columns_of(X: Any) -> list[np.ndarray] | None:
    """The columns of `X`, a table or an array of objects, where some of them hold labels; None where all are numbers.

    >>> columns_of([["a", 1], ["b", 2]])[0].tolist(), columns_of([[0, 1], [2, 3]])
    (['a', 'b'], None)
    """
    if hasattr(X, "columns"):
        columns = [np.asarray(X[name]) for name in X.columns]
    else:
        rows = np.asarray(X, dtype=None if isinstance(X, np.ndarray) else object)
        if rows.ndim != 2 or (rows.dtype.kind != "O" and rows.dtype.kind not in "USTM"):
            return None
        columns = [np.array(column.tolist()) if _of_numbers(column) else column for column in rows.T]
    return columns if any(map(_has_labels, columns)) else None


def encoded(columns: list[np.ndarray], names: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Numbers of slices ``(n, order)``, and the labels of each mode, in the order that a table of them has.

    Raises ValueError for a label that is missing.
    """
    codes, labels = [], []
    for column, name in zip(columns, names, strict=True):
        gone = np.flatnonzero(_missing(column))
        if len(gone):
            raise ValueError(f"row {gone[0]} has no {name!r}; drop it, or fill it in")
        try:
            known, code = np.unique(column, return_inverse=True)
        except TypeError:
            raise ValueError(f"column {name!r} holds labels of several types, which have no order; make them texts") from None
        code, known = sorted_by_value(code.ravel(), known)
        codes.append(code)
        labels.append(known)
    return np.column_stack(codes), labels


def found_in(columns: list[np.ndarray], labels: list[np.ndarray]) -> np.ndarray:
    """Numbers of slices ``(n, order)`` of labels that were `encoded`; -1 for one that was not.

    >>> found_in([np.array(["b", "z"])], [np.array(["a", "b"])]).ravel().tolist()
    [1, -1]
    """
    numbers = []
    for column, known in zip(columns, labels, strict=True):
        if column.dtype.kind == "M" or known.dtype.kind == "M":
            column, known = column.astype("datetime64[ns]"), known.astype("datetime64[ns]")
        places = {label: place for place, label in enumerate(known.tolist())}
        numbers.append([places.get(label, -1) if label.__hash__ is not None else -1 for label in column.tolist()])
    return np.array(numbers, dtype=np.int64).T


def _has_labels(column: np.ndarray) -> bool:
    """Whether a column holds texts or dates; other objects are no labels, and whoever takes numbers says what they are."""
    if column.dtype.kind != "O":
        return column.dtype.kind in "USTM"
    return any(isinstance(label, (str, datetime.date)) for label in column)


def _of_numbers(column: np.ndarray) -> bool:
    if column.dtype.kind != "O":
        return column.dtype.kind in "iufb"
    return all(isinstance(label, (int, float, np.number)) for label in column)


def _missing(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "O":
        return np.array([label is None or label != label for label in column], dtype=bool)
    return np.isnat(column) if column.dtype.kind in "mM" else np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)
