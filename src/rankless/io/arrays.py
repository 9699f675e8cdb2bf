"""Dense arrays: ``.npy`` holds one, ``.npz`` may hold labels beside it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rankless._files import write_beside
from rankless.io.broken import Unclear, named
from rankless.observations import Observations

if TYPE_CHECKING:
    from rankless.completion import Completion

_USUAL_KEY = "tensor"


def read(path: str | os.PathLike, *, modes: Sequence[str] | None = None, value: str | None = None) -> Observations:
    """Observations of the array in `path`; NaN is not observed, 0 is a value."""
    labels = None
    with named(path, "write it again with numpy.save or numpy.savez"):
        if Path(path).suffix.lower() == ".npy":
            # mapped, so that a file larger than memory can still be read for its few entries
            array = np.lib.format.open_memmap(path, mode="r")
        else:
            # opened here, because np.load leaves a broken archive open
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
                array = stored[_chosen_key(path, stored, value)]
                labels = _labels(stored, modes, array.shape)
    try:
        return Observations.from_array(array, modes=modes, labels=labels, value_name=value or "value")
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def save(path: str | os.PathLike, done: Completion, *, coverage: float | None = None) -> None:
    """Write all cells, observed and filled; an .npz also takes the ends of their intervals."""
    obs = done.observations
    observed = np.zeros(obs.shape, dtype=bool)
    observed[tuple(obs.coords)] = True
    beside = {name: label for name, label in zip(obs.modes, obs.labels, strict=True) if label is not None}
    if coverage is not None:
        beside |= dict(zip(("lower", "upper"), done.interval(coverage), strict=True))
    write(path, done.array(), observed, beside)


def write(path: str | os.PathLike, array: np.ndarray, observed: np.ndarray, beside: Mapping[str, np.ndarray]) -> None:
    """Write a filled array; an .npz also says which cells were observed, and carries the labels in `beside`."""
    with write_beside(path) as temporary:
        if temporary.suffix.lower() == ".npy":
            with open(temporary, "wb") as stream:
                np.save(stream, array, allow_pickle=False)
        else:
            _write_npz(temporary, {**beside, _USUAL_KEY: array, "observed": observed})


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # not numpy.savez: it may pickle, and takes no array called "file"
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            plain = array.astype(str) if array.dtype.kind == "O" else array
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, plain, allow_pickle=False)


def _chosen_key(path, stored: Mapping[str, np.ndarray], value: str | None) -> str:
    keys = list(stored)
    listing = ", ".join(map(repr, keys)) or "nothing"
    if value is not None:
        if value not in keys:
            raise Unclear(f"no array {value!r} in {path}; it holds {listing}")
        return value
    if _USUAL_KEY in keys:
        return _USUAL_KEY
    if len(keys) != 1:
        example = keys[0] if keys else "name"
        raise Unclear(f"{path} holds {listing}; say which to fill, for example value={example!r} (--value {example})")
    return keys[0]


def _labels(stored: Mapping[str, np.ndarray], modes: Sequence[str] | None, shape: tuple[int, ...]):
    """Labels of each mode that is named like a flat array of its length."""
    if modes is None or len(modes) != len(shape):
        return None
    found = [stored.get(name) for name in modes]
    return [label if label is not None and label.shape == (size,) else None for label, size in zip(found, shape, strict=True)]
