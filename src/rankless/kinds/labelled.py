"""xarray: dims are modes, coordinates their labels; the variables of a Dataset are one mode more."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.kinds import packing
from rankless.kinds.arrays import COMPUTED
from rankless.kinds.given import Filled, Given, Roles, in_dtype
from rankless.kinds.nowhere import of_dims, within
from rankless.kinds.side import is_on_globe
from rankless.kinds.standard import Standard
from rankless.runtime.memory import check_fits
from rankless.tensors import spelling
from rankless.tensors.observations import Marks, Observations, checked_dtype, marks_of

if TYPE_CHECKING:
    import xarray as xr


_MARKS = ("_FillValue", "missing_value")
_MASKS = ("land_binary_mask", "sea_binary_mask")  # CF's standard names of masks


@dataclass(frozen=True, eq=False)
class LabelledArray(Given):
    """A DataArray; name, dims, coordinates, attributes, encoding and dtype come back."""

    template: xr.DataArray
    missing: Marks = ()

    def back(self, done: Filled) -> xr.DataArray:
        return self.template.copy(data=_as_it_was(done.array(), self.template, self.missing))


@dataclass(frozen=True, eq=False)
class LabelledSet(Given):
    """A Dataset, `names` of whose variables were fitted; everything else comes back as it was."""

    template: xr.Dataset
    names: tuple[Hashable, ...]
    missing: Marks = ()

    def back(self, done: Filled) -> xr.Dataset:
        return filled_set(self.template, filled_fields(self.template, self.names, done), self.missing)


@dataclass(frozen=True, eq=False)
class Fields:
    """Observations of some variables, those of them that have any, and what else a `Given` needs to know of them."""

    observations: Observations
    names: tuple[Hashable, ...]
    places: tuple[np.ndarray | None, ...]
    alarms: tuple[str, ...]
    side: dict[str | int, Any] | None = None

    @property
    def units(self) -> Standard | None:
        """Variables have units of their own, so several are standardised: no unit of measurement counts more than another."""
        return Standard.of(self.observations) if len(self.names) > 1 else None

    @property
    def known(self) -> dict[str, Any]:
        return {"units": self.units, "places": self.places, "alarms": self.alarms, "side": self.side}


def from_dataarray(data: xr.DataArray, roles: Roles) -> LabelledArray:
    """Observations of a DataArray; NaN is not observed, nor is what its attributes say is missing or not valid."""
    check_unnamed(roles, "a DataArray", data.dims)
    notes = ()
    if data.chunks is not None:
        check_fits(data.shape, data.dtype.itemsize)
        data, notes = data.compute(), (COMPUTED,)
    if data.name is None or data.name in data.dims or data.name in data.coords:
        fields = fields_of(data.rename(None).to_dataset(name="value"), ("value",), roles.missing)
    else:
        fields = fields_of(data.to_dataset(), (data.name,), roles.missing)
    return LabelledArray(fields.observations, data.copy(deep=False), roles.missing, notes=notes, **fields.known)


def from_dataset(data: xr.Dataset, roles: Roles) -> Given:
    """Observations of the variables of a Dataset, all of them or those that `roles.value` names."""
    where = roles.where if isinstance(roles.where, str) and roles.where in data.variables else None
    names = chosen(data, roles.value, but=where)
    check_unnamed(roles, "a Dataset", data[names[0]].dims)
    lazy, notes = [name for name in names if data[name].chunks is not None], ()
    if lazy:
        check_fits((len(lazy), *data[lazy[0]].shape), 8)
        data, notes = data.assign({name: data[name].compute() for name in lazy}), (COMPUTED,)
    fields = fields_of(data, names, roles.missing)
    given = LabelledSet(fields.observations, data.copy(deep=False), fields.names, roles.missing, notes=notes, **fields.known)
    return with_masks(given, data, roles.where)


def with_masks(given: Given, data: xr.Dataset, where: Any) -> Given:
    """`given` within the variable that `where` names, or where nothing is said within a mask of land or sea that the data have."""
    if isinstance(where, str) and where in data.variables and where not in given.observations.modes:
        return within(given, data[where])
    if where is not None:
        return given
    obs = given.observations
    for name in masks_in(data):
        mask = data[name]
        if set(map(str, mask.dims)) <= set(obs.modes) and np.isin(mask.values, (0, 1)).all():
            for side in (1, 0):
                cells = of_dims(obs, mask == side)
                if not cells.all() and cells[tuple(obs.coords)].all():
                    note = (
                        f"no value was observed where {name!r} ({mask.attrs['standard_name']}) is {1 - side}: these are taken for no cells."
                    )
                    return replace(given, observations=obs.within(cells), notes=(*given.notes, note))
    return given


def masks_in(data: xr.Dataset) -> list[Hashable]:
    """The variables of a Dataset that CF calls a mask of land or sea."""
    return [name for name in data.variables if data[name].attrs.get("standard_name") in _MASKS]


def fields_of(data: xr.Dataset, names: Sequence[Hashable], missing: Marks = ()) -> Fields:
    """Observations of some variables; where they are several, the last mode is the variable.

    A variable of which nothing was observed is left out: nothing says what its unit is. Slices along a coordinate of
    numbers, dates or times are put in the order of its values.
    """
    first = data[names[0]]
    alarms, seen, numbers = [], [], []
    for name in names:
        field = data[name].transpose(*first.dims)
        values, note = _valid(field, missing)
        alarms += [] if note is None else [note]
        if note is not None and np.isnan(values).all():
            raise ValueError(f"variable {name!r} has no value within its valid range; correct or remove that attribute")
        if np.isnan(values).all() and len(names) > 1:
            alarms.append(f"variable {str(name)!r} has no observed value, and nothing says what its unit is: it was left as it is.")
            continue
        seen.append(name)
        numbers.append(values)
    if not seen:
        raise ValueError(f"no variable has an observed value; there are {', '.join(repr(str(name)) for name in names)}")
    orders = [_order_of(first, dim) for dim in first.dims]
    for axis, order in enumerate(orders):
        numbers = numbers if order is None else [np.take(values, order, axis=axis) for values in numbers]
    labels = [label if label is None or order is None else label[order] for label, order in zip(_labels(first), orders, strict=True)]
    places = tuple(None if order is None else np.argsort(order) for order in orders) if any(o is not None for o in orders) else ()
    dims = [str(dim) for dim in first.dims]
    if len(names) == 1:
        obs = Observations.from_array(numbers[0], modes=dims, labels=labels, value_name=str(names[0]))
    elif len(seen) == 1:
        obs = Observations.from_array(numbers[0], modes=dims, labels=labels, value_name=str(seen[0]))
    else:
        mode = "variable" if "variable" not in dims else "variables"
        labels = [*labels, np.array([str(name) for name in seen])]
        obs = Observations.from_array(np.stack(numbers, axis=-1), modes=[*dims, mode], labels=labels)
        places = (*places, None) if places else ()
    return Fields(obs, tuple(seen), places, tuple(alarms), _on_the_globe(first))


def _on_the_globe(data: xr.DataArray) -> dict[str | int, Any] | None:
    """Of each dim that has a latitude and a longitude for every slice, these and its other coordinates of numbers, in the data's order."""
    found: dict[str | int, Any] = {}
    for dim in data.dims:
        columns = {str(name): np.asarray(coord.values) for name, coord in data.coords.items() if coord.dims == (dim,) and name != dim}
        columns = {name: values for name, values in columns.items() if values.dtype.kind in "iuf"}
        if is_on_globe(columns) and all(np.nanstd(values) > 0 for values in columns.values() if np.isfinite(values).any()):
            found[str(dim)] = columns | ({str(dim): data.coords[dim].values} if dim in data.coords else {})
    return found or None


