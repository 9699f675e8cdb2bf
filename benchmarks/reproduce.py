"""Every figure of deep factorization from one command: how long it takes, and how many claims hold."""

from __future__ import annotations

import shutil
from typing import Any

from campaign import page
from campaign.machine import ROOT, source_stamp
from campaign.store import Cell, Store
from PIL import Image

from benchmarks.measures import reproduce
from rankless.figures import NAMES

OUT = ROOT / "out"
DOCS = ROOT / "docs" / "reproduce"
SHOWN = "depth_and_rank.png"
# what makes the numbers of the figures, not their look; als enters two of them and has pages of its own
SOURCES = (
    "src/rankless/dynamics/*.py",
    *(f"src/rankless/figures/{name}.py" for name in (*NAMES, "outcome", "paths", "planted")),
    "src/rankless/depth.py",
    "src/rankless/tensors/cp_tensor.py",
)
SETTINGS = {"quick": "`rankless reproduce --quick`", "full": "`rankless reproduce`"}


def store(**how: Any) -> Store:
    return Store("reproduce", timed=True, stamp=source_stamp(SOURCES, without=("draw",)), **how)


def of(cells: Store, settings: str) -> list[Cell]:
    return cells.current(settings=settings)


def measured(cells: Store, settings: str) -> Cell:
    folder = OUT / f"reproduce-{settings}"
    return cells.measure({"settings": settings}, lambda: reproduce.reproduce(folder, quick=settings == "quick"))


def run(fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    found = {settings: measured(cells, settings) for settings in SETTINGS}
    if (OUT / "reproduce-full" / "claims.md").exists():
        DOCS.mkdir(exist_ok=True)
        shutil.copy(OUT / "reproduce-full" / "claims.md", DOCS / "claims.md")
        with Image.open(OUT / "reproduce-full" / SHOWN) as picture:  # few colours: a third of the size
            picture.convert("RGB").quantize(128).save(DOCS / SHOWN, optimize=True)
    rows = [
        [SETTINGS[s], f"{float(c['seconds']):.0f}", f"{float(c['processor_seconds']):.0f}", f"{c['held']} of {c['claims']}"]
        for s, c in found.items()
    ]
    page.write(
        "reproduce",
        "The figures of deep factorization",
        f"{len(NAMES)} figures and a table of claims from one command in a fresh process. "
        "What the full run wrote is in [reproduce](../reproduce/README.md).",
        page.table(["command", "seconds", "processor seconds", "claims that hold"], rows),
    )
