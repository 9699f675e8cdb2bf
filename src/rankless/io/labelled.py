"""``.nc`` and ``.zarr``: variables with dims, coordinates and attributes.

What is written is a copy of what was read with the values of the holes overwritten, packed as the rest is: other
variables, groups, attributes, compression, units of time and every observed cell stay as they are, to the byte.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rankless.io import hdf5
from rankless.io.broken import Unclear, named, need
from rankless.kinds.given import Given, Roles
from rankless.kinds.labelled import check_unnamed, chosen, fields_of, filled_fields, filled_set, holes_of, masks_in, numbers_of, with_masks
from rankless.kinds.packing import packed
from rankless.runtime.files import folder_beside, write_beside
from rankless.runtime.memory import check_fits
from rankless.tensors.observations import Marks, is_mark

if TYPE_CHECKING:
    import xarray as xr

    from rankless.completion import Completion

_NEVER_WRITTEN = 9.969209968386869e36
_MEND = "write it again with xarray"


@dataclass(frozen=True, eq=False)
class Stored(Given):
    """Variables of a file, which is opened again when its holes are to be filled."""

    path: Path
    names: tuple[Hashable, ...]
    stamp: tuple[int, ...]  # what shows that the file is no longer the one that was read
    missing: Marks = ()

    def back(self, done: Completion) -> xr.Dataset:
        """The whole file as a Dataset, the holes of its variables filled."""
        self.check_unchanged()
        with _opened(self.path) as stored:
            data = _decoded(stored).load()
        return filled_set(data, filled_fields(data, self.names, done), self.missing)

    def check_unchanged(self) -> None:
        if _stamp(self.path) != self.stamp:
            raise ValueError(f"{self.path} changed after it was read, so its holes cannot be filled in it; run again")


def read(
    path: str | os.PathLike, *, modes: Sequence[str] | None = None, value: str | None = None, missing: Marks = (), where: Any = None
) -> Given:
    """Observations of the variables of a file that share their dims, or of those that `value` names."""
    path = Path(path)
    _need(path)
    with named(path, _MEND):
        stamp = _stamp(path)
        with _opened(path) as stored:
            data = _decoded(stored)
            mask = where if isinstance(where, str) and where in data.variables and where not in data.dims else None
            with _blaming(path):
                names = chosen(data, value, but=mask)
                check_unnamed(Roles(modes), "the file", data[names[0]].dims)
                for name in names:
                    check_fits(data[name].shape, 8)
            for name in names:
                _check_written(path, data[name], missing)
            dims = set(data[names[0]].dims)
            beside = [name for name in ([mask] if mask else masks_in(data)) if set(data[name].dims) <= dims]
            data = data[[*names, *beside]].load()
    with _blaming(path):
        fields = fields_of(data, names, missing)
        given = Stored(fields.observations, path, fields.names, stamp, missing, **fields.known)
        return with_masks(given, data, where)


@contextlib.contextmanager
def variable(path: Path, value: str | None) -> Iterator[xr.DataArray]:
    """The one variable that is there, or is named, not yet loaded: its values are read where it is sliced."""
    _need(path)
    with named(path, _MEND), _opened(path) as stored, _blaming(path):
        data = _decoded(stored)
        first, *more = chosen(data, value)
        if more:
            raise ValueError(f"it holds {len(more) + 1} variables, and one is read in blocks; pass value={str(first)!r} or another")
        yield data[first]


def save(path: str | os.PathLike, done: Completion) -> None:
    """Write a filled copy of the file that was read, or a new file of a name, dims and coordinates."""
    path = Path(path)
    _need(path)
    given = done.given
    beside = folder_beside if _is_zarr(path) else write_beside
    with beside(path) as temporary:
        if isinstance(given, Stored) and _is_zarr(given.path) == _is_zarr(path):
            given.check_unchanged()
            (shutil.copytree if _is_zarr(path) else shutil.copyfile)(given.path, temporary)
            _fill(temporary, given.names, done, given.missing)
        else:
            _write(temporary, _dataset(done))


# --- a copy with its holes filled -------------------------------------------------------------------


def _fill(path: Path, names: Sequence[Hashable], done: Completion, missing: Marks) -> None:
    """Overwrite the holes of the variables `names`, packed as the file packs them."""
    with _opened(path) as stored:
        data = _decoded(stored)
        fields = filled_fields(data, names, done)
        filled = {}
        for name, field in fields.items():
            raw, holes = stored[name].values.copy(), holes_of(data[name], missing) & ~np.isnan(field)
            raw[holes] = packed(field[holes], raw.dtype, stored[name].attrs)
            filled[name] = raw
    if _is_zarr(path):
        import zarr

        _overwrite(zarr.open_group(path, mode="r+", use_consolidated=False), filled)
    elif hdf5.is_hdf5(path):
        with hdf5.changing(path) as file:
            # a variable named like a dimension that it is not the coordinate of is stored under this name
            _overwrite(file, {known if (known := f"_nc4_non_coord_{name}") in file else name: raw for name, raw in filled.items()})
    else:
        from scipy.io import netcdf_file

        with netcdf_file(path, "a", mmap=False) as file:
            _overwrite(file.variables, filled)


def _overwrite(target: Any, values: Mapping[Any, np.ndarray]) -> None:
    for name, raw in values.items():
        target[name][...] = raw


# --- a new file -------------------------------------------------------------------------------------


def _dataset(done: Completion) -> xr.Dataset:
    """What `done` holds as a Dataset: what came in where it was of xarray, else one variable."""
    import xarray as xr

    filled = done.filled
    if isinstance(filled, xr.Dataset):
        return filled
    obs = done.observations
    if isinstance(filled, xr.DataArray):
        return filled.to_dataset(name=obs.value_name)
    labels = {mode: plain(label) for mode, label in zip(obs.modes, obs.labels, strict=True) if label is not None}
    name = obs.value_name if obs.value_name not in obs.modes else "value"
    return xr.Dataset({name: (obs.modes, done.array())}, coords=labels)


def plain(labels: np.ndarray) -> np.ndarray:
    """Labels as an array that holds no Python objects."""
    return labels.astype(str) if labels.dtype.kind == "O" else labels


def _write(path: Path, data: xr.Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr, on what its third format doesn't yet promise
        if _is_zarr(path):
            data.to_zarr(path, mode="w")
        else:
            hdf5.write(path, lambda stream: data.to_netcdf(stream, engine="h5netcdf"))


# --- opening ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    """A file as it is stored: numbers packed, times counted."""
    import xarray as xr

    options: dict[str, Any] = {"decode_cf": False, "cache": False}
    if _is_zarr(path):
        _check_no_pickle(path)
        options |= {"engine": "zarr", "consolidated": False, "chunks": None}
    elif hdf5.is_hdf5(path):
        with hdf5.opened(path) as file:
            file.attrs.get("_nc3_strict")  # fails here in one error; h5netcdf would leave a file half open that complains when it goes
        options |= {"engine": "h5netcdf", "phony_dims": "access"}  # dimensions that other HDF5 has no names for
    else:
        options |= {"engine": "scipy", "mmap": False}  # a mapped file that is cut short meanwhile ends the process
    with xr.open_dataset(path, **options) as stored:
        yield stored


def _decoded(stored: xr.Dataset) -> xr.Dataset:
    """What is stored as what it means; times stay numbers where their calendar needs what isn't installed."""
    import xarray as xr

    for times in (True, False):
        try:
            return xr.decode_cf(stored, decode_coords="all", decode_times=times, decode_timedelta=False)
        except (ValueError, ImportError):
            if not times:
                raise
    raise AssertionError


