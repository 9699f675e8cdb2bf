"""How plots draw a mode: lines where it runs, bars where its slices have names, and dates, years and labels below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rankless.views.axes import Axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart with any colour vision
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
GREY = "#8C8C8C"
MARKERS = "os^Dv"
MOST_TICKS = 30  # slices of a mode of names that are all labelled


def ready(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.gca()


def places_of(axis: Axis) -> np.ndarray:
    return axis.values if axis.runs else np.arange(axis.size)


def draw(ax: Axes, axis: Axis, values: np.ndarray, *, line: bool, label: str | None, color: str, beside: tuple[int, int] = (0, 1)) -> None:
    """A curve or points where the mode runs, both where it is short, else bars; `beside` says which of several, and of how many."""
    if axis.runs:
        style = "o-" if axis.marked else "-" if line else "."
        ax.plot(places_of(axis), values, style, color=color, label=label, linewidth=1.2, markersize=3)
    else:
        place, count = beside
        ax.bar(np.arange(axis.size) + (place - (count - 1) / 2) * 0.8 / count, values, 0.8 / count, color=color, label=label)
    name_axis(ax, axis)


def name_axis(ax: Axes, axis: Axis) -> None:
    # a label is text, also where it has dollar signs
    ax.set_xlabel(axis.name, parse_math=False)
    if axis.kind == "time":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator()
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    if axis.kind == "ordered" and axis.whole:
        from matplotlib.ticker import MaxNLocator, ScalarFormatter

        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))  # no half years
        ax.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    if not axis.runs and axis.size <= MOST_TICKS:
        names = [axis.label(i) for i in range(axis.size)]
        ax.set_xticks(np.arange(axis.size), names, rotation=90 if max(map(len, names)) > 8 else 0, parse_math=False)
