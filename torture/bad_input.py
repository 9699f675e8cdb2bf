"""The zoo of bad inputs on the command line: each must end with exit code 2 and one line on stderr, whatever the command."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from pathlib import Path

from torture import child, record, zoo, zoo_stores
from torture.zoo import Case

CASES = {**zoo.CASES, **zoo_stores.CASES}
SOURCES = (
    "torture/zoo.py",
    "torture/zoo_stores.py",
    "src/rankless/io/*.py",
    "src/rankless/tensors/observations.py",
    "src/rankless/tensors/canonical.py",
    "src/rankless/cli/*.py",
)
COMMANDS = {"inspect": (), "complete": ("-o", "out.npy", "--quiet"), "evaluate": ("--quiet",)}


def store(**how):
    return record.store("bad_input", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for kind, cases in CASES.items():
        for command in COMMANDS:
            key = {"kind": f"`rankless {command}`: {kind}"}
            print(cells.measure(key, lambda kind=kind, command=command, cases=cases: measure(kind, command, len(cases))), flush=True)


def measure(kind: str, command: str, count: int) -> dict[str, object]:
    """All cases of a kind through one command."""
    ends = list(child.over(answer, [(kind, number, command) for number in range(count)], seconds=120.0, memory=2 * child.GIB))
    said: list[tuple[record.Outcome, str]] = [end.value or ("crashed", end.died) for end in ends]
    crashed = [f"{case.name}: {text}" for case, (outcome, text) in zip(CASES[kind], said, strict=True) if outcome == "crashed"]
    return record.inputs([outcome for outcome, _ in said], crashed[0] if crashed else "")


def answer(which: tuple[str, int, str]) -> tuple[record.Outcome, str]:
    """What the command line makes of one case."""
    kind, number, command = which
    case = CASES[kind][number]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return judge(case, command)


def judge(case: Case, command: str) -> tuple[record.Outcome, str]:
    """Run `command` on `case` in the current folder; "refused" only with code 2, one line, and nothing written."""
    from typer.testing import CliRunner

    from rankless.cli import app

    if "/" not in case.file and len(case.file) < 256:
        case.write(Path(case.file))
    before = sorted(Path().rglob("*"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, case.file, *COMMANDS[command], *case.options])
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        return "crashed", f"{type(run.exception).__name__}: {run.exception}"
    if run.exit_code == 0:
        return "accepted", run.stdout
    lines = run.stderr.splitlines()
    plain = run.exit_code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) < 1000 and not run.stdout
    if not plain or sorted(Path().rglob("*")) != before:
        return "crashed", f"code {run.exit_code}, {len(lines)} lines on stderr: {run.stderr[:300]!r}"
    return "refused", lines[0]
