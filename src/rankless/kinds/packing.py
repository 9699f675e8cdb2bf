"""Values as files pack them: ``stored = (value - add_offset) / scale_factor``, whole numbers where the stored type is.

A packed type ends somewhere, and some of its values mark what is missing; neither may befall a filled cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rankless.kinds.given import in_dtype


def packed(values: np.ndarray, dtype: Any, attributes: Mapping[Any, Any]) -> np.ndarray:
    """`values` as they are stored: scaled, rounded, kept within `dtype`, and none of them a mark of the missing.

    >>> packed(np.array([1.23, 99.0, 0.0]), np.int8, {"scale_factor": 0.1, "_FillValue": 0}).tolist()
    [12, 127, 1]
    """
    dtype = np.dtype(dtype)
    scaled = (values.astype(np.float64) - _offset(attributes)) / _scale(attributes)
    if dtype.kind not in "iu":
        return in_dtype(scaled, dtype)
    unsigned = str(attributes.get("_Unsigned", "false")).lower() == "true"
    counted = np.dtype(f"{dtype.byteorder}u{dtype.itemsize}") if unsigned else dtype
    stored, marks = in_dtype(scaled, counted), _marks(attributes, dtype).view(counted)
    top = np.iinfo(counted).max
    while top in marks:
        top -= 1
    while (on := np.isin(stored, marks)).any():  # the nearest number that is no mark, upwards where there is one
        stored[on] = np.where(stored[on] < top, stored[on] + counted.type(1), counted.type(top))
    return stored.view(dtype)


def clipped(values: np.ndarray, holes: np.ndarray, encoding: Mapping[Any, Any]) -> np.ndarray:
    """`values`, those in `holes` moved where the integers of `encoding` could not hold them or would call them missing."""
    dtype = np.dtype(encoding.get("dtype", float))
    if dtype.kind not in "iu" or not holes.any():
        return values
    wanted = values[holes].astype(np.float64)
    stored = packed(wanted, dtype, encoding)
    if str(encoding.get("_Unsigned", "false")).lower() == "true":
        stored = stored.view(f"{dtype.byteorder}u{dtype.itemsize}")
    held = stored * _scale(encoding) + _offset(encoding)
    values = values.copy()
    values[holes] = np.where(np.abs(held - wanted) > 0.51 * abs(_scale(encoding)), held, wanted)
    return values


def _scale(attributes: Mapping[Any, Any]) -> float:
    return float(np.ravel(attributes.get("scale_factor", 1.0))[0])


def _offset(attributes: Mapping[Any, Any]) -> float:
    return float(np.ravel(attributes.get("add_offset", 0.0))[0])


def _marks(attributes: Mapping[Any, Any], dtype: np.dtype) -> np.ndarray:
    found = [np.ravel(attributes[key]) for key in ("_FillValue", "missing_value") if attributes.get(key) is not None]
    return np.concatenate([np.empty(0), *found]).astype(dtype)
