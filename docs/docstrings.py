"""Docstrings as Markdown: doctests and formulas become code, underlined sections lists, tables of ``===`` tables."""

from __future__ import annotations

import re

from griffe import Extension


def markdown(text: str) -> str:
    """The same docstring in Markdown."""
    blocks = []
    for block in re.split(r"\n{2,}", text):
        lines = block.split("\n")
        if re.fullmatch(r"-{3,}", lines[1] if len(lines) > 1 else ""):
            blocks.append(f"**{lines[0]}**")
            block = re.sub(r"^(\w[\w, ]*?) : ", r"- `\1`: ", "\n".join(lines[2:]), flags=re.MULTILINE)
        elif block.startswith(">>> "):
            block = f"```pycon\n{block}\n```"
        elif re.fullmatch(r"=[= ]+", lines[0]):
            block = table(lines)
        blocks.append(block)
    return "\n\n".join(blocks)


def table(lines: list[str]) -> str:
    """A table whose columns are marked by runs of ``=`` above, below its head, and below."""
    spans = [m.span() for m in re.finditer("=+", lines[0])]
    spans = [(start, spans[i + 1][0] if i + 1 < len(spans) else None) for i, (start, _) in enumerate(spans)]
    rows = [" | ".join(line[a:b].strip() for a, b in spans) for line in lines if not line.startswith("=")]
    return "\n".join(f"| {row} |" for row in [rows[0], " | ".join("---" for _ in spans), *rows[1:]])


class Markdown(Extension):
    """Rewrites every docstring that is collected."""

    def on_instance(self, *, obj, **_) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)
