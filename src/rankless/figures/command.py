"""``rankless reproduce``: the command, ready to be mounted; what it runs is imported when it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rankless.figures.runner import NAMES
from rankless.runtime.progress import shown


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra on one thread, of XLA (where it has not computed yet) and of the BLAS that it calls for singular values.

    The arrays of all figures are small: threads that share out work of microseconds wait for each other most of the time. The deep
    matrices took 46 seconds of processor time with two, and take 27 with one; beside another process on the same two cores, 130 to 160.
    """
    from rankless.runtime.workers import Workers

    os.environ.setdefault("NPROC", "1")  # the size of XLA's pool of threads, read when JAX first computes; there is no option for it
    with Workers(1):
        yield


def reproduce(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help=f"Figures to make, all by default: {', '.join(NAMES)}.")
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures, their numbers and claims.md.")] = Path("out"),
    quick: Annotated[bool, typer.Option("--quick", help="Smaller settings: minutes in all.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Don't show how far it is.")] = False,
) -> None:
    """Make the figures of deep factorization, with a table of claim, expected and measured."""
    from rankless.figures import reproduce as run

    with shown(not quiet) as callback, one_thread():
        rows = run(names or (), out, quick=quick, tell=typer.echo, callback=callback)
    failed = sum(not claim.holds for claims in rows.values() for claim in claims)
    typer.echo(f"{out / 'claims.md'}: {sum(map(len, rows.values()))} claims, {failed} of them do not hold with these settings")
