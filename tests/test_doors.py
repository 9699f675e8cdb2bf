"""What people bring, at every door: numbers too large, dtypes, tables with more columns, encodings, structs, cells that are none."""

from __future__ import annotations

import itertools
import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from filled import filled_by, labels_of, sums
from rankless import CPTensor, TensorCompleter, als, factorize, io, match, read
from rankless.io.chunks import scan
from rankless.kinds import Roles, understand
from rankless.runtime.progress import Progress, _Left
from rankless.tensors.canonical import canonical
from rankless.tensors.observations import Observations
from rankless.trust.diagnostics import of_poor, poor_slices
from rankless.trust.diagnostics import slices as slices_of
from rankless.views.axes import axes_of
from rankless.views.coverage import gap_length, pattern, slice_shares

BIG = 2**53 + 1
ROLES = {"modes": ["a", "b"], "value": "v"}
LONG = pd.DataFrame({"a": ["x", "x", "y", "y"], "b": [1, 2, 1, 2], "v": [1, 2, 3, BIG]})


# --- whole numbers ----------------------------------------------------------------------------------


def big_doors(tmp_path):
    array = LONG.v.to_numpy().reshape(2, 2)
    holed = LONG.assign(v=LONG.v.astype("Int64").mask([False, True, False, False]))
    np.save(tmp_path / "t.npy", array)
    np.savez(tmp_path / "t.npz", tensor=array)
    savemat(tmp_path / "t.mat", {"tensor": array})
    LONG.to_csv(tmp_path / "t.csv", index=False)
    holed.to_csv(tmp_path / "h.csv", index=False)
    LONG.to_parquet(tmp_path / "t.parquet")
    holed.to_parquet(tmp_path / "h.parquet")
    (tmp_path / "t.tns").write_text(f"1 1 1\n2 2 {BIG}\n")
    for name in ("t.npy", "t.npz", "t.mat", "t.csv", "h.csv", "t.parquet", "h.parquet", "t.tns"):
        how = ROLES if name.endswith(("csv", "parquet")) else {}
        yield name, lambda name=name, how=how: read(tmp_path / name, **how)
    for name in ("t.csv", "h.csv", "h.parquet"):
        yield f"{name} in chunks", lambda name=name: list(scan(tmp_path / name, **ROLES).chunks.read())
    yield "array", lambda: understand(array, Roles())
    yield "indices", lambda: Observations.from_indices([[0, 0], [1, 1]], np.array([1, BIG]))
    yield "table", lambda: Observations.from_table(LONG, ["a", "b"], "v")
    yield "nullable", lambda: understand(holed, Roles(**ROLES))
    yield "wide", lambda: understand(pd.DataFrame(array), Roles(wide=True))
    yield "masked", lambda: understand(np.ma.masked_equal(array, 1), Roles())
    pl, xr = pytest.importorskip("polars"), pytest.importorskip("xarray")
    yield "polars", lambda: understand(pl.from_pandas(holed), Roles(**ROLES))
    yield "xarray", lambda: understand(xr.DataArray(array), Roles())
    xr.Dataset({"v": (("a", "b"), array)}).to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    yield "t.nc", lambda: read(tmp_path / "t.nc")


def test_every_door_refuses_whole_numbers_that_would_be_rounded(tmp_path):
    for name, door in big_doors(tmp_path):
        with pytest.raises(ValueError, match=r"whole numbers beyond 2\*\*53, which would not come back exactly; subtract an offset"):
            door()
            pytest.fail(f"{name} lets them pass")


def test_what_is_given_twice_is_said_alike_on_the_other_side_of_a_process():
    with pytest.raises(ValueError) as caught:
        canonical(np.zeros((2, 2), np.int32), np.ones(2), None, (1, 1), "error")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert "coordinates (0, 0) are given twice (rows 0 and 1)" in str(caught.value)


def test_large_floats_and_marks_are_no_such_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,v\n1,1,1e300\n1,2,-9223372036854775808\n2,1,3\n")
    assert read(tmp_path / "t.csv", missing=-(2**63), **ROLES).values.tolist() == [1e300, 3.0]
    assert Observations.from_array(np.array([[1, -(2**63)]]), missing=[-(2**63)]).size == 1


