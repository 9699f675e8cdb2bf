"""A look at observations before any fit: what is there, and what is likely a mistake.

Missing is not zero. The two are often confused in files, so zeros that come in whole runs are
pointed out; whether they mean "not observed" only the owner of the data knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.tensors.observations import Observations


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
