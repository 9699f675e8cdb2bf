"""Damage done to files: bytes flipped, cut, inserted, copied; inside an archive too, where its checksums would hide it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from torture.seeds import Seed, seeds
from torture.zoo import archive

_ODD = [
    b"\x00",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff" * 8,
    b"\xff\xff\xff\x7f",
    b"\x00" * 16,
    b"(",
    b"'",
    b'"',
    b",",
    b"\n",
    b"-",
    b"9" * 20,
]
_ENDS = 400  # bytes at either end of a file, where most of its structure lies


def damaged(suffix: str, count: int, seed: int) -> Iterator[Seed]:
    """`count` damaged files with `suffix`, always the same for the same `seed`."""
    rng = np.random.default_rng(seed)
    good = seeds(suffix)
    for _ in range(count):
        files = dict(good[rng.integers(len(good))])
        names = sorted(files)
        name = names[rng.integers(len(names))]
        inside = zipfile.is_zipfile(io.BytesIO(files[name])) and rng.random() < 0.5
        files[name] = (_damage_inside if inside else damage)(files[name], rng)
        yield files


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """One to eight wounds, half of the time near an end of the file."""
    out = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        if not out:
            break
        ends = rng.random() < 0.5
        at = int(rng.integers(min(_ENDS, len(out)))) if ends else int(rng.integers(len(out)))
        if ends and rng.random() < 0.5:
            at = len(out) - 1 - at
        _WOUNDS[rng.integers(len(_WOUNDS))](out, at, rng)
    return bytes(out)


def write(files: Seed, folder: Path) -> Path:
    """Lay the files down; returns what to read, the file or the folder at the top."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / Path(next(iter(files))).parts[0]


def _damage_inside(content: bytes, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        method = opened.infolist()[0].compress_type
        members = {name: opened.read(name) for name in opened.namelist()}
    names = sorted(members)
    name = names[rng.integers(len(names))]
    wounded = damage(members[name], rng)
    return archive({**members, name: wounded}, method)


def _flip(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at] ^= 1 << int(rng.integers(8))


def _replace(out: bytearray, at: int, rng: np.random.Generator) -> None:
    odd = _ODD[rng.integers(len(_ODD))]
    out[at : at + len(odd)] = odd


def _insert(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at:at] = _ODD[rng.integers(len(_ODD))] if rng.random() < 0.5 else rng.bytes(int(rng.integers(1, 20)))


def _cut(out: bytearray, at: int, rng: np.random.Generator) -> None:
    del out[at : at + int(rng.integers(1, 40))]


def _end(out: bytearray, at: int, rng: np.random.Generator) -> None:
    del out[at:]


def _copy(out: bytearray, at: int, rng: np.random.Generator) -> None:
    out[at:at] = out[at : at + int(rng.integers(1, 100))]


def _digit(out: bytearray, at: int, rng: np.random.Generator) -> None:
    """Another digit for the next digit: sizes in a header, numbers in a table."""
    for place in range(at, min(at + 100, len(out))):
        if 48 <= out[place] < 58:
            out[place] = 48 + int(rng.integers(10))
            return


_WOUNDS: list[Callable[[bytearray, int, np.random.Generator], None]] = [_flip, _flip, _replace, _insert, _cut, _end, _copy, _digit]
