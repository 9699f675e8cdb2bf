"""The command line. Heavy imports live inside the commands, so that ``rankless --help`` is instant.

Bad input is one line on stderr and exit code 2; ctrl-C is one line and exit code 130. Either way no
partial output file is left; a fit that was long enough leaves a checkpoint to go on from.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rankless.cli import later
from rankless.cli import side as tables_of
from rankless.cli.interrupted import checkpoint, how_to_go_on, not_written, say, so_far
from rankless.cli.shown import facts, print_scores, print_slices
from rankless.figures.command import reproduce
from rankless.large import command as chunks
from rankless.runtime.progress import Tracker, shown

if TYPE_CHECKING:
    from rankless.completion import Completion
    from rankless.kinds import Given
    from rankless.runtime.journal import Journal
    from rankless.runtime.progress import Callback

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _advanced(text: str) -> Any:
    """An option that the search finds by itself: in a group of its own, below those that people use."""
    return typer.Option(rich_help_panel="Advanced", help=text)


Input = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="A .npy, .npz, .csv, .parquet, .nc, .zarr, .mat or .tns file. NaN or an empty cell is not observed; 0 is a value.",
    ),
]
Modes = Annotated[str | None, typer.Option(help="Names of the modes, by commas; for a table its columns: station,year,month.")]
Value = Annotated[str | None, typer.Option(help="The column of a table, or the array of a file of several, that holds the values.")]
Duplicates = Annotated[str, typer.Option(help="A coordinate given twice in a table: error, mean or last.")]
IndexBase = Annotated[int | None, typer.Option(help="The first number in a .tns: 1, unless the file says otherwise; or 0.")]
Absent = Annotated[str | None, typer.Option(help="Pass missing where what a sparse matrix doesn't list was not observed.")]
Missing = Annotated[str | None, typer.Option(help="Numbers that mean 'not observed', by commas: -9999; of a .csv texts, too.")]
Where = Annotated[
    str | None,
    typer.Option(
        help="Where there are cells: a .npy or .npz mask, a column, a variable, or a mode along which fibres never seen are none."
    ),
]
Encoding = Annotated[str | None, typer.Option(help="Of a .csv that is not in UTF-8: cp1252, utf-16.")]
Seed = Annotated[int, typer.Option(help="Same seed, same numbers.")]
Effort = Annotated[str, typer.Option(help="How much work to put in: fast, default or best.")]
Loss = Annotated[str, typer.Option(help="gaussian; huber for gross errors, poisson for counts, bernoulli for shares.")]
Nonnegative = Annotated[bool, typer.Option("--nonnegative", help="Components without negative numbers.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Don't show how far it is.")]


def _version(wanted: bool) -> None:
    if wanted:
        from rankless import __version__

        print(f"rankless {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")] = False,
) -> None:
    """Fill in and factorise multiway data without choosing a rank."""


def main() -> None:
    """Entry point of the ``rankless`` script."""
    app()


def _plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Run a command; say what is wrong with its input in one line instead of a traceback."""

    @functools.wraps(command)
    def run(*args, **options) -> None:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            try:
                command(*args, **options)
            except OSError as problem:
                say(f"error: {problem.filename}: {problem.strerror}" if problem.filename else f"error: {problem}")
                raise typer.Exit(2) from None
            except (ValueError, MemoryError, ArithmeticError) as problem:
                say(f"error: {problem}")
                raise typer.Exit(2) from None
            except KeyboardInterrupt as stop:
                say(f"stopped; {str(stop) or 'no file was written'}")
                raise typer.Exit(130) from None

    return run


# --- commands -------------------------------------------------------------------------------------


