"""`rankless reproduce` as a user runs it: a fresh process, timed, and the claims it finds to hold."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.measures.startup import fresh
from rankless.figures.outcome import read_rows


def reproduce(name: str, folder: Path, *, quick: bool) -> dict[str, float]:
    """Of one figure: seconds by the wall clock and of processor time, the claims tested and how many of them hold."""
    wall, processor = fresh("-m", "rankless", "reproduce", name, *_quick(quick), "-o", str(folder))
    claims = read_rows(folder / f"{name}-claims.csv", quick=quick)
    return {"seconds": wall, "processor_seconds": processor, "held": sum(claim.holds for claim in claims), "claims": len(claims)}


def whole(folder: Path, *, quick: bool, jobs: int) -> dict[str, dict[str, float]]:
    """The command of all figures, `jobs` at a time: of each figure its share of the run, and of ``all`` the run, its start included."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "said.txt"
    with log.open("w") as stream:
        wall, processor = fresh("-m", "rankless", "reproduce", *_quick(quick), "-j", str(jobs), "--quiet", "-o", str(folder), to=stream)
    found = {}
    for name, *times in re.findall(r"\] (\w+): done in (\d+) s, (\d+) s of processor time", log.read_text()):
        claims = read_rows(folder / f"{name}-claims.csv", quick=quick)
        seconds, worked = map(float, times)
        held = sum(claim.holds for claim in claims)
        found[name] = {"seconds": seconds, "processor_seconds": worked, "held": held, "claims": len(claims)}
    held, count = (sum(row[column] for row in found.values()) for column in ("held", "claims"))
    return found | {"all": {"seconds": wall, "processor_seconds": processor, "held": held, "claims": count}}


def _quick(quick: bool) -> list[str]:
    return ["--quick"] if quick else []
