"""Outputs appear whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it into place on success, remove it on failure.

    The temporary name keeps the suffix, so that writers which look at it behave the same.
    """
    target = _in_a_folder(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes files private; a plain open() would not have
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def folder_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a path beside `path` at which to make a folder; rename it into place on success, remove it on failure.

    Folders cannot be exchanged in one step: what was there is renamed away first, and back if anything fails.
    """
    target = _in_a_folder(path)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.stem}-", dir=target.parent))
    new, old = aside / f"new{target.suffix}", aside / f"old{target.suffix}"
    try:
        yield new
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(new, target)
        except BaseException:
            if old.exists():
                os.rename(old, target)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store: nothing else is ever replaced as a whole."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def _in_a_folder(path: str | os.PathLike) -> Path:
    target = Path(path)
    if not target.parent.is_dir():
        raise ValueError(f"folder {str(target.parent)!r} does not exist; create it or choose another output than {str(target)!r}")
    return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
