"""The page: one self-contained HTML file that says what was found and how far to trust it.

    views (arrays, sentences)  ->  figures, factors (Plotly)  ->  page (HTML)

It opens without a network: Plotly's script lies compressed in the file, and the page's own policy
forbids the browser to fetch anything. Large data are thinned, never built whole.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rankless.runtime.files import write_beside
from rankless.views import Done
from rankless.views.axes import Positions


def write(
    done: Done,
    path: str | os.PathLike,
    *,
    title: str | None = None,
    positions: Positions | None = None,
    slices: Sequence[Mapping[str, object]] | None = None,
) -> None:
    """Write the page of a completion to `path`; it appears whole or not at all.

    `positions` has x and y (longitude and latitude) of each slice of a mode that is to be drawn as a map;
    `slices` are the fibres to show, each a slice of every mode but one: ``{"airport": "LGA", "hour": 12}``.
    """
    from rankless.report.page import page

    text = page(done, title=title, positions=positions, slices=slices)
    with write_beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
