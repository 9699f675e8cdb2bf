"""Every figure of deep factorization by its command: how long each takes, and how many claims hold.

The quick settings are measured by the command itself, all figures in one process and then two at a time. With the full settings a cell
is one figure in a fresh process, and counts while the code that makes its numbers is the same: a long run can be done in several goes.
The sum of them, each with a start of its own, is what the whole command takes in one process at most.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from campaign import page
from campaign.machine import ROOT, source_stamp
from campaign.store import Cell, Store
from PIL import Image

from benchmarks.measures import reproduce
from rankless.figures import NAMES
from rankless.figures.outcome import read_rows, write_claims

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
JOBS = {1: "all", 2: "all, two at a time"}  # figures made at a time, and the name of the cell


def store(figure: str, **how: Any) -> Store:
    """The cells of one figure, by the code that makes its numbers."""
    stamp = source_stamp((*SHARED, f"src/rankless/figures/{figure}.py"), without=("draw",))
    return Store("reproduce", timed=True, stamp=stamp, **how)


def command(**how: Any) -> Store:
    """The cells of the whole command, by the code of all figures."""
    return Store("reproduce", timed=True, stamp=source_stamp((*SHARED, "src/rankless/figures/*.py"), without=("draw",)), **how)


def of(settings: str, **how: Any) -> list[Cell]:
    """The cells of all figures; none where one of them is missing."""
    found = [store(name, **how).find({"settings": settings, "figure": name}) for name in NAMES]
    return [cell for cell in found if cell is not None] if None not in found else []


def together(settings: str, **how: Any) -> list[Cell]:
    """The cell of the command as it is where there are two processors; none where it was not measured."""
    return command(**how).current(settings=settings, figure=JOBS[2])


def total(cells: Sequence[Cell], column: str) -> float:
    """A column summed over figures; NaN where nothing was measured."""
    return sum(float(cell[column]) for cell in cells) if cells else float("nan")


def measured(name: str, settings: str, *, fresh: bool) -> Cell:
    """The cell of one figure; measured again where what it wrote is not there, since the page of claims is made of that."""
    folder = OUT / f"reproduce-{settings}"
    key = {"settings": settings, "figure": name}
    there = (folder / f"{name}-claims.csv").exists()
    return store(name, fresh=fresh or not there).measure(key, lambda: reproduce.reproduce(name, folder, quick=settings == "quick"))


def run(fresh: bool = False) -> None:
    quickly(fresh)
    for name in NAMES:
        print(measured(name, "full", fresh=fresh), flush=True)
        write()  # a run that is cut short leaves a page of what it measured


def quickly(fresh: bool = False) -> None:
    """Measure the quick settings by runs of the command, those that are not there; then the page."""
    for jobs, figure in JOBS.items():
        key = {"settings": "quick", "figure": figure}
        if fresh or command().find(key) is None:
            found = reproduce.whole(OUT / "reproduce-quick", quick=True, jobs=jobs)
            print(command(fresh=True).measure(key, lambda found=found: found["all"]), flush=True)
            for name in NAMES if jobs == 1 else ():
                store(name, fresh=True).measure({"settings": "quick", "figure": name}, lambda name=name, found=found: found[name])
    write()


def write() -> None:
    """The page of what is measured with today's code, and of the full run its table of claims and a picture once all of it is there."""
    found = {settings: [store(name).find({"settings": settings, "figure": name}) for name in NAMES] for settings in SETTINGS}
    whole, single, ran_whole = [], [], False
    columns = ("seconds", "processor_seconds", "held", "claims")
    for settings, cells in found.items():
        once = command().find({"settings": settings, "figure": JOBS[1]})
        there = [cell for cell in cells if cell is not None]
        if once is not None:
            ran_whole = True
            there, cells = [once], [once] * len(NAMES)
        part = "" if None not in cells else f", {len(there)} of {len(NAMES)} figures"
        for label, measures in (
            (SETTINGS[settings][:-1] + " -j 1`" + part, there),
            (SETTINGS[settings] + ", two at a time", together(settings)),
        ):
            if measures:
                seconds, processor, held, claims = (total(measures, column) for column in columns)
                whole.append([label, f"{seconds:.0f}", f"{processor:.0f}", f"{held:.0f} of {claims:.0f}"])
    for name, *cells in zip(NAMES, *found.values(), strict=True):
        texts = [("-", "-") if c is None else (f"{float(c['processor_seconds']):.0f}", f"{c['held']} of {c['claims']}") for c in cells]
        single.append([f"`{name}`", *(text for each in texts for text in each)])
    write_page_of_claims({name for name, cell in zip(NAMES, found["full"], strict=True) if cell is not None})
    page.write(
        "reproduce",
        "The figures of deep factorization",
        f"{len(NAMES)} figures and a table of claims. "
        + ("Quick are runs of the command, and of that with `-j 1` the share of each figure; full" if ran_whole else "Quick and full")
        + " are figures from their commands, each in a fresh process, and their sum: the whole command starts once and takes less. "
        "Without `-j` figures are made two at a time where there are two processors; each process compiles for itself what figures share. "
        "What the full run wrote is in [reproduce](../reproduce/README.md). "
        "Seconds by the clock are those of a machine that others may have used at the same time. A dash: not measured with today's code.",
        page.table(["command", "seconds", "processor seconds", "claims that hold"], whole),
        page.table(["figure", *(text for s in SETTINGS for text in (f"{s}: processor seconds", "claims that hold"))], single),
    )


def write_page_of_claims(full: Container[str]) -> None:
    """``docs/reproduce/claims.md`` and a picture, from what the figures `full` wrote; of the others what the quick run says, marked so.

    Nothing is written while a figure has neither.
    """
    rows = {}
    for name in NAMES:
        claims = read_rows(OUT / "reproduce-full" / f"{name}-claims.csv", quick=False) if name in full else []
        rows[name if claims else f"{name} (quick settings)"] = claims or read_rows(
            OUT / "reproduce-quick" / f"{name}-claims.csv", quick=True
        )
    if not all(rows.values()):
        return
    DOCS.mkdir(exist_ok=True)
    write_claims(DOCS / "claims.md", rows, quick=False)
    reduced = [name for name in rows if name not in NAMES]
    if reduced:
        text = (DOCS / "claims.md").read_text(encoding="utf-8")
        said = f"with the full settings of {len(NAMES) - len(reduced)} figures and the quick ones of {len(reduced)}, given in each row."
        (DOCS / "claims.md").write_text(text.replace("with the full settings given in each row.", said), encoding="utf-8")
    if SHOWN.removesuffix(".png") in rows:
        with Image.open(OUT / "reproduce-full" / SHOWN) as picture:  # few colours: a third of the size
            picture.convert("RGB").quantize(128).save(DOCS / SHOWN, optimize=True)
