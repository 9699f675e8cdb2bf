"""Effort, time limit and the choice of experts: less work where less is asked, and nothing left out in silence."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from typer.testing import CliRunner

import rankless
from rankless.cli import app
from rankless.completer import TensorCompleter
from rankless.runtime import clock as clocks
from rankless.runtime.journal import Journal
from rankless.search.effort import LEVELS


def waves(seed: int = 0) -> np.ndarray:
    """Days x sensors, smooth in time, no two sensors alike; two fifths of the cells are missing, of no day all."""
    rng, day = np.random.default_rng(seed), np.arange(60)[:, None]
    values = np.sin(day / rng.uniform(8, 16, 9) + rng.uniform(0, 6, 9)) + np.sin(day / rng.uniform(3, 5, 9) + rng.uniform(0, 6, 9))
    return np.where(rng.random(values.shape) < 0.6, values + 0.05 * rng.normal(size=values.shape), np.nan)


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    rng = np.random.default_rng(0)
    array = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 4)) for d in (14, 12, 11)))
    return np.where(rng.random(array.shape) < 0.5, array + 0.5 * rng.normal(size=array.shape), np.nan)


@pytest.fixture(scope="module")
def free(noisy) -> rankless.Completion:
    """What is made of it where nothing is limited."""
    return rankless.complete(noisy, random_state=0)


def test_levels_ask_for_more_and_more():
    fast, default, best = (LEVELS[name] for name in ("fast", "default", "best"))
    for less, more in ((fast, default), (default, best)):
        assert less.races < more.races and less.chains < more.chains and less.sweeps < more.sweeps and less.work < more.work


def test_fast_makes_fewer_fits_and_is_the_same_on_any_number_of_threads(noisy, free):
    fast = [rankless.complete(noisy, effort="fast", random_state=0, n_jobs=jobs) for jobs in (1, 2)]
    assert len(fast[0].path) < 0.7 * len(free.path)
    assert np.array_equal(fast[0].filled, fast[1].filled)


def test_fast_follows_a_line_where_a_line_is_right():
    array = waves()
    done = rankless.complete(array, effort="fast", random_state=0)
    assert "along" in str(done.answer), "timelines are asked at every effort"


def test_another_loss_makes_fewer_fits_too():
    rng = np.random.default_rng(0)
    counts = np.where(rng.random((20, 15)) < 0.7, rng.poisson(np.exp(rng.normal(size=(20, 1)) + rng.normal(size=15))), np.nan)
    few, many = (TensorCompleter(loss="poisson", effort=effort, random_state=0).fit(counts) for effort in ("fast", "default"))
    assert len(few.path_) < len(many.path_)


@pytest.mark.parametrize("bad", ["slow", None, 3])
def test_an_effort_that_is_not_known_is_refused_with_those_that_are(bad):
    with pytest.raises(ValueError, match=r"effort=.* is not known; pass 'fast', 'default', 'best'"):
        rankless.complete(waves(), effort=bad)


@pytest.mark.parametrize("bad", [0, -1.0, "1h", True, float("nan")])
def test_a_time_limit_is_a_number_of_seconds(bad):
    with pytest.raises(ValueError, match=r"time_limit=.* is not a number of seconds above 0; pass time_limit=60"):
        rankless.complete(waves(), time_limit=bad)


def test_what_a_time_limit_leaves_out_is_named_and_there_is_an_answer(noisy, free):
    done = rankless.complete(noisy, time_limit=1e-6, random_state=0)
    assert np.isfinite(done.filled).all()
    assert {"draws", "timeline", "slices"} <= set(done.estimator.left_out_)
    assert "left out, as the time limit was over: " in done.summary()
    assert free.estimator.left_out_ == [] and "time limit" not in free.summary()
    assert len(done.path) < len(free.path)


def test_a_fit_with_a_time_limit_that_was_cut_short_goes_on_to_the_same_numbers(noisy, tmp_path, monkeypatch):
    """What the journal has seen decided stays decided, whatever the clock of the second run says."""
    now = {"time": 0.0}
    monkeypatch.setattr(clocks, "perf_counter", lambda: now["time"])
    path = tmp_path / "fit.checkpoint"

    def late(progress):
        now["time"] = 100.0 if "pruning" in progress.stage else now["time"]  # the time is over in the middle of the search

    def cut(progress):
        late(progress)
        if "refitting" in progress.stage:
            raise RuntimeError("the machine went down")

    def options() -> TensorCompleter:
        now["time"] = 0.0
        return TensorCompleter(time_limit=50.0, random_state=0)

    whole = options().fit(noisy, callback=late)
    with closing(Journal(path, every=0)) as journal, pytest.raises(RuntimeError):
        options().fit(noisy, callback=cut, checkpoint=journal)
    with closing(Journal(path, every=0, resume=True)) as journal:
        resumed = options().fit(noisy, checkpoint=journal)  # its clock stands still
        assert journal.handed_back
    assert resumed.left_out_ == whole.left_out_ != []
    cells = np.argwhere(np.isnan(noisy))
    assert np.array_equal(resumed.predict(cells), whole.predict(cells))


# --- who is asked --------------------------------------------------------------------------------


def test_components_alone_are_one_fit(noisy):
    done = rankless.complete(noisy, experts=["components"], random_state=0)
    assert len(done.estimator.fits_) == 1 and done.estimator.drawn_ is None and "beside" not in str(done.answer)
    assert str(done.answer).endswith(f"components x {done.rank}")


def test_named_experts_are_asked_and_no_others():
    stages: list[str] = []
    rankless.complete(waves(), experts=["components", "timeline"], random_state=0, callback=lambda now: stages.append(now.stage))
    assert "asking timeline" in stages
    assert not any(stage in stages for stage in ("asking slices", "asking low rank", "looking at close cells"))
    assert not any("posterior" in stage for stage in stages)


def test_an_expert_of_ones_own_is_asked_beside_the_others():
    class Told:
        """Knows the mean of each sensor."""

        name, asked = "told", 0

        def cost(self, task):
            return 1.0

        def offers(self, task, tools):
            Told.asked += 1
            return iter(())

    rankless.complete(waves(), experts=["components", Told()], effort="fast", random_state=0)
    assert Told.asked == 1


@pytest.mark.parametrize("bad", ["timeline", ["line"], 3])
def test_experts_that_are_not_known_are_refused_with_those_that_are(bad):
    with pytest.raises(
        ValueError, match=r"not known; .*'components', 'draws', 'neighbours', 'timeline', 'slices', 'low rank', 'factors', 'periods'"
    ):
        rankless.complete(waves(), experts=bad)


@pytest.mark.parametrize(("old", "new"), [({"n_fits": 1}, ["components", "neighbours"]), ({"local": None}, ["components", "draws"])])
def test_old_names_work_for_one_release_and_name_the_new(noisy, old, new):
    with pytest.warns(DeprecationWarning, match=f"{next(iter(old))}= will go with the next release; pass experts="):
        before = rankless.complete(noisy, random_state=0, **old)
    assert np.array_equal(before.filled, rankless.complete(noisy, random_state=0, experts=new).filled)


def test_the_command_line_knows_them(tmp_path):
    source, output = tmp_path / "waves.npy", tmp_path / "filled.npy"
    np.save(source, waves())
    run = CliRunner().invoke
    result = run(app, ["complete", str(source), "-o", str(output), "--effort", "fast", "--time-limit", "60", "--quiet"])
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.load(output), rankless.complete(waves(), effort="fast", random_state=0).filled)
    for bad in (["--effort", "slow"], ["--time-limit", "0"], ["--experts", "line"]):
        refused = run(app, ["complete", str(source), "-o", str(tmp_path / "none.npy"), *bad])
        assert refused.exit_code == 2 and "error: " in refused.output and not (tmp_path / "none.npy").exists()
    scored = run(app, ["evaluate", str(source), "--effort", "fast", "--quiet"])
    assert scored.exit_code == 0 and "straight line" in scored.output, scored.output
