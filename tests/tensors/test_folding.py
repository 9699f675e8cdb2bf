"""Periods in flat modes: found where they are, none on noise, and the same cells whichever way they are folded."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from rankless.tensors.folding import Folding, foldings_of, period_in, steps_of
from rankless.tensors.observations import Observations


def hidden(array: np.ndarray, share: float, seed: int = 0) -> Observations:
    return Observations.from_array(np.where(np.random.default_rng(seed).random(array.shape) < share, np.nan, array))


def periods_of(obs: Observations) -> list[tuple[int, ...]]:
    return [folding.periods for folding in foldings_of(obs)]


def daily(days: int, hours: int, sensors: int, seed: int = 0, week: float = 0.0) -> np.ndarray:
    """A profile of the day for each sensor, noise, and a share `week` by which weekends are lower; shape (days * hours, sensors)."""
    rng = np.random.default_rng(seed)
    profile = rng.normal(size=(hours, sensors))
    low = 1 - week * (np.arange(days) % 7 >= 5)
    return (low[:, None, None] * profile).reshape(days * hours, sensors) + 0.7 * rng.normal(size=(days * hours, sensors))


@pytest.mark.parametrize("period", [2, 7, 12, 24, 50])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_period_is_found_among_noise(period, share):
    assert periods_of(hidden(daily(16 + 200 // period, period, 4), share)) == [(period,)]


def test_weeks_are_found_in_days_of_hours():
    assert periods_of(hidden(daily(84, 24, 6, week=0.9), 0.5)) == [(24,), (168, 24)]


def test_a_year_is_found_in_months_that_are_as_long_as_months_are():
    months = np.arange("2001-01", "2013-01", dtype="datetime64[M]").astype("datetime64[D]")
    array = 2 * np.cos(2 * np.pi * np.arange(144) / 12)[:, None] * np.ones(5) + np.random.default_rng(0).normal(size=(144, 5))
    obs = Observations.from_array(array, modes=["month", "site"], labels=[months, None])
    shuffled = np.random.default_rng(1).permutation(144)
    other = Observations.from_array(array[shuffled], modes=["month", "site"], labels=[months[shuffled], None])
    assert periods_of(obs) == periods_of(other) == [(12,)]


@pytest.mark.parametrize("kind", ["noise", "low rank", "random walks", "shared walks", "autoregression", "smooth"])
def test_nothing_is_found_where_nothing_comes_again(kind):
    """At one in a hundred by chance, of forty tables of each kind two at most."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = {
            "noise": lambda rng: rng.normal(size=(200, 8)),
            "low rank": lambda rng: rng.normal(size=(200, 2)) @ rng.normal(size=(2, 8)) + 0.1 * rng.normal(size=(200, 8)),
            "random walks": lambda rng: np.cumsum(rng.normal(size=(300, 8)), axis=0),
            "shared walks": lambda rng: np.cumsum(rng.normal(size=(200, 3)), axis=0) @ rng.normal(size=(3, 8)),
            "autoregression": lambda rng: lfilter([1], [1, -0.9], rng.normal(size=(400, 2)), axis=0) @ rng.normal(size=(2, 8)),
            "smooth": lambda rng: lfilter([1], [1, -1.8, 0.81], rng.normal(size=(400, 4)), axis=0) @ rng.normal(size=(4, 8)),
        }[kind](rng)
        found += bool(foldings_of(hidden(made, 0.3, seed)))
    assert found <= 2


def test_what_is_found_does_not_depend_on_the_order_of_modes_and_entries():
    array = daily(30, 12, 6).reshape(360, 3, 2)
    obs = hidden(array, 0.4)
    turned = Observations.from_indices(obs.indices[::-1][:, [2, 0, 1]], obs.values[::-1], shape=(2, 360, 3))
    assert [(f.mode, f.periods) for f in foldings_of(obs)] == [(0, (12,))]
    assert [(f.mode, f.periods) for f in foldings_of(turned)] == [(1, (12,))]


def test_the_peak_stands_out_by_so_many_standard_errors_as_simulated():
    """Of white noise, the largest of all peaks stays below the bar; the bar is that of a normal."""
    largest = [period_in(np.random.default_rng(seed).normal(size=(4, 300)), np.ones((4, 300)))[0] for seed in range(100)]
    assert np.mean(np.array(largest) > 0) <= 0.03


def test_steps_count_what_lies_between():
    np.testing.assert_array_equal(steps_of(np.array([5.0, 0.0, 2.5, 2.5])), [2, 0, 1, 1])
    assert steps_of(np.array([0.0, 1.0, 1.5, 3.0])) is None
    assert steps_of(np.array([0.0, 1.0, 2.0, 1000.0])) is None, "an axis of holes"


def test_folded_entries_are_those_of_the_array_folded_by_hand():
    array = daily(14, 24, 3)
    obs = hidden(array, 0.3)
    folding = Folding(0, obs.shape, (168, 24), np.arange(336))
    by_hand = Observations.from_array(np.where(obs.observed(), array, np.nan).reshape(2, 7, 24, 3))
    folded = folding.folded(obs)
    assert folded.shape == by_hand.shape and folded.order == 4
    np.testing.assert_array_equal(folded.coords, by_hand.coords)
    np.testing.assert_array_equal(folded.values, by_hand.values)
    assert folding.words(("hour", "sensor")) == "hour in periods of 168 and 24"


def test_a_last_period_that_is_not_whole_is_padded_with_cells_never_seen():
    obs = hidden(daily(4, 24, 3)[:80], 0.2)
    folding = Folding(0, obs.shape, (24,), np.arange(80))
    folded = folding.folded(obs)
    assert folded.shape == (4, 24, 3) and folded.size == obs.size
    assert not folded.observed()[3, 8:].any()
    cells = np.argwhere(np.ones(obs.shape)).T
    back = folding.coords(cells)
    np.testing.assert_array_equal(back[0] * 24 + back[1], cells[0])


def test_folded_by_positions_shuffled_slices_come_back_in_order():
    array, order = daily(10, 24, 3), np.random.default_rng(3).permutation(240)
    dates = np.datetime64("2020-01-01") + np.arange(240).astype("timedelta64[h]")
    one = Observations.from_array(array, labels=[dates, None])
    other = Observations.from_array(array[order], labels=[dates[order], None])
    first, second = (foldings_of(obs)[0].folded(obs) for obs in (one, other))
    np.testing.assert_array_equal(first.coords, second.coords)
    np.testing.assert_array_equal(first.values, second.values)