# --- what came in goes out ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, ">f4", ">f8", ">f2"])
def test_arrays_come_back_in_their_dtype_to_the_last_digit(dtype):
    array = np.array([[1 / np.longdouble(3), np.nan], [2.5, 3.5]]).astype(dtype)
    filled = filled_by(array).filled
    assert filled.dtype == array.dtype
    seen = ~np.isnan(array)
    assert (filled[seen] == array[seen]).all()
    assert filled[0, 1] == 1.25
    far = filled_by(array, lambda indices: np.full(len(indices), 1e300)).filled
    assert np.isfinite(far).all(), "kept within what the dtype holds, without a warning"


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f4", np.int16])
def test_array_files_too(tmp_path, suffix, dtype):
    if suffix == ".mat" and dtype in (np.float16, ">f4"):
        pytest.skip("MATLAB has none")
    array = np.array([[1, -99], [2, 3]], dtype=dtype)
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    if suffix == ".npy":
        np.save(source, array)
    else:
        (savemat if suffix == ".mat" else lambda path, arrays: np.savez(path, **arrays))(source, {"tensor": array})
    done = filled_by(io.load(source, missing=-99), lambda indices: np.full(len(indices), 7.0))
    io.write(output, done)
    back = io.load(output)
    assert back.dtype == np.dtype(dtype)  # pyright: ignore[reportAttributeAccessIssue]
    assert back.observations.values.tolist() == [1.0, 7.0, 2.0, 3.0]


def test_a_long_table_keeps_its_index_columns_and_attributes():
    table = pd.DataFrame({"note": list("pqr"), "b": [2, 1, 2], "v": [5.0, 4.0, 3.0], "a": ["y", "x", "x"]}, index=["k", "l", "m"])
    table.attrs = {"source": "here"}
    filled = filled_by(table, **ROLES).filled
    assert filled.columns.tolist() == ["note", "b", "v", "a"] and filled.attrs == table.attrs
    assert filled[["a", "b", "v"]].to_numpy().tolist() == [["x", 1, 4.0], ["x", 2, 3.0], ["y", 1, 1.25], ["y", 2, 5.0]]
    assert filled.index.tolist()[:2] + filled.index.tolist()[3:] == ["l", "m", "k"]
    assert filled.note.tolist()[:2] == ["q", "r"] and pd.isna(filled.note.iloc[2])
    whole = pd.concat([table, pd.DataFrame({"note": "s", "b": 1, "v": np.nan, "a": "y"}, index=["n"])])
    filled = filled_by(whole, **ROLES).filled
    expected = whole.copy()
    expected.loc["n", "v"] = 1.25
    pd.testing.assert_frame_equal(filled, expected)
    assert whole.v.isna().sum() == 1, "what came in is left alone"


def test_a_numbered_index_goes_on():
    table = pd.DataFrame({"a": ["x", "y"], "b": [1, 2], "v": [1.0, 2.0]}, index=[17, 4])
    assert filled_by(table, **ROLES).filled.index.tolist() == [17, 18, 19, 4]
    series = table.set_index(["a", "b"])["v"]
    series.attrs["unit"] = "K"
    assert filled_by(series).filled.attrs == {"unit": "K"}


# --- refusals with a mend ---------------------------------------------------------------------------


def time_doors():
    spans = pd.to_timedelta([1, 2, None, 4], unit="s")
    yield lambda spans: np.asarray(spans).reshape(2, 2), {}, spans
    yield lambda spans: LONG.assign(v=spans), ROLES, spans
    yield lambda spans: pd.DataFrame({"p": spans[:2], "q": spans[2:]}), {"wide": True}, spans
    yield lambda spans: pytest.importorskip("xarray").DataArray(np.asarray(spans).reshape(2, 2), dims=["a", "b"]), {}, spans
    yield lambda spans: pytest.importorskip("polars").from_pandas(LONG.assign(v=spans)), ROLES, spans


def test_durations_and_dates_are_refused_with_the_mend():
    for make, roles, spans in time_doors():
        with pytest.raises(ValueError, match=r"holds durations; pass them as numbers, NaT as NaN: .*\.dt\.total_seconds\(\)"):
            filled_by(make(spans), **roles)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match=r"holds dates; pass numbers, NaT as NaN, such as days since the first"):
            filled_by(make(pd.Timestamp("2020-01-01") + spans), **roles)  # pyright: ignore[reportArgumentType]


