"""Errors in a table: on the whole, or slice by slice, where a sensor that is badly filled shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    import pandas as pd


def table_of(entries: Observations, errors: np.ndarray, by: str | int | None = None) -> pd.DataFrame:
    """Errors at `entries`, a row for all or for every slice of the mode `by`; one without entries has NaN.

    Columns: entries, root mean square error, mean absolute error, standard deviation of the values.

    >>> obs = Observations.from_array([[1.0, 3.0], [np.nan, 5.0]])
    >>> table_of(obs, np.array([1.0, -1.0, 2.0]), "mode_1")["rmse"].round(2).tolist()
    [1.0, 1.58]
    """
    import pandas as pd

    mode = None if by is None else entries.mode_index(by)
    codes = np.zeros(entries.size, np.intp) if mode is None else entries.coords[mode]
    labels = ["all"] if mode is None else [entries.label(mode, i) for i in range(entries.shape[mode])]
    values, count = entries.values.astype(float), len(labels)
    seen = np.bincount(codes, minlength=count)

    def mean(of: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return np.bincount(codes, of, count) / seen

    def root(of: np.ndarray) -> np.ndarray:
        """Root mean square; squares of 1e-300 are nothing, and those of 1e200 no double."""
        top = float(np.max(np.abs(of), initial=0.0)) or 1.0
        return top * np.sqrt(mean((of / top) ** 2))

    middle = mean(values)
    columns = {
        "entries": seen,
        "rmse": root(np.asarray(errors, dtype=float)),
        "mae": mean(np.abs(errors)),
        "std": root(values - middle[codes]),
    }
    return pd.DataFrame(columns, pd.Index(labels, name=None if mode is None else entries.modes[mode]))
