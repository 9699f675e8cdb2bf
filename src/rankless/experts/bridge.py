"""Times of which nothing at all was seen: every series goes on across them, or what all share does, along the axis they lie on.

Components, slices and neighbours know nothing there. Series by themselves do, and so do factors that go on in time, and members of the
answer that know the same hour of other days. Their shares are non-negative least squares on times left out in the same pattern, moved
along the axis, so that a bridge of a month is judged by bridges of a month.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from rankless.answer.tree import Bridged, Predictor, Stack, Tools, left_by
from rankless.experts.factors import Factors, counts_of
from rankless.experts.timeline import offers
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

MOVES = 4  # times that the pattern is moved along the axis and left out
LEFT = 0.5  # share of the entries that has to be left when it is
SWEEPS = 20  # of the factors: their error has come to rest by then
LEAST = 0.01  # share below which a predictor is left out


def bridged(
    tree: Predictor, obs: Observations, axes: Axes, mode: int | None, knowing: Sequence[Predictor], *, effects: bool, tools: Tools
) -> Predictor:
    """`tree`, with a bridge across times never seen, along the surest axis that has such times.

    As it is where there are none, or where main effects alone fill them better. `obs` are all entries, with their main effects; `tree` and
    the bridge are fitted to what these leave where there are `effects`, and 0 is what they say. `knowing` are members of the tree that say
    something of times never seen.
    """
    own = tools.own() if knowing else tools
    for axis in axes.axes:
        ranks = axis.ranks(obs.coords)
        seen = np.bincount(ranks, minlength=axis.length) > 0
        if seen.all() or len(axis.modes) == obs.order:
            continue
        if (bridge := _best(obs, axis, ranks, ~seen, mode, knowing, effects, own)) is not None:
            return Bridged.of(tree, bridge, axis, obs)
    return tree


def _best(
    obs: Observations,
    axis: Axis,
    ranks: np.ndarray,
    unseen: np.ndarray,
    mode: int | None,
    knowing: Sequence[Predictor],
    effects: bool,
    tools: Tools,
) -> Predictor | None:
    """Predictors in the shares that fill best what is left out as the unseen times lie.

    None where that is worse than to say 0, or where only those are wanted that the tree has already. Main effects must not have seen what
    is left out: those of its times would say most of it.
    """
    first: list[Predictor] = []
    afresh = replace(tools, afresh=True)  # chains must not remember the times left out
    said, target = [], []
    for move in range(1, MOVES + 1):
        pattern = np.roll(unseen, int(len(unseen) * (move * 0.6180339887498949 % 1)))  # the golden ratio spreads them evenly
        out = pattern[ranks]
        rest, held = obs.subset(~out), obs.subset(out)
        if not held.size or rest.size < LEFT * obs.size:
            continue
        if effects:
            base = MainEffects.fit(rest)
            rest, held = left_by(base, rest), left_by(base, held)
        if not first:
            first = [*offers(rest, held, axis, mode), *_factors(rest, axis), *knowing]
        columns = np.stack([predictor.again(rest, afresh).at(held.indices) for predictor in first], axis=1)
        known = ~np.isnan(columns).all(axis=1)
        said.append(np.nan_to_num(columns[known]))
        target.append(held.values[known])
    if not said:
        return None
    columns, values = np.concatenate(said), np.concatenate(target)
    shares = nnls(columns, values)[0]
    if not shares.any() or np.sum((values - columns @ shares) ** 2) >= np.sum(values**2):
        return None
    kept = [(predictor, np.array([share])) for predictor, share in zip(first, shares, strict=True) if share > LEAST]
    if all(any(predictor is one for one in knowing) for predictor, _ in kept):  # the tree says as much by itself
        return None
    whole = left_by(MainEffects.fit(obs), obs) if effects else obs
    return Stack(tuple(predictor.again(whole, tools) for predictor, _ in kept), tuple(share for _, share in kept))


def _factors(obs: Observations, axis: Axis) -> list[Factors]:
    """Factors, fewer and more of them; none of a single series, which a timeline is for."""
    series = len(np.unique(axis.series(obs.coords, obs.shape)))
    return [Factors(axis, count, SWEEPS) for count in counts_of(obs, axis, series)] if series > 1 else []
