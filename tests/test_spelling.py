"""Labels written as text: put in the order of what they stand for, and taken for names where that is in doubt."""

from __future__ import annotations

import random
import re

import numpy as np
import pandas as pd
import pytest

from filled import filled_by, labels_of
from rankless.io import read
from rankless.io.chunks import scan
from rankless.tensors import spelling
from rankless.tensors.observations import Observations
from rankless.trust import inspection
from rankless.views.axes import axis_of

ORDERED = {
    "months and days": ["1/3/2021", "1/21/2021", "12/1/2021", "2/2/2022"],
    "days and months": ["21/01/2021", "3/02/2021", "13/12/2021"],
    "days, dotted": ["1.2.2021", "2.1.2022", "1.3.2022"],
    "dates and times": ["1/21/2021 9:05", "1/21/2021 10:00", "1/22/2021 0:30"],
    "with halves of the day": ["1/21/2021 12:30 AM", "1/21/2021 9:00 AM", "1/21/2021 12:10 PM", "1/21/2021 1:00 PM"],
    "unpadded": ["2020-1-5", "2020-1-12", "2020-10-1"],
    "by zone": ["2021-03-01T00:30+01:00", "2021-02-28T23:50Z", "2021-03-01T00:00Z"],
    "30 days in February": ["2001-2-29", "2001-2-30", "2001-03-01"],
    "named months": ["3-Feb-2020", "21-Jan-2021", "3-Feb-2021"],
    "month and year": ["Dec 2020", "Jan 2021", "Apr 2021"],
    "months of a year": ["1975M9", "1975M10", "1976M1"],
    "quarters": ["2019Q4", "2020Q1", "2020Q3"],
    "quarters first": ["Q4 2019", "Q1 2020", "Q2 2020"],
    "weeks": ["2020-W9", "2020-W10", "2021-W1"],
    "times": ["8:30", "9:00", "10:00", "23:59"],
    "hours": ["12 AM", "9 AM", "12 PM", "1 PM"],
    "spans": ["0 days 23:00:00", "1 days 02:00:00", "10 days 00:00:00"],
    "months": ["Jan", "Feb", "Apr", "Sept", "Dec"],
    "days of the week": ["Mon", "Tuesday", "Sun"],
    "numbers": ["-3", "9", "95.00", "1e2", "100.5"],
    "minus signs": ["\u22123", "\u22121", "2"],
    "decimal commas": ["0,5", "1,5", "10,25"],
    "bands of age": ["<1", "1-4", "5-9", "10-14", "85+"],
    "intervals": ["(0, 5]", "(5, 10]", "(10, 15]"],
    "numbered": ["week 1", "week 9", "week 10"],
    "some of them numbers": [1, "9", "10"],
}


@pytest.mark.parametrize("texts", ORDERED.values(), ids=ORDERED)
def test_what_stands_for_something_is_sorted_by_it(texts):
    for seed in range(4):
        mixed = random.Random(seed).sample(texts, len(texts))
        labels = np.array(mixed, dtype=object)
        found = spelling.order(labels)
        assert found is not None
        assert labels[found].tolist() == texts
        assert spelling.doubt(labels, "x") is None


@pytest.mark.parametrize(
    "texts", [["Rome", "Oslo"], ["may", "june", "rain"], ["x1", "y2"], ["nan", "1"], ["2020-13-01", "2020-01-02"], ["25:00", "1:00"]]
)
def test_names_are_names(texts):
    assert spelling.order(np.array(texts)) is None
    assert spelling.doubt(np.array(texts), "x") is None


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["1/2/2021", "2/1/2021"], "labels of x such as '1/2/2021' may have the day or the month first, .*; write them as 2021-02-01"),
        (["1,234", "2,000", "999"], "labels of x such as '1,234' may have a decimal comma or thousands, .*; write 1234.5"),
        (["Jan", "Feb", "Mar", "Apr", "May", "Total"], "label 'Total' of x is not one of the months that the others are, such as 'Jan'"),
        (["9:00", "10:00", "11:00", "12:00", "noon"], "label 'noon' of x is not one of the times that the others are"),
    ],
)
def test_where_there_is_doubt_one_sentence_says_so(texts, said):
    assert spelling.order(np.array(texts)) is None
    obs = Observations.from_array(np.ones((len(texts), 2)), modes=["x", "y"], labels=[texts, None])
    (sentence,) = inspection.doubtful_labels(obs)
    assert re.match(said, sentence)


