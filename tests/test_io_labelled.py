"""NetCDF and Zarr: the holes are filled and nothing else changes, to the last attribute and stored number."""

from __future__ import annotations

import pickle
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from filled import filled_by, labels_of
from labelled_data import holed
from rankless import io
from rankless.cli import app

xr = pytest.importorskip("xarray")
h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")

PACKED: dict[str, Any] = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 5.0, "_FillValue": np.int16(-32768)}
WAYS = ["netcdf4", "netcdf3", "zarr2", "zarr3"]


def put(data, folder: Path, way: str) -> Path:
    """Write a Dataset in one of the formats."""
    path = folder / ("in.nc" if way.startswith("netcdf") else "in.zarr")
    if way == "netcdf4":
        data.to_netcdf(path, engine="h5netcdf")
    elif way == "netcdf3":
        data.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zarr has no final word yet on texts in its third format
            data.to_zarr(path, zarr_format=int(way[-1]), consolidated=way == "zarr2")
    return path


def engine(path: Path) -> dict[str, Any]:
    """How xarray is to open a file."""
    if path.is_dir():
        return {"engine": "zarr", "consolidated": False, "chunks": None}
    return {"engine": "h5netcdf" if path.read_bytes()[:4] == b"\x89HDF" else "scipy"}


def stored(path: Path):
    """A file as it is stored."""
    with xr.open_dataset(path, decode_cf=False, **engine(path)) as data:
        return data.load()


def weather(values: np.ndarray):
    days = pd.date_range("2020-02-27", periods=values.shape[0])
    data = xr.Dataset(
        {
            "t": (("time", "site"), values, {"units": "degC", "long_name": "température"}),
            "other": (("time",), np.arange(len(days)), {"note": "not filled"}),
        },
        coords={
            "time": ("time", days, {"axis": "T"}),
            "site": ("site", [f"s{i}" for i in range(values.shape[1])]),
            "height": ("site", np.linspace(1, 2, values.shape[1]), {"units": "m"}),
        },
        attrs={"title": "holes", "history": "made"},
    )
    data.time.encoding = {"units": "hours since 1999-12-31", "calendar": "proleptic_gregorian", "dtype": "int32"}
    return data


# --- the holes filled, nothing else changed -----------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=12)
@given(
    holed((4, 3), [np.float32, np.float64]),
    st.sampled_from([{}, PACKED, {"dtype": "int8", "_FillValue": np.int8(3)}, {"_FillValue": -9.0}, {"_FillValue": np.nan}]),
    st.sampled_from([{}, {"zlib": True, "complevel": 5, "shuffle": True, "chunksizes": (2, 3)}]),
)
def test_the_holes_are_filled_and_nothing_else_changes(way, values, packing, compression):
    step = packing.get("scale_factor", 1.0 if "dtype" in packing else 0.0)
    values = np.clip(values, -300, 300) if packing is PACKED else np.where(values == 3, 4, np.clip(values, -100, 100))
    data = weather(values)
    data.t.encoding = packing | (compression if way == "netcdf4" else {})
    with tempfile.TemporaryDirectory() as folder:
        path = put(data, Path(folder), way)
        came = stored(path)
        before = path.read_bytes() if path.is_file() else None
        given = io.load(path, value="t")
        target = path.with_stem("out")
        io.write(target, filled_by(given))
        went = stored(target)
        assert sorted(p.name for p in Path(folder).iterdir()) == sorted([path.name, target.name])
        assert before is None or path.read_bytes() == before
        if way == "netcdf4":
            assert described(path) == described(target)
        again = io.read(target, value="t")
    holes = np.ones(values.shape, bool)
    holes[tuple(given.observations.coords)] = False
    expected = came.copy(deep=True)
    expected.t.values[holes] = went.t.values[holes]
    xr.testing.assert_identical(went, expected)
    for name, variable in went.variables.items():
        assert variable.dtype == came[name].dtype
        assert repr({**variable.encoding, "source": 0}) == repr({**came[name].encoding, "source": 0})
    assert again.size == values.size, "no fill is read as missing"
    filled = np.full(values.shape, np.nan)
    filled[tuple(again.coords)] = again.values
    wanted = np.add.outer(np.arange(4), np.arange(3)) + 0.25
    off_mark = step if packing.get("_FillValue") == 3 else 0.5 * step
    np.testing.assert_allclose(filled[holes], wanted[holes], rtol=1e-6, atol=off_mark + 1e-9)


