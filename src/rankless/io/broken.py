"""What a parser says of a broken file, in one line that names the file."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from rankless.runtime.files import PARTIAL

_SHOWN = 12  # names in a list
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 60
_REASON = 200  # letters of what a parser says
_LONG = 60  # letters of what is said of a name


class Unclear(ValueError):
    """The file is sound, but what is asked of it is not."""


def short(value: object) -> str:
    """`repr`, cut in the middle where it is long.

    >>> short("rain"), len(short("x" * 1000))
    ("'rain'", 60)
    """
    return _SHORT.repr(value)


def listing(names: Iterable[object], kinds: Mapping[Any, str] | None = None) -> str:
    """Names for an error message, the first dozen of them, each with what `kinds` says of it.

    >>> listing(["a", "b"]), listing([]), listing(["a"], {"a": "3 x 4 double"})
    ("'a', 'b'", 'nothing', "'a' (3 x 4 double)")
    """
    names = list(names)
    more = f", ... ({len(names):,} in all)" if len(names) > _SHOWN else ""
    shown = (short(name) + (f" ({kinds[name][:_LONG]})" if kinds else "") for name in islice(names, _SHOWN))
    return ", ".join(shown) + more if names else "nothing"


def check_file(path: str | os.PathLike, *, folder: bool = False) -> None:
    """Raise OSError or ValueError where `path` is a folder (unless one may be), a pipe, a device, or what a stopped run left."""
    name = Path(path)
    if not name.exists():  # the reader says so, after it has looked for what it needs
        return
    if not folder and name.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not name.is_dir() and not name.is_file():
        raise Unclear(f"{path} is a pipe or a device; write it to a file first")
    if any(part.startswith(PARTIAL) for part in (name.name, name.parent.name)):
        raise Unclear(f"{path} is what a stopped run left of its output and may not be whole; delete it and run again")


@contextlib.contextmanager
def named(path: str | os.PathLike, mend: str) -> Iterator[None]:
    """Turn whatever a parser raises over `path` into a ValueError; the system's own errors and `Unclear` pass.

    Anything is caught because anything is raised: over a damaged header NumPy alone raises
    ValueError, EOFError, KeyError, SyntaxError or tokenize.TokenError.
    """
    try:
        yield
    except Unclear:
        raise
    except MemoryError:
        raise ValueError(f"{path} takes more memory than there is; read a part of it, or close other programs") from None
    except Exception as problem:
        # no such file, no permission; to seek where a broken archive points is an invalid argument
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):
            raise
        said = str(problem).strip().splitlines()
        reason = said[0][:_REASON] if said else type(problem).__name__
        if "Python objects in dtype" in reason or "Object arrays" in reason:
            raise ValueError(
                f"{path} holds Python objects (a pickle), which are never loaded; save numbers, for example array.astype(float)"
            ) from None
        raise ValueError(f"{path} is cut short or is no {Path(path).suffix.lower()} file ({reason}); {mend}") from None


def need(path: str | os.PathLike, extra: str, *packages: str) -> None:
    """Raise ValueError, naming the mend, unless the optional packages that a format needs are installed."""
    lacking = [package for package in packages if importlib.util.find_spec(package) is None]
    if lacking:
        raise Unclear(f"{path} needs {' and '.join(lacking)}, which is not installed; run: pip install 'rankless[{extra}]'")
