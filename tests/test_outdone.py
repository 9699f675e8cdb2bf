"""Where a simpler way errs a quarter as much, little work is spent on what is outdone, and nothing is lost for it."""

from __future__ import annotations

import numpy as np
import pytest

from rankless import complete
from rankless.experts.task import Task
from rankless.experts.timeline import error_of_lines
from rankless.holdout.judge import OUTDONE, Judge
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations


def walks(steps: int = 300, series: int = 6, share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Random walks of no low rank, and the same with cells missing."""
    rng = np.random.default_rng(0)
    truth = np.cumsum(rng.standard_normal((steps, series)), axis=0)
    truth = (truth - truth.mean(axis=0)) / truth.std(axis=0)
    hidden = rng.random(truth.shape) < share
    hidden[hidden.all(axis=1), 0] = False  # something was seen at every step
    return truth, np.where(hidden, np.nan, truth)


def test_the_error_of_lines_is_that_of_interpolation():
    truth, seen = walks()
    held = np.isnan(seen)
    held[0] = held[-1] = False  # np.interp and the timeline differ beyond both ends
    axes = Axes.of(Observations.from_array(truth))
    train, apart = Observations.from_array(np.where(held, np.nan, truth)), Observations.from_array(np.where(held, truth, np.nan))
    steps = np.arange(len(truth))
    said = np.stack([np.interp(steps, steps[~h], x[~h]) for x, h in zip(truth.T, held.T, strict=True)], axis=1)
    assert error_of_lines(train, apart, axes) == pytest.approx(np.sqrt(np.mean((said - truth)[held] ** 2)), rel=1e-10)


def test_without_an_axis_there_are_no_lines():
    rng = np.random.default_rng(0)
    obs = Observations.from_array(rng.standard_normal((20, 10)))
    assert not Axes.of(obs).candidates
    assert error_of_lines(obs, obs, Axes.of(obs)) == np.inf


def test_experts_are_asked_beside_whoever_outdoes_the_answer():
    rng = np.random.default_rng(0)
    held = Observations.from_array(rng.standard_normal((10, 10)))
    residual = held.values.copy()  # of an answer that says nothing
    task = Task(held, held, residual, Judge(residual, held, None, None), None, None, Axes.of(held))
    near, far = held.values * (1 - 0.5 / OUTDONE), held.values * (1 - 2.0 / OUTDONE)
    assert task.behind([]) is task
    assert task.behind([far]) is task
    np.testing.assert_allclose(task.behind([far, near]).residual, held.values - near)
    np.testing.assert_allclose(task.behind([far, near]).said, near)


def test_random_walks_are_not_drawn_and_raced_for():
    truth, seen = walks()
    done = complete(seen, random_state=0)
    starts = set(done.path["start"])
    assert starts == {"grow"}
    assert len(done.path) < 30
    hidden, steps = np.isnan(seen), np.arange(len(truth))
    lines = np.stack([np.interp(steps, steps[~h], x[~h]) for x, h in zip(truth.T, hidden.T, strict=True)], axis=1)
    assert np.sqrt(np.mean((done.filled - truth)[hidden] ** 2)) < 1.01 * np.sqrt(np.mean((lines - truth)[hidden] ** 2))


def test_low_rank_beside_smoothness_is_searched_for_as_ever():
    """Lines err little on slow waves, but components less."""
    rng = np.random.default_rng(1)
    waves = np.sin(2 * np.pi * np.outer(np.linspace(0, 1, 150), [1, 2]) + rng.uniform(0, 6, 2))
    truth = waves @ rng.standard_normal((2, 20)) + 1e-3 * rng.standard_normal((150, 20))
    hidden = rng.random(truth.shape) < 0.4
    done = complete(np.where(hidden, np.nan, truth), random_state=0)
    assert {"grow", "prune"} <= set(done.path["start"])
    assert np.sqrt(np.mean((done.filled - truth)[hidden] ** 2)) < 1.3e-3


def shared_walks(seed: int, steps: int = 120, series: int = 6) -> np.ndarray:
    """Walks about 5 beside a walk that all of them take, such as shares beside their market: main effects of times explain much."""
    rng = np.random.default_rng(seed)
    walks = np.cumsum(rng.standard_normal((steps, series)), axis=0) + 1.5 * np.cumsum(rng.standard_normal((steps, 1)), axis=0)
    return 5 + (walks - walks.mean(axis=0)) / walks.std()


def between(values: np.ndarray) -> np.ndarray:
    """Straight lines between what was seen, column by column."""
    steps = np.arange(len(values))
    return np.stack([np.interp(steps, steps[~np.isnan(x)], x[~np.isnan(x)]) for x in values.T], axis=1)


@pytest.mark.parametrize("seed", [0, 2, 4])
@pytest.mark.parametrize("gaps", [False, True])
def test_main_effects_do_not_stand_before_straight_lines(gaps, seed):
    """An effect of each time, told by the few series seen then, is noise: of six shares lines err half as much as what lies on it."""
    truth, rng = shared_walks(seed), np.random.default_rng(seed)
    hidden = rng.random(truth.shape) < 0.4
    if gaps:
        hidden[:] = False
        while hidden.mean() < 0.2:
            first = rng.integers(0, len(truth) - 8)
            hidden[first : first + 8, rng.integers(truth.shape[1])] = True
    hidden[hidden.all(axis=1), 0] = False  # something was seen at every step
    seen = np.where(hidden, np.nan, truth)
    done = complete(seen, random_state=seed)
    ours, lines = (np.sqrt(np.mean((said - truth)[hidden] ** 2)) for said in (done.filled, between(seen)))
    assert ours < 0.95 * lines


@pytest.mark.parametrize("turned", [False, True])
def test_a_single_series_is_filled_along_itself(turned):
    """A table of one column, or of one row."""
    rng = np.random.default_rng(0)
    truth = np.sin(np.arange(200) / 9)[:, None]
    hidden = rng.random(truth.shape) < 0.3
    seen = np.where(hidden, np.nan, truth + 0.05 * rng.standard_normal(truth.shape))
    with pytest.warns(UserWarning, match="are filled from their neighbours"):
        done = complete(seen.T if turned else seen, random_state=0)
    filled = done.filled.T if turned else done.filled
    ours, lines = (np.sqrt(np.mean((said - truth)[hidden] ** 2)) for said in (filled, between(seen)))
    assert ours < lines < 0.1
