"""`reproduce`: run figures by name, write picture, numbers and the table of claims."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from rankless.figures.outcome import Claim, Progress, read_rows, write_claims, write_rows, write_table
from rankless.figures.side_by_side import side_by_side
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
# those that take more than 100 s with full settings: begun first where several are made at a time, so that none is left at the end
LONG = ("runaway_map", "twin", "depth_and_rank", "law", "multirank", "runaway")

Made = tuple[list[Claim], float, float]  # claims, seconds by the clock and of processor time


def reproduce(
    names: Sequence[str] = (),
    out: str | os.PathLike = "out",
    *,
    quick: bool = False,
    jobs: int = 1,
    tell: Callable[[str], None] = print,
    callback: Callback | None = None,
) -> dict[str, list[Claim]]:
    """Run the figures `names` (all where none is named) into the folder `out`; the claims of each.

    Writes ``NAME.png``, ``NAME.svg``, ``NAME-TABLE.csv``, ``NAME-claims.csv`` and ``claims.md``, which has the rows of earlier calls
    into the same folder too, made with the same settings: a long run can be done in several goes. `quick` takes smaller
    settings, minutes in all. What comes of each claim goes to `tell`, and how far it is to `callback`, as a
    `rankless.runtime.progress.Progress`. With `jobs` above 1 so many figures are made at a time, in processes of their own that compute
    on one thread, and are told of as they are done; the files are the same. A script calls it under ``if __name__ == "__main__":`` then.
    Raises ValueError for a name that is not known, and what a figure raises, which ends the others.
    """
    chosen = list(dict.fromkeys(name.replace("-", "_") for name in names)) or list(NAMES)
    for name in chosen:
        if name not in NAMES:
            raise ValueError(f"no figure {name!r}; the figures are {', '.join(NAMES)}")
    if jobs < 1:
        raise ValueError(f"jobs={jobs!r} is not a number of processes; pass jobs=1 or more")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[Claim]] = {}
    heads = {name: f"[{at}/{len(chosen)}] {name}" for at, name in enumerate(chosen, 1)}
    tracker = Tracker(callback)
    make = partial(_timed, folder=folder, quick=quick)
    with closing(_made(make, chosen, jobs, lambda name, text: tracker.stage(f"{heads[name]}: {text}", len(rows) / len(chosen)))) as made:
        for name, (claims, seconds, worked) in made:
            rows[name] = claims
            # after each figure: a run that is stopped keeps its rows
            write_rows(folder / f"{name}-claims.csv", claims, quick=quick)
            there = {other: read_rows(folder / f"{other}-claims.csv", quick=quick) for other in NAMES}
            write_claims(folder / "claims.md", {other: found for other, found in there.items() if found}, quick=quick)
            for claim in claims:
                said = "holds" if claim.holds else "DOES NOT HOLD"
                tell(f"{heads[name]}: {said}: {claim.claim}: {claim.measured} (expected {claim.expected})")
            tell(f"{heads[name]}: done in {seconds:.0f} s, {worked:.0f} s of processor time")
    return {name: rows[name] for name in chosen}


def _made(
    make: Callable[[str, Progress], Made], chosen: Sequence[str], jobs: int, tell: Callable[[str, str], None]
) -> Generator[tuple[str, Made], None, None]:
    """Every figure as it is made: here and in the order given, or side by side and the long ones first."""
    if min(jobs, len(chosen)) == 1:
        for name in chosen:
            yield name, make(name, partial(tell, name))
    else:
        yield from side_by_side(make, sorted(chosen, key=lambda name: (*LONG, name).index(name)), jobs, tell)


def _timed(name: str, progress: Progress, *, folder: Path, quick: bool) -> Made:
    began, worked = time.perf_counter(), time.process_time()
    claims = _one(name, folder, quick, progress)
    return claims, time.perf_counter() - began, time.process_time() - worked


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
