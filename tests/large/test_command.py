"""The command line for files of any size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rankless.cli import app


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    cells = np.argwhere(rng.random((30, 20, 6)) < 0.4)
    factors = [rng.normal(size=(d, 1)) for d in (30, 20, 6)]
    values = np.einsum("ar,br,cr->abc", *factors)[tuple(cells.T)] + 0.1 * rng.normal(size=len(cells))
    table = pd.DataFrame({"site": [f"s{i}" for i in cells[:, 0]], "day": cells[:, 1] + 1, "hour": cells[:, 2], "v": values})
    table.to_csv(tmp_path / "big.csv", index=False)
    table.drop(columns="v").head(40).to_csv(tmp_path / "cells.csv", index=False)
    return table


def run(folder, *words: str):
    """A command in `folder`; returns exit code, stdout, stderr."""
    paths = [str(folder / word) if word.rsplit(".", 1)[-1] in ("csv", "npz", "parquet", "zarr", "npy") else word for word in words]
    found = CliRunner().invoke(app, paths)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout, found.stderr


KNOWN = ("--modes", "site,day,hour", "--value", "v", "--depth", "1", "--penalty", "0.3", "--quiet")


def test_cells_and_the_model_are_written(table, tmp_path):
    code, out, err = run(tmp_path, "complete", "big.csv", "-o", "out.parquet", "--cells", "cells.csv", "--model", "m.npz", *KNOWN)
    assert (code, err) == (0, "")
    assert "rank 1 found, depth 1, penalty 0.3; error 0." in out
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert float(np.corrcoef(found["v"], table["v"].head(40))[0, 1]) > 0.95
    code, out, err = run(tmp_path, "predict", "m.npz", "cells.csv", "-o", "again.csv")
    assert (code, err) == (0, "")
    assert "40 cells" in out
    np.testing.assert_allclose(pd.read_csv(tmp_path / "again.csv")["v"], found["v"])
    code, out, err = run(tmp_path, "top", "m.npz", "--at", "site=s3,hour=2", "-k", "4")
    assert (code, err) == (0, "")
    assert out.split()[:4] == ["site", "day", "hour", "v"]
    assert len(out.splitlines()) == 5


def test_all_cells_are_written_to_a_table(table, tmp_path):
    code, _, err = run(tmp_path, "complete", "big.csv", "-o", "out.parquet", "--model", "m.npz", *KNOWN)
    assert (code, err) == (0, "")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert len(found) == 30 * 20 * 6
    assert int(np.sum(found["observed"])) == len(table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-o", "out.npy"), "has suffix '.npy'; what is written here is .zarr or .parquet"),
        (("-o", "out.zarr", "--cells", "cells.csv"), "has suffix '.zarr'; what is written here is .csv or .parquet"),
        (("-o", "out.csv", "--cells", "none.csv"), "none.csv' does not exist"),
        (("-o", "big.csv", "--cells", "cells.csv"), "big.csv' is the input; choose another name"),
        (("-o", "cells.csv", "--cells", "cells.csv"), "cells.csv' is the input; choose another name"),
        (("-o", "out.csv", "--cells", "cells.csv", "--coverage", "2"), "coverage=2.0 is not a probability between 0 and 1"),
        (("-o", "out.csv", "--cells", "cells.csv", "--noise", "none"), "--noise does not go with --cells"),
        (("-o", "out.csv", "--cells", "cells.csv", "--dask", "tcp://127.0.0.1:9"), "no Dask scheduler answers at --dask tcp://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(table, tmp_path, words, message, monkeypatch):
    import distributed

    def silent(address, timeout):
        raise OSError("timed out")

    monkeypatch.setattr(distributed, "Client", silent)
    code, _, err = run(tmp_path, "complete", "big.csv", "--model", "m.npz", *words, *KNOWN)
    assert code == 2
    assert message in err
    assert len(err.splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["big.csv", "cells.csv"]


def test_a_folder_that_is_no_store_is_kept(table, tmp_path):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "thesis.txt").write_text("years of work")
    code, _, err = run(tmp_path, "complete", "big.csv", "-o", "out.zarr", "--model", "m.npz", *KNOWN)
    assert code == 2
    assert "is there and is no .zarr store; choose another name" in err
    assert (tmp_path / "out.zarr" / "thesis.txt").read_text() == "years of work"


def test_a_slice_that_is_none_is_named(table, tmp_path):
    run(tmp_path, "complete", "big.csv", "-o", "out.parquet", "--cells", "cells.csv", "--model", "m.npz", *KNOWN)
    for at, message in (("site", "--at site names no slice"), ("site=s99", "site s99 is none that was observed"), ("x=1", "no mode 'x'")):
        code, _, err = run(tmp_path, "top", "m.npz", "--at", at)
        assert code == 2
        assert message in err
