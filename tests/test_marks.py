"""Values that stand for "not observed": named where they stand far outside the rest, and left out at every door once said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

from filled import filled_by
from rankless import complete, read
from rankless.cli.shown import facts
from rankless.tensors.observations import Observations, is_mark, marks_of
from rankless.trust import inspection
from rankless.trust.inspection import marks

DATA = Path(__file__).resolve().parent.parent.parent / "shared"


def table(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(40, 12))


@pytest.mark.parametrize("value", [-9999, -999, -99, 999, 9999, -99.9, 1e20, 9.96921e36, -32768, 1e30, -999.99])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_known_mark_is_named_with_its_count_and_the_mend(value, dtype):
    array = table().astype(dtype)
    array[3, 4] = value
    (mark,) = marks(Observations.from_array(array))
    assert mark.count == 1
    text = str(mark)
    assert "far outside the others, -" in text and "loss='huber'" in text
    named = float(text.split("missing=[")[1].split("]")[0])
    assert Observations.from_array(array, missing=[named]).size == 479, "what is said, passed back, finds it"


def test_several_marks_and_unknown_ones_that_repeat():
    array = np.abs(100 * table())
    array[:3, 4], array[:3, 2], array[0, 0] = -99, -8888, 1e20
    found = marks(Observations.from_array(array))
    assert sorted((mark.value, mark.count) for mark in found) == [(-8888, 3), (-99, 3), (1e20, 1)]
    array[:3, 2], array[0, 0], array[:3, 4] = 1, 1, 1
    array[7, 7] = 8888.0
    assert marks(Observations.from_array(array)) == [], "a single value is said to be wild, if anything"


def test_a_mark_among_slices_with_ranges_of_their_own():
    array = np.abs(table())
    array[:, 0] *= 5e11
    array[2:7, 1] = 9999
    (mark,) = marks(Observations.from_array(array))
    assert (mark.value, mark.count) == (9999, 5) and mark.high < 5


def test_numbers_inside_the_data_are_numbers():
    rng = np.random.default_rng(1)
    assert marks(Observations.from_array(np.round(rng.uniform(0, 1500, size=(40, 50))))) == [], "999 mm of rain"
    assert marks(Observations.from_array(rng.choice([-1.0, 0.0, 1.0, 99.0], size=(40, 50)))) == [], "grades have no outside"


def test_heavy_tails_have_none():
    rng = np.random.default_rng(0)
    shape = (40, 60)
    for _ in range(40):
        for values in (
            rng.pareto(1, shape),
            np.floor(rng.pareto(0.5, shape)),
            rng.lognormal(0, 3, shape),
            rng.negative_binomial(0.1, 0.01, shape),
            np.round(rng.gamma(0.1, 50, shape), 1),
            rng.poisson(0.05, shape),
            np.round(rng.standard_cauchy(shape), 1),
        ):
            assert marks(Observations.from_array(values)) == []


@pytest.mark.parametrize("name", ["birmingham_parking", "metoffice_2001_2020", "nyc_airport_weather"])
def test_real_data_have_none(shared_data, name):
    assert marks(Observations.from_array(shared_data(name)["tensor"])) == []


@pytest.mark.parametrize("name", ["air_quality", "chlorine", "eeg_alcohol", "electricity", "stock_exchange"])
def test_real_series_have_none(name):
    path = DATA / "data" / "series" / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with np.load(path, allow_pickle=False) as stored:
        for array in stored.values():
            if array.ndim == 2 and array.dtype.kind == "f":
                assert marks(Observations.from_array(array)) == []


def test_a_mark_is_found_in_any_dtype():
    assert is_mark(np.array([-9999, 5], np.int16), [-9999, 1e20]).tolist() == [True, False]  # pyright: ignore[reportOptionalMemberAccess]
    assert is_mark(np.array([1e20, 1], np.float32).astype(float), [1e20]).tolist() == [True, False]  # pyright: ignore[reportOptionalMemberAccess]
    assert is_mark(np.array([1, 2], np.float16), [1e20]).tolist() == [False, False]  # pyright: ignore[reportOptionalMemberAccess]
    assert is_mark(np.array([-9999.0004]), [-9999]).tolist() == [False], "small ones to the last digit"  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(ValueError, match=r"missing=\[None\] holds None, which is no number; pass the numbers"):
        marks_of([None])


def every_door(tmp_path):
    """One array with -9999 where nothing was observed, at every door: name -> the observations."""
    array = np.arange(12.0).reshape(3, 4)
    array[1, 2] = array[0, 0] = -9999
    long = pd.DataFrame([(i, j, v) for (i, j), v in np.ndenumerate(array)], columns=["a", "b", "v"])
    np.save(tmp_path / "x.npy", array.astype(np.int16))
    np.savez(tmp_path / "x.npz", tensor=array)
    savemat(tmp_path / "x.mat", {"tensor": array})
    long.to_csv(tmp_path / "x.csv", index=False)
    long.assign(v=long.v.astype("Int64")).to_parquet(tmp_path / "x.parquet")
    lines = "\n".join(f"{i + 1} {j + 1} {v}" for (i, j), v in np.ndenumerate(array))
    (tmp_path / "x.tns").write_text(lines)
    roles = {"modes": ["a", "b"], "value": "v"}
    for name in ("x.npy", "x.npz", "x.mat", "x.tns"):
        yield name, lambda how, name=name: read(tmp_path / name, **how)
    for name in ("x.csv", "x.parquet"):
        yield name, lambda how, name=name: read(tmp_path / name, **roles, **how)
    yield "array", lambda how: filled_by(array.astype(int), **how).observations
    yield "masked", lambda how: filled_by(np.ma.masked_equal(array, 5), **how).observations.subset(np.arange(9 if how else 11) < 99)
    yield "long", lambda how: filled_by(long, **roles, **how).observations
    yield "wide", lambda how: filled_by(pd.DataFrame(array), wide=True, **how).observations
    yield "series", lambda how: filled_by(long.set_index(["a", "b"])["v"], **how).observations
    yield "observations", lambda how: filled_by(Observations.from_array(array), **how).observations
    pl, xr, scipy = (pytest.importorskip(name) for name in ("polars", "xarray", "scipy.sparse"))
    yield "polars", lambda how: filled_by(pl.from_pandas(long.assign(v=long.v.astype(int))), **roles, **how).observations
    yield "xarray", lambda how: filled_by(xr.DataArray(array, dims=["a", "b"]), **how).observations
    yield "sparse", lambda how: filled_by(scipy.coo_array(array), absent="missing", **how).observations
    xr.Dataset({"v": (("a", "b"), array)}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    yield "x.nc", lambda how: read(tmp_path / "x.nc", **how)


def test_every_door_leaves_out_what_is_said_to_be_missing(tmp_path):
    for name, door in every_door(tmp_path):
        assert (door({}).values == -9999).sum() == 2, name
        for missing in (-9999, [-9999.0], (7777, -9999)):
            found = door({"missing": missing})
            assert not (found.values == -9999).any(), name
            assert found.size == door({}).size - 2, name


def test_whole_numbers_come_back_whole_where_a_mark_was_filled():
    array = np.array([[1, 2], [-9999, 4]], dtype=">i2")
    filled = filled_by(array, missing=-9999).filled
    assert filled.dtype == array.dtype and filled.tolist() == [[1, 2], [1, 4]]


def test_texts_are_marks_in_a_csv(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,v\n1,1,M\n1,2,5\n2,1,-9999\n2,2,7\n")
    roles = {"modes": ["a", "b"], "value": "v"}
    with pytest.raises(ValueError, match=r"has 'M' for 'v', which is no number; .*, or pass missing=\['M'\] \(--missing M\)"):
        read(tmp_path / "t.csv", **roles)
    assert read(tmp_path / "t.csv", missing=["M", -9999], **roles).values.tolist() == [5.0, 7.0]
    np.save(tmp_path / "t.npy", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"missing='M' is no number, and only a \.csv has texts among its values"):
        read(tmp_path / "t.npy", missing="M")


def test_complete_warns_and_the_summary_says_so():
    rng = np.random.default_rng(0)
    array = np.outer(rng.normal(size=20) + 3, rng.normal(size=9) + 2)
    array[2, 3] = np.nan
    array[3, 4] = -999
    options = {"depth": 0.0, "penalty": 1e-3, "max_rank": 1, "experts": ["components"], "noise": None, "random_state": 0}
    with pytest.warns(UserWarning, match=r"value -999 is there once, far outside the others, .*missing=\[-999\] \(--missing -999\)"):
        done = complete(array, **options)
    assert any(line.startswith("value -999 is there once") for line in done.cautions())
    assert "value -999 is there once" in done.summary()
    assert any(name == "mark" and text.startswith("value -999") for name, text in facts(done.observations))
    clean = complete(array, missing=-999, **options)
    assert not any("far outside" in line for line in clean.cautions())


def test_fibres_never_seen_are_said_to_be_and_offered():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(5, 4, 40))
    array[rng.random(array.shape) < 0.2] = np.nan
    array[2, 1] = np.nan
    obs = Observations.from_array(array, modes=["station", "gas", "hour"], labels=[list("abcde"), ["NO2", "O3", "CO", "SO2"], None])
    found = inspection.never_seen(obs)
    assert found.in_words(obs) == (  # pyright: ignore[reportOptionalMemberAccess]
        "c x O3 was never observed along hour: if there is no such cell (land, a sensor never built), pass where='hour' (--where hour)"
    )
    assert any(name == "never" for name, _ in facts(obs))
    inside = filled_by(array, modes=["station", "gas", "hour"], where="hour").observations
    assert inside.cells == array.size - 40 and inspection.never_seen(inside) is None
    sparse = np.where(rng.random((30, 30, 20)) < 0.02, 1.0 + rng.random((30, 30, 20)), np.nan)
    assert inspection.never_seen(Observations.from_array(sparse)) is None, "ratings leave most pairs empty by chance"


@pytest.mark.skipif(not (DATA / "cases" / "made.py").is_file(), reason="the cases are not there")
def test_made_data_have_no_marks():
    sys.path.insert(0, str(DATA / "cases"))
    import made  # pyright: ignore[reportMissingImports]

    for make in (made.eem, made.units, lambda: made.air(stations=8, hours=2000)):
        assert marks(Observations.from_array(make()["observed"])) == []
