"""Missing cells are of kinds, by how far they lie from what was seen; each kind is learned from entries left out in the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from rankless import Observations, complete
from rankless.answer.intervals import ByKind, Calibration, inflation, left_out
from rankless.holdout.gaps import Gaps
from rankless.holdout.kinds import Kind, Kinds
from rankless.holdout.pieces import of_picture
from rankless.holdout.scoring import Errors
from rankless.runtime.workers import Workers

STATIONS, HOURS, POLLUTANTS = 14, 192, 4
FAST = {
    "depth": 1.0,
    "penalty": 1.0,
    "effects": False,
    "noise": None,
    "experts": ["components", "draws"],
    "value_transform": None,
    "random_state": 0,
}


def air(seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Stations x hours x pollutants: what is seen, the whole, and the missing cells by kind. A pair has a level nobody could know."""
    rng = np.random.default_rng(seed)
    shape = (STATIONS, HOURS, POLLUTANTS)
    waves = np.stack([np.sin(np.arange(HOURS) / length + shift) for length, shift in ((9, 0), (23, 1), (40, 2))], axis=1)
    whole = np.einsum("ir,jr,kr->ijk", 1 + 0.5 * rng.normal(size=(STATIONS, 3)), waves, 1 + 0.3 * rng.normal(size=(POLLUTANTS, 3)))
    whole += 1.0 * rng.normal(size=(STATIONS, 1, POLLUTANTS)) + 0.1 * rng.normal(size=shape)
    cells, days = rng.random(shape) < 0.04, np.repeat(rng.random((STATIONS, HOURS // 24, POLLUTANTS)) < 0.06, 24, axis=1)
    dead, never = np.zeros(shape, bool), np.zeros(shape, bool)
    dead[3, 60:100], never[5, :, 1], never[8, :, 1] = True, True, True
    kinds = {"cells": cells & ~days & ~dead & ~never, "days": days & ~dead & ~never, "dead": dead & ~never, "never": never}
    return np.where(cells | days | dead | never, np.nan, whole), whole, kinds


def observed(seen: np.ndarray) -> Observations:
    return Observations.from_array(seen, modes=["station", "hour", "pollutant"])


def kinds_of(obs: Observations) -> Kinds:
    found = Kinds.of(obs)
    assert found is not None
    return found


def test_each_missing_cell_is_of_the_kind_it_was_made_of():
    seen, _, made = air()
    found = kinds_of(observed(seen))
    assert found.kinds == (Kind(), Kind(run=True), Kind((2,)), Kind((1,)))
    for number, name in enumerate(("cells", "days", "dead", "never")):
        agree = np.mean(found.of_cells[made[name]] == number)
        assert agree > 0.97, f"{name}: {agree:.3f}"
    words = [found.in_words(kind, ["station", "hour", "pollutant"]) for kind in found.kinds]
    assert words == ["single cells", "runs along hour", "whole fibres along pollutant", "station x pollutant never seen"]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("shape", [(20, 30, 2), (12, 200), (5, 8, 6, 4)])
def test_cells_missing_by_chance_are_single_ones(share, shape):
    rng = np.random.default_rng(0)
    values = np.sin(np.arange(shape[1]) / 9).reshape([-1 if mode == 1 else 1 for mode in range(len(shape))]) + np.zeros(shape)
    assert Kinds.of(Observations.from_array(np.where(rng.random(shape) < share, np.nan, values))) is None


def test_cells_that_are_none_are_of_no_kind():
    sea = np.ones((10, 12, 15), bool)
    sea[3, 4], sea[7, 2:5] = False, False
    rng = np.random.default_rng(0)
    values = np.where(sea & (rng.random(sea.shape) > 0.1), rng.normal(size=sea.shape), np.nan)
    assert kinds_of(Observations.from_array(values)).kinds[1].whole == (2,)
    assert Kinds.of(Observations.from_array(values).within(sea)) is None


def test_entries_left_out_lie_as_the_missing_cells_do():
    seen, _, _ = air()
    obs = observed(seen)
    found = kinds_of(obs)
    mask = found.mask(obs, np.random.default_rng(1))
    held, rest = obs.subset(mask), obs.subset(~mask)
    of_entry = found.of_left_out(held, rest)
    assert 0.05 < mask.mean() < 0.35
    assert all((rest.counts(mode) > 0).all() for mode in range(3))
    pairs = np.unique(held.coords[:, of_entry == 3][[0, 2]], axis=1)
    assert pairs.shape[1] >= 2 and (pairs[1] == 1).all(), "pairs of the pollutant that was not measured, at other stations"
    left = np.zeros((STATIONS, POLLUTANTS), int)
    np.add.at(left, (rest.coords[0], rest.coords[2]), 1)
    assert (left[tuple(pairs)] == 0).all(), "whole pairs"
    dead = np.unique(held.coords[:, of_entry == 2][[0, 1]], axis=1)
    lengths = np.bincount(found.gaps(of_entry, held.coords)[of_entry == 1])
    assert dead.shape[1] >= 40, "as long as the station was dead"
    assert np.median(np.repeat(lengths, lengths)) > 12, "most such cells lie in runs of about a day"


def test_the_same_seed_leaves_out_the_same_entries():
    obs = observed(air()[0])
    one, two, other = (kinds_of(obs).mask(obs, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_one_kind_alone_is_calibrated_as_before():
    rng = np.random.default_rng(0)
    obs = Observations.from_array(np.where(rng.random((20, 30, 5)) < 0.2, np.nan, rng.normal(size=(20, 30, 5))))
    kinds, parts = left_out(obs, np.random.default_rng(0), None, 500)
    assert kinds is None and len(list(parts)) > 1


def test_each_kind_has_a_quantile_of_its_own_and_the_worst_stands_in_for_one_without_entries():
    obs = observed(air()[0])
    found = kinds_of(obs)
    rng = np.random.default_rng(2)
    mask = found.mask(obs, rng)
    by = ByKind(found, obs.subset(mask), found.of_left_out(obs.subset(mask), obs.subset(~mask)))
    sizes = np.array([1.0, 2.0, 5.0, 20.0])
    quantiles = by.quantiles(rng.normal(size=by.entries.size) * sizes[by.of_entry], 0.9)
    np.testing.assert_allclose(quantiles / sizes, 1.645, rtol=0.2)
    without = ByKind(found, by.entries.subset(by.of_entry < 3), by.of_entry[by.of_entry < 3])
    few = without.quantiles(rng.normal(size=without.entries.size) * sizes[without.of_entry], 0.9)
    assert few[3] == few.max() == few[2]
    assert np.sum(by.weights) == pytest.approx(found.counts.sum())


def test_few_gaps_that_err_as_one_widen_by_students_t():
    """The oracle: a new level lies within t times the spread of a few as often as is promised, though not within 1.645 times."""
    rng, inside, plain = np.random.default_rng(0), [], []
    for _ in range(1500):
        levels = rng.normal(size=6)
        errors, gaps = np.repeat(levels, 50), np.repeat(np.arange(6), 50)
        width = np.sqrt(np.mean(errors**2)) * 1.645
        new = abs(rng.normal())
        plain.append(new < width)
        inside.append(new < width * inflation(errors, gaps, 0.9))
    assert np.mean(plain) < 0.87
    assert abs(np.mean(inside) - 0.9) < 0.03


@dataclass(frozen=True, eq=False)
class Lines:
    """A stand-in for an answer: straight lines in time; of a pair never seen what its hour and pollutant are at other stations."""

    errors: Errors
    values: np.ndarray
    gaps: None = None
    loss: None = None

    @classmethod
    def of(cls, obs: Observations) -> Lines:
        return cls(Errors(obs, obs.values), np.zeros(0)).again(obs, None, None)

    def again(self, obs, rng, workers, gaps=False) -> Lines:
        array = np.full(obs.shape, np.nan)
        array[tuple(obs.coords)] = obs.values
        for series in (array[i, :, k] for i in range(obs.shape[0]) for k in range(obs.shape[2])):
            known = ~np.isnan(series)
            if known.any():
                series[~known] = np.interp(np.flatnonzero(~known), np.flatnonzero(known), series[known])
        return replace(self, values=np.where(np.isnan(array), np.nanmean(array, axis=0, keepdims=True), array))

    def at(self, indices):
        return self.values[tuple(indices.T)]

    expected = at


def test_intervals_cover_in_every_kind():
    """Coverage at .9, over data sets: within 3 points in each kind that has many gaps, within 6 where a set has one or two."""
    inside: dict[str, list[float]] = {}
    widths: dict[str, list[float]] = {}
    for seed in range(24):
        seen, whole, made = air(seed)
        obs = observed(seen)
        train, held = obs.split(0.1, seed=seed)
        answer, known = Lines.of(obs), Lines.of(train)
        answer = replace(answer, errors=Errors(held, held.values - known.at(held.indices)))
        with Workers(1) as workers:
            found = Calibration.of(answer, obs, seed=np.random.default_rng(seed), workers=workers)
        for name, mask in made.items():
            cells = np.argwhere(mask)
            said = answer.at(cells)
            width = found.half_widths(cells, said, [np.zeros(d, bool) for d in obs.shape], 0.9)
            inside.setdefault(name, []).append(float(np.mean(np.abs(whole[mask] - said) <= width)))
            widths.setdefault(name, []).append(float(np.mean(width)))
    means = {name: float(np.mean(each)) for name, each in inside.items()}
    for name, bound in (("cells", 0.03), ("days", 0.03), ("dead", 0.06), ("never", 0.06)):
        assert abs(means[name] - 0.9) < bound, means
    assert np.mean(widths["never"]) > 2 * np.mean(widths["cells"]), "one width for all would do"


def test_scores_are_told_by_kind_and_their_whole_counts_kinds_as_they_are_missing():
    seen, whole, made = air(1)
    with pytest.warns(UserWarning, match="mode_0 5 x mode_2 1, 8 x 1 were never observed|5 x 1, 8 x 1 were never observed along mode_1"):
        done = complete(seen, **FAST)
    table = done.score_by_kind()
    assert list(table.index) == ["single cells", "runs along mode_1", "whole fibres along mode_2", "mode_0 x mode_2 never seen"]
    assert table.missing.sum() == np.isnan(seen).sum()
    wrong = (done.array() - whole) ** 2
    for name, kind in zip(("cells", "days"), table.rmse, strict=False):
        assert kind == pytest.approx(np.sqrt(wrong[made[name]].mean()), rel=0.25)
    assert table.rmse.iloc[3] > 3 * table.rmse.iloc[0]
    assert done.score().rmse.item() == pytest.approx(np.sqrt(np.average(table.rmse**2, weights=table.missing)))
    assert any("never observed" in text for text in done.cautions()) and "never observed" in done.summary()


def test_data_whose_cells_are_of_one_kind_have_one_row():
    rng = np.random.default_rng(0)
    seen = np.add.outer(rng.normal(size=20), rng.normal(size=15)) + 0.1 * rng.normal(size=(20, 15))
    seen[rng.random(seen.shape) < 0.2] = np.nan
    table = complete(seen, **FAST).score_by_kind()
    assert list(table.index) == ["all missing cells"] and table.missing.item() == np.isnan(seen).sum()


# --- pictures: a pattern that is the same in all slices of a mode -----------------------------------


def spectra(samples: int = 6, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fluorescence, samples x emission x excitation: seen, whole and noisy, and the mask of the bands and the triangle without a value."""
    rng = np.random.default_rng(seed)
    emission, excitation = np.arange(280, 602, 4.0), np.arange(240, 452, 6.0)

    def peak(x, middle, width):
        return np.exp(-(((x - middle) / width) ** 2) / 2)

    sent = np.stack([peak(emission, 305, 14), peak(emission, 350, 22), peak(emission, 440, 45)], 1)
    taken = np.stack([peak(excitation, 275, 9) + 0.5 * peak(excitation, 245, 12), peak(excitation, 282, 12), peak(excitation, 345, 28)], 1)
    truth = 100 * np.einsum("ir,jr,kr->ijk", rng.gamma(2, 1, size=(samples, 3)), sent, taken)
    noisy = truth + rng.normal(size=truth.shape)
    e, x = np.meshgrid(emission, excitation, indexing="ij")
    gone = np.broadcast_to((abs(e - x) < 14) | (e < x) | (abs(e - 2 * x) < 14), truth.shape)
    return np.where(gone, np.nan, noisy), noisy, gone


def test_bands_that_are_the_same_in_all_samples_are_a_picture_and_are_grown_where_they_lie():
    seen, _, gone = spectra()
    obs = Observations.from_array(seen)
    gaps = Gaps.of(obs)
    assert gaps is not None and gaps.whole == (0,) and gaps.plane == (1, 2) and gaps.run is None
    mask = gaps.mask(obs, gaps.share(obs, 0.1), np.random.default_rng(0))
    assert 0.05 < mask.mean() < 0.2
    held = np.zeros(seen.shape, bool)
    held[tuple(obs.coords[:, mask])] = True
    assert (held == held[0]).all(), "in all samples"
    far = np.ones(gone.shape[1:], bool)
    for step in range(-4, 5):
        for other in range(-4, 5):
            far &= ~np.roll(gone[0], (step, other), axis=(0, 1))
    assert not (held[0] & far).any(), "next to what is missing"


def test_inner_pieces_are_moved_and_keep_their_size():
    missing = np.zeros((30, 40), bool)
    missing[10:14, 20:25] = True
    hidden = of_picture(missing, (~missing).astype(int), 0.05, np.random.default_rng(0))
    assert not (hidden & missing).any()
    assert 0.03 < hidden.sum() / (~missing).sum() < 0.08
    assert hidden.any(axis=1).sum() >= 4 and hidden.any(axis=0).sum() >= 5


def test_the_error_and_the_intervals_of_spectra_are_those_of_their_bands():
    """Runs drawn anywhere on the picture said ten times the error, and intervals as much too wide, because they hid whole peaks."""
    seen, noisy, gone = spectra()
    done = complete(seen, **FAST, max_rank=3)
    error = np.sqrt(np.mean((done.array() - noisy)[gone] ** 2))
    lower, upper = done.interval(0.9)
    inside = np.mean(((lower <= noisy) & (noisy <= upper))[gone])
    assert done.score().rmse.item() == pytest.approx(error, rel=0.35)
    assert done.estimator.holdout_rmse_ == pytest.approx(error, rel=0.35)
    assert inside == pytest.approx(0.9, abs=0.06)
