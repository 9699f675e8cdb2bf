"""NumPy arrays, masked ones, and sparse ones, whose silence about what is absent must be broken."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from filled import filled_by
from labelled_data import floats, holed, integers, shapes
from rankless.kinds.given import in_dtype
from rankless.kinds.packing import packed

sparse = pytest.importorskip("sparse")


@given(shapes.flatmap(lambda shape: holed(shape, [np.float32, np.float64])))
def test_an_array_comes_back_filled(array):
    filled = filled_by(array).filled
    expected = np.where(np.isnan(array), np.indices(array.shape).sum(axis=0) + 0.25, array).astype(array.dtype)
    assert type(filled) is np.ndarray
    assert filled.dtype == array.dtype
    np.testing.assert_array_equal(filled, expected)


@given(
    st.sampled_from([*floats, *integers]).flatmap(lambda dtype: hnp.arrays(dtype, (3, 4), elements=st.integers(0, 100))),
    hnp.arrays(bool, (3, 4)).filter(lambda mask: not mask.all()),
)
def test_a_masked_array_comes_back_in_its_dtype_nothing_masked(values, mask):
    array = np.ma.MaskedArray(values, mask, fill_value=99)
    filled = filled_by(array).filled
    answers = np.indices(values.shape).sum(axis=0) + (0.25 if values.dtype.kind == "f" else 0)
    assert isinstance(filled, np.ma.MaskedArray)
    assert filled.dtype == values.dtype
    assert filled.fill_value == 99
    assert not np.ma.getmaskarray(filled).any()
    np.testing.assert_array_equal(filled.data, np.where(mask, answers, values))
    np.testing.assert_array_equal(np.ma.getmaskarray(array), mask)


@given(hnp.arrays(np.float64, 6, elements=st.floats(allow_nan=False)), st.sampled_from(integers))
def test_whole_numbers_are_the_nearest_that_the_dtype_holds(values, dtype):
    bounds = np.iinfo(dtype)
    expected = [
        min(max(round(value), bounds.min), bounds.max) if abs(value) < np.inf else (bounds.max if value > 0 else bounds.min)
        for value in values.tolist()
    ]
    assert in_dtype(values, dtype).tolist() == expected


@given(
    hnp.arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)),
    st.sampled_from([np.int8, np.uint8, np.int16, np.dtype(">i2")]),
    st.sampled_from([1.0, 0.01, 250.0, -0.5]),
    st.integers(-5, 5),
    st.lists(st.integers(-128, 127), max_size=2),
)
def test_a_packed_value_is_the_nearest_and_never_a_mark(values, dtype, scale, offset, marks):
    marks = np.array(marks, np.int8).astype(dtype)
    attributes = {"scale_factor": scale, "add_offset": offset, "missing_value": marks}
    stored = packed(values, dtype, attributes)
    assert stored.dtype == dtype
    assert not np.isin(stored, marks).any()
    best = np.clip(np.rint((values - offset) / scale), np.iinfo(dtype).min, np.iinfo(dtype).max)
    away = np.abs(stored.astype(float) - best)
    assert (away <= len(marks)).all()
    assert (away[~np.isin(best, marks)] == 0).all()


# --- sparse -----------------------------------------------------------------------------------------

FORMATS = ["coo", "csr", "csc", "lil", "dok", "bsr", "dia"]


@given(holed((3, 4), [np.float32, np.float64]), st.sampled_from(FORMATS), st.booleans())
def test_scipys_sparse_arrays_come_back_with_every_cell_stored(values, form, is_array):
    seen = np.isfinite(values)
    coo = scipy.sparse.coo_array if is_array else scipy.sparse.coo_matrix
    array = coo((values[seen], np.nonzero(seen)), shape=values.shape).asformat(form)
    stored = array.tocoo()
    assume(stored.nnz)  # zeros alone, and a form that forgets them
    filled = filled_by(array, absent="missing").filled
    assert type(filled) is type(array)
    assert filled.dtype == values.dtype
    expected = (np.indices(values.shape).sum(axis=0) + 0.25).astype(values.dtype)
    expected[stored.coords] = stored.data  # lil and dok forget zeros, bsr and dia store some that nobody gave
    np.testing.assert_array_equal(filled.toarray(), expected)


@given(holed((2, 3, 2), [np.float32, np.float64]), st.sampled_from(["COO", "GCXS", "DOK"]))
def test_sparse_arrays_of_any_order_come_back_with_every_cell_stored(values, form):
    seen = np.isfinite(values)
    coo = sparse.COO(np.stack(np.nonzero(seen)), values[seen], shape=values.shape)
    array = coo.asformat(form.lower())
    filled = filled_by(array, absent="missing").filled
    assert type(filled).__name__ == form
    assert filled.dtype == values.dtype
    held = array.asformat("coo")
    expected = (np.indices(values.shape).sum(axis=0) + 0.25).astype(values.dtype)
    expected[tuple(held.coords)] = held.data
    np.testing.assert_array_equal(filled.todense(), expected)


def test_a_zero_that_is_stored_was_observed():
    coo = scipy.sparse.coo_array(([0.0, 2.0], ([0, 1], [1, 0])), shape=(2, 2))
    assert filled_by(coo, absent="missing").observations.values.tolist() == [0.0, 2.0]
    assert filled_by(coo, absent="missing").filled.toarray().tolist() == [[0.25, 0.0], [2.0, 2.25]]


def test_entries_that_stand_twice_are_added_up_as_scipy_reads_them():
    coo = scipy.sparse.coo_array(([1.0, 2.0, 5.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert filled_by(coo, absent="missing").observations.values.tolist() == [3.0, 5.0]
    assert coo.nnz == 3, "what came in is left alone"


@pytest.mark.parametrize("absent", [None, "zero"])
def test_missing_is_not_zero_and_nobody_guesses(absent):
    for array, dense in ((scipy.sparse.eye_array(3, 3), "toarray"), (sparse.eye(3), "todense")):
        with pytest.raises(ValueError, match=rf"missing is not zero: pass absent='missing' \(--absent missing\).* or A\.{dense}\(\)"):
            filled_by(array, absent=absent)


def test_a_fill_value_of_nan_says_it():
    array = sparse.COO([[0, 1], [1, 0]], [3.0, 4.0], shape=(2, 2), fill_value=np.nan)
    filled = filled_by(array).filled
    assert filled.todense().tolist() == [[0.25, 3.0], [4.0, 2.25]]
