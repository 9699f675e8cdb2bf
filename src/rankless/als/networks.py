"""Tucker and train by reweighted alternating least squares: the twins of `dynamics.Tucker` and `dynamics.Train` under weight decay.

A matrix `X` that is a chain of `L` layers costs at least ``L/2 ||X||_{S_{2/L}}^{2/L}``, the sum of ``L/2 s^(2/L)`` over its singular
values; every other array of the network costs half its squares. So a network trained with weight decay `p` is

    minimise  1/2 sum_e w_e (y_e - T_e)^2  +  p sum_chains L/2 ||X||_{S_{2/L}}^{2/L}  +  p/2 sum_others |G|^2,

    Tucker   T = G x_1 X^1 ... x_N X^N                chains: the factors, others: the core
    train    T = G_1 X^1 G_2 X^2 ... G_N              chains: the bonds, others: the cores

The Schatten term is concave in ``X^T X``, so at ``X_0`` a generalised ridge majorises it, one for all rows:

    p/2 tr(W X^T X),        W = (X_0^T X_0)^(1/L - 1).

Rotated so that ``X_0^T X_0`` is diagonal, the rotation taken up by what stands beside, it is a ridge a column. Every step is a descent
step: each block's least squares minimises a majoriser that touches the objective; rebalancing moves size between a chain and what
stands beside it, which leaves the tensor alone and minimises the penalty; a column goes only if the objective does not rise. So the
ranks are found, from `ranks` downwards.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from rankless.tensors.observations import Observations

SMALL = 0.05  # share of the largest column below which it is asked whether a column pays for itself
WARM = 20  # sweeps with one layer, before those with more: a concave penalty sticks where it starts cold
UNKNOWNS = 4096  # of one least-squares problem, at most
ROWS = 4096  # entries whose products are made at once


@dataclass
class Network:
    """Arrays of a network under way, with the data they are fitted to; a subclass says what they multiply to and how a sweep goes."""

    indices: np.ndarray
    values: np.ndarray
    weights: np.ndarray
    layers: float
    penalty: float

    def at(self, indices: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def costs(self) -> float:
        """The penalty over `p`."""
        raise NotImplementedError

    def sweep(self) -> None:
        raise NotImplementedError

    def objective(self) -> float:
        error = self.values - self.at(self.indices)
        return 0.5 * float(np.sum(self.weights * error**2)) + self.penalty * self.costs()

    def chain_cost(self, matrix: np.ndarray) -> float:
        return 0.5 * self.layers * float(np.sum(np.linalg.svd(matrix, compute_uv=False) ** (2 / self.layers)))

    def ridge(self, sizes: np.ndarray) -> np.ndarray:
        """``p s^(2/L - 2)``: the ridge of each column of norm `s` where columns are orthogonal."""
        return self.penalty * np.maximum(sizes, np.finfo(float).tiny ** 0.25) ** (2 / self.layers - 2)

    def dropped(self, sizes: np.ndarray, without: Callable[[np.ndarray], Callable[[], None]]) -> None:
        """Drop the smallest column if that does not raise the objective; ``without(kept)`` drops the others and returns the way back."""
        least = int(np.argmin(sizes))
        if len(sizes) > 1 and sizes[least] < SMALL * sizes.max():
            before, back = self.objective(), without(np.arange(len(sizes)) != least)
            if self.objective() > before:
                back()

    def rows(self, mode: int, design: np.ndarray, ridge: np.ndarray, size: int) -> np.ndarray:
        """`least_squares` of every slice of a mode by itself, ``(size, r)``; zero where nothing of it was seen."""
        out = np.zeros((size, design.shape[1]))
        order = np.argsort(self.indices[:, mode], kind="stable")
        bounds = np.searchsorted(self.indices[order, mode], np.arange(size + 1))
        for i in range(size):
            own = order[bounds[i] : bounds[i + 1]]
            if len(own):
                out[i] = least_squares(design[own], self.values[own], self.weights[own], ridge)
        return out


def least_squares(design: np.ndarray, values: np.ndarray, weights: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """The ``x`` of the least ``1/2 sum w (y - design x)^2 + 1/2 sum ridge x^2``."""
    if design.shape[1] > UNKNOWNS:
        raise ValueError(f"{design.shape[1]} unknowns in one block; pass smaller ranks, whose product is at most {UNKNOWNS}")
    scale = 1 / np.sqrt(ridge)  # a ridge that is steep in one column would spoil the digits of the others
    scaled = design * scale
    gram = (scaled * weights[:, None]).T @ scaled
    gram[np.diag_indices_from(gram)] += 1.0
    return scale * np.linalg.solve(gram, scaled.T @ (weights * values))


@dataclass
class TuckerState(Network):
    """Core ``(r_1, ..., r_N)`` and factors ``(d_n, r_n)``."""

    core: np.ndarray = field(default_factory=lambda: np.zeros(0))
    factors: list[np.ndarray] = field(default_factory=list)

    def at(self, indices: np.ndarray) -> np.ndarray:
        out = np.empty(len(indices))
        for start in range(0, len(indices), ROWS):
            some = indices[start : start + ROWS]
            left = self.factors[0][some[:, 0]] @ self.core.reshape(self.core.shape[0], -1)
            for n in range(1, len(self.factors)):
                rows = self.factors[n][some[:, n]]
                left = np.einsum("zab,za->zb", left.reshape(len(some), rows.shape[1], -1), rows)
            out[start : start + ROWS] = left[:, 0]
        return out

    def costs(self) -> float:
        return 0.5 * float(np.sum(self.core**2)) + sum(self.chain_cost(f) for f in self.factors)

    def sweep(self) -> None:
        for n in range(len(self.factors)):
            self._rotate(n)
            self._rebalance(n)
            self.dropped(np.linalg.norm(self.factors[n], axis=0) * self._slices(n), lambda kept, n=n: self._keep(n, kept))
            ridge = self.ridge(np.linalg.norm(self.factors[n], axis=0))
            self.factors[n] = self.rows(n, self._design(self.indices, n), ridge, len(self.factors[n]))
        gram, pull = np.zeros((self.core.size, self.core.size)), np.zeros(self.core.size)
        for start in range(0, len(self.values), ROWS):  # a row of the whole design is as long as the core is large
            part = slice(start, start + ROWS)
            design = self._design(self.indices[part], None)
            weighted = design * self.weights[part, None]
            gram += weighted.T @ design
            pull += weighted.T @ self.values[part]
        gram[np.diag_indices_from(gram)] += self.penalty
        self.core = np.linalg.solve(gram, pull).reshape(self.core.shape)

    def _design(self, indices: np.ndarray, mode: int | None) -> np.ndarray:
        """What the row of `mode` at every entry is multiplied by, ``(n, r_mode)``; of None what the core is, ``(n, r_1 ... r_N)``."""
        letters = string.ascii_lowercase[: len(self.factors)]
        rows = {c: f[indices[:, n]] for n, (c, f) in enumerate(zip(letters, self.factors, strict=True)) if n != mode}
        if mode is None:
            product = rows["a"]
            for c in letters[1:]:
                product = (product[:, :, None] * rows[c][:, None, :]).reshape(len(indices), -1)
            return product
        spec = ",".join("z" + c for c in rows)
        return np.einsum(f"{letters},{spec}->z{letters[mode]}", self.core, *rows.values(), optimize=True)

    def _slices(self, n: int) -> np.ndarray:
        return np.linalg.norm(np.moveaxis(self.core, n, 0).reshape(self.core.shape[n], -1), axis=1)

    def _change(self, n: int, matrix: np.ndarray) -> None:
        """The core multiplied by `matrix` along mode `n`."""
        self.core = np.moveaxis(np.tensordot(matrix, self.core, axes=(1, n)), 0, n)

    def _rotate(self, n: int) -> None:
        _, turn = np.linalg.eigh(self.factors[n].T @ self.factors[n])
        self.factors[n] = self.factors[n] @ turn
        self._change(n, turn.T)

    def _rebalance(self, n: int) -> None:
        """``s^(2/L) = g^2`` for every column and its slice of the core, by ``d^(2 + 2/L) = g^2 / s^(2/L)``."""
        size, beside = np.linalg.norm(self.factors[n], axis=0), self._slices(n)
        alive = (size > 0) & (beside > 0)
        power = 2 / self.layers
        d = np.where(alive, np.where(alive, beside, 1.0) ** 2 / np.where(alive, size, 1.0) ** power, 1.0) ** (1 / (2 + power))
        self.factors[n] = self.factors[n] * d
        self._change(n, np.diag(1 / d))

    def _keep(self, n: int, kept: np.ndarray) -> Callable[[], None]:
        core, factor = self.core, self.factors[n]
        self.core, self.factors[n] = np.compress(kept, core, axis=n), factor[:, kept]

        def back() -> None:
            self.core, self.factors[n] = core, factor

        return back


@dataclass
class TrainState(Network):
    """Cores ``(r_{n-1}, d_n, r_n)`` and, between two of them, bonds ``(r_n, r_n)``."""

    cores: list[np.ndarray] = field(default_factory=list)
    bonds: list[np.ndarray] = field(default_factory=list)

    def at(self, indices: np.ndarray) -> np.ndarray:
        return np.sum(self._left(indices, len(self.cores) - 1) * self.cores[-1][:, indices[:, -1], 0].T, axis=1)

    def costs(self) -> float:
        return 0.5 * sum(float(np.sum(core**2)) for core in self.cores) + sum(self.chain_cost(b) for b in self.bonds)

    def sweep(self) -> None:
        for n in range(len(self.cores)):
            a, d, b = self.cores[n].shape
            design = outer(self._left(self.indices, n), self._right(self.indices, n))
            found = self.rows(n, design, np.full(a * b, self.penalty), d)
            self.cores[n] = np.moveaxis(found.reshape(d, a, b), 0, 1)
        for n in range(len(self.bonds)):
            self._straighten(n)
            self.dropped(np.diag(self.bonds[n]) * self._beside(n)[0] * self._beside(n)[1], lambda kept, n=n: self._keep(n, kept))
            shape = self.bonds[n].shape
            before = self._left(self.indices, n, closed=False)
            behind = np.einsum("azb,zb->za", self.cores[n + 1][:, self.indices[:, n + 1]], self._right(self.indices, n + 1))
            ridge = np.broadcast_to(self.ridge(np.diag(self.bonds[n])), shape).ravel()
            found = least_squares(outer(before, behind), self.values, self.weights, ridge)
            self.bonds[n] = found.reshape(shape)

    def _left(self, indices: np.ndarray, n: int, *, closed: bool = True) -> np.ndarray:
        """Product of all before core `n`, ``(n, r)``; not `closed`, that core is in it and the bond behind it not."""
        out = np.ones((len(indices), 1))
        for m in range(n + (not closed)):
            out = np.einsum("za,azb->zb", out, self.cores[m][:, indices[:, m]])
            if m < n:
                out = out @ self.bonds[m]
        return out

    def _right(self, indices: np.ndarray, n: int) -> np.ndarray:
        """Product of all behind core `n`, the bond first, ``(n, r)``."""
        out = np.ones((len(indices), 1))
        for m in range(len(self.cores) - 1, n, -1):
            out = np.einsum("azb,zb->za", self.cores[m][:, indices[:, m]], out) @ self.bonds[m - 1].T
        return out

    def _beside(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        return np.linalg.norm(self.cores[n], axis=(0, 1)), np.linalg.norm(self.cores[n + 1], axis=(1, 2))

    def _straighten(self, n: int) -> None:
        """The bond diagonal, its singular bases taken up by the cores beside it; then all of ``s^(2/L), g^2, h^2`` alike."""
        left, s, right = np.linalg.svd(self.bonds[n])
        self.cores[n] = self.cores[n] @ left
        self.cores[n + 1] = np.tensordot(right, self.cores[n + 1], axes=1)
        g, h = self._beside(n)
        whole = s * g * h
        alive = whole > 0
        root = np.where(alive, whole, 1.0) ** (1 / (self.layers + 2))  # of g^2 = h^2 = s^(2/L) = (s g h)^(2/(L + 2))
        self.cores[n] = self.cores[n] * np.where(alive, root / np.where(alive, g, 1.0), 1.0)
        self.cores[n + 1] = self.cores[n + 1] * np.where(alive, root / np.where(alive, h, 1.0), 1.0)[:, None, None]
        self.bonds[n] = np.diag(np.where(alive, whole / root**2, s))

    def _keep(self, n: int, kept: np.ndarray) -> Callable[[], None]:
        old = self.cores[n], self.bonds[n], self.cores[n + 1]
        self.cores[n], self.bonds[n], self.cores[n + 1] = old[0][:, :, kept], old[1][np.ix_(kept, kept)], old[2][kept]

        def back() -> None:
            self.cores[n], self.bonds[n], self.cores[n + 1] = old

        return back


def outer(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Row by row the outer product, ``(n, a)`` and ``(n, b)`` to ``(n, a b)``."""
    return (one[:, :, None] * two[:, None, :]).reshape(len(one), -1)


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """A solution: its arrays, the objective after every sweep, whether it came to rest.

    Attributes
    ----------
    ranks : columns left of every factor (Tucker), or of every bond (train).
    arrays : the core and the factors (Tucker); the cores and the bonds (train).
    objective : value of the whole objective after each sweep with the wanted number of layers; it never rises.
    converged : whether the last sweep lowered it by less than `tol` of itself.
    """

    ranks: tuple[int, ...]
    arrays: tuple[np.ndarray | list[np.ndarray], ...]
    objective: np.ndarray
    converged: bool
    state: Network = field(repr=False)

    @property
    def flat(self) -> tuple[np.ndarray, ...]:
        """The same arrays in one tuple: the core, then the factors; the cores, then the bonds."""
        return tuple(array for part in self.arrays for array in (part if isinstance(part, list) else [part]))

    def at(self, indices) -> np.ndarray:
        """Values at integer coordinates ``(n, order)``, shape ``(n,)``."""
        return self.state.at(np.asarray(indices))


