"""Tables of pandas, polars and pyarrow, long and wide: the same type, columns, labels and dtypes come back."""

from __future__ import annotations

import importlib.util
import itertools
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filled import filled_by, labels_of
from labelled_data import holed, labels
from rankless.completion import complete

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")
pytest.importorskip("narwhals")

PACKAGES = ["pandas", "polars", "pyarrow"]
LONG = pd.DataFrame({"a": ["x", "y", "y"], "b": [1, 2, 3], "v": [1.0, 2.0, np.nan]})
NUMBERS = ["float32", "float64", "int8", "uint16", "int64"]


def frame_of(package: str, table: pd.DataFrame):
    """A pandas table in another package."""
    if package == "pandas":
        return table
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    return arrow if package == "pyarrow" else pl.from_arrow(arrow)


def rows_of(frame) -> list[tuple]:
    """The rows of a frame of any package, None where there is no value."""
    if isinstance(frame, pd.DataFrame):
        frame = pa.Table.from_pandas(frame, preserve_index=False)
    names = frame.column_names if isinstance(frame, pa.Table) else frame.columns
    columns = [frame[name].to_pylist() if isinstance(frame, pa.Table) else frame[name].to_list() for name in names]
    return list(zip(*[[None if isinstance(v, float) and math.isnan(v) else v for v in column] for column in columns], strict=True))


def schema_of(frame):
    if isinstance(frame, pd.DataFrame):
        return list(frame.dtypes.items())
    return list(frame.schema.items()) if isinstance(frame, pl.DataFrame) else [(field.name, field.type) for field in frame.schema]


@st.composite
def long_tables(draw) -> pd.DataFrame:
    """Some cells of a grid, in any order; the value nullable where it is a whole number."""
    first, second = draw(labels(3)), draw(labels(2))
    cells = draw(st.lists(st.sampled_from(list(itertools.product(range(3), range(2)))), min_size=1, max_size=6, unique=True))
    dtype = draw(st.sampled_from(NUMBERS))
    values = draw(st.lists(st.one_of(st.integers(0, 100), st.none()), min_size=len(cells), max_size=len(cells)).filter(any))
    column = pd.array(values, dtype=dtype.title().replace("Ui", "UI") if "int" in dtype else "Float64")
    if "float" in dtype:
        column = column.to_numpy(dtype=dtype, na_value=np.nan)
    who = first.take([i for i, _ in cells])
    if draw(st.booleans()) and who.dtype in ("object", "str"):
        who = pd.Categorical(who)
    return pd.DataFrame({"who": who, "when": second.take([j for _, j in cells]), "rain": column, "junk": "x"})


@pytest.mark.parametrize("package", PACKAGES)
@settings(max_examples=40)
@given(table=long_tables())
def test_a_long_table_comes_back_whole(package, table):
    frame = frame_of(package, table)
    done = filled_by(frame, modes=["who", "when"], value="rain")
    filled = done.filled
    assert type(filled) is type(frame)
    assert schema_of(filled) == schema_of(frame)
    given_rows, filled_rows = rows_of(frame), rows_of(filled)
    whos, whens = ({row[n] for row in given_rows} for n in (0, 1))
    found = {row[:2]: row[2] for row in filled_rows}
    assert set(found) == set(itertools.product(whos, whens))
    assert len(filled_rows) == len(found)
    seen = {row[:2]: row[2] for row in given_rows if row[2] is not None}
    assert {cell: found[cell] for cell in seen} == seen
    whole = table["rain"].dtype.kind in "iu"
    answers = done.table(coverage=None)
    answers = {row[:2]: round(float(row[2])) if whole else row[2] for row in rows_of(answers[["who", "when", "rain"]])}
    assert sorted(found.values()) == sorted(answers.values())
    assert package != "pandas" or found == answers
    if len(given_rows) == len(found):
        assert [row[:2] for row in filled_rows] == [row[:2] for row in given_rows], "rows that are all there stay where they are"
    elif "str" in str(table["when"].dtype):
        assert [row[1] for row in filled_rows[: len(whens)]] == sorted(whens)
    assert [row[3] for row in filled_rows] == ["x" if row[:2] in {row[:2] for row in given_rows} else None for row in filled_rows]


@pytest.mark.parametrize("package", PACKAGES)
@settings(max_examples=40)
@given(data=st.data())
def test_a_wide_table_comes_back_filled(package, data):
    when, values = data.draw(labels(4)), data.draw(holed((4, 3), [np.float32, np.float64]))
    table = pd.DataFrame(values, columns=["a", "b", "c"])
    table.insert(1, "when", when)
    frame = frame_of(package, table)
    done = filled_by(frame, wide=True, modes=["when"])
    filled = done.filled
    assert type(filled) is type(frame)
    assert schema_of(filled) == schema_of(frame)
    assert done.observations.modes == ("when", "column")
    place = {label: n for n, label in enumerate(labels_of(done.observations, 0))}
    code = [place[label] for label in np.asarray(frame["when"]).tolist()]
    expected = np.where(np.isnan(values), (np.add.outer(code, range(3)) + 0.25).astype(values.dtype), values)
    np.testing.assert_array_equal([[row[0], *row[2:]] for row in rows_of(filled)], expected)
    assert [row[1] for row in rows_of(filled)] == [row[1] for row in rows_of(frame)]
    pd.testing.assert_frame_equal(table, frame_of("pandas", table))


