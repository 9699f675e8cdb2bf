"""Everything that rankless writes, each with two contents to choose from, for faults to strike while it is written."""

from __future__ import annotations

import hashlib
import io as streams
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rankless import complete, io
from rankless.completion import Completion
from rankless.runtime.files import PARTIAL

if TYPE_CHECKING:
    from rankless.large.answer import LargeCompletion

SHAPE = (30, 24, 20)

Write = Callable[[Path, int], object]  # into a folder, content 0 or 1


def holed(which: int) -> np.ndarray:
    """One of two arrays, half of it missing."""
    rng = np.random.default_rng(which)
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in SHAPE))
    return np.where(rng.random(SHAPE) < 0.5, np.nan, truth)


@cache
def done(which: int, source: str = "") -> Completion:
    """A fit of one of two data sets; of a file, where `source` says of what kind, so that its copy is filled."""
    data = io.load(_stored(holed(which), source, which)) if source else holed(which)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return complete(data, depth=0.0, penalty=1.0, max_rank=3, value_transform=None, experts=["components"], random_state=0)


def _stored(array: np.ndarray, source: str, which: int) -> Path:
    import xarray as xr

    path = _folder() / f"{source.replace(' ', '-')}-{which}{'.zarr' if source == 'Zarr' else '.nc'}"
    data = xr.Dataset({"t": (("x", "y", "z"), array)}, coords={"x": np.arange(len(array))})
    if source == "Zarr":
        data.to_zarr(path, zarr_format=2)
    else:
        packed = {"t": {"zlib": True, "chunksizes": (10, 8, 10)}} if source == "NetCDF" else {}  # a filled chunk needs more room
        data.to_netcdf(path, engine="scipy" if source == "old NetCDF" else "h5netcdf", encoding=packed)
    return path


@cache
def _folder() -> Path:
    path = Path(_kept.name)
    path.chmod(0o755)  # readable where a fault takes this process' rights
    return path


_kept = tempfile.TemporaryDirectory()  # removed when the process ends


def write_file(suffix: str, source: str, folder: Path, which: int) -> None:
    io.write(folder / f"out{suffix}", done(which, source))


@cache
def large(which: int) -> LargeCompletion:
    """A fit in chunks, which writes a block at a time."""
    from rankless.large import complete as complete_large

    path, seen = _folder() / f"large-{which}.parquet", np.argwhere(~np.isnan(holed(which)))
    table = pd.DataFrame(seen, columns=["x", "y", "z"]).assign(v=holed(which)[tuple(seen.T)])
    table.to_parquet(path, index=False)
    table[["x", "y", "z"]].to_csv(_folder() / "cells.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return complete_large(path, modes=["x", "y", "z"], value="v", depth=0.0, penalty=1.0, max_rank=3, random_state=0)


def _blocks(suffix: str, folder: Path, which: int) -> None:
    large(which).fill(folder / f"out{suffix}")


def _cells(suffix: str, folder: Path, which: int) -> None:
    done = large(which)
    done.write_cells(_folder() / "cells.csv", folder / f"out{suffix}")


def _page(folder: Path, which: int) -> None:
    done(which).report(folder / "out.html")


def _model(folder: Path, which: int) -> None:
    done(which).save(folder / "out.npz")


def _tensor(folder: Path, which: int) -> None:
    done(which).model.save(folder / "out.npz")


def _picture(folder: Path, which: int) -> None:
    from rankless.figures import look

    with look.house_style():
        figure, axes = look.panels(1, 1)
        axes[0, 0].plot(done(which).array()[:, 0, 0])
        look.save(figure, folder / "out")


def _numbers(folder: Path, which: int) -> None:
    from rankless.figures.outcome import write_table

    write_table(folder / "out.csv", {"x": np.arange(5000), "y": np.random.default_rng(which).normal(size=5000)})


def _claims(folder: Path, which: int) -> None:
    from rankless.figures.outcome import Claim, write_claims

    write_claims(folder / "claims.md", {"figure": [Claim("x" * 900, "here", "all", "1", str(which), True)] * 20}, quick=False)


WRITERS: dict[str, Write] = {
    **{suffix: partial(write_file, suffix, "") for suffix in io.FORMATS},
    "a filled copy of a .nc": partial(write_file, ".nc", "NetCDF"),
    "a filled copy of an old .nc": partial(write_file, ".nc", "old NetCDF"),
    "a filled copy of a .zarr": partial(write_file, ".zarr", "Zarr"),
    **{f"{suffix} by blocks": partial(_blocks, suffix) for suffix in (".zarr", ".parquet")},
    **{f"asked cells as {suffix}": partial(_cells, suffix) for suffix in (".csv", ".parquet")},
    "the page": _page,
    "Completion.save": _model,
    "CPTensor.save": _tensor,
    "a figure": _picture,
    "a figure's numbers": _numbers,
    "the claims": _claims,
}


def contents(folder: Path) -> dict[str, str]:
    """What each output in a folder holds, as a hash; the same for the same content, whenever it was written."""
    return {part.name: _content(part) for part in sorted(folder.iterdir()) if not part.name.startswith(PARTIAL)}


def exact(folder: Path) -> dict[str, bytes]:
    """Every byte below a folder."""
    return {str(part.relative_to(folder)): part.read_bytes() for part in sorted(folder.rglob("*")) if part.is_file()}


def _content(path: Path) -> str:
    if path.is_dir():
        parts = [name.encode() + b"\0" + content for name, content in exact(path).items()]
    elif path.suffix == ".npz":  # an archive holds the time at which it was written
        with zipfile.ZipFile(streams.BytesIO(path.read_bytes())) as archive:
            parts = [name.encode() + archive.read(name) for name in archive.namelist()]
    else:
        parts = [path.read_bytes()[116 if path.suffix == ".mat" else 0 :]]  # so does the head of a .mat
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
