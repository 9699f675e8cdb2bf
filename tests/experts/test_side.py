"""What is known of slices: kriging is a Gaussian process, features are ridge regression, and cold slices are filled from both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import rankless
from rankless.answer.tree import Tools
from rankless.experts.side import Kriged, Means, SideExpert, Term, chosen
from rankless.experts.task import Task
from rankless.holdout.judge import Judge
from rankless.holdout.split import held_out
from rankless.kinds.side import known_of
from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations

FAST: dict[str, Any] = {"random_state": 0, "n_jobs": 1, "effort": "fast", "experts": ["components"]}


@pytest.fixture
def tools():
    with Workers(1) as workers:
        yield Tools(workers, iter(np.random.default_rng(0).spawn(64)))


def matern(distance: np.ndarray) -> np.ndarray:
    """Matern's correlation of smoothness 3/2, by its series of a polynomial times an exponential."""
    return (1 + np.sqrt(3) * distance) * np.exp(-np.sqrt(3) * distance)


def scattered(stations: int = 9, times: int = 6, share: float = 0.6) -> tuple[Observations, np.ndarray]:
    """Stations x times with holes, and where the stations lie."""
    rng = np.random.default_rng(3)
    places = rng.normal(size=(stations, 2))
    array = np.where(rng.random((stations, times)) < share, rng.normal(size=(stations, times)), np.nan)
    return Observations.from_array(array, modes=["station", "time"]), places


def term(modes: tuple[int, ...], *numbers: float) -> Term:
    return Term(modes, *(np.array([number]) for number in numbers))


def prior(places: np.ndarray, ridge: float, space: float, length: float) -> np.ndarray:
    """Covariance of stations, written out."""
    x = (places - places.mean(axis=0)) / places.std(axis=0)
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1)
    distance = distance / np.median(distance[np.triu_indices(len(x), 1)])
    return 1 + ridge * x @ x.T / x.shape[1] + space * matern(distance / length)


def test_a_term_of_single_cells_is_a_dense_gaussian_process(tools):
    obs, places = scattered()
    (known,) = known_of({"station": places}, obs)
    found = Kriged(known, None, (term((1,), 0.7, 1.3, 0.8, 0.4),), np.zeros(0)).again(obs, tools)
    own = prior(places, 0.7, 1.3, 0.8)
    s, t = obs.coords
    both = own[np.ix_(s, s)] * (t[:, None] == t)  # times are independent
    alpha = np.linalg.solve(both + 0.4 * np.eye(obs.size), obs.values)
    cells = np.argwhere(np.ones(obs.shape))
    expected = (own[np.ix_(cells[:, 0], s)] * (cells[:, 1][:, None] == t)) @ alpha
    np.testing.assert_allclose(found.at(cells), expected, atol=1e-10)


def test_a_term_of_means_knows_how_many_entries_each_is_of(tools):
    obs, places = scattered()
    (known,) = known_of({"station": places}, obs)
    found = Kriged(known, None, (term((), 0.0, 1.0, 1.0, 0.5),), np.zeros(0)).again(obs, tools)
    own = prior(places, 0.0, 1.0, 1.0)[np.ix_(obs.coords[0], obs.coords[0])]  # one value a station, seen with noise again and again
    alpha = np.linalg.solve(own + 0.5 * np.eye(obs.size), obs.values)
    expected = prior(places, 0.0, 1.0, 1.0)[:, obs.coords[0]] @ alpha
    np.testing.assert_allclose(found.values, np.tile(expected[:, None], (1, obs.shape[1])), atol=1e-10)


def test_features_alone_are_ridge_regression(tools):
    from sklearn.linear_model import Ridge

    obs, ages = scattered(share=1.0)
    (known,) = known_of({"station": ages}, obs)
    found = Kriged(known, None, (term((1,), 1.0, 0.0, 1.0, 0.3),), np.zeros(0)).again(obs, tools)
    x = np.column_stack([np.ones(len(ages)), (ages - ages.mean(axis=0)) / ages.std(axis=0) / np.sqrt(2)])
    expected = Ridge(alpha=0.3, fit_intercept=False).fit(x, obs.to_array()).predict(x)
    np.testing.assert_allclose(found.values, expected, atol=1e-8)


