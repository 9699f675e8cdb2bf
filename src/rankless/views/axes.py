"""Modes as axes of a picture: in time, in order, as places, or a set of names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rankless.tensors import spelling
from rankless.tensors.observations import SPANS, Observations

Kind = Literal["time", "ordered", "category", "places"]
Positions = Mapping[str, object]  # mode -> an array (slices, 2) of x and y, such as longitude and latitude

FEW = 8  # slices up to which a mode is not looked along, and one without labels is drawn as bars: its numbers may be names
MARKED = 31  # slices up to which each has a mark of its own on a line, such as the days of a month
_DATE = re.compile(r"\d{4}-\d{2}(-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?)?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")
_EXACT = 2**53  # floats below this are whole numbers without rounding


@dataclass(frozen=True, eq=False)
class Axis:
    """A mode as it is drawn; what its slices are called is asked one by one, for there may be millions."""

    obs: Observations
    mode: int
    kind: Kind
    values: np.ndarray  # datetime64 or numbers in which the axis counts, x and y of places, shape (d,) or (d, 2)
    unit: str = ""  # of the numbers, where they are spans of time

    @property
    def name(self) -> str:
        return f"{self.obs.modes[self.mode]} ({self.unit})" if self.unit else self.obs.modes[self.mode]

    @property
    def size(self) -> int:
        return self.obs.shape[self.mode]

    def label(self, index: int | np.integer) -> str:
        return self.obs.label(self.mode, int(index))

    @property
    def runs(self) -> bool:
        """Whether neighbours on the axis are neighbours in what it stands for."""
        return self.kind in ("time", "ordered")

    @property
    def whole(self) -> bool:
        """Whether the axis counts in whole numbers, whatever their type."""
        return bool(self.values.dtype.kind in "iu" or (self.values.dtype.kind == "f" and not (self.values % 1).any()))

    @property
    def marked(self) -> bool:
        """Whether the slices are few enough for a mark each, on a line that joins them."""
        return self.runs and self.size <= MARKED


def axis_of(obs: Observations, mode: int, positions: Positions | None = None) -> Axis:
    """The axis of one mode of `obs`.

    >>> table = Observations.from_array(np.ones((2, 9, 3)), labels=[["a", "b"], None, [2014, 2015, 2016]])
    >>> [axis_of(table, mode).kind for mode in range(3)]
    ['category', 'ordered', 'ordered']
    """
    if positions and obs.modes[mode] in positions:
        return Axis(obs, mode, "places", _checked(positions[obs.modes[mode]], obs, mode))
    times = _times(obs.labels[mode])
    if times is not None:
        return Axis(obs, mode, "time", times)
    numbers, unit = _spans(obs.labels[mode]) or (_numbers(obs.labels[mode], obs.shape[mode]), "")
    if numbers is not None and _in_order(numbers):
        return Axis(obs, mode, "ordered", numbers, unit)
    return Axis(obs, mode, "category", np.arange(obs.shape[mode]))


def axes_of(obs: Observations, positions: Positions | None = None) -> list[Axis]:
    """All axes of `obs`; raises ValueError for positions of a mode that is not there."""
    for name in positions or ():
        obs.mode_index(name)
    return [axis_of(obs, mode, positions) for mode in range(obs.order)]


def longest(axes: Sequence[Axis]) -> Axis:
    """The axis to look along: the longest that runs, or the longest of all where none does for more than a few slices."""
    return max([axis for axis in axes if axis.runs and axis.size > FEW] or axes, key=lambda axis: axis.size)


def _times(labels: np.ndarray | None) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.dtype.kind != "M":
        found = _dates(labels)
        if found is None:
            said = spelling.reading(labels)
            return said.moments if said is not None and said.moments is not None and _in_order(said.moments) else None
        try:
            labels = _moments(found)
        except ValueError:  # 2013-02-31 looks like a date
            return None
    return labels if not np.isnat(labels).any() and _in_order(labels) else None


def _dates(labels: np.ndarray) -> list[re.Match[str]] | None:
    found = []
    for label in labels if labels.dtype.kind in "UO" else ():
        match = _DATE.fullmatch(str(label))
        if match is None:
            return None
        found.append(match)
    return found or None


def _moments(found: Sequence[re.Match[str]]) -> np.ndarray:
    """Times as their clocks show them, or where clocks were put back, in UTC."""
    zones = [match["zone"] or "" for match in found]
    times = np.array([match[0].removesuffix(zone) for match, zone in zip(found, zones, strict=True)], dtype="datetime64")
    if not any(zones) or _in_order(times):
        return times
    minutes = [0 if zone in ("", "Z") else int(f"{zone[0]}1") * (60 * int(zone[1:3]) + int(zone[-2:])) for zone in zones]
    return times - np.array(minutes, "timedelta64[m]")


def _spans(labels: np.ndarray | None) -> tuple[np.ndarray, str] | None:
    """Spans of time as whole numbers of the longest unit that measures them all."""
    if labels is None or labels.dtype.kind != "m" or np.isnat(labels).any():
        return None
    for name, code in SPANS.items():
        if not (labels % np.timedelta64(1, code)).any():
            return labels // np.timedelta64(1, code), name
    return labels / np.timedelta64(1, "s"), "seconds"


def _numbers(labels: np.ndarray | None, size: int) -> np.ndarray | None:
    """The numbers that the labels are, or are written as: names of columns are text even where they are years."""
    if labels is None:
        return np.arange(size) if size > FEW else None
    dates = _dates(labels)
    if dates is not None:  # of another calendar, such as the 30th of every February
        texts = np.array([match[0] for match in dates])
        return np.arange(size) if (texts[1:] > texts[:-1]).all() else None
    if labels.dtype.kind in "UO" and all(_NUMBER.fullmatch(str(label)) for label in labels):
        numbers = np.array([float(str(label)) for label in labels])
        labels = numbers.astype(int) if not (numbers % 1).any() and np.abs(numbers).max() < _EXACT else numbers
    elif labels.dtype.kind in "UOT" and (said := spelling.reading(labels)) is not None and said.kind == "numbers":
        labels = said.keys
    return labels if labels.dtype.kind in "iuf" and np.isfinite(labels).all() else None


def _in_order(labels: np.ndarray) -> bool:
    """Whether they rise, or fall as latitudes often do, all the way."""
    return bool((labels[1:] > labels[:-1]).all() or (labels[1:] < labels[:-1]).all())


def _checked(places: object, obs: Observations, mode: int) -> np.ndarray:
    array = np.asarray(places, dtype=float)
    if array.shape != (obs.shape[mode], 2) or not np.isfinite(array).all():
        raise ValueError(
            f"positions of {obs.modes[mode]!r} have shape {array.shape}; pass finite numbers of shape ({obs.shape[mode]}, 2): "
            "x and y, or longitude and latitude, of each slice"
        )
    return array
