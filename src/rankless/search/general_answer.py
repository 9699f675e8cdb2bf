"""What `TensorCompleter` keeps of a search for another loss: its attributes, and intervals around means.

    lower, upper  =  mean -+ q(coverage) sd(mean),      q = the ceil((n + 1) coverage)-th least of |y_j - mean_j| / sd(mean_j)

over `n` entries, each of which the fit that gives its `mean_j` has not seen [lei2018]: a twentieth to a tenth of the entries is
left out at a time and the choices are fitted to the others, until there are enough [vovk2015]. More at a time, and the same penalty
would leave another kind of fit, too timid to tell how far the answer errs. `sd` is that of a count or of a zero or one of this mean,
up to a factor, and the same everywhere for values. Ends stay within what values can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rankless.als.losses import Bernoulli, Huber, Poisson
from rankless.answer.intervals import ByKind, left_out, quantile
from rankless.holdout.split import streams_of
from rankless.runtime.progress import Tracker, shown
from rankless.runtime.workers import Workers
from rankless.search.general import Found
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects
from rankless.units.link import variance
from rankless.units.transform import Transform

ENOUGH = 1_000  # calibration entries that are aimed at
TOP = 3.0  # no mean above this many times the largest value seen: exponentials know no end


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Calibration entries, and their errors and expected sizes, in the units of the data."""

    entries: Observations
    errors: np.ndarray
    sizes: np.ndarray
    by_kind: ByKind | None = None  # None where missing cells are all of one kind


@dataclass(eq=False)
class Answer:
    """A search's result and the entries it is for."""

    found: Found
    obs: Observations
    _calibrated: Calibrated | None = None

    @property
    def calibrated_already(self) -> bool:
        return self._calibrated is not None

    @cached_property
    def transform(self) -> Transform:
        """From what components make up to means."""
        loss = self.found.units.loss
        if isinstance(loss, Poisson):
            return Transform("exp", top=TOP * float(self.obs.values.max()))
        return Transform("logit", top=1.0) if isinstance(loss, Bernoulli) else Transform()

    def attributes(self) -> dict[str, Any]:
        """Fitted attributes of the estimator, by name."""
        import pandas as pd

        found, model = self.found, self.found.model
        alone = any(found.units.nonnegative)  # nothing lies under the components: a mean is for slices never seen
        mean = float(np.average(self.obs.values, weights=self.obs.weights))
        return {
            "model_": model,
            "fits_": [model],
            "best_fit_": model,
            "rank_": model.rank,
            "drawn_": None,
            "unasked_": [],
            "left_out_": [],
            "nearby_": None,
            "unfolded_": None,
            "depth_": found.problem.depth,
            "penalty_": found.problem.penalty,
            "effects_": not alone,
            "noise_": None,
            "smooth_": (0.0,) * self.obs.order,
            "between_": [np.zeros(d, dtype=bool) for d in self.obs.shape],
            "main_effects_": MainEffects.constant(mean, self.obs.shape) if alone else found.offset,
            "value_transform_": self.transform,
            "path_": pd.DataFrame(found.path),
            "holdout_rmse_": found.rmse,
            "holdout_deviance_": found.deviance,
            "blank_deviance_": found.blank,
            **({"bound_": found.units.loss.bound * found.units.scale} if isinstance(found.units.loss, Huber) else {}),
        }

    def calibrated(self, *, seed, n_jobs: int | None, verbose: bool) -> Calibrated:
        """Errors of the choices at entries that they have not seen, found at the first call."""
        if self._calibrated is None:
            means, seen = np.zeros(self.obs.size), np.zeros(self.obs.size, dtype=bool)
            with shown(verbose) as bar, Workers(n_jobs, tracker=Tracker(bar)) as workers:
                stream, gaps = streams_of(seed)[1], self.found.gaps
                kinds, parts = left_out(self.obs, stream, gaps, ENOUGH)
                of_kind = np.zeros(self.obs.size, np.int8)
                for part, as_gaps in parts:
                    rest, part = self.obs.subset(~part), part & ~seen
                    workers.tracker.stage(f"calibrating on {part.sum()} entries")
                    again = self.found.refitted(rest, workers, stream if as_gaps else None)
                    means[part] = again.means(self.obs.indices[part])
                    if kinds is not None:
                        of_kind[part] = kinds.of_left_out(self.obs.subset(part), rest)
                    seen |= part
            entries, means = self.obs.subset(seen), np.minimum(means[seen], self.transform.top)
            by_kind = None if kinds is None else ByKind(kinds, entries, of_kind[seen])
            self._calibrated = Calibrated(entries, entries.values - means, self.sizes(means), by_kind)
        return self._calibrated

    def ends(self, means: np.ndarray, indices: np.ndarray, coverage: float, **how) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends around `means` at cells; `how` is what `calibrated` takes."""
        known = self.calibrated(**how)
        ratios, by = known.errors / known.sizes, known.by_kind
        widths = self.sizes(means) * (quantile(ratios, coverage) if by is None else by.quantiles(ratios, coverage)[by.at(indices)])
        least, most = self.bounds
        return np.clip(means - widths, least, None), np.clip(means + widths, None, most)

    @property
    def bounds(self) -> tuple[float, float]:
        """Between which values lie; noise takes values below nonnegative parts."""
        name = self.found.units.loss.name
        return 0.0 if name in ("poisson", "bernoulli") else -np.inf, 1.0 if name == "bernoulli" else np.inf

    def sizes(self, means: np.ndarray) -> np.ndarray:
        """Expected sizes of errors at `means`, up to a factor."""
        return np.sqrt(variance(self.found.units.loss.name, means))
