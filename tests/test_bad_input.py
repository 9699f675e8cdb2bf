"""Bad and odd input, from the door that users come in by: one sentence that names it and gives the mend.

Files are in test_io.py, options of the command line in test_cli.py, coordinates one by one in
test_observations.py; here each kind once, through `complete` and `TensorCompleter`.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from rankless.completer import TensorCompleter
from rankless.completion import complete
from rankless.tensors.observations import Observations

GOOD = np.outer(np.arange(1.0, 7.0), np.arange(1.0, 6.0))
X, Y = np.argwhere(GOOD > 0), GOOD.ravel()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 3), np.nan), r"no observed entry in shape \(4, 3\)"),
        (np.where(np.eye(6) > 0, GOOD[:, [0]], np.nan), r"6 observed entries are fewer than the 11 numbers of a rank-one model"),
        (np.where(GOOD == 6, np.inf, GOOD), r"infinite value\(s\), the first at \(1, 2\); set them to NaN"),
        (np.arange(5.0), r"order 1; low rank needs two modes or more: reshape it .* pandas\.Series\.interpolate"),
        (GOOD.astype(complex), r"dtype complex128; pass real numbers"),
        (GOOD.astype(str), r"dtype <U.*; pass real numbers"),
        (GOOD.astype(object), r"dtype object; pass real numbers"),
    ],
    ids=["no entry", "too few", "inf", "order 1", "complex", "string", "object"],
)
def test_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        complete(array)


@pytest.mark.parametrize(
    ("indices", "values", "message"),
    [
        (np.vstack([X[:-1], [-1, 0]]), Y, r"indices\[29\] = \(-1, 0\) lies outside"),
        (np.vstack([X[:-1], [6, 0]]), Y, r"indices\[29\] = \(6, 0\) lies outside shape \(6, 5\); pass shape="),
        (X + 0.5, Y, r"indices\[0\] = \(0\.5, 0\.5\) is not made of whole numbers"),
        (np.vstack([X[:-1], X[:1]]), Y, r"coordinates \(0, 0\) are given twice \(rows 0 and 29\); pass duplicates='mean'"),
        (X, Y[:-1], r"30 rows of indices but 29 values"),
    ],
    ids=["negative", "beyond", "fraction", "twice", "too few values"],
)
def test_coordinates(indices, values, message):
    with pytest.raises(ValueError, match=message):
        TensorCompleter(shape=(6, 5)).fit(indices, values)


def test_coordinates_asked_for_outside_the_fit():
    est = TensorCompleter(random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match=r"indices\[1\] = \(6, 0\) lies outside shape \(6, 5\)"):
        est.predict([[0, 0], [6, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"it has 'a', 'b', 'v': pass modes=\[\.\.\.\] and value="),
        ({"modes": ["a", "c"], "value": "v"}, r"no column 'c' in the table; it has 'a', 'b', 'v'"),
        ({"modes": ["a", "b"], "value": "w"}, r"no column 'w' in the table"),
    ],
    ids=["roles not named", "no mode", "no value"],
)
def test_tables(options, message):
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "v": Y})
    with pytest.raises(ValueError, match=message):
        complete(table, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": -1}, r"depth=-1 is not a number >= 0; pass depth=0"),
        ({"depth": "deep"}, r"depth='deep' is not a number >= 0"),
        ({"penalty": 0}, r"penalty=0 is not a positive number; pass penalty='auto'"),
        ({"penalty": float("nan")}, r"penalty=nan is not a positive number"),
        ({"max_rank": 0}, r"max_rank=0 is not a whole number >= 1; pass max_rank='auto'"),
        ({"max_rank": 2.5}, r"max_rank=2\.5 is not a whole number"),
        ({"effects": "some"}, r"effects='some' is not known; pass 'auto', True or False"),
        ({"noise": "month"}, r"no mode 'month'; the modes are 'mode_0', 'mode_1'"),
        ({"loss": "cauchy"}, r"loss='cauchy' is not known; pass loss='gaussian', loss='huber'"),
        ({"loss": "huber", "value_transform": "sqrt"}, r"value_transform='sqrt' is for squares and not for loss='huber'; leave it out"),
        ({"nonnegative": True, "noise": 0}, r"noise=0 is for squares and not for nonnegative=True; leave it out"),
        ({"nonnegative": True, "effects": True}, r"effects=True would lie under nonnegative components"),
        ({"holdout": 1.0}, r"holdout=1\.0 is not a share between 0 and 1; pass holdout=0\.1"),
    ],
    ids=str,
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        complete(GOOD, **options)


# --- odd, but answered --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -7.25, 1e300])
def test_constant_data_are_filled_with_the_constant_exactly(value):
    array = np.full((4, 5, 3), value)
    array[::2, 1] = np.nan
    done = complete(array)
    assert (done.filled == value).all()
    assert done.rank == 0
    assert "all equal" in done.summary()
    assert "rank 0" in done.summary()


def test_one_observed_value_is_a_constant():
    array = np.full((4, 5), np.nan, dtype=np.float32)
    array[2, 3] = 1.5
    done = complete(array)
    assert (done.filled == 1.5).all()
    assert done.filled.dtype == np.float32


def test_a_mode_of_size_one_works():
    truth = np.multiply.outer(np.arange(1.0, 13.0), np.multiply.outer([1.0], np.linspace(1, 3, 10)))
    holes = np.random.default_rng(0).random(truth.shape) < 0.3
    done = complete(np.where(holes, np.nan, truth), random_state=0)
    assert done.filled.shape == (12, 1, 10)
    np.testing.assert_allclose(done.filled[holes], truth[holes], rtol=0.1)


def test_a_slice_never_observed_is_filled_from_main_effects_and_named():
    rng = np.random.default_rng(1)
    truth = np.add.outer(np.arange(12.0), 10 * np.arange(9.0))[..., None] + rng.normal(size=(12, 9, 1)) * rng.normal(size=7)
    truth[4] = np.nan
    obs = Observations.from_array(truth, modes=["site", "day", "hour"], labels=[[f"s{i}" for i in range(12)], None, None])
    with pytest.warns(UserWarning, match=r"1 slice of site has no observed entry and is filled from main effects: s4"):
        done = complete(obs, random_state=0)
    cells = [[4, day, hour] for day in range(9) for hour in range(7)]
    np.testing.assert_allclose(done.predict(cells), done.estimator.main_effects_.at(np.array(cells)))
    assert np.isfinite(done.array()).all()
    assert "s4" in done.summary()


def test_what_would_not_fit_in_memory_is_refused_but_asked_cells_are_answered():
    """A thousand million million cells, a few hundred of them observed."""
    rng = np.random.default_rng(0)
    rows = np.unique(rng.integers(0, 8, size=(400, 3)), axis=0)
    indices = np.vstack([rows * 12_499, [[99_999] * 3] * 1])
    values = rng.normal(size=8)[indices[:, 0] % 8] + 1.0
    obs = Observations.from_indices(indices, values, shape=(100_000,) * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # most slices have no entry
        done = complete(obs, random_state=0, depth=0.0, penalty=1.0, effort="fast")
    assert np.isfinite(done.predict(indices)).all()
    for whole in (done.array, done.table):
        with pytest.raises(ValueError, match=r"shape \(100000, 100000, 100000\) takes .* PiB and this machine has .*predict\(indices\)"):
            whole()
