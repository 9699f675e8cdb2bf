"""`TensorCompleter` among scikit-learn's tools: its own checks, model selection, pipelines, copies.

Folds are shuffled: a table is often sorted, and an unshuffled fold takes whole slices away.
"""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.stats import uniform
from sklearn.base import clone, is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import rankless
from planted import planted
from rankless.completer import TensorCompleter
from rankless.tensors.observations import Observations

TRUTH, SEEN = planted((8, 7, 6), rank=2, share=0.7)
OBS = Observations.from_array(SEEN)
X, Y = OBS.indices, OBS.values
LONE: dict[str, Any] = {"experts": ["components"], "random_state": 0, "n_jobs": 1}
FIXED: dict[str, Any] = {"depth": 0.0, "penalty": 0.3, "effects": False, "noise": None, **LONE}
RAISE: Any = "raise"
FOLDS = KFold(3, shuffle=True, random_state=0)

pytestmark = pytest.mark.filterwarnings("ignore:.*no observed entry and:UserWarning")  # small random tables skip some


def completer(**options) -> Any:  # scikit-learn adds methods that a type checker cannot know
    return TensorCompleter(**{"shape": SEEN.shape, **FIXED, **options})


# --- the checks of scikit-learn -------------------------------------------------------------------

TOO_FEW = "its rows fall into fewer cells than a rank-one model has numbers, which is refused with the counts"
UNFIT = {
    "check_positive_only_tag_during_fit": "a negative coordinate is refused by naming the row, which 'Negative values in data' does not",
    "check_dtype_object": "values of dtype object are refused: what is no number should be looked at (pandas.to_numeric)",
    "check_sample_weight_equivalence_on_dense_data": "its X are fractions, which are no coordinates; see the test of weights below",
    "check_sample_weights_shape": TOO_FEW,
    "check_sample_weights_not_overwritten": TOO_FEW,
    "check_pipeline_consistency": TOO_FEW,
    "check_estimators_pickle": TOO_FEW,
    "check_regressors_no_decision_function": TOO_FEW,
}

AS_IS = TensorCompleter(max_rank=2, value_transform=None, duplicates="mean", **{**FIXED, "effects": True})


@parametrize_with_checks([AS_IS], expected_failed_checks=lambda estimator: UNFIT)
def test_checks(estimator, check):
    check(estimator)


def test_it_is_a_regressor_and_no_transformer():  # scikit-learn goes by an attribute `transform`, whatever it is
    assert is_regressor(AS_IS)
    assert not hasattr(AS_IS, "transform") and get_tags(AS_IS).transformer_tags is None


# --- what the checks cannot see -------------------------------------------------------------------


def test_a_row_of_weight_zero_was_not_observed_and_twice_is_weight_two():
    rng = np.random.default_rng(0)
    times = rng.integers(0, 4, size=len(Y))
    options = {"duplicates": "mean", "penalty": 0.01}  # the penalty is for weights of mean 1
    repeated = completer(**options).fit(np.repeat(X, times, axis=0), np.repeat(Y, times))
    weighted = completer(**options).fit(X, Y, times)
    np.testing.assert_allclose(repeated.predict(X), weighted.predict(X), rtol=1e-12, atol=1e-12)
    without = completer(**options).fit(X[times > 0], Y[times > 0])
    assert not np.allclose(without.predict(X), weighted.predict(X), atol=1e-4)
    with pytest.raises(ValueError, match="sample_weight is zero throughout"):
        completer().fit(X, Y, np.zeros(len(Y)))


def test_a_slice_of_weight_zero_is_still_a_slice():
    weights = np.where(X[:, 0] == 7, 0.0, 1.0)
    est = TensorCompleter(**FIXED).fit(X, Y, weights)
    assert est.shape_ == SEEN.shape
    assert np.isfinite(est.predict(X)).all()


