"""`Gaps`: how missing cells come, and a hold-out that comes the same way.

Cells missing at random have neighbours that were seen, and so have random held-out entries. Where a
sensor was off for days, whole fibres of the array are missing, or runs of them, and random held-out
entries tell nothing of the error there. The pattern alone says which it is. For a missing cell, let
`q` be the share of cells missing:

- the others of its fibre along a mode of size `d` are all missing by chance with probability ``q^(d-1)``;
- the next one along a mode is missing by chance with probability `q`.

What is seen of either beyond chance, as a share of what could be, has to be more than half.

A pattern that is the same in all slices of a mode, such as the bands of scattered light in every sample of a fluorescence spectrum, is
a picture on the `plane` of the others. If these are ordered, runs drawn anywhere on it would hide what no missing cell hides: a whole
peak. So entries are held out as the picture lies: pieces of it that touch no end of a mode are moved elsewhere, and pieces that do,
which can lie nowhere else, are grown on all sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.holdout.pieces import of_picture
from rankless.tensors.axes import Axes
from rankless.tensors.observations import Observations, along

MOST = 0.5  # share of the missing cells, beyond chance, from which they are said to come as fibres or runs
FEWEST = 10  # missing fibres or cells below which a pattern is none
ENOUGH, MOST_HELD = 20, 0.3  # gaps that are to be held out, and share of all entries that may be for it
LENGTHS = 40  # quantiles of the lengths of runs that are kept
MOST_CELLS = 50_000_000  # cells of an array whose pattern is looked at
SMOOTH = 0.5  # roughness of an axis, below which pieces of a picture keep their place along it


@dataclass(frozen=True)
class Gaps:
    """Missing cells come as whole fibres along `whole`, and as runs of these along `run`, or as a picture on `plane`.

    A run goes on by chance for `length` fibres. Where runs meet they are longer: in runs of each of `lengths`, none above half the mode,
    equal parts of the missing fibres lie, and in such runs entries are held out. In runs of `length` they would lie half as far from what
    was seen as missing cells do where six tenths are missing.
    """

    whole: tuple[int, ...]
    run: int | None
    length: int
    plane: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()

    @classmethod
    def of(cls, obs: Observations) -> Gaps | None:
        """The pattern of what is missing, None where cells are missing one by one, or nobody can tell.

        >>> import numpy as np
        >>> array = np.ones((20, 30, 5))
        >>> array[np.random.default_rng(0).random((20, 30)) < 0.3] = np.nan
        >>> Gaps.of(Observations.from_array(array))
        Gaps(whole=(2,), run=None, length=1, plane=(), lengths=())
        """
        if obs.cells > MOST_CELLS:
            return None
        missing = ~obs.observed() if obs.where is None else obs.where & ~obs.observed()
        for mode in range(obs.order):  # slices never seen are no part of the pattern
            missing = np.compress(obs.counts(mode) > 0, missing, axis=mode)
        whole: list[int] = []
        while len(whole) < obs.order - 2:
            trials = [(_as_fibres(missing, mode), -mode) for mode in range(obs.order) if mode not in whole]
            share, mode = max(trials)
            if share < MOST:
                break
            whole.append(-mode)
            missing = np.all(missing, axis=-mode, keepdims=True)
        share, mode = max((_as_runs(missing, mode), -mode) for mode in range(obs.order) if mode not in whole)
        if missing.sum() < FEWEST:
            return None
        plane = tuple(mode for mode in range(obs.order) if mode not in whole)
        if whole and len(plane) > 1 and all(_smooth(obs, plane)):
            return cls(tuple(sorted(whole)), None, 1, plane)
        half = max(1, obs.shape[-mode] // 2)
        length = min(round(1 / max(1 - share, 1 / half)), half)
        if share >= MOST and length > 1:
            return cls(tuple(sorted(whole)), -mode, length, lengths=_lengths(missing, -mode, half))
        return cls(tuple(sorted(whole)), None, 1) if whole else None

    def numbers(self, coords: np.ndarray, shape: Sequence[int]) -> np.ndarray:
        """The number of the gap in which each cell lies, shape ``(n,)``, if fibres are cut into stretches of `length` along `run`."""
        places = [np.zeros_like(c) if mode in self.whole else c for mode, c in enumerate(coords)]
        if self.run is not None:
            places[self.run] = places[self.run] // self.length
        return np.asarray(np.ravel_multi_index(places, tuple(shape)))

    def share(self, obs: Observations, share: float) -> float:
        """The share of the entries to hold out: `share`, or more where that is fewer than `ENOUGH` gaps, up to `MOST_HELD`."""
        entries = obs.share * self._mean_length * float(np.prod([obs.shape[mode] for mode in self.whole]))
        return max(share, min(ENOUGH * entries / obs.size, MOST_HELD))

    @property
    def _mean_length(self) -> float:
        return 1.0 / float(np.mean(1.0 / np.array(self.lengths))) if self.lengths else self.length

    def split(self, obs: Observations, share: float, rng: np.random.Generator) -> tuple[Observations, Observations] | None:
        """Entries to fit, and `share` of all or enough for `ENOUGH` gaps to judge on; None where none can be held out."""
        mask = self.mask(obs, self.share(obs, share), rng)
        return (obs.subset(~mask), obs.subset(mask)) if mask.any() else None

    def mask(self, obs: Observations, share: float, rng: np.random.Generator) -> np.ndarray:
        """Which entries to hold out: whole fibres, in runs, about `share` of all; no slice is left without an entry."""
        if self.plane:
            return kept_slices(obs, self._picture(obs, share, rng))
        shape = tuple(1 if mode in self.whole else d for mode, d in enumerate(obs.shape))
        along = next(m for m in range(obs.order) if m not in self.whole) if self.run is None else self.run
        shape = (*shape[:along], *shape[along + 1 :], shape[along])  # the mode of the runs last
        coords = [np.zeros_like(c) if mode in self.whole else c for mode, c in enumerate(obs.coords)]
        coords = [*coords[:along], *coords[along + 1 :], coords[along]]
        fibre = np.ravel_multi_index(coords, shape)
        seen = np.bincount(fibre, minlength=int(np.prod(shape))).reshape(-1, shape[-1])  # entries of each
        line, first, sizes = self._windows(seen > 0, rng)

        def held(count: int) -> np.ndarray:
            ends = np.zeros((len(seen), shape[-1] + 1), dtype=np.int64)
            np.add.at(ends, (line[:count], first[:count]), 1)
            np.add.at(ends, (line[:count], first[:count] + sizes[:count]), -1)
            return np.cumsum(ends, axis=1)[:, :-1] > 0

        few, many = 0, len(line)
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if seen[held(middle)].sum() >= share * obs.size else (middle, many)
        return kept_slices(obs, held(many).reshape(-1)[fibre])

    def _windows(self, seen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where runs may be held out, in the order in which they are: line, first place and length of each, shape ``(n,)``.

        `seen` says of which fibres there are entries, lines by places. Before and after a run something was seen, or the line ends there,
        so that what is held out lies in gaps as long as those that there are: a run beside missing cells would make one with them.
        """
        if not self.lengths:
            line, first = np.divmod(rng.permutation(seen.size), seen.shape[1])
            return line, first, np.ones(seen.size, dtype=np.int64)
        beside = np.pad(seen, [(0, 0), (1, 1)], constant_values=True)
        within = np.pad(np.cumsum(seen, axis=1, dtype=np.int32), [(0, 0), (1, 0)])

        def windows(length: int) -> tuple[np.ndarray, np.ndarray]:
            """Where runs of a length may be held out, flat, and how many fibres seen lie in each."""
            inside = within[:, length:] - within[:, :-length]
            fits = np.flatnonzero(beside[:, : -length - 1] & beside[:, length + 1 :] & (inside > 0))
            return fits, inside.ravel()[fits]

        lengths, counts = np.unique(self.lengths, return_counts=True)
        inside = [float(each.mean()) if len(each) else np.inf for each in (windows(length)[1] for length in lengths)]
        shares = counts / np.array(inside)  # of what is held out as much is to lie in runs of each length as of what is missing
        drawn = rng.choice(len(lengths), seen.size, p=shares / shares.sum()) if shares.any() else np.zeros(0, dtype=np.int64)
        sizes, line, first = lengths[drawn], np.full(len(drawn), -1), np.zeros(len(drawn), dtype=np.int64)
        for n in np.unique(drawn):
            places = rng.permutation(windows(int(lengths[n]))[0])
            own = np.flatnonzero(drawn == n)[: len(places)]
            line[own], first[own] = np.divmod(places[: len(own)], seen.shape[1] - lengths[n] + 1)
        return line[line >= 0], first[line >= 0], sizes[line >= 0]

    def _picture(self, obs: Observations, share: float, rng: np.random.Generator) -> np.ndarray:
        """Which entries lie where the picture of the missing fibres was moved or grown to."""
        seen = np.zeros([obs.shape[mode] for mode in self.plane], np.int64)
        places = tuple(obs.coords[mode] for mode in self.plane)
        np.add.at(seen, places, 1)
        cells = np.ones(seen.shape, bool) if obs.where is None else obs.where.any(axis=self.whole)
        for place, mode in enumerate(self.plane):  # slices never seen are no part of the picture
            cells = cells & along(obs.counts(mode) > 0, place, len(self.plane))
        return of_picture(cells & (seen == 0), seen, share, rng)[places]