@app.command()
@_plainly
def complete(
    source: Input,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Where to write all cells, in the format that its suffix names."),
    ],
    modes: Modes = None,
    value: Value = None,
    seed: Seed = 0,
    effort: Effort = "default",
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which nothing more is begun.")] = None,
    experts: Annotated[
        str,
        _advanced("auto, or who may fill cells, by commas: components, draws, neighbours, timeline, factors, periods, slices or low rank."),
    ] = "auto",
    network: Annotated[str, _advanced("cp, or tucker or train in the place of components, for data of low multilinear rank.")] = "cp",
    depth: Annotated[str, _advanced("auto, or a number >= 0; 0 is shallow CP.")] = "auto",
    penalty: Annotated[str, _advanced("auto, or a number > 0, for values at unit root mean square.")] = "auto",
    max_rank: Annotated[str, _advanced("auto, or the most components to allow.")] = "auto",
    effects: Annotated[str, _advanced("Additive main effects: auto, on or off.")] = "auto",
    noise: Annotated[str, _advanced("Noise that differs by slice: auto, none, or the name of a mode.")] = "auto",
    n_fits: Annotated[str, _advanced("auto, or the most fits whose weighted sum may be the answer.")] = "auto",
    value_transform: Annotated[str, _advanced("Fit square roots or logarithms of counts and amounts: auto, none, sqrt or log.")] = "auto",
    smooth: Annotated[
        str,
        _advanced("Modes whose neighbouring slices are alike: auto, none, or their names, by commas."),
    ] = "auto",
    local: Annotated[str, _advanced("auto, or none for components alone.")] = "auto",
    holdout: Annotated[float, _advanced("Share of the observed entries on which choices are made.")] = 0.1,
    n_jobs: Annotated[int | None, _advanced("Threads; all processors if left out.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write a page to look at: one .html file.")] = None,
    loss: Loss = "gaussian",
    nonnegative: Nonnegative = False,
    duplicates: Duplicates = "error",
    side: tables_of.Side = None,
    coverage: later.Coverage = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a fit of the same INPUT and options that was cut short.")] = False,
    checkpoint_every: Annotated[float, typer.Option(help="Seconds between writes of the file --resume goes on from.")] = 10.0,
    index_base: IndexBase = None,
    absent: Absent = None,
    missing: Missing = None,
    where: Where = None,
    encoding: Encoding = None,
    cells: Annotated[Path | None, typer.Option(help="Fill only the cells this table names; INPUT is read in chunks, of any size.")] = None,
    model: Annotated[Path | None, typer.Option(help="Also write the model, as .npz, for predict and top; INPUT is read in chunks.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Also write what was found, with its entries, as .npz: for extend and update.")] = None,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Fit on the workers of this Dask scheduler.")] = None,
    quiet: Quiet = False,
) -> None:
    """Fill the holes of INPUT and write the result; nothing needs to be chosen."""
    from rankless import io

    known = {
        "depth": _number(depth, "depth"),
        "penalty": _number(penalty, "penalty"),
        "max_rank": _number(max_rank, "max-rank", int),
        "effects": _choice(effects, "effects", {"auto": "auto", "on": True, "off": False}),
    }
    if not (cells is None and model is None and dask is None):
        others = {"--noise": noise, "--n-fits": n_fits, "--local": local, "--value-transform": value_transform, "--smooth": smooth}
        chunks.refuse(
            {name: option != "auto" for name, option in others.items()}
            | {"--effort": effort != "default", "--time-limit": time_limit is not None, "--experts": experts != "auto"}
            | {"--network": network != "cp"}
            | {"--report": report is not None, "--resume": resume, "--nonnegative": nonnegative}
            | {"--loss": loss != "gaussian", "--duplicates": duplicates != "error", "--absent": absent is not None}
            | {"--missing": missing is not None, "--where": where is not None, "--encoding": encoding is not None}
            | {"--keep": keep is not None, "--side": bool(side)}
        )
        places = {"cells": cells, "model": model, "dask": dask, "quiet": quiet, "coverage": coverage}
        chunks.fill(source, output, **places, modes=_names(modes), value=value, index_base=index_base, random_state=seed, **known)
        return
    io.check_output(output, source)
    if coverage is not None:
        from rankless.answer.intervals import check_coverage

        check_coverage(coverage)
        io.check_ends(output)
    if report is not None:
        io.check_output(report, source, suffixes=(".html", ".htm"), called="--report")
    if keep is not None:
        io.check_output(keep, source, suffixes=(".npz",), called="--keep")
    options = known | {
        "noise": None if noise == "none" else noise,
        "model": network,
        "effort": effort,
        "time_limit": time_limit,
        "experts": "auto" if experts == "auto" else _names(experts),
        "n_fits": _number(n_fits, "n-fits", int),
        "value_transform": _choice(value_transform, "value-transform", {"auto": "auto", "none": None, "sqrt": "sqrt", "log": "log"}),
        "smooth": {"auto": "auto", "none": None}.get(smooth, _names(smooth)),
        "local": _choice(local, "local", {"auto": "auto", "none": None}),
        "holdout": holdout,
        "n_jobs": n_jobs,
        "loss": loss,
        "nonnegative": nonnegative,
    }
    how = {"missing": _marks(missing), "where": where, "encoding": encoding}
    given = _load(source, modes, value, duplicates=duplicates, index_base=index_base, absent=absent, **how)
    options["side"] = tables_of.read(side, given.observations.modes)
    io.check_size(output, given.observations)
    from rankless.completer import TensorCompleter
    from rankless.completion import alarms_of, completion_of

    for text in alarms_of(given):
        warnings.warn(text, UserWarning, stacklevel=1)
    with checkpoint(output, checkpoint_every, resume) as journal, shown(not quiet) as callback:
        done = completion_of(TensorCompleter(random_state=seed, **options), given, callback)
        _fit_and_write(done, output, report, journal, callback, index_base=index_base, coverage=coverage, title=f"{source.name}, filled in")
    if keep is not None:
        done.save(keep)
    print(done.summary())
    for path in (output, report, keep):
        if path is not None:
            print(f"wrote {path}")