def test_columns_of_a_table_name_the_modes():
    table = pd.DataFrame(X, columns=["station", "month", "hour"])
    est = completer(noise="hour", experts=["components", "draws"]).fit(table, Y)
    assert est.feature_names_in_.tolist() == ["station", "month", "hour"]
    assert est.noise_ in (2, None)
    np.testing.assert_array_equal(est.predict(table), completer(noise=2, experts=["components", "draws"]).fit(X, Y).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        est.predict(table.rename(columns={"hour": "minute"}))
    est.set_params(noise=None).fit(SEEN)
    assert not hasattr(est, "feature_names_in_")


def test_grid_search_over_shuffled_folds():
    grid = GridSearchCV(completer(), {"penalty": [0.3, 30.0]}, cv=FOLDS, error_score=RAISE).fit(X, Y)
    assert grid.best_params_ == {"penalty": 0.3}
    assert grid.best_score_ > 0.9
    np.testing.assert_array_equal(grid.predict(X), completer().fit(X, Y).predict(X))


def test_random_search_over_depth():
    search = RandomizedSearchCV(completer(), {"depth": uniform(0, 3)}, n_iter=3, cv=FOLDS, random_state=0, error_score=RAISE).fit(X, Y)
    assert 0 < search.best_params_["depth"] < 3
    assert search.best_score_ > 0.9


def test_unshuffled_folds_of_a_sorted_table_take_whole_slices_away():
    shuffled, sorted_ = (cross_val_score(completer(), X, Y, cv=cv, error_score=RAISE) for cv in (FOLDS, KFold(3)))
    assert shuffled.min() > 0.9
    assert sorted_.max() < 0.5


def test_folds_need_the_shape():
    last = X[:, 0] == 7
    est = TensorCompleter(**FIXED).fit(X[~last], Y[~last])
    with pytest.raises(ValueError, match=r"\(7, 0, 0\) lies outside shape \(7, 7, 6\); pass shape="):
        est.predict([[7, 0, 0]])
    assert np.isfinite(completer().fit(X[~last], Y[~last]).predict([[7, 0, 0]])).all()


def _through(write, read):
    def copied(est):
        stream = io.BytesIO()
        write(est, stream)
        stream.seek(0)
        return read(stream)

    return copied


COPIES = {"pickle": _through(pickle.dump, pickle.load), "joblib": _through(joblib.dump, joblib.load), "deepcopy": copy.deepcopy}


@pytest.fixture(scope="module")
def searched() -> TensorCompleter:
    """With all that a search may find."""
    return TensorCompleter(random_state=0, max_rank=3).fit(SEEN)


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_a_fitted_estimator_predicts_the_same_bits(searched, copied):
    cells, est = np.argwhere(np.ones(SEEN.shape, dtype=bool)), searched
    assert copied(est).predict(cells).tobytes() == est.predict(cells).tobytes()
    assert copied(est).path_.equals(est.path_)


def test_a_clone_fits_the_same_bits():
    est = completer().fit(X, Y)
    fresh: Any = clone(est)
    assert fresh.fit(X, Y).predict(X).tobytes() == est.predict(X).tobytes()


def test_a_pipeline_takes_labels():
    table = pd.DataFrame({"station": np.array(list("hbcdefga"))[X[:, 0]], "month": X[:, 1] + 1, "hour": X[:, 2] * 3})
    pipe = make_pipeline(OrdinalEncoder(), TensorCompleter(**FIXED))
    filled = pipe.fit(table, Y).predict(table.iloc[:5])
    codes = OrdinalEncoder().fit_transform(table).astype(int)
    np.testing.assert_array_equal(filled, TensorCompleter(**FIXED).fit(codes, Y).predict(codes[:5]))
    with pytest.raises(ValueError, match="Found unknown categories"):
        pipe.predict(pd.DataFrame({"station": ["z"], "month": [1], "hour": [0]}))
    fresh: Any = clone(pipe)
    named = fresh.set_output(transform="pandas").fit(table, Y)  # predictions are one column; the modes get their names
    assert named[-1].feature_names_in_.tolist() == ["station", "month", "hour"]
    np.testing.assert_array_equal(named.predict(table.iloc[:5]), filled)


def test_weights_are_routed():
    rng = np.random.default_rng(0)
    bad = rng.random(len(Y)) < 0.2
    noisy, weights = np.where(bad, Y + 5 * rng.normal(size=len(Y)), Y), np.where(bad, 1e-4, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        est = completer().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        routed = cross_val_score(est, X, noisy, cv=FOLDS, params={"sample_weight": weights}, error_score=RAISE)
    blind = cross_val_score(completer(), X, noisy, cv=FOLDS, error_score=RAISE)
    assert routed.min() > 0.9
    assert blind.max() < 0.5


def test_a_transformed_target_comes_back_in_its_units():
    est = TransformedTargetRegressor(completer(effects=True), func=np.log, inverse_func=np.exp).fit(X, np.exp(Y))
    np.testing.assert_allclose(est.predict(X), np.exp(completer(effects=True).fit(X, np.log(np.exp(Y))).predict(X)), rtol=1e-12)


def test_bags_of_entries_hold_some_twice():
    bags = BaggingRegressor(completer(duplicates="mean"), n_estimators=3, random_state=0).fit(X, Y)
    assert bags.score(X, Y) > 0.9
    with pytest.raises(ValueError, match="are given twice"):
        completer().fit(np.vstack([X, X[:1]]), np.append(Y, Y[0]))


def raw_table() -> tuple[pd.DataFrame, np.ndarray]:
    """Users (texts), days (dates) and a number, and a rating of each."""
    rng = np.random.default_rng(0)
    truth = 3 + rng.normal(size=(30, 1)) + rng.normal(size=12) + np.outer(rng.normal(size=30), rng.normal(size=12))
    user, day = np.nonzero(rng.random(truth.shape) < 0.7)
    table = pd.DataFrame({"user": [f"u{n}" for n in user], "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(day, "D")})
    return table, truth[user, day] + 0.1 * rng.normal(size=len(user))


def test_labels_are_what_their_numbers_are():
    table, y = raw_table()
    known = {**LONE, "experts": ["components", "neighbours"], "effort": "fast"}
    est: Any = TensorCompleter(**known).fit(table, y)
    obs = Observations.from_table(table.assign(y=y), ["user", "day"], "y")
    np.testing.assert_array_equal(est.labels_[0], obs.labels[0])
    assert est.feature_names_in_.tolist() == ["user", "day"] and est.shape_ == obs.shape
    coded = TensorCompleter(**known).fit(obs)
    places = [pd.Index(label).get_indexer(np.asarray(table[name])) for name, label in zip(table, obs.labels, strict=True)]
    np.testing.assert_array_equal(est.predict(table), coded.predict(np.column_stack(places)))
    objects = TensorCompleter(**known).fit(table.assign(day=table.day.dt.strftime("%Y-%m-%d")).to_numpy(), y)
    np.testing.assert_allclose(objects.predict(table.assign(day=table.day.dt.strftime("%Y-%m-%d")).to_numpy()), est.predict(table))
    assert TensorCompleter(**known).fit(X, Y).labels_ is None


def test_a_label_never_seen_gets_main_effects_and_a_caution():
    table, y = raw_table()
    est: Any = TensorCompleter(effects=True, **{**LONE, "experts": ["components", "neighbours"]}).fit(table, y)
    some = table.head(3).copy()
    some.loc[0, "user"] = "stranger"
    with pytest.warns(UserWarning, match="1 of 3 rows have a label that the fit did not see, such as user 'stranger'"):
        said = est.predict(some)
    np.testing.assert_array_equal(said[1:], est.predict(table.iloc[1:3]))
    effects, day = est.main_effects_, np.flatnonzero(est.labels_[1] == some.day.to_numpy()[0])[0]
    assert said[0] == pytest.approx(effects.mean + effects.effects[1][day])
    with pytest.warns(UserWarning, match="stranger"):
        lower, upper = est.predict_interval(some, 0.8)
    assert (upper[0] - lower[0] > upper[1:] - lower[1:]).all()
    with pytest.raises(ValueError, match="row 1 has no 'user'"):
        est.fit(table.assign(user=table.user.where(np.arange(len(table)) != 1)), y)
    with pytest.raises(ValueError, match=r"shape=.* is for coordinates"):
        TensorCompleter(shape=(30, 12)).fit(table, y)


@pytest.mark.filterwarnings("ignore:.*label that the fit did not see.*")
def test_a_raw_table_is_cross_validated_and_searched():
    table, y = raw_table()
    known = LONE
    said = np.asarray(cross_val_predict(TensorCompleter(**known), table, y, cv=KFold(3, shuffle=True, random_state=0)))
    assert np.corrcoef(said, y)[0, 1] > 0.9
    unshuffled = np.asarray(cross_val_predict(TensorCompleter(**known), table, y, cv=KFold(3)))  # whole users are left out
    assert np.isfinite(unshuffled).all()
    left_out = np.zeros(len(y), bool)  # all but the users at whom folds are cut, of whom a fit knows an entry or two
    for rest, fold in KFold(3).split(table):
        left_out[fold] = ~table.user.iloc[fold].isin(table.user.iloc[rest])
    assert left_out.mean() > 0.9 and np.corrcoef(unshuffled[left_out], y[left_out])[0, 1] > 0.3
    pipe = make_pipeline(TensorCompleter(**known))
    grid = {"tensorcompleter__max_rank": [1, 2]}
    found = GridSearchCV(pipe, grid, cv=KFold(3, shuffle=True, random_state=0), error_score=RAISE).fit(table, y)
    assert found.best_score_ > 0.8


def test_the_largest_of_a_slice():
    table, y = raw_table()
    done = rankless.complete(table.assign(rating=y), modes=["user", "day"], value="rating", effort="fast", **LONE)
    new = done.top({"user": "u3"}, 4, seen=False)
    given = set(table[table.user == "u3"].day)
    assert not given & set(new.day) and new.rating.is_monotonic_decreasing and (new.user == "u3").all()
    assert new.rating.max() <= y.max() and len(new) == min(4, 12 - len(given))
    every = done.top({"user": "u3"}, 12)
    assert set(every.columns) == {"user", "day", "rating", "observed"} and every.observed.sum() == len(given)
    best = every[every.observed].iloc[0]
    assert best.rating == y[(table.user == "u3") & (table.day == best.day)][0]
    least = done.top({"user": "u3"}, 1, largest=False)
    assert least.rating[0] == every.rating.min()
    for wrong, words in (({}, "leaves 2 modes free"), ({"user": "nobody"}, "no user 'nobody'"), ({"planet": 1}, "no mode 'planet'")):
        with pytest.raises(ValueError, match=words):
            done.top(wrong)
