"""NumPy arrays: plain ones with NaN, and masked ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.kinds.given import Filled, Given, Plain, Roles, filled_in
from rankless.runtime.memory import check_fits
from rankless.tensors.observations import Observations


@dataclass(frozen=True, eq=False)
class Masked(Given):
    """A masked array comes back as one, in its dtype; nothing is masked but what is no cell."""

    template: np.ma.MaskedArray

    def back(self, done: Filled) -> np.ma.MaskedArray:
        array = done.array()
        values = filled_in(self.template.data, array, self.outward(self.observations.observed()))
        nowhere = np.isnan(array)
        return np.ma.MaskedArray(values, mask=nowhere if nowhere.any() else np.ma.nomask, fill_value=self.template.fill_value)


def from_dense(data: Any, roles: Roles) -> Plain:
    """Observations of anything that NumPy takes for an array; NaN is not observed. What is lazy is computed, and said to be."""
    if isinstance(data, (str, bytes, os.PathLike)):
        raise ValueError(
            f"complete takes data, and {os.fspath(data)!r} is a name: read the file first, with rankless.read, pandas.read_csv or "
            "xarray.open_dataset, or fill it on the command line: rankless complete FILE"
        )
    if isinstance(data, Mapping):
        raise ValueError("complete takes no dictionary; make it a table: pandas.DataFrame(data)")
    if data is None:
        raise ValueError("complete was given None; pass an array with NaN where nothing was observed, a table, or a DataArray")
    notes, shape = (), getattr(data, "shape", ())
    if hasattr(data, "dask"):
        check_fits(shape, data.dtype.itemsize)
        notes = (COMPUTED,)
    template = np.asarray(data)
    return Plain(Observations.from_array(template, modes=roles.modes, missing=roles.missing), template, notes=notes)


def from_masked(data: np.ma.MaskedArray, roles: Roles) -> Masked:
    """Observations of a masked array; what is masked, or NaN, is not observed."""
    return Masked(Observations.from_array(data, modes=roles.modes, missing=roles.missing), data)


COMPUTED = "the data were lazy (dask): they were computed, and what comes back lies in memory."
