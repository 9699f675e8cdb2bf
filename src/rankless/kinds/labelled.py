"""xarray: dims are modes, coordinates their labels; the variables of a Dataset are one mode more."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.kinds import packing
from rankless.kinds.given import Filled, Given, Roles, check_exact, in_dtype
from rankless.kinds.standard import Standard
from rankless.tensors.observations import Observations

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, eq=False)
class LabelledArray(Given):
    """A DataArray; name, dims, coordinates, attributes, encoding and dtype come back."""

    template: xr.DataArray

    def back(self, done: Filled) -> xr.DataArray:
        variable = self.template.variable
        return self.template.copy(data=_as_it_was(done.array(), variable))


@dataclass(frozen=True, eq=False)
class LabelledSet(Given):
    """A Dataset, `names` of whose variables were fitted; everything else comes back as it was."""

    template: xr.Dataset
    names: tuple[Hashable, ...]

    def back(self, done: Filled) -> xr.Dataset:
        return filled_set(self.template, filled_fields(self.template, self.names, done))


def from_dataarray(data: xr.DataArray, roles: Roles) -> LabelledArray:
    """Observations of a DataArray; NaN is not observed."""
    check_unnamed(roles, "a DataArray", data.dims)
    name = "value" if data.name is None or data.name in data.dims else str(data.name)
    obs = Observations.from_array(numbers_of(data), modes=list(map(str, data.dims)), labels=_labels(data), value_name=name)
    return LabelledArray(obs, data.copy(deep=False))


def from_dataset(data: xr.Dataset, roles: Roles) -> LabelledSet:
    """Observations of the variables of a Dataset, all of them or those that `roles.value` names."""
    names = chosen(data, roles.value)
    first = data[names[0]]
    check_unnamed(roles, "a Dataset", first.dims)
    obs = observations_of(data, names)
    return LabelledSet(obs, data.copy(deep=False), names, units=units_of(obs, names))


def observations_of(data: xr.Dataset, names: Sequence[Hashable]) -> Observations:
    """Observations of some variables; where they are several, the last mode is the variable."""
    if len(names) == 1:
        return from_dataarray(data[names[0]], Roles()).observations
    fields = [data[name].transpose(*data[names[0]].dims) for name in names]
    values = np.stack([numbers_of(field) for field in fields], axis=-1)
    dims = [str(dim) for dim in fields[0].dims]
    mode = "variable" if "variable" not in dims else "variables"
    labels = [*_labels(fields[0]), np.array([str(name) for name in names])]
    return Observations.from_array(values, modes=[*dims, mode], labels=labels)


def units_of(obs: Observations, names: Sequence[Hashable]) -> Standard | None:
    """Variables have units of their own, so several are standardised: no unit of measurement counts more than another."""
    return Standard.of(obs) if len(names) > 1 else None


def chosen(data: xr.Dataset, value: str | Sequence[str] | None) -> tuple[Hashable, ...]:
    """The variables to fill; raises ValueError unless they are there, are numbers and share their dims."""
    listing = ", ".join(f"{name!r} {_in_words(data[name].dims)}" for name in data.data_vars) or "none"
    if value is None:
        names = tuple(data.data_vars)
    elif isinstance(value, str):
        names = (value,) if value in data.data_vars else tuple(part.strip() for part in value.split(","))
    else:
        names = tuple(value)
    absent = [name for name in names if name not in data.data_vars]
    if absent or not names:
        raise ValueError(f"no variable {absent[0]!r}; there are {listing}" if absent else "no variable to fill; the Dataset has none")
    if len(set(names)) < len(names):
        raise ValueError(f"{value!r} names a variable twice; there are {listing}")
    if len({frozenset(data[name].dims) for name in names}) > 1:
        # name as the mend those that have the most dims: fields, rather than what describes them
        most = max(data[names[0]].dims, *(data[name].dims for name in names), key=len)
        alike = [str(name) for name in names if set(data[name].dims) == set(most)]
        raise ValueError(
            f"the variables differ in dims: {listing}; name those to fill, for example value={alike} (--value {','.join(alike)})"
        )
    return names


def filled_fields(data: xr.Dataset, names: Sequence[Hashable], done: Filled) -> dict[Hashable, np.ndarray]:
    """All cells of each variable, observed and filled, its axes in the order in which the variable has them."""
    array, first = done.array(), data[names[0]].dims
    fields = {}
    for position, name in enumerate(names):
        field = array if len(names) == 1 else array[..., position]
        fields[name] = field.transpose([first.index(dim) for dim in data[name].dims])
    return fields


def filled_set(data: xr.Dataset, fields: Mapping[Hashable, np.ndarray]) -> xr.Dataset:
    """`data` with the values of some variables replaced."""
    new = {}
    for name, field in fields.items():
        variable = data[name].variable
        new[name] = (variable.dims, _as_it_was(field, variable), variable.attrs, variable.encoding)
    return data.assign(new)


def check_unnamed(roles: Roles, what: str, dims: Sequence[Hashable]) -> None:
    if roles.modes is not None and tuple(roles.modes) != tuple(map(str, dims)):
        raise ValueError(f"modes={list(roles.modes)!r}: {what} names its modes itself, {_in_words(dims)}; leave them out")


def _as_it_was(values: np.ndarray, variable: Any) -> np.ndarray:
    return in_dtype(packing.clipped(values, np.isnan(variable.values), variable.encoding), variable.dtype)


def numbers_of(data: xr.DataArray) -> np.ndarray:
    values = np.asarray(data.values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"variable {data.name!r} has dtype {values.dtype}; pass real numbers, NaN where nothing was observed")
    check_exact(values, f"variable {data.name!r}")
    for name in ("_FillValue", "missing_value"):  # there where xarray was told not to decode
        mark = np.asarray(data.attrs.get(name, np.nan))
        count = int(np.isin(values, mark).sum()) if mark.dtype.kind in "iuf" else 0
        if count:
            raise ValueError(
                f"variable {data.name!r} holds its {name} {mark} as a number, {count:,} times: open it with mask_and_scale=True, "
                f"or pass data.where(data != {mark})"
            )
    return values


def _labels(data: xr.DataArray) -> list[np.ndarray | None]:
    return [data.coords[dim].values if dim in data.coords else None for dim in data.dims]


def _in_words(dims: Sequence[Hashable]) -> str:
    return f"({', '.join(map(str, dims))})"
