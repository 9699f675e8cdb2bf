"""Readers and writers: what comes in is what was written; what is no such file is named."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankless import io
from rankless.io import arrays, npy, tables
from rankless.tensors.observations import Observations

HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None
TABLE_SUFFIXES = [".csv", pytest.param(".parquet", marks=pytest.mark.skipif(not HAS_PYARROW, reason="pyarrow is not installed"))]

holed = hnp.arrays(
    st.sampled_from([np.float32, np.float64]),
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=4),
    elements=st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))),
).filter(lambda array: bool(np.isfinite(array).any()))

texts = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=6)


def dense(obs) -> np.ndarray:
    out = np.full(obs.shape, np.nan, obs.values.dtype)
    out[tuple(obs.coords)] = obs.values
    return out


# --- arrays ---------------------------------------------------------------------------------------


@given(holed, st.sampled_from([".npy", ".npz"]))
def test_an_array_file_is_read_as_it_was_written(array, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        arrays.write(path, array, np.isfinite(array), {})
        obs = io.read(path)
        assert [p.name for p in Path(folder).iterdir()] == [path.name]
    assert obs.values.dtype == array.dtype
    np.testing.assert_array_equal(dense(obs), array)


def test_labels_travel_in_an_npz_under_the_names_of_the_modes(tmp_path):
    path = tmp_path / "a.npz"
    names = np.array(["b", "a"], dtype=object)
    arrays.write(path, np.ones((2, 3)), np.ones((2, 3), bool), {"file": names, "month": np.arange(3)})
    obs = io.read(path, modes=["file", "month"])
    assert [obs.label(0, i) for i in range(2)] == ["b", "a"]
    assert obs.label(1, 2) == "2"
    assert io.read(path, modes=["month", "other"]).labels == (None, None), "a label array of another length is not a label"


def test_which_array_of_an_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, only=np.ones((2, 2)))
    assert io.read(path).shape == (2, 2)
    np.savez(path, other=np.ones((3, 3)), tensor=np.ones((2, 2)))
    assert io.read(path).shape == (2, 2)
    assert io.read(path, value="other").shape == (3, 3)
    assert io.read(path, value="other").value_name == "other"


def test_a_file_larger_than_its_few_entries_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(npy, "_AT_ONCE", 4096)
    path = tmp_path / "a.npy"
    big = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(500, 1000))
    big[:] = np.nan
    big[3, 7] = 2.0
    big.flush()
    obs = io.read(path)
    assert obs.indices.tolist() == [[3, 7]]


@given(holed, st.integers(1, 100), st.booleans(), st.sampled_from(["<", ">"]))
def test_pieces_join_to_the_whole_in_either_order(array, at_once, fortran, byte_order):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(npy, "_AT_ONCE", at_once)
        np.save(f"{folder}/a.npy", np.asarray(array, array.dtype.newbyteorder(byte_order), order="F" if fortran else "C"))
        read = io.read(f"{folder}/a.npy")
    whole = Observations.from_array(array)
    assert read.shape == whole.shape
    assert read.coords.tobytes() == whole.coords.tobytes()
    assert read.values.tobytes() == whole.values.astype(read.values.dtype).tobytes()


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
@given(
    st.dictionaries(
        st.tuples(texts, st.integers(-3, 12)),
        st.one_of(st.floats(-1e9, 1e9), st.just(float("nan"))),
        min_size=1,
        max_size=12,
    ).filter(lambda rows: any(np.isfinite(v) for v in rows.values()))
)
def test_a_table_file_is_read_as_it_was_written(suffix, rows):
    table = pd.DataFrame([(*key, v) for key, v in rows.items()], columns=["who", "when", "rain"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        tables.write(path, table)
        obs = io.read(path, modes=["who", "when"], value="rain")
    seen = {(str(obs.label(0, i)), int(obs.label(1, j))): v for (i, j), v in zip(obs.indices, obs.values, strict=True)}
    assert seen == {key: v for key, v in rows.items() if np.isfinite(v)}
    assert obs.shape == (len({k[0] for k in rows}), len({k[1] for k in rows})), "rows without a value still name slices"


def read_csv(tmp_path, text: str, **options):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return io.read(path, **{"modes": ["a", "b"], "value": "v", **options})


def test_labels_that_only_look_like_numbers_or_gaps_stay_as_they_are(tmp_path):
    obs = read_csv(tmp_path, "a,b,v\n007,NA,1\n7,FR,2\n10,NA,3\n")
    assert [obs.label(0, i) for i in range(obs.shape[0])] == ["007", "7", "10"], "as numbers, but two"
    assert [obs.label(1, i) for i in range(obs.shape[1])] == ["FR", "NA"]


def test_whole_numbers_sort_as_numbers(tmp_path):
    obs = read_csv(tmp_path, "a,b,v\n10,x,1\n9,x,2\n")
    assert [obs.label(0, i) for i in range(2)] == ["9", "10"]


def test_other_columns_are_left_alone_and_gaps_are_gaps(tmp_path):
    obs = read_csv(tmp_path, "junk,a,b,v\n?,1,1,NA\n?,1,2,\n?,2,1,0\n")
    assert obs.size == 1
    assert obs.values.tolist() == [0.0]
    assert obs.shape == (2, 2)


def test_duplicates_are_settled_on_request(tmp_path):
    assert read_csv(tmp_path, "a,b,v\n1,1,1\n1,1,3\n", duplicates="mean").values.tolist() == [2.0]


@pytest.mark.skipif(not HAS_PYARROW, reason="pyarrow is not installed")
def test_a_mode_that_pandas_keeps_as_index_is_a_column(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": ["x", "y"], "b": [1, 2], "v": [1.0, 2.0]}).set_index(["a", "b"]).to_parquet(path)
    assert io.read(path, modes=["a", "b"], value="v").shape == (2, 2)


def test_without_pyarrow_the_mend_is_named(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (
        lambda: io.read(tmp_path / "t.parquet", modes=["a", "b"], value="v"),
        lambda: tables.write(tmp_path / "t.parquet", pd.DataFrame({"a": [1]})),
    ):
        with pytest.raises(ValueError, match=r"needs pyarrow, which is not installed; run: pip install 'rankless\[parquet\]'"):
            call()
    assert [(p.name, p.stat().st_size) for p in tmp_path.iterdir()] == [("t.parquet", 0)]


# --- files that are not what they say ---------------------------------------------------------------


def _truncated_npy(path):
    np.save(path, np.ones((40, 40)))
    path.write_bytes(path.read_bytes()[:-50])


def _truncated_npz(path):
    np.savez(path, tensor=np.ones((40, 40)))
    path.write_bytes(path.read_bytes()[:-50])


def _corrupt_npz(path):
    np.savez_compressed(path, tensor=np.random.default_rng(0).normal(size=(40, 40)))
    data = bytearray(path.read_bytes())
    data[200:220] = bytes(20)
    path.write_bytes(bytes(data))


def _npz_inside(path):
    with open(path, "wb") as stream:
        np.savez(stream, tensor=np.ones((2, 2)))


def _npy_inside(path):
    with open(path, "wb") as stream:
        np.save(stream, np.ones((2, 2)))


def _truncated_parquet(path):
    if not HAS_PYARROW:
        pytest.skip("pyarrow is not installed")
    pd.DataFrame({"a": [1, 2], "b": [1, 2], "v": [1.0, 2.0]}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-30])


def _text(path):
    path.write_text("hello, world\n")


BROKEN = r"is cut short or is no {suffix} file"
PICKLE = r"holds Python objects \(a pickle\), which are never loaded; save numbers"


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("t.npy", _truncated_npy, BROKEN),
        ("t.npy", _npz_inside, BROKEN),
        ("t.npy", _text, BROKEN),
        ("t.npy", lambda path: path.write_bytes(b""), BROKEN),
        ("t.npy", lambda path: np.save(path, np.array([[{}, 1]], dtype=object)), PICKLE),
        ("t.npy", lambda path: path.write_bytes(b"\x80\x04}\x94."), BROKEN),
        ("t.npz", _truncated_npz, BROKEN),
        ("t.npz", _corrupt_npz, BROKEN),
        ("t.npz", _npy_inside, BROKEN),
        ("t.npz", _text, BROKEN),
        ("t.npz", lambda path: np.savez(path, tensor=np.array([[{}, 1]], dtype=object)), PICKLE),
        ("t.npz", lambda path: np.savez(path, x=np.ones((2, 2)), y=np.ones((2, 2))), r"holds 'x', 'y'; say which .* \(--value x\)"),
        ("t.npz", lambda path: np.savez(path), r"holds nothing; say which"),
        ("t.npy", lambda path: np.save(path, np.ones(4)), r"t\.npy: an array of shape \(4,\) has order 1"),
        ("t.npy", lambda path: np.save(path, np.ones((2, 2), complex)), r"t\.npy: .* dtype complex128"),
        ("t.npy", lambda path: np.save(path, np.array([["a", "b"]])), r"t\.npy: .* dtype <U1"),
        ("t.csv", lambda path: path.write_bytes(b""), BROKEN),
        ("t.csv", lambda path: path.write_bytes(b"\x93NUMPY\x00\xff\xfe"), BROKEN),
        ("t.csv", _text, r"table with columns 'hello', ' world'; say which .* \(--modes hello --value  world\)"),
        ("t.parquet", _truncated_parquet, BROKEN),
        ("t.parquet", _text, BROKEN if HAS_PYARROW else "pip install"),
    ],
)
def test_files_that_are_not_what_they_say(tmp_path, name, write, message):
    path = tmp_path / name
    write(path)
    with pytest.raises(ValueError, match=message.format(suffix=path.suffix) if message == BROKEN else message) as caught:
        io.read(path)
    assert name in str(caught.value), "the file is named"
    assert "\n" not in str(caught.value), "one line"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,a,b,v\n1,1,1,1\n", {"modes": ["a", "b"], "value": "v"}, r"column 'a' stands twice in .*t\.csv; it has .*: rename one"),
        ("a,b,v\n1,1,1\n", {"modes": None}, r"columns 'a', 'b', 'v'; say which .* modes=\['a', 'b'\], value='v' \(--modes a,b --value v\)"),
        ("a,b,v\n1,1,1\n", {"value": None}, r"say which are its modes and which its value"),
        ("a,b,v\n1,1,1\n", {"modes": ["a", "year"]}, r"no column 'year' in .*t\.csv; it has 'a', 'b', 'v'"),
        ("a,b,v\n1,1,1\n", {"value": "rain"}, r"no column 'rain' in .*t\.csv"),
        ("a,b,v\n1,1,1\n", {"modes": ["a", "v"]}, r"name a column of .*t\.csv twice"),
        ("a,b,v\n1,1,1\n", {"modes": ["a"]}, r"t\.csv: .* order 1"),
        ("a,b,v\n1,1,1\n1,,2\n", {}, r"row 2 after the header of .*t\.csv has no 'b'; fill it in or delete the row"),
        ("a,b,v\n1,1,1\n1,2,wet\n", {}, r"row 2 after the header of .*t\.csv has 'wet' for 'v', which is no number; leave the cell empty"),
        ("a,b,v\n1,1,inf\n1,2,3\n", {}, r"t\.csv: 1 infinite value"),
        ("a,b,v\n1,1,1\n1,1,2\n", {}, r"t\.csv: a 1, b 1 is given twice \(rows 0 and 1\); pass duplicates='mean'"),
        ("a,b,v\n", {}, r"t\.csv: no observed entry"),
        ('a,b,v\n1,1,1\n"1,1,2\n', {}, BROKEN.format(suffix=r"\.csv")),
        ("a;b;v\n1;1;1\n", {}, r"no column 'a' in .*t\.csv; it has 'a;b;v'\. Columns .* pandas\.read_csv\(path, sep=';'\)"),
        ("a\tb\tv\n1\t1\t1\n", {}, r"pandas\.read_csv\(path, sep='\\t'\)"),
        ('a,b,v\n1,1,"1,234.5"\n', {}, r"has '1,234\.5' for 'v', which is no number; write numbers like 1234\.5"),
        ('a,b,v\n1,1,"0,5"\n', {}, r"has '0,5' for 'v', which is no number; write numbers like 1234\.5"),
    ],
)
def test_bad_tables(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path, text, **options)


@pytest.mark.parametrize("rows", ["1,1,1,5\n1,2,2,5\n", "1,1,1,5\n1,2,2\n", "1,1,1\n1,2,2,5\n"], ids=["all", "the first", "the last"])
@pytest.mark.parametrize("more", ["", ",junk"])
def test_rows_longer_than_the_header_are_not_cut_off(tmp_path, rows, more):
    """1,5 for 1.5 would be read as 1."""
    path = tmp_path / "t.csv"
    path.write_text(f"a,b,v{more}\n" + rows.replace("\n", f"{',0' if more else ''}\n"))
    with pytest.raises(ValueError, match=r"t\.csv is cut short or is no \.csv file \(.*(Expected . fields|Length of header)"):
        io.read(path, modes=["a", "b"], value="v")


def test_a_column_without_a_name_is_called_as_pandas_does(tmp_path):
    pd.DataFrame({"b": [1, 2], "v": [0.5, 1.5]}, index=["x", "y"]).to_csv(tmp_path / "t.csv")
    obs = io.read(tmp_path / "t.csv", modes=["Unnamed: 0", "b"], value="v")
    assert obs.label(0, 1) == "y"


@pytest.mark.parametrize(("label", "reason"), [([1], "unhashable"), ({"x": 1}, "unhashable")], ids=["a list", "a record"])
def test_labels_are_texts_or_numbers(tmp_path, label, reason):
    table = pd.DataFrame({"a": [label, label], "b": [1, 2], "v": [1.0, 2.0]})
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=rf"t\.parquet: column 'a' holds no labels \({reason}.*\); pass texts or numbers"):
        io.read(tmp_path / "t.parquet", modes=["a", "b"], value="v")


def test_a_label_that_is_no_utf8_is_one_clear_error(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = pa.array([b"k\xf6ln", b"bonn"], pa.binary()).view(pa.string())  # as other programs write them
    parquet.write_table(pa.table({"a": names, "b": [1, 2], "v": [1.0, 2.0]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet is cut short or is no \.parquet file \(.*UTF8"):
        io.read(tmp_path / "t.parquet", modes=["a", "b"], value="v")


def test_names_by_the_thousand_are_not_all_told(tmp_path):
    (tmp_path / "t.csv").write_text(",".join(f"c{i}" for i in range(10_000)) + "\n")
    for options in ({}, {"modes": ["a", "b"], "value": "v"}):
        with pytest.raises(ValueError, match=r"10,000 in all") as caught:
            io.read(tmp_path / "t.csv", **options)
        assert len(str(caught.value)) < 400


def test_a_cell_of_pages_is_not_told_in_full(tmp_path):
    with pytest.raises(
        ValueError, match=r"row 1 after the header of .*t\.csv has 'xxx.*\.\.\..*xxx' for 'v', which is no number"
    ) as caught:
        read_csv(tmp_path, f"a,b,v\n1,1,{'x' * 9000}\n")
    assert len(str(caught.value)) < 400


def test_a_suffix_that_is_not_known_lists_those_that_are(tmp_path):
    with pytest.raises(ValueError, match=r"'.*rain\.xlsx' has suffix '\.xlsx'; rankless knows \.npy, \.npz, \.csv, \.parquet"):
        io.read(tmp_path / "rain.xlsx")


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match=r"no-such-file\.npy"):
        io.read("no-such-file.npy")