def _order_of(data: xr.DataArray, dim: Hashable) -> np.ndarray | None:
    """The order of the slices along `dim` by the values of its coordinate; None where they are in order, up or down, or names."""
    if dim not in data.coords:
        return None
    label = np.asarray(data.coords[dim].values)
    if label.dtype.kind in "iufmM":
        if (label != label).any():
            return None
        order = np.argsort(label, kind="stable")
    else:
        order = spelling.order(label)
    if order is None or (np.diff(order) == 1).all() or (np.diff(order) == -1).all():
        return None
    return order


def chosen(data: xr.Dataset, value: str | Sequence[str] | None, *, but: Hashable | None = None) -> tuple[Hashable, ...]:
    """The variables to fill; raises ValueError unless they are there, are numbers and share their dims.

    Where none is named these are all `but` one that is a mask, and those that CF calls masks.
    """
    listing = ", ".join(f"{name!r} {_in_words(data[name].dims)}" for name in data.data_vars) or "none"
    if value is None:
        masks = [but, *masks_in(data)]
        names = tuple(name for name in data.data_vars if name not in masks) or tuple(data.data_vars)
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


def filled_set(data: xr.Dataset, fields: Mapping[Hashable, np.ndarray], missing: Marks = ()) -> xr.Dataset:
    """`data` with the holes of some variables filled."""
    new = {}
    for name, field in fields.items():
        variable = data[name].variable
        new[name] = (variable.dims, _as_it_was(field, data[name], missing), variable.attrs, variable.encoding)
    return data.assign(new)


def check_unnamed(roles: Roles, what: str, dims: Sequence[Hashable]) -> None:
    if roles.modes is not None and tuple(roles.modes) != tuple(map(str, dims)):
        raise ValueError(f"modes={list(roles.modes)!r}: {what} names its modes itself, {_in_words(dims)}; leave them out")


