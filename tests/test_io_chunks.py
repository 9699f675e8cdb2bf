"""A file read in chunks holds what it holds when read as a whole."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rankless
from rankless.als.entries import Entries
from rankless.io.chunks import Scan, cells, scan
from rankless.tensors.observations import Observations


def whole(scanned: Scan) -> Observations:
    """All entries as `Observations`, for a test."""
    parts = list(scanned.chunks.read())
    coords = np.concatenate([coords for coords, _ in parts], axis=1)
    values = np.concatenate([values for _, values in parts])
    options: dict[str, Any] = {"modes": scanned.modes, "labels": scanned.labels, "value_name": scanned.value_name}
    return Observations.from_indices(coords.T, values, shape=scanned.shape, **options)


def assert_whole(path, rows: int, **options) -> None:
    """`scan` in chunks against `read`."""
    read, scanned = rankless.read(path, **options), scan(path, rows=rows, **options)
    found = whole(scanned)
    assert (found.shape, found.modes, found.value_name) == (read.shape, read.modes, read.value_name)
    np.testing.assert_array_equal(found.coords, read.coords)
    np.testing.assert_array_equal(found.values, read.values)
    for one, two in zip(found.labels, read.labels, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    for mode in range(read.order):
        np.testing.assert_array_equal(scanned.chunks.counts[mode], read.counts(mode))
    again = pickle.loads(pickle.dumps(scanned.chunks))  # as it goes to another machine
    assert sum(len(values) for _, values in again.read()) == read.size == scanned.size


LABELS = {
    "numbers": st.integers(-3, 40),
    "large": st.integers(10**12, 10**12 + 9),
    "letters": st.sampled_from(["Ä", "b", "007", "7", "NA", "x y"]),
    "digits": st.sampled_from(["10", "9", "1"]),
    "days": st.sampled_from(list(pd.date_range("2020-01-30", periods=5))),
    "halves": st.sampled_from([0.5, 1.0, -2.5]),
}


@st.composite
def tables(draw) -> pd.DataFrame:
    kinds = draw(st.lists(st.sampled_from(sorted(LABELS)), min_size=2, max_size=3))
    rows = draw(st.lists(st.tuples(*(LABELS[kind] for kind in kinds)), min_size=1, max_size=25, unique=True))
    values = draw(st.lists(st.one_of(st.just(np.nan), st.floats(-1e6, 1e6)), min_size=len(rows), max_size=len(rows)))
    values[0] = 1.5
    table = pd.DataFrame(rows, columns=[f"m{n}" for n in range(len(kinds))])
    return table.assign(other=1, v=values)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@settings(max_examples=40, deadline=None)
@given(table=tables(), rows=st.integers(1, 30))
def test_a_table_of_any_labels(tmp_path_factory, suffix, table, rows):
    path = tmp_path_factory.mktemp("t") / f"t{suffix}"
    table.to_parquet(path) if suffix == ".parquet" else table.to_csv(path, index=False)
    assert_whole(path, rows, modes=[c for c in table if c.startswith("m")], value="v")


def test_labels_that_outgrow_the_table_of_numbers(tmp_path):
    table = pd.DataFrame({"a": [3, 1, 10**10, 1], "b": [0, 1, 0, 0], "v": [1.0, 2.0, 3.0, np.nan]})
    table.to_parquet(tmp_path / "t.parquet")
    for rows in (1, 2, 4):
        assert_whole(tmp_path / "t.parquet", rows, modes=["a", "b"], value="v")


@pytest.mark.parametrize("base", [0, 1])
def test_lines_of_a_tns(tmp_path, base):
    path = tmp_path / "t.tns"
    lines = [f"{i + base} {j + base} {k + base} {i - j + 0.5}" for i, j, k in [(0, 3, 1), (2, 0, 0), (4, 1, 1), (0, 0, 2)]]
    path.write_text(f"# index_base: {base}\n" + "\n".join(lines) + "\n\n# the end\n")
    for rows in (1, 3, 100):
        assert_whole(path, rows)
    assert scan(path, modes=["x", "y", "z"]).modes == ("x", "y", "z")


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
@pytest.mark.parametrize("rows", [1, 13, 10_000])
def test_blocks_of_a_labelled_array(tmp_path, suffix, rows):
    xr = pytest.importorskip("xarray")
    values = np.random.default_rng(0).normal(size=(6, 4, 3))
    values[np.random.default_rng(1).random(values.shape) < 0.4] = np.nan
    coords = {"day": pd.date_range("2020-01-01", periods=6), "site": list("abcd")}
    data = xr.DataArray(values, dims=("day", "site", "hour"), coords=coords, name="rain")
    path = tmp_path / f"t{suffix}"
    data.to_dataset().to_zarr(path, zarr_format=2) if suffix == ".zarr" else data.to_netcdf(path)
    assert_whole(path, rows)
    two = data.to_dataset().assign(snow=data)
    two.to_zarr(path, mode="w", zarr_format=2) if suffix == ".zarr" else two.to_netcdf(path)
    with pytest.raises(ValueError, match=r"it holds 2 variables, and one is read in blocks; pass value='(rain|snow)' or another"):
        scan(path)
    assert scan(path, value="snow").value_name == "snow"


def test_entries_are_those_of_the_file(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.integers(0, 50, 400), "b": rng.choice(list("xyz"), 400), "c": rng.integers(0, 9, 400)})
    table = table.drop_duplicates().assign(v=1.5).sample(frac=1.0, random_state=0)
    table["v"] = rng.normal(size=len(table))
    table.to_parquet(tmp_path / "t.parquet")
    options = {"modes": ["a", "b", "c"], "value": "v"}
    entries, obs = (
        Entries.collected(scan(tmp_path / "t.parquet", rows=50, **options).chunks),
        rankless.read(tmp_path / "t.parquet", **options),
    )
    expected = Entries(obs)
    for one, two in zip(entries.modes, expected.modes, strict=True):
        np.testing.assert_array_equal(one.keys, two.keys)
        np.testing.assert_array_equal(one.values, two.values)


def write(path, **columns) -> None:
    pd.DataFrame(columns).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2], "b": [1, np.nan], "v": [1.0, 2.0]}, r"row 2 after the header of .* has no 'b'; fill it in"),
        ({"a": [1, 2], "b": [1, 2], "v": ["1", "x"]}, r"row 2 after the header of .* has 'x' for 'v', which is no number"),
        ({"a": [1, 2], "b": [1, 2], "v": [1.0, np.inf]}, r"holds an infinite value in row 1; leave it empty"),
        ({"a": [1, 2], "b": [1, 2], "v": [np.nan, np.nan]}, r"has no observed entry"),
        ({"a": [1, 2], "c": [1, 2], "v": [1.0, 2.0]}, r"no column 'b' in"),
    ],
)
def test_bad_tables_are_named(tmp_path, columns, message):
    write(tmp_path / "t.csv", **columns)
    for rows in (1, 10):
        with pytest.raises(ValueError, match=message):
            scan(tmp_path / "t.csv", modes=["a", "b"], value="v", rows=rows)


def test_other_bad_input_is_named(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    with pytest.raises(
        ValueError, match=r"is read as a whole, not in chunks; these are read in chunks: \.csv, \.parquet, \.nc, \.zarr, \.tns$"
    ):
        scan(tmp_path / "a.npy")
    (tmp_path / "t.tns").write_text("1 1 2.0\n0 1 3.0\n")
    with pytest.raises(ValueError, match=r"entry 2 of .*, '0 1 3', has coordinate 0, but \.tns counts from 1"):
        scan(tmp_path / "t.tns")
    (tmp_path / "t.tns").write_text("1 1.5 2.0\n")
    with pytest.raises(ValueError, match=r"entry 1 of .* has coordinate .*1\.5.*, no whole number"):
        scan(tmp_path / "t.tns")
    (tmp_path / "t.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ValueError, match=r"is cut short or is no \.parquet file"):
        scan(tmp_path / "t.parquet", modes=["a", "b"], value="v")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 1 1 2.0\n2 1 3.0\n", r"entry 2 of .* has fewer numbers than the first"),  # pandas fills up with nothing, which is no NaN
        ("1 1 2.0\n1 2 2.0\n2 1\n", r"entry 3 of .* has fewer numbers than the first"),
        ("1 inf 2.0\n", r"entry 1 of .* has coordinate inf, no whole number"),
        ("1 1e999 2.0\n", r"entry 1 of .* has coordinate inf, no whole number"),
        ("1 1 2.0\n1 3000000000 2.0\n", r"entry 2 of .* has coordinate 3000000000, beyond 2147483647"),
        ("1 1 NA\n", r"could not convert string to float: 'NA'"),
    ],
)
def test_lines_that_are_none_are_named(tmp_path, text, message):
    (tmp_path / "t.tns").write_text(text)
    for rows in (1, 10):
        with pytest.raises(ValueError, match=message):
            list(scan(tmp_path / "t.tns", rows=rows).chunks.read())
    with pytest.raises(ValueError, match=r"t\.tns"):
        rankless.read(tmp_path / "t.tns")


def test_columns_that_are_no_numbers_or_no_labels_are_refused_as_they_are_as_a_whole(tmp_path):
    path, days = tmp_path / "t.parquet", pd.date_range("2020-01-01", periods=3)
    good = {"a": [1, 2, 3], "b": list("xyz"), "v": [1.0, 2.0, 3.0]}
    for name, column, message in [
        ("v", days, r"column 'v' holds dates; pass numbers, NaT as NaN"),
        ("v", pd.to_timedelta([1, 2, 3], unit="s"), r"column 'v' holds durations; pass them as numbers, NaT as NaN"),
        ("v", ["1", "2", "3"], r"column 'v' has dtype"),
        ("b", [[1], [2], [3]], r"column 'b' .*holds no labels"),
        ("b", [{"x": 1}, {"x": 2}, {"x": 3}], r"column 'b' .*holds no labels"),
    ]:
        pd.DataFrame({**good, name: column}).to_parquet(path)
        for read in (rankless.read, scan):
            with pytest.raises(ValueError, match=message):
                read(path, modes=["a", "b"], value="v")


def test_truth_values_among_numbers_are_refused_wherever_chunks_end(tmp_path):
    for values in (["1", "true"], ["true", "0.5"], ["", "true", "False", "2"]):
        write(tmp_path / "t.csv", a=np.arange(len(values)), b=list("xyzu")[: len(values)], v=values)
        for rows in (1, 2, 10):
            with pytest.raises(ValueError, match=r"true|False"):
                scan(tmp_path / "t.csv", modes=["a", "b"], value="v", rows=rows)
    write(tmp_path / "t.csv", a=[1, 2, 3], b=list("xyz"), v=["true", "", "False"])
    for rows in (1, 2, 10):
        assert_whole(tmp_path / "t.csv", rows, modes=["a", "b"], value="v")


def test_a_label_called_nan_is_a_text(tmp_path):
    write(tmp_path / "t.csv", a=["nan", "1.0", "2.0"], b=["inf", "1.0", "1.0"], v=[1.0, 2.0, 3.0])
    assert_whole(tmp_path / "t.csv", 2, modes=["a", "b"], value="v")
    labels = scan(tmp_path / "t.csv", modes=["a", "b"], value="v").labels
    assert [None if label is None else label.tolist() for label in labels] == [["1.0", "2.0", "nan"], ["1.0", "inf"]]


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_variables_that_are_no_numbers_or_hold_a_mark_are_refused_in_blocks_too(tmp_path, suffix):
    xr = pytest.importorskip("xarray")
    path, values = tmp_path / f"t{suffix}", np.arange(6.0).reshape(3, 2)
    for field, message in [
        (np.where(values == 5, 9.969209968386869e36, values), r"holds 9\.97e\+36, NetCDF's mark of what was never written"),
        (np.where(values == 5, 2**53 + 1, values.astype(np.int64)), r"whole numbers beyond 2\*\*53"),
        (values.astype("datetime64[ns]"), r"variable 'v' holds dates; pass numbers, NaT as NaN"),
    ]:
        if suffix == ".zarr" and "never" in message:
            continue  # it names what was never written itself
        data = xr.Dataset({"v": (("a", "b"), field)})
        encoding = {"v": {"_FillValue": None}} if field.dtype.kind == "f" else {}
        data.to_zarr(path, mode="w", zarr_format=2) if suffix == ".zarr" else data.to_netcdf(path, encoding=encoding)
        for read in (rankless.read, lambda path: scan(path, rows=2)):
            with pytest.raises(ValueError, match=message):
                read(path)
    xr.Dataset({"v": (("a", "b"), values)}).to_netcdf(tmp_path / "u.nc")
    assert scan(tmp_path / "u.nc", modes=["a", "b"]).modes == rankless.read(tmp_path / "u.nc", modes=["a", "b"]).modes
    with pytest.raises(ValueError, match=r"u\.nc.*names its modes itself, \(a, b\)"):
        scan(tmp_path / "u.nc", modes=["b", "a"])


def test_a_label_that_is_no_utf8_is_one_clear_error(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = pa.array([b"k\xf6ln", b"bonn"], pa.binary()).view(pa.string())  # as other programs write them
    parquet.write_table(pa.table({"a": names, "b": [1, 2], "v": [1.0, 2.0]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet is cut short or is no \.parquet file \(.*UTF8"):
        scan(tmp_path / "t.parquet", modes=["a", "b"], value="v")


def test_cells_to_fill_are_read_in_the_order_of_the_modes(tmp_path):
    write(tmp_path / "cells.csv", site=[9, 10], other=[0, 0], day=["tue", "mon"])
    parts = list(cells(tmp_path / "cells.csv", ["day", "site"], rows=1))
    assert [[str(one.iloc[0]) for one in columns] for columns in parts] == [["tue", "9"], ["mon", "10"]]
    with pytest.raises(ValueError, match=r"no column 'week' in .*cells\.csv; it has 'site', 'other', 'day'"):
        list(cells(tmp_path / "cells.csv", ["day", "week"]))
    (tmp_path / "cells.tns").write_text("1 1 1.0\n")
    with pytest.raises(ValueError, match=r"has suffix '\.tns'; a table of cells is a \.csv or \.parquet"):
        list(cells(tmp_path / "cells.tns", ["day", "week"]))
