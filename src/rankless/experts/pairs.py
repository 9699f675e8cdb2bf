"""Pairs of slices never seen together, such as a station that never measured ozone: filled from the slices like them.

Components know of such a pair only what their penalty leaves of it, and may say anything there. What is known is what ozone is at other
stations at that hour, and how far this station is from them in what it does measure:

    typical(s, q, h)  =  m(q, h) + lean * sum_p b(q, p) (y(s, p, h) - m(p, h)),        m the mean over all stations that were seen

with `b` from a ridge regression over all stations that have both. `lean`, and the share in which the answer itself stays beside it, are
non-negative least squares on whole pairs left out, of which neither the answer nor its main effects have seen a cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from rankless.answer.tree import Amended, Predictor, Tools, left_by
from rankless.holdout.kinds import Kinds
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

EARNED = 0.98  # of the answer's own error on pairs left out, below which what is typical amends it
SEVERAL = 30  # slices, beside the pair's own, up to which deviations are regressed on each other
CELLS = 20_000_000  # of an array that is looked at whole
RIDGE = 0.01  # of the mean square of what is regressed on


@dataclass(frozen=True, eq=False)
class Typical:
    """What cells of pairs never seen are like; NaN for pairs of which a cell was seen.

    Attributes
    ----------
    whole : modes along which every cell of such a pair is missing.
    like : the mode over whose slices means are taken: one of the others.
    lean : the share in which deviations of the pair's own slice of `like` count.
    sizes : of the modes `whole`.
    row : shape of the other modes: which row of `values` a pair has, -1 where it was seen.
    values : shape ``(pairs, cells along whole)``.
    """

    whole: tuple[int, ...]
    like: int
    lean: float
    sizes: tuple[int, ...]
    row: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, obs: Observations, whole: tuple[int, ...], like: int, lean: float = 1.0) -> Typical:
        """Fitted to `obs`.

        >>> array = np.add.outer(np.arange(4.0), 10.0 * np.arange(5))[:, None] + np.zeros((4, 2, 5))
        >>> array[3, 1] = np.nan
        >>> said = Typical.of(Observations.from_array(array), (2,), 0)
        >>> np.round(said.at(np.array([[3, 1, 2], [3, 0, 2]])), 1)  # 21 at the other three; the fourth is above them where it was seen
        array([22.1,  nan])
        """
        rest = [mode for mode in range(obs.order) if mode not in whole]
        others = [mode for mode in rest if mode != like]
        array = np.transpose(obs.to_array(), [like, *others, *whole])
        sizes = tuple(obs.shape[mode] for mode in whole)
        array = array.reshape(obs.shape[like], -1, int(np.prod(sizes)))  # stations x pollutants x hours
        known = ~np.isnan(array)
        seen = known.any(axis=2)
        counts = known.sum(axis=0)
        means = np.where(known, array, 0.0).sum(axis=0) / np.where(counts > 0, counts, np.nan)
        apart = np.where(known, array - means, 0.0)  # what is missing deviates as nothing does
        values = means[np.nonzero(~seen)[1]]
        if lean and 1 < array.shape[1] <= SEVERAL:
            slopes = {other: _slopes(apart, known, other) for other in np.unique(np.nonzero(~seen)[1]).tolist()}
            values = values + lean * np.array([slopes[other] @ apart[one] for one, other in np.argwhere(~seen).tolist()])
        row = np.full(seen.shape, -1)
        row[~seen] = np.arange(len(values))
        row = row.reshape([obs.shape[mode] for mode in (like, *others)])
        row = np.moveaxis(row, 0, rest.index(like))
        return cls(whole, like, lean, sizes, row, values)

    def at(self, indices: np.ndarray) -> np.ndarray:
        rest = [mode for mode in range(indices.shape[1]) if mode not in self.whole]
        rows = self.row[tuple(indices[:, mode] for mode in rest)]
        said = np.full(len(indices), np.nan)
        never = rows >= 0
        if never.any():
            cells = np.ravel_multi_index(tuple(indices[never, mode] for mode in self.whole), self.sizes)
            said[never] = self.values[rows[never], cells]
        return said

    def again(self, obs: Observations, tools: Tools) -> Typical:
        return Typical.of(obs, self.whole, self.like, self.lean)

    def words(self, modes: Sequence[str]) -> str:
        beside = f" and {self.lean:.2g} of how far its own cells lie from them" if self.lean else ""
        return f"what other slices of {modes[self.like]} are{beside}"


def amended(tree: Predictor, obs: Observations, *, effects: bool, tools: Tools) -> Predictor:
    """`tree`, which at pairs never seen says what is typical, in the share that pays on pairs left out; as it is where there are none.

    `obs` are all entries, with their main effects; `tree` is fitted to what these leave where there are `effects`.
    """
    kinds = None if obs.cells > CELLS else Kinds.of(obs)
    never = [] if kinds is None else [number for number in range(1, len(kinds.kinds)) if kinds.never_seen(number) and kinds.counts[number]]
    if kinds is None or not never:
        return tree
    tools = replace(tools.own(), afresh=True)
    number = max(never, key=lambda each: kinds.counts[each])
    mask = kinds.mask(obs, next(tools.streams), single=False, of=[number])
    if not mask.any():
        return tree
    rest, held = obs.subset(~mask), obs.subset(mask)
    if effects:  # those of a station must not have seen its pair
        base = MainEffects.fit(rest)
        rest, held = left_by(base, rest), left_by(base, held)
    whole = kinds.kinds[number].whole
    own = tree.again(rest, tools).at(held.indices)
    best, least = tree, 1.0  # what of the squared error is left
    for like in (mode for mode in range(obs.order) if mode not in whole):
        plain, leaning = (Typical.of(rest, whole, like, lean).at(held.indices) for lean in (0.0, 1.0))
        usable = ~np.isnan(plain) & ~np.isnan(own)
        if not usable.any():
            continue
        y, mine, plain, more = held.values[usable], own[usable], plain[usable], (leaning - plain)[usable]
        share, lean = nnls(np.stack([mine - plain, more], axis=1), y - plain)[0]
        share = float(min(share, 1.0))
        lean = float(min(lean / max(1 - share, 1e-9), 1.0))  # it counts in what is typical, which has the rest of the share
        left = y - share * mine - (1 - share) * (plain + lean * more)
        before = float(np.sum((y - mine) ** 2))
        if share < 1 and np.sum(left**2) < min(least, EARNED**2) * before:
            best, least = Amended(tree, Typical.of(obs, whole, like, lean), share), float(np.sum(left**2)) / before
    return best


def _slopes(apart: np.ndarray, known: np.ndarray, other: int) -> np.ndarray:
    """Ridge regression of the deviations of slice `other` on those of all others, shape ``(others,)``, 0 for itself."""
    seen = known[:, other]
    target = apart[:, other][seen]
    columns = np.stack([apart[:, each][seen] for each in range(apart.shape[1]) if each != other], axis=1)
    gram = columns.T @ columns
    ridge = RIDGE * max(float(np.trace(gram)) / len(gram), np.finfo(float).tiny)
    return np.insert(np.linalg.solve(gram + ridge * np.eye(len(gram)), columns.T @ target), other, 0.0)
