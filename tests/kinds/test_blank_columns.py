"""A column of a wide table in which nothing was seen, whatever dtype its reader gave it; and what is no data at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rankless import complete

FAST = {
    "depth": 1.0,
    "penalty": 1.0,
    "experts": ["components"],
    "effects": False,
    "noise": None,
    "value_transform": None,
    "random_state": 0,
}
A = np.add.outer(np.arange(9.0), [1.0, 5.0, 2.0, 4.0]) + 0.1 * np.random.default_rng(0).normal(size=(9, 4))
A[2, 3] = A[5, 1] = np.nan
TABLE = pd.DataFrame(A, columns=list("abcd"))
BLANK = {
    "float": np.full(9, np.nan),
    "object": np.full(9, None),
    "Float64": pd.array([pd.NA] * 9, dtype="Float64"),
    "string": pd.array([pd.NA] * 9, dtype="string"),
}


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_column_of_pandas_is_filled_with_numbers_whatever_its_dtype(blank):
    with pytest.warns(UserWarning, match="1 slice of column has no observed entry .* blank"):
        filled = complete(TABLE.assign(blank=BLANK[blank]), wide=True, **FAST).filled
    assert np.isfinite(filled["blank"].to_numpy(float)).all() and list(filled.columns) == [*"abcd", "blank"]
    np.testing.assert_array_equal(filled["a"], TABLE["a"])


@pytest.mark.parametrize("dtype", ["Null", "String", "Float64"])
def test_a_blank_column_of_polars_too(dtype):
    pl = pytest.importorskip("polars")
    frame = pl.from_pandas(TABLE, nan_to_null=True).with_columns(pl.Series("blank", [None] * 9, dtype=getattr(pl, dtype)))
    with pytest.warns(UserWarning, match="1 slice of column has no observed entry .* blank"):
        filled = complete(frame, wide=True, **FAST).filled
    assert filled["blank"].dtype == pl.Float64 and filled["blank"].is_finite().all()


def test_texts_are_still_refused():
    with pytest.raises(ValueError, match=r"column 'name' has dtype .*wide table has numbers alone: pass modes=\['name'\]"):
        complete(TABLE.assign(name=["x", *[None] * 8]), wide=True)


@pytest.mark.parametrize(
    "data, mend",
    [
        ("data.csv", "'data.csv' is a name: read the file first, with rankless.read, pandas.read_csv"),
        (Path("data.csv"), "'data.csv' is a name"),
        ({"a": [1.0, 2.0]}, "make it a table: pandas.DataFrame"),
        (None, "complete was given None; pass an array"),
    ],
)
def test_what_is_no_data_is_told_what_to_pass(data, mend):
    with pytest.raises(ValueError, match=mend):
        complete(data)