def test_latitude_and_longitude_are_measured_on_the_globe():
    obs = Observations.from_array(np.arange(6.0).reshape(3, 2), modes=["city", "year"], labels=[["Berlin", "Paris", "Rome"], None])
    table = pd.DataFrame(
        {"Lat": [52.52, 48.857, 41.893, 40.713], "lon": [13.405, 2.352, 12.483, -74.006]}, index=["Berlin", "Paris", "Rome", "New York"]
    )
    (known,) = known_of({"city": table}, obs)
    _, places = known.rows(obs)
    chord = np.linalg.norm(places[0] - places[1])
    assert 2 * 6.371 * np.arcsin(chord / 2 / 6.371) == pytest.approx(0.878, abs=0.002), "878 km from Berlin to Paris"
    assert known.beyond(obs) and known.features.shape == (4, 2)


def test_texts_are_groups_and_what_is_missing_says_nothing():
    obs = Observations.from_array(np.arange(8.0).reshape(4, 2), modes=["user", "film"])
    (known,) = known_of({0: {"job": ["a", "b", "a", "c"], "age": [20.0, np.nan, 40.0, 60.0], "name": list("wxyz")}}, obs)
    assert known.names == ("job", "age", "name") and known.features.shape == (4, 2)  # only the job "a" is shared, and no name is
    np.testing.assert_allclose(known.features[:, 1], [1.0, -1.0, 1.0, -1.0])
    assert known.features[1, 0] == 0.0


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ([1.0], "side is a list"),
        ({"place": [1.0]}, "no mode 'place'"),
        ({"station": np.ones((4, 1))}, "no column in which slices differ"),
        ({"station": np.arange(4.0)}, "4 rows and station 3 slices"),
        ({"station": {"station": ["x", "y"], "h": [1.0, 2.0]}}, "rows of 'x' and others"),
        ({"station": {"station": ["a", "a"], "h": [1.0, 2.0]}}, "two rows of 'a'"),
        ({"station": np.arange(3.0), 0: np.arange(3.0)}, "names a mode twice"),
    ],
)
def test_what_goes_with_no_slice_is_said(side, said):
    obs = Observations.from_array(np.arange(6.0).reshape(3, 2), modes=["station", "time"], labels=[["a", "b", "c"], None])
    with pytest.raises(ValueError, match=said):
        known_of(side, obs)


def task_of(obs: Observations) -> Task:
    train, held = held_out(obs, 0.2, np.random.default_rng(1))
    return Task(train, held, held.values, Judge(held.values, held, None, None), None, None, Axes.of(train))


