"""Inputs that change under the reader: another thread cuts them short, writes over them and restores them while they are read."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from torture import child, judge, record
from torture.seeds import roles, suffixes
from torture.writers import write_file

SOURCES = tuple(f"torture/{name}.py" for name in ("judge", "seeds", "writers")) + tuple(
    f"src/rankless/{name}.py" for name in ("io/*", "tensors/observations", "tensors/canonical")
)
READS = 40  # a format
HOW = "sound entries, or one sentence"


def store(**how):
    return record.store("inputs", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for suffix in suffixes():
        key = {"fault": f"{suffix} cut short and written over while it is read"}
        print(cells.measure(key, lambda suffix=suffix: measure(suffix, READS)), flush=True)


def measure(suffix: str, count: int) -> dict[str, object]:
    """`count` readings of a file that does not keep still."""
    given = [(suffix, number) for number in range(count)]
    ends = list(child.over(shaken, given, seconds=60.0, memory=2 * child.GIB, warm=judge.warm))
    wrong = [end.died or end.value for end in ends if end.died or end.value]
    for text in wrong:
        print(f"LOST {suffix}: {text}", flush=True)
    return record.fault([not (end.died or end.value) for end in ends], HOW if not wrong else f"broken: {wrong[0][:200]}")


def shaken(given: tuple[str, int]) -> str:
    """What is wrong after one reading, in words."""
    suffix, number = given
    rng = random.Random(number)
    with tempfile.TemporaryDirectory() as folder:
        write_file(suffix, "", Path(folder), 0)
        path = Path(folder, f"out{suffix}")
        with changing(path, rng):
            outcome, said = judge.judge(path, _known(suffix))
    return said if outcome == "crashed" else ""


def _known(suffix: str) -> dict[str, object]:
    options = roles(suffix)[0]
    return {"modes": ["mode_0", "mode_1", "mode_2"], "value": "value"} if options else {}


@contextlib.contextmanager
def changing(path: Path, rng: random.Random) -> Iterator[None]:
    """Change the files at `path`, again and again, until the block is left."""
    files = [part for part in ([path] if path.is_file() else path.rglob("*")) if part.is_file()]
    opened = [(os.open(part, os.O_RDWR), part.read_bytes()) for part in files]
    over = threading.Event()

    def change() -> None:
        while not over.wait(rng.uniform(0.0, 0.003)):
            handle, whole = rng.choice(opened)
            act = rng.randrange(3)
            if act == 0:
                os.ftruncate(handle, rng.randrange(len(whole) + 1))
            elif act == 1:
                os.pwrite(handle, rng.randbytes(rng.randint(1, 64)), rng.randrange(len(whole) + 1))
            else:
                os.ftruncate(handle, len(whole))
                os.pwrite(handle, whole, 0)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for handle, _ in opened:
            os.close(handle)
