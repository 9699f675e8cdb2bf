"""What ``rankless complete --cells``, ``--dask`` and ``--model``, ``rankless predict`` and ``rankless top`` do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="What complete --model wrote.")]


def fill(
    source: Path,
    output: Path,
    *,
    cells: Path | None,
    dask: str | None,
    model: Path | None,
    quiet: bool,
    coverage: float | None = None,
    **options: Any,
) -> None:
    """Fit `source` in chunks; write the cells that the table `cells` names, or all, with `coverage` their intervals, and the model."""
    from rankless import large
    from rankless.answer.intervals import check_coverage
    from rankless.io import check_output

    if coverage is not None:
        check_coverage(coverage)
    inputs = [path for path in (cells, source) if path is not None]
    for path in inputs:
        if not path.exists():
            raise ValueError(f"{str(path)!r} does not exist")
    check_output(output, *inputs, suffixes=(".zarr" if cells is None else ".csv", ".parquet"))
    if model is not None:
        check_output(model, *inputs, suffixes=(".npz",), called="--model")
    with _client(dask) as client:
        done = large.complete(source, client=client, verbose=not quiet, **options)
    if model is not None:
        done.save(model)
    done.fill(output, coverage) if cells is None else done.write_cells(cells, output, coverage)
    print(done.summary())
    for path in (output, model):
        if path is not None:
            print(f"wrote {path}")


def predict(
    model: Model,
    cells: Annotated[Path, typer.Argument(metavar="CELLS", help="A .csv or .parquet: a column of labels for each mode.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A .csv or .parquet: these cells and their values.")],
    coverage: Annotated[float | None, typer.Option(help="Write intervals that hold a value this often, such as 0.9.")] = None,
) -> None:
    """Fill the cells that a table names, however many, from a model that complete --model wrote."""
    from rankless.io import check_output
    from rankless.large import LargeCompletion

    check_output(output, model, cells, suffixes=(".csv", ".parquet"))
    count = LargeCompletion.load(model).write_cells(cells, output, coverage)
    print(f"wrote {output}: {count:,} cells")


def top(
    model: Model,
    at: Annotated[str, typer.Option(help="The slice: labels of some modes, by commas: user=17,week=5.")],
    k: Annotated[int, typer.Option("-k", help="How many.")] = 10,
    least: Annotated[bool, typer.Option("--least", help="The least values instead of the largest.")] = False,
) -> None:
    """Show the largest values of a slice, from a model that complete --model wrote."""
    from rankless.large import LargeCompletion

    if k < 1:
        raise ValueError(f"-k {k} is not a number of cells; pass -k 10")
    print(LargeCompletion.load(model).top(_labels(at), k, largest=not least).to_string(index=False))


def refuse(options: Mapping[str, bool]) -> None:
    """Raise ValueError where an option was given that a fit in chunks has no use for."""
    given = [name for name, there in options.items() if there]
    if given:
        raise ValueError(f"{given[0]} does not go with --cells, --dask or --model, which fit in chunks; leave it out")


def _labels(at: str) -> dict[str, str]:
    pairs = [part.split("=", 1) for part in at.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"--at {at} names no slice; pass mode=label, by commas: --at user=17,week=5")
    return {name.strip(): label.strip() for name, label in pairs}


@contextmanager
def _client(address: str | None) -> Iterator[Any]:
    """A client of the Dask scheduler at `address`, or None."""
    if address is None:
        yield None
        return
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise ValueError("--dask needs distributed, which is not installed; run: pip install 'rankless[dask]'")
    from distributed import Client

    try:
        client = Client(address, timeout=10)
    except (OSError, TimeoutError, ValueError) as problem:
        raise ValueError(f"no Dask scheduler answers at --dask {address} ({problem}); start one with: dask scheduler") from None
    with client:
        yield client