def test_dates_that_sort_alike_either_way_are_in_no_doubt():
    firsts = np.array([f"1/{month}/{year}" for year in (2020, 2021) for month in range(1, 13)])
    assert spelling.order(firsts[::-1]).tolist() == list(range(24))[::-1]  # pyright: ignore[reportOptionalMemberAccess]


def test_labels_alike_are_named():
    obs = Observations.from_array(np.ones((4, 3)), labels=[["Rome", "Rome ", "rome", "Oslo"], ["95", "95.00", "007"]])
    assert inspection.alike_labels(obs, 0) == ["'Rome' and 'Rome ' and 'rome'"]
    assert inspection.alike_labels(obs, 1) == ["'95' and '95.00'"]


WHEN = ["1975M10", "1975M9", "1976M1", "1975M11"]
SORTED = ["1975M9", "1975M10", "1975M11", "1976M1"]
TABLE = pd.DataFrame([(s, w, float(10 * i + j)) for i, s in enumerate("ab") for j, w in enumerate(WHEN)], columns=["s", "when", "v"])


@pytest.mark.parametrize("package", ["pandas", "polars", "csv", "parquet", "chunks"])
def test_every_door_sorts_alike_and_labels_come_back(package, tmp_path):
    roles = {"modes": ["s", "when"], "value": "v"}
    if package in ("csv", "parquet", "chunks"):
        path = tmp_path / ("t.parquet" if package == "parquet" else "t.csv")
        TABLE.to_parquet(path) if package == "parquet" else TABLE.to_csv(path, index=False)
        obs = scan(path, **roles) if package == "chunks" else read(path, **roles)
        assert list(obs.labels[1]) == SORTED  # pyright: ignore[reportArgumentType]
        return
    table = TABLE if package == "pandas" else pytest.importorskip("polars").from_pandas(TABLE)
    done = filled_by(table, **roles)
    assert labels_of(done.observations, 1) == SORTED
    assert list(done.filled["when"]) == WHEN * 2


def test_wide_tables_sort_rows_and_columns_by_value_and_come_back_as_they_were():
    wide = pd.DataFrame(np.arange(8.0).reshape(2, 4), index=pd.Index(["10:00", "9:00"], name="at"), columns=WHEN)
    done = filled_by(wide, wide=True)
    assert labels_of(done.observations, 0) == ["9:00", "10:00"] and labels_of(done.observations, 1) == SORTED
    assert done.observations.values.tolist() == [5.0, 4.0, 7.0, 6.0, 1.0, 0.0, 3.0, 2.0]
    pd.testing.assert_frame_equal(done.filled, wide)
    names = pd.DataFrame(np.ones((2, 2)), columns=["s2", "s1"], index=["b", "a"])
    assert labels_of(filled_by(names, wide=True).observations, 1) == ["s2", "s1"], "names stay as they stand"


def test_an_order_that_somebody_gave_is_kept():
    kinds = pd.Categorical(TABLE.when, categories=WHEN)
    assert labels_of(filled_by(TABLE.assign(when=kinds), modes=["s", "when"], value="v").observations, 1) == WHEN
    enum = pytest.importorskip("polars")
    frame = enum.from_pandas(TABLE).with_columns(enum.col("when").cast(enum.Enum(WHEN)))
    assert labels_of(filled_by(frame, modes=["s", "when"], value="v").observations, 1) == WHEN


def test_pictures_have_an_axis_of_time_for_dates_however_they_are_written():
    days = [f"{day}/01/2021" for day in range(1, 32)]
    obs = Observations.from_array(np.ones((31, 2)), labels=[days, ["95.00", "100.5"]])
    assert axis_of(obs, 0).kind == "time" and str(axis_of(obs, 0).values[20])[:10] == "2021-01-21"
    assert axis_of(obs, 1).kind == "ordered"
