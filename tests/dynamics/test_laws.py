"""The laws of the papers, left by forward differentiation and right by formula, with an independent inner product."""

from __future__ import annotations

import numpy as np
import pytest

from rankless import dynamics as dyn
from rankless.depth import end_to_end_exponent, last_layer_exponent, switch_on_time
from rankless.dynamics import laws
from rankless.tensors.observations import Observations

from .conftest import CUBE, TALL, compiled, moved, planted, relative

FOUR = (3, 2, 3, 2)
growth, deep_cp_law, shallow_cp_law, end_to_end_law, deep_matrix_law, unbalanced_law = map(
    compiled, (laws.growth, laws.deep_cp_law, laws.shallow_cp_law, laws.end_to_end_law, laws.deep_matrix_law, laws.unbalanced_law)
)


def spectrum(factorization):
    return factorization.spectrum()


def last_layers(factorization):
    return factorization.last_layer_norms()


@pytest.mark.parametrize("shape, depth", [(CUBE, 0), (CUBE, 1), (CUBE, 3), (FOUR, 2)], ids=["N3-k0", "N3-k1", "N3-k3", "N4-k2"])
def test_deep_cp_growth(shape, depth):
    problem = dyn.Problem(planted(shape))
    for start in (
        dyn.CP.balanced(shape, components=4, depth=depth, scale=0.3, key=2),
        dyn.DeepCP.identity(shape, components=4, depth=depth, scale=0.3, key=2),
        dyn.DeepCP.gaussian(shape, components=4, depth=depth, scale=0.3, key=2).equalised(),
    ):
        here = moved(problem, start)
        assert relative(growth(problem, here, last_layers), deep_cp_law(problem, here)) < 1e-7


@pytest.mark.parametrize("depth", [0.0, 0.5, 2.0])
def test_end_to_end_growth_needs_strict_balance(depth):
    problem = dyn.Problem(planted(CUBE))
    here = moved(problem, dyn.CP.balanced(CUBE, components=4, depth=depth, scale=0.3, key=2))
    assert relative(growth(problem, here, spectrum), end_to_end_law(problem, here)) < 1e-7
    loose = dyn.DeepCP.identity(CUBE, components=4, depth=2, scale=0.3, key=2)
    assert relative(growth(problem, loose, spectrum), end_to_end_law(problem, loose)) > 1e-2


def test_shallow_growth_is_both_forms_at_depth_zero():
    problem = dyn.Problem(planted(CUBE))
    here = moved(problem, dyn.CP.balanced(CUBE, components=4, scale=0.3, key=2))
    assert relative(shallow_cp_law(problem, here), deep_cp_law(problem, here)) < 1e-12
    assert relative(shallow_cp_law(problem, here), growth(problem, here, spectrum)) < 1e-7


@pytest.mark.parametrize("shape", [TALL, TALL[::-1]], ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_singular_values_grow_as_arora_says(shape, layers):
    problem = dyn.Problem(planted(shape))
    collapsed = dyn.Matrix.gaussian(shape, layers=layers, scale=0.3, key=2)
    for start in (collapsed, dyn.DeepMatrix.from_matrix(collapsed)):
        here = moved(problem, start)
        assert relative(growth(problem, here, spectrum), deep_matrix_law(problem, here)) < 1e-7


def test_unbalanced_starts_follow_their_own_derivative():
    """Here the paper's law fails, and the one without the balance assumption holds."""
    problem = dyn.Problem(planted(CUBE))
    here = moved(problem, dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.3, key=2))
    grown = growth(problem, here, last_layers)
    assert relative(grown, unbalanced_law(problem, here)) < 1e-10
    assert relative(grown, deep_cp_law(problem, here)) > 1e-2


def test_drive_is_the_inner_product_with_the_dense_gradient():
    obs = planted(CUBE)
    problem = dyn.Problem(obs)
    for start in (
        dyn.CP.gaussian(CUBE, components=4, depth=1.5, scale=0.5, key=2),
        dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.5, key=2),
    ):
        downhill = np.zeros(CUBE)
        downhill[tuple(obs.coords)] = obs.values - np.asarray(start.at(obs.indices))
        vectors = (start.end_to_end() if isinstance(start, dyn.DeepCP) else start).factors
        dense = np.einsum("ijk,ir,jr,kr->r", downhill, *map(np.asarray, vectors))
        assert relative(compiled(laws.drive)(problem, start), dense) < 1e-12


