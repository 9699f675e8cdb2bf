"""Sets made like people's data: their kinds of missing cells, what is measured of them, and the page."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import cases as page
from benchmarks.measures import cases as measures
from campaign import cases

SMALL = {
    "air": {"stations": 14, "hours": 240},
    "eem": {"samples": 3},
    "ocean": {"days": 9, "lats": 20, "lons": 22},
    "units": {},
    "smooth": {},
}


@pytest.mark.parametrize("name", SMALL)
def test_each_missing_cell_with_a_truth_is_of_one_kind_and_each_seed_has_a_set_of_its_own(name):
    made, again, other = (getattr(cases, name)(seed=seed, **SMALL[name]) for seed in (1, 1, 2))
    assert len(made.modes) == made.observed.ndim
    to_fill = np.isnan(made.observed) & ~np.isnan(made.truth)
    assert (sum(mask.astype(int) for mask in made.kinds.values()) == to_fill).all()
    np.testing.assert_array_equal(made.observed, again.observed)
    assert not np.array_equal(made.observed, other.observed, equal_nan=True)


def test_a_pair_of_air_is_never_seen_and_a_station_is_dead_for_a_tenth_of_the_time():
    made = cases.air(seed=1, **SMALL["air"])
    assert np.isnan(made.observed[12, :, 1]).all()
    assert made.kinds["never"].sum() == 240 and made.kinds["dead"].sum() == 4 * 24


def test_land_is_no_kind_and_has_no_truth():
    made = cases.ocean(seed=1, **SMALL["ocean"])
    land = np.isnan(made.truth).all(axis=(0, 1))
    assert 0.2 < land.mean() < 0.4 and not any((mask & land).any() for mask in made.kinds.values())


def test_figures_and_page_say_how_often_intervals_hold_and_what_was_said(tmp_path, monkeypatch):
    found = measures.ours("units", 1)
    assert set(found) == {"plain", "scaled", "all"}
    assert found["all"]["cells"] == found["plain"]["cells"] + found["scaled"]["cells"]
    assert 0.7 < found["all"]["inside"] <= 1 and 0.3 < found["all"]["said"] / found["all"]["rmse"] < 3
    written = {}
    monkeypatch.setattr(page.page, "write", lambda name, title, *parts: written.update({name: "\n".join(parts)}))
    monkeypatch.setattr(page, "store", lambda **how: page.Store("cases", timed=False, folder=tmp_path, **how))
    monkeypatch.setattr(measures, "ours", lambda name, seed: found)
    page.run(chosen=["units"], seeds=[1])
    assert "| units | plain |" in written["cases"] and f"{found['plain']['inside']:.3f}" in written["cases"]
