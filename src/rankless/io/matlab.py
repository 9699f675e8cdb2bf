"""MATLAB's ``.mat``: version 5 by SciPy, version 7.3, which is HDF5, by h5py. NaN was not observed."""

from __future__ import annotations

import itertools
import os
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.exceptions import ComplexWarning

from rankless.io import hdf5
from rankless.io.arrays import in_its_dtype
from rankless.io.broken import Unclear, listing, named, need, short
from rankless.kinds.given import Dense, Given, Roles
from rankless.runtime.files import write_beside
from rankless.tensors.observations import Marks, Observations

if TYPE_CHECKING:
    from rankless.completion import Completion

_USUAL_KEY = "tensor"
_MATRIX, _PACKED, _TYPES = 14, 15, {1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18}
_HEAD = 1024  # bytes that hold a variable's name
_NUMBERS = {"double", "single", "logical", "sparse", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64))}


def read(
    path: str | os.PathLike,
    *,
    modes: Sequence[str] | None = None,
    value: str | None = None,
    absent: str | None = None,
    missing: Marks = (),
) -> Given:
    """Observations of an array of `path`; a mode named like a vector or a cell of texts takes its labels from it."""
    with named(path, "write it again with save in MATLAB, or scipy.io.savemat"):
        with open(path, "rb") as stream:
            start = stream.read(128)
        is_hdf5 = b"MATLAB 7.3" in start[:116] or start.startswith(hdf5.MAGIC)
        array, labels = (_read_hdf5 if is_hdf5 else _read_five)(path, modes, value)
    try:
        if hasattr(array, "tocoo"):
            from rankless.kinds.sparse import from_scipy

            return from_scipy(array, Roles(modes, absent=absent, missing=missing))
        fitting, name = _fitting(labels, array.shape), value or "value"
        return Dense(Observations.from_array(array, modes=modes, labels=fitting, value_name=name, missing=missing), dtype=array.dtype)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None


def save(path: str | os.PathLike, done: Completion) -> None:
    """Write the filled array, which cells were observed, and the labels of the modes whose names MATLAB can take."""
    from scipy.io import savemat
    from scipy.io.matlab import MatWriteError

    obs, labels = done.observations, done.given.labels()
    beside = {name: _plain(label) for name, label in zip(obs.modes, labels, strict=True) if label is not None and _can_be_named(name)}
    arrays = {**beside, _USUAL_KEY: in_its_dtype(done), "observed": done.given.outward(obs.observed())}
    with write_beside(path) as temporary:
        try:
            savemat(temporary, arrays, appendmat=False, do_compression=True, oned_as="column")
        except MatWriteError as problem:
            raise ValueError(f"cannot write {str(path)!r}: {problem}; choose .nc, .npz or .zarr") from None


# --- version 5 --------------------------------------------------------------------------------------


def _read_five(path, modes: Sequence[str] | None, value: str | None) -> tuple[Any, list[np.ndarray | None]]:
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import matfile_version

    with open(path, "rb") as stream:
        held = {name: (shape, kind) for name, shape, kind in whosmat(stream, appendmat=False)}
        structs = [name for name, (_, kind) in held.items() if kind == "struct"]
        needed = [name for name in structs if any(of.split(".")[0] == name for of in [value, *(modes or [])] if of is not None)]
        if value is None and not any(kind in _NUMBERS for _, kind in held.values()):
            needed = structs  # what there is lies in them
        fields = _fields_five(stream, needed, is_five=matfile_version(stream, appendmat=False)[0] == 1) if needed else {}
        held |= {name: (field.shape, _kind_of(field)) for name, field in fields.items()}
        chosen = _chosen(path, held, value)
        if chosen in fields:
            return fields[chosen], [_label(fields.get(name, fields.get(f"{chosen.rpartition('.')[0]}.{name}"))) for name in modes or []]
        wanted = [chosen, *(name for name in modes or [] if name in held)]
        stream.seek(0)
        if matfile_version(stream, appendmat=False)[0] == 1:  # which is written as 5
            stream.seek(0)
            _check_types(stream, wanted)
        stream.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ComplexWarning)
            try:
                loaded = loadmat(stream, appendmat=False, variable_names=wanted, mat_dtype=True)
            except ComplexWarning:  # SciPy would leave out the imaginary part
                raise Unclear(f"{path}: the array is complex; pass real numbers, for example its real and imaginary part") from None
    if hasattr(loaded[chosen], "indptr") and (np.diff(loaded[chosen].indptr) < 0).any():  # SciPy would write where they point
        raise ValueError("columns of a sparse matrix that end before they begin")
    return loaded[chosen], [_label(loaded.get(name)) for name in modes or []]


