"""Bad inputs for the command line, by kind: each a file (or what should be one) and the options it is asked for with.

`CASES` maps a kind to its cases; a case is the name of the file, a function that writes it, and options for
``rankless inspect``, ``complete`` and ``evaluate`` alike. Every one must be refused in one line.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

GOOD = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 8.0))


@dataclass(frozen=True)
class Case:
    """A bad input: `write(path)` makes it, `options` are passed on the command line."""

    name: str
    file: str
    write: Callable[[Path], object]
    options: tuple[str, ...] = ()


# --- arrays ---------------------------------------------------------------------------------------


def _npy(array: np.ndarray | np.generic, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def header(text: str, version: int = 1) -> bytes:
    """The start of an .npy file with any text for its header."""
    body = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(body)) + body


def promise(shape: object, descr: str = "'<f8'", order: str = "False") -> bytes:
    """An .npy header that promises an array of `shape`, and nothing behind it."""
    return header(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}")


def _arrays() -> Iterator[Case]:
    with_inf = np.where(GOOD == 6, np.inf, GOOD)
    whole = _npy(GOOD)
    contents: dict[str, bytes] = {
        "no bytes": b"",
        "one byte": b"\x93",
        "magic only": whole[:6],
        "header cut": whole[:40],
        "values cut by one byte": whole[:-1],
        "values cut in half": whole[: len(whole) // 2],
        "header only": whole[:128],
        "text": b"hello\n",
        "a zip": b"PK\x03\x04" + bytes(100),
        "a pickle": pickle.dumps({"a": 1}),
        "objects": _npy(np.array([[{}, 1]], dtype=object), allow_pickle=True),
        "version 9": whole[:6] + b"\x09\x00" + whole[8:],
        "1e15 cells": promise((10**9, 10**6)),
        "1e30 cells": promise((10**15, 10**15)),
        "size wraps to nothing": promise((2**32, 2**32)),
        "size wraps to little": promise((2**63 + 1, 2)),
        "negative size": promise((-4, -4)),
        "sizes of another kind": promise("(4.0, 4.0)"),
        "no size": promise((0, 4)),
        "shape of True": promise("(True, True)") + bytes(8),
        "shape is text": promise("'ab'"),
        "header is code": header("__import__('os').abort()"),
        "header is nested deep": header("(" * 5000 + ")" * 5000),
        "header of another length": whole[:8] + b"\xff\xff" + whole[10:],
        "unknown dtype": promise((4, 4), "'<q9'") + bytes(200),
        "dtype of records": promise((4, 4), "[('a', '<f8'), ('b', '<i4')]") + bytes(400),
        "dtype of void": promise((2, 2), "'|V8'") + bytes(32),
        "dtype without size": promise((2, 2), "'|S0'"),
        "dtype of a terabyte": promise((2, 2), "'|V1000000000000'"),
        "order is text": promise((2, 2), order="'yes'") + bytes(32),
        "complex": _npy(GOOD.astype(complex)),
        "strings": _npy(GOOD.astype(str)),
        "bytes": _npy(GOOD.astype("S8")),
        "dates": _npy(np.full((3, 4), np.datetime64("2020-01-01"))),
        "durations": _npy(np.full((3, 4), np.timedelta64(3, "s"))),
        "all NaN": _npy(np.full((4, 4), np.nan)),
        "infinite": _npy(with_inf),
        "order 0": _npy(np.float64(3)),
        "order 1": _npy(np.arange(9.0)),
        "no cell": _npy(np.zeros((4, 0, 3))),
    }
    for name, content in contents.items():
        yield Case(name, "t.npy", lambda path, content=content: path.write_bytes(content))
    yield Case("three names for two modes", "t.npy", lambda path: path.write_bytes(whole), ("--modes", "a,b,c"))
    yield Case("one name for two modes", "t.npy", lambda path: path.write_bytes(whole), ("--modes", "a"))
    yield Case("a name twice", "t.npy", lambda path: path.write_bytes(whole), ("--modes", "a,a"))


# --- archives -------------------------------------------------------------------------------------


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return stream.getvalue()


def encrypted(content: bytes) -> bytes:
    """The same archive with every member marked as encrypted."""
    out = bytearray(content)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = out.find(mark)
        while at >= 0:
            out[at + offset] |= 1
            at = out.find(mark, at + 4)
    return bytes(out)


def _archives() -> Iterator[Case]:
    good, objects = _npy(GOOD), _npy(np.array([[{}, 1]], dtype=object), allow_pickle=True)
    whole = archive({"tensor.npy": good})
    contents: dict[str, bytes] = {
        "no bytes": b"",
        "text": b"hello\n",
        "an npy": good,
        "cut by 50 bytes": whole[:-50],
        "cut to 30 bytes": whole[:30],
        "only the end of a zip": whole[-22:],
        "bytes overwritten": whole[:60] + bytes(30) + whole[90:],
        "empty": archive({}),
        "a folder": archive({"tensor/": b""}),
        "a text member": archive({"tensor.npy": b"hello"}),
        "a member that is no .npy": archive({"tensor": b"hello"}),
        "objects": archive({"tensor.npy": objects}),
        "a pickle": archive({"tensor.npy": pickle.dumps([1])}),
        "1e15 cells": archive({"tensor.npy": promise((10**9, 10**6))}),
        "1e30 cells": archive({"tensor.npy": promise((10**15, 10**15))}),
        "names that climb": archive({"../../evil.npy": promise((10**9, 10**6))}),
        "a name at the root": archive({"/etc/passwd": b"root"}),
        "encrypted": encrypted(whole),
        "two arrays": archive({"a.npy": good, "b.npy": good}),
        "order 1": archive({"tensor.npy": _npy(np.arange(4.0))}),
        "all NaN": archive({"tensor.npy": _npy(np.full((3, 3), np.nan))}),
        "complex": archive({"tensor.npy": _npy(GOOD.astype(complex))}),
        "a zip in a zip": archive({"tensor.npy": whole}),
    }
    for name, content in contents.items():
        yield Case(name, "t.npz", lambda path, content=content: path.write_bytes(content))
    yield Case("an array that is not there", "t.npz", lambda path: path.write_bytes(whole), ("--value", "rain"))
    yield Case(
        "labels are a pickle", "t.npz", lambda path: np.savez(path, tensor=GOOD, a=np.array([{}] * 8, dtype=object)), ("--modes", "a,b")
    )


# --- tables ---------------------------------------------------------------------------------------

_COLUMNS = ("--modes", "a,b", "--value", "v")


def _csv() -> Iterator[Case]:
    contents: dict[str, bytes | str] = {
        "no bytes": b"",
        "a header only": "a,b,v\n",
        "blank lines": "\n\n\n",
        "nul bytes": bytes(2000),
        "an npy": _npy(GOOD),
        "utf-16": "a,b,v\n1,1,1\n".encode("utf-16"),
        "latin-1": "a,b,v\nk\xf6ln,1,1\n".encode("latin-1"),
        "another column": "a,b,w\n1,1,1\n",
        "semicolons": "a;b;v\n1;1;1\n2;2;2\n",
        "tabs": "a\tb\tv\n1\t1\t1\n",
        "an open quote": 'a,b,v\n1,1,1\n"1,1,2\n',
        "a column too many": "a,b,v\n1,1,1\n1,2,3,4,5\n",
        "a word for a value": "a,b,v\n1,1,1\n1,2,wet\n",
        "a comma for a point": 'a,b,v\n1,1,"1,5"\n1,2,"2,5"\n',
        "a date for a value": "a,b,v\n1,1,2020-01-01\n",
        "a complex value": "a,b,v\n1,1,1+2j\n",
        "an empty label": "a,b,v\n1,1,1\n,2,2\n",
        "all values empty": "a,b,v\n1,1,\n2,2,\n",
        "infinite": "a,b,v\n1,1,inf\n2,2,1\n1,2,3\n",
        "beyond floating point": "a,b,v\n1,1,1e999\n2,2,1\n1,2,3\n",
        "given twice": "a,b,v\n1,1,1\n1,1,2\n",
        "a column twice": "a,a,b,v\n1,1,1,1\n2,2,2,2\n",
        "a column of another case": "A,B,V\n1,1,1\n",
        "a space in the header": "a, b, v\n1,1,1\n",
        "ten thousand columns": ",".join(f"c{i}" for i in range(10_000)) + "\n",
        "a page of html": "<!DOCTYPE html>\n<html><body>404, not found</body></html>\n",
        "a json": '{"a": [1, 2], "b": [3, 4]}\n',
        "a spreadsheet": archive({"xl/workbook.xml": b"<workbook/>"}),
        "a pickle": pickle.dumps({"a": 1}),
    }
    for name, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        yield Case(name, "t.csv", lambda path, data=data: path.write_bytes(data), _COLUMNS)
    good = b"a,b,v\n1,1,1\n2,2,2\n1,2,3\n2,1,2\n"
    for name, options in {
        "no roles": (),
        "no value": ("--modes", "a,b"),
        "no modes": ("--value", "v"),
        "one mode": ("--modes", "a", "--value", "v"),
        "a mode twice": ("--modes", "a,a", "--value", "v"),
        "the value for a mode": ("--modes", "a,v", "--value", "v"),
        "no such mode": ("--modes", "a,year", "--value", "v"),
        "an empty mode": ("--modes", "a,", "--value", "v"),
        "no names": ("--modes", "", "--value", "v"),
        "no such value": ("--modes", "a,b", "--value", ""),
        "an odd rule for duplicates": (*_COLUMNS, "--duplicates", "first"),
    }.items():
        yield Case(name, "t.csv", lambda path: path.write_bytes(good), options)


def _parquet() -> Iterator[Case]:
    def table(**columns: object) -> Callable[[Path], object]:
        return lambda path: pd.DataFrame(columns).to_parquet(path)

    def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
        def write(path: Path) -> None:
            table(a=[1, 2], b=[1, 2], v=[1.0, 2.0])(path)
            path.write_bytes(change(path.read_bytes()))

        return write

    ab = {"a": ["x", "y"], "b": [1, 2]}
    writers = {
        "no bytes": lambda path: path.write_bytes(b""),
        "text": lambda path: path.write_bytes(b"hello\n"),
        "magic only": lambda path: path.write_bytes(b"PAR1PAR1"),
        "cut": damaged(lambda content: content[:-30]),
        "footer of no length": damaged(lambda content: content[:-8] + bytes(4) + b"PAR1"),
        "footer of four gigabytes": damaged(lambda content: content[:-8] + b"\xff" * 4 + b"PAR1"),
        "footer overwritten": damaged(lambda content: content[:-60] + bytes(40) + content[-20:]),
        "another column": table(**ab, w=[1.0, 2.0]),
        "words for values": table(**ab, v=["1", "2"]),
        "dates for values": table(**ab, v=pd.to_datetime(["2020", "2021"])),
        "durations for values": table(**ab, v=pd.to_timedelta([1, 2])),
        "lists for values": table(**ab, v=[[1.0], [2.0]]),
        "lists for labels": table(a=[[1], [2]], b=[1, 2], v=[1.0, 2.0]),
        "records for labels": table(a=[{"x": 1}, {"x": 2}], b=[1, 2], v=[1.0, 2.0]),
        "no label": table(a=["x", None], b=[1, 2], v=[1.0, 2.0]),
        "no row": table(a=np.zeros(0, int), b=np.zeros(0, int), v=np.zeros(0)),
        "no value": table(**ab, v=[np.nan, np.nan]),
        "infinite": table(**ab, v=[np.inf, 1.0]),
        "given twice": table(a=[1, 1], b=[1, 1], v=[1.0, 2.0]),
    }
    for name, write in writers.items():
        yield Case(name, "t.parquet", write, _COLUMNS)


# --- names ----------------------------------------------------------------------------------------


def _names() -> Iterator[Case]:
    def nothing(path: Path) -> None:
        pass

    def loop(path: Path) -> None:
        path.symlink_to(path.name)

    yield Case("no such file", "nowhere.npy", nothing)
    yield Case("no such table", "nowhere.csv", nothing, _COLUMNS)
    yield Case("no such folder", "no/where.npz", nothing)
    yield Case("a folder named like an array", "t.npy", lambda path: path.mkdir())
    yield Case("a folder named like an archive", "t.npz", lambda path: path.mkdir())
    yield Case("a folder named like a csv", "t.csv", lambda path: path.mkdir(), _COLUMNS)
    yield Case("a folder named like a parquet", "t.parquet", lambda path: path.mkdir(), _COLUMNS)
    yield Case("a link to nowhere", "t.npy", lambda path: path.symlink_to("gone.npy"))
    yield Case("a link to itself", "t.csv", loop, _COLUMNS)
    yield Case("no suffix", "data", lambda path: path.write_bytes(b"x"))
    yield Case("a suffix we don't know", "t.xlsx", lambda path: path.write_bytes(b"x"))
    yield Case("a compressed csv", "t.csv.gz", lambda path: path.write_bytes(b"\x1f\x8b"), _COLUMNS)
    yield Case("only a suffix", ".npy", lambda path: path.write_bytes(_npy(GOOD)))
    yield Case("a name of 300 letters", "n" * 300 + ".npy", nothing)
    yield Case("an address", "https://example.org/t.csv", nothing, _COLUMNS)
    yield Case("a line break in the name", "a\nb.npy", lambda path: path.write_bytes(b"x"))
    yield Case("one of the machine's devices", "t.npy", lambda path: path.symlink_to("/dev/null"))


CASES: dict[str, list[Case]] = {
    ".npy files": list(_arrays()),
    ".npz files": list(_archives()),
    ".csv tables": list(_csv()),
    ".parquet tables": list(_parquet()),
    "file names": list(_names()),
}
