"""A look at observations before any fit: what is there, and what is likely a mistake.

Missing is not zero. The two are often confused in files, so zeros that come in whole runs are
pointed out; whether they mean "not observed" only the owner of the data knows. So are values that stand for it by
custom, such as -9999, where they stand far outside the rest, and fibres never observed whose neighbours are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rankless.tensors import spelling
from rankless.tensors.observations import LARGE, Observations, is_mark

# Numbers that files write for "not observed": nines; the largest and least of whole numbers and of floats; NetCDF's fill values
# (https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html), and powers of ten that models use.
_NINES = (-99.0, -99.9, -99.99, -999.0, -999.9, -999.99, -9999.0, -9999.9, -99999.0, -999999.0)
_TOPS = (-(2.0**15), 2.0**15 - 1, 2.0**16 - 1, -(2.0**31), 2.0**31 - 1, 2.0**32 - 1, -(2.0**63), 2.0**63)
_HUGE = (1e20, -1e20, 1e30, -1e30, 1e34, -1e34, 1e35, 1e36, -1e36, 9.969209968386869e36, 3.4028234663852886e38, -3.4028234663852886e38)
KNOWN = (*_NINES, 99.0, 999.0, 999.9, 9999.0, 9999.9, 99999.0, 999999.0, *_TOPS, *_HUGE)
_NEAR = 0.5  # of the range of all other values, beyond which a known mark stands far outside them
_FAR = 3.0  # of it, beyond which another value that comes several times does
_OFTEN = 3  # times that such a value, or a two-digit one, has to be there
_DISTINCT = 5  # values that differ, at least, among the others: grades and signs have no outside
_MOST_MARKS = 6  # looked for
_FEW_SLICES = 50  # of a mode whose slices may be quantities with ranges of their own
_NAMED = 3  # fibres never observed whose names are said
_LIKELY = 1e-3  # fibres, at most, that chance would leave without an entry where some have none


@dataclass(frozen=True)
class Zeros:
    """Zeros among the observed values, and the fibres that are zero throughout."""

    count: int
    share: float
    mode: str
    runs: int
    fibres: int
    within: int  # zeros that lie in those runs


def empty_slices(obs: Observations, mode: int) -> np.ndarray:
    """Slices of `mode` without an observed entry.

    >>> empty_slices(Observations.from_array([[1.0, np.nan], [2.0, np.nan]]), 1).tolist()
    [1]
    """
    return np.flatnonzero(obs.counts(mode) == 0)


def constant_slices(obs: Observations, mode: int) -> np.ndarray:
    """Slices of `mode` whose observed entries, two or more, are all equal.

    >>> constant_slices(Observations.from_array([[7.0, 7.0], [1.0, 2.0]]), 0).tolist()
    [0]
    """
    counts = obs.counts(mode)
    several = np.flatnonzero(counts >= 2)
    if not len(several):
        return several
    values = obs.values[np.argsort(obs.coords[mode], kind="stable")]
    starts = np.cumsum(counts) - counts
    # reduceat needs no empty run: only slices with entries start one
    seen = np.flatnonzero(counts)
    span = np.maximum.reduceat(values, starts[seen]) - np.minimum.reduceat(values, starts[seen])
    return np.intersect1d(seen[span == 0], several)


def suspicious_zeros(obs: Observations) -> Zeros | None:
    """Zeros that fill whole fibres (all but one coordinate fixed), or None where there is no such fibre.

    Reported for the mode whose zero fibres, of two entries or more, hold most of the zeros.

    >>> suspicious_zeros(Observations.from_array([[0.0, 0.0, 0.0], [5.0, 0.0, 6.0]]))
    Zeros(count=4, share=0.6666666666666666, mode='mode_1', runs=1, fibres=2, within=3)
    """
    zero = obs.values == 0
    count = int(zero.sum())
    if count in (0, obs.size):  # all zero: constant data, said elsewhere
        return None
    best = None
    for mode in range(obs.order):
        found = Zeros(count, count / obs.size, obs.modes[mode], *_zero_fibres(obs, zero, mode))
        if found.within > (best.within if best else 0):
            best = found
    return best


def _zero_fibres(obs: Observations, zero: np.ndarray, mode: int) -> tuple[int, int, int]:
    """Of the fibres along `mode` with two entries or more: how many are zero throughout, how many there are, zeros in the former."""
    others = [m for m in range(obs.order) if m != mode]
    order = np.lexsort([obs.coords[m] for m in others])
    changes = np.zeros(obs.size, dtype=bool)
    changes[0] = True
    for m in others:
        coordinate = obs.coords[m][order]
        changes[1:] |= coordinate[1:] != coordinate[:-1]
    starts = np.flatnonzero(changes)
    lengths = np.diff(np.append(starts, obs.size))
    zeros = np.add.reduceat(zero[order].astype(np.int64), starts)
    several = lengths >= 2
    whole = several & (zeros == lengths)
    return int(whole.sum()), int(several.sum()), int(zeros[whole].sum())


# --- values that stand for "not observed" ---------------------------------------------------------


@dataclass(frozen=True)
class Mark:
    """A value that looks like a mark of the missing, how often it is there, and the range of all others."""

    value: float
    count: int
    low: float
    high: float

    def __str__(self) -> str:
        value, times = said(self.value), f"{self.count:,} times" if self.count > 1 else "once"
        return (
            f"value {value} is there {times}, far outside the others, {self.low:.4g} to {self.high:.4g}: if it means "
            f"'not observed', pass missing=[{value}] (--missing {value}); if it is a gross error, loss='huber'"
        )


def said(value: float) -> str:
    """A number as it has to be written to be found again.

    >>> said(-9999.0), said(1e20), said(-99.9)
    ('-9999', '1e+20', '-99.9')
    """
    text = f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.10g}"
    return text if float(text) == value or abs(value) > LARGE else repr(float(value))


def marks(obs: Observations) -> list[Mark]:
    """Values that look like marks of the missing: far outside all others, and written so by custom, or there several times.

    What is far is told by the range of the others: of rain and of counts the largest few lie far apart, but they do not
    repeat, and neither do they end in nines. A mark may also stand far outside the others of each slice in which it is,
    as -9999 does among ages beside incomes.

    >>> [str(mark)[:38] for mark in marks(Observations.from_array([[1.0, 2.0, 3.5], [-9999.0, 4.0, 2.5]]))]
    ['value -9999 is there once, far outside']
    """
    values, found = obs.values, []
    while len(found) < _MOST_MARKS and len(values):
        mark = _outermost(values, found)
        if mark is None:
            break
        found.append(mark)
        values = values[values != values.dtype.type(mark.value)]
    return [*found, *_within_slices(obs.subset(~np.isin(obs.values, [mark.value for mark in found])) if found else obs)]


def _outermost(values: np.ndarray, found: list[Mark]) -> Mark | None:
    """The least or the largest value, where it looks like a mark."""
    for end in sorted((values.min(), values.max()), key=lambda end: -abs(float(end) - float(np.median(values)))):
        others = values[values != end]
        if not len(others):
            return None
        low, high, count = float(others.min()), float(others.max()), len(values) - len(others)
        if _is_outside(float(end), count, low, high, others):
            return Mark(float(end), count, low, high)
    return None


def _is_outside(value: float, count: int, low: float, high: float, others: np.ndarray) -> bool:
    gap = low / 2 - value / 2 if value < low else value / 2 - high / 2  # halves: the largest doubles may be a mark
    width = high / 2 - low / 2
    if width <= 0 or len(np.unique(others[:: max(1, len(others) // 1000)])) < _DISTINCT:
        return False
    if is_known(value):
        if value < 0 <= low and abs(value) > 9:  # the only one below nothing
            return True
        return gap > _NEAR * width and (abs(value) > 100 or count >= _OFTEN or gap > _FAR * width)
    return count >= _OFTEN and gap > _FAR * width


def is_known(value: float) -> bool:
    """Whether a number is one that files write for "not observed", in double or single precision."""
    size = abs(value)
    return any(value == mark or abs(value - mark) <= 1e-6 * size for mark in KNOWN) if size >= 99 else False


def _within_slices(obs: Observations) -> Iterator[Mark]:
    """Known marks that stand far outside the other values of every slice in which they are, along a mode of few slices."""
    large = np.abs(obs.values) > LARGE  # where single precision may have changed the last digits
    there = {*np.unique(obs.values[np.isin(obs.values, np.array(KNOWN, dtype=obs.values.dtype))]).tolist()}
    for value in KNOWN:
        if not (float(obs.values.dtype.type(value)) in there or (large.any() and abs(value) > LARGE)):
            continue
        at = is_mark(obs.values, [value])
        count = 0 if at is None else int(at.sum())
        if at is None or count < _OFTEN:
            continue
        others = obs.subset(~at)
        for mode in range(obs.order):
            if not 1 < obs.shape[mode] <= _FEW_SLICES:
                continue
            inside = [others.values[others.coords[mode] == i] for i in np.unique(obs.coords[mode][at])]
            if all(len(part) and _is_outside(value, _OFTEN, float(part.min()), float(part.max()), part) for part in inside):
                ends = [float(part.min()) for part in inside], [float(part.max()) for part in inside]
                yield Mark(value, count, min(ends[0]), max(ends[1]))
                break


# --- labels ---------------------------------------------------------------------------------------


def alike_labels(obs: Observations, mode: int) -> list[str]:
    """Labels of `mode` that differ by blanks or capitals only, or are one number written in several ways, a text a group.

    >>> alike_labels(Observations.from_array(np.ones((2, 2)), labels=[["Rome", "Rome "], None]), 0)
    ["'Rome' and 'Rome '"]
    """
    labels = obs.labels[mode]
    groups = [] if labels is None else spelling.alike(labels)
    return [" and ".join(repr(str(labels[i])) for i in group) for group in groups] if labels is not None else []


def doubtful_labels(obs: Observations) -> list[str]:
    """A sentence for each mode whose labels look like dates or numbers and could not be put in order."""
    named = zip(obs.labels, obs.modes, strict=True)
    found = [spelling.doubt(label, name) for label, name in named if label is not None and label.dtype.kind in "UOT"]
    return [text for text in found if text is not None]


# --- fibres never observed ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NeverSeen:
    """Fibres along `mode` without an entry, though each of their slices has some; rows of `fibres` are coordinates in the other modes."""

    mode: int
    others: tuple[int, ...]
    fibres: np.ndarray
    of: int  # fibres in all

    def in_words(self, obs: Observations) -> str:
        """A sentence with their number, the first names, and the mend."""
        along, count = obs.modes[self.mode], len(self.fibres)
        names = [" x ".join(obs.label(m, i) for m, i in zip(self.others, fibre, strict=True)) for fibre in self.fibres[:_NAMED].tolist()]
        if count <= _NAMED:
            what = f"{', '.join(names)} {'was' if count == 1 else 'were'} never observed along {along}"
        else:
            pair = " x ".join(obs.modes[m] for m in self.others)
            group = f"pairs of {pair}" if len(self.others) == 2 else f"groups of {pair}"
            what = f"{count:,} of {self.of:,} {group} were never observed along {along}, the first {', '.join(names)}"
        return f"{what}: if there is no such cell (land, a sensor never built), pass where={along!r} (--where {along})"


def never_seen(obs: Observations) -> NeverSeen | None:
    """Fibres along the mode of time, or the longest, that have no entry, where chance would not leave one without.

    Where that mode has none: those along the mode in whose empty fibres most cells lie, if these are most of the missing ones.
    """
    if obs.order < 3:
        return None
    time = _time_of(obs)
    found = _never_seen_along(obs, time)
    if found is not None:
        return found
    others = [each for mode in range(obs.order) if mode != time and (each := _never_seen_along(obs, mode)) is not None]
    most = max(others, key=lambda each: len(each.fibres) * obs.shape[each.mode], default=None)
    return most if most is not None and 2 * len(most.fibres) * obs.shape[most.mode] > obs.cells - obs.size else None


def _never_seen_along(obs: Observations, mode: int) -> NeverSeen | None:
    """Fibres along a mode that have no entry, though their slices have some."""
    others = tuple(m for m in range(obs.order) if m != mode)
    shape = tuple(obs.shape[m] for m in others)
    if np.prod(shape, dtype=float) > 1e7:
        return None
    counts = np.bincount(np.ravel_multi_index(tuple(obs.coords[m] for m in others), shape), minlength=int(np.prod(shape))).reshape(shape)
    cells = np.ones(shape, dtype=bool) if obs.where is None else obs.where.any(axis=mode)
    empty = (counts == 0) & cells
    for place, m in enumerate(others):  # whole slices are said elsewhere
        seen = (obs.counts(m) > 0).reshape([-1 if p == place else 1 for p in range(len(others))])
        empty &= seen
    total = int(cells.sum())
    typical = float(np.median(counts[counts > 0]))
    if not empty.any() or total * np.exp(-typical) > _LIKELY:
        return None
    return NeverSeen(mode, others, np.argwhere(empty), total)


def _time_of(obs: Observations) -> int:
    """The longest mode whose labels are dates, else the longest of all."""
    dated = [m for m in range(obs.order) if (label := obs.labels[m]) is not None and label.dtype.kind in "Mm"]
    texts = [m for m in range(obs.order) if (label := obs.labels[m]) is not None and label.dtype.kind in "UO" and _are_dates(label)]
    return max(dated or texts or range(obs.order), key=lambda m: obs.shape[m])


def _are_dates(labels: np.ndarray) -> bool:
    found = spelling.reading(labels)
    return found is not None and found.kind in ("dates", "periods")
