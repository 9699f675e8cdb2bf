"""Ordered data: the masks, the ways to fill along time against what they must give, and the page."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import entries, ordered
from benchmarks.measures import along, kalman, lowrank
from benchmarks.measures import ordered as measures
from benchmarks.measures.stmvl import stmvl
from campaign import page, series, store


def holed(matrix: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    hidden = np.random.default_rng(seed).random(matrix.shape) < share
    return np.where(hidden, np.nan, matrix), hidden


def walk(times: int, sensors: int) -> np.ndarray:
    return np.cumsum(np.random.default_rng(0).normal(size=(times, sensors)), axis=0)


@pytest.mark.parametrize("pattern", series.PATTERNS)
def test_a_pattern_hides_its_share_in_its_way(pattern):
    shape, share = (300, 20), 0.25
    hidden = series.mask(shape, pattern, share, 0)
    assert np.array_equal(hidden, series.mask(shape, pattern, share, 0))
    assert not np.array_equal(hidden, series.mask(shape, pattern, share, 1))
    if pattern == "last":
        assert set(hidden.sum(axis=0)) == {0, 75} and not hidden[:225].any() and 4 <= hidden[-1].sum() <= 16
    elif pattern == "blackout":
        assert np.array_equal(hidden.all(axis=1), hidden.any(axis=1)) and share <= hidden.mean() < share + 6 / 300
    elif pattern == "blocks":
        assert share <= hidden.mean() < share + 30 / 6000
        ends = np.flatnonzero(np.diff(np.r_[0, hidden[:, hidden.any(axis=0)].T.ravel(), 0]))
        assert np.median(np.diff(ends)[::2]) >= 15  # no lone cells
    else:
        assert abs(hidden.mean() - share) < 0.03


def test_no_such_pattern():
    with pytest.raises(ValueError, match="pattern='stripes' is none of cells, blocks, last, blackout"):
        series.mask((10, 3), "stripes", 0.5, 0)


def test_masks_are_known_cells():
    """The same cells for the same seed, for ever: figures on file hang on them."""
    cells = series.mask((6, 3), "cells", 0.5, 0)
    assert np.flatnonzero(cells).tolist() == [4, 6, 9, 14, 15, 16] == np.flatnonzero(np.random.RandomState(0).rand(18) < 0.5).tolist()


def test_what_is_folded_holds_the_same_cells():
    one = series.Set("days", lambda: np.zeros((48, 3)), (24,), (2, 24, 3))
    matrix = np.arange(48 * 3.0).reshape(48, 3)
    assert one.folded(matrix)[1, 5, 2] == matrix[29, 2]


def test_a_straight_line_is_straight_and_its_ends_are_held():
    values = np.array([[np.nan, np.nan], [1.0, np.nan], [np.nan, np.nan], [np.nan, np.nan], [4.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_allclose(along.line(values, 0), np.stack([[1, 1, 2, 3, 4, 4], np.zeros(6)], axis=1))


def test_a_season_and_a_trend_are_filled_exactly():
    times = np.arange(96.0)
    matrix = np.stack([np.sin(2 * np.pi * times / 24), np.cos(2 * np.pi * times / 24)], axis=1)
    seen, hidden = holed(matrix, 0.3)
    assert np.abs(along.seasonal(seen, 0, period=24) - matrix)[hidden].max() < 1e-9


def test_what_is_near_leaves_out_the_step_itself():
    before, after, back, on, between = along.near(np.array([1.0, np.nan, 3.0, 9.0])).T
    np.testing.assert_array_equal(before, [np.nan, 1, 1, 3])
    np.testing.assert_array_equal(after, [3, 3, 9, np.nan])
    np.testing.assert_array_equal(back, [np.nan, 1, 2, 1])
    np.testing.assert_array_equal(on, [2, 1, 1, np.nan])
    np.testing.assert_allclose(between, [3, 2, (1 * 1 + 9 * 2) / 3, 3])


def test_low_rank_series_are_recovered():
    rng = np.random.default_rng(1)
    matrix = walk(200, 2) @ rng.normal(size=(2, 8))
    matrix = series.standardised(matrix)
    seen, hidden = holed(matrix, 0.2)
    for fill in (lambda x: lowrank.dineof(x, 0, tol=1e-4), lambda x: lowrank.cdrec(x, 0, rank=2)):
        filled = fill(seen)
        assert np.array_equal(filled[~hidden], matrix[~hidden])
        assert np.sqrt(np.mean((filled - matrix)[hidden] ** 2)) < 0.05


def test_no_single_sign_turned_makes_a_centroid_longer():
    matrix = np.random.default_rng(0).normal(size=(30, 4))
    signs = lowrank._sign_vector(matrix, np.ones(30))
    longest = np.linalg.norm(matrix.T @ signs)
    for at in range(30):
        turned = signs.copy()
        turned[at] *= -1
        assert np.linalg.norm(matrix.T @ turned) <= longest + 1e-9


@pytest.mark.parametrize("order", [1, 2, 3])
def test_a_state_of_derivatives_has_the_covariance_of_its_matern(order):
    step, start = kalman.matern(order, 5.0)
    lags = np.arange(30)
    found = [(np.linalg.matrix_power(step, lag) @ start)[0, 0] for lag in lags]
    near = np.sqrt(2 * order - 1) * lags / 5.0
    known = {1: np.exp(-near), 2: (1 + near) * np.exp(-near), 3: (1 + near + near**2 / 3) * np.exp(-near)}[order]
    np.testing.assert_allclose(found, known, atol=1e-12)


@pytest.mark.parametrize("order", [1, 3])
def test_kalman_recursions_are_the_regression_of_a_gaussian_process(order):
    rng, noise = np.random.default_rng(0), 0.05
    values = np.where(rng.random(40) < 0.4, np.nan, rng.normal(size=40))
    step, start = kalman.matern(order, 4.0)
    drive, seen, times = start - step @ start @ step.T, ~np.isnan(values), np.arange(40)
    covariance = np.array([[(np.linalg.matrix_power(step, abs(a - b)) @ start)[0, 0] for a in times] for b in times])
    inner = covariance[np.ix_(seen, seen)] + noise * np.eye(seen.sum())
    known = covariance[:, seen] @ np.linalg.solve(inner, values[seen])
    np.testing.assert_allclose(kalman._smoothed(step, drive, start, noise, values), known, atol=1e-6)
    squares, logarithm, count = kalman._filtered(step, drive, start, noise, values)
    assert squares == pytest.approx(values[seen] @ np.linalg.solve(inner, values[seen]))
    assert (logarithm, count) == (pytest.approx(np.linalg.slogdet(inner)[1]), seen.sum())


def test_sensors_alike_fill_each_other():
    """ST-MVL's views of other sensors: a copy with another level is found by the regression on top."""
    one = walk(300, 1)
    matrix = np.hstack([one, one + 0.01 * np.random.default_rng(1).normal(size=one.shape), walk(300, 2)[:, 1:]])
    seen = matrix.copy()
    seen[100:150, 0] = np.nan
    assert np.abs(stmvl(seen, 0) - matrix)[100:150, 0].mean() < 0.1 < np.abs(along.line(seen, 0) - matrix)[100:150, 0].mean()


