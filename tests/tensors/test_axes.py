"""Axes: positions come from labels, modes that make one axis are found, and order of the input says nothing."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations
from rankless.tensors.places import read, stacked

DAYS = np.arange("2019-12-30", "2020-01-29", dtype="M8[D]")


def axes(values, modes=None, labels=None, asked=None) -> Axes:
    return Axes.of(Observations.from_array(values, modes=modes, labels=labels), asked)


def waves(*shape: int, seed: int = 0, noise: float = 0.05) -> np.ndarray:
    """Smooth along the first axis, of unlike phase along the last."""
    rng = np.random.default_rng(seed)
    steps, series = int(np.prod(shape[:-1])), shape[-1]
    drift = np.cumsum(rng.normal(size=(steps, series)), axis=0) / 10 + np.sin(np.arange(steps)[:, None] / 9 + rng.uniform(0, 6, series))
    return (drift + noise * rng.normal(size=drift.shape)).reshape(shape)


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "name", "wanted", "unit"),
    [
        (np.array(["2020-01-01", "2020-03-01", "2020-02-01"], "M8[D]"), "", [0, 60, 31], "month"),
        (np.array(["2020-01-01", "2020-01-08"]), "", [0, 7], "week"),
        (np.array(["2020-01-01T00:00", "2020-01-01T18:00", "2020-01-02T00:00"]), "", [0, 0.75, 1], "hour"),
        (np.array(["2020-02", "2020-01"], object), "", [31, 0], "month"),
        (np.array(["2020Q3", "2020Q1"]), "", [182, 0], "month"),
        (np.array([datetime.date(2020, 1, 3), datetime.date(2020, 1, 1)], object), "", [2, 0], "day"),
        (np.asarray(pd.date_range("2020-01-01", periods=3, freq="6h", tz="Europe/Paris")), "", [0, 0.25, 0.5], "hour"),
        (np.array(["March", "January"]), "", [2, 0], "month"),
        (np.array(["Sun", "mon"]), "", [6, 0], "day"),
        (np.array(["23:30", "00:00"]), "", [23.5, 0], "hour"),
        (np.array(["12 am", "1 pm"]), "", [0, 13], "hour"),
        (np.array([datetime.time(6), datetime.time(5, 30)], object), "", [6, 5.5], "hour"),
        (np.array([6, 0], "m8[h]"), "", [6, 0], "hour"),
        (np.array([2001, 1999]), "year", [2001, 1999], "year"),
        (np.array([3.5, -1.0]), "depth", [3.5, -1.0], None),
        (np.array(["10", "9"]), "", [10, 9], None),
        (np.array(["depth 5 m", "depth 10 m"]), "", [5, 10], None),
        (np.array([2**60, 2**60 + 1]), "", [0, 1], None),
        (None, "hour", [0, 1], "hour"),
    ],
)
def test_labels_say_where_slices_lie(labels, name, wanted, unit):
    places = read(labels, 2, name)
    assert places is not None and places.unit == unit
    np.testing.assert_allclose(places.at, wanted, atol=1e-9)


@pytest.mark.parametrize(
    "labels", [["oak", "elm"], ["2020-01-01", "soon"], ["2020-06-31", "2020-06-01"], ["A 5", "B 5"], [True, False], ["NaT"]]
)
def test_names_have_no_order(labels):
    assert read(np.array(labels), len(labels)) is None
    assert read(np.array(["2020-01-01", "NaT"], "M8[D]"), 2) is None
    assert read(np.array([1.0, np.nan]), 2) is None and read(None, 5, "sensor") is None


@pytest.mark.parametrize(
    ("slow", "fast", "joined"),
    [
        ((DAYS, "day"), (np.arange(24), "hour"), True),
        ((DAYS[::7], "week"), (None, "weekday"), True),
        ((np.arange(2001, 2021), "year"), (None, "month"), True),
        ((np.arange(2001, 2021), "year"), (np.array(["Jun", "Jul", "Aug"]), "month"), True),
        ((None, "hour"), (np.array([0, 15, 30, 45]), "minute"), True),
        ((np.arange(2001, 2021), "year"), (None, "hour"), False),  # the hours of the mean day of a year
        ((None, "month"), (None, "hour"), False),
        ((np.arange(2001, 2021), "year"), (None, "weekday"), False),
        ((DAYS, "start"), (np.arange(0, 240, 6).astype("m8[h]"), "lead"), False),  # forecasts for ten days, made every day
        ((np.arange(24), "hour"), (DAYS, "day"), False),
    ],
)
def test_a_mode_goes_on_in_a_slower_one_if_it_counts_its_parts(slow, fast, joined):
    sizes = {"hour": 24, "month": 12, "weekday": 7}
    parts = [read(labels, sizes.get(name, 0) if labels is None else len(labels), name) for labels, name in (slow, fast)]
    assert None not in parts
    assert (stacked(parts) is not None) == joined  # pyright: ignore[reportArgumentType]


def test_years_months_and_days_are_those_of_the_calendar():
    parts = [read(np.array([2019, 2020]), 2, "year"), read(None, 12, "month"), read(np.arange(1, 32), 31, "day")]
    place = stacked(parts)  # pyright: ignore[reportArgumentType]
    assert place is not None
    for year, month, day in ((2020, 3, 1), (2019, 12, 31), (2020, 2, 29)):
        apart = (datetime.date(year, month, day) - datetime.date(2019, 1, 1)).days
        assert place[year - 2019, month - 1, day - 1] - place[0, 0, 0] == apart


# --- axes -----------------------------------------------------------------------------------------


def test_days_and_hours_are_one_axis_over_midnight():
    found = axes(waves(30, 24, 3), ["day", "hour", "sensor"], [DAYS, np.arange(24), np.array(list("abc"))])
    (axis,) = found.axes
    assert (axis.name, axis.modes, axis.origin, axis.length) == ("day, hour", (0, 1), "labels", 720)
    late, early, before = (axis.at(np.array([[d], [h], [0]]))[0] for d, h in ((3, 23), (4, 0), (3, 22)))
    assert early - late == pytest.approx(late - before) == pytest.approx(1 / 24)
    assert [part.name for part in found.parts] == ["day", "hour"] and found.of_mode(1) is axis and found.of_mode(2) is None


def test_the_order_of_slices_does_not_matter_where_there_are_labels():
    labels = [DAYS, np.array([f"{h:02d}:00" for h in range(24)]), np.array(list("abc"))]
    x = waves(30, 24, 3)
    straight = axes(x, ["day", "hour", "sensor"], labels).axes[0]
    where = np.indices(x.shape).reshape(3, -1)
    rng = np.random.default_rng(1)
    for days, hours in ((np.arange(30)[::-1], np.arange(24)[::-1]), (rng.permutation(30), rng.permutation(24))):
        other = axes(x[days][:, hours], ["day", "hour", "sensor"], [labels[0][days], labels[1][hours], labels[2]]).axes[0]
        there = np.stack([np.argsort(days)[where[0]], np.argsort(hours)[where[1]], where[2]])
        np.testing.assert_allclose(other.at(there), straight.at(where))
        np.testing.assert_array_equal(other.ranks(there), straight.ranks(where))
        assert other.roughness == pytest.approx(straight.roughness)


def test_the_order_of_modes_does_not_matter():
    found = axes(waves(30, 24, 3).transpose(2, 1, 0), ["sensor", "hour", "day"], [np.array(list("abc")), np.arange(24), DAYS]).axes[0]
    assert found.modes == (2, 1) and found.name == "day, hour"
    np.testing.assert_allclose(found.at(np.array([[0, 0], [23, 0], [0, 1]])), [23 / 24, 1.0])
    np.testing.assert_array_equal(found.series(np.array([[0, 2], [5, 7], [1, 1]]), (3, 24, 30)), [0, 2])


def test_gaps_between_dates_count():
    days = np.array(["2020-01-01", "2020-01-02", "2020-02-01", "2020-02-02"], "M8[D]")
    (axis,) = axes(waves(4, 3), ["day", "sensor"], [days, np.array(list("abc"))]).axes
    np.testing.assert_allclose(axis.positions, [0, 1, 31, 32])


def test_without_labels_the_data_say_which_mode_has_an_order():
    x = waves(200, 10)
    (axis,) = axes(x).axes
    assert (axis.modes, axis.origin) == ((0,), "data") and axis.roughness < 0.2
    assert not axes(x[np.random.default_rng(0).permutation(200)]).axes
    assert not axes(np.random.default_rng(0).normal(size=(50, 24, 8))).axes
    few = np.full((100, 10), np.nan)
    few[::20] = x[:100:20]
    assert not axes(few).axes  # ten neighbours or so say nothing


def test_numbers_are_an_order_only_where_neighbours_are_alike():
    x, rng = waves(200, 10), np.random.default_rng(0)
    assert [a.origin for a in axes(x, ["user", "item"], [np.arange(200), np.arange(10)]).axes] == ["numbers"]
    assert not axes(x[rng.permutation(200)], ["user", "item"], [np.arange(200), np.arange(10)]).axes
    order = rng.permutation(200)
    (axis,) = axes(x[order], ["depth", "item"], [order * 0.5, np.array(list("abcdefghij"))]).axes
    np.testing.assert_allclose(axis.positions, order * 0.5)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_folded_axis_is_found_by_what_is_alike_over_the_fold(share):
    x = waves(60, 24, 6)
    x[np.random.default_rng(0).random(x.shape) < share] = np.nan
    (axis,) = [a for a in axes(x).axes if len(a.modes) > 1]
    assert (axis.modes, axis.origin, axis.length) == ((0, 1), "data", 1440)
    np.testing.assert_allclose(np.diff(axis.positions), 1.0)
    assert not [a for a in axes(x[np.random.default_rng(0).permutation(60)]).axes if len(a.modes) > 1]
    turned = axes(x.transpose(2, 1, 0)).of_mode(1)
    assert turned is not None and turned.modes == (2, 1)


def test_three_modes_may_make_one_axis():
    drift = np.cumsum(np.random.default_rng(0).normal(size=(30 * 7 * 24, 5)), axis=0)
    slowly = np.asarray(lfilter([1], [1, -0.98], np.diff(drift, axis=0, prepend=0), axis=0))
    (axis,) = axes(slowly.reshape(30, 7, 24, 5)).axes
    assert axis.modes == (0, 1, 2)
    np.testing.assert_allclose(np.diff(axis.positions), 1.0)


def test_a_profile_is_not_joined_with_time():
    """Smooth in depth and in time, but the deepest point is no neighbour of the next day's highest."""
    t, z = np.arange(80.0)[:, None], np.linspace(0, 3, 20)
    x = np.stack([np.sin(t / 9 + a) * np.cos(z + b) + np.cos(t / 13 - a) * np.sin(2 * z) for a, b in ((0, 0), (1, 2), (2, 1))], 2)
    x += 0.1 * np.random.default_rng(0).normal(size=x.shape)
    assert sorted(a.modes for a in axes(x).axes if 2 not in a.modes) == [(0,), (1,)]


