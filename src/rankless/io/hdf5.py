"""HDF5, which .nc and the newer .mat are: read only where all that the file holds lies in it, written in memory first.

An HDF5 file may say that its numbers lie in any other file of the machine. To read it would read that
file, and to fill the holes of a copy of it would overwrite that file.

Where the disk is full, HDF5's own writing ends the process, or says nothing and leaves a file that is not whole.

In a damaged heap of texts and pointers HDF5 may read one object without size for ever (its issue 1707).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rankless.io.broken import Unclear, short

if TYPE_CHECKING:
    import h5py

MAGIC = b"\x89HDF"
_HEAP = rb"GCOL\x01\0\0\0"
_AT_ONCE = 1 << 24  # bytes
_LARGEST = 1 << 28  # bytes of a heap


def is_hdf5(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


@contextlib.contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, to be read; raises ValueError where it points to others."""
    import h5py

    _check_heaps(path)
    with h5py.File(path, "r") as file:
        links: dict[str, Any] = {}
        file.visititems_links(links.__setitem__)
        outside = next((name for name, link in links.items() if _leads_out(file, name, link)), None)
        if outside is not None:
            raise Unclear(
                f"{short(outside)} of {path} lies in another file, which is not read; "
                "gather all in one file, for example with xarray's load and to_netcdf"
            )
        yield file


@contextlib.contextmanager
def changing(path: Path) -> Iterator[h5py.File]:
    """The file, to be changed."""
    import h5py

    image = io.BytesIO(path.read_bytes())
    with h5py.File(image, "r+") as file:
        yield file
    path.write_bytes(image.getbuffer())


def write(path: Path, fill: Callable[[io.BytesIO], object]) -> None:
    """The file that `fill` writes."""
    image = io.BytesIO()
    fill(image)
    path.write_bytes(image.getbuffer())


def _check_heaps(path: Path) -> None:
    """Raise ValueError over a heap with free space of no size.

    heap    =  "GCOL", version 1, 0, 0, 0, size, object, object, ...
    object  =  number (0: free space, its header counted in its size), references, 0, size, data to a multiple of 8 bytes
    """
    with open(path, "rb") as stream:
        start = 0
        while block := stream.read(_AT_ONCE):
            for found in re.finditer(_HEAP, block):
                stream.seek(start + found.start())
                if _is_endless(stream):
                    raise ValueError("a heap in which free space has no size")
            start += max(len(block) - 16, 1)  # the next one may begin where this block ends
            stream.seek(start)


def _is_endless(stream: BinaryIO) -> bool:
    size = int.from_bytes(stream.read(16)[8:], "little")
    heap = stream.read(min(size, _LARGEST))
    at = 0
    while at + 16 <= len(heap):
        number, length = int.from_bytes(heap[at : at + 2], "little"), int.from_bytes(heap[at + 8 : at + 16], "little")
        if number == 0:
            return length == 0
        at += 16 + (length + 7) // 8 * 8
    return False


def _leads_out(file: h5py.File, name: str, link: Any) -> bool:
    import h5py

    if not isinstance(link, h5py.HardLink):
        return isinstance(link, h5py.ExternalLink)
    part = file[name]
    return isinstance(part, h5py.Dataset) and bool(part.external or part.is_virtual)
