"""One number a slice of a mode, drawn as the mode asks for: a curve, bars, or places on a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rankless.report.traces import BLUE, GREY, POINTS, axis_layout, drawn, numbers, places, safe, shortened, thinned
from rankless.views.axes import Axis

BARS = 30  # bars drawn, at most: the largest


def profile(
    axis: Axis,
    series: Mapping[str, np.ndarray],
    *,
    title: str,
    fixed: tuple[float | None, float | None] | None = None,
    line: bool = True,
    least: bool = False,
) -> dict[str, Any]:
    """Draw `series`, one or two arrays of shape ``(d,)``; the first is what it is about.

    Of many bars the largest are drawn, or with `least` the smallest. `fixed` is the range of the values, `line` whether
    neighbours are to be joined where the mode runs; those of a short mode are.
    """
    first, *others = series.items()
    upright: dict[str, Any] = {"title": {"text": title}}
    if fixed is not None:
        upright["range" if None not in fixed else "rangemode"] = list(fixed) if None not in fixed else "tozero"
    legend = {"showlegend": bool(others)}
    if axis.kind == "places":
        return drawn([_map(axis, *first)], xaxis={"title": {"text": "x"}}, yaxis={"title": {"text": "y"}, "scaleanchor": "x"}, **legend)
    if axis.runs:
        which = thinned(np.asarray(first[1], float), POINTS)
        traces = [_curve(axis, which, *first, BLUE, line), *(_curve(axis, which, *other, GREY, line) for other in others)]
        return drawn(traces, xaxis=axis_layout(axis), yaxis=upright, **legend)
    which = largest(np.asarray(first[1], float), BARS, least=least)
    if len(which) <= BARS // 2 and max(len(axis.label(i)) for i in which) <= 12:
        traces = [_bars(axis, which, *first, BLUE), *(_ticks(axis, which, *other) for other in others)]
        return drawn(traces, xaxis=axis_layout(axis), yaxis=upright, bargap=0.25, **legend)
    traces = [_lying(_bars(axis, which, *first, BLUE)), *(_lying(_ticks(axis, which, *other)) for other in others)]
    down = axis_layout(axis) | {"autorange": "reversed", "title": {"text": ""}, "dtick": 1}
    return drawn(traces, xaxis=upright, yaxis=down, bargap=0.25, height=120 + 18 * len(which), **legend)


def largest(values: np.ndarray, most: int, *, least: bool = False) -> np.ndarray:
    """The `most` slices with the largest values, or the least, in their order where all are shown, else the farthest out first.

    >>> largest(np.array([3.0, 1.0, -5.0]), 2).tolist(), largest(np.array([3.0, 1.0, 2.0]), 2, least=True).tolist()
    ([2, 0], [1, 2])
    """
    known = np.flatnonzero(~np.isnan(values))
    if len(known) <= most:
        return known
    return known[np.argsort(values[known] if least else -np.abs(values[known]), kind="stable")[:most]]


def rest(axis: Axis, values: np.ndarray, what: str, *, least: bool = False) -> str:
    """In words, which slices are drawn and how many are not; nothing where all are."""
    known = int(np.sum(~np.isnan(values)))
    if axis.runs or axis.kind == "places" or known <= BARS:
        return ""
    return f" The {BARS} with the {'least' if least else 'largest'} {what} are shown, and {known - BARS:,} more are not."


def _curve(axis: Axis, which: np.ndarray, name: str, values: np.ndarray, color: str, line: bool) -> dict[str, Any]:
    mode = "lines+markers" if axis.marked else "lines" if line else "markers"
    look = {"mode": mode, "line": {"color": color, "width": 1.5}, "marker": {"color": color, "size": 5 if axis.marked else 4}}
    return {"type": "scatter", "x": places(axis, which), "y": numbers(values[which]), "name": name, **look}


def _bars(axis: Axis, which: np.ndarray, name: str, values: np.ndarray, color: str) -> dict[str, Any]:
    return {"type": "bar", "x": places(axis, which), "y": numbers(values[which]), "name": name, "marker": {"color": color}}


def _ticks(axis: Axis, which: np.ndarray, name: str, values: np.ndarray) -> dict[str, Any]:
    look = {"symbol": "diamond-open", "color": GREY, "size": 9, "line": {"width": 2}}
    return {"type": "scatter", "mode": "markers", "x": places(axis, which), "y": numbers(values[which]), "name": name, "marker": look}


def _lying(trace: dict[str, Any]) -> dict[str, Any]:
    lying = trace | {"x": trace["y"], "y": trace["x"]}
    return lying | {"orientation": "h"} if trace["type"] == "bar" else lying


def _map(axis: Axis, name: str, values: np.ndarray) -> dict[str, Any]:
    which = largest(values, POINTS)
    top = float(np.nanmax(np.abs(values))) or 1.0
    color = {
        "color": numbers(values[which]),
        "colorscale": "RdBu" if np.nanmin(values) < 0 else "Cividis",
        "cmin": -top if np.nanmin(values) < 0 else 0.0,
        "cmax": top,
        "size": 11,
        "showscale": True,
        "colorbar": {"thickness": 12},
        "line": {"width": 1, "color": GREY},
    }
    x, y = axis.values[which].T
    names = [safe(shortened(axis.label(i), 40)) for i in which]
    hover = "%{text}<br>%{marker.color:.4g}<extra></extra>"
    return {
        "type": "scatter",
        "mode": "markers",
        "x": numbers(x),
        "y": numbers(y),
        "text": names,
        "name": name,
        "marker": color,
        "hovertemplate": hover,
    }
