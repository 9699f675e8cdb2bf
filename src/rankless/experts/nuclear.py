"""Low rank of every unfolding at once, by truncated nuclear norms: what runs of missing fibres leave to hold on to.

    minimise  sum_n |X_(n)|_*   over arrays X that are what was seen where something was,

`X_(n)` the unfolding along mode `n` and ``|.|_*`` the sum of its singular values but the largest ones, a
share `WHOLE` of them [chen2020]. No component has to be small in every mode at once, as those of a CP
tensor have. Alternating directions give each unfolding a copy of the array: a step shrinks the singular
values of the copies, fills the holes with their mean, and lets multipliers pull them together, harder
and harder [liu2013].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from rankless.answer.tree import Tools
from rankless.experts.task import Task
from rankless.tensors.observations import Observations

WHOLE = 0.1  # share of the singular values that is not shrunk
FIRST_PULL, HARDER = 1e-4, 1.05  # strength with which copies are pulled together, for values of unit root mean square, and its growth
STEPS, STILL = 300, 1e-4  # steps at most; change, relative, at which the array rests
WORK, LONE_WORK = 1e11, 1e10  # multiply-adds of all steps, at most: over runs of gaps, and elsewhere, where others know more


@dataclass(frozen=True, eq=False)
class LowRank:
    """The array of low rank, in every cell; slices of `mode` count alike, whatever their units."""

    mode: int | None
    values: np.ndarray

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.values[tuple(indices.T)]

    def again(self, obs: Observations, tools: Tools) -> LowRank:
        def compute() -> dict[str, np.ndarray]:
            return {"values": filled(obs.to_array(), self.mode)}

        return LowRank(self.mode, tools.workers.recall("low rank", (obs.coords, obs.values), compute)["values"])

    def words(self, modes: Sequence[str]) -> str:
        return "an array of low rank"


class LowRankExpert:
    """The array of low rank that fills what was seen."""

    name = "low rank"

    def cost(self, task: Task) -> float:
        most = WORK if task.gaps is not None and task.gaps.run is not None else LONE_WORK
        return work if (work := work_of(task.train.shape)) <= most else np.inf

    def offers(self, task: Task, tools: Tools) -> Iterator[LowRank]:
        yield LowRank(task.mode, np.zeros(0)).again(task.train, tools)


def work_of(shape: tuple[int, ...]) -> float:
    """Multiply-adds that `filled` takes, at most."""
    cells = float(np.prod(shape))
    return STEPS * 2 * cells * sum(min(d, cells / d) for d in shape)


def filled(array: np.ndarray, mode: int | None = None) -> np.ndarray:
    """`array` with its NaN filled; slices of `mode` count alike, whatever their units."""
    seen = ~np.isnan(array)
    whole, pull = np.where(seen, array, 0.0), FIRST_PULL
    axes = tuple(m for m in range(array.ndim) if m != mode)
    sizes = np.sqrt(np.sum(whole**2, axis=axes, keepdims=True) / np.maximum(np.sum(seen, axis=axes, keepdims=True), 1))
    sizes = np.where(sizes > 0, sizes, 1.0)
    array, whole = array / sizes, whole / sizes
    multipliers = [np.zeros_like(whole) for _ in array.shape]
    for _ in range(STEPS):
        pull *= HARDER
        copies = [_shrunk(whole + m / pull, n, 1 / (array.ndim * pull)) for n, m in enumerate(multipliers)]
        before, mean = whole, sum(copy - m / pull for copy, m in zip(copies, multipliers, strict=True)) / array.ndim
        whole = np.where(seen, array, mean)
        for copy, m in zip(copies, multipliers, strict=True):
            m -= pull * (copy - whole)
        if max(np.linalg.norm(other - whole) for other in (before, *copies)) < STILL * np.linalg.norm(whole):
            break
    return whole * sizes


def _shrunk(array: np.ndarray, mode: int, threshold: float) -> np.ndarray:
    """`array` with the singular values of an unfolding lowered by `threshold`, but for the largest."""
    moved = np.moveaxis(array, mode, 0)
    rows = moved.reshape(len(moved), -1)
    short = rows if rows.shape[0] <= rows.shape[1] else rows.T
    squares, vectors = np.linalg.eigh(short @ short.T)  # in growing order
    values = np.sqrt(np.maximum(squares, np.finfo(float).tiny))
    kept = np.maximum(1 - threshold / values, 0.0)
    kept[len(kept) - ceil(WHOLE * len(kept)) :] = 1.0
    projector = (vectors * kept) @ vectors.T
    shrunk = projector @ rows if short is rows else rows @ projector
    return np.moveaxis(shrunk.reshape(moved.shape), 0, mode)
