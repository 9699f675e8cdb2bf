"""Matching components: permuted, flipped and rescaled copies are the same model; tlviz says the same of others."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rankless
from rankless.tensors.cp_tensor import CPTensor
from rankless.trust.matching import aligned, match

seeds = st.integers(0, 2**32 - 1)


def random_model(rng: np.random.Generator, rank: int = 4, shape: tuple[int, ...] = (6, 5, 7)) -> CPTensor:
    return CPTensor([rng.normal(size=(d, rank)) for d in shape])


def disguised(model: CPTensor, rng: np.random.Generator) -> tuple[CPTensor, np.ndarray]:
    """The same tensor, its components shuffled, signs and scales shared otherwise; and where each came from."""
    order = rng.permutation(model.rank)
    scales = rng.uniform(0.2, 5.0, size=(model.order, model.rank)) * rng.choice([-1.0, 1.0], size=(model.order, model.rank))
    scales[-1] = 1 / np.prod(scales[:-1], axis=0)
    return CPTensor([(f * s)[:, order] for f, s in zip(model.factors, scales, strict=True)]), order


@given(seeds)
def test_a_disguised_copy_is_recognised(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    copy, order = disguised(model, rng)
    np.testing.assert_allclose(copy.full(), model.full(), atol=1e-9)
    found = match(model, copy)
    assert found.score == pytest.approx(1.0)
    np.testing.assert_array_equal(order[found.permutation], np.arange(4))
    assert (np.prod(found.signs, axis=0) == 1).all()
    back = aligned(model, copy)
    np.testing.assert_allclose(back.full(), model.full(), atol=1e-9)
    for one, other in zip(model.factors, back.factors, strict=True):
        np.testing.assert_allclose(other / np.linalg.norm(other, axis=0), one / np.linalg.norm(one, axis=0), atol=1e-9)


@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_a_match_is_the_same_from_either_side(seed, rank, other):
    rng = np.random.default_rng(seed)
    a, b = random_model(rng, rank), random_model(rng, other)
    there, back = match(a, b), match(b, a)
    assert there.score == pytest.approx(back.score)
    assert 0.0 <= there.score <= 1.0
    assert len(there.pairs) == min(rank, other)
    assert (np.diff(there.scores) <= 0).all()
    np.testing.assert_allclose(aligned(a, b).full(), b.full(), atol=1e-9)


def test_sizes_count_unless_left_out():
    model = random_model(np.random.default_rng(0))
    twice = CPTensor([2.0 * model.factors[0], *model.factors[1:]])
    assert match(model, twice).score == pytest.approx(0.5)
    assert match(model, twice, sizes=False).score == pytest.approx(1.0)


def test_models_of_other_shapes_are_refused_and_empty_ones_match():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"models of shapes \(6, 5, 7\) and \(6, 5\) can't be matched"):
        match(random_model(rng), random_model(rng, shape=(6, 5)))
    nothing = random_model(rng, rank=0)
    assert match(nothing, nothing).score == 1.0
    assert match(nothing, random_model(rng)).score == 0.0


def test_it_is_public():
    assert rankless.match is match


@pytest.fixture(scope="module")
def factor_tools():
    pytest.importorskip("tlviz", reason="needs tlviz: pip install tlviz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        return importlib.import_module("tlviz.factor_tools")


@pytest.mark.parametrize("sizes", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_tlviz_finds_the_same_score_and_permutation(factor_tools, seed, sizes):
    rng = np.random.default_rng(seed)
    a = random_model(rng)
    b, _ = disguised(CPTensor([f + 0.3 * rng.normal(size=f.shape) for f in a.factors]), rng)
    score, permutation = factor_tools.factor_match_score(a.to_tensorly(), b.to_tensorly(), consider_weights=sizes, return_permutation=True)
    found = match(a, b, sizes=sizes)
    assert found.score == pytest.approx(score)
    assert found.permutation.tolist() == [int(p) for p in permutation]


def test_tensorly_rebuilds_the_tensor():
    tensorly = pytest.importorskip("tensorly", reason="needs tensorly: pip install tensorly")
    model = random_model(np.random.default_rng(1))
    cp = tensorly.cp_tensor.CPTensor(model.to_tensorly())
    np.testing.assert_allclose(tensorly.cp_to_tensor(cp), model.full(), atol=1e-12)
    assert cp.rank == 4
