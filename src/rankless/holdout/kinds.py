"""`Kinds`: what kinds of missing cells there are, by how far each lies from what was seen; and entries left out of each kind.

    single cells     others of their series were seen just before and after
    runs             among cells missing on end along an ordered axis, more of them than chance leaves
    fibres           every cell along a mode is missing: all pollutants of a station at an hour
    pairs            the same, where the mode is the long one: a station that never measured ozone

Errors differ many times between them, so each kind has to be learned from entries that were left out as its cells lie. A kind's own
cells are the pattern: they are moved, along an ordered axis by a random stretch and to random slices of the longest other mode, and
what was observed there is left out. Length and shape of gaps are then those of the data. Slices of shorter modes are kept, as the
few slices of a mode are seldom alike: what ozone costs at a station without ozone is told by ozone at other stations.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from rankless.holdout.gaps import FEWEST, MOST_CELLS, SMOOTH, kept_slices, runs_in
from rankless.holdout.pieces import of_picture
from rankless.tensors.axes import Axes, Axis
from rankless.tensors.observations import Observations, along

LEAST = 0.01  # share of the missing cells, beyond chance, from which fibres or runs are a kind of their own
SURE = 4.0  # standard errors of that share
CHANCE = 0.02  # share of cells missing at random that lie in runs of the length from which a run is one, at most
ENOUGH, FEW = 100, 3  # gaps of a kind that are to be left out, and the number that may take more than `SHARE`
LITTLE = 0.02  # share of the entries up to which more gaps are left out than that: it costs the refit next to nothing
SHARE, MOST = 0.08, 0.25  # of the entries that are left out of a kind, and of all kinds together, at most
LONE = 0.05  # share of the entries left out one by one
OF_SLICE = 0.35  # of the entries of a slice that may be left out, at most
MOVES = 60  # of a pattern, at most


@dataclass(frozen=True)
class Kind:
    """Cells of fibres missing as a whole along the modes `whole`, or in runs, or by themselves."""

    whole: tuple[int, ...] = ()
    run: bool = False


@dataclass(frozen=True, eq=False)
class Kinds:
    """The kinds of missing cells of an array; number 0 is that of single cells, and of all that were observed.

    Attributes
    ----------
    kinds : the kinds; where cells are of several, the last one counts.
    missing : bool, shape `shape`: the cells to fill, without those of slices never seen.
    cells : bool, shape `shape`: where there are cells.
    axis : the axis along which runs lie, or None.
    shortest : cells on end from which they are a run.
    smooth : modes that are smooth axes by themselves.
    """

    kinds: tuple[Kind, ...]
    missing: np.ndarray
    cells: np.ndarray
    axis: Axis | None
    shortest: int
    smooth: tuple[int, ...]

    @classmethod
    def of(cls, obs: Observations) -> Kinds | None:
        """None where all missing cells are single ones, or the array is too large for its pattern to be looked at.

        >>> array = np.ones((20, 30, 5))
        >>> array[np.random.default_rng(0).random(array.shape) < 0.1] = np.nan
        >>> Kinds.of(Observations.from_array(array)) is None
        True
        >>> array[3, :, 4] = np.nan
        >>> Kinds.of(Observations.from_array(array)).kinds
        (Kind(whole=(), run=False), Kind(whole=(1,), run=False))
        """
        if obs.cells > MOST_CELLS:
            return None
        cells = np.ones(obs.shape, bool) if obs.where is None else obs.where
        for mode in range(obs.order):
            cells = cells & along(obs.counts(mode) > 0, mode, obs.order)
        missing = cells & ~obs.observed()
        if missing.sum() < FEWEST:
            return None
        axes = [axis for axis in Axes.of(obs).axes if axis.origin in ("asked", "labels") or axis.roughness < SMOOTH]
        smooth = tuple(axis.modes[0] for axis in axes if len(axis.modes) == 1)
        whole = [Kind(modes) for modes in _fibres(missing, cells)]
        lone = missing & ~_any([_whole(missing, cells, kind.whole) for kind in whole], missing.shape)
        axis, shortest = _runs(lone, cells, axes)
        run = [Kind(run=True)] if axis is not None else []
        found = cls((Kind(), *run, *whole), missing, cells, axis, shortest, smooth)
        while True:  # a kind that has hardly a cell left is none
            counts = np.bincount(found.labels(missing)[missing], minlength=len(found.kinds))
            rare = [number for number in range(1, len(counts)) if counts[number] < FEWEST]
            if not rare:
                break
            found = cls(tuple(k for n, k in enumerate(found.kinds) if n != rare[0]), missing, cells, axis, shortest, smooth)
        return found if len(found.kinds) > 1 else None

    @cached_property
    def counts(self) -> np.ndarray:
        """Missing cells of each kind."""
        return np.bincount(self.of_cells[self.missing], minlength=len(self.kinds))

    @cached_property
    def of_cells(self) -> np.ndarray:
        """The kind of every cell, shape `shape`, int8."""
        return self.labels(self.missing)

    def labels(self, missing: np.ndarray) -> np.ndarray:
        """The kind of every cell where the cells `missing` are missing."""
        found = np.zeros(missing.shape, np.int8)
        for number, kind in enumerate(self.kinds):
            if kind.run and self.axis is not None:
                found[_in_runs(missing, self.axis, self.shortest)] = number
            elif kind.whole:
                found[_whole(missing, self.cells, kind.whole)] = number
        return found

    def of_left_out(self, entries: Observations, rest: Observations) -> np.ndarray:
        """The kinds of `entries` where `rest` is all that was seen, shape ``(n,)``."""
        return self.labels(self.cells & ~rest.observed())[tuple(entries.coords)]

    def in_words(self, kind: Kind, modes: Sequence[str]) -> str:
        """What a kind is called."""
        if kind.run and self.axis is not None:
            return f"runs along {self.axis.name}"
        if not kind.whole:
            return "single cells"
        others = " x ".join(modes[mode] for mode in range(len(modes)) if mode not in kind.whole)
        never = self.never_seen(self.kinds.index(kind))
        return f"{others} never seen" if never else f"whole fibres along {' and '.join(modes[m] for m in kind.whole)}"

    def never_seen(self, number: int) -> bool:
        """Whether cells of a kind are those of slices never seen together: missing along the longest mode, as a whole."""
        return int(np.argmax(self.missing.shape)) in self.kinds[number].whole

    # --- entries left out ---------------------------------------------------------------------------

    def mask(
        self,
        obs: Observations,
        rng: np.random.Generator,
        *,
        single: bool = True,
        of: Sequence[int] | None = None,
        but: np.ndarray | None = None,
    ) -> np.ndarray:
        """Which entries to leave out so that there are some of every kind, or of the kinds `of`, `but` for some entries.

        None by itself where not `single`.
        """
        out = np.zeros(obs.shape, bool)
        seen = obs.observed()
        if but is not None:
            seen[tuple(obs.coords[:, but])] = False
        room, taken = MOST * obs.size, 0
        for number in reversed(range(1, len(self.kinds)) if of is None else of):  # those that lie farthest from what was seen first
            pattern = self.of_cells == number
            pattern &= self.missing
            for cells in self._moved(self.kinds[number], pattern, seen, rng):
                here = tuple(axis[~out[cells]] for axis in cells)
                if taken + len(here[0]) > room:
                    break
                out[here] = True
                taken += len(here[0])
        mask = out[tuple(obs.coords)]
        if single and self.counts[0]:
            lone = np.flatnonzero(~mask)
            mask[rng.permutation(lone)[: round(LONE * obs.size)]] = True
        return kept_slices(obs, mask)

    def _moved(self, kind: Kind, pattern: np.ndarray, seen: np.ndarray, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, ...]]:
        """Where else the pattern of a kind could lie: the observed cells of a gap, and of another one, until there are enough gaps."""
        rest = [mode for mode in range(pattern.ndim) if mode not in kind.whole]
        if kind.whole and len(rest) > 1 and set(rest) <= set(self.smooth):
            entries = seen.sum(axis=kind.whole)
            hidden = of_picture(np.asarray(pattern.any(axis=kind.whole)), entries, SHARE, rng)
            yield np.nonzero(np.broadcast_to(np.expand_dims(hidden, kind.whole), pattern.shape) & seen)
            return
        entries, gaps, little, most = 0, 0, LITTLE * seen.sum(), SHARE * seen.sum()
        slices = [seen.sum(axis=tuple(m for m in range(seen.ndim) if m != mode)) for mode in range(seen.ndim)]
        taken = [np.zeros(len(each), np.int64) for each in slices]
        for _ in range(MOVES):
            coords = np.stack(np.nonzero(self._once(pattern, kind, rest, rng) & seen))
            numbers = self._gaps(kind, coords)
            order = np.argsort(numbers, kind="stable")
            own = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1) if len(order) else []
            for gap in rng.permutation(len(own)):
                cells, size = coords[:, own[gap]], len(own[gap])
                each = [np.bincount(c, minlength=len(s)) for c, s in zip(cells, slices, strict=True)]
                if any((taken[m] + each[m] > OF_SLICE * slices[m])[each[m] > 0].any() for m in rest):
                    continue
                if (gaps >= ENOUGH and entries >= little) or (entries + size > most and gaps >= FEW):
                    return
                entries, gaps = entries + size, gaps + 1
                taken = [t + e for t, e in zip(taken, each, strict=True)]
                yield tuple(cells)

    def _once(self, pattern: np.ndarray, kind: Kind, rest: Sequence[int], rng: np.random.Generator) -> np.ndarray:
        """The pattern moved once: along ordered axes by a stretch, to other slices of the other modes."""
        on_axis = set(self.axis.modes) if self.axis is not None and not set(self.axis.modes) & set(kind.whole) else set()
        free = [mode for mode in rest if mode not in on_axis and mode not in self.smooth]
        moved = pattern
        if free:
            longest = max(free, key=lambda mode: pattern.shape[mode])
            moved = np.take(moved, rng.permutation(pattern.shape[longest]), axis=longest)
        if on_axis and self.axis is not None:
            lines = _lines(moved, self.axis)
            ends = lines[..., 0].sum() + lines[..., -1].sum()
            if not free or 2 * ends <= lines.any(axis=-1).sum():  # gaps at the ends of a series stay there
                moved = _folded(np.roll(lines, int(rng.integers(1, lines.shape[-1])), axis=-1), self.axis, pattern.shape)
        for mode in rest:
            if mode in self.smooth and mode not in on_axis:
                moved = np.roll(moved, int(rng.integers(pattern.shape[mode])), axis=mode)
        return moved

    def _gaps(self, kind: Kind, coords: np.ndarray) -> np.ndarray:
        """The number of the gap in which each cell lies: cells on end along the axis, and of whole fibres, are one."""
        return gaps_of(kind, self.axis, coords, self.missing.shape)

    def gaps_left_out(self, number: int, coords: np.ndarray) -> int:
        """How many gaps of a kind some cells make up."""
        return len(np.unique(self._gaps(self.kinds[number], coords)))

    def gaps(self, numbers: np.ndarray, coords: np.ndarray) -> np.ndarray:
        """The number of the gap in which each of some cells lies, whose kinds are `numbers`; single cells are gaps of one."""
        found, count = np.arange(coords.shape[1]), coords.shape[1]
        for number in np.unique(numbers[numbers > 0]):
            own = numbers == number
            found[own] = count + self._gaps(self.kinds[number], coords[:, own])
            count = int(found.max(initial=0)) + 1
        return np.unique(found, return_inverse=True)[1].ravel()


def gaps_of(kind: Kind, axis: Axis | None, coords: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A number for the gap in which each cell lies."""
    on_axis = axis is not None and not set(axis.modes) & set(kind.whole)
    left = [m for m in range(len(shape)) if m not in kind.whole and not (on_axis and axis is not None and m in axis.modes)]
    series = np.zeros(coords.shape[1], np.int64)
    if left:
        series = np.asarray(np.ravel_multi_index(tuple(coords[left]), tuple(shape[m] for m in left)))
    if not on_axis or axis is None:
        return np.unique(series, return_inverse=True)[1].ravel()
    ranks = axis.ranks(coords)
    order = np.lexsort((ranks, series))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(series[order]) != 0) | (np.diff(ranks[order]) > 1)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(new) - 1
    return numbers