def described(path: Path) -> dict[str, Any]:
    """All that HDF5 keeps of a file but the numbers themselves."""
    found: dict[str, Any] = {}

    def look(name, part):
        attributes = {key: (np.asarray(value).dtype, repr(value)) for key, value in part.attrs.items() if "_LIST" not in key}
        filters = [getattr(part, key, None) for key in ("dtype", "chunks", "compression", "compression_opts", "shuffle", "maxshape")]
        found[name] = attributes, filters

    with h5py.File(path) as file:
        file.visititems(look)
    return found


def test_groups_unlimited_dimensions_and_grid_mappings_stay(tmp_path):
    data = weather(np.array([[1.0, np.nan], [2.0, 3.0]]))
    data["crs"] = ((), 0, {"grid_mapping_name": "latitude_longitude"})
    data["time_bnds"] = (("time", "n"), np.ones((2, 2)))
    data.t.attrs["grid_mapping"] = "crs"
    data.time.attrs["bounds"] = "time_bnds"
    data = data.drop_vars("other")
    data.encoding["unlimited_dims"] = ["time"]
    put(data, tmp_path, "netcdf4")
    data.to_netcdf(tmp_path / "in.nc", mode="a", group="deeper", engine="h5netcdf")
    before = described(tmp_path / "in.nc")
    io.write(tmp_path / "out.nc", filled_by(io.load(tmp_path / "in.nc")))
    assert described(tmp_path / "out.nc") == before
    assert "deeper/t" in before
    assert before["t"][1][-1] == (None, 2)
    with xr.open_dataset(tmp_path / "out.nc", group="deeper", engine="h5netcdf") as deeper:
        assert np.isnan(deeper.t.values[0, 1]), "another group is another data set"


def test_several_variables_each_packed_its_own_way(tmp_path):
    data = weather(np.array([[1.0, np.nan], [2.0, 3.0]])).drop_vars("other")
    data["r"] = data.t.T * 100
    data.t.encoding, data.r.encoding = PACKED, {"dtype": "float32", "_FillValue": np.float32(-1)}
    path = put(data, tmp_path, "netcdf4")
    given = io.load(path)
    assert given.observations.shape == (2, 2, 2)
    io.write(tmp_path / "out.nc", filled_by(given, lambda indices: np.zeros(len(indices))))
    out = stored(tmp_path / "out.nc")
    assert out.t.values[0, 1] == round((2.0 - 5.0) / 0.01), "the mean of the variable, where the fit says nothing"
    assert out.r.values[1, 0] == 200.0


def test_unsigned_numbers_in_a_signed_type(tmp_path):
    raw = xr.Dataset({"t": (("a", "b"), np.array([[1, -1], [-6, 0]], np.int8), {"_Unsigned": "true", "_FillValue": np.int8(-1)})})
    path = put(raw, tmp_path, "netcdf4")
    given = io.load(path)
    assert given.observations.values.tolist() == [1.0, 250.0, 0.0]
    io.write(tmp_path / "out.nc", filled_by(given, lambda indices: np.full(len(indices), 900.0)))
    assert stored(tmp_path / "out.nc").t.values.tolist() == [[1, -2], [-6, 0]], "254: 255 marks what is missing"


def test_a_calendar_that_needs_what_is_not_installed_leaves_times_as_numbers(tmp_path, monkeypatch):
    data = weather(np.array([[1.0, np.nan], [2.0, 3.0]]))
    path = put(data, tmp_path, "netcdf4")
    with h5py.File(path, "r+") as file:
        file["time"].attrs["calendar"] = "noleap"
    given = io.load(path, value="t")
    io.write(tmp_path / "out.nc", filled_by(given))
    assert described(path) == described(tmp_path / "out.nc")


# --- from one format to another ---------------------------------------------------------------------