def test_one_mode_may_be_a_string():
    with pytest.raises(ValueError, match=r"a table with modes \['day'\] has order 1"):
        filled_by(pd.DataFrame({"day": [1, 2], "v": [1.0, 2.0]}), modes="day", value="v")
    wide = pd.DataFrame({"day": [1, 2], "p": [1.0, np.nan], "q": [2.0, 3.0]})
    assert filled_by(wide, wide=True, modes="day").observations.modes == ("day", "column")
    with pytest.raises(ValueError, match=r"modes=\('day',\) do not name 2 modes"):
        filled_by(np.ones((2, 2)), modes="day")


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_csv_of_another_encoding_is_said_to_be(tmp_path, encoding):
    path = tmp_path / "t.csv"
    text = "a,b,v\nZürich,1,1.5\nGenève,2,2.5\n"
    path.write_text(text, encoding=encoding)
    with pytest.raises(ValueError, match=rf"t\.csv is not in UTF-8 .*: pass encoding='{encoding}' \(--encoding {encoding}\)"):
        read(path, **ROLES)
    assert labels_of(read(path, encoding=encoding, **ROLES), 0) == ["Genève", "Zürich"]
    with pytest.raises(ValueError, match="encoding='klingon' is not known; pass one such as"):
        read(path, encoding="klingon", **ROLES)
    path.write_text(text, encoding="utf-8-sig")
    assert labels_of(read(path, **ROLES), 0) == ["Genève", "Zürich"]


def test_fields_of_structs_are_named_and_reached(tmp_path):
    path = tmp_path / "t.mat"
    savemat(path, {"run": {"signal": np.eye(3), "setup": {"gain": np.ones((2, 2)), "day": np.array([5.0, 6.0])}, "who": "me"}})
    with pytest.raises(ValueError, match=r"holds 'run' \(1 x 1 struct\), 'run.signal' \(3 x 3 double\), 'run.setup.gain' .*; say which"):
        read(path)
    found = read(path, value="run.setup.gain", modes=["day", "b"])
    assert found.shape == (2, 2) and labels_of(found, 0) == [5.0, 6.0]
    with pytest.raises(ValueError, match=r"no array 'run.nothing' in .*'run.signal' \(3 x 3 double\)"):
        read(path, value="run.nothing")
    with pytest.raises(ValueError, match=r"'run\.who' of .* is no array of numbers"):
        read(path, value="run.who")


def test_a_folder_of_parquet_files_is_one_table(tmp_path):
    table = pd.DataFrame([(a, b, a + b / 8) for a, b in itertools.product(range(3), range(4))], columns=["a", "b", "v"])
    for name in ("parts", "parts.parquet"):
        table.to_parquet(tmp_path / name, partition_cols=["a"])
        found = read(tmp_path / name, **ROLES)
        assert found.values.tolist() == table.v.tolist() and labels_of(found, 0) == [0, 1, 2]
    assert scan(tmp_path / "parts.parquet", **ROLES).size == 12
    with pytest.raises(ValueError, match=r"no column 'z' in .*parts; it has 'b', 'v', 'a'"):
        read(tmp_path / "parts", modes=["z", "b"], value="v")


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_sample_weights_say_what_is_allowed(weight):
    with pytest.raises(ValueError, match=r"sample_weight\[2\] = .* is not allowed; pass a finite number above 0 for each row, or 0"):
        TensorCompleter().fit([[0, 0], [0, 1], [1, 0], [1, 1]], [1.0, 2.0, 3.0, 4.0], sample_weight=[0.0, 1.0, weight, 1.0])


@pytest.mark.parametrize("seed", ["a", -1, 1.5, True, [0.5]])
@pytest.mark.parametrize("door", ["completer", "factorize", "als.solve"])
def test_what_is_no_seed_is_refused(door, seed):
    array = np.outer(np.arange(1.0, 9.0), np.arange(1.0, 8.0))
    with pytest.raises(ValueError, match=r"random_state=.* is no seed; pass a whole number from 0 on, None, or a NumPy generator"):
        if door == "completer":
            TensorCompleter(random_state=seed).fit(array)
        elif door == "factorize":
            factorize(array, random_state=seed)
        else:
            als.solve(Observations.from_array(array), depth=0.0, penalty=1.0, random_state=seed)


def test_cells_are_named_by_labels():
    table = pd.DataFrame({"a": ["x", "y"], "b": pd.to_datetime(["2020-01-01", "2020-02-01"]), "v": [1.0, 2.0]})
    done = filled_by(table, **ROLES)
    cells = [("x", "2020-02-01"), ("y", pd.Timestamp("2020-01-01"))]
    expected = sums(np.array([[0, 1], [1, 0]])).tolist()
    assert done.predict(cells).tolist() == expected
    assert done.predict(pd.DataFrame(cells, columns=["a", "b"])).tolist() == expected
    assert done.predict({"b": table.b, "a": ["y", "x"]}).tolist() == sums(np.array([[1, 0], [0, 1]])).tolist()
    assert done.predict(("x", "2020-02-01")).tolist() == expected[:1]
    assert done.predict([[0, 1]]).tolist() == expected[:1], "numbers are coordinates"
    with pytest.raises(ValueError, match=r"no a 'z'; there are x, y \(2 in all\)"):
        done.predict([("z", "2020-02-01")])
    with pytest.raises(ValueError, match=r"no column 'b' among 'a'; pass one for each mode: a, b"):
        done.predict({"a": ["x"]})
    with pytest.raises(ValueError, match=r"\('x',\) is no cell of the modes a, b"):
        done.predict([("x",)])


