"""Counts, shares, gross errors and nonnegative parts, nothing chosen: better than squares by the measure that is theirs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, xlogy
from typer.testing import CliRunner

from planted import hidden_error, planted
from rankless import als
from rankless.answer.intervals import _among
from rankless.cli import app
from rankless.completer import TensorCompleter
from rankless.completion import Completion, complete
from rankless.experts.linked import Linked
from rankless.runtime.journal import Journal
from rankless.runtime.progress import Progress
from rankless.search import losses
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.transform import Transform

SHAPE = (18, 16, 14)
WIDE, SEEDS = (24, 20, 16), 16


def signal(seed: int, rank: int = 2) -> np.ndarray:
    return planted(SHAPE, rank, 1.0, seed=seed)[0]


def with_holes(values: np.ndarray, seed: int, share: float = 0.6) -> np.ndarray:
    return np.where(np.random.default_rng(1000 + seed).random(values.shape) < share, np.nan, values)


def poisson_deviance(counts: np.ndarray, means: np.ndarray) -> float:
    means = np.maximum(means, 1e-3)
    return float(2.0 * np.mean(xlogy(counts, counts / means) - counts + means))


def log_loss(values: np.ndarray, means: np.ndarray) -> float:
    means = np.clip(means, 1e-3, 1.0 - 1e-3)
    return float(-np.mean(xlogy(values, means) + xlogy(1.0 - values, 1.0 - means)))


@pytest.fixture(scope="module")
def counts() -> tuple[np.ndarray, np.ndarray, Completion]:
    """All counts, those seen, and what was made of them."""
    every = np.random.default_rng(0).poisson(np.exp(signal(0) + 0.5)).astype(float)
    seen = with_holes(every, 0)
    return every, seen, complete(seen, loss="poisson", random_state=0)


# --- shows ----------------------------------------------------------------------------------------


def test_poisson_beats_squares_on_counts_by_deviance(counts):
    every, seen, done = counts
    hidden = np.isnan(seen)
    by_squares = complete(seen, effort="fast", random_state=0)
    ours, theirs = (poisson_deviance(every[hidden], found.array()[hidden]) for found in (done, by_squares))
    assert ours < 0.8 * theirs
    assert ours < 1.35  # the deviance of the true means is about 1.1


def test_bernoulli_beats_squares_on_zeros_and_ones_by_log_loss():
    chance = expit(3.0 * signal(1))
    every = (np.random.default_rng(1).random(SHAPE) < chance).astype(float)
    seen = with_holes(every, 1)
    hidden = np.isnan(seen)
    done, by_squares = complete(seen, loss="bernoulli", random_state=0), complete(seen, effort="fast", random_state=0)
    ours, theirs = (log_loss(every[hidden], found.array()[hidden]) for found in (done, by_squares))
    assert ours < theirs
    assert ours < 1.12 * log_loss(every[hidden], chance[hidden])
    assert ((done.array() >= 0) & (done.array() <= 1)).all()


def test_gross_errors_do_not_run_a_fit_by_huber():
    truth, seen = planted((20, 18, 16), rank=3, share=0.4)
    hit = np.random.default_rng(2).random(truth.shape) < 0.05
    spoiled = np.where(hit & ~np.isnan(seen), 10.0 * np.random.default_rng(3).normal(size=truth.shape), seen)
    done = complete(spoiled, loss="huber", random_state=0)
    assert done.rank == 3
    assert hidden_error(done.array(), truth, seen) < 0.08
    assert hidden_error(complete(spoiled, effort="fast", random_state=0).array(), truth, seen) > 0.3


@pytest.mark.parametrize("loss", ["gaussian", "poisson"])
def test_nonnegative_spectra_are_found_again_with_most_cells_gone(loss):
    rng, grid = np.random.default_rng(4), np.linspace(0.0, 1.0, 30)
    bumps = [np.exp(-((grid[:, None] - np.array(centres)) ** 2) / 0.02) for centres in ([0.2, 0.45, 0.7], [0.3, 0.5, 0.8])]
    factors = [rng.gamma(1.0, size=(20, 3)), *bumps]
    truth = CPTensor(factors).full()
    values = truth + 0.02 * truth.std() * rng.normal(size=truth.shape) if loss == "gaussian" else rng.poisson(200 * truth).astype(float)
    done = complete(with_holes(values, 4), loss=loss, nonnegative=True, random_state=0)
    assert done.rank == 3
    assert all((factor >= 0).all() for factor in done.model.factors)
    cosines = np.ones((3, 3))
    for ours, theirs in zip(done.model.factors, factors, strict=True):
        cosines *= (ours / np.linalg.norm(ours, axis=0)).T @ (theirs / np.linalg.norm(theirs, axis=0))
    assert cosines.max(axis=0).min() > 0.99
    assert "nonnegative" in done.summary()


# --- the contract ---------------------------------------------------------------------------------


def test_predictions_are_means_of_the_model_and_its_file(counts, tmp_path):
    _, seen, done = counts
    cells = np.argwhere(np.isnan(seen))
    means = done.predict(cells)
    est = done.estimator
    np.testing.assert_allclose(means, np.minimum(np.exp(est.model_.at(cells) + est.main_effects_.at(cells)), 3 * np.nanmax(seen)))
    done.save(tmp_path / "model.npz")
    with pytest.warns(UserWarning, match="models transformed values"):
        model = CPTensor.load(tmp_path / "model.npz")
    np.testing.assert_allclose(Transform.load(tmp_path / "model.npz").inverse(model.at(cells)), means)
    assert est.value_transform_.name == "exp"
    assert est.holdout_deviance_ == est.path_.score.min() < est.blank_deviance_
    assert "mean poisson deviance of held-out entries" in done.summary()


def test_main_effects_alone_are_no_cause_for_doubt():
    """Rates that are products of one number a slice need no component: the error is compared with that of a constant."""
    rng = np.random.default_rng(0)
    rates = 3 * np.einsum("a,b,c->abc", *(1 + 2 * rng.random(d) for d in (6, 20, 8)))
    array = np.where(rng.random(rates.shape) < 0.7, rng.poisson(rates), np.nan)
    done = complete(array, loss="poisson", random_state=0)
    est: Any = done.estimator
    assert done.rank == 0 and done.cautions() == []
    held = est._answer.found.errors.entries
    mean = np.full(held.size, np.nanmean(array))
    assert est.blank_deviance_ == pytest.approx(poisson_deviance(held.values, mean), rel=0.05)
    assert est.holdout_deviance_ < 0.2 * est.blank_deviance_


@pytest.mark.parametrize(
    "options", [{"loss": "poisson", "nonnegative": True}, {"nonnegative": True}, {"loss": "huber"}, {"loss": "bernoulli"}]
)
def test_what_a_constant_explains_is_no_find(options):
    rng = np.random.default_rng(0)
    values = rng.random((12, 15)) < 0.4 if options.get("loss") == "bernoulli" else rng.poisson(4, (12, 15))
    done = complete(np.where(rng.random((12, 15)) < 0.8, values, np.nan), random_state=0, **options)
    est: Any = done.estimator
    assert est.holdout_deviance_ > 0.8 * est.blank_deviance_


def test_intervals_cover_counts_not_seen(counts):
    every, seen, done = counts
    hidden = np.isnan(seen)
    lower, upper = done.interval(0.9)
    assert (lower >= 0).all()
    assert np.mean((lower <= every) & (every <= upper), where=hidden) == pytest.approx(0.9, abs=0.04)
    score = done.score()
    assert score.entries.iloc[0] >= 100
    assert np.isfinite(score.rmse.iloc[0])


def test_intervals_of_zeros_and_ones_cover_as_often_as_they_promise():
    """A seventh of the cells is seen, so calibration on few entries left out at once would be of timid fits: .55, .79, .93."""
    inside = np.zeros(3)
    for seed in range(SEEDS):
        values = (np.random.default_rng(seed).random(WIDE) < expit(3.0 * planted(WIDE, 3, 1.0, seed=seed)[0])).astype(float)
        seen = with_holes(values, seed, 0.86)
        hidden = np.isnan(seen)
        est = TensorCompleter(loss="bernoulli", random_state=seed).fit(seen)
        for at, coverage in enumerate((0.5, 0.8, 0.95)):
            lower, upper = est.predict_interval(np.argwhere(hidden), coverage)
            inside[at] += np.mean((lower <= values[hidden]) & (values[hidden] <= upper)) / SEEDS
    np.testing.assert_allclose(inside, (0.5, 0.8, 0.95), atol=0.02)


def test_each_entry_calibrates_once_and_no_fit_has_seen_it(monkeypatch):
    seen = with_holes(np.random.default_rng(4).poisson(np.exp(signal(4))).astype(float), 4)
    est = TensorCompleter(loss="poisson", penalty=5.0, random_state=0).fit(seen)
    known, parts, real = est._answer, [], Linked.again
    assert known is not None

    def again(leaf, obs, tools):
        parts.append(obs)
        return real(leaf, obs, tools)

    monkeypatch.setattr(Linked, "again", again)
    entries, errors = est.calibration_errors()
    obs = known.near_one
    assert 500 <= entries.size == len(errors) < 700
    left_out = np.concatenate([obs.indices[~_among(obs, part)] for part in parts])
    assert entries.size == len(np.unique(left_out, axis=0)), (
        "what is left out once more, as cells of another kind lie, is not counted again"
    )
    assert all(part.size >= 0.9 * obs.size - 1 for part in parts)
    assert all((part.counts(mode) > 0).all() for part in parts for mode in range(3))
    np.testing.assert_array_equal(np.unique(left_out, axis=0), np.unique(entries.indices, axis=0))


def test_a_slice_never_seen_is_filled_with_the_level_of_the_others():
    seen = with_holes(np.random.default_rng(5).poisson(4.0 + 2.0 * np.abs(signal(5))).astype(float), 5)
    seen[3] = np.nan
    for positive in (False, True):
        est = TensorCompleter(loss="poisson", penalty=20.0, depth=1.0, effects=False, nonnegative=positive, random_state=0)
        with pytest.warns(UserWarning, match="no observed entry and"):
            est.fit(seen)
        level = np.nanmean(seen) if positive else np.exp(est.main_effects_.mean)
        np.testing.assert_allclose(est.predict([[3, 0, 0]]), level, rtol=1e-9)


@pytest.mark.parametrize("loss", ["huber", "poisson", "bernoulli"])
def test_same_seed_same_numbers_on_any_number_of_threads(loss):
    values = with_holes((np.random.default_rng(6).random(SHAPE) < expit(signal(6))).astype(float), 6)
    options = {"loss": loss, "penalty": 1.0, "random_state": 3}
    one, other = (TensorCompleter(n_jobs=n, **options).fit(values) for n in (1, 2))
    assert one.model_.factors[0].tobytes() == other.model_.factors[0].tobytes()
    assert one.rank_ > 0


def test_sample_weights_count_as_repeated_entries_in_the_level():
    X = np.argwhere(np.ones((6, 5)))
    y = np.random.default_rng(7).poisson(3.0, size=30).astype(float)
    weights = np.where(y > 3, 3.0, 1.0)
    est = TensorCompleter(loss="poisson", effects=False, penalty=1e6, holdout=0.3, random_state=0).fit(X, y, sample_weight=weights)
    assert est.rank_ == 0
    typical = np.exp(np.average(np.log(np.maximum(y, 0.5)), weights=weights))
    assert np.isclose(est.predict(X)[0], [typical, np.average(y, weights=weights)]).any()


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (-1.0, {"loss": "poisson"}, r"loss='poisson' needs counts >= 0, but 1 are not, the first -1 at \(0, 0\); set them to NaN"),
        (-1.0, {"loss": "poisson", "nonnegative": True}, r"loss='poisson' needs counts >= 0"),
        (2.0, {"loss": "bernoulli"}, r"loss='bernoulli' needs values from 0 to 1, but 1 are not, the first 2 at \(0, 0\); divide"),
        (np.inf, {"loss": "poisson"}, r"infinite value"),
        (1.0, {"loss": "bernoulli", "nonnegative": True}, r"log odds, which are of both signs; pass nonnegative=False"),
        (1.0, {"nonnegative": (True,)}, r"nonnegative=\(True,\) is neither a bool nor one a mode; pass nonnegative=True, or 2 bools"),
    ],
)
def test_values_that_a_loss_is_not_for_are_named(values, options, message):
    array = np.random.default_rng(0).integers(0, 2, (8, 7)).astype(float)
    array[0, 0] = values
    with pytest.raises(ValueError, match=message):
        complete(array, **options)


def test_command_line(tmp_path):
    seen = with_holes(np.random.default_rng(8).poisson(np.exp(signal(8))).astype(float), 8)
    np.save(tmp_path / "counts.npy", seen)
    arguments = [str(tmp_path / "counts.npy"), "-o", str(tmp_path / "filled.npy"), "--penalty", "8", "--depth", "1"]
    for extra in (["--loss", "poisson"], ["--loss", "poisson", "--nonnegative"]):
        run = CliRunner().invoke(app, ["complete", *arguments, *extra])
        assert run.exit_code == 0, run.output
        assert "poisson deviance" in run.output
    filled = np.load(tmp_path / "filled.npy")
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(seen)], seen[~np.isnan(seen)])
    np.save(tmp_path / "counts.npy", -seen)
    run = CliRunner().invoke(app, ["complete", *arguments, "--loss", "poisson"])
    assert run.exit_code == 2


def test_a_table_of_counts_comes_back_with_means():
    frame = pd.DataFrame(np.argwhere(np.ones((8, 7, 6))), columns=["a", "b", "c"])
    frame["n"] = np.random.default_rng(9).poisson(2.0, size=len(frame))
    done = complete(frame.iloc[::2], modes=["a", "b", "c"], value="n", loss="poisson", penalty=5.0, random_state=0)
    assert (done.table(None).n >= 0).all()


def test_a_fit_cut_short_goes_on_to_the_same_bits(tmp_path):
    seen = with_holes(np.random.default_rng(10).poisson(np.exp(signal(10))).astype(float), 10)
    options = {"loss": "poisson", "penalty": 2.0, "random_state": 0, "n_jobs": 1}
    whole, told = TensorCompleter(**options).fit(seen), []

    def stop(now: Progress) -> None:
        told.append(now)
        if len(told) == 4:
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"), Journal(tmp_path / "fit", every=0) as journal:
        TensorCompleter(**options).fit(seen, checkpoint=journal, callback=stop)
    with Journal(tmp_path / "fit", every=0) as journal:
        again = TensorCompleter(**options).fit(seen, checkpoint=journal)
        assert journal.handed_back > 2
    assert again.model_.factors[1].tobytes() == whole.model_.factors[1].tobytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_where_whole_fibres_are_missing_error_and_intervals_are_those_of_whole_fibres(seed):
    """Each day of a site has a level of its own, which single cells tell and a missing day does not."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(30, 25, 1)) + np.log(20) + 0.3 * rng.normal(size=(1, 1, 8))
    truth = rng.poisson(np.exp(level)).astype(float)
    gone = np.broadcast_to(rng.random((30, 25, 1)) < 0.3, truth.shape)
    done = complete(np.where(gone, np.nan, truth), loss="poisson", random_state=0)
    wrong = np.sqrt(np.mean((done.filled[gone] - truth[gone]) ** 2))
    assert 0.5 < done.estimator.holdout_rmse_ / wrong < 2, "single cells err a tenth of that"
    lower, upper = done.interval(0.9)
    assert np.mean((lower[gone] <= truth[gone]) & (truth[gone] <= upper[gone])) > 0.8, "intervals of single cells hold a fifth"


