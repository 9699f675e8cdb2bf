"""`Judge`: predictors compared, and weighed against each other, by how they fill entries held out, as gaps or one by one.

A gap held out is one observation, not as many as it has entries; a lone cell is a gap of one. A few gaps may be wild: a sensor
gone wrong for a week. So gaps whose error is far beyond the average count by its size instead of its
square [huber1964].
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from rankless.holdout.gaps import Gaps
from rankless.tensors.observations import Observations, slices_of
from rankless.units.error import root_weights

PAYS, SURE = 0.99, 3.0  # share of the score before, and standard errors of the fall of the errors, from which something more pays
OUTDONE = 4.0  # error over another's, from which a way to fill is worth little work: if both err independently, 3 % less together
LONE_BEND = 6.3  # the same for cells held out one by one: five standard deviations of normal errors, whose mean size is .8 of one
BEND = 2.0  # error of a gap over the mean, beyond which it counts by its size
ROUNDS = 6  # of reweighting gaps
SPREAD = 0.1  # how far a slice's shares are believed to lie from those of the whole: a standard deviation


class Judge:
    """What fits are compared by on held-out gaps, and the shares in which they err least together.

        score^2 = geometric mean over slices of  mean over the slice's gaps of  rho(root mean square error in the gap)

    with ``rho(e) = e^2`` up to `c`, and ``2 c e - c^2`` beyond; `c` is `BEND` times the mean error that `residual`
    leaves in the slice's gaps. `fold` is the number of the hold-out in which each entry was: gaps end with it.
    """

    def __init__(self, residual: np.ndarray, held: Observations, gaps: Gaps | None, mode: int | None, fold: np.ndarray | None = None):
        self._weights = root_weights(held)
        self._slices, self.count = slices_of(held.coords, held.shape, mode)
        if gaps is None:
            self._gap = np.arange(held.size)
        else:
            numbers = gaps.numbers(held.coords, held.shape) + (0 if fold is None else held.cells * fold)
            self._gap = np.unique(self._slices + self.count * numbers, return_inverse=True)[1].ravel()
        self._sizes = np.bincount(self._gap)  # entries of each gap
        self._slice = np.zeros(len(self._sizes), int)
        self._slice[self._gap] = self._slices
        self._bend = (LONE_BEND if gaps is None else BEND) * self._means(self._errors(residual))[self._slice]
        self._bend[self._bend == 0] = np.finfo(float).tiny

    @property
    def gaps(self) -> int:
        """How many gaps there are, lone cells counted."""
        return len(self._sizes)

    def score(self, residual: np.ndarray) -> float:
        means = self._means(self._rho(residual))
        return float(np.exp(0.5 * np.average(np.log(np.maximum(means, np.finfo(float).tiny)), weights=self._entries)))

    def gain(self, before: np.ndarray, after: np.ndarray) -> float:
        """By how many standard errors the errors of gaps fall on average: `rho` over its slice's mean, or logarithms, whichever is more.

        A wild gap among few hides a fall of `rho`; a gap filled nearly without error decides a mean of logarithms.
        """
        tiny, first, last = np.finfo(float).tiny, self._rho(before), self._rho(after)
        falls = (first - last) / np.maximum(self._means(first), tiny)[self._slice]
        logs = np.log(np.maximum(self._errors(before), tiny) / np.maximum(self._errors(after), tiny))
        return max(float(each.mean()) / max(float(each.std()), tiny) * np.sqrt(len(each)) for each in (falls, logs))

    def pays(self, before: np.ndarray, after: np.ndarray) -> bool:
        """Whether errors `after` are smaller than `before`: the score by one part in a hundred, and by more than `SURE` standard errors.

        Two would leave .3 % less error on sixteen tables of real data, and 2 % more on twelve small ones of known rank, where an expert
        whose numbers were chosen on a hundred entries wins on the same hundred by chance.
        """
        return self.score(after) < PAYS * self.score(before) and self.gain(before, after) > SURE

    def _rho(self, residual: np.ndarray) -> np.ndarray:
        errors, bend = self._errors(residual), self._bend
        return np.where(errors < bend, errors**2, bend * (2 * errors - bend))

    def shares(self, target: np.ndarray, fitted: np.ndarray) -> np.ndarray:
        """Shares of the columns of `fitted`, >= 0, shape ``(columns, slices)``, by reweighted least squares from the first column alone."""
        errors, whole, pull = self._errors(target - fitted[:, 0]), np.zeros(0), np.zeros(0)
        for _ in range(ROUNDS):
            each = np.sqrt(np.minimum(1.0, self._bend / np.maximum(errors, self._bend))) / self._bend
            pull = self._weights * each[self._gap]
            whole = nnls(fitted * pull[:, None], target * pull)[0]
            errors = self._errors(target - fitted @ whole)
        if self.count == 1:
            return whole[:, None]
        pull = pull / np.sqrt(self._sizes)[self._gap]  # entries of a gap err alike: they are one observation
        drawn, shares = np.eye(len(whole)) / SPREAD, np.empty((len(whole), self.count))
        for j in range(self.count):
            own = self._slices == j
            rows = np.concatenate([fitted[own] * pull[own, None], drawn])
            shares[:, j] = nnls(rows, np.concatenate([target[own] * pull[own], whole / SPREAD]))[0]
        return shares

    def joint(self, target: np.ndarray, fitted: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Score, shares and errors of the columns of `fitted` together."""
        shares = self.shares(target, fitted)
        residual = target - np.einsum("ij,ji->i", fitted, shares[:, self._slices])
        return self.score(residual), shares, residual

    def _errors(self, residual: np.ndarray) -> np.ndarray:
        """Root mean square error in each gap."""
        return np.sqrt(np.bincount(self._gap, (residual * self._weights) ** 2) / self._sizes)

    @property
    def _entries(self) -> np.ndarray:
        """The number of entries held out in each slice."""
        return np.bincount(self._slice, self._sizes, self.count)

    def _means(self, each: np.ndarray) -> np.ndarray:
        """Mean over each slice's gaps, larger ones counting more."""
        return np.bincount(self._slice, each * self._sizes, self.count) / np.maximum(self._entries, 1)
