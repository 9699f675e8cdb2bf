"""An HDF5 file that points to others is refused: to read it would read them, to fill its copy would overwrite them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import netcdf_file

from rankless import io
from rankless.io import hdf5

h5py = pytest.importorskip("h5py")
pytest.importorskip("h5netcdf")

SECRET = np.where(np.eye(4, 3) > 0, np.nan, 7.0)


def outside(file, folder: Path) -> None:
    """The bytes of any file as the values of a variable."""
    file.create_dataset("tensor", SECRET.shape, "f8", external=[(str(folder / "secret"), 0, h5py.h5f.UNLIMITED)])


def linked(file, folder: Path) -> None:
    file["tensor"] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def linked_deep(file, folder: Path) -> None:
    file["tensor"] = SECRET
    file.create_group("a/b")["c"] = h5py.ExternalLink(str(folder / "other.h5"), "x")


def virtual(file, folder: Path) -> None:
    layout = h5py.VirtualLayout(SECRET.shape, "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", SECRET.shape)
    file.create_virtual_dataset("tensor", layout)


@pytest.mark.parametrize("suffix", [".nc", ".mat"])
@pytest.mark.parametrize("point", [outside, linked, linked_deep, virtual])
def test_what_lies_in_another_file_is_not_read(tmp_path, point, suffix):
    (tmp_path / "secret").write_bytes(SECRET.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = SECRET
    with h5py.File(tmp_path / f"in{suffix}", "w") as file:
        point(file, tmp_path)
        for part in file.values() if point in (outside, virtual) else ():
            part.attrs["MATLAB_class"] = np.bytes_("double")
    with pytest.raises(ValueError, match=rf"of .*in\{suffix} lies in another file, which is not read; gather all in one file"):
        io.read(tmp_path / f"in{suffix}", value="tensor")


def test_links_within_the_file_are_followed(tmp_path):
    with h5py.File(tmp_path / "in.nc", "w") as file:
        file["deep/values"] = SECRET
        file["tensor"] = h5py.SoftLink("/deep/values")
        file["deep/up"] = file  # a circle
    assert io.read(tmp_path / "in.nc", value="tensor").size == np.isfinite(SECRET).sum()


def test_an_old_netcdf_file_is_not_mapped_into_memory(tmp_path, monkeypatch):
    """A mapped file that another program cuts short ends the process with a bus error."""
    with netcdf_file(tmp_path / "in.nc", "w") as file:
        file.createDimension("x", 4)
        file.createDimension("y", 3)
        file.createVariable("t", "d", ("x", "y"))[:] = SECRET
    monkeypatch.setattr("mmap.mmap", lambda *_, **__: pytest.fail("mapped"))
    assert io.read(tmp_path / "in.nc").size == np.isfinite(SECRET).sum()


@pytest.mark.parametrize("at", [0, 1, 2])
def test_free_space_of_no_size_is_not_read_for_ever(tmp_path, monkeypatch, at):
    """A heap in which an object, turned into free space, has no size; wherever the file is cut in two for the search."""
    with h5py.File(tmp_path / "in.nc", "w") as file:
        file["t"] = SECRET
        file["t"].attrs.create("texts", ["one", "two", "three"], dtype=h5py.string_dtype())
    content = bytearray((tmp_path / "in.nc").read_bytes())
    heap = content.index(b"GCOL")
    second = content.index(b"two", heap) - 16
    content[second : second + 16] = bytes(16)
    (tmp_path / "in.nc").write_bytes(content)
    monkeypatch.setattr(hdf5, "_AT_ONCE", [2**24, heap + 3, heap + 8][at])
    with pytest.raises(ValueError, match=r"in\.nc is cut short or is no \.nc file \(a heap in which free space has no size\)"):
        io.read(tmp_path / "in.nc", value="t")
