"""What `complete` takes, and how the same comes back.

====================================  ==========================================================
what came in                          what is not observed
====================================  ==========================================================
NumPy array                           NaN
NumPy masked array                    what is masked, or NaN
xarray DataArray, Dataset             NaN; the variables of a Dataset are a mode
long table (one row an entry)         rows that are not there, or have no value
pandas Series                         the same; each level of its MultiIndex is a mode
wide table (``wide=True``)            empty cells; rows and columns are modes
`sparse.COO`, `scipy.sparse`          what is absent, once ``absent="missing"`` says so
Observations                          what they do not list
====================================  ==========================================================

A kind of data is a function from the data to a `Given`: its `observations` are what is fitted, and its
``back(done)`` is the same type, labels and dtype, the holes filled. To add one, write that function and name it in `_KINDS`.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from typing import Any

from rankless.kinds.given import Dense, Given, Roles
from rankless.kinds.nowhere import within
from rankless.kinds.standard import Standard
from rankless.tensors.observations import Observations, listed, marks_of

__all__ = ["Given", "Roles", "in_like_units", "understand"]

# Package and type -> module and function here. A package is never imported to see whether data are of its types:
# where they are, it has been imported already.
_KINDS = (
    ("numpy.ma", "MaskedArray", "arrays", "from_masked"),
    ("numpy", "ndarray", "arrays", "from_dense"),
    ("xarray", "DataArray", "labelled", "from_dataarray"),
    ("xarray", "Dataset", "labelled", "from_dataset"),
    ("sparse", "SparseArray", "sparse", "from_sparse"),
    ("scipy.sparse", "sparray", "sparse", "from_scipy"),
    ("scipy.sparse", "spmatrix", "sparse", "from_scipy"),
    ("pandas", "DataFrame", "tables", "from_pandas"),
    ("pandas", "Series", "tables", "from_series"),
)


def understand(data: Any, roles: Roles) -> Given:
    """`data` of any kind as observations, with the way back; raises ValueError for what it would have to guess.

    >>> import numpy as np
    >>> understand(np.ma.masked_equal([[1, 2], [3, -9]], -9), Roles()).observations
    Observations(shape=(2, 2), observed=3 of 4 (75.00%))
    """
    roles = replace(roles, modes=None if roles.modes is None else listed(roles.modes), missing=marks_of(roles.missing))
    return within(_of_kind(data, roles), roles.where)


def in_like_units(given: Given) -> Given:
    """`given`, its slices standardised where those of a mode are in units of their own; see `rankless.kinds.standard`."""
    if given.units is not None or not given.observations.size:
        return given
    units = Standard.where_unlike(given.observations)
    return given if units is None else replace(given, units=units)


def _of_kind(data: Any, roles: Roles) -> Given:
    if isinstance(data, Given):
        return data
    if isinstance(data, Observations):
        return Dense(data.without(roles.missing))
    for package, name, module, function in _KINDS:
        kind = getattr(sys.modules.get(package), name, None)
        if kind is not None and isinstance(data, kind):
            return getattr(importlib.import_module(f"rankless.kinds.{module}"), function)(data, roles)
    if _is_frame(data):
        from rankless.kinds.frames import from_frame

        return from_frame(data, roles)
    from rankless.kinds.arrays import from_dense

    return from_dense(data, roles)


def _is_frame(data: Any) -> bool:
    """Whether it is a table of any package: they have columns, by one name or another."""
    return any(hasattr(type(data), name) for name in ("columns", "column_names", "__narwhals_dataframe__"))
