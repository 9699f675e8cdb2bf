"""Main effects against the ridge regression they are, solved densely."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects


def additive(shape, seed: int, *, noise: float = 1.0, share: float = 1.0) -> Observations:
    rng = np.random.default_rng(seed)
    array = 10.0 + noise * rng.normal(size=shape)
    for mode, size in enumerate(shape):
        effect = rng.normal(size=size) * (mode + 1)
        array += effect.reshape([-1 if m == mode else 1 for m in range(len(shape))])
    array[rng.random(shape) > share] = np.nan
    return Observations.from_array(array)


def design(obs: Observations) -> np.ndarray:
    """One column a level of a mode."""
    return np.hstack([np.eye(d)[c] for c, d in zip(obs.coords, obs.shape, strict=True)])


def flat(effects: MainEffects) -> np.ndarray:
    return np.concatenate(effects.effects)


@pytest.mark.parametrize("shape", [(6, 9), (4, 5, 7)])
def test_balanced_effects_are_the_slice_means_shrunk(shape):
    """All cells seen: each effect is its slice's mean deviation times n/(n + s/t), the same share for a whole mode."""
    obs = additive(shape, seed=0)
    array = obs.values.reshape(shape)
    effects = MainEffects.fit(obs)
    assert effects.mean == pytest.approx(array.mean())
    for mode, effect in enumerate(effects.effects):
        raw = array.mean(axis=tuple(m for m in range(len(shape)) if m != mode)) - array.mean()
        share = effect @ raw / (raw @ raw)
        np.testing.assert_allclose(effect, share * raw, rtol=1e-5)
        entries = obs.size / shape[mode]
        noise = np.mean((obs.values - effects.at(obs.indices)) ** 2)
        ratio = noise / np.mean(effect**2 + noise / (entries + entries * (1 / share - 1)))  # noise over prior variance
        assert share == pytest.approx(entries / (entries + ratio), rel=0.05)  # the variances rest more slowly than the effects


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.0), st.booleans())
def test_unbalanced_effects_are_a_ridge_regression(seed, share, weighted):
    """With the shrinkage they settled on, the effects minimise w (y - mean - Z a)^2 + sum_n ratio_n |a_n|^2."""
    obs = additive((5, 6, 4), seed, share=share)
    if weighted:
        obs = obs.with_values(obs.values, np.random.default_rng(seed).uniform(0.5, 2.0, obs.size))
    w = np.ones(obs.size) if obs.weights is None else obs.weights / obs.weights.mean()
    effects = MainEffects.fit(obs)
    assert effects.mean == pytest.approx(np.average(obs.values, weights=w))
    gap = obs.values - effects.at(obs.indices)
    pull = design(obs).T @ (w * gap)  # = ratio_n a_n at the minimum: along a_n, towards the data
    for mode, part in enumerate(np.split(pull, np.cumsum(obs.shape)[:-1])):
        effect = effects.effects[mode]
        if np.linalg.norm(effect) > 0.1:
            ratio = part @ effect / (effect @ effect)
            assert ratio >= -1e-3
            np.testing.assert_allclose(part, ratio * effect, atol=0.06 * np.abs(obs.values - effects.mean).mean())


def test_where_noise_is_small_effects_are_least_squares():
    obs = additive((7, 8, 5), seed=1, noise=1e-4, share=0.6)
    fitted = MainEffects.fit(obs).at(obs.indices)
    z = np.column_stack([np.ones(obs.size), design(obs)])
    expected = z @ np.linalg.lstsq(z, obs.values, rcond=None)[0]
    np.testing.assert_allclose(fitted, expected, atol=2e-4)


def test_where_there_are_no_effects_next_to_none_are_found():
    rng = np.random.default_rng(0)
    effects = MainEffects.fit(Observations.from_array(rng.normal(size=(30, 40))))
    raw = rng.normal(size=(30, 40)).mean(axis=1)
    assert all(np.std(effect) < 0.6 * np.std(raw) for effect in effects.effects)


@given(st.integers(0, 2**32 - 1))
def test_a_level_never_seen_has_effect_0(seed):
    array = np.random.default_rng(seed).normal(size=(5, 6, 4))
    array[2], array[:, :, 3] = np.nan, np.nan
    effects = MainEffects.fit(Observations.from_array(array))
    assert effects.effects[0][2] == effects.effects[2][3] == 0
    np.testing.assert_allclose(effects.at(np.array([[2, 1, 3]])), effects.mean + effects.effects[1][1])


def test_the_less_a_level_was_seen_the_more_it_is_shrunk():
    array = np.random.default_rng(0).normal(size=(4, 60))
    array[0] += 5
    array[1] += 5
    array[1, 1:] = np.nan
    few, many = (MainEffects.fit(Observations.from_array(array)).effects[0][i] for i in (1, 0))
    assert 0 < few < many


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**40])
def test_neither_the_unit_nor_the_size_of_the_weights_matters(factor):
    obs = additive((5, 6), seed=0, share=0.7)
    base, weights = MainEffects.fit(obs), np.full(obs.size, factor)
    scaled = MainEffects.fit(obs.with_values(obs.values * factor))
    np.testing.assert_array_equal(flat(scaled), flat(base) * factor)
    np.testing.assert_allclose(flat(MainEffects.fit(obs.with_values(obs.values, weights))), flat(base), rtol=1e-12)
    assert flat(base.times(factor)).tolist() == flat(scaled).tolist()


def test_exactly_additive_data_end_quietly():
    obs = Observations.from_array(np.add.outer(np.arange(4.0), np.arange(5.0) ** 2))
    np.testing.assert_allclose(MainEffects.fit(obs).at(obs.indices), obs.values, atol=1e-4)
    flat_data = MainEffects.fit(Observations.from_array(np.full((3, 4), 2.0)))
    np.testing.assert_array_equal(flat_data.full(), np.full((3, 4), 2.0))


def test_full_is_at_everywhere():
    effects = MainEffects.fit(additive((3, 4, 5), seed=0))
    cells = np.indices((3, 4, 5)).reshape(3, -1).T
    np.testing.assert_allclose(effects.full().reshape(-1), effects.at(cells))
    np.testing.assert_array_equal(MainEffects.constant(3.0, (2, 3)).full(), np.full((2, 3), 3.0))
