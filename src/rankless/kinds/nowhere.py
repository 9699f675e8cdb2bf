"""Cells that are no cells: land in a map of the sea, the lower triangle of a square, a sensor not built yet.

`where` says where there are cells: a mask of the data's shape, a DataArray of some of its dims, or the name of a mode,
along which fibres never observed are none. (The name of a column, or of a variable of a Dataset, is a mask as well, and
is looked up where tables and Datasets are read.)
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from rankless.kinds.given import Given
from rankless.tensors.observations import Observations, is_cell


def within(given: Given, where: Any) -> Given:
    """`given` with its observations within `where`, which is in the order of the data."""
    obs = given.observations
    if where is None or obs.where is not None:  # read with the data already
        return given
    if isinstance(where, str):
        if where not in obs.modes:
            raise ValueError(f"where={where!r} is neither a mask nor one of the modes {', '.join(map(repr, obs.modes))}")
        mask = seen_fibres(obs, obs.modes.index(where))
    else:
        mask = _of_modes(given, where)
    return replace(given, observations=obs.within(mask))


def seen_fibres(obs: Observations, mode: int) -> np.ndarray:
    """All cells of the fibres along `mode` that have an entry.

    >>> seen_fibres(Observations.from_array([[1.0, np.nan], [np.nan, np.nan]]), 1).tolist()
    [[True, True], [False, False]]
    """
    seen = np.zeros([1 if m == mode else d for m, d in enumerate(obs.shape)], dtype=bool)
    seen[tuple(c * 0 if m == mode else c for m, c in enumerate(obs.coords))] = True
    return np.broadcast_to(seen, obs.shape).copy()


def _of_modes(given: Given, where: Any) -> np.ndarray:
    """A mask of the observations' shape and order from one of the data's, or of some of their modes."""
    obs = given.observations
    array = getattr(sys.modules.get("xarray"), "DataArray", None)
    if array is not None and isinstance(where, array):
        return of_dims(obs, where)
    mask = is_cell(where, "where")
    shape = tuple(obs.shape)
    last = shape[len(shape) - mask.ndim :]
    before = shape[:-1]  # of a Dataset, whose variables are the last mode
    if mask.ndim and mask.shape == last:
        mask = np.broadcast_to(mask, shape)
    elif given.units is not None and mask.ndim and mask.shape == before[len(before) - mask.ndim :]:
        mask = np.broadcast_to(mask[..., None], shape)
    else:
        raise ValueError(f"where has shape {mask.shape} and the data {shape}; pass True or False for each cell, or for its last modes")
    inside = np.empty(shape, dtype=bool)
    inside[np.ix_(*(np.arange(d) if place is None else place for d, place in zip(shape, _places(given), strict=True)))] = mask
    return inside


def _places(given: Given) -> tuple[np.ndarray | None, ...]:
    return given.places or (None,) * given.observations.order


def of_dims(obs: Observations, where: Any) -> np.ndarray:
    """A mask from a DataArray: its dims by name, its labels where it has some."""
    strange = [str(dim) for dim in where.dims if str(dim) not in obs.modes]
    if strange:
        raise ValueError(f"where has a dim {strange[0]!r}, and the modes are {', '.join(map(repr, obs.modes))}")
    for dim in where.dims:
        mode = obs.modes.index(str(dim))
        labels = obs.labels[mode]
        if dim in where.coords and labels is not None:
            own = where.indexes[dim]
            at = own.get_indexer(list(labels) if own.dtype == object else labels) if own.is_unique else np.full(len(labels), -1)
            if (at < 0).any():
                raise ValueError(f"where has no {dim} {obs.label(mode, int(np.argmax(at < 0)))}; pass one with the labels of the data")
            where = where.isel({dim: at})
        elif where.sizes[dim] != obs.shape[mode]:
            raise ValueError(f"where has {where.sizes[dim]} slices of {dim} and the data {obs.shape[mode]}; pass as many")
    mask = is_cell(where.transpose(*[dim for dim in obs.modes if dim in where.dims]).values, "where")
    for mode, name in enumerate(obs.modes):
        if name not in map(str, where.dims):
            mask = np.expand_dims(mask, mode)
    return np.broadcast_to(mask, obs.shape).copy()
