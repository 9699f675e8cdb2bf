"""More of the zoo: bad .nc, .zarr, .mat and .tns."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torture.zoo import GOOD, Case, archive

HDF5 = b"\x89HDF\r\n\x1a\n"


# --- NetCDF -----------------------------------------------------------------------------------------


def classic() -> bytes:
    """A NetCDF file of version 3."""
    from scipy.io import netcdf_file

    stream = io.BytesIO()
    file = netcdf_file(stream, "w")
    file.createDimension("x", GOOD.shape[0])
    file.createDimension("y", GOOD.shape[1])
    file.createVariable("t", "d", ("x", "y"))[:] = GOOD
    file.flush()
    return stream.getvalue()


def hdf5(fill: Callable[[Any], object]) -> Callable[[Path], object]:
    """Writes what `fill` puts into an HDF5 file."""

    def write(path: Path) -> None:
        import h5py

        with h5py.File(path, "w") as file:
            fill(file)

    return write


def netcdf(**variables: tuple[tuple[str, ...], np.ndarray, dict[str, object]]) -> Callable[[Path], object]:
    """Writes a NetCDF 4 file: its variables by name, each with dims, values and attributes."""

    def write(path: Path) -> None:
        import xarray as xr

        xr.Dataset({name: xr.Variable(*variable) for name, variable in variables.items()}).to_netcdf(path, engine="h5netcdf")

    return write


def _outside(file: Any) -> None:
    import h5py

    file.create_dataset("t", GOOD.shape, "u1", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _linked(file: Any) -> None:
    import h5py

    file["t"] = h5py.ExternalLink("/proc/self/exe", "t")


def _virtual(file: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout(GOOD.shape, "f8")
    layout[:] = h5py.VirtualSource("/nowhere.h5", "t", GOOD.shape)
    file.create_virtual_dataset("t", layout)


def _records(file: Any) -> None:
    file["t"] = np.zeros(GOOD.shape, [("a", "f8"), ("b", "i4")])


def _texts(file: Any) -> None:
    import h5py

    file.create_dataset("t", GOOD.shape, h5py.string_dtype())


def _pointers(file: Any) -> None:
    import h5py

    file.create_dataset("t", GOOD.shape, h5py.ref_dtype)


def _vast(file: Any) -> None:
    file.create_dataset("t", (10**9, 10**6), "f8", chunks=(100, 100))


def _no_plugin(file: Any) -> None:
    import h5py

    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk(GOOD.shape)
    made.set_filter(32999, h5py.h5z.FLAG_OPTIONAL, (1,))
    h5py.h5d.create(file.id, b"t", h5py.h5t.py_create(np.dtype("f8")), h5py.h5s.create_simple(GOOD.shape), made)
    file["t"].id.write_direct_chunk((0, 0), zlib.compress(GOOD.tobytes()))


def _no_scales(file: Any) -> None:
    """Dimensions that are said to be named elsewhere, and are not."""
    import h5py

    file["t"] = GOOD
    pointers = np.empty(2, object)
    pointers[:] = [np.array([file.ref], h5py.ref_dtype)] * 2
    file["t"].attrs.create("DIMENSION_LIST", pointers, dtype=h5py.vlen_dtype(h5py.ref_dtype))
    file["t"].attrs["_Netcdf4Dimid"] = -7


def _nested(file: Any) -> None:
    file.create_group("/".join(["a"] * 200))


def _netcdf() -> Iterator[Case]:
    whole, dims = classic(), ("x", "y")
    contents = {
        "no bytes": b"",
        "text": b"hello\n",
        "magic of HDF5 only": HDF5,
        "magic of NetCDF only": b"CDF\x01",
        "NetCDF of version 5": b"CDF\x05" + whole[4:],
        "NetCDF of version 9": b"CDF\x09" + whole[4:],
        "classic, cut in half": whole[: len(whole) // 2],
        "classic, cut by a byte": whole[:-1],
        "classic, header cut": whole[:40],
        "classic, four thousand million dims": whole[:12] + b"\x7f\xff\xff\xff" + whole[16:],
        "a pickle": pickle.dumps([1]),
        "a zip": archive({"t": b"1"}),
    }
    for name, content in contents.items():
        yield Case(name, "t.nc", lambda path, content=content: path.write_bytes(content))
    for name, fill in {
        "no variable": lambda file: None,
        "numbers that lie in another file": _outside,
        "a link to another file": _linked,
        "a view of another file": _virtual,
        "records": _records,
        "texts": _texts,
        "pointers": _pointers,
        "1e15 cells never written": _vast,
        "a compression nobody knows": _no_plugin,
        "dimensions named nowhere": _no_scales,
        "groups in groups in groups": _nested,
        "a mark that is not named": lambda file: file.__setitem__("t", np.where(GOOD == 6, 9.969209968386869e36, GOOD)),
        "a circle of groups": lambda file: file.create_group("a").__setitem__("b", file),
    }.items():
        yield Case(name, "t.nc", hdf5(fill))
    for name, write in {
        "order 0": netcdf(t=((), np.array(3.0), {})),
        "order 1": netcdf(t=(("x",), GOOD[0], {})),
        "words": netcdf(t=(dims, GOOD.astype(str), {})),
        "all NaN": netcdf(t=(dims, np.full((4, 4), np.nan), {})),
        "infinite": netcdf(t=(dims, np.where(GOOD == 6, np.inf, GOOD), {})),
        "two variables of other dims": netcdf(t=(dims, GOOD, {}), u=(("x", "z"), GOOD, {})),
        "a scale that is a text": netcdf(t=(dims, GOOD, {"scale_factor": "two"})),
        "a scale of NaN": netcdf(t=(dims, GOOD, {"scale_factor": np.nan})),
    }.items():
        yield Case(name, "t.nc", write)
    good = netcdf(t=(dims, GOOD, {}))
    yield Case("a variable that is not there", "t.nc", good, ("--value", "rain"))
    yield Case("a variable twice", "t.nc", good, ("--value", "t,t"))
    yield Case("modes named anew", "t.nc", good, ("--modes", "a,b"))
    yield Case("cut in half", "t.nc", lambda path: (good(path), path.write_bytes(path.read_bytes()[:3000])))
    yield Case("cut by a byte", "t.nc", lambda path: (good(path), path.write_bytes(path.read_bytes()[:-1])))


# --- Zarr -------------------------------------------------------------------------------------------

_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}]


def store(changed: Mapping[str, object] = {}, *, chunk: bytes | None = None, group: object = None) -> Callable[[Path], object]:
    """Writes a Zarr store of version 3 whose array ``t`` is described as usual but for what is `changed`."""
    described: dict[str, object] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(GOOD.shape),
        "data_type": "float64",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(GOOD.shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN",
        "codecs": _CODECS,
        "attributes": {},
        "dimension_names": ["x", "y"],
    } | dict(changed)

    def write(path: Path) -> None:
        (path / "t" / "c" / "0").mkdir(parents=True)
        top = {"zarr_format": 3, "node_type": "group", "attributes": {}} if group is None else group
        (path / "zarr.json").write_text(top if isinstance(top, str) else json.dumps(top))
        (path / "t" / "zarr.json").write_text(json.dumps(described))
        (path / "t" / "c" / "0" / "0").write_bytes(GOOD.tobytes() if chunk is None else chunk)

    return write


def old_store(changed: Mapping[str, object], *, chunk: bytes | None = None) -> Callable[[Path], object]:
    """The same of version 2."""
    described: dict[str, object] = {
        "zarr_format": 2,
        "shape": list(GOOD.shape),
        "chunks": list(GOOD.shape),
        "dtype": "<f8",
        "compressor": None,
        "fill_value": "NaN",
        "order": "C",
        "filters": None,
    } | dict(changed)

    def write(path: Path) -> None:
        (path / "t").mkdir(parents=True)
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / "t" / ".zarray").write_text(json.dumps(described))
        (path / "t" / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["x", "y"]}')
        (path / "t" / "0.0").write_bytes(GOOD.tobytes() if chunk is None else chunk)

    return write


def _zarr() -> Iterator[Case]:
    def grid(*sizes: int) -> dict[str, object]:
        return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": sizes}}}

    infinite = np.where(GOOD == 6, np.inf, GOOD).tobytes()
    for name, write in {
        "an empty folder": lambda path: path.mkdir(),
        "a file": lambda path: path.write_text("hello"),
        "a zip": lambda path: path.write_bytes(archive({"../../evil": b"1", "zarr.json": b"{}"})),
        "no JSON": store(group="{"),
        "JSON of another kind": store(group="[1, 2]"),
        "JSON nested deep": store(group="[" * 5000 + "]" * 5000),
        "version 9": store(group={"zarr_format": 9, "node_type": "group"}),
        "an array on top": store(group={"zarr_format": 3, "node_type": "array"}),
        "no such kind of node": store({"node_type": "tree"}),
        "1e15 cells": store({"shape": [10**9, 10**6]}),
        "1e30 cells": store({"shape": [10**15, 10**15]}),
        "a negative size": store({"shape": [-8, 7]}),
        "a size that is a text": store({"shape": ["8", 7]}),
        "no size": store({"shape": [0, 7]}),
        "order 0": store({"shape": [], "dimension_names": [], **grid()}),
        "order 1": store({"shape": [56], "dimension_names": ["x"], **grid(56)}),
        "pieces of no size": store(grid(0, 0)),
        "pieces of a negative size": store(grid(-1, 7)),
        "pieces of another order": store(grid(8)),
        "a dtype nobody knows": store({"data_type": "float7"}),
        "texts": store({"data_type": "string", "fill_value": "", "codecs": [{"name": "vlen-utf8"}]}),
        "complex": store({"data_type": "complex128", "fill_value": [0, 0]}, chunk=GOOD.astype(complex).tobytes()),
        "a codec nobody knows": store({"codecs": [{"name": "rot13"}]}),
        "a codec that is a pickle": store({"codecs": [{"name": "numcodecs.pickle", "configuration": {}}, *_CODECS]}),
        "no codec": store({"codecs": []}),
        "a piece cut short": store(chunk=GOOD.tobytes()[:-1]),
        "a piece without bytes": store(chunk=b""),
        "a piece that is no zip": store({"codecs": [*_CODECS, {"name": "gzip", "configuration": {"level": 1}}]}),
        "infinite": store(chunk=infinite),
        "all NaN": store(chunk=np.full(GOOD.shape, np.nan).tobytes()),
        "pieces named to climb": store({"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/../../../"}}}),
        "names of dims that are no texts": store({"dimension_names": [1, {}]}),
        "one name for two dims": store({"dimension_names": ["x"]}),
        "a name twice": store({"dimension_names": ["x", "x"]}),
        "old, a pickle": old_store({"filters": [{"id": "pickle"}]}, chunk=pickle.dumps(GOOD)),
        "old, objects": old_store({"dtype": "|O"}, chunk=pickle.dumps(GOOD)),
        "old, pieces named to climb": old_store({"dimension_separator": "/../../../"}),
        "old, a filter nobody knows": old_store({"filters": [{"id": "rot13"}]}),
        "old, a compressor that is a text": old_store({"compressor": "zip"}),
        "old, 1e15 cells": old_store({"shape": [10**9, 10**6]}),
        "old, a dtype of records": old_store({"dtype": [["a", "<f8"], ["b", "<i4"]], "fill_value": None}),
    }.items():
        yield Case(name, "t.zarr", write)
    yield Case("a variable that is not there", "t.zarr", store(), ("--value", "rain"))
    yield Case("modes named anew", "t.zarr", store(), ("--modes", "a,b"))


# --- MATLAB -----------------------------------------------------------------------------------------


def five(**arrays: object) -> bytes:
    from scipy.io import savemat

    stream = io.BytesIO()
    savemat(stream, arrays)
    return stream.getvalue()


def seven(fill: Callable[[Any], object], kind: bytes = b"double") -> Callable[[Path], object]:
    """Writes a file of version 7.3."""

    def write(path: Path) -> None:
        import h5py

        with h5py.File(path, "w", userblock_size=512) as file:
            fill(file)
            for part in file.values():
                if isinstance(part, h5py.Dataset):
                    part.attrs["MATLAB_class"] = np.bytes_(kind)
        with open(path, "r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")

    return write


def _matlab() -> Iterator[Case]:
    from scipy.sparse import csc_array

    whole = five(tensor=GOOD)
    dims = whole.index(struct.pack("<ii", *GOOD.shape), 128)
    contents = {
        "no bytes": b"",
        "text": b"hello\n",
        "header only": whole[:128],
        "cut in half": whole[: len(whole) // 2],
        "cut by nine bytes": whole[:-9],
        "byte order of another kind": whole[:126] + b"XX" + whole[128:],
        "version 9": whole[:124] + b"\x00\x09" + whole[126:],
        "two negative sizes": whole[:dims] + struct.pack("<ii", -8, -7) + whole[dims + 8 :],
        "1e15 cells": whole[:dims] + struct.pack("<ii", 2**31 - 1, 2**31 - 1) + whole[dims + 8 :],
        "no array": five(),
        "words": five(tensor="hello"),
        "a struct": five(tensor={"a": GOOD}),
        "a cell": five(tensor=np.array([[1, "a"], [2, "b"]], dtype=object)),
        "complex": five(tensor=GOOD.astype(complex) * 1j),
        "complex of single precision": five(tensor=GOOD.astype(np.complex64)),
        "one number": five(x=3.0),
        "two arrays": five(a=GOOD, b=GOOD),
        "all NaN": five(tensor=np.full((4, 4), np.nan)),
        "infinite": five(tensor=np.where(GOOD == 6, np.inf, GOOD)),
        "no cell": five(tensor=np.zeros((0, 3))),
        "sparse, and nobody says what that means": five(tensor=csc_array(GOOD)),
        "a pickle": pickle.dumps([1]),
        "magic of HDF5 only": HDF5,
    }
    for name, content in contents.items():
        yield Case(name, "t.mat", lambda path, content=content: path.write_bytes(content))
    yield Case("an array that is not there", "t.mat", lambda path: path.write_bytes(whole), ("--value", "rain"))
    yield Case("a text asked for", "t.mat", lambda path: path.write_bytes(five(a=GOOD, b="text")), ("--value", "b"))
    yield Case("three names for two modes", "t.mat", lambda path: path.write_bytes(whole), ("--modes", "a,b,c"))
    yield Case("an odd rule for what is absent", "t.mat", lambda path: path.write_bytes(five(t=csc_array(GOOD))), ("--absent", "zero"))
    for name, write in {
        "7.3, nothing": seven(lambda file: None),
        "7.3, numbers that lie in another file": seven(_outside, b"uint8"),
        "7.3, a link to another file": seven(_linked),
        "7.3, a view of another file": seven(_virtual),
        "7.3, complex": seven(lambda file: file.__setitem__("t", np.zeros(GOOD.shape, [("real", "f8"), ("imag", "f8")]))),
        "7.3, texts": seven(_texts, b"char"),
        "7.3, pointers": seven(_pointers),
        "7.3, 1e15 cells never written": seven(_vast),
        "7.3, a compression nobody knows": seven(_no_plugin),
        "7.3, a group": seven(lambda file: file.create_group("tensor")),
    }.items():
        yield Case(name, "t.mat", write)


# --- FROSTT -----------------------------------------------------------------------------------------


def _tns() -> Iterator[Case]:
    contents: dict[str, bytes | str] = {
        "no bytes": b"",
        "blank lines": "\n\n\n",
        "a comment only": "# index_base: 1\n",
        "words": "a b 1\nc d 2\n",
        "an npy": b"\x93NUMPY" + bytes(100),
        "nul bytes": bytes(2000),
        "utf-16": "1 1 1\n2 2 2\n".encode("utf-16"),
        "latin-1": "1 1 1\nk\xf6ln 1 1\n".encode("latin-1"),
        "a pickle": pickle.dumps([1]),
        "one column": "1\n2\n3\n",
        "order 1": "1 1.5\n2 2.5\n",
        "a number too few": "1 1 1\n2 2\n",
        "a number too many": "1 1 1\n2 2 2 2\n",
        "a word for a value": "1 1 1\n2 2 wet\n",
        "commas": "1,1,1\n2,2,2\n",
        "a comma for a point": "1 1 1,5\n",
        "counted from 0": "0 0 1\n1 1 2\n",
        "a negative coordinate": "1 1 1\n-2 1 2\n",
        "half a coordinate": "1 1 1\n1.5 1 2\n",
        "no coordinate": "1 1 1\nnan 1 2\n",
        "an infinite coordinate": "1 1 1\ninf 1 2\n",
        "a coordinate of 1e20": "1 1 1\n1e20 1 2\n",
        "an infinite value": "1 1 1\n1 2 inf\n2 1 3\n2 2 1\n",
        "no value": "1 1 nan\n2 2 nan\n",
        "given twice": "1 1 1\n1 1 2\n2 2 1\n",
        "another start": "# index_base: 7\n7 7 1\n8 8 2\n",
    }
    for name, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        yield Case(name, "t.tns", lambda path, data=data: path.write_bytes(data))
    good = b"1 1 1\n2 2 2\n1 2 3\n2 1 2\n"
    yield Case("a start of 2", "t.tns", lambda path: path.write_bytes(good), ("--index-base", "2"))
    yield Case("two starts", "t.tns", lambda path: path.write_bytes(b"# index_base: 1\n" + good), ("--index-base", "0"))
    yield Case("three names for two modes", "t.tns", lambda path: path.write_bytes(good), ("--modes", "a,b,c"))
    yield Case("an odd rule for duplicates", "t.tns", lambda path: path.write_bytes(good), ("--duplicates", "first"))


CASES: dict[str, list[Case]] = {
    ".nc files": list(_netcdf()),
    ".zarr stores": list(_zarr()),
    ".mat files": list(_matlab()),
    ".tns files": list(_tns()),
}
