"""Intervals cover what they promise, on entries that nothing has seen; scores are those of new cells."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from planted import planted
from rankless import Observations, TensorCompleter, complete
from rankless.answer import intervals
from rankless.answer.difficulty import Difficulty, features
from rankless.answer.intervals import Calibration, TooFew, _among, quantile
from rankless.engine.found import Found

FAST = {
    "depth": 1.0,
    "penalty": 1.0,
    "effects": False,
    "noise": None,
    "experts": ["components", "draws"],
    "value_transform": None,
    "random_state": 0,
}
SHAPE = (24, 20, 16)


def covered(seed: int, noise: float | np.ndarray = 0.1, **options) -> tuple[list[float], list[float]]:
    """Share of new noisy values inside, and mean widths, at four levels."""
    truth, seen = planted(SHAPE, 2, 0.4, noise=noise, seed=seed)
    est = TensorCompleter(**{**FAST, **options}).fit(seen)
    hidden = np.argwhere(np.isnan(seen))
    values = (truth + noise * np.random.default_rng(100 + seed).normal(size=SHAPE))[np.isnan(seen)]
    shares, widths = [], []
    for coverage in (0.5, 0.8, 0.9, 0.95):
        lower, upper = est.predict_interval(hidden, coverage)
        shares.append(float(np.mean((lower <= values) & (values <= upper))))
        widths.append(float(np.mean(upper - lower)))
    return shares, widths


def test_new_values_lie_in_their_intervals_as_often_as_promised():
    shares = np.mean([covered(seed)[0] for seed in range(6)], axis=0)
    np.testing.assert_allclose(shares, [0.5, 0.8, 0.9, 0.95], atol=0.025)


def test_widths_follow_the_noise_of_a_slice_and_are_smaller_for_it():
    noise = np.where(np.arange(SHAPE[0]) < 12, 0.02, 0.4)[:, None, None]
    truth, seen = planted(SHAPE, 2, 0.5, noise=noise, seed=1)
    est = TensorCompleter(**FAST).fit(seen)
    hidden = np.argwhere(np.isnan(seen))
    values = (truth + noise * np.random.default_rng(7).normal(size=SHAPE))[np.isnan(seen)]
    lower, upper = est.predict_interval(hidden, 0.9)
    inside, quiet = (lower <= values) & (values <= upper), hidden[:, 0] < 12
    assert (upper - lower)[~quiet].mean() > 3 * (upper - lower)[quiet].mean()
    assert abs(inside.mean() - 0.9) < 0.04
    calibration = est.calibration()
    assert calibration is not None
    constant = 2 * np.quantile(np.abs(est.calibration_errors()[1]), 0.9)
    assert (upper - lower).mean() < 0.95 * constant


def test_calibration_entries_chose_nothing_and_taught_nothing_and_leave_nearly_all(monkeypatch):
    _, seen = planted(SHAPE, 2, 0.4, seed=3)
    est = TensorCompleter(**FAST).fit(seen)
    before = est.predict(np.argwhere(np.isnan(seen)))
    fitted = []
    again = Found.again
    monkeypatch.setattr(Found, "again", lambda found, rest, *how, **more: fitted.append(rest) or again(found, rest, *how, **more))
    calibration, answer = est.calibration(), est._answer
    assert calibration is not None and answer is not None
    obs, used = answer.near_one, np.zeros(answer.near_one.size, dtype=bool)
    for rest in fitted:
        part = ~_among(obs, rest)
        assert not (part & used).any()
        assert 0.04 < part.mean() < 0.06
        used |= part
    assert len(fitted) == 4  # of 3,097 entries, a twentieth is too few
    assert calibration.entries.size == used.sum() >= intervals.FEWEST
    np.testing.assert_array_equal(calibration.entries.values, obs.values[used])
    assert calibration.rest is fitted[0]
    np.testing.assert_array_equal(before, est.predict(np.argwhere(np.isnan(seen))))


def test_an_interval_does_not_hang_on_its_calibration_values_beyond_their_sizes():
    """The oracle of split conformal: order statistics of absolute errors."""
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 100.0)) * np.resize([1, -1], 99)
    assert quantile(errors, 0.9) == 90
    assert quantile(errors, 0.5) == 50
    assert quantile(errors, 0.99) == 99
    with pytest.raises(TooFew, match=r"coverage=0.995 needs 199 calibration entries.*pass coverage=0.99 or less"):
        quantile(errors, 0.995)


def test_same_seed_same_ends_on_any_number_of_threads_and_after_pickling():
    _, seen = planted(SHAPE, 2, 0.4, seed=4)
    cells = np.argwhere(np.isnan(seen))[:50]
    one = TensorCompleter(**FAST, n_jobs=1).fit(seen)
    copy = pickle.loads(pickle.dumps(one))
    ends = one.predict_interval(cells)
    for other in (copy, pickle.loads(pickle.dumps(one)), TensorCompleter(**FAST, n_jobs=2).fit(seen)):
        np.testing.assert_array_equal(ends, other.predict_interval(cells))


def test_units_scale_the_ends():
    _, seen = planted(SHAPE, 2, 0.4, seed=5)
    cells = np.argwhere(np.isnan(seen))[:50]
    lower, upper = TensorCompleter(**FAST).fit(seen).predict_interval(cells)
    low, high = TensorCompleter(**FAST).fit(1024 * seen).predict_interval(cells)
    np.testing.assert_allclose([low, high], np.array([lower, upper]) * 1024, rtol=1e-12)


@pytest.mark.parametrize("transform", ["sqrt", "log"])
def test_ends_of_amounts_are_amounts_and_cover(transform):
    rng = np.random.default_rng(0)
    level = np.exp(sum(np.ix_(*(rng.normal(size=d) for d in SHAPE))) / 1.5 + 2)
    counts = rng.poisson(level).astype(float)
    hidden = rng.random(SHAPE) < 0.6
    seen = np.where(hidden, np.nan, counts)
    est = TensorCompleter(**{**FAST, "value_transform": transform}).fit(seen)
    lower, upper = est.predict_interval(np.argwhere(hidden), 0.9)
    middle = est.predict(np.argwhere(hidden))
    assert lower.min() >= 0 and (lower <= middle).all() and (middle <= upper).all()
    assert np.mean((lower <= counts[hidden]) & (counts[hidden] <= upper)) > 0.87


def test_a_slice_never_observed_is_as_wide_as_the_spread_of_others():
    truth, seen = planted(SHAPE, 2, 0.5, seed=6)
    truth[:, 3] += 30  # nobody could know
    seen[:, 3] = np.nan
    with pytest.warns(UserWarning, match="no observed entry"):
        est = TensorCompleter(**FAST).fit(seen)
    cells = np.argwhere(np.isnan(seen))
    lower, upper = est.predict_interval(cells, 0.9)
    unseen = cells[:, 1] == 3
    assert np.isfinite(upper).all()
    assert (upper - lower)[unseen].min() > 2 * (upper - lower)[~unseen].mean()


def test_constant_data_have_no_width_and_noiseless_data_next_to_none():
    constant = np.full((4, 5), 2.5)
    constant[1, 2] = np.nan
    done = complete(constant)
    np.testing.assert_array_equal(done.interval(), (np.full((4, 5), 2.5),) * 2)
    assert done.score().entries.tolist() == [0]
    exact = np.multiply.outer(np.multiply.outer(np.arange(1.0, 13), np.arange(2.0, 12)), np.arange(1.0, 9))
    exact[np.random.default_rng(0).random(exact.shape) < 0.3] = np.nan
    lower, upper = complete(exact, random_state=0).interval()
    assert np.max(upper - lower) < 1e-6 * np.nanmax(exact)


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90, "0.9", True, float("nan")])
def test_a_coverage_that_is_no_probability_is_refused(coverage):
    _, seen = planted(SHAPE, 1, 0.4)
    with pytest.raises(ValueError, match=r"coverage=.* is not a probability between 0 and 1; pass coverage=0.9"):
        TensorCompleter(**FAST).fit(seen).predict_interval([[0, 0, 0]], coverage)


def test_too_few_entries_to_promise_are_said_and_leave_the_table_whole():
    small = np.outer(np.arange(1.0, 7.0), np.arange(2.0, 8.0)) + np.random.default_rng(0).normal(size=(6, 6))
    small[2, 3] = np.nan
    done = complete(small, **FAST)
    with pytest.raises(ValueError, match=r"coverage=0.99 needs 99 calibration entries, and \d+ can be spared"):
        done.interval(0.99)
    with pytest.warns(UserWarning, match="no intervals: coverage=0.99"):
        table = done.table(0.99)
    assert table.lower.isna().all() and table.value.notna().all()


def test_scores_are_those_of_new_cells_and_each_slice_has_its_own():
    noise = np.where(np.arange(SHAPE[0]) < 12, 0.02, 0.4)[:, None, None]
    truth, seen = planted(SHAPE, 2, 0.5, noise=noise, seed=8)
    done = complete(seen, **FAST)
    hidden = np.isnan(seen)
    new = (truth + noise * np.random.default_rng(9).normal(size=SHAPE) - done.filled)[hidden]
    whole = done.score()
    assert whole.rmse.item() == pytest.approx(np.sqrt(np.mean(new**2)), rel=0.15)
    by = done.score("mode_0")
    assert len(by) == 24 and by.entries.sum() == whole.entries.item()
    assert by.rmse[:12].mean() < 0.3 * by.rmse[12:].mean()
    assert np.average(by.rmse**2, weights=by.entries) == pytest.approx(whole.rmse.item() ** 2)


def test_difficulty_knows_where_errors_are_large_and_when_they_are_not():
    rng = np.random.default_rng(0)
    obs = Observations.from_array(np.where(rng.random((40, 30, 10)) < 0.5, 1.0, np.nan))
    cells = np.stack([rng.integers(0, d, 3000) for d in obs.shape])
    sizes = np.where(cells[1] < 10, 5.0, 1.0)
    errors = rng.normal(size=3000) * sizes
    learned = Difficulty.of(cells, np.zeros(3000), errors, obs).at(cells, np.zeros(3000), obs)
    assert learned[cells[1] < 10].mean() > 2 * learned[cells[1] >= 10].mean()
    flat = Difficulty.of(cells, np.zeros(3000), rng.normal(size=3000), obs).at(cells, np.zeros(3000), obs)
    assert flat.std() < 0.1 * flat.mean()


def test_features_count_neighbours_that_were_seen():
    seen = np.array([[1.0, np.nan, 2.0], [np.nan, 3.0, np.nan]])
    found = features(np.array([[0, 1], [1, 0]]), np.array([7.0, 8.0]), Observations.from_array(seen))
    np.testing.assert_allclose(found, [[7, 0, np.log(3), 1, 1, np.log(2), 2], [8, 1, np.log(2), 1, 0, np.log(2), 1]])


def test_calibration_is_of_a_tenth_or_of_what_few_entries_allow():
    _, seen = planted(SHAPE, 2, 0.9)
    found = TensorCompleter(**FAST).fit(seen).calibration()
    assert isinstance(found, Calibration)
    assert found.entries.size == round(0.1 * np.isfinite(seen).sum())
