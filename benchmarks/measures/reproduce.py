"""`rankless reproduce` as a user runs it: a fresh process, timed, and the claims it finds to hold."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.measures.startup import fresh


def reproduce(folder: Path, *, quick: bool) -> dict[str, float]:
    """Seconds by the wall clock and of processor time, the claims tested and how many of them hold."""
    wall, processor = fresh("-m", "rankless", "reproduce", *(["--quick"] if quick else []), "-o", str(folder))
    held, claims = map(int, re.findall(r"^(\d+) of (\d+) hold", (folder / "claims.md").read_text(), re.MULTILINE)[0])
    return {"seconds": wall, "processor_seconds": processor, "held": held, "claims": claims}
