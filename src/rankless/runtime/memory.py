"""Refuse what would not fit in memory before it is tried, with the size it would take."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_LOADED = 64 * 2**20  # compiled code, and the largest block in which a model is evaluated
_AN_ENTRY = 86  # bytes of the greediest step (the choice of neighbours), measured; at order 4 and above that is the sorted entries
_A_SLICE = 20_000  # rows of the factors of all fits that are kept: some 50 of 100 components
_HELD = 16  # errors on the held-out tenth of all fits that are kept


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


def fit_bytes(size: int, shape: Sequence[int], *, itemsize: int = 8, weighted: bool = False) -> int:
    """About what fitting `size` entries of an array of `shape` takes, beside the entries themselves.

        entry:  values near 1 + training part with coordinates + held-out errors + the greediest of the steps
        slice:  rows of all factors that are kept

    >>> in_words(fit_bytes(10**6, (200, 200, 100)))
    '197.5 MiB'
    """
    order, numbers = len(shape), itemsize * (1 + weighted)
    ordered = numbers + (order - 1) * (4 * (order - 1) + numbers)
    entry = 2 * numbers + 4 * order + _HELD + max(_AN_ENTRY, ordered)
    return _LOADED + size * entry + sum(map(int, shape)) * _A_SLICE


def check_fit(size: int, shape: Sequence[int], *, itemsize: int = 8, weighted: bool = False) -> None:
    """Raise ValueError if a fit would need more memory than this process may still take.

    >>> check_fit(100, (10, 10, 10))
    """
    need = fit_bytes(size, shape, itemsize=itemsize, weighted=weighted)

    def part(have: int) -> str:
        share = max(0.9 * have / need, 0.01)
        return f"raise the limit, or fit a part: obs.subset(np.random.default_rng(0).random(obs.size) < {share:.2f})"

    check_room(need, f"fitting {size:,} entries of shape {tuple(map(int, shape))}", part)


def check_room(need: int, what: str, mend: Callable[[int], str]) -> None:
    """Raise ValueError if `what` would need more memory than this process may still take; `mend` is told how much that is.

    >>> check_room(1000, "this", lambda have: "leave it")
    """
    for have, whose in left():
        if need > have:
            raise ValueError(f"{what} takes about {in_words(need)} more and {whose} leaves {in_words(max(have, 0))}; {mend(have)}")


def left() -> Iterator[tuple[int, str]]:
    """Bytes this process may still take, and who says so: the machine, its control group, ``ulimit -v``."""
    mapped, resident = _taken()
    machine, group = machine_memory(), _group_memory()
    if machine is not None:
        yield machine - resident, "this machine"
    if group is not None:
        yield group - resident, "the memory limit of this container"
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        yield limit - mapped, "ulimit -v"


def _taken() -> tuple[int, int]:
    """Bytes of this process, mapped and resident; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()
    except OSError:
        return 0, 0
    size = os.sysconf("SC_PAGE_SIZE")
    return int(pages[0]) * size, int(pages[1]) * size


def _group_memory(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The least memory limit of the control groups this process is in (versions 1 and 2), or None."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    limits = []
    for _, controllers, path in lines:
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        inside = base / path.lstrip("/")
        for folder in (inside, *inside.parents):  # a container may see its own group as the root
            if folder.is_relative_to(base) and (folder / name).is_file():
                text = (folder / name).read_text().strip()
                limits += [int(text)] if text.isdecimal() else []
    return min(limits, default=None)


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
