"""What a figure's `run` returns: tables of numbers, and claims tested on them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankless.runtime.files import write_beside

Progress = Callable[[str], None]
Table = dict[str, np.ndarray]


@dataclass(frozen=True)
class Claim:
    """One row of ``claims.md``: `holds` is computed from the measurement, never written by hand."""

    claim: str
    source: str
    settings: str
    expected: str
    measured: str
    holds: bool


@dataclass(frozen=True)
class Outcome:
    """Named tables (columns of equal length) and the claims measured on them."""

    tables: dict[str, Table]
    claims: list[Claim]


def table(rows: Iterable[Mapping[str, object]]) -> Table:
    """Columns from rows that share their keys.

    >>> table([{"k": 0, "error": 0.5}, {"k": 1, "error": 0.25}])["error"].tolist()
    [0.5, 0.25]
    """
    rows = list(rows)
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def where(columns: Table, **equal) -> Table:
    """The rows whose columns equal the values given."""
    keep = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in equal.items():
        keep &= columns[name] == value
    return {name: column[keep] for name, column in columns.items()}


def listed(values: Iterable[float], form: str = ".3g") -> str:
    """Numbers as a list in words.

    >>> listed([1.0, 0.123456])
    '1, 0.123'
    """
    return ", ".join(format(value, form) for value in values)


def write_table(path: Path, columns: Table) -> None:
    """A CSV file with one header row; numbers keep nine digits."""
    with write_beside(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows([f"{x:.9g}" if isinstance(x, float) else x for x in row] for row in zip(*_lists(columns), strict=True))


def write_claims(path: Path, rows: Mapping[str, list[Claim]], *, quick: bool) -> None:
    """The page of claims, a row each; says which settings were used, and how many hold."""
    held = [claim.holds for claims in rows.values() for claim in claims]
    lines = [
        "# Claims, measured",
        "",
        f"{sum(held)} of {len(held)} hold, with the {'quick (reduced)' if quick else 'full'} settings given in each row.",
        f"Written by `rankless reproduce{' --quick' if quick else ''}`; what was measured, and whether the claim holds, is computed.",
        "",
        "| figure | claim | source | settings | expected | measured | holds |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, claims in rows.items():
        for c in claims:
            cells = [name, c.claim, c.source, c.settings, c.expected, c.measured, "yes" if c.holds else "**no**"]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    with write_beside(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_rows(path: Path, claims: list[Claim], *, quick: bool) -> None:
    """The claims of one figure as a CSV file, for `read_rows`."""
    write_table(path, table([{**vars(claim), "quick": quick} for claim in claims]))


def read_rows(path: Path, *, quick: bool) -> list[Claim]:
    """The claims that `write_rows` wrote with these settings; none where there is no file, or one of the other settings."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [Claim(**{**row, "holds": row["holds"] == "True"}) for row in rows if row.pop("quick") == str(quick)]  # pyright: ignore[reportArgumentType]


def _lists(columns: Table) -> list[list]:
    return [np.asarray(column).tolist() for column in columns.values()]
