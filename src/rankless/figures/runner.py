"""`reproduce`: run figures by name, write picture, numbers and the table of claims."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rankless.figures.outcome import Claim, Progress, read_rows, write_claims, write_rows, write_table
from rankless.runtime.progress import Callback, Tracker

# cheap and basic ones first: a broken installation shows early
NAMES = (
    "two_by_two",
    "law",
    "bound",
    "collapse",
    "cp",
    "matrix",
    "depth_and_rank",
    "runaway",
    "optimizer",
    "twin",
    "gaussian",
    "staircase",
    "tubal",
    "multirank",
    "real",
    "images",
    "runaway_map",
)


def reproduce(
    names: Sequence[str] = (),
    out: str | os.PathLike = "out",
    *,
    quick: bool = False,
    tell: Callable[[str], None] = print,
    callback: Callback | None = None,
) -> dict[str, list[Claim]]:
    """Run the figures `names` (all where none is named) into the folder `out`; the claims of each.

    Writes ``NAME.png``, ``NAME.svg``, ``NAME-TABLE.csv``, ``NAME-claims.csv`` and ``claims.md``, which has the rows of earlier calls
    into the same folder too, made with the same settings: a long run can be done in several goes. `quick` takes smaller
    settings, minutes in all. What comes of each claim goes to `tell`, and how far it is to `callback`, as a
    `rankless.runtime.progress.Progress`. Raises ValueError for a name that is not known.
    """
    chosen = [name.replace("-", "_") for name in names] or list(NAMES)
    for name in chosen:
        if name not in NAMES:
            raise ValueError(f"no figure {name!r}; the figures are {', '.join(NAMES)}")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Claim]] = {}
    tracker = Tracker(callback)
    for at, name in enumerate(chosen, 1):
        began, worked = time.perf_counter(), time.process_time()
        head, done = f"[{at}/{len(chosen)}] {name}", (at - 1) / len(chosen)
        rows[name] = _one(name, folder, quick, lambda text, head=head, done=done: tracker.stage(f"{head}: {text}", done))
        # after each figure: a run that is stopped keeps its rows
        write_rows(folder / f"{name}-claims.csv", rows[name], quick=quick)
        there = {other: read_rows(folder / f"{other}-claims.csv", quick=quick) for other in NAMES}
        write_claims(folder / "claims.md", {other: claims for other, claims in there.items() if claims}, quick=quick)
        for claim in rows[name]:
            tell(f"{head}: {'holds' if claim.holds else 'DOES NOT HOLD'}: {claim.claim}: {claim.measured} (expected {claim.expected})")
        tell(f"{head}: done in {time.perf_counter() - began:.0f} s, {time.process_time() - worked:.0f} s of processor time")
    return rows


def _one(name: str, folder: Path, quick: bool, progress: Progress) -> list[Claim]:
    from rankless.figures.look import house_style, save

    progress("starting")
    module = importlib.import_module(f"rankless.figures.{name}")
    outcome = module.run(quick, progress)
    for label, columns in outcome.tables.items():
        write_table(folder / f"{name}-{label}.csv", columns)
    with house_style():
        save(module.draw(outcome.tables), folder / name)
    return outcome.claims