def numbers(path: Path, field: xr.DataArray, missing: Marks = ()) -> np.ndarray:
    """Values of a part of a variable, checked as those of a whole one are."""
    field = field.load()
    with _blaming(path):
        values = numbers_of(field, missing)
    _check_written(path, field, missing)
    return values


def _check_written(path: Path, variable: xr.DataArray, missing: Marks) -> None:
    """NetCDF's mark of cells never written is a number; where a file doesn't name it as such, it would be fitted."""
    unmarked = variable.dtype in (np.float32, np.float64) and not {"_FillValue", "missing_value"} & set(variable.encoding)
    mark = variable.dtype.type(_NEVER_WRITTEN) if unmarked else None
    if unmarked and not is_mark(np.array([mark]), missing) and (variable.values == mark).any():
        raise Unclear(
            f"{path}: variable {variable.name!r} holds {_NEVER_WRITTEN:.3g}, NetCDF's mark of what was never written, as a value; "
            f"give it an attribute _FillValue = {_NEVER_WRITTEN}, or pass missing=[{_NEVER_WRITTEN:.6g}] (--missing {_NEVER_WRITTEN:.6g})"
        )


def _is_zarr(path: Path) -> bool:
    return path.suffix.lower() == ".zarr"


def _check_no_pickle(path: Path) -> None:
    """A Zarr store may name a pickle as the filter of an array: reading it would run whatever is in it."""
    for name in ("zarr.json", ".zarray"):
        for described in path.rglob(name):
            if _names_pickle(json.loads(described.read_text(encoding="utf-8"))):
                raise ValueError("Python objects in dtype")


def _names_pickle(described: Any) -> bool:
    if isinstance(described, Mapping):
        named = any("pickle" in str(described.get(key, "")) for key in ("id", "name"))
        return named or any(_names_pickle(part) for part in described.values())
    return isinstance(described, list) and any(_names_pickle(part) for part in described)


def _stamp(path: Path) -> tuple[int, ...]:
    """Size and time of the last change; of a folder, those of all its files."""
    files = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    stats = [file.stat() for file in files or [path]]
    return len(stats), sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """What is wrong with the contents is said with the name of the file."""
    try:
        yield
    except ValueError as problem:
        raise Unclear(f"{path}: {problem}") from None


def _need(path: Path) -> None:
    need(path, "labelled", "xarray", *(["zarr"] if _is_zarr(path) else ["h5netcdf", "h5py"]))
