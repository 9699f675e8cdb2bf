"""The figures of neighbouring papers: their data are what they say, and what is read off a run is right."""

from __future__ import annotations

import numpy as np
import pytest

from rankless.figures import gaussian, images, multirank, staircase, tubal


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
        assert (mutation.old == mutation.new) == (mutation.name == "none") and set(mutation.figures) <= set(NAMES)


def test_what_fails_in_the_package_as_it_is_was_not_noticed():
    from benchmarks import mutations

    untouched = {"claims": "law: a", "tests": ""}
    assert mutations.noticed({"claims": "law: a; law: b", "tests": "t"}, untouched, "claims") == ["law: b"]
    assert mutations.noticed({"claims": "", "tests": ""}, untouched, "tests") == []
