"""`Found`: what the search chose, fitted to all entries, and what estimators show of its tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from rankless.answer.bounds import Within
from rankless.answer.stack import shared, total
from rankless.answer.tree import Grown, Onto, Predictor, Tools, leaves
from rankless.experts.cold import Cold, warm_of
from rankless.experts.components import Components
from rankless.experts.draws import Draws
from rankless.experts.linked import Linked
from rankless.experts.multilinear import Multilinear
from rankless.holdout.gaps import Gaps
from rankless.holdout.scoring import Errors, Point
from rankless.holdout.split import STREAMS
from rankless.runtime.workers import Workers
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.link import Units
from rankless.units.transform import Transform

Kind = TypeVar("Kind")

PROBED = 20  # cells of a slice that are looked at to tell whether the tree fills it
PROBED_AT_ONCE = 1000  # slices that are looked at together


@dataclass(frozen=True, eq=False)
class Found:
    """What was chosen, fitted to all entries."""

    tree: Predictor
    bare: MainEffects  # fill cells of which the tree knows nothing
    best: Point  # the best single fit of components
    errors: Errors  # to be expected at missing cells: those on the entries held out, as gaps where cells are missing as gaps
    cells: Errors  # of components and neighbours alone, on single cells: a transform is calibrated by them
    alone: Point  # the best fit on single cells, before shares were fitted
    alone_held: Observations  # the single cells held out, on which `alone` was scored
    gaps: Gaps | None = None  # the pattern of the missing cells; None where they are missing one by one
    unasked: list[str] = field(default_factory=list)  # names of experts for which the data were too large or too sparse
    unfinished: bool = False  # ended by ctrl-C: this is the best fit so far, not refitted
    path: list[dict] = field(default_factory=list)
    link: Transform = field(default_factory=Transform)  # from what the tree says to means, where the loss takes something else
    deviances: tuple[float, float] | None = None  # of another loss than squares, at `errors.entries`: of the answer, and of a constant

    @property
    def offset(self) -> MainEffects | None:
        """The main effects at the base of the tree; None where it has none."""
        tree = warm_of(self.tree)
        return tree.base if isinstance(tree, Onto) and isinstance(tree.base, MainEffects) else None

    @property
    def model(self) -> CPTensor:
        """Components and draws in their shares, in one CP tensor."""
        drawn = draws_of(self.tree)
        parts = [*fits_of(self.tree), *([] if drawn is None else [drawn])]
        return total(parts) if parts else self.components

    @property
    def components(self) -> CPTensor:
        """The best single fit of components in the tree; of rank 0 where a network stands in their place."""
        leaf = next((leaf for leaf, _, _ in leaves(self.tree) if isinstance(leaf, (Components, Linked))), None)
        return self.network.components if leaf is None else leaf.model  # pyright: ignore[reportOptionalMemberAccess]

    @property
    def network(self) -> Multilinear | None:
        """The Tucker or train network in the tree, if there is one."""
        return leaf_of(self.tree, Multilinear)

    @property
    def loss(self) -> Units | None:
        """The loss, where it is another than plain squares, with what it takes."""
        return self.best.frame if isinstance(self.best.frame, Units) else None

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``."""
        values = self.tree.at(indices)
        silent = np.isnan(values)
        values[silent] = self.bare.at(indices[silent])
        return values

    def kept(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """`values` at `indices`, kept within the bounds of the data where there are some."""
        tree = self.tree.new if isinstance(self.tree, Grown) else self.tree
        return tree.kept(values, indices) if isinstance(tree, Within) else values

    def expected(self, indices: np.ndarray) -> np.ndarray:
        """Values to be expected at `indices`: what the tree says, or where the loss takes something else than means, the mean of that."""
        return self.link.inverse(self.at(indices))

    def again(self, obs: Observations, rng: np.random.Generator, workers: Workers, *, gaps: bool = False) -> Found:
        """The same choices, fitted to other entries, without memory of those left out; `gaps`: these were left out as gaps come."""
        tree = self.tree.again(obs, Tools(workers, iter(rng.spawn(STREAMS)), afresh=True, gaps=gaps))
        return replace(self, tree=tree, bare=bare_of(tree, obs))


def bare_of(tree: Predictor, obs: Observations) -> MainEffects:
    """What fills cells of which the tree knows nothing."""
    if not isinstance(tree, Linked):
        return MainEffects.fit(obs)
    if not any(tree.units.nonnegative):
        return tree.offset
    return MainEffects.constant(float(np.average(obs.values, weights=obs.weights)), obs.shape)  # nothing lies under such components


def fits_of(tree: Predictor) -> list[CPTensor]:
    """The fits of components in the tree, each times its share, the best one first, without components whose share is 0 everywhere."""
    return [shared(leaf.model, mode, share) for leaf, mode, share in leaves(tree) if isinstance(leaf, (Components, Linked))]


def draws_of(tree: Predictor) -> CPTensor | None:
    """The mean of draws times its share; None where the tree has none."""
    return next((shared(leaf.model, mode, share) for leaf, mode, share in leaves(tree) if isinstance(leaf, Draws)), None)


def known_in(tree: Predictor, mode: int, unseen: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A mask of those `unseen` slices of `mode` that the tree fills with more than main effects, as `PROBED` random cells of each tell."""
    tree = tree.new if isinstance(tree, Grown) else tree
    tree = tree.tree if isinstance(tree, Within) else tree
    if isinstance(tree, Cold):
        return unseen.copy() if mode == tree.axis.modes[0] else known_in(tree.tree, mode, unseen, shape)
    answer = tree.added if isinstance(tree, Onto) and isinstance(tree.base, MainEffects) else tree
    cells = np.stack([np.random.default_rng(0).integers(0, d, PROBED) for d in shape], axis=1)
    known = np.zeros(shape[mode], bool)
    which = np.flatnonzero(unseen)
    for start in range(0, len(which), PROBED_AT_ONCE):
        some = which[start : start + PROBED_AT_ONCE]
        asked = np.tile(cells, (len(some), 1))
        asked[:, mode] = np.repeat(some, PROBED)
        known[some] = ~np.isnan(answer.at(asked)).reshape(len(some), PROBED).all(axis=1)
    return known


def leaf_of(tree: Predictor, kind: type[Kind]) -> Kind | None:
    """The first predictor of a kind."""
    return next((leaf for leaf, _, _ in leaves(tree) if isinstance(leaf, kind)), None)