def solve_tucker(
    obs: Observations,
    *,
    layers: float = 2.0,
    penalty: float = 1.0,
    ranks: Sequence[int] | None = None,
    random_state: int = 0,
    tol: float = 1e-6,
    max_sweeps: int = 500,
) -> NetworkFit:
    """Deep Tucker with weight decay, minimised: each factor a chain of `layers` (any real number >= 1), the core as it is.

    minimise  1/2 sum w (y - T)^2 + penalty (1/2 |G|^2 + sum_n layers/2 ||U^n||_{S_{2/layers}}^{2/layers})

    `ranks` are the most columns of each factor; by default the sizes of the modes, at most 8. Raises ValueError for settings that make
    no sense.

    >>> rng = np.random.default_rng(0)
    >>> truth = np.einsum("a,b,c->abc", *(rng.normal(size=d) for d in (5, 4, 6)))
    >>> fit = solve_tucker(Observations.from_array(np.where(rng.random(truth.shape) < 0.7, truth, np.nan)), layers=3.0, penalty=0.01)
    >>> fit.ranks
    (1, 1, 1)
    """
    most = _most(obs, ranks, [min(d, 8) for d in obs.shape], penalty, layers)
    rng = np.random.default_rng(random_state)
    state = TuckerState(*_given(obs), layers, penalty)
    state.factors = [rng.normal(size=(d, r)) / np.sqrt(r) for d, r in zip(obs.shape, most, strict=True)]
    state.core = rng.normal(size=most) * _size(obs)
    objective, converged = _settled(state, tol, max_sweeps)
    return _fit_of(state, objective, converged)


