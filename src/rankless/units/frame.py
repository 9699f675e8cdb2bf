"""`Frame`: the units and weights a fit happens in.

    y = offset(i) + scale[slice of i] * T(i) + noise of that slice

The offset is the main effects or nothing. The scale is one number, or, where slices of a chosen
mode differ in noise, one a slice: its root mean square, so that no unit of measurement counts more
than another; its entries then weigh as the inverse of its noise. In these units the values have
unit root mean square and a penalty means the same everywhere; the model that comes back is in the
units of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankless.als.entries import Entries
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.units.effects import MainEffects

ROUNDING = 1e-9  # least scale as a share of the values' size: below it rounding would be magnified to unit size


@dataclass(frozen=True, eq=False)
class Frame:
    """Offset, scales and weights. `mode` is the mode whose slices have their own noise, or None."""

    offset: MainEffects | None
    mode: int | None
    scales: np.ndarray  # (d_mode,), or (1,) where mode is None
    weights: np.ndarray | None  # (d_mode,), or None where mode is None
    noise: float = 0.0  # mean square of the noise in these units and weights, where an earlier fit showed it

    @classmethod
    def of(cls, obs: Observations, *, effects: bool, mode: int | None = None, noise: np.ndarray | None = None) -> Frame:
        """The frame in which `obs` has unit root mean square; slices of `mode` have `noise`, shape ``(d_mode,)``."""
        offset = MainEffects.fit(obs) if effects else None
        whole = cls(offset, None, np.ones(1), None).to_units(obs)
        rounding = ROUNDING * obs.rms() or 1.0  # what main effects leave of additive data is no signal
        if mode is None or noise is None:
            return cls(offset, None, np.full(1, max(whole.rms(), rounding)), None)
        # scaled by the largest value first: squares of 1e200 overflow
        top = float(np.max(np.abs(whole.values), initial=0.0)) or 1.0
        seen = obs.counts(mode)
        squares = np.bincount(obs.coords[mode], (whole.values / top) ** 2, minlength=obs.shape[mode])
        scales = np.maximum(top * np.sqrt(np.divide(squares, seen, out=np.ones(len(seen)), where=squares > 0)), rounding)
        weights = (scales / noise) ** 2
        return cls(offset, mode, scales, weights / np.average(weights, weights=seen))

    @property
    def effects(self) -> bool:
        """Whether there are main effects under the components."""
        return self.offset is not None

    def entries(self, obs: Observations) -> Entries:
        """The entries as the engine takes them while it searches."""
        return Entries(self.to_units(obs), np.float32)

    def scale_at(self, coords: np.ndarray) -> np.ndarray:
        """Scale of each entry; `coords` has shape ``(order, n)``."""
        return self.scales if self.mode is None else self.scales[coords[self.mode]]

    def offset_at(self, coords: np.ndarray) -> np.ndarray | float:
        return 0.0 if self.offset is None else self.offset.at(coords.T)

    def to_units(self, obs: Observations) -> Observations:
        """The same entries in the frame's units."""
        values = (obs.values - self.offset_at(obs.coords)) / self.scale_at(obs.coords)
        return obs.with_values(values.astype(obs.values.dtype, copy=False), self.weights_at(obs))

    def weights_at(self, obs: Observations) -> np.ndarray | None:
        """Weight of each entry, its own times its slice's."""
        if self.weights is None:
            return obs.weights
        weights = self.weights[obs.coords[self.mode]]
        return weights if obs.weights is None else weights * obs.weights

    def to_data(self, model: CPTensor) -> CPTensor:
        """The model in the units of the data, its offset left out."""
        return model.times(self.mode or 0, self.scales).balanced()
