"""The generated arrays of the scale page, and the model of what a cluster moves."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.measures.scale import NOISE, PROBLEM, RANK, Ratings, moved, truth
from benchmarks.scale import constants, dense, model, slope

RATINGS = Ratings(3000, (200, 60, 30))


def test_entries_are_distinct_planted_and_the_same_at_every_reading():
    coords, values = (np.concatenate(parts, axis=-1) for parts in zip(*RATINGS(), strict=True))
    again = np.concatenate([v for _, v in RATINGS()])
    assert values.tobytes() == again.tobytes()
    assert len(np.unique(coords, axis=1).T) == len(values) > 2000
    assert np.std(values - truth(RATINGS.factors(), coords)) == pytest.approx(NOISE, rel=0.1)
    counts = RATINGS.chunks().counts
    assert [int(count.sum()) for count in counts] == [len(values)] * 3
    assert max(counts[0]) > 5 * np.median(counts[0])  # a power law


def test_what_a_cluster_moves_is_what_the_model_says():
    distributed = pytest.importorskip("distributed")
    from rankless.als.annealing import empty, with_random
    from rankless.als.cluster import ClusterEntries
    from rankless.als.entries import Entries
    from rankless.als.settle import settle
    from rankless.als.solver import sweep
    from rankless.runtime.workers import Workers

    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50) as cluster,
        distributed.Client(cluster) as client,
        Workers(1) as workers,
    ):
        entries = ClusterEntries.of(Entries.collected(RATINGS.chunks()), client)
        state = with_random(entries, empty(entries), RANK, np.random.default_rng(0))
        sweep(entries, state, PROBLEM, workers)
        entries.bytes_sent = entries.bytes_received = 0
        trace = settle(entries, state, PROBLEM, workers, pruning=False)
    sweeps = len(trace.objective)
    least, back = moved(RATINGS.shape, RANK, 2, 8, leaps=0.0)
    most, _ = moved(RATINGS.shape, RANK, 2, 8, leaps=1.0)
    assert 0.8 * least <= entries.bytes_sent / sweeps <= most
    assert entries.bytes_received / sweeps == pytest.approx(back, rel=0.1)


def test_the_model_of_time_finds_what_made_the_times():
    cells = []
    for count in (10**6, 10**7, 10**8):
        for shape in (dense(count), (1_000_000, 100_000, 1000)):
            seconds = model(count, shape, 40e-9, 2e-6, 1)
            cells.append({"entries": str(count), "shape": " x ".join(map(str, shape)), "sweep_seconds": str(seconds)})
    one = constants(cells)
    assert one[1] / one[0] == pytest.approx(2e-6 / 40e-9, rel=1e-6)
    assert slope(cells[::2]) == pytest.approx(1.0, abs=0.02)
