"""`Axes`: which modes have an order, where their slices lie, and which modes together make one axis.

Hour 23 and hour 0 of the next day are neighbours in time and far apart in a days x hours array. An
`Axis` is a line on which cells have positions, made of one mode or several. Where it comes from:

- *asked*: by hand, ``axes={"time": ["day", "hour"]}``;
- *labels*: dates, or numbers and words that count parts of time, also over several modes;
- *numbers*: labels that are plain numbers, and so perhaps a depth, perhaps only a name;
- *data*: slices without labels, whose values next to each other are more alike than chance.

The last two are candidates: neighbours are compared first, and hold-out judges what an axis is worth.
Modes whose labels tell no unit are joined by the data: where the last slice of one row is as near to the
first of the next row as two slices within a row, rather than as far as the two ends of a row.
Positions come from labels, never from the order of the slices, wherever there are labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Literal

import numpy as np

from rankless.tensors.canonical import COUNTABLE
from rankless.tensors.observations import Observations
from rankless.tensors.places import DAYS, Places, read, stacked

Origin = Literal["asked", "labels", "numbers", "data"]

LONGEST = 100_000_000  # cells of an axis, at most: their positions are kept in one table
SHORTEST = 3  # slices without which there is no between
PAIRS = 500_000  # pairs of neighbours that are compared, at most
FEWEST = 30  # and at least
SURE = 4.0  # standard errors by which neighbours must be alike beyond chance
FOLDED = 3.0  # and by which three inequalities must hold at once for two modes to be one axis
CLIP = 3.0  # standard deviations at which values are cut before they are compared


@dataclass(frozen=True, eq=False)
class Axis:
    """A line on which cells lie.

    Attributes
    ----------
    name : what it is called: the name asked for, else its modes' names.
    modes : the modes it is made of, from slow to fast.
    shape : sizes of these modes.
    positions : float64, shape ``(prod(shape),)``: where the cells of the axis lie, rows first.
    origin : ``"asked"``, ``"labels"``, ``"numbers"`` or ``"data"``.
    roughness : mean squared difference of values next to each other over that of any two of the same series, both
        cut at `CLIP` standard deviations: 1 where the order says nothing, near 0 along a smooth axis. NaN where too few were seen.
    """

    name: str
    modes: tuple[int, ...]
    shape: tuple[int, ...]
    positions: np.ndarray
    origin: Origin
    roughness: float = np.nan

    @cached_property
    def _ranks(self) -> tuple[np.ndarray, int]:
        distinct, ranks = np.unique(self.positions, return_inverse=True)
        return ranks.ravel(), len(distinct)

    @property
    def length(self) -> int:
        """Number of distinct positions."""
        return self._ranks[1]

    def cells(self, coords: np.ndarray) -> np.ndarray:
        """The cell of the axis in which each column of `coords` lies, shape ``(n,)``."""
        return np.asarray(np.ravel_multi_index(tuple(coords[list(self.modes)]), self.shape))

    def at(self, coords: np.ndarray) -> np.ndarray:
        """Positions of the columns of `coords`, float64, shape ``(n,)``."""
        return self.positions[self.cells(coords)]

    def ranks(self, coords: np.ndarray) -> np.ndarray:
        """How many distinct positions lie before each column of `coords`, shape ``(n,)``."""
        return self._ranks[0][self.cells(coords)]

    def series(self, coords: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """A number for the series in which each column of `coords` lies: it shares all coordinates off the axis."""
        off = [m for m in range(len(shape)) if m not in self.modes]
        if not off:
            return np.zeros(coords.shape[1], np.int64)
        return np.asarray(np.ravel_multi_index(tuple(coords[off]), tuple(shape[m] for m in off)))

    def again(self, obs: Observations) -> Axis:
        """The same axis of other entries: as it is where the shape is the same, else read off their labels once more."""
        if tuple(obs.shape[m] for m in self.modes) == self.shape:
            return self
        return _along(obs, self.modes, [_places(obs, m) for m in range(obs.order)], self.origin, self.name)


@dataclass(frozen=True, eq=False)
class Axes:
    """The axes of an array; no mode lies on two of them.

    Attributes
    ----------
    axes : the surest first: asked for, told by labels, then from the smoothest to the roughest.
    order : of the array.
    parts : single modes of joined axes that have an order of their own: the same hour on other days.
    notes : sentences on what was not looked at, and why.
    """

    axes: tuple[Axis, ...]
    order: int
    parts: tuple[Axis, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, obs: Observations, asked: Mapping[str, str | int | Sequence[str | int]] | None = None) -> Axes:
        """The axes of `obs`. `asked` names axes and the modes that make them, from slow to fast.

        Raises ValueError for a mode that is not there or stands on two axes.

        >>> x = np.sin(np.arange(480.0) / 20)[:, None] * np.array([1.0, 2.0, -1.0])
        >>> [axis.name for axis in Axes.of(Observations.from_array(x)).axes]
        ['mode_0']
        >>> [axis.name for axis in Axes.of(Observations.from_array(x.reshape(20, 24, 3))).axes]
        ['mode_0, mode_1']
        """
        by_hand = _checked(obs, asked or {})
        places = [_places(obs, mode) for mode in range(obs.order)]
        notes: list[str] = []
        found = [_along(obs, modes, places, "asked", name) for name, modes in by_hand.items()]
        free = [m for m in range(obs.order) if not any(m in axis.modes for axis in found)]
        found += _told(obs, free, places, notes)
        sample = _Sample.of(obs)
        if sample is None:
            notes.append(f"the order of slices without dates is unknown: {obs.cells} cells are more than can be numbered")
        free = [m for m in free if not any(m in axis.modes for axis in found)]
        loose = []
        for mode in free if sample is not None else ():
            given = places[mode]
            if given is None and obs.labels[mode] is not None:
                continue  # names: their order is anybody's
            loose.append(_along(obs, (mode,), places, "data" if given is None else "numbers"))
        timely = [axis for axis in found if axis.origin == "labels"]
        found = [axis for axis in found if axis.origin != "labels"]
        joined = timely + loose
        while sample is not None and (pair := _fold(obs, sample, joined, notes)):
            joined = [axis for axis in joined if axis not in pair] + [_joined(obs, *pair)]
        for n, axis in enumerate(joined):
            if sample is not None:
                joined[n] = axis = Axis(axis.name, axis.modes, axis.shape, axis.positions, axis.origin, sample.roughness(axis)[0])
        joined = [a for a in joined if a.origin == "labels" or len(a.modes) > 1 or (sample is not None and sample.ordered(a))]
        joined.sort(key=lambda a: (a.origin != "labels", a.roughness if np.isfinite(a.roughness) else 1.0))
        found = [a for a in found + joined if a.length >= SHORTEST or a.origin == "asked"]
        several = [m for axis in found if len(axis.modes) > 1 for m in axis.modes]
        parts = [_along(obs, (m,), places, "labels" if places[m] is not None else "data") for m in several]
        return cls(tuple(found), obs.order, tuple(a for a in parts if a.length >= SHORTEST), tuple(notes))

    @property
    def candidates(self) -> tuple[Axis, ...]:
        """All axes, and then the modes of joined ones by themselves."""
        return self.axes + self.parts

    def of_mode(self, mode: int) -> Axis | None:
        """The axis on which a mode lies."""
        return next((axis for axis in self.axes if mode in axis.modes), None)


def _checked(obs: Observations, asked: Mapping[str, str | int | Sequence[str | int]]) -> dict[str, tuple[int, ...]]:
    """Names and modes of the axes asked for."""
    found: dict[str, tuple[int, ...]] = {}
    for name, modes in asked.items():
        several = [modes] if isinstance(modes, (str, int, np.integer)) else list(modes)
        numbers = tuple(obs.mode_index(mode) for mode in several)  # pyright: ignore[reportArgumentType]
        if not numbers:
            raise ValueError(f"axes[{name!r}] names no mode; pass one or several of {', '.join(map(repr, obs.modes))}")
        for mode in numbers:
            if (numbers + tuple(m for others in found.values() for m in others)).count(mode) > 1:
                raise ValueError(f"axes={dict(asked)!r} puts mode {obs.modes[mode]!r} on an axis twice; name it once")
        found[str(name)] = numbers
    return found


def _places(obs: Observations, mode: int) -> Places | None:
    return read(obs.labels[mode], obs.shape[mode], obs.modes[mode])


def _along(obs: Observations, modes: Sequence[int], places: Sequence[Places | None], origin: Origin, name: str | None = None) -> Axis:
    """An axis of `modes`: by the calendar where all their labels are of one, else each laid into one step of the slower one."""
    modes, shape = tuple(modes), tuple(obs.shape[m] for m in modes)
    known = [p for m in modes if (p := places[m]) is not None]
    positions = stacked(known) if len(known) == len(modes) > 1 else None
    if positions is None:
        own = [places[m].at if places[m] is not None else np.arange(float(obs.shape[m])) for m in modes]  # pyright: ignore[reportOptionalMemberAccess]
        positions = own[0]
        for fast in own[1:]:
            positions = _laid(positions, fast)
    return Axis(name or ", ".join(obs.modes[m] for m in modes), modes, shape, np.ravel(positions), origin)


def _step(positions: np.ndarray) -> float:
    """The typical distance of one position from the next."""
    steps = np.diff(np.unique(positions))
    return float(np.median(steps)) if len(steps) else 1.0


def _laid(slow: np.ndarray, fast: np.ndarray) -> np.ndarray:
    """Positions of slow x fast cells, in steps of the fast mode, of which all and one more make a step of the slow mode."""
    inner = (fast - fast.min()) / _step(fast)
    return (slow[..., None] - slow.min()) / _step(slow) * (np.ptp(inner) + 1) + inner


def _joined(obs: Observations, slow: Axis, fast: Axis) -> Axis:
    positions = _laid(slow.positions, fast.positions).ravel()
    modes = slow.modes + fast.modes
    return Axis(", ".join(obs.modes[m] for m in modes), modes, slow.shape + fast.shape, positions, "data")


def _told(obs: Observations, free: Sequence[int], places: Sequence[Places | None], notes: list[str]) -> list[Axis]:
    """Axes of the modes whose labels or names are those of times, put together where one counts parts of another."""
    timely = [m for m in free if (p := places[m]) is not None and p.unit is not None]
    timely.sort(key=lambda m: -DAYS[str(places[m].unit)])  # pyright: ignore[reportOptionalMemberAccess]
    found: list[Axis] = []
    while timely:
        chain, timely = [timely[0]], timely[1:]
        for mode in list(timely):
            parts = [p for m in (*chain, mode) if (p := places[m]) is not None]
            size = int(np.prod([obs.shape[m] for m in (*chain, mode)], dtype=float))
            if size > LONGEST:
                notes.append(f"{obs.modes[chain[0]]!r} and {obs.modes[mode]!r} are not made one axis: {size} cells are more than {LONGEST}")
            elif stacked(parts) is not None:
                chain.append(mode)
                timely.remove(mode)
        found.append(_along(obs, chain, places, "labels"))
    return found


def _fold(obs: Observations, sample: _Sample, loose: Sequence[Axis], notes: list[str]) -> tuple[Axis, Axis] | None:
    """The slow and the fast one of two axes that go on in each other, if the data are sure of any two."""
    best, pair = FOLDED, None
    for slow, fast in permutations(loose, 2):
        if slow.origin == fast.origin == "labels" or fast.length <= SHORTEST or slow.length < SHORTEST:
            continue  # both are told: had they been one, their labels would have said so
        if len(slow.positions) * len(fast.positions) > LONGEST:
            notes.append(f"whether {slow.name!r} and {fast.name!r} are one axis is not tried: more than {LONGEST} cells")
            continue
        surely = sample.goes_on(slow, fast)
        if surely > best:
            best, pair = surely, (slow, fast)
    return pair


@dataclass(frozen=True, eq=False)
class _Sample:
    """Entries whose neighbours are compared."""

    obs: Observations

    @classmethod
    def of(cls, obs: Observations) -> _Sample | None:
        return cls(obs) if obs.cells < COUNTABLE else None

    def ordered(self, axis: Axis) -> bool:
        """Whether values next to each other are alike beyond chance."""
        rough, surely = self.roughness(axis)
        return bool(rough < 1 and surely > SURE)

    def roughness(self, axis: Axis) -> tuple[float, float]:
        """Mean squared difference of neighbours over that of any two entries of a series, and by how many standard errors it is below 1.

        Neighbours are entries next to each other among those seen of a series, whatever lies between them.
        """
        series, ranks = axis.series(self.obs.coords, self.obs.shape), axis.ranks(self.obs.coords)
        order = np.argsort(series * axis.length + ranks, kind="stable")
        numbers = np.cumsum(np.concatenate([[0], np.diff(series[order]) != 0]))
        if len(order) > PAIRS:  # whole series, or the first part of the longest
            pick = numbers < np.searchsorted(np.cumsum(np.bincount(numbers)), PAIRS, side="right") + 1
            order, numbers = order[pick][: 2 * PAIRS], numbers[pick][: 2 * PAIRS]
        values, counts = alike(self.obs.values[order], numbers)
        usable = (numbers[1:] == numbers[:-1]) & (counts[numbers[1:]] > 2)
        steps = 0.5 * np.diff(values)[usable] ** 2
        if len(steps) < FEWEST:
            return np.nan, 0.0
        far = values[counts[numbers] > 2] ** 2
        chance = float(far.mean())
        if not chance > 0:
            return np.nan, 0.0
        spread = float(np.hypot(steps.std() / np.sqrt(len(steps)), far.std() / np.sqrt(len(far))))
        return float(steps.mean()) / chance, (chance - float(steps.mean())) / max(spread, 1e-300)

    def goes_on(self, slow: Axis, fast: Axis) -> float:
        """By how many standard errors the data say that a row of `fast` goes on in the next one of `slow`; at most 0 where they do not.

        With rows ``i`` of `slow`, and ``first``, ``last`` of `fast`, the step over the fold, from ``(i, last)`` to
        ``(i + 1, first)``, has to be nearer to a step within a row than to what lies as far apart as a row is long:
        ``(i, first)`` to ``(i, last)``, and ``(i, first)`` to ``(i + 1, last)``, which must be the larger. Each value is
        taken from the mean of its place in the row, so that what all days have in common says nothing.
        """
        obs = self.obs
        row, place = slow.ranks(obs.coords), fast.ranks(obs.coords)
        length, rows = fast.length, slow.length
        ends = (place < 2) | (place >= length - 2)
        row, place, values = row[ends], place[ends], obs.values[ends]
        off = [m for m in range(obs.order) if m not in slow.modes + fast.modes]
        others = np.zeros(len(row), np.int64)
        for m in off:
            others = others * obs.shape[m] + obs.coords[m][ends]
        place = np.where(place < 2, place, place - length + 4)  # 0 and 1 the first, 2 and 3 the last
        key = others * 4 + place
        numbers = np.unique(key, return_inverse=True)[1].ravel()
        order = np.argsort(numbers, kind="stable")
        clean = np.empty(len(values))
        clean[order] = alike(values[order], numbers[order])[0]
        cell = (others * rows + row) * 4 + place
        order = np.argsort(cell, kind="stable")
        cell, clean, row = cell[order], clean[order], row[order]

        def apart(one: int, other: int, step: int) -> np.ndarray:
            """Mean squared difference of each row's cells at place `one` from those at place `other`, `step` rows on; NaN where none."""
            here = cell % 4 == one
            wanted = cell[here] + (other - one) + 4 * step
            at = np.minimum(np.searchsorted(cell, wanted), len(cell) - 1)
            seen = (cell[at] == wanted) & (row[here] + step < rows)
            if step:
                near = np.diff(np.unique(slow.positions)) <= 1.5 * _step(slow.positions)
                seen &= near[np.minimum(row[here], rows - 2)]  # days that follow each other
            squares = (clean[here] - clean[at])[seen] ** 2
            which = row[here][seen]
            with np.errstate(invalid="ignore"):
                return np.bincount(which, squares, rows) / np.bincount(which, minlength=rows)

        if not len(cell) or rows < 2:
            return 0.0
        fold, within = apart(3, 0, 1), 0.5 * (apart(0, 1, 0) + apart(2, 3, 0))
        surely = np.inf
        for far in (apart(0, 3, 0), apart(0, 3, 1)):
            for each in (0.5 * (within + far) - fold, far - within):
                each = each[np.isfinite(each)]
                if len(each) < FEWEST // 3:
                    return 0.0
                surely = min(surely, float(each.mean()) / max(float(each.std()), 1e-300) * np.sqrt(len(each)))
        return surely


def alike(values: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values from their series' means, in its standard deviations, cut at `CLIP` of these; and the entries of each series.

    `numbers` are those of the series, which stand one after another.
    """
    counts = np.bincount(numbers)
    values = values.astype(float)
    top = np.abs(values).max(initial=0.0)
    if top > 0:
        values = values / top  # squares of 1e200 overflow
    values = values - (np.bincount(numbers, values) / np.maximum(counts, 1))[numbers]
    spread = np.sqrt(np.bincount(numbers, values**2) / np.maximum(counts - 1, 1))
    floor = 1e-12  # of the largest value: rounding is no variation
    return np.clip(np.where(spread[numbers] > floor, values / np.maximum(spread[numbers], floor), 0.0), -CLIP, CLIP), counts
