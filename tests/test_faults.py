"""Faults of files: what was there stays whole, and one sentence says what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import sys

import numpy as np
import pytest
from torture import child, files
from typer.testing import CliRunner

from rankless import io
from rankless.cli import app
from rankless.runtime.files import PARTIAL, check_writable, write_beside
from rankless.runtime.journal import Journal


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def table(tmp_path):
    array = np.add.outer(np.arange(6.0), np.arange(5.0))
    array[1, 2] = np.nan
    np.save(tmp_path / "in.npy", array)
    return tmp_path / "in.npy"


def test_a_full_disk_leaves_the_earlier_output_and_names_it(tmp_path):
    target = tmp_path / "out.npy"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left") as caught, write_beside(target):
        full_disk()
    assert caught.value.filename == str(target)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    ("options", "text"), [(["--checkpoint-every", "1000"], "run the command again"), (["--checkpoint-every", "0"], "--resume goes on from")]
)
def test_a_fit_whose_output_cannot_be_written_says_how_to_go_on(tmp_path, table, monkeypatch, options, text):
    command = ["complete", str(table), "-o", str(tmp_path / "out.npy"), "--quiet", *options]
    with monkeypatch.context() as patch:
        patch.setattr(io, "write", full_disk)
        end = CliRunner().invoke(app, command)
    assert end.exit_code == 2
    assert len(end.stderr.splitlines()) == 1
    assert "No space left" in end.stderr
    assert text in end.stderr
    assert (tmp_path / ".out.npy.checkpoint").exists() == ("--resume" in text)
    if "--resume" in text:
        assert CliRunner().invoke(app, [*command, "--resume"]).exit_code == 0
        assert np.isfinite(np.load(tmp_path / "out.npy")).all()


def test_an_input_cut_short_is_one_clear_error(table):
    os.truncate(table, os.path.getsize(table) - 8)
    with pytest.raises(ValueError, match=r"in\.npy is cut short"):
        io.read(table)


def test_what_a_killed_run_left_is_no_input(tmp_path, table):
    left = table.rename(tmp_path / f"{PARTIAL}x.npy")
    with pytest.raises(ValueError, match="what a stopped run left"):
        io.read(left)


def test_a_name_too_long_is_refused_before_the_fit(tmp_path):
    with pytest.raises(OSError, match="too long"):
        check_writable(tmp_path / ("x" * 300 + ".npy"))


def test_a_disk_that_fills_up_under_a_checkpoint_costs_what_comes_after(tmp_path):
    """Closing it, with what could not be written still at hand, once ended the fit."""
    path, number = tmp_path / "journal", np.arange(100)
    with pytest.raises(KeyError), contextlib.ExitStack() as until_closed, Journal(path, every=0) as journal:
        journal.begin({})
        for step in range(3):
            journal.recall("step", [step], lambda step=step: {"x": number + step})
            size = path.stat().st_size
        until_closed.enter_context(files.full(size + 500))
        with pytest.warns(UserWarning, match="the fit goes on without"):
            assert journal.recall("step", [3], lambda: {"x": number + 3})["x"][0] == 3
        raise KeyError
    with Journal(path) as journal:
        journal.begin({})
        for step in range(4):
            assert journal.recall("step", [step], lambda step=step: {"x": number + step})["x"][0] == step
        assert journal.handed_back == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the campaign asks Linux for limits")
def test_a_full_disk_a_lost_folder_and_a_kill_at_their_worst():
    """Where something was lost once; the campaign `files` has all writers and more moments."""
    pytest.importorskip("h5netcdf")
    pytest.importorskip("zarr")
    given = [
        (files.with_a_limit, ".npy"),  # a stream of NumPy's, whose last error nobody heard
        (files.with_a_limit, ".nc"),  # ended the process
        (files.with_a_limit, "a filled copy of a .nc"),
        (files.with_a_limit, "a filled copy of a .zarr"),
        (files.folder_gone, ".zarr"),  # made anew by the library, without what was in it
        (files.killed_at_calls, ".zarr"),  # between two renamings
    ]
    ends = list(child.over(files.suffered, given, seconds=120.0, memory=4 * child.GIB, warm=files.listen))
    assert [end.died or [wrong for wrong in end.value if wrong] for end in ends] == [[]] * len(given)
    assert all(len(end.value) >= 6 for end in ends)
