"""Fits under faults: too little memory, and numbers that break inside a sweep or a mean of draws.

Too little memory is said beforehand with the estimate, or ends in one sentence; a sweep that breaks is named and costs itself only.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from torture import child, record

SOURCES = ("src/rankless/**/*.py", "src/rankless/als/*.py", "src/rankless/io/*.py")
SHAPE = (40, 30, 25)
LIMITS = (2, 8, 24, 48, 64, 72, 80, 96, 128, 192, 256, 512)  # MiB more than the process has when the command begins
BREAKS = 30
SUFFIXES = (".npy", ".csv", ".parquet", ".nc")


def store(**how):
    return record.store("fits", *SOURCES, **how)


def run(*, fresh: bool = False) -> None:
    cells = store(fresh=fresh)
    for suffix in SUFFIXES:
        key = {"fault": f"`complete` on a {suffix} with {LIMITS[0]} to {LIMITS[-1]} MiB of memory"}
        print(cells.measure(key, lambda suffix=suffix: measure_memory(suffix)), flush=True)
    for value in (np.nan, np.inf):
        key = {"fault": f"a sweep that leaves {value}, at a random point of a fit"}
        print(cells.measure(key, lambda value=value: measure_breaks(value)), flush=True)


# --- memory -----------------------------------------------------------------------------------------


def measure_memory(suffix: str) -> dict[str, object]:
    """The command in processes of ever more memory: refused in words, or done."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"in{suffix}")
        write(source, SHAPE)
        how: Any = {"seconds": 300.0, "warm": partial(warm, suffix)}
        ends = [end for mib in LIMITS for end in child.over(commanded, [source], memory=mib * 2**20, **how)]
    said = [end.value or ("lost", end.died) for end in ends]
    lost = [f"with {mib} MiB: {text}" for mib, (kind, text) in zip(LIMITS, said, strict=True) if kind == "lost"]
    for text in lost:
        print(f"LOST {suffix} {text}", flush=True)
    kinds = [kind for kind, _ in said]
    how = ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("refused with the estimate", "ended in a sentence", "done") if kind in kinds)
    return record.fault([kind != "lost" for kind in kinds], how if not lost else f"broken: {lost[0][:200]}")


def warm(suffix: str) -> None:
    """What has to be imported and compiled, by a run of the same command on a few cells."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"in{suffix}")
        write(source, (9, 8, 7))
        kind, said = commanded(source)
    if kind != "done":
        raise RuntimeError(said)


def commanded(source: Path) -> tuple[str, str]:
    """How ``rankless complete`` ends, and what it said."""
    from typer.testing import CliRunner

    from rankless.cli import app

    with tempfile.TemporaryDirectory() as folder:
        suffix, target = source.suffix, Path(folder, f"out{source.suffix}")
        names = ["--modes", "a,b,c", "--value", "v"] if suffix in (".csv", ".parquet") else []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            end = CliRunner().invoke(app, ["complete", str(source), "-o", str(target), *names])
        left = sorted(part.name for part in Path(folder).iterdir())
        if end.exception is not None and not isinstance(end.exception, SystemExit):
            return "lost", f"{type(end.exception).__name__}: {end.exception}"
        if end.exit_code == 0:
            return ("done", "") if left == [target.name] else ("lost", f"left {left}")
        errors = [line for line in end.stderr.splitlines() if line.startswith("error: ")]
        if end.exit_code != 2 or len(errors) != 1 or left:
            return "lost", f"code {end.exit_code}, left {left}: {end.stderr[:300]!r}"
        return ("refused with the estimate" if "takes about" in errors[0] else "ended in a sentence"), errors[0]


def write(path: Path, shape: tuple[int, ...]) -> None:
    """A file of half the cells of a tensor."""
    rng = np.random.default_rng(0)
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in shape))
    array = np.where(rng.random(shape) < 0.5, np.nan, truth + 0.1 * rng.normal(size=shape))
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".nc":
        from scipy.io import netcdf_file

        with netcdf_file(path, "w") as file:
            for name, size in zip("abc", shape, strict=True):
                file.createDimension(name, size)
            file.createVariable("v", "d", ("a", "b", "c"))[:] = array
    else:
        import pandas as pd

        seen = np.argwhere(~np.isnan(array))
        table = pd.DataFrame({**dict(zip("abc", seen.T, strict=True)), "v": array[tuple(seen.T)]})
        table.to_csv(path, index=False) if path.suffix == ".csv" else table.to_parquet(path, index=False)


# --- numbers that break -----------------------------------------------------------------------------


def measure_breaks(value: float) -> dict[str, object]:
    """One sweep of a fit leaves `value` in its factors and its loss, another one each time."""
    rng, wrong = random.Random(0), []
    with _spoiling(0, value) as ranks:
        _fitted()
    whole, able = len(ranks), [number for number, rank in enumerate(ranks, 1) if rank]
    for _ in range(BREAKS):
        at = rng.choice(able)  # a sweep that leaves components
        wrong.append(_broken(at, value))
        if wrong[-1]:
            print(f"LOST in sweep {at} of {whole}: {wrong[-1]}", flush=True)
    lost = [text for text in wrong if text]
    how = "a warning that names the fit, its last finite state kept; the search goes on to a small error"
    return record.fault([not text for text in wrong], how if not lost else f"broken: {lost[0][:200]}")


def _fitted() -> tuple[np.ndarray, float, list[str]]:
    """All predictions of a fit, its error on held-out entries, and what it warned of."""
    from rankless import TensorCompleter

    rng = np.random.default_rng(0)
    shape = (15, 12, 10)
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in shape))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        est = TensorCompleter(random_state=0, value_transform=None, n_jobs=1).fit(np.where(rng.random(shape) < 0.5, np.nan, truth))
    return est.predict(np.argwhere(np.ones(shape, bool))), est.holdout_rmse_ / truth.std(), [str(w.message) for w in said]


def _broken(at: int, value: float) -> str:
    with _spoiling(at, value):
        filled, error, said = _fitted()
    named = any("overflowed" in text for text in said)
    fine = np.isfinite(filled).all() and error < 0.1
    return "" if named and fine else f"finite {np.isfinite(filled).all()}, error {error:.2g}, said {said}"


@contextlib.contextmanager
def _spoiling(at: int, value: float) -> Iterator[list[int]]:
    """Sweep number `at` of all leaves `value`; yields the rank after every sweep."""
    from rankless.als import settle

    real, ranks = settle.sweep, []

    def sweep(entries, state, problem, workers):
        real(entries, state, problem, workers)
        ranks.append(state.rank)
        if state.rank and len(ranks) == at:
            state.stack[0, 0] = value
            state.loss = value

    settle.sweep = sweep
    try:
        yield ranks
    finally:
        settle.sweep = real
