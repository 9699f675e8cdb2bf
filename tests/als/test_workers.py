"""Blocks of rows, and the threads that take them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import observed, problems
from threadpoolctl import threadpool_info

from rankless.als import modes as modes_module
from rankless.als.entries import Entries
from rankless.als.modes import SortedMode, segments
from rankless.runtime.workers import Workers


@given(problems(), st.data())
def test_a_mode_is_its_entries_sorted_by_row(obs, data):
    mode = data.draw(st.integers(0, obs.order - 1))
    weights = np.empty(0) if obs.weights is None else obs.weights
    own = SortedMode.of(obs.coords, obs.shape, mode, obs.values, weights)
    for row in range(obs.shape[mode]):
        mine = np.flatnonzero(obs.coords[mode] == row)  # in canonical order
        part = slice(own.starts[row], own.starts[row + 1])
        np.testing.assert_array_equal(own.values[part], obs.values[mine])
        np.testing.assert_array_equal(own.others()[:, part], np.delete(obs.coords, mode, axis=0)[:, mine])
        np.testing.assert_array_equal(own.weights[part], weights[mine] if len(weights) else [])
    assert own.starts[-1] == own.size == obs.size


@given(st.lists(st.integers(0, 400), min_size=1, max_size=200), st.sampled_from([20, 100, 16_384]), st.integers(1, 5))
def test_every_row_is_in_one_block_or_long(lengths, long_row, count):
    lengths = np.array(lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modes_module, "_LONG_ROW", long_row)
        blocks = modes_module._even_blocks(lengths, count)
    rows = [row for lo, hi in blocks for row in range(lo, hi)]
    assert rows == np.flatnonzero(lengths <= long_row).tolist()


@given(st.integers(33, 2000), st.integers(0, 100))
def test_blocks_hold_even_work(rows, length):
    work = [(hi - lo) * (length + 16) for lo, hi in modes_module._even_blocks(np.full(rows, length), 32)]
    assert max(work) <= rows * (length + 16) / 32 + (length + 16), "no block is a row more than its share"


@given(st.integers(0, 50), st.integers(1, 500))
def test_segments_of_a_long_row_follow_each_other(lo, count):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modes_module, "_LONG_ROW", 37)
        parts = segments(lo, lo + count)
    assert [e for a, b in parts for e in range(a, b)] == list(range(lo, lo + count))
    assert all(b - a <= 37 for a, b in parts)


def test_entries_of_order_3_take_at_most_64_bytes_each():
    obs = observed((30, 40, 50), seed=0)
    own = [getattr(mode, name) for mode in Entries(obs).modes for name in ("keys", "values", "weights")]
    buffers = {}
    for array in [obs.coords, obs.values, *own]:
        while array.base is not None:
            array = array.base
        buffers[id(array)] = array.nbytes
    assert sum(buffers.values()) <= 64 * obs.size


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_every_call_is_made_once(n_jobs):
    made = []
    with Workers(n_jobs) as workers:
        workers.run(lambda i, j: made.append((i, j)), [(i, i + 1) for i in range(500)], work=1e9)
    assert sorted(made) == [(i, i + 1) for i in range(500)]


def test_threads_work_at_the_same_time_and_only_where_it_pays():
    meeting = threading.Barrier(2, timeout=600)
    names = set()
    with Workers(2) as workers:
        workers.run(meeting.wait, [(), ()], work=1e9)  # would break, were both calls made by one thread
        workers.run(lambda: names.add(threading.current_thread().name), [()] * 50, work=1e3)
    assert names == {threading.current_thread().name}


def test_an_error_in_a_thread_comes_out():
    def fail(i):
        raise ZeroDivisionError(f"call {i}")

    with pytest.raises(ZeroDivisionError, match="call"), Workers(2) as workers:
        workers.run(fail, [(i,) for i in range(4)], work=1e9)


def _blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_is_held_to_one_thread_while_working():
    before = _blas_threads()
    with pytest.raises(KeyError), Workers(2):
        assert set(_blas_threads()) == {1}
        raise KeyError
    assert _blas_threads() == before


@pytest.mark.parametrize("bad", [0, -2, 1.5, "two"])
def test_threads_that_are_no_number_are_named(bad):
    with pytest.raises(ValueError, match=rf"n_jobs={bad!r} is not a number of threads; pass n_jobs=1"):
        Workers(bad)


@pytest.mark.parametrize("all_of_them", [None, -1])
def test_all_processors_unless_told(all_of_them):
    assert Workers(all_of_them).n_jobs >= 1