def test_smoothing_in_time_is_the_papers_sum():
    values = np.array([[2.0], [np.nan], [np.nan], [5.0], [7.0]])
    from benchmarks.measures.stmvl import GAMMA, _by_time

    weights = np.array([GAMMA * (1 - GAMMA) ** (abs(2 - at) - 1) for at in (0, 3, 4)])
    assert _by_time(values)[2, 0] == pytest.approx(weights @ [2.0, 5.0, 7.0] / weights.sum())


@pytest.mark.parametrize("peer", measures.PEERS, ids=lambda peer: peer.name)
def test_every_peer_fills_every_hole_and_keeps_what_was_seen(peer):
    pytest.importorskip("statsmodels", reason="needs statsmodels: pip install '.[dev]'")
    matrix = series.standardised(walk(60, 4))
    seen, hidden = holed(matrix, 0.3)
    seen[20:25], hidden[20:25] = np.nan, True  # a blackout
    filled, _ = measures.timed(peer.grid[peer.untuned], seen, 0)
    assert np.isfinite(filled).all() and not np.array_equal(filled[hidden], np.zeros(hidden.sum()))
    if peer.name not in ("straight line", "season and line"):
        np.testing.assert_allclose(filled[~hidden], matrix[~hidden], atol=1e-12)


def test_the_page_has_the_line_in_every_row_and_takes_folded_rows_from_flat_ones(tmp_path, monkeypatch):
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "folder", tmp_path)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    flat = next(row for row in ordered.ROWS if row.name == "air_quality/cells/50")
    folded = next(row for row in ordered.ROWS if row.name == "air_quality_41x24/cells/50")
    for peer, error in ((measures.PEERS[0], 0.68), (measures.PEERS[-1], 0.61)):
        ordered.peers(peer).measure({**ordered.key(flat, 0), "method": peer.untuned}, lambda error=error: {"nrmse": error})
    ordered.store().measure(ordered.key(folded, 0), lambda: {"nrmse": 0.549})
    ordered.write()
    text = (tmp_path / "ordered.md").read_text()
    assert "| air_quality | 50% cells | - | 0.6800 | trees | 0.6100 | - | - | 1 |" in text
    assert "| air_quality_41x24 | 50% cells | **0.5490** (0.5490-0.5490) | 0.6800 | trees | 0.6100 | 0.9 | 0.807 | 1 |" in text


def test_a_finished_cell_is_not_measured_again_and_none_of_ours_with_peers_only(tmp_path, monkeypatch):
    monkeypatch.setitem(store.Store.__init__.__kwdefaults__, "folder", tmp_path)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    made, row = [], next(row for row in ordered.ROWS if row.data == series.SMOOTH)
    monkeypatch.setattr(measures, "peer", lambda method, *row: made.append(method) or {"nrmse": 0.5})
    monkeypatch.setattr(measures, "ours", lambda *row: pytest.fail("ours was measured"))
    for _ in range(2):
        ordered.run(chosen=[row], seeds=[0], peers_only=True)
    assert sorted(made) == sorted(m for peer in measures.PEERS for m in peer.grid if measures.fits(peer, m, row.data))
    assert not [m for m in made if m.startswith("season")]


def test_the_line_stands_among_the_peers_of_multiway_data():
    line = next(peer for peer in entries.PEERS if peer.name == "straight line")
    array = np.random.default_rng(0).normal(size=(2, 5, 4, 3))
    array[0, 2, 1:3, 1] = np.nan
    array[0, 3, 3, 0] = np.nan
    filled = line.grid[line.untuned](array, 0)
    assert filled[0, 2, 1, 1] == pytest.approx((2 * array[0, 2, 0, 1] + array[0, 2, 3, 1]) / 3)
    assert filled[0, 3, 3, 0] == pytest.approx((array[0, 3, 2, 0] + array[0, 4, 0, 0]) / 2)  # over midnight
