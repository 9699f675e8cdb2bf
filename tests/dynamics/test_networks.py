"""Deepened networks: explicit layers flow as the blocks do, obey their laws, conserve what they say, and refuse what is not balanced.

The oracle is the flow of the explicit layers: their gradient is JAX's, of a plain product, and knows nothing of the metric of depth.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.dynamics import laws
from rankless.dynamics.chains import chain_penalty, chain_velocity

from .conftest import CUBE, TRAIN, TREE, TUCKER, compiled, moved, planted, relative

FOUR = (3, 2, 3, 2)
PAIRS = {
    "tucker": (dyn.DeepTucker, CUBE, {"scale": 0.5, **TUCKER}),
    "train": (dyn.DeepTrain, CUBE, {"scale": 0.5, **TRAIN}),
    "hierarchical": (dyn.DeepHierarchical, FOUR, {"scale": 2.0, **TREE}),
    "tubal": (dyn.DeepTubal, CUBE, {"scale": 0.5}),
}
DECAY = 0.1


def spectrum(factorization):
    return factorization.spectrum()


def component_norms(factorization):
    return factorization.component_norms()


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    """``(observations, explicit start, where it is at the end, its collapse, where that is)``, three balanced layers under decay."""
    kind, shape, sizes = PAIRS[request.param]
    obs = planted(shape)
    explicit = kind.balanced(shape, layers=3, key=3, **sizes)
    collapsed = explicit.collapse()
    problem = dyn.Problem(obs, decay=DECAY)
    return problem, explicit, moved(problem, explicit, steps=1000), collapsed, moved(problem, collapsed, steps=1000)


def test_explicit_layers_flow_as_their_collapse(pair):
    _, explicit, explicit_end, collapsed, collapsed_end = pair
    assert relative(explicit.full(), collapsed.full()) < 1e-13
    np.testing.assert_allclose(explicit.penalty(), collapsed.penalty(), rtol=1e-12)
    assert relative(collapsed_end.full(), collapsed.full()) > 0.1  # it went somewhere
    assert relative(explicit_end.full(), collapsed_end.full()) < 1e-8
    assert relative(explicit_end.collapse(), collapsed_end) < 1e-8


def test_singular_values_of_blocks_obey_their_law(pair):
    problem, _, explicit_end, _, collapsed_end = pair
    for here in (explicit_end, collapsed_end):
        assert relative(compiled(laws.growth)(problem, here, spectrum), compiled(laws.block_law)(problem, here)) < 1e-6


def test_decay_takes_every_imbalance_away(pair):
    problem, explicit, *_ = pair
    _, shape, sizes = next(found for found in PAIRS.values() if found[0] is type(explicit))
    loose = type(explicit).gaussian(shape, layers=2, key=1, **{**sizes, "scale": 0.6})
    gaps, end = compiled(type(loose).imbalance), 0.7
    left = gaps(moved(problem, loose, end, steps=1000))
    assert max(np.abs(g).max() for g in gaps(loose)) > 0.02
    assert relative(left, [np.exp(-2 * DECAY * end) * np.asarray(g) for g in gaps(loose)]) < 1e-9
    with pytest.raises(ValueError, match="not balanced: relative imbalance"):
        loose.collapse()


def test_balanced_starts_are_balanced_at_the_ends_too(pair):
    for start in pair[1], pair[3]:
        if not isinstance(start, dyn.Tubal):  # a single block: it has no ends that meet others
            assert max(np.abs(gap).max() for gap in start.imbalance()) < 1e-10


def test_components_sum_to_the_tensor_and_have_their_norms(pair):
    problem, _, explicit_end, _, end = pair
    parts = np.asarray(end.contributions(problem.indices))
    blocks = 1 if isinstance(end, dyn.Tubal) else len(end.blocks)
    np.testing.assert_allclose(parts.sum(axis=1), blocks * np.asarray(end.at(problem.indices)), atol=1e-12)
    everywhere = np.indices(end.shape).reshape(len(end.shape), -1).T
    np.testing.assert_allclose(np.linalg.norm(np.asarray(end.contributions(everywhere)), axis=0), end.part_norms(), rtol=1e-9, atol=1e-13)
    energy = np.asarray(dyn.probes.observed_energy(problem, explicit_end))
    assert np.all((energy > 0) & (energy < 1))
    np.testing.assert_allclose(energy, dyn.probes.observed_energy(problem, end), rtol=1e-5)


@pytest.mark.parametrize("kind", [dyn.Tucker, dyn.Train, dyn.Hierarchical])
def test_the_squared_norm_is_that_of_the_tensor(kind):
    start = kind.gaussian(CUBE, layers=1.0, scale=0.7, key=0, **{dyn.Tucker: TUCKER, dyn.Train: TRAIN, dyn.Hierarchical: TREE}[kind])
    np.testing.assert_allclose(start.square_norm(), np.sum(np.asarray(start.full()) ** 2), rtol=1e-12)


def test_the_metric_takes_the_penalty_to_decay_of_every_layer():
    """``M_L[grad penalty] = L X``, for any real L, real or complex, tall or wide, in batches."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        for shape in ((4, 3), (3, 4), (2, 3, 3)):
            x = jax.numpy.asarray(rng.normal(size=shape))
            for layers in (1.0, 2.0, 3.7):
                slope = jax.grad(chain_penalty)(x, layers)
                assert relative(chain_velocity(x, slope, layers), -layers * x) < 1e-10  # pyright: ignore[reportArgumentType]


