"""The search: penalty, depth, main effects and noise by slice, chosen on held-out entries.

`races` finds a winner among frames and ways to start, and `endings` refines it; on large data a part of
the entries is raced on, and all of them are grown once, near what won. The best fits of all walks stay
in a pool: the answer is the best, or a blend with others that pay. One of these is no fit but the mean
of draws from the posterior, which knows what few entries leave open. `close_cells` have the last word.

Where whole fibres or runs of cells are missing (`gaps`), a second, short search leaves out some more like
them: its error is the one reported, and its fits are the answer where smoothness along a mode pays there.
What slices say of each other (`unfolding`) is then added, in the shares that pay there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rankless.answer.stack import Part, Pool, blend, in_shares, total, whole
from rankless.experts import close_cells
from rankless.experts import slices as unfolding
from rankless.experts.neighbours import Kriging, Neighbours
from rankless.holdout.gaps import Gaps
from rankless.holdout.scoring import Point, frame_after, score_of, score_residual
from rankless.holdout.split import STREAMS, held_out, streams_of
from rankless.runtime.progress import Ended
from rankless.runtime.workers import Workers
from rankless.search import race as races
from rankless.search import refine as endings
from rankless.search.smooth import smoothed
from rankless.search.walk import CHAINS, Limits, Search, window
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations, slices_of
from rankless.units.effects import MainEffects
from rankless.units.error import rmse_of
from rankless.units.frame import Frame

EARNED = 0.99  # a score below this share of the other's, and smoothness is worth having


@dataclass(eq=False)
class Found:
    """What the search chose, refitted on everything."""

    frame: Frame
    fits: list[CPTensor]  # the answer is their sum, the best fit first; in the units of the data, without the offset
    drawn: CPTensor | None  # ... and the mean of draws, where one is in it
    point: Point  # the best fit, with the held-out errors of the sum
    held: Observations  # the entries held out
    alone: Point  # the best fit on single cells before others were blended in: shares were fitted to the held-out entries
    led: Observations  # ... and these cells
    parts: list[Part]  # the fits of the sum and their shares, as they were before they were refitted
    exact: bool  # whether data are noiseless
    nearby: Kriging | None = None  # what close cells add, in the units of the data
    beside: unfolding.Choice | None = None  # unfoldings, and the share of all the above, in which it already is
    unfolded: unfolding.Unfolded | None = None  # ... and what they add, in the units of the data
    gaps: Gaps | None = None  # how missing cells come, where not one by one
    there: tuple[Point, Observations] | None = None  # errors on entries left out like gaps, where `point` has those on single cells
    unfinished: bool = False  # ctrl-C: the best fit so far, as it stands
    path: list[dict] = field(default_factory=list)

    @property
    def reported(self) -> tuple[Point, Observations]:
        """A point with the errors that are to be expected at missing cells, and the entries they were made on."""
        return self.there or (self.point, self.held)

    @property
    def model(self) -> CPTensor:
        return total([*self.fits, *([] if self.drawn is None else [self.drawn])])

    def again(self, obs: Observations, rng: np.random.Generator, workers: Workers) -> Found:
        """The same choices, fitted to other entries."""
        return again(self, obs, rng, workers)

    def at(self, indices: np.ndarray) -> np.ndarray:
        """The answer at `indices`, shape ``(n, order)``."""
        values = self.model.at(indices) + self.frame.offset_at(indices.T)
        return sum((part.at(indices) for part in (self.nearby, self.unfolded) if part is not None), start=values)


def search(
    obs: Observations,
    limits: Limits,
    *,
    holdout: float,
    seed,
    workers: Workers,
    error: Callable[[Point, Observations], float] | None = None,
) -> Found:
    """Choose everything in `limits` on held-out entries of `obs`, then refit on all of them.

    ctrl-C ends the search within a sweep: what is returned is then the best fit so far, if there is one; where a
    callback of `workers` ends it, this is refitted on all of `obs`.
    `error(point, held)` is what `path` calls the hold-out error, where that isn't the RMSE of the values as they are.
    """
    streams, _, across = streams_of(seed)
    train, held = held_out(obs, holdout, next(streams))
    hunt = Search(races.scout(train, streams), held, limits, streams, workers, error)
    try:
        return _found(hunt, obs, train, holdout, across)
    except (Ended, KeyboardInterrupt) as stop:
        if not hunt.least:
            raise
        return _so_far(hunt, obs if isinstance(stop, Ended) else None)


def _so_far(hunt: Search, obs: Observations | None) -> Found:
    """The best fit so far, refitted on `obs` where there is time for that."""
    best = hunt.least[0]
    frame, parts = best.frame, [Part(best, np.ones(1))]
    if obs is None:
        model = frame.to_data(best.model())
    else:
        frame = replace(frame, offset=MainEffects.fit(obs) if frame.offset else None)
        hunt.tracker.stage("refitting the best so far on all entries")
        model = endings.refit(hunt, best, frame.offset, obs, exact=False)
    return Found(frame, [model], None, best, hunt.held, best, hunt.held, parts, exact=False, path=hunt.path, unfinished=obs is None)


def _found(hunt: Search, obs: Observations, train: Observations, holdout: float, rng: np.random.Generator) -> Found:
    """What `search` says, chosen on entries of `train` and refitted on `obs`."""
    held, limits = hunt.held, hunt.limits
    best = races.winner(hunt)
    if hunt.train is not train:
        hunt = replace(hunt, train=train, pool=Pool())
        frame = frame_after(best, train, held, best.frame.mode)
        penalty = hunt.guess(best, frame)
        moved = hunt.moved(best, frame, best.depth, penalty)
        best = min(moved, hunt.walk("grow", frame, window(penalty, 2)), key=score_of)
    if limits.penalties is None:
        hunt.tracker.stage("refining the best")
        best = endings.refined(hunt, endings.simpler(hunt, best))
        if best.depth == 0 and best.frame.mode is None:
            best = endings.thinner(hunt, best)
    exact = endings.is_exact(hunt, best)
    if limits.penalties is None and exact:
        hunt.tracker.stage("fitting to the last digits")
        best = endings.sharpened(hunt, best)
    gaps = None if exact else Gaps.of(obs)
    hunt = replace(hunt, chains=_chains(gaps))
    across = None if gaps is None else Across.of(hunt, best, gaps, obs, holdout, rng)
    alone, led = best, held
    if across is not None and across.smooth is not None:
        hunt, parts = across.hunt, across.smooth
        train, held = hunt.train, hunt.held
    else:
        if limits.smooth and limits.smooth != "auto":
            best = smoothed(hunt, best)
        parts = _blended(hunt, best, _drawn(hunt, best, exact))
        if limits.local and limits.penalties is None and gaps is None and not exact:
            parts = close_cells.thinned(hunt, parts)
    hunt.tracker.stage("refitting on all entries")
    offset = MainEffects.fit(obs) if best.frame.offset else None  # the parts share it
    models = in_shares(parts, [endings.refit(hunt, part.point, offset, obs, exact=exact) for part in parts])
    fits, drawn = _fits_and_draws(parts, models)
    frame = replace(parts[0].point.frame, offset=offset)
    found = Found(frame, fits, drawn, whole(parts, held), held, alone, led, parts, exact, gaps=gaps, path=hunt.path)
    if limits.local:
        hunt.tracker.stage("looking at close cells")
        found = _with_neighbours(found, parts, obs, hunt)
    if gaps is None or across is None:
        return found
    if across.smooth is None:
        found = replace(found, there=across.errors(found))
    if limits.local and limits.fits > 1:
        hunt.tracker.stage("looking at what slices say of each other")
        found = _with_unfoldings(found, obs, across.hunt, gaps)
    return found


def _blended(hunt: Search, best: Point, drawn: list[Point]) -> list[Part]:
    """`best`, and what pays beside it."""
    return blend(best, hunt.pool.beside(best) + drawn, hunt.held, most=hunt.limits.fits, max_rank=hunt.limits.max_rank)


def _drawn(hunt: Search, best: Point, exact: bool) -> list[Point]:
    return endings.averaged(hunt, best) if hunt.limits.free and not exact and not _between(hunt.train, best) else []


def _chains(gaps: Gaps | None) -> int:
    """That a mean of draws may come from: gaps were filled no better by several, and some worse."""
    return CHAINS if gaps is None else 1


def _between(train: Observations, point: Point) -> bool:
    """Whether slices never seen lie between their neighbours in `point`: draws are zero there."""
    return any(tau and not train.counts(mode).all() for mode, tau in enumerate(point.smooth))


@dataclass(eq=False)
class Across:
    """A search that leaves out entries which come as the missing ones do."""

    hunt: Search
    plain: list[Part]  # fits as the search on single cells chose
    smooth: list[Part] | None  # smooth ones, where they err clearly less or were asked for

    @classmethod
    def of(cls, single: Search, best: Point, gaps: Gaps, obs: Observations, share: float, rng: np.random.Generator) -> Across | None:
        """`best` of the search `single` on single cells, and a smooth one, on `share` of the entries left out as gaps.

        All starts are fresh: components that had once seen these entries would remember them.
        """
        mask = gaps.mask(obs, share, rng)
        if not mask.any():
            return None
        rest, over = obs.subset(~mask), obs.subset(mask)
        hunt = replace(single, train=rest, held=over, streams=iter(rng.spawn(STREAMS)), pool=Pool(), least=[])
        hunt.tracker.renew()
        hunt.tracker.stage(f"leaving out {over.size} entries as gaps come")
        frame = frame_after(best, rest, single.held, best.frame.mode)
        penalty = single.guess(best, frame)
        free = races.pruned(hunt, hunt.walk("grow", frame, window(penalty, 3)))
        like = hunt.moved(free, frame, best.depth, penalty)
        drawn = _drawn(hunt, like, exact=False)
        plain = _blended(hunt, like, drawn)
        auto = hunt.limits.smooth == "auto"
        # over runs of fibres an entry to hold on to is too far off for held-out ones to tell: .108 became .36 on a parking data set
        smoother = free if auto and gaps.run is not None else smoothed(hunt, free)
        if not any(smoother.smooth):
            return cls(hunt, plain, None)
        smooth = _blended(hunt, smoother, [] if _between(rest, smoother) else drawn)
        points = [whole(parts, over) for parts in (plain, smooth)]
        scores = [score_residual(frame, point.residual, over) for point in points]
        pays = scores[1] < EARNED * scores[0] and points[1].rmse < points[0].rmse
        return cls(hunt, plain, smooth if pays or not auto else None)

    def errors(self, found: Found) -> tuple[Point, Observations]:
        """Errors, on the entries left out, of the choices of `found`."""
        rest, over, models = self.hunt.train, self.hunt.held, [part.point.frame.to_data(part.point.model()) for part in self.plain]
        there = replace(found, frame=self.plain[0].point.frame, fits=in_shares(self.plain, models), drawn=None, nearby=None)
        if found.nearby is not None:
            there = _next_to(there, found.nearby.neighbours, rest)
        residual = over.values - there.at(over.indices)
        return replace(self.plain[0].point, residual=residual, rmse=rmse_of(residual, over)), over


def again(found: Found, obs: Observations, rng: np.random.Generator, workers: Workers) -> Found:
    """What the choices of `found` come to on fewer entries, `obs`: its fits settle and its draws are drawn anew, without the others."""
    hunt = Search(obs, found.held, Limits(), iter(rng.spawn(STREAMS)), workers, chains=_chains(found.gaps))
    offset = MainEffects.fit(obs) if found.frame.offset else None
    models = in_shares(found.parts, [endings.refit(hunt, part.point, offset, obs, exact=found.exact) for part in found.parts])
    fits, drawn = _fits_and_draws(found.parts, models)
    found = replace(found, frame=replace(found.frame, offset=offset), fits=fits, drawn=drawn, unfolded=None)
    found = found if found.nearby is None else _next_to(found, found.nearby.neighbours, obs)
    return found if found.beside is None else _beside(found, found.beside, obs, workers)


def _fits_and_draws(parts: Sequence[Part], models: Sequence[CPTensor]) -> tuple[list[CPTensor], CPTensor | None]:
    fits = [model for part, model in zip(parts, models, strict=True) if part.point.drawn is None]
    drawn = [model for part, model in zip(parts, models, strict=True) if part.point.drawn is not None]
    return fits, drawn[0] if drawn else None


def _with_neighbours(found: Found, parts: list[Part], obs: Observations, hunt: Search) -> Found:
    """`found`, and what close cells add to it, where that pays on the held-out entries."""
    neighbours, point = close_cells.neighbours_of(hunt, parts)
    return found if neighbours is None else _next_to(replace(found, point=point), neighbours, obs)


def _next_to(found: Found, neighbours: Neighbours, obs: Observations) -> Found:
    """The components of `found` in the shares that go with `neighbours`, and these, given `obs`."""
    fits = [neighbours.of(model) for model in found.fits]
    found = replace(found, fits=fits, drawn=found.drawn and neighbours.of(found.drawn))
    rest = obs.values - found.frame.offset_at(obs.coords) - found.model.at(obs.indices)
    return replace(found, nearby=neighbours.given(obs, rest))


def _with_unfoldings(found: Found, obs: Observations, hunt: Search, gaps: Gaps) -> Found:
    """`found` in its share, and what unfoldings add to it, where they pay on the entries left out as gaps."""
    point, held = found.reported
    given = hunt.train.values, held.values, point.residual, point.frame.offset_at(held.coords), point.frame.mode
    arrays = hunt.workers.recall("unfoldings", given, lambda: unfolding.to_arrays(unfolding.choose(point, hunt.train, held, gaps)))
    chosen = unfolding.from_arrays(arrays, obs.shape)
    if chosen is None:
        return found
    choice, residual = chosen
    point = replace(point, residual=residual, rmse=rmse_of(residual, held))
    found = replace(found, point=point) if found.there is None else replace(found, there=(point, held))
    return _beside(found, choice, obs, hunt.workers)


def _beside(found: Found, choice: unfolding.Choice, obs: Observations, workers: Workers) -> Found:
    """`found` in its share beside the unfoldings of `choice`, and these, given `obs`."""
    bare = obs.with_values(obs.values - found.frame.offset_at(obs.coords))

    def compute() -> dict[str, np.ndarray]:
        values, cells = choice.given(bare)
        said = found.at(cells) - found.frame.offset_at(cells.T)
        values[tuple(cells.T)] = said * (1.0 - choice.rest[slices_of(cells.T, obs.shape, choice.mode)[0]])
        return {"values": values}

    arrays, mode = workers.recall("unfolded", (bare.coords, bare.values), compute), choice.mode or 0
    fits, drawn = [fit.times(mode, choice.rest) for fit in found.fits], found.drawn and found.drawn.times(mode, choice.rest)
    nearby = found.nearby and found.nearby.in_shares(choice.rest)
    return replace(found, fits=fits, drawn=drawn, nearby=nearby, beside=choice, unfolded=unfolding.Unfolded(arrays["values"]))
