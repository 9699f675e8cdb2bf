"""The public door: names and forms of the contract, what comes back for what went in. Bad input is in test_bad_input.py."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import r2_score

import rankless
from planted import hidden_error, planted
from rankless import completion
from rankless.completer import TensorCompleter
from rankless.completion import Completion, complete
from rankless.engine import found
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

TRUTH, SEEN = planted((10, 9, 8), rank=2, share=0.6)
OBS = Observations.from_array(SEEN)
X, Y = OBS.indices, OBS.values
CELLS = np.indices(TRUTH.shape).reshape(3, -1).T
LONE: dict[str, Any] = {"experts": ["components"], "random_state": 0}
FAST: dict[str, Any] = {"depth": 0.0, "penalty": 0.3, "effects": False, "noise": None, **LONE}  # nothing left to search


@pytest.fixture(scope="module")
def done() -> Completion:
    return complete(SEEN, random_state=0)


@pytest.fixture(scope="module")
def plain() -> Completion:
    """A fit of components alone, nothing searched."""
    return complete(SEEN, **FAST)


def holed(array: np.ndarray, *holes) -> np.ndarray:
    array = array.copy()
    for hole in holes:
        array[hole] = np.nan
    return array


# --- the contract ---------------------------------------------------------------------------------


def test_public_names():
    assert {"complete", "Completion", "TensorCompleter", "Observations", "CPTensor"} <= set(rankless.__all__)
    assert all(getattr(rankless, name) is not None for name in rankless.__all__)


def test_parameters_have_the_names_and_defaults_of_the_contract():
    assert TensorCompleter().get_params() == {
        "model": "cp",
        "depth": "auto",
        "penalty": "auto",
        "max_rank": "auto",
        "effects": "auto",
        "noise": "auto",
        "n_fits": "auto",
        "effort": "default",
        "time_limit": None,
        "experts": "auto",
        "local": "auto",
        "value_transform": "auto",
        "smooth": "auto",
        "loss": "gaussian",
        "nonnegative": False,
        "holdout": 0.1,
        "shape": None,
        "duplicates": "error",
        "side": None,
        "random_state": None,
        "n_jobs": None,
        "verbose": False,
    }


def test_nothing_is_chosen_and_the_holes_are_filled(done):
    assert done.rank == 2
    assert hidden_error(done.filled, TRUTH, SEEN) < 0.1
    assert done.depth == done.estimator.depth_ in (0.0, 1.0, 3.0)
    assert done.penalty == done.estimator.penalty_ > 0
    assert done.model is done.estimator.model_
    assert done.model.shape == TRUTH.shape
    assert isinstance(done.model, CPTensor)


def test_fitted_attributes_agree_with_each_other(done):
    est = done.estimator
    assert est.rank_ == est.model_.rank
    assert est.n_features_in_ == 3
    assert isinstance(est.effects_, bool)
    assert est.noise_ is None
    assert {"depth", "penalty", "effects", "rank", "holdout_rmse", "sweeps", "seconds"} <= set(est.path_.columns)
    chosen = est.path_[(est.path_.depth == est.depth_) & (est.path_.penalty == est.penalty_) & (est.path_.effects == est.effects_)]
    assert est.holdout_rmse_ in chosen.holdout_rmse.tolist()
    assert done.path is est.path_


def test_the_three_ways_in_are_one():
    everyone = {**FAST, "experts": "auto"}
    by_array, by_obs = TensorCompleter(**everyone).fit(SEEN), TensorCompleter(**everyone).fit(OBS)
    by_coordinates = TensorCompleter(shape=SEEN.shape, **everyone).fit(X[::-1], Y[::-1])
    assert by_array.predict(CELLS).tobytes() == by_obs.predict(CELLS).tobytes() == by_coordinates.predict(CELLS).tobytes()


def test_predict_is_effects_plus_components(done):
    est = done.estimator
    expected = est.model_.at(CELLS) + (est.main_effects_.at(CELLS) if est.effects_ else 0.0)
    np.testing.assert_allclose(est.predict(CELLS), expected)
    with_effects = TensorCompleter(**{**FAST, "effects": True}).fit(SEEN)
    np.testing.assert_allclose(with_effects.predict(CELLS), with_effects.main_effects_.at(CELLS) + with_effects.model_.at(CELLS))
    np.testing.assert_array_equal(done.predict(CELLS), est.predict(CELLS))


def test_score_is_r2(plain):
    est = plain.estimator
    assert est.score(X, Y) == r2_score(Y, est.predict(X))
    assert est.score(CELLS, TRUTH.ravel()) > 0.95


def test_fitting_twice_is_fitting_once(done):
    other = planted((6, 5, 7), rank=1, share=0.8, seed=5)[1]
    est = TensorCompleter(random_state=0).fit(other)
    again, once = est.fit(SEEN), done.estimator
    assert again is est
    assert again.predict(CELLS).tobytes() == once.predict(CELLS).tobytes()
    assert vars(again).keys() == vars(once).keys()
    assert again.n_features_in_ == 3
    est.fit(np.full((3, 4), 2.0))
    assert (est.rank_, est.effects_, est.predict([[2, 3]]).tolist()) == (0, True, [2.0])


def test_a_clone_has_the_parameters_and_nothing_fitted(plain):
    est = plain.estimator
    copy: TensorCompleter = clone(est)  # pyright: ignore[reportAssignmentType]
    assert copy.get_params() == est.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(CELLS)
    assert copy.set_params(penalty=2.0).penalty == 2.0
    assert copy.fit(SEEN).penalty_ == 2.0


def test_what_is_fixed_is_what_is_found():
    est = TensorCompleter(depth=0.0, penalty=0.7, max_rank=1, effects=True, noise=None, random_state=0).fit(SEEN)
    assert (est.depth_, est.penalty_, est.rank_, est.effects_, est.noise_) == (0.0, 0.7, 1, True, None)


# --- symmetries -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_same_seed_same_bits(done, n_jobs):
    again = complete(SEEN, random_state=0, n_jobs=n_jobs)
    assert again.filled.tobytes() == done.filled.tobytes()
    assert again.estimator.path_.drop(columns="seconds").equals(done.estimator.path_.drop(columns="seconds"))


@pytest.mark.parametrize("exponent", [-600, -41, 41, 600])
def test_scaling_by_a_power_of_two_scales_every_bit(done, exponent):
    scaled = complete(np.ldexp(SEEN, exponent), random_state=0)
    assert scaled.filled.tobytes() == np.ldexp(done.filled, exponent).tobytes()
    assert (scaled.rank, scaled.depth, scaled.penalty) == (done.rank, done.depth, done.penalty)
    assert scaled.estimator.holdout_rmse_ == np.ldexp(done.estimator.holdout_rmse_, exponent)
    np.testing.assert_array_equal(scaled.path.holdout_rmse, np.ldexp(done.path.holdout_rmse, exponent))


@pytest.mark.parametrize("factor", [3.0, 1e-5, 7e8])
def test_scaling_the_data_scales_the_answer(plain, factor):
    scaled = factor * plain.predict(CELLS)
    np.testing.assert_allclose(TensorCompleter(**FAST).fit(SEEN * factor).predict(CELLS), scaled, rtol=1e-8, atol=1e-8 * factor)


def test_the_size_of_the_weights_does_not_matter_but_their_differences_do():
    rng = np.random.default_rng(0)
    noisy, weights = Y.copy(), np.ones(len(Y))
    bad = rng.random(len(Y)) < 0.2
    noisy[bad] += 5 * rng.normal(size=bad.sum())
    weights[bad] = 1e-4

    def error(sample_weight) -> float:
        est = TensorCompleter(shape=SEEN.shape, **{**FAST, "experts": "auto"}).fit(X, noisy, sample_weight)
        return hidden_error(est.predict(CELLS).reshape(SEEN.shape), TRUTH, SEEN)

    told = error(weights)
    assert all(error(size * weights) == told for size in (2.0**-40, 2.0**40))
    assert told < 0.5 * error(None)


def test_float32_is_the_same_fit_to_its_precision(done):
    single = complete(SEEN.astype(np.float32), random_state=0)
    assert single.filled.dtype == np.float32
    assert hidden_error(single.filled, TRUTH, SEEN) < 1.2 * hidden_error(done.filled, TRUTH, SEEN)


@pytest.mark.parametrize("exponent", [-100, 100])
def test_float32_squares_may_overflow(exponent):
    single = complete(np.ldexp(SEEN.astype(np.float32), exponent), **FAST)
    assert hidden_error(np.ldexp(single.filled.astype(float), -exponent), TRUTH, SEEN) < 0.2


# --- Completion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_observed_cells_come_back_bit_for_bit(dtype):
    array = SEEN.astype(dtype)
    filled = complete(array, **FAST).filled
    assert filled.dtype == dtype
    assert filled.shape == array.shape
    assert np.isfinite(filled).all()
    seen = ~np.isnan(array)
    assert filled[seen].tobytes() == array[seen].tobytes()
    assert np.isnan(array).any(), "what came in is left alone"


def test_the_array_is_filled_with_the_predictions_block_by_block(plain, monkeypatch):
    whole = plain.filled
    monkeypatch.setattr(completion, "_CELLS_AT_ONCE", 7)
    np.testing.assert_array_equal(plain.array(), whole)
    hidden = np.isnan(SEEN)
    np.testing.assert_array_equal(whole[hidden], plain.predict(np.argwhere(hidden)))


def test_a_table_comes_back_whole_with_its_labels(plain):
    table = Observations.from_array(
        SEEN,
        modes=["station", "month", "hour"],
        labels=[list("abcdefghij"), [f"m{i}" for i in range(9)], np.arange(8) * 3],
        value_name="rain",
    ).to_table()
    shuffled = table.sample(frac=1, random_state=0)
    done = complete(shuffled, modes=["station", "month", "hour"], value="rain", **FAST)
    assert list(done.filled.columns) == ["station", "month", "hour", "rain"]
    assert len(done.filled) == SEEN.size
    merged = done.filled.merge(table, on=["station", "month", "hour"], suffixes=("", "_seen"))
    np.testing.assert_array_equal(merged.rain, merged.rain_seen)
    cube = done.filled.rain.to_numpy().reshape(SEEN.shape)
    np.testing.assert_array_equal(cube, plain.filled)
    assert done.filled.station.tolist()[:: 9 * 8] == list("abcdefghij")


def test_the_long_table_says_what_was_observed(done):
    table = done.table()
    assert list(table.columns) == ["mode_0", "mode_1", "mode_2", "value", "lower", "upper", "observed"]
    np.testing.assert_array_equal(table.observed, ~np.isnan(SEEN).ravel())
    np.testing.assert_array_equal(table.value, done.filled.ravel())
    np.testing.assert_array_equal(table[["mode_0", "mode_1", "mode_2"]].to_numpy(), CELLS)


@pytest.mark.parametrize(("modes", "value"), [(["observed", "b"], "y"), (["a", "b"], "observed")])
def test_a_column_called_observed_is_not_lost(modes, value):
    array = holed(np.outer(np.arange(1.0, 9.0), np.arange(2.0, 9.0)), (2, 3))
    table = Observations.from_array(array, modes=modes, value_name=value).to_table()
    done = complete(table, modes=modes, value=value, **FAST)
    assert list(done.table().columns) == [*modes, value, "lower", "upper", "was_observed"]
    assert done.table().was_observed.sum() == 55


def test_masked_cells_are_holes(plain):
    hidden = np.isnan(SEEN)
    masked = np.ma.MaskedArray(np.where(hidden, 1e6, SEEN), hidden)
    np.testing.assert_array_equal(complete(masked, **FAST).filled, plain.filled)


def test_the_summary_says_what_was_found(done):
    text = done.summary()
    assert f"{OBS.size} of 720 cells observed; the other {720 - OBS.size} are filled" in text
    assert f"rank 2 found, depth {done.depth:g}" in text
    assert "error on held-out entries" in text
    assert repr(done) == f"Completion(shape=(10, 9, 8), rank=2, depth={done.depth:g})"


@pytest.mark.parametrize("effects", [False, True])
@pytest.mark.parametrize("unseen", [False, True])
def test_a_saved_model_predicts_what_the_completion_does(tmp_path, effects, unseen):
    array = holed(SEEN + 3, np.s_[2], np.s_[:, :, 5]) if unseen else SEEN + 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        done = complete(array, **{**FAST, "effects": effects, "experts": []})  # what stands beside components is no CP tensor
    done.save(tmp_path / "model.npz")
    loaded = CPTensor.load(tmp_path / "model.npz")
    np.testing.assert_allclose(loaded.at(CELLS), done.predict(CELLS), atol=1e-12)


def test_a_constant_is_saved_too(tmp_path):
    done = complete(holed(np.full((3, 4), 2.5), (1, 1)))
    done.save(tmp_path / "model.npz")
    np.testing.assert_array_equal(CPTensor.load(tmp_path / "model.npz").full(), np.full((3, 4), 2.5))
    assert "all equal to 2.5: filled with it, rank 0" in done.summary()


# --- slices never seen ----------------------------------------------------------------------------


@pytest.mark.parametrize("effects", [False, True, "auto"])
def test_a_slice_never_seen_is_its_main_effects_with_a_warning_by_label(effects):
    array = holed(SEEN + np.arange(8) * 2.0, np.s_[4])
    obs = Observations.from_array(array, modes=["sensor", "day", "hour"], labels=[[f"s{i}" for i in range(10)], None, None])
    with pytest.warns(UserWarning, match=r"1 slice of sensor has no observed entry and is filled from main effects: s4"):
        done = complete(obs, **{**FAST, "effects": effects})
    est = done.estimator
    new = CELLS[CELLS[:, 0] == 4]
    np.testing.assert_array_equal(est.predict(new), est.main_effects_.at(new))
    assert est.main_effects_.effects[0][4] == 0
    assert np.corrcoef(est.predict(new), new[:, 2])[0, 1] > 0.9, "the hours' effects are known"
    assert "1 slice of sensor" in done.summary()


def waves(*, noise: float = 0.05) -> np.ndarray:
    """Sensors x days x hours, three components whose days are slow waves."""
    rng, days = np.random.default_rng(0), np.arange(60)
    slow = np.stack([np.sin(days / 9), np.cos(days / 14), 1 + days / 60], axis=1)
    whole = np.einsum("ar,br,cr->abc", rng.normal(size=(14, 3)), slow, rng.normal(size=(10, 3)))
    return whole / whole.std() + noise * rng.normal(size=whole.shape)


def test_slices_never_seen_are_looked_at_together_as_they_are_one_by_one(monkeypatch):
    class EveryThird:
        """Fills cells of every third slice of the second mode, but for those in odd rows of it."""

        def at(self, indices: np.ndarray) -> np.ndarray:
            asked.append(len(indices))
            return np.where((indices[:, 1] % 3 == 0) & (indices[:, 0] % 2 == 0), 1.0, np.nan)

    tree: Any = EveryThird()
    asked, unseen = [], np.arange(100) % 5 < 3
    expected = unseen & (np.arange(100) % 3 == 0)
    monkeypatch.setattr(found, "PROBED_AT_ONCE", 16)
    np.testing.assert_array_equal(found.known_in(tree, 1, unseen, (8, 100)), expected)
    assert asked == [16 * found.PROBED] * 3 + [12 * found.PROBED]
    assert not found.known_in(tree, 1, np.zeros(100, bool), (8, 100)).any()


def test_days_never_seen_lie_between_their_neighbours_where_days_are_smooth():
    truth = waves()
    array = holed(truth, np.s_[:, 20], np.s_[:, 41])
    obs = Observations.from_array(array, modes=["sensor", "day", "hour"])
    with pytest.warns(UserWarning, match=r"2 slices of day have no observed entry and are filled from their neighbours: 20, 41"):
        done = complete(obs, smooth=["day"], effects=False, effort="fast", **LONE)
    assert done.estimator.smooth_[1] > 0
    assert done.estimator.smooth_[0] == done.estimator.smooth_[2] == 0
    gap = np.isnan(array)
    assert np.sqrt(np.mean((done.filled - truth)[gap] ** 2)) < 0.25
    assert "smooth along day" in done.summary()
    assert "filled from their neighbours" in done.summary()


def test_where_whole_fibres_are_missing_the_error_said_is_that_of_whole_fibres():
    """Three in five days of a sensor gone, a noisy tensor: smoothness is found without being asked for, and pays."""
    truth = waves(noise=0.3)
    gone = np.random.default_rng(1).random((14, 60, 1)) < 0.6
    gap = np.broadcast_to(gone, truth.shape)
    array = np.where(gap, np.nan, truth)
    smooth, plain = (complete(array, smooth=how, **LONE) for how in ("auto", None))
    errors = [np.sqrt(np.mean((done.filled - truth)[gap] ** 2)) for done in (smooth, plain)]
    assert smooth.estimator.holdout_rmse_ == pytest.approx(errors[0], rel=0.3)
    assert smooth.estimator.smooth_[1] > 0
    assert errors[0] < errors[1]
    assert not any(plain.estimator.smooth_)


# --- options --------------------------------------------------------------------------------------


def test_the_search_reports_while_it_runs():
    said = []
    done = complete(SEEN, callback=said.append, **FAST)
    assert said[-1].fits == len(done.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": -1}, r"depth=-1 is not a number >= 0"),
        ({"depth": "deep"}, r"depth='deep' is not a number >= 0"),
        ({"penalty": 0.0}, r"penalty=0\.0 is not a positive number; pass penalty='auto'"),
        ({"penalty": float("inf")}, r"penalty=inf is not a positive number"),
        ({"max_rank": 0}, r"max_rank=0 is not a whole number >= 1; pass max_rank='auto'"),
        ({"max_rank": 2.5}, r"max_rank=2\.5 is not a whole number"),
        ({"effects": "yes"}, r"effects='yes' is not known; pass 'auto', True or False"),
        ({"noise": "hour"}, r"no mode 'hour'; the modes are 'mode_0', 'mode_1', 'mode_2'"),
        ({"noise": 3}, r"no mode 3; the modes are"),
        ({"noise": False}, r"noise=False is not known; pass 'auto', None"),
        ({"smooth": "hour"}, r"smooth='hour' is not known; pass 'auto', None, or a list of modes: smooth=\['hour'\]"),
        ({"smooth": ["hour"]}, r"no mode 'hour'; the modes are"),
        ({"loss": "cauchy"}, r"loss='cauchy' is not known; pass loss='gaussian', loss='huber'"),
        ({"holdout": 0}, r"holdout=0 is not a share between 0 and 1; pass holdout=0\.1"),
        ({"holdout": 1.5}, r"holdout=1\.5 is not a share"),
        ({"n_jobs": 0}, r"n_jobs=0 is not a number of threads; pass n_jobs=1"),
        ({"shape": (5, 5, 5)}, r"lies outside shape \(5, 5, 5\)"),
    ],
    ids=lambda case: str(case) if isinstance(case, dict) else "",
)
def test_a_wrong_option_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        TensorCompleter(**options).fit(X, Y)


def test_weights_and_values_go_with_coordinates():
    with pytest.raises(ValueError, match=r"sample_weight goes with coordinates; pass fit\(X, y, sample_weight\)"):
        TensorCompleter().fit(SEEN, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match=r"Observations carry their values and weights"):
        TensorCompleter().fit(OBS, Y)


def test_coordinates_outside_the_shape_are_named(plain):
    est = plain.estimator
    with pytest.raises(ValueError, match=r"indices\[1\] = \(0, 9, 0\) lies outside shape \(10, 9, 8\)"):
        est.predict([[0, 0, 0], [0, 9, 0]])
    with pytest.raises(ValueError, match="X has 2 features, but TensorCompleter is expecting 3 features"):
        est.predict([[0, 0]])


def test_a_table_needs_its_roles():
    with pytest.raises(ValueError, match=r"a table needs its roles named; it has 'a', 'b', 'y': pass modes=\[\.\.\.\] and value='\.\.\.'"):
        complete(pd.DataFrame({"a": [0, 1], "b": [0, 1], "y": [1.0, 2.0]}))


def test_a_random_state_of_either_library_is_a_seed():
    new, old = np.random.default_rng(3), np.random.RandomState(3)
    options = {**FAST, "penalty": "auto"}
    bits = [
        TensorCompleter(**{**options, "random_state": state}).fit(SEEN).predict(CELLS).tobytes()
        for state in (new, np.random.default_rng(3), old, np.random.RandomState(3))
    ]
    assert bits[0] == bits[1]
    assert bits[2] == bits[3]
