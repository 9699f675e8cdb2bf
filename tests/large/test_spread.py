"""Intervals of large fits: they cover what is hidden, wider where slices err more, and go through files and the command line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rankless import large
from rankless.cli import app
from rankless.large import LargeCompletion
from rankless.large.spread import Spread
from rankless.tensors.observations import Observations

MODES, SHAPE = ["site", "day", "sensor"], (60, 50, 4)
NOISE = np.array([0.1, 0.1, 0.1, 2.0])  # one sensor is twenty times as noisy


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[LargeCompletion, np.ndarray, np.ndarray]:
    """A fit of half of the cells, all values, and the hidden cells."""
    rng = np.random.default_rng(0)
    truth = np.einsum("ar,br,cr->abc", *(rng.normal(size=(d, 2)) for d in SHAPE)) + NOISE * rng.normal(size=SHAPE)
    seen = rng.random(SHAPE) < 0.5
    cells = np.argwhere(seen)
    file = tmp_path_factory.mktemp("spread") / "in.parquet"
    pd.DataFrame({**{name: cells[:, m] for m, name in enumerate(MODES)}, "v": truth[seen]}).to_parquet(file)
    done = large.complete(file, modes=MODES, value="v", n_jobs=1, depth=1, penalty=5.0)
    return done, truth, np.argwhere(~seen)


def test_intervals_cover_and_are_as_wide_as_a_sensor_errs():
    """The oracle: errors are normal, so half widths at .9 are 1.645 standard deviations of each slice."""
    rng, size = np.random.default_rng(1), 8000
    coords = np.stack([rng.integers(0, d, size) for d in (50, 40, 4)]).astype(np.int32)
    held = Observations(*_sorted(coords), (50, 40, 4))
    errors = NOISE[held.coords[2]] * rng.normal(size=held.size)
    odd = np.arange(held.size) % 2 == 1
    spread = Spread.of(held.subset(~odd), errors[~odd], held.subset(odd), errors[odd])
    assert spread.mode == 2
    cells = np.array([[0, 0, k] for k in range(4)])
    np.testing.assert_allclose(spread.half_widths(cells, 0.9), 1.645 * NOISE, rtol=0.1)


def _sorted(coords: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    unique = np.unique(coords, axis=1)
    return unique, np.zeros(unique.shape[1])


def test_what_is_hidden_lies_inside_as_often_as_is_promised(made):
    done, truth, hidden = made
    lower, upper = done.predict_interval(hidden, 0.8)
    true = truth[tuple(hidden.T)]
    assert np.mean((lower <= true) & (true <= upper)) == pytest.approx(0.8, abs=0.15)  # few entries take no part: a hundredth
    np.testing.assert_allclose((lower + upper) / 2, done.predict(hidden))


def test_files_and_commands_keep_them(made, tmp_path):
    done, _, hidden = made
    done.save(tmp_path / "m.npz")
    again = LargeCompletion.load(tmp_path / "m.npz")
    np.testing.assert_array_equal(again.predict_interval(hidden[:9], 0.7)[0], done.predict_interval(hidden[:9], 0.7)[0])
    pd.DataFrame(hidden[:9], columns=MODES).to_csv(tmp_path / "cells.csv", index=False)
    paths = [str(tmp_path / name) for name in ("m.npz", "cells.csv", "out.csv")]
    ran = CliRunner().invoke(app, ["predict", *paths[:2], "-o", paths[2], "--coverage", "0.7"])
    assert ran.exit_code == 0
    table = pd.read_csv(paths[2])
    np.testing.assert_allclose(table[["lower", "upper"]].to_numpy().T, done.predict_interval(hidden[:9], 0.7))
    done.fill(tmp_path / "all.parquet", 0.7)
    every = pd.read_parquet(tmp_path / "all.parquet")
    own = every[every.observed]
    assert (own.lower == own.v).all() and (own.upper == own.v).all()
    assert (every[~every.observed].lower < every[~every.observed].v).all()


def test_too_few_entries_are_said(made):
    done, _, hidden = made
    with pytest.raises(ValueError, match="calibration entries"):
        done.predict_interval(hidden[:2], 0.999)
    with pytest.raises(ValueError, match="is not a probability"):
        done.predict_interval(hidden[:2], 1.5)