def _fields_five(stream: BinaryIO, structs: Sequence[str], *, is_five: bool) -> dict[str, np.ndarray]:
    """The arrays in the fields of some structs, and of structs in these, by names such as ``a.b``."""
    from scipy.io import loadmat

    if is_five:
        stream.seek(0)
        _check_types(stream, structs)
    stream.seek(0)
    loaded = loadmat(stream, appendmat=False, variable_names=list(structs), mat_dtype=True)
    found: dict[str, np.ndarray] = {}

    def look(name: str, part: Any) -> None:
        if isinstance(part, np.ndarray) and part.dtype.names and part.size == 1:
            for field in part.dtype.names:
                look(f"{name}.{field}", part[field].ravel()[0])
        elif isinstance(part, np.ndarray) or hasattr(part, "indptr"):
            found[name] = part

    for name in structs:
        look(name, loaded[name])
    return found


def _kind_of(field: Any) -> str:
    """What MATLAB calls an array of this dtype."""
    if hasattr(field, "indptr"):
        return "sparse"
    if field.dtype.names:
        return "struct"
    names = {"f8": "double", "f4": "single", "b1": "logical"}
    plain = {"i": f"int{8 * field.dtype.itemsize}", "u": f"uint{8 * field.dtype.itemsize}", "U": "char", "O": "cell"}
    return names.get(field.dtype.str[1:], plain.get(field.dtype.kind, "object"))