def test_axes_asked_for_are_given_and_take_their_modes():
    x = np.random.default_rng(0).normal(size=(10, 24, 3))
    found = axes(x, ["d", "h", "s"], asked={"time": ["d", "h"]})
    (axis,) = found.axes
    assert (axis.name, axis.modes, axis.origin) == ("time", (0, 1), "asked")
    np.testing.assert_allclose(axis.positions, np.arange(240.0))
    (single,) = axes(x, ["d", "h", "s"], asked={"depth": "h"}).axes
    assert single.modes == (1,)
    ((joined,),) = [axes(x, ["day", "hour", "s"], [DAYS[:10], None, None], asked={"t": [0, 1]}).axes]
    np.testing.assert_allclose(joined.positions, np.arange(240) / 24)


@pytest.mark.parametrize(
    ("asked", "says"),
    [({"t": ["d", "x"]}, "no mode 'x'"), ({"t": ["d", "d"]}, "twice"), ({"t": "d", "u": ["d", "h"]}, "'d'"), ({"t": []}, "names no mode")],
)
def test_axes_that_cannot_be_are_refused(asked, says):
    with pytest.raises(ValueError, match=says):
        axes(np.ones((4, 5, 6)), ["d", "h", "s"], asked=asked)


def test_an_axis_can_be_read_again_off_other_entries():
    obs = Observations.from_array(waves(30, 3), modes=["day", "sensor"], labels=[DAYS, None])
    longer = Observations.from_array(waves(40, 3), modes=["day", "sensor"], labels=[np.arange(DAYS[0], DAYS[0] + 40), None])
    axis = Axes.of(obs).axes[0]
    assert axis.again(obs) is axis
    assert axis.again(longer).length == 40 and axis.again(longer).name == "day"
    np.testing.assert_allclose(axis.again(longer).positions[:30], axis.positions)


def test_what_was_not_looked_at_is_said():
    vast = Observations(np.zeros((3, 2), np.int32), np.ones(2), (2**31 - 1, 2**31 - 1, 7))
    assert any("numbered" in note for note in Axes.of(vast).notes)
