"""Intervals that cover, and scores on entries no choice has seen: split-conformal calibration.

    half width at a cell  =  q(coverage) s(cell),      q = the ceil((n + 1) coverage)-th least of |error_j| / s_j

over `n` calibration entries [papadopoulos2002, lei2018]. These chose nothing: penalty, depth, shares and
neighbours were chosen on other, held-out entries, which also taught `s` (`rankless.answer.difficulty`). Every fit
of the answer is made again without the calibration entries: a twentieth of all, and where that is few, without another
twentieth, and so on (tenths of few entries) [vovk2015], for a fit without a third of them errs more than the answer. Where a missing cell
is like an observed one taken at random, it then lies in its interval with probability `coverage` or a little more, because the
answer itself knows more entries: without a tenth, Birmingham's intervals at 0.5 held 0.525.

Where missing cells are of several kinds, single ones, runs, whole fibres, pairs never seen together (`rankless.holdout.kinds`),
entries of every kind are left out, in one refit more, and each kind has a `q` of its own. Entries of a gap err together: a handful
of gaps tells `q` no better than as many entries would, and so it is larger by a quantile of Student's t over that of a normal,

    degrees of freedom  =  2 m^2 / var m,      m the mean of error^2 / s^2 over gaps [satterthwaite1946]
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rankless.answer.difficulty import ByMean, Difficulty
from rankless.holdout.gaps import Gaps
from rankless.holdout.kinds import Kinds
from rankless.holdout.scoring import Errors
from rankless.runtime.workers import Workers
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.link import Units

LEAST_SHARE, SHARE, MOST_SHARE = 0.05, 0.1, 0.3  # of the entries that calibrate at a time, at least, of few, of few that come as gaps
TURNS = 4  # parts of the least share that a fit is made again without; where these are too few entries, parts are larger
PAIRS, MORE = 20, 2  # pairs never seen that are to calibrate, and refits more that may be made for it
FEWEST, MOST = 500, 10_000  # calibration entries that are aimed at, and what they are at most


NONE = "of {} observed entries none can be spared to calibrate intervals on; observe more a slice"


class Answer(Protocol):
    """What is calibrated: what was chosen, which can be fitted again to other entries."""

    @property
    def gaps(self) -> Gaps | None: ...
    @property
    def errors(self) -> Errors: ...
    @property
    def loss(self) -> Units | None: ...
    def again(self, obs: Observations, rng: np.random.Generator, workers: Workers, *, gaps: bool = False) -> Answer: ...
    def expected(self, indices: np.ndarray) -> np.ndarray: ...


class TooFew(ValueError):
    """There are too few entries to promise what was asked."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Errors of the answer's choices at entries that neither they nor their components have seen."""

    entries: Observations
    errors: np.ndarray  # (n,): value less what was said, in the units of the fit
    sizes: np.ndarray  # (n,): their expected sizes, up to a factor
    difficulty: Difficulty | ByMean
    rest: Observations  # all entries but the first part held out: widths are computed from as much as was known of that part
    effects: MainEffects  # of `rest`
    by_kind: ByKind | None = None  # None where missing cells are all of one kind

    @classmethod
    def of(cls, found: Answer, obs: Observations, *, seed: np.random.Generator, workers: Workers) -> Calibration:
        """Calibrate `found`, the answer for `obs`."""
        held, errors = found.errors.entries, found.errors.residual
        difficulty = ByMean.of(found.loss)
        if difficulty is None:
            difficulty = Difficulty.of(held.coords, held.values - errors, errors, obs.subset(~_among(obs, held)))
        first, calibrating = None, np.zeros(obs.size, dtype=bool)
        wrong, sizes = np.zeros(obs.size), np.zeros(obs.size)
        kinds, parts = left_out(obs, seed, found.gaps, FEWEST)
        of_kind = np.zeros(obs.size, np.int8)
        for part, as_gaps in parts:
            rest, part = obs.subset(~part), part & ~calibrating
            entries = obs.subset(part)
            workers.tracker.stage(f"calibrating on {entries.size} entries")
            said = found.again(rest, seed, workers, gaps=as_gaps).expected(entries.indices)
            wrong[part], sizes[part] = entries.values - said, difficulty.at(entries.coords, said, rest)
            if kinds is not None:
                of_kind[part] = kinds.of_left_out(entries, rest)
            first, calibrating = rest if first is None else first, calibrating | part
        if first is None:
            raise TooFew(NONE.format(obs.size))
        entries = obs.subset(calibrating)
        by_kind = None if kinds is None else ByKind(kinds, entries, of_kind[calibrating])
        return cls(entries, wrong[calibrating], sizes[calibrating], difficulty, first, MainEffects.fit(first), by_kind)

    def half_widths(self, indices: np.ndarray, said: np.ndarray, unseen: Sequence[np.ndarray], coverage: float) -> np.ndarray:
        """Half widths at `indices`, where the answer is `said`, in the units of the fit.

        In slices without an entry, `unseen`, a mask a mode, nothing but other slices' spread is known: they are
        as wide as errors of main effects that do not know the slice.
        """
        size = self.difficulty.at(indices.T, said, self.rest)
        ratios = self.errors / self.sizes
        by = self.by_kind
        widths = size * (quantile(ratios, coverage) if by is None else by.quantiles(ratios, coverage)[by.at(indices)])
        bare = np.stack([mask[indices[:, mode]] for mode, mask in enumerate(unseen)])
        for kind in np.unique(bare[:, bare.any(axis=0)], axis=1).T:
            errors = self.entries.values - self.effects.at(self.entries.indices)
            for mode in np.flatnonzero(kind):
                errors = errors + self.effects.effects[mode][self.entries.coords[mode]]
            widths[(bare == kind[:, None]).all(axis=0)] = quantile(errors, coverage)
        return widths


