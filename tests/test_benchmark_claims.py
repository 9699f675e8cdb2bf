"""The pages on rank, growth and ratings: what they make is what they say, and finished cells are enough to write them."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import any_rank, growth, ratings, scoreboard
from benchmarks.measures import any_rank as rank_measures
from benchmarks.measures import growth as growth_measures
from benchmarks.measures import ratings as rating_measures
from campaign import page, store
from campaign.store import Store, peers_store

from rankless.tensors.cp_tensor import CPTensor


def unfolding_ranks(array):
    return [np.linalg.matrix_rank(np.moveaxis(array, mode, 0).reshape(array.shape[mode], -1)) for mode in range(array.ndim)]


@pytest.mark.parametrize(("kind", "ranks"), [("CP", [16] * 3), ("Tucker", [4] * 3)])
def test_tensors_have_their_ranks_and_nothing_but_some_cells_seen(kind, ranks):
    truth, seen = rank_measures.make(kind, 0.1, 0, size=30)
    assert unfolding_ranks(truth) == ranks
    assert np.mean(truth**2) == pytest.approx(1.0)
    there = ~np.isnan(seen)
    assert np.mean(there) == pytest.approx(0.1, abs=0.01) and np.array_equal(seen[there], truth[there])
    again, other = rank_measures.make(kind, 0.1, 0, size=30)[0], rank_measures.make(kind, 0.1, 1, size=30)[0]
    assert np.array_equal(truth, again) and not np.allclose(truth, other)


def test_no_fit_starts_from_the_numbers_that_the_truth_was_drawn_from():
    """`als.solve` draws its start from `default_rng(seed)`; a truth drawn from the same would be found at once."""
    truth = rank_measures.make("CP", 0.1, 0, size=20)[0]
    drawn = np.random.default_rng(0).normal(size=(60, rank_measures.RANK))
    told = CPTensor([drawn[20 * m : 20 * (m + 1)] for m in range(3)]).full()
    assert abs(np.corrcoef(truth.ravel(), told.ravel())[0, 1]) < 0.1


def test_squared_relative_error():
    truth = np.arange(1.0, 9.0).reshape(2, 2, 2)
    assert rank_measures.error(truth, truth) == 0 and rank_measures.error(truth, 0 * truth) == 1
    assert rank_measures.error(truth, 1.1 * truth) == pytest.approx(0.01)


def test_ratings_are_of_one_to_five_each_once_and_a_tenth_is_asked_for():
    made = rating_measures.make(0)
    cells, values = np.concatenate([made.indices, made.asked]), np.concatenate([made.values, made.truth])
    assert len(np.unique(cells, axis=0)) == len(cells) == rating_measures.RATINGS
    assert len(made.asked) == rating_measures.TESTED * rating_measures.RATINGS
    assert set(values) == {1.0, 2.0, 3.0, 4.0, 5.0}
    users = np.sort(np.bincount(cells[:, 0], minlength=rating_measures.USERS))
    assert users[0] >= rating_measures.FEWEST and users[-94:].sum() > 3 * users[:471].sum() / 2  # a tenth rates more than half does


def test_ratings_spread_and_err_about_as_those_of_movielens():
    """Means over four draws, whose spread is .01 and .006: the tolerance holds whatever numbers a machine draws."""
    drawn = [rating_measures.make(seed) for seed in range(4)]
    assert np.mean([made.values.std() for made in drawn]) == pytest.approx(1.126, abs=0.02)
    assert np.mean([rating_measures.main_effects(seed)["rmse"] for seed in range(4)]) == pytest.approx(0.944, abs=0.02)


def test_predictions_are_kept_within_the_scale():
    made = rating_measures.make(0)
    assert made.rmse(np.full(len(made.truth), 9.0)) == made.rmse(np.full(len(made.truth), 5.0))


def test_rise_counts_what_more_components_cost_and_spread_what_they_change():
    assert growth.rise([4.0, 2.0, 2.2, 2.1]) == pytest.approx(0.1)
    assert growth.rise([4.0, 3.0, 2.0]) == 0 and growth.spread([4.0, 3.0, 2.0]) == 1
    assert np.isnan(growth.rise([np.nan])) and np.isnan(growth.spread([np.nan]))


def test_a_fit_keeps_within_the_components_allowed(monkeypatch):
    monkeypatch.setattr(growth_measures, "SETTING", growth_measures.Setting(15, 3, 3, 0.3))
    growth_measures.case.cache_clear()
    found = growth_measures.ours("planted", 0, 1, 2)
    growth_measures.case.cache_clear()
    assert found["rank"] <= 2 and found["nrmse"] < 1


def test_peers_cells_age_with_their_versions(tmp_path):
    old = Store("peer", timed=False, stamp="numpy 0.1", folder=tmp_path)
    old.measure({"seed": 0}, lambda: {"error": 1.0})
    new = peers_store("peer", "numpy", "no-such-library", folder=tmp_path)
    assert new.current() == [] and new.stamp == f"numpy {np.__version__}, no-such-library absent"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Pages and cells go to an empty folder, and nothing may be measured."""
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "folder", tmp_path)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    return tmp_path


