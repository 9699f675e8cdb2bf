"""The answer, put together: components first, what pays beside them, then all of it fitted again to every entry.

`search.choose` finds the best fit of components on single cells held out. Other fits of the search and a mean of
draws are stacked beside it, and neighbours are fitted to what these leave. Where whole fibres or runs of cells are missing
(`gaps`), a second, short search holds out entries in the same pattern: its errors are those reported, and its fits are the answer
where smoothness along a mode pays there. Every expert of `EXPERTS` is then asked, for cells as for gaps, and stands beside
the answer in the share that pays on the entries held out; what nobody knows is bridged along an axis. Last, the tree is fitted
again to all entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rankless.answer.stack import Part, Pool, blend, shared, total, whole
from rankless.answer.tree import Grown, Onto, Predictor, Stack, Tools, leaves, left_by
from rankless.experts import close_cells, draws
from rankless.experts.bridge import bridged
from rankless.experts.components import Components
from rankless.experts.factors import FactorsExpert
from rankless.experts.neighbours import Neighbours
from rankless.experts.nuclear import LowRankExpert
from rankless.experts.periods import Folded, PeriodsExpert
from rankless.experts.slices import SlicesExpert
from rankless.experts.task import Expert, Task
from rankless.experts.timeline import TimelineExpert
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.holdout.scoring import Errors, Point, frame_after, score_residual
from rankless.holdout.split import STREAMS, held_out, streams_of
from rankless.runtime.progress import Ended
from rankless.runtime.workers import Workers
from rankless.search import race
from rankless.search.choose import best_fit
from rankless.search.smooth import smoothed
from rankless.search.walk import Limits, Search, window
from rankless.tensors.axes import Axes
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.frame import Frame

EXPERTS: tuple[Expert, ...] = (
    TimelineExpert(),
    SlicesExpert(),
    LowRankExpert(),
    FactorsExpert(),
    PeriodsExpert(),
)  # asked beside components; a new one is one entry more
PROBED = 20  # cells of a slice that are looked at to tell whether the tree fills it
PROBED_AT_ONCE = 1000  # slices that are looked at together
EARNED = 0.99  # smoothness is taken where it brings the score below this share of the score without it


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

    @property
    def frame(self) -> Frame:
        return self.best.frame

    @property
    def offset(self) -> MainEffects | None:
        """The main effects at the base of the tree; None where it has none."""
        return self.tree.base if isinstance(self.tree, Onto) and isinstance(self.tree.base, MainEffects) else None

    @property
    def model(self) -> CPTensor:
        """Components and draws in their shares, in one CP tensor."""
        drawn = draws_of(self.tree)
        return total([*fits_of(self.tree), *([] if drawn is None else [drawn])])

    @property
    def components(self) -> Components:
        """The best single fit of components in the tree."""
        return next(leaf for leaf, _, _ in leaves(self.tree) if isinstance(leaf, Components))

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``."""
        values = self.tree.at(indices)
        silent = np.isnan(values)
        values[silent] = self.bare.at(indices[silent])
        return values

    def again(self, obs: Observations, rng: np.random.Generator, workers: Workers) -> Found:
        """The same choices, fitted to other entries, without memory of those left out."""
        tree = self.tree.again(obs, Tools(workers, iter(rng.spawn(STREAMS)), afresh=True))
        return replace(self, tree=tree, bare=MainEffects.fit(obs))


def search(
    obs: Observations,
    limits: Limits,
    *,
    holdout: float,
    seed,
    workers: Workers,
    error: Callable[[Point, Observations], float] | None = None,
) -> Found:
    """Choose everything in `limits` on held-out entries of `obs`, then fit it to all of them.

    ctrl-C ends the search within a sweep: what is returned is then the best fit so far, if there is one; where a
    callback of `workers` ends it, this is refitted on all of `obs`.
    `error(point, held)` is what `path` calls the hold-out error, where that isn't the RMSE of the values as they are.
    """
    streams, _, across = streams_of(seed)
    train, held = held_out(obs, holdout, next(streams))
    components = Search(race.scout(train, streams), held, limits, streams, workers, error)
    try:
        return _found(components, obs, train, holdout, across)
    except (Ended, KeyboardInterrupt) as stop:
        if not components.least:
            raise
        return _so_far(components, obs, finished=isinstance(stop, Ended))


def _so_far(search: Search, obs: Observations, *, finished: bool) -> Found:
    """The best fit so far, refitted on `obs` where there is time for that."""
    best, bare = search.least[0], MainEffects.fit(obs)
    parts = [Part(best, np.ones(1))]
    tree = _onto(best.frame.offset, _stacked(search, parts, exact=False))
    if finished:
        search.tracker.stage("refitting the best so far on all entries")
        tree = tree.again(obs, Tools(search.workers, search.streams))
    errors = Errors(search.held, best.residual)
    return Found(tree, bare, best, errors, errors, best, search.held, path=search.path, unfinished=not finished)


