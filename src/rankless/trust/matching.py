"""Components of two models matched with each other: the factor match score.

    score = 1/R sum_r  w_r prod_n |cos(a_r^n, b_p(r)^n)|,    w_r = 1 - | |a_r| - |b_p(r)| | / max(|a_r|, |b_p(r)|)

over the permutation `p` that makes it largest [acar2011]. 1 is the same model, its components in any
order, signs and scales shared in any way. `w_r`, which compares sizes, may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.tensors.cp_tensor import CPTensor

_ALIKE, _APART = 0.9, 0.1  # a score of directions from which they match, and how far below it sizes bring the score where it is said


@dataclass(frozen=True, eq=False)
class Match:
    """How `b` lies in `a`: component ``pairs[i, 0]`` of `a` goes with ``pairs[i, 1]`` of `b`.

    `scores` is that of each pair, largest first; `score` their mean over the components of the smaller
    model; `signs` has shape ``(order, pairs)``: times these, vectors of `b` point the way of those of `a`.
    `directions` is the score where sizes don't count.
    """

    score: float
    pairs: np.ndarray
    scores: np.ndarray
    signs: np.ndarray
    directions: float = float("nan")

    def __repr__(self) -> str:
        text = f"Match(score={self.score:.3f}, pairs={len(self.pairs)})"
        if self.directions > max(_ALIKE, self.score + _APART):
            text += f": the directions match ({self.directions:.3f}) and only the sizes differ; match(a, b, sizes=False) leaves them out"
        return text

    @property
    def permutation(self) -> np.ndarray:
        """Components of `b` in the order of those of `a` that have a partner."""
        return self.pairs[np.argsort(self.pairs[:, 0]), 1]


def match(a: CPTensor, b: CPTensor, *, sizes: bool = True) -> Match:
    """Match the components of two models of one shape; of different ranks, as many as the smaller has.

    With ``sizes=False`` only directions count. Raises ValueError where the shapes differ.

    >>> a = CPTensor([np.eye(3)[:, :2], np.eye(4)[:, :2]])
    >>> b = CPTensor([-2 * np.eye(3)[:, 1::-1], -0.5 * np.eye(4)[:, 1::-1]])
    >>> found = match(a, b)
    >>> found.score, found.permutation.tolist()
    (1.0, [1, 0])
    """
    from scipy.optimize import linear_sum_assignment

    if a.shape != b.shape:
        raise ValueError(f"models of shapes {a.shape} and {b.shape} can't be matched; fit the same data, or parts of one shape")
    cosines = [_unit(one).T @ _unit(other) for one, other in zip(a.factors, b.factors, strict=True)]
    alike = directions = np.prod(np.abs(cosines), axis=0)
    if sizes:
        one, other = a.component_norms()[:, None], b.component_norms()[None]
        larger = np.maximum(one, other)
        alike = alike * (1.0 - np.abs(one - other) / np.where(larger > 0, larger, 1.0))
    pairs = np.column_stack(linear_sum_assignment(-alike))
    scores = alike[pairs[:, 0], pairs[:, 1]]
    order = np.argsort(-scores, kind="stable")
    pairs, scores = pairs[order], scores[order]
    signs = np.array([np.where(c[pairs[:, 0], pairs[:, 1]] < 0, -1.0, 1.0) for c in cosines])
    best = directions[linear_sum_assignment(-directions)]
    same = float(a.rank == b.rank)
    score, of_directions = (float(part.mean()) if len(part) else same for part in (scores, best))
    return Match(score, pairs, scores, signs, of_directions)


def aligned(a: CPTensor, b: CPTensor, *, sizes: bool = True) -> CPTensor:
    """`b` with its components in the order of `a` and its vectors pointing the way of those of `a`.

    Components of `b` without a partner come last. The tensor stays the same as long as every pair's signs
    multiply to 1, as those of a pair that means the same do; where they do not, the last mode keeps its own.

    >>> a = CPTensor([np.eye(3)[:, :2], np.eye(4)[:, :2]])
    >>> aligned(a, CPTensor([-f[:, ::-1] for f in a.factors])).factors[0].tolist() == a.factors[0].tolist()
    True
    """
    found = match(a, b, sizes=sizes)
    first = np.argsort(found.pairs[:, 0])
    partners, signs = found.pairs[first, 1], found.signs[:, first].copy()
    signs[-1] *= np.prod(signs, axis=0)
    rest = np.setdiff1d(np.arange(b.rank), partners)
    return CPTensor([_columns(f, partners, sign, rest) for f, sign in zip(b.factors, signs, strict=True)])


def _columns(factor: np.ndarray, partners: np.ndarray, sign: np.ndarray, rest: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.column_stack([factor[:, partners] * sign.astype(factor.dtype), factor[:, rest]])


def _unit(factor: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(factor, axis=0)
    return factor / np.where(norms > 0, norms, 1.0)
