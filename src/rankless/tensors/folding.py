"""Periods hidden in a flat mode, and the same cells folded by them: hours into days x hours, or weeks x days x hours.

A period `p` shows in the autocorrelation `r` over pairs of cells that were both seen, at a distance of `l` steps:

    r(l) = sum of x(t) x(t + l) over pairs / number of pairs,        x a series less its mean, in its standard deviations

as a peak of ``r(p)`` over the mean of `r` within half a period of `p`. A correlation that only fades, however slowly, is convex in
the distance, and lies below that mean. Chance is told apart by Bartlett's covariance of autocorrelations [bartlett1946], with series
that are alike counted as fewer than they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from statistics import NormalDist

import numpy as np

from rankless.tensors.axes import alike
from rankless.tensors.observations import Observations
from rankless.tensors.places import read

CHANCE = 0.01  # probability with which noise may show a period somewhere
CYCLES = 3  # a period is looked for where it comes again so often
TRIED = 300  # lags at which the correlation has a peak that are looked at
WIDE = 4_000_000  # cells that are looked at: of more series a random part
HOLES = 4  # steps that an axis may have, as many times the slices it has
UNEVEN = 0.25  # how far from a whole number of steps two slices may lie, as a share of a step: months have 28 to 31 days


def steps_of(positions: np.ndarray) -> np.ndarray | None:
    """The number of steps of each position from the first; None where they do not lie an even number of steps apart.

    >>> steps_of(np.array([0.0, 31.0, 59.0, 120.0])).tolist()
    [0, 1, 2, 4]
    """
    distinct, inverse = np.unique(positions, return_inverse=True)
    if len(distinct) < 2:
        return np.zeros(len(positions), np.int64)
    apart = np.diff(distinct) / np.median(np.diff(distinct))
    whole = np.round(apart)
    if np.any(whole < 1) or np.any(np.abs(apart - whole) > UNEVEN * np.minimum(whole, 2)) or whole.sum() > HOLES * len(distinct):
        return None
    return np.concatenate([[0], np.cumsum(whole)]).astype(np.int64)[inverse.ravel()]


@dataclass(frozen=True, eq=False)
class Folding:
    """A flat mode as several: step `s` of it lies at ``(s // p, s % p)`` for one period `p`, and so on for periods within it.

    Attributes
    ----------
    mode : the flat mode.
    shape : of the flat array.
    periods : in steps, from the longest; each a multiple of the next.
    steps : int64, shape ``(shape[mode],)``: the step on which each of its slices lies. There may be steps that have no slice.
    """

    mode: int
    shape: tuple[int, ...]
    periods: tuple[int, ...]
    steps: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the modes that the flat one becomes; cells of a last period that is not whole do not exist, and are never seen.

        >>> Folding(0, (1000, 8), (168, 24), np.arange(1000)).sizes
        (6, 7, 24)
        """
        outer = (int(self.steps.max(initial=0)) // self.periods[0] + 1,)
        return outer + tuple(a // b for a, b in zip(self.periods, (*self.periods[1:], 1), strict=True))

    @property
    def folded_shape(self) -> tuple[int, ...]:
        return (*self.shape[: self.mode], *self.sizes, *self.shape[self.mode + 1 :])

    def coords(self, coords: np.ndarray) -> np.ndarray:
        """Coordinates in the folded array of those in the flat one; both have a row a mode."""
        parts, left = [], self.steps[coords[self.mode]]
        for period in self.periods:
            whole, left = np.divmod(left, period)
            parts.append(whole)
        return np.stack([*coords[: self.mode], *parts, left, *coords[self.mode + 1 :]]).astype(coords.dtype)

    def order(self, coords: np.ndarray) -> np.ndarray:
        """The order in which cells of the flat array stand in the folded one."""
        return np.lexsort(self.coords(coords)[::-1])

    def folded(self, obs: Observations) -> Observations:
        """The same entries in the folded array."""
        order, flat, more = self.order(obs.coords), self.mode, len(self.periods)
        return Observations(
            self.coords(obs.coords)[:, order],
            obs.values[order],
            self.folded_shape,
            None if obs.weights is None else obs.weights[order],
            self.names(obs.modes),
            (*obs.labels[:flat], *(None,) * (more + 1), *obs.labels[flat + 1 :]),
            obs.value_name,
        )

    def again(self, obs: Observations) -> Folding:
        """The same periods in other entries: as it is where their shape is the same, else with the steps that their labels tell."""
        if obs.shape == self.shape:
            return self
        steps = _steps(obs, self.mode)
        return replace(self, shape=obs.shape, steps=np.arange(obs.shape[self.mode]) if steps is None else steps)

    def moved(self, mode: int) -> int:
        """The number that another mode of the flat array has in the folded one."""
        return mode if mode < self.mode else mode + len(self.periods)

    def names(self, modes: Sequence[str]) -> tuple[str, ...]:
        """Names of the modes of the folded array, of those of the flat one."""
        name = modes[self.mode]
        parts = (f"{name} by {self.periods[0]}", *(f"{name} within {period}" for period in self.periods))
        return (*modes[: self.mode], *parts, *modes[self.mode + 1 :])

    def words(self, modes: Sequence[str]) -> str:
        """Such as ``hour in periods of 168 and 24``."""
        return f"{modes[self.mode]} in periods of {' and '.join(map(str, self.periods))}"


def foldings_of(obs: Observations) -> list[Folding]:
    """The foldings of `obs` at periods that are surely there, the shortest first; none where no mode has a period.

    Only one mode is folded: the one whose period stands out most. A period of periods, as of days in weeks, is also looked for in what
    the mean of each place within the first leaves.
    """
    found: list[tuple[float, Folding]] = []
    for mode in range(obs.order):
        steps = _steps(obs, mode)
        if steps is not None:
            sure, period = _period_of(obs, mode, steps)
            found += [(sure, Folding(mode, obs.shape, (period,), steps))] if period else []
    if not found:
        return []
    most = max(found, key=lambda each: each[0])[1]
    folded = most.folded(obs)
    times = _period_of(folded, most.mode, np.arange(folded.shape[most.mode]))[1]
    return [most, replace(most, periods=(times * most.periods[0], *most.periods))] if times else [most]


def _steps(obs: Observations, mode: int) -> np.ndarray | None:
    """The step on which each slice of a mode lies; None where its labels are names, or tell no even steps."""
    if obs.labels[mode] is None:
        return np.arange(obs.shape[mode])
    places = read(obs.labels[mode], obs.shape[mode], obs.modes[mode])
    return None if places is None else steps_of(places.at)


def _period_of(obs: Observations, mode: int, steps: np.ndarray) -> tuple[float, int]:
    """What `period_in` says of all series along a mode whose slices lie on `steps`."""
    length = int(steps.max(initial=0)) + 1
    longest = (length - 1) // CYCLES
    off = [m for m in range(obs.order) if m != mode]
    if longest < 2 or prod(obs.shape[m] for m in off) >= 2**62:
        return 0.0, 0
    numbers = np.unique(np.ravel_multi_index(tuple(obs.coords[off]), tuple(obs.shape[m] for m in off)), return_inverse=True)[1].ravel()
    count, most = int(numbers.max(initial=-1)) + 1, max(1, WIDE // length)
    if count > most:
        kept = np.zeros(count, bool)
        kept[np.random.default_rng(0).permutation(count)[:most]] = True
        entries = np.flatnonzero(kept[numbers])
        numbers, count = (np.cumsum(kept) - 1)[numbers[entries]], most
    else:
        entries = np.arange(obs.size)
    order = np.argsort(numbers, kind="stable")
    entries, numbers = entries[order], numbers[order]
    series, seen = np.zeros((count, length)), np.zeros((count, length))
    at = steps[obs.coords[mode][entries]]
    series[numbers, at], seen[numbers, at] = alike(obs.values[entries], numbers)[0], 1.0
    return period_in(series, seen)


def period_in(series: np.ndarray, seen: np.ndarray) -> tuple[float, int]:
    """The period that `series`, shape ``(series, steps)``, 0 where not `seen`, share; see the top of the file.

    Returned: by how many standard errors it stands out, and its steps; 0 steps where it may be chance.
    """
    length = series.shape[1]
    longest = (length - 1) // CYCLES
    sums, pairs = _lagged(series), np.round(_lagged(seen))
    if longest < 2 or not sums[0] > 0:
        return 0.0, 0
    r = np.where(pairs > 0, sums / np.maximum(pairs, 1) / (sums[0] / pairs[0]), 0.0)
    lags = np.arange(2, longest + 1)
    half = lags // 2
    total = np.concatenate([[0.0], np.cumsum(r)])
    peak = r[lags] - (total[lags + half + 1] - total[lags - half] - r[lags]) / (2 * half)
    top = np.flatnonzero((r[lags] >= r[lags - 1]) & (r[lags] >= r[lags + 1]) & (pairs[lags] > 0) & (peak > 0))
    top = np.sort(top[np.argsort(-peak[top], kind="stable")[:TRIED]])
    full = float(pairs[0]) / series.size  # a pair of two cells of a series is seen with the square of it
    as_one = full**2 * len(series) * _likeness(series, seen)
    slow = np.array([_variance(r[: lag + 1], h) for lag, h in zip(lags[top], half[top], strict=True)])
    sure = peak[top] / np.sqrt(((1 - full**2) * (1 + 1 / (2 * half[top])) + as_one * slow) / pairs[lags[top]])
    surely = sure > NormalDist().inv_cdf(1 - CHANCE / len(lags))
    if not surely.any():
        return 0.0, 0
    best = int(np.argmax(sure))
    high = surely & (peak[top] > 0.5 * peak[top][best])  # a part of a period may come again too, less alike
    return float(sure[best]), _sharpened(r, _common(int(lags[top][best]), lags[top][high]), length // 2)


def _common(best: int, peaks: np.ndarray) -> int:
    """`best`, or the largest part of it of which most `peaks` are multiples.

    Where what lies near each other is alike too, a period may stand out at its multiples only.
    """
    for d in range(best, 1, -1):
        off = peaks % d
        if best % d == 0 and np.mean(np.minimum(off, d - off) <= d // 10) > 0.5:
            return d
    return best


def _variance(r: np.ndarray, half: int) -> float:
    """Variance of the peak of an autocorrelation at the lag where `r` ends over its mean within `half` of it, for one series of one step.

    Errors of autocorrelations are alike at lags close to each other: their covariance at a distance `j` is ``g(j) = sum of
    r(k) r(k + j)``. Where `r` changes slowly they go up and down together, and a peak is surer than `r` itself. Correlations far off
    count less and less: those of the period itself are no error.
    """
    faded = r * (1 - np.arange(len(r)) / len(r))
    both = np.concatenate([faded[:0:-1], faded])
    g = _lagged(both[None])
    g = np.concatenate([g, np.zeros(max(0, 2 * half + 1 - len(g)))])[: 2 * half + 1]
    weights = np.full(2 * half + 1, -1 / (2 * half))
    weights[half] = 1.0
    own = _lagged(weights[None])
    return float(own[0] * g[0] + 2 * own[1:] @ g[1:])


def _sharpened(r: np.ndarray, period: int, last: int) -> int:
    """The period near `period` at whose multiples the correlation is largest: a step too many adds up from one to the next."""
    near = range(max(2, period - max(1, period // 50)), period + max(1, period // 50) + 1)
    return max(near, key=lambda p: (float(np.mean(r[p : max(last, p) + 1 : p])), -abs(p - period)))


def _lagged(rows: np.ndarray) -> np.ndarray:
    """Sums over rows of the products of what lies 0, 1, 2, ... steps apart."""
    length = rows.shape[1]
    size = 1 << (2 * length - 1).bit_length()
    power = np.zeros(size // 2 + 1)
    for row in rows:
        power += np.abs(np.fft.rfft(row, size)) ** 2
    return np.fft.irfft(power, size)[:length]


def _likeness(series: np.ndarray, seen: np.ndarray) -> float:
    """The mean squared correlation of two series, 1 over their number where all are unlike each other."""
    some = np.random.default_rng(0).permutation(len(series))[:200]
    values, mask = series[some], seen[some]
    both = mask @ mask.T
    with np.errstate(invalid="ignore", divide="ignore"):
        r = np.where(both > 2, values @ values.T / np.maximum(both, 1), 0.0)
    own = np.maximum(np.diag(r), 1e-12)
    squares = np.clip(r / np.sqrt(np.outer(own, own)), -1.0, 1.0) ** 2
    count = len(some)
    between = float(squares.sum() - count) / max(count * (count - 1), 1)
    return (1 + (len(series) - 1) * between) / len(series)
