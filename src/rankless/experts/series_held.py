"""Entries of series held out: the gaps they lie in, the same pattern elsewhere along the axis, and stretches of long series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rankless.experts.series import Asked, Series

LIMIT = 25_000  # entries that one trial of the search looks at: thousands held out decide on two numbers
STRETCH, OVERLAP = 2000, 50  # long series are looked at in stretches of so many entries, and as many more on both sides as overlap


def firsts(sorted_: np.ndarray) -> np.ndarray:
    """Whether each differs from the one before."""
    return np.concatenate([[True], np.diff(sorted_) != 0])[: len(sorted_)]


def gaps_of(seen: Series, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """A number for the gap between two entries in which each asked cell lies, in order; and whether it has no end."""
    gap, ends = np.empty(len(asked.places), np.int64), np.empty(len(asked.places), bool)
    for s in np.flatnonzero(np.diff(asked.starts)):
        own, lo, hi = slice(asked.starts[s], asked.starts[s + 1]), seen.starts[s], seen.starts[s + 1]
        after = np.searchsorted(seen.places[lo:hi], asked.places[own])
        gap[own], ends[own] = lo + s + after, (after == 0) | (after == hi - lo)
    return gap, ends


def elsewhere(whole: Series, hidden: np.ndarray, times: int) -> Iterator[np.ndarray]:
    """Which entries to hold out: those that are hidden, and the same pattern moved on in every series, round its end."""
    lengths = np.repeat(whole.lengths, whole.lengths)
    first = np.repeat(whole.starts[:-1], whole.lengths)
    place = np.arange(len(hidden)) - first
    for n in range(times):
        step = np.round(lengths * (n * 0.6180339887498949 % 1)).astype(np.int64)  # the golden ratio spreads any number of them evenly
        yield hidden[first + (place - step) % lengths]


def parted(whole: Series, hidden: np.ndarray) -> tuple[Series, Asked, np.ndarray]:
    """The entries that are not hidden, those that are as cells asked for, and which these are."""
    shown = np.concatenate([[0], np.cumsum(~hidden)])[whole.starts]
    entries = np.flatnonzero(hidden)
    noise = whole.noise[~hidden] if len(whole.noise) else whole.noise
    seen = replace(whole, starts=shown, places=whole.places[~hidden], values=whole.values[~hidden], noise=noise)
    return seen, Asked(len(entries), np.arange(len(entries)), whole.starts - shown, whole.places[entries]), entries


def together(parts: Sequence[tuple[Series, Asked, np.ndarray]]) -> tuple[Series, Asked, np.ndarray]:
    """Several hold-outs as one, each with series of its own, and the entries that are asked for."""
    series, asked = [p[0] for p in parts], [p[1] for p in parts]
    entries = np.cumsum([0] + [len(s.values) for s in series])
    cells = np.cumsum([0] + [a.count for a in asked])
    together = Series(
        np.arange(sum(len(s.numbers) for s in series)),
        np.concatenate([s.starts[:-1] + n for s, n in zip(series, entries[:-1], strict=True)] + [entries[-1:]]),
        np.concatenate([s.places for s in series]),
        np.concatenate([s.values for s in series]),
        np.concatenate([s.noise for s in series]),
        np.concatenate([s.slices for s in series]),
        series[0].count,
    )
    starts = np.concatenate([a.starts[:-1] + n for a, n in zip(asked, cells[:-1], strict=True)] + [cells[-1:]])
    whole = Asked(int(cells[-1]), np.arange(cells[-1]), starts, np.concatenate([a.places for a in asked]))
    return together, whole, np.concatenate([p[2] for p in parts])


def stretches(seen: Series, asked: Asked) -> tuple[Series, Asked]:
    """Entries cut into stretches, of which as many are taken as `LIMIT` allows, as many entries of every slice; and what is asked in them.

    A cell that lies in a gap between two stretches belongs to the one before, which goes on for `OVERLAP` entries.
    """
    if len(seen.values) <= LIMIT:
        return seen, asked
    pieces = -(-seen.lengths // STRETCH)
    series = np.repeat(np.arange(len(pieces)), pieces)
    number = np.arange(len(series)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    lo = seen.starts[series] + number * STRETCH
    hi = np.minimum(lo + STRETCH, seen.starts[series + 1])
    # what is asked from the stretch's first entry on, up to the next one's; before the first entry of a series too
    position = np.arange(len(lo))
    first = np.array(
        [
            asked.starts[s] + (0 if n == 0 else np.searchsorted(asked.places[asked.starts[s] : asked.starts[s + 1]], seen.places[a]))
            for s, n, a in zip(series, number, lo, strict=True)
        ]
    )
    last = np.where(np.append(series[1:], -1) == series, np.append(first[1:], 0), asked.starts[series + 1])
    # as many entries of every slice, drawn without favour
    draw = np.random.default_rng(0).permutation(len(lo))
    own = seen.slices[series]
    share = LIMIT / len(np.unique(own))
    order = draw[np.argsort(own[draw], kind="stable")]
    sizes = (hi - lo)[order]
    before = np.cumsum(sizes) - sizes
    starts_of = np.searchsorted(own[order], np.arange(seen.count))
    within = before - before[np.minimum(starts_of[own[order]], len(before) - 1)]
    pick = np.sort(order[(within < share) & (last[order] > first[order])])
    lo = np.maximum(lo[pick] - OVERLAP, seen.starts[series[pick]])
    hi = np.minimum(hi[pick] + OVERLAP, seen.starts[series[pick] + 1])
    entries, cells = _runs(lo, hi), _runs(first[pick], last[pick])
    starts = np.concatenate([[0], np.cumsum(hi - lo)])
    part = Series(
        position[pick],
        starts,
        seen.places[entries],
        seen.values[entries],
        seen.noise[entries] if len(seen.noise) else seen.noise,
        own[pick],
        seen.count,
    )
    asked_starts = np.concatenate([[0], np.cumsum(last[pick] - first[pick])])
    return part, Asked(asked.count, asked.order[cells], asked_starts, asked.places[cells])


def _runs(lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
    """The numbers from each `lo` up to its `hi`, one run after another."""
    lengths = hi - lo
    return np.repeat(lo - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
