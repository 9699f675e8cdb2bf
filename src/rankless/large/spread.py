"""How far a fit of a large file errs, from entries that took no part: intervals without another fit.

    half width at a cell  =  q(coverage) s(slice),      q = the ceil((n + 1) coverage)-th least of |error_j| / s_j

over `n` entries held out that have seen no choice [lei2018]. `s` is the usual error of the cell's slice of the mode between whose slices
errors differ most, taken from the other half of the entries held out; the same everywhere where they do not. What is promised is
promised for cells that are missing at random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.answer.intervals import check_coverage, quantile
from rankless.holdout.scoring import noisy_mode, slice_rms
from rankless.tensors.observations import Observations, slices_at, slices_of


@dataclass(frozen=True, eq=False)
class Spread:
    """Sizes of errors.

    Attributes
    ----------
    mode : the mode whose slices err unlike each other, or None.
    sizes : the usual error in each of its slices, shape ``(d_mode,)``, or ones, shape ``(1,)``.
    ratios : errors of the entries that took no part over these, shape ``(n,)``.
    """

    mode: int | None
    sizes: np.ndarray
    ratios: np.ndarray

    @classmethod
    def of(cls, judge: Observations, judged: np.ndarray, jury: Observations, errors: np.ndarray) -> Spread:
        """From errors at the entries `judge`, which tell how slices differ, and at those of the `jury`, which calibrate."""
        mode = noisy_mode(judged, judge) if judge.size and np.any(judged) else None
        sizes = np.ones(1) if mode is None else slice_rms(judged, judge, mode)[0]
        return cls(mode, sizes, errors / sizes[slices_of(jury.coords, jury.shape, mode)[0]])

    def half_widths(self, indices: np.ndarray, coverage: float) -> np.ndarray:
        """Half widths at cells, shape ``(n, order)``; TooFew, which is a ValueError, where entries are too few to promise `coverage`."""
        check_coverage(coverage)
        return quantile(self.ratios, coverage) * self.sizes[slices_at(indices, self.mode)]
