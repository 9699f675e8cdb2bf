"""The demo's one picture: a few days of one variable, and the spectrum of the components."""

from __future__ import annotations

import os

import matplotlib.dates
import numpy as np
from matplotlib.figure import Figure

from rankless.runtime.files import write_beside

# Okabe and Ito's colours keep apart for every kind of colour vision.
_BLUE, _VERMILLION, _GREY = "#0072B2", "#D55E00", "#8C8C8C"


def draw(
    path: str | os.PathLike,
    *,
    hours: np.ndarray,
    truth: np.ndarray,
    hidden: np.ndarray,
    filled: np.ndarray,
    title: str,
    unit: str,
    norms: np.ndarray,
) -> None:
    """Draw to `path`.

    `hours` are datetimes, `truth` what was measured (NaN where nothing was), `hidden` marks what the fit
    did not see and `filled` is its answer; `norms` are the norms of the best fit's components.
    """
    with matplotlib.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[2.6, 1])

        left.plot(hours, np.where(hidden, np.nan, truth), "o", ms=3, color=_GREY, label="observed")
        left.plot(hours[hidden], truth[hidden], "o", ms=7, mfc="none", mew=1.2, color=_BLUE, label="hidden truth")
        left.plot(hours[hidden], filled[hidden], "o", ms=4, color=_VERMILLION, label="filled in")
        left.set_title(title, loc="left")
        left.set_ylabel(unit)
        left.xaxis.set_major_locator(matplotlib.dates.DayLocator())  # pyright: ignore[reportAttributeAccessIssue]
        left.xaxis.set_major_formatter(matplotlib.dates.DateFormatter("%-d %b"))  # pyright: ignore[reportAttributeAccessIssue]
        left.grid(axis="x", color="#E6E6E6")
        left.legend(frameon=False, loc="best", handletextpad=0.2)

        right.bar(np.arange(1, len(norms) + 1), np.sort(norms)[::-1] / np.max(norms, initial=1e-300), color=_BLUE)
        right.set_title(f"Best fit: {len(norms)} components", loc="left")
        right.set_xlabel("component")
        right.set_ylabel("norm, share of the largest")
        right.set_xlim(0.4, len(norms) + 0.6)
        right.xaxis.get_major_locator().set_params(integer=True)

        with write_beside(path) as temporary:
            figure.savefig(temporary)