@dataclass(frozen=True, eq=False)
class ByKind:
    """The kinds of the missing cells, and of the entries that calibrate."""

    kinds: Kinds
    entries: Observations
    of_entry: np.ndarray  # (n,): numbers of kinds

    def at(self, indices: np.ndarray) -> np.ndarray:
        """Numbers of kinds of cells, shape ``(n,)``."""
        return self.kinds.of_cells[tuple(indices.T)]

    @property
    def weights(self) -> np.ndarray:
        """Missing cells that each entry stands for, (n,), so that kinds count as they come among the missing cells."""
        left_out = np.bincount(self.of_entry, minlength=len(self.kinds.kinds))
        return (self.kinds.counts / np.maximum(left_out, 1))[self.of_entry]

    def quantiles(self, ratios: np.ndarray, coverage: float) -> np.ndarray:
        """Of each kind, the quantile of `ratios`, errors of the entries over their expected sizes.

        The largest of the others' stands for a kind of which too few entries could be left out.
        """
        gaps = self.kinds.gaps(self.of_entry, self.entries.coords)
        found = np.full(len(self.kinds.kinds), np.nan)
        for number in range(len(found)):
            own = self.of_entry == number
            if own.sum() >= math.ceil(coverage / (1 - coverage)):
                found[number] = quantile(ratios[own], coverage) * (inflation(ratios[own], gaps[own], coverage) if number else 1.0)
        if np.isnan(found).all():
            found[:] = quantile(ratios, coverage)
        return np.where(np.isnan(found), np.nanmax(found), found)


def several(obs: Observations) -> Kinds | None:
    """The kinds of missing cells, where there is more than one of them to fill."""
    kinds = Kinds.of(obs)
    return kinds if kinds is not None and (kinds.counts > 0).sum() > 1 else None


def left_out(
    obs: Observations, stream: np.random.Generator, gaps: Gaps | None, enough: int
) -> tuple[Kinds | None, Iterator[tuple[np.ndarray, bool]]]:
    """The kinds of the missing cells where there are several, and for each refit a mask of the entries that calibrate.

    With each mask comes whether its entries were left out as gaps. `gaps` is how most missing cells come, None where one by one: then
    single cells are calibrated as if there were no others, and one refit more tells of these.
    """
    kinds = several(obs)

    def parts() -> Iterator[tuple[np.ndarray, bool]]:
        if gaps is None:
            yield from ((part, False) for part in turns(obs, stream, enough))
        elif kinds is None:
            yield spared(obs, stream, gaps), True
        if kinds is None or not (mask := kinds.mask(obs, stream, single=gaps is not None)).any():
            return
        yield mask, True
        never = [number for number in range(1, len(kinds.kinds)) if kinds.never_seen(number) and kinds.counts[number]]
        used = np.zeros(obs.size, bool)
        for _ in range(MORE if never else 0):  # a pair is one number, and those left out at a time are few
            found = kinds.of_left_out(obs.subset(mask), obs.subset(~mask))
            used[np.flatnonzero(mask)[np.isin(found, never)]] = True
            if all(kinds.gaps_left_out(number, obs.coords[:, used]) >= PAIRS for number in never):
                return
            mask = kinds.mask(obs, stream, single=False, of=never, but=used)
            if not mask.any():
                return
            yield mask, True

    return kinds, parts()


