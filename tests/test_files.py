"""A file appears whole or not at all."""

from __future__ import annotations

import os
import shutil

import pytest

from rankless import _files
from rankless._files import folder_beside, write_beside


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


def test_a_folder_deleted_while_it_is_written_is_not_taken_for_whole(tmp_path):
    target = tmp_path / "out.zarr"
    with pytest.raises(FileNotFoundError, match="its folder was deleted while it was written"), folder_beside(target) as new:
        new.mkdir()
        (new / "first part").touch()
        shutil.rmtree(new.parent)
        new.mkdir(parents=True)  # as zarr does
        (new / "second part").touch()
    assert not target.exists()
