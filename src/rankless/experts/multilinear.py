"""Tucker and train models with depth, for data whose multilinear rank is low where their CP rank is not.

Not among the experts that are asked by default: pass ``experts=["components", MultilinearExpert()]`` to `rankless.complete`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rankless.als.networks import UNKNOWNS, NetworkFit, solve_train, solve_tucker
from rankless.answer.tree import Tools
from rankless.experts.task import Task
from rankless.tensors.observations import Observations

SOLVERS = {"tucker": solve_tucker, "train": solve_train}
LAYERS = (1.0, 4.0)  # plain, and deep enough to find the rank
PENALTIES = (0.1, 0.3, 1.0)  # for values of unit root mean square
SWEEPS = 150
WORK = 1e12  # multiply-adds of all fits, at most


@dataclass(frozen=True, eq=False)
class Multilinear:
    """A network of the family `model` with chains of `layers`, under a penalty for values of unit root mean square."""

    model: str
    layers: float
    penalty: float
    size: float
    fit: NetworkFit

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.size * self.fit.at(indices)

    def again(self, obs: Observations, tools: Tools) -> Multilinear:
        return fitted(obs, self.model, self.layers, self.penalty)

    def words(self, modes: Sequence[str]) -> str:
        return f"a {self.model} of ranks {', '.join(map(str, self.fit.ranks))}"


def fitted(obs: Observations, model: str, layers: float, penalty: float) -> Multilinear:
    """The network fitted to `obs`."""
    size = float(np.sqrt(np.mean(np.asarray(obs.values, dtype=float) ** 2))) or 1.0
    fit = SOLVERS[model](obs.with_values(obs.values / size), layers=layers, penalty=penalty, tol=1e-4, max_sweeps=SWEEPS)
    return Multilinear(model, layers, penalty, size, fit)


class MultilinearExpert:
    """Of every family the network whose layers and penalty fill held-out entries best."""

    name = "multilinear"

    def cost(self, task: Task) -> float:
        if task.train.order < 3:
            return np.inf  # of a matrix they are what components are
        unknowns = np.prod([float(min(d, 8)) for d in task.train.shape])  # of the core, which is solved for as a whole
        work = float(len(LAYERS) * len(PENALTIES) * SWEEPS * task.train.size * unknowns**2)
        return work if unknowns <= UNKNOWNS and work <= WORK else np.inf

    def offers(self, task: Task, tools: Tools) -> Iterator[Multilinear]:
        for model in SOLVERS:
            tools.workers.tracker.beat()
            trials = [fitted(task.train, model, layers, penalty) for layers in LAYERS for penalty in PENALTIES]
            yield min(trials, key=lambda trial: task.beside(task.at_held(trial))[0])
