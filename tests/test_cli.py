"""The command line: what it prints, what it writes, and the code it leaves with."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import coo_array
from typer.testing import CliRunner

from rankless.cli import app

SOURCE = Path(__file__).resolve().parent.parent / "src"


def rankless(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in this process: its imports and compiled kernels are paid once."""
    with contextlib.chdir(cwd), warnings.catch_warnings():
        warnings.simplefilter("default")  # as for a user; the tests turn warnings into errors
        run = CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    return subprocess.CompletedProcess(list(map(str, arguments)), run.exit_code, run.stdout, run.stderr)


def fresh_rankless(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rankless", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )


QUICK = ("--effort", "fast")


def assert_refused(run: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2 and one line on stderr that holds all `words`."""
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    assert run.stderr.startswith("error: ")
    assert run.stderr.count("\n") == 1, run.stderr
    for word in words:
        assert word in run.stderr


@pytest.fixture
def planted(tmp_path) -> np.ndarray:
    """A rank-2 array of 12 x 10 x 8 with half its cells hidden, in ``data.npy``; returns the truth."""
    rng = np.random.default_rng(3)
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in (12, 10, 8)))
    np.save(tmp_path / "data.npy", np.where(rng.random(truth.shape) < 0.5, truth, np.nan))
    return truth


# --- help and inspect -------------------------------------------------------------------------------


def test_help_names_every_command(tmp_path):
    run = fresh_rankless("--help", cwd=tmp_path)
    assert run.returncode == 0
    for command in ("complete", "evaluate", "inspect", "demo"):
        assert command in run.stdout


def test_inspect_says_what_is_there(tmp_path):
    array = np.array([[[0.0, 0.0], [1.0, np.nan]], [[2.0, 5.0], [3.0, np.nan]], [[np.nan] * 2] * 2])
    np.savez(tmp_path / "t.npz", tensor=array, site=np.array(["a", "b", "c"]))
    run = rankless("inspect", "t.npz", "--modes", "site, day,hour", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    facts = dict(line.split(None, 1) for line in run.stdout.splitlines())
    assert facts["shape"] == "3 site x 2 day x 2 hour"
    assert facts["observed"] == "6 of 12 cells (50.00%)"
    assert facts["labels"] == "site: a, b, c"
    assert facts["empty"] == "site: c (1 of 3 slices)"
    assert facts["zeros"].startswith("2 (33.3%), 2 of them in 1 whole runs along hour; if 0 means 'not observed'")


def test_inspect_finds_a_constant_slice_by_its_label(tmp_path):
    (tmp_path / "t.csv").write_text("sensor,day,v\nok,1,1\nok,2,2\nstuck,1,7\nstuck,2,7\n")
    run = rankless("inspect", "t.csv", "--modes", "sensor,day", "--value", "v", cwd=tmp_path)
    assert "constant  sensor: stuck (1 of 2 slices)" in run.stdout


# --- bad input: one line, exit code 2, nothing written ------------------------------------------------


@pytest.mark.parametrize("command", [("inspect",), ("evaluate",), ("complete", "-o", "out.npy")], ids=lambda c: c[0])
def test_bad_files_are_refused_in_one_line(tmp_path, command):
    assert_refused(rankless(*command, "nowhere.npy", cwd=tmp_path), "nowhere.npy: No such file")
    (tmp_path / "t.xlsx").write_text("x")
    assert_refused(rankless(*command, "t.xlsx", cwd=tmp_path), ".xlsx", ".npy, .npz, .csv, .parquet")
    (tmp_path / "t.npy").write_text("x")
    assert_refused(rankless(*command, "t.npy", cwd=tmp_path), "t.npy is cut short or is no .npy file")
    (tmp_path / "t.csv").write_text("a,b,v\n1,1,1\n")
    assert_refused(rankless(*command, "t.csv", cwd=tmp_path), "--modes a,b --value v")
    np.save(tmp_path / "empty.npy", np.full((3, 3), np.nan))
    assert_refused(rankless(*command, "empty.npy", cwd=tmp_path), "empty.npy: no observed entry in shape (3, 3)")
    assert not (tmp_path / "out.npy").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "out.xlsx"], ["'out.xlsx' has suffix '.xlsx'"]),
        (["-o", "no/out.npy"], ["the output 'no/out.npy' cannot be written: 'no' is no folder"]),
        (["-o", "data.npy"], ["the output 'data.npy' is the input"]),
        (["-o", "out.npy", "--report", "page.pdf"], ["--report 'page.pdf' has suffix '.pdf'; what is written here is .html or .htm"]),
        (["-o", "out.npy", "--report", "no/page.html"], ["--report 'no/page.html' cannot be written: 'no' is no folder"]),
        (["-o", "out.npy", "--depth", "deep"], ["--depth deep is neither auto nor a number"]),
        (["-o", "out.npy", "--depth", "-1"], ["depth=-1"]),
        (["-o", "out.npy", "--max-rank", "2.5"], ["--max-rank 2.5 is neither auto nor a whole number"]),
        (["-o", "out.npy", "--effects", "maybe"], ["--effects maybe is not known; pass auto, on, off"]),
        (["-o", "out.npy", "--network", "parafac"], ["model='parafac' is not known"]),
        (["-o", "out.npy", "--value-transform", "cube"], ["--value-transform cube is not known; pass auto, none, sqrt, log"]),
        (["-o", "out.npy", "--value-transform", "sqrt"], ["value_transform='sqrt' needs values >= 0", "are negative"]),
    ],
    ids=lambda o: " ".join(o) if isinstance(o, list) else None,
)
def test_bad_options_are_refused_in_one_line(tmp_path, planted, options, words):
    before = (tmp_path / "data.npy").read_bytes()
    assert_refused(rankless("complete", "data.npy", *options, cwd=tmp_path), *words)
    assert [p.name for p in tmp_path.iterdir()] == ["data.npy"]
    assert (tmp_path / "data.npy").read_bytes() == before


def test_a_result_larger_than_memory_is_refused_before_the_fit(tmp_path):
    lines = [",".join(f"{name}{i}" for name in "abcd") + f",{i}" for i in range(2000)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,d,v", *lines]))
    options = ["--modes", "a,b,c,d", "--value", "v"]
    for output in ("out.npy", "out.csv"):
        run = rankless("complete", "t.csv", "-o", output, *options, cwd=tmp_path)
        assert_refused(run, "shape (2000, 2000, 2000, 2000) takes", "TiB and this machine has", "predict(indices)")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_a_missing_option_is_exit_code_2(tmp_path, planted):
    assert rankless("complete", "data.npy", cwd=tmp_path).returncode == 2


def test_a_process_of_its_own_leaves_the_same_line_and_code(tmp_path):
    assert_refused(fresh_rankless("complete", "nowhere.npy", "-o", "out.npy", cwd=tmp_path), "nowhere.npy: No such file")


# --- complete ---------------------------------------------------------------------------------------


def read_array(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            return stored["tensor"]
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    return table["value"].to_numpy().reshape(12, 10, 8)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv", ".parquet"])
def test_complete_fills_the_holes_and_keeps_the_rest(tmp_path, planted, suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    effort = () if suffix == ".npy" else QUICK
    run = rankless("complete", "data.npy", "-o", f"out{suffix}", *effort, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "rank 2" in run.stdout
    assert run.stdout.endswith(f"wrote out{suffix}\n")
    filled, given = read_array(tmp_path / f"out{suffix}"), np.load(tmp_path / "data.npy")
    seen = np.isfinite(given)
    np.testing.assert_array_equal(filled[seen], given[seen])
    assert np.sqrt(np.mean((filled - planted)[~seen] ** 2)) < 0.05 * planted.std()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.npy", f"out{suffix}"]


def test_complete_is_the_same_bytes_in_another_process(tmp_path, planted):
    for name, run in (("one.npz", rankless), ("two.npz", fresh_rankless)):
        assert run("complete", "data.npy", "-o", name, "--seed", 5, *QUICK, cwd=tmp_path).returncode == 0
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert set(one) == set(two) == {"tensor", "observed"}
        assert all(one[key].tobytes() == two[key].tobytes() for key in one)
        np.testing.assert_array_equal(one["observed"], np.isfinite(np.load(tmp_path / "data.npy")))


def test_complete_answers_a_table_with_a_table(tmp_path, planted):
    given = pd.DataFrame(
        [(f"s{i}", 2000 + j, f"{k:02d}", v) for (i, j, k), v in np.ndenumerate(np.load(tmp_path / "data.npy"))],
        columns=["station", "year", "month", "rain"],
    )
    given.sample(frac=1, random_state=0).to_csv(tmp_path / "rain.csv", index=False)
    options = ["--modes", "station,year,month", "--value", "rain", *QUICK]
    run = rankless("complete", "rain.csv", "-o", "filled.csv", *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    filled = pd.read_csv(tmp_path / "filled.csv", dtype={"month": str})
    assert list(filled.columns) == ["station", "year", "month", "rain", "observed"]
    both = given.merge(filled, on=["station", "year", "month"], suffixes=("", "_filled"))
    assert len(both) == len(given) == len(filled)
    np.testing.assert_array_equal(both["observed"], both["rain"].notna())
    np.testing.assert_allclose(both["rain_filled"][both["observed"]], both["rain"][both["observed"]], rtol=1e-12)
    assert np.isfinite(filled["rain"].to_numpy()).all()


def test_a_transform_is_named_and_undone(tmp_path, planted):
    np.save(tmp_path / "amounts.npy", np.load(tmp_path / "data.npy") ** 2)
    options = ["--value-transform", "sqrt", "--depth", 0, "--penalty", 0.5, "--noise", "none", *QUICK]
    run = rankless("complete", "amounts.npy", "-o", "out.npy", *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "fitted to square roots of the values" in run.stdout
    assert np.load(tmp_path / "out.npy").min() >= 0


def test_options_fix_what_they_name(tmp_path, planted):
    options = ["--depth", 0, "--penalty", 0.5, "--max-rank", 3, "--effects", "off", "--noise", "none"]
    run = rankless("complete", "data.npy", "-o", "out.npy", *options, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "depth 0" in run.stdout


FIXED = [
    "--depth",
    0,
    "--penalty",
    0.5,
    "--max-rank",
    2,
    "--effects",
    "off",
    "--noise",
    "none",
    "--experts",
    "components,neighbours",
    "--value-transform",
    "none",
]


def test_a_tns_counted_from_zero_is_answered_with_one(tmp_path, planted):
    given = np.load(tmp_path / "data.npy")
    lines = [f"{i} {j} {k} {float(v)!r}" for (i, j, k), v in np.ndenumerate(given.tolist()) if v == v]
    (tmp_path / "data.tns").write_text("\n".join(lines))
    assert_refused(rankless("complete", "data.tns", "-o", "out.tns", cwd=tmp_path), "has coordinate 0", "--index-base 0")
    run = rankless("complete", "data.tns", "-o", "out.tns", "--index-base", 0, *FIXED, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    rows = np.loadtxt(tmp_path / "out.tns")
    assert rows[0, :3].tolist() == [0, 0, 0]
    filled, seen = rows[:, 3].reshape(given.shape), np.isfinite(given)
    np.testing.assert_array_equal(filled[seen], given[seen])


def test_of_a_sparse_matrix_absence_must_be_said(tmp_path):
    values = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 8.0))
    seen = np.random.default_rng(0).random(values.shape) < 0.8
    savemat(tmp_path / "t.mat", {"ratings": coo_array((values[seen], np.nonzero(seen)), shape=values.shape)})
    assert_refused(rankless("inspect", "t.mat", cwd=tmp_path), "missing is not zero", "--absent missing")
    run = rankless("inspect", "t.mat", "--absent", "missing", cwd=tmp_path)
    assert f"{seen.sum()} of 56 cells" in run.stdout
    run = rankless("complete", "t.mat", "-o", "out.mat", "--absent", "missing", *FIXED, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    np.testing.assert_array_equal(loadmat(tmp_path / "out.mat")["tensor"][seen], values[seen])


def test_a_page_is_written_beside_the_result(tmp_path, planted):
    run = rankless("complete", "data.npy", "-o", "out.npy", "--report", "page.html", "--max-rank", "2", *QUICK, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("wrote out.npy\nwrote page.html\n")
    assert "<title>data.npy, filled in</title>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data.npy", "out.npy", "page.html"]


# --- evaluate ---------------------------------------------------------------------------------------


def test_evaluate_prints_every_method(tmp_path, planted):
    run = rankless("evaluate", "data.npy", "--hide", 0.3, *QUICK, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in run.stdout.splitlines() if line.startswith("│")}
    assert list(rows) == ["mean", "main effects", "straight line", "CP, rank 3", "CP, rank 10", "CP, rank 30", "rankless"]
    errors = {name: float(cells[0]) for name, cells in rows.items()}
    assert errors["mean"] == pytest.approx(1.0, abs=0.05)
    assert errors["rankless"] == min(errors.values()) < 0.05
    assert rows["rankless"][3].strip() == "2"


def test_evaluate_needs_something_to_hide(tmp_path):
    np.save(tmp_path / "thin.npy", np.where(np.eye(4) > 0, 1.0 + np.arange(4.0), np.nan))
    assert_refused(rankless("evaluate", "thin.npy", cwd=tmp_path), "hide=0.2 of 4 observed entries hides none")
    np.save(tmp_path / "full.npy", np.ones((4, 4)))
    assert_refused(rankless("evaluate", "full.npy", "--hide", 1.5, cwd=tmp_path), "1.5 is not a share between 0 and 1")


# --- ctrl-C -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["rankless.completer.TensorCompleter.fit", "numpy.save"])
def test_ctrl_c_leaves_one_line_and_no_file(tmp_path, planted, monkeypatch, where):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(where, interrupt)
    result = CliRunner().invoke(app, ["complete", "data.npy", "-o", "out.npy", "--quiet"])
    assert result.exit_code == 130
    assert result.stderr == "stopped; no file was written\n"
    assert [p.name for p in tmp_path.iterdir()] == ["data.npy"]


# --- checkpoints ------------------------------------------------------------------------------------


def cut_short(folder: Path, monkeypatch) -> Path:
    """A fit of ``data.npy`` that ended while its output was written; returns its checkpoint."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rankless.io.write", interrupt)
        run = rankless("complete", "data.npy", "-o", "out.npy", "--quiet", *QUICK, "--checkpoint-every", 0, cwd=folder)
    assert (run.returncode, run.stderr) == (130, "stopped; the same command with --resume goes on from .out.npy.checkpoint\n")
    assert sorted(p.name for p in folder.iterdir()) == [".out.npy.checkpoint", "data.npy"]
    return folder / ".out.npy.checkpoint"


def test_resume_goes_on_and_says_so(tmp_path, planted, monkeypatch):
    kept = cut_short(tmp_path, monkeypatch)
    run = rankless("complete", "data.npy", "-o", "out.npy", "--quiet", *QUICK, "--resume", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "going on from .out.npy.checkpoint\n")
    assert not kept.exists()
    first = (tmp_path / "out.npy").read_bytes()
    run = rankless("complete", "data.npy", "-o", "out.npy", "--quiet", *QUICK, "--resume", cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "there is no .out.npy.checkpoint to go on from; starting afresh\n")
    assert (tmp_path / "out.npy").read_bytes() == first


def test_without_resume_a_fit_starts_afresh_and_says_so(tmp_path, planted, monkeypatch):
    kept = cut_short(tmp_path, monkeypatch)
    run = rankless("complete", "data.npy", "-o", "out.npy", "--quiet", *QUICK, cwd=tmp_path)
    assert (run.returncode, run.stderr) == (0, "starting afresh; --resume would have gone on from .out.npy.checkpoint\n")
    assert not kept.exists()


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, planted, monkeypatch):
    kept = cut_short(tmp_path, monkeypatch)
    run = rankless("complete", "data.npy", "-o", "out.npy", "--quiet", *QUICK, "--resume", "--depth", 1, cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr == (
        "going on from .out.npy.checkpoint\nerror: the checkpoint '.out.npy.checkpoint' is of a fit with another depth "
        "('auto', now 1.0); go on with what it was begun with, or delete it to start afresh\n"
    )
    assert kept.exists()
    assert_refused(rankless("complete", "data.npy", "-o", "out.npy", "--checkpoint-every", -1, cwd=tmp_path), "every=-1.0 is not a number")


def test_coverage_writes_the_ends_of_intervals(tmp_path):
    rng = np.random.default_rng(0)
    array = np.multiply.outer(np.outer(rng.normal(size=12), rng.normal(size=11)), rng.normal(size=10)) + 0.1 * rng.normal(size=(12, 11, 10))
    array[rng.random(array.shape) < 0.3] = np.nan
    np.save(tmp_path / "data.npy", array)
    options = ["--coverage", "0.8", "--depth", "0", "--penalty", "1", "--noise", "none", "--value-transform", "none", *QUICK]
    for name in ("filled.npz", "filled.csv"):
        result = rankless("complete", "data.npy", "-o", name, *options, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "filled.npz") as stored:
        lower, upper, filled, seen = (stored[name] for name in ("lower", "upper", "tensor", "observed"))
    assert (lower <= filled).all() and (filled <= upper).all()
    assert (lower < upper)[~seen].all() and (lower == upper)[seen].all()
    table = pd.read_csv(tmp_path / "filled.csv")
    np.testing.assert_allclose(table["upper"].to_numpy().reshape(upper.shape), upper)
    before = sorted(path.name for path in tmp_path.iterdir())
    for name, coverage, words in (("a.npy", "0.8", "has no place for intervals"), ("a.npz", "8", "is not a probability")):
        result = rankless("complete", "data.npy", "-o", name, "--coverage", coverage, cwd=tmp_path)
        assert result.returncode == 2 and words in result.stderr
    assert before == sorted(path.name for path in tmp_path.iterdir())


def test_evaluate_by_a_mode_shows_the_worst_slices_first(tmp_path):
    rng = np.random.default_rng(0)
    array = np.multiply.outer(np.outer(rng.normal(size=25), rng.normal(size=11)), rng.normal(size=10))
    array += np.where(np.arange(25) == 7, 2.0, 0.05)[:, None, None] * rng.normal(size=array.shape)
    np.save(tmp_path / "data.npy", array)
    result = rankless("evaluate", "data.npy", "--by", "station", "--modes", "station,day,hour", *QUICK, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    below = result.stdout.split("by station, the worst first")[1].splitlines()
    first = next(line for line in below if line.startswith("│"))
    assert first.split("│")[1].strip() == "7" and "and 5 more" in below[-1]
    assert rankless("evaluate", "data.npy", "--by", "hours", cwd=tmp_path).stderr.startswith("error: no mode 'hours'")
