"""``rankless reproduce``: the command, ready to be mounted; what it runs is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankless.figures.runner import NAMES
from rankless.runtime.progress import shown


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

    with shown(not quiet) as callback:
        rows = run(names or (), out, quick=quick, tell=typer.echo, callback=callback)
    failed = sum(not claim.holds for claims in rows.values() for claim in claims)
    typer.echo(f"{out / 'claims.md'}: {sum(map(len, rows.values()))} claims, {failed} of them do not hold with these settings")
