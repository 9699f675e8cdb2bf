"""Slices in units of their own: the fill must not depend on the unit."""

from __future__ import annotations

import numpy as np
import pytest

import rankless
from rankless import complete
from rankless.kinds.standard import Standard
from rankless.tensors.observations import Observations

SHAPE = (16, 8, 4)


def measured(scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Data of rank 2 with noise, each slice of the last mode times `scale` plus `shift`; and what is seen of them."""
    rng = np.random.default_rng(4)
    a, b, c = (rng.normal(size=(d, 2)) for d in SHAPE)
    truth = np.einsum("ar,br,cr->abc", a, b, c) + 0.05 * rng.normal(size=SHAPE)
    truth = (truth - truth.mean((0, 1))) / truth.std((0, 1))
    gone = rng.random(SHAPE) < 0.15
    return truth * scale + shift, np.where(gone, np.nan, truth * scale + shift)


@pytest.fixture(scope="module")
def plain():
    return complete(measured(np.array([1.0, 1.0, 1e4, 1e4]), np.zeros(4))[1], effort="fast", random_state=0)


@pytest.mark.parametrize(
    ("scale", "shift", "atol"),
    [
        ((1, 1, 1e-6, 1e9), (0, 0, 0, 0), 1e-6),
        ((1, 1, 1e3, 1e6), (0, 1e5, 0, 0), 1e-6),
        # a level a million times the spread costs six digits, and walks in single precision find a penalty that differs in the sixth
        ((1, 1, 1, 1), (0, 0, 1e6, 0), 2e-5),
    ],
)
def test_the_fill_scales_and_shifts_with_the_unit_of_a_slice(plain, scale, shift, atol):
    scale, shift = np.array(scale, float), np.array(shift, float)
    truth, seen = measured(scale, shift)
    done = complete(seen, effort="fast", random_state=0)
    assert done.given.units is not None and done.given.units.mode == 2
    np.testing.assert_allclose((done.filled - shift) / scale, plain.filled / [1, 1, 1e4, 1e4], atol=atol)
    gone = np.isnan(seen)
    for variable in range(4):
        own = gone[..., variable]
        error = np.sqrt(np.mean((done.filled[..., variable][own] - truth[..., variable][own]) ** 2)) / scale[variable]
        assert error < 0.5, "in standard deviations: the mean errs 1"
    lower, upper = done.interval(0.8)
    assert np.all(lower <= done.filled + 1e-9 * np.abs(done.filled)) and np.median(((upper - lower) / scale)[gone]) < 2
    assert "slices of mode_2 were fitted together, each over its standard deviation" in done.summary()


def test_like_units_are_left_alone():
    rng = np.random.default_rng(0)
    for rank in (1, 2, 5):
        for _ in range(20):
            array = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, rank)) for d in (20, 15, 12)))
            if rank > 1:
                assert Standard.where_unlike(Observations.from_array(array)) is None
    counts = rng.poisson(np.exp(rng.normal(size=(30, 1)) + rng.normal(size=25) + 2)).astype(float)
    assert Standard.where_unlike(Observations.from_array(counts)) is None


@pytest.mark.parametrize("size", [2, 5, 30])
def test_a_ladder_of_units_is_seen_and_sizes_of_one_unit_are_not(size):
    """Dollars by the billion, people by the million, percents: no two of them lie a hundredfold apart."""
    rng, alike = np.random.default_rng(size), 0
    for _ in range(20):
        table = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 12)) + 0.3 * rng.normal(size=(60, 12))
        found = Standard.where_unlike(Observations.from_array(table * 4.0 ** np.arange(12)))
        assert found is not None and found.mode == 1
        alike += Standard.where_unlike(Observations.from_array(table * (1 + size * rng.random(12)))) is None
    assert alike >= 19, "of a hundred tables in one unit one is taken for one of several"


@pytest.mark.parametrize("seed", range(3))
def test_a_heavy_tailed_variable_does_not_decide_for_the_others(seed):
    """Its median lies near theirs, and its deviation is a hundred times as large: a population in thousands beside age and schooling."""
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(300, 2))
    truth = np.column_stack([taste @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(300, 6)), 20 * np.exp(2 * rng.normal(size=300))])
    gone = rng.random(truth.shape) < 0.3
    done = rankless.complete(np.where(gone, np.nan, truth), random_state=seed)
    off = np.where(gone, done.filled - truth, np.nan)
    by_mean = np.where(gone, np.nanmean(np.where(gone, np.nan, truth), axis=0) - truth, np.nan)
    ours, mean = (np.sqrt(np.nanmean(each[:, :6] ** 2)) for each in (off, by_mean))
    assert ours < 0.6 * mean


def test_a_few_entries_tell_that_units_are_unlike():
    """Of sixteen years every other one is known: the columns of a table of national accounts, a dozen to half a million."""
    rng, units = np.random.default_rng(0), np.array([10.0, 1e5, 1e3, 700.0, 7e3, 5.0])
    trend = np.linspace(-1.5, 1.5, 16)[:, None] + 0.2 * rng.normal(size=(16, 6))
    truth = (trend + 4) * units
    seen = np.where(rng.random(truth.shape) < 0.5, truth, np.nan)
    done = complete(seen, random_state=0)
    assert done.given.units is not None and done.given.units.mode == 1
    error = ((done.filled - truth) / units)[np.isnan(seen)]
    assert np.sqrt(np.mean(error**2)) < 0.7, "the mean of a column errs .95"


@pytest.mark.parametrize("shape", [(40, 12), (40, 3), (8, 6)])
@pytest.mark.parametrize("seed", range(5))
def test_rain_beside_a_large_unit_is_told_by_variable_and_not_by_day(shape, seed):
    """Most days have no rain: the median deviation of such a variable is nothing, and days or sites seemed unlike instead."""
    rng = np.random.default_rng(seed)
    wet, large = (rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1])) for _ in range(2))
    array = np.stack([np.maximum(wet - 0.5, 0.0), 1000 * large], axis=-1)
    found = Standard.where_unlike(Observations.from_array(np.where(rng.random(array.shape) < 0.5, array, np.nan)))
    assert found is not None and found.mode == 2


def test_another_loss_and_signs_keep_their_values():
    _, seen = measured(np.array([1.0, 1.0, 1e4, 1e4]), np.array([9.0, 9.0, 9e4, 9e4]))
    assert complete(np.abs(seen), nonnegative=True, depth=0, penalty=1.0, random_state=0).given.units is None
