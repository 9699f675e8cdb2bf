"""Slices of which nothing was seen, filled from what is known of them: a new station from where it lies, a new user from its age.

Two ways, in the shares that fill best whole slices that were left out, each of them once:

- kriging of the entries of other slices (`rankless.experts.side`);
- components whose row is the one expected there, kriged from the rows of other slices in the same way, and kriging of what they leave.

Both lie on the main effects of all modes but the slices' own, for a slice that was left out has none: what it would be is part of what
is kriged. Where both together are no better than these main effects, they stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from rankless.answer.bounds import Within
from rankless.answer.intervals import quantile
from rankless.answer.tree import Amended, Bridged, Fit, Grown, Onto, Predictor, Stack, Tools, leaves, left_by
from rankless.experts.components import Components, silenced
from rankless.experts.side import FIRST, FORMS, NOISES, PAYS, WORK, Kriged, Term, chosen, distances_of, kernel_of, own_mode, work_of
from rankless.kinds.side import Known
from rankless.tensors.axes import Axis
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations, slice_means, slices_at, slices_of
from rankless.units.effects import MainEffects

FOLDS = 4  # parts of the slices, each left out once
LEAST = 0.01  # share below which a way is left out

Pairs = Sequence[tuple[Observations, Observations]]


@dataclass(frozen=True, eq=False)
class Slices(Axis):
    """All slices of one mode, in no order, as an axis on which some were never seen."""

    @classmethod
    def of(cls, obs: Observations, mode: int) -> Slices:
        return cls(obs.modes[mode], (mode,), (obs.shape[mode],), np.arange(float(obs.shape[mode])), "asked")

    def again(self, obs: Observations) -> Slices:
        return Slices.of(obs, self.modes[0])


@dataclass(frozen=True, eq=False)
class Others:
    """Main effects of all modes but one."""

    mode: int
    effects: MainEffects

    @classmethod
    def of(cls, obs: Observations, mode: int) -> Others:
        fitted = MainEffects.fit(obs)
        own = tuple(np.zeros_like(effect) if m == mode else effect for m, effect in enumerate(fitted.effects))
        return cls(mode, MainEffects(fitted.mean, own))

    def at(self, indices: np.ndarray) -> np.ndarray:
        return self.effects.at(indices)

    def again(self, obs: Observations, tools: Tools) -> Others:
        return Others.of(obs, self.mode)

    def words(self, modes: Sequence[str]) -> str:
        return f"main effects but those of {modes[self.mode]}"


@dataclass(frozen=True, eq=False)
class Rows:
    """Components with rows for slices never seen: those expected of what is known of them, given the rows of the others.

    Attributes
    ----------
    base : the components; ``onto`` says whether they were fitted to what main effects leave, those of `known.mode` among them.
    model : the components with these rows.
    """

    known: Known
    term: Term
    base: Components
    onto: bool
    model: CPTensor

    @classmethod
    def of(cls, known: Known, term: Term, base: Components, onto: bool, obs: Observations) -> Rows:
        features, places = known.rows(obs)
        return cls(known, term, base, onto, CPTensor(_expected(base, known.mode, features, distances_of(places), term)))

    def under(self, obs: Observations) -> Observations:
        """What the components are fitted to."""
        return left_by(MainEffects.fit(obs), obs) if self.onto else obs

    def at(self, indices: np.ndarray) -> np.ndarray:
        others = [np.zeros_like(mask) if mode == self.known.mode else mask for mode, mask in enumerate(self.base.unseen)]
        return silenced(self.model.at(indices) if self.model.rank else np.zeros(len(indices)), indices, others)

    def again(self, obs: Observations, tools: Tools) -> Rows:
        return Rows.of(self.known, self.term, self.base.again(self.under(obs), tools), self.onto, obs)

    def words(self, modes: Sequence[str]) -> str:
        return f"{self.base.words(modes)} with rows from {', '.join(self.known.names)}"


@dataclass(frozen=True, eq=False)
class Cold(Bridged):
    """A predictor, and in slices never seen one of what is known of them.

    Attributes
    ----------
    mode : slices of it have errors of a size of their own; None where all are alike.
    sizes : ``(d_mode,)`` or ``(1,)``: root mean square of the entries of each.
    errors : ``(n,)``: those in slices that were left out, over these sizes.
    """

    mode: int | None
    sizes: np.ndarray
    errors: np.ndarray

    def refitted(self, obs: Observations, fit: Fit) -> Cold:
        tree, bridge = fit(self.tree, obs), fit(self.bridge, obs)
        return replace(self, tree=tree, bridge=bridge, axis=self.axis.again(obs), seen=obs.counts(self.axis.modes[0]) > 0)

    def unseen(self, indices: np.ndarray) -> np.ndarray:
        """Which cells lie in slices never seen."""
        return ~self.seen[indices[:, self.axis.modes[0]]]

    def half_widths(self, indices: np.ndarray, coverage: float) -> np.ndarray:
        """Half widths of intervals in slices never seen: a quantile of the errors in slices that were left out."""
        return quantile(self.errors, coverage) * self.sizes[slices_at(indices, self.mode)]


def widened(tree: Predictor, widths: np.ndarray, indices: np.ndarray, coverage: float) -> np.ndarray:
    """`widths` of cells, in slices never seen of which something is known as wide as folding them in errs."""
    if isinstance(tree, Grown):
        return widened(tree.new, widths, indices, coverage)
    if isinstance(tree, Onto):
        return widened(tree.added, widths, indices, coverage)
    if isinstance(tree, (Amended, Within)):
        return widened(tree.tree, widths, indices, coverage)
    if not isinstance(tree, Bridged):
        return widths
    widths = widened(tree.tree, widths, indices, coverage)
    if isinstance(tree, Cold) and (cells := tree.unseen(indices)).any():
        widths = widths.copy()
        widths[cells] = tree.half_widths(indices[cells], coverage)
    return widths


def warm_of(tree: Predictor) -> Predictor:
    """What answers in slices of which something was seen, whatever its bounds."""
    return warm_of(tree.tree) if isinstance(tree, (Cold, Within)) else tree


def cold(tree: Predictor, obs: Observations, side: Sequence[Known], mode: int | None, tools: Tools) -> Predictor:
    """`tree`, a whole answer, and in slices never seen what is known of them, where that pays.

    Slices of `mode` have noise of their own. A table with rows of slices that `obs` does not have is asked, too: they may come later.
    """
    for known in side:
        seen = obs.counts(known.mode) > 0
        if (seen.all() and not known.beyond(obs)) or seen.sum() < FOLDS or work_of(obs, known.mode) > WORK:
            continue
        own = tools.own()
        tools.workers.tracker.stage(f"looking at {obs.modes[known.mode]} left out whole")
        leaf = next((leaf for leaf, _, _ in leaves(tree) if isinstance(leaf, Components) and leaf.model.rank), None)
        onto = any(isinstance(part, MainEffects) for part, _, _ in leaves(tree))
        if (found := _best(obs, known, own_mode(known, mode), seen, leaf, onto, own)) is not None:
            bridge, sizes, errors = found
            tree = Cold(tree, bridge, Slices.of(obs, known.mode), seen, own_mode(known, mode), sizes, errors)
    return tree


def _best(
    whole: Observations, known: Known, mode: int | None, seen: np.ndarray, leaf: Components | None, onto: bool, tools: Tools
) -> tuple[Predictor, np.ndarray, np.ndarray] | None:
    """What fills slices that were left out, fitted to `whole`, the sizes of slices of `mode`, and the errors over these sizes.

    None where it is no better than to say 0.
    """
    parts = np.array_split(next(tools.streams).permutation(np.flatnonzero(seen)), FOLDS)
    masks = [np.isin(whole.coords[known.mode], part) for part in parts]
    folds = []
    for mask in masks:
        rest, held = whole.subset(~mask), whole.subset(mask)
        others = Others.of(rest, known.mode)
        folds.append((left_by(others, rest), left_by(others, held)))
    others = Others.of(whole, known.mode)
    obs = left_by(others, whole)
    sizes = np.maximum(np.sqrt(slice_means(obs.values**2, *slices_of(obs.coords, obs.shape, mode))), np.finfo(float).tiny)
    units = [sizes[slices_of(held.coords, held.shape, mode)[0]] for _, held in folds]
    ways: list[Predictor] = []
    columns: list[np.ndarray] = []
    if terms := chosen(known, mode, folds, tools):
        ways.append(Kriged(known, mode, terms, np.zeros(0)))
        columns.append(_said([ways[-1].again(rest, tools) for rest, _ in folds], folds, units))
    if leaf is not None:
        start = Rows(known, _term(*FORMS[0], NOISES[-1]), leaf, onto, leaf.model)
        fresh = replace(tools, afresh=True)
        rows = _with_terms([start.again(rest, fresh) for rest, _ in folds], folds, units)
        left = [(left_by(each, rest), left_by(each, held)) for each, (rest, held) in zip(rows, folds, strict=True)]
        start = replace(start, term=rows[0].term)
        if terms := chosen(known, mode, left, tools):
            more = Kriged(known, mode, terms, np.zeros(0))
            ways.append(Onto(start, more))
            columns.append(_said(rows, folds, units) + _said([more.again(rest, tools) for rest, _ in left], folds, units))
        else:
            ways.append(start)
            columns.append(_said(rows, folds, units))
    if not ways:
        return None
    target = np.concatenate([held.values / unit for (_, held), unit in zip(folds, units, strict=True)])
    fitted = np.stack(columns, axis=1)
    shares = nnls(fitted, target)[0]
    errors = target - fitted @ shares
    if np.sum(errors**2) >= PAYS * np.sum(target**2):
        return None
    kept = [(way.again(obs, tools), np.array([share])) for way, share in zip(ways, shares, strict=True) if share > LEAST]
    return Onto(others, Stack(tuple(way for way, _ in kept), tuple(share for _, share in kept))), sizes, errors


def _said(each: Sequence[Predictor], folds: Pairs, units: Sequence[np.ndarray]) -> np.ndarray:
    """What the predictor of each fold says of what was left out there, 0 where it knows nothing."""
    return np.concatenate(
        [np.nan_to_num(predictor.at(held.indices)) / unit for predictor, (_, held), unit in zip(each, folds, units, strict=True)]
    )


def _with_terms(each: Sequence[Rows], folds: Pairs, units: Sequence[np.ndarray]) -> list[Rows]:
    """`each` with the numbers by which rows of slices left out are expected best."""
    target = np.concatenate([held.values / unit for (_, held), unit in zip(folds, units, strict=True)])

    def by(trial: Term) -> list[Rows]:
        return [Rows.of(one.known, trial, one.base, one.onto, rest) for one, (rest, _) in zip(each, folds, strict=True)]

    def error(trial: Term) -> float:
        return float(np.sum((target - _said(by(trial), folds, units)) ** 2))

    best = min((_term(*form, FIRST) for form in FORMS), key=error)
    return by(min((replace(best, noises=np.array([noise])) for noise in NOISES), key=error))


def _term(ridge: float, space: float, length: float, noise: float) -> Term:
    return Term((), *(np.array([number]) for number in (ridge, space, length, noise)))


def _expected(base: Components, mode: int, features: np.ndarray, distances: np.ndarray, term: Term) -> list[np.ndarray]:
    """Factors of `base` in which slices never seen have the rows expected of them; every column counts in its own size."""
    factors = [factor.astype(np.float64) for factor in base.model.factors]
    unseen = base.unseen[mode]
    if not unseen.any() or not base.model.rank:
        return factors
    kernel = kernel_of(features, distances, float(term.ridge[0]), float(term.space[0]), float(term.lengths[0]))
    there = np.flatnonzero(~unseen)
    systems = kernel[np.ix_(there, there)] + float(term.noises[0]) * np.eye(len(there))
    factors[mode][unseen] = kernel[np.ix_(np.flatnonzero(unseen), there)] @ np.linalg.solve(systems, factors[mode][there])
    return factors
