"""Transforms: there and back, units, weights; and that data get one where, and only where, it fills them better."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planted import planted
from rankless.als.annealing import empty
from rankless.als.entries import Entries
from rankless.als.solver import Problem
from rankless.completer import TensorCompleter
from rankless.completion import complete
from rankless.holdout.scoring import scored
from rankless.search.level_noise import Noise, amounts
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.frame import Frame
from rankless.units.transform import TOP, Transform

SHAPE = (24, 20, 16)
FAST: dict[str, Any] = {
    "depth": 0.0,
    "penalty": 0.3,
    "effects": False,
    "noise": None,
    "experts": ["components"],
    "random_state": 0,
}
NAMES = pytest.mark.parametrize("name", ["sqrt", "log"])


def holed(values: np.ndarray, rng: np.random.Generator, share: float = 0.5) -> np.ndarray:
    seen = values.astype(float)
    seen[rng.random(values.shape) > share] = np.nan
    return seen


def roots(seed: int, rank: int = 2) -> np.ndarray:
    """A tensor >= 0 of rank `rank`, of mean square 1."""
    rng = np.random.default_rng(seed)
    root = np.einsum("ar,br,cr->abc", *(rng.uniform(0.05, 1.0, size=(d, rank)) for d in SHAPE))
    return root / np.sqrt(np.mean(root**2))


def counts(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``(rates, seen)``: Poisson counts whose square roots are low rank."""
    rng, rates = np.random.default_rng(seed), 20 * roots(seed) ** 2
    return rates, holed(rng.poisson(rates), rng)


