"""Factors that go on in time: the recursions beside dense Gaussian algebra, gaps in everything bridged, and order that says nothing."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.answer.tree import Bridged, Tools
from rankless.experts.bridge import bridged
from rankless.experts.factors import Factors, Model, Table
from rankless.experts.kalman import loaded, smoothed
from rankless.experts.timeline import Timeline
from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects


def dynamic(times: int = 300, sensors: int = 8, factors: int = 2, seed: int = 0, noise: float = 0.1) -> np.ndarray:
    """Sensors that follow a few factors, which go on slowly and turn into each other."""
    rng = np.random.default_rng(seed)
    turn = 0.98 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    f = np.zeros((times, 2))
    for t in range(1, times):
        f[t] = turn @ f[t - 1] + 0.2 * rng.normal(size=2)
    return f[:, :factors] @ rng.normal(size=(factors, sensors)) + noise * rng.normal(size=(times, sensors))


def blackout(array: np.ndarray, length: int, count: int, seed: int = 0) -> np.ndarray:
    """Which cells are hidden: `count` times `length` rows on end."""
    gone = np.zeros(array.shape, bool)
    for start in np.random.default_rng(seed).integers(0, len(array) - length, count):
        gone[start : start + length] = True
    return gone


def line(obs: Observations) -> Axis:
    return Axis("time", (0,), (obs.shape[0],), np.arange(float(obs.shape[0])), "asked")


def test_the_smoother_is_the_conditional_mean_of_one_large_gaussian():
    rng = np.random.default_rng(0)
    times, sensors, r = 12, 4, 2
    step = np.array([[0.8, 0.3], [-0.2, 0.7]])
    drive, first = np.array([[0.5, 0.1], [0.1, 0.4]]), np.array([[1.0, 0.2], [0.2, 2.0]])
    loadings, noises = rng.normal(size=(sensors, r)), rng.uniform(0.1, 1.0, sensors)
    seen = rng.random((times, sensors)) < 0.5
    seen[4:7] = False
    y = rng.normal(size=(times, sensors))
    # covariance of all factors: cov(f_t, f_u) = V_t (A')^(u-t) for u >= t
    prior, at = np.zeros((times * r, times * r)), step @ first @ step.T + drive
    for t in range(times):
        ahead = at
        for u in range(t, times):
            prior[t * r : t * r + r, u * r : u * r + r] = ahead
            prior[u * r : u * r + r, t * r : t * r + r] = ahead.T
            ahead = ahead @ step.T
        at = step @ at @ step.T + drive
    rows = [np.concatenate([np.zeros(t * r), loadings[s], np.zeros((times - t - 1) * r)]) for t, s in np.argwhere(seen)]
    design, noise = np.array(rows), np.diag(noises[np.nonzero(seen)[1]])
    gain = prior @ design.T @ np.linalg.inv(design @ prior @ design.T + noise)
    mean, cov = gain @ y[seen], prior - gain @ design @ prior

    starts = np.concatenate([[0], np.cumsum(seen.sum(axis=1))])
    means, covs, ties = smoothed(starts, np.nonzero(seen)[1], y[seen], loadings, noises, step, drive, first)
    np.testing.assert_allclose(means.ravel(), mean, atol=1e-10)
    for t in range(times):
        np.testing.assert_allclose(covs[t], cov[t * r : t * r + r, t * r : t * r + r], atol=1e-10)
        if t:
            np.testing.assert_allclose(ties[t], cov[t * r : t * r + r, (t - 1) * r : t * r], atol=1e-10)


def test_loadings_are_ridge_regressions_on_the_factors():
    rng = np.random.default_rng(1)
    means = rng.normal(size=(50, 2))
    y = means @ [1.0, -2.0] + 3.0 + 0.1 * rng.normal(size=50)
    loadings, levels, squares, noises = np.zeros((1, 2)), np.zeros(1), np.zeros(1), np.array([0.5])
    loaded(np.arange(51), np.zeros(50, np.int64), y, means, np.zeros((50, 2, 2)), noises, loadings, levels, squares)
    design = np.concatenate([means, np.ones((50, 1))], axis=1)
    wanted = np.linalg.solve(design.T @ design + np.diag([0.5, 0.5, 0.0]), design.T @ y)
    np.testing.assert_allclose([*loadings[0], levels[0]], wanted, atol=1e-8)
    assert squares[0] == pytest.approx(np.mean((y - design @ wanted) ** 2), rel=1e-8)


def test_more_sweeps_explain_planted_factors_and_find_their_noise():
    array = dynamic(times=600)
    gone = np.random.default_rng(1).random(array.shape) < 0.3
    obs = Observations.from_array(np.where(gone, np.nan, array))
    table = Table.of(obs, line(obs))
    assert table is not None
    model, errors = Model(table, 2), []
    for _ in range(30):
        model.sweep()
        errors.append(np.sqrt(np.mean((model.settle().at(np.argwhere(gone).T) - array[gone]) ** 2)))
    assert errors[-1] < min(errors[0], 0.14), "the noise itself is .1"
    found = np.sqrt(model.noises) * table.scales
    np.testing.assert_allclose(found, 0.1, rtol=0.25)


def test_gaps_in_all_sensors_are_bridged_better_than_by_each_sensor_alone():
    """Factors that turn into each other say more of what comes next than a sensor's own past."""
    array = dynamic(times=500)
    gone = blackout(array, 6, 12)
    obs = Observations.from_array(np.where(gone, np.nan, array))
    axis, cells = line(obs), np.argwhere(gone)
    said = Factors(axis, 2, 20).again(obs).at(cells)
    straight = Timeline.of(obs, axis, None, None).at(cells)
    errors = [np.sqrt(np.mean((values - array[gone]) ** 2)) for values in (said, straight, np.zeros(len(cells)))]
    assert errors[0] < 0.7 * errors[1] and errors[0] < 0.5 * errors[2]