@pytest.mark.parametrize("target", ["out.nc", "out.zarr"])
@pytest.mark.parametrize("way", WAYS)
def test_all_the_rest_goes_along_into_another_format(tmp_path, way, target):
    data = weather(np.array([[1.0, np.nan], [2.0, 3.0]]))
    io.write(tmp_path / target, filled_by(io.load(put(data, tmp_path, way), value="t")))
    with xr.open_dataset(tmp_path / target, **engine(tmp_path / target)) as out:
        data.t.values[0, 1] = 1.25
        xr.testing.assert_identical(out.load().assign_coords(site=out.site.astype(str)), data.assign_coords(site=data.site.astype(str)))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_has_no_file_becomes_one(tmp_path, suffix):
    labels = [np.array(["a", "b"], dtype=object), np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")]
    obs = io.Observations.from_array([[1.0, np.nan], [2.0, 3.0]], modes=["site", "day"], labels=labels, value_name="rain")
    path = tmp_path / f"out{suffix}"
    io.write(path, filled_by(obs))
    again = io.read(path)
    assert (again.modes, again.value_name) == (("site", "day"), "rain")
    assert [labels_of(again, mode) for mode in range(2)] == [label.tolist() for label in labels]
    assert again.values.tolist() == [1.0, 1.25, 2.0, 3.0]
    if suffix == ".zarr":
        io.write(path, filled_by(obs, lambda indices: np.zeros(len(indices))))
        assert io.read(path).values.tolist() == [1.0, 0.0, 2.0, 3.0], "a store that is there is replaced"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("came", ["array", "set"])
def test_what_xarray_holds_is_written_with_its_attributes(tmp_path, came):
    data = weather(np.array([[1.0, np.nan], [2.0, 3.0]])).drop_vars("other")
    io.write(tmp_path / "out.nc", filled_by(data.t if came == "array" else data))
    with xr.open_dataset(tmp_path / "out.nc", engine="h5netcdf") as out:
        assert out.t.attrs == data.t.attrs
        assert out.t.values[0, 1] == 1.25
        assert out.time.encoding["units"] == "hours since 1999-12-31"


# --- the command line -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_complete_weather_nc(tmp_path, suffix, monkeypatch):
    rng = np.random.default_rng(0)
    truth = np.outer(rng.normal(size=12) + 3, rng.normal(size=9) + 3)
    data = weather(np.where(rng.random(truth.shape) < 0.8, truth, np.nan))
    data.t.encoding = PACKED
    path = put(data, tmp_path, "netcdf4" if suffix == ".nc" else "zarr3")
    monkeypatch.chdir(tmp_path)
    fixed = [
        "--depth",
        "0",
        "--penalty",
        ".01",
        "--max-rank",
        "1",
        "--effects",
        "off",
        "--noise",
        "none",
        "--experts",
        "components,neighbours",
        "--value-transform",
        "none",
    ]
    assert "differ in dims" in CliRunner().invoke(app, ["complete", path.name, "-o", f"out{suffix}", *fixed]).stderr
    run = CliRunner().invoke(app, ["complete", path.name, "-o", f"out{suffix}", "--value", "t", *fixed])
    assert run.exit_code == 0, run.stderr
    filled = io.read(tmp_path / f"out{suffix}", value="t")
    assert np.sqrt(np.mean((filled.values.reshape(truth.shape) - truth) ** 2)) < 0.1 * truth.std()
    facts = CliRunner().invoke(app, ["inspect", path.name, "--value", "t"]).stdout
    assert "12 time x 9 site" in facts


# --- what is refused --------------------------------------------------------------------------------


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _text(path: Path) -> None:
    path.write_text("hello")


@pytest.mark.parametrize("damage", [_cut, _text, lambda path: path.write_bytes(b"")], ids=["cut short", "text", "empty"])
def test_a_broken_netcdf_file_is_named(tmp_path, damage):
    path = put(weather(np.ones((3, 2))), tmp_path, "netcdf4")
    damage(path)
    with pytest.raises(ValueError, match=r"in\.nc is cut short or is no \.nc file .*write it again with xarray") as caught:
        io.read(path, value="t")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mark_that_the_file_does_not_name_is_pointed_out(tmp_path, dtype):
    data = weather(np.array([[1.0, 9.969209968386869e36], [2.0, 3.0]], dtype))
    data.t.encoding = {"_FillValue": None}
    with pytest.raises(ValueError, match=r"in\.nc: variable 't' holds 9\.97e\+36, NetCDF's mark of what was never written, as a value"):
        io.read(put(data, tmp_path, "netcdf4"), value="t")
    data.t.encoding = {"_FillValue": dtype(9.969209968386869e36)}
    assert io.read(put(data, tmp_path, "netcdf4"), value="t").size == 3


@pytest.mark.parametrize("way", ["zarr2", "zarr3"])
def test_a_broken_store_is_named(tmp_path, way):
    path = put(weather(np.ones((3, 2))), tmp_path, way)
    for name in ("zarr.json", ".zgroup", ".zmetadata"):
        (path / name).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"in\.zarr is cut short or is no \.zarr file"):
        io.read(path, value="t")
    (tmp_path / "file.zarr").write_text("no folder")
    with pytest.raises(ValueError, match=r"file\.zarr is cut short or is no \.zarr file"):
        io.read(tmp_path / "file.zarr")


