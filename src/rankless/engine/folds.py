"""More entries to judge on, where one hold-out is too small to tell experts apart.

A few dozen gaps, or a hundred entries of a small table, say little of which expert fills better. So the same choices are fitted again
without other entries, as many times as are needed for `ENOUGH`, and judged on all that were held out together [stone1974].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rankless.answer.tree import Predictor, Tools
from rankless.experts.task import Task
from rankless.holdout.gaps import Gaps, kept_slices
from rankless.holdout.judge import Judge
from rankless.tensors.canonical import lexicographic
from rankless.tensors.observations import Observations, joined

ENOUGH = 400  # gaps, or entries one by one, that are to be judged on
MOST = 4  # hold-outs, at most
SCARCE = 40  # gaps below which the same is done for any number of entries: one gap in ten decides
FEW = 5000  # entries up to which all is fitted again for it: of 30,000, three fits more cost half a search and gained nothing


def wanted(count: int, size: int) -> int:
    """How many hold-outs more, where one of `size` entries makes `count` gaps."""
    return min(MOST, -(-ENOUGH // max(count, 1))) - 1 if size <= FEW or count < SCARCE else 0


def judged(
    task: Task, answer: Predictor, offers: Sequence[tuple[Predictor, np.ndarray]], several: int, tools: Tools
) -> tuple[Observations, list[np.ndarray], Judge]:
    """Entries held out, once and `several` times more, what `answer` and each of `offers` say there, and their judge."""
    first = [task.said, *(values for _, values in offers)]
    if not several:
        return task.held, first, task.judge
    obs = joined([task.train, task.held])
    _, order = lexicographic(obs.coords, obs.shape)
    obs, own = obs.subset(order), replace(tools.own(), afresh=True, gaps=task.gaps is not None)
    masks = more(several, obs, order >= task.train.size, task.gaps, next(own.streams))
    parts, columns = [task.held], [first]
    for over, base, others in said(answer, [predictor for predictor, _ in offers], obs, masks, own):
        parts.append(over)
        columns.append([base, *others])
    held, together = joined(parts), [np.concatenate(each) for each in zip(*columns, strict=True)]
    fold = np.repeat(np.arange(len(parts)), [part.size for part in parts])
    return held, together, Judge(held.values - together[0], held, task.gaps, task.mode, fold)


def more(count: int, obs: Observations, held: np.ndarray, gaps: Gaps | None, rng: np.random.Generator) -> list[np.ndarray]:
    """Masks of entries of `obs` to hold out besides those of the mask `held`, as many as these.

    Entries one by one are held out once; gaps lie where chance puts them, and may overlap.
    """
    if gaps is not None:
        masks = [gaps.mask(obs, float(held.mean()), rng) for _ in range(count)]
    else:
        turns = rng.permutation(np.flatnonzero(~held))
        size = int(held.sum())
        parts = [turns[start : start + size] for start in range(0, count * size, size)]
        masks = [kept_slices(obs, np.isin(np.arange(obs.size), part)) for part in parts]
    return [mask for mask in masks if mask.any()]


def said(
    answer: Predictor, offers: Sequence[Predictor], obs: Observations, masks: Sequence[np.ndarray], tools: Tools
) -> Iterator[tuple[Observations, np.ndarray, list[np.ndarray]]]:
    """For each of `masks` the entries held out, what `answer` says there, and what `offers` say; all of them fitted to the others."""
    for number, mask in enumerate(masks):
        rest, over = obs.subset(~mask), obs.subset(mask)
        tools.workers.tracker.stage(f"judging on {over.size} other entries ({number + 1} of {len(masks)})")
        first = answer.again(rest, tools).at(over.indices)
        first = np.where(np.isnan(first), 0.0, first)
        others = (offer.again(rest, tools).at(over.indices) for offer in offers)
        yield over, first, [np.where(np.isnan(other), first, other) for other in others]