def solve_train(
    obs: Observations,
    *,
    layers: float = 2.0,
    penalty: float = 1.0,
    ranks: Sequence[int] | None = None,
    random_state: int = 0,
    tol: float = 1e-6,
    max_sweeps: int = 500,
) -> NetworkFit:
    """Deep tensor train with weight decay, minimised: each bond a chain of `layers` (any real number >= 1), the cores as they are.

    minimise  1/2 sum w (y - T)^2 + penalty (1/2 sum_n |G_n|^2 + sum_n layers/2 ||X^n||_{S_{2/layers}}^{2/layers})

    `ranks` are the most columns of each of the N - 1 bonds; by default 8, or what the modes on the smaller side leave room for.

    >>> rng = np.random.default_rng(0)
    >>> truth = np.einsum("a,b,c->abc", *(rng.normal(size=d) for d in (5, 4, 6)))
    >>> fit = solve_train(Observations.from_array(np.where(rng.random(truth.shape) < 0.7, truth, np.nan)), layers=3.0, penalty=0.01)
    >>> fit.ranks
    (1, 1)
    """
    room = [int(min(np.prod(obs.shape[:n], dtype=float), np.prod(obs.shape[n:], dtype=float), 8)) for n in range(1, obs.order)]
    most = _most(obs, ranks, room, penalty, layers)
    rng, sizes = np.random.default_rng(random_state), (1, *most, 1)
    state = TrainState(*_given(obs), layers, penalty)
    state.cores = [rng.normal(size=(a, d, b)) / np.sqrt(a) for a, d, b in zip(sizes, obs.shape, sizes[1:], strict=False)]
    state.cores[0] = state.cores[0] * _size(obs)
    state.bonds = [np.eye(r) for r in most]
    objective, converged = _settled(state, tol, max_sweeps)
    return _fit_of(state, objective, converged)


