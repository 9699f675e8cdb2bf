"""The answer, put together: components first, what pays beside them, then all of it fitted again to every entry.

`search.choose` finds the best fit of components on single cells held out. Other fits of the search and a mean of
draws are stacked beside it, and neighbours are fitted to what these leave. Where whole fibres or runs of cells are missing
(`gaps`), a second, short search holds out entries in the same pattern: its errors are those reported, and its fits are the answer
where smoothness along a mode pays there. Every expert of `EXPERTS` is then asked, for cells as for gaps, and stands beside
the answer in the share that pays on the entries held out; what nobody knows is bridged along an axis, and the answer is kept within
bounds at which values pile up. Last, the tree is fitted again to all entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rankless.answer.bounds import Within, within
from rankless.answer.stack import Part, Pool
from rankless.answer.tree import Onto, Predictor, Stack, Tools, leaves, left_by
from rankless.engine import folds
from rankless.engine.found import Found, bare_of
from rankless.engine.sides import Across, Side, blended, draws_beside, stacked
from rankless.experts import close_cells, timeline
from rankless.experts.bridge import bridged
from rankless.experts.cold import cold
from rankless.experts.components import Components
from rankless.experts.factors import FactorsExpert
from rankless.experts.linked import Linked
from rankless.experts.multilinear import Multilinear, best_network
from rankless.experts.nuclear import LowRankExpert
from rankless.experts.pairs import amended
from rankless.experts.periods import Folded, PeriodsExpert
from rankless.experts.side import SideExpert
from rankless.experts.slices import SlicesExpert
from rankless.experts.task import Expert, Task
from rankless.experts.timeline import TimelineExpert
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.holdout.scoring import Errors, Point, score_of
from rankless.holdout.split import STREAMS, held_out, streams_of
from rankless.runtime.progress import Ended
from rankless.runtime.workers import Workers
from rankless.search import losses, race
from rankless.search.choose import best_fit
from rankless.search.smooth import smoothed
from rankless.search.walk import Limits, Search
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

EXPERTS: tuple[Expert, ...] = (
    TimelineExpert(),
    SlicesExpert(),
    LowRankExpert(),
    FactorsExpert(),
    PeriodsExpert(),
)  # asked beside components; a new one is one entry more


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
    components = Search(race.scout(train, streams) if limits.squares else train, held, limits, streams, workers, error)
    try:
        if limits.model != "cp":
            return _network(replace(components, train=train), obs, holdout, across)
        if not limits.squares:
            return _linked(components, losses.best_fit(components), obs, holdout, across)
        return _found(components, obs, train, holdout, across)
    except (Ended, KeyboardInterrupt) as stop:
        if not components.least:
            raise
        return _so_far(components, obs, finished=isinstance(stop, Ended))


def _so_far(search: Search, obs: Observations, *, finished: bool) -> Found:
    """The best fit so far, refitted on `obs` where there is time for that."""
    best = search.least[0]
    if not search.limits.squares:
        return _linked(search, best, obs, 0.0, None, finished=finished)
    bare = MainEffects.fit(obs)
    parts = [Part(best, np.ones(1))]
    tree = _onto(best.frame.offset, stacked(search, parts, exact=False))
    if finished:
        search.tracker.stage("refitting the best so far on all entries")
        tree = tree.again(obs, Tools(search.workers, search.streams))
    errors = Errors(search.held, best.residual)
    return Found(tree, bare, best, errors, errors, best, search.held, path=search.path, unfinished=not finished)


def _found(search: Search, obs: Observations, train: Observations, holdout: float, rng: np.random.Generator) -> Found:
    """All choices, made on `train` and on the entries held out in `search`, and the tree of them fitted to `obs`."""
    limits, held, gaps = search.limits, search.held, Gaps.of(obs)
    experts = asked(limits)
    axes = Axes.of(obs) if experts else None
    along = axes if limits.free and "timeline" in (expert.name for expert in experts) else None
    if gaps is None:
        search = replace(search, to_beat=_error_of_lines(train, held, along))
    search, best, exact = best_fit(search, train)
    if _under_effects(best, limits) and best.rmse > search.to_beat:
        search, best, exact = _without_effects(search, train)
    gaps = None if exact else gaps
    search = replace(search, several=gaps is None)  # over gaps several chains filled none of them better, and some worse
    across = None if gaps is None else Across.of(search, best, gaps, obs, holdout, rng)
    if (
        across is not None
        and _under_effects(best, limits)
        and across.error > _error_of_lines(across.search.train, across.search.held, along)
    ):
        search, best, exact = _without_effects(search, train)
        gaps = None if exact else gaps
        across = None if gaps is None else Across.of(search, best, gaps, obs, holdout, rng)
    alone, local = best, limits.local and not search.outdone(best)  # a timeline does better what neighbours would
    if across is not None and across.smooth is not None:
        search, parts = across.search, across.smooth
    else:
        if limits.smooth and limits.smooth != "auto":
            best = smoothed(search, best)
        drawn = draws_beside(search, best, exact) if across is None or across.shares is not None else []
        parts = blended(search, best, drawn) if across is None else across.shared(blended(search, best, []), drawn)
        thin = local and limits.penalties is None and gaps is None and not exact and limits.effort.races > 0
        if thin and not search.late("fewer components beside close cells"):
            parts = close_cells.thinned(search, parts)
        if across is not None and gaps is not None and across.outdoes(Side.of(search, parts, exact=exact), gaps, rng):
            search, parts = across.search, across.plain
    best, made = parts[0].point, Side.of(search, parts, exact=exact)
    # errors are judged on entries held out in the pattern of the gaps, by fits that have not seen them
    judged = made if across is None or search is across.search else Side.of(across.search, across.plain, exact=False)
    judged_gaps = None if across is None else gaps
    if local:
        search.tracker.stage("looking at close cells")
        neighbours, point = close_cells.neighbours_of(search, parts)
        if neighbours is not None and judged is made:
            made = made.with_neighbours(neighbours)
            judged = replace(made, residual=point.residual)
        elif neighbours is not None and (trial := judged.with_neighbours(neighbours)).fills_better(judged, gaps, best.frame.mode):
            made, judged = made.with_neighbours(neighbours), trial
    return _asked_and_refitted(search, obs, axes, best, (alone, held), made, judged, gaps, judged_gaps, exact=exact)


def _error_of_lines(train: Observations, held: Observations, axes: Axes | None) -> float:
    """Root mean square error at `held` of straight lines along the best of `axes`; inf where there are none."""
    return np.inf if axes is None else timeline.error_of_lines(train, held, axes)


def _under_effects(best: Point, limits: Limits) -> bool:
    """Whether main effects lie under `best`, and need not."""
    return best.frame.offset is not None and False in limits.effects


def _without_effects(search: Search, train: Observations) -> tuple[Search, Point, bool]:
    """The best fit without main effects, where straight lines fill better than the best one with them.

    Every series will then be filled from its own entries, and an effect of each time, told by the few series seen then, is noise to it.
    """
    return best_fit(replace(search, limits=replace(search.limits, effects=(False,)), pool=Pool()), train)


def _asked_and_refitted(
    search: Search,
    obs: Observations,
    axes: Axes | None,
    best: Point,
    alone: tuple[Point, Observations],
    made: Side,
    judged: Side,
    gaps: Gaps | None,
    judged_gaps: Gaps | None,
    *,
    exact: bool = False,
) -> Found:
    """What experts add to the answer `made`, on the entries of `judged`, held out as `judged_gaps`; and the whole fitted to `obs`.

    `axes` are those of `obs`, None where no expert is asked. `alone` is the best single fit and the single cells that were held out for it.
    """
    limits, bare = search.limits, MainEffects.fit(obs)
    tree, errors, unasked = made.answer, judged.errors, []
    if axes is not None and not exact:
        tree, errors, unasked = beside(tree, judged, judged_gaps, best.frame.mode, axes, asked(limits))
        knowing = [
            leaf for leaf, _, _ in leaves(tree) if isinstance(leaf, Folded) or (isinstance(leaf, Components) and any(leaf.point.smooth))
        ]
        effects, tools = best.frame.offset is not None, Tools(search.workers, search.streams)
        tree = bridged(tree, obs, axes, best.frame.mode, knowing, effects=effects, tools=tools)
        tree = amended(tree, obs, effects=effects, tools=tools)
    tree = cold(_onto(best.frame.offset, tree), obs, limits.side, best.frame.mode, Tools(search.workers, search.streams))
    as_they_are = search.error is None  # a transform of amounts gives amounts back anyway
    if as_they_are and not exact and isinstance(tree := within(tree, judged.search.train, judged.search.held), Within):
        errors = Errors(errors.entries, errors.entries.values - tree.kept(errors.entries.values - errors.residual, errors.entries.indices))
    search.tracker.stage("refitting on all entries")
    tree = tree.again(obs, Tools(search.workers, search.streams))
    return Found(tree, bare, best, errors, made.errors, *alone, gaps, unasked, path=search.path)


def _network(search: Search, obs: Observations, holdout: float, rng: np.random.Generator) -> Found:
    """The Tucker or train network that fills single cells held out best, in the place of components; experts may stand beside it.

    Where cells are missing as gaps, it is fitted once more without entries held out as they come, and judged on these.
    """
    found: list[tuple[Point, Multilinear]] = []
    stopped = None
    try:
        best_network(search, found)
    except (Ended, KeyboardInterrupt) as stop:
        if not found:
            raise
        found.sort(key=lambda each: score_of(each[0]))
        stopped = stop
    best, network = found[0]
    under, tools = best.frame.offset, Tools(search.workers, search.streams)
    made = judged = Side(search, left_by(under, search.train), left_by(under, search.held), network, best.residual)
    if stopped is not None:
        tree = _onto(under, network)
        if isinstance(stopped, Ended):
            search.tracker.stage("refitting the best so far on all entries")
            tree = tree.again(obs, tools)
        unfinished = not isinstance(stopped, Ended)
        known = {"path": search.path, "unfinished": unfinished}
        return Found(tree, MainEffects.fit(obs), best, made.errors, made.errors, best, search.held, **known)
    gaps = Gaps.of(obs)
    parted = None if gaps is None else gaps.split(obs, holdout, rng)
    if parted is None:
        gaps = None
    else:
        rest, over = parted
        search.tracker.stage(f"leaving out {over.size} entries as gaps come")
        below = None if under is None else MainEffects.fit(rest)
        left, left_out = left_by(below, rest), left_by(below, over)
        again = network.again(left, Tools(search.workers, iter(rng.spawn(STREAMS)), afresh=True, gaps=True))
        residual = left_out.values - np.nan_to_num(again.at(over.indices))
        judged = Side(replace(search, train=rest, held=over), left, left_out, again, residual)
    axes = Axes.of(obs) if asked(search.limits) else None
    return _asked_and_refitted(search, obs, axes, best, (best, search.held), made, judged, gaps, gaps)


def _linked(
    search: Search, best: Point, obs: Observations, holdout: float, rng: np.random.Generator | None, *, finished: bool = True
) -> Found:
    """`best`, a fit under another loss than squares, fitted to `obs`; with `rng` its errors are told at gaps where cells are missing so."""
    leaf, held = Linked.of(search.train, best), search.held
    cells, deviances = Errors(held, best.residual), leaf.deviances(held, search.train)
    link = leaf.units.link(obs)
    gaps = None if rng is None else Gaps.of(obs)
    parted = None if rng is None or gaps is None else gaps.split(obs, holdout, rng)
    errors = cells
    if rng is not None and parted is not None:
        rest, over = parted
        search.tracker.stage(f"leaving out {over.size} entries as gaps come")
        again = leaf.again(rest, Tools(search.workers, iter(rng.spawn(STREAMS)), afresh=True, gaps=True))
        deviances = again.deviances(over, rest)
        errors = Errors(over, over.values - link.inverse(again.units.scale * again.units.said(again.state, over.indices)))
    else:
        gaps = None
    if finished:
        search.tracker.stage("refitting on all entries")
        leaf = leaf.again(obs, Tools(search.workers, search.streams))
    known: dict[str, Any] = {"gaps": gaps, "link": link, "deviances": deviances, "path": search.path, "unfinished": not finished}
    return Found(leaf, bare_of(leaf, obs), best, errors, cells, best, held, **known)


def names_of_experts() -> tuple[str, ...]:
    """By which experts beside components may be asked for."""
    return tuple(expert.name for expert in EXPERTS)


def asked(limits: Limits) -> list[Expert]:
    """The experts that are asked beside components: those the user named or passed, or those of the effort."""
    beside = [SideExpert(limits.side)] if limits.side else []
    if limits.experts is not None:
        known = dict(zip(names_of_experts(), EXPERTS, strict=True))
        return [*(known[each] if isinstance(each, str) else each for each in limits.experts), *beside]
    return [*(expert for expert in EXPERTS if limits.effort.experts is None or expert.name in limits.effort.experts), *beside]


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
        offers += [(predictor, task.at_held(predictor)) for predictor in expert.offers(task.behind([said for _, said in offers]), tools)]
    if not offers:
        return answer, side.errors, unasked
    several = 0 if side.search.limits.effort.races == 0 else folds.wanted(task.judge.gaps, task.train.size + task.held.size)
    held, columns, judge = folds.judged(task, answer, offers, several, tools)
    chosen: list[int] = []
    shares, residual = np.ones((1, 1)), held.values - columns[0]
    while len(chosen) < len(offers):
        others = [n for n in range(len(offers)) if n not in chosen]
        trials = [judge.joint(held.values, np.stack([columns[0], *(columns[n + 1] for n in [*chosen, other])], axis=1)) for other in others]
        at = min(range(len(trials)), key=lambda n: trials[n][0])
        if not judge.pays(residual, trials[at][2]):
            break
        _, shares, residual = trials[at]
        chosen.append(others[at])
    if not chosen:
        return answer, side.errors, unasked
    members = [offers[n][0] for n in chosen]
    return Stack((answer, *members), tuple(shares), mode), Errors(side.search.held, residual[: task.held.size]), unasked


def _onto(offset: MainEffects | None, answer: Predictor) -> Predictor:
    """`answer` added to the main effects `offset`, if there are any."""
    return answer if offset is None else Onto(offset, answer)
