"""What the site needs besides its pages: data that may not be here, pictures in a page, and links to files outside docs/."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator
from pathlib import Path

from campaign.data import Absent, path

ROOT = Path(__file__).resolve().parent.parent
BIB = ROOT / "docs" / "references.bib"
CITED = re.compile(r"\[([a-z]+\d{4}[a-z]?(?:,\s+[a-z]+\d{4}[a-z]?)*)\](?![(\[])")  # [hariz2022], or several keys
LISTED = "<!-- the entries of references.bib -->"
RUN = re.compile(r'^```python exec="on".*$', re.MULTILINE)


def absent(data: str | None) -> str:
    """Why a page that needs the data set `data` cannot be run here; empty where it can."""
    try:
        if data is not None:
            path(data)
    except Absent as reason:
        return str(reason)
    return ""


def picture(figure, says: str) -> str:
    """A matplotlib figure as an image within the page; `says` is its text for those who do not see it."""
    import matplotlib.pyplot as plt

    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return f'<img alt="{html.escape(says)}" src="data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}">'


def outward(markdown: str, uri: str) -> Iterator[tuple[str, str]]:
    """Links of the page at `uri` to files of the repository outside docs/: the link, and the file."""
    up = re.escape("../" * (uri.count("/") + 1))
    for found in re.finditer(rf"\]\({up}(?!\.\./)([\w./-]+)", markdown):
        yield found[0], found[1]


# --- called by MkDocs -----------------------------------------------------------------------------


def on_config(config):
    from docs.citations import Citations

    config.markdown_extensions.append(Citations())
    return config


def on_files(files, config):
    """A page for each file that is linked and lies outside docs/, such as the test that proves a claim."""
    from mkdocs.structure.files import File

    linked = {name for page in files.documentation_pages() for _, name in outward(page.content_string, page.src_uri)}
    for name in sorted(linked):
        language = {".py": "python", ".toml": "toml", ".md": "markdown"}.get(Path(name).suffix, "text")
        content = f"# {name}\n\n````{language}\n{(ROOT / name).read_text(encoding='utf-8')}\n````\n"
        files.append(File.generated(config, f"source/{name}.md", content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    uri = page.file.src_uri
    if uri.startswith("source/"):
        return markdown
    if LISTED in markdown:
        from docs.citations import listed

        markdown = markdown.replace(LISTED, listed(BIB))
    reason = absent(page.meta.get("data"))
    if reason:
        markdown = RUN.sub("```python", markdown)
        markdown = re.sub(r"(^# .*$)", rf'\1\n\n!!! warning "Not run"\n    {reason}.', markdown, count=1, flags=re.MULTILINE)
    for link, name in outward(markdown, uri):
        markdown = markdown.replace(link, f"]({'../' * uri.count('/')}source/{name}.md")
    return markdown
