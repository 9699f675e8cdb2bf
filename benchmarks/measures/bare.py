"""A clone of what is committed, on a machine with python3 and make: the demo and the tests, nothing installed before."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time

from campaign.machine import ROOT


def bare_machine() -> dict[str, float]:
    """``make demo`` and ``make test`` in a fresh clone: 1 where it passed, seconds with installing, seconds of the tests alone."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        found = {}
        for target in ("demo", "test"):
            start = time.perf_counter()
            done = subprocess.run(["make", target], cwd=folder, env=environment, capture_output=True, text=True, check=False)
            found |= {f"{target}_passed": int(done.returncode == 0), f"{target}_seconds": time.perf_counter() - start}
            if done.returncode:
                print(done.stdout[-3000:], done.stderr[-3000:], flush=True)
        summary = re.search(r"(\d+) passed.* in ([\d.]+)s", done.stdout)
    return found | {"tests": int(summary[1]) if summary else 0, "suite_seconds": float(summary[2]) if summary else float("nan")}
