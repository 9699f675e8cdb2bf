"""Unfoldings: EM climbs the likelihood, fills are conditional means, and they are used where gaps are missing and they pay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rankless
from planted import hidden_error, planted
from rankless.answer.tree import Tools
from rankless.experts.slices import KINDS, NOISE, Normal, Slices, Unfolding
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import BEND, Judge
from rankless.runtime.pack import pack, unpack
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations

RNG = np.random.default_rng(0)


def holed(rows: int = 80, columns: int = 5, share: float = 0.4) -> np.ndarray:
    """Correlated normal rows with holes; some rows lack everything."""
    matrix = RNG.normal(size=(rows, columns)) @ RNG.normal(size=(columns, columns)) + np.arange(columns)
    matrix[RNG.random(matrix.shape) < share] = np.nan
    matrix[:3] = np.nan
    return matrix


def seen_of(normal: Normal, matrix: np.ndarray):
    """Rows in the units of the normal, each with what is seen of it."""
    centre, scale = np.nanmean(matrix, axis=0), np.nanstd(matrix, axis=0)
    for row in (matrix - centre) / scale:
        yield row, np.flatnonzero(~np.isnan(row))


def log_density(apart: np.ndarray, covariance: np.ndarray) -> float:
    """Of a normal, up to a constant."""
    return float(-0.5 * (apart @ np.linalg.solve(covariance, apart) + np.linalg.slogdet(covariance)[1]))


def test_every_sweep_climbs_the_likelihood():
    matrix, likelihoods = holed(), []
    normal = Normal(matrix)
    for _ in range(30):
        noisy = normal.covariance + NOISE * np.eye(len(normal.mean))
        terms = [log_density(row[at] - normal.mean[at], noisy[np.ix_(at, at)]) for row, at in seen_of(normal, matrix)]
        likelihoods.append(sum(terms))
        normal.sweep()
    assert np.all(np.diff(likelihoods) > -1e-9) and likelihoods[-1] > likelihoods[0] + 10


def test_fills_are_conditional_means():
    matrix = holed()
    normal = Normal(matrix)
    for _ in range(7):
        normal.sweep()
    noisy, expected = normal.covariance + NOISE * np.eye(len(normal.mean)), []
    for row, at in seen_of(normal, matrix):
        expected.append(normal.mean + normal.covariance[:, at] @ np.linalg.solve(noisy[np.ix_(at, at)], (row - normal.mean)[at]))
    filled = (normal.filled() - np.nanmean(matrix, axis=0)) / np.nanstd(matrix, axis=0)
    np.testing.assert_allclose(filled, expected, atol=1e-9)


def test_an_unfolding_folds_back_and_its_copies_are_lagged():
    array = RNG.normal(size=(3, 6, 4, 2))
    unfolding = Unfolding(array.shape, (0, 3), ((1, 1), (2, -2)))
    matrix = unfolding.matrix(array)
    assert matrix.shape == (unfolding.rows, unfolding.width) == (24, 18)
    np.testing.assert_array_equal(unfolding.folded(matrix), array)
    copies = matrix.reshape(6, 4, 3, 3, 2)  # day, hour, copy, airport, variable
    np.testing.assert_array_equal(copies[2, 3, 1], array[:, 3, 3])
    np.testing.assert_array_equal(copies[2, 3, 2], array[:, 2, 1])
    assert np.isnan(copies[5, :, 1]).all() and np.isnan(copies[:, :2, 2]).all()


def test_a_gap_gone_wild_hardly_changes_the_shares():
    shape, gaps = (4, 50, 6), Gaps((2,), None, 1)
    held = Observations.from_array(RNG.normal(size=shape))
    fitted = held.values[:, None] + RNG.normal(size=(held.size, 2))
    for mode in (None, 0):
        judge = Judge(held.values - fitted[:, 0], held, gaps, mode)
        shares = judge.shares(held.values, fitted)
        np.testing.assert_allclose(shares, 1 / 3, atol=0.1)  # errors of variance 1 each, beside a signal of variance 1
        wild = held.values + 100.0 * (gaps.numbers(held.coords, shape) == 6)
        np.testing.assert_allclose(judge.shares(wild, fitted), shares, atol=0.15)
        joint = judge.joint(held.values, fitted)
        assert joint[0] == judge.score(joint[2]) < judge.score(held.values - fitted[:, 0])


def test_a_score_is_the_error_where_no_gap_stands_out():
    held = Observations.from_array(RNG.normal(size=(4, 50, 6)))
    ones = np.ones(held.size)
    judge = Judge(ones, held, Gaps((2,), None, 1), None)  # `c` is BEND
    assert judge.score(0.5 * ones) == pytest.approx(0.5)
    assert judge.score(5.0 * ones) == pytest.approx(np.sqrt(2 * BEND * 5.0 - BEND**2))


def test_cells_of_which_nothing_is_known_are_named():
    array = RNG.normal(size=(3, 20, 4, 2))
    array[1, :, :, 0] = array[:, 5, 2] = array[0, 0, 0, 0] = np.nan
    obs = Observations.from_array(array)
    expected = np.zeros(array.shape, dtype=bool)
    expected[1, :, :, 0] = expected[:, 5, 2] = True
    for lags in ((), ((1, 1), (1, -1))):
        values = slices_of(obs, Unfolding(array.shape, (0, 3), lags), 5).values
        if lags:
            expected[:, 5, 2] = False  # the days around tell
            expected[1, :, :, 0] = True
        np.testing.assert_array_equal(np.isnan(values), expected)


def test_a_gain_is_in_standard_errors():
    held = Observations.from_array(RNG.normal(size=(4, 50, 6)))
    judge = Judge(held.values, held, Gaps((2,), None, 1), None)
    assert judge.gain(held.values, 0.5 * held.values) > 10 and judge.gain(0.5 * held.values, held.values) < -10
    noise = [judge.gain(RNG.normal(size=held.size), RNG.normal(size=held.size)) for _ in range(200)]
    assert np.mean(np.array(noise) > 2) < 0.1  # of two tests, each by chance 2.3 %


def test_cells_of_a_gap_share_a_number():
    coords = np.indices((2, 9, 3)).reshape(3, -1)
    numbers = Gaps((2,), 1, 3).numbers(coords, (2, 9, 3)).reshape(2, 9, 3)
    assert (numbers == numbers[:, :, :1]).all() and (numbers[:, ::3] == numbers[:, 2::3]).all()
    assert len(np.unique(numbers)) == 2 * 3


def slices_of(obs: Observations, unfolding: Unfolding, sweeps: int) -> Slices:
    with Workers(1) as workers:
        return Slices(unfolding, sweeps, np.zeros(0)).again(obs, Tools(workers, iter(())))


# who stands beside slices when they are asked
ASKED: dict[str, Any] = {"experts": ["components", "neighbours", "slices"], "effort": "fast", "random_state": 0}


def weather(seed: int, share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Station x day x hour x variable: every station's variable a mixture of all others', some alike from day to day; days are missing."""
    rng = np.random.default_rng(seed)
    stations, days, hours, variables = 3, 40, 6, 3
    driven = rng.normal(size=(days, hours, 9))
    for day in range(1, days):
        driven[day] = 0.8 * driven[day - 1] + 0.6 * driven[day]
    truth = (driven * np.geomspace(1, 0.1, 9)) @ rng.normal(size=(9, stations * variables))
    truth = np.moveaxis(truth.reshape(days, hours, stations, variables), 2, 0)
    truth = truth / truth.std()
    gone = rng.random((stations, days, 1, variables)) < share
    return truth, np.where(gone, np.nan, truth + 0.05 * rng.normal(size=truth.shape))