def _any(masks: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    found = np.zeros(shape, bool)
    for mask in masks:
        found |= mask
    return found


def _whole(missing: np.ndarray, cells: np.ndarray, modes: tuple[int, ...]) -> np.ndarray:
    """Missing cells whose fibre along `modes` has no cell that was seen."""
    return missing & ~(cells & ~missing).any(axis=modes, keepdims=True)


def _fibres(missing: np.ndarray, cells: np.ndarray) -> list[tuple[int, ...]]:
    """Modes, one or several, along which fibres are missing as a whole more often than chance leaves them, the shortest first."""
    count, share = missing.sum(), missing.sum() / max(cells.sum(), 1)
    single = []
    for mode, size in enumerate(missing.shape):
        if size < 2:
            continue
        chance = share ** (size - 1) * count
        beyond = int(_whole(missing, cells, (mode,)).sum()) - chance
        if beyond > max(FEWEST, SURE * np.sqrt(chance * size), min(LEAST * count, size - 1)):
            single.append(mode)
    several = [modes for length in range(1, missing.ndim - 1) for modes in combinations(single, length)]
    return sorted(several, key=lambda modes: float(np.prod([missing.shape[m] for m in modes])))


def _runs(missing: np.ndarray, cells: np.ndarray, axes: Sequence[Axis]) -> tuple[Axis | None, int]:
    """The axis along which most cells are missing in runs, and the length of these; None where chance explains them."""
    count, share = missing.sum(), missing.sum() / max(cells.sum(), 1)
    if count < FEWEST or share > 0.9:
        return None, 0
    shortest = 2
    while share ** (shortest - 1) * (shortest - (shortest - 1) * share) > CHANCE:
        shortest += 1
    chance = share ** (shortest - 1) * (shortest - (shortest - 1) * share) * count
    by_chance = chance + SURE * np.sqrt(chance * (shortest + 1 / (1 - share)))  # runs are as many as their cells over their length
    best, found = max(FEWEST, by_chance, LEAST * count), None
    for axis in axes:
        inside = int(_in_runs(missing, axis, shortest).sum()) if axis.length > 2 * shortest else 0
        if inside > best:
            best, found = inside, axis
    return found, shortest


def _lines(array: np.ndarray, axis: Axis) -> np.ndarray:
    """`array` with the cells of the axis last, in their order."""
    moved = np.moveaxis(array, axis.modes, range(-len(axis.modes), 0))
    flat = moved.reshape(*moved.shape[: array.ndim - len(axis.modes)], -1)
    return flat[..., np.argsort(axis.positions, kind="stable")]


def _folded(lines: np.ndarray, axis: Axis, shape: tuple[int, ...]) -> np.ndarray:
    """The array of which `lines` are those."""
    flat = np.empty_like(lines)
    flat[..., np.argsort(axis.positions, kind="stable")] = lines
    moved = flat.reshape(*lines.shape[:-1], *(shape[m] for m in axis.modes))
    return np.moveaxis(moved, range(-len(axis.modes), 0), axis.modes)


def _in_runs(missing: np.ndarray, axis: Axis, shortest: int) -> np.ndarray:
    """Missing cells that lie in runs of `shortest` or more along the axis."""
    lines = _lines(missing, axis)
    starts, stops = runs_in(lines)
    long = stops - starts >= shortest
    marks = np.zeros(lines.size + lines.size // lines.shape[-1] + 1, np.int64)
    marks[starts[long]] += 1
    marks[stops[long]] -= 1
    inside = np.cumsum(marks)[:-1].reshape(*lines.shape[:-1], -1)[..., :-1] > 0
    return _folded(inside, axis, missing.shape)
