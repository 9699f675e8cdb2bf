"""A journal of what a fit has computed, from which a fit that was cut short goes on.

A fit is a chain of long computations (a settled fit, a mean of draws, the choice of neighbours) with
quick steps between them, and the same data, settings and seed always lead through the same chain. The
journal keeps the result of every long one. A fit that is run again is handed these results, in order,
until they run out, and computes on from there: each number is that of an unbroken run, bit for bit.

    file    =  header, record 1, record 2, ...
    record  =  mark, number, length, CRC-32,  then a line of JSON and the arrays it names as .npy

Records are only ever appended, every few seconds, so whatever ends a process leaves a valid journal;
a last record that was cut short is cut off. Each record also names what it was computed from, so
results are never handed to another computation. No pickle is read or written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import time
import warnings
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rankless.runtime.files import write_beside

Arrays = dict[str, np.ndarray]

EVERY = 10.0  # seconds between writes: what a kill costs, and how long a fit must last for a file to appear
_HEAD = struct.Struct("<4sIQI")
_MARK = b"rkl1"


class Journal:
    """The journal in the file `path`: goes on from what is there, or where `resume` is False starts afresh.

    What is there is replaced only once there is something to replace it with. Used as a context, it
    removes the file when all went well, and keeps it, brought up to date, when an exception passes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "fit"
    >>> for attempt in (1, 2):
    ...     journal = Journal(path, every=0)
    ...     facts = journal.begin({"data": "x"})
    ...     print(journal.recall("square", [3], lambda: print("computing") or {"answer": np.array(9)}))
    ...     journal.close()
    computing
    {'answer': array(9)}
    {'answer': array(9)}
    """

    def __init__(self, path: str | os.PathLike, *, every: float = EVERY, resume: bool = True):
        if not (isinstance(every, (int, float)) and every >= 0):
            raise ValueError(f"every={every!r} is not a number of seconds >= 0; leave it out for {EVERY:g}")
        self.path, self.every = Path(path), float(every)
        self.found = resume and self.path.is_file()
        self.handed_back = 0  # results taken from the file instead of computed
        self._number = 0  # records read or made so far
        self._pending: list[bytes] = []
        self._stream: BinaryIO | None = None
        self._end = 0  # of the last valid record in the file
        self._reading = self._broken = False

    # --- a fit's side ---------------------------------------------------------------------------

    def begin(self, facts: Mapping[str, str], *, free: Collection[str] = ()) -> Mapping[str, str]:
        """The facts the journal goes with: those in the file, which must be `facts` but for the `free` ones, or these, if it is new.

        Raises ValueError that names what differs.
        """
        if self.found:
            stream = open(self.path, "r+b")  # noqa: SIM115  (closed by close)
            self._stream, header = stream, _read(stream, 0)
            if header is not None:
                stored = json.loads(bytes(header[1]["facts"]))
                self._check(stored, {name: fact for name, fact in facts.items() if name not in free})
                self._end, self._number, self._reading = stream.tell(), 1, True
                return stored
            self.close()  # killed before it held anything
            self.found = False
        self._pending = [_packed(0, "header", {"facts": np.frombuffer(json.dumps(dict(facts)).encode(), np.uint8)})]
        self._number, self._last = 1, time.monotonic()
        return facts

    def recall(self, what: str, given: Iterable[Any], compute: Callable[[], Arrays]) -> Arrays:
        """What `compute()` returns, from the journal where it holds it; `given` is all that it depends on and may differ."""
        name = f"{what} {_fingerprint(given)}"
        if self._reading and self._stream is not None:
            record = _read(self._stream, self._number)
            if record is not None:
                if record[0] != name:
                    raise ValueError(
                        f"step {self._number} of the checkpoint {str(self.path)!r} is another than this fit's, so a program or machine "
                        "that computes differently wrote it; delete the file to start afresh"
                    )
                self._end, self._number, self.handed_back = self._stream.tell(), self._number + 1, self.handed_back + 1
                return record[1]
            self._reading, self._last = False, time.monotonic()
        found = compute()
        if not self._broken:
            self._pending.append(_packed(self._number, name, found))
            self._number += 1
            if time.monotonic() - self._last >= self.every:
                self.write()
        return found

    # --- the file's side ------------------------------------------------------------------------

    def write(self) -> None:
        """Bring the file up to date. Where that fails the fit goes on without, and a warning says so."""
        if self._broken or not self._pending:
            return
        try:
            if self._stream is None:
                with write_beside(self.path) as temporary:
                    temporary.write_bytes(b"".join(self._pending))
                self._stream = open(self.path, "r+b")  # noqa: SIM115  (closed by close)
                self._end = self._stream.seek(0, os.SEEK_END)
            else:
                self._stream.seek(self._end)
                self._stream.truncate()  # a record that was cut short
                self._stream.write(b"".join(self._pending))
                self._stream.flush()
                self._end = self._stream.tell()
            os.fsync(self._stream.fileno())
        except (OSError, ValueError) as problem:
            self._broken = True
            warnings.warn(f"no checkpoint can be written ({problem}); the fit goes on without", UserWarning, stacklevel=2)
        self._pending, self._last = [], time.monotonic()

    @property
    def kept(self) -> bool:
        """Whether there is a file to go on from."""
        return self._stream is not None

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):  # of what a full disk refused, which has been said; the records before are on it
                self._stream.close()
            self._stream = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind, *exception) -> None:
        if kind is None:
            self.close()
            self.path.unlink(missing_ok=True)
        elif self.kept and not self._reading:
            self.write()
        self.close()

    def _check(self, stored: Mapping[str, str], facts: Mapping[str, str]) -> None:
        for name, now in facts.items():
            then = stored.get(name)
            if now != then:
                raise ValueError(
                    f"the checkpoint {str(self.path)!r} is of a fit with another {name} ({then}, now {now}); "
                    "go on with what it was begun with, or delete it to start afresh"
                )


@contextlib.contextmanager
def opened(checkpoint: Journal | str | os.PathLike | None) -> Iterator[Journal | None]:
    """The journal of a path, removed when all went well; one that is given is left to its owner."""
    if checkpoint is None or isinstance(checkpoint, Journal):
        yield checkpoint
    else:
        with Journal(checkpoint) as journal:
            yield journal


def machine() -> str:
    """What else decides the last bits: versions and processor."""
    import llvmlite.binding as llvm
    import numba
    import scipy

    from rankless import __version__

    versions = f"rankless {__version__}, numpy {np.__version__}, scipy {scipy.__version__}, numba {numba.__version__}"
    return f"{versions}, {llvm.get_host_cpu_name()}"


def digest(*arrays: np.ndarray | None) -> str:
    """A fingerprint of arrays that no accident gives to others.

    >>> digest(np.arange(3)) == digest(np.arange(3)), digest(np.arange(3)) == digest(np.arange(3.0))
    (True, False)
    """
    import hashlib

    whole = hashlib.sha256()
    for array in arrays:
        whole.update(b"none" if array is None else f"{array.dtype.str} {array.shape} ".encode())
        if array is not None:
            whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()[:16]


def state_of(rng: np.random.Generator) -> np.ndarray:
    """The state of a random generator as bytes."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode(), np.uint8)


