"""One fit of deep CP as a predictor: settled again on other entries from where it stands, at the penalty and depth found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem
from rankless.answer.tree import Tools
from rankless.holdout.scoring import Point, unit_noise
from rankless.search.walk import Search, guard_of
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations

FINAL = Problem(0.0, 1.0, tol=1e-5, max_sweeps=60, forgiving=True)  # how far a refit is driven
UTMOST = Problem(0.0, 1.0, tol=1e-6, max_sweeps=200, forgiving=True)  # how far it is driven where data are noiseless


@dataclass(frozen=True, eq=False)
class Components:
    """The components of one fit, in the units of the data less the main effects, and the choices they were made with."""

    point: Point
    model: CPTensor
    guard: float  # against components that run away where nothing was seen; it grows with the noise on held-out entries
    how: Problem
    unseen: tuple[np.ndarray, ...]  # for each mode a mask of the slices without an entry, of which nothing is known

    @classmethod
    def of(cls, search: Search, point: Point, *, exact: bool) -> Components:
        """The fit `point` of a search."""
        if any(point.smooth):  # errors over gaps are no noise
            guard = point.guard
        else:
            guard = max(point.guard, guard_of(point.penalty, search.train.share, unit_noise(point.frame, point, search.held)))
        how = UTMOST if exact else FINAL
        return cls(point, point.frame.to_data(point.model()), guard, how, unseen_in(search.train, point.smooth, point.frame.mode))

    def at(self, indices: np.ndarray) -> np.ndarray:
        return silenced(self.model.at(indices) if self.model.rank else np.zeros(len(indices)), indices, self.unseen)

    def again(self, obs: Observations, tools: Tools) -> Components:
        point, frame = self.point, replace(self.point.frame, offset=None)
        state, units = point.state.copy(), frame.to_units(obs)
        problem = replace(self.how, depth=point.depth, penalty=point.penalty, guard=self.guard, smooth=point.smooth)
        if self.how is not UTMOST:  # most sweeps in single precision, which takes half the time; the last ones in double
            state.stack = state.stack.astype(np.float32)
            settle(Entries(units, np.float32), state, problem, tools.workers)
        state.stack = state.stack.astype(np.float64)
        settle(Entries(units), state, problem, tools.workers)
        return replace(self, model=frame.to_data(state.model()), unseen=unseen_in(obs, point.smooth, frame.mode))

    def words(self, modes: Sequence[str]) -> str:
        smooth = [modes[mode] for mode, tau in enumerate(self.point.smooth) if tau]
        return f"components x {self.model.rank}" + (f" smooth along {' and '.join(smooth)}" if smooth else "")


def unseen_in(obs: Observations, smooth: Sequence[float], noisy: int | None) -> tuple[np.ndarray, ...]:
    """For each mode a mask of its slices without an entry; none along a `smooth` mode, where they lie between their neighbours.

    The mode `noisy`, whose slices have noise and scale of their own, is the exception: the scale of a slice never seen is not known.
    """
    known = [bool(tau) and mode != noisy for mode, tau in enumerate(smooth or (0.0,) * obs.order)]
    return tuple(np.zeros(d, bool) if known[mode] else obs.counts(mode) == 0 for mode, d in enumerate(obs.shape))


def silenced(values: np.ndarray, indices: np.ndarray, unseen: Sequence[np.ndarray]) -> np.ndarray:
    """`values`, NaN in slices that were never seen."""
    for mode, mask in enumerate(unseen):
        if mask.any():
            values = np.where(mask[indices[:, mode]], np.nan, values)
    return values
