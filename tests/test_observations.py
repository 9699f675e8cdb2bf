"""Observations: what was seen, in one canonical order, whatever road it came by."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rankless.tensors.canonical import lexicographic
from rankless.tensors.observations import Observations

shapes = hnp.array_shapes(min_dims=2, max_dims=5, max_side=5)
numbers = st.floats(-1e6, 1e6)


@st.composite
def holed_arrays(draw):
    """An array of order 2 to 5 with NaN here and there, at least one entry seen."""
    array = draw(hnp.arrays(np.float64, draw(shapes), elements=numbers))
    seen = draw(hnp.arrays(np.bool_, array.shape))
    seen.flat[draw(st.integers(0, array.size - 1))] = True
    return np.where(seen, array, np.nan)


def dense(obs: Observations) -> np.ndarray:
    out = np.full(obs.shape, np.nan)
    out[tuple(obs.coords)] = obs.values
    return out


def same(one: Observations, other: Observations) -> bool:
    """Bit for bit the same entries."""
    weights = (one.weights is None) == (other.weights is None) and (
        one.weights is None or one.weights.tobytes() == np.asarray(other.weights).tobytes()
    )
    return bool(
        one.shape == other.shape and np.array_equal(one.coords, other.coords) and one.values.tobytes() == other.values.tobytes() and weights
    )


# --- ways in --------------------------------------------------------------------------------------


@given(holed_arrays())
def test_an_array_comes_back_as_it_went_in(array):
    obs = Observations.from_array(array)
    np.testing.assert_array_equal(dense(obs), array)
    assert obs.size == np.isfinite(array).sum()
    assert obs.share == pytest.approx(np.isfinite(array).mean())


@given(holed_arrays(), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(array, random):
    straight = Observations.from_array(array)
    arrival = list(range(straight.size))
    random.shuffle(arrival)
    shuffled = Observations.from_indices(straight.indices[arrival], straight.values[arrival], shape=array.shape)
    assert same(straight, shuffled)


@given(holed_arrays(), st.randoms(use_true_random=False))
def test_modes_may_change_places(array, random):
    obs, places = Observations.from_array(array), list(range(array.ndim))
    random.shuffle(places)
    other = Observations.from_indices(obs.indices[:, places], obs.values, shape=[array.shape[p] for p in places])
    assert same(other, Observations.from_array(array.transpose(places)))


@given(holed_arrays(), st.sampled_from([np.int8, np.uint8, np.int32, np.uint64, np.float32, np.float64, list]))
def test_coordinates_may_come_in_any_type_that_holds_them(array, kind):
    obs = Observations.from_array(array)
    given_as = obs.indices.tolist() if kind is list else obs.indices.astype(kind)
    assert same(Observations.from_indices(given_as, obs.values, shape=array.shape), obs)


@given(holed_arrays(), st.sampled_from(["f4", "f8", ">f4", ">f8"]))
def test_values_keep_their_precision_by_every_way_in(array, dtype):
    array = array.astype(dtype)
    obs = Observations.from_array(array)
    assert obs.values.dtype == np.dtype(dtype).newbyteorder("=")
    assert same(Observations.from_indices(obs.indices, obs.values, shape=array.shape), obs)
    modes = [f"m{n}" for n in range(array.ndim)]
    back = Observations.from_table(Observations.from_array(array, modes=modes).to_table(), modes, "value")
    assert back.values.dtype == obs.values.dtype
    assert back.values.tobytes() == obs.values.tobytes()


@given(holed_arrays(), st.data())
def test_the_one_row_that_lies_outside_is_named(array, data):
    obs = Observations.from_array(array)
    indices = obs.indices.astype(np.int64)
    row, mode = data.draw(st.integers(0, obs.size - 1)), data.draw(st.integers(0, obs.order - 1))
    indices[row, mode] = data.draw(st.sampled_from([-1, -(2**31), array.shape[mode], 2**31]))
    with pytest.raises(ValueError, match=rf"indices\[{row}\] = \({', '.join(map(str, indices[row]))}\) lies outside"):
        Observations.from_indices(indices, obs.values, shape=array.shape)


@given(hnp.arrays(np.int64, st.tuples(st.integers(1, 60), st.integers(2, 4)), elements=st.integers(0, 6)))
def test_canonical_order_is_lexsort_with_the_first_mode_slowest(indices):
    indices = np.unique(indices, axis=0)[::-1]
    obs = Observations.from_indices(indices, np.arange(len(indices), dtype=float))
    expected = np.lexsort(indices.T[::-1])
    np.testing.assert_array_equal(obs.indices, indices[expected])
    np.testing.assert_array_equal(obs.values, expected.astype(float))


@given(hnp.arrays(np.int32, st.tuples(st.integers(1, 8), st.integers(0, 60)), elements=st.integers(0, 3)), st.sampled_from([4, 2**31 - 1]))
def test_lexicographic_is_a_stable_lexsort_also_where_keys_are_longer_than_64_bits(coords, size):
    columns, order = lexicographic(coords, [size] * len(coords))
    np.testing.assert_array_equal(order, np.lexsort(coords[::-1]))
    np.testing.assert_array_equal(columns, coords[:, order])


def test_coordinates_near_two_thousand_million_take_no_room():
    far = 2**31 - 2
    obs = Observations.from_indices([[far, 3], [0, far], [5, 5]], [1.0, 2.0, 3.0])
    assert obs.shape == (far + 1, far + 1)
    assert obs.values.tolist() == [2.0, 3.0, 1.0]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(-50, 50)), min_size=1, max_size=30),
    st.sampled_from(["mean", "last"]),
)
def test_duplicates_are_settled_as_pandas_would(rows, how):
    table = pd.DataFrame(rows, columns=["a", "b", "v"])
    obs = Observations.from_indices(table[["a", "b"]].to_numpy(), table["v"].to_numpy(), duplicates=how)
    expected = table.groupby(["a", "b"])["v"].agg(how).reset_index()
    np.testing.assert_array_equal(obs.indices, expected[["a", "b"]].to_numpy())
    np.testing.assert_allclose(obs.values, expected["v"].to_numpy(), atol=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(-50, 50)), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
)
def test_what_is_given_twice_is_named_or_has_one_mean_in_any_order(rows, random):
    table = np.array(rows)
    mean = Observations.from_indices(table[:, :2], table[:, 2], duplicates="mean")
    random.shuffle(rows)
    again = np.array(rows)
    np.testing.assert_allclose(Observations.from_indices(again[:, :2], again[:, 2], duplicates="mean").values, mean.values, atol=1e-12)
    if mean.size < len(rows):
        with pytest.raises(ValueError, match=r"are given twice \(rows (\d+) and (\d+)\)") as caught:
            Observations.from_indices(again[:, :2], again[:, 2])
        one, other = (int(number) for number in re.findall(r"\d+", str(caught.value).split("rows")[1])[:2])
        assert one != other
        assert rows[one][:2] == rows[other][:2]
    else:
        Observations.from_indices(again[:, :2], again[:, 2])


@given(holed_arrays(), st.data())
def test_labels_stay_with_their_slices_whatever_their_order(array, data):
    """A table sorts its labels: each value is still found under the names it was given."""
    modes = [f"m{n}" for n in range(array.ndim)]
    some = st.one_of(st.text(min_size=1, max_size=4), st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1)).map(str))
    labels = [
        np.array(data.draw(st.lists(some if n % 2 else st.integers(-(10**6), 10**6), min_size=d, max_size=d, unique=True)))
        for n, d in enumerate(array.shape)
    ]
    obs = Observations.from_array(array, modes=modes, labels=labels)
    back = Observations.from_table(obs.to_table(), modes, "value")
    by_name = {tuple(str(obs.label(m, i)) for m, i in enumerate(row)): value for row, value in zip(obs.indices, obs.values, strict=True)}
    assert {
        tuple(str(back.label(m, i)) for m, i in enumerate(row)): value for row, value in zip(back.indices, back.values, strict=True)
    } == by_name


def test_mean_of_duplicates_minds_their_weights():
    obs = Observations.from_indices([[0, 1], [0, 1], [1, 0]], [1.0, 4.0, 7.0], weights=[2.0, 1.0, 3.0], duplicates="mean")
    assert obs.values.tolist() == [2.0, 7.0]
    assert obs.weights is not None
    assert obs.weights.tolist() == [3.0, 3.0]


@given(holed_arrays())
def test_a_table_comes_back_as_it_went_in(array):
    modes = [f"m{n}" for n in range(array.ndim)]
    labels = [np.array([f"{name}-{i:02d}" for i in range(d)]) for name, d in zip(modes, array.shape, strict=True)]
    obs = Observations.from_array(array, modes=modes, labels=labels, value_name="rain")
    table = obs.to_table().sample(frac=1, random_state=0)
    assert list(table.columns) == [*modes, "rain"]
    back = Observations.from_table(table, modes, "rain")
    table_again = back.to_table()
    assert table_again.equals(obs.to_table().astype(table_again.dtypes))


def test_a_row_without_a_value_still_names_a_slice():
    table = pd.DataFrame({"station": ["b", "a", "c"], "month": [1, 2, 1], "rain": [1.0, 0.0, np.nan]})
    obs = Observations.from_table(table, ["station", "month"], "rain")
    assert obs.shape == (3, 2)
    assert [obs.label(0, i) for i in range(3)] == ["a", "b", "c"]
    assert obs.counts(0).tolist() == [1, 1, 0]
    assert obs.value_name == "rain"


def test_zero_is_a_value_and_nan_and_masked_cells_are_not():
    array = np.ma.masked_array([[0.0, 1.0], [np.nan, 2.0]], mask=[[False, False], [False, True]])
    obs = Observations.from_array(array)
    assert obs.indices.tolist() == [[0, 0], [0, 1]]
    assert obs.values.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("given_dtype", "kept"), [("f2", "f8"), ("f4", "f4"), ("f8", "f8"), ("i4", "f8"), ("u1", "f8"), ("?", "f8")], ids=str
)
def test_values_are_float32_or_float64(given_dtype, kept):
    assert Observations.from_array(np.ones((2, 2), given_dtype)).values.dtype == kept


def test_nan_values_of_a_coordinate_list_are_dropped_with_their_weights():
    obs = Observations.from_indices([[0, 0], [1, 1], [2, 0]], [1.0, np.nan, 3.0], shape=(3, 3), weights=[1.0, 2.0, 3.0])
    assert obs.indices.tolist() == [[0, 0], [2, 0]]
    assert obs.weights is not None
    assert obs.weights.tolist() == [1.0, 3.0]


# --- what there is, and ways on -------------------------------------------------------------------


@given(holed_arrays())
def test_counts_add_up_in_every_mode(array):
    obs = Observations.from_array(array)
    for mode in range(obs.order):
        others = tuple(m for m in range(obs.order) if m != mode)
        np.testing.assert_array_equal(obs.counts(mode), np.isfinite(array).sum(axis=others))


@given(holed_arrays(), st.floats(0.01, 0.99), st.integers(0, 3))
def test_split_parts_the_entries_and_bares_no_slice(array, holdout, seed):
    obs = Observations.from_array(array)
    train, held = obs.split(holdout, seed=seed)
    both = np.concatenate([train.indices, held.indices])
    np.testing.assert_array_equal(both[np.lexsort(both.T[::-1])], obs.indices)
    assert train.size + held.size == obs.size
    assert held.size <= round(holdout * obs.size)
    for mode in range(obs.order):
        if obs.counts(mode).max() > 1:  # where no slice has two entries, every entry is the last of its slice
            np.testing.assert_array_equal(train.counts(mode) > 0, obs.counts(mode) > 0)
    assert same(train, obs.split(holdout, seed=seed)[0])


def test_every_part_is_contiguous():
    obs = Observations.from_indices([[0, 0], [1, 1], [2, 0]], np.ones((3, 2))[:, 0], weights=np.ones((3, 2))[:, 1])
    for part in (obs, obs.subset(np.array([True, False, True])), *obs.split(0.4), obs.with_values(np.ones((3, 2))[:, 0])):
        assert part.coords.flags.c_contiguous
        assert part.values.flags.c_contiguous
        assert part.weights is not None and part.weights.flags.c_contiguous


def test_split_is_shuffled():
    held = Observations.from_array(np.ones((40, 50))).split(0.2, seed=1)[1]
    assert held.size == 400
    assert held.counts(0).min() > 0, "a sorted split would take whole slices"
    other = Observations.from_array(np.ones((40, 50))).split(0.2, seed=2)[1]
    assert not np.array_equal(held.indices, other.indices)


@given(holed_arrays(), st.sampled_from([1e-150, 1.0, 1e150]))
def test_scaled_values_have_unit_rms_and_come_back(array, factor):
    obs = Observations.from_array(array * factor)
    unit, scale = obs.scaled()
    tiny = 1e-300 * max(scale, 1)  # such a value may round when it is scaled
    np.testing.assert_allclose(unit.values * scale, obs.values, rtol=1e-12, atol=tiny)
    if np.abs(obs.values).max() > 0:
        assert unit.rms() == pytest.approx(1.0)


def test_rms_counts_the_weights():
    obs = Observations.from_indices([[0, 0], [1, 1]], [3.0, 1.0], weights=[1.0, 3.0])
    assert obs.rms() == pytest.approx(np.sqrt((9 + 3) / 4))


def test_modes_are_found_by_name_and_number():
    obs = Observations.from_array(np.ones((2, 3)), modes=["station", "month"])
    assert obs.mode_index("month") == obs.mode_index(1) == obs.mode_index(-1) == 1
    with pytest.raises(ValueError, match="no mode 'year'; the modes are 'station', 'month'"):
        obs.mode_index("year")


# --- bad input: each message names what was passed and how to mend it -------------------------------


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((2, 3), np.nan), r"no observed entry in shape \(2, 3\); pass at least one value"),
        (np.zeros((0, 3)), r"no observed entry in shape \(0, 3\)"),
        (np.array([[1.0, np.inf], [-np.inf, 0.0]]), r"2 infinite value\(s\), the first at \(0, 1\); set them to NaN"),
        (np.ones(5), r"shape \(5,\) has order 1; low rank needs two modes or more: reshape it"),
        (np.float64(3.0), r"shape \(\) has order 0"),
        (np.ones((2, 2), complex), r"dtype complex128; pass real numbers"),
        (np.array([["a", "b"]]), r"dtype <U1; pass real numbers"),
        (np.array([[1.0, None]], dtype=object), r"dtype object; pass real numbers"),
    ],
    ids=["all NaN", "no cell", "inf", "order 1", "order 0", "complex", "string", "object"],
)
def test_bad_arrays(array, message):
    with pytest.raises(ValueError, match=message):
        Observations.from_array(array)


@pytest.mark.parametrize(
    ("indices", "values", "options", "message"),
    [
        ([[0, 0], [1, -2]], [1.0, 2.0], {}, r"indices\[1\] = \(1, -2\) lies outside .*; pass shape=\.\.\. or check"),
        ([[0, 0], [5, 1]], [1.0, 2.0], {"shape": (3, 2)}, r"indices\[1\] = \(5, 1\) lies outside shape \(3, 2\)"),
        ([[0, 0.5]], [1.0], {}, r"indices\[0\] = \(0.0, 0.5\) is not made of whole numbers"),
        ([[0, np.nan]], [1.0], {}, r"indices\[0\] = .* is not made of whole numbers"),
        ([["a", "b"]], [1.0], {}, r"indices have dtype <U1; pass integers"),
        ([0, 1, 2], [1.0], {}, r"indices have shape \(3,\); pass integers of shape \(n, order\)"),
        ([[0, 1, 2]], [1.0], {"shape": (3, 3)}, r"indices have shape \(1, 3\); pass integers of shape \(n, 2\)"),
        ([[0], [1]], [1.0, 2.0], {}, r"order 1; low rank needs two modes"),
        ([[0, 1]], [1.0, 2.0], {}, r"1 rows of indices but 2 values"),
        ([[0, 1]], [[1.0]], {}, r"values have shape \(1, 1\); pass a flat array"),
        ([[0, 1], [2, 2], [0, 1]], [1.0, 2.0, 3.0], {}, r"\(0, 1\) are given twice \(rows 0 and 2\); pass duplicates='mean'"),
        ([[0, 1]], [1.0], {"duplicates": "first"}, r"duplicates='first' is not known; pass 'error', 'mean' or 'last'"),
        ([[0, 1]], [1.0], {"weights": [0.0]}, r"weights\[0\] = 0 is not allowed; weights are finite numbers above 0"),
        ([[0, 1]], [1.0], {"weights": [1.0, 2.0]}, r"weights have shape \(2,\)"),
        ([[0, 1]], [1.0], {"modes": ["a", "a"]}, r"modes=\('a', 'a'\) do not name 2 modes"),
        ([[0, 1]], [1.0], {"labels": [["x"], ["y"]]}, r"labels of lengths \(1, 1\) do not fit shape \(1, 2\)"),
        ([[0, 2**33]], [1.0], {}, r"lies outside what 32 bits can count"),
        ([[0, 2**33]], [1.0], {"shape": (1, 2**34)}, r"shape \(1, 17179869184\) has a mode longer than .* 32 bits"),
        (np.zeros((0, 2), int), [], {}, r"no observed entry"),
        ([[0, 1]], [np.nan], {}, r"no observed entry"),
        ([[0, 1]], [np.inf], {}, r"infinite value\(s\), the first at \(0, 1\)"),
    ],
)
def test_bad_coordinates(indices, values, options, message):
    with pytest.raises(ValueError, match=message):
        Observations.from_indices(indices, values, **options)


RAIN = pd.DataFrame({"station": ["a", "b"], "month": [1, 2], "rain": [0.5, 1.5], "note": ["x", "y"]})


@pytest.mark.parametrize(
    ("table", "modes", "value", "message"),
    [
        (RAIN, ["station", "year"], "rain", r"no column 'year' in the table; it has 'station', 'month', 'rain', 'note'"),
        (RAIN, ["station", "month"], "snow", r"no column 'snow'"),
        (RAIN, ["station"], "rain", r"order 1; low rank needs two modes"),
        (RAIN, ["station", "station"], "rain", r"name one twice"),
        (RAIN, ["station", "month"], "note", r"column 'note' has dtype .*; convert it with pandas.to_numeric\(table\['note'\]\)"),
        (RAIN.assign(month=[1, None]), ["station", "month"], "rain", r"row 1 of the table has no 'month'; drop it with"),
        (pd.concat([RAIN, RAIN]), ["station", "month"], "rain", r"given twice \(rows 0 and 2\)"),
        (RAIN.iloc[:0], ["station", "month"], "rain", r"no observed entry"),
        (pd.concat([RAIN, RAIN[["station"]]], axis=1), ["station", "month"], "rain", r"column 'station' stands twice"),
    ],
)
def test_bad_tables(table, modes, value, message):
    with pytest.raises(ValueError, match=message):
        Observations.from_table(table, modes, value)


@pytest.mark.parametrize("holdout", [0, 1, -0.1, 1.5, float("nan")])
def test_bad_holdout(holdout):
    with pytest.raises(ValueError, match=r"holdout=.* is not a share between 0 and 1; pass holdout=0.1"):
        Observations.from_array(np.ones((2, 2))).split(holdout)


def test_labels_are_shown_as_people_write_them():
    days = np.array(["2020-01-01", "2020-01-02T05"], "datetime64[ns]")
    obs = Observations.from_array(np.ones((2, 2)), labels=[days, np.array(["a", "longer"], np.dtypes.StringDType())])
    assert [obs.label(0, i) for i in range(2)] == ["2020-01-01", "2020-01-02T05:00"]
    assert [obs.label(1, i) for i in range(2)] == ["a", "longer"]
    assert [getattr(label, "dtype", None) for label in obs.labels] == [days.dtype, object]