def _found(search: Search, obs: Observations, train: Observations, holdout: float, rng: np.random.Generator) -> Found:
    """All choices, made on `train` and on the entries held out in `search`, and the tree of them fitted to `obs`."""
    limits, held, bare = search.limits, search.held, MainEffects.fit(obs)
    search, best, exact = best_fit(search, train)
    alone = best
    gaps = None if exact else Gaps.of(obs)
    search = replace(search, several=gaps is None)  # over gaps several chains filled none of them better, and some worse
    across = None if gaps is None else Across.of(search, best, gaps, obs, holdout, rng)
    if across is not None and across.smooth is not None:
        search, parts = across.search, across.smooth
    else:
        if limits.smooth and limits.smooth != "auto":
            best = smoothed(search, best)
        parts = _blended(search, best, _drawn(search, best, exact))
        thin = limits.local and limits.penalties is None and gaps is None and not exact and limits.effort.races > 0
        if thin and not search.late("fewer components beside close cells"):
            parts = close_cells.thinned(search, parts)
    best, made = parts[0].point, Side.of(search, parts, exact=exact)
    # errors are judged on entries held out in the pattern of the gaps, by fits that have not seen them
    judged = made if across is None or across.smooth is not None else Side.of(across.search, across.plain, exact=False)
    judged_gaps = None if across is None else gaps
    if limits.local:
        search.tracker.stage("looking at close cells")
        neighbours, point = close_cells.neighbours_of(search, parts)
        if neighbours is not None:
            together = judged is made
            made = made.with_neighbours(neighbours)
            judged = replace(made, residual=point.residual) if together else judged.with_neighbours(neighbours)
    tree, errors, unasked = made.answer, judged.errors, []
    if (experts := asked(limits)) and not exact:
        axes = Axes.of(obs)
        tree, errors, unasked = beside(tree, judged, judged_gaps, best.frame.mode, axes, experts)
        left = obs if best.frame.offset is None else left_by(bare, obs)
        knowing = [
            leaf for leaf, _, _ in leaves(tree) if isinstance(leaf, Folded) or (isinstance(leaf, Components) and any(leaf.point.smooth))
        ]
        tree = bridged(tree, left, axes, best.frame.mode, knowing, Tools(search.workers, search.streams))
    search.tracker.stage("refitting on all entries")
    tree = _onto(best.frame.offset, tree).again(obs, Tools(search.workers, search.streams))
    return Found(tree, bare, best, errors, made.errors, alone, held, gaps, unasked, path=search.path)


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
        train, held = (obs if frame.offset is None else left_by(frame.offset, obs) for obs in (search.train, search.held))
        return cls(search, train, held, _stacked(search, parts, exact=exact), whole(parts, search.held).residual)

    @property
    def errors(self) -> Errors:
        return Errors(self.search.held, self.residual)

    def with_neighbours(self, neighbours: Neighbours) -> Side:
        """The answer in the shares that go with `neighbours`, and these fitted to what it leaves."""
        base = Stack((self.answer,), (neighbours.shares,), neighbours.groups.mode)
        answer = Onto(base, neighbours.given(self.train, left_by(base, self.train).values))
        return replace(self, answer=answer, residual=self.held.values - answer.at(self.held.indices))


def names_of_experts() -> tuple[str, ...]:
    """By which experts beside components may be asked for."""
    return tuple(expert.name for expert in EXPERTS)


def asked(limits: Limits) -> list[Expert]:
    """The experts that are asked beside components: those the user named or passed, or those of the effort."""
    if limits.experts is not None:
        known = dict(zip(names_of_experts(), EXPERTS, strict=True))
        return [known[each] if isinstance(each, str) else each for each in limits.experts]
    return [expert for expert in EXPERTS if limits.effort.experts is None or expert.name in limits.effort.experts]


def beside(
    answer: Predictor, side: Side, gaps: Gaps | None, mode: int | None, axes: Axes, experts: Sequence[Expert]
) -> tuple[Predictor, Errors, list[str]]:
    """`answer` side by side with those offers of `experts` that pay on the entries held out, the one that helps most first.

    `side` has these entries and the answer's errors there; they were held out as `gaps`, or one by one where that is None. Slices of
    `mode` have shares of their own. Also returned: the errors that are left, and the names of experts whose cost was infinite.
    """
    task = Task(side.train, side.held, side.residual, Judge(side.residual, side.held, gaps, mode), gaps, mode, axes)
    tools = Tools(side.search.workers, side.search.streams)
    offers: list[tuple[Predictor, np.ndarray]] = []
    unasked = []
    for expert in experts:
        if expert.cost(task) == np.inf:
            unasked.append(expert.name)
            continue
        if side.search.late(expert.name):
            continue
        tools.workers.tracker.stage(f"asking {expert.name}")
        offers += [(predictor, task.at_held(predictor)) for predictor in expert.offers(task, tools)]
    chosen: list[Predictor] = []
    columns, shares, residual = [task.said], np.ones((1, 1)), side.residual
    while offers:
        trials = [task.judge.joint(task.held.values, np.stack([*columns, said], axis=1)) for _, said in offers]
        at = min(range(len(trials)), key=lambda n: trials[n][0])
        if not task.judge.pays(residual, trials[at][2]):
            break
        _, shares, residual = trials[at]
        predictor, said = offers.pop(at)
        chosen.append(predictor)
        columns.append(said)
    if not chosen:
        return answer, side.errors, unasked
    return Stack((answer, *chosen), tuple(shares), mode), Errors(side.search.held, residual), unasked


