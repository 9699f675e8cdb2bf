"""Plots: each draws what the data say, into the axes it is given, and nothing else."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from pages import DAYS, SENSORS, finished, observations
from rankless import plots
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.views.components import Components
from test_views import stand_in


@pytest.fixture
def ax():
    return Figure().subplots()


def drawn(ax) -> None:
    """Render, so that what matplotlib refuses only then is refused here."""
    ax.figure.canvas.draw()


def test_every_plot_returns_the_axes_it_was_given():
    done = finished()
    calls = [
        lambda ax: plots.coverage(done, "day", ax=ax),
        lambda ax: plots.pattern(done, ax=ax),
        lambda ax: plots.spectrum(done, ax=ax),
        lambda ax: plots.search_path(done, ax=ax),
        lambda ax: plots.factor(done, "sensor", components=[0, 1], ax=ax),
        lambda ax: plots.filled(done, ax=ax),
        lambda ax: plots.hidden(done, ax=ax),
        lambda ax: plots.errors(done, "hour", ax=ax),
    ]
    for call in calls:
        ax = Figure().subplots()
        assert call(ax) is ax
        assert ax.get_xlabel() and ax.get_ylabel()
        drawn(ax)


def test_without_axes_the_current_ones_are_used():
    with matplotlib.rc_context({"backend": "agg"}):
        plt = pytest.importorskip("matplotlib.pyplot")
        figure, (_, right) = plt.subplots(1, 2)
        assert plots.spectrum(finished()) is right
        plt.close(figure)


def test_bars_have_the_shares_and_the_labels(ax):
    plots.coverage(finished(), "sensor", ax=ax)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(observations().counts(0) / 720)
    assert [label.get_text() for label in ax.get_xticklabels()] == SENSORS


def test_the_pattern_is_the_share_seen(ax):
    plots.pattern(finished(), "sensor", "day", ax=ax)
    (image,) = ax.images
    dense = np.zeros(observations().shape)
    dense[tuple(observations().coords)] = 1
    np.testing.assert_allclose(image.get_array(), dense.mean(axis=2))
    with pytest.raises(ValueError, match="down and along are both mode 'day'"):
        plots.pattern(finished(), "day", ax=ax)


def test_a_factor_is_the_vector_of_the_best_fit(ax):
    done = finished()
    plots.factor(done, "hour", components=[1], ax=ax)
    vector = Components.of(done.fits[0]).vectors[2][:, 1]
    np.testing.assert_allclose(ax.lines[0].get_ydata(), vector)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, 13))
    with pytest.raises(ValueError, match=r"no component 9; the best fit has \d, counted from 0"):
        plots.factor(done, "hour", components=[9], ax=ax)
    with pytest.raises(ValueError, match="no mode 'week'"):
        plots.factor(done, "week", ax=ax)


def test_filled_cells_and_their_band_are_those_of_the_completion(ax):
    done = finished()
    plots.filled(done, {"sensor": "plain", "hour": 7}, ax=ax)
    lines: Any = {line.get_label(): line for line in ax.lines}
    days = list(map(str, lines["filled in"].get_xdata()))
    np.testing.assert_allclose(lines["filled in"].get_ydata(), done.array()[3, [DAYS.tolist().index(day) for day in days], 6])
    assert len(lines["filled in"].get_ydata()) + len(lines["observed"].get_ydata()) == 60
    assert [band.get_label() for band in ax.collections] == ["90% interval"]
    assert ax.get_title() == "sensor plain, hour 7"


def few_years() -> Any:
    obs = Observations.from_array(np.ones((2, 8)), labels=[["x", "y"], np.arange(2014, 2022)], modes=["site", "year"])
    return stand_in(obs, CPTensor([np.ones((2, 1)), np.array([[3.0], [-1], [2], [-4], [1], [-2], [4], [-3]])]))


@pytest.mark.parametrize("draw", [lambda done, ax: plots.factor(done, "year", ax=ax), lambda done, ax: plots.coverage(done, "year", ax=ax)])
def test_eight_years_are_a_line_over_whole_years_and_no_bars(ax, draw):
    draw(few_years(), ax)
    drawn(ax)
    assert not ax.patches
    assert ax.lines[0].get_xdata().tolist() == list(range(2014, 2022))
    assert (ax.lines[0].get_linestyle(), ax.lines[0].get_marker()) == ("-", "o")
    assert all(label.get_text().isdigit() for label in ax.get_xticklabels())


def test_axes_that_had_dates_may_have_years(ax):
    plots.coverage(finished(), "day", ax=ax)
    plots.coverage(few_years(), "year", ax=ax)
    drawn(ax)


def test_the_fill_of_eight_years_has_the_line_of_the_fit(ax):
    plots.filled(few_years(), {"site": "x"}, ax=ax)
    (fit,) = (line for line in ax.lines if line.get_label() == "fit")
    assert fit.get_xdata().tolist() == list(range(2014, 2022))


def test_hidden_entries_need_entries(ax):
    plots.hidden(finished(), most=100, ax=ax)
    assert 50 <= len(ax.lines[0].get_xdata()) <= 100
    done = stand_in(Observations.from_array(np.ones((3, 4))), CPTensor([np.ones((3, 1)), np.ones((4, 1))]))
    with pytest.raises(ValueError, match="no entry can be spared"):
        plots.hidden(done, ax=ax)


def test_errors_are_the_scores(ax):
    done = finished()
    plots.errors(done, "sensor", ax=ax)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], done.score(by="sensor")["rmse"])


def test_labels_with_dollars_are_no_formulas(ax):
    obs = Observations.from_array(np.ones((2, 3)), labels=[["$x_$", "a$^$"], None], modes=["$bad_$", "b"])
    plots.coverage(stand_in(obs, CPTensor([np.ones((2, 1)), np.ones((3, 1))])), 0, ax=ax)
    drawn(ax)


# --- all components at once ---------------------------------------------------------------------------


def planted(seed: int = 0) -> tuple[Any, CPTensor]:
    """A stand-in whose best fit has three components over sites, years and hours, and these components."""
    rng = np.random.default_rng(seed)
    model = CPTensor([rng.normal(size=(3, 3)), np.cumsum(rng.normal(size=(30, 3)), axis=0), rng.normal(size=(8, 3)) * [3.0, 2.0, 1.0]])
    obs = Observations.from_array(model.full(), labels=[["x", "y", "z"], np.arange(1990, 2020), None], modes=["site", "year", "hour"])
    return stand_in(obs, model), model


def shuffled(model: CPTensor) -> CPTensor:
    """The same tensor, its components in another order, of other signs and scales."""
    signs = np.array([[-1.0, 1.0, -2.0], [-1.0, 0.5, 1.0], [1.0, 2.0, -0.5]])
    return CPTensor([factor[:, [2, 0, 1]] * sign for factor, sign in zip(model.factors, signs, strict=True)])


def test_a_grid_has_a_row_a_component_and_a_column_a_mode():
    done, model = planted()
    figure = Figure(layout="constrained")
    grid = plots.factors(done, figure=figure)
    figure.canvas.draw()
    assert grid.shape == (3, 3) and all(ax.figure is figure for ax in grid.ravel())
    shown = Components.of(model)
    np.testing.assert_allclose([bar.get_height() for bar in grid[1, 0].patches], shown.vectors[0][:, 1])
    np.testing.assert_allclose(grid[2, 1].lines[0].get_ydata(), shown.vectors[1][:, 2])
    assert [ax.get_xlabel() for ax in grid[-1]] == ["site", "year", "hour"] and not grid[0, 0].get_xlabel()
    assert plots.factors(done, components=[2], figure=Figure()).shape == (1, 3)
    with pytest.raises(ValueError, match="no component 3; the best fit has 3"):
        plots.factors(done, components=[3], figure=Figure())


def test_the_same_model_in_another_order_lies_over_the_first():
    done, model = planted()
    figure = Figure(layout="constrained")
    grid = plots.comparison(done, {"again": shuffled(model), "less": CPTensor([f[:, 1:] for f in model.factors])}, figure=figure)
    figure.canvas.draw()
    for row in grid:
        lines: Any = row[1].lines
        np.testing.assert_allclose(lines[1].get_ydata(), lines[0].get_ydata(), atol=1e-9)
    assert [("again: 1.00" in row[-1].get_title(loc="right")) for row in grid] == [True] * 3
    lone = [row for row in grid if "less: none" in row[-1].get_title(loc="right")]
    assert len(lone) == 1, "a model of two components has no partner for one of three"
    assert np.isnan(lone[0][1].lines[2].get_ydata()).all()
    with pytest.raises(ValueError, match="no model to compare with"):
        plots.comparison(done, {}, figure=Figure())
    with pytest.raises(ValueError, match="can't be matched"):
        plots.comparison(done, {"other": CPTensor([np.ones((2, 1))] * 3)}, figure=Figure())


def test_matched_components_lie_on_the_diagonal(ax):
    done, model = planted()
    plots.matches(done, shuffled(model), "year", ax=ax)
    drawn(ax)
    lines: Any = [line for line in ax.lines if str(line.get_label()).startswith("component")]
    assert len(lines) == 3 and all("match 1.00" in line.get_label() for line in lines)
    for line in lines:
        np.testing.assert_allclose(line.get_ydata(), line.get_xdata(), atol=1e-9)


def test_similarity_has_a_mark_for_every_component_and_comparison(ax):
    from rankless.trust.assure import Assurance

    class Rank:
        def __init__(self, seeds, halves):
            self.seeds, self.halves = np.array(seeds), np.array(halves)

    ranks: Any = {1: Rank([[1.0], [0.99]], [[0.98]]), 2: Rank([[1.0, 0.4], [0.9, 0.2]], [[0.97, 0.1]])}
    plots.similarity(Assurance(1, ranks, np.array([1.0, 0.5, 0.49]), "site"), ax=ax)
    drawn(ax)
    marks: Any = {line.get_label(): line for line in ax.lines}
    np.testing.assert_allclose(marks["other starts"].get_ydata(), [1.0, 0.99, 1.0, 0.4, 0.9, 0.2])
    np.testing.assert_allclose(marks["halves of site"].get_ydata(), [0.98, 0.97, 0.1])
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0.99, 0.2])
