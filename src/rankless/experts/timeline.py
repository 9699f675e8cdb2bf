"""Timeline: every series by itself, along an ordered axis; straight lines, and Gaussian processes.

A series is all entries that share their coordinates off the axis. Its simplest fill is a straight
line from each entry to the next. The others are the conditional means of

    y = level + f(place) + noise,      f a Matern process of smoothness 1/2, 3/2 or 5/2,

which pass smoothly through entries that have little noise, average those that have much, and beyond both ends
of a series return to its level: the line is the limit of smoothness 1/2 without noise whose length scale has no end.
Length scale and noise are shared by all series, or by those of each slice of the mode that has its own noise, and are chosen by
the error on held-out entries; positions may be irregular; time is linear in the number of entries (`recursions`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts.lengths import Search
from rankless.experts.recursions import straight
from rankless.experts.series import Asked, Matern, Series
from rankless.experts.series_held import LIMIT
from rankless.experts.task import Task
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.canonical import COUNTABLE
from rankless.tensors.observations import Observations
from rankless.units.error import rmse_of

STEP_COST = (30.0, 120.0, 260.0)  # multiply-adds a step, by smoothness
TRIALS = 50.0  # of a search, about, of each smoothness


@dataclass(frozen=True, eq=False)
class Timeline:
    """A predictor: every series from its own entries along the axis.

    Attributes
    ----------
    axis, mode, shape : the axis, the mode whose slices have their own numbers (None: all share them), and the array's shape.
    how : the numbers of the processes; None for straight lines.
    seen : the entries.
    centres : mean of each slice, to which the levels of its series are drawn.
    """

    name: ClassVar[str] = "timeline"

    axis: Axis
    mode: int | None
    shape: tuple[int, ...]
    how: Matern | None
    seen: Series
    centres: np.ndarray

    @classmethod
    def of(cls, obs: Observations, axis: Axis, mode: int | None, how: Matern | None) -> Timeline:
        """Fitted to `obs`, with numbers that are known."""
        seen = Series.of(obs, axis, mode)
        return cls(axis, mode, obs.shape, how, seen, seen.levels()[0])

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``; NaN in series of which nothing was seen.

        Every call runs through all entries of the series it asks for.
        """
        coords = np.ascontiguousarray(indices.T)
        asked = self.seen.asked(coords, self.axis, self.shape)
        return asked.back(_said(self.how, self.seen, self.centres, asked))

    def again(self, obs: Observations, tools: object = None) -> Timeline:
        """The same choices, fitted to other entries."""
        return Timeline.of(obs, self.axis.again(obs), self.mode, self.how)

    def words(self, modes: Sequence[str]) -> str:
        """What it is, in a few words."""
        return str(self)

    def __str__(self) -> str:
        if self.how is None:
            return f"straight lines along {self.axis.name}"
        kinds = ", ".join(f"{2 * p + 1}/2" for p in np.unique(self.how.smoothness))
        return f"Matern {kinds} along {self.axis.name}"


def _said(how: Matern | None, seen: Series, centres: np.ndarray, asked: Asked) -> np.ndarray:
    if how is not None:
        return how.given(seen, centres, asked)
    out = np.full(len(asked.places), np.nan)
    straight(seen.starts, seen.places, seen.values, seen.noise, asked.starts, asked.places, out)
    return out


def cost(obs: Observations, axis: Axis) -> float:
    """Multiply-adds of all offers along `axis`, about; inf where series can't be numbered."""
    if obs.cells >= COUNTABLE:
        return np.inf
    return sum(STEP_COST) * (TRIALS * min(obs.size, LIMIT) + 2.0 * obs.size)


def offers(train: Observations, held: Observations, axes: Axes | Axis, mode: int | None = None) -> Iterator[Timeline]:
    """Predictors fitted to `train`, axis by axis, better and better: straight lines, then Matern processes.

    The first Matern process shares its numbers among all series; where slices of `mode` have enough held-out
    entries, a second one has their own. Numbers are those that err least on `held`, which should be held out as the missing cells
    are missing. Values may be what another predictor leaves. Nothing is fitted before it is asked for.
    """
    for axis in _askable(train, axes.candidates if isinstance(axes, Axes) else (axes,)):
        own = None if mode in axis.modes else mode
        line = Timeline.of(train, axis, own, None)
        yield line
        search = Search.of(train, held, axis, own)
        if search is None:
            continue
        shared = search.shared()
        yield replace(line, how=shared)
        if (how := search.own(shared)) is not None:
            yield replace(line, how=how)


def error_of_lines(train: Observations, held: Observations, axes: Axes) -> float:
    """Root mean square error at `held` of straight lines along the best axis, series without an entry at the mean; inf without an axis."""
    lines = (straight_lines(train, axis) for axis in _askable(train, axes.candidates))
    return min((rmse_of(held.values - said(held.indices), held) for said in lines), default=np.inf)


def straight_lines(train: Observations, axis: Axis) -> Callable[[np.ndarray], np.ndarray]:
    """What is said at indices ``(n, order)``: from each entry of a series straight to the next along `axis`, the mean where it has none."""
    lines, level = Timeline.of(train, axis, None, None), float(np.average(train.values, weights=train.weights))

    def at(indices: np.ndarray) -> np.ndarray:
        said = lines.at(indices)
        return np.where(np.isnan(said), level, said)

    return at


def _askable(train: Observations, axes: Sequence[Axis]) -> Iterator[Axis]:
    """Those of `axes` along which there is something between, and whose series can be numbered."""
    return (axis for axis in axes if axis.length >= 2 and cost(train, axis) < np.inf)


class TimelineExpert:
    """Series by themselves, along each axis."""

    name = "timeline"

    def cost(self, task: Task) -> float:
        return sum(cost(task.train, axis) for axis in task.axes.candidates)

    def offers(self, task: Task, tools: Tools) -> Iterator[Timeline]:
        for timeline in offers(task.train, task.held, task.axes, task.mode):
            tools.workers.tracker.beat()
            yield timeline
