"""New slices folded in: the row of alternating least squares, by other means; and what a person sees of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import rankless
from rankless.als.entries import Entries
from rankless.als.solver import Problem, State, update_mode
from rankless.answer.tree import Placed, leaves
from rankless.experts.components import Components
from rankless.experts.linked import Linked
from rankless.later.fold import _normal_row, fold, folded_effects, larger_frame, ridge_rows, state_of
from rankless.later.linked import loss_row
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

QUICK: dict[str, Any] = {"random_state": 0, "n_jobs": 1, "experts": ["components", "neighbours"]}
pytestmark = pytest.mark.filterwarnings("ignore:.*no observed entr.*")


def ratings(users: int, items: int, seed: int = 0, share: float = 0.35, noise: float = 0.3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All ratings of a rank-2 taste with biases, and those that were given."""
    rng = np.random.default_rng(seed)
    truth = 3.5 + 0.4 * rng.normal(size=(users, 1)) + 0.4 * rng.normal(size=items)
    truth = truth + rng.normal(size=(users, 2)) @ rng.normal(size=(2, items)) * 0.8
    user, item = (a.ravel() for a in np.indices(truth.shape))
    table = pd.DataFrame({"user": [f"u{n:03d}" for n in user], "item": [f"i{n:03d}" for n in item], "rating": truth.ravel()})
    table["rating"] += noise * rng.normal(size=len(table))
    given: Any = table[rng.random(len(table)) < share]
    return table, given


@pytest.fixture(scope="module")
def rated():
    table, given = ratings(120, 60)
    later = [f"u{n:03d}" for n in range(100, 120)]
    done = rankless.complete(given[~given.user.isin(later)], modes=["user", "item"], value="rating", **QUICK)
    new = table[table.user.isin(later)].sample(frac=1, random_state=1)
    return done, new


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(3)
    factors = [rng.normal(size=(d, 2)) for d in (16, 12, 10)]
    truth = np.einsum("ar,br,cr->abc", *factors) + rng.normal(size=(16, 1, 1))
    seen = np.where(rng.random(truth.shape) < 0.5, truth + 0.1 * rng.normal(size=truth.shape), np.nan)
    return rankless.complete(seen, **QUICK), seen, truth


def components_of(done) -> Components:
    return next(leaf for leaf, _, _ in leaves(done.estimator._answer.found.tree) if isinstance(leaf, Components))


def test_a_folded_row_solves_the_normal_equations(planted):
    done, _seen, _ = planted
    leaf, mode = components_of(done), 1
    rng = np.random.default_rng(0)
    obs = done.estimator._answer.near_one
    more = Observations.from_array(np.where(rng.random((16, 2, 10)) < 0.3, rng.normal(size=(16, 2, 10)), np.nan))
    coords = np.concatenate([obs.coords, more.coords + np.array([[0], [12], [0]], np.int32)], axis=1)
    whole = Observations.from_indices(coords.T, np.concatenate([obs.values, more.values]), shape=(16, 14, 10))
    place = Placed(mode, np.r_[np.arange(12), -1, -1])
    found = fold(leaf, whole, place, None)  # pyright: ignore[reportArgumentType]
    assert isinstance(found, Components)
    old, point, frame = state_of(leaf), leaf.point, larger_frame(leaf.point.frame, whole, place)
    units = replace(frame, offset=None).to_units(whole)
    k, a, c = point.depth, old.factor(0), old.factor(2)
    norms = np.linalg.norm(old.factor(1), axis=0)
    for row in (12, 13):
        mine = units.coords[1] == row
        z = a[units.coords[0][mine]] * c[units.coords[2][mine]]
        w = np.ones(mine.sum()) if units.weights is None else units.weights[mine]
        left = z.T @ (w[:, None] * z) + leaf.guard * (a.T @ a) * (c.T @ c) + np.diag(point.penalty * norms ** (-2 * k / (k + 1)))
        wanted = np.linalg.solve(left, z.T @ (w * units.values[mine]))
        np.testing.assert_allclose(found.point.state.factor(1)[row], wanted, rtol=1e-8)
    np.testing.assert_array_equal(found.model.factors[1][:12], leaf.model.factors[1])


