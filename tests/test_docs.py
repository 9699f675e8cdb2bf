"""The site's own machinery, and what its pages promise: code that runs, proofs that exist.

`make docs` runs the code of every page and checks every link; here is what it can't see.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the pages import docs.hooks

from docs.hooks import BIB, CITED, absent, on_page_markdown, outward  # noqa: E402

from rankless.search.effort import LEVELS  # noqa: E402

PAGES = sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```(python|pycon)\b(.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
RUN_ELSEWHERE = {"extending.md"}  # by tests/dynamics/test_extending.py


def name(page: Path) -> str:
    return page.relative_to(ROOT / "docs").as_posix()


def meta(page: Path) -> dict[str, str]:
    found = re.match(r"---\n(.*?)\n---\n", page.read_text(encoding="utf-8"), re.DOTALL)
    return dict(line.split(": ", 1) for line in found[1].splitlines()) if found else {}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Options and code of every block of Python on a page."""
    return [(options, code) for _, options, code in FENCE.findall(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_on_a_page_is_run_where_the_page_is_built(page):
    if name(page) in RUN_ELSEWHERE:
        return
    for options, code in blocks(page):
        assert 'exec="on"' in options and 'session="' in options, f"{name(page)} shows code that nothing runs:\n{code}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_drawing_of_a_picture_is_hidden(page):
    for _, code in blocks(page):  # a line hidden by its comment has to be a whole statement
        shown = "\n".join(line for line in code.splitlines() if "markdown-exec: hide" not in line)
        assert "picture(" not in shown and compile(shown, name(page), "exec")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if 'exec="on"' in page.read_text(encoding="utf-8")], ids=name)
@pytest.mark.filterwarnings("default")  # pages show what a reader sees, warnings too
def test_the_code_of_a_page_runs_and_what_it_asserts_holds(page, capsys):
    reason = absent(meta(page).get("data"))
    if reason:
        pytest.skip(reason)
    if "tensorly" in page.read_text(encoding="utf-8"):
        pytest.importorskip("tensorly", reason="needs tensorly for its data: pip install '.[docs]'")
    scope: dict = {}
    for _, code in blocks(page):
        exec(code, scope)
    if any("result=" in options or "html=" in options for options, _ in blocks(page)):
        assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_the_first_screen_of_the_readme_prints_what_stands_below_it(monkeypatch, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,), (said,) = (re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[:1] for kind in ("python", "text"))
    assert len([line for line in code.splitlines() if line]) == 6
    monkeypatch.chdir(ROOT)
    exec(code, {})
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == said.splitlines()[0]  # what was observed, to the cell
    errors = [float(re.search(r"error on held-out entries: ([\d.]+)", each)[1]) for each in (said, printed)]  # type: ignore[index]
    assert errors[1] == pytest.approx(errors[0], rel=0.1), "as far as another processor's last digits lead a search elsewhere"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_linked_outside_the_docs_are_there(page):
    for _, target in outward(page.read_text(encoding="utf-8"), name(page)):
        assert (ROOT / target).is_file(), f"{name(page)} links {target}, which is not there"


def test_a_page_whose_data_are_absent_is_built_without_running_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("RANKLESS_DATA", str(tmp_path))

    page = SimpleNamespace(meta={"data": "birmingham_parking"}, file=SimpleNamespace(src_uri="tutorials/parking.md"))
    text = '# Car parks\n\n```python exec="on" session="p"\nfail\n```\n[test](../../tests/test_docs.py)\n'
    built = on_page_markdown(text, page, None, None)
    assert 'exec="on"' not in built and "set RANKLESS_DATA" in built
    assert built.index("Car parks") < built.index("Not run") < built.index("fail")
    assert "](../source/tests/test_docs.py.md)" in built


