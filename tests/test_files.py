"""A file appears whole or not at all."""

from __future__ import annotations

import os

import pytest

from rankless._files import write_beside


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