@pytest.mark.parametrize("smooth", [0.0, 2.0])
def test_a_folded_row_is_what_the_kernel_of_a_sweep_gives(smooth):
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(9, 7))
    obs = Observations.from_array(np.where(rng.random(truth.shape) < 0.8, truth, np.nan))
    state = State(rng.normal(size=(16, 3)), np.array([0, 9, 16]))
    state.factor(0)[8] = 0.0
    problem = Problem(2.0, 0.7, guard=0.1, smooth=(smooth, 0.0))
    norms, (a, b) = state.norms(problem.smooth), (state.factor(0).copy(), state.factor(1).copy())
    ridge = problem.penalty * norms[0] ** (-2 * 2.0 / 3.0)
    mine = ridge_rows([a, b], 0, obs, np.array([8]), ridge, 0.1 * b.T @ b, ridge * smooth if smooth else None)
    entries = Entries(obs)
    with Workers(1) as workers:
        update_mode(entries, state, entries.modes[0], problem, workers, measure=False)
    if smooth:  # the kernel moves even rows first and the last row is one; its neighbour then still stood as before
        assert state.factor(0).shape[0] % 2
    np.testing.assert_allclose(mine[0], state.factor(0)[8], rtol=1e-9)


def test_a_slice_that_was_fitted_is_folded_in_to_nearly_what_it_was(planted):
    done, seen, truth = planted
    more = done.extend(seen[:, 3:4], along=1)
    assert more.observations.shape == (16, 13, 10)
    again, was = more.array()[:, 12], done.array()[:, 3]
    assert np.sqrt(np.mean((again - was) ** 2)) < 0.1 * truth.std()
    np.testing.assert_array_equal(more.array()[:, :12], done.array())


def test_ten_ratings_beat_the_means_of_items(rated):
    done, new = rated
    given = new.groupby("user").head(10)
    rest = new.drop(given.index)
    more = done.extend(given)
    known = done.given.template
    items = known.groupby("item").rating.mean()
    error = np.sqrt(np.mean((more.predict(rest[["user", "item"]]) - rest.rating) ** 2))
    means = np.sqrt(np.mean((items[rest.item].to_numpy() - rest.rating) ** 2))
    assert error < 0.6 * means
    np.testing.assert_array_equal(more.predict(known[["user", "item"]]), done.predict(known[["user", "item"]]))
    assert more.observations.shape == (120, 60) and done.observations.shape == (100, 60)
    assert len(more.filled) == 120 * 60


def test_intervals_of_new_slices_cover_and_are_wider_with_few_entries(rated):
    done, new = rated
    widths, covered = {}, {}
    for count in (2, 12):
        given = new.groupby("user").head(count)
        rest = new.drop(new.groupby("user").head(12).index)
        lower, upper = done.extend(given).predict_interval(rest[["user", "item"]], 0.8)
        widths[count] = np.mean(upper - lower)
        covered[count] = np.mean((lower <= rest.rating) & (rest.rating <= upper))
    assert widths[2] > 1.2 * widths[12]
    assert all(0.7 < share < 0.9 for share in covered.values()), covered
    lower, upper = done.interval(0.8)
    assert np.median((upper - lower)[upper > lower]) < widths[12]


def test_a_new_slice_without_entries_gets_main_effects_and_one_that_is_not_there_is_named(rated):
    done, new = rated
    empty = pd.DataFrame({"user": ["newcomer"], "item": ["i003"], "rating": [np.nan]})
    more = done.extend(pd.concat([new.groupby("user").head(5), empty]))
    effects = more.estimator.main_effects_
    cell = more._inside([("newcomer", "i007")])
    assert more.predict([("newcomer", "i007")]) == pytest.approx(effects.at(cell))
    with pytest.raises(ValueError, match=r"no user 'stranger'; .*done\.extend"):
        more.predict([("stranger", "i007")])


def test_what_does_not_go_together_is_said(rated):
    done, new = rated
    with pytest.raises(ValueError, match="no new slice of user, item"):
        done.extend(done.given.template.head(5))
    with pytest.raises(ValueError, match="several modes"):
        done.extend(pd.DataFrame({"user": ["x"], "item": ["y"], "rating": [3.0]}))
    with pytest.raises(ValueError, match="no column 'rating'"):
        done.extend(new[["user", "item"]])


def test_effects_of_new_slices_shrink_as_the_others_did():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(40, 1)) + rng.normal(size=15) + 0.5 * rng.normal(size=(40, 15))
    obs = Observations.from_array(array)
    fitted = MainEffects.fit(obs)
    larger = Observations.from_array(np.concatenate([array, array[:1]]))
    found = folded_effects(fitted, larger, Placed(0, np.r_[np.arange(40), -1]))
    assert found.effects[0][40] == pytest.approx(fitted.effects[0][0], rel=1e-3)  # the same entries, the same effect
    few = np.full((1, 15), np.nan)
    few[0, 0] = array[0, 0]
    found = folded_effects(fitted, Observations.from_array(np.concatenate([array, few])), Placed(0, np.r_[np.arange(40), -1]))
    left = array[0, 0] - fitted.mean - fitted.effects[1][0]
    assert 0 < found.effects[0][40] / left < 0.9


