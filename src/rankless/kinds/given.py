"""`Given`: data that came in, seen as observations, and the way back to what they were."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rankless.kinds.standard import Standard
from rankless.tensors.observations import Duplicates, Marks, Observations, check_exact

__all__ = ["Dense", "Filled", "Given", "Plain", "Roles", "check_exact", "in_dtype"]


class Filled(Protocol):
    """A `Completion`, as far as the way back needs it."""

    def array(self) -> np.ndarray: ...
    def table(self, coverage: float | None) -> Any: ...
    def at(self, indices: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Roles:
    """What the caller says of the data, where they don't say it themselves."""

    modes: Sequence[str] | str | None = None
    value: str | Sequence[str] | None = None
    wide: bool = False
    absent: str | None = None
    duplicates: Duplicates = "error"
    missing: Marks = ()
    where: Any = None


@dataclass(frozen=True, eq=False)
class Given(abc.ABC):
    """Observations to fit, and how their completion becomes what came in, its holes filled.

    units : where variables with units of their own are fitted together.
    places : for each mode the slice of the observations in which each slice of the data lies, or None where they are the
        same; none at all where all are.
    side : what the data say of their slices themselves, a table for each mode: where they lie on the globe.
    notes, alarms : sentences on what was done to the data on their way in; alarms are warned of.
    """

    observations: Observations
    units: Standard | None = field(default=None, kw_only=True)
    places: tuple[np.ndarray | None, ...] = field(default=(), kw_only=True)
    side: Mapping[str | int, Any] | None = field(default=None, kw_only=True)
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    alarms: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def fitted(self) -> Observations:
        """What is fitted: the observations, in units that are comparable."""
        return self.observations if self.units is None else self.units.apply(self.observations)

    def from_fitted(self, values: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Values of the fit at coordinates ``(n, order)`` in the units of the data."""
        return values if self.units is None else self.units.undo(values, np.atleast_2d(indices)[:, self.units.mode])

    def inward(self, indices: np.ndarray) -> np.ndarray:
        """Coordinates ``(n, order)`` in the data as those in the observations."""
        if not any(place is not None for place in self.places):
            return indices
        columns = zip(np.asarray(indices).T, self.places, strict=True)
        return np.column_stack([column if place is None else place[column] for column, place in columns])

    def data_order(self, indices: np.ndarray) -> np.ndarray:
        """Coordinates ``(n, order)`` in the observations as those in the data."""
        if not any(place is not None for place in self.places):
            return indices
        columns = zip(np.asarray(indices).T, self.places, strict=True)
        return np.column_stack([column if place is None else np.argsort(place)[column] for column, place in columns])

    def outward(self, array: np.ndarray) -> np.ndarray:
        """All cells in the order of the observations, as they lie in the data."""
        for mode, place in enumerate(self.places):
            array = array if place is None else np.take(array, place, axis=mode)
        return array

    def labels(self) -> list[np.ndarray | None]:
        """Labels of each mode in the order of the data."""
        labels = list(self.observations.labels)
        for mode, place in enumerate(self.places):
            label = labels[mode]
            labels[mode] = label if place is None or label is None else label[place]
        return labels

    @abc.abstractmethod
    def back(self, done: Filled) -> Any:
        """The same type, labels and dtype as came in; no holes."""


@dataclass(frozen=True, eq=False)
class Dense(Given):
    """Bare Observations, or an array of a file: an array comes back, in its `dtype` where that is known."""

    dtype: np.dtype | None = field(default=None, kw_only=True)

    def back(self, done: Filled) -> np.ndarray:
        return array_in(done.array(), self.dtype)


@dataclass(frozen=True, eq=False)
class Plain(Given):
    """A plain array comes back as one, in its dtype: the observed cells as they were, to the last digit."""

    template: np.ndarray

    def back(self, done: Filled) -> np.ndarray:
        return filled_in(self.template, done.array(), self.outward(self.observations.observed()))


def filled_in(template: np.ndarray, array: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """A copy of `template` with what `array` has where it was not observed; cells that are no cells stay as they are."""
    holes = ~observed & ~np.isnan(array)
    filled = np.array(template)
    filled[holes] = in_dtype(array[holes], template.dtype)
    return filled


def array_in(values: np.ndarray, dtype: np.dtype | None) -> np.ndarray:
    """`values` in `dtype`, unless that is of whole numbers and some of them are NaN."""
    if dtype is None or (dtype.kind in "iub" and np.isnan(values).any()):
        return values
    return in_dtype(values, dtype)


def in_dtype(values: np.ndarray, dtype: Any) -> np.ndarray:
    """`values` in the dtype of the data; whole numbers are rounded, and all are kept within what the dtype holds.

    >>> in_dtype(np.array([0.4, 1.6, 300.0]), np.uint8).tolist(), in_dtype(np.array([1e6]), np.float16).tolist()
    ([0, 2, 255], [65504.0])
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return values >= 0.5
    if dtype.kind not in "iu":
        if dtype.kind == "f" and dtype.itemsize < values.dtype.itemsize:
            top = float(np.finfo(dtype).max)
            values = np.where(np.isfinite(values), np.clip(values, -top, top), values)
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
