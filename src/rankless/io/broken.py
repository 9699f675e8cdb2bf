"""What a parser says of a broken file, in one line that names the file."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path


class Unclear(ValueError):
    """The file is sound, but what is asked of it is not."""


@contextlib.contextmanager
def named(path: str | os.PathLike, mend: str) -> Iterator[None]:
    """Turn whatever a parser raises over `path` into a ValueError; the system's own errors and `Unclear` pass.

    Anything is caught because anything is raised: over a damaged header NumPy alone raises
    ValueError, EOFError, KeyError, SyntaxError or tokenize.TokenError.
    """
    try:
        yield
    except (Unclear, MemoryError):
        raise
    except Exception as problem:
        # no such file, no permission; to seek where a broken archive points is an invalid argument
        if isinstance(problem, OSError) and problem.errno not in (None, errno.EINVAL):
            raise
        said = str(problem).strip().splitlines()
        reason = said[0] if said else type(problem).__name__
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
