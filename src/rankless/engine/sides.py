"""An answer on entries held out: as single cells are, and in a second, short search as gaps come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rankless.answer.stack import Part, Pool, blend, whole
from rankless.answer.tree import Onto, Predictor, Stack, Tools, left_by
from rankless.experts import draws
from rankless.experts.components import Components
from rankless.experts.neighbours import Neighbours
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.holdout.scoring import Errors, Point, frame_after, score_residual
from rankless.holdout.split import STREAMS
from rankless.search import race
from rankless.search.smooth import smoothed
from rankless.search.walk import Search, window
from rankless.tensors.observations import Observations

EARNED = 0.99  # smoothness is taken where it brings the score below this share of the score without it


@dataclass(frozen=True, eq=False)
class Side:
    """An answer fitted to the entries `train`, and its errors at the entries `held`; both less the main effects."""

    search: Search
    train: Observations
    held: Observations
    answer: Predictor
    residual: np.ndarray

    @classmethod
    def of(cls, search: Search, parts: Sequence[Part], *, exact: bool) -> Side:
        """The parts of a blend as predictors side by side."""
        frame = parts[0].point.frame
        train, held = (left_by(frame.offset, obs) for obs in (search.train, search.held))
        return cls(search, train, held, stacked(search, parts, exact=exact), whole(parts, search.held).residual)

    @property
    def errors(self) -> Errors:
        return Errors(self.search.held, self.residual)

    def with_neighbours(self, neighbours: Neighbours) -> Side:
        """The answer in the shares that go with `neighbours`, and these fitted to what it leaves."""
        base = Stack((self.answer,), (neighbours.shares,), neighbours.groups.mode)
        answer = Onto(base, neighbours.given(self.train, left_by(base, self.train).values))
        return replace(self, answer=answer, residual=self.held.values - answer.at(self.held.indices))

    def fills_better(self, other: Side, gaps: Gaps | None, mode: int | None) -> bool:
        """Whether this answer errs less than that of `other` on the entries that both hold out as `gaps`."""
        judge = Judge(other.residual, self.held, gaps, mode)
        return judge.score(self.residual) < judge.score(other.residual)


@dataclass(eq=False)
class Across:
    """A second, short search on entries held out as gaps, in the pattern of the missing cells."""

    search: Search
    plain: list[Part]  # fits with the choices of the search on single cells
    smooth: list[Part] | None  # fits smooth along some modes, where they err clearly less or the user asked for them
    shares: np.ndarray | None  # of the components of `plain` and of draws beside them, shape ``(2, slices)``; None where nothing was drawn

    @classmethod
    def of(cls, single: Search, best: Point, gaps: Gaps, obs: Observations, share: float, rng: np.random.Generator) -> Across | None:
        """The choices of `best`, which the search `single` found on single cells, tried again on `share` of the entries held out as gaps.

        All fits start afresh: components that had once seen the entries held out would remember them.
        """
        parted = gaps.split(obs, share, rng)
        if parted is None:
            return None
        rest, over = parted
        search = replace(single, train=rest, held=over, streams=iter(rng.spawn(STREAMS)), pool=Pool(), least=[])
        search.tracker.renew()
        search.tracker.stage(f"leaving out {over.size} entries as gaps come")
        frame = frame_after(best, rest, single.held, best.frame.mode)
        penalty = single.guess(best, frame)
        free = race.pruned(search, search.walk("grow", frame, window(penalty, 3)))
        like = search.moved(free, frame, best.depth, penalty)
        drawn = draws_beside(search, like, exact=False)
        judge = Judge(like.residual, over, gaps, frame.mode)
        plain, shares = with_draws(over, blended(search, like, []), drawn, judge)
        auto = search.limits.smooth == "auto"
        # where whole runs are missing, entries held out do not tell what smoothness is worth: on parking data an error of .108 became .36
        smoother = free if auto and gaps.run is not None else smoothed(search, free)
        if not any(smoother.smooth):
            return cls(search, plain, None, shares)
        smooth, _ = with_draws(over, blended(search, smoother, []), [] if _between(rest, smoother) else drawn, judge)
        points = [whole(parts, over) for parts in (plain, smooth)]
        scores = [score_residual(frame, point.residual, over) for point in points]
        pays = scores[1] < EARNED * scores[0] and points[1].rmse < points[0].rmse
        return cls(search, plain, smooth if pays or not auto else None, shares)

    def outdoes(self, side: Side, gaps: Gaps, rng: np.random.Generator) -> bool:
        """Whether its fits fill the gaps held out clearly better than `side`, chosen on single cells and fitted again without these gaps.

        Single cells may be told by cells of the same fibre, so that many components at next to no penalty fill them best: public capital
        of states, the sum of its parts, erred .02 there and 1.1 standard deviations where all of a year was missing.
        """
        frame, tools = self.plain[0].point.frame, Tools(self.search.workers, iter(rng.spawn(STREAMS)), afresh=True, gaps=True)
        train, held = (left_by(frame.offset, obs) for obs in (self.search.train, self.search.held))
        said = side.answer.again(train, tools).at(held.indices)
        ours, theirs = whole(self.plain, self.search.held).residual, held.values - np.nan_to_num(said)
        return Judge(ours, self.search.held, gaps, frame.mode).pays(theirs, ours)

    @property
    def error(self) -> float:
        """Root mean square error over the gaps held out of what fills them best."""
        return min(whole(parts, self.search.held).rmse for parts in (self.plain, self.smooth) if parts is not None)

    def shared(self, parts: list[Part], drawn: list[Point]) -> list[Part]:
        """The components of `parts`, fitted to other entries, beside `drawn`, in the shares that fill gaps best.

        Single cells cannot tell these: of parking data draws err as components do on cells, and a quarter less where days are missing.
        """
        return parts if self.shares is None or not drawn else _in_shares(parts, drawn[0], self.shares)


def with_draws(held: Observations, parts: list[Part], drawn: list[Point], judge: Judge) -> tuple[list[Part], np.ndarray | None]:
    """`parts` beside `drawn` in the shares that fill the gaps of `judge` in `held` best, and these shares."""
    if not drawn:
        return parts, None
    target = held.values - parts[0].point.frame.offset_at(held.coords)
    said = np.stack([target - whole(parts, held).residual, target - drawn[0].residual], axis=1)
    shares = judge.shares(target, said)
    return _in_shares(parts, drawn[0], shares), shares


def _in_shares(parts: list[Part], drawn: Point, shares: np.ndarray) -> list[Part]:
    return [*(Part(part.point, part.shares * shares[0]) for part in parts), Part(drawn, shares[1])]


def stacked(search: Search, parts: Sequence[Part], *, exact: bool) -> Stack:
    """The parts of a blend as predictors, fitted to `search.train`."""
    members = [Components.of(search, p.point, exact=exact) if p.point.drawn is None else draws.Draws.of(search, p.point) for p in parts]
    return Stack(tuple(members), tuple(part.shares for part in parts), parts[0].point.frame.mode)


def blended(search: Search, best: Point, drawn: list[Point]) -> list[Part]:
    """`best`, and what pays beside it."""
    return blend(best, search.pool.beside(best) + drawn, search.held, most=search.limits.fits, max_rank=search.limits.max_rank)


def draws_beside(search: Search, best: Point, exact: bool) -> list[Point]:
    wanted = search.limits.free and not exact and not search.outdone(best) and not _between(search.train, best)
    return draws.averaged(search, best) if wanted and not search.late("draws") else []


def _between(train: Observations, point: Point) -> bool:
    """Whether `point` is smooth along a mode of which some slices were never seen: it then fills them, and draws would put zeros there."""
    return any(tau and not train.counts(mode).all() for mode, tau in enumerate(point.smooth))