def holes_of(data: xr.DataArray, missing: Marks = ()) -> np.ndarray:
    """Where a variable has no value: NaN, or what its attributes or `missing` say is none."""
    return np.isnan(numbers_of(data, missing))


def _as_it_was(values: np.ndarray, data: xr.DataArray, missing: Marks) -> np.ndarray:
    """The variable with `values` in its holes, each in its dtype, and none a mark of the missing."""
    came = np.array(data.values)
    holes = holes_of(data, missing) & ~np.isnan(values)
    encoding = {**data.encoding, **{name: data.attrs[name] for name in _MARKS if name in data.attrs}}
    if came.dtype.kind in "iu" and any(name in encoding for name in _MARKS):
        encoding["dtype"] = came.dtype
    came[holes] = in_dtype(packing.clipped(values, holes, encoding)[holes], came.dtype)
    return came


def numbers_of(data: xr.DataArray, missing: Marks = ()) -> np.ndarray:
    """The numbers of a variable, NaN where it has no valid one."""
    return _valid(data, missing)[0]


def _valid(data: xr.DataArray, missing: Marks) -> tuple[np.ndarray, str | None]:
    """The numbers of a variable, NaN where it has no valid one, and what to say of values that are not valid."""
    what = f"variable {data.name!r}"
    marks = [mark for name in _MARKS for mark in np.ravel(data.attrs.get(name, []))]  # there where xarray was told not to decode
    marks = [mark.item() for mark in marks if isinstance(mark, np.number) and np.isfinite(mark)]
    values = checked_dtype(np.asarray(data.values), what, (*marks_of(missing), *marks))
    low, high, slack = _limits(data)
    with np.errstate(invalid="ignore"):
        outside = (values < low - slack) | (values > high + slack)
    count = int(np.count_nonzero(outside))
    if not count:
        return values, None
    values = np.where(outside, values.dtype.type(np.nan), values)
    return values, f"{count:,} values of {what} lie outside its valid range, {low:g} to {high:g}, and were taken for not observed."


def _limits(data: xr.DataArray) -> tuple[float, float, float]:
    """The valid range in the units of the values, and how far rounding may lead out of it.

    As NetCDF's users' guide has it, `valid_min`, `valid_max` and `valid_range` of whole numbers are as packed as the data in the file.
    """
    attributes, encoding = data.attrs, data.encoding
    ends = [attributes.get("valid_min", -np.inf), attributes.get("valid_max", np.inf)]
    both = np.ravel(attributes.get("valid_range", ()))
    ends = list(both) if len(both) == 2 else [np.ravel(end)[0] for end in ends]
    if not all(isinstance(end, (int, float, np.number)) for end in ends):
        return -np.inf, np.inf, 0.0
    scale, offset = (float(np.ravel(encoding.get(name, default))[0]) for name, default in (("scale_factor", 1.0), ("add_offset", 0.0)))
    stored = np.dtype(encoding.get("dtype", float))
    slack = (
        4 * float(np.finfo(data.dtype).eps if data.dtype.kind == "f" else 0.0) * max(abs(float(e)) if np.isfinite(e) else 0.0 for e in ends)
    )
    if stored.kind in "iu" and (scale, offset) != (1.0, 0.0):
        whole = [isinstance(end, (int, np.integer)) for end in ends]
        if str(encoding.get("_Unsigned", "false")).lower() == "true":
            ends = [int(end) % 2 ** (8 * stored.itemsize) if is_whole else end for end, is_whole in zip(ends, whole, strict=True)]
        ends = [float(end) * scale + offset if is_whole else float(end) for end, is_whole in zip(ends, whole, strict=True)]
        slack = max(slack, 0.5 * abs(scale))
        if scale < 0 and any(whole):
            ends = [-np.inf if ends[1] == np.inf else ends[1], np.inf if ends[0] == -np.inf else ends[0]]
    return float(ends[0]), float(ends[1]), slack


def _labels(data: xr.DataArray) -> list[np.ndarray | None]:
    return [data.coords[dim].values if dim in data.coords else None for dim in data.dims]


def _in_words(dims: Sequence[Hashable]) -> str:
    return f"({', '.join(map(str, dims))})"


def labelled_array(array: np.ndarray, obs: Observations) -> Any:
    """`array`, of the shape of `obs`, as an xarray.DataArray with its modes, labels and name; raises ImportError without xarray."""
    try:
        import xarray
    except ImportError:
        raise ImportError("a DataArray needs xarray: pip install xarray") from None
    coords = {name: np.arange(size) if label is None else label for name, size, label in zip(obs.modes, obs.shape, obs.labels, strict=True)}
    return xarray.DataArray(array, dims=obs.modes, coords=coords, name=obs.value_name)
