"""Times of which nothing at all was seen: every series goes on across them, along the axis they lie on.

Components, slices and neighbours know nothing there. Series by themselves do; their numbers are chosen on times left out in the
same pattern, moved along the axis, so that a bridge of a month is judged by bridges of a month.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rankless.experts.timeline import Timeline, offers
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.observations import Observations

MOVES = 4  # times that the pattern is moved along the axis and left out
LEFT = 0.5  # share of the entries that has to be left when it is


def bridge(obs: Observations, axes: Axes, mode: int | None) -> Timeline | None:
    """The timeline that fills times never seen best, along the surest axis that has such times.

    None where there are none, or where main effects alone fill them better. `obs` is less the main effects: 0 is what these say.
    """
    for axis in axes.axes:
        ranks = axis.ranks(obs.coords)
        seen = np.bincount(ranks, minlength=axis.length) > 0
        if seen.all() or len(axis.modes) == obs.order:
            continue
        best, least = None, np.inf
        for timeline, error, nothing in _tried(obs, axis, ranks, ~seen, mode):
            if error < min(least, nothing):
                best, least = timeline, error
        if best is not None:
            return Timeline.of(obs, axis, best.mode, best.how)
    return None


def _tried(
    obs: Observations, axis: Axis, ranks: np.ndarray, unseen: np.ndarray, mode: int | None
) -> Iterator[tuple[Timeline, float, float]]:
    """Timelines with their squared errors on times left out as the unseen ones lie, and those of saying 0."""
    first: list[Timeline] = []
    sums: dict[int, np.ndarray] = {}
    for move in range(1, MOVES + 1):
        pattern = np.roll(unseen, int(len(unseen) * (move * 0.6180339887498949 % 1)))  # the golden ratio spreads them evenly
        out = pattern[ranks]
        rest, held = obs.subset(~out), obs.subset(out)
        if not held.size or rest.size < LEFT * obs.size:
            continue
        if not first:
            first = list(offers(rest, held, axis, mode))
        for number, timeline in enumerate(first):
            said = timeline.again(rest).at(held.indices)
            known = ~np.isnan(said)
            before = sums.setdefault(number, np.zeros(2))
            before += np.sum((held.values[known] - said[known]) ** 2), np.sum(held.values[known] ** 2)
    for number, (error, nothing) in sums.items():
        yield first[number], float(error), float(nothing)
