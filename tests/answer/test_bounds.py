"""Bounds at which values pile up: found where there are some, and only there; nothing filled lies beyond, and no error grows."""

from __future__ import annotations

import numpy as np
import pytest

import rankless
from rankless.answer.bounds import Within, bounds_of, within
from rankless.tensors.observations import Observations


class Said:
    """Values of an array, as a predictor."""

    def __init__(self, array):
        self.array = array

    def at(self, indices):
        return self.array[tuple(indices.T)]

    def again(self, obs, tools):
        return self

    def words(self, modes):
        return "values"


def parted(array, seed=0):
    obs = Observations.from_array(array)
    mask = np.random.default_rng(seed).random(obs.size) < 0.2
    return obs.subset(~mask), obs.subset(mask)


def rain(rng, shape):
    """Columns: rain, half of the days none; a share that ends at one; temperature; pressure, rounded."""
    wet = np.maximum(rng.normal(size=shape), 0.0)
    full = np.minimum(rng.normal(0.5, 0.5, size=shape), 1.0)
    return np.stack([wet, full, 15 + rng.normal(size=shape), np.round(1000 + 5 * rng.normal(size=shape))], axis=-1)


def test_bounds_are_found_where_values_pile_up_and_nowhere_else():
    array = rain(np.random.default_rng(0), (40, 20))
    train, held = parted(array)
    low, high = bounds_of(train, 2)
    assert low.tolist() == [0.0, -np.inf, -np.inf, -np.inf] and high.tolist() == [np.inf, 1.0, np.inf, np.inf]
    found = within(Said(array - 0.5), train, held)
    assert isinstance(found, Within) and found.mode == 2
    assert found.at(np.array([[0, 0, 0]]))[0] == max(array[0, 0, 0] - 0.5, 0.0)
    assert found.words(["day", "place", "variable"]) == "values, within the bounds of variable"


@pytest.mark.parametrize("seed", range(20))
def test_no_bounds_of_rounded_normal_counted_or_few_values(seed):
    rng = np.random.default_rng(seed)
    for values in (rng.normal(size=400), np.round(2 * rng.normal(size=400)), rng.poisson(5, 400), rng.gamma(2, size=400), np.zeros(8)):
        train, held = parted(np.reshape(values, (-1, 8)).astype(float))
        assert not isinstance(within(Said(train), train, held), Within)


def test_a_plateau_that_is_passed_later_is_no_bound():
    steps = np.repeat([1.0, 2.0, 3.0], [10, 20, 70])
    train = Observations.from_array(np.where(np.arange(120) < 100, np.r_[steps, np.full(20, np.nan)], np.nan)[:, None].repeat(2, 1))
    held = Observations.from_array(np.r_[np.full(100, np.nan), np.full(20, 3.5)][:, None].repeat(2, 1))
    assert bounds_of(train, None)[1][0] == 3.0
    assert not isinstance(within(Said(np.zeros((120, 2))), train, held), Within)


def test_the_fill_and_its_intervals_stay_within_and_no_error_grows():
    rng = np.random.default_rng(1)
    level = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 12))
    truth = np.maximum(level + 0.1 * rng.normal(size=level.shape), 0.0)
    seen = np.where(rng.random(truth.shape) < 0.6, truth, np.nan)
    done = rankless.complete(seen, random_state=0, n_jobs=1, effort="fast", experts=["components"], value_transform=None)
    assert done.answer.endswith("within the bounds")
    lower, upper = done.interval(0.9)
    assert done.array().min() == 0.0 and np.nanmin(lower) >= 0.0 and np.nanmax(upper) > 0.0
    answer = done.estimator._answer
    assert answer is not None
    tree = answer.found.tree
    assert isinstance(tree, Within)
    cells = np.argwhere(np.isnan(seen))
    inside, free = (np.ldexp(each.at(cells), answer.exponent) for each in (tree, tree.tree))
    hidden = truth[np.isnan(seen)]
    assert np.mean((inside - hidden) ** 2) < np.mean((free - hidden) ** 2)
    assert (free < 0).any()
