"""`Given`: data that came in, seen as observations, and the way back to what they were."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rankless.kinds.standard import Standard
from rankless.tensors.observations import Duplicates, Observations

_EXACT = 2**53  # whole numbers beyond it share their float64 with a neighbour


class Filled(Protocol):
    """A `Completion`, as far as the way back needs it."""

    def array(self) -> np.ndarray: ...
    def table(self, coverage: float | None) -> Any: ...
    def predict(self, indices: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Roles:
    """What the caller says of the data, where they don't say it themselves."""

    modes: Sequence[str] | None = None
    value: str | Sequence[str] | None = None
    wide: bool = False
    absent: str | None = None
    duplicates: Duplicates = "error"


@dataclass(frozen=True, eq=False)
class Given(abc.ABC):
    """Observations to fit, and how their completion becomes what came in, its holes filled."""

    observations: Observations
    units: Standard | None = field(default=None, kw_only=True)  # where variables with units of their own are fitted together

    @property
    def fitted(self) -> Observations:
        """What is fitted: the observations, in units that are comparable."""
        return self.observations if self.units is None else self.units.apply(self.observations)

    def from_fitted(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Values of the fit at coordinates ``(n, order)`` in the units of the data."""
        return values if self.units is None else self.units.undo(values, np.atleast_2d(indices)[:, -1])

    @abc.abstractmethod
    def back(self, done: Filled) -> Any:
        """The same type, labels and dtype as came in; no holes."""


@dataclass(frozen=True, eq=False)
class Dense(Given):
    """A plain array comes back as one; so do bare Observations."""

    def back(self, done: Filled) -> np.ndarray:
        return done.array()


def in_dtype(values: np.ndarray, dtype: Any) -> np.ndarray:
    """`values` in the dtype of the data; whole numbers are rounded and kept within what the dtype holds.

    >>> in_dtype(np.array([0.4, 1.6, 300.0]), np.uint8).tolist()
    [0, 2, 255]
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return values >= 0.5
    if dtype.kind not in "iu":
        return values.astype(dtype, copy=False)
    rounded, bounds = np.rint(values), np.iinfo(dtype)
    inside = np.clip(rounded, bounds.min, bounds.max).astype(dtype, casting="unsafe") if dtype.itemsize < 8 else None
    if inside is not None:
        return inside
    # float64 has no 2**63 - 1: what lies at or above 2**63 would wrap around
    low, high = rounded <= float(bounds.min), rounded >= float(bounds.max)
    whole = np.where(low | high, 0.0, rounded).astype(dtype)
    whole[low], whole[high] = bounds.min, bounds.max
    return whole


def check_exact(values: np.ndarray, what: str) -> None:
    """Raise ValueError for whole numbers that float64, in which all is computed, cannot tell apart.

    >>> check_exact(np.array([1, 2]), "the array")
    """
    if values.dtype.kind in "iu" and values.size and (int(values.max()) > _EXACT or int(values.min()) < -_EXACT):
        raise ValueError(f"{what} holds whole numbers beyond 2**53, which would not come back exactly; subtract an offset first")
