"""What a fresh process costs."""

from __future__ import annotations

from typing import Any

from benchmarks import page
from benchmarks.measures import startup
from benchmarks.store import Store

NAMES = {
    "numpy": "`import numpy`",
    "rankless": "`import rankless`",
    "import_over_numpy": "`import rankless` over `import numpy`",
    "complete": "`import rankless; rankless.complete` (its parts are imported on first use)",
    "help": "`rankless --help`",
    "first_fit": "a tiny `als.solve`, compiled kernels cached",
}


def store(**how: Any) -> Store:
    return Store("startup", timed=True, **how)


def measured(cells: Store) -> dict[str, str]:
    return cells.measure({"what": "fresh process"}, startup.start_up)


def run(fresh: bool = False) -> None:
    found = measured(store(fresh=fresh))
    rows = [[text, f"{float(found[name]):.2f}", f"{float(found[f'{name}_cpu']):.2f}"] for name, text in NAMES.items()]
    page.write(
        "startup",
        "Start-up",
        "Seconds of a fresh process by the wall clock, and of processor time, which a busy machine stretches less; "
        "medians of five by turns.",
        page.table(["process", "seconds", "processor seconds"], rows),
    )
