"""A finished run as one ``.npz`` file: arrays beside a description of what they make, and no pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from rankless.runtime.files import write_beside

_FORM = "rankless run, 1"


def save(path: str | os.PathLike, fields: dict[str, Any]) -> None:
    """Write a tree of modules, dicts, tuples, lists, arrays, numbers and words."""
    arrays: dict[str, np.ndarray] = {}
    described = json.dumps({"form": _FORM, "tree": _described(fields, arrays)})
    with write_beside(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, description=np.array(described), **arrays)  # pyright: ignore[reportArgumentType]


def load(path: str | os.PathLike, kinds: Sequence[type]) -> Any:
    """The tree of `save`; modules are made of `kinds`, by name. Raises ValueError for another file, or for a kind that is not there."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        description = json.loads(str(arrays["description"]))
        known = description["form"] == _FORM
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{os.fspath(path)} is not a run saved by Run.save") from error
    if not known:
        raise ValueError(f"{os.fspath(path)} was saved in form {description['form']!r}, and {_FORM!r} is read here")
    return _made(description["tree"], arrays, {kind.__name__: kind for kind in kinds})


def _described(x: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(x, eqx.Module):
        return {"kind": type(x).__name__, "fields": {name: _described(value, arrays) for name, value in vars(x).items()}}
    if isinstance(x, dict):
        return {"dict": [[name, _described(value, arrays)] for name, value in x.items()]}
    if isinstance(x, (tuple, list)):
        return {type(x).__name__: [_described(value, arrays) for value in x]}
    if isinstance(x, (np.ndarray, np.generic, jax.Array)):
        name = f"array_{len(arrays)}"
        arrays[name] = np.asarray(x)
        return {"array": name}
    if x is None or isinstance(x, (bool, int, float, str)):
        return {"plain": x}
    raise ValueError(f"a {type(x).__name__} cannot be saved; keep arrays, numbers, words, tuples and dicts in what a run holds")


def _made(spec: Any, arrays: dict[str, np.ndarray], kinds: dict[str, type]) -> Any:
    if "kind" in spec:
        if spec["kind"] not in kinds:
            raise ValueError(
                f"the run holds a {spec['kind']}, which is not one of the library's; pass Run.load(path, kinds=[{spec['kind']}])"
            )
        module = object.__new__(kinds[spec["kind"]])
        for name, value in spec["fields"].items():
            object.__setattr__(module, name, _made(value, arrays, kinds))
        return module
    if "dict" in spec:
        return {name: _made(value, arrays, kinds) for name, value in spec["dict"]}
    for kind in (tuple, list):
        if kind.__name__ in spec:
            return kind(_made(value, arrays, kinds) for value in spec[kind.__name__])
    return arrays[spec["array"]] if "array" in spec else spec["plain"]
