"""Results pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from campaign.machine import machine, source_stamp, today, versions
from campaign.store import FOLDER


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join(lines)


def footer() -> str:
    return f"Written {today()} on {machine()}. {versions()}. Code {source_stamp()}."


def write(name: str, title: str, *parts: str) -> None:
    """``docs/benchmarks/NAME.md``: a title, paragraphs and tables, and where it was measured."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    text = "\n\n".join([f"# {title}", *parts, footer()]) + "\n"
    (FOLDER / f"{name}.md").write_text(text)
    print(f"wrote docs/benchmarks/{name}.md", flush=True)


def number(value: float, digits: int = 3) -> str:
    """A figure to `digits` significant digits; a dash where there is none."""
    return "-" if value != value else f"{value:.{digits}g}"
