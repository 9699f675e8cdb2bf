"""New entries taken into an answer: the same choices, started from where they stand.

Entries of slices that were there, corrections of entries, and whole new slices along any modes: these are folded in first (`extend`). Then
the tree of the answer is fitted again to old and new entries: components from their present rows and for a few sweeps, or, where
these do not pay, in the rows of slices with new entries alone; chains of draws go on for a few draws. Timelines and neighbours are
given all entries; regressions of slices run their sweeps.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rankless.answer.tree import Branch, Placed, Predictor, Tools
from rankless.completer import TensorCompleter
from rankless.engine.found import bare_of
from rankless.experts.cold import Rows
from rankless.experts.components import Components
from rankless.experts.draws import Draws
from rankless.experts.linked import Linked
from rankless.holdout.gaps import kept_slices
from rankless.holdout.split import STREAMS
from rankless.kinds.joining import Joined
from rankless.later.extend import grown
from rankless.later.fold import fold, state_of
from rankless.runtime.progress import Callback, Tracker, shown
from rankless.runtime.workers import Workers
from rankless.tensors.canonical import lexicographic
from rankless.tensors.observations import Observations

Effort = Literal["fast", "default"]
SWEEPS = 5  # of a fast update
HELD, ENOUGH = 0.2, 20  # share of the new entries that tells whether sweeps pay, and how many these have to be
TOUCHED = 0.5  # share of a mode's slices with new entries, up to which their rows can be solved alone


def updated(
    before: TensorCompleter, joined: Joined, effort: Effort = "fast", sweeps: int | None = None, callback: Callback | None = None
) -> TensorCompleter:
    """`before` with the entries of `joined` taken in; `sweeps` of components, as many as `effort` allows if left out.

    Raises ValueError for an `effort` that is not known and for constant data.
    """
    if effort not in ("fast", "default"):
        raise ValueError(f"effort={effort!r} is not known; pass 'fast', 'default', or 'best' to search anew")
    if sweeps is not None and sweeps < 1:
        raise ValueError(f"sweeps={sweeps!r} is no number of sweeps; pass 1 or more")
    if before._answer is None:
        raise ValueError("the data were constant, and there is nothing to go on from; fit all of it: rankless.complete(...)")
    judged = sweeps is None
    sweeps = SWEEPS if sweeps is None and effort == "fast" else sweeps
    fitted = joined.given.fitted
    est = copy.copy(before)
    est.__class__ = TensorCompleter
    vars(est).pop("before", None)
    vars(est).pop("place", None)
    est.shape_, est._calibration = fitted.shape, None
    est.unseen_ = [fitted.counts(mode) == 0 for mode in range(fitted.order)]
    with shown(before.verbose) as bar, Workers(before.n_jobs, tracker=Tracker(bar, callback)) as workers:
        # other numbers each time: chains that are given the same ones again would circle
        tools = Tools(workers, iter(np.random.default_rng(np.random.SeedSequence(before._seed, spawn_key=(fitted.size,))).spawn(STREAMS)))
        workers.tracker.stage(f"taking in {int(joined.fresh.sum()):,} entries")
        fit = before._answer
        for place, part in _one_mode_at_a_time(joined, fitted):
            fit = grown(fit, part, place, tools)
        obs = fit.in_its_units(fitted)
        way = Way(tools, joined.fresh, sweeps, judged=judged) if effort == "fast" else Way(replace(tools, afresh=True), None, sweeps)
        tree = way.fitted(fit.found.tree, obs)
        found = replace(fit.found, tree=tree, bare=bare_of(tree, obs))
    fit = replace(fit, near_one=obs, found=found)
    est._keep(fit, [fit], fitted)
    est.path_, est.came_later_ = before.path_, before.came_later_ + int(joined.fresh.sum())
    return est


@dataclass(frozen=True)
class Way:
    """How an answer goes on from where it stands.

    Attributes
    ----------
    fresh : a mask of the new entries; None to fit anew all but components, which go on from their rows.
    sweeps : of components, at most; None: as many as they were given at first.
    judged : whether components are swept only where that fills new entries that were held out better than rows folded in.
    """

    tools: Tools
    fresh: np.ndarray | None
    sweeps: int | None = SWEEPS
    judged: bool = False

    def fitted(self, node: Predictor, obs: Observations) -> Predictor:
        """`node` fitted again to `obs`, less what lies under it, from where it stands."""
        if isinstance(node, Branch):
            return node.refitted(obs, self.fitted)
        if isinstance(node, Components):
            if self.fresh is not None and self.judged and not _sweeps_pay(node, obs, self.fresh, self.tools, self.sweeps):
                return _with_new_rows(node, obs, self.fresh, self.tools)
            return _from_here(node, self.sweeps).again(obs, self.tools)
        if isinstance(node, Rows):
            return replace(node, base=_from_here(node.base, self.sweeps)).again(obs, self.tools)
        if isinstance(node, Linked) and self.fresh is not None:
            return _for_sweeps(node, obs, self.tools, self.sweeps)
        if isinstance(node, Draws) and self.fresh is not None:
            return node.gone_on(obs, self.tools) if self.fresh.any() else node
        return node.again(obs, self.tools)


def _sweeps_pay(node: Components, obs: Observations, fresh: np.ndarray, tools: Tools, sweeps: int | None) -> bool:
    """Whether sweeps over all rows fill a part of the new entries, which was held out, better than rows of their slices alone.

    Sweeps know more entries, but they also drive components further into these than the search did, whose penalty goes with
    components that have stopped early. Where too few entries are new, or they lie in most slices of every mode, sweeps are made.
    """
    place = next(_touched(obs, fresh), None)
    mask = np.zeros(obs.size, bool)
    new = np.flatnonzero(fresh)
    mask[np.random.default_rng(0).permutation(new)[: int(HELD * len(new))]] = True
    mask = kept_slices(obs, mask)
    if place is None or mask.sum() < ENOUGH:
        return True
    rest, held = obs.subset(~mask), obs.subset(mask)
    folded = fold(node, rest, place, tools)
    assert isinstance(folded, Components)
    swept = _from_here(folded, sweeps).again(rest, tools)
    before, after = (np.sum((held.values - np.nan_to_num(each.at(held.indices))) ** 2) for each in (folded, swept))
    return bool(after < before)


def _touched(obs: Observations, fresh: np.ndarray) -> Iterator[Placed]:
    """Of each mode the slices with new entries, as new ones, where they are the smaller part of it."""
    for mode in range(obs.order):
        touched = np.unique(obs.coords[mode][fresh])
        if 0 < len(touched) <= TOUCHED * obs.shape[mode]:
            was = np.arange(obs.shape[mode])
            was[touched] = -1
            yield Placed(mode, was)


def _from_here(node: Components, sweeps: int | None) -> Components:
    """Components that `again` starts from the rows they have."""
    how = node.how if sweeps is None else replace(node.how, max_sweeps=sweeps)
    return replace(node, point=replace(node.point, state=state_of(node)), how=how)


def _for_sweeps(node: Linked, obs: Observations, tools: Tools, sweeps: int | None) -> Linked:
    """Components under a loss, which go on from the rows they have in any case, for so many sweeps."""
    if sweeps is None:
        return node.again(obs, tools)
    brief = replace(node, problem=replace(node.problem, max_sweeps=sweeps, forgiving=True))
    return replace(brief.again(obs, tools), problem=node.problem)


def _with_new_rows(node: Predictor, obs: Observations, fresh: np.ndarray, tools: Tools) -> Predictor:
    """`node` with the rows of slices that have new entries solved anew."""
    for place in _touched(obs, fresh):
        node = fold(node, obs, place, tools)
    return node


def _one_mode_at_a_time(joined: Joined, fitted: Observations) -> list[tuple[Placed, Observations]]:
    """For each mode that has grown its place, and the entries of the array that has grown along it and those before it."""
    steps, modes = [], joined.grown
    for number, mode in enumerate(modes):
        later = modes[number + 1 :]
        keep = np.ones(fitted.size, bool)
        for other in later:
            keep &= joined.was[other][fitted.coords[other]] >= 0
        part = fitted.subset(keep)
        coords, shape = np.array(part.coords), list(fitted.shape)
        for other in later:
            coords[other] = joined.was[other][coords[other]]
            shape[other] = int((joined.was[other] >= 0).sum())
        coords, order = lexicographic(coords, shape)
        weights = None if part.weights is None else part.weights[order]
        labels = tuple(
            label if label is None or m not in later else label[np.argsort(joined.was[m], kind="stable")[-shape[m] :]]
            for m, label in enumerate(fitted.labels)
        )
        part = replace(part, coords=coords, values=part.values[order], weights=weights, shape=tuple(shape), labels=labels, where=None)
        steps.append((Placed(mode, joined.was[mode]), part))
    return steps