def test_dates_by_sensors_keep_index_columns_and_dtypes():
    index = pd.date_range("2024-03-30", periods=3, tz="Europe/Paris", name="day")[::-1]
    columns = pd.Index(["s2", "s1"], name="sensor")
    wide = pd.DataFrame({"s2": pd.array([1, None, 3], "Int32"), "s1": np.array([np.nan, 5, 6], np.float32)}, index=index)
    wide.columns = columns
    done = filled_by(wide, wide=True)
    assert done.observations.modes == ("day", "sensor")
    assert labels_of(done.observations, 0) == sorted(index), "dates are put in order"
    assert labels_of(done.observations, 1) == ["s2", "s1"], "names stay as they stand"
    expected = wide.copy()
    expected.iloc[1, 0], expected.iloc[0, 1] = 1, 2 + 1 + 0.25
    pd.testing.assert_frame_equal(done.filled, expected)
    assert wide.isna().sum().sum() == 2, "what came in is left alone"


def test_levels_of_an_index_are_modes():
    index = pd.MultiIndex.from_tuples([("b", 2001), ("a", 2002), ("a", 2000)], names=["station", "year"])
    wide = pd.DataFrame([[1.0, np.nan], [3.0, 4.0], [5.0, 6.0]], index=index, columns=["Mar", "Jan"])
    done = filled_by(wide, wide=True)
    assert done.observations.modes == ("station", "year", "column")
    assert done.observations.shape == (2, 3, 2)
    assert labels_of(done.observations, 0) == ["b", "a"]
    assert labels_of(done.observations, 1) == [2000, 2001, 2002]
    expected = wide.copy()
    expected.iloc[0, 1] = 0 + 1 + 0 + 0.25  # January comes first
    pd.testing.assert_frame_equal(done.filled, expected)


def test_columns_of_pandas_may_be_called_anything():
    table = pd.DataFrame({0: ["a", "b", "a"], ("x", 1): [1, 1, 2], 7: [1.0, 2.0, 3.0]})
    filled = filled_by(table, modes=[0, ("x", 1)], value=7).filled
    expected = pd.DataFrame({0: ["a", "a", "b", "b"], ("x", 1): [1, 2, 1, 2], 7: [1.0, 3.0, 2.0, 2.25]})
    pd.testing.assert_frame_equal(filled, expected, check_column_type=False)


@settings(max_examples=40)
@given(table=long_tables())
def test_a_series_comes_back_with_its_levels_name_and_dtype(table):
    series = table.set_index(["who", "when"])["rain"]
    done = filled_by(series)
    assert done.observations.modes == ("who", "when")
    pd.testing.assert_series_equal(
        done.filled, filled_by(table, modes=["who", "when"], value="rain").filled.set_index(["who", "when"])["rain"]
    )
    assert done.filled.dtype == series.dtype
    known = series.dropna()
    pd.testing.assert_series_equal(done.filled.loc[known.index], known, check_index_type=False)


def test_a_series_need_not_have_names():
    series = pd.Series([1.0, 2.0, np.nan], index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2), ("y", 1)]))
    filled = filled_by(series, modes=["level_0", "level_1"]).filled
    assert filled.to_dict() == {("x", 1): 1.0, ("x", 2): 1.25, ("y", 1): 1.25, ("y", 2): 2.0}
    assert filled.name is None and list(filled.index.names) == [None, None]
    assert filled_by(series.rename_axis(["v", "w"]).rename("v")).filled.name == "v"
    assert filled_by(series.rename_axis(["v", "value"])).filled.name is None


@pytest.mark.parametrize(
    ("series", "roles", "message"),
    [
        (
            pd.Series([1.0, np.nan]),
            {},
            r"a Series of 2 numbers has order 1; .* a MultiIndex with a level for each, or use series\.interpolate",
        ),
        (LONG.set_index(["a", "b"])["v"], {"modes": ["a"]}, r"a Series names its modes itself, 'a', 'b'; leave out"),
        (LONG.set_index(["a", "b"])["v"], {"wide": True}, r"leave out modes=, value= and wide="),
        (pd.concat([LONG, LONG]).set_index(["a", "b"])["v"], {}, r"a 'x', b 1 is given twice \(rows 0 and 3\)"),
    ],
)
def test_a_series_that_would_have_to_be_guessed_is_refused(series, roles, message):
    with pytest.raises(ValueError, match=message):
        filled_by(series, **roles)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(("duplicates", "kept"), [("mean", 2.0), ("last", 3.0)])
