"""Faults of files: what was there stays whole, and one sentence says what to do."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from rankless import io
from rankless._files import PARTIAL, check_writable, write_beside
from rankless.cli import app


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
    command = ["complete", str(table), "-o", str(tmp_path / "out.npy"), *options]
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
