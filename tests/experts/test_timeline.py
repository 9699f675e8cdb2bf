"""Timelines: conditional means of dense Gaussian processes, straight lines, and numbers found on held-out entries."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.linalg import expm

from rankless.experts.recursions import smooth, stationary, transition
from rankless.experts.series import WIDE, Matern, Series
from rankless.experts.series_held import stretches
from rankless.experts.timeline import Timeline, cost, offers
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.observations import Observations

EMPTY = np.empty(0)


def correlation(p: int, apart: np.ndarray, length: float) -> np.ndarray:
    """Matern of smoothness p + 1/2."""
    u = np.sqrt(2 * p + 1) * np.abs(apart) / apart.dtype.type(length)
    return np.exp(-u) * (1 + u * (p > 0) + u * u / 3 * (p > 1))


def dense(p, length, noise, width, places, values, asked, weights=None):
    """Conditional means by a Cholesky factor in the longest floating point there is."""
    x, y, t = (np.asarray(each, np.longdouble) for each in (places, values, asked))
    cov = correlation(p, x[:, None] - x, length) + np.longdouble(width)
    cov += np.diag(np.longdouble(noise) * (np.ones(len(x)) if weights is None else np.asarray(weights)))
    n = len(x)
    factor, solved = np.zeros((n, n), np.longdouble), y.copy()
    for i in range(n):
        for j in range(i):
            factor[i, j] = (cov[i, j] - factor[i, :j] @ factor[j, :j]) / factor[j, j]
        factor[i, i] = np.sqrt(cov[i, i] - factor[i, :i] @ factor[i, :i])
        solved[i] = (solved[i] - factor[i, :i] @ solved[:i]) / factor[i, i]
    for i in range(n - 1, -1, -1):
        solved[i] = (solved[i] - factor[i + 1 :, i] @ solved[i + 1 :]) / factor[i, i]
    return np.asarray((correlation(p, t[:, None] - x, length) + np.longdouble(width)) @ solved, float)


def one_series(p, length, noise, width, places, values, asked, weights=EMPTY):
    out = np.full(len(asked), np.nan)
    rates = np.array([np.sqrt(2 * p + 1) / length])
    starts, cells = np.array([0, len(places)]), np.array([0, len(asked)])
    picked = np.array([True])
    smooth(p + 1, starts, places, values, weights, picked, rates, np.array([noise]), np.array([width]), cells, asked, out)
    return out


def line_axis(length: int, positions=None) -> Axis:
    return Axis("time", (0,), (length,), np.arange(float(length)) if positions is None else positions, "asked")


def matern(p: int, length: float, noise: float, level: float = WIDE, slices: int = 1) -> Matern:
    return Matern(np.full(slices, p), np.full(slices, length), np.full(slices, noise), np.full(slices, level))


# --- the recursions -------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0, 1, 2])
@pytest.mark.parametrize("u", [0.0, 1e-9, 1e-3, 0.3, 1.9, 2.1, 30.0, 1e3, 1e200])
def test_a_step_keeps_the_stationary_process(p, u):
    size, still, a, q = p + 1, *(np.empty((p + 1, p + 1)) for _ in range(3))
    stationary(size, still)
    transition(size, u, a, q)
    np.testing.assert_allclose(a @ still @ a.T + q, still, atol=1e-14)
    if u < 100:
        drift = np.diag(np.ones(p), 1)
        drift[-1] = [[-1], [-1, -2], [-1, -3, -3]][p]
        np.testing.assert_allclose(a, expm(drift * u), atol=1e-13)


@pytest.mark.parametrize("p", [0, 1, 2])
def test_the_noise_of_a_tiny_step_keeps_its_digits(p):
    a, q = np.empty((p + 1, p + 1)), np.empty((p + 1, p + 1))
    for u in (1e-8, 1e-5, 1e-3):
        transition(p + 1, u, a, q)
        leading = [2 * u, 4 * u**3 / 3, 16 / 3 * u**5 / 20][p]
        assert q[0, 0] == pytest.approx(leading, rel=3 * u)


@pytest.mark.parametrize("p", [0, 1, 2])
@pytest.mark.parametrize(
    ("length", "noise", "width"), [(3.0, 0.1, 1.0), (30.0, 1e-3, 100.0), (0.01, 2.0, 0.3), (1e4, 1e-6, 10.0), (8.0, 0.5, 0.0)]
)
def test_it_is_the_conditional_mean_of_a_gaussian_process(p, length, noise, width):
    rng = np.random.default_rng(p)
    places = np.sort(np.concatenate([rng.uniform(0, 50, 36), [7.0, 7.0, 7.0 + 1e-9, 30.0]]))  # twice at one place, and next to it
    values, weights = np.sin(places / 5) + 0.3 * rng.normal(size=40), rng.uniform(0.5, 2.0, 40)
    asked = np.sort(np.concatenate([rng.uniform(-40, 90, 30), places[:10], [1e9, -1e9]]))
    for each in (EMPTY, weights):
        found = one_series(p, length, noise, width, places, values, asked, each)
        wanted = dense(p, length, noise, width, places, values, asked, each if len(each) else None)
        np.testing.assert_allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("p", [0, 1, 2])
@pytest.mark.parametrize(("length", "noise"), [(20.0, 1e-14), (200.0, 1e-12), (2.0, 1e-14)])
def test_almost_no_noise_and_almost_no_distance_are_safe(p, length, noise):
    """Smooth series without noise: a dense solver in double precision is off by far more."""
    places = np.concatenate([np.arange(40.0), 40 + 1e-6 * np.arange(3), [300.0]])
    values = np.sin(places / 9) + 0.5 * np.cos(places / 23)
    asked = np.sort(np.concatenate([np.linspace(-3, 310, 60), places]))
    found = one_series(p, length, noise, 10.0, places, values, asked)
    np.testing.assert_allclose(found, dense(p, length, noise, 10.0, places, values, asked), atol=2e-5)


def test_time_is_linear_in_the_length():
    def seconds(n: int) -> float:
        places, values = np.arange(float(n)), np.ones(n)
        taken = []
        for _ in range(5):
            start = time.process_time()
            one_series(1, 30.0, 0.1, 1.0, places, values, places)
            taken.append(time.process_time() - start)
        return min(taken)

    seconds(10)
    assert seconds(400_000) < 100 * seconds(20_000)  # twentyfold, were nothing else running; quadratic would be 400


# --- the predictor --------------------------------------------------------------------------------


def table(seed: int = 0, length: int = 60, sensors: int = 5, share: float = 0.5) -> tuple[np.ndarray, Observations]:
    rng = np.random.default_rng(seed)
    truth = np.cumsum(rng.normal(size=(length, sensors)), axis=0) + 10 * rng.normal(size=sensors)
    return truth, Observations.from_array(np.where(rng.random(truth.shape) < share, np.nan, truth))


def everywhere(shape) -> np.ndarray:
    return np.indices(shape).reshape(len(shape), -1)


def test_straight_lines_are_those_of_numpy():
    truth, obs = table()
    found = Timeline.of(obs, line_axis(60), None, None).at(everywhere(truth.shape).T).reshape(truth.shape)
    for s in range(5):
        own = obs.coords[1] == s
        np.testing.assert_allclose(found[:, s], np.interp(np.arange(60), obs.coords[0, own], obs.values[own]), atol=1e-12)


def test_series_are_dense_gaussian_processes_about_their_level():
    truth, obs = table()
    places = np.sort(np.random.default_rng(1).uniform(0, 100, 60))
    how = Matern(np.array([0, 1, 2, 1, 0]), np.array([3.0, 10, 30, 5, 80]), np.array([0.1, 1e-3, 1e-2, 2.0, 1.0]), np.full(5, 7.0))
    found = Timeline.of(obs, line_axis(60, places), 1, how).at(everywhere(truth.shape).T).reshape(truth.shape)
    for s in range(5):
        own = obs.coords[1] == s
        y = obs.values[own]
        wanted = dense(how.smoothness[s], how.lengths[s], how.noises[s], 7.0, places[obs.coords[0, own]], y - y.mean(), places)
        np.testing.assert_allclose(found[:, s], wanted + y.mean(), atol=1e-8)


@pytest.mark.parametrize("how", [None, matern(0, 9.0, 0.1), matern(2, 9.0, 0.1)], ids=["line", "1/2", "5/2"])
def test_it_shifts_and_scales_and_takes_any_order_of_modes_and_entries(how):
    truth, obs = table()
    cells = everywhere(truth.shape)
    found = Timeline.of(obs, line_axis(60), None, how).at(cells.T)
    moved = Timeline.of(obs.with_values(1e6 - 1e3 * obs.values), line_axis(60), None, how).at(cells.T)
    np.testing.assert_allclose(moved, 1e6 - 1e3 * found, rtol=1e-9)
    turned = Observations.from_indices(obs.indices[:, ::-1], obs.values, shape=truth.shape[::-1])
    axis = Axis("time", (1,), (60,), np.arange(60.0), "asked")
    np.testing.assert_allclose(Timeline.of(turned, axis, None, how).at(cells[::-1].T), found, rtol=1e-12)
    order = np.random.default_rng(0).permutation(cells.shape[1])
    np.testing.assert_allclose(Timeline.of(obs, line_axis(60), None, how).at(cells[:, order].T), found[order], rtol=1e-12)


@pytest.mark.parametrize("how", [None, matern(1, 9.0, 0.1)], ids=["line", "3/2"])
def test_time_may_run_backwards_or_come_shuffled(how):
    truth, obs = table()
    days = np.arange("2020-01-01", "2020-03-01", dtype="M8[D]")
    labels = [days, np.array(list("abcde"))]
    straight = Observations.from_array(fill := obs_array(obs), modes=["day", "sensor"], labels=labels)
    found = Timeline.of(straight, Axes.of(straight).axes[0], None, how).at(everywhere(truth.shape).T).reshape(truth.shape)
    for order in (np.arange(60)[::-1], np.random.default_rng(2).permutation(60)):
        other = Observations.from_array(fill[order], modes=["day", "sensor"], labels=[days[order], labels[1]])
        again = Timeline.of(other, Axes.of(other).axes[0], None, how).at(everywhere(truth.shape).T).reshape(truth.shape)
        np.testing.assert_allclose(again, found[order], rtol=1e-12)


def obs_array(obs: Observations) -> np.ndarray:
    array = np.full(obs.shape, np.nan)
    array[tuple(obs.coords)] = obs.values
    return array


def test_it_knows_nothing_only_of_series_without_an_entry():
    array = np.full((6, 4), np.nan)
    array[2, 1], array[:, 3] = 5.0, np.arange(6)
    obs = Observations.from_array(array)
    for how in (None, matern(0, 3.0, 0.1), matern(2, 3.0, 1e-14)):
        found = Timeline.of(obs, line_axis(6), 1, how if how is None else matern(int(how.smoothness[0]), 3.0, 0.1, slices=4))
        filled = found.at(everywhere((6, 4)).T).reshape(6, 4)
        np.testing.assert_array_equal(np.isnan(filled), np.isin(np.arange(4), [0, 2])[None].repeat(6, 0))
        np.testing.assert_allclose(filled[:, 1], 5.0)  # a lone entry is its series' level
    assert found.at(np.zeros((0, 2), int)).shape == (0,)


def test_the_same_entries_give_the_same_fill_again():
    truth, obs = table()
    cells = everywhere(truth.shape)
    for how in (None, matern(1, 9.0, 0.1)):
        first = Timeline.of(obs, line_axis(60), None, how)
        np.testing.assert_array_equal(first.again(obs).at(cells.T), first.at(cells.T))
        other = obs.with_values(obs.values[::-1].copy())
        np.testing.assert_array_equal(first.again(other).at(cells.T), Timeline.of(other, line_axis(60), None, how).at(cells.T))


def test_beyond_the_end_it_returns_to_the_level_unless_it_has_no_length_scale():
    array = np.full((400, 2), np.nan)
    array[:100] = np.sin(np.arange(100) / 6)[:, None] + np.array([10.0, -10.0])
    obs = Observations.from_array(array)
    last = np.array([[99, 399], [0, 0]])
    end, far = Timeline.of(obs, line_axis(400), 1, matern(0, 10.0, 1e-6, slices=2)).at(last.T)
    assert end == pytest.approx(array[99, 0], abs=1e-3) and far == pytest.approx(array[:100, 0].mean(), abs=0.3)
    end, far = Timeline.of(obs, line_axis(400), 1, matern(0, 1e9, 1e-14, slices=2)).at(last.T)
    assert far == pytest.approx(end, abs=1e-3)
    assert Timeline.of(obs, line_axis(400), 1, None).at(last.T)[1] == array[99, 0]


def test_a_long_length_scale_without_noise_is_the_straight_line():
    truth, obs = table()
    cells = everywhere(truth.shape)
    line = Timeline.of(obs, line_axis(60), 1, None).at(cells.T)
    np.testing.assert_allclose(Timeline.of(obs, line_axis(60), 1, matern(0, 1e8, 1e-13, slices=5)).at(cells.T), line, atol=1e-3)


def test_levels_of_many_series_are_drawn_to_their_mean():
    """By the share of the variance that is not between them."""
    rng = np.random.default_rng(0)
    array = rng.normal(size=(200, 50))
    alike, unlike = (
        Series.of(Observations.from_array(each), line_axis(200), None).levels() for each in (array, array + 5 * rng.normal(size=50))
    )
    assert alike[1][0] < 0.01 and unlike[1][0] == pytest.approx(25, rel=0.4)
    np.testing.assert_allclose(alike[0], array.mean())
    few = Series.of(Observations.from_array(array[:, :3]), line_axis(200), 1).levels()
    np.testing.assert_array_equal(few[1], WIDE)


# --- the search -----------------------------------------------------------------------------------


def drawn(p: int, length: float, noise: float, steps: int, series: int, seed: int) -> np.ndarray:
    rng, t = np.random.default_rng(seed), np.arange(float(steps))
    cov = correlation(p, t[:, None] - t, length) + 1e-10 * np.eye(steps)
    return np.linalg.cholesky(cov) @ rng.normal(size=(steps, series)) + np.sqrt(noise) * rng.normal(size=(steps, series))


def hidden(truth: np.ndarray, share: float = 0.5, seed: int = 0):
    """Training entries, held-out entries, the cells that are missing, and their truth."""
    rng = np.random.default_rng(seed)
    gone = rng.random(truth.shape) < share
    obs = Observations.from_array(np.where(gone, np.nan, truth))
    held = rng.random(obs.size) < 0.1
    return obs, obs.subset(~held), obs.subset(held), np.stack(np.nonzero(gone)), truth[gone]


def error(found: Timeline, obs: Observations, cells: np.ndarray, target: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found.again(obs).at(cells.T) - target) ** 2)))


@pytest.mark.parametrize(("p", "length", "noise"), [(0, 10.0, 1e-6), (0, 5.0, 0.5), (1, 12.0, 0.01), (2, 25.0, 1e-8), (2, 15.0, 0.2)])
def test_numbers_are_found_that_fill_almost_as_well_as_the_true_ones(p, length, noise):
    ratios = []
    for seed in range(3):
        obs, train, held, cells, target = hidden(drawn(p, length, noise, 250, 10, seed=seed), seed=seed)
        line, found, *_ = [error(each, obs, cells, target) for each in offers(train, held, line_axis(250))]
        known = error(Timeline.of(obs, line_axis(250), None, matern(p, length, noise, 1.0)), obs, cells, target)
        ratios.append(found / known)
        assert found < 1.02 * line
    assert np.mean(ratios) < 1.1


def test_smooth_series_are_filled_as_well_as_their_noise_allows():
    t, rng = np.arange(120), np.random.default_rng(7)
    truth = np.stack([np.sin(t / 9 + a) + 0.5 * np.cos(t / 23 + 2 * a) for a in rng.uniform(0, 6, 8)], 1) + 0.02 * rng.normal(size=(120, 8))
    obs, train, held, cells, target = hidden(truth, 0.4)
    line, found, *_ = [error(each, obs, cells, target) for each in offers(train, held, line_axis(120), 1)]
    assert found < 0.026 < line


def test_noise_of_nothing_and_correlation_of_one_are_reached():
    t = np.arange(300.0)
    truth = np.sin(t[:, None] / 20 + np.arange(6))
    obs, train, held, cells, target = hidden(truth, 0.7)
    line, found, *_ = [error(each, obs, cells, target) for each in offers(train, held, line_axis(300))]
    assert found < 0.1 * line


def test_slices_have_their_own_numbers_only_where_they_differ():
    rough, plain = drawn(0, 2.0, 1e-6, 600, 4, seed=1), drawn(2, 40.0, 4.0, 600, 4, seed=2)
    obs, train, held, cells, target = hidden(np.concatenate([rough, plain], axis=1))
    _, shared, own = offers(train, held, line_axis(600), 1)
    assert own.how is not None and shared.how is not None
    assert error(own, obs, cells, target) < 0.98 * error(shared, obs, cells, target)
    assert len(np.unique(own.how.lengths)) > 1 == len(np.unique(shared.how.lengths))
    _, train, held, *_ = hidden(drawn(1, 10.0, 0.1, 300, 4, seed=1))
    assert len(list(offers(train, held, line_axis(300), 1))) == 2


def test_ends_held_out_are_filled_by_the_level():
    """Where the ends of half of the series are missing, and are held out so, the last value is no good guess."""
    truth = drawn(0, 4.0, 1e-6, 300, 20, seed=3)
    truth[240:, :10] = np.nan
    obs = Observations.from_array(truth)
    end = (obs.coords[0] >= 240) | ((obs.coords[0] >= 192) & (obs.coords[1] < 10))
    line, found, *_ = offers(obs.subset(~end), obs.subset(end), line_axis(300))
    held = obs.subset(end)
    assert np.mean((found.at(held.indices) - held.values) ** 2) < 0.7 * np.mean((line.at(held.indices) - held.values) ** 2)


def test_a_time_of_which_nothing_was_seen_lies_between_its_neighbours():
    truth = 5 + np.arange(80.0)[:, None] * np.array([1.0, -2.0, 0.5])
    truth[30:36] = np.nan
    obs = Observations.from_array(truth)
    held = np.isin(obs.coords[0], [10, 11, 12, 50, 51, 52])
    for found in offers(obs.subset(~held), obs.subset(held), line_axis(80), 1):
        gap = found.again(obs).at(everywhere((80, 3)).T).reshape(80, 3)[30:36]
        np.testing.assert_allclose(gap, 5 + np.arange(30.0, 36)[:, None] * np.array([1.0, -2.0, 0.5]), atol=0.5)


def test_constants_and_lone_entries_do_no_harm():
    for truth in (np.full((40, 3), 7.0), np.where(np.arange(40)[:, None] == 5, 1e-200, np.zeros((40, 3)))):
        obs, train, held, cells, target = hidden(truth, 0.3)
        for found in offers(train, held, line_axis(40), 1):
            np.testing.assert_allclose(found.again(obs).at(cells.T), target, atol=1e-9)
    alone = Observations.from_indices([[0, 0], [3, 1]], [1.0, 2.0], shape=(5, 2))
    assert len(list(offers(alone, alone, line_axis(5)))) == 1  # the line alone: two lone entries tell no numbers


def test_long_series_are_searched_in_stretches_that_keep_their_gaps():
    """What is asked of a stretch has the answer of the whole series, also within a gap longer than a stretch."""
    rng, axis = np.random.default_rng(0), line_axis(60_000)
    obs = Observations.from_array(np.where(rng.random((60_000, 2)) < 0.4, np.nan, rng.normal(size=(60_000, 2))))
    held = ((obs.coords[0] > 10_000) & (obs.coords[0] < 16_000)) | (rng.random(obs.size) < 0.05)
    whole = Series.of(obs.subset(~held), axis, None)
    asked = whole.asked(obs.subset(held).coords, axis, obs.shape)
    seen, part = stretches(whole, asked)
    how = matern(1, 20.0, 0.5, level=0.0)
    found = np.full(asked.count, np.nan)
    found[asked.order] = how.given(whole, np.zeros(1), asked)
    np.testing.assert_allclose(how.given(seen, np.zeros(1), part), found[part.order], atol=1e-3)
    assert len(seen.values) < 0.5 * len(whole.values) and len(part.places) > 1000


def test_two_modes_that_make_one_axis_are_one_series():
    truth = drawn(2, 30.0, 1e-6, 480, 3, seed=4)
    flat, folded = Observations.from_array(truth), Observations.from_array(truth.reshape(20, 24, 3), modes=["day", "hour", "sensor"])
    axis = Axes.of(folded).of_mode(0)
    assert axis is not None and axis.modes == (0, 1)
    how = matern(2, 30.0, 1e-6)
    one = Timeline.of(flat, line_axis(480), None, how).at(everywhere(truth.shape).T)
    two = Timeline.of(folded, axis, None, Matern(how.smoothness, how.lengths * axis.positions[1], how.noises, how.levels))
    np.testing.assert_allclose(two.at(everywhere((20, 24, 3)).T), one, atol=1e-7)


def test_it_costs_time_linear_in_the_entries_and_the_names_say_what_it_is():
    _, obs = table()
    assert np.isfinite(cost(obs, line_axis(60))) and str(Timeline.of(obs, line_axis(60), None, None)) == "straight lines along time"
    assert str(Timeline.of(obs, line_axis(60), None, matern(2, 3.0, 0.1))) == "Matern 5/2 along time"
    vast = Observations(np.zeros((3, 1), np.int32), np.ones(1), (2**31 - 1, 2**31 - 1, 2))
    assert cost(vast, line_axis(60)) == np.inf
