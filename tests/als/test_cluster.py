"""Workers of a Dask cluster compute what threads compute, whatever happens to them."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
from oracles import observed, random_state
from test_entries import shuffled

from rankless import als
from rankless.als import modes as modes_module
from rankless.als.annealing import empty, with_random
from rankless.als.cluster import ClusterEntries
from rankless.als.entries import Entries
from rankless.als.settle import settle
from rankless.als.solver import Problem, sweep
from rankless.runtime.workers import Workers

distributed = pytest.importorskip("distributed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def client():
    """Two worker processes of two threads each."""
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None, silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _set_long_row(count: int) -> int:
    before, modes_module._LONG_ROW = modes_module._LONG_ROW, count
    return before


@pytest.fixture
def long_rows(client):
    """Rows from 300 entries on are long, here and on the workers."""
    before = _set_long_row(300)
    client.run(_set_long_row, 300)
    yield
    client.run(_set_long_row, before)
    _set_long_row(before)


OBS = observed((40, 30, 20), seed=0, share=0.3, rank=3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_by_workers_is_that_of_threads_to_the_bit(client, dtype):
    options = {"depth": 1.0, "penalty": 0.5, "max_rank": 8, "anneal_rounds": 0, "max_sweeps": 4, "random_state": 0, "dtype": dtype}
    here, there = als.solve(OBS, **options), als.solve(OBS, client=client, **options)
    assert here.objective == there.objective
    assert here.rank == there.rank > 0
    for one, two in zip(here.model.factors, there.model.factors, strict=True):
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize("problem", [Problem(2.0, 0.3), Problem(0.0, 0.3, guard=0.1), Problem(1.0, 0.3, smooth=(1.5, 0.0, 2.0))])
@pytest.mark.parametrize("weighted", [False, True])
def test_so_are_sweeps_with_weights_guard_smoothness_and_long_rows(client, long_rows, problem, weighted):
    obs = observed((40, 30, 20), seed=1, share=0.3, weighted=weighted)
    entries = Entries(obs)
    assert any(own.long_rows for own in entries.modes)
    states = [random_state(entries, 4, seed=0) for _ in range(2)]
    with Workers(2) as workers:
        for _ in range(2):
            sweep(entries, states[0], problem, workers)
        remote = ClusterEntries.of(entries, client)
        for _ in range(2):
            sweep(remote, states[1], problem, workers)
    assert states[0].stack.tobytes() == states[1].stack.tobytes()
    assert states[0].loss == states[1].loss
    np.testing.assert_array_equal(states[0].energies, states[1].energies)
    np.testing.assert_array_equal(states[0].gains, states[1].gains)


def test_workers_that_read_for_themselves_hold_the_same_entries(client):
    chunks = shuffled(OBS, 500)
    here, there = Entries.collected(chunks), ClusterEntries.reading(chunks, client)
    assert (there.square, there.unit, there.size) == (here.square, here.unit, here.size)
    assert_same_fit(here, there)


def assert_same_fit(here: Entries, there: Entries) -> None:
    """A fit of some sweeps, to the bit."""
    found = []
    for entries in (here, there):
        state = with_random(entries, empty(entries), 5, np.random.default_rng(0))
        with Workers(1) as workers:
            trace = settle(entries, state, Problem(1.0, 0.4, tol=0.0, max_sweeps=5), workers)
        found.append((state.stack.tobytes(), trace.objective))
    assert found[0] == found[1]


@pytest.mark.parametrize("reading", [False, True])
def test_a_worker_killed_in_the_middle_of_a_fit_changes_nothing(client, reading):
    here = Entries(OBS)
    there = ClusterEntries.reading(shuffled(OBS, 500), client) if reading else ClusterEntries.of(here, client)
    if reading:
        here = Entries.collected(shuffled(OBS, 500))
    killed = []

    def kill() -> None:
        pids = list(client.run(os.getpid).values())
        killed.append(pids[0])
        os.kill(pids[0], signal.SIGKILL)

    timer = threading.Timer(0.3, kill)
    timer.start()
    try:
        assert_same_fit(here, there)
        while not killed:  # a machine fast enough to be done by then
            time.sleep(0.05)
        assert_same_fit(here, there)
    finally:
        timer.join()
        client.wait_for_workers(2, timeout=600)


def test_only_what_changed_is_sent(client):
    entries = ClusterEntries.of(Entries(OBS), client)
    state = with_random(entries, empty(entries), 5, np.random.default_rng(0))
    rows = sum(OBS.shape) * 5 * 8
    with Workers(1) as workers:
        sweep(entries, state, Problem(1.0, 0.4), workers)
        assert entries.bytes_sent <= 2 * (rows + rows)  # two workers: all factors, then the updated ones
        sent = entries.bytes_sent
        entries.measure_rows(entries.modes[-1], state.stack.copy(), np.zeros(OBS.shape[-1]), workers)
        first = entries.bytes_sent - sent
        entries.measure_rows(entries.modes[-1], state.stack.copy(), np.zeros(OBS.shape[-1]), workers)
    assert entries.bytes_sent - sent == first <= 2 * rows


def test_what_a_cluster_cannot_do_is_said(client):
    with pytest.raises(ValueError, match=r"loss='huber' and nonnegative=False need Observations on one machine; pass these"):
        als.solve(OBS, loss="huber", client=client)


class NoWorker:
    def nthreads(self):
        return {}


def test_a_cluster_without_workers_is_named():
    with pytest.raises(ValueError, match="the Dask cluster has no worker; start one"):
        ClusterEntries.of(Entries(OBS), NoWorker())  # pyright: ignore[reportArgumentType]
