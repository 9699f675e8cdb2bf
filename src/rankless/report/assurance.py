"""How many components are real: the held-out error of every number of them, and the match of each."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rankless.report.traces import BLUE, GREEN, ORANGE, Figure, drawn, numbers
from rankless.trust.assure import FOUND, Assurance


def grounds(assurance: Assurance) -> Iterator[Figure]:
    """Figures of what `Completion.assure` found."""
    errors = assurance.errors
    counts = list(range(len(errors)))
    line = {"type": "scatter", "mode": "lines+markers", "x": counts, "y": numbers(errors), "name": "error", "line": {"color": BLUE}}
    chosen = {
        "type": "scatter",
        "mode": "markers",
        "x": [assurance.count],
        "y": numbers(errors[[assurance.count]]),
        "name": "real",
        "marker": {"color": ORANGE, "size": 12, "symbol": "diamond"},
    }
    along = {"title": {"text": "components"}, "dtick": 1}
    plot = drawn([line, chosen], xaxis=along, yaxis={"title": {"text": "held-out error"}, "rangemode": "tozero"})
    text = f"With {assurance.count} components it is {errors[assurance.count]:.4g}, without any {errors[0]:.4g}."
    yield Figure("assurance-error", "Held-out error by the number of components", text, plot)
    rank = assurance.count or min(assurance.ranks)
    found = assurance.ranks[rank]
    names = [f"component {r}" for r in range(rank)]
    boxes = []
    for name, scores, color in (("other starts", found.seeds, BLUE), (f"halves of the {_of(assurance)}", found.halves, GREEN)):
        place = np.tile(names, len(scores)).tolist()
        marks = {"color": color, "size": 7}
        boxes.append({"type": "scatter", "mode": "markers", "x": place, "y": numbers(scores.ravel()), "name": name, "marker": marks})
    plot = drawn(
        boxes,
        xaxis={"title": {"text": ""}, "type": "category"},
        yaxis={"title": {"text": "match"}, "range": [0, 1.05]},
        shapes=[{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": FOUND, "y1": FOUND, "line": {"dash": "dot", "width": 1}}],
    )
    least = f"The least from other starts is {found.seeds.min():.3f}, in halves {found.halves.min():.3f}."
    yield Figure("assurance-match", f"Each of {rank} found again", least, plot)


def _of(assurance: Assurance) -> str:
    return "cells" if assurance.half == "cells" else f"slices of {assurance.half}"
