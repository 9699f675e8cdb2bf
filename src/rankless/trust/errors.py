"""Errors in a table: on the whole, or slice by slice, where a sensor that is badly filled shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    import pandas as pd


def table_of(entries: Observations, errors: np.ndarray, by: str | int | None = None, weights: np.ndarray | None = None) -> pd.DataFrame:
    """Errors at `entries`, a row for all or for every slice of the mode `by`; one without entries has NaN.

    Columns: entries, root mean square error, mean absolute error, standard deviation of the values. Each entry counts by its weight.

    >>> obs = Observations.from_array([[1.0, 3.0], [np.nan, 5.0]])
    >>> table_of(obs, np.array([1.0, -1.0, 2.0]), "mode_1")["rmse"].round(2).tolist()
    [1.0, 1.58]
    """
    import pandas as pd

    mode = None if by is None else entries.mode_index(by)
    codes = np.zeros(entries.size, np.intp) if mode is None else entries.coords[mode]
    labels = ["all"] if mode is None else [entries.label(mode, i) for i in range(entries.shape[mode])]
    return pd.DataFrame(
        _columns(entries.values, errors, codes, len(labels), weights), pd.Index(labels, name=None if mode is None else entries.modes[mode])
    )


def table_of_kinds(values: np.ndarray, errors: np.ndarray, kinds: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """The same, a row for each kind of cell.

    >>> values, errors, kinds = np.array([1.0, 2.0, 3.0]), np.array([1.0, -1.0, 2.0]), np.array([0, 0, 1])
    >>> table_of_kinds(values, errors, kinds, ["single cells", "runs"])["rmse"].tolist()
    [1.0, 2.0]
    """
    import pandas as pd

    return pd.DataFrame(_columns(values, errors, kinds, len(names), None), pd.Index(names, name="kind"))


def _columns(values: np.ndarray, errors: np.ndarray, codes: np.ndarray, count: int, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """The columns of a table of errors, a row for each of `count` codes."""
    values = np.asarray(values, dtype=float)
    seen = np.bincount(codes, minlength=count)
    weight = np.ones(len(values)) if weights is None else weights
    sums = np.bincount(codes, weight, count)

    def mean(of: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.bincount(codes, weight * of, count) / sums

    def root(of: np.ndarray) -> np.ndarray:
        """Root mean square; squares of 1e-300 are nothing, and those of 1e200 no double."""
        top = float(np.max(np.abs(of), initial=0.0)) or 1.0
        return top * np.sqrt(mean((of / top) ** 2))

    middle = mean(values)
    return {
        "entries": seen,
        "rmse": root(np.asarray(errors, dtype=float)),
        "mae": mean(np.abs(errors)),
        "std": root(values - middle[codes]),
    }
