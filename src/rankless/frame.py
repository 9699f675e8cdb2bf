"""`Frame`: the units a fit happens in.

    y = offset(i) + scale[slice of i] * T(i)

The offset is the main effects or nothing; the scale is one number, or one a slice of a chosen mode
where slices differ in noise. In these units the values have unit root mean square, so a penalty
means the same everywhere; the model that comes back is in the units of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.cp_tensor import CPTensor
from rankless.effects import MainEffects
from rankless.observations import Observations


@dataclass(frozen=True, eq=False)
class Frame:
    """Offset and scales. `mode` is the mode whose slices have their own noise, or None."""

    offset: MainEffects | None
    mode: int | None
    scales: np.ndarray  # (d_mode,), or (1,) where mode is None

    @classmethod
    def of(cls, obs: Observations, *, effects: bool, mode: int | None = None, noise: np.ndarray | None = None) -> Frame:
        """The frame in which the values of `obs` have unit root mean square, slices weighed by `noise`."""
        offset = MainEffects.fit(obs) if effects else None
        frame = cls(offset, mode, np.ones(1) if noise is None else np.asarray(noise, dtype=np.float64))
        size = frame.to_units(obs).rms()
        return cls(offset, mode, frame.scales * (size if size > 0 else 1.0))

    def scale_at(self, coords: np.ndarray) -> np.ndarray:
        """Scale of each entry; `coords` has shape ``(order, n)``."""
        return self.scales if self.mode is None else self.scales[coords[self.mode]]

    def offset_at(self, coords: np.ndarray) -> np.ndarray | float:
        return 0.0 if self.offset is None else self.offset.at(coords.T)

    def to_units(self, obs: Observations) -> Observations:
        """The same entries in the frame's units."""
        values = (obs.values - self.offset_at(obs.coords)) / self.scale_at(obs.coords)
        return obs.with_values(values.astype(obs.values.dtype, copy=False))

    def to_data(self, model: CPTensor) -> CPTensor:
        """The model in the units of the data, its offset left out."""
        mode = self.mode or 0
        factors = list(model.factors)
        factors[mode] = factors[mode] * (self.scales[:, None] if self.mode is not None else self.scales)
        return CPTensor(factors).balanced()
