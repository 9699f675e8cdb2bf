"""Would the claims and the tests notice? Each formula changed by 2 % in a copy of the package, and what fails then.

``python -m benchmarks mutations`` copies ``src/rankless``, changes one place in the text of one file, and runs in fresh processes the
figures that use the formula (quick settings) and tests of the formula, to their third failure. What fails in the copy and
not in the package as it is was noticed. A place that is not found exactly once is an error: this list can't outlive the code it changes.
A row counts while the formulas, its figures and its files of tests are the same.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign import page
from campaign.machine import ROOT, source_stamp
from campaign.store import Cell, Store

FOLDER = ROOT / "out" / "mutations"
TESTS = ("tests/test_depth.py", "tests/dynamics/test_laws.py", "tests/dynamics/test_factorizations.py", "tests/dynamics/test_twin.py")
LAWS, FACTORIZATIONS, PROBES = (f"tests/dynamics/test_{name}.py" for name in ("laws", "factorizations", "probes"))
MOST = 3  # tests that fail, of one change, before the rest are left out


@dataclass(frozen=True)
class Mutation:
    """One place changed: `old` in the file `path` becomes `new`; `says` what that means; `figures` use it, and `tests` are run.

    `base` is the row, of the package as it is, that ran the same figures and tests; `unseen` says why no claim can notice, where none does.
    """

    name: str
    figures: tuple[str, ...]
    says: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...] = TESTS
    base: str = "none"
    unseen: str = ""


SAME = "return 2.0 - 2.0 / order + depth"
AS_IT_IS = ("the package as it is", "depth.py", SAME, SAME)
MUTATIONS = (
    Mutation("none", ("law", "collapse", "twin"), *AS_IT_IS),
    Mutation(
        "none, matrices",
        ("matrix",),
        *AS_IT_IS,
        (
            f"{LAWS}::test_singular_values_grow_as_arora_says",
            f"{FACTORIZATIONS}::test_matrix_velocity_is_the_sum_of_arora",
            f"{FACTORIZATIONS}::test_deep_matrix_flows_as_its_collapse",
            f"{PROBES}::test_the_time_left_runs_out_at_the_speed_of_the_law",
        ),
    ),
    Mutation(
        "exponent",
        ("law",),
        "`2 - 2/N + k` times 1.02",
        "depth.py",
        "return 2.0 - 2.0 / order + depth",
        "return 1.02 * (2.0 - 2.0 / order + depth)",
    ),
    Mutation(
        "exponent end to end",
        ("law",),
        "`2 - 2/(N(k+1))` times 1.02",
        "depth.py",
        "return 2.0 - 2.0 / (order * (depth + 1.0))",
        "return 1.02 * (2.0 - 2.0 / (order * (depth + 1.0)))",
    ),
    Mutation(
        "mobility's power",
        ("law", "collapse", "twin"),
        "the power of `|u|^(2k/(k+1))` times 1.02",
        "depth.py",
        "return norm ** (2.0 * depth / (depth + 1.0))",
        "return norm ** (2.04 * depth / (depth + 1.0))",
    ),
    Mutation(
        "mobility's size",
        ("collapse",),
        "`|u|^(2k/(k+1))` times 1.02",
        "depth.py",
        "return norm ** (2.0 * depth / (depth + 1.0))",
        "return 1.02 * norm ** (2.0 * depth / (depth + 1.0))",
        ("tests/test_depth.py", FACTORIZATIONS),
    ),
    Mutation(
        "radial term",
        ("collapse", "twin"),
        "`k (u u^T/|u|^2) g` times 1.02",
        "dynamics/cp.py",
        "(g + self.depth * radial)",
        "(g + 1.02 * self.depth * radial)",
        (FACTORIZATIONS,),
    ),
    Mutation(
        "ridge",
        ("twin",),
        "the ridge of ALS, `|u|^(-2k/(k+1))`, times 1.02 where a sweep takes it",
        "als/solver.py",
        "root = np.sqrt(mobility(norms_of(factor, tau), problem.depth))",
        "root = np.sqrt(mobility(norms_of(factor, tau), problem.depth) / 1.02)",
        ("tests/dynamics/test_twin.py",),
    ),
    Mutation(
        "penalty",
        ("twin",),
        "the penalty `(k+1)/2 |u|^(2/(k+1))` times 1.02",
        "depth.py",
        "return 0.5 * (depth + 1.0) * norm ** (2.0 / (depth + 1.0))",
        "return 1.02 * 0.5 * (depth + 1.0) * norm ** (2.0 / (depth + 1.0))",
        ("tests/test_depth.py",),
    ),
    Mutation(
        "chain's metric",
        ("matrix",),
        "`a = s^(2/L)` of a chain of matrices to the power 1.02",
        "dynamics/chains.py",
        "    a = s ** (2 / layers)\n    along",
        "    a = s ** (2.04 / layers)\n    along",
        (f"{FACTORIZATIONS}::test_matrix_velocity_is_the_sum_of_arora", f"{FACTORIZATIONS}::test_deep_matrix_flows_as_its_collapse"),
        "none, matrices",
    ),
    Mutation(
        "law of singular values",
        ("matrix",),
        "`a s^(2 - 2/L)` times 1.02",
        "dynamics/laws.py",
        "return layers * (along * s ** (2 - 2 / layers) - decay_of(problem) * s)",
        "return layers * (1.02 * along * s ** (2 - 2 / layers) - decay_of(problem) * s)",
        (f"{LAWS}::test_singular_values_grow_as_arora_says",),
        "none, matrices",
    ),
    Mutation(
        "drive",
        ("law",),
        "`<-grad L, component>` times 1.02",
        "dynamics/laws.py",
        "return -jnp.sum(first_mode(factorization)",
        "return -1.02 * jnp.sum(first_mode(factorization)",
        (f"{LAWS}::test_drive_is_the_inner_product_with_the_dense_gradient", f"{LAWS}::test_deep_cp_growth"),
    ),
    Mutation(
        "switch-on time",
        ("law",),
        "`s^(2/M - 1)/((M - 2) g)` times 1.02",
        "depth.py",
        "return norm ** (2.0 / factors - 1.0)",
        "return 1.02 * norm ** (2.0 / factors - 1.0)",
        (f"{LAWS}::test_a_component_switches_on_when_the_law_says", f"{PROBES}::test_the_time_left_runs_out_at_the_speed_of_the_law"),
        unseen="the time is that of a start that goes to 0, and its claim allows a quarter",
    ),
)


def mutated(mutation: Mutation, folder: Path) -> Path:
    """A copy of the package in `folder` with one place changed; raises ValueError where the place is not there exactly once."""
    copy = folder / "src" / "rankless"
    # one folder for all, times of files kept: what is compiled of the other files serves again
    shutil.copytree(ROOT / "src" / "rankless", copy, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    text = (copy / mutation.path).read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.old!r} stands {text.count(mutation.old)} times in {mutation.path}; bring {mutation.name!r} up to date")
    (copy / mutation.path).write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return copy.parent


def outcome(mutation: Mutation) -> dict[str, str]:
    """Claims that do not hold and tests that fail with one place changed, by name, separated by ``;``."""
    source, out = mutated(mutation, FOLDER), FOLDER / "out"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), str(ROOT)]), "PYTHONDONTWRITEBYTECODE": "1"}
    # what a change leaves alone need not be compiled again
    environment |= {"JAX_COMPILATION_CACHE_DIR": str(FOLDER / "jax"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    # most of the time is XLA's: its least effort compiles in under half of it, to the same numbers but for rounding
    environment |= {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"}
    # one after the other: an error ends what is made beside it, which would then be said to stop too
    figures = [sys.executable, "-m", "rankless", "reproduce", *mutation.figures, "--quick", "-j", "1", "--quiet", "-o", str(out)]
    said = subprocess.run(figures, capture_output=True, text=True, env=environment, cwd=FOLDER, check=False).stdout
    claims = re.findall(r"^\[\d+/\d+\] (\w+): DOES NOT HOLD: ([^:]+):", said, re.MULTILINE)
    # a figure that stops with an error says nothing of its claims: that, too, is noticed
    claims += [(name, "stops with an error") for name in mutation.figures if f"{name}: done in" not in said]
    most = MOST if mutation.says != AS_IT_IS[0] else 99
    options = f"-q -p no:cacheprovider -rfE --tb=no --maxfail={most} -o pythonpath={source}".split()
    tests = [sys.executable, "-m", "pytest", *mutation.tests, "-m", "not slow", *options]
    ran = subprocess.run(tests, capture_output=True, text=True, env=environment, cwd=ROOT, check=False).stdout
    failed = sorted({name.split("::")[-1].split("[")[0] for name in re.findall(r"^(?:FAILED|ERROR) (\S+)", ran, re.MULTILINE)})
    if not re.search(r"\d+ (passed|failed)", ran):
        raise RuntimeError(f"the tests did not run with {mutation.name!r} changed: {ran[-2000:]}")
    return {"claims": "; ".join(f"{name}: {claim}" for name, claim in claims), "tests": "; ".join(failed)}


def store(mutation: Mutation, **how: Any) -> Store:
    """The cells of one change, by the formulas, its figures and its files of tests."""
    figures = [f"src/rankless/figures/{name}.py" for name in mutation.figures]
    files = [name.split("::")[0] for name in mutation.tests]
    formulas = dict.fromkeys(("src/rankless/dynamics/*.py", "src/rankless/depth.py", f"src/rankless/{mutation.path}"))
    stamp = source_stamp((*formulas, *figures, *dict.fromkeys(files)), without=("draw",))
    return Store("mutations", timed=False, stamp=stamp, **how)


def noticed(cell: Cell, untouched: Mapping[str, str], what: str) -> list[str]:
    """What fails in `cell` and not in the package as it is."""
    return [name for name in cell[what].split("; ") if name and name not in untouched[what].split("; ")]


def run(fresh: bool = False) -> None:
    for m in MUTATIONS:
        store(m, fresh=fresh).measure({"mutation": m.name}, lambda m=m: outcome(m))
        write()  # a run that is cut short leaves a page of what it measured


def write() -> None:
    """The page, a row for each change measured with its base."""
    cells = {m.name: store(m).find({"mutation": m.name}) for m in MUTATIONS}
    changes = [m for m in MUTATIONS if m.says != AS_IT_IS[0]]
    rows, caught, always = [], 0, []
    for mutation in changes:
        cell, untouched = cells[mutation.name], cells[mutation.base]
        if cell is None or untouched is None:
            continue
        claims, tests = (noticed(cell, untouched, what) for what in ("claims", "tests"))
        always += [name for what in ("claims", "tests") for name in untouched[what].split("; ") if name and name not in always]
        caught += bool(claims or tests)
        rows.append(
            [
                mutation.name,
                mutation.says.replace("|", "\\|"),
                ", ".join(mutation.figures),
                "<br>".join(claims).replace("|", "\\|") or f"**none**: {mutation.unseen}".removesuffix(": "),
                "<br>".join(f"`{name.removeprefix('tests/').removeprefix('dynamics/')}`" for name in mutation.tests),
                "<br>".join(f"`{t}`" for t in tests) or "**none**",
            ]
        )
    page.write(
        "mutations",
        "What notices a formula that is 2 % off",
        "Each row changes one place in a copy of the package by 2 % and runs, in fresh processes, figures that "
        "use the formula, with the quick settings, and tests of it. "
        "It lists what fails then and not in the package as it is"
        + (f" (where {'; '.join(always)} fail)" if always else ", where all of them hold and pass")
        + ". Parametrised tests are named once, and tests are run to the third failure.",
        f"{caught} of {len(rows)} changes are noticed"
        + (f"; {len(changes) - len(rows)} more are on the list and not measured yet." if len(rows) < len(changes) else "."),
        page.table(["changed", "how", "figures run", "claims that do not hold", "tests run", "tests that fail"], rows),
    )