def test_penalties_of_large_counts_go_down_for_as_long_as_that_helps():
    """The components that are there, none offered: the least deviance on the grid of halves, from wherever the walk ended."""
    tried = []

    def moved(point, frame, depth, penalty):
        tried.append(penalty)
        return SimpleNamespace(frame=frame, depth=depth, penalty=penalty, state=point.state, score=1 + abs(np.log2(penalty / 1.25)))

    start: Any = SimpleNamespace(frame=None, depth=3.0, penalty=10.0, state=SimpleNamespace(rank=4), score=4.0)
    search: Any = SimpleNamespace(moved=moved)
    assert losses._relaxed(search, start).penalty == 1.25 and tried == [5.0, 2.5, 1.25, 0.625]
    low: Any = SimpleNamespace(**{**vars(start), "penalty": 0.5, "score": 1.0})
    assert losses._relaxed(search, low) is low
    nothing: Any = SimpleNamespace(**{**vars(start), "state": SimpleNamespace(rank=0)})
    assert losses._relaxed(search, nothing) is nothing


def test_rates_of_assemblies_are_found_as_closely_as_from_the_truth():
    """Counts up to twenty: as near as the likeliest rates of the planted rank, which start from the truth."""
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, 24)[:, None]
    parts = [rng.gamma(0.5, size=(18, 3)), np.exp(-(((time - [0.15, 0.5, 0.85]) / 0.08) ** 2) / 2), 0.2 + rng.gamma(1.0, size=(14, 3))]
    parts[0] *= 1.2 / CPTensor(parts).full().mean()
    rates = CPTensor(parts).full()
    seen = np.where(rng.random(rates.shape) < 0.9, rng.poisson(rates).astype(float), np.nan)
    told: Any = {"loss": "poisson", "nonnegative": True, "depth": 0.0, "penalty": 1e-3, "start": CPTensor(parts), "anneal_rounds": 0}
    likeliest = als.solve(Observations.from_array(seen), tol=1e-8, **told).model.full()
    done = complete(seen, loss="poisson", nonnegative=True, random_state=0, n_jobs=1)
    ours, theirs = (np.sqrt(np.mean((said - rates)[np.isnan(seen)] ** 2)) for said in (done.array(), likeliest))
    assert done.rank == 3 and ours < 1.1 * theirs, (ours, theirs)
