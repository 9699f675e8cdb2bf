"""What an expert is asked, and what it answers with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from rankless.answer.tree import Predictor, Tools
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import OUTDONE, Judge
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations


@dataclass(frozen=True, eq=False)
class Task:
    """What an expert is asked: entries to fit, and entries held out to be judged on, both less the main effects."""

    train: Observations
    held: Observations
    residual: np.ndarray  # errors of the answer so far at `held`
    judge: Judge
    gaps: Gaps | None  # the pattern in which `held` was held out; None: cell by cell
    mode: int | None  # the mode whose slices have noise of their own; None: no mode has
    axes: Axes

    @property
    def said(self) -> np.ndarray:
        """What the answer so far says at `held`."""
        return self.held.values - self.residual

    def at_held(self, predictor: Predictor) -> np.ndarray:
        """What `predictor` says at `held`; where it knows nothing, what the answer so far says."""
        values = predictor.at(self.held.indices)
        return np.where(np.isnan(values), self.said, values)

    def behind(self, said: Sequence[np.ndarray]) -> Task:
        """The same beside the best of what other experts have `said` at `held`, where that outdoes the answer so far."""
        residual = min((self.held.values - each for each in said), key=self.judge.score, default=self.residual)
        return replace(self, residual=residual) if OUTDONE * self.judge.score(residual) < self.judge.score(self.residual) else self

    def beside(self, fitted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Score, shares and errors of the answer so far and of what says `fitted` at `held`, together."""
        return self.judge.joint(self.held.values, np.stack([self.said, fitted], axis=1))


class Expert(Protocol):
    """A way to fill cells. A new one is a class like this in a file of its own, and an entry of `engine.EXPERTS`."""

    name: str

    def cost(self, task: Task) -> float:
        """Multiply-adds of all offers, about; inf where the expert is not for these data."""
        ...

    def offers(self, task: Task, tools: Tools) -> Iterator[Predictor]:
        """Predictors fitted to `task.train`, the simplest first; the engine takes those that pay."""
        ...