def test_pages_are_written_from_stored_cells(folder, monkeypatch):
    cells, given = any_rank.store(), any_rank.peers()
    for seed in any_rank.SEEDS:
        for method, kept, error in (("rankless", cells, 1e-14), ("ALS told the rank", cells, 20.0), ("tensorly", given, 1.5)):
            key = {"kind": "CP", "share": 0.01, "seed": seed, "method": method}
            kept.measure(key, lambda error=error: {"error": error, "rank": 16, "seconds": 2.0})
    any_rank.write(cells, given)
    text = (folder / "any_rank.md").read_text()
    assert "| CP | 1% | **1e-14** | 1e-14 | 16 16 16 16 16 | 20 | 1.5 | 0.0548 | 2 |" in text

    cells, given = growth.store(), growth.peers()
    for seed in growth.SEEDS:
        for allowed in growth.ALLOWED:
            for depth in growth.DEPTHS:
                key = {"table": "planted", "allowed": allowed, "seed": seed, "method": growth.method(depth)}
                cells.measure(key, lambda allowed=allowed: {"nrmse": 0.04 if allowed == 10 else 0.041, "rank": 10})
            key = {"table": "planted", "allowed": allowed, "seed": seed, "method": "tensorly"}
            given.measure(key, lambda allowed=allowed: {"nrmse": allowed / 200})
    growth.write(cells, given)
    text = (folder / "growth.md").read_text()
    assert "| 0.04 (10) | 0.041 (10) | 0.041 (10) | 0.041 (10) | 0.041 (10) | 2.5% | 0.0% | 2.5% |" in text
    growth.picture(cells, given, folder / "growth.png")
    assert (folder / "growth.png").stat().st_size > 1000

    cells, given = ratings.store(), ratings.peers()
    for seed in ratings.SEEDS:
        cells.measure({"method": "rankless", "seed": seed}, lambda: {"rmse": 0.92, "rank": 40, "seconds": 5.0})
        for method, error in (("cmfrec k=4 lambda=5", 0.95), ("cmfrec k=8 lambda=10", 0.93)):
            given.measure({"method": method, "seed": seed}, lambda error=error: {"rmse": error, "seconds": 1.0})
    ratings.write(cells, given)
    assert "| cmfrec k=8 lambda=10, best of 12 | **0.9300** |" in (folder / "ratings.md").read_text()

    lines = {figure.what: figure for group in (scoreboard.rank_free, scoreboard.grown, scoreboard.recommender) for figure in group()}
    said = {what: (figure.measured, figure.holds) for what, figure in lines.items()}
    assert said["CP 100^3, 1% seen: squared relative error (bound: published ALS told the rank)"] == ("1e-14", True)
    assert said["ratings like MovieLens 100K: RMSE over cmfrec's at its best setting"] == ("0.9892", True)
    assert said["ratings like MovieLens 100K: RMSE over SMURFF's at its best setting"] == ("not measured", None)
    flat = next(figure for what, figure in lines.items() if "planted" in what)
    assert flat.measured.startswith("0.025") and flat.holds
