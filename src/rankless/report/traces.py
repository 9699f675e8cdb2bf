"""Small parts of every Plotly figure: numbers short enough to embed, labels that are no markup, axes by kind."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rankless.views.axes import Axis

# Okabe and Ito's colours that keep a contrast of 3 on white and on black
BLUE, ORANGE, GREEN, GREY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#8C8C8C", "#CC79A7"
POINTS = 1000  # along one axis, at most
_UNIT_TICKS = 12  # whole numbers an axis spans, at most, to have a tick each


@dataclass
class Figure:
    """One figure of the page: what Plotly draws, and what is read to those who don't see it."""

    name: str  # of the element
    title: str
    text: str
    plot: dict[str, Any]
    wide: bool = False


@dataclass
class Option:
    """One choice of a chooser: figures that take the place of those of the same name."""

    label: str
    text: str
    figures: list[Figure]


@dataclass
class Chooser:
    """A list to choose from, and the figures that follow."""

    name: str
    label: str
    options: list[Option]
    figures: list[Figure] = field(init=False)

    def __post_init__(self):
        self.figures = self.options[0].figures


def drawn(traces: list[Any], **layout) -> dict[str, Any]:
    """``{data, layout}`` as Plotly's JavaScript takes it, checked by Plotly's Python; the theme is the page's."""
    import plotly.graph_objects as go

    plot = go.Figure(traces, {"template": go.layout.Template(), **layout}).to_plotly_json()
    plot["layout"].pop("template", None)
    return plot


def numbers(values) -> list:
    """Floats of 5 significant digits, None for what is no number."""
    return [float(f"{v:.5g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def safe(text: object) -> str:
    """Text that Plotly shows as it is: it reads some markup in labels."""
    return html.escape(str(text), quote=False)


def places(axis: Axis, which: np.ndarray, *, most: int = 24) -> list:
    """Where slices lie on the axis."""
    if axis.kind == "time":
        return np.datetime_as_string(axis.values[which]).tolist()
    if axis.kind == "ordered":
        return np.asarray(axis.values[which]).tolist()
    names = [shortened(axis.label(i), most) for i in which]
    if len(set(names)) < len(names):  # Plotly would draw two slices of one name as one
        names = [f"{name} ({i})" for name, i in zip(names, which, strict=True)]
    return [safe(name) for name in names]


def shortened(name: str, most: int) -> str:
    """A label short enough for an axis: its start and its end."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"


def axis_layout(axis: Axis) -> dict[str, Any]:
    kind = {"time": "date", "ordered": "linear"}.get(axis.kind, "category")
    layout = {"title": {"text": safe(axis.name)}, "type": kind, "automargin": True}
    if axis.kind == "ordered" and axis.whole and np.ptp(axis.values) <= _UNIT_TICKS:
        layout["dtick"] = 1  # no half years
    if axis.kind == "ordered" and axis.whole:
        layout["tickformat"] = "d"  # 2014 and not 2,014 or 2.014k
    return layout


def thinned(values: np.ndarray, most: int = POINTS) -> np.ndarray:
    """Places that keep the shape of a long curve: the lowest and the highest of each of ``most / 2`` parts."""
    if len(values) <= most:
        return np.arange(len(values))
    kept = []
    for part in np.array_split(np.arange(len(values)), most // 2):
        known = part[~np.isnan(values[part])]
        kept += [part[0]] if not len(known) else [known[values[known].argmin()], known[values[known].argmax()]]
    return np.unique(kept)
