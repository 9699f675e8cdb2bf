"""Damaged files of every format, a few of each: the campaign `readers` tries many more."""

from __future__ import annotations

import pytest
from torture import child, judge
from torture.mutate import damaged
from torture.seeds import seeds, suffixes

pytest.importorskip("pyarrow")
pytest.importorskip("h5netcdf")
pytest.importorskip("zarr")


def test_every_format_has_a_valid_file_to_damage():
    assert all(seeds(suffix) for suffix in suffixes())


def test_a_damaged_file_is_read_soundly_or_refused_in_one_line():
    files = [(suffix, content) for suffix in suffixes() for content in damaged(suffix, 12, seed=1)]
    ends = list(child.over(judge.read, files, seconds=20.0, memory=child.GIB, warm=judge.warm))
    said = [end.value or ("crashed", end.died) for end in ends]
    assert [(given[0], text) for given, (outcome, text) in zip(files, said, strict=True) if outcome == "crashed"] == []
    assert {"refused", "accepted"} == {outcome for outcome, _ in said}
