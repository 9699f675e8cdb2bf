"""The demo and the tests on a bare machine."""

from __future__ import annotations

from typing import Any

from campaign import page
from campaign.machine import source_stamp
from campaign.store import Cell, Store

from benchmarks.measures import bare


def store(**how: Any) -> Store:
    stamp = source_stamp(("src/rankless/**/*.py", "tests/**/*.py"))
    return Store("bare", timed=True, stamp=stamp, **how)


def measured(cells: Store) -> Cell:
    return cells.measure({"what": "clone"}, bare.bare_machine)


def run(fresh: bool = False) -> None:
    found = measured(store(fresh=fresh))
    rows = [
        [f"`make {t}`", "passes" if found[f"{t}_passed"] == "1" else "fails", f"{float(found[f'{t}_seconds']):.0f}"]
        for t in ("demo", "test")
    ]
    page.write(
        "bare",
        "A fresh clone, nothing installed before",
        page.table(["target", "", "seconds, installing included"], rows),
        f"{found['tests']} tests pass in {float(found['suite_seconds']):.0f} s.",
    )