def _check_types(stream: BinaryIO, wanted: Collection[str]) -> None:
    """Raise ValueError over a type of numbers that there is none of: SciPy looks it up past the end of its table, and crashes.

    file     =  head of 128 bytes, element, element, ...
    element  =  type, size, data to a multiple of 8 bytes; or in 8 bytes, size and type in 16 bits each, and the data
    data     =  elements: flags, shape, name, numbers or matrices (of type 14); those of type 15 are compressed
    """
    order = "<" if stream.read(128).endswith(b"IM") else ">"
    while len(tag := stream.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        content = stream.read(size)
        if kind == _PACKED:
            head = memoryview(zlib.decompressobj().decompress(content, _HEAD))[8:]
            if any(bytes(part).decode("latin-1") in wanted for _, part in itertools.islice(_elements(head, order), 2, 3)):
                _check_matrix(memoryview(zlib.decompress(content))[8:], order)
        elif kind == _MATRIX:
            _check_matrix(memoryview(content), order)


def _check_matrix(content: memoryview, order: str) -> None:
    for number, (kind, part) in enumerate(_elements(content, order)):
        if number == 0 and len(part) != 8:
            raise ValueError(f"{len(part)} bytes of flags")
        if kind == _MATRIX:
            _check_matrix(part, order)
        elif kind not in _TYPES:
            raise ValueError(f"numbers of type {kind}")


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        start, at = at + 8, at + 8 + (size + 7) // 8 * 8
        if kind >> 16:
            kind, size, start, at = kind & 0xFFFF, kind >> 16, start - 4, start
        if start + size > len(content):
            raise ValueError(f"{size} bytes in an element of fewer")
        yield kind, content[start : start + size]


def _label(found: Any) -> np.ndarray | None:
    """Labels from a vector of numbers, a cell of texts or a matrix of characters; None from anything else."""
    if not isinstance(found, np.ndarray) or (found.dtype.kind != "U" and max(found.shape, default=0) != found.size):
        return None
    if found.dtype.kind == "O":
        texts = [cell.item() if isinstance(cell, np.ndarray) and cell.size == 1 else "" for cell in found.ravel()]
        return np.array(texts) if all(isinstance(text, str) for text in texts) else None
    if found.dtype.kind == "U":
        return np.char.rstrip(found.ravel())
    return found.ravel() if found.dtype.kind in "fiu" else None


# --- version 7.3 ------------------------------------------------------------------------------------


def _read_hdf5(path, modes: Sequence[str] | None, value: str | None) -> tuple[np.ndarray, list[np.ndarray | None]]:
    need(path, "labelled", "h5py")
    with hdf5.opened(path) as file:
        held = {}

        def look(name: str, part: Any) -> None:
            kind = "sparse" if "MATLAB_sparse" in part.attrs else _text(part.attrs.get("MATLAB_class", b""))
            held[name] = (tuple(reversed(getattr(part, "shape", ()))), kind)
            if kind == "struct" and hasattr(part, "items"):
                for field, inside in part.items():
                    look(f"{name}.{field}", inside)

        for name, part in file.items():
            if not name.startswith("#"):
                look(name, part)
        chosen = _chosen(path, held, value)
        if held[chosen][1] == "sparse":
            raise Unclear(f"{chosen!r} of {path} is a sparse matrix of a version 7.3 file; save it with save(..., '-v7')")
        array = np.asarray(file[chosen if chosen in file else chosen.replace(".", "/")]).T  # MATLAB's first mode varies fastest
        beside = chosen.rpartition(".")[0]
        own = [name if name in held else f"{beside}.{name}" for name in modes or []]
        return array, [_label_hdf5(file, held, name) for name in own]


def _label_hdf5(file: Any, held: Mapping[str, tuple], name: str) -> np.ndarray | None:
    if name not in held:
        return None
    found = np.asarray(file[name if name in file else name.replace(".", "/")]).ravel()
    if held[name][1] == "cell":
        cells = [file[reference] for reference in found]
        if not all(_text(cell.attrs.get("MATLAB_class", b"")) == "char" for cell in cells):
            return None
        return np.array(["".join(map(chr, np.asarray(cell).ravel())) for cell in cells])
    return found if found.dtype.kind in "fiu" and held[name][1] in _NUMBERS else None


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


# --- both -------------------------------------------------------------------------------------------


def _chosen(path, held: Mapping[str, tuple[tuple[int, ...], str]], value: str | None) -> str:
    names = listing(held, {name: f"{' x '.join(map(str, shape))} {kind}" for name, (shape, kind) in held.items()})
    if value is not None:
        if value not in held:
            raise Unclear(f"no array {short(value)} in {path}; it holds {names}")
        if held[value][1] not in _NUMBERS:
            raise Unclear(f"{value!r} of {path} is no array of numbers; it holds {names}")
        return value
    if _USUAL_KEY in held and held[_USUAL_KEY][1] in _NUMBERS:
        return _USUAL_KEY
    arrays = [name for name, (shape, kind) in held.items() if kind in _NUMBERS and sorted(shape)[-2:-1] > [1]]
    if len(arrays) != 1:
        example = short(arrays[0] if arrays else "name")
        raise Unclear(f"{path} holds {names}; say which to fill, for example value={example} (--value {example[1:-1]})")
    return arrays[0]


def _fitting(labels: Sequence[np.ndarray | None], shape: tuple[int, ...]):
    """Labels of the modes, where there are as many as slices."""
    if len(labels) != len(shape):
        return None
    return [label if label is not None and len(label) == size else None for label, size in zip(labels, shape, strict=True)]


def _plain(labels: np.ndarray) -> np.ndarray:
    """Numbers as they are, all else as a cell of texts."""
    return labels if labels.dtype.kind in "fiu" else labels.astype(str).astype(object)


def _can_be_named(name: str) -> bool:
    return name.isascii() and name.isidentifier() and not name.startswith("_") and len(name) <= 31 and name not in (_USUAL_KEY, "observed")
