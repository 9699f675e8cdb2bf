"""The figures of the page but for those of the components: what was observed, the search, the fill and its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from rankless.report.profile import profile, rest
from rankless.report.traces import BLUE, GREEN, GREY, ORANGE, PURPLE, Chooser, Figure, Option, axis_layout, drawn, numbers, places, safe
from rankless.views import Done
from rankless.views.axes import Axis, longest
from rankless.views.components import sizes
from rankless.views.coverage import pattern, slice_shares
from rankless.views.heldout import HeldOut
from rankless.views.path import score_of
from rankless.views.slices import COVERAGE, Fibre, choose, fibre

_HELD = 2000  # hidden entries drawn
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
_COLORS = (BLUE, ORANGE, GREEN, PURPLE, GREY)


def coverage(done: Done, axes: Sequence[Axis]) -> Iterator[Figure]:
    """Share observed of each slice, a figure a mode."""
    for axis in axes:
        share = slice_shares(done.observations, axis.mode)
        low = int(np.nanargmin(share))
        text = f"Between {share[low]:.1%} ({axis.label(low)}) and {np.nanmax(share):.1%} of a slice was observed."
        text += rest(axis, share, "observed", least=True)
        plot = profile(axis, {"share observed": share}, title="share observed", fixed=(0.0, 1.0), line=False, least=True)
        yield Figure(f"coverage-{axis.mode}", f"Observed of each {axis.name}", text, plot)


def gaps(done: Done, axes: Sequence[Axis]) -> Chooser:
    """Where the gaps lie along the longest mode, against each of the others."""
    along = longest(axes)
    options = []
    for axis in axes:
        if axis is along:
            continue
        seen = pattern(done.observations, axis.mode, along.mode)
        joined = len(seen.columns) < along.size or len(seen.rows) < axis.size
        heat = {
            "type": "heatmap",
            "x": places(along, seen.columns),
            "y": places(axis, seen.rows, most=16),
            "z": [numbers(row) for row in seen.share],
            "zmin": 0,
            "zmax": 1,
            "colorscale": "Cividis",
            "colorbar": {"title": {"text": "observed", "side": "right"}, "tickformat": ".0%", "thickness": 12},
            "hovertemplate": "%{x}<br>%{y}<br>%{z:.0%} observed<extra></extra>",
        }
        vertical = axis_layout(axis) | {"autorange": "reversed", "title": {"text": ""}}
        if axis.kind == "time":
            vertical["type"] = "category"
        plot = drawn([heat], xaxis=axis_layout(along), yaxis=vertical, height=max(240, min(520, 120 + 22 * len(seen.rows))))
        empty, full = int((seen.share == 0).sum()), int((seen.share == 1).sum())
        text = f"Of {int(np.isfinite(seen.share).sum()):,} blocks {empty:,} hold no observed cell and {full:,} no gap."
        text += " A block joins neighbouring slices." if joined else ""
        figure = Figure("gaps", f"Gaps along {along.name}", text, plot, wide=True)
        options.append(Option(axis.name, text, [figure]))
    return Chooser("gaps", f"{along.name} against", options)


def search_path(done: Done) -> Iterator[Figure]:
    """Error on held-out entries, and components, of every fit that was tried."""
    path: Any = done.path
    score = score_of(done)
    level, low = score.level, float(path[score.column].min())
    high = 1.15 * max(level, low)
    outside = int((path[score.column] > high).sum())
    for column, title, unit in (
        (score.column, f"{score.name[0].upper()}{score.name[1:]} of every fit tried", score.name),
        ("rank", "Components kept", "rank"),
    ):
        traces = []
        for number, (depth, rows) in enumerate(path.groupby("depth")):
            starts = rows["start"].map("{}, ".format) if "start" in rows else [""] * len(rows)
            columns = [starts, rows["rank"], rows[score.column]]
            look = {"symbol": _SYMBOLS[number % 5], "size": 8, "color": _COLORS[number % 5], "opacity": 0.75}
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"depth {depth:g}",
                    "x": numbers(rows["penalty"]),
                    "y": numbers(rows[column]),
                    "text": [f"{start}rank {rank}, {score.name} {error:.4g}" for start, rank, error in zip(*columns, strict=True)],
                    "hovertemplate": "penalty %{x:.3g}<br>%{text}<extra></extra>",
                    "marker": look,
                }
            )
        lines = []
        if column == score.column:
            lines.append(
                {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": {"color": GREY, "dash": "dot"}}
            )
        best = done.penalty
        lines.append({"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": best, "x1": best, "line": {"color": GREY, "dash": "dash"}})
        plot = drawn(
            traces,
            xaxis={"title": {"text": "penalty"}, "type": "log", "exponentformat": "power", "nticks": 6},
            yaxis={
                "title": {"text": unit},
                **({"rangemode": "tozero"} if column == "rank" else {"range": [low - 0.05 * (high - low), high]}),
            },
            shapes=lines,
        )
        text = f"{len(path)} fits; the dashed line is the penalty chosen ({done.penalty:.3g}, at depth {done.depth:g})"
        if column == score.column:
            text += f", the dotted one {score.of_level} ({level:.3g}); {outside} worse fits lie above the frame"
        yield Figure("path-rank" if column == "rank" else "path-score", title, f"{text}.", plot)


def spectrum(done: Done) -> Figure:
    """Sizes of the components of every fit, largest first."""
    traces = []
    spectra = [sizes(fit) for fit in done.fits]
    for number, found in enumerate(spectra):
        ranks = list(range(1, len(found) + 1))
        name = "best fit" if number == 0 else f"fit {number + 1}"
        if number == 0:
            traces.append({"type": "bar", "x": ranks, "y": numbers(found), "name": name, "marker": {"color": BLUE}})
        else:
            color = _COLORS[number % 5]
            traces.append({"type": "scatter", "mode": "lines", "x": ranks, "y": numbers(found), "name": name, "line": {"color": color}})
    squares = spectra[0] ** 2
    enough = int(np.searchsorted(np.cumsum(squares), 0.9 * squares.sum())) + 1
    text = "One component."
    if len(squares) > 1:
        text = f"The best fit has {len(squares)} components; {enough} of them hold 90% of their squares."
    if len(done.fits) > 1:
        text += f" The answer sums {len(done.fits)} fits, {done.rank} components in all."
    along = {"title": {"text": "components, largest first"}, "dtick": 1 if len(squares) <= 12 else None}
    plot = drawn(traces, xaxis=along, yaxis={"title": {"text": "norm"}}, bargap=0.1)
    return Figure("spectrum", "Size of the components", text, plot, wide=True)


def filled(done: Done, slices: Sequence[Mapping[str, object]] | None) -> Chooser:
    """Observed and filled along the longest mode, at places to choose from."""
    shown = [fibre(done, where) for where in (choose(done) if slices is None else slices)]
    options = [Option(piece.title, _in_words(piece), [_fibre(piece, done.observations.value_name)]) for piece in shown]
    return Chooser("filled", "Cells of", options)


def held_out(done: Done, axes: Sequence[Axis]) -> Iterator[Figure]:
    """Truth against prediction of hidden entries, and their error slice by slice."""
    held = HeldOut.of(done)
    if held is None:
        return
    truth, said = held.sample(_HELD)
    ends = np.quantile(np.concatenate([truth, said]).astype(float), [0.002, 0.998])
    low, high = ends + np.array([-0.08, 0.08]) * (np.ptp(ends) or np.abs(ends).max() or 1.0)
    outside = int(((truth < low) | (truth > high) | (said < low) | (said > high)).sum())
    dots = {"type": "scatter", "mode": "markers", "x": numbers(truth), "y": numbers(said), "name": "hidden entry"}
    dots["marker"] = {"color": BLUE, "size": 4, "opacity": 0.5}
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": numbers([low, high]),
        "y": numbers([low, high]),
        "name": "no error",
        "line": {"color": GREY, "dash": "dash"},
    }
    frame = {"range": numbers([low, high])}
    plot = drawn([dots, line], xaxis={"title": {"text": "observed"}, **frame}, yaxis={"title": {"text": "predicted"}, **frame})
    text = f"{len(truth):,} of {held.entries.size:,} hidden entries; correlation {held.correlation:.3f}; {outside} lie outside the frame."
    yield Figure("hidden", "Hidden entries", text, plot)
    for axis in axes:
        error, own, counts = held.by_slice(axis.mode)
        known = np.flatnonzero(counts)
        if len(known) < 2:
            continue
        worst = known[np.argmax(error[known])]
        text = f"Largest for {axis.label(worst)} ({error[worst]:.3g}), median over slices {np.median(error[known]):.3g}."
        text += rest(axis, error, "error")
        plot = profile(axis, {"error": error, "of the slice's own mean": own}, title="error when hidden", fixed=(0.0, None), line=False)
        yield Figure(f"error-{axis.mode}", f"Error by {axis.name}", text, plot)


def _fibre(piece: Fibre, unit: str) -> Figure:
    x = places(piece.axis, piece.places)
    seen = ~np.isnan(piece.observed)
    traces = []
    if piece.lower is not None and piece.upper is not None:
        edge = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0}, "hoverinfo": "skip"}
        traces.append(edge | {"y": numbers(piece.lower), "showlegend": False, "name": "lower bound"})
        band = {"y": numbers(piece.upper), "fill": "tonexty", "fillcolor": "rgba(213,94,0,0.2)", "name": f"{COVERAGE:.0%} interval"}
        traces.append(edge | band)
    fit = {"type": "scatter", "mode": "lines", "x": x, "y": numbers(piece.filled), "name": "fit", "line": {"color": ORANGE, "width": 1}}
    dots = {"type": "scatter", "mode": "markers", "x": x}
    observed = dots | {"y": numbers(piece.observed), "name": "observed", "marker": {"color": GREY, "size": 5}}
    filled = dots | {"y": numbers(np.where(seen, np.nan, piece.filled)), "name": "filled in", "marker": {"color": ORANGE, "size": 6}}
    if not piece.axis.runs:
        fit |= {"mode": "markers", "marker": {"symbol": "line-ew-open", "color": ORANGE, "size": 9}}
    upright = {"title": {"text": safe(unit)}}
    traces += [fit, observed, filled]
    plot = drawn(traces, xaxis=axis_layout(piece.axis), yaxis=upright, height=380, legend={"traceorder": "normal"})
    return Figure("filled", "Observed and filled in", _in_words(piece), plot, wide=True)


def _in_words(piece: Fibre) -> str:
    missing = int(np.isnan(piece.observed).sum())
    part = (
        f" The {len(piece.places):,} cells with the most gaps of {piece.axis.size:,} are shown."
        if len(piece.places) < piece.axis.size
        else ""
    )
    return f"{missing:,} of {len(piece.places):,} cells along {piece.axis.name} are filled in at {piece.title}.{part}"
