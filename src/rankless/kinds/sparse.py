"""Sparse arrays, of `sparse` and of SciPy: whether what is absent is zero or unknown must be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rankless.kinds.given import Filled, Given, Roles, in_dtype
from rankless.runtime.memory import check_fits
from rankless.tensors.observations import Observations


@dataclass(frozen=True, eq=False)
class Sparse(Given):
    """A sparse array comes back in its format with every cell stored; `predict` gives only those asked for."""

    of: type
    format: str
    dtype: np.dtype

    def back(self, done: Filled) -> Any:
        shape = self.observations.shape
        check_fits(shape, 8 * (len(shape) + 1))
        array = done.array().ravel()
        there = ~np.isnan(array)  # all but what is no cell
        values = in_dtype(array[there], self.dtype)
        cells = np.indices(shape).reshape(len(shape), -1)[:, there]
        if self.of.__module__.startswith("scipy."):
            import scipy.sparse

            coo = scipy.sparse.coo_array if issubclass(self.of, scipy.sparse.sparray) else scipy.sparse.coo_matrix
            return coo((values, tuple(cells)), shape=shape).asformat(self.format)  # pyright: ignore[reportArgumentType]
        import sparse

        return sparse.COO(cells, values, shape=shape).asformat(self.format)


def from_scipy(data: Any, roles: Roles) -> Sparse:
    """Observations of the stored entries of a `scipy.sparse` array, those that stand twice added up, as SciPy reads them."""
    check_said(roles.absent, "A.toarray()")
    coo = data.tocoo(copy=True)
    coo.sum_duplicates()
    return Sparse(_observed(np.column_stack(coo.coords), coo.data, coo.shape, roles), type(data), data.format, data.dtype)


def from_sparse(data: Any, roles: Roles) -> Sparse:
    """Observations of the stored entries of a `sparse.COO`, or of any array of that package."""
    unknown = data.dtype.kind == "f" and np.isnan(data.fill_value)
    if not unknown:  # a fill value of NaN says it
        check_said(roles.absent, "A.todense()")
    coo = data.asformat("coo")
    form = {"COO": "coo", "GCXS": "gcxs", "DOK": "dok"}.get(type(data).__name__, "coo")
    return Sparse(_observed(coo.coords.T, coo.data, coo.shape, roles), type(data), form, data.dtype)


def check_said(absent: str | None, dense: str) -> None:
    """Raise ValueError unless the caller has said that what is absent was not observed."""
    if absent != "missing":
        said = "a sparse array doesn't say" if absent is None else f"absent={absent!r} doesn't say"
        raise ValueError(
            f"{said} whether what is absent was not observed or is 0, and missing is not zero: "
            f"pass absent='missing' (--absent missing) if it was not observed, or {dense} if it is 0"
        )


def _observed(indices: np.ndarray, values: np.ndarray, shape: Any, roles: Roles) -> Observations:
    return Observations.from_indices(indices, values, shape=shape, modes=roles.modes, missing=roles.missing)
