"""``rankless extend`` and ``rankless update``: new slices and new entries, taken in by what ``complete --keep`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rankless.completion import Completion

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="What complete --keep wrote.")]
More = Annotated[Path, typer.Argument(metavar="MORE", help="New entries, in a file like the one that was completed.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to write all cells, in the format that its suffix names.")]
Keep = Annotated[Path | None, typer.Option(help="Also write what is now known, as .npz: for the next extend or update.")]
Along = Annotated[str | None, typer.Option(help="The mode along which slices of an array are new, where shapes do not tell.")]
Coverage = Annotated[float | None, typer.Option(help="Write intervals that hold a missing value this often, such as 0.9.")]
Duplicates = Annotated[str, typer.Option(help="A coordinate given twice in MORE: error, mean or last.")]


def extend(
    model: Model,
    more: More,
    output: Output,
    keep: Keep = None,
    along: Along = None,
    duplicates: Duplicates = "error",
    coverage: Coverage = None,
) -> None:
    """Fill new slices, such as a new user or station, from entries of theirs; nothing is fitted anew."""
    done = _loaded(model, more, output, keep, coverage)
    wider = done.extend(_more(done, more, duplicates), along=along)
    _written(wider, done, output, keep, coverage)


def update(
    model: Model,
    more: More,
    output: Output,
    keep: Keep = None,
    along: Along = None,
    duplicates: Duplicates = "error",
    coverage: Coverage = None,
    effort: Annotated[str, typer.Option(help="fast: a few sweeps; default: the last refit again; best: a new search.")] = "fast",
) -> None:
    """Take in new entries, such as today's, and fill all cells; the choices stay, unless --effort best searches anew."""
    if effort not in ("fast", "default", "best"):
        raise ValueError(f"--effort {effort} is not known; pass fast, default or best")
    done = _loaded(model, more, output, keep, coverage)
    known: Any = effort
    later = done.update(_more(done, more, duplicates), known, along=along)
    _written(later, done, output, keep, coverage)


def _loaded(model: Path, more: Path, output: Path, keep: Path | None, coverage: float | None) -> Completion:
    from rankless import io
    from rankless.completion import Completion

    io.check_output(output, model, more)
    if keep is not None:
        io.check_output(keep, more, suffixes=(".npz",), called="--keep")
    if coverage is not None:
        from rankless.answer.intervals import check_coverage

        check_coverage(coverage)
        io.check_ends(output)
    return Completion.load(model)


def _more(done: Completion, path: Path, duplicates: str) -> Any:
    """What is in the file at `path`, read as the data of `done` were; a table without a row as it is: on some days nothing comes."""
    from rankless import io
    from rankless.io import FORMATS, suffix_of

    obs, how = done.observations, FORMATS[suffix_of(path)]
    names: dict[str, Any] = {}
    if "duplicates" in how.reads_with and how.module == "tables":
        names = {"modes": list(obs.modes), "value": obs.value_name}
    elif any(label is not None for label in obs.labels) and how.module != "labelled":
        names = {"modes": list(obs.modes)}
    if how.module == "tables":
        from rankless.io.tables import columns_of, declared, is_empty, nothing_of

        if is_empty(path):
            declared(path, columns_of(path), names["modes"], names["value"])
            return nothing_of(path)
    return io.load(path, **names, duplicates=duplicates)


def _written(done: Completion, before: Completion, output: Path, keep: Path | None, coverage: float | None) -> None:
    from rankless import io

    io.check_size(output, done.observations)
    io.write(output, done, coverage=coverage)
    if keep is not None:
        done.save(keep)
    obs, old = done.observations, before.observations
    grown = [f"{size - was:,} new of {name}" for name, size, was in zip(obs.modes, obs.shape, old.shape, strict=True) if size > was]
    print(f"{obs.size - old.size:,} entries more, {', '.join(grown) or 'no new slice'}; {obs.size:,} of {obs.cells:,} cells observed.")
    for path in (output, keep):
        if path is not None:
            print(f"wrote {path}")
