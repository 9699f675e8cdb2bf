"""The 21 rows of the completion page, by name, and how a command is told some of them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from campaign import data

SHORT = {"metoffice_2001_2020": "metoffice", "birmingham_parking": "birmingham", "nyc_airport_weather": "nyc"}


@dataclass(frozen=True)
class Row:
    """One table: a data set, a pattern of hiding and the share hidden."""

    data: str
    pattern: str
    share: float

    @property
    def name(self) -> str:
        """Such as ``nyc/cells/50``."""
        return f"{SHORT[self.data]}/{self.pattern}/{100 * self.share:.0f}"


ROWS = tuple(Row(name, pattern, share) for pattern, shares in data.PATTERNS.items() for name in data.NAMES for share in shares)


def here() -> list[Row]:
    """Rows whose data are on this machine."""
    names = data.available()
    return [row for row in ROWS if row.data in names]


def chosen(names: Sequence[str] | None) -> list[Row]:
    """Rows of these names, or whose name begins so (``nyc``, ``nyc/cells``); all that are here without a name."""
    found = [row for row in here() if names is None or matches(row.name, names)]
    if not found:
        raise SystemExit(f"no row is named {', '.join(names or [])}; there are {', '.join(row.name for row in here())}")
    return found


def matches(name: str, asked: Sequence[str]) -> bool:
    """Whether a row's name is asked for, itself or by the parts it begins with."""
    return any(name == one or name.startswith(f"{one}/") for one in asked)


def add_options(parser: argparse.ArgumentParser, seeds: Sequence[int], example: str = "nyc/cells/50, nyc/cells or nyc") -> None:
    """``--rows`` and ``--seeds``."""
    parser.add_argument("--rows", nargs="+", metavar="ROW", help=f"such as {example}; all without it")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(seeds), metavar="SEED", help=f"{' '.join(map(str, seeds))} without it")
