"""Inspection against the plain NumPy that says the same of a dense array."""

from __future__ import annotations

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankless.tensors.observations import Observations
from rankless.trust import inspection

arrays = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
    elements=st.sampled_from([0.0, 0.0, 1.0, np.nan]),
).filter(lambda array: bool(np.isfinite(array).any()))


@given(arrays)
def test_empty_and_constant_slices(array):
    obs = Observations.from_array(array)
    for mode in range(array.ndim):
        slices = np.moveaxis(array, mode, 0).reshape(array.shape[mode], -1)
        seen = np.isfinite(slices)
        assert inspection.empty_slices(obs, mode).tolist() == np.flatnonzero(~seen.any(axis=1)).tolist()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a slice of NaN alone
            constant = (seen.sum(axis=1) >= 2) & (np.nanmax(slices, axis=1) == np.nanmin(slices, axis=1))
        assert inspection.constant_slices(obs, mode).tolist() == np.flatnonzero(constant).tolist()


@given(arrays)
def test_zeros_in_whole_fibres(array):
    found = inspection.suspicious_zeros(Observations.from_array(array))
    runs = {}
    for mode in range(array.ndim):
        fibres = np.moveaxis(array, mode, -1).reshape(-1, array.shape[mode])
        several = fibres[np.isfinite(fibres).sum(axis=1) >= 2]
        whole = several[((several == 0) | np.isnan(several)).all(axis=1)]
        runs[f"mode_{mode}"] = (len(whole), len(several), int((whole == 0).sum()))
    most = max(within for _, _, within in runs.values())
    if most == 0 or (array == 0).sum() == np.isfinite(array).sum():
        assert found is None
    else:
        assert found is not None
        assert (found.runs, found.fibres, found.within) == runs[found.mode]
        assert found.within == most
        assert found.count == (array == 0).sum()


def test_the_missing_days_of_the_car_parks_are_pointed_out(shared_data):
    found = inspection.suspicious_zeros(Observations.from_array(shared_data("birmingham_parking")["tensor"]))
    assert found is not None
    assert found.mode == "mode_2", "whole days of half-hours"
    assert round(found.share, 3) == 0.149