def resumed(
    model: str, obs: Observations, arrays: Sequence[np.ndarray], *, layers: float, penalty: float, tol: float = 1e-6, max_sweeps: int = 500
) -> NetworkFit:
    """A network `model`, "tucker" or "train", fitted on from where its `arrays` (`NetworkFit.flat`) stand, which may be to other entries.

    Its ranks are those of the arrays, or fewer.
    """
    state = _state(model, arrays, *_given(obs), layers=layers, penalty=penalty)
    objective, converged = _settled(state, tol, max_sweeps, warm=0)
    return _fit_of(state, objective, converged)


def values_at(model: str, arrays: Sequence[np.ndarray], indices: np.ndarray) -> np.ndarray:
    """Values of a network `model`, of which `arrays` are all (`NetworkFit.flat`), at coordinates ``(n, order)``, shape ``(n,)``."""
    none = np.zeros(0)
    return _state(model, arrays, np.zeros((0, indices.shape[1]), int), none, none, layers=1.0, penalty=1.0).at(indices)


def _state(model: str, arrays: Sequence[np.ndarray], indices, values, weights, *, layers: float, penalty: float) -> Network:
    if model == "tucker":
        return TuckerState(indices, values, weights, layers, penalty, core=arrays[0], factors=list(arrays[1:]))
    order = (len(arrays) + 1) // 2
    return TrainState(indices, values, weights, layers, penalty, cores=list(arrays[:order]), bonds=list(arrays[order:]))


