"""Damaged and odd files of every format, a few of each, read whole and in chunks: the campaign `readers` tries many more."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torture import judge, readers, swapped
from torture.mutate import damaged
from torture.seeds import roles, seeds, suffixes, targets

from rankless import io

pytest.importorskip("pyarrow")
pytest.importorskip("h5netcdf")
pytest.importorskip("zarr")


def test_every_format_has_a_valid_file_to_damage():
    assert all(seeds(suffix) for suffix in targets())


def test_a_damaged_or_odd_file_is_read_soundly_or_refused_in_one_line_whole_and_in_chunks_alike():
    files = [(suffix, content) for suffix in targets() for content in damaged(suffix, 12, seed=1)]
    files += [(suffix, content) for suffix in swapped.suffixes() for content in swapped.swapped(suffix, 40, seed=1)]
    said = readers.outcomes(files)
    assert [(given[0], text) for given, (outcome, text) in zip(files, said, strict=True) if outcome == "crashed"] == []
    assert {"refused", "accepted"} == {outcome for outcome, _ in said}


def tried(suffix: str, content: bytes) -> str:
    """What is wrong with how the reader of `suffix` takes `content`: it may find it sound, or refuse it in one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"in{suffix}")
        path.write_bytes(content)
        for options in roles(suffix):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    wrong = judge.unsound(io.read(path, **options))
                outcome = "accepted"
            except (ValueError, OSError) as problem:
                outcome, text = "refused", str(problem)
                wrong = "" if len(text.splitlines()) == 1 and len(text) < judge.LONGEST and path.name in text else f"said {text!r}"
            if not wrong and io.FORMATS[suffix].chunks:
                came, text = judge.in_chunks(path, options, outcome, "")
                wrong = text if came == "crashed" else ""
            if wrong:
                return wrong
    return ""


cells = st.one_of(
    st.sampled_from(
        ["site", "day", "rain", "1", "2", "0", "-1", "1e999", "nan", "NA", "1.5", "", '"', "# index_base: 0", "1_0", "0x1", "٣"]
    ),
    st.text(max_size=3),
    st.integers(-(10**30), 10**30).map(str),
)
lines = st.lists(st.lists(cells, max_size=4), max_size=5)


@settings(max_examples=100)
@given(
    lines, st.sampled_from([",", " ", "\t", ";"]), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])
)
def test_any_text_is_a_table_or_refused_in_one_line(lines, between, ending, encoding):
    text = ending.join(between.join(line) for line in lines)
    assert tried(".csv", ("site,day,rain" + ending + text).encode(encoding)) == ""
    assert tried(".tns", text.encode(encoding)) == ""


@settings(max_examples=100)
@given(st.sampled_from(suffixes()), st.data())
def test_any_bytes_after_any_beginning_are_refused_in_one_line(suffix, data):
    whole = next(iter(data.draw(st.sampled_from(seeds(suffix))).values()))
    content = whole[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=60))
    assert tried(suffix, content) == ""
