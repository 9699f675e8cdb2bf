"""xarray in, xarray out: name, dims, coordinates, attributes, encoding and dtype are those that came in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from filled import filled_by, labels_of, sums
from labelled_data import floats, holed, integers, labels, shapes
from rankless.completion import complete
from rankless.tensors.cp_tensor import CPTensor

xr = pytest.importorskip("xarray")

FAST = {"depth": 0.0, "penalty": 1e-3, "max_rank": 1, "experts": ["components"], "effects": False, "noise": None, "value_transform": None}


@st.composite
def arrays(draw, dtypes=floats, shape=None):
    shape = draw(shapes) if shape is None else shape
    dims = draw(st.permutations(["time", "lat", "lon"]))[: len(shape)]
    coords = {}
    for dim, size in zip(dims, shape, strict=True):
        label = draw(labels(size))
        if not (isinstance(label, pd.DatetimeIndex) and label.tz):  # xarray has no time zones
            coords[dim] = label
    coords["elsewhere"] = (dims[0], np.arange(shape[0]) / 2, {"of": "a coordinate"})
    attributes = {"units": "K", "levels": [1, 2]}
    array = xr.DataArray(draw(holed(shape, dtypes)), coords, dims, draw(st.sampled_from([None, "t2m"])), attributes)
    array.encoding = {"zlib": True, "_FillValue": -9.0}
    return array


def places_of(array, cells: np.ndarray) -> np.ndarray:
    """Coordinates of cells of a DataArray where a coordinate that neither rises nor falls is put in order."""
    cells = cells.copy()
    for mode, dim in enumerate(array.dims):
        label = array[dim].values if dim in array.coords else np.arange(array.sizes[dim])
        order = np.argsort(label, kind="stable")
        if label.dtype.kind in "iuM" and not (np.diff(order) == -1).all():
            cells[:, mode] = np.argsort(order)[cells[:, mode]]
    return cells


def assert_only_holes_filled(filled, came, answer=None):
    """`filled` is `came` but for its NaN, which hold `answer`."""
    holes = np.isnan(came.values)
    expected = came.copy(deep=True)
    if holes.any():
        expected.values[holes] = sums(places_of(came, np.argwhere(holes))) if answer is None else answer
    xr.testing.assert_identical(filled, expected)
    assert filled.dtype == came.dtype
    assert filled.encoding == came.encoding


@given(arrays())
def test_a_data_array_comes_back_with_its_holes_filled(array):
    before = array.copy(deep=True)
    done = filled_by(array)
    assert_only_holes_filled(done.filled, array)
    xr.testing.assert_identical(array, before)
    assert done.observations.modes == array.dims
    for label, dim in zip(done.given.labels(), array.dims, strict=True):
        assert label is None if dim not in array.coords else (label == array[dim].values).all()


@given(st.sampled_from([*integers, bool]).flatmap(lambda dtype: hnp.arrays(dtype, (3, 2), elements=st.integers(0, 1))))
def test_whole_numbers_have_no_holes_and_stay_as_they_are(values):
    array = xr.DataArray(values, dims=["a", "b"])
    xr.testing.assert_identical(filled_by(array).filled, array)
    assert filled_by(array).filled.dtype == values.dtype


@given(st.data())
def test_a_dataset_comes_back_each_variable_in_its_own_dtype(data):
    shape = data.draw(shapes)
    first = data.draw(arrays(shape=shape)).rename("first")
    dims = data.draw(st.permutations(first.dims))
    second = xr.DataArray(data.draw(holed([first.sizes[dim] for dim in dims])), {}, dims, attrs={"units": "mm"})
    second.encoding = {"complevel": 3}
    dataset = xr.Dataset({"first": first, "second": second}, attrs={"title": "two"})
    done = filled_by(dataset)
    assert done.observations.modes == (*first.dims, "variable")
    assert labels_of(done.observations, -1) == ["first", "second"]
    filled = done.filled
    assert filled.attrs == dataset.attrs
    assert list(filled.data_vars) == ["first", "second"]
    units = done.given.units
    assert units is not None
    for position, (name, came) in enumerate(dataset.data_vars.items()):
        cells = np.argwhere(np.isnan(came.values))
        order = [came.dims.index(dim) for dim in first.dims]
        cells = np.column_stack([places_of(dataset["first"], cells[:, order]), np.full(len(cells), position)])
        answer = units.undo(sums(cells), cells[:, -1]).astype(done.observations.values.dtype)
        assert_only_holes_filled(filled[name], came, answer)


def test_only_the_variables_named_are_filled():
    dataset = xr.Dataset({"t": (("x", "y"), [[1.0, np.nan]]), "r": (("x", "y"), [[np.nan, 2.0]]), "crs": ((), 7)})
    done = filled_by(dataset, value="t")
    assert done.observations.modes == ("x", "y")
    xr.testing.assert_identical(done.filled, dataset.assign(t=(("x", "y"), [[1.0, 1.25]])))
    assert labels_of(filled_by(dataset, value=["r", "t"]).observations, -1) == ["r", "t"]
    assert labels_of(filled_by(dataset, value="t, r").observations, -1) == ["t", "r"]


def test_a_unit_of_measurement_counts_for_nothing():
    rng = np.random.default_rng(0)
    values = np.einsum("ir,jr,vr->vij", *(rng.normal(size=(d, 2)) for d in (9, 8, 2)))
    values[rng.random(values.shape) < 0.2] = np.nan
    kelvin, wet = (xr.DataArray(part, dims=["day", "site"]) for part in values)
    options = {**FAST, "max_rank": 2, "random_state": 0}
    one = complete(xr.Dataset({"t": kelvin, "r": wet}), **options).filled
    two = complete(xr.Dataset({"t": kelvin, "r": 1024 * wet + 4096}), **options).filled
    np.testing.assert_allclose(two.r, 1024 * one.r + 4096, rtol=1e-9)
    np.testing.assert_allclose(two.t, one.t, rtol=1e-9)


def test_a_saved_model_of_several_variables_says_their_units(tmp_path):
    rng = np.random.default_rng(1)
    data = xr.Dataset({name: (("day", "site"), 5 + scale * rng.normal(size=(8, 7))) for name, scale in {"t": 1.0, "r": 90.0}.items()})
    data["t"][0, 0] = np.nan
    done = complete(data, **FAST, random_state=0)
    done.save(tmp_path / "model.npz")
    cells = np.argwhere(np.ones((8, 7, 2)))
    with np.load(tmp_path / "model.npz") as saved:
        values = saved["mean"][cells[:, 2]] + saved["deviation"][cells[:, 2]] * CPTensor.load(tmp_path / "model.npz").at(cells)
    np.testing.assert_allclose(done.predict(cells), values)
    np.testing.assert_allclose(done.predict(cells[0]), values[:1])
    assert "slices of variable were fitted together, each over its standard deviation" in done.summary()
    assert done.filled.t.values[0, 0] == pytest.approx(values[0])
    assert done.table().query("not observed").value.tolist() == pytest.approx([values[0]])


def test_what_the_packed_type_cannot_hold_is_not_promised():
    """A file packs these as int8 from -12.8 to 12.7 in steps of .1, -12.8 being the mark: the fill must survive the file."""
    array = xr.DataArray(np.full((4, 2), np.nan), dims=["a", "b"])
    array[0, 0] = 1.0
    array.encoding = {"dtype": "int8", "scale_factor": 0.1, "_FillValue": np.int8(-128)}
    filled = filled_by(array, lambda indices: np.array([0, 50.0, -50.0, 0.123, -12.8, 0, 0, 0])).filled
    np.testing.assert_allclose(filled.values.ravel()[1:5], [12.7, -12.7, 0.123, -12.7])


@pytest.mark.parametrize(
    ("data", "roles", "message"),
    [
        (
            {"t": (("x", "y"), np.ones((2, 2))), "edges": (("x", "n"), np.ones((2, 3))), "crs": ((), 1)},
            {},
            r"differ in dims: 't' \(x, y\), 'edges' \(x, n\), 'crs' \(\); name those to fill, for example value=\['t'\] \(--value t\)",
        ),
        ({"t": (("x", "y"), np.ones((2, 2)))}, {"value": "u"}, r"no variable 'u'; there are 't' \(x, y\)"),
        ({}, {}, r"no variable to fill"),
        ({"t": (("x", "y"), np.array([["a", "b"]]))}, {}, r"variable 't' has dtype <U1; pass real numbers"),
        ({"t": (("x", "y"), np.array([[2**60]]))}, {}, r"variable 't' holds whole numbers beyond 2\*\*53"),
        ({"t": (("x", "y"), np.ones((2, 2)))}, {"modes": ["a", "b"]}, r"a Dataset names its modes itself, \(x, y\); leave them out"),
        ({"t": (("x",), np.ones(2))}, {}, r"order 1; low rank needs two modes"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused(data, roles, message):
    with pytest.raises(ValueError, match=message):
        filled_by(xr.Dataset(data), **roles)


@pytest.mark.parametrize("name", ["_FillValue", "missing_value"])
def test_marks_of_the_missing_among_the_numbers_are_holes(name):
    """As xarray leaves them with mask_and_scale=False: no number, and no fill may be one."""
    field = xr.DataArray(np.array([[1, 2], [-999, 4]], np.int16), dims=["x", "y"], attrs={name: np.int16(-999)}, name="t")
    done = filled_by(field, lambda indices: np.full(len(indices), -999.0))
    assert done.observations.size == 3
    assert done.filled.values.tolist() == [[1, 2], [-998, 4]]
    assert done.filled.dtype == np.int16 and done.filled.attrs == field.attrs


def test_values_outside_the_valid_range_are_holes_and_said_to_be():
    values = np.array([[1.0, 2.0, -5.0], [400.0, 4.0, np.nan]])
    for attributes in ({"valid_min": 0.0, "valid_max": 100.0}, {"valid_range": [0.0, 100.0]}):
        field = xr.DataArray(values, dims=["x", "y"], attrs=attributes, name="t")
        done = filled_by(field)
        assert done.observations.values.tolist() == [1.0, 2.0, 4.0]
        assert done.filled.values.tolist() == [[1.0, 2.0, 2.25], [1.25, 4.0, 3.25]]
        assert done.given.alarms == ("2 values of variable 't' lie outside its valid range, 0 to 100, and were taken for not observed.",)
    with pytest.raises(ValueError, match=r"variable 't' has no value within its valid range; correct or remove"):
        filled_by(field.assign_attrs(valid_range=[1000.0, np.inf]))


def test_a_valid_range_of_whole_numbers_is_as_packed_as_the_data():
    field = xr.DataArray([[0.1, 2.0], [12.7, 25.4]], dims=["x", "y"], name="t", attrs={"valid_range": np.array([2, 127], np.int16)})
    field.encoding = {"dtype": "int16", "scale_factor": 0.1, "add_offset": 0.0}
    assert filled_by(field).observations.values.tolist() == [2.0, 12.7], "0.2 to 12.7"
    field.encoding = {"dtype": "int8", "scale_factor": 0.1, "_Unsigned": "true"}
    field.attrs["valid_range"] = np.array([2, -2], np.int8)
    assert filled_by(field).observations.values.tolist() == [2.0, 12.7, 25.4], "2 to 254, times a tenth"


def test_a_variable_never_observed_stays_and_is_said_to():
    rng = np.random.default_rng(0)
    fields = {name: (("x", "y"), rng.normal(size=(3, 4))) for name in "ab"}
    data = xr.Dataset(fields | {"never": (("x", "y"), np.full((3, 4), np.nan, np.float32))})
    data["a"][0, 0] = np.nan
    done = filled_by(data)
    assert labels_of(done.observations, -1) == ["a", "b"]
    assert np.isnan(done.filled.never).all() and not np.isnan(done.filled.a).any()
    assert done.given.alarms == ("variable 'never' has no observed value, and nothing says what its unit is: it was left as it is.",)
    alone = filled_by(data[["a", "never"]])
    assert alone.observations.modes == ("x", "y") and alone.given.units is None
    with pytest.raises(ValueError, match="no variable has an observed value; there are 'never', 'other'"):
        filled_by(data[["never"]].assign(other=data.never))


def test_an_unsorted_coordinate_is_used_by_its_values():
    days = np.array(["2020-01-03", "2020-01-01", "2020-01-02"], "datetime64[ns]")
    array = xr.DataArray([[np.nan, 1.0], [2.0, 3.0], [4.0, 5.0]], {"day": days, "level": ["9.00", "10.5"]}, ["day", "level"])
    done = filled_by(array, lambda indices: 10.0 * indices[:, 0] + indices[:, 1])
    assert labels_of(done.observations, 0) == np.sort(days).tolist()
    assert labels_of(done.observations, 1) == ["9.00", "10.5"]
    assert done.observations.values.tolist() == [2.0, 3.0, 4.0, 5.0, 1.0]
    assert done.filled.values.tolist() == [[20.0, 1.0], [2.0, 3.0], [4.0, 5.0]], "the fill lies where the hole was"
    np.testing.assert_array_equal(done.array(), done.filled.values)
    assert done.predict([[0, 0], [1, 0]]).tolist() == [20.0, 0.0], "coordinates are those of the data"
    assert done.predict([("2020-01-03", "9.00")]).tolist() == [20.0]
    down = array.isel(day=[0, 2, 1])
    assert labels_of(filled_by(down).observations, 0) == down.day.values.tolist(), "latitudes may fall"


def test_land_is_no_cell():
    rng = np.random.default_rng(0)
    sea = rng.normal(size=(4, 3, 2))
    sea[:, 0, 1] = np.nan
    sea[1, 2, 0] = np.nan
    land = np.zeros((3, 2), np.int8)
    land[0, 1] = 1
    field = xr.DataArray(sea, dims=["day", "lat", "lon"], name="sst")
    data = xr.Dataset({"sst": field, "lsm": (("lat", "lon"), land)})
    masks = [(field, land == 0), (field, xr.DataArray((land == 0).T, dims=["lon", "lat"])), (field, "day"), (data, "sea")]
    data["sea"] = 1 - data.lsm
    data["sea"].attrs["standard_name"] = "sea_binary_mask"
    for came, where in [*masks, (data.drop_vars("sea").assign(lsm=data.lsm.assign_attrs(standard_name="land_binary_mask")), None)]:
        done = filled_by(came, where=where, **({"value": "sst"} if isinstance(came, xr.Dataset) else {}))  # pyright: ignore[reportArgumentType]
        assert done.observations.cells == 20 and done.observations.size == 19
        filled = done.filled if isinstance(came, xr.DataArray) else done.filled.sst
        assert np.isnan(filled.values[:, 0, 1]).all() and filled.values[1, 2, 0] == 3.25
        assert np.isnan(done.predict([[0, 0, 1]])).all()
        table = done.table(coverage=None)
        assert len(table) == 20 and not table.sst.isna().any()
    assert "'lsm' (land_binary_mask) is 1: these are taken for no cells" in done.given.notes[0]
    with pytest.raises(ValueError, match=r"where has shape \(2, 2\) and the data \(4, 3, 2\)"):
        filled_by(field, where=np.ones((2, 2), bool))
    with pytest.raises(ValueError, match="where is to say where there are cells and holds more than True and False"):
        filled_by(field, where=np.full((3, 2), 7.0))
    with pytest.raises(ValueError, match="where='depth' is neither a mask nor one of the modes 'day', 'lat', 'lon'"):
        filled_by(field, where="depth")


def test_what_is_lazy_is_computed_and_said_to_be():
    pytest.importorskip("dask.array")
    field = xr.DataArray([[1.0, np.nan], [3.0, 4.0]], dims=["x", "y"]).chunk({"x": 1})
    done = filled_by(field)
    assert isinstance(done.filled.data, np.ndarray)
    assert done.given.notes == filled_by(field.data).given.notes
    assert "lies in memory" in done.given.notes[0]