def test_a_match_says_when_sizes_alone_differ():
    rng = np.random.default_rng(0)
    a = CPTensor([rng.normal(size=(9, 2)), rng.normal(size=(8, 2))])
    b = CPTensor([a.factors[0] * 100, a.factors[1]])
    found = match(a, b)
    assert found.score < 0.05 and found.directions == pytest.approx(1.0)
    assert "the directions match (1.000) and only the sizes differ; match(a, b, sizes=False)" in repr(found)
    assert "sizes differ" not in repr(match(a, a)) and len(repr(match(a, a))) < 80


def test_how_long_is_left_is_told():
    left = _Left()
    said = [left(Progress("filled cells", seconds, share)) for seconds, share in ((10.0, 0.0), (10.1, 0.001), (20.0, 0.25), (30.0, 0.5))]
    assert said == ["", "", ", about 30 s left", ", about 20 s left"]
    assert left(Progress("another stage", 31.0, 0.9)) == ""


def test_filling_many_cells_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr("rankless.completion._CELLS_AT_ONCE", 4)
    done = filled_by(np.where(np.eye(4) > 0, np.nan, 1.0))
    told = []
    done.callback = told.append
    assert done.filled.shape == (4, 4)
    assert [(now.stage, now.fraction) for now in told] == [("filled cells of 16", share) for share in (0.0, 0.25, 0.5, 0.75)]


# --- slices filled no better than by their mean -----------------------------------------------------


def test_slices_filled_no_better_than_by_their_mean_are_named():
    rng = np.random.default_rng(0)
    obs = Observations.from_array(rng.normal(size=(3, 60)), modes=["what", "when"], labels=[["gdp", "life", "gini"], None])
    errors = obs.values * 0.1
    errors[obs.coords[0] == 2] = 3.0
    ((mode, poor),) = poor_slices(obs, errors)
    assert (mode, poor.tolist()) == (0, [2])
    assert of_poor(obs, mode, poor) == (
        "in 1 slice of what hidden entries are found no better than by the slice's own mean: gini; don't trust what is filled there."
    )
    assert poor_slices(obs.with_values(obs.values * 1e-300), errors * 1e-300) != []
    few = obs.coords[1] < 8
    assert poor_slices(obs.subset(few), obs.values[few]) == [], "few entries say little"
    assert poor_slices(obs.subset(few), errors[few])[0][1].tolist() == [2], "but a gross error"


# --- cells that are none ----------------------------------------------------------------------------


def lower(size: int) -> np.ndarray:
    return np.tril(np.ones((size, size), dtype=bool))


def test_what_is_no_cell_is_in_no_count():
    array = np.arange(16.0).reshape(4, 4)
    array[2, 1] = np.nan
    obs = filled_by(array, where=lower(4)).observations
    assert (obs.cells, obs.size, obs.share) == (10, 9, 0.9)
    assert slice_shares(obs, 0).tolist() == [1.0, 1.0, 2 / 3, 1.0]
    share = pattern(obs, 0, 1).share
    np.testing.assert_array_equal(np.isnan(share), ~lower(4))
    assert share[2, 1] == 0.0 and np.nansum(share) == 9
    np.testing.assert_array_equal(pattern(obs, 1, 0).share, share.T)
    assert gap_length(obs, 1) == 1.0
    assert slices_of(obs).share.tolist()[:4] == [1.0, 1.0, 2 / 3, 1.0]
    assert obs.cells_of(1).tolist() == [4, 3, 2, 1]


