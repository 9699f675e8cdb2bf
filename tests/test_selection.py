"""The search: what is fixed stays fixed, what is planted is found, same seed same bits."""

from __future__ import annotations

import numpy as np
import pytest

from planted import hidden_error, planted
from rankless import als
from rankless.als import modes as modes_module
from rankless.engine import search
from rankless.engine.found import Found
from rankless.experts import components
from rankless.runtime import workers as workers_module
from rankless.runtime.progress import Callback, Tracker
from rankless.runtime.workers import Workers
from rankless.search import refine as endings
from rankless.search.walk import DEPTHS, Limits
from rankless.tensors.observations import Observations
from rankless.units import frame as frames

COLUMNS = {"start", "depth", "penalty", "effects", "noise", "rank", "holdout_rmse", "sweeps", "seconds"}


def found(array: np.ndarray | Observations, *, seed: int = 0, n_jobs: int = 1, callback: Callback | None = None, **limits) -> Found:
    """What the search for components finds, and draws and neighbours beside it; nobody else is asked."""
    obs = array if isinstance(array, Observations) else Observations.from_array(array)
    limits = {"experts": (), **limits}
    with Workers(n_jobs, tracker=Tracker(callback)) as workers:
        return search(obs, Limits(**limits), holdout=0.1, seed=seed, workers=workers)


@pytest.fixture(scope="module")
def small() -> tuple[np.ndarray, np.ndarray]:
    return planted((12, 11, 10), rank=2, share=0.5)


@pytest.fixture(scope="module")
def free(small) -> Found:
    return found(small[1])


# --- what is planted is found ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_rank_is_found_with_the_error_of_als_told_the_rank(seed):
    truth, seen = planted((20, 20, 20), rank=5, share=0.2, seed=seed)
    answer = found(seen, seed=seed)
    assert answer.model.rank == 5
    told = als.solve(Observations.from_array(seen), depth=0, penalty=0.01, max_rank=5, random_state=0, tol=1e-9, max_sweeps=3000)
    offset = 0.0 if answer.offset is None else answer.offset.full()
    assert hidden_error(answer.model.full() + offset, truth, seen) < 1.1 * hidden_error(told.model.full(), truth, seen)


def test_noise_alone_is_rank_0_or_nearly_worth_it():
    """Nothing to find: the held-out error is that of the mean, to a few hundredths."""
    seen = np.random.default_rng(0).normal(size=(15, 14, 13))
    answer = found(seen)
    assert answer.errors.rmse < 1.05 * np.std(seen)
    assert answer.model.norm() < 0.3 * np.linalg.norm(seen)


def test_main_effects_are_chosen_where_there_are_some():
    rng = np.random.default_rng(0)
    shape = (14, 13, 12)
    array = 20.0 + 0.1 * rng.normal(size=shape)
    for mode, size in enumerate(shape):
        array += rng.normal(size=size).reshape([-1 if m == mode else 1 for m in range(3)])
    array[rng.random(shape) < 0.7] = np.nan
    answer = found(array)
    assert answer.offset is not None
    assert answer.model.rank == 0 or answer.model.norm() < 0.2 * np.sqrt(array.size)


