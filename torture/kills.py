"""Fits of real data killed at random points, and stopped by ctrl-C: what --resume then writes must be the unbroken run's, bit for bit.

Each fit is a process of its own, `rankless complete` on three years of the Met Office data, with the checkpoint brought
up to date after every step, so that kills fall between, before and into writes. It is killed at a time drawn evenly from
the unbroken fit's, counted from the first write, then run to its end with --resume.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from campaign import data
from campaign.machine import ROOT

from torture import record

SOURCES = tuple(
    f"src/rankless/{name}.py" for name in ("runtime/journal", "cli/*", "cli/interrupted", "runtime/workers", "als/settle", "als/gibbs")
)
YEARS = 3
KILLS, STOPS = 50, 10
# jobs in the background of a shell begin deaf to ctrl-C
HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from rankless.cli import main; main()"
CHECKPOINT = ".filled.npy.checkpoint"


def store(**how):
    return record.store("kills", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    try:
        data.path("metoffice_2001_2020")
    except data.Absent as reason:
        print(f"skipped: {reason}", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_input(Path(folder))
        for fault, ending, count in [
            (f"kill -9 at a random point of a Met Office fit of {YEARS} years, then --resume", signal.SIGKILL, KILLS),
            (f"ctrl-C at a random point of a Met Office fit of {YEARS} years, then --resume", signal.SIGINT, STOPS),
        ]:
            print(cells.measure({"fault": fault}, lambda ending=ending, count=count: measure(Path(folder), ending, count)), flush=True)


def write_input(folder: Path) -> None:
    with np.load(data.path("metoffice_2001_2020"), allow_pickle=False) as stored:
        np.save(folder / "data.npy", stored["tensor"][:, -YEARS:].astype(float))


def measure(folder: Path, ending: signal.Signals, count: int) -> dict[str, object]:
    """`count` fits ended by a signal, each then resumed to its end."""
    unbroken(folder)  # compiles what is compiled once
    whole, seconds = unbroken(folder)
    rng, survived, sizes = random.Random(int(ending)), [], []
    for _ in range(10 * count):
        if len(survived) == count:
            break
        after = rng.uniform(0.0, seconds)
        size, good = ended(folder, ending, after, whole)
        if size is None:
            continue  # the fit was over before
        survived.append(good)
        sizes.append(size)
        said = f"{ending.name} {len(survived)} of {count} after {after:.2f} of {seconds:.2f} s"
        print(f"{said}: {size:,} bytes kept, {'same' if good else 'LOST'}", flush=True)
    how = f"the same bits as the unbroken run, from checkpoints of {min(sizes) / 1e6:.1f} to {max(sizes) / 1e6:.1f} MB"
    return record.fault(survived, how)


def unbroken(folder: Path) -> tuple[str, float]:
    """The hash of the output of a run without --resume, and the seconds from its first checkpoint on."""
    process = begun(folder)
    start = first_write(folder, process)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the unbroken run failed: {said}")
    return taken(folder), time.perf_counter() - start


def first_write(folder: Path, process: subprocess.Popen) -> float:
    """The time at which the checkpoint appears."""
    while process.poll() is None and not (folder / CHECKPOINT).exists():
        time.sleep(0.002)
    return time.perf_counter()


def ended(folder: Path, ending: signal.Signals, after: float, whole: str) -> tuple[int | None, bool]:
    """Bytes of the checkpoint that a fit left which was ended `after` so many seconds, and whether all went on as it should.

    None for the bytes where the fit was over by then.
    """
    process, good = begun(folder), True
    first_write(folder, process)
    try:
        process.communicate(timeout=after)
        return None, taken(folder) == whole
    except subprocess.TimeoutExpired:
        process.send_signal(ending)
        _, said = process.communicate()
    if not (folder / CHECKPOINT).exists():  # it was just done
        return None, taken(folder) == whole
    if ending is signal.SIGINT:  # it takes the time to say how to go on
        good = process.returncode == 130 and said.count("\n") == 1 and not (folder / "filled.npy").exists()
    size = (folder / CHECKPOINT).stat().st_size
    process = begun(folder, "--resume")
    process.communicate()
    good = good and process.returncode == 0
    good = good and taken(folder) == whole and not (folder / CHECKPOINT).exists()
    for left in [*folder.glob("filled*"), *folder.glob(".filled*")]:  # also what a kill between writing beside and renaming left
        left.unlink()
    return size, good


def begun(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEARING, "complete", "data.npy", "-o", "filled.npy", "--checkpoint-every", "0", "--quiet", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def taken(folder: Path) -> str:
    """The hash of the output, which is removed."""
    path = folder / "filled.npy"
    if not path.exists():
        return "nothing"
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    return found