def waves(noise: float = 0.1, stations: int = 30, times: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """A field that goes on in space, another one each time, and where the stations lie in it."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 3, (stations, 2))
    field = np.stack([np.sin(places @ rng.normal(size=2) * 1.5 + rng.uniform(0, 6)) for _ in range(times)], axis=1)
    return field + noise * rng.normal(size=field.shape), places


def test_neighbours_in_space_pay_where_a_field_goes_on_and_not_on_noise(tools):
    field, places = waves()
    for array, pays in ((field, True), (np.random.default_rng(5).normal(size=field.shape), False)):
        task = task_of(Observations.from_array(array, modes=["station", "time"]))
        expert = SideExpert(known_of({"station": places}, task.train))
        assert 0 < expert.cost(task) < np.inf
        paid = [task.judge.pays(task.residual, task.beside(task.at_held(offer))[2]) for offer in expert.offers(task, tools)]
        assert any(paid) is pays


def test_slices_never_seen_are_filled_from_where_they_lie():
    field, places = waves()
    seen = np.where(np.random.default_rng(1).random(field.shape) < 0.7, field, np.nan)
    gone = [2, 11, 20, 25]
    seen[gone] = np.nan
    with pytest.warns(UserWarning, match="4 slices of mode_0 have no observed entry and are filled from what is known of them"):
        done = rankless.complete(seen, side={"mode_0": places}, **FAST)
    with pytest.warns(UserWarning, match="filled from main effects"):
        bare = rankless.complete(seen, **FAST)
    errors = [np.sqrt(np.mean((d.array() - field)[gone] ** 2)) for d in (done, bare)]
    assert errors[0] < 0.6 * errors[1]
    assert "what is known of mode_0 (column 0, column 1)" in done.answer
    lower, upper = done.interval(0.8)
    inside = np.mean((lower <= field)[gone] & (field <= upper)[gone])
    assert 0.6 < inside <= 1.0 and np.mean((upper - lower)[gone]) > np.mean((upper - lower)[np.isnan(seen) & (np.arange(30) == 0)[:, None]])


def ratings() -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Users x films, of whom age and job make up most of a taste; the last ten users have rated nothing."""
    rng = np.random.default_rng(2)
    columns = {"age": rng.uniform(15, 70, 60), "job": rng.choice(["cook", "nurse", "smith"], 60)}
    users = pd.DataFrame(columns, index=[f"u{n:02d}" for n in range(60)])
    x = np.column_stack([(users.age - 42) / 16, *(users.job == job for job in ("cook", "nurse"))]).astype(float)
    taste = x @ rng.normal(size=(3, 2)) + 0.3 * rng.normal(size=(60, 2))
    truth = 3 + taste @ rng.normal(size=(2, 25)) * 0.7
    rows = [(f"u{u:02d}", f"f{f:02d}", truth[u, f] + 0.3 * rng.normal()) for u in range(50) for f in range(25) if rng.random() < 0.5]
    return pd.DataFrame(rows, columns=["user", "film", "stars"]), users, truth


def test_the_estimator_knows_users_of_whom_only_the_table_tells():
    rows, users, truth = ratings()
    X, y = rows[["user", "film"]], rows.stars
    new = pd.DataFrame([(f"u{u:02d}", f"f{f:02d}") for u in range(50, 60) for f in range(25)], columns=["user", "film"])
    with pytest.warns(UserWarning, match="10 slices of user"):
        est = rankless.TensorCompleter(side={"user": users}, **FAST).fit(X, y)
    error, spread = np.sqrt(np.mean((est.predict(new) - truth[50:].ravel()) ** 2)), (truth[50:] - truth[50:].mean(axis=0)).std()
    assert error < 0.6 * spread
    lower, upper = est.predict_interval(new, 0.8)
    assert 0.6 < np.mean((lower <= truth[50:].ravel()) & (truth[50:].ravel() <= upper)) <= 1
    with pytest.raises(ValueError, match="side= is for squares"):
        rankless.TensorCompleter(side={"user": users}, loss="huber").fit(X, y)


def test_a_new_slice_gets_its_prior_and_the_file_carries_it(tmp_path):
    rows, users, truth = ratings()
    done = rankless.complete(rows, modes=["user", "film"], value="stars", side={"user": users}, **FAST)
    done.save(tmp_path / "kept.npz")
    alone = pd.DataFrame([("u55", f"f{f:02d}", np.nan) for f in range(25)], columns=["user", "film", "stars"])
    for each in (done, rankless.Completion.load(tmp_path / "kept.npz")):
        more = each.extend(alone)
        said = more.predict(alone[["user", "film"]])
        assert np.sqrt(np.mean((said - truth[55]) ** 2)) < 0.6 * np.std(truth[55] - truth[:50].mean(axis=0)) + 0.15
        later = more.update(pd.DataFrame({"user": ["u56"], "film": ["f03"], "stars": [truth[56, 3]]}))
        assert np.isfinite(later.predict([("u56", "f09")])).all()


def test_coordinates_of_xarray_are_taken_by_themselves():
    xr = pytest.importorskip("xarray")
    field, places = waves()
    seen = np.array(field)
    seen[[2, 20]] = np.nan
    data = xr.DataArray(
        seen,
        dims=["station", "time"],
        coords={"station": [f"s{n}" for n in range(30)], "latitude": ("station", places[:, 0] * 10), "lon": ("station", places[:, 1] * 10)},
    )
    with pytest.warns(UserWarning, match="2 slices of station"):
        done = rankless.complete(data, **FAST)
    assert "what is known of station (latitude, lon)" in done.answer
    labels = done.observations.labels[0]
    assert labels is not None
    order = [labels.tolist().index(f"s{n}") for n in (2, 20)]
    assert np.sqrt(np.mean((done._array()[order] - field[[2, 20]]) ** 2)) < 0.6 * field.std()


def test_cold_stations_of_the_met_office_err_less_than_kriging_in_space(shared_data, tools):
    data = shared_data("metoffice_2001_2020")
    values, (lat, lon, high) = data["tensor"][:, :6, :, :3].astype(float), data["lat_lon_alt"].astype(float).T
    values = (values - np.nanmean(values, axis=(0, 1, 2))) / np.nanstd(values, axis=(0, 1, 2))
    rng = np.random.default_rng(0)
    seen = np.where(rng.random(values.shape) < 0.5, values, np.nan)
    order = rng.permutation(35)
    gone, parts = order[:7], np.array_split(order[7:], 4)
    seen[gone] = np.nan
    obs = Observations.from_array(seen, modes=["station", "year", "month", "variable"])
    (known,) = known_of({"station": {"lat": lat, "lon": lon, "height": high}}, obs)
    folds = [(obs.subset(~np.isin(obs.coords[0], part)), obs.subset(np.isin(obs.coords[0], part))) for part in parts]
    ours = Kriged(known, 3, chosen(known, 3, folds, tools), np.zeros(0)).again(obs, tools)

    def error(said: np.ndarray) -> float:
        return float(np.sqrt(np.nanmean((said - values)[gone] ** 2)))

    in_space = []  # ordinary kriging of each variable, month and year by itself: the best of many, as nobody could choose it
    for length in (0.3, 1.0, 3.0):
        for noise in (0.03, 0.1, 0.3, 1.0):
            alone = Term((1, 2, 3), *(np.full(3, number) for number in (0.0, 1.0, length, noise)))
            in_space.append(error(Means.of(known, 3, obs).filled([alone])))
    assert error(ours.values) <= min(in_space)


@pytest.mark.filterwarnings("default")  # said on stderr
def test_the_command_line_takes_a_table_by_mode(tmp_path):
    from typer.testing import CliRunner

    from rankless.cli import app

    rows, users, _ = ratings()
    lone = pd.DataFrame([("u55", "f00", np.nan)], columns=["user", "film", "stars"])  # a row without a value makes its user a slice
    pd.concat([rows, lone]).to_csv(tmp_path / "stars.csv", index=False)
    users.rename_axis("user").reset_index().to_csv(tmp_path / "users.csv", index=False)
    known = [
        "complete",
        str(tmp_path / "stars.csv"),
        "-o",
        str(tmp_path / "out.csv"),
        "--modes",
        "user,film",
        "--value",
        "stars",
        "--quiet",
    ]
    known += ["--effort", "fast", "--experts", "components", "--n-jobs", "1"]
    run = CliRunner().invoke(app, [*known, "--side", f"user={tmp_path / 'users.csv'}"])
    assert run.exit_code == 0, run.output
    assert "what is known of user (age, job)" in run.stdout
    for wrong, said in (
        ("user", "names no table"),
        ("town=x.csv", "no mode 'town'"),
        (f"film={tmp_path / 'users.csv'}", "no column 'film'"),
    ):
        run = CliRunner().invoke(app, [*known, "--side", wrong])
        assert run.exit_code == 2 and said in run.stderr
