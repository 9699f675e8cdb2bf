"""Collapsed against explicit: depth is a metric, and an honest refusal where it is not."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.tensors.cp_tensor import CPTensor

from .conftest import CUBE, TALL, compiled, moved, planted, relative


@pytest.mark.parametrize(("depth", "decay"), [(0, 0.0), (1, 0.1), (2, 0.1), (3, 0.0)])
def test_deep_cp_flows_as_its_collapse(depth, decay):
    problem = dyn.Problem(planted(CUBE), decay=decay)
    explicit = dyn.DeepCP.balanced(CUBE, components=4, depth=depth, scale=0.2, key=3)
    collapsed = explicit.collapse()
    assert relative(collapsed, dyn.CP.balanced(CUBE, components=4, depth=depth, scale=0.2, key=3)) < 1e-14
    for end in (0.5, 1.5):
        a, b = (moved(problem, start, end, steps=600) for start in (explicit, collapsed))
        for seen in (dyn.probes.component_norms, dyn.probes.last_layer_norms):
            assert relative(compiled(seen)(problem, a), compiled(seen)(problem, b)) < 1e-7
        assert relative(compiled(dyn.DeepCP.full)(a), compiled(dyn.CP.full)(b)) < 1e-7
        assert relative(a.collapse().factors, b.factors) < 1e-7
    np.testing.assert_allclose(explicit.penalty(), collapsed.penalty(), rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "layers"), [(TALL, 1), (TALL, 2), (TALL[::-1], 2), ((4, 4), 2), (TALL, 3), (TALL[::-1], 3), ((4, 4), 4)], ids=str
)
def test_deep_matrix_flows_as_its_collapse(shape, layers):
    problem = dyn.Problem(planted(shape))
    collapsed = dyn.Matrix.gaussian(shape, layers=layers, scale=0.3, key=3)
    explicit = dyn.DeepMatrix.from_matrix(collapsed)
    assert relative(explicit.collapse(), collapsed) < 1e-13
    explicit_end, collapsed_end = compiled(dyn.DeepMatrix.full)(moved(problem, explicit)), moved(problem, collapsed).product
    assert relative(explicit_end, collapsed_end) < 1e-8
    np.testing.assert_allclose(explicit.penalty(), collapsed.penalty(), rtol=1e-12)


def test_matrix_velocity_is_the_sum_of_arora():
    """The spectral formula against powers of ``W W^T``, term by term, for a rectangular matrix."""
    problem, layers = dyn.Problem(planted(TALL)), 3
    start = dyn.Matrix.gaussian(TALL, layers=layers, scale=0.7, key=0)
    w, g = np.asarray(start.product), np.asarray(problem.gradient(start).product)

    def power(a, p):
        values, vectors = np.linalg.eigh(a)
        return (vectors * np.clip(values, 0, None) ** p) @ vectors.T

    slow = -sum(power(w @ w.T, (j - 1) / layers) @ g @ power(w.T @ w, (layers - j) / layers) for j in range(1, layers + 1))
    assert relative(problem.velocity(start).product, slow) < 1e-5  # eigh leaves 1e-16 for a zero, its cube root is 5e-6


def test_equal_singular_values_are_no_singularity():
    start = dyn.Matrix.identity((4, 4), layers=3, scale=0.5)
    problem = dyn.Problem(planted((4, 4)))
    gradient = np.asarray(problem.gradient(start).product)
    assert relative(problem.velocity(start).product, -3 * 0.5 ** (4 / 3) * gradient) < 1e-12


def test_a_component_at_zero_stays_and_harms_nobody():
    factors = [np.c_[np.ones(d), np.zeros(d)] for d in CUBE]
    for depth in (0.0, 0.5, 2.0):
        velocity = compiled(dyn.Problem.velocity)(dyn.Problem(planted(CUBE), decay=0.1), dyn.CP(factors, depth))
        assert all(np.isfinite(v).all() for v in jax.tree.leaves(velocity))
        assert not np.asarray(velocity.factors[0])[:, 1].any()


@pytest.mark.parametrize(
    "start",
    [
        dyn.DeepCP.gaussian(CUBE, components=4, depth=1, scale=0.1, key=0),
        dyn.DeepCP.identity(CUBE, components=4, depth=1, scale=0.1, key=0),
        dyn.DeepMatrix.gaussian(TALL, layers=2, scale=0.1, key=0),
    ],
    ids=["gaussian", "identity", "matrix"],
)
def test_collapse_refuses_unbalanced_layers(start):
    with pytest.raises(ValueError, match=r"relative imbalance \d\.\d\de[-+]\d\d exceeds"):
        start.collapse()


def test_equalised_keeps_the_tensor_and_evens_the_norms():
    start = dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.2, key=0)
    even, full = compiled(dyn.DeepCP.equalised)(start), compiled(dyn.DeepCP.full)
    assert relative(full(even), full(start)) < 1e-13
    norms = compiled(dyn.DeepCP.layer_norms)(even)
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0, 0], norms.shape), rtol=1e-12)


def test_identity_starts():
    full = np.asarray(dyn.CP.identity((3, 3, 4), scale=0.1).full())
    assert np.count_nonzero(full) == 3
    np.testing.assert_allclose(full[np.arange(3), np.arange(3), np.arange(3)], 0.1)
    assert relative(dyn.DeepMatrix.identity((3, 5), layers=3, scale=0.1).full(), 0.1 * np.eye(3, 5)) < 1e-12
    norms = dyn.DeepCP.identity(CUBE, components=4, depth=2, scale=0.1, key=0).layer_norms()
    np.testing.assert_allclose(norms, norms.mean(), rtol=1e-12)


def test_round_trip_with_cp_tensor():
    model = CPTensor([np.arange(1.0, 1 + d * 2).reshape(d, 2) for d in CUBE])
    there = dyn.CP.from_cp_tensor(model, depth=1.0)
    np.testing.assert_allclose(there.full(), model.full(), rtol=1e-14)
    assert all(np.array_equal(a, b) for a, b in zip(there.to_cp_tensor().factors, model.factors, strict=True))


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: dyn.CP([np.ones((2, 3)), np.ones((2, 2))]), "do not make a CP"),
        (lambda: dyn.CP([np.ones((2, 3))] * 2, depth=-1), "depth=-1"),
        (lambda: dyn.CP.balanced(CUBE, components=4, scale=0.0, key=0), "scale=0.0"),
        (lambda: dyn.CP.identity(CUBE, components=4, scale=1.0), "pass 1 to 3"),
        (lambda: dyn.DeepCP.balanced(CUBE, components=4, depth=1.5, scale=1.0, key=0), "whole number"),  # pyright: ignore[reportArgumentType]
        (lambda: dyn.DeepCP([np.ones((2, 3))], [np.ones((1, 2, 3, 4))]), "do not fit"),
        (lambda: dyn.Matrix(np.ones((2, 2)), layers=0.5), "layers=0.5"),
        (lambda: dyn.Matrix(np.ones((2, 2, 2))), "not a matrix"),
        (lambda: dyn.DeepMatrix([np.ones((2, 3)), np.ones((2, 3))]), "do not chain"),
        (lambda: dyn.DeepMatrix.gaussian((2, 2), layers=1.5, scale=1.0, key=0), "whole number"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_parameters_are_refused_with_the_mend(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("depth", [1, 2])
def test_aligned_layers_of_unequal_norms_flow_as_their_own_collapse(depth):
    """Where the norms differ the metric of equal norms is another flow, and far off."""
    problem = dyn.Problem(planted(CUBE))
    collapsed = dyn.AlignedCP.random(CUBE, components=4, depth=depth, scale=0.2, spread=0.7, key=3)
    explicit = collapsed.to_layers(key=4)
    np.testing.assert_allclose(explicit.layer_norms(), collapsed.layer_norms(), rtol=1e-10)
    assert relative(dyn.AlignedCP.from_layers(explicit), collapsed) < 1e-12
    a, b, equal = (moved(problem, start, 1.0, steps=600) for start in (explicit, collapsed, collapsed.end_to_end()))
    exact = compiled(dyn.DeepCP.full)(a)
    assert relative(b.full(), exact) < 1e-8
    assert relative(equal.full(), exact) > 0.05
    np.testing.assert_allclose(b.layer_norms(), a.layer_norms(), rtol=1e-7)


def test_aligned_layers_of_equal_norms_are_the_metric_of_depth():
    problem = dyn.Problem(planted(CUBE))
    plain = dyn.CP.balanced(CUBE, components=4, depth=2, scale=0.2, key=3)
    aligned = dyn.AlignedCP(plain.factors, np.zeros((3, 2, 4)))
    velocity = compiled(dyn.Problem.velocity)
    assert relative(velocity(problem, aligned).factors, velocity(problem, plain).factors) < 1e-12
    with pytest.raises(ValueError, match="weight decay shrinks the differences"):
        dyn.Problem(planted(CUBE), decay=0.1).objective(aligned)
    with pytest.raises(ValueError, match=r"layer 1 of mode 0 and those below it are not balanced"):
        dyn.AlignedCP.from_layers(dyn.DeepCP.gaussian(CUBE, components=4, depth=1, scale=0.1, key=0))
