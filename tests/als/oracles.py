"""The objective, written once more in plain numpy over all cells: what the engine is held against."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from rankless.als.entries import Entries
from rankless.als.solver import State
from rankless.tensors.observations import Observations

LETTERS = "abcdefgh"


def dense(factors) -> np.ndarray:
    """The whole tensor."""
    letters = LETTERS[: len(factors)]
    return np.einsum(",".join(c + "r" for c in letters) + "->" + letters, *factors)


def factors_of(state: State) -> list[np.ndarray]:
    return [state.factor(mode).astype(np.float64) for mode in range(state.order)]


def weighted_mask(obs: Observations) -> np.ndarray:
    """Weight of every cell, 0 where nothing was observed."""
    mask = np.zeros(obs.shape)
    mask[tuple(obs.coords)] = 1.0 if obs.weights is None else obs.weights
    return mask


def residual(obs: Observations, factors) -> np.ndarray:
    """``y - T`` on observed cells, 0 on the others."""
    target = np.zeros(obs.shape)
    target[tuple(obs.coords)] = obs.values
    return np.where(weighted_mask(obs) > 0, target - dense(factors), 0.0)


def penalty_of(factors, depth: float) -> float:
    norms = np.array([np.linalg.norm(f, axis=0) for f in factors])
    return 0.5 * (depth + 1) * float(np.sum(norms ** (2 / (depth + 1))))


def objective(obs: Observations, factors, depth: float, penalty: float, guard: float = 0.0) -> float:
    loss = 0.5 * float(np.sum(weighted_mask(obs) * residual(obs, factors) ** 2))
    return loss + penalty * penalty_of(factors, depth) + 0.5 * guard * float(np.sum(dense(factors) ** 2))


def observed(shape, seed: int, *, share: float = 0.7, rank: int = 2, noise: float = 0.3, weighted: bool = False) -> Observations:
    """A few cells of a noisy tensor of the given rank, at unit root mean square; at least one cell."""
    rng = np.random.default_rng(seed)
    array = dense([rng.normal(size=(d, rank)) for d in shape]) + noise * rng.normal(size=shape)
    array /= np.sqrt(np.mean(array**2))
    seen = rng.random(shape) < share
    seen.flat[rng.integers(array.size)] = True
    indices = np.argwhere(seen)
    weights = rng.uniform(0.2, 3.0, len(indices)) if weighted else None
    return Observations.from_indices(indices, array[seen], shape=shape, weights=weights)


def random_state(entries: Entries, rank: int, seed: int) -> State:
    """Unbalanced random components."""
    rng = np.random.default_rng(seed)
    return State(rng.normal(size=(int(entries.offsets[-1]), rank)).astype(entries.dtype), entries.offsets)


@st.composite
def problems(draw, min_order: int = 2, max_order: int = 5):
    """Observations of a small random tensor, some slices perhaps never seen."""
    order = draw(st.integers(min_order, max_order))
    shape = tuple(draw(st.lists(st.integers(1, 9 - order), min_size=order, max_size=order)))
    return observed(
        shape,
        draw(st.integers(0, 2**32 - 1)),
        share=draw(st.floats(0.1, 1.0)),
        rank=draw(st.integers(1, 3)),
        weighted=draw(st.booleans()),
    )