def test_noise_by_slice_is_found_where_slices_differ():
    truth, seen = planted((20, 20, 8), rank=2, share=0.6, noise=np.geomspace(0.05, 3.0, 8))
    weighed, plain = found(seen, fits=1), found(seen, fits=1, noise=None)
    assert weighed.best.frame.mode == 2
    assert plain.best.frame.mode is None
    errors = [hidden_error(a.model.full() + (0.0 if a.offset is None else a.offset.full()), truth, seen) for a in (weighed, plain)]
    assert errors[0] < 0.8 * errors[1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_by_slice_is_refused_where_slices_are_alike(seed):
    _, seen = planted((20, 20, 8), rank=2, share=0.6, noise=0.5, seed=seed)
    assert found(seen, seed=seed, fits=1).best.frame.mode is None


# --- what is fixed stays fixed --------------------------------------------------------------------


def test_the_winner_is_the_best_of_the_path(free):
    scores = [row["score"] for row in free.path if row["noise"] is None]
    assert free.best.frame.mode is None
    assert free.best.score == min(scores)
    row = min((row for row in free.path), key=lambda row: row["score"])
    assert (row["depth"], row["penalty"]) == (free.best.depth, free.best.penalty)


def test_every_row_of_the_path_is_whole(free):
    assert len(free.path) > 10
    for row in free.path:
        assert row.keys() >= COLUMNS
        assert row["start"] in ("grow", "prune", "thin", "patient", "draw")
        assert row["penalty"] > 0
        assert row["rank"] >= 0
        assert np.isfinite(row["holdout_rmse"])
        assert row["sweeps"] >= 0
        assert row["seconds"] >= 0
    assert {row["depth"] for row in free.path} == set(DEPTHS)
    assert {row["effects"] for row in free.path} == {False, True}
    assert {row["start"] for row in free.path} >= {"grow", "prune"}


def test_a_fixed_deep_depth_is_searched_down_the_penalties():
    truth, seen = planted((20, 20, 20), rank=5, share=0.2)
    answer = found(seen, depths=(2.0,), effects=(False,))
    assert {row["depth"] for row in answer.path} == {2.0}
    best = min(row["score"] for row in answer.path)
    assert max(row["score"] for row in answer.path) > 5 * best, "from the penalty that kills everything"
    assert answer.model.rank == 5
    assert hidden_error(answer.model.full(), truth, seen) < 0.08


@pytest.mark.parametrize(
    ("limits", "column", "values"),
    [
        ({"depths": (0.0,)}, "depth", {0.0}),
        ({"penalties": (0.7,)}, "penalty", {0.7}),
        ({"effects": (True,)}, "effects", {True}),
        ({"effects": (False,)}, "effects", {False}),
        ({"noise": None}, "noise", {None}),
    ],
    ids=["depth", "penalty", "effects", "no effects", "no noise"],
)
def test_what_is_fixed_stays_fixed(small, limits, column, values):
    answer = found(small[1], **limits)
    assert {row[column] for row in answer.path} == values
    assert (answer.offset is not None) == answer.path[0]["effects"] or "effects" not in limits


def test_noise_of_a_named_mode_is_tried_in_no_other(small):
    answer = found(small[1], noise="mode_1", fits=1)
    assert {row["noise"] for row in answer.path} == {None, "mode_1"}


@pytest.mark.parametrize("max_rank", [1, 3])
def test_no_fit_has_more_than_max_rank_components(max_rank):
    _, seen = planted((15, 15, 15), rank=6, share=0.5)
    answer = found(seen, max_rank=max_rank)
    assert max(row["rank"] for row in answer.path) <= max_rank
    assert answer.components.rank == max_rank


# --- the hold-out ---------------------------------------------------------------------------------


def test_the_hold_out_is_shuffled_and_apart_from_what_is_fitted(monkeypatch, small):
    """Fits of the walks see the training entries only; scores see the held-out ones; the last fit sees all."""
    obs, parts, fitted = Observations.from_array(small[1]), [], []
    split, entries = Observations.split, frames.Entries

    def spied_split(self, *args, **kwargs):
        parts.append(split(self, *args, **kwargs))
        return parts[-1]

    def spied_entries(units, *args, **kwargs):
        fitted.append(units.size)
        return entries(units, *args, **kwargs)

    monkeypatch.setattr(Observations, "split", spied_split)
    for room in (frames, endings, components):
        monkeypatch.setattr(room, "Entries", spied_entries)
    answer = found(obs)
    [(train, held)] = parts
    cells = [set(map(tuple, part.indices.tolist())) for part in (train, held)]
    assert not cells[0] & cells[1]
    assert len(cells[0] | cells[1]) == obs.size
    assert held.size == pytest.approx(0.1 * obs.size, rel=0.1)
    assert np.ptp(held.coords[0]) == obs.shape[0] - 1, "from everywhere, not from the end"
    assert fitted == sorted(fitted) and set(fitted) == {train.size, obs.size}, "the refit on all entries comes last"
    assert len(answer.errors.residual) == held.size


def test_data_too_small_to_hold_anything_out_are_refused_or_filled():
    array = np.full((3, 3), np.nan)
    array[[0, 0, 1, 2, 1], [0, 1, 1, 2, 2]] = [1.0, 2.0, 3.0, 4.0, 5.0]
    try:
        for seed in range(5):
            found(array, seed=seed)
    except ValueError as error:
        assert "held out" in str(error)


def test_entries_that_weigh_nothing_choose_nothing():
    """A third of the entries is garbage of next to no weight: the rank is found and the error is small all the same."""
    truth, seen = planted((16, 15, 14), rank=2, share=0.6)
    clean = Observations.from_array(seen)
    garbage = np.random.default_rng(1).random(clean.size) < 0.33
    values = np.where(garbage, 30.0 * np.random.default_rng(2).normal(size=clean.size), clean.values)
    answer = found(clean.with_values(values, np.where(garbage, 1e-8, 1.0)), noise=None, fits=1)
    offset = 0.0 if answer.offset is None else answer.offset.full()
    assert hidden_error(answer.model.full() + offset, truth, seen) < 0.06
    assert answer.errors.rmse < 0.2


def test_entries_that_weigh_nothing_make_no_slice_noisy():
    _, seen = planted((16, 15, 8), rank=2, share=0.7)
    clean = Observations.from_array(seen)
    garbage = (clean.coords[2] < 2) & (np.random.default_rng(1).random(clean.size) < 0.5)
    values = np.where(garbage, 30.0 * np.random.default_rng(2).normal(size=clean.size), clean.values)
    answer = found(clean.with_values(values, np.where(garbage, 1e-8, 1.0)), fits=1)
    assert answer.best.frame.mode is None
    assert {row["noise"] for row in answer.path} == {None}


# --- the same numbers -----------------------------------------------------------------------------


def test_same_seed_same_bits_on_one_thread_and_two(monkeypatch, small):
    monkeypatch.setattr(workers_module, "_SMALL_WORK", 0)
    monkeypatch.setattr(modes_module, "_LONG_ROW", 50)
    answers = [found(small[1], seed=3, n_jobs=n_jobs, penalties=(2.0, 1.0, 0.5)) for n_jobs in (1, 2)]
    one, two = ([factor.tobytes() for factor in answer.model.factors] for answer in answers)
    assert one == two
    one, two = ([(row["rank"], row["holdout_rmse"], row["sweeps"]) for row in answer.path] for answer in answers)
    assert one == two


def test_another_seed_holds_out_other_entries(small):
    one, two = (found(small[1], seed=seed, penalties=(1.0,)) for seed in (0, 1))
    assert one.errors.rmse != two.errors.rmse


def test_the_search_says_what_it_does(small):
    said = []
    path = found(small[1], penalties=(1.0,), callback=said.append).path
    assert {"growing components", "pruning many components", "refitting on all entries"} <= {now.stage for now in said}
    assert said[-1].fits == len(path)
    assert said[-1].best == min(row["holdout_rmse"] for row in path)


# --- slow -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "rank", "share"),
    [((20, 20, 20), 5, 0.2), ((50, 50, 50), 10, 0.05), ((30, 30, 30, 30), 5, 0.01), ((100, 100, 100), 10, 0.02)],
    ids=["20^3", "50^3", "30^4", "100^3"],
)
def test_planted_recovery(shape, rank, share):
    """targets.md: the true rank and the error of ALS told the rank, within 5 %; here 5 seeds, one may miss."""
    good = 0
    for seed in range(5):
        truth, seen = planted(shape, rank, share, seed=seed)
        obs = Observations.from_array(seen)
        answer = found(obs, seed=seed, n_jobs=2)
        offset = 0.0 if answer.offset is None else answer.offset.full()
        error = hidden_error(answer.model.full() + offset, truth, seen)
        told = min(
            hidden_error(als.solve(obs, depth=0, penalty=p, max_rank=rank, anneal_rounds=0, random_state=s).model.full(), truth, seen)
            for s in range(5)
            for p in (0.03, 0.3)
        )
        good += answer.model.rank == rank and error <= 1.05 * told
    assert good >= 4


def test_additive_data_need_no_component():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(12, 1, 1)) + rng.normal(size=(9, 1)) + rng.normal(size=7)
    truth = array.copy()
    array[rng.random(array.shape) < 0.3] = np.nan
    answer = found(array)
    assert answer.model.rank == 0 and answer.offset is not None
    np.testing.assert_allclose(answer.offset.full(), truth, atol=1e-9)
