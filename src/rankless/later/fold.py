"""New slices along one mode, folded into an answer: nothing that was fitted moves, and only their rows are solved.

    u_i  =  argmin_u  1/2 sum_e w_e (y_e - <u, z_e>)^2 + guard/2 u'Gu + penalty/2 sum_r u_r^2 / |u_r^n|^(2k/(k+1)),
    z_e  =  the product of the other modes' rows at entry `e`

This is the row that alternating least squares would give the slice, were everything else held still: the same penalty, weights
and units. `fold` walks down the tree of an answer as `again` does: an effect of the new slice is estimated shrunk, as those of the
others were; its rows of components are solved on what the effects leave, the mean of draws by the normal distribution of
the rows of other slices; timelines, neighbours and slices of an unfolding, which have no rows, are given the entries
and say what they can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import linalg

from rankless.als.solver import State, norms_of
from rankless.answer.tree import Branch, Bridged, Placed, Predictor, Stack, Tools
from rankless.depth import mobility
from rankless.experts.cold import Rows
from rankless.experts.components import Components, unseen_in
from rankless.experts.draws import Draws
from rankless.experts.linked import Linked
from rankless.experts.neighbours import Correlation, Kriging, Neighbours
from rankless.experts.nuclear import LowRank
from rankless.experts.periods import Folded
from rankless.experts.slices import ROWS, Slices
from rankless.experts.timeline import Matern, Timeline
from rankless.later.linked import folded
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects, shrinkage
from rankless.units.frame import Frame

ROUNDS = 100  # of new rows along a smooth mode, which hang on each other; of shrinkage
TOL = 1e-10  # relative change of such rows at which they rest
WORTH = 5.0  # entries that what is known of other slices is worth, where the size of a new slice is estimated


def fold(node: Predictor, obs: Observations, place: Placed, tools: Tools) -> Predictor:
    """`node` with the new slices of `place`; `obs` has all entries of the larger array, old and new, less what lies under `node`.

    What `node` says of old slices stays as it is where it has rows for them.
    """
    if isinstance(node, Stack):
        node = _with_new_shares(node, place)
    elif type(node) is Bridged and _all_folded(node.bridge):
        return fold(node.tree, obs, place, tools)
    if isinstance(node, Branch):
        return node.refitted(obs, lambda part, own: fold(part, own, place, tools))
    if isinstance(node, MainEffects):
        return folded_effects(node, obs, place)
    if isinstance(node, Components):
        return _components(node, obs, place)
    if isinstance(node, Linked):
        return folded(node, obs, place)
    if isinstance(node, Draws):
        return _draws(node, obs, place)
    if isinstance(node, Kriging):
        return _larger_neighbours(node.neighbours, obs, place).given(obs, obs.values)
    if isinstance(node, Timeline):
        return _timeline(node, obs, place)
    if isinstance(node, Slices):
        return _slices(node, obs, place, tools)
    if isinstance(node, Rows):
        return Rows.of(node.known, node.term, _components(node.base, node.under(obs), place), node.onto, obs)
    if isinstance(node, LowRank):
        return LowRank(node.mode, np.zeros(0)).again(obs, tools)
    return node.again(obs, tools)


def _with_new_shares(node: Stack, place: Placed) -> Stack:
    """A new slice of the mode with shares takes each member in its mean share.

    Components of an array folded by its periods are left out, and the others scaled up: a new slice may be part of a period.
    """
    kept = [number for number, member in enumerate(node.members) if not isinstance(member, Folded)]
    shares = tuple(node.shares[number] for number in kept)
    if len(kept) < len(node.members):
        missing, there = sum(node.shares), sum(shares)
        ratio = np.where(there > 0, missing / np.where(there > 0, there, 1.0), 1.0)
        shares, node = tuple(share * ratio for share in shares), replace(node, members=tuple(node.members[number] for number in kept))
    if node.mode == place.mode:
        shares = tuple(place.spread(share, float(np.mean(share))) if len(share) > 1 else share for share in shares)
    return replace(node, shares=shares)


def _all_folded(node: Predictor) -> bool:
    """Whether nothing but components of a folded array stands here."""
    return isinstance(node, Folded) or (isinstance(node, Stack) and all(isinstance(member, Folded) for member in node.members))


def folded_effects(node: MainEffects, obs: Observations, place: Placed) -> MainEffects:
    """The effect of a new slice: its mean residual times ``c / (c + s / t)``, with the noise and spread of the slices that were there."""
    effects = [place.spread(e, 0.0) if m == place.mode else e for m, e in enumerate(node.effects)]
    larger = MainEffects(node.mean, tuple(effects))
    weights = np.ones(obs.size) if obs.weights is None else obs.weights / np.mean(obs.weights, dtype=np.float64)
    residual = obs.values - larger.at(obs.indices)
    slices, count = obs.coords[place.mode], obs.shape[place.mode]
    new = place.new[slices]
    counts = np.bincount(slices, weights, minlength=count)
    noise = float(np.average(residual[~new] ** 2, weights=weights[~new]))
    ratio = 1.0
    for _ in range(ROUNDS):
        before, ratio = ratio, shrinkage(effects[place.mode][~place.new], counts[~place.new], noise, ratio)
        if abs(ratio - before) <= TOL * ratio:
            break
    sums = np.bincount(slices, weights * residual, minlength=count)
    own = sums / np.maximum(counts + ratio, np.finfo(float).tiny)
    effects[place.mode] = np.where(place.new, own, effects[place.mode])
    return MainEffects(node.mean, tuple(effects))


def larger_frame(frame: Frame, obs: Observations, place: Placed) -> Frame:
    """`frame` with a scale and a weight for each new slice, where slices of the mode have their own; `obs` is less the offset.

    A scale is the root mean square of what was seen of the slice, drawn towards those of the others; its noise over
    its scale is the typical one.
    """
    offset = frame.offset
    if offset is not None:
        offset = MainEffects(offset.mean, tuple(place.spread(e, 0.0) if m == place.mode else e for m, e in enumerate(offset.effects)))
    if frame.mode != place.mode or frame.weights is None:
        return replace(frame, offset=offset)
    typical = float(np.exp(np.mean(np.log(frame.scales))))
    slices, count = obs.coords[place.mode], obs.shape[place.mode]
    squares, seen = np.bincount(slices, obs.values**2, count), np.bincount(slices, minlength=count)
    scales = np.sqrt((squares + WORTH * typical**2) / (seen + WORTH))
    weights = float(np.median(frame.weights))
    return replace(
        frame,
        offset=offset,
        scales=np.where(place.new, scales, place.spread(frame.scales, 1.0)),
        weights=place.spread(frame.weights, weights),
    )


def ridge_rows(
    factors: Sequence[np.ndarray],
    mode: int,
    obs: Observations,
    which: np.ndarray,
    ridge: np.ndarray,
    extra: np.ndarray,
    tau_ridge: np.ndarray | None = None,
) -> np.ndarray:
    """Rows of the slices `which` of `mode`, each the minimum of its ridge regression, all else held still; shape ``(len(which), R)``.

    Parameters
    ----------
    factors : one array ``(d_n, R)`` a mode; that of `mode` has rows for the new slices as well, whatever is in them.
    obs : entries, in the units and weights of the fit.
    ridge : ``(R,)``, what a square of each number costs; infinite where it has to be 0.
    extra : ``(R, R)``, added to the normal equations.
    tau_ridge : ``(R,)``, what the square of a step between neighbouring slices costs, where the mode is smooth.
    """
    rank = factors[mode].shape[1]
    alive = np.flatnonzero(np.isfinite(ridge))
    rows, found = factors[mode].astype(np.float64), np.zeros((len(which), rank))
    if not len(alive):
        return found
    order = np.argsort(obs.coords[mode], kind="stable")
    starts = np.searchsorted(obs.coords[mode][order], np.arange(obs.shape[mode] + 1))
    systems = []
    for slice_ in which:
        mine = order[starts[slice_] : starts[slice_ + 1]]
        design = np.ones((len(mine), len(alive)))
        for m, factor in enumerate(factors):
            if m != mode:
                design *= factor[obs.coords[m][mine]][:, alive]
        weights = np.ones(len(mine)) if obs.weights is None else obs.weights[mine].astype(np.float64)
        gram = design.T @ (weights[:, None] * design) + extra[np.ix_(alive, alive)]
        systems.append((gram, design.T @ (weights * obs.values[mine])))
    last = obs.shape[mode] - 1
    rows[which] = 0.0
    for _ in range(1 if tau_ridge is None else ROUNDS):
        before = rows[which].copy()
        for (gram, right), slice_ in zip(systems, which, strict=True):
            own, target = ridge[alive], right
            if tau_ridge is not None:
                near = [i for i in (slice_ - 1, slice_ + 1) if 0 <= i <= last]
                own = own + len(near) * tau_ridge[alive]
                target = right + tau_ridge[alive] * rows[near][:, alive].sum(axis=0)
            rows[slice_, alive] = _solved(gram, own, target)
        if np.max(np.abs(rows[which] - before), initial=0.0) <= TOL * np.max(np.abs(rows), initial=0.0):
            break
    return rows[which]


def _solved(gram: np.ndarray, ridge: np.ndarray, right: np.ndarray) -> np.ndarray:
    """``(gram + diag(ridge))^-1 right``, in the coordinates in which the ridge is 1: ridges of unlike size stay exact there."""
    root = 1.0 / np.sqrt(ridge)
    scaled = root[:, None] * gram * root
    scaled[np.diag_indices_from(scaled)] += 1.0
    return root * linalg.cho_solve(linalg.cho_factor(scaled, check_finite=False), root * right, check_finite=False)


def _components(node: Components, obs: Observations, place: Placed) -> Components:
    point, mode = node.point, place.mode
    frame = larger_frame(point.frame, obs, place)
    units = replace(frame, offset=None).to_units(obs)
    smooth = point.smooth or (0.0,) * obs.order
    old = state_of(node)
    norms = old.norms(smooth)
    factors = [place.spread(old.factor(m), 0.0) if m == mode else old.factor(m) for m in range(obs.order)]
    with np.errstate(divide="ignore"):
        ridge = point.penalty / mobility(norms[mode], point.depth)
    gram = np.ones((old.rank, old.rank))
    for m, factor in enumerate(factors):
        if m != mode:
            gram *= factor.T @ factor
    which = np.flatnonzero(place.new)
    factors[mode][which] = ridge_rows(factors, mode, units, which, ridge, node.guard * gram, ridge * smooth[mode] if smooth[mode] else None)
    state = State(np.concatenate(factors), np.concatenate([[0], np.cumsum(obs.shape)]))
    # the columns of the model in the data's units are those of the state, each times a number
    own = CPTensor(factors).times(frame.mode or 0, frame.scales)
    model = _like(node.model, own, place)
    return replace(
        node,
        point=replace(point, state=state, frame=frame),
        model=model,
        unseen=unseen_in(obs, point.smooth, frame.mode),
    )


def _like(old: CPTensor, larger: CPTensor, place: Placed) -> CPTensor:
    """`old` with the new rows of `larger`, whose columns are those of `old` times numbers; rows that were there keep all digits."""
    factors, mode = list(old.factors), place.mode
    kept, were = larger.factors[mode][~place.new], old.factors[mode][place.was[~place.new]]
    squares = np.einsum("ir,ir->r", kept, kept)
    ratio = np.divide(np.einsum("ir,ir->r", kept, were), squares, out=np.zeros(len(squares)), where=squares > 0)
    rows = place.spread(old.factors[mode].astype(np.float64), 0.0)
    rows[place.new] = larger.factors[mode][place.new] * ratio
    factors[mode] = rows
    return CPTensor(factors)


def state_of(node: Components) -> State:
    """The components of `node` in the units of its fit, balanced, column by column as in its model."""
    point, frame = node.point, node.point.frame
    factors = [factor.astype(np.float64) for factor in node.model.factors]
    m = frame.mode or 0
    factors[m] = factors[m] / frame.scales[:, None]
    smooth = point.smooth or (0.0,) * len(factors)
    norms = np.stack([norms_of(factor, tau) for factor, tau in zip(factors, smooth, strict=True)])
    with np.errstate(divide="ignore", invalid="ignore"):
        target = np.exp(np.mean(np.log(norms), axis=0))
        scales = np.where(norms > 0, target / norms, 0.0)
    stack = np.concatenate([factor * scale for factor, scale in zip(factors, scales, strict=True)])
    return State(stack, np.concatenate([[0], np.cumsum(node.model.shape)]))


def _draws(node: Draws, obs: Observations, place: Placed) -> Draws:
    """The mean of draws: the row of a new slice given its entries, where rows are normal as those of the other slices are.

    A mean of draws has the columns of all draws side by side. Over slices its rows have a mean and a covariance; few slices
    tell little of the latter, and it is drawn towards one without correlations, in which draws agree on what they say.
    """
    point, mode = node.point, place.mode
    frame = larger_frame(point.frame, obs, place)
    units = replace(frame, offset=None).to_units(obs)
    m = frame.mode or 0
    factors = [f.astype(np.float64) for f in node.model.factors]
    scales = point.frame.scales
    factors[m] = factors[m] / scales[:, None]
    rows = factors[mode][place.was[~place.new]]
    seen = obs.counts(mode)[~place.new] > 0
    rows = rows[seen] if seen.any() else rows
    count, rank = len(rows), max(point.state.rank, 1)
    mean = rows.mean(axis=0) * count / (count + 2.0)
    apart = rows - mean
    blocks = max(rows.shape[1] / rank, 1.0)
    share = count / (count + rank)
    noise = max(_noise_of(node, units, place), 1e-12)
    loose = np.mean(apart**2, axis=0) * blocks * (1.0 - share)
    tight = apart * np.sqrt(share / count)
    larger = place.spread(factors[mode], 0.0)
    for slice_ in np.flatnonzero(place.new):
        mine = np.flatnonzero(units.coords[mode] == slice_)
        design = np.ones((len(mine), larger.shape[1]))
        for n, factor in enumerate(factors):
            if n != mode:
                design *= factor[units.coords[n][mine]]
        weights = np.ones(len(mine)) if units.weights is None else units.weights[mine].astype(np.float64)
        larger[slice_] = _normal_row(design, units.values[mine].astype(np.float64), weights, mean, loose, tight, noise)
    own = [larger if n == mode else f for n, f in enumerate(factors)]
    own[m] = own[m] * frame.scales[:, None]
    whole = [place.spread(f.astype(np.float64), 0.0) if n == mode else f for n, f in enumerate(node.model.factors)]
    whole[mode][place.new] = own[mode][place.new]
    point, chains = replace(point, state=_spread(point.state, obs, place), frame=frame), tuple(_spread(s, obs, place) for s in node.chains)
    return replace(node, point=point, model=CPTensor(whole), chains=chains, unseen=unseen_in(obs, (), None))


def _noise_of(node: Draws, units: Observations, place: Placed) -> float:
    """The noise that draws leave in entries of slices that were there; that of held-out entries is many times it, and shrinks too much."""
    old = units.subset(~place.new[units.coords[place.mode]])
    indices, weights = place.before(old.indices), 1.0 if old.weights is None else old.weights
    return float(np.mean([np.mean(weights * (old.values - chain.model().at(indices)) ** 2) for chain in node.chains]))


def _spread(state: State, obs: Observations, place: Placed) -> State:
    """A draw whose new rows are zero, until they are drawn."""
    old = [state.factor(n) for n in range(state.order)]
    stack = np.concatenate([place.spread(f, 0.0) if n == place.mode else f for n, f in enumerate(old)])
    return State(stack, np.concatenate([[0], np.cumsum(obs.shape)]))


def _normal_row(
    design: np.ndarray, values: np.ndarray, weights: np.ndarray, mean: np.ndarray, loose: np.ndarray, tight: np.ndarray, noise: float
) -> np.ndarray:
    """The mean of a row given its entries, where it is normal about `mean` with covariance ``diag(loose) + tight' tight``."""
    if not len(values):
        return mean
    left = values - design @ mean
    seen = design @ tight.T  # (n, slices)
    covariance = seen @ seen.T + (design * loose) @ design.T
    covariance[np.diag_indices_from(covariance)] += noise / weights
    pull = linalg.solve(covariance, left, assume_a="pos")
    return mean + loose * (design.T @ pull) + tight.T @ (seen.T @ pull)


