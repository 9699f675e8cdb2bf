"""Components under a loss other than squares as a predictor: offset and components together, for no loss but squares splits into them.

    y(i)  ~  loss around  mean(t(i)),      t(i) = offset(i) + T(i)

`t` is what the loss takes: the mean itself, its logarithm (poisson) or its log odds (bernoulli). Fitted again, the offset is estimated
and the components are settled on the new entries, with the loss, signs, penalty and depth that were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankless.als.annealing import deepen, empty, with_random
from rankless.als.settle import settle
from rankless.als.solver import Problem, State
from rankless.answer.tree import Tools
from rankless.experts.components import silenced, unseen_in
from rankless.holdout.scoring import Point
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.link import Units

FINAL = Problem(0.0, 1.0, tol=1e-7, max_sweeps=500)  # how far a refit is driven


@dataclass(frozen=True, eq=False)
class Linked:
    """One fit under a loss, and the choices it was made with; it says `t`, in the units of the data where that is a mean."""

    units: Units
    problem: Problem
    state: State
    unseen: tuple[np.ndarray, ...]  # for each mode a mask of the slices without an entry, of which nothing is known

    @classmethod
    def of(cls, train: Observations, point: Point) -> Linked:
        """The fit `point` of a search on `train`."""
        assert isinstance(point.frame, Units)
        problem = replace(FINAL, depth=point.depth, penalty=point.penalty, guard=point.guard)
        return cls(point.frame, problem, point.state, unseen_in(train, (), None))

    @property
    def model(self) -> CPTensor:
        """The components, in the units of the data, or of logarithms or log odds."""
        return self.state.model().times(0, np.array([self.units.scale])).balanced()

    @property
    def offset(self) -> MainEffects:
        """What lies under the components, in the same units."""
        return self.units.offset.times(self.units.scale)

    def at(self, indices: np.ndarray) -> np.ndarray:
        return silenced(self.units.scale * self.units.said(self.state, indices), indices, self.unseen)

    def again(self, obs: Observations, tools: Tools) -> Linked:
        """The same choices, fitted to `obs`: from where the components stand, or where gaps are left out from random ones.

        The first of these still know what single cells have left in them for as long as a fit is not at rest; it is driven to rest.
        """
        units, state = self.units.again(obs), self.state.copy()
        target = units.entries(obs)
        if tools.gaps and state.rank:
            state = with_random(target, empty(target), state.rank, next(tools.streams))
            deepen(target, state, self.problem, tools.workers)
        else:
            settle(target, state, self.problem, tools.workers)
        return replace(self, units=units, state=state, unseen=unseen_in(obs, (), None))

    def deviances(self, held: Observations, fitted: Observations) -> tuple[float, float]:
        """Mean deviances of the entries `held`: of what is said there, and of a constant, the level of the entries `fitted`."""
        said, blank = self.units.said(self.state, held.indices), np.full(held.size, self.units.level(fitted))
        return self.units.deviance(said, held), self.units.deviance(blank, held)

    def words(self, modes: Sequence[str]) -> str:
        under = [] if any(self.units.nonnegative) else [self.offset.words(modes)]
        return " + ".join(under + ([f"components x {self.state.rank}"] if self.state.rank else [])) or "nothing"