@pytest.mark.parametrize("seed", range(3))
def test_where_half_of_the_sensors_end_early_they_follow_the_others(seed):
    """Better than a regression on these at the same time, which does not know where the factors were a step before."""
    array = dynamic(times=400, seed=seed)
    gone = np.zeros(array.shape, bool)
    gone[320:, ::2] = True
    obs = Observations.from_array(np.where(gone, np.nan, array))
    said = Factors(line(obs), 2, 20).again(obs).at(np.argwhere(gone))
    others = np.concatenate([array[:, 1::2], np.ones((400, 1))], axis=1)
    regressed = others[320:] @ np.linalg.lstsq(others[:320], array[:320, ::2], rcond=None)[0]
    assert np.mean((said - array[gone]) ** 2) < np.mean((regressed - array[320:, ::2]) ** 2)


def test_the_bridge_takes_factors_and_changes_nothing_elsewhere():
    array = dynamic(times=500)
    gone = blackout(array, 6, 12)
    obs = Observations.from_array(np.where(gone, np.nan, array))
    bare = MainEffects.fit(obs)
    with Workers(1) as workers:
        tools = Tools(workers, iter(()))
        answer = bridged(bare, obs, Axes.of(obs), None, (), effects=True, tools=tools)
        again = answer.again(obs.with_values(obs.values - bare.at(obs.indices)), tools)
    assert isinstance(answer, Bridged) and "factors that go on" in answer.words(obs.modes)
    np.testing.assert_array_equal(answer.at(obs.indices), bare.at(obs.indices))
    cells = np.argwhere(gone)
    error = np.sqrt(np.mean((answer.at(cells) + bare.at(cells) - array[gone]) ** 2))
    assert error < 0.6 * np.sqrt(np.mean((bare.at(cells) - array[gone]) ** 2))
    np.testing.assert_allclose(again.bridge.at(cells), answer.bridge.at(cells), atol=1e-9)  # pyright: ignore[reportAttributeAccessIssue]


def test_no_bridge_where_times_have_nothing_to_do_with_each_other_or_all_were_seen():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(200, 6))
    with Workers(1) as workers:
        tools = Tools(workers, iter(()))
        for gone in (blackout(array, 5, 6), np.zeros(array.shape, bool)):
            obs = Observations.from_array(np.where(gone, np.nan, array))
            bare = MainEffects.fit(obs)
            assert bridged(bare, obs, Axes((line(obs),), 2), None, (), effects=False, tools=tools) is bare or gone.any()


def test_shuffled_and_descending_dates_give_the_same_fill():
    array = dynamic()
    gone = np.random.default_rng(2).random(array.shape) < 0.4
    dates = np.datetime64("2020-01-01") + np.arange(len(array))
    said = []
    for order in (np.arange(len(array)), np.arange(len(array))[::-1], np.random.default_rng(3).permutation(len(array))):
        obs = Observations.from_array(np.where(gone, np.nan, array)[order], labels=[dates[order], None], modes=["day", "sensor"])
        values = Factors(Axes.of(obs).axes[0], 2, 10).again(obs).at(np.argwhere(np.ones(array.shape)))
        back = np.empty(array.shape)
        back[order] = values.reshape(array.shape)
        said.append(back)
    np.testing.assert_allclose(said[1], said[0], atol=1e-9)
    np.testing.assert_allclose(said[2], said[0], atol=1e-9)


def test_a_series_never_seen_is_unknown_and_huge_or_tiny_values_do_no_harm():
    array = dynamic(times=100)
    array[:, 3] = np.nan
    for scale in (1e-150, 1.0, 1e150):
        obs = Observations.from_array(scale * array)
        said = Factors(line(obs), 2, 5).again(obs).at(np.argwhere(np.ones(array.shape))).reshape(array.shape)
        assert np.isnan(said[:, 3]).all() and np.isfinite(np.delete(said, 3, axis=1)).all()
        if scale == 1.0:
            plain = said
        np.testing.assert_allclose(np.delete(said, 3, 1) / scale, np.delete(dynamic(times=100), 3, 1), atol=1.0)
    assert np.isfinite(np.delete(plain, 3, 1)).all()