def test_a_row_of_a_mean_of_draws_is_conditioned_on_its_entries():
    rng = np.random.default_rng(0)
    rank, slices, n = 5, 8, 6
    design, values, weights = rng.normal(size=(n, rank)), rng.normal(size=n), rng.uniform(0.5, 2, n)
    mean, loose, tight, noise = rng.normal(size=rank), rng.uniform(0.1, 1, rank), rng.normal(size=(slices, rank)), 0.3
    prior = np.linalg.inv(np.diag(loose) + tight.T @ tight)  # in precisions: the other way round
    precision = prior + design.T @ (weights[:, None] * design) / noise
    wanted = np.linalg.solve(precision, prior @ mean + design.T @ (weights * values) / noise)
    np.testing.assert_allclose(_normal_row(design, values, weights, mean, loose, tight, noise), wanted, rtol=1e-9)


def test_draws_are_folded_in_too():
    table, given = ratings(90, 50, seed=5, share=0.2, noise=0.6)
    later = [f"u{n:03d}" for n in range(75, 90)]
    done = rankless.complete(
        given[~given.user.isin(later)], modes=["user", "item"], value="rating", random_state=0, n_jobs=1, experts=["components", "draws"]
    )
    assert done.estimator.drawn_ is not None
    new = table[table.user.isin(later)].sample(frac=1, random_state=1)
    first = new.groupby("user").head(15)
    rest = new.drop(first.index)
    more = done.extend(first)
    effects = np.sqrt(np.mean((more.estimator.main_effects_.at(more._inside(rest[["user", "item"]])) - rest.rating) ** 2))
    assert np.sqrt(np.mean((more.predict(rest[["user", "item"]]) - rest.rating) ** 2)) < 0.9 * effects


@pytest.mark.parametrize("loss", ["poisson", "nonnegative"])
def test_rows_of_other_losses_minimise_them(loss):
    rng = np.random.default_rng(0)
    a, b = rng.gamma(1, 1, (30, 2)), rng.gamma(1, 1, (20, 2))
    mean = 3 * a @ b.T
    array = rng.poisson(mean).astype(float)
    options: dict[str, Any] = {"loss": "poisson"} if loss == "poisson" else {"nonnegative": True}
    done = rankless.complete(np.where(rng.random(array.shape) < 0.8, array, np.nan)[:25], random_state=0, n_jobs=1, **options)
    assert done.estimator._answer is not None
    found = done.estimator._answer.found.tree
    assert isinstance(found, Linked)
    z, y = found.state.factor(1), array[26] / found.units.scale
    ridge, offset = np.full(z.shape[1], 0.7), np.zeros(20)
    positive = loss == "nonnegative"
    mine = loss_row(found.units, z, offset, y, np.ones(20), ridge, 0.01 * z.T @ z, positive)

    def objective(u):
        return found.units.loss.value(z @ u, y).sum() + 0.5 * u @ (ridge * u) + 0.005 * np.sum((z @ u) ** 2)

    bounds = [(0, None)] * len(mine) if positive else None
    best = minimize(objective, np.full(len(mine), 0.1), bounds=bounds, tol=1e-12)
    assert objective(mine) <= best.fun * (1 + 1e-6) + 1e-9
    more = done.extend(array[25:], along=0)
    assert more.array().shape == (30, 20)
    hidden = np.full((5, 20), np.nan)
    hidden[:, ::2] = array[25:, ::2]
    said = done.extend(hidden, along=0).array()[25:, 1::2]
    truth, usual = mean[25:, 1::2], array[:25, 1::2].mean(axis=0)
    assert np.mean((said - truth) ** 2) < 0.5 * np.mean((usual - truth) ** 2)
    lower, upper = done.extend(hidden, along=0).predict_interval([[26, 1], [3, 3]], 0.8)
    assert (lower < upper).any() and (not positive or lower.shape == (2,))


# --- kinds ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def days():
    """Days x sensors, the last ten days to come later."""
    rng = np.random.default_rng(0)
    day = np.arange(70)
    array = np.outer(np.sin(day / 9), rng.normal(size=8)) + np.outer(np.cos(day / 5), rng.normal(size=8)) + 5 * rng.normal(size=8)
    array += 0.1 * rng.normal(size=array.shape)
    holes = rng.random(array.shape) < 0.2
    holes[-1, :4] = True
    return np.where(holes, np.nan, array), array, pd.date_range("2020-01-01", periods=70), list("abcdefgh")