def _fit_and_write(
    done: Completion, output: Path, report: Path | None, journal: Journal, callback: Callback | None, *, title: str, **options
) -> None:
    """Fit, write the filled cells and the page; what ends it early says what there is, and how to go on."""
    from rankless import io

    tracker = Tracker(callback)
    try:
        done.estimator.fit(done.given.fitted, callback=callback, checkpoint=journal)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(so_far(done, output, journal)) from None
    tracker.stage(f"writing {output}")
    try:
        io.write(output, done, **options)
        if report is not None:
            tracker.stage(f"writing {report}")
            done.report(report, title=title)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how_to_go_on(journal)) from None
    except (OSError, ValueError) as problem:
        raise not_written(problem, done, output, journal) from None


@app.command()
@_plainly
def evaluate(
    source: Input,
    hide: Annotated[float, typer.Option(help="Share of the observed entries to hide.")] = 0.2,
    modes: Modes = None,
    value: Value = None,
    seed: Seed = 0,
    loss: Loss = "gaussian",
    nonnegative: Nonnegative = False,
    effort: Effort = "default",
    by: Annotated[str | None, typer.Option(help="Name or number of a mode: show its slices too, the worst filled first.")] = None,
    duplicates: Duplicates = "error",
    index_base: IndexBase = None,
    absent: Absent = None,
    missing: Missing = None,
    where: Where = None,
    encoding: Encoding = None,
    quiet: Quiet = False,
) -> None:
    """Hide observed entries of INPUT and score how well they are found again; with --loss also by its deviance, 0 at best."""
    how = {"missing": _marks(missing), "where": where, "encoding": encoding}
    obs = _load(source, modes, value, duplicates=duplicates, index_base=index_base, absent=absent, **how).fitted
    mode = None if by is None else obs.mode_index(int(by) if by.isdigit() else by)
    from rankless.evaluation import evaluate as score

    with shown(not quiet) as callback:
        scores = score(obs, hide=hide, seed=seed, loss=loss, nonnegative=nonnegative, effort=effort, callback=callback)
    print_scores(scores, f"{source}: {hide:.0%} of the observed entries hidden, seed {seed}", loss)
    if mode is not None:
        print_slices(scores[-1], mode)


@app.command()
@_plainly
def inspect(
    source: Input,
    modes: Modes = None,
    value: Value = None,
    duplicates: Duplicates = "error",
    index_base: IndexBase = None,
    absent: Absent = None,
    missing: Missing = None,
    where: Where = None,
    encoding: Encoding = None,
) -> None:
    """Show what INPUT holds: shape, labels, share observed, empty slices, suspicious zeros."""
    how = {"missing": _marks(missing), "where": where, "encoding": encoding}
    given = _load(source, modes, value, duplicates=duplicates, index_base=index_base, absent=absent, **how)
    for name, text in facts(given.observations):
        print(f"{name:10s}{text}")
    for text in (*given.alarms, *given.notes):
        print(f"{'note':10s}{text}")


@app.command()
@_plainly
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the filled table, the picture and the page.")] = Path("out"),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Real weather data: hide a fifth, fill it, score it, and say what the components are."""
    from rankless import demo as weather

    with shown(not quiet) as callback:
        result = weather.run(output, seed=seed, callback=callback)
    weather.show(result)


app.command("extend")(_plainly(later.extend))
app.command("update")(_plainly(later.update))
app.command("predict")(_plainly(chunks.predict))
app.command("top")(_plainly(chunks.top))
app.command("reproduce")(_plainly(reproduce))


# --- helpers --------------------------------------------------------------------------------------


def _load(source: Path, modes: str | None, value: str | None, **options) -> Given:
    from rankless import io

    return io.load(source, modes=_names(modes), value=value, **options)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _marks(text: str | None) -> list[float | str]:
    """Numbers where they are some, whole ones whole; other texts as they are."""
    marks: list[float | str] = []
    for part in (text or "").split(",") if text else ():
        for kind in (int, float, str):
            try:
                marks.append(kind(part.strip()))
                break
            except ValueError:
                continue
    return marks


def _number(text: str, name: str, kind: type = float):
    if text == "auto":
        return text
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ValueError(f"--{name} {text} is neither auto nor {what}; leave it out to have it found") from None


def _choice(text: str, name: str, known: dict):
    if text not in known:
        raise ValueError(f"--{name} {text} is not known; pass {', '.join(known)}")
    return known[text]
