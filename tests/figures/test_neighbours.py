"""The figures of neighbouring papers: their data are what they say, and what is read off a run is right."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.figures import gaussian, images, multirank, real, staircase, tubal


def test_the_power_of_a_median_over_seeds_is_that_of_the_law_it_was_made_by():
    scales = np.repeat([1e-1, 1e-2, 1e-3], 3)
    factors = np.tile([0.9, 1.0, 50.0], 3)  # the median is the middle one
    assert gaussian.power({"scale": scales, "apart": 3 * factors * scales**0.4}, "apart") == pytest.approx(0.4)


def test_the_largest_median_is_that_of_the_smallest_start():
    columns = {"scale": np.array([1.0, 0.1, 0.1]), "k": np.array([1, 1, 2]), "apart": np.array([9.0, 0.2, 0.3])}
    assert gaussian.largest(columns, "apart") == pytest.approx(0.3)


def test_the_truth_of_the_staircase_has_its_hierarchical_rank():
    """Which for a tree of halves is the rank of the matricization by the first two modes, and of those by one."""
    whole, rank = staircase.truth(), staircase.RANK
    middle = np.linalg.matrix_rank(whole.reshape(staircase.SHAPE[0] * staircase.SHAPE[1], -1), tol=1e-8)
    ones = [np.linalg.matrix_rank(np.moveaxis(whole, n, 0).reshape(len(whole), -1), tol=1e-8) for n in range(4)]
    assert middle == rank and ones == [rank] * 4


def test_local_components_that_live_are_counted_node_by_node():
    part = {f"node2_{r + 1}": np.array([9.0, value]) for r, value in enumerate([1.0, 0.5, 0.01, 0.0, 0.04])}
    assert staircase.alive(part, 2) == 3


def test_the_tubal_truth_has_its_rank_at_every_frequency():
    truth, problem, start = tubal.task("tubal completion", 2, 0)
    frequencies = np.moveaxis(np.fft.fft(truth, axis=2), 2, 0)
    assert [np.linalg.matrix_rank(f, tol=1e-8) for f in frequencies] == [tubal.TUBAL_RANK] * truth.shape[2]
    assert start.shape == problem.shape == truth.shape and np.mean(truth**2) == pytest.approx(1.0)


def test_maps_measure_the_truth():
    truth, problem, _ = tubal.task("matrix sensing", 1, 0)
    said = np.tensordot(problem.observed.maps, truth, axes=2)  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_allclose(said, problem.observed.values, rtol=1e-12)


def test_planted_multirank_is_that_of_every_unfolding():
    truth = multirank.planted_tucker(9, 3)
    assert [np.linalg.matrix_rank(np.moveaxis(truth, n, 0).reshape(9, -1), tol=1e-8) for n in range(3)] == [3] * 3


def test_energy_left_is_that_of_the_matrix_less_its_best_fit_of_that_rank():
    """By Eckart and Young: the oracle rebuilds the matrix from its first singular vectors."""
    matrix = np.random.default_rng(0).normal(size=(7, 5))
    left, (u, s, v) = real.energy_left(matrix), np.linalg.svd(matrix)
    for rank in range(6):
        rest = matrix - (u[:, :rank] * s[:rank]) @ v[:rank]
        np.testing.assert_allclose(left[rank], np.sum(rest**2) / np.sum(matrix**2), atol=1e-12)
    assert real.needed(left, 0.9) == next(rank for rank in range(6) if left[rank] <= 0.1)


def test_a_run_is_read_where_its_training_error_has_fallen_to_that():
    part = {"train_rmse": np.array([1.0, 0.5, 0.25]), "test_rmse": np.array([2.0, 1.0, 3.0])}
    assert real.at_fit(part, "test_rmse", 0.5) == 1.0 and real.at_fit(part, "test_rmse", 0.375) == pytest.approx(2.0)


def test_the_limit_needs_a_lower_rank_and_no_lower_error_at_the_same_fit():
    def part(test, rank):
        return {"train_rmse": np.array([1.0, 0.4]), "test_rmse": np.array([1.0, test]), "effective_rank": np.array([1.0, rank])}

    array = np.zeros((4, 4, 4))
    assert real._limit("digits", array, [part(0.5, 9.0), part(0.6, 5.0)], True).holds
    assert not real._limit("digits", array, [part(0.5, 9.0), part(0.4, 5.0)], True).holds
    assert not real._limit("digits", array, [part(0.5, 5.0), part(0.6, 9.0)], True).holds


def test_stations_have_no_gap_and_are_left_out_where_the_file_is_not(tmp_path, monkeypatch, shared_data):
    shared_data("metoffice_2001_2020")
    array = real.stations(False)
    if array is not None:  # RANKLESS_DATA names the folder
        assert array.shape == (15, 20, 12, 5) and np.isfinite(array).all()
        np.testing.assert_allclose(array.std(axis=(0, 1, 2)), 1.0)
    monkeypatch.setenv("RANKLESS_DATA", str(tmp_path))
    assert real.stations(False) is None


def test_images_are_each_there_once_with_two_labels():
    indices, labels = images.images()
    assert len(np.unique(indices, axis=0)) == len(indices) > 200 and indices.shape[1] == 16
    assert set(indices.ravel()) <= set(range(images.LEVELS)) and set(labels) == {-1.0, 1.0}
    assert 0.3 < np.mean(labels > 0) < 0.7


def test_every_formula_that_is_changed_by_two_percent_stands_where_the_list_says(tmp_path):
    from benchmarks import mutations

    from rankless.figures import NAMES

    for mutation in mutations.MUTATIONS:
        text = (mutations.ROOT / "src" / "rankless" / mutation.path).read_text(encoding="utf-8")
        assert text.count(mutation.old) == 1, mutation.name
        assert (mutation.old == mutation.new) == mutation.name.startswith("none") and set(mutation.figures) <= set(NAMES)


def test_what_fails_in_the_package_as_it_is_was_not_noticed():
    from benchmarks import mutations

    untouched = {"claims": "law: a", "tests": ""}
    assert mutations.noticed({"claims": "law: a; law: b", "tests": "t"}, untouched, "claims") == ["law: b"]
    assert mutations.noticed({"claims": "", "tests": ""}, untouched, "tests") == []
