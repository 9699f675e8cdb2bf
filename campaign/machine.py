"""Where and with what a figure was measured."""

from __future__ import annotations

import ast
import hashlib
import os
import platform
from datetime import date
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_LIBRARIES = ("numpy", "scipy", "numba", "scikit-learn", "pandas", "cmfrec", "smurff", "pyttb", "tensorly")
# the files that make the numbers; a change of words elsewhere leaves finished cells valid
_SOURCES = (
    "src/rankless/depth.py",
    "src/rankless/engine/*.py",
    *(f"src/rankless/{folder}/*.py" for folder in ("als", "answer", "experts", "holdout", "search", "units")),
    "src/rankless/tensors/*.py",
)
_SWEEP = ("annealing", "cluster", "entries", "kernels", "modes", "normal", "rows", "settle", "solver", "sorting", "vectors")
SWEEPS = (
    "src/rankless/tensors/canonical.py",
    "src/rankless/depth.py",
    *(f"src/rankless/als/{name}.py" for name in _SWEEP),
    "src/rankless/runtime/workers.py",
)  # what sweeps over squares hang on, and no search
LARGE = (*_SOURCES, "src/rankless/large/*.py")


def today() -> str:
    return date.today().isoformat()


@cache
def machine() -> str:
    """Processor, processors this process may use, memory, and the kernel that BLAS chose."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    memory = f", {pages / 2**30:.0f} GiB" if pages else ""
    return f"{_processor()}, {cores()} cores{memory}, {platform.system()}; BLAS kernel {blas_kernel()}"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def blas_kernel() -> str:
    """What SciPy's BLAS runs, such as 'Haswell': it decides what dgemm and dsyrk reach."""
    import scipy.linalg.cython_blas  # noqa: F401  (threadpoolctl sees loaded libraries only)
    from threadpoolctl import threadpool_info

    found = {
        f"{info.get('architecture', '?')} ({info['internal_api']} {info['version']})"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) + (" set by OPENBLAS_CORETYPE" if os.environ.get("OPENBLAS_CORETYPE") else "")


def versions() -> str:
    return ", ".join([f"Python {platform.python_version()}", *map(version, _LIBRARIES)])


def version(library: str) -> str:
    """A library's name on PyPI and its version here."""
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:
        return f"{library} absent"


@cache
def source_stamp(patterns: tuple[str, ...] = _SOURCES, *, without: tuple[str, ...] = (), root: Path = ROOT) -> str:
    """A short hash of code under `root`, by default that which makes the numbers; comments, docstrings and functions `without` left out."""
    digest = hashlib.sha256()
    for path in sorted(p for pattern in patterns for p in root.glob(pattern)):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
                body[0].value.value = ""
            if isinstance(body, list):
                body[:] = [part for part in body if not (isinstance(part, ast.FunctionDef) and part.name in without)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
