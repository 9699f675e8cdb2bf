"""How every figure looks: fit for a printed column, told apart without colour vision."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from rankless.runtime.files import write_beside

PAGE = 7.0  # inches, the width of two columns of print

# Okabe and Ito's palette: eight colours told apart with any colour vision
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")

_STYLE: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.4,
    "legend.frameon": False,
    "svg.hashsalt": "rankless",  # the same numbers give the same file
}


def house_style() -> contextlib.AbstractContextManager:
    """matplotlib's settings while a figure is drawn and saved; the user's own come back after."""
    return mpl.rc_context(_STYLE)


def panels(rows: int, columns: int, *, width: float = PAGE, height: float | None = None, **options) -> tuple[Figure, np.ndarray]:
    """A figure of `rows` x `columns` axes, with no window and no global state."""
    figure = Figure(figsize=(width, height or 2.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def shade(at: int, of: int) -> tuple[float, float, float, float]:
    """Colour `at` of an ordered set of `of`: dark to light along viridis, short of its pale end."""
    return mpl.colormaps["viridis"](0.85 * at / max(of - 1, 1))


def plain_ticks(axis: Axis) -> None:
    """A logarithmic axis with its numbers written out, at 1, 2 and 5 times the powers of ten where there are few decades."""
    low, high = axis.get_view_interval()
    steps = (1.0,) if abs(np.log10(high / low)) > 3 else (1.0, 3.0) if abs(np.log10(high / low)) > 1.5 else (1.0, 2.0, 5.0)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def save(figure: Figure, stem: Path) -> None:
    """``stem.png`` at 300 dots an inch and ``stem.svg``."""
    for suffix in (".png", ".svg"):
        with write_beside(stem.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, dpi=300, metadata={"Date": None} if suffix == ".svg" else None)
        figure.set_layout_engine("none")  # found once, by the first: the second keeps it
