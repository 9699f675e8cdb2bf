"""The page that adds an expert: its code is short, the engine takes what it offers where that pays, and it passes every expert's checks."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import test_every_expert as checks
from test_every_expert import tools  # noqa: F401, a fixture

from rankless import engine
from rankless.answer.tree import leaves
from rankless.runtime.workers import Workers
from rankless.search.walk import Limits, Search

PAGE = Path(__file__).resolve().parents[2] / "docs" / "new-expert.md"
BLOCKS = re.findall(r"```python[^\n]*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
SHORT = 40  # lines, which the page promises


@pytest.fixture(scope="module")
def page() -> dict:
    """What the page's code leaves, its assertions held."""
    scope: dict = {}
    for block in BLOCKS:
        exec(block, scope)
    return scope


def test_it_is_short():
    assert len(BLOCKS[0].splitlines()) < SHORT


def test_lines_are_numpys_in_any_order_of_the_entries(page):
    obs, rng = page["obs"], np.random.default_rng(1)
    (axis,) = page["Axes"].of(obs).axes
    shuffled = obs.subset(rng.permutation(obs.size))
    cells = np.argwhere(np.ones(obs.shape))
    said = page["Lines"](axis, shuffled).at(cells).reshape(obs.shape)
    for sensor, series in enumerate(page["array"].T):
        seen = np.flatnonzero(~np.isnan(series))
        np.testing.assert_allclose(said[:, sensor], np.interp(np.arange(len(series)), seen, series[seen]))


def test_beside_all_the_others_it_is_asked_and_what_pays_is_fitted_again(page, tools):  # noqa: F811
    task = checks.task_of(checks.smooth())
    nothing = checks.Said(np.zeros(task.train.shape))
    with Workers(1) as workers:
        search = Search(task.train, task.held, Limits(), checks.streams(), workers)
        side = engine.Side(search, task.train, task.held, nothing, task.residual)
        alone = engine.beside(nothing, side, None, None, task.axes, experts=[page["LinesExpert"]()])[0]
        every = engine.beside(nothing, side, None, None, task.axes, experts=[*engine.EXPERTS, page["LinesExpert"]()])[1]
    assert any(isinstance(leaf, page["Lines"]) for leaf, _, _ in leaves(alone))
    assert every.rmse < 0.5 * side.errors.rmse
    once = alone.again(task.train, tools)
    np.testing.assert_allclose(once.at(task.held.indices), alone.at(task.held.indices))


def test_it_passes_what_every_expert_must(page, tools):  # noqa: F811
    expert = page["LinesExpert"]()
    checks.test_its_cost_is_known(expert)
    checks.test_fitted_again_to_the_same_entries_it_says_the_same(expert, tools)
    checks.test_modes_may_stand_in_any_order(expert, tools)
    checks.test_the_same_bits_on_any_number_of_threads(expert)
    checks.test_it_pays_where_series_are_smooth_and_alike_and_not_on_noise(expert, tools)
    checks.test_of_a_series_never_seen_it_is_silent_or_says_something_finite(expert, tools)
