"""The .npy format read piece by piece: what a header promises is believed only as far as its bytes come.

Nothing is mapped into memory: a mapped file that another program cuts short ends the process with a bus error.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from rankless.io.broken import Unclear
from rankless.runtime.memory import in_words, machine_memory
from rankless.tensors.observations import Marks, check_order, checked_dtype

_AT_ONCE = 1 << 24  # bytes


@dataclass(frozen=True)
class Header:
    """What an .npy file says of its array; `fortran`: the first index runs fastest."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def cells(self) -> int:
        return math.prod(self.shape)


def read_header(stream: IO[bytes], available: int) -> Header:
    """The header at the start of `stream`, which is `available` bytes long; raises over anything that it cannot hold."""
    version = np.lib.format.read_magic(stream)
    readers: dict[tuple[int, int], Callable] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"format version {version} holds no plain array")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python says of odd literals, and NumPy of files from Python 2
        header = Header(*readers[version](stream))
    if header.dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded")
    if any(not isinstance(d, int) or isinstance(d, bool) or d < 0 for d in header.shape):
        raise ValueError(f"{header.shape} is no shape")
    promised = header.cells * header.dtype.itemsize
    if promised > available:
        raise ValueError(f"its header promises {in_words(promised)} of values, it has {in_words(available)}")
    return header


def read_entries(path: str | os.PathLike, stream: IO[bytes], available: int, missing: Marks = ()) -> tuple[np.ndarray, np.ndarray, Header]:
    """Coordinates ``(order, n)`` and values ``(n,)`` of the cells that are neither NaN nor `missing`, in the order of the file."""
    header = read_header(stream, available)
    try:
        check_order(len(header.shape), f"an array of shape {header.shape}")
        dtype = checked_dtype(np.empty(0, header.dtype), "the array").dtype
    except ValueError as problem:
        raise Unclear(f"{path}: {problem}") from None
    order = len(header.shape)
    coords, values = [np.empty((order, 0), np.int32)], [np.empty(0, dtype)]
    start = held = 0
    for piece in _pieces(stream, header):
        try:
            numbers = checked_dtype(piece, "the array", missing)
        except ValueError as problem:  # whole numbers that are too large
            raise Unclear(f"{path}: {problem}") from None
        seen = np.flatnonzero(~np.isnan(numbers))
        where = np.unravel_index(start + seen, header.shape, order="F" if header.fortran else "C")
        coords.append(np.stack([c.astype(np.int32) for c in where]))
        values.append(numbers[seen])
        start += len(piece)
        held += len(seen)
        _check_held(path, held, 4 * order + dtype.itemsize)
    return np.concatenate(coords, axis=1), np.concatenate(values), header


def read_flat(stream: IO[bytes], available: int, size: int) -> np.ndarray | None:
    """The array in `stream` if it is flat and of `size`, else None."""
    header = read_header(stream, available)
    if header.shape != (size,):
        return None
    if not header.dtype.itemsize:  # empty texts take no bytes
        return np.empty(size, header.dtype)
    return np.concatenate([np.empty(0, header.dtype), *_pieces(stream, header)])


def _pieces(stream: IO[bytes], header: Header) -> Iterator[np.ndarray]:
    left, width = header.cells, header.dtype.itemsize
    while left:
        count = min(left, max(_AT_ONCE // width, 1))
        data = stream.read(count * width)
        if len(data) < count * width:
            raise EOFError(f"{in_words(left * width - len(data))} of its values are missing")
        yield np.frombuffer(data, header.dtype)
        left -= count


def _check_held(path: str | os.PathLike, count: int, width: int) -> None:
    need, have = 2 * count * width, machine_memory()  # twice: the pieces, and what they are joined to
    if have is not None and need > have:
        raise Unclear(f"{path} holds more than {count:,} entries, which take {in_words(need)}, and this machine has {in_words(have)}")
