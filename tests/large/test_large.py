"""A file fitted in chunks: near the truth, the same on a cluster, and asked without being filled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rankless import TensorCompleter, large
from rankless.als.entries import Chunks, Entries
from rankless.large import fit, offsets
from rankless.large import sample as sample_module
from rankless.large.sample import drawn, enriched, held_out, sampled
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

SHAPE, COUNT, NOISE = (400, 60, 12), 30_000, 0.3
MODES = ["user", "item", "week"]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(d, 2)) for d in SHAPE]
    effects = [rng.normal(size=d) for d in SHAPE]
    return 3.0 + np.einsum("ar,br,cr->abc", *factors) + effects[0][:, None, None] + effects[1][:, None] + 0.5 * effects[2]


@pytest.fixture(scope="module")
def path(truth, tmp_path_factory):
    """Users as texts with power-law counts, items by number with gaps, weeks as days."""
    rng = np.random.default_rng(1)
    user = (SHAPE[0] * rng.random(2 * COUNT) ** 2).astype(int)
    cells = np.unique(np.stack([user, rng.integers(0, SHAPE[1], 2 * COUNT), rng.integers(0, SHAPE[2], 2 * COUNT)], axis=1), axis=0)
    cells = rng.permutation(cells)[:COUNT]
    values = truth[tuple(cells.T)] + NOISE * rng.normal(size=COUNT)
    weeks = pd.date_range("2024-01-01", periods=SHAPE[2], freq="W")
    table = pd.DataFrame({"user": [f"u{u:03d}" for u in cells[:, 0]], "item": 7 * cells[:, 1], "week": weeks[cells[:, 2]], "stars": values})
    file = tmp_path_factory.mktemp("large") / "stars.parquet"
    table.to_parquet(file)
    return file


OPTIONS = {"modes": MODES, "value": "stars", "searched": 8000, "rows": 4000, "n_jobs": 1}


@pytest.fixture(scope="module")
def done(path):
    return large.complete(path, **OPTIONS)


def test_the_fit_is_near_the_truth_and_says_how_near(done, truth):
    every = np.stack(np.unravel_index(np.arange(truth.size), truth.shape), axis=1)
    error = np.sqrt(np.mean((done.predict(every) - truth.reshape(-1)) ** 2))
    assert done.shape == SHAPE
    assert error < 0.5 * NOISE  # of some 5 numbers for each of 75 entries of a user
    assert done.holdout_rmse == pytest.approx(np.hypot(NOISE, error), rel=0.25)
    assert f"error {done.holdout_rmse:.4g} on entries that took no part" in done.summary()


def test_a_sample_chooses_as_well_as_a_search_of_all(done, path, truth):
    whole = TensorCompleter(random_state=0, experts=["components"], noise=None, n_jobs=1)
    whole.fit(Observations.from_table(pd.read_parquet(path), MODES, "stars"))
    every = np.stack(np.unravel_index(np.arange(truth.size), truth.shape), axis=1)
    ours, theirs = (np.sqrt(np.mean((one.predict(every) - truth.reshape(-1)) ** 2)) for one in (done, whole))
    assert ours < 1.1 * theirs


def test_workers_find_the_same_numbers(path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(fit, "_REFIT", replace(fit._REFIT, max_sweeps=2))
    known = OPTIONS | {"depth": 1.0, "penalty": 0.3, "effects": True, "searched": 2000}
    here = large.complete(path, **known)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = large.complete(path, client=client, **known)
    assert here.rank > 0
    assert there.holdout_rmse == pytest.approx(here.holdout_rmse, rel=1e-12)
    for one, two in zip((*here.model.factors, *here.effects.effects), (*there.model.factors, *there.effects.effects), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)


def test_labels_name_cells(done):
    weeks = done.labels[2]
    by_number = done.predict([[3, 5, 2], [0, 1, 11]])
    columns = {"user": ["u003", "u000"], "item": [35, 7], "week": weeks[[2, 11]], "other": [1, 1]}
    assert done.predict_labels(columns).tolist() == by_number.tolist()
    with pytest.raises(ValueError, match=r"no column 'week' for a mode; pass one for each of 'user', 'item', 'week'"):
        done.predict_labels({"user": ["u003"], "item": [35]})
    with pytest.raises(ValueError, match=r"item 36 is none that was observed"):
        done.predict_labels({"user": ["u003"], "item": [36], "week": weeks[:1]})


def test_a_stream_of_cells_is_predicted_part_by_part(done):
    cells = np.stack(np.unravel_index(np.arange(1000), SHAPE), axis=1)
    parts = list(done.predict_stream(cells[lo : lo + 300] for lo in range(0, 1000, 300)))
    assert np.concatenate(parts).tolist() == done.predict(cells).tolist()


@pytest.mark.parametrize("largest", [True, False])
def test_the_top_of_a_slice_is_that_of_the_slice_built(done, monkeypatch, largest):
    monkeypatch.setattr("rankless.large.answer._AT_ONCE", 77)
    every = np.stack(np.unravel_index(np.arange(SHAPE[0] * SHAPE[2]), (SHAPE[0], SHAPE[2])), axis=1)
    values = done.predict(np.insert(every, 1, 4, axis=1))
    order = np.argsort(-values if largest else values, kind="stable")[:9]
    found = done.top({"item": 28}, 9, largest=largest)
    assert found["stars"].tolist() == values[order].tolist()
    assert found["user"].tolist() == [f"u{u:03d}" for u in every[order, 0]]
    assert (found["item"] == 28).all()
    assert len(done.top({"item": 28, "week": done.labels[2][0]}, 10_000)) == SHAPE[0]
    with pytest.raises(ValueError, match=r"leaves 0 modes free"):
        done.top({"item": 28, "user": "u001", "week": done.labels[2][0]})
    with pytest.raises(ValueError, match=r"no mode 'site'; the modes are 'user', 'item', 'week'"):
        done.top({"site": 28})


def test_what_was_observed_is_left_out_of_the_top(done, path):
    table = pd.read_parquet(path)
    found = done.top({"item": 28}, 40, seen=False)
    both = found.merge(table, on=["user", "item", "week"], how="inner")
    assert len(found) == 40 and both.empty
    assert found["stars"].max() <= table["stars"].max() and found["stars"].is_monotonic_decreasing
    loaded = replace(done, source=None)
    with pytest.raises(ValueError, match="does not know which cells were observed"):
        loaded.top({"item": 28}, seen=False)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_cells_are_written_in_parts(done, path, tmp_path, suffix):
    table = pd.read_parquet(path).drop(columns="stars").head(5000)
    table.to_parquet(tmp_path / "cells.parquet")
    out = tmp_path / f"out{suffix}"
    assert done.write_cells(tmp_path / "cells.parquet", out) == 5000
    found = pd.read_parquet(out) if suffix == ".parquet" else pd.read_csv(out, parse_dates=["week"])
    assert (found[MODES].to_numpy() == table[MODES].to_numpy()).all()
    np.testing.assert_allclose(found["stars"], done.predict_labels(table))
    with pytest.raises(ValueError, match=r"has suffix '\.txt'; cells are written as \.csv or \.parquet"):
        done.write_cells(tmp_path / "cells.parquet", tmp_path / "out.txt")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cells.parquet", out.name]


@pytest.mark.parametrize("suffix", [".zarr", ".parquet"])
def test_all_cells_are_written_block_by_block(done, path, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr("rankless.large.write._BLOCK", 50_000)  # several blocks
    done.fill(tmp_path / f"out{suffix}")
    seen = Observations.from_table(pd.read_parquet(path), MODES, "stars")
    every = np.stack(np.unravel_index(np.arange(np.prod(SHAPE)), SHAPE), axis=1)
    expected = done.predict(every).reshape(SHAPE)
    expected[tuple(seen.coords)] = seen.values
    if suffix == ".parquet":
        table = pd.read_parquet(tmp_path / "out.parquet")
        values, observed = (table[name].to_numpy().reshape(SHAPE) for name in ("stars", "observed"))
        assert table["item"].to_numpy()[-1] == 7 * 59
    else:
        import xarray as xr

        with xr.open_zarr(tmp_path / "out.zarr", consolidated=False) as data:
            values, observed = data["stars"].values, data["observed"].values
            assert data["user"].values[3] == "u003"
            assert (data["week"].values == done.labels[2]).all()
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(observed, seen.observed())


def test_a_saved_model_is_the_same_model(done, tmp_path):
    done.save(tmp_path / "model.npz")
    again = large.LargeCompletion.load(tmp_path / "model.npz")
    cells = [[3, 5, 2], [399, 59, 11]]
    assert again.predict(cells).tolist() == done.predict(cells).tolist()
    assert (again.modes, again.depth, again.penalty, again.size, again.holdout_rmse) == (
        done.modes,
        done.depth,
        done.penalty,
        done.size,
        done.holdout_rmse,
    )
    assert all(np.array_equal(one, two) for one, two in zip(again.labels, done.labels, strict=True))  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ValueError, match="a model that was loaded has no observed entries to write"):
        again.fill(tmp_path / "out.zarr")
    done.model.save(tmp_path / "plain.npz")
    with pytest.raises(ValueError, match="holds a model, but not one of a large file"):
        large.LargeCompletion.load(tmp_path / "plain.npz")


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("large", np.array("{"), r"\.npz is cut short or is no \.npz file \(Expecting property name"),
        ("large", np.array('{"modes": ["user", "user", "week"], "value": "v", "depth": 1, "penalty": 1, "size": 1}'), r"modes are called"),
        ("large", np.array('{"modes": ["user", "item", "week"], "value": "v", "depth": [1], "penalty": 1, "size": 1}'), r"write it again"),
        ("label_1", np.zeros(60), r"a label of 'item' stands twice"),
        ("label_1", np.arange(59), r"effects or labels of 'item' are not 60"),
        ("effect_0", np.full(400, np.nan), r"numbers of 'user' are not finite"),
        ("effect_0", None, r"effect_0 is not a file in the archive"),
        ("factor_2", None, r"argument|shorter|not"),
        ("mean", np.array(np.inf), r"its mean, depth or penalty is not finite"),
    ],
)
def test_a_model_that_does_not_fit_together_is_refused_in_a_line(done, tmp_path, part, value, message):
    done.save(tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as stored:
        arrays = dict(stored)
    arrays |= {part: value}
    np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=message) as caught:
        large.LargeCompletion.load(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_model_cut_short_is_refused_in_a_line(done, tmp_path, share):
    done.save(tmp_path / "model.npz")
    content = (tmp_path / "model.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut\.npz is not a model saved by rankless") as caught:
        large.LargeCompletion.load(tmp_path / "cut.npz")
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_in_memory_is_refused_beforehand(path, monkeypatch):
    monkeypatch.setattr("rankless.runtime.memory.left", lambda: [(10_000, "this machine")])
    with pytest.raises(ValueError, match=r"sorting 30,000 entries takes about .* more and this machine leaves 9\.8 KiB; pass client="):
        large.complete(path, **OPTIONS)


# --- its parts --------------------------------------------------------------------------------------------


def observed(seed: int = 0) -> Observations:
    rng = np.random.default_rng(seed)
    cells = np.unique(np.stack([rng.integers(0, d, 4000) for d in (60, 30, 10)], axis=1), axis=0)
    values = 1.0 + cells[:, 0] / 10 - cells[:, 1] / 7 + 0.1 * rng.normal(size=len(cells))
    return Observations.from_indices(cells, values, shape=(60, 30, 10))


def test_main_effects_without_residuals_are_those_with_them(monkeypatch):
    monkeypatch.setattr(offsets, "_TOL", 1e-9)
    monkeypatch.setattr(offsets, "_ROUNDS", 20)
    obs = observed()
    effects, rest = offsets.fit(Entries(obs))
    expected = MainEffects.fit(obs)
    every = obs.indices
    np.testing.assert_allclose(effects.at(every), expected.at(every), atol=1e-6)
    assert rest == pytest.approx(np.sqrt(np.mean((obs.values - effects.at(every)) ** 2)), rel=1e-6)


def test_shifted_entries_are_the_rest(monkeypatch):
    obs = observed()
    effects = MainEffects.fit(obs)
    entries = Entries.collected(Chunks.of(obs)).shifted(effects.mean, np.concatenate(effects.effects), 2.0)
    expected = Entries(obs.with_values(2.0 * (obs.values - effects.at(obs.indices))))
    for one, two in zip(entries.modes, expected.modes, strict=True):
        np.testing.assert_allclose(one.values, two.values, atol=1e-12)
    assert entries.square == pytest.approx(expected.square)


def test_held_out_entries_and_the_rest_are_all():
    obs = observed()
    rest, held = held_out(Chunks.of(obs, 100), 0.2, seed=3)
    assert 0.15 * obs.size < held.size < 0.25 * obs.size
    entries = Entries.collected(rest)
    assert entries.size + held.size == obs.size
    assert (drawn(obs.coords, 0.2, 3).sum(), drawn(obs.coords, 0.2, 4).sum()) != (held.size,) * 2 or obs.size == held.size
    assert (drawn(obs.coords[:, ::-1], 0.2, 3)[::-1] == drawn(obs.coords, 0.2, 3)).all()


@pytest.mark.parametrize("rich", [1, 25, 30])
def test_a_sample_holds_whole_slices_but_for_what_lies_in_poor_ones(monkeypatch, rich):
    monkeypatch.setattr(sample_module, "RICH", rich)
    obs = observed()
    sample = sampled(Entries(obs), 800, np.random.default_rng(0))
    mode, slices = 0, sample.slices[0]
    assert 500 < sample.obs.size < 1100
    share, kept = enriched([obs.counts(1), obs.counts(2)], 800)
    inside = np.isin(obs.coords[mode], slices)
    for counts, mask, coordinate in zip([obs.counts(1), obs.counts(2)], kept, obs.coords[1:], strict=True):
        np.testing.assert_array_equal(mask, share * counts >= rich)
        inside &= mask[coordinate]
    assert all(mask.all() for mask in kept) == (rich == 1)
    assert sample.obs.size == inside.sum()
    np.testing.assert_array_equal(np.sort(sample.obs.values), np.sort(obs.values[inside]))
    numbers = np.stack([known[c] for known, c in zip(sample.slices, sample.obs.coords, strict=True)])
    assert {*map(tuple, numbers.T.tolist())} == {*map(tuple, obs.coords[:, inside].T.tolist())}


@pytest.mark.parametrize("option", [{"loss": "poisson"}, {"nonnegative": True}, {"experts": ["components", "neighbours"]}])
def test_what_a_large_fit_does_not_know_is_refused_and_not_forgotten(path, option):
    with pytest.raises(ValueError, match="is not known to fits of large files, which know depth, penalty, max_rank, effects"):
        large.complete(path, **option)
