"""`rankless reproduce` as a user runs it: a fresh process, timed, and the claims it finds to hold."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measures.startup import fresh
from rankless.figures.outcome import read_rows


def reproduce(name: str, folder: Path, *, quick: bool) -> dict[str, float]:
    """Of one figure: seconds by the wall clock and of processor time, the claims tested and how many of them hold."""
    wall, processor = fresh("-m", "rankless", "reproduce", name, *(["--quick"] if quick else []), "-o", str(folder))
    claims = read_rows(folder / f"{name}-claims.csv", quick=quick)
    return {"seconds": wall, "processor_seconds": processor, "held": sum(claim.holds for claim in claims), "claims": len(claims)}