def test_what_is_no_cell_stays_as_it_is_in_every_kind(tmp_path):
    array = np.arange(9.0).reshape(3, 3)
    array[1, 0] = np.nan
    mask = lower(3)
    np.savez(tmp_path / "mask.npz", where=mask)
    long = pd.DataFrame([(i, j, v, mask[i, j]) for (i, j), v in np.ndenumerate(array)], columns=["a", "b", "v", "there"])
    np.save(tmp_path / "t.npy", array)
    long.to_csv(tmp_path / "t.csv", index=False)
    expected = np.where(mask, array, np.nan)
    expected[1, 0] = 1.25
    plain = filled_by(np.where(mask, array, np.nan), where=mask)
    np.testing.assert_array_equal(plain.filled, expected)
    np.testing.assert_array_equal(
        filled_by(np.ma.masked_invalid(np.where(mask, array, np.nan)), where=mask).filled.filled(np.nan), expected
    )
    np.testing.assert_array_equal(filled_by(array, where=mask).array(), expected)
    assert len(plain.table(coverage=None)) == 6
    assert np.isnan(plain.predict([[0, 2], [1, 0]])).tolist() == [True, False]
    for given in (
        understand(long, Roles(**ROLES, where="there")),
        understand(pytest.importorskip("polars").from_pandas(long), Roles(**ROLES, where="there")),
        io.load(tmp_path / "t.csv", where="there", **ROLES),
        io.load(tmp_path / "t.npy", where=str(tmp_path / "mask.npz")),
    ):
        done = filled_by(given)
        assert (done.observations.size, done.observations.cells) == (5, 6)
        np.testing.assert_array_equal(done.array(), expected)
    for name in ("o.npy", "o.npz", "o.csv", "o.mat", "o.tns"):
        if name != "o.csv":
            io.write(tmp_path / name, plain)
            back = io.read(tmp_path / name)
            assert back.size == 6 and back.values.tolist() == expected[mask].tolist(), name
    frame = pd.DataFrame(np.where(mask, array, np.nan)).astype("Int64")
    filled = filled_by(frame, wide=True, where=mask).filled
    assert filled.dtypes.tolist() == frame.dtypes.tolist()
    assert filled.isna().to_numpy().tolist() == (~mask).tolist() and filled.iloc[1, 0] == 1


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (np.ones((2, 2)), r"where has shape \(2, 2\) and the data \(3, 3\)"),
        (np.full((3, 3), 0.5), "holds more than True and False"),
        (np.zeros((3, 3), bool), "where leaves none of the 9 observed entries"),
        ("depth", "where='depth' is neither a mask nor one of the modes 'mode_0', 'mode_1'"),
    ],
)
def test_what_is_no_mask_is_refused(where, message):
    with pytest.raises(ValueError, match=message):
        filled_by(np.ones((3, 3)), where=where)


# --- pictures ---------------------------------------------------------------------------------------


def test_the_worst_slices_are_drawn_and_the_rest_counted():
    pytest.importorskip("plotly")
    from rankless.report.figures import coverage

    rng = np.random.default_rng(0)
    array = np.where(rng.random((57, 40)) < np.linspace(0.2, 0.9, 57)[:, None], 1.0, np.nan)
    obs = Observations.from_array(array, modes=["station", "hour"], labels=[[f"st{i}" for i in range(57)], None])
    figure = next(coverage(SimpleNamespace(observations=obs), axes_of(obs)))  # pyright: ignore[reportArgumentType]
    assert "The 30 with the least observed are shown, and 27 more are not." in figure.text
    (bars,) = figure.plot["data"]
    worst = np.argsort(slice_shares(obs, 0), kind="stable")[:30]
    assert list(bars["y"]) == [f"st{i}" for i in worst]


def test_ticks_of_whole_numbers_are_whole():
    pytest.importorskip("plotly")
    from rankless.report.traces import axis_layout

    obs = Observations.from_array(np.ones((9, 3, 2)), labels=[np.arange(2001.0, 2010.0), [0.5, 1.0, 1.5], [2000, 2100]])
    years, halves, far = (axis_layout(axis) for axis in axes_of(obs))
    assert years["dtick"] == 1 and years["tickformat"] == "d", "whole numbers, though of floats"
    assert "dtick" not in halves and "tickformat" not in halves
    assert "dtick" not in far and far["tickformat"] == "d"


def test_all_components_are_drawn_unless_some_are_named():
    plt = pytest.importorskip("matplotlib.pyplot")
    from rankless import plots

    rng = np.random.default_rng(0)
    obs = Observations.from_array(np.ones((9, 12)))
    done = SimpleNamespace(observations=obs, best=CPTensor([rng.normal(size=(9, 3)), rng.normal(size=(12, 3))]))
    for components, count in ((None, 3), ((0,), 1)):
        figure, ax = plt.subplots()
        plots.factor(done, 1, components=components, ax=ax)  # pyright: ignore[reportArgumentType]
        assert len(ax.get_legend().get_texts()) == count
        plt.close(figure)
