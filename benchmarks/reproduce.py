"""Every figure of deep factorization by its command: how long each takes, and how many claims hold.

A cell is one figure with one of the settings, in a fresh process, and counts while the code that makes its numbers is the same: a long run
can be done in several goes. The sum of them, each with a start of its own, is what the whole command takes at most.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
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
# what makes the numbers of a figure, not their look; als enters two of them and has pages of its own
SHARED = (
    "src/rankless/dynamics/*.py",
    *(f"src/rankless/figures/{name}.py" for name in ("outcome", "paths", "planted")),
    "src/rankless/depth.py",
    "src/rankless/tensors/cp_tensor.py",
)
SETTINGS = {"quick": "`rankless reproduce --quick`", "full": "`rankless reproduce`"}


def store(figure: str, **how: Any) -> Store:
    """The cells of one figure, by the code that makes its numbers."""
    stamp = source_stamp((*SHARED, f"src/rankless/figures/{figure}.py"), without=("draw",))
    return Store("reproduce", timed=True, stamp=stamp, **how)


def of(settings: str, **how: Any) -> list[Cell]:
    """The cells of all figures; none where one of them is missing."""
    found = [store(name, **how).find({"settings": settings, "figure": name}) for name in NAMES]
    return [cell for cell in found if cell is not None] if None not in found else []


def total(cells: Sequence[Cell], column: str) -> float:
    """A column summed over figures; NaN where nothing was measured."""
    return sum(float(cell[column]) for cell in cells) if cells else float("nan")


def measured(name: str, settings: str, *, fresh: bool) -> Cell:
    folder = OUT / f"reproduce-{settings}"
    key = {"settings": settings, "figure": name}
    return store(name, fresh=fresh).measure(key, lambda: reproduce.reproduce(name, folder, quick=settings == "quick"))


def run(fresh: bool = False) -> None:
    found: dict[str, list[Cell]] = {settings: [] for settings in SETTINGS}
    for settings, cells in found.items():
        for name in NAMES:
            cells.append(measured(name, settings, fresh=fresh))
            print(cells[-1], flush=True)
    if (OUT / "reproduce-full" / "claims.md").exists():
        DOCS.mkdir(exist_ok=True)
        shutil.copy(OUT / "reproduce-full" / "claims.md", DOCS / "claims.md")
        with Image.open(OUT / "reproduce-full" / SHOWN) as picture:  # few colours: a third of the size
            picture.convert("RGB").quantize(128).save(DOCS / SHOWN, optimize=True)
    columns = ("seconds", "processor_seconds", "held", "claims")
    sums = {s: {column: total(cells, column) for column in columns} for s, cells in found.items()}
    whole = [
        [SETTINGS[s], f"{each['seconds']:.0f}", f"{each['processor_seconds']:.0f}", f"{each['held']:.0f} of {each['claims']:.0f}"]
        for s, each in sums.items()
    ]
    single = [
        [f"`{name}`"]
        + [text for cell in cells for text in (f"{float(cell['processor_seconds']):.0f}", f"{cell['held']} of {cell['claims']}")]
        for name, *cells in zip(NAMES, *found.values(), strict=True)
    ]
    page.write(
        "reproduce",
        "The figures of deep factorization",
        f"{len(NAMES)} figures and a table of claims, each figure from its command in a fresh process, and their sums: the whole command "
        "starts once and takes less. What the full run wrote is in [reproduce](../reproduce/README.md). "
        "Seconds by the clock are those of a machine that others may have used at the same time.",
        page.table(["command", "seconds", "processor seconds", "claims that hold"], whole),
        page.table(["figure", *(text for s in SETTINGS for text in (f"{s}: processor seconds", "claims that hold"))], single),
    )
