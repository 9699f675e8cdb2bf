"""Periods: a flat axis folded by the periods that are surely hidden in it, and the same cells filled in the folded array.

Hours x sensors become days x hours x sensors, or weeks x days x hours x sensors. What all days have in common is then a factor of
components, a row of an unfolding, a line along the same hour of other days. Foldings are compared by one short walk of components, with
each other and with the flat array; on the best one components, draws and the other experts are asked as on any array, and what they
say is offered under the flat coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankless.answer.tree import Onto, Predictor, Tools
from rankless.experts import draws
from rankless.experts.components import Components
from rankless.experts.nuclear import LowRankExpert
from rankless.experts.slices import SlicesExpert
from rankless.experts.task import Expert, Task
from rankless.experts.timeline import TimelineExpert
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.holdout.scoring import Point, score_of
from rankless.search import race
from rankless.search.choose import best_fit
from rankless.search.walk import Limits, Search, penalties_of
from rankless.tensors.axes import Axes
from rankless.tensors.folding import Folding, foldings_of
from rankless.tensors.observations import Observations
from rankless.units.frame import Frame

LIMITS = Limits(local=False)  # all is free: what the user fixed is fixed for the components of the flat array
WALK = 3e4  # multiply-adds that a search takes for each entry and mode, about


@dataclass(frozen=True, eq=False)
class Folded:
    """A predictor of the folded array, asked at flat coordinates; None where nothing is known of an array of that shape."""

    folding: Folding
    inner: Predictor | None

    def at(self, indices: np.ndarray) -> np.ndarray:
        if self.inner is None:
            return np.full(len(indices), np.nan)
        return self.inner.at(np.ascontiguousarray(self.folding.coords(indices.T).T))

    def again(self, obs: Observations, tools: Tools) -> Folded:
        folding = self.folding.again(obs)
        if self.inner is None or folding.folded_shape != self.folding.folded_shape:  # components have no rows for new slices
            return Folded(folding, None)
        return Folded(folding, self.inner.again(folding.folded(obs), tools.own()))

    def words(self, modes: Sequence[str]) -> str:
        said = "nothing" if self.inner is None else self.inner.words(self.folding.names(modes))
        return f"with {self.folding.words(modes)} {said}"


class PeriodsExpert:
    """Components, draws, timelines, slices and low rank of the array folded by its periods."""

    name = "periods"

    def cost(self, task: Task) -> float:
        return WALK * task.train.size * (task.train.order + 1)

    def offers(self, task: Task, tools: Tools) -> Iterator[Folded]:
        foldings = foldings_of(task.train)
        if not foldings:
            return
        tools = tools.own()
        train = [task.train, *(folding.folded(task.train) for folding in foldings)]
        held = [task.held, *(folding.folded(task.held) for folding in foldings)]
        searches = [
            Search(race.scout(some, tools.streams), over, LIMITS, tools.streams, tools.workers, several=task.gaps is None)
            for some, over in zip(train, held, strict=True)
        ]
        least, *scores = [score_of(_walked(search)) for search in searches]
        at = int(np.argmin(scores))
        if scores[at] >= least:
            return
        folding = foldings[at]
        search, best, exact = best_fit(searches[at + 1], train[at + 1])
        yield Folded(folding, _predictor(search, best, exact))
        if not exact:
            yield from (Folded(folding, _predictor(search, point, False)) for point in draws.averaged(search, best))
        inside = _inside(task, folding, search)
        others: tuple[Expert, ...] = (TimelineExpert(), SlicesExpert(), LowRankExpert())
        for expert in others:
            if expert.cost(inside) < np.inf:
                yield from (Folded(folding, offer) for offer in expert.offers(inside, tools))


def _walked(search: Search) -> Point:
    """The best point of one short walk, without main effects: these were taken from the flat array, if they pay."""
    frame = Frame.of(search.train, effects=False)
    return replace(search, limits=replace(search.limits, depths=(0.0,))).walk("grow", frame, penalties_of(frame.to_units(search.train)))


def _predictor(search: Search, point: Point, exact: bool) -> Predictor:
    """A fit of the search in the units of the data; `exact`: these have no noise."""
    fit = Components.of(search, point, exact=exact) if point.drawn is None else draws.Draws.of(search, point)
    return fit if point.frame.offset is None else Onto(point.frame.offset, fit)


def _inside(task: Task, folding: Folding, search: Search) -> Task:
    """The same task in the folded array. Only axes that the flat array does not have are left: the same place in other periods."""
    order = folding.order(task.held.coords)
    mode = None if task.mode is None or task.mode == folding.mode else folding.moved(task.mode)
    gaps = None if task.gaps is None else Gaps.of(search.train)
    residual = task.residual[order]
    return Task(search.train, search.held, residual, Judge(residual, search.held, gaps, mode), gaps, mode, _new_axes(search.train, folding))


def _new_axes(train: Observations, folding: Folding) -> Axes:
    """Axes of the folded array that lie within the modes of one flat axis."""
    axes = Axes.of(train)
    new = set(range(folding.mode, folding.mode + len(folding.sizes)))
    return replace(axes, axes=tuple(axis for axis in axes.candidates if set(axis.modes) < new), parts=())
