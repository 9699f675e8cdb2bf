"""There and back: what is fitted in a frame's units predicts in the data's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.frame import Frame


@st.composite
def framed(draw):
    """Observations and a frame of them: with or without main effects, noise by slice or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(draw(st.lists(st.integers(2, 5), min_size=2, max_size=4)))
    array = (3 + rng.normal(size=shape)) * 10.0 ** draw(st.integers(-6, 6))
    array[rng.random(shape) < 0.3] = np.nan
    array.flat[0] = 1.0
    obs = Observations.from_array(array)
    mode = draw(st.sampled_from([None, *range(len(shape))]))
    noise = None if mode is None else rng.uniform(0.1, 10, shape[mode])
    return obs, Frame.of(obs, effects=draw(st.booleans()), mode=mode, noise=noise), rng


@given(framed())
def test_a_model_in_the_frames_units_predicts_in_the_datas(case):
    """y = offset + scale T, both ways."""
    obs, frame, rng = case
    model = CPTensor([rng.normal(size=(d, 2)) for d in obs.shape])
    back = frame.offset_at(obs.coords) + frame.to_data(model).at(obs.indices)
    np.testing.assert_allclose(back, frame.offset_at(obs.coords) + frame.scale_at(obs.coords) * model.at(obs.indices), rtol=1e-9)
    planted = obs.with_values(np.asarray(back))
    np.testing.assert_allclose(frame.to_units(planted).values, model.at(obs.indices), rtol=1e-6, atol=1e-6)


@given(framed())
def test_values_have_unit_size_in_the_frame(case):
    obs, frame, _ = case
    units = frame.to_units(obs)
    residual = obs.values - frame.offset_at(obs.coords)
    if np.abs(residual).max() > 1e-6 * np.abs(obs.values).max():
        assert np.sqrt(np.mean(units.values**2)) == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_array_equal(units.coords, obs.coords)


@given(framed(), st.sampled_from([2.0**-30, 2.0**30]))
def test_the_unit_of_the_data_is_not_in_the_frame(case, factor):
    obs, frame, _ = case
    other = Frame.of(obs.with_values(obs.values * factor), effects=frame.offset is not None)
    mine = Frame.of(obs, effects=frame.offset is not None)
    np.testing.assert_array_equal(other.to_units(obs.with_values(obs.values * factor)).values, mine.to_units(obs).values)


def test_a_noisier_slice_counts_less():
    """The same misfit, in units of its noise, costs the same in every slice."""
    rng = np.random.default_rng(0)
    noise = np.array([0.5, 2.0, 8.0])
    obs = Observations.from_array(rng.normal(size=(40, 3)) * np.array([1.0, 1.0, 3.0]))
    frame = Frame.of(obs, effects=False, mode=1, noise=noise)

    def cost(misfit) -> np.ndarray:
        units, fitted = frame.to_units(obs), frame.to_units(obs.with_values(obs.values - misfit))
        weights = 1.0 if units.weights is None else units.weights
        return np.bincount(obs.coords[1], weights * (units.values - fitted.values) ** 2)

    costs = cost(noise[obs.coords[1]])
    np.testing.assert_allclose(costs, costs[0])
    assert cost(np.ones(obs.size))[0] > 10 * cost(np.ones(obs.size))[1]


def test_weights_of_the_entries_are_kept():
    obs = Observations.from_indices([[0, 0], [0, 1], [1, 0]], [1.0, 2.0, 3.0], weights=[1.0, 2.0, 3.0])
    assert Frame.of(obs, effects=False).to_units(obs).weights.tolist() == [1.0, 2.0, 3.0]  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize("effects", [False, True])
def test_data_that_are_all_zero_have_a_frame(effects):
    obs = Observations.from_array(np.zeros((3, 4)))
    units = Frame.of(obs, effects=effects).to_units(obs)
    assert not units.values.any()


def test_single_precision_stays_single():
    obs = Observations.from_array(np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32))
    assert Frame.of(obs, effects=True).to_units(obs).values.dtype == np.float32
