"""Plots for papers: what the page shows, one by one, with matplotlib.

    figure, (left, right) = plt.subplots(1, 2)
    rankless.plots.factor(done, "month", ax=left)
    rankless.plots.spectrum(done, ax=right)

Each draws into `ax`, or where none is given into the current axes, and returns it, so that size, font and
labels stay the caller's. `factors` and `comparison`, a row a component and a column a mode, draw into a `figure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.plots.drawing import COLORS, GREY, MARKERS, draw, name_axis, places_of, ready
from rankless.plots.grids import comparison, factors, matches, similarity
from rankless.views import Done
from rankless.views.axes import Axis, axis_of, longest
from rankless.views.axes import axes_of as _axes_of
from rankless.views.components import Components, is_smooth, sizes
from rankless.views.coverage import pattern as _pattern
from rankless.views.coverage import slice_shares
from rankless.views.heldout import HeldOut
from rankless.views.path import score_of
from rankless.views.slices import COVERAGE, choose
from rankless.views.slices import fibre as _fibre

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "comparison",
    "coverage",
    "errors",
    "factor",
    "factors",
    "filled",
    "hidden",
    "matches",
    "pattern",
    "search_path",
    "similarity",
    "spectrum",
]

_BLOCK_TICKS = 4  # labels on each side of a pattern


def coverage(done: Done, mode: str | int, *, ax: Axes | None = None) -> Axes:
    """Share of the cells observed in each slice of `mode`."""
    ax, axis = ready(ax), _axis(done, mode)
    draw(ax, axis, slice_shares(done.observations, axis.mode), line=False, label=None, color=COLORS[0])
    ax.set_ylim(0, 1)
    ax.set_ylabel("share observed")
    return ax


def pattern(done: Done, down: str | int | None = None, along: str | int | None = None, *, ax: Axes | None = None) -> Axes:
    """Where the gaps lie: share observed over two modes, by default the longest and the longest of the others."""
    ax, axes = ready(ax), _axes_of(done.observations)
    right = longest(axes) if along is None else _axis(done, along)
    others = [axis for axis in axes if axis.mode != right.mode]
    below = max(others, key=lambda axis: axis.size) if down is None else _axis(done, down)
    if below.mode == right.mode:
        raise ValueError(f"down and along are both mode {right.name!r}; pass two modes")
    seen = _pattern(done.observations, below.mode, right.mode)
    image = ax.imshow(seen.share, aspect="auto", vmin=0, vmax=1, cmap="cividis", interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label="share observed")
    for name, axis, starts in (("x", right, seen.columns), ("y", below, seen.rows)):
        ticks = np.unique(np.linspace(0, len(starts) - 1, min(len(starts), _BLOCK_TICKS)).astype(int)).tolist()
        getattr(ax, f"set_{name}ticks")(ticks, [axis.label(int(starts[i])) for i in ticks], parse_math=False)
        getattr(ax, f"set_{name}label")(axis.name, parse_math=False)
    return ax


def spectrum(done: Done, *, ax: Axes | None = None) -> Axes:
    """Norms of the components of every fit, largest first; their number is the rank that was found."""
    from matplotlib.ticker import MaxNLocator

    ax = ready(ax)
    for number, fit in enumerate(done.fits):
        norms = sizes(fit)
        label = f"{'best fit' if number == 0 else f'fit {number + 1}'}, rank {len(norms)}"
        style: Any = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
        ax.plot(np.arange(1, len(norms) + 1), norms, label=label, **style)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set_xlabel("components, largest first")
    ax.set_ylabel("norm")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def search_path(done: Done, *, ax: Axes | None = None) -> Axes:
    """Held-out error, or deviance, of every fit of the search against its penalty, a marker a depth; dashed is the penalty chosen."""
    ax = ready(ax)
    path: Any = done.path
    if path.empty:
        raise ValueError("constant data were filled without a search; there is no path to draw")
    score = score_of(done)
    for number, (depth, rows) in enumerate(path.groupby("depth")):
        style: Any = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)], "linestyle": "none"}
        ax.plot(rows["penalty"], rows[score.column], markersize=4, label=f"depth {depth:g}", **style)
    ax.axhline(score.level, color=GREY, linestyle=":", linewidth=1)
    ax.axvline(done.penalty, color=GREY, linestyle="--", linewidth=1)
    low = float(path[score.column].min())
    ax.set_ylim(low - 0.05 * score.level, max(1.15 * score.level, 1.05 * low))  # what failed lies above
    ax.set_xscale("log")
    ax.set_xlabel("penalty")
    ax.set_ylabel(score.name)
    ax.legend(frameon=False)
    return ax


def factor(done: Done, mode: str | int, *, components: Sequence[int] | None = None, ax: Axes | None = None) -> Axes:
    """Vectors of `components` in `mode`, all unless some are named, at root mean square 1; the largest of the best fit is 0."""
    ax, axis = ready(ax), _axis(done, mode)
    shown = Components.of(done.best)
    components = range(max(shown.count, 1)) if components is None else components
    absent = [r for r in components if not 0 <= r < shown.count]
    if absent:
        raise ValueError(f"no component {absent[0]}; the best fit has {shown.count}, counted from 0")
    vectors = shown.vectors[axis.mode]
    line = axis.runs and is_smooth(vectors, shown.sizes)
    for place, r in enumerate(components):
        label = f"component {r} ({shown.shares[r]:.0%})"
        draw(ax, axis, vectors[:, r], line=line, label=label, color=COLORS[place % len(COLORS)], beside=(place, len(components)))
    ax.axhline(0, color=GREY, linewidth=0.5)
    ax.set_ylabel("loading")
    ax.legend(frameon=False)
    return ax


def filled(done: Done, where: Mapping[str, object] | None = None, *, ax: Axes | None = None) -> Axes:
    """Observed and filled cells along one mode, with an interval band where one can be promised.

    `where` is a slice of every mode but one, by label or number: ``{"airport": "LGA", "hour": 12}``;
    by default one with gaps, along the longest mode.
    """
    ax, shown = ready(ax), _fibre(done, choose(done, count=1)[0] if where is None else where)
    x, gaps = places_of(shown.axis)[shown.places], np.isnan(shown.observed)
    if shown.lower is not None and shown.upper is not None:
        ax.fill_between(x, shown.lower, shown.upper, color=COLORS[1], alpha=0.2, linewidth=0, label=f"{COVERAGE:.0%} interval")
    if shown.axis.runs:
        ax.plot(x, shown.filled, color=COLORS[1], linewidth=0.8, label="fit")
    ax.plot(x[~gaps], shown.observed[~gaps], "o", color=GREY, markersize=3, label="observed")
    ax.plot(x[gaps], shown.filled[gaps], "o", color=COLORS[1], markersize=4, label="filled in")
    name_axis(ax, shown.axis)
    ax.set_ylabel(done.observations.value_name, parse_math=False)
    ax.set_title(shown.title, parse_math=False)
    ax.legend(frameon=False)
    return ax


def hidden(done: Done, *, most: int = 5000, ax: Axes | None = None) -> Axes:
    """Truth against prediction of entries that no choice has seen, at most `most` of them."""
    ax = ready(ax)
    truth, said = _held(done).sample(most)
    ax.plot(truth, said, ".", color=COLORS[0], markersize=3, alpha=0.5, markeredgewidth=0, rasterized=True)
    ax.axline((float(np.mean(truth)), float(np.mean(truth))), slope=1.0, color=GREY, linestyle="--", linewidth=1)
    ax.set_xlabel("observed")
    ax.set_ylabel("predicted")
    return ax


def errors(done: Done, mode: str | int, *, ax: Axes | None = None) -> Axes:
    """Root mean square error of each slice of `mode` on entries that no choice has seen; grey is that of the slice's own mean."""
    ax, axis = ready(ax), _axis(done, mode)
    error, own, _ = _held(done).by_slice(axis.mode)
    draw(ax, axis, error, line=False, label="error", color=COLORS[0])
    ax.plot(places_of(axis), own, "D", color=GREY, markersize=3, fillstyle="none", label="of the slice's own mean")
    ax.set_ylim(0, 1.2 * float(np.nanmax([error, own])))  # room for the legend
    ax.set_ylabel("error when hidden")
    ax.legend(frameon=False, loc="upper left", ncols=2)
    return ax


# --- helpers --------------------------------------------------------------------------------------


def _axis(done: Done, mode: str | int) -> Axis:
    return axis_of(done.observations, done.observations.mode_index(mode))


def _held(done: Done) -> HeldOut:
    held = HeldOut.of(done)
    if held is None:
        raise ValueError("no entry can be spared to be hidden: the data are constant or too few; observe more")
    return held
