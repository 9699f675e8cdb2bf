"""A file appears whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rankless.runtime import files as _files
from rankless.runtime.files import folder_beside, write_beside

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(_files.__file__).parents[2])}


def test_the_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "out.csv"
    with write_beside(target) as temporary:
        assert temporary.parent == tmp_path, "another file system could not rename"
        assert temporary.suffix == ".csv"
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("blow", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, blow):
    target = tmp_path / "out.csv"
    target.write_text("old")
    with pytest.raises(blow), write_beside(target) as temporary:
        temporary.write_text("ha")
        raise blow
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        with write_beside(tmp_path / "out.npy") as temporary:
            temporary.write_bytes(b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "out.npy").stat().st_mode & 0o777 == 0o640


def test_a_missing_folder_is_named(tmp_path):
    target = tmp_path / "no" / "out.npy"
    with pytest.raises(ValueError, match=r"folder '.*no' does not exist; create it or choose another output"), write_beside(target):
        pass


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_is_replaced_as_a_whole_or_stays(tmp_path, monkeypatch, at_once):
    if not at_once:  # what systems other than Linux can do
        monkeypatch.setattr(_files, "_exchanged", lambda *_: False)
    target = tmp_path / "out.zarr"
    for text in ("first", "second"):
        with folder_beside(target) as new:
            new.mkdir()
            (new / "part").write_text(text)
        assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]
        assert (target / "part").read_text() == text
    with pytest.raises(OSError), folder_beside(target):
        pass  # nothing was made
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]
    assert (target / "part").read_text() == "second"


WRITER = """
import sys, time
from pathlib import Path
from rankless.runtime.files import {how}
with {how}(sys.argv[1]) as new:
    {begin}
    print("begun", flush=True)
    time.sleep(600)
"""
BEGIN = {"write_beside": "new.write_text('half')", "folder_beside": "new.mkdir(); (new / 'part').write_text('half')"}


def write(how: str, target) -> None:
    with getattr(_files, how)(target) as new:
        if how == "folder_beside":
            new.mkdir()
            new = new / "part"
        new.write_text("whole")


@pytest.mark.skipif(_files.fcntl is None, reason="nothing is locked here")
@pytest.mark.parametrize("how", BEGIN)
def test_what_a_killed_writer_left_is_deleted_by_the_next_of_the_same_output_and_by_no_other(tmp_path, how):
    target = tmp_path / "out.zarr"
    kept = [tmp_path / f"{_files.PARTIAL}mine.zarr", tmp_path / "out.zarr.partial-", tmp_path / "data.npy"]
    for path in kept:
        path.write_text("of somebody else")
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER.format(how=how, begin=BEGIN[how]), target], stdout=subprocess.PIPE, env=ENVIRONMENT)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout and writer.stdout.readline() == b"begun\n"
        begun = set(tmp_path.iterdir()) - set(kept)
        assert len(begun) == 2
        write(how, target)  # both are alive
        assert set(tmp_path.iterdir()) == {*kept, *begun, target}
        writers[0].kill()
        writers[0].wait()
        write(how, tmp_path / "other.zarr")
        with pytest.raises(KeyError), getattr(_files, how)(target):
            raise KeyError
        assert begun < set(tmp_path.iterdir()), "neither another output nor a failure deletes"
        write(how, target)
        (left,) = begun & set(tmp_path.iterdir())
        assert any(part.read_text() == "half" for part in ([left] if left.is_file() else left.rglob("part")))
        writers[1].kill()
        writers[1].wait()
        write(how, target)
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert set(tmp_path.iterdir()) == {*kept, target, tmp_path / "other.zarr"}


@pytest.mark.parametrize("how", BEGIN)
def test_where_nothing_can_be_locked_it_is_written_and_nothing_is_deleted(tmp_path, how, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    if _files.fcntl is not None:
        monkeypatch.setattr(_files.fcntl, "flock", refused)
    left = tmp_path / f"{_files._beginning(tmp_path / 'out.zarr')}x.zarr"
    left.write_text("half")
    write(how, tmp_path / "out.zarr")
    assert set(tmp_path.iterdir()) == {left, tmp_path / "out.zarr"}


def test_a_folder_deleted_while_it_is_written_is_not_taken_for_whole(tmp_path):
    target = tmp_path / "out.zarr"
    with pytest.raises(FileNotFoundError, match="its folder was deleted while it was written"), folder_beside(target) as new:
        new.mkdir()
        (new / "first part").touch()
        shutil.rmtree(new.parent)
        new.mkdir(parents=True)  # as zarr does
        (new / "second part").touch()
    assert not target.exists()
