"""Truncated nuclear norms: what was seen stays, arrays of low rank are found again, singular values shrink as they should."""

from __future__ import annotations

import numpy as np
import pytest

from planted import planted
from rankless.experts import nuclear

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def gone():
    """An array of low rank, and the same with a run of fibres missing in every line."""
    truth, _ = planted((12, 20, 9), 2, 1.0)
    seen = truth.copy()
    for line in range(12):
        seen[line, line : line + 4] = np.nan
    return truth, seen


def test_runs_of_missing_fibres_are_found_again(gone):
    truth, seen = gone
    found, hidden = nuclear.filled(seen), np.isnan(seen)
    np.testing.assert_allclose(found[~hidden], seen[~hidden])
    assert np.sqrt(np.mean((found - truth)[hidden] ** 2)) < 0.02 * truth[hidden].std()


def test_units_of_slices_change_nothing(gone):
    seen, units = gone[1], np.geomspace(1e-3, 1e3, 9)
    np.testing.assert_allclose(nuclear.filled(seen * units, 2), nuclear.filled(seen, 2) * units)
    np.testing.assert_allclose(nuclear.filled(1e6 * seen), 1e6 * nuclear.filled(seen))


@pytest.mark.parametrize("shape", [(4, 5, 6), (12, 2, 3), (3, 30)])  # also one longer than all the others together
def test_singular_values_but_the_largest_are_lowered(shape):
    array, threshold = RNG.normal(size=shape), 0.7
    for mode in range(len(shape)):
        rows = np.moveaxis(array, mode, 0).reshape(shape[mode], -1)
        left, values, right = np.linalg.svd(rows, full_matrices=False)
        lowered = np.maximum(values - threshold, 0.0)
        whole = int(np.ceil(nuclear.WHOLE * len(values)))
        lowered[:whole] = values[:whole]
        shrunk = np.moveaxis(nuclear._shrunk(array, mode, threshold), mode, 0).reshape(rows.shape)
        np.testing.assert_allclose(shrunk, (left * lowered) @ right, atol=1e-12)


def test_nothing_missing_and_nothing_but_zeros_stay():
    array = RNG.normal(size=(3, 4, 5))
    np.testing.assert_allclose(nuclear.filled(array), array)
    holed = np.zeros((4, 5, 6))
    holed[1, 2] = np.nan
    np.testing.assert_array_equal(nuclear.filled(holed), np.zeros((4, 5, 6)))


def test_dear_arrays_are_told():
    assert max(nuclear.work_of((30, 77, 18)), nuclear.work_of((3, 365, 24, 7))) < nuclear.WORK < nuclear.work_of((1000, 1000, 4))
