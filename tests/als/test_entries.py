"""Entries collected a chunk at a time are those of observations, in whatever order they come."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import observed, problems

from rankless.als.entries import Chunks, Entries
from rankless.als.modes import SortedMode, even_parts, packing
from rankless.tensors.observations import Observations


def shuffled(obs: Observations, size: int, seed: int = 0) -> Chunks:
    """The entries in another order, `size` at a time."""
    order = np.random.default_rng(seed).permutation(obs.size)

    def read():
        for start in range(0, obs.size, size):
            part = order[start : start + size]
            yield obs.coords[:, part], obs.values[part]

    return replace(Chunks.of(obs), read=read)


def assert_same(one: Entries, two: Entries) -> None:
    for a, b in zip(one.modes, two.modes, strict=True):
        for name in ("starts", "places", "keys", "values", "weights"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=f"{name} of mode {a.mode}")
        assert (a.runs, a.blocks, a.long_rows, a.base) == (b.runs, b.blocks, b.long_rows, b.base)
    assert one.square == pytest.approx(two.square, rel=1e-12)
    assert one.unit == pytest.approx(two.unit, rel=1e-12)


@given(problems(), st.integers(1, 50), st.integers(0, 3))
def test_chunks_in_any_order_make_the_entries_of_observations(obs, size, seed):
    obs = replace(obs, weights=None)
    assert_same(Entries.collected(shuffled(obs, size, seed)), Entries(obs))


@pytest.mark.parametrize("shape", [(70_000, 3), (3, 70_000, 2**20), (2**20, 2**17, 1000), (2**31 - 1, 2**31 - 1), (2,) * 40])
def test_coordinates_come_out_of_their_words_as_they_went_in(shape):
    rng = np.random.default_rng(0)
    indices = np.stack([rng.integers(0, d, 50) for d in shape], axis=1)
    indices[0], indices[1] = 0, np.array(shape) - 1
    obs = Observations.from_indices(indices, np.arange(50.0), shape=shape, duplicates="last")
    for mode in range(min(len(shape), 3)):
        if shape[mode] > 2**21:
            continue  # a row of zeros a slice
        places, words = packing(shape, mode)
        assert words <= len(shape) - 1
        own = SortedMode.of(obs.coords, shape, mode, obs.values, np.empty(0))
        order = np.lexsort([np.arange(obs.size), obs.coords[mode]])
        np.testing.assert_array_equal(own.others(), np.delete(obs.coords, mode, axis=0)[:, order])
        assert len(places) == len(shape) - 1


@pytest.mark.parametrize(("dtype", "most"), [(np.float64, 64), (np.float32, 32)])
def test_bytes_an_entry_at_order_3_peak_included(dtype, most):
    """The target's shape: its coordinates take 20, 17 and 10 bits. What rows take is left out: it does not grow with the entries."""
    shape, count = (2**10, 2**9, 2**8), 300_000
    rng = np.random.default_rng(0)
    big = (1_000_000, 100_000, 1000)
    assert [4 * packing(big, m)[1] for m in range(3)] == [4, 4, 8]
    flat = rng.choice(np.prod(shape), count, replace=False)
    obs = Observations.from_indices(np.stack(np.unravel_index(flat, shape), axis=1), rng.normal(size=count), shape=shape)
    chunks = replace(Chunks.of(obs, 2**12))
    Entries.collected(chunks, dtype)  # compiled
    tracemalloc.start()
    try:
        entries = Entries.collected(chunks, dtype)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # a word more in one mode of the target's shape than here
    assert (peak + 4 * count) / count < most
    assert entries.nbytes <= held


def test_a_coordinate_that_comes_twice_is_named():
    obs = observed((5, 6, 7), seed=0)
    doubled = np.concatenate([obs.coords, obs.coords[:, [17]]], axis=1)
    counts = tuple(np.bincount(c, minlength=d) for c, d in zip(doubled, obs.shape, strict=True))
    chunks = Chunks(obs.shape, counts, lambda: [(doubled, np.append(obs.values, 1.0))])
    with pytest.raises(ValueError, match=rf"coordinates \({', '.join(map(str, obs.coords[:, 17]))}\) are given twice; drop one"):
        Entries.collected(chunks)


@pytest.mark.parametrize("change", [lambda c, v: (c[:, :-1], v[:-1]), lambda c, v: (c[:, [0, *range(c.shape[1])]], v[[0, *range(len(v))]])])
def test_chunks_that_change_between_two_readings_are_noticed(change):
    obs = observed((5, 6, 7), seed=0)
    chunks = replace(Chunks.of(obs), read=lambda: [change(obs.coords, obs.values)])
    with pytest.raises(ValueError, match="not those that were counted at first; did the file change"):
        Entries.collected(chunks)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=200), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_parts_hold_every_row_once_and_their_share_of_the_work(counts, shares):
    found = even_parts(np.array(counts), shares)
    assert [row for lo, hi in found for row in range(lo, hi)] == list(range(len(counts)))
    assert len(found) == len(shares)
    whole, largest = sum(counts) + 64 * len(counts), max(counts) + 64
    for (lo, hi), share in zip(found, shares, strict=True):
        assert sum(counts[lo:hi]) + 64 * (hi - lo) <= whole * share / sum(shares) + largest