def test_a_cell_may_stand_twice_where_that_is_said(package, duplicates, kept):
    table = pd.DataFrame({"a": ["x", "y", "x"], "b": [1, 2, 1], "v": [1.0, 2.0, 3.0]})
    roles = {"modes": ["a", "b"], "value": "v"}
    done = filled_by(frame_of(package, table), **roles, duplicates=duplicates)
    assert rows_of(done.filled)[0] == ("x", 1, kept)
    with pytest.raises(ValueError, match="given twice"):
        filled_by(frame_of(package, table), **roles)


def test_complete_hands_on_what_to_do_with_duplicates():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        [(i, j, v) for (i, j), v in np.ndenumerate(np.outer(rng.normal(size=8), rng.normal(size=7)))], columns=["s", "d", "v"]
    )
    twice = pd.concat([table, table.assign(v=table.v + 2.0)])
    done = complete(twice, modes=["s", "d"], value="v", duplicates="mean", random_state=0, depth=0.0, max_rank=1, experts=["components"])
    np.testing.assert_allclose(done.filled.v, table.v + 1.0)


def test_rows_without_labels_are_numbered():
    done = filled_by(pl.DataFrame({"a": [1, None], "b": [None, 2]}), wide=True)
    assert done.observations.modes == ("row", "column")
    assert done.filled.rows() == [(1, 1), (1, 2)], "1.25 in whole numbers"
    done = filled_by(pd.DataFrame({"a": [1.0, np.nan], "b": [3.0, 2.0]}), wide=True)
    assert done.observations.labels[0] is None
    assert done.filled.iloc[1, 0] == 1.25


def test_decimals_and_times_of_day_come_back_as_they_are():
    frame = pl.DataFrame({"a": ["x", "y"], "t": [pd.Timestamp("2020-01-01").date()] * 2, "v": [Decimal("1.50"), None]})
    filled = filled_by(frame, modes=["a", "t"], value="v").filled
    assert filled.schema == frame.schema
    assert filled["v"].to_list() == [Decimal("1.50"), Decimal("1.25")]


def test_all_packages_fit_the_same_numbers():
    rng = np.random.default_rng(0)
    values = np.outer(rng.normal(size=8) + 2, rng.normal(size=7) + 2)
    table = pd.DataFrame([(f"s{i}", j, v) for (i, j), v in np.ndenumerate(values) if (i + j) % 5], columns=["s", "d", "v"])
    options = {"depth": 0.0, "penalty": 0.01, "max_rank": 1, "experts": ["components"], "effects": False, "noise": None, "random_state": 0}
    first, *others = [
        np.asarray(complete(frame_of(package, table), modes=["s", "d"], value="v", **options).filled["v"]) for package in PACKAGES
    ]
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize(
    ("change", "roles", "message"),
    [
        (
            {},
            {},
            r"it has 'a', 'b', 'v': pass modes=\[...\] and value='...' where each row is an entry, or wide=True where rows",
        ),
        ({}, {"modes": ["a", "b"]}, r"pass modes=\[...\] and value="),
        ({}, {"modes": ["a", "c"], "value": "v"}, r"no column 'c' in the table; it has 'a', 'b', 'v'"),
        ({}, {"modes": ["a", "b"], "value": ["v", "b"]}, r"value=\['v', 'b'\] names several columns"),
        ({}, {"wide": True}, r"column 'a' has dtype .* pass modes=\['a'\] if it labels the rows, or drop it"),
        ({}, {"wide": True, "value": "v"}, r"value='v' goes with a long table"),
        ({}, {"wide": True, "modes": ["z"]}, r"no column 'z' in the table"),
        ({}, {"wide": True, "modes": ["a"]}, r"row \(y\) of the wide table is there twice; label each once"),
        ({"v": [1.0, 2.0, 3.0]}, {"wide": True, "modes": ["a", "b", "v"]}, r"no column of numbers beside its labels"),
        ({"a": ["x", None, "y"]}, {"modes": ["a", "b"], "value": "v"}, r"row 1 of the table has no 'a'"),
        ({"v": ["1", "2", "3"]}, {"modes": ["a", "b"], "value": "v"}, r"column 'v' has dtype .*(cast it to a number|pandas.to_numeric)"),
        ({"v": [2**60, 1, 2]}, {"modes": ["a", "b"], "value": "v"}, r"column 'v' holds whole numbers beyond 2\*\*53"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused(package, change, roles, message):
    frame = frame_of(package, LONG.assign(**change))
    with pytest.raises(ValueError, match=message) as caught:
        filled_by(frame, **roles)
    assert "\n" not in str(caught.value)


def test_a_lazy_frame_is_to_be_collected_first():
    with pytest.raises(ValueError, match=r"LazyFrame holds no values until it is collected; pass data\.collect\(\)"):
        filled_by(pl.LazyFrame({"a": [1]}), wide=True)


def test_without_narwhals_the_mend_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"a DataFrame of polars needs narwhals.* pip install 'rankless\[frames\]'"):
        filled_by(pl.DataFrame({"a": [1]}), wide=True)


def test_what_only_looks_like_a_table_is_refused():
    class Odd:
        columns = ("a",)  # and nothing in them

    with pytest.raises(ValueError, match=r"Odd is no table that narwhals reads; pass a pandas.DataFrame"):
        filled_by(Odd())
