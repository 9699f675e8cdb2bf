"""Outputs under faults: the disk full, the folder gone or read-only, the process killed, at every point of every writer.

An earlier output stays whole, byte for byte, or is replaced by a whole new one; nothing else is left; what went wrong is
said in one sentence that names the file. Only a killed process may leave its temporary file, under a name that is never read.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from rankless import io
from rankless.runtime import journal as checkpoint
from rankless.runtime.files import PARTIAL
from torture import child, record
from torture.judge import LONGEST
from torture.writers import WRITERS, contents, exact, holed

SOURCES = (
    "torture/writers.py",
    "src/rankless/io/*.py",
    "src/rankless/runtime/files.py",
    "src/rankless/runtime/journal.py",
    "src/rankless/cli/interrupted.py",
)
FULL_AT = (0.0, 1e-4, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)  # shares of the new file that the disk still takes, one byte short of all
MOMENTS = 8  # calls to the system, of those a writer makes, at which its folder goes
KILLS = 6  # a writer
NOBODY = 65534


def store(**how):
    return record.store("files", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for (fault, how), (inject, targets) in FAULTS.items():
        if inject is on_a_small_disk and not may_mount():
            print(f"skipped {fault}: this user may not mount a disk", flush=True)
            continue
        under = f", {len(targets)} {'formats' if inject in COMMANDS else 'writers'}" if len(targets) > 1 else ""
        key = {"fault": f"{fault}{under}"}
        print(cells.measure(key, partial(measure, inject, targets, how)), flush=True)


def measure(inject: Callable[[str], list[str]], targets: tuple[str, ...], how: str) -> dict[str, object]:
    """One fault under every writer; what was lost is named."""
    given = [(inject, target) for target in targets]
    ends = child.over(suffered, given, seconds=300.0, memory=4 * child.GIB, warm=warm)
    wrongs = [(target, wrong) for (_, target), end in zip(given, ends, strict=True) for wrong in end.value or [end.died]]
    lost = [f"{target}: {wrong}" for target, wrong in wrongs if wrong]
    for line in lost:
        print(f"LOST {line}", flush=True)
    return record.fault([not wrong for _, wrong in wrongs], how if not lost else f"broken: {lost[0][:200]}")


def suffered(given: tuple[Callable[[str], list[str]], str]) -> list[str]:
    """For every time that a fault struck a writer: what is wrong afterwards, or nothing."""
    inject, target = given
    return inject(target)


def warm() -> None:
    """All libraries loaded, all fits made."""
    for writer in WRITERS.values():
        for which in (0, 1):
            with tempfile.TemporaryDirectory() as folder:
                writer(Path(folder), which)
    listen()


def listen() -> None:
    "".encode("cp437")  # of archives; Python loads it late, perhaps when it has no longer the right to
    Shaken.listen()


# --- what must hold ---------------------------------------------------------------------------------


def struck(target: str, fault: contextlib.AbstractContextManager, folder: Path, *, may_leave: bool = False) -> str:
    """Write content 1 over content 0 while `fault` is at work; what is wrong afterwards, in words."""
    before, said = exact(folder), None
    try:
        with fault, _quietly():
            WRITERS[target](folder, 1)
    except (OSError, ValueError) as problem:
        said = str(problem)
    except BaseException as problem:
        return f"{type(problem).__name__}: {problem}"
    if not folder.exists() or not any(folder.iterdir()):  # a library may have made it again
        return "said nothing" if said is None else unclear(said, folder)
    left = [] if may_leave else [part for part in os.listdir(folder) if part.startswith(PARTIAL)]
    if left:
        return f"left {left[0]}"
    if said is None:
        return "" if contents(folder) == wanted(target)[1] else "said nothing, and the new file is not whole"
    return unclear(said, folder) or ("" if not damaged(folder, before, target) else f"the earlier file is not whole ({said})")


def unclear(said: str, folder: Path) -> str:
    """Nothing, where a sentence names what could not be written."""
    return "" if len(said.splitlines()) == 1 and len(said) < LONGEST and str(folder) in said else f"said {said!r}"


def damaged(folder: Path, before: dict[str, bytes], target: str) -> list[str]:
    """Outputs that are neither those that were there, byte for byte, nor whole new ones: a writer of two files may get to one."""
    now, new = {name: content for name, content in exact(folder).items() if not name.startswith(PARTIAL)}, contents(folder)
    return sorted(
        name
        for name in {*before, *now}
        if now.get(name) != before.get(name) and new.get(name.split("/")[0]) != wanted(target)[1].get(name.split("/")[0])
    )


@cache
def wanted(target: str) -> list[dict[str, str]]:
    """Both contents that a writer's outputs may have."""
    found = []
    for which in (0, 1):
        with old(target, which) as folder:
            found.append(contents(folder))
    return found