def test_rows_and_columns_of_a_wide_table(days):
    seen, truth, when, names = days
    table = pd.DataFrame(seen, index=pd.Index(when, name="day"), columns=pd.Index(names, name="sensor"))
    done = rankless.complete(table.iloc[:60], wide=True, **QUICK)
    more = done.extend(table.iloc[60:])
    assert isinstance(more.filled, pd.DataFrame) and more.filled.index.equals(table.index) and list(more.filled.columns) == names
    np.testing.assert_array_equal(more.filled.iloc[:60], done.filled)
    assert not more.filled.isna().any().any()
    assert np.abs(more.filled.iloc[60:].to_numpy() - truth[60:]).mean() < 0.5
    done = rankless.complete(table.iloc[:, :6], wide=True, **QUICK)
    more = done.extend(table.iloc[:, 6:])
    assert list(more.filled.columns) == names and np.abs(more.filled.to_numpy() - truth).mean() < 0.5


def test_dates_of_a_long_table_come_in_order(days):
    seen, _, when, names = days
    stacked: Any = pd.DataFrame(seen, index=pd.Index(when, name="day"), columns=pd.Index(names, name="sensor")).stack()
    long = stacked.rename("x").reset_index()
    middle = (long.day >= when[30]) & (long.day < when[34])
    done = rankless.complete(long[~middle], modes=["day", "sensor"], value="x", **QUICK)
    later = long[middle].assign(day=lambda t: t.day.dt.strftime("%Y-%m-%d"))  # spoken otherwise
    more = done.extend(later.assign(day=pd.to_datetime(later.day)))
    assert (more.observations.labels[0] == when.to_numpy()).all()
    assert more.filled.day.dtype == long.day.dtype and len(more.filled) == 70 * 8
    known = long[~middle][["day", "sensor"]]
    np.testing.assert_array_equal(more.predict(known), done.predict(known))
    score: Any = more.score(by="day")
    assert score["entries"].sum() > 0


def test_labelled_arrays_and_sets(days):
    xr = pytest.importorskip("xarray")
    seen, truth, when, names = days
    array = xr.DataArray(seen, dims=("day", "sensor"), coords={"day": when, "sensor": names}, name="x", attrs={"units": "K"})
    done = rankless.complete(array[:60], **QUICK)
    more = done.extend(array[60:].transpose("sensor", "day"))
    assert more.filled.dims == array.dims and more.filled.attrs == array.attrs and (more.filled.day == array.day).all()
    np.testing.assert_array_equal(more.filled[:60], done.filled)
    assert np.abs(more.filled.values - truth).mean() < 0.5
    other = np.where(np.roll(np.isnan(seen), 1, axis=1), np.nan, truth)
    both = xr.Dataset({"x": array, "y": 100 + 50 * array.copy(data=other)})
    done = rankless.complete(both.isel(day=slice(60)), **QUICK)
    more = done.extend(both.isel(day=slice(60, None)))
    assert set(more.filled.data_vars) == {"x", "y"} and more.filled.sizes["day"] == 70
    assert not more.filled["y"].isnull().any()
    assert np.abs(more.filled["y"].values - 100 - 50 * truth)[60:].mean() < 0.1 * 50 * truth.std()  # in its unit in new days too


def test_other_kinds(days):
    seen, _truth, when, names = days
    done = rankless.complete(np.ma.masked_invalid(seen[:60]), **QUICK)
    more = done.extend(np.ma.masked_invalid(seen[60:]))
    assert isinstance(more.filled, np.ma.MaskedArray) and more.filled.shape == seen.shape
    stacked: Any = pd.DataFrame(seen, index=pd.Index(when, name="day"), columns=pd.Index(names, name="sensor")).stack()
    series = stacked.rename("x")
    done = rankless.complete(series[series.index.get_level_values("day") < when[60]], **QUICK)
    more = done.extend(series[series.index.get_level_values("day") >= when[60]])
    assert isinstance(more.filled, pd.Series) and more.filled.index.names == ["day", "sensor"] and len(more.filled) == 560
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"day": np.repeat(np.arange(70), 8), "sensor": names * 70, "x": seen.ravel()}).with_columns(
        polars.col("x").fill_nan(None)
    )
    done = rankless.complete(frame.filter(polars.col("day") < 60), modes=["day", "sensor"], value="x", **QUICK)
    more = done.extend(frame.filter(polars.col("day") >= 60))
    assert isinstance(more.filled, polars.DataFrame) and len(more.filled) == 560


def test_extended_twice_and_fitted_anew(days):
    seen, truth, *_ = days
    done = rankless.complete(seen[:50, :7], **QUICK)
    more = done.extend(seen[50:, :7], along=0).extend(seen[:, 7:], along=1)
    assert more.array().shape == seen.shape and np.abs(more.array() - truth).mean() < 0.5
    np.testing.assert_array_equal(more.array()[:50, :7], done.array())
    slices: Any = more.slices()
    assert (slices.query("mode == 'mode_1'")["observed"] > 0).all()
    assert more.summary() and more.components() is not None
    again = more.estimator.fit(seen)
    assert again.predict([[0, 0]]).shape == (1,)