# --- records --------------------------------------------------------------------------------------


def _fingerprint(given: Iterable[Any]) -> str:
    """CRC-32 of arrays' bytes and of everything else as text: quick, and guards against mistakes only."""
    total = 0
    for part in given:
        total = zlib.crc32(np.ascontiguousarray(part).data if isinstance(part, np.ndarray) and part.size else repr(part).encode(), total)
    return f"{total:08x}"


def _packed(number: int, name: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    body = io.BytesIO()
    body.write(json.dumps({"name": name, "arrays": list(arrays)}).encode() + b"\n")
    for array in arrays.values():
        np.save(body, array, allow_pickle=False)
    payload = body.getbuffer()
    return _HEAD.pack(_MARK, number, len(payload), zlib.crc32(payload)) + payload


def _read(stream: BinaryIO, number: int) -> tuple[str, Arrays] | None:
    """The record at hand if it is whole and has this `number`, else None."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return None
    mark, found, length, checksum = _HEAD.unpack(head)
    if mark != _MARK or found != number or length > os.fstat(stream.fileno()).st_size:
        return None
    payload = stream.read(length)
    if len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    body = io.BytesIO(payload)
    about = json.loads(body.readline())
    return about["name"], {name: np.load(body, allow_pickle=False) for name in about["arrays"]}
