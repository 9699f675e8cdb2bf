"""Releases: one version, a changelog that goes with it, and (slow) a wheel that works where there is no clone."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import rankless
from planted import hidden_error, planted
from rankless.cli import app

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"(\d+)\.(\d+)\.(\d+), (unreleased|\d{4}-\d{2}-\d{2})")


def changes(text: str) -> list[tuple[str, datetime.date | None]]:
    """Versions of a changelog and their dates, the newest first; None for what is unreleased. Raises ValueError for what is in no order."""
    found = []
    for heading in re.findall(r"^## (.*)$", text, re.MULTILINE):
        match = HEADING.fullmatch(heading)
        if match is None:
            raise ValueError(f"heading {heading!r} is not 'VERSION, DATE' or 'VERSION, unreleased'")
        *numbers, date = match.groups()
        found.append((tuple(map(int, numbers)), None if date == "unreleased" else datetime.date.fromisoformat(date)))
    if not found:
        raise ValueError("no heading")
    for (newer, date), (older, before) in pairwise(found):
        if newer <= older:
            raise ValueError(f"{newer} stands over {older}")
        if before is None or (date is not None and date < before):
            raise ValueError(f"{older} has no date, or a later one than {newer}")
    return [(".".join(map(str, numbers)), date) for numbers, date in found]


def test_the_changelog_begins_with_this_version_and_dates_all_others():
    versions = changes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert versions[0][0] == rankless.__version__
    assert all(date is None or date <= datetime.date.today() for _, date in versions)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# Changelog\n", "no heading"),
        ("## 0.1.0\n", "is not 'VERSION, DATE'"),
        ("## 0.1.0, soon\n", "is not 'VERSION, DATE'"),
        ("## 0.1.0, 2026-01-01\n## 0.2.0, 2025-01-01\n", "stands over"),
        ("## 0.2.0, unreleased\n## 0.1.0, unreleased\n", "has no date"),
        ("## 0.2.0, 2025-01-01\n## 0.1.0, 2026-01-01\n", "a later one"),
    ],
)
def test_a_changelog_in_no_order_is_noticed(text, words):
    with pytest.raises(ValueError, match=words):
        changes(text)


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    place = ROOT / project["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{rankless.__version__}"' in place.read_text(encoding="utf-8")
    sources = [*(ROOT / "src").rglob("*.py"), ROOT / "pyproject.toml", ROOT / "CITATION.cff", ROOT / "Makefile"]
    quoted = re.compile(rf"[\"' =]{re.escape(rankless.__version__)}\b(?!\.)")
    assert [path for path in sources if quoted.search(path.read_text(encoding="utf-8"))] == [place]


def test_the_command_says_the_version():
    run = CliRunner().invoke(app, ["--version"])
    assert (run.exit_code, run.stdout) == (0, f"rankless {rankless.__version__}\n")


# --- slow -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a source archive has no history to clone")
def test_a_wheel_of_a_clean_clone_works_outside_of_it(tmp_path):
    clone, out, fresh = tmp_path / "clone", tmp_path / "elsewhere", tmp_path / "venv"
    out.mkdir()
    bare = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")}

    def run(*command: object, cwd: Path) -> str:
        done = subprocess.run(list(map(str, command)), cwd=cwd, env=bare, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, clone, cwd=tmp_path)
    run("make", "dist", f"PYTHON={sys.executable}", cwd=clone)
    version = re.findall(r'^__version__ = "(.*)"$', (clone / "src/rankless/__init__.py").read_text(), re.MULTILINE)[0]
    archive, wheel = clone / "dist" / f"rankless-{version}.tar.gz", clone / "dist" / f"rankless-{version}-py3-none-any.whl"
    assert {path.name for path in (clone / "dist").iterdir()} == {archive.name, wheel.name}
    with tarfile.open(archive) as held, zipfile.ZipFile(wheel) as wheeled:
        names = {name.split("/", 1)[1] for name in held.getnames() if "/" in name}
        assert {"CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "pyproject.toml", "tests/test_release.py"} <= names
        tracked = run("git", "ls-files", "src/rankless", cwd=clone).split("\n")[:-1]
        packed = {name for name in wheeled.namelist() if name.startswith("rankless/")}
        assert packed == {name.removeprefix("src/") for name in tracked}, "all that is in the package, and nothing else"
        assert set(tracked) <= names
    run(sys.executable, "-m", "venv", fresh, cwd=out)
    run(fresh / "bin/python", "-m", "pip", "install", "--quiet", wheel, cwd=out)
    command = fresh / "bin/rankless"
    assert run(command, "--version", cwd=out) == f"rankless {version}\n"
    assert "real weather" in run(command, "demo", "--help", cwd=out).lower()
    truth, seen = planted((12, 10, 8), rank=2, share=0.5)
    np.save(out / "x.npy", seen)
    said = run(command, "complete", "x.npy", "-o", "y.npy", "--report", "page.html", cwd=out)
    assert "wrote y.npy" in said
    assert hidden_error(np.load(out / "y.npy"), truth, seen) < 0.2
    (data,) = fresh.glob("lib/python*/site-packages/rankless/data/*.npz")
    assert "180,069 of 183,960 cells" in run(command, "inspect", data, cwd=out)
