"""Imports go one way, and heavy packages stay where they are needed (read off the source, not run)."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

import rankless

SOURCE = Path(__file__).resolve().parent.parent / "src"
FILES = sorted(SOURCE.rglob("*.py"))

# The rooms of the house, from the ground up. A file may import from its own room and from those below it: no circle, no arrow that runs up.
ROOMS = [
    ("runtime", "depth"),
    ("tensors",),
    ("als", "dynamics", "kinds"),
    ("trust", "units"),
    ("views", "holdout"),
    ("report", "plots"),
    ("answer",),
    ("search",),
    ("experts",),
    ("engine",),
    ("completer",),
    ("later",),
    ("completion",),
    ("io", "evaluation", "figures"),
    ("large", "demo"),
    ("cli",),
    ("__init__", "__main__"),
]
LAYERS = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}
FLAT = {"completion", "completer", "depth", "__init__", "__main__"}  # modules at the top, all else has a room

# Third-party package -> the only places that may import it.
HOMES = {
    "numba": ["als/", "experts/", "runtime/journal.py"],
    "llvmlite": ["als/", "runtime/journal.py"],
    "threadpoolctl": ["runtime/workers.py", "answer/difficulty.py"],
    "jax": ["dynamics/", "figures/"],
    "equinox": ["dynamics/"],
    "optax": ["dynamics/", "figures/"],
    "sklearn": ["completer.py", "answer/difficulty.py", "figures/"],
    "pandas": [
        "dynamics/sweep.py",
        "tensors/observations.py",
        "tensors/spelling.py",
        "tensors/canonical.py",
        "tensors/places.py",
        "completer.py",
        "completion.py",
        "trust/",
        "evaluation/",
        "io/tables.py",
        "io/chunks.py",
        "io/sources.py",
        "large/",
        "kinds/tables.py",
        "kinds/joining.py",
        "later/",
        "views/",
    ],
    "xarray": ["kinds/labelled.py", "io/labelled.py", "large/write.py"],
    "h5py": ["io/hdf5.py"],
    "zarr": ["io/labelled.py"],
    "narwhals": ["kinds/frames.py", "kinds/joining.py"],
    "sparse": ["kinds/sparse.py"],
    "matplotlib": ["figures/", "demo/picture.py", "plots/"],
    "plotly": ["report/"],
    "jinja2": ["report/"],
    "typer": ["cli/", "figures/command.py", "large/command.py"],
    "rich": ["runtime/progress.py", "cli/shown.py", "demo/"],
}


@functools.cache
def imported(path: Path) -> set[str]:
    """Dotted names of all modules that a file imports, wherever in the file."""
    package = path.relative_to(SOURCE).with_suffix("").parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def part(dotted: str) -> str | None:
    """``rankless.als.kernels`` -> ``als``; None for what is not a part of rankless."""
    pieces = dotted.split(".")
    return pieces[1] if pieces[0] == "rankless" and len(pieces) > 1 and pieces[1] in LAYERS else None


def own_part(path: Path) -> str:
    return path.relative_to(SOURCE / "rankless").with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path):
    own = own_part(path)
    assert own in LAYERS, f"{path} has no layer; give {own!r} one in this test"
    for name in imported(path):
        other = part(name)
        below = other is None or other == own or LAYERS[other] < LAYERS[own]
        assert below, f"{path} imports {name}, which does not lie below {own!r}"


def test_nothing_else_lies_flat_at_the_top():
    assert {path.stem for path in (SOURCE / "rankless").glob("*.py")} == FLAT


@pytest.mark.parametrize("package", HOMES)
def test_heavy_packages_stay_at_home(package):
    homes = HOMES[package]
    for path in FILES:
        where = path.relative_to(SOURCE / "rankless").as_posix()
        if any(name.split(".")[0] == package for name in imported(path)):
            assert any(where == home or (home.endswith("/") and where.startswith(home)) for home in homes), (
                f"{where} imports {package}, which belongs to {homes}"
            )


def test_diffrax_appears_in_one_file():
    users = [path for path in FILES if any(name.split(".")[0] == "diffrax" for name in imported(path))]
    assert len(users) <= 1
    assert all(own_part(path) == "dynamics" for path in users)


def loaded_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after running `code`."""
    script = f"import sys\n{code}\nprint(*sorted({{n.split('.')[0] for n in sys.modules}}), file=sys.stderr)"
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(run.stderr.split())


HEAVY = {"numba", "jax", "pandas", "matplotlib", "plotly", "sklearn", "scipy", "equinox", "diffrax", "optax", "pyarrow"}
HEAVY |= {"xarray", "zarr", "h5py", "narwhals", "polars", "sparse", "jinja2"}


def test_import_is_light():
    assert not loaded_after("import rankless") & HEAVY


def test_help_is_light():
    code = "from rankless.cli import main\nsys.argv = ['rankless', '--help']\ntry:\n    main()\nexcept SystemExit:\n    pass"
    assert not loaded_after(code) & HEAVY


def test_every_public_name_is_there():
    for name in rankless.__all__:
        assert getattr(rankless, name).__name__.endswith(name)
    with pytest.raises(AttributeError, match="has no attribute 'fill'; it has CPTensor, Completion"):
        rankless.fill  # noqa: B018
