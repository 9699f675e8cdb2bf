"""Refuse what would not fit in memory before it is tried, with the size it would take."""

from __future__ import annotations

import os
from collections.abc import Sequence


def machine_memory() -> int | None:
    """Physical memory in bytes, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def check_fits(shape: Sequence[int], bytes_a_cell: int) -> None:
    """Raise ValueError if an array, or table, of all cells of `shape` would not fit in this machine.

    >>> check_fits((100, 100), 8)
    """
    need = bytes_a_cell
    for size in shape:
        need *= int(size)
    have = machine_memory()
    if have is not None and need > have:
        raise ValueError(
            f"filling all of shape {tuple(map(int, shape))} takes {in_words(need)} and this machine has {in_words(have)}; "
            "ask only for the cells you need: rankless.complete(...).predict(indices)"
        )


def in_words(count: float) -> str:
    """A number of bytes as people read it.

    >>> in_words(3 * 2**30)
    '3.0 GiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if count < 1024 or unit == "PiB":
            break
        count /= 1024
    return f"{count:.1f} {unit}"
