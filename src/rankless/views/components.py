"""The components of a fit, made comparable: one sign, one scale, largest first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.tensors.cp_tensor import CPTensor

_ROWS = 10_000  # slices from which smoothness is told


@dataclass(frozen=True, eq=False)
class Components:
    """``T = sum_r scale_r v_r^1 (x) ... (x) v_r^N``, every `v` of root mean square 1.

    Signs: the largest entry of each vector is positive, but for the longest mode, which takes the sign.
    """

    sizes: np.ndarray  # Frobenius norms, largest first, shape (R,)
    vectors: list[np.ndarray]  # (d_n, R) a mode
    order: np.ndarray  # their numbers in the model
    total: float  # root of the sum of squares of the norms of all components of the model

    @classmethod
    def of(cls, model: CPTensor, *, most: int | None = None) -> Components:
        """The components of `model`, or the `most` largest.

        >>> shown = Components.of(CPTensor([[[-2.0], [-2.0]], [[3.0], [3.0], [3.0]]]))
        >>> shown.sizes.round(3).tolist(), [v.ravel().tolist() for v in shown.vectors]
        ([14.697], [[1.0, 1.0], [-1.0, -1.0, -1.0]])
        """
        norms = model.component_norms()
        order = np.argsort(-norms, kind="stable")[:most]
        vectors = [factor[:, order] / _rms(factor[:, order]) for factor in model.factors]
        taker = int(np.argmax(model.shape)) if len(set(model.shape)) > 1 else model.order - 1
        sign = np.ones(len(order))
        for mode, vector in enumerate(vectors):
            if mode != taker and vector.size:
                top = np.take_along_axis(vector, np.abs(vector).argmax(axis=0)[None], axis=0)[0]
                flip = np.where(top < 0, -1.0, 1.0)
                vectors[mode] = vector * flip
                sign *= flip
        vectors[taker] = vectors[taker] * sign
        top = float(norms.max(initial=0.0)) or 1.0  # squares of 1e-300 are nothing
        return cls(norms[order], vectors, order, top * float(np.sqrt(np.sum((norms / top) ** 2))))

    @property
    def count(self) -> int:
        return len(self.sizes)

    @property
    def shares(self) -> np.ndarray:
        """Each component's share of the squares of all components."""
        return (self.sizes / (self.total or 1.0)) ** 2


def sizes(model: CPTensor) -> np.ndarray:
    """Norms of the components, largest first."""
    return np.sort(model.component_norms())[::-1]


def is_smooth(vectors: np.ndarray, norms: np.ndarray) -> bool:
    """Whether neighbours in a mode are alike, so that a line through its vectors means something."""
    vectors = vectors[:_ROWS]
    if len(vectors) < 3 or not len(norms):
        return False
    centred = vectors - vectors.mean(axis=0)
    centred = centred / np.maximum(np.abs(centred).max(axis=0), 1e-300)
    products = np.sum(centred[1:] * centred[:-1], axis=0) / np.maximum(np.sum(centred**2, axis=0), 1e-300)
    if not norms.any():
        return False
    return float(np.average(products, weights=(norms / norms.max()) ** 2)) > 0.2


def _rms(vectors: np.ndarray) -> np.ndarray:
    top = np.abs(vectors.astype(float)).max(axis=0, initial=0.0)
    top = np.where(top > 0, top, 1.0)
    rms = top * np.sqrt(np.mean((vectors / top) ** 2, axis=0))
    return np.where(rms > 0, rms, 1.0)