def test_imbalance_is_conserved():
    for start in (
        dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.3, key=2),
        dyn.DeepMatrix.gaussian(TALL, layers=3, scale=0.3, key=2),
    ):
        imbalance = compiled(type(start).imbalance)
        assert relative(imbalance(moved(dyn.Problem(planted(start.shape)), start, steps=1000)), imbalance(start)) < 1e-9


def test_modes_stay_balanced():
    problem = dyn.Problem(planted(CUBE))
    norms = moved(problem, dyn.CP.balanced(CUBE, components=4, depth=1.3, scale=0.3, key=2)).layer_norms()
    np.testing.assert_allclose(norms, np.broadcast_to(norms[0], norms.shape), rtol=1e-8)


def test_bound_is_an_equality_only_under_strict_balance():
    problem = dyn.Problem(planted(CUBE))
    strict, loose = (
        moved(problem, start, steps=1000)
        for start in (
            dyn.DeepCP.balanced(CUBE, components=4, depth=2, scale=0.3, key=2),
            dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.3, key=2).equalised(),
        )
    )
    left, right = laws.bound(strict)
    np.testing.assert_allclose(left, right, rtol=1e-8)
    left, right = laws.bound(loose)
    assert np.all(np.asarray(left) < 0.9 * np.asarray(right))


@pytest.mark.parametrize("depth", [0.0, 1.0, 2.5])
def test_exponents_are_read_off_a_trajectory(depth):
    """A rank-one target seen whole: one component, growing a hundredfold."""
    obs = planted(CUBE, rank=1, share=1.0)
    problem = dyn.Problem(obs)
    start = dyn.CP.balanced(CUBE, components=1, depth=depth, scale=0.1, key=0)
    probes = {
        "s": dyn.probes.component_norms,
        "w": dyn.probes.last_layer_norms,
        "d": laws.normalised_drive,
        "g": lambda p, f: laws.drive(p, f) / f.spectrum(),
    }

    def run_to(end, stop_loss):
        return dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-9, stop_loss=stop_loss), ts=np.linspace(0, end, 200), probes=probes)

    run = run_to(run_to(1e3, 0.01 * float(problem.data_loss(start))).ts[-1], 1e-300)
    s, w, d, g = (run.probes[name][:, 0] for name in "swdg")
    np.testing.assert_allclose(laws.fit_exponent(run.ts, w, d), last_layer_exponent(depth, 3), atol=0.01)
    np.testing.assert_allclose(laws.fit_exponent(run.ts, s, g), end_to_end_exponent(depth, 3), atol=0.01)


def test_a_falling_norm_has_no_exponent_to_fit():
    with pytest.raises(ValueError, match="0 of 20 records"):
        laws.fit_exponent(np.arange(20.0), np.exp(-np.arange(20.0)), np.ones(20))


DECAYED = 0.3


@pytest.mark.parametrize("shape", [CUBE, FOUR], ids=str)
def test_weight_decay_is_no_part_of_the_drive(shape):
    """The pull is that of the data; decay takes its own share of every norm, balanced or not."""
    obs = planted(shape)
    bare, decayed = dyn.Problem(obs), dyn.Problem(obs, decay=DECAYED)
    loose = dyn.DeepCP.gaussian(shape, components=4, depth=2, scale=0.3, key=2)
    strict = dyn.CP.balanced(shape, components=4, depth=1.5, scale=0.3, key=2)
    for start in (loose, strict):
        drive = compiled(laws.drive)
        assert relative(drive(decayed, start), drive(bare, start)) < 1e-14
    assert relative(growth(decayed, loose, last_layers), unbalanced_law(decayed, loose)) < 1e-10
    for quantity, law in ((last_layers, deep_cp_law), (spectrum, end_to_end_law)):
        assert relative(growth(decayed, strict, quantity), law(decayed, strict)) < 1e-10
    even = loose.equalised()
    assert relative(growth(decayed, even, last_layers), deep_cp_law(decayed, even)) < 1e-10
    shallow = dyn.CP.balanced(shape, components=4, scale=0.3, key=2)
    assert relative(growth(decayed, shallow, spectrum), shallow_cp_law(decayed, shallow)) < 1e-10


