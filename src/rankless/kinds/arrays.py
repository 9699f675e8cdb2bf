"""NumPy arrays: plain ones with NaN, and masked ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.kinds.given import Dense, Filled, Given, Roles, check_exact, in_dtype
from rankless.tensors.observations import Observations


@dataclass(frozen=True, eq=False)
class Masked(Given):
    """A masked array comes back as one, in its dtype, nothing masked."""

    dtype: np.dtype
    fill_value: Any

    def back(self, done: Filled) -> np.ma.MaskedArray:
        return np.ma.MaskedArray(in_dtype(done.array(), self.dtype), fill_value=self.fill_value)


def from_dense(data: Any, roles: Roles) -> Dense:
    """Observations of anything that NumPy takes for an array; NaN is not observed."""
    return Dense(Observations.from_array(data, modes=roles.modes))


def from_masked(data: np.ma.MaskedArray, roles: Roles) -> Masked:
    """Observations of a masked array; what is masked, or NaN, is not observed."""
    obs = Observations.from_array(data, modes=roles.modes)
    check_exact(data.compressed(), "the array")
    return Masked(obs, data.dtype, data.fill_value)
