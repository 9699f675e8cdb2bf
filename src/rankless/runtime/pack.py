"""Frozen dataclasses as named arrays and back, for journals and files: no class writes its own, and no pickle is read.

    value  =  None, bool, int, float, str, array, tuple, list, dict, or a dataclass of such values

A packed value is one array, `how`, with a line of JSON that says how it is built, and the arrays which that line names.
Only classes that the reader lists can come back.

>>> from dataclasses import dataclass
>>> @dataclass(frozen=True)
... class Pair:
...     name: str
...     values: np.ndarray
>>> back = unpack(pack((Pair("a", np.arange(3)), None)), [Pair])
>>> back[0].name, back[0].values.tolist(), back[1]
('a', [0, 1, 2], None)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def pack(value: Any) -> dict[str, np.ndarray]:
    """`value` as arrays; raises TypeError, naming the type, for what is not one of the kinds above."""
    arrays: list[np.ndarray] = []
    known: dict[int, int] = {}  # an array that stands in several places is written once

    def taken(part: Any) -> Any:
        if part is None or isinstance(part, (bool, int, float, str)):
            return part
        if isinstance(part, np.generic):
            return part.item()
        if isinstance(part, np.ndarray):
            if id(part) not in known:
                known[id(part)] = len(arrays)
                arrays.append(part)
            return {"array": known[id(part)]}
        if isinstance(part, tuple | list):
            return {type(part).__name__: [taken(each) for each in part]}
        if isinstance(part, dict):
            return {"dict": [[taken(key), taken(each)] for key, each in part.items()]}
        if is_dataclass(part) and not isinstance(part, type):
            return {"class": type(part).__name__, "fields": {f.name: taken(getattr(part, f.name)) for f in fields(part) if f.init}}
        raise TypeError(f"a {type(part).__name__} cannot be packed; pack dataclasses of numbers, texts, tuples and arrays")

    how = json.dumps(taken(value))
    return {"how": np.frombuffer(how.encode(), np.uint8), **{f"array_{number}": array for number, array in enumerate(arrays)}}


def unpack(arrays: Mapping[str, np.ndarray], classes: Iterable[type] = ()) -> Any:
    """The way back from `pack`; raises ValueError for a class that `classes` does not list."""
    known = {each.__name__: each for each in classes}

    def built(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        if "array" in part:
            return arrays[f"array_{part['array']}"]
        if "class" in part:
            if part["class"] not in known:
                raise ValueError(f"a packed {part['class']!r} is none of {', '.join(sorted(known))}")
            return known[part["class"]](**{name: built(each) for name, each in part["fields"].items()})
        if "dict" in part:
            return {built(key): built(each) for key, each in part["dict"]}
        ((kind, items),) = part.items()
        return {"tuple": tuple, "list": list}[kind](map(built, items))

    return built(json.loads(bytes(arrays["how"])))