def test_a_piece_cut_short_is_named(tmp_path):
    path = put(weather(np.ones((3, 2))), tmp_path, "zarr3")
    for piece in (part for part in (path / "t" / "c").rglob("*") if part.is_file()):
        piece.write_bytes(piece.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"in\.zarr is cut short or is no \.zarr file"):
        io.read(path, value="t")


def test_a_variable_is_filled_once(tmp_path):
    path = put(weather(np.ones((3, 2))), tmp_path, "netcdf4")
    with pytest.raises(ValueError, match=r"in\.nc: 't, t' names a variable twice; there are "):
        io.read(path, value="t, t")


@pytest.mark.parametrize("name", ["none.nc", "none.zarr"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(FileNotFoundError):
        io.read(tmp_path / name)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was loaded')",))


def test_no_pickle_in_a_store_is_ever_loaded(tmp_path):
    path = put(weather(np.ones((3, 2))), tmp_path, "zarr2")
    described = path / "t" / ".zarray"
    described.write_text(described.read_text().replace('"filters": null', '"filters": [{"id": "pickle", "protocol": 5}]'))
    assert "pickle" in described.read_text()
    for chunk in (path / "t").glob("0*"):
        chunk.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match=r"in\.zarr holds Python objects \(a pickle\), which are never loaded"):
        io.read(path, value="t")


def test_a_file_that_changed_during_the_fit_is_not_mixed_up(tmp_path):
    path = put(weather(np.array([[1.0, np.nan], [2.0, 3.0]])), tmp_path, "netcdf4")
    done = filled_by(io.load(path, value="t"))
    put(weather(np.ones((5, 3))), tmp_path, "netcdf4")
    with pytest.raises(ValueError, match=r"in\.nc changed after it was read"):
        io.write(tmp_path / "out.nc", done)
    assert [p.name for p in tmp_path.iterdir()] == ["in.nc"]


def test_only_a_store_is_replaced_and_only_by_a_whole_one(tmp_path, monkeypatch):
    path = put(weather(np.array([[1.0, np.nan], [2.0, 3.0]])), tmp_path, "zarr3")
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match=r"mine\.zarr' is there and is no \.zarr store; choose another name"):
        io.check_output(tmp_path / "mine.zarr", path)
    with pytest.raises(ValueError, match="is the input"):
        io.check_output(path, path)
    shutil.copytree(path, tmp_path / "out.zarr")
    io.check_output(tmp_path / "out.zarr", path)
    done = filled_by(io.load(path, value="t"))
    monkeypatch.setattr("rankless.io.labelled._fill", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        io.write(tmp_path / "out.zarr", done)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.zarr", "mine.zarr", "out.zarr"]
    xr.testing.assert_identical(stored(tmp_path / "out.zarr"), stored(path))


@pytest.mark.parametrize(("name", "package"), [("t.nc", "h5netcdf"), ("t.zarr", "zarr"), ("t.nc", "xarray")])
def test_without_the_optional_packages_the_mend_is_named(tmp_path, monkeypatch, name, package):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == package else found(asked))
    with pytest.raises(ValueError, match=rf"needs {package}, which is not installed; run: pip install 'rankless\[labelled\]'"):
        io.read(tmp_path / name)