@pytest.fixture(scope="module")
def done() -> rankless.Completion:
    """What two threads make of the first weather."""
    return rankless.complete(weather(0)[1], n_jobs=2, **ASKED)


def test_slices_fill_each_other_where_whole_days_are_missing(done):
    truth, array = weather(0)
    plain = rankless.complete(array, **{**ASKED, "experts": ["components", "neighbours"]})
    est = done.estimator
    assert est.unfolded_ is not None and plain.estimator.unfolded_ is None
    assert hidden_error(done.filled, truth, array) < 0.8 * hidden_error(plain.filled, truth, array)
    assert est.holdout_rmse_ == pytest.approx(hidden_error(done.filled, truth, array), rel=0.5)
    assert "slices of " in done.answer and done.answer in done.summary()
    lower, upper = done.interval(0.9)
    gone = np.isnan(array)
    assert 0.85 < np.mean((lower <= truth)[gone] & (truth <= upper)[gone]) < 0.96


def test_threads_and_units_change_nothing(done):
    _, array = weather(0)
    one, larger = (rankless.complete(scale * array, n_jobs=1, **ASKED) for scale in (1.0, 1024.0))
    assert done.estimator.unfolded_ is not None
    np.testing.assert_array_equal(one.filled, done.filled)
    np.testing.assert_allclose(larger.filled, 1024.0 * one.filled)


def test_a_slice_never_seen_keeps_what_was_said():
    _, array = weather(2)
    array[:, 30] = np.nan
    with pytest.warns(UserWarning, match="no observed entry"):
        est = rankless.complete(array, **ASKED).estimator
    assert est.unfolded_ is not None
    cells = np.argwhere(np.isnan(array) & (np.arange(40)[:, None, None] == 30))
    if est.between_[1][30]:  # components smooth along the days, or a bridge over the gap, know more than main effects
        assert np.isfinite(est.predict(cells)).all()
    else:
        np.testing.assert_allclose(est.predict(cells), est.main_effects_.at(cells))


def test_cells_missing_one_by_one_and_single_fits_are_left_alone():
    _, array = planted((12, 20, 8), 3, 0.5, noise=0.3, seed=2)
    assert rankless.complete(array, **ASKED).estimator.unfolded_ is None
    _, array = weather(3)
    assert rankless.complete(array, **{**ASKED, "experts": ["components", "neighbours"]}).estimator.unfolded_ is None


def test_a_choice_survives_the_journal():
    shape = (3, 6, 4, 2)
    obs = Observations.from_array(np.where(RNG.random(shape) < 0.5, RNG.normal(size=shape), np.nan))
    predictor = slices_of(obs, Unfolding(shape, (0, 3), ((1, 1), (1, -1))), 20)
    again, shares = unpack(pack((predictor, np.array([[0.5], [0.25]]))), KINDS)
    assert (again.unfolding, again.sweeps, shares.tolist()) == (predictor.unfolding, 20, [[0.5], [0.25]])
    np.testing.assert_array_equal(again.values, predictor.values)
    with pytest.raises(ValueError, match="a packed 'Slices' is none of"):
        unpack(pack(predictor))
