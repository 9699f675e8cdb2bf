"""Functions of a map: what they are on complete data, how they fill clouds, what land costs, and where they are asked."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.answer.tree import Tools
from rankless.experts import maps
from rankless.experts.maps import Maps
from rankless.experts.task import Task
from rankless.holdout.judge import Judge
from rankless.holdout.split import held_out
from rankless.runtime.workers import Workers
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations

DAYS, LATS, LONS = 40, 14, 18


@pytest.fixture
def tools():
    with Workers(1) as workers:
        yield Tools(workers, iter(()))


def sea(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three waves that run aslant over a map with land, no product of a profile in each direction: seen, whole."""
    rng = np.random.default_rng(seed)
    lat, lon = np.meshgrid(np.arange(LATS), np.arange(LONS), indexing="ij")
    patterns = np.stack([np.sin((a * lat + b * lon) / 6 + 1) for a, b in ((1, 1), (1, -1), (2, 1))])
    amounts = np.cumsum(rng.normal(size=(DAYS, 3)), axis=0)
    whole = np.einsum("tk,kij->tij", amounts - amounts.mean(axis=0), patterns) + 0.1 * rng.normal(size=(DAYS, LATS, LONS))
    whole[:, (lat - 7) ** 2 + (lon - 4) ** 2 < 12] = np.nan
    clouds = np.zeros(whole.shape, bool)
    for day in range(DAYS):
        top, left = rng.integers(0, LATS - 6), rng.integers(0, LONS - 8)
        clouds[day, top : top + 6, left : left + 8] = True
    return np.where(clouds, np.nan, whole), whole


def task_of(obs: Observations) -> Task:
    train, held = held_out(obs, 0.1, np.random.default_rng(1))
    return Task(train, held, held.values, Judge(held.values, held, None, None), None, None, Axes.of(train))


def test_of_complete_data_they_are_the_leading_functions_and_the_rest_is_noise(tools):
    """The oracle: greatest likelihood has the leading eigenvectors, and as noise the mean of the other eigenvalues [tipping1999]."""
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(5000, 2)) @ rng.normal(size=(2, 12)) * 3 + rng.normal(size=(5000, 12))
    said = maps._fitted(cells, 2, np.zeros(5000, int), 1, tools)
    squares, vectors = np.linalg.eigh(cells.T @ cells / len(cells))
    noise = squares[:-2].mean()
    leading = vectors[:, -2:]
    expected = cells @ leading @ np.diag(1 - noise / squares[-2:]) @ leading.T
    np.testing.assert_allclose(said, expected, atol=0.02 * cells.std())


def test_clouds_are_filled_and_land_stays_unknown(tools):
    seen, whole = sea()
    obs = Observations.from_array(seen)
    said = Maps(0, 4, None, np.zeros(0)).again(obs, tools)
    land = np.isnan(whole).all(axis=0)
    values = said.at(np.argwhere(np.ones(seen.shape))).reshape(seen.shape)
    assert np.isnan(values[:, land]).all() and not np.isnan(values[:, ~land]).any()
    cloud = np.isnan(seen) & ~np.isnan(whole)
    assert np.sqrt(np.mean((values - whole)[cloud] ** 2)) < 0.2
    assert np.sqrt(np.mean(whole[cloud] ** 2)) > 1.5


def test_modes_in_another_order_and_units_of_a_slice_change_nothing(tools):
    seen, _ = sea(1)
    both = np.stack([seen, 0.5 * np.roll(seen, 1, axis=0)], axis=3)
    one = Maps(0, 4, 3, np.zeros(0)).again(Observations.from_array(both), tools).values
    turned = Maps(1, 4, 0, np.zeros(0)).again(Observations.from_array(np.moveaxis(both, 3, 0)), tools).values
    np.testing.assert_allclose(np.moveaxis(turned, 0, 3), one, atol=1e-8)
    scaled = Maps(0, 4, 3, np.zeros(0)).again(Observations.from_array(both * [1.0, 1e6]), tools).values
    np.testing.assert_allclose(scaled / [1.0, 1e6], one, atol=1e-8)


def test_they_are_asked_where_two_modes_are_smooth_and_pay_on_a_map_but_not_on_noise(tools):
    days = np.datetime64("2020-01-01") + np.arange(DAYS)
    task = task_of(Observations.from_array(sea()[0], modes=["day", "lat", "lon"], labels=[days, None, None]))
    assert maps.modes_of(task) == [0]
    (offered,) = maps.offers(task, tools)
    assert offered.count in (2, 4) and task.judge.pays(task.residual, task.beside(task.at_held(offered))[2])
    assert offered.words(["day", "lat", "lon"]) == f"{offered.count} functions of lat x lon"
    noise = task_of(Observations.from_array(np.random.default_rng(0).normal(size=(DAYS, LATS, LONS))))
    assert list(maps.offers(noise, tools)) == []
    table = task_of(Observations.from_array(np.sin(np.arange(200.0) / 9)[:, None] * np.arange(1.0, 6.0)))
    assert maps.modes_of(table) == []
