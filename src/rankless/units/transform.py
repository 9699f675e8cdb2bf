"""Transforms that even out noise which grows with the level.

Where the standard deviation of the noise is a power of the mean, ``sd ~ level^b``, the noise of
``y^(1-b)`` is the same everywhere [bartlett1947]: square roots for counts (b = 1/2) [anscombe1948],
logarithms for noise in percent (b = 1). A fit in those units no longer lets the largest values
decide everything. It need not be better, because what is low rank in the data need not be so in
their square roots: held-out entries decide, in the data's units.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from rankless.tensors.observations import Observations
from rankless.units.error import CAP, root_weights

Name = Literal["none", "sqrt", "log", "exp", "logit"]

LOW = 0.05  # the quantile of the positive values that offsets are taken from
ROUNDING = 1e-9  # ... or this share of the largest, where it is more: nobody's noise is in percent of a rounding error
OFFSETS = {"none": 0.0, "sqrt": 0.375, "log": 0.5}  # ... times this; 3/8 for counts that reach down to 1 [anscombe1948]
TOP = {
    "none": np.inf,
    "sqrt": 3.0,
    "log": 1.5,
    "exp": 3.0,
}  # no prediction above so many times the largest value: exponentials know no end
HALF, SURELY = 0.5, 0.05  # what a count of nothing, and a share of nothing, are taken for where values as such stand in for means


@dataclass(frozen=True)
class Transform:
    """Values of one sign in other units, and the way back to their conditional mean.

        sqrt:  z = sqrt(y + offset)         E y = factor z^2            - offset
        log:   z = log(1 + y / offset)      E y = factor offset exp(z)  - offset

    Two are links of losses (`rankless.units.link`), whose fits are of the mean itself:

        exp:    z = log(E y)                logit:  z = log(E y / (1 - E y))

    An inverse alone gives a median, which is below the mean. `factor` mends it: with it the held-out
    entries' total comes back right [duan1983]. What comes back lies between 0 and `top`.

    >>> counts = Observations.from_array(np.array([[0.0, 1.0, 4.0], [9.0, 16.0, 25.0]]))
    >>> Transform.of("sqrt", counts).inverse(Transform.of("sqrt", counts).forward(counts.values)).round(9).tolist()
    [0.0, 1.0, 4.0, 9.0, 16.0, 25.0]
    """

    name: Name = "none"
    offset: float = 0.0
    factor: float = 1.0
    top: float = np.inf

    @classmethod
    def of(cls, name: Name, obs: Observations) -> Transform:
        """The transform for the values of `obs`; its offset follows their size, so units don't matter."""
        if name == "none":
            return cls()
        largest = float(obs.values.max())
        low = max(float(np.quantile(obs.values[obs.values > 0], LOW)), ROUNDING * largest)
        return cls(name, OFFSETS[name] * low, 1.0, TOP[name] * largest)

    def forward(self, values: np.ndarray) -> np.ndarray:
        """Values ``y`` >= 0 to ``z``."""
        if self.name == "sqrt":
            return np.sqrt(values + self.offset)
        if self.name == "log":
            return np.log1p(values / self.offset)
        if self.name == "exp":
            return np.log(np.maximum(values, HALF))
        if self.name == "logit":
            inside = np.clip(values, SURELY, 1.0 - SURELY)
            return np.log(inside / (1.0 - inside))
        return values

    def inverse(self, fitted: np.ndarray) -> np.ndarray:
        """What a fit in ``z`` says of the mean of ``y``."""
        if self.name == "none":
            return fitted
        return np.clip(self.factor * self._size(fitted) - self.offset, 0.0, self.top)

    def derivative(self, fitted: np.ndarray) -> np.ndarray:
        """``d inverse / dz``: what a small error in ``z`` comes to in ``y``; 0 where the inverse is clipped."""
        if self.name == "none":
            return np.ones(np.shape(fitted))
        size = self._size(fitted)
        slope = {"sqrt": 2.0 * np.maximum(fitted, 0.0), "logit": size * (1.0 - size)}.get(self.name, size)
        value = self.factor * size - self.offset
        return np.where((value > 0.0) & (value < self.top), self.factor * slope, 0.0)

    def calibrated(self, held: Observations, residual: np.ndarray) -> Transform:
        """The transform whose `factor` brings back the total of the held-out entries; `held` and `residual` are in ``z``.

        Residuals are capped at 5 robust standard deviations: a few wild entries must not scale all the others.
        """
        if self.name == "none":
            return self
        fitted = held.values - residual
        cap = CAP * np.median(np.abs(residual))
        weights = np.square(root_weights(held))
        true, said = (np.sum(weights * self._size(z)) for z in (fitted + np.clip(residual, -cap, cap), fitted))
        return replace(self, factor=float(true / said)) if said > 0 else self

    def residual(self, held: Observations, residual: np.ndarray) -> np.ndarray:
        """Errors in ``y`` of a fit whose errors in ``z`` are `residual`, after `calibrated`; `held` is in ``z``."""
        plain = replace(self, factor=1.0, top=np.inf)
        return plain.inverse(held.values) - self.calibrated(held, residual).inverse(held.values - residual)

    @property
    def of_what(self) -> str:
        """In words, what a fit is fitted to."""
        words = {"none": "values", "sqrt": "square roots of the values", "log": "logarithms of the values"}
        return (words | {"exp": "logarithms of the means", "logit": "log odds"})[self.name]

    # --- files --------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """What `load` reads, to be kept beside a model."""
        return {"transform": np.array(self.name), "transform_numbers": np.array([self.offset, self.factor, self.top])}

    @classmethod
    def load(cls, path: str | os.PathLike) -> Transform:
        """The transform of a model written by `Completion.save`; raises ValueError for a file without one."""
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            if "transform" not in stored:
                return cls()
            return cls(str(stored["transform"]), *map(float, stored["transform_numbers"]))  # pyright: ignore[reportArgumentType]

    def _size(self, fitted: np.ndarray) -> np.ndarray:
        """``y + offset`` at `fitted`."""
        if self.name == "sqrt":
            return np.square(np.maximum(fitted, 0.0))
        if self.name == "none":
            return fitted
        if self.name == "exp":
            return np.exp(np.minimum(fitted, 700.0))
        if self.name == "logit":
            return 0.5 * (1.0 + np.tanh(0.5 * fitted))
        # beyond the top all is clipped, and exp must not overflow
        limit = np.inf if np.isinf(self.top) else np.log1p(self.top / self.offset) + 1.0
        return self.offset * np.exp(np.minimum(fitted, limit))


def check_transform(name: str | None, obs: Observations) -> Name | Literal["auto"]:
    """`name` where it is known and `obs` allow it; raises ValueError with the mend where not."""
    if name is None:
        return "none"
    if name not in ("auto", "sqrt", "log"):
        raise ValueError(f"value_transform={name!r} is not known; pass 'auto', None, 'sqrt' or 'log'")
    below = np.flatnonzero(obs.values < 0)
    if name != "auto" and len(below):
        where = tuple(obs.coords[:, below[0]].tolist())
        raise ValueError(
            f"value_transform={name!r} needs values >= 0, but {len(below)} are negative, the first {obs.values[below[0]]:g} at {where}; "
            "pass value_transform='auto', or set them to NaN where they mean 'not observed'"
        )
    return name  # pyright: ignore[reportReturnType]
