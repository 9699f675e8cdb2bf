"""A search in the units of a transform, brought near 1, and whether a transform is to be tried; or under a loss, in the data's units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rankless.answer.intervals import Calibration
from rankless.engine import search
from rankless.engine.found import Found
from rankless.experts.cold import widened
from rankless.holdout.scoring import Errors, Point
from rankless.runtime.workers import Workers
from rankless.search.level_noise import amounts, asked_for, earns
from rankless.search.walk import Limits
from rankless.tensors.observations import Observations
from rankless.units.error import rmse_of
from rankless.units.near_one import near_one_by, near_one_of
from rankless.units.transform import Name, Transform


@dataclass(eq=False)
class Fit:
    """A search in the units of a transform; under another loss than squares in those of the data, and the transform is its link."""

    transform: Transform
    near_one: Observations  # transformed, then brought near 1
    exponent: int  # ... by this power of two; 0 under a loss
    data_exponent: int  # the power of two that would bring the data near 1
    found: Found
    residual: np.ndarray  # of what is reported, in the data's units brought near 1
    alone: np.ndarray  # ... of the best fit on single held-out cells before others were blended in

    @classmethod
    def of(cls, obs: Observations, name: Name, limits: Limits, *, workers: Workers, **options) -> Fit:
        transform = Transform.of(name, obs)
        near_one, exponent = near_one_of(obs.with_values(transform.forward(obs.values)))
        data_exponent = near_one_of(obs)[1]

        def in_data(left: Errors) -> np.ndarray:
            held = left.entries.with_values(np.ldexp(left.entries.values, exponent))
            return np.ldexp(transform.residual(held, np.ldexp(left.residual, exponent)), -data_exponent)

        def error(point: Point, held: Observations) -> float:
            return rmse_of(in_data(Errors(held, point.residual)), held)

        workers.tracker.begin("" if name == "none" else f"{transform.of_what}: ", unit=2.0**data_exponent)
        found = search(near_one, limits, workers=workers, error=None if name == "none" else error, **options)
        held = found.cells.entries.with_values(np.ldexp(found.cells.entries.values, exponent))
        calibrated = transform.calibrated(held, np.ldexp(found.cells.residual, exponent))
        return cls(
            calibrated,
            near_one,
            exponent,
            data_exponent,
            found,
            in_data(found.errors),
            in_data(Errors(found.alone_held, found.alone.residual)),
        )

    @classmethod
    def under(cls, obs: Observations, limits: Limits, **options) -> Fit:
        """A search under the loss of `limits`."""
        found = search(obs, limits, **options)
        return cls(found.link, obs, 0, 0, found, found.errors.residual, found.alone.residual)

    @classmethod
    def best(cls, obs: Observations, name: Name | Literal["auto"], limits: Limits, **options) -> tuple[Fit, list[Fit]]:
        """The one to keep, and all that were tried: a second one only where the noise of the first asks for it."""
        if not limits.squares:
            fit = cls.under(obs, limits, **options)
            return fit, [fit]
        first = cls.of(obs, "none" if name == "auto" else name, limits, **options)
        if name != "auto" or first.found.unfinished or not amounts(obs):
            return first, [first]
        wanted, noise = asked_for(obs, first.found.alone, first.found.alone_held)
        if wanted == "none":
            return first, [first]
        second = cls.of(obs, wanted, limits, **options)
        if second.found.unfinished:
            return first, [first, second]
        better = earns(second.alone, first.alone, first.found.alone.frame, first.found.alone_held, noise)
        return second if better else first, [first, second]

    def in_its_units(self, obs: Observations, among: np.ndarray | slice = slice(None)) -> Observations:
        """Other data in the units of the fit: transformed, brought near 1, weights of mean 1 `among` some of the entries."""
        if self.found.loss is not None:
            return obs
        return near_one_by(obs.with_values(self.transform.forward(obs.values)), self.exponent, among)

    def in_data(self, errors: Errors) -> tuple[Observations, np.ndarray]:
        """Entries in the units of the data, and what `errors` come to there."""
        entries = errors.entries
        if self.found.loss is not None:
            return entries, errors.residual
        values, said = (np.ldexp(z, self.exponent) for z in (entries.values, entries.values - errors.residual))
        truth = replace(self.transform, factor=1.0, top=np.inf).inverse(values)
        return entries.with_values(truth), truth - self.transform.inverse(said)

    def half_widths(
        self, calibration: Calibration, indices: np.ndarray, said: np.ndarray, unseen: Sequence[np.ndarray], coverage: float
    ) -> np.ndarray:
        """Half widths at `indices`, where the tree says `said`, in the units of the data or of their transform."""
        if self.found.loss is not None:
            return calibration.half_widths(indices, self.transform.inverse(said), unseen, coverage)
        widths = calibration.half_widths(indices, np.ldexp(said, -self.exponent), unseen, coverage)
        return np.ldexp(widened(self.found.tree, widths, indices, coverage), self.exponent)

    def ends(self, said: np.ndarray, widths: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of intervals at `indices`, in the units of the data, where the tree says `said`."""
        middle = self.transform.inverse(said)
        if (loss := self.found.loss) is not None:
            least, most = loss.bounds
            return np.clip(middle - widths, least, None), np.clip(middle + widths, None, most)
        plain = replace(self.transform, factor=1.0)
        lower, upper = (
            np.ldexp(self.found.kept(np.ldexp(z, -self.exponent), indices), self.exponent) for z in (said - widths, said + widths)
        )
        return np.minimum(plain.inverse(lower), middle), np.maximum(plain.inverse(upper), middle)

    def path(self) -> list[dict]:
        """The rows of the search in the data's units, their scores in those of the fit."""
        data, own = 2.0**self.data_exponent, 2.0**self.exponent
        if self.found.loss is not None:
            return self.found.path
        return [
            row | {"transform": self.transform.name, "holdout_rmse": row["holdout_rmse"] * data, "score": row["score"] * own}
            for row in self.found.path
        ]
