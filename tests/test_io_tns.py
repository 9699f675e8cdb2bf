"""FROSTT's .tns: what is written is read back, and the first number is never guessed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filled import filled_by
from labelled_data import holed, shapes
from rankless import io


@given(shapes.flatmap(lambda shape: holed(shape, [np.float32, np.float64])), st.sampled_from([None, 0, 1]))
def test_all_cells_are_read_back_whatever_the_base(array, base):
    done = filled_by(array)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.tns"
        io.write(path, done, index_base=base)
        first = path.read_text().splitlines()[1].split()
        assert first[:-1] == ["1" if base is None else str(base)] * array.ndim
        again = io.read(path)
        assert io.read(path, index_base=1 if base is None else base).indices.tolist() == again.indices.tolist()
    assert again.shape == array.shape
    np.testing.assert_array_equal(again.values.reshape(array.shape).astype(array.dtype), done.filled)


def read(tmp_path, text: str, **options):
    path = tmp_path / "t.tns"
    path.write_text(text)
    return io.read(path, **options)


def test_a_line_an_entry_counted_from_one(tmp_path):
    obs = read(tmp_path, "# a comment\n1 1 2 1.5\n3\t2 1  0\n\n2 2 2 nan\n", modes=["a", "b", "c"], value="count")
    assert obs.shape == (3, 2, 2)
    assert obs.indices.tolist() == [[0, 0, 1], [2, 1, 0]]
    assert obs.values.tolist() == [1.5, 0.0], "0 is a value, nan is none"
    assert (obs.modes, obs.value_name) == (("a", "b", "c"), "count")


def test_counted_from_zero_on_request_or_where_the_file_says_so(tmp_path):
    lines = "0 1 1\n2 0 2\n"
    assert read(tmp_path, lines, index_base=0).shape == (3, 2)
    assert read(tmp_path, "# index_base: 0\n" + lines).shape == (3, 2)
    assert read(tmp_path, "# index_base = 1\n1 1 1\n2 1 2\n").shape == (2, 1)
    assert read(tmp_path, "1 1 1\n2 1 2\n", index_base=0).shape == (3, 2), "a slice 0 without an entry"


def test_duplicates_are_settled_on_request(tmp_path):
    assert read(tmp_path, "1 1 1\n1 1 3\n1 2 5\n", duplicates="mean").values.tolist() == [2.0, 5.0]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("1 1 1\n0 2 7\n", {}, r"entry 2 of .*t\.tns, '0 2 7', has coordinate 0, but \.tns counts from 1; pass index_base=0"),
        ("1 1 1\n-1 2 7\n", {}, r"t\.tns: indices\[1\] = \(-2, 1\) lies outside"),
        ("1 1.5 1\n", {}, r"t\.tns: indices\[0\] = \(0\.0, 0\.5\) is not made of whole numbers"),
        ("1 1 1\n1 1 2\n", {}, r"t\.tns: coordinates \(0, 0\) are given twice"),
        ("1 1 1\n1 2 3 4\n", {}, r"t\.tns is cut short or is no \.tns file .*write a line an entry"),
        ("1 1 one\n", {}, r"t\.tns is cut short or is no \.tns file"),
        ("", {}, r"t\.tns has no observed entry"),
        ("# only words\n", {}, r"t\.tns has no observed entry"),
        ("1 1 nan\n", {}, r"t\.tns: no observed entry"),
        ("1 2\n", {}, r"t\.tns: .* order 1"),
        ("3\n", {}, r"t\.tns: .* order 0"),
        ("1 1 inf\n", {}, r"t\.tns: 1 infinite value"),
        ("1 1 1\n", {"index_base": 2}, r"index_base=2 is not known; pass 1, as FROSTT counts, or 0"),
        ("# index_base: 0\n1 1 1\n", {"index_base": 1}, r"says '# index_base: 0', but index_base=1 was passed"),
        ("\x93NUMPY\x00", {}, r"t\.tns is cut short or is no \.tns file"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, text, **options)
    assert "\n" not in str(caught.value)
    assert "t.tns" in str(caught.value) or "index_base" in str(caught.value)
