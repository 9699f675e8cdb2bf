"""New slices of answers for other losses than squares, and of nonnegative components: their rows minimise the same loss.

    minimise  sum_e w_e loss(offset_e + <u, z_e>, y_e)  +  guard/2 u'Gu  +  penalty/2 sum_r u_r^2 / |u_r^n|^(2k/(k+1))

by working responses, over and over, as the fit itself did; where the mode's numbers may not be negative, by nonnegative least squares.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.optimize import nnls

from rankless.als.losses import Bernoulli, Poisson, PoissonParts
from rankless.als.solver import State
from rankless.answer.tree import Placed
from rankless.depth import mobility
from rankless.experts.components import unseen_in
from rankless.experts.linked import Linked
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.link import Units

ROUNDS, TOL = 200, 1e-10
STEEPER, STEEPEST = 4.0, 1e10  # times the curvature where a quadratic did not hold


def folded(node: Linked, obs: Observations, place: Placed) -> Linked:
    """`node` with the new slices of `place`; `obs` has all entries of the larger array, in the units of the data."""
    units = _larger_units(node.units, obs, place)
    state, mode = node.state, place.mode
    factors = [place.spread(state.factor(m), 0.0) if m == mode else state.factor(m).copy() for m in range(state.order)]
    y = obs.values.astype(np.float64) / units.scale
    weights = np.ones(obs.size) if obs.weights is None else obs.weights / np.mean(obs.weights, dtype=np.float64)
    offset = units.offset.at(obs.indices)
    with np.errstate(divide="ignore"):
        ridge = node.problem.penalty / mobility(state.norms()[mode], node.problem.depth)
    gram = np.ones((state.rank, state.rank))
    for m, factor in enumerate(factors):
        if m != mode:
            gram *= factor.T @ factor
    for slice_ in np.flatnonzero(place.new):
        mine = np.flatnonzero(obs.coords[mode] == slice_)
        design = np.ones((len(mine), state.rank))
        for m, factor in enumerate(factors):
            if m != mode:
                design *= factor[obs.coords[m][mine]]
        if len(mine) and state.rank:
            fixed = ridge, node.problem.guard * gram, units.nonnegative[mode]
            factors[mode][slice_] = loss_row(units, design, offset[mine], y[mine], weights[mine], *fixed)
    larger = State(np.concatenate(factors), np.concatenate([[0], np.cumsum(obs.shape)]))
    return replace(node, units=units, state=larger, unseen=unseen_in(obs, (), None))


def loss_row(
    units: Units,
    design: np.ndarray,
    offset: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    ridge: np.ndarray,
    extra: np.ndarray,
    positive: bool,
) -> np.ndarray:
    """The row that minimises the loss of its entries and the penalty."""
    alive = np.flatnonzero(np.isfinite(ridge))
    row = np.zeros(design.shape[1])
    z, own, extra = design[:, alive], ridge[alive], extra[np.ix_(alive, alive)]
    loss = units.loss

    def objective(u: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            value = float(weights @ loss.value(offset + z @ u, y)) + 0.5 * float(u @ (own * u) + u @ extra @ u)
        return value if np.isfinite(value) else np.inf

    u = np.zeros(len(alive))
    if isinstance(loss, PoissonParts):  # of nothing its logarithm has no slope to follow
        u += np.mean(y) / max(float(z.sum(axis=1).mean()), 1e-12)
    now, steep = objective(u), 1.0
    for _ in range(ROUNDS):
        t = offset + z @ u
        responses, bend = loss.working(t, y)
        while True:
            w = weights * bend * steep
            target = z @ u + (responses - t) / steep
            trial = _least(z, w, target, own, extra, positive)
            then = objective(trial)
            if then <= now or steep >= STEEPEST:
                break
            steep *= STEEPER
        if not then < now:
            break
        moved, fell = trial, now - then
        u, now, steep = moved, then, max(1.0, steep / 2)
        if fell <= TOL * abs(now):
            break
    row[alive] = u
    return row


def _least(z: np.ndarray, w: np.ndarray, target: np.ndarray, ridge: np.ndarray, extra: np.ndarray, positive: bool) -> np.ndarray:
    gram = z.T @ (w[:, None] * z) + extra + np.diag(ridge)
    right = z.T @ (w * target)
    if not positive:
        return np.linalg.solve(gram, right)
    lower = np.linalg.cholesky(gram)
    return nnls(lower.T, np.linalg.solve(lower, right))[0]


def _larger_units(units: Units, obs: Observations, place: Placed) -> Units:
    """The offset of new slices: their effect makes the loss of their entries small, drawn towards none as those of other slices lie."""
    offset = units.offset
    effects = [place.spread(e, 0.0) if m == place.mode else e for m, e in enumerate(offset.effects)]
    own = offset.effects[place.mode]
    spread = float(np.mean(own**2))
    if units.effects and not any(units.nonnegative) and spread > 0:
        larger = MainEffects(offset.mean, tuple(effects))
        y, base = obs.values.astype(np.float64) / units.scale, larger.at(obs.indices)
        # in squares the noise is not 1, as in counts and in zeros and ones it is
        noise = 1.0 if isinstance(units.loss, (Poisson, Bernoulli)) else _noise(y, base, obs, place)
        for slice_ in np.flatnonzero(place.new):
            mine = np.flatnonzero(obs.coords[place.mode] == slice_)
            if len(mine):
                ridge, extra = np.array([noise / spread]), np.zeros((1, 1))
                ones = np.ones((len(mine), 1))
                effects[place.mode][slice_] = loss_row(units, ones, base[mine], y[mine], np.ones(len(mine)), ridge, extra, False)[0]
    return replace(units, offset=MainEffects(offset.mean, tuple(effects)))


def _noise(y: np.ndarray, base: np.ndarray, obs: Observations, place: Placed) -> float:
    old = ~place.new[obs.coords[place.mode]]
    return float(np.median(np.abs(y[old] - base[old])) * 1.4826) ** 2