def multiplied(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``(truth, seen)``: amounts whose logarithms are low rank, with noise in percent."""
    rng = np.random.default_rng(seed)
    log = np.einsum("ar,br,cr->abc", *(rng.uniform(-1, 1, size=(d, 3)) for d in SHAPE))
    truth = 50 * np.exp(log / log.std())
    return truth, holed(truth * np.exp(0.3 * rng.normal(size=SHAPE)), rng)


def errors(est: TensorCompleter, truth: np.ndarray, seen: np.ndarray) -> tuple[float, float]:
    """RMSE on the cells not seen, and mean error as a share of the truth where that is 1 or more."""
    hidden = np.isnan(seen)
    wanted, off = truth[hidden], est.predict(np.argwhere(hidden)) - truth[hidden]
    return float(np.sqrt(np.mean(off**2))), float(np.mean(np.abs(off / wanted)[wanted >= 1.0]))


def observed(values) -> Observations:
    values = np.atleast_1d(np.asarray(values, dtype=float))
    return Observations.from_indices(np.stack([np.arange(len(values))] * 2, axis=1), values)


# --- there and back -------------------------------------------------------------------------------


@NAMES
@given(values=st.lists(st.floats(0, 1e6), min_size=2, max_size=30).filter(lambda v: max(v) > 1e-3))
def test_there_and_back(name, values):
    obs = observed(values)
    transform = Transform.of(name, obs)
    np.testing.assert_allclose(transform.inverse(transform.forward(obs.values)), obs.values, rtol=1e-9, atol=1e-9 * max(values))


@NAMES
@given(fitted=st.floats(-1e3, 1e3))
def test_what_comes_back_is_an_amount_and_not_a_wild_one(name, fitted):
    transform = Transform.of(name, observed([0.0, 1.0, 3.0, 50.0]))
    assert 0 <= transform.inverse(np.array([fitted]))[0] <= 50.0 * TOP[name]


@NAMES
@given(fitted=st.floats(-1.0, 4.0))
def test_derivative_is_that_of_the_inverse(name, fitted):
    transform = Transform(name, 0.4, 1.1, 30.0)
    z, step = np.array([fitted]), 1e-6
    numeric = (transform.inverse(z + step) - transform.inverse(z - step)) / (2 * step)
    corner = np.min(np.abs(transform.inverse(z) - np.array([0.0, 30.0]))) < 1e-3
    assert corner or transform.derivative(z) == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@NAMES
def test_units_do_not_matter(name):
    values = np.array([0.0, 1.0, 2.0, 5.0, 9.0, 30.0])
    small, large = Transform.of(name, observed(values)), Transform.of(name, observed(1000 * values))
    unit = 1.0 if name == "log" else np.sqrt(1000)
    np.testing.assert_allclose(large.forward(1000 * values), unit * small.forward(values))


def test_the_mean_comes_back_and_not_the_median():
    rng = np.random.default_rng(0)
    level = rng.uniform(1.0, 3.0, size=20_000)
    for transform, noise in ((Transform("sqrt", 0.2), 0.5), (Transform("log", 0.2), 0.7)):
        z = level + noise * rng.normal(size=level.size)
        held = observed(z)
        y = transform.inverse(z)
        mended = transform.calibrated(held, z - level)
        assert np.mean(transform.inverse(level)) < 0.98 * y.mean()
        assert np.mean(mended.inverse(level)) == pytest.approx(y.mean(), rel=0.01)
        wild = z.copy()
        wild[:5] += 40.0
        assert transform.calibrated(observed(wild), wild - level).factor == pytest.approx(mended.factor, rel=0.02)


def test_the_mean_is_that_of_the_weighted_entries():
    z, residual = np.array([1.0, 1.0, 2.0, 2.0, 2.0, 2.0]), np.array([0.2, -0.2, 0.3, -0.3, 0.0, 0.1])
    many = observed(np.repeat(z, [3, 3, 1, 1, 1, 1]))
    weighed = observed(z).with_values(z, np.array([3.0, 3, 1, 1, 1, 1]))
    transform = Transform("log", 1.0)
    twice = transform.calibrated(many, np.repeat(residual, [3, 3, 1, 1, 1, 1])).factor
    assert transform.calibrated(weighed, residual).factor == pytest.approx(twice)


def fitted(seen: np.ndarray, effort: str = "fast") -> list[TensorCompleter]:
    """With a transform where the data ask for one, and without."""
    return [TensorCompleter(value_transform=t, effort=effort, random_state=0).fit(seen) for t in ("auto", None)]


def assert_smaller_errors(auto: TensorCompleter, plain: TensorCompleter, truth: np.ndarray, seen: np.ndarray, share: float) -> None:
    for smaller, larger in zip(errors(auto, truth, seen), errors(plain, truth, seen), strict=True):
        assert smaller < share * larger


# --- chosen where it helps ------------------------------------------------------------------------


def seeds(*later: int):
    """Seed 0 with little effort, for every run of the tests; the default effort and other seeds where there is time."""
    slow = [pytest.param(seed, "default", marks=pytest.mark.slow) for seed in (0, *later)]
    return pytest.mark.parametrize(("seed", "effort"), [(0, "fast"), *slow])


@seeds(1, 2)
def test_counts_get_square_roots_and_smaller_errors(seed, effort):
    rates, seen = counts(seed)
    auto, plain = fitted(seen, effort)
    assert auto.value_transform_.name == "sqrt"
    assert_smaller_errors(auto, plain, rates, seen, 0.97)
    assert set(auto.path_["transform"]) == {"none", "sqrt"}
    assert set(plain.path_["transform"]) == {"none"}


@seeds(2, 3)
def test_noise_in_percent_gets_logarithms_and_smaller_errors(seed, effort):
    truth, seen = multiplied(seed)
    auto, plain = fitted(seen, effort)
    assert auto.value_transform_.name == "log"
    assert_smaller_errors(auto, plain, truth, seen, 0.95)


@pytest.mark.parametrize("shift", [0.0, 12.0])
def test_the_same_noise_everywhere_costs_no_second_search(shift):
    seen = planted((16, 14, 12), rank=2, share=0.5, noise=0.2)[1] + shift
    assert (np.nanmin(seen) >= 0) == (shift > 0)
    auto, plain = fitted(seen)
    assert auto.value_transform_.name == "none"
    assert len(auto.path_) == len(plain.path_)
    cells = np.argwhere(np.isnan(seen))
    assert auto.predict(cells).tobytes() == plain.predict(cells).tobytes()


def test_a_sum_that_is_low_rank_in_the_data_stays_in_the_data():
    """Its counts ask for square roots, but held-out entries say no."""
    rng, rates = np.random.default_rng(0), 30 * roots(0, rank=3)
    seen = holed(rng.poisson(rates), rng)
    est = TensorCompleter(experts=["components"], random_state=0).fit(seen)
    assert set(est.path_["transform"]) == {"none", "sqrt"}
    assert est.value_transform_.name == "none"


def test_power_of_the_noise_is_found_also_where_slices_have_their_own_units():
    rng = np.random.default_rng(0)
    truth = 5 + 20 * rng.random((6, 30, 20))
    unit = np.array([1.0, 1e3, 1e-2, 1.0, 50.0, 7.0])[:, None, None]
    for power in (0.0, 0.5, 1.0):
        y = unit * (truth + 0.3 * truth**power * rng.normal(size=truth.shape))
        obs = Observations.from_array(y)
        frame = Frame.of(obs, effects=False, mode=0, noise=np.ones(6))
        point = scored(frame, "grow", Problem(0.0, 1.0), empty(Entries(obs)), obs)
        point = replace(point, residual=(y - unit * truth).ravel())
        noise = Noise.of(point, obs)
        assert noise.power == pytest.approx(power, abs=0.12)
        inside = np.abs(point.residual) < noise.cap
        assert inside.mean() > 0.99
        point.residual[0] = 1e6
        assert Noise.of(point, obs).capped(point.residual)[0] < 1e3


def test_grades_are_no_amounts():
    rng = np.random.default_rng(0)
    assert not amounts(observed(rng.integers(1, 6, size=500)))
    assert not amounts(observed(rng.normal(size=500)))
    assert amounts(observed(rng.poisson(20.0, size=500)))


# --- by hand --------------------------------------------------------------------------------------


@NAMES
def test_predictions_by_hand_are_amounts_in_any_unit(name):
    seen = counts(0)[1]
    small, large = (TensorCompleter(value_transform=name, **FAST).fit(unit * seen) for unit in (1.0, 1000.0))
    cells = np.argwhere(np.isnan(seen))
    assert small.predict(cells).min() >= 0
    assert small.value_transform_.name == name
    np.testing.assert_allclose(large.predict(cells), 1000 * small.predict(cells), rtol=0.02, atol=20 * float(np.nanmean(seen)))
    assert large.holdout_rmse_ == pytest.approx(1000 * small.holdout_rmse_, rel=0.02)


@NAMES
def test_holdout_error_is_in_the_units_of_the_data(name):
    rates, seen = counts(0)
    est = TensorCompleter(value_transform=name, **FAST).fit(seen)
    noise = np.sqrt(rates.mean())  # of Poisson counts
    assert 0.8 * noise < est.holdout_rmse_ < 3.0 * noise
    assert est.holdout_rmse_ in est.path_.holdout_rmse.tolist()


def test_weights_count():
    seen = counts(0)[1]
    obs = Observations.from_array(seen)
    even = TensorCompleter(value_transform="sqrt", **FAST).fit(obs.indices, obs.values, np.full(obs.size, 3.0))
    heavy = TensorCompleter(value_transform="sqrt", **FAST).fit(obs.indices, obs.values, np.where(obs.coords[0] < 5, 50.0, 1.0))
    plain = TensorCompleter(value_transform="sqrt", **FAST).fit(obs)
    cells = np.argwhere(np.isnan(seen))
    np.testing.assert_allclose(even.predict(cells), plain.predict(cells), rtol=1e-6)
    assert not np.allclose(heavy.predict(cells), plain.predict(cells), rtol=1e-2)


def test_any_seed_splits_both_searches_alike():
    seen = counts(1)[1]
    for seed in (None, 3, np.random.default_rng(3), np.random.SeedSequence(3), np.random.RandomState(3)):
        est = TensorCompleter(**{**FAST, "random_state": seed}).fit(seen)
        tried = set(est.path_["transform"])
        assert tried == {"none", "sqrt"} or (seed is None and tried == {"none"}), seed  # without a seed the split is anyone's


def test_negative_values_have_no_square_root():
    seen = np.array([[1.0, 2.0, -3.0], [4.0, np.nan, 6.0]])
    with pytest.raises(ValueError, match=r"value_transform='sqrt' needs values >= 0, but 1 are negative, the first -3 at \(0, 2\); pass"):
        TensorCompleter(value_transform="sqrt").fit(seen)
    with pytest.raises(ValueError, match="value_transform='cube' is not known; pass 'auto', None, 'sqrt' or 'log'"):
        TensorCompleter(value_transform="cube").fit(seen)


@pytest.mark.parametrize("transform", ["auto", "sqrt", "log"])
def test_constant_data_need_none(transform):
    est = TensorCompleter(value_transform=transform).fit(np.full((3, 4), 2.0))
    assert (est.value_transform_, est.predict([[2, 3]]).tolist()) == (Transform(), [2.0])


def test_a_slice_never_seen_is_filled_in_the_units_of_the_data():
    seen = counts(0)[1]
    seen[3] = np.nan
    with pytest.warns(UserWarning, match="filled from main effects"):
        est = TensorCompleter(value_transform="sqrt", **FAST).fit(seen)
    unseen = est.predict(np.argwhere(np.isnan(seen) & (np.arange(SHAPE[0]) == 3)[:, None, None]))
    assert 0.4 * np.nanmean(seen) < unseen.mean() < 1.5 * np.nanmean(seen)  # in square roots main effects are below the mean


@NAMES
def test_a_saved_model_brings_its_transform(name, tmp_path):
    seen = counts(0)[1]
    done = complete(seen, value_transform=name, **{**FAST, "effects": True})
    assert f"fitted to {done.transform.of_what}" in done.summary()
    done.save(tmp_path / "model.npz")
    with pytest.warns(UserWarning, match=rf"models transformed values \({name}\); Transform.load\(path\).inverse brings them back"):
        model = CPTensor.load(tmp_path / "model.npz")
    cells = np.argwhere(np.isnan(seen))
    transform = Transform.load(tmp_path / "model.npz")
    assert transform == done.transform
    np.testing.assert_allclose(transform.inverse(model.at(cells)), done.predict(cells), rtol=1e-5)
    np.testing.assert_array_equal(done.filled[np.isnan(seen)], done.predict(cells))


def test_a_model_without_transform_is_saved_as_ever(tmp_path):
    done = complete(planted((6, 5, 7), rank=1, share=0.8)[1], **FAST)
    done.save(tmp_path / "model.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CPTensor.load(tmp_path / "model.npz")
    assert Transform.load(tmp_path / "model.npz") == Transform()


def test_single_precision_and_huge_values_work():
    seen = counts(0)[1]
    cells = np.argwhere(np.isnan(seen))
    exact = TensorCompleter(value_transform="sqrt", **FAST).fit(seen).predict(cells)
    single = TensorCompleter(value_transform="sqrt", **FAST).fit(seen.astype(np.float32)).predict(cells)
    np.testing.assert_allclose(single, exact, rtol=0.05, atol=0.05 * float(np.nanmean(seen)))
    for transform in ("auto", "sqrt", "log"):
        est = TensorCompleter(value_transform=transform, **FAST).fit(1e200 * seen)
        assert np.isfinite(est.predict(cells)).all() and np.isfinite(est.holdout_rmse_)
