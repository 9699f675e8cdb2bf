"""New entries taken in: nothing new changes nothing, many sweeps are a fit from scratch, and the file carries it all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rankless
from rankless.answer.tree import Grown, Tools, leaves
from rankless.completion import Completion
from rankless.engine.found import leaf_of
from rankless.experts.components import Components
from rankless.experts.draws import Draws
from rankless.runtime.workers import Workers

QUICK: dict[str, Any] = {"random_state": 0, "n_jobs": 1, "experts": ["components", "neighbours"]}


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(d, 2)) for d in (25, 14, 6)]
    truth = np.einsum("ar,br,cr->abc", *factors) + rng.normal(size=(25, 1, 1))
    seen = np.where(rng.random(truth.shape) < 0.5, truth + 0.1 * rng.normal(size=truth.shape), np.nan)
    return rankless.complete(seen[:20], **QUICK), seen, truth


def error(done, seen, truth) -> float:
    return float(np.sqrt(np.mean((done.array() - truth)[np.isnan(seen)] ** 2)))


def test_nothing_new_changes_nothing(planted):
    done, seen, truth = planted
    same = done.update(seen[:20])
    np.testing.assert_allclose(same.array(), done.array(), atol=1e-3 * truth.std())
    assert done.observations.size == same.observations.size


def test_many_sweeps_are_the_fit_of_these_choices_from_scratch(planted):
    done, seen, truth = planted
    few, many = (done.update(seen[20:], along=0, sweeps=sweeps) for sweeps in (1, 300))
    leaf = next(leaf for leaf, _, _ in leaves(done.estimator._answer.found.tree) if isinstance(leaf, Components))
    point = leaf.point
    alone: dict[str, Any] = {**QUICK, "experts": ["components"]}
    scratch = rankless.complete(
        seen,
        depth=point.depth,
        penalty=point.penalty,
        effects=done.estimator.effects_,
        max_rank=done.rank,
        noise=None,
        **alone,
    )
    near, far = (np.sqrt(np.mean((d.array() - scratch.array()) ** 2)) for d in (many, few))
    assert near < 0.02 * truth.std() and near <= far
    assert error(many, seen, truth) < 1.02 * error(scratch, seen, truth)


def test_efforts(planted):
    done, seen, truth = planted
    folded, fast, whole = done.extend(seen[20:], along=0), done.update(seen[20:], along=0), done.update(seen[20:], "default", along=0)
    assert error(fast, seen, truth) < error(folded, seen, truth)
    assert abs(error(fast, seen, truth) / error(whole, seen, truth) - 1) < 0.05
    best = done.update(seen[20:], "best", along=0)
    assert len(best.path) and best.observations.shape == seen.shape
    with pytest.raises(ValueError, match="effort='slow' is not known"):
        done.update(seen[20:], "slow", along=0)  # pyright: ignore[reportArgumentType]


def test_much_that_came_later_is_said(planted, tmp_path):
    done, seen, _ = planted
    more = done.update(seen[20:], along=0)
    later = int(np.isfinite(seen[20:]).sum())
    assert more.estimator.came_later_ == later and f"{later} of these entries came after all choices were made" in more.summary()
    more.save(tmp_path / "model.npz")
    assert Completion.load(tmp_path / "model.npz").summary() == more.summary()
    assert "came after" not in done.summary() and "came after" not in done.update(seen[20:21], along=0).summary()
    assert done.extend(seen[20:], along=0).estimator.came_later_ == later


def test_sweeps_that_spoil_new_entries_are_not_kept(planted, monkeypatch):
    done, seen, truth = planted
    folded, again = error(done.extend(seen[20:], along=0), seen, truth), Components.again

    def spoiled(self, obs, tools):
        made = again(self, obs, tools)
        return replace(made, model=made.model.times(0, np.full(25, 3.0)))

    monkeypatch.setattr(Components, "again", spoiled)
    kept, swept = done.update(seen[20:], along=0), done.update(seen[20:], along=0, sweeps=5)
    assert error(swept, seen, truth) > 2 * folded, "sweeps that are asked for by number are made"
    assert error(kept, seen, truth) < 1.1 * folded


def test_a_day_on_which_nothing_was_seen_is_a_day(planted):
    done, seen, _ = planted
    empty = done.update(np.full((1, 14, 6), np.nan), along=0)
    assert empty.observations.shape == (21, 14, 6) and empty.observations.size == done.observations.size
    after = empty.update(seen[20:], along=0)
    effects = after.estimator.main_effects_
    assert after.observations.shape == (26, 14, 6) and np.isfinite(after.array()).all() and len(effects.effects[0]) == 26


def test_corrections_and_entries_of_old_slices():
    rng = np.random.default_rng(1)
    truth = np.outer(rng.normal(size=30), rng.normal(size=12)) + rng.normal(size=12)
    rows, columns = np.nonzero(rng.random(truth.shape) < 0.7)
    table = pd.DataFrame({"day": rows, "sensor": columns, "x": truth[rows, columns]})
    wrong = table.copy()
    wrong.loc[:9, "x"] += 30.0
    done = rankless.complete(wrong, modes=["day", "sensor"], value="x", **QUICK)
    mended = done.update(table.head(10))
    assert mended.observations.size == len(table)
    np.testing.assert_array_equal(mended.predict(table[["day", "sensor"]]).shape, len(table))
    error_before = np.abs(done.array() - truth).mean()
    assert np.abs(mended.array() - truth).mean() < 0.5 * error_before
    filled = mended.filled.merge(table, on=["day", "sensor"], suffixes=("", "_then"))
    np.testing.assert_allclose(filled.x, filled.x_then)


def test_slices_of_several_modes_at_once(planted):
    done, _seen, _ = planted
    known = done.observations.to_table()
    names = known.assign(**{f"mode_{n}": [f"{'abc'[n]}{i:02d}" for i in known[f"mode_{n}"]] for n in range(3)})
    first = rankless.complete(names, modes=["mode_0", "mode_1", "mode_2"], value="value", **QUICK)
    later = names.head(40).assign(mode_0="a99", mode_1=lambda t: t.mode_1.where(np.arange(40) < 35, "b99"))
    later = later.drop_duplicates(["mode_0", "mode_1", "mode_2"])
    more = first.update(later)
    assert more.observations.shape == (21, 15, 6)
    assert np.isfinite(more.array()).all() and more.predict([("a99", "b99", "c00")]).shape == (1,)


def test_other_losses_and_draws():
    rng = np.random.default_rng(0)
    mean = rng.gamma(1, 2, (60, 2)) @ rng.gamma(1, 2, (2, 30))
    seen = np.where(rng.random(mean.shape) < 0.8, rng.poisson(mean), np.nan).astype(float)
    done = rankless.complete(seen[:54], loss="poisson", random_state=0, n_jobs=1)
    more = done.update(seen[54:], along=0)
    full = rankless.complete(seen, loss="poisson", random_state=0, n_jobs=1)
    assert error(more, seen, mean) < 1.1 * error(full, seen, mean)
    truth = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 40))
    seen = np.where(rng.random(truth.shape) < 0.25, truth + 0.5 * rng.normal(size=truth.shape), np.nan)
    done = rankless.complete(seen[:57], random_state=0, n_jobs=1, experts=["components", "draws"])
    more = done.update(seen[57:], along=0)
    folded = np.isnan(seen[57:])
    usual = np.sqrt(np.mean(truth[57:][folded] ** 2))
    assert np.sqrt(np.mean((more.array() - truth)[57:][folded] ** 2)) < 0.8 * usual


def test_chains_of_draws_go_on_towards_the_posterior_mean():
    rng = np.random.default_rng(1)
    factors = [rng.normal(size=(d, 10)) for d in (70, 12, 8)]
    truth = np.einsum("ar,br,cr->abc", factors[0] * 0.7 ** np.arange(10), *factors[1:])
    seen = np.where(rng.random(truth.shape) < 0.25, truth + 0.5 * rng.normal(size=truth.shape), np.nan)
    done = rankless.complete(seen[:55], random_state=0, n_jobs=1, experts=["components", "draws"])
    first = done.estimator._answer
    assert first is not None
    leaf = leaf_of(first.found.tree, Draws)
    later, whole = seen[55:], done.extend(seen[55:], along=0).estimator._answer
    assert whole is not None and isinstance(whole.found.tree, Grown)
    obs, folded = whole.near_one, leaf_of(whole.found.tree, Draws)
    assert leaf is not None and folded is not None
    assert not (leaf.chains[0].factor(0)[-1] == 0).all() and (folded.chains[0].factor(0)[-len(later) :] == 0).all()
    with Workers(1) as workers:
        tools = Tools(workers, iter(np.random.default_rng(0).spawn(99)))
        some = folded.gone_on(obs, tools)
        long = replace(folded, effort=replace(folded.effort, sweeps=600, work=1e3)).again(obs, replace(tools, afresh=True))
    assert not any((chain.factor(0)[55:] == 0).all(axis=1).any() for chain in some.chains)
    hidden = np.argwhere(np.isnan(seen))
    far, near = (np.sqrt(np.mean((each.at(hidden) - long.at(hidden)) ** 2)) for each in (folded, some))
    assert near < 0.6 * far and near < 0.05 * np.std(long.at(hidden))


def test_the_file_carries_all(planted, tmp_path):
    done, seen, _ = planted
    path = tmp_path / "model.npz"
    for each in (done, done.extend(seen[20:], along=0), done.update(seen[20:], along=0)):
        each.save(path)
        back = Completion.load(path)
        np.testing.assert_array_equal(back.array(), each.array())
        np.testing.assert_array_equal(back.interval(0.8), each.interval(0.8))
        assert back.summary() == each.summary()
    back = Completion.load(path).update(seen[:3] * 1.01, along=0)
    assert back.array().shape == (28, 14, 6)
    with np.load(path, allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)
    assert rankless.CPTensor.load(path).shape == (25, 14, 6)
    done.best.save(path)
    with pytest.raises(ValueError, match=r"holds no entries to go on from; write it by done\.save"):
        Completion.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="is no completion saved by rankless"):
        Completion.load(path)


def test_a_file_does_not_build_what_is_not_ours(planted, tmp_path):
    done, _, _ = planted
    path = tmp_path / "model.npz"
    done.save(path)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["kept_classes"] = np.array('["os:stat_result"]')
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="os:stat_result is no part of rankless"):
        Completion.load(path)


def test_on_the_command_line(tmp_path, capsys):
    from typer.testing import CliRunner

    from rankless.cli import app

    rng = np.random.default_rng(0)
    truth = np.outer(rng.normal(size=40), rng.normal(size=10)) + rng.normal(size=10)
    rows, columns = np.nonzero(rng.random(truth.shape) < 0.7)
    table = pd.DataFrame({"station": [f"s{r:02d}" for r in rows], "hour": columns, "x": truth[rows, columns]})
    old = table[rows < 36]
    old.to_csv(tmp_path / "old.csv", index=False)
    table[rows >= 36].to_csv(tmp_path / "new.csv", index=False)
    files = {name: str(tmp_path / name) for name in ("old.csv", "new.csv", "model.npz", "filled.csv", "wide.csv", "next.npz")}
    run = CliRunner().invoke
    first = run(
        app,
        [
            "complete",
            files["old.csv"],
            "-o",
            files["filled.csv"],
            "--modes",
            "station,hour",
            "--value",
            "x",
            "--keep",
            files["model.npz"],
            "--experts",
            "components,neighbours",
            "--quiet",
        ],
    )
    assert first.exit_code == 0, first.output
    for command in ("extend", "update"):
        more = ["--coverage", "0.8", "--keep", files["next.npz"]] if command == "extend" else []
        result = run(app, [command, files["model.npz"], files["new.csv"], "-o", files["wide.csv"], *more])
        assert result.exit_code == 0, result.output
        assert "4 new of station" in result.output
        filled = pd.read_csv(files["wide.csv"])
        assert len(filled) == 400 and filled.x.notna().all()
        array = filled.pivot_table(index="station", columns="hour", values="x").to_numpy()
        assert np.abs(array - truth).mean() < 0.3 * truth.std()
    assert Completion.load(files["next.npz"]).observations.shape == (40, 10)
    wrong = run(app, ["update", files["model.npz"], files["old.csv"], "-o", files["wide.csv"], "--effort", "slow"])
    assert wrong.exit_code == 2
    table.head(0).to_csv(tmp_path / "new.csv", index=False)  # a day on which nothing came
    result = run(app, ["update", files["model.npz"], files["new.csv"], "-o", files["wide.csv"]])
    assert result.exit_code == 0 and "0 entries more, no new slice" in result.output
    pd.testing.assert_frame_equal(pd.read_csv(files["wide.csv"]), pd.read_csv(files["filled.csv"]))
    table.head(0).rename(columns={"x": "y"}).to_csv(tmp_path / "new.csv", index=False)
    result = run(app, ["update", files["model.npz"], files["new.csv"], "-o", files["wide.csv"]])
    assert result.exit_code == 2 and "no column 'x'" in result.output


def few_stations() -> tuple[pd.DataFrame, Any]:
    """Stations x days, a table and its completion."""
    rng = np.random.default_rng(1)
    truth = 5 + np.outer(rng.normal(size=14), rng.normal(size=12)) + rng.normal(size=12)
    rows, columns = np.nonzero(rng.random(truth.shape) < 0.7)
    days = pd.date_range("2024-01-01", periods=12)[columns].strftime("%Y-%m-%d")
    table = pd.DataFrame({"station": [f"ST{r:02d}" for r in rows], "day": days, "x": truth[rows, columns]})
    return table, rankless.complete(table, modes=["station", "day"], value="x", effort="fast", **QUICK)


@pytest.fixture(scope="module")
def stations():
    return few_stations()


def test_a_day_on_which_nothing_came_changes_nothing(stations, planted):
    table, done = stations
    for effort in ("fast", "default"):
        same = done.update(table.head(0), effort=effort)
        np.testing.assert_array_equal(same.array(), done.array())
        assert same.observations.size == done.observations.size and same.update(table.head(1)).observations.size == len(table)
    with pytest.raises(ValueError, match="there is no row in what came later"):
        done.extend(table.head(0))
    array, seen, _ = planted
    assert array.update(seen[:0], along=0).observations.shape == array.observations.shape


def test_a_correction_replaces_the_entry_that_was_there(stations):
    table, done = stations
    wrong = table.head(1).assign(x=table.x[0] + 3.0)
    once = done.update(wrong)
    twice = once.update(wrong)
    for each in (once, twice):
        assert each.observations.size == len(table)
        filled = each.filled.merge(table.head(1), on=["station", "day"])
        assert filled.x_x.tolist() == pytest.approx([table.x[0] + 3.0])
    back = twice.update(table.head(1))
    np.testing.assert_allclose(back.observations.values, done.observations.values)


def test_a_label_written_otherwise_is_pointed_out(stations):
    table, done = stations
    new = table.head(4).assign(station=["st00 ", *table.station[1:4]], day="2024-02-01").drop_duplicates(["station", "day"])
    with pytest.warns(UserWarning, match=r"station 'st00 ' came later as a new one beside 'ST00'"):
        assert done.update(new).observations.shape[0] == done.observations.shape[0] + 1
    with pytest.raises(ValueError, match=r"several modes.*done\.update.*\. Station 'st00 ' came later as a new one beside 'ST00'"):
        done.extend(new)
    with pytest.warns(UserWarning, match="'st00 ' came later"):
        done.extend(table.head(1).assign(station="st00 "))
