"""References: the list of `references.bib`, and links to it from every ``[key]`` in prose, of pages and docstrings alike."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from docs.hooks import CITED
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from pybtex.database import parse_file
from pybtex.plugin import find_plugin


def listed(bib: Path) -> str:
    """The entries as Markdown, sorted by author; each is an anchor by the name of its key."""
    style = find_plugin("pybtex.style.formatting", "plain")()
    backend = find_plugin("pybtex.backends", "markdown")()
    entries = style.format_bibliography(parse_file(bib))
    return "\n\n".join(f"[](){{ #{entry.key} }}\\[{entry.key}\\] {entry.text.render(backend)}" for entry in entries)


class _Links(InlineProcessor):
    """``[arora2018, hariz2022]`` as links, which autorefs leads to their anchors on whatever page."""

    def handleMatch(self, m: re.Match[str], data: str):  # pyright: ignore[reportIncompatibleMethodOverride]
        found = Element("span")
        found.text = "["
        for key in re.split(r",\s+", m[1]):
            SubElement(found, "autoref", identifier=key).text = key
        for link in found[:-1]:
            link.tail = ", "
        found[-1].tail = "]"
        return found, m.start(0), m.end(0)


class Citations(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(_Links(CITED.pattern, md), "citations", 171)  # before links, after code