def test_weight_decay_shrinks_singular_values_besides_their_law():
    problem = dyn.Problem(planted(TALL), decay=DECAYED)
    collapsed = dyn.Matrix.gaussian(TALL, layers=3, scale=0.3, key=2)
    for start in (collapsed, dyn.DeepMatrix.from_matrix(collapsed)):
        assert relative(growth(problem, start, spectrum), deep_matrix_law(problem, start)) < 1e-7


def test_the_law_of_deep_matrices_refuses_layers_of_equal_norms_that_are_not_balanced():
    loose = dyn.DeepMatrix.gaussian((5, 5), layers=3, scale=0.3, key=2)
    norms = np.linalg.norm(np.asarray(loose.factors), axis=(1, 2))
    equal = dyn.DeepMatrix([f * np.prod(norms) ** (1 / 3) / n for f, n in zip(loose.factors, norms, strict=True)])
    assert np.ptp(equal.layer_norms()) < 1e-12
    problem = dyn.Problem(planted((5, 5)))
    with pytest.raises(ValueError, match=r"factors 0 and 1 are not balanced: relative imbalance \d"):
        laws.deep_matrix_law(problem, equal)
    with pytest.raises(RuntimeError, match="factors 0 and 1 are not balanced"):
        dyn.solve(problem, equal, dyn.GradientDescent(1e-3), ts=[1e-3], probes={"law": laws.deep_matrix_law})
    forced = laws.deep_matrix_law(problem, dyn.Matrix(equal.full(), layers=3))  # what the formula would say
    assert relative(growth(problem, equal, spectrum), forced) > 0.1


def test_weight_decay_takes_the_imbalance_away():
    """``exp(-2 p t)``, whatever the data do: any start becomes strictly balanced, so the twin is exact."""
    end = 0.7
    for start in (
        dyn.DeepCP.gaussian(CUBE, components=4, depth=2, scale=0.3, key=2),
        dyn.DeepMatrix.gaussian(TALL, layers=3, scale=0.3, key=2),
    ):
        gap = compiled(type(start).imbalance)
        left = gap(moved(dyn.Problem(planted(start.shape), decay=DECAYED), start, end, steps=1000))
        assert relative(left, [np.exp(-2 * DECAYED * end) * np.asarray(g) for g in gap(start)]) < 1e-9


def test_real_depth_interpolates_between_whole_ones():
    """The velocity at k is a smooth function of k: a parabola through whole depths meets it in between."""
    problem = dyn.Problem(planted(CUBE))
    factors = dyn.CP.balanced(CUBE, components=4, scale=0.7, key=2).factors
    at = {k: np.asarray(compiled(dyn.Problem.velocity)(problem, dyn.CP(factors, k)).factors[0]) for k in (0.9, 1.0, 1.1)}
    assert 1e-3 < relative(at[0.9], at[1.0]) < 0.3
    assert relative((at[0.9] + at[1.1]) / 2, at[1.0]) < 0.02 * relative(at[0.9], at[1.0]) * 10


def test_a_component_switches_on_when_the_law_says():
    """One cell and a target far away: the pull is steady, and the time is a closed form."""
    far, small = 1e6, 1e-3
    problem = dyn.Problem(Observations.from_indices([[0, 0, 0]], [far], shape=(1, 1, 1)))
    start = dyn.CP([[[small]]] * 3, depth=1.0)
    ts = np.linspace(0, 0.24999, 4000)  # the law says .25, when it passes every bound
    run = dyn.solve(problem, start, dyn.GradientFlow(rtol=1e-8), ts=ts, probes={"s": dyn.probes.component_norms, "g": laws.pull})
    said = float(switch_on_time(small**3, far, 6.0))
    s = run.probes["s"][:, 0]
    passed = ts[np.argmax(s > 1e6 * small**3)]
    np.testing.assert_allclose(passed, said, rtol=0.05)
    np.testing.assert_allclose(dyn.probes.predicted_switch_on(ts, s[:, None], run.probes["g"], factors=6.0), said, rtol=0.01)