def _fit_of(state: Network, objective: np.ndarray, converged: bool) -> NetworkFit:
    if isinstance(state, TuckerState):
        return NetworkFit(state.core.shape, (state.core, state.factors), objective, converged, state)
    assert isinstance(state, TrainState)
    return NetworkFit(tuple(len(b) for b in state.bonds), (state.cores, state.bonds), objective, converged, state)


def _settled(state: Network, tol: float, max_sweeps: int, warm: int = WARM) -> tuple[np.ndarray, bool]:
    """Sweeps with one layer, then with all, until one lowers the objective by less than `tol` of itself."""
    wanted, state.layers = state.layers, 1.0
    for _ in range(warm if wanted > 1 else 0):
        state.sweep()
    state.layers = wanted
    objective, converged = [state.objective()], False
    while len(objective) <= max_sweeps and not converged:
        state.sweep()
        objective.append(state.objective())
        converged = objective[-2] - objective[-1] <= tol * objective[-1]
    return np.array(objective), converged


def _given(obs: Observations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    values = np.asarray(obs.values, dtype=float)
    return np.asarray(obs.indices), values, np.ones_like(values) if obs.weights is None else np.asarray(obs.weights, dtype=float)


def _size(obs: Observations) -> float:
    return float(np.sqrt(np.mean(np.asarray(obs.values, dtype=float) ** 2)))


def _most(obs: Observations, ranks: Sequence[int] | None, room: list[int], penalty: float, layers: float) -> tuple[int, ...]:
    most = tuple(room if ranks is None else map(int, ranks))
    if len(most) != len(room) or any(r < 1 for r in most):
        raise ValueError(f"ranks={ranks!r} do not fit shape {obs.shape}; pass {len(room)} whole numbers >= 1, or leave ranks out")
    if not 0 < penalty < np.inf:
        raise ValueError(f"penalty={penalty!r} is not a finite number > 0; pass penalty=1.0 for data of unit size")
    if not 1 <= layers < np.inf:
        raise ValueError(f"layers={layers!r} is not a number >= 1; pass layers=1 for a plain network, 2 or more to go deep")
    return most
