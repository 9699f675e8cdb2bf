"""The demo: its data, its words, and one small run from end to end."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankless import demo
from rankless.completion import complete
from rankless.demo import weather, words
from rankless.kinds.standard import Standard
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

AIRPORTS = ["EWR", "JFK", "LGA"]
VARIABLES = ["temp", "dewp", "pressure"]
MONTHS = np.array(np.arange("2013-01-01", "2014-01-01", dtype="datetime64[D]"), dtype="datetime64[M]").astype(int) % 12 + 1


def summer_afternoon() -> list[np.ndarray]:
    """A component strongest on July afternoons, everywhere: temperature up, pressure down."""
    return [
        np.ones(3),
        2.0 - np.cos(2 * np.pi * (np.arange(365) - 15) / 365),
        1.5 + np.cos(2 * np.pi * (np.arange(24) - 15) / 24),
        np.array([1.0, 0.1, -0.6]),
    ]


def model_of(*components: list[np.ndarray]) -> CPTensor:
    return CPTensor([np.column_stack(vectors) for vectors in zip(*components, strict=True)])


def test_a_component_is_put_into_words():
    ((share, text),) = words.describe(model_of(summer_afternoon()), AIRPORTS, MONTHS, VARIABLES)
    assert share == 1.0
    assert text == "temp up with pressure down; most at 15:00, least at 3:00; most in July, least in January; all airports alike"


def test_flat_and_fast_profiles_are_called_so():
    fast = np.random.default_rng(0).choice([-1.0, 1.0], 365)
    ((_, text),) = words.describe(model_of([np.array([1.0, 3.0, 1.5]), fast, np.ones(24), np.eye(3)[1]]), AIRPORTS, MONTHS, VARIABLES)
    assert text == "dewp up; all hours alike; comes and goes from day to day; most at JFK, least at EWR"


@given(st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3), st.lists(st.floats(0.1, 10.0), min_size=4, max_size=4))
def test_words_do_not_depend_on_how_sign_and_scale_are_shared(signs, scales):
    signs = [*signs, float(np.prod(signs))]
    other = [s * c * vector for s, c, vector in zip(signs, scales, summer_afternoon(), strict=True)]
    same = words.describe(model_of(summer_afternoon()), AIRPORTS, MONTHS, VARIABLES)
    assert words.describe(model_of(other), AIRPORTS, MONTHS, VARIABLES) == same


def test_shares_add_up_largest_first():
    small = [summer_afternoon()[0], *(0.5 * v for v in summer_afternoon()[1:])]
    shares = [share for share, _ in words.describe(model_of(small, summer_afternoon()), AIRPORTS, MONTHS, VARIABLES)]
    assert sum(shares) == pytest.approx(1.0)
    assert shares == sorted(shares, reverse=True)
    assert words.describe(CPTensor([np.ones((n, 0)) for n in (3, 365, 24, 3)]), AIRPORTS, MONTHS, VARIABLES) == []


def test_the_weather_comes_without_the_impossible_gust():
    recorded = weather.load()
    assert recorded.shape == (3, 365, 24, 7)
    assert recorded.size == 180_068, "one of 180,069 entries dropped"
    wind = recorded.values[recorded.coords[3] == 3]
    assert wind.max() < 60
    assert recorded.label(1, 364) == "2013-12-31"
    assert recorded.counts(1)[364] == 0


def test_standardising_goes_there_and_back():
    recorded = weather.load()
    units = Standard.of(recorded)
    plain = units.apply(recorded)
    for v in range(7):
        part = plain.values[plain.coords[3] == v]
        assert part.mean() == pytest.approx(0.0, abs=1e-9)
        assert part.std() == pytest.approx(1.0)
    np.testing.assert_allclose(units.undo(plain.values, plain.coords[3]), recorded.values, atol=1e-9)


def test_a_small_run_from_end_to_end(tmp_path, monkeypatch, capsys):
    whole = weather.load()
    keep = (whole.coords[1] >= 95) & (whole.coords[1] < 110)
    days = np.asarray(whole.labels[1])[95:110]
    coords = whole.indices[keep] - [0, 95, 0, 0]
    labels = [whole.labels[0], days, *whole.labels[2:]]
    part = Observations.from_indices(coords, whole.values[keep], shape=(3, 15, 24, 7), modes=whole.modes, labels=labels)
    monkeypatch.setattr(demo, "load", lambda: part)
    # few days, few components and little effort: what is tested is how the parts join, not how well they fill
    monkeypatch.setattr(demo, "complete", functools.partial(complete, max_rank=6, noise=None, effort="fast"))

    said = []
    result = demo.run(tmp_path / "out", seed=0, callback=said.append)
    demo.show(result)
    printed = capsys.readouterr().out

    assert result.scores["rankless"][0] < 0.75 * min(result.scores["mean"][0], result.scores["main effects"][0])
    assert len(result.components) == result.completion.rank > 0
    assert all(name in printed for name in ("main effects", "rankless", "pressure", str(result.table), str(result.picture)))
    assert said
    assert result.picture.read_bytes()[:4] == b"\x89PNG"
    table = pd.read_csv(result.table)
    assert len(table) == 3 * 15 * 24 * 7
    assert np.isfinite(table["value"].to_numpy()).all()
    assert 0.75 < table["observed"].to_numpy().mean() < 0.81
    seen = table[table["observed"]].merge(part.to_table(), on=list(part.modes))
    np.testing.assert_allclose(seen["value_x"], seen["value_y"], atol=1e-3)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["report.html", "weather.png", "weather_filled.csv"]