def test_core_slices_grow_by_their_drive():
    """``g' = delta/g - p g`` from any start, and ``delta`` is the pull on the part of the tensor that goes through the slice."""
    obs = planted(CUBE)
    for decay in (0.0, DECAY):
        problem = dyn.Problem(obs, decay=decay)
        for start in (
            dyn.DeepTucker.gaussian(CUBE, layers=2, scale=0.5, key=2, **TUCKER),
            dyn.Tucker.gaussian(CUBE, layers=1.7, scale=0.5, key=2, **TUCKER),
        ):
            slices = lambda f: (f if isinstance(f, dyn.Tucker) else f.end_to_end()).core_slices()  # noqa: E731
            assert relative(compiled(laws.growth)(problem, start, slices), compiled(laws.core_slice_law)(problem, start)) < 1e-9
    tucker = dyn.Tucker.gaussian(CUBE, layers=1.0, scale=0.5, key=2, **TUCKER)
    downhill = np.zeros(CUBE)
    downhill[tuple(obs.coords)] = obs.values - np.asarray(tucker.at(obs.indices))
    core = np.asarray(tucker.core).copy()
    core[1:] = 0
    part = np.asarray(dyn.Tucker(core, tucker.factors).full())
    said = np.asarray(laws.core_slice_law(dyn.Problem(obs), tucker))[0] * np.asarray(tucker.core_slices())[0]
    np.testing.assert_allclose(said, np.sum(downhill * part), rtol=1e-10)


@pytest.mark.parametrize("tree", [((0, 1), (2, 3)), (0, 1, (2, 3)), (0, (1, (2, 3)))], ids=str)
def test_local_components_grow_by_the_number_of_their_vectors(tree):
    """Razin's law of the hierarchical factorization, for nodes of two and of three children, with decay."""
    problem = dyn.Problem(planted(FOUR), decay=DECAY)
    start = dyn.Hierarchical.balanced(FOUR, rank=2, tree=tree, scale=0.8, key=1)
    here = moved(problem, start)
    assert relative(compiled(laws.growth)(problem, here, component_norms), compiled(laws.local_component_law)(problem, here)) < 1e-6
    for factors in here.component_factors():
        np.testing.assert_allclose(factors, np.broadcast_to(factors[0], factors.shape), rtol=1e-9)
    loose = dyn.Hierarchical.gaussian(FOUR, rank=2, tree=tree, scale=0.8, key=1)
    assert relative(compiled(laws.growth)(problem, loose, component_norms), compiled(laws.local_component_law)(problem, loose)) > 5e-3


def test_a_flat_tree_is_cp():
    """One inner node: components weighed by the root, as a CP has them."""
    tree = dyn.Hierarchical.gaussian(CUBE, rank=3, tree=(0, 1, 2), scale=0.8, key=1)
    *leaves, root = map(np.asarray, tree.matrices)
    cp = dyn.CP([leaves[0] * root[:, 0], *leaves[1:]])
    assert relative(tree.full(), cp.full()) < 1e-13
    np.testing.assert_allclose(tree.component_norms(), cp.spectrum(), rtol=1e-12)


def test_the_tubal_product_is_circular_convolution():
    a, b = (np.random.default_rng(s).normal(size=shape) for s, shape in ((0, (2, 3, 5)), (1, (4, 2, 5))))
    slow = np.zeros((4, 3, 5))
    for i in range(5):
        for j in range(5):
            slow[:, :, (i + j) % 5] += b[:, :, i] @ a[:, :, j]
    assert relative(dyn.DeepTubal([a, b]).full(), slow) < 1e-13


@pytest.mark.parametrize(
    "build, words",
    [
        (lambda: dyn.Tucker(np.ones((2, 2)), [np.ones((3, 2)), np.ones((3, 3))]), "do not fit; pass a"),
        (lambda: dyn.Tucker.balanced(CUBE, ranks=(4, 1, 1), scale=0.1, key=0), "no balanced core"),
        (lambda: dyn.Train([np.ones((1, 3, 2)), np.ones((3, 3, 1))], [np.eye(2)]), "do not make a train"),
        (lambda: dyn.Train.gaussian(CUBE, ranks=(2,), scale=0.1, key=0), "one rank for each of the 2 bonds"),
        (lambda: dyn.Hierarchical.balanced(CUBE, rank=4, scale=0.1, key=0), "pass 1 to 3"),
        (lambda: dyn.Hierarchical([np.ones((3, 2)), np.ones((3, 2)), np.ones((2, 1))], tree=(0, 0)), "every mode once"),
        (lambda: dyn.Tubal(np.ones((2, 2))), "no tubes"),
        (lambda: dyn.DeepTubal([np.ones((2, 3, 4)), np.ones((2, 3, 4))]), "do not chain"),
        (lambda: dyn.DeepTucker.balanced(CUBE, layers=1.5, scale=0.1, key=0, **TUCKER), "whole number"),  # pyright: ignore[reportArgumentType]
        (lambda: dyn.DeepTrain(dyn.Train.gaussian(CUBE, scale=0.1, key=0, **TRAIN), [[np.eye(3)]]), "one chain a block"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_bad_networks_are_refused_with_the_mend(build, words):
    with pytest.raises(ValueError, match=words):
        build()
