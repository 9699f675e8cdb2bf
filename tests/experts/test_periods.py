"""Periods in flat axes: a flat table ends where its folding by hand does, and goes out flat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import rankless
from rankless.answer.tree import Predictor, Tools
from rankless.experts.periods import Folded, PeriodsExpert
from rankless.experts.task import Task
from rankless.holdout.judge import Judge
from rankless.holdout.split import held_out
from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations

DAYS, HOURS, SENSORS = 30, 12, 6


def daily(days: int = DAYS, seed: int = 0, noise: float = 0.3) -> np.ndarray:
    """Three profiles of the day, as much of each as the day and the sensor have; days x hours x sensors."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(d, 3)) for d in (days, HOURS, SENSORS)]
    parts[0] += 1.5
    return np.einsum("ar,br,cr->abc", *parts) + noise * rng.normal(size=(days, HOURS, SENSORS))


def task_of(obs: Observations) -> Task:
    train, held = held_out(obs, 0.2, np.random.default_rng(1))
    return Task(train, held, held.values, Judge(held.values, held, None, None), None, None, Axes.of(train))


@pytest.fixture
def tools() -> Iterator[Tools]:
    with Workers(1) as workers:
        yield Tools(workers, iter(np.random.default_rng(0).spawn(8)))


def offered(obs: Observations, tools: Tools) -> list[Predictor]:
    return list(PeriodsExpert().offers(task_of(obs), tools))


def test_what_is_offered_fills_flat_cells_and_is_fitted_again(tools):
    array = daily().reshape(-1, SENSORS)[:-5]  # the last day is not whole
    gone = np.random.default_rng(2).random(array.shape) < 0.5
    obs, cells = Observations.from_array(np.where(gone, np.nan, array)), np.argwhere(gone)
    offers = offered(obs, tools)
    assert offers and all(isinstance(offer, Folded) for offer in offers)
    assert all(offer.words(obs.modes).startswith("with mode_0 in periods of 12 ") for offer in offers)
    errors = [np.sqrt(np.nanmean((offer.at(cells) - array[gone]) ** 2)) for offer in offers]
    assert min(errors) < 0.5 * array.std()
    best = offers[int(np.argmin(errors))]
    again = best.again(obs, tools).at(cells)
    assert np.sqrt(np.nanmean((again - array[gone]) ** 2)) < 1.02 * min(errors), "more entries than were fitted before"
    larger = Observations.from_array(np.concatenate([array, array]))
    assert np.isnan(best.again(larger, tools).at(cells)).all(), "of an array of another shape nothing is known"


@pytest.mark.parametrize("kind", ["noise", "walks"])
def test_nothing_is_offered_where_nothing_comes_again(kind, tools):
    made = np.random.default_rng(0).normal(size=(DAYS * HOURS, SENSORS))
    array = made if kind == "noise" else np.cumsum(made, axis=0)
    assert not offered(Observations.from_array(np.where(made > 1, np.nan, array)), tools)
    assert len(list(tools.streams)) == 8, "no random numbers were taken from others"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*no observed entry")
def test_a_flat_table_ends_within_three_percent_of_its_folding_by_hand():
    """The median of three tables: errors of the folded and the flat one, same cells."""
    ratios = []
    for seed in range(3):
        array = daily(seed=seed)
        gone = np.random.default_rng(seed + 10).random(array.shape) < 0.6
        holes = np.where(gone, np.nan, array)
        by_hand = rankless.complete(holes, random_state=0)
        flat = rankless.complete(holes.reshape(-1, SENSORS), random_state=0)
        assert flat.filled.shape == (DAYS * HOURS, SENSORS)
        assert "in periods of 12" in str(flat.answer)
        errors = [np.sqrt(np.mean((done.filled.reshape(array.shape)[gone] - array[gone]) ** 2)) for done in (flat, by_hand)]
        ratios.append(errors[0] / errors[1])
    assert np.median(ratios) <= 1.03, ratios


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*no observed entry")
def test_shuffled_and_descending_hours_end_as_sorted_ones_do():
    array = daily(days=20).reshape(-1, SENSORS)
    hours = np.datetime64("2020-01-01T00") + np.arange(len(array)).astype("timedelta64[h]")
    gone = np.random.default_rng(5).random(array.shape) < 0.5
    errors = []
    for order in (np.arange(len(array)), np.arange(len(array))[::-1], np.random.default_rng(6).permutation(len(array))):
        obs = Observations.from_array(np.where(gone, np.nan, array)[order], modes=["hour", "sensor"], labels=[hours[order], None])
        done = rankless.complete(obs, random_state=0)
        errors.append(np.sqrt(np.mean((done.at(np.argwhere(gone[order])) - array[order][gone[order]]) ** 2)))
    assert max(errors) <= 1.05 * min(errors), errors
