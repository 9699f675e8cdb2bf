"""``--side station=stations.csv``: tables of what is known of slices, by mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

Side = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODE=TABLE",
        help="What is known of slices: a .csv or .parquet with a row a slice and a column named like the mode, station=stations.csv; "
        "give it once a mode.",
    ),
]


def read(given: Sequence[str] | None, modes: Sequence[str]) -> dict[str, Any] | None:
    """The tables by mode, as `TensorCompleter` takes them; raises ValueError, with the mend, for what is none."""
    if not given:
        return None
    from rankless.io.tables import side

    tables: dict[str, Any] = {}
    for text in given:
        mode, equals, path = (part.strip() for part in text.partition("="))
        if not equals or not path:
            raise ValueError(f"--side {text} names no table; pass a mode and a file, such as --side {modes[0]}=table.csv")
        if mode not in modes:
            raise ValueError(f"--side {text}: no mode {mode!r}; there are {', '.join(modes)}")
        tables[mode] = side(path, mode)
    return tables