def kept_slices(obs: Observations, mask: np.ndarray) -> np.ndarray:
    """`mask`, entries to hold out, without those of slices that would be left without an entry; see `Observations.kept_modes`."""
    for mode in obs.kept_modes:
        coordinate = obs.coords[mode]
        left = np.bincount(coordinate[~mask], minlength=obs.shape[mode])
        mask = mask & (left[coordinate] > 0)
    return mask


def _smooth(obs: Observations, modes: Sequence[int]) -> list[bool]:
    """Whether each of the modes is a smooth axis by itself."""
    axes = Axes.of(obs)
    own = [axes.of_mode(mode) for mode in modes]
    return [axis is not None and len(axis.modes) == 1 and axis.roughness < SMOOTH for axis in own]


def _as_fibres(missing: np.ndarray, mode: int) -> float:
    """Share of the missing cells that lie in wholly missing fibres along a mode, beyond chance."""
    size = missing.shape[mode]
    if size < 2 or not missing.any():
        return 0.0
    share = missing.all(axis=mode).sum() * size / missing.sum()
    chance = missing.mean() ** (size - 1)
    return float((share - chance) / (1 - chance)) if chance < 1 else 0.0


def runs_in(lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where runs along the last axis start and stop, as places in all lines on end, each of them one place longer."""
    longer = np.pad(lines, [(0, 0)] * (lines.ndim - 1) + [(0, 1)])
    steps = np.diff(longer.ravel().astype(np.int8), prepend=0)
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def _lengths(missing: np.ndarray, mode: int, most: int) -> tuple[int, ...]:
    """The lengths, up to `most`, of the runs along a mode in which missing cells lie: `LENGTHS` quantiles of the cells."""
    starts, stops = runs_in(np.moveaxis(missing, mode, -1))
    runs = np.sort(stops - starts)
    cells = np.cumsum(runs)
    places = np.searchsorted(cells, (np.arange(LENGTHS) + 0.5) / LENGTHS * cells[-1])
    return tuple(np.minimum(runs[places], most).tolist())


def _as_runs(missing: np.ndarray, mode: int) -> float:
    """How often the next cell along a mode is missing where one is, beyond chance."""
    lines = np.moveaxis(missing, mode, -1)
    before = lines[..., :-1]
    chance = missing.mean()
    if not before.any() or chance == 1:
        return 0.0
    share = (before & lines[..., 1:]).sum() / before.sum()
    return float((share - chance) / (1 - chance))
