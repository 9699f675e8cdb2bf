"""The pattern of what is missing is read off it, and held-out entries come the same way."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.holdout.gaps import Gaps
from rankless.tensors.observations import Observations

SHAPE = (20, 40, 6)


def holed(missing: np.ndarray) -> Observations:
    values = np.random.default_rng(9).normal(size=SHAPE)
    return Observations.from_array(np.where(np.broadcast_to(missing, SHAPE), np.nan, values))


def blocks(share: float, length: int, step: int = 1) -> np.ndarray:
    """Whole fibres along the last mode, in runs along the second that begin at any of its places, or at every one of `step`."""
    rng, missing = np.random.default_rng(0), np.zeros(SHAPE[:2], dtype=bool)
    while missing.mean() < share:
        start = rng.integers(1 - length, SHAPE[1]) // step * step
        missing[rng.integers(SHAPE[0]), max(start, 0) : start + length] = True
    return missing[..., None]


def seen(obs: Observations) -> Gaps:
    gaps = Gaps.of(obs)
    assert gaps is not None
    return gaps


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_cells_missing_one_by_one_are_no_gaps(share):
    assert Gaps.of(holed(np.random.default_rng(0).random(SHAPE) < share)) is None


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_whole_fibres_are_seen(share):
    assert Gaps.of(holed(np.random.default_rng(0).random((20, 40, 1)) < share)) == Gaps((2,), None, 1)
    assert Gaps.of(holed(np.random.default_rng(0).random((20, 1, 6)) < share)) == Gaps((1,), None, 1)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_runs_of_fibres_are_seen_and_about_how_long_they_are(share):
    gaps = seen(holed(blocks(share, 6)))
    assert (gaps.whole, gaps.run) == ((2,), 1)
    assert 4 <= gaps.length <= 8


@pytest.mark.parametrize("share, step", [(0.3, 1), (0.6, 1), (0.3, 6), (0.6, 6)])
def test_entries_are_held_out_in_runs_as_long_as_those_that_are_missing(share, step):
    """Whole weeks that meet are missing as months, and a day held out within a week lies too near to what was seen."""

    def mean_run(missing: np.ndarray, cells: np.ndarray) -> float:
        """The length of the run of missing fibres in which one of `cells` lies, on average."""
        lengths = np.zeros(missing.shape)
        for line, out in zip(missing, lengths, strict=True):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]])))
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                out[start:stop] = stop - start
        return float(np.mean(lengths[cells]))

    obs = holed(blocks(share, 6, step))
    missing = ~obs.observed()[..., 0]
    found = []
    for seed in range(20):
        held = obs.subset(seen(obs).mask(obs, 0.1, np.random.default_rng(seed))).observed()[..., 0]
        found.append(mean_run(missing | held, held))
    assert 0.8 < np.mean(found) / mean_run(missing, missing) < 1.2


def test_sensors_that_take_turns_are_held_out_in_runs():
    """Each entry is the last of its time, which a hold-out of gaps may take, as one of single cells may."""
    rng = np.random.default_rng(0)
    series, turns = rng.normal(size=(300, 2)), np.repeat(np.arange(60) % 2, rng.integers(2, 12, 60))[:300]
    series[np.arange(300), turns] = np.nan
    obs = Observations.from_array(series)
    assert seen(obs).run == 0 and seen(obs).mask(obs, 0.1, np.random.default_rng(0)).sum() >= 24


def test_runs_of_cells_are_seen():
    rng = np.random.default_rng(0)
    series = rng.normal(size=(30, 200))
    for _ in range(60):
        row, start = rng.integers(30), rng.integers(190)
        series[row, start : start + 10] = np.nan
    gaps = seen(Observations.from_array(series))
    assert (gaps.whole, gaps.run) == ((), 1)


def test_slices_never_seen_are_no_pattern():
    missing = np.random.default_rng(0).random(SHAPE) < 0.3
    missing[3:9] = True
    assert Gaps.of(holed(missing)) is None


def test_nothing_missing_and_next_to_nothing_are_no_pattern():
    assert Gaps.of(holed(np.zeros(SHAPE, dtype=bool))) is None
    missing = np.zeros(SHAPE, dtype=bool)
    missing[0, 0] = True
    assert Gaps.of(holed(missing)) is None


@pytest.mark.parametrize("length", [1, 6])
def test_the_hold_out_has_the_pattern_the_share_and_no_whole_slice(length):
    obs = holed(blocks(0.3, length))
    gaps = seen(obs)
    mask = gaps.mask(obs, 0.2, np.random.default_rng(0))
    assert mask.mean() == pytest.approx(0.2, abs=0.03)
    fibres = obs.coords[0] * SHAPE[1] + obs.coords[1]
    assert len(np.intersect1d(fibres[mask], fibres[~mask])) == 0, "fibres are held out whole"
    left, held = obs.subset(~mask), obs.subset(mask)
    assert all((left.counts(mode) > 0).all() for mode in range(3))
    assert seen(left).whole == gaps.whole
    grid = np.zeros(SHAPE[:2], dtype=bool)
    grid[tuple(held.coords[:2])] = True
    starts = np.count_nonzero(np.diff(grid.astype(int), axis=1, prepend=0) == 1)
    assert np.count_nonzero(grid) / starts > 0.5 * length


def test_the_hold_out_hangs_on_the_seed_alone():
    obs = holed(blocks(0.3, 6))
    one, two, other = (seen(obs).mask(obs, 0.1, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
