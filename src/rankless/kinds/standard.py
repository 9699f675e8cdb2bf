"""Units of variables set equal: each slice of a mode less its mean, over its standard deviation.

The variables of a Dataset have units of their own. So have slices of any mode that differ in spread or level a hundredfold, an income
beside an age, or of which the upper quarter spreads thirty times as far as the lower one: billions of dollars, millions of people,
percents. So have columns of a table whose spreads differ more than those of one component of normal numbers would. Fitted together as they
are, the large ones decide everything, and the small ones are filled with next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankless.tensors.observations import Observations

UNLIKE = 100.0  # between the spreads of two heaps of slices, or their levels in these, that no sampling makes
LADDER = 30.0  # between the quartiles of all spreads, where there is no gap between two heaps: one component of normal numbers makes 4
APART = 1.4  # deviation of the logarithms of slices' deviations: of one component of normal numbers 1 % of tables of 4 columns have more
ENOUGH = 4  # slices of which it tells something; these are fewer than entries of each: variables, and not cases
FEWEST = 5  # entries of a slice that tell its spread
RUNGS = 6  # slices from which quartiles tell something
MOST = 1000  # slices of a mode that may be variables; more are cases


@dataclass(frozen=True)
class Standard:
    """Mean and standard deviation of each slice of a mode, the last one unless said, and the way there and back.

    >>> obs = Observations.from_array([[1.0, 100.0], [3.0, 300.0]])
    >>> Standard.of(obs).apply(obs).values.tolist()
    [-1.0, -1.0, 1.0, 1.0]
    """

    mean: np.ndarray
    deviation: np.ndarray
    mode: int = -1

    @classmethod
    def of(cls, obs: Observations, mode: int = -1) -> Standard:
        """Of the observed values; a slice that is constant or empty keeps its unit."""
        groups = _slices(obs, mode)
        means = [group.mean(dtype=np.float64) if len(group) else 0.0 for group in groups]
        return cls(np.array(means), np.array([(len(group) and group.std(dtype=np.float64)) or 1.0 for group in groups]), mode)

    @classmethod
    def where_unlike(cls, obs: Observations) -> Standard | None:
        """Of a mode whose slices are `UNLIKE` each other in unit, None where there is none.

        Where variables have unlike units, so may seem the days: one of which hardly anything but the large variable was seen lies far from
        the others. Of several modes the one is taken after which the slices of all modes are the most alike.

        >>> array = np.random.default_rng(0).normal(size=(20, 3)) * [1.0, 1.0, 1e6]
        >>> found = Standard.where_unlike(Observations.from_array(array))
        >>> found.mode, Standard.where_unlike(Observations.from_array(array / [1.0, 1.0, 1e6]))
        (1, None)
        """
        found = [cls.of(obs, mode) for mode, ratio in enumerate(_ratios(obs)) if ratio > UNLIKE]
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda each: max(_ratios(each.apply(obs))))

    def apply(self, obs: Observations) -> Observations:
        variable = obs.coords[self.mode]
        values = (obs.values - self.mean[variable]) / self.deviation[variable]
        return obs.with_values(values.astype(obs.values.dtype, copy=False))

    def undo(self, values: np.ndarray, variable: np.ndarray) -> np.ndarray:
        return values * self.deviation[variable] + self.mean[variable]


def _slices(obs: Observations, mode: int) -> list[np.ndarray]:
    """The entries of each slice."""
    order = np.argsort(obs.coords[mode], kind="stable")
    counts = np.bincount(obs.coords[mode], minlength=obs.shape[mode])
    return np.split(obs.values[order], np.cumsum(counts)[:-1])


def _ratios(obs: Observations) -> list[float]:
    """How far the slices of each mode fall apart."""
    return [_unlike(obs, mode) if 1 < obs.shape[mode] <= MOST else 0.0 for mode in range(obs.order)]


def _unlike(obs: Observations, mode: int) -> float:
    """How far slices fall apart: the largest ratio of neighbours among their spreads, or gap between their levels, in typical spreads.

    A gap, and not the range: one component alone makes slices of every size, but hardly two heaps of them, nor half of them `LADDER` times
    as large as the other half; then the ratio of quartiles counts as that much more than `UNLIKE`. Levels and spreads are medians, which a
    wild value does not move, of spreads among the values that are not the level. Constant slices tell nothing. Of a few columns of a
    table the logarithms of standard deviations tell more than gaps do: a population in thousands has its median near an age's, and sixty
    times its deviation.
    """
    exponent = int(np.frexp(np.max(np.abs(obs.values), initial=0.0))[1])  # squares of 1e200 overflow
    groups = [np.ldexp(group.astype(np.float64), -exponent) for group in _slices(obs, mode) if len(group) >= FEWEST]
    levels, spreads = [], []
    for group in groups:
        level = float(np.median(group))
        apart = np.abs(group - level)
        apart = apart[apart > 1e-12 * abs(level)]  # of rain more than half may be none at all
        if len(apart):
            spread = float(np.median(apart))
            levels.append(level)
            spreads.append(spread)
    if len(spreads) < 2:
        return 0.0
    spreads = np.sort(spreads)
    low, high = np.quantile(spreads, [0.25, 0.75]) if len(spreads) >= RUNGS else (1.0, 1.0)
    ladder = UNLIKE / LADDER * high / low
    gaps = np.max(spreads[1:] / spreads[:-1]), np.max(np.diff(np.sort(levels))) / np.median(spreads)
    logs = _spread_of_logs([_tame(group) for group in groups]) if obs.order == 2 else 0.0  # spectra differ as much by wavelength
    return float(max(ladder, *gaps, UNLIKE / APART * logs))


def _tame(group: np.ndarray) -> np.ndarray:
    """`group` without the value that lies farthest from its median: a single wild one makes no unit."""
    return np.delete(group, np.argmax(np.abs(group - np.median(group))))


def _spread_of_logs(groups: Sequence[np.ndarray]) -> float:
    """The standard deviation between slices of the logarithms of their standard deviations, less what sampling makes."""
    varied = [group for group in groups if group.std() > 1e-12 * np.abs(group).max()]
    if len(varied) < ENOUGH or np.mean([len(group) for group in varied]) < len(varied):
        return 0.0
    sizes, counts = np.array([group.std() for group in varied]), np.array([len(group) for group in varied])
    fourth = np.array([np.mean(((group - group.mean()) / size) ** 4) for group, size in zip(varied, sizes, strict=True)])
    chance = np.mean((fourth - 1) / (4 * counts))
    return float(np.sqrt(max(np.var(np.log(sizes), ddof=1) - chance, 0.0)))
