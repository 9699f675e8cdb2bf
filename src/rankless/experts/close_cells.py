"""Fits and close cells: what `kriging` adds to a fit, and the fit that errs least with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rankless.als.solver import largest
from rankless.answer.stack import Part, fitted, whole
from rankless.experts.neighbours import KINDS, Neighbours, choose, possible
from rankless.holdout.scoring import Point, better_by_slice, frame_after, noise_mode, score_residual
from rankless.runtime.journal import Arrays
from rankless.runtime.pack import pack, unpack
from rankless.search.walk import HOPELESS, Search
from rankless.tensors.observations import slices_of
from rankless.units.error import rmse_of

FEWEST, KEPT = 2, 0.9  # components at which thinning ends; share of them kept at each step
PAYS = 0.95  # fewer components are taken where the score falls below this share; strict, as close cells were chosen on the same entries
MOST = 50_000  # entries above which fewer components are not tried, since close cells are asked at every step


def neighbours_of(hunt: Search, parts: list[Part]) -> tuple[Neighbours | None, Point]:
    """The neighbours that help a blend most on the held-out entries, None where none pays; and its point, with the errors then left."""
    train, held, point = hunt.train, hunt.held, whole(parts, hunt.held)
    frame = point.frame
    bare, bare_held = (part.with_values(part.values - frame.offset_at(part.coords)) for part in (train, held))
    given = fitted(parts, train), bare_held.values - point.residual

    def compute() -> Arrays:
        return pack(choose(bare, given[0], bare_held, given[1], frame.mode))

    found = unpack(hunt.workers.recall("neighbours", (*given, frame.mode), compute), KINDS)
    if found is None:
        return None, point
    neighbours, residual = found
    return neighbours, replace(point, residual=residual, rmse=rmse_of(residual, held))


def thinned(hunt: Search, parts: list[Part]) -> list[Part]:
    """`parts`, or the first one's largest components alone where these and close cells err clearly less.

    The last components of a fit often say what close cells say better: on weather 18 components alone beat
    10, and with close cells 10 beat 18 by a tenth of the error. A mean of draws needs none of this.
    """
    if hunt.train.size > MOST or not possible(hunt.train) or any(part.point.drawn for part in parts):
        return parts
    hunt.tracker.stage("looking for fewer components beside close cells")
    best, choice = parts[0].point, _thinned(hunt, parts)
    mode = noise_mode(best, hunt.held, hunt.limits.noise)
    if mode is None or mode == best.frame.mode:
        return choice.parts
    frame = frame_after(best, hunt.train, hunt.held, mode)  # slices' noise had not earned its place, beside components alone
    moved = hunt.moved(best, frame, best.depth, hunt.guess(best, frame))
    trial = _thinned(hunt, [_alone(hunt, moved)])
    return trial.parts if better_by_slice(trial.point, choice.point, hunt.held, mode) else choice.parts


@dataclass(frozen=True, eq=False)
class _Trial:
    parts: list[Part]
    point: Point  # with the errors that close cells leave
    score: float

    @classmethod
    def of(cls, hunt: Search, parts: list[Part]) -> _Trial:
        point = neighbours_of(hunt, parts)[1]
        return cls(parts, point, score_residual(point.frame, point.residual, hunt.held))


def _thinned(hunt: Search, parts: list[Part]) -> _Trial:
    """`parts`, or fewer components in the same frame."""
    last = parts[0].point
    choice = _Trial.of(hunt, parts)
    least, whole_rmse = PAYS * choice.score, choice.point.rmse
    while last.state.rank > FEWEST:
        last = hunt.moved(replace(last, start="thin", state=largest(last.state, KEPT)), last.frame, last.depth, last.penalty)
        trial = _Trial.of(hunt, [_alone(hunt, last)])
        if trial.score < least and trial.point.rmse < whole_rmse:
            least, choice = trial.score, trial
        elif trial.score > HOPELESS * least:
            break
    return choice


def _alone(hunt: Search, point: Point) -> Part:
    return Part(point, np.ones(slices_of(hunt.held.coords, hunt.held.shape, point.frame.mode)[1]))
