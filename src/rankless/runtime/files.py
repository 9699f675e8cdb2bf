"""Outputs appear whole or not at all: written beside their place, then renamed into it.

What a killed process leaves is deleted when the same output is next written. Its name tells of which output it is, and a
lock, which the system takes from a process that dies, whether anyone still writes it: where it can't be locked, it stays.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows, where nothing is locked, nor deleted
    fcntl = None

# How the name of an unfinished output begins; one is left only where the process is killed, and is refused as an input.
PARTIAL = ".partial-"
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of Linux


@contextlib.contextmanager
def write_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place on success, remove it on failure.

    The temporary name keeps the suffix, so that writers which look at it behave the same. An OSError names `path`.
    """
    target = _in_a_folder(path)
    with _named(target):
        with _ours(lambda: _file(target)) as temporary:
            try:
                yield temporary
                temporary.chmod(0o666 & ~_umask())  # mkstemp makes files private; a plain open() would not have
                _settle(temporary)
                os.replace(temporary, target)
            finally:
                with contextlib.suppress(OSError):  # its folder may be gone or read-only by now: what went wrong first is said
                    temporary.unlink(missing_ok=True)
        _sweep(target)


@contextlib.contextmanager
def folder_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside `path` at which to make a folder; rename it into place on success, remove it on failure.

    Where the system cannot exchange folders in one step, what was there is renamed away first, and back if anything fails.
    """
    target = _in_a_folder(path)
    with _named(target):
        with _ours(lambda: Path(tempfile.mkdtemp(prefix=_beginning(target), dir=target.parent))) as aside:
            new, old, begun = (aside / f"{name}{target.suffix}" for name in ("new", "old", "begun"))
            try:
                begun.touch()
                yield new
                if not begun.exists():  # a library makes folders anew that are deleted under it, and its files before are lost
                    raise FileNotFoundError(errno.ENOENT, "its folder was deleted while it was written", str(target))
                _put(new, old, target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
        _sweep(target)


def _put(new: Path, old: Path, target: Path) -> None:
    """The folder `new` in the place of `target`."""
    if target.exists():
        if _exchanged(new, target):
            return
        os.rename(target, old)
    try:
        os.rename(new, target)
    except BaseException:
        if old.exists():
            os.rename(old, target)
        raise


def check_writable(path: str | os.PathLike) -> None:
    """Raise OSError, naming `path`, unless a file of that name could be begun right now."""
    target = Path(path)
    with _named(target):
        target.exists()  # raises where the name is too long
        tempfile.TemporaryFile(prefix=PARTIAL, dir=target.parent).close()


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store: nothing else is ever replaced as a whole."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _in_a_folder(path: str | os.PathLike) -> Path:
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"folder {str(target.parent)!r} does not exist; create it or choose another output than {str(target)!r}")
    return target


def _beginning(target: Path) -> str:
    """Of the names of what becomes `target`; no part of its own, which may be as long as a name can be."""
    return f"{PARTIAL}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:12]}-"


def _file(target: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=_beginning(target), suffix=target.suffix, dir=target.parent)
    os.close(handle)
    return Path(name)


@contextlib.contextmanager
def _ours(make: Callable[[], Path]) -> Iterator[Path]:
    """What `make` makes, locked until the block is left or the process ends."""
    for _ in range(10):
        path, handle = make(), None
        if fcntl is None:
            break
        try:
            handle = os.open(path, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: HDF5 locks what it reads
            if path.exists():
                break
        except (FileNotFoundError, BlockingIOError):
            pass  # another process, which sweeps, was quicker than the lock
        except OSError:  # not on this disk
            break
        if handle is not None:
            os.close(handle)
    else:
        raise OSError(errno.EBUSY, "what is begun beside it is deleted again and again", str(path))
    try:
        yield path
    finally:
        if handle is not None:
            os.close(handle)


def _sweep(target: Path) -> None:
    """Delete what became of no other writing of `target`, where nobody holds it."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for left in target.parent.glob(f"{_beginning(target)}*"):
            with contextlib.suppress(OSError):
                handle = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
                finally:
                    os.close(handle)


def _exchanged(one: Path, other: Path) -> bool:
    """Give two folders each other's name in one step; False where the system, or the disk, cannot."""
    import ctypes

    exchange = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return exchange is not None and exchange(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _settle(path: Path) -> None:
    """Have the file on the disk before its name changes: some disks say only now that they are full."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _named(target: Path) -> Iterator[None]:
    """An OSError over a temporary file, told of the file that it was to become."""
    try:
        yield
    except OSError as problem:
        if problem.errno is None:  # NumPy counts bytes and gives no reason; shutil gives a list of files, each with its reason
            why = problem.args[0][0][-1] if isinstance(problem, shutil.Error) else problem
            raise OSError(
                errno.EIO, f"not all of it could be written ({why}); is the disk full, or the folder gone?", str(target)
            ) from problem
        raise OSError(problem.errno, problem.strerror, str(target)) from problem
