"""``python -m torture.page``: docs/reliability.md from the campaigns on file; a campaign without a file leaves its part out."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from campaign.machine import ROOT
from campaign.page import footer, table
from campaign.store import Cell, Store

from torture import CAMPAIGNS

PAGE = ROOT / "docs" / "reliability.md"


def campaign(name: str):
    return importlib.import_module(f"torture.{name}")


def on_file() -> Iterator[tuple[str, Store, list[Cell]]]:
    """Every campaign that has finished cells: its name, its store and the cells."""
    for name in CAMPAIGNS:
        store = campaign(name).store()
        cells = store.cells()
        if cells:
            yield name, store, cells


def write(path: Path = PAGE) -> None:
    """Join all finished campaigns into one page."""
    found = list(on_file())
    faults = [(cell, store) for _, store, cells in found for cell in cells if cell.get("injected")]
    tried = [(cell, store) for _, store, cells in found for cell in cells if cell.get("tried")]
    parts = ["# Reliability", "What `make torture` did to rankless, and what came of it."]
    if faults:
        parts += ["## Faults", _faults(faults)]
    if tried:
        parts += ["## Bad input", _inputs(tried)]
    for name, _, cells in found:
        section = getattr(campaign(name), "section", None)
        parts += [section(cells)] if section else []
    path.write_text("\n\n".join([*parts, footer()]) + "\n")
    print(f"wrote {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}", flush=True)


def failures() -> list[str]:
    """What is on file and did not survive, or crashed, a line each."""
    lines = []
    for name, _, cells in on_file():
        lines += [f"{name}: {c['fault']}: {c['lost']} of {c['injected']} lost" for c in cells if _count(c, "lost")]
        lines += [f"{name}: {c['kind']}: {c['crashed']} of {c['tried']} crashed; {c['worst']}" for c in cells if _count(c, "crashed")]
    return lines


def measured(cell: Cell, store: Store) -> str:
    """When a cell was measured, and whether the code has changed since."""
    return cell["date"] + ("" if cell["stamp"] == store.stamp else ", older code")


def _faults(cells: list[tuple[Cell, Store]]) -> str:
    rows = [[c["fault"], c["how"], c["injected"], c["survived"], c["lost"], measured(c, store)] for c, store in cells]
    total = [_total((c for c, _ in cells), name) for name in ("injected", "survived", "lost")]
    return table(["fault", "how it ends", "injected", "survived", "lost", "measured"], [*rows, ["**all**", "", *total, ""]])


def _inputs(cells: list[tuple[Cell, Store]]) -> str:
    columns = ("tried", "refused", "accepted", "crashed")
    rows = [[c["kind"], *(c[name] for name in columns), measured(c, store)] for c, store in cells]
    total = [_total((c for c, _ in cells), name) for name in columns]
    return table(["kind", "tried", "clear errors", "accepted", "crashes", "measured"], [*rows, ["**all**", *total, ""]])


def _total(cells: Iterable[Cell], name: str) -> str:
    return f"**{sum(_count(cell, name) for cell in cells)}**"


def _count(cell: Cell, name: str) -> int:
    return int(cell.get(name) or 0)


if __name__ == "__main__":
    write()
