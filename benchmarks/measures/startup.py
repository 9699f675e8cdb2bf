"""What a fresh process costs: import, first fit, help."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from typing import IO

from campaign.machine import ROOT

IMPORT = "import rankless"
DOOR = "import rankless; rankless.complete"  # what the lazy import leaves for the first use
NUMPY = "import numpy"
TINY_SOLVE = """
import numpy as np
from rankless import als
from rankless.tensors.observations import Observations
array = np.outer(np.arange(1.0, 6.0), [1.0, -1.0, 2.0, 0.5])
array[0, 0] = np.nan
fit = als.solve(Observations.from_array(array), max_rank=3, random_state=0)
assert fit.rank >= 1
"""


def fresh(*arguments: str, to: IO[str] | int = subprocess.DEVNULL) -> tuple[float, float]:
    """Wall-clock and processor seconds of a fresh Python process, its start included; what it says goes to the file `to`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])}
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=to, env=environment, cwd=ROOT)
    wall, after = time.perf_counter() - start, os.times()
    return wall, (after.children_user + after.children_system) - (before.children_user + before.children_system)


def start_up(repeats: int = 5) -> dict[str, float]:
    """Median seconds of fresh processes: NumPy's import, ours (and over NumPy's), that of `complete`, ``--help``, a tiny fit.

    Compiled kernels are cached beforehand. ``NAME`` is by the wall clock, ``NAME_cpu`` the processor's
    time, which a busy machine stretches less.
    """
    fresh("-c", TINY_SOLVE)  # compiles where nothing is cached yet
    fresh("-m", "rankless", "--help")
    runs = {
        "numpy": ("-c", NUMPY),
        "rankless": ("-c", IMPORT),
        "complete": ("-c", DOOR),
        "help": ("-m", "rankless", "--help"),
        "first_fit": ("-c", TINY_SOLVE),
    }
    found = [{name: fresh(*arguments) for name, arguments in runs.items()} for _ in range(repeats)]
    for times in found:
        (ours, ours_cpu), (numpy, numpy_cpu) = times["rankless"], times["numpy"]
        times["import_over_numpy"] = ours - numpy, ours_cpu - numpy_cpu
    result = {}
    for name in found[0]:
        result[name] = statistics.median(times[name][0] for times in found)
        result[f"{name}_cpu"] = statistics.median(times[name][1] for times in found)
    return result
