"""CPTensor against the dense tensor that einsum builds from the same factors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankless.tensors.cp_tensor import CPTensor


@st.composite
def models(draw):
    """A random CP tensor of order 1 to 5, rank 0 to 4."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    rank, seed = draw(st.integers(0, 4)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    return CPTensor([rng.normal(size=(d, rank)) for d in shape])


def oracle(model: CPTensor) -> np.ndarray:
    letters = "abcde"[: model.order]
    return np.einsum(",".join(f"{c}r" for c in letters) + "->" + letters, *model.factors)


@given(models())
def test_full_is_einsum(model):
    np.testing.assert_allclose(model.full(), oracle(model), atol=1e-12)
    assert model.full().shape == model.shape


@given(models(), st.data())
def test_at_reads_the_tensor_without_building_it(model, data):
    rows = st.tuples(*(st.integers(0, d - 1) for d in model.shape))
    indices = np.array(data.draw(st.lists(rows, min_size=1, max_size=20)))
    expected = oracle(model)[tuple(indices.T)]
    np.testing.assert_allclose(model.at(indices), expected, atol=1e-12)
    shares = model.contributions(indices)
    assert shares.shape == (len(indices), model.rank)
    np.testing.assert_allclose(shares.sum(axis=1), expected, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 64, 300])
def test_values_do_not_depend_on_how_many_are_asked_for_at_once(monkeypatch, rank):
    rng = np.random.default_rng(rank)
    model = CPTensor([rng.normal(size=(d, rank)) for d in (9, 8, 7)])
    indices = np.argwhere(np.ones(model.shape))
    whole = model.at(indices).tobytes()
    for at_once in (1, 7 * rank, 100 * rank + 1):
        monkeypatch.setattr("rankless.tensors.cp_tensor._AT_ONCE", at_once)
        assert model.at(indices).tobytes() == whole


def test_at_agrees_with_itself_across_blocks():
    model = CPTensor([np.arange(1.0, 4.0)[:, None], np.arange(1.0, 6.0)[:, None]])
    indices = np.column_stack([np.arange(150_000) % 3, np.arange(150_000) % 5])
    np.testing.assert_array_equal(model.at(indices), (indices[:, 0] + 1.0) * (indices[:, 1] + 1.0))


def test_at_never_needs_the_whole_tensor():
    model = CPTensor([np.ones((100_000, 2))] * 6)  # 1e30 cells
    assert model.at([[99_999] * 6]).tolist() == [2.0]


@given(models())
def test_norms_come_from_the_factors_alone(model):
    assert model.norm() == pytest.approx(np.linalg.norm(oracle(model)), abs=1e-6)
    parts = [np.linalg.norm(oracle(CPTensor([f[:, [r]] for f in model.factors]))) for r in range(model.rank)]
    np.testing.assert_allclose(model.component_norms(), parts, atol=1e-12)


@given(models())
def test_balancing_moves_norms_between_modes_and_nothing_else(model):
    even = model.balanced()
    np.testing.assert_allclose(even.full(), oracle(model), atol=1e-10)
    norms = np.array([np.linalg.norm(f, axis=0) for f in even.factors])
    np.testing.assert_allclose(norms, np.broadcast_to(norms[:1], norms.shape), rtol=1e-9)
    assert (np.diff(even.component_norms()) <= 1e-12).all(), "largest first"


def test_balancing_keeps_a_dead_component_dead():
    even = CPTensor([np.array([[0.0, 1.0]]), np.array([[5.0, 2.0]])]).balanced()
    assert all(np.isfinite(f).all() for f in even.factors)
    np.testing.assert_allclose(even.full(), [[2.0]])


@given(models())
def test_tensorly_form_has_unit_columns_and_the_norms_as_weights(model):
    weights, factors = model.to_tensorly()
    np.testing.assert_allclose(weights, model.component_norms())
    for factor in factors:
        np.testing.assert_allclose(np.linalg.norm(factor, axis=0), 1.0)
    scaled = CPTensor([factors[0] * weights, *factors[1:]])
    np.testing.assert_allclose(scaled.full(), oracle(model), atol=1e-10)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path, dtype):
    rng = np.random.default_rng(0)
    model = CPTensor([rng.normal(size=(d, 3)).astype(dtype) for d in (4, 5, 6)])
    model.save(tmp_path / "model.npz")
    back = CPTensor.load(tmp_path / "model.npz")
    assert [f.dtype for f in back.factors] == [np.dtype(dtype)] * 3
    assert all(np.array_equal(a, b) for a, b in zip(model.factors, back.factors, strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def _truncated(path):
    CPTensor([np.ones((50, 2))] * 3).save(path)
    path.write_bytes(path.read_bytes()[:-100])


def _corrupt(path):
    np.savez_compressed(path, factor_0=np.random.default_rng(0).normal(size=(40, 40)))
    data = bytearray(path.read_bytes())
    data[200:220] = bytes(20)
    path.write_bytes(bytes(data))


def _pickled(path):
    np.savez(path, factor_0=np.array([{"a": 1}], dtype=object))


def _bare_array(path):
    with open(path, "wb") as stream:
        np.save(stream, np.ones((2, 2)))


@pytest.mark.parametrize(
    "write",
    [
        _truncated,
        _corrupt,
        _pickled,
        _bare_array,
        lambda path: np.savez(path, tensor=np.ones((2, 2))),
        lambda path: np.savez(path, factor_1=np.ones((2, 2))),
        lambda path: np.savez(path, factor_0=np.ones((2, 2)), factor_1=np.ones((2, 3))),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("hello"),
    ],
    ids=["truncated", "corrupt", "pickle", "npy inside", "other arrays", "first factor missing", "unequal ranks", "empty", "text"],
)
def test_a_file_that_is_no_model_is_named(tmp_path, write):
    path = tmp_path / "model.npz"
    write(path)
    with pytest.raises(ValueError, match=r"model\.npz is not a model saved by rankless .*; save it again with model\.save"):
        CPTensor.load(path)


@pytest.mark.parametrize("factors", [[], [np.ones(3)], [np.ones((2, 1)), np.ones((2, 2))]], ids=["none", "flat", "unequal ranks"])
def test_factors_that_make_no_tensor_are_named(factors):
    with pytest.raises(ValueError, match=r"factors of shapes .* do not make a CP tensor; pass one \(size, rank\) array a mode"):
        CPTensor(factors)


def test_coordinates_outside_are_named():
    model = CPTensor([np.ones((2, 1)), np.ones((3, 1))])
    with pytest.raises(ValueError, match=r"indices\[1\] = \(0, 3\) lies outside shape \(2, 3\)"):
        model.at([[0, 0], [0, 3]])
