"""Commands that are cut short: the checkpoint they go on from, and what is said and saved when they stop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankless.completion import Completion
    from rankless.runtime.journal import Journal


def say(text: str) -> None:
    print(" ".join(text.split("\n")), file=sys.stderr)


def checkpoint(output: Path, every: float, resume: bool) -> Journal:
    """The journal beside `output`; says whether the fit goes on from it or starts afresh."""
    from rankless.runtime.journal import Journal

    journal = Journal(output.with_name(f".{output.name}.checkpoint"), every=every, resume=resume)
    if journal.found:
        say(f"going on from {journal.path}")
    elif resume:
        say(f"there is no {journal.path} to go on from; starting afresh")
    elif journal.path.exists():
        say(f"starting afresh; --resume would have gone on from {journal.path}")
    return journal


def so_far(done: Completion, output: Path, journal: Journal) -> str:
    """What to say after ctrl-C; of a long fit the best so far is written under another name."""
    text, est = how_to_go_on(journal), done.estimator
    if not (journal.kept and hasattr(est, "path_")):
        return text
    from rankless import io

    path = output.with_name(f"{output.stem}.so-far{output.suffix}")
    io.write(path, done)
    return f"the best so far (rank {est.rank_}, error on held-out entries {est.holdout_rmse_:.4g}) is in {path}; {text}"


def how_to_go_on(journal: Journal) -> str:
    return f"the same command with --resume goes on from {journal.path}" if journal.kept else ""


def not_written(problem: OSError | ValueError, done: Completion, output: Path, journal: Journal) -> Exception:
    """What to say of an output that could not be written; a long fit is kept, somewhere else if its checkpoint went with the folder."""
    said = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    if not journal.kept:
        text = "the fit was a short one and is not kept: mend that and run the command again"
    elif journal.path.exists():
        text = f"mend that; {how_to_go_on(journal)}"
    else:
        text = f"what was computed is in {_rescued(done, output)}"
    whole = f"{said}; {text}"
    return OSError(problem.errno, whole, str(output)) if isinstance(problem, OSError) else ValueError(whole)


def _rescued(done: Completion, output: Path) -> Path:
    """The result in a folder for temporary files."""
    import tempfile

    from rankless import io

    path = Path(tempfile.mkdtemp(prefix="rankless-"), output.name)
    io.write(path, done)
    return path