def _onto(offset: MainEffects | None, answer: Predictor) -> Predictor:
    """`answer` added to the main effects `offset`, if there are any."""
    return answer if offset is None else Onto(offset, answer)


def _stacked(search: Search, parts: Sequence[Part], *, exact: bool) -> Stack:
    """The parts of a blend as predictors, fitted to `search.train`."""
    members = [Components.of(search, p.point, exact=exact) if p.point.drawn is None else draws.Draws.of(search, p.point) for p in parts]
    return Stack(tuple(members), tuple(part.shares for part in parts), parts[0].point.frame.mode)


def _blended(search: Search, best: Point, drawn: list[Point]) -> list[Part]:
    """`best`, and what pays beside it."""
    return blend(best, search.pool.beside(best) + drawn, search.held, most=search.limits.fits, max_rank=search.limits.max_rank)


def _drawn(search: Search, best: Point, exact: bool) -> list[Point]:
    wanted = search.limits.free and not exact and not _between(search.train, best)
    return draws.averaged(search, best) if wanted and not search.late("draws") else []


def _between(train: Observations, point: Point) -> bool:
    """Whether `point` is smooth along a mode of which some slices were never seen: it then fills them, and draws would put zeros there."""
    return any(tau and not train.counts(mode).all() for mode, tau in enumerate(point.smooth))


@dataclass(eq=False)
class Across:
    """A second, short search on entries held out as gaps, in the pattern of the missing cells."""

    search: Search
    plain: list[Part]  # fits with the choices of the search on single cells
    smooth: list[Part] | None  # fits smooth along some modes, where they err clearly less or the user asked for them

    @classmethod
    def of(cls, single: Search, best: Point, gaps: Gaps, obs: Observations, share: float, rng: np.random.Generator) -> Across | None:
        """The choices of `best`, which the search `single` found on single cells, tried again on `share` of the entries held out as gaps.

        All fits start afresh: components that had once seen the entries held out would remember them.
        """
        mask = gaps.mask(obs, gaps.share(obs, share), rng)
        if not mask.any():
            return None
        rest, over = obs.subset(~mask), obs.subset(mask)
        search = replace(single, train=rest, held=over, streams=iter(rng.spawn(STREAMS)), pool=Pool(), least=[])
        search.tracker.renew()
        search.tracker.stage(f"leaving out {over.size} entries as gaps come")
        frame = frame_after(best, rest, single.held, best.frame.mode)
        penalty = single.guess(best, frame)
        free = race.pruned(search, search.walk("grow", frame, window(penalty, 3)))
        like = search.moved(free, frame, best.depth, penalty)
        drawn = _drawn(search, like, exact=False)
        plain = _blended(search, like, drawn)
        auto = search.limits.smooth == "auto"
        # where whole runs are missing, entries held out do not tell what smoothness is worth: on parking data an error of .108 became .36
        smoother = free if auto and gaps.run is not None else smoothed(search, free)
        if not any(smoother.smooth):
            return cls(search, plain, None)
        smooth = _blended(search, smoother, [] if _between(rest, smoother) else drawn)
        points = [whole(parts, over) for parts in (plain, smooth)]
        scores = [score_residual(frame, point.residual, over) for point in points]
        pays = scores[1] < EARNED * scores[0] and points[1].rmse < points[0].rmse
        return cls(search, plain, smooth if pays or not auto else None)


# --- what estimators show of it ---------------------------------------------------------------------


def fits_of(tree: Predictor) -> list[CPTensor]:
    """The fits of components in the tree, each times its share, the best one first, without components whose share is 0 everywhere."""
    return [shared(leaf.model, mode, share) for leaf, mode, share in leaves(tree) if isinstance(leaf, Components)]


def draws_of(tree: Predictor) -> CPTensor | None:
    """The mean of draws times its share; None where the tree has none."""
    return next((shared(leaf.model, mode, share) for leaf, mode, share in leaves(tree) if isinstance(leaf, draws.Draws)), None)


def known_in(tree: Predictor, mode: int, unseen: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A mask of those `unseen` slices of `mode` that the tree fills with more than main effects, as `PROBED` random cells of each tell."""
    tree = tree.new if isinstance(tree, Grown) else tree
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


def leaf_of(tree: Predictor, kind: type) -> Predictor | None:
    """The first predictor of a kind."""
    return next((leaf for leaf, _, _ in leaves(tree) if isinstance(leaf, kind)), None)
