"""`CPTensor`: a sum of outer products, kept as its factors and never built unless asked."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.runtime.files import write_beside
from rankless.tensors.canonical import check_indices

_AT_ONCE = 2**16  # products of a block of coordinates and all components: as many as stay in the cache


@dataclass(frozen=True, eq=False)
class CPTensor:
    """``T[i_1, ..., i_N] = sum_r  U_1[i_1, r] ... U_N[i_N, r]``, also called a Kruskal tensor.

    `factors` holds one array of shape ``(d_n, R)`` a mode; ``R = 0`` is the zero tensor.

    >>> model = CPTensor([np.ones((2, 1)), np.ones((3, 1)), 2 * np.ones((4, 1))])
    >>> model.shape, model.rank, float(model.at([[1, 2, 3]])[0])
    ((2, 3, 4), 1, 2.0)
    """

    factors: tuple[np.ndarray, ...]

    def __init__(self, factors: Sequence[np.ndarray]):
        arrays = tuple(np.asarray(f) for f in factors)
        arrays = tuple(a if a.dtype in (np.float32, np.float64) else a.astype(np.float64) for a in arrays)
        shapes = [a.shape for a in arrays]
        if not arrays or any(a.ndim != 2 for a in arrays) or len({a.shape[1] for a in arrays}) != 1:
            raise ValueError(f"factors of shapes {shapes} do not make a CP tensor; pass one (size, rank) array a mode")
        object.__setattr__(self, "factors", arrays)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(f.shape[0] for f in self.factors)

    @property
    def order(self) -> int:
        return len(self.factors)

    @property
    def rank(self) -> int:
        return self.factors[0].shape[1]

    def __repr__(self) -> str:
        return f"CPTensor(shape={self.shape}, rank={self.rank})"

    # --- values -------------------------------------------------------------------------------

    def at(self, indices) -> np.ndarray:
        """Values at `indices`, shape ``(n, order)``; time and memory grow with n, not with the tensor."""
        coords = self._checked(indices)
        out = np.empty(len(coords), dtype=np.result_type(*self.factors))
        rows = max(1, _AT_ONCE // max(1, self.rank))
        for start in range(0, len(coords), rows):
            part = coords[start : start + rows]
            out[start : start + len(part)] = self._shares(part).sum(axis=1)
        return out

    def contributions(self, indices) -> np.ndarray:
        """Each component's share of the values at `indices`, shape ``(n, rank)``; rows sum to `at`."""
        return self._shares(self._checked(indices))

    def full(self) -> np.ndarray:
        """The whole tensor, shape `shape`."""
        first, *rest = self.factors
        flat = rest[0] if rest else np.ones((1, self.rank))
        for factor in rest[1:]:  # Khatri-Rao product of all modes but the first
            flat = (flat[:, None, :] * factor[None, :, :]).reshape(len(flat) * len(factor), self.rank)
        return (first @ flat.T).reshape(self.shape)

    # --- components ---------------------------------------------------------------------------

    def component_norms(self) -> np.ndarray:
        """Frobenius norm of each component, shape ``(rank,)``: the product of its vectors' norms."""
        norms = np.ones(self.rank)
        for factor in self.factors:
            norms = norms * np.linalg.norm(factor, axis=0)
        return norms

    def norm(self) -> float:
        """Frobenius norm of the whole tensor, from the factors alone."""
        gram = np.ones((self.rank, self.rank))
        for factor in self.factors:
            gram = gram * (factor.T @ factor)
        return float(np.sqrt(max(gram.sum(), 0.0)))

    def balanced(self) -> CPTensor:
        """The same tensor with every component's norm spread evenly over its modes, largest first."""
        norms = [np.linalg.norm(f, axis=0) for f in self.factors]
        total = np.prod(norms, axis=0)
        order = np.argsort(-total, kind="stable")
        target = total ** (1.0 / self.order)
        with np.errstate(divide="ignore", invalid="ignore"):
            scales = [np.where(n > 0, target / n, 0.0) for n in norms]
        return CPTensor([np.ascontiguousarray((f * s)[:, order]) for f, s in zip(self.factors, scales, strict=True)])

    def times(self, mode: int, factors: np.ndarray) -> CPTensor:
        """Each slice of `mode` times its own of `factors`, shape ``(d_mode,)``, or all times one, shape ``(1,)``."""
        return CPTensor([f * factors[:, None] if m == mode else f for m, f in enumerate(self.factors)])

    def to_tensorly(self) -> tuple[np.ndarray, list[np.ndarray]]:
        """``(weights, factors)`` with unit-norm columns, what ``tensorly.cp_tensor.CPTensor`` takes."""
        norms = [np.linalg.norm(f, axis=0) for f in self.factors]
        safe = [np.where(n > 0, n, 1.0) for n in norms]
        return np.prod(norms, axis=0), [f / n for f, n in zip(self.factors, safe, strict=True)]

    def to_tensortools(self) -> list[np.ndarray]:
        """What ``tensortools.KTensor`` takes: a factor ``(d_n, R)`` a mode, sizes spread evenly over modes, largest component first.

        >>> model = CPTensor([np.ones((2, 1)), 8 * np.ones((2, 1))])
        >>> [factor.round(2).tolist() for factor in model.to_tensortools()]
        [[[2.83], [2.83]], [[2.83], [2.83]]]
        """
        return list(self.balanced().factors)

    # --- files --------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike, **beside: np.ndarray) -> None:
        """Write the factors, and arrays `beside` them, to `path` as .npz; the file appears whole or not at all."""
        arrays = {f"factor_{n}": f for n, f in enumerate(self.factors)} | beside
        with write_beside(path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: str | os.PathLike) -> CPTensor:
        """Read a model written by `save`; no pickle is ever loaded.

        Warns where the model is one of transformed values, which `rankless.units.transform.Transform.load` brings back.
        """
        try:
            # opened here, because np.load leaves a broken archive open
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                if "transform" in stored:
                    text = f"{path} models transformed values ({stored['transform']}); Transform.load(path).inverse brings them back"
                    warnings.warn(text, UserWarning, stacklevel=2)
                return cls([stored[f"factor_{n}"] for n in range(sum(k.startswith("factor_") for k in stored))])
        except Exception as problem:  # a damaged archive or header raises anything
            if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):  # no such file, no permission
                raise
            said = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
            raise ValueError(f"{path} is not a model saved by rankless ({said}); save it again with model.save") from None

    # --- helpers ------------------------------------------------------------------------------

    def _checked(self, indices) -> np.ndarray:
        return check_indices(indices, self.shape)

    def _shares(self, coords: np.ndarray) -> np.ndarray:
        product = self.factors[0][coords[:, 0]]
        for mode in range(1, self.order):
            product = product * self.factors[mode][coords[:, mode]]
        return product
