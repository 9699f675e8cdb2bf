"""``rankless reproduce``: the command, ready to be mounted; what it runs is imported when it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rankless.figures.runner import NAMES
from rankless.figures.side_by_side import one_thread
from rankless.runtime.progress import shown


def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Figures to make, all by default: {', '.join(NAMES)}.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures, their numbers and claims.md.")] = Path("out"),
    quick: Annotated[bool, typer.Option("--quick", help="Smaller settings: minutes in all.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option("-j", "--jobs", help="Figures at a time, each in a process of its own; two if left out and there are processors."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Don't show how far it is.")] = False,
) -> None:
    """Make the figures of deep factorization, with a table of claim, expected and measured."""
    from rankless.figures import reproduce as run

    with shown(not quiet) as callback, one_thread():
        rows = run(names or (), out, quick=quick, jobs=_usual_jobs() if jobs is None else jobs, tell=typer.echo, callback=callback)
    failed = sum(not claim.holds for claims in rows.values() for claim in claims)
    typer.echo(f"{out / 'claims.md'}: {sum(map(len, rows.values()))} claims, {failed} of them do not hold with these settings")


def _usual_jobs() -> int:
    """Two, where there are two processors: what docs/benchmarks/reproduce.md measures. More take more memory, of which nobody asked."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