def inflation(ratios: np.ndarray, gaps: np.ndarray, coverage: float) -> float:
    """By how much a quantile has to grow because its entries lie in few gaps, within which they err together.

    >>> errors = np.random.default_rng(0).normal(size=3000)
    >>> alone, three = np.arange(3000), np.arange(3000) // 1000
    >>> round(inflation(errors, alone, 0.9), 2), inflation(errors * (1 + 2 * (three == 2)), three, 0.9) > 1.2
    (1.0, True)
    """
    from scipy import stats

    numbers = np.unique(gaps, return_inverse=True)[1].ravel()
    sizes = np.bincount(numbers)
    if len(sizes) < 2:
        return float(stats.t.ppf((1 + coverage) / 2, 1) / stats.norm.ppf((1 + coverage) / 2))
    means = np.bincount(numbers, ratios**2) / sizes
    mean = float(np.average(means, weights=sizes))
    spread = len(sizes) / (len(sizes) - 1) * float(np.sum((sizes / sizes.sum()) ** 2 * (means - mean) ** 2))
    freedom = float(np.clip(2 * mean**2 / spread, len(sizes), 1e6)) if spread > 0 else 1e6  # a gap tells no less than one number
    return float(stats.t.ppf((1 + coverage) / 2, freedom) / stats.norm.ppf((1 + coverage) / 2))


def quantile(errors: np.ndarray, coverage: float) -> float:
    """The size of error that a new one exceeds with probability ``1 - coverage`` at most."""
    count = len(errors)
    rank = math.ceil((count + 1) * coverage)
    if rank > count:
        raise TooFew(
            f"coverage={coverage:g} needs {math.ceil(coverage / (1 - coverage))} calibration entries, and {count} can be spared; "
            f"pass coverage={math.floor(100 * count / (count + 1)) / 100:g} or less"
        )
    return float(np.partition(np.abs(errors), rank - 1)[rank - 1])


def spared(obs: Observations, stream: np.random.Generator, gaps: Gaps) -> np.ndarray:
    """A mask of the entries that calibrate, which come as missing cells do."""
    share = min(max(SHARE, FEWEST / obs.size), MOST_SHARE, max(MOST / obs.size, 1e-9))
    mask = gaps.mask(obs, share, stream)
    if not mask.any():
        raise TooFew(NONE.format(obs.size))
    return mask


def turns(obs: Observations, stream: np.random.Generator, enough: int) -> Iterator[np.ndarray]:
    """Masks of the entries that calibrate, a part at a time and none twice, as few as make `enough`."""
    share = min(float(np.clip(enough / (TURNS * obs.size), LEAST_SHARE, SHARE)), MOST / obs.size)
    left, spare = np.ones(obs.size, dtype=bool), 0
    for number in range(round(1 / share) - 1):
        if spare >= enough:
            break
        part = np.zeros(obs.size, dtype=bool)
        part[left] = _among(obs.subset(left), obs.subset(left).split(share / (1 - number * share), seed=stream)[1])
        left &= ~part
        spare += int(part.sum())
        if part.any():
            yield part
    if not spare:
        raise TooFew(NONE.format(obs.size))


def check_coverage(coverage: float) -> None:
    """Raise ValueError unless `coverage` is a probability."""
    if isinstance(coverage, bool) or not (isinstance(coverage, (int, float, np.number)) and 0 < coverage < 1):
        raise ValueError(f"coverage={coverage!r} is not a probability between 0 and 1; pass coverage=0.9 for nine in ten")


def _among(obs: Observations, part: Observations) -> np.ndarray:
    """Which entries of `obs` are in `part`; both are in canonical order."""
    both = np.concatenate([part.coords, obs.coords], axis=1)
    order = np.lexsort(both[::-1])
    same = (both[:, order[1:]] == both[:, order[:-1]]).all(axis=0)
    found = np.zeros(both.shape[1], dtype=bool)
    found[order[1:][same]] = True  # the sort is stable: the later of a pair is the one of `obs`
    return found[part.size :]