def _larger_neighbours(neighbours: Neighbours, obs: Observations, place: Placed) -> Neighbours:
    """The same correlations over a larger array: they go on with distance, and a new slice has those of the median slice."""
    groups, how = replace(neighbours.groups, shape=obs.shape), neighbours.correlation
    tables, nuggets, shares = how.tables, how.nuggets, how.shares
    longest = max(obs.shape[m] for m in groups.modes)
    if longest > tables.shape[2] > 1:
        far = np.arange(tables.shape[2], longest)
        first = tables[:, :, 1:2]
        loose = np.isclose(tables[:, :, min(2, tables.shape[2] - 1)][:, :, None], first)
        more = np.where(loose, first, first**far)
        tables = np.ascontiguousarray(np.concatenate([tables, more], axis=2))
    if groups.mode == place.mode:
        usual = np.isfinite(nuggets)
        nugget = float(np.median(nuggets[usual])) if usual.mean() > 0.5 else np.inf
        tables = np.ascontiguousarray(place.spread(tables, np.median(tables, axis=0)))
        nuggets = place.spread(nuggets, nugget)
        shares = place.spread(shares, float(np.median(shares)))
    return Neighbours(groups, Correlation(tables, nuggets, shares))


def _timeline(node: Timeline, obs: Observations, place: Placed) -> Timeline:
    """The same processes; a new slice of the mode whose slices have their own numbers has the median ones."""
    how = node.how
    if how is not None and node.mode == place.mode:
        smoothness = place.spread(how.smoothness, int(np.median(how.smoothness)))
        numbers = (place.spread(n, float(np.exp(np.median(np.log(n))))) for n in (how.lengths, how.noises, how.levels))
        how = Matern(smoothness, *numbers)
    return Timeline.of(obs, node.axis.again(obs), node.mode, how)


def _slices(node: Slices, obs: Observations, place: Placed, tools: Tools) -> Predictor:
    """The regression on all entries; of a new column it says something only where that was seen in `ROWS` rows for each column."""
    axis = None if node.unfolding.axis is None else node.unfolding.axis.again(obs)
    unfolding = replace(node.unfolding, shape=obs.shape, axis=axis)
    found = replace(node, unfolding=unfolding).again(obs, tools)
    if place.mode not in unfolding.modes:
        return found
    columns = unfolding.columns // obs.shape[place.mode]
    few = place.new & (obs.counts(place.mode) < ROWS * unfolding.width * columns)
    values = found.values.copy()
    np.moveaxis(values, place.mode, 0)[few] = np.nan
    return replace(found, values=values)