def documented() -> set[str]:
    """What the API pages show: each ``::: name``, and of a module its members, those listed or all."""
    shown: set[str] = set()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        for block in re.split(r"^::: ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            what, options = block.split("\n", 1)[0].strip(), block.partition("\n")[2]
            members = re.search(r"members: *(false|\[[^\]]*\])", options)
            shown.add(what)
            if members is None:
                shown.add(f"{what}.*")
            elif members[1] != "false":
                shown |= {f"{what}.{member}" for member in re.findall(r"\w+", members[1])}
    return shown


NAMED = re.compile(r"(?<![\w./-])rankless((?:\.[A-Za-z_]\w*)+)")
ROOMS = re.compile(r"`((?:als|answer|depth|dynamics|experts|holdout|io|runtime|search|tensors|trust|units)\.[\w.]+)[`(]")
FILES = {"nc", "npz", "zarr", "csv", "html", "whl"}  # rankless.nc and the like are files


def found(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            one = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        try:
            for part in parts[count:]:
                one = getattr(one, part)
        except AttributeError:
            return False
        return True
    return False


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.stem)
def test_what_a_page_names_of_the_library_is_there(page):
    text = page.read_text(encoding="utf-8")
    moved = re.findall(r"^\| `(rankless\.[\w.]+)` \| ", text, re.MULTILINE) if page.name == "CHANGELOG.md" else []
    named = {f"rankless{rest}" for rest in NAMED.findall(text) if rest[1:] not in FILES} - set(moved)
    named |= {f"rankless.{rest}" for rest in ROOMS.findall(text) if rest.rpartition(".")[2] not in FILES}
    assert not sorted(name for name in named if not found(name))


def public() -> list[str]:
    names = []
    for module in ("rankless", "rankless.als", "rankless.dynamics", "rankless.large", "rankless.figures"):
        names += [f"{module}.{name}" for name in import_module(module).__all__ if name not in ("NAMES",)]
    for module in ("rankless.plots", "rankless.runtime.progress"):
        found = import_module(module)
        own = [name for name, one in vars(found).items() if callable(one) and getattr(one, "__module__", "") == module]
        names += [f"{module}.{name}" for name in own if not name.startswith("_") and name not in WITHIN]
    return names


WITHIN = {"Tracker", "Ended", "shown"}  # of rankless.runtime.progress: what long work calls, not who waits for it


@pytest.mark.parametrize("public_name", public())
def test_every_public_name_is_on_an_api_page(public_name):
    module, _, name = public_name.rpartition(".")
    home = getattr(getattr(import_module(module), name), "__module__", module)
    if home == public_name:  # a module hides the function of its name, which then stands under its own
        assert f"{home}.{name}" in documented()
    else:
        assert {public_name, f"{module}.*"} & documented()


def test_every_citation_is_among_the_references_and_each_of_these_is_cited():
    texts = [*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"), ROOT / "README.md", *PAGES]
    cited = {key for text in texts for keys in CITED.findall(text.read_text(encoding="utf-8")) for key in re.split(r",\s+", keys)}
    known = re.findall(r"^@\w+\{(\w+),", BIB.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(cited) == sorted(known)  # a key that stands twice differs, too


def test_citations_become_links_and_code_does_not():
    markdown = pytest.importorskip("markdown", reason="needs mkdocs: pip install '.[docs]'")
    pytest.importorskip("pybtex", reason="needs pybtex: pip install '.[docs]'")
    from docs.citations import Citations, listed

    text = "As in [arora2018,\nhariz2022], not `[arora2019]`:\n\n    T = 0    [arora2019]\n"
    built = markdown.markdown(text, extensions=[Citations()])
    assert re.findall(r'<autoref identifier="(\w+)">\1</autoref>', built) == ["arora2018", "hariz2022"]
    assert built.count("[arora2019]") == 2
    found = listed(BIB)
    assert "[](){ #hariz2022 }" in found and "arxiv.org/abs/2207.08942" in found
    assert "Stéphane Ayache" in found


def test_each_of_our_cells_beside_others_has_its_proof():
    page = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
    table = re.search(r"(?:^\|.*\n)+", page, re.MULTILINE)[0].splitlines()  # type: ignore[index]
    assert len(table) > 15
    for row in table[2:]:
        cells = row.strip("| ").split(" | ")
        assert len(cells) == 8, row
        assert re.search(r"\]\(", cells[1]), f"nothing proves {cells[1]!r}"
        for target, test in re.findall(r"\]\(\.\./(\S+) \"(\w+)\"\)", cells[1]):
            assert f"def {test}(" in (ROOT / target).read_text(encoding="utf-8"), f"{target} has no {test}"


COMING_FROM = [page for page in PAGES if page.parent.name == "coming-from"]


@pytest.mark.parametrize("page", COMING_FROM, ids=name)
def test_every_call_of_our_column_runs(page, capsys, monkeypatch):
    monkeypatch.setitem(LEVELS, "default", LEVELS["fast"])  # that they run is asked here, and not how well they fill
    scope: dict = {}
    for _, code in blocks(page):
        exec(code, scope)
    rows = [line.strip("| ").split(" | ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert all(len(row) == 2 for row in rows)
    calls = [call for _, ours in rows[1:] for call in re.findall(r"`([^`]+)`", ours)]
    assert len(calls) >= 8
    for call in calls:
        exec(call, scope)


def test_docstrings_become_markdown():
    pytest.importorskip("griffe", reason="needs mkdocstrings: pip install '.[docs]'")
    from docs.docstrings import markdown

    text = """Add.

Parameters
----------
a, b : numbers,
    of any kind

====  =====
sign  means
====  =====
`+`   plus
====  =====

    a + b

>>> 1 + 1
2"""
    assert (
        markdown(text)
        == """Add.

**Parameters**

- `a, b`: numbers,
    of any kind

| sign | means |
| --- | --- |
| `+` | plus |

    a + b

```pycon
>>> 1 + 1
2
```"""
    )
