"""Depth is a metric: the formulas of `rankless.depth` against explicit layers and against each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankless import depth

norms = st.floats(0.01, 100.0)
depths = st.floats(0.0, 6.0)
orders = st.integers(2, 8)


@given(norms, depths)
def test_ridge_weight_is_the_inverse_of_the_mobility(norm, k):
    assert depth.mobility(norm, k) * depth.ridge_weight(norm, k) == pytest.approx(1.0)


@given(norms, norms, depths)
def test_ridge_majorises_the_penalty_and_touches_it(norm, other, k):
    """p(x) <= p(u) + ridge(u)/2 (x^2 - u^2): what makes reweighted ALS descend."""
    bound = depth.vector_penalty(norm, k) + 0.5 * depth.ridge_weight(norm, k) * (other**2 - norm**2)
    assert depth.vector_penalty(other, k) <= bound * (1 + 1e-9) + 1e-9


@given(st.integers(0, 5), st.data())
def test_penalty_is_the_least_weight_decay_of_the_layers(k, data):
    """AM-GM: any k + 1 layers whose norms multiply to |u| decay at least as much; equal norms reach it."""
    layers = data.draw(st.lists(st.floats(0.1, 5.0), min_size=k + 1, max_size=k + 1))
    norm = math.prod(layers)
    decay = 0.5 * sum(layer**2 for layer in layers)
    assert depth.vector_penalty(norm, k) <= decay * (1 + 1e-12)
    equal = norm ** (1 / (k + 1))
    assert depth.vector_penalty(norm, k) == pytest.approx(0.5 * (k + 1) * equal**2)


@given(norms, depths, orders)
def test_component_penalty_adds_up_its_balanced_modes(norm, k, order):
    assert depth.component_penalty(norm, k, order) == pytest.approx(order * depth.vector_penalty(norm ** (1 / order), k))


@given(norms)
def test_shallow_matrix_penalty_is_the_nuclear_norm(norm):
    assert depth.component_penalty(norm, 0.0, 2) == pytest.approx(norm)


@given(depths, orders)
def test_both_growth_laws_are_one(k, order):
    """s = |w|^(k+1) turns d|w|/dt ~ |w|^a into ds/dt ~ s^((a + k)/(k + 1))."""
    assert depth.end_to_end_exponent(k, order) == pytest.approx((depth.last_layer_exponent(k, order) + k) / (k + 1))


def test_shallow_exponents_are_those_of_plain_cp():
    assert depth.last_layer_exponent(0, 3) == depth.end_to_end_exponent(0, 3) == pytest.approx(2 - 2 / 3)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_balanced_layers_move_their_product_by_the_metric(k):
    """u' = -mobility (g + k uu'/|u|^2 g), with the left side worked out layer by layer [arora2018]."""
    rng = np.random.default_rng(k)
    size = 5
    axes = [v / np.linalg.norm(v) for v in rng.normal(size=(k + 1, size))]  # layer i maps axis i-1 to axis i
    length = 1.3
    vector = length * axes[0]
    layers = [length * np.outer(axes[i + 1], axes[i]) for i in range(k)]
    above = [np.eye(size)]  # products of the layers above each, the top one first
    for layer in reversed(layers):
        above.append(above[-1] @ layer)
    u, g = above[-1] @ vector, rng.normal(size=size)

    velocity = -above[-1] @ above[-1].T @ g  # the vector w at the bottom
    below = vector
    for i in range(k):
        top = above[k - 1 - i]
        velocity -= top @ (top.T @ np.outer(g, below)) @ below
        below = layers[i] @ below

    unit = u / np.linalg.norm(u)
    metric = -depth.mobility(np.linalg.norm(u), k) * (g + k * unit * (unit @ g))
    np.testing.assert_allclose(velocity, metric, rtol=1e-10)


@pytest.mark.parametrize("bad", [-1, -0.001, math.nan, math.inf, "two", None, [1, 2]])
def test_depth_that_is_no_depth_is_named(bad):
    with pytest.raises(ValueError, match=r"depth=.* is not a number >= 0; pass depth=0"):
        depth.check_depth(bad)


@given(st.one_of(st.integers(0, 9), depths))
def test_any_real_depth_passes(value):
    assert depth.check_depth(value) == value
