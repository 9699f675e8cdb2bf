"""Dense arrays: ``.npy`` holds one, ``.npz`` may hold labels beside it."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rankless.io import npy
from rankless.io.broken import Unclear, listing, named, short
from rankless.kinds.given import Dense, array_in
from rankless.runtime.files import write_beside
from rankless.tensors.observations import Marks, Observations

if TYPE_CHECKING:
    from rankless.completion import Completion

_USUAL_KEY = "tensor"
_MEMBER = ".npy"


def read(path: str | os.PathLike, *, modes: Sequence[str] | None = None, value: str | None = None, missing: Marks = ()) -> Dense:
    """Observations of the array in `path`; NaN is not observed, 0 is a value."""
    labels = None
    with named(path, "write it again with numpy.save or numpy.savez"), open(path, "rb") as stream:
        if Path(path).suffix.lower() == ".npy":
            coords, values, header = npy.read_entries(path, stream, os.fstat(stream.fileno()).st_size, missing)
        else:
            with zipfile.ZipFile(stream) as archive:
                members = {i.filename.removesuffix(_MEMBER): i for i in archive.infolist() if i.filename.endswith(_MEMBER)}
                chosen = members[_chosen_key(path, members, value)]
                with archive.open(chosen) as member:
                    coords, values, header = npy.read_entries(path, member, chosen.file_size, missing)  # pyright: ignore[reportArgumentType]
                labels = _labels(archive, members, modes, header.shape)
    try:
        name = value or "value"
        obs = Observations.from_indices(coords.T, values, shape=header.shape, modes=modes, labels=labels, value_name=name)
        return Dense(obs, dtype=header.dtype)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def save(path: str | os.PathLike, done: Completion, *, coverage: float | None = None) -> None:
    """Write all cells, observed and filled; an .npz also takes the ends of their intervals."""
    obs, given = done.observations, done.given
    beside = {name: label for name, label in zip(obs.modes, given.labels(), strict=True) if label is not None}
    if coverage is not None:
        beside |= dict(zip(("lower", "upper"), done.interval(coverage), strict=True))
    write(path, in_its_dtype(done), given.outward(obs.observed()), beside)


def in_its_dtype(done: Completion) -> np.ndarray:
    """The filled array, in the dtype of the file that it came from where that is one of an array."""
    given = done.given
    return array_in(done.array(), given.dtype) if isinstance(given, Dense) else done.array()


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """The mask in a .npy, or in an .npz that holds one array, or one called ``where`` or ``mask``."""
    with named(path, "write it again with numpy.save or numpy.savez"):
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            key = next((key for key in ("where", "mask") if key in loaded), None) or _chosen_key(path, dict.fromkeys(loaded), None)
            return loaded[key]


def write(path: str | os.PathLike, array: np.ndarray, observed: np.ndarray, beside: Mapping[str, np.ndarray]) -> None:
    """Write a filled array; an .npz also says which cells were observed, and carries the labels in `beside`."""
    with write_beside(path) as temporary:
        if temporary.suffix.lower() == ".npy":
            with open(temporary, "wb") as stream:
                np.lib.format.write_array(_Plain(stream), array, allow_pickle=False)  # pyright: ignore[reportArgumentType]
        else:
            _write_npz(temporary, {**beside, _USUAL_KEY: array, "observed": observed})


class _Plain:
    """A stream that NumPy doesn't know for a file: into one it writes past Python, and a full disk may go unnoticed."""

    def __init__(self, stream: BinaryIO):
        self.write = stream.write


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # not numpy.savez: it may pickle, and takes no array called "file"
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            plain = array.astype(str) if array.dtype.kind == "O" else array
            with archive.open(f"{key}{_MEMBER}", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, plain, allow_pickle=False)


def _chosen_key(path, stored: Mapping[str, object], value: str | None) -> str:
    keys = list(stored)
    if value is not None:
        if value not in keys:
            raise Unclear(f"no array {value!r} in {path}; it holds {listing(keys)}")
        return value
    if _USUAL_KEY in keys:
        return _USUAL_KEY
    if len(keys) != 1:
        example = short(keys[0] if keys else "name")
        raise Unclear(f"{path} holds {listing(keys)}; say which to fill, for example value={example} (--value {example[1:-1]})")
    return keys[0]


def _labels(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], modes: Sequence[str] | None, shape: tuple[int, ...]):
    """Labels of each mode that is named like a flat array of its length."""
    if modes is None or len(modes) != len(shape):
        return None
    labels = []
    for name, size in zip(modes, shape, strict=True):
        label = None
        if name in members:
            with archive.open(members[name]) as member:
                label = npy.read_flat(member, members[name].file_size, size)  # pyright: ignore[reportArgumentType]
        labels.append(label)
    return labels