@contextlib.contextmanager
def old(target: str, which: int = 0) -> Iterator[Path]:
    """A folder in which a writer has been."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place, "place")
        folder.mkdir()
        with _quietly():
            WRITERS[target](folder, which)
        yield folder


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- the disk is full -------------------------------------------------------------------------------


def with_a_limit(target: str) -> list[str]:
    """No file may grow beyond a limit: the system refuses to write on, as it does on a full disk."""
    with old(target, 1) as folder:
        size = max(map(len, exact(folder).values()))
    return [_under_limit(target, share, size) for share in FULL_AT]


def _under_limit(target: str, share: float, size: int) -> str:
    with old(target) as folder:
        return struck(target, full(int(share * (size - 1))), folder)


@contextlib.contextmanager
def full(size: int) -> Iterator[None]:
    """No file of this process may hold more than `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error instead of an end
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def on_a_small_disk(target: str) -> list[str]:
    """A disk of its own, in memory, with room for the earlier file and a part of the new one."""
    return [_on_small_disk(target, share) for share in (0.0, 0.25, 0.5, 0.9)]


def _on_small_disk(target: str, share: float) -> str:
    with old(target) as earlier, disk() as folder:
        shutil.copytree(earlier, folder, dirs_exist_ok=True)
        rest = folder / "rest"
        with contextlib.suppress(OSError), open(rest, "wb", buffering=0) as stream:
            while stream.write(bytes(2**16)):
                pass
        os.truncate(rest, max(rest.stat().st_size - int(share * sum(map(len, exact(earlier).values()))), 0))
        before = rest.stat().st_size
        wrong = struck(target, contextlib.nullcontext(), folder)
        # where the new file found room, content 1 is there besides what filled the disk
        fits = wrong.startswith("said nothing") and rest.stat().st_size == before and _same_but_rest(folder, target)
        return "" if fits else wrong


def _same_but_rest(folder: Path, target: str) -> bool:
    return {name: content for name, content in contents(folder).items() if name != "rest"} == wanted(target)[1]


@contextlib.contextmanager
def disk(size: str = "8m") -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True, capture_output=True)
        try:
            yield Path(place)
        finally:
            subprocess.run(["umount", "-l", place], check=True)


def may_mount() -> bool:
    try:
        with disk():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


# --- the folder goes --------------------------------------------------------------------------------


class Shaken:
    """Does something to a folder just before the call number `at` to the system that names something in it."""

    now: Shaken | None = None
    listening = False

    def __init__(self, folder: Path, at: int, act: Callable[[Path], object]):
        self.folder, self.at, self.act, self.count = folder, at, act, 0

    def __enter__(self) -> None:
        Shaken.now = self

    def __exit__(self, *_) -> None:
        Shaken.now = None

    @classmethod
    def listen(cls) -> None:
        if not cls.listening:  # a hook cannot be taken off again
            sys.addaudithook(cls.hear)
            cls.listening = True

    @classmethod
    def hear(cls, event: str, arguments: tuple) -> None:
        one = cls.now
        if one is None or not (event.startswith(("os.", "shutil.", "tempfile.")) or event == "open"):
            return
        if any(isinstance(part, str | Path) and str(part).startswith(str(one.folder)) for part in arguments):
            one.count += 1
            if one.count == one.at:
                cls.now = None
                one.act(one.folder)


def moments(target: str) -> list[int]:
    """Calls to the system, counted from 1, at which to strike a writer: the last, with which the new file comes, and some before."""
    with old(target) as folder, _quietly():
        counting = Shaken(folder, 0, lambda _: None)
        with counting:
            WRITERS[target](folder, 1)
    return sorted({int(at) for at in np.linspace(1, counting.count, MOMENTS)} | set(range(max(1, counting.count - 4), counting.count)))


def folder_gone(target: str) -> list[str]:
    return [_shaken(target, at, shutil.rmtree) for at in moments(target)]


def _shaken(target: str, at: int, act: Callable[[Path], object], **how: bool) -> str:
    in_time = []

    def strike(folder: Path) -> None:
        in_time.append(contents(folder) != wanted(target)[1])
        act(folder)

    wanted(target)
    with old(target) as folder:
        wrong = struck(target, Shaken(folder, at, strike), folder, **how)
        return f"at call {at}: {wrong}" if wrong and in_time != [False] else ""


def folder_read_only(target: str) -> list[str]:
    """Root may write anywhere, so it takes the rights of nobody."""

    def lock(folder: Path) -> None:
        folder.chmod(0o555)

    if os.geteuid() != 0:
        return [_shaken(target, at, lock, may_leave=True) for at in moments(target)]
    place = Path(tempfile.gettempdir())
    found = []
    for at in moments(target):
        with tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True) as parent:
            folder = Path(parent, "place")
            folder.mkdir()
            os.chown(parent, NOBODY, NOBODY)
            os.chown(folder, NOBODY, NOBODY)
            os.seteuid(NOBODY)
            try:
                with _quietly():
                    WRITERS[target](folder, 0)
                wrong = struck(target, Shaken(folder, at, lock), folder, may_leave=True)
            finally:
                os.seteuid(0)
        found.append(f"at call {at}: {wrong}" if wrong else "")
    return found


# --- the process is killed --------------------------------------------------------------------------


def killed(target: str) -> list[str]:
    """A child that writes both contents by turns is killed, after which one of them is there, whole."""
    at_calls = killed_at_calls(target)
    rng = random.Random(target)
    start = time.perf_counter()
    with old(target) as folder, _quietly():
        WRITERS[target](folder, 1)
    once = (time.perf_counter() - start) / 2
    return at_calls + [_killed(target, after=rng.uniform(0.0, 6 * once)) for _ in range(KILLS)]


def killed_at_calls(target: str) -> list[str]:
    wanted(target)
    return [_killed(target, at=at) for at in moments(target)]


def _killed(target: str, *, at: int = 0, after: float = 0.0) -> str:
    """Killed at call number `at` to the system, or so many seconds `after` it began."""
    with old(target) as folder:
        process = os.fork()
        if process == 0:
            with _quietly(), Shaken(folder, at, lambda _: os.kill(os.getpid(), signal.SIGKILL)):
                for turn in range(10**6):
                    WRITERS[target](folder, 1 - turn % 2)
            os._exit(0)
        if not at:
            time.sleep(after)
            os.kill(process, signal.SIGKILL)
        if os.waitpid(process, 0)[1] != signal.SIGKILL:
            return "ended by itself"
        when = f"at call {at}" if at else f"after {after:.3f} s"
        found, (first, second) = contents(folder), wanted(target)
        torn = [name for name in first if found.get(name) not in (first[name], second[name])]
        if torn or found.keys() != first.keys():
            return f"{when}: {torn or sorted(found)} is not whole, beside {os.listdir(folder)}"
        left = [part for part in folder.iterdir() if part.name.startswith(PARTIAL)]
        for part in (inner for outer in left for inner in (outer.rglob("*") if outer.is_dir() else [outer])):
            if part.suffix.lower() in io.FORMATS and not _refused(part):
                return f"{part.name}, which a killed run left, was read"
        with _quietly():
            WRITERS[target](folder, 1)  # what is left is in nobody's way
        if left := [part for part in os.listdir(folder) if part.startswith(PARTIAL)]:
            return f"{when}: the next run left {left}"
        return "" if contents(folder) == second else "the next run did not write it"


def _refused(part: Path) -> bool:
    try:
        io.read(part)
    except (ValueError, OSError) as problem:
        return "what a stopped run left" in str(problem)
    return False


# --- the checkpoint ---------------------------------------------------------------------------------


class Cut(Exception):
    """Stands for whatever ends a process."""


def checkpoint_full(target: str) -> list[str]:
    """The disk is full at some size of the checkpoint: the fit goes on, says so, and what was kept is gone on from."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "journal")
        whole = _fitted(path)
        size = path.stat().st_size
        found = []
        for share in np.linspace(0.0, 0.99, 12):
            path.unlink(missing_ok=True)
            with warnings.catch_warnings(record=True) as said, full(int(share * size)):
                warnings.simplefilter("always")
                answer = _fitted(path)
            told = [str(w.message) for w in said if "the fit goes on without" in str(w.message)]
            left = [name for name in os.listdir(place) if name != "journal"]
            again = _fitted(path)
            good = answer == whole and len(told) == 1 and not left and again == whole
            found.append("" if good else f"at {share:.2f}: {told}, left {left}, same {answer == whole}, {again == whole}")
        return found


def _fitted(path: Path) -> bytes:
    """All that a fit predicts, ended as by a kill just before it is done with its journal."""
    from rankless import TensorCompleter

    array = holed(0)[:9, :8, :6]
    est = TensorCompleter(experts=["components"], value_transform=None, depth=0.0, effects=False, random_state=0)
    with contextlib.suppress(Cut), checkpoint.Journal(path, every=0) as journal:
        est.fit(array, checkpoint=journal)
        raise Cut
    return est.predict(np.argwhere(np.ones(array.shape, bool))).tobytes()


# --- the whole command ------------------------------------------------------------------------------


def command_disk_full(suffix: str) -> list[str]:
    return [_commanded(suffix, share) for share in (0.0, 0.5, 0.9)]


def command_folder(suffix: str) -> list[str]:
    return [_commanded(suffix, act) for act in (shutil.rmtree, _replaced_by_a_file)]


def _replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("in the way")


def command_input(suffix: str) -> list[str]:
    """The input is cut short, emptied or deleted while the fit goes on: it was read, or its copy is refused."""
    return [_commanded(suffix, act, of_input=True) for act in (_cut, _emptied, _deleted)]


def _cut(path: Path) -> None:
    file = max((part for part in [path, *path.rglob("*")] if part.is_file()), key=lambda part: part.stat().st_size)
    os.truncate(file, file.stat().st_size // 2)


def _emptied(path: Path) -> None:
    for part in [path, *path.rglob("*")]:
        if part.is_file():
            os.truncate(part, 0)


def _deleted(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _commanded(suffix: str, fault: float | Callable[[Path], object], *, of_input: bool = False) -> str:
    """What is wrong after `rankless complete` met `fault` when its fit was done: code 2, one line, the earlier output whole."""
    from typer.testing import CliRunner

    from rankless import cli, completer

    with old(suffix) as folder, tempfile.TemporaryDirectory() as other:
        source = Path(other, f"in{suffix if of_input else '.npy'}")
        if of_input:
            shutil.move(folder / f"out{suffix}", source)
        else:
            np.save(source, holed(0)[:9, :8, :6])
        before, real = exact(folder), completer.TensorCompleter.fit

        def fit(self, *given, **options):
            found = real(self, *given, **options)
            if callable(fault):
                fault(source if of_input else folder)
            return found

        completer.TensorCompleter.fit = fit
        limit = contextlib.nullcontext() if callable(fault) else full(int(fault * 9 * 8 * 6 * 8))
        names = ["--modes", "mode_0,mode_1,mode_2", "--value", "value"] if source.suffix in (".csv", ".parquet") else []
        quick = [
            "--depth",
            "0",
            "--penalty",
            "1",
            "--max-rank",
            "3",
            "--experts",
            "components,neighbours",
            "--value-transform",
            "none",
            "--smooth",
            "none",
        ]
        try:
            with limit, _quietly():
                end = CliRunner().invoke(cli.app, ["complete", str(source), "-o", str(folder / f"out{suffix}"), *names, *quick])
        finally:
            completer.TensorCompleter.fit = real
        if end.exception is not None and not isinstance(end.exception, SystemExit):
            return f"{fault}: {type(end.exception).__name__}: {end.exception}"
        if end.exit_code == 0 and of_input:  # it had been read
            return "" if (folder / f"out{suffix}").exists() else f"{fault}: no output"
        errors = [line for line in end.stderr.splitlines() if line.startswith("error: ")]
        if end.exit_code != 2 or len(errors) != 1 or "Traceback" in end.stderr:
            return f"{fault}: code {end.exit_code}, {end.stderr[:200]!r}"
        return "" if not folder.is_dir() or exact(folder) == before else f"{fault}: the folder holds {sorted(exact(folder))}"


# --- all of them ------------------------------------------------------------------------------------

COMMANDS = (command_disk_full, command_folder, command_input)
FORMATS = tuple(io.FORMATS)
ALL = tuple(WRITERS)
WHOLE = "the earlier file byte for byte, and one sentence"
FAULTS = {
    ("disk full (a limit on the size of files)", WHOLE): (with_a_limit, ALL),
    ("disk full (a small disk of its own)", WHOLE): (on_a_small_disk, ALL),
    ("output folder deleted while writing", "one sentence, nothing written elsewhere"): (folder_gone, ALL),
    ("output folder made read-only while writing", WHOLE): (folder_read_only, ALL),
    ("kill -9 while writing", "the earlier file or the new one, whole; what is left is never read"): (killed, ALL),
    ("disk full under a checkpoint", "the same fit, a warning, and --resume from what was kept"): (checkpoint_full, ("checkpoint",)),
    ("`complete` with a full disk", f"code 2; {WHOLE}"): (command_disk_full, FORMATS),
    ("`complete` whose output folder went during the fit", "code 2, one sentence"): (command_folder, FORMATS),
    ("`complete` whose input was cut, emptied or deleted during the fit", "filled from what was read, or code 2 and one sentence"): (
        command_input,
        FORMATS,
    ),
}
