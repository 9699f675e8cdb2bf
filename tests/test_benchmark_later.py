"""What is measured of feeds, places, ratings and components, on the smallest cases, and the page."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import later as page
from benchmarks import scoreboard
from benchmarks.measures import later as measures


def test_kriging_is_the_mean_of_a_normal_with_an_unknown_drift():
    rng = np.random.default_rng(0)
    places = rng.uniform(size=(7, 2))
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    seen = rng.normal(size=(7, 3))
    seen[5:] = np.nan
    said = measures._kriged(seen, np.array([5, 6]), apart, np.ones((7, 1)), 1.0, 0.1)
    middle = np.median(apart[np.triu_indices(7, 1)])
    covariance = np.exp(-apart / middle) + 1e7  # a mean of which nothing is known: normal with a great variance
    wanted = covariance[5:, :5] @ np.linalg.solve(covariance[:5, :5] + 0.1 * np.eye(5), seen[:5])
    np.testing.assert_allclose(said, wanted, atol=1e-4)


def test_distances_are_those_on_the_globe():
    apart = measures._globe(np.array([0.0, 0.0, 90.0]), np.array([0.0, 90.0, 0.0]))
    np.testing.assert_allclose(apart, np.pi / 2 * (1 - np.eye(3)), atol=1e-12)


@pytest.mark.parametrize("name", measures.ASSURED)
def test_sets_have_holes_and_what_was_planted(name):
    array, factors = measures.ASSURED[name].make(0)
    assert 0.2 < np.isnan(array).mean() < 0.8
    assert factors is None or factors[0].shape[1] == measures.ASSURED[name].count


def figures(row) -> dict[str, float]:
    """What a measure could give: all ones but where it matters."""
    if row.group == "feed":
        errors = {f"{what}_{cells}": 0.5 for what in ("folded", "scratch", "updated") for cells in ("fed", "all")}
        return errors | {"update": 1, "whole": 20}
    if row.group in ("cold", "ratings"):
        return {"side": 0.4, "plain": 0.8, "kriging": 0.5, "ridge": 0.5, "inside": 0.91}
    if row.group == "neurons":
        return {f"{of}_{what}": 4 for of in ("poisson", "squares") for what in ("matched", "seconds", "error")}
    return {"count": measures.ASSURED[row.name].count, "starts": 0.999, "halves": 0.991, "seconds": 2}


def test_the_page_and_the_scoreboard_say_what_was_measured(tmp_path, monkeypatch):
    written = {}
    monkeypatch.setattr(page.page, "write", lambda name, title, *parts: written.update({name: "\n".join(parts)}))
    monkeypatch.setattr(page, "store", lambda **how: page.Store("later", timed=False, folder=tmp_path, **how))
    rows = [page.Row(row.group, row.name, lambda seed, row=row: figures(row), row.seeds) for row in page.ROWS]
    page.run(chosen=rows)
    assert "| New York, 60 days, then 10 | 0.5 | 0.5 | 0.5 | 1.000 | 1.000 | 1 | 20 | 0.050 | 2 |" in written["later"]
    assert "| Met Office, stations | 0.4 | 0.8 | 0.5 | 0.800 | 0.91 | 3 |" in written["later"]
    assert "| noise | 0 | 0, 0, 0, 0, 0 |" in written["later"]
    found = list(scoreboard.tomorrow())
    assert found and all(figure.holds for figure in found), [figure.what for figure in found if not figure.holds]
    monkeypatch.setattr(page, "store", lambda **how: page.Store("later", timed=False, folder=tmp_path / "none", **how))
    assert all(figure.holds is None and figure.measured.startswith("not measured") for figure in scoreboard.tomorrow())
