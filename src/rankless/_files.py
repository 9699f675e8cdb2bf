"""Outputs appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

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
        # no part of the target's name in it: that may be as long as a name can be
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=target.suffix, dir=target.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes files private; a plain open() would not have
            _settle(temporary)
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):  # its folder may be gone or read-only by now: what went wrong first is said
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside `path` at which to make a folder; rename it into place on success, remove it on failure.

    Where the system cannot exchange folders in one step, what was there is renamed away first, and back if anything fails.
    """
    target = _in_a_folder(path)
    with _named(target):
        aside = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=target.parent))
        new, old, begun = (aside / f"{name}{target.suffix}" for name in ("new", "old", "begun"))
        begun.touch()
        try:
            yield new
            if not begun.exists():  # a library makes folders anew that are deleted under it, and its files before are lost
                raise FileNotFoundError(errno.ENOENT, "its folder was deleted while it was written", str(target))
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
        finally:
            shutil.rmtree(aside, ignore_errors=True)


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
