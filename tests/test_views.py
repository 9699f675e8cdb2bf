"""Views: the numbers behind page and plots, against dense arrays and plain loops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages import DAYS, HOSTILE, finished, observations
from rankless.kinds.given import Dense
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.views.axes import axes_of, axis_of, longest
from rankless.views.components import Components, is_smooth
from rankless.views.coverage import gap_length, pattern, run_length, slice_shares
from rankless.views.heldout import HeldOut
from rankless.views.slices import choose, fibre
from rankless.views.words import headline, warnings

masks = st.integers(0, 2**32 - 1).map(lambda seed: _mask(np.random.default_rng(seed)))


def _mask(rng: np.random.Generator) -> np.ndarray:
    mask = rng.random(tuple(rng.integers(2, 9, size=3))) < rng.uniform(0.1, 0.9)
    mask[0, 0, 0] = True
    return mask


def of_mask(mask: np.ndarray) -> Observations:
    return Observations.from_array(np.where(mask, 1.0, np.nan))


def runs(line: np.ndarray, what: bool) -> list[int]:
    """Lengths of the runs of `what` in a line of booleans."""
    lengths, current = [], 0
    for cell in [*line, not what]:
        if cell == what:
            current += 1
        elif current:
            lengths.append(current)
            current = 0
    return lengths


# --- axes -------------------------------------------------------------------------------------------


def kinds(*labels: Any) -> list[str]:
    return [axis.kind for axis in axes_of(labelled(*labels))]


def labelled(*labels: Any) -> Observations:
    return Observations.from_array(np.ones([3 if one is None else len(one) for one in labels]), labels=labels)


def test_kinds_of_axes():
    assert kinds(["x", "y", "z"], DAYS[:3], ["2013-02-31"] * 3, None) == ["category", "time", "category", "category"]
    obs = Observations.from_array(np.ones((9, 2)))
    assert [axis.kind for axis in axes_of(obs)] == ["ordered", "category"]  # of two slices, numbers may be names
    assert longest(axes_of(observations())).name == "day"


def test_labels_in_order_are_an_ordered_axis_however_few():
    years, months, text = np.arange(2014, 2022), np.arange(1, 13), ["01", "02", "10"]
    assert kinds(years, months, text) == ["ordered"] * 3
    assert kinds(["2014", "2015"], [60.0, 0.5, -60.0], ["2024-03", "2024-02"]) == ["ordered", "ordered", "time"]
    assert kinds([3, 1, 2], ["1", "10", "2"], ["1", "2", "x"]) == ["category"] * 3
    assert axis_of(labelled(text, years), 0).values.tolist() == [1, 2, 10]
    assert axis_of(labelled(["0.5", "1"], years), 0).values.tolist() == [0.5, 1.0]
    assert axis_of(labelled(["1" * 30, "2" * 30], years), 0).values.tolist() == [float("1" * 30), float("2" * 30)]


def test_times_with_a_zone_are_those_of_the_clock_unless_it_was_put_back():
    aware = pd.date_range("2024-03-30", periods=3, tz="Europe/Paris")
    axis = axis_of(labelled(np.asarray(aware), ["x", "y"]), 0)
    assert (axis.kind, axis.values.tolist()) == ("time", np.array(aware.tz_localize(None)).astype(axis.values.dtype).tolist())
    autumn = pd.date_range("2024-10-27", periods=5, tz="Europe/Paris", freq="h")
    axis = axis_of(labelled(np.asarray(autumn), ["x", "y"]), 0)
    np.testing.assert_array_equal(axis.values, autumn.tz_convert(None).to_numpy())
    assert kinds(["2024-01-01T00:00Z", "2024-01-01T06:00Z"], ["2024-01-01 00+0100", "2024-01-01 06+0100"]) == ["time", "time"]


def test_dates_of_other_calendars_are_in_order():
    assert kinds(["2001-02-28", "2001-02-29", "2001-02-30"], ["2001-02-30", "2001-02-29", "2001-03-01"]) == ["ordered", "category"]


def test_a_few_years_are_no_axis_to_look_along():
    assert longest(axes_of(labelled([2014, 2015, 2016], [f"site {i}" for i in range(20)]))).mode == 1
    assert longest(axes_of(labelled([2014, 2015, 2016], np.arange(9)))).mode == 1


def test_spans_of_time_are_numbers_of_their_longest_unit():
    lead = np.array([0, 6, 36], "timedelta64[h]").astype("timedelta64[ns]")
    axis = axis_of(labelled(lead, ["x", "y"]), 0)
    assert (axis.kind, axis.name, axis.values.tolist()) == ("ordered", "mode_0 (hours)", [0, 6, 36])
    assert [axis.label(i) for i in range(3)] == ["0 days", "6 hours", "36 hours"]
    axis = axis_of(labelled(np.array([1, 1500], "timedelta64[ms]"), ["x", "y"]), 0)
    assert (axis.name, axis.values.tolist()) == ("mode_0 (seconds)", [0.001, 1.5])
    assert kinds(np.array(["NaT", 1], "timedelta64[s]"), ["x", "y"]) == ["category", "category"]


def test_positions_make_places_and_are_checked():
    obs = of_mask(np.ones((3, 4), bool))
    assert axis_of(obs, 0, {"mode_0": np.ones((3, 2))}).kind == "places"
    with pytest.raises(ValueError, match=r"positions of 'mode_0' have shape \(2, 2\); pass finite numbers of shape \(3, 2\)"):
        axes_of(obs, {"mode_0": np.ones((2, 2))})
    with pytest.raises(ValueError, match="no mode 'station'"):
        axes_of(obs, {"station": np.ones((3, 2))})


# --- coverage ---------------------------------------------------------------------------------------


@given(masks)
def test_shares_and_patterns_are_means_of_the_mask(mask):
    obs = of_mask(mask)
    for mode in range(3):
        np.testing.assert_allclose(slice_shares(obs, mode), np.moveaxis(mask, mode, 0).reshape(mask.shape[mode], -1).mean(axis=1))
    seen = pattern(obs, 0, 2, rows=3, columns=4)
    assert seen.share.shape == (min(3, mask.shape[0]), min(4, mask.shape[2]))
    for i, row in enumerate(np.split(mask, seen.rows[1:], axis=0)):
        for j, block in enumerate(np.split(row, seen.columns[1:], axis=2)):
            assert seen.share[i, j] == pytest.approx(block.mean())


@given(masks)
def test_gaps_and_runs_are_those_counted_by_hand(mask):
    for mode in range(3):
        lines = np.moveaxis(mask, mode, -1).reshape(-1, mask.shape[mode])
        gaps = np.array([n for line in lines if line.any() for n in runs(line, False)], float)
        assert gap_length(of_mask(mask), mode) == pytest.approx((gaps**2).sum() / gaps.sum() if len(gaps) else 0.0)
        seen = np.array([n for line in lines for n in runs(line, True)], float)
        assert run_length(of_mask(mask), mode) == pytest.approx((seen**2).sum() / seen.sum())


# --- components -------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_components_are_the_model_in_another_scale(seed):
    rng = np.random.default_rng(seed)
    model = CPTensor([rng.normal(size=(d, 4)) for d in (3, 7, 5)])
    shown = Components.of(model)
    scale = shown.sizes / np.sqrt(3 * 7 * 5)  # of vectors of root mean square 1
    np.testing.assert_allclose(np.einsum("r,ir,jr,kr->ijk", scale, *shown.vectors), model.full(), atol=1e-9)
    assert (np.diff(shown.sizes) <= 0).all()
    assert shown.shares.sum() == pytest.approx(1.0)
    for mode in (0, 2):  # the longest mode has the sign
        vectors = shown.vectors[mode]
        assert (np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], 0) > 0).all()


def test_smoothness_needs_neighbours_alike():
    line = np.sin(np.arange(100) / 10)[:, None]
    assert is_smooth(line, np.ones(1))
    assert not is_smooth(np.random.default_rng(0).permutation(line), np.ones(1))
    assert not is_smooth(line[:2], np.ones(1))


# --- fibres -----------------------------------------------------------------------------------------


def test_a_fibre_holds_what_was_observed_and_what_was_filled():
    done, obs = finished(), observations()
    shown = fibre(done, {"sensor": HOSTILE, "hour": 12})
    dense = np.full(obs.shape, np.nan)
    dense[tuple(obs.coords)] = obs.values
    np.testing.assert_array_equal(shown.observed, dense[0, :, 11])
    cells = np.column_stack([np.zeros(60, int), np.arange(60), np.full(60, 11)])
    np.testing.assert_array_equal(shown.filled, done.predict(cells))
    assert shown.title == f"sensor {HOSTILE}, hour 12"
    assert len(fibre(done, {"sensor": 0, "hour": 12}, most=20).places) == 20
    with pytest.raises(ValueError, match="leaves 2 modes of 'sensor', 'day', 'hour' free; name a slice of all modes but one"):
        fibre(done, {"hour": 3})
    with pytest.raises(ValueError, match="no slice 99 in 'hour'; its slices are 1, 2, 3, 4, 5"):
        fibre(done, {"sensor": "plain", "hour": 99})


def test_the_window_of_a_long_fibre_is_where_gaps_are():
    seen = np.ones((2, 5000), bool)
    seen[:, 3000:3100:2] = False
    model = CPTensor([np.ones((2, 1)), np.ones((5000, 1))])
    shown = fibre(stand_in(of_mask(seen), model), {"mode_0": 0}, most=100)
    assert shown.places[0] <= 3001
    assert shown.places[-1] >= 3098


def test_chosen_fibres_have_gaps_and_differ():
    obs = observations()
    spots = choose(finished(), count=8)
    assert len(spots) == 8
    assert {spot["sensor"] for spot in spots} == {0, 1, 2, 3}
    assert len({spot["hour"] for spot in spots}) == 8
    for spot in spots:
        count = int(((obs.coords[0] == spot["sensor"]) & (obs.coords[2] == int(spot["hour"]))).sum())  # pyright: ignore[reportArgumentType]
        assert 0 < count < 60


def test_intervals_are_those_of_the_completion():
    done = finished()
    lower, upper = done.interval(0.9)
    shown = fibre(done, {"sensor": 1, "hour": 5})
    gaps = np.isnan(shown.observed)
    assert shown.lower is not None and shown.upper is not None
    np.testing.assert_array_equal(shown.lower[gaps], lower[1, gaps, 4])
    np.testing.assert_array_equal(shown.upper[gaps], upper[1, gaps, 4])
    assert (shown.lower < shown.filled).all()
    assert (shown.filled < shown.upper).all()


def test_without_enough_entries_there_is_no_interval():
    done = stand_in(of_mask(np.ones((3, 9), bool)), CPTensor([np.ones((3, 1)), np.ones((9, 1))]))
    assert fibre(done, {"mode_0": 1}).lower is None


# --- held-out entries -------------------------------------------------------------------------------


def test_errors_are_those_of_the_scores():
    done, obs = finished(), observations()
    held = HeldOut.of(done)
    assert held is not None
    assert held.rmse == pytest.approx(done.score()["rmse"].iloc[0])
    known = dict(zip(map(tuple, obs.indices.tolist()), obs.values, strict=True))
    np.testing.assert_allclose(held.entries.values, [known[tuple(i)] for i in held.entries.indices.tolist()], rtol=1e-12)
    for mode, name in enumerate(obs.modes):
        error, own, counts = held.by_slice(mode)
        table = done.score(by=name)
        np.testing.assert_allclose(error, table["rmse"])
        np.testing.assert_allclose(own, table["std"], atol=1e-12)
        np.testing.assert_array_equal(counts, table["entries"])
    assert np.isnan(held.by_slice(1)[0][59])
    assert len(held.sample(50)[0]) <= 50


# --- words ------------------------------------------------------------------------------------------


def stand_in(obs: Observations, model: CPTensor, rmse: float = 0.1, held: Observations | None = None) -> Any:
    """What views need of a completion, its model given; `held` are the entries no choice has seen, all `rmse` off."""

    def refuse(*_):
        raise ValueError("too few")

    estimator = SimpleNamespace(
        loss="gaussian",
        holdout_rmse_=rmse,
        effects_=False,
        drawn_=None,
        nearby_=None,
        unfolded_=None,
        calibration_errors=refuse if held is None else lambda: (held, np.full(held.size, rmse)),
        calibration_kinds=lambda: None,
    )
    path = pd.DataFrame({"penalty": [1.0], "depth": [1.0], "holdout_rmse": [rmse], "rank": [model.rank], "start": ["grow"]})
    return SimpleNamespace(
        estimator=estimator,
        observations=obs,
        given=Dense(obs),
        fits=[model],
        best=model,
        transform=SimpleNamespace(name="none"),
        rank=model.rank,
        depth=1.0,
        penalty=1.0,
        path=path,
        predict=model.at,
        predict_interval=refuse,
        cautions=lambda: ["be careful."],
    )


def test_the_headline_says_how_much_how_good_and_how_many():
    done, obs = finished(), observations()
    text = headline(done)
    assert text.startswith(f"{obs.cells - obs.size:,} of 2,880 cells (")
    assert f"error is {done.score()['rmse'].iloc[0]:.3g}, where guessing the mean gives {obs.values.std():.3g}" in text
    assert f"{done.fits[0].rank} components at depth" in text


def test_what_to_beware_of_is_said_with_labels():
    said = " ".join(warnings(finished()))
    assert "1 slice of day has no observed entry and is filled from main effects: 2024-04-29 (extrapolation)." in said
    assert "has run away" not in said


def test_long_gaps_thin_and_poor_slices_are_warned_of():
    rng = np.random.default_rng(2)
    array = rng.normal(size=(12, 400)) + 10 * np.sin(np.arange(400) / 7)
    array[:, 100:250] = np.nan
    array[3, 5:] = np.nan
    array[7] *= 1.06 / np.nanstd(array[7])  # of hardly more variance than its errors
    obs = Observations.from_array(array)
    held = obs.subset(rng.random(obs.size) < 0.2)
    done = stand_in(obs, CPTensor([np.ones((12, 1)), np.ones((400, 1))]), rmse=1.0, held=held)
    said = warnings(done)
    assert said[0] == "Be careful."
    assert any(text.startswith("A missing cell lies on average in a gap of 1") for text in said)
    assert any(text.startswith("1 slice of mode_0 has under a tenth of the usual entries: 3.") for text in said)
    assert any(text.startswith("In 1 slice of mode_0 the error on hidden entries is") and text.endswith("mean: 7.") for text in said)


def test_good_data_raise_no_warning_of_their_own():
    mask = np.random.default_rng(3).random((10, 12)) < 0.8
    done = stand_in(Observations.from_array(np.where(mask, np.arange(12.0) + 1, np.nan)), CPTensor([np.ones((10, 1)), np.ones((12, 1))]))
    assert warnings(done) == ["Be careful."]
