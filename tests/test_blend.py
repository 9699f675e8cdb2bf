"""The blend: shares are least squares, a fit is added where it pays, and the sum is the sum."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import nnls

from rankless.als.annealing import empty, with_random
from rankless.als.entries import Entries
from rankless.als.solver import Problem, State
from rankless.answer.stack import KEPT, Part, Pool, blend, in_shares, total, whole
from rankless.engine.sides import Across, with_draws
from rankless.holdout.gaps import Gaps
from rankless.holdout.judge import Judge
from rankless.holdout.scoring import Point, score_residual, scored
from rankless.tensors.observations import Observations
from rankless.units.frame import Frame

SHAPE = (12, 10, 4)
RNG = np.random.default_rng(0)
TRUTH = np.einsum("ir,jr,kr->ijk", *(RNG.normal(size=(d, 2)) for d in SHAPE))
HELD = Observations.from_array(TRUTH)
PLAIN = Frame(None, None, np.ones(1), None)
BY_SLICE = Frame(None, 2, np.ones(4), np.ones(4))


def state(rank: int = 2, seed: int = 0, held: Observations = HELD) -> State:
    entries = Entries(held)
    return with_random(entries, empty(entries), rank, np.random.default_rng(seed))


def fit(residual, frame: Frame = PLAIN, *, rank: int = 2, start: str = "grow") -> Point:
    """A fit that leaves `residual` on the held-out entries."""
    residual = np.broadcast_to(residual, SHAPE)[tuple(HELD.coords)].astype(float)
    point = scored(frame, start, Problem(0.0, 1.0), state(rank), HELD)
    point.residual, point.score = residual, score_residual(frame, residual, HELD)
    point.rmse = float(np.sqrt(np.mean(residual**2)))
    return point


def noise(seed: int, size: float = 1.0) -> np.ndarray:
    return size * np.random.default_rng(seed).normal(size=SHAPE)


def test_one_fit_is_taken_as_it_is():
    [part] = blend(fit(noise(1, 0.02)), [], HELD)
    np.testing.assert_array_equal(part.shares, [1.0])
    np.testing.assert_allclose(whole([part], HELD).residual, part.point.residual, atol=1e-12)


def test_one_fit_that_overshoots_is_shrunk_to_least_squares():
    [part] = blend(fit(noise(1)), [], HELD)
    share, residual = part.shares[0], whole([part], HELD).residual
    fitted = HELD.values - part.point.residual
    assert share == pytest.approx(fitted @ HELD.values / (fitted @ fitted)) and 0 < share < 1
    assert np.mean(residual**2) < np.mean(part.point.residual**2)


def test_shares_are_non_negative_least_squares():
    points = [fit(noise(1)), fit(noise(2, 1.2))]
    parts = blend(points[0], points[1:], HELD)
    fitted = np.stack([HELD.values - p.residual for p in points], axis=1)
    np.testing.assert_allclose([float(p.shares[0]) for p in parts], nnls(fitted, HELD.values)[0])
    assert whole(parts, HELD).rmse < 0.8 * points[0].rmse, "errors in different directions cancel"


def test_the_same_fit_again_does_not_pay():
    parts = blend(fit(noise(1)), [fit(noise(1)), fit(noise(1) * 1.001)], HELD)
    assert len(parts) == 1


@pytest.mark.parametrize("mode", [None, 2])
def test_a_mean_of_draws_may_pay_little_where_noise_is_most_of_the_error(mode):
    """Noise is nine tenths of the error: what errs a third less in the rest makes the whole fall by half a percent, surely."""
    rng = np.random.default_rng(0)
    shape = (60, 50, 4)
    truth = np.einsum("ir,jr,kr->ijk", *(rng.normal(size=(d, 2)) for d in shape))
    held = Observations.from_array(truth + 2.0 * rng.normal(size=shape))
    frame = PLAIN if mode is None else BY_SLICE

    def errs(size: float, *, drawn: bool = False) -> Point:
        point = scored(frame, "draw" if drawn else "grow", Problem(0.0, 1.0), state(held=held), held)
        point.residual = (held.values - truth[tuple(held.coords)]) + size * rng.normal(size=held.size)
        point.score, point.rmse = score_residual(frame, point.residual, held), float(np.sqrt(np.mean(point.residual**2)))
        point.drawn = point.state.model() if drawn else None
        return point

    best, small = errs(0.3), errs(0.2, drawn=True)
    score = score_residual(frame, whole(blend(best, [], held), held).residual, held)
    parts = blend(best, [small], held)
    assert len(parts) == 2
    fall = score_residual(frame, whole(parts, held).residual, held) / score
    assert 0.99 < fall < 0.999
    assert len(blend(best, [replace(best, drawn=small.drawn)], held)) == 1, "the same errors again"
    small.drawn = None
    assert len(blend(best, [small], held)) == 1, "another fit has to pay more"


def test_nearly_exact_fits_are_left_alone():
    points = [fit(noise(seed, 1e-5)) for seed in (1, 2)]
    assert len(blend(points[0], points[1:], HELD)) == 1


def test_most_and_max_rank_hold():
    points = [fit(noise(seed)) for seed in range(5)]
    assert len(blend(points[0], points[1:], HELD, most=4)) == 4
    assert len(blend(points[0], points[1:], HELD, most=1)) == 1
    assert len(blend(points[0], points[1:], HELD, most=4, max_rank=5)) == 2


def test_each_slice_takes_the_fit_that_predicts_it():
    """One fit is wild in the first slice, the other in the last."""
    wild_first, wild_last = (np.where(np.arange(4) == j, 20.0, 0.1) for j in (0, 3))
    points = [fit(noise(1) * wild_first, BY_SLICE), fit(noise(2) * wild_last, BY_SLICE)]
    parts = blend(points[0], points[1:], HELD)
    assert len(parts) == 2
    first, last = (part.shares for part in parts)
    assert first[0] < 0.3 < 0.7 < last[0]
    assert last[3] < 0.3 < 0.7 < first[3]
    blended = whole(parts, HELD)
    assert blended.rmse < 0.2 * min(p.rmse for p in points)


def test_over_gaps_draws_have_the_share_that_fills_these():
    """Components err like draws on cells, and far more where a row of cells is missing."""
    fits, drawn = [fit(noise(1)), fit(noise(2))], fit(noise(3, 0.1))
    gaps = Gaps(whole=(2,), run=None, length=1)
    judge = Judge(fits[0].residual, HELD, gaps, None)
    parts, shares = with_draws(HELD, [Part(each, np.full(1, 0.5)) for each in fits], [drawn], judge)
    assert shares is not None and shares[0, 0] < 0.1 and shares[1, 0] > 0.9
    np.testing.assert_allclose([part.shares[0] for part in parts], [shares[0, 0] / 2, shares[0, 0] / 2, shares[1, 0]])
    assert whole(parts, HELD).rmse <= drawn.rmse
    assert with_draws(HELD, parts, [], judge) == (parts, None)


@pytest.mark.parametrize("worse, outdone", [(3.0, True), (1.0, False), (0.5, False)])
def test_fits_over_gaps_stand_in_where_those_chosen_on_cells_fill_gaps_clearly_worse(worse, outdone):
    """Cells of a fibre may tell each other, so that next to no penalty fills them best, and nothing where all of a fibre is missing."""

    class Chosen:
        def again(self, obs, tools):
            return self

        def at(self, indices):
            return HELD.values - worse * noise(4, 0.3)[tuple(indices.T)]

    search = SimpleNamespace(train=HELD, held=HELD, workers=None)
    across = Across(search, [Part(fit(noise(3, 0.3)), np.ones(1))], None, None)  # pyright: ignore[reportArgumentType]
    side = SimpleNamespace(answer=Chosen())
    assert across.outdoes(side, Gaps((2,), None, 1), np.random.default_rng(0)) == outdone  # pyright: ignore[reportArgumentType]


def test_the_sum_is_the_sum_of_the_parts_in_their_shares():
    points = [fit(noise(1), BY_SLICE, rank=2), fit(noise(2), BY_SLICE, rank=3)]
    shares = np.array([[0.5, 0.0, 1.0, 0.25], [0.5, 1.0, 0.0, 0.75]])
    models = [p.state.model() for p in points]
    scaled = in_shares([Part(p, s) for p, s in zip(points, shares, strict=True)], models)
    expected = sum(model.full() * share for model, share in zip(models, shares, strict=True))
    np.testing.assert_allclose(total(scaled).full(), expected, atol=1e-12)
    assert total(scaled).rank == 5
    [none] = in_shares([Part(points[0], np.zeros(4))], models[:1])
    assert none.rank == 0 and none.shape == SHAPE


def test_the_pool_keeps_the_best_of_each_walk_and_offers_what_may_be_added():
    pool, frame = Pool(), Frame(None, None, np.ones(1), None)
    best = fit(noise(0, 0.9))
    walk = [fit(noise(seed, 1 + 0.01 * seed)) for seed in range(1, 6)]
    for point in [best, *walk]:
        pool.offer(point)
    assert pool.beside(best) == walk[: KEPT - 1]
    others = {
        "good": fit(noise(6), frame),
        "far worse": fit(noise(7, 3.0), frame, start="prune"),
        "empty": fit(noise(8), Frame(None, None, np.ones(1), None), rank=0),
        "another mode": fit(noise(9), BY_SLICE),
    }
    for point in others.values():
        pool.offer(point)
    assert pool.beside(best) == [*walk[: KEPT - 1], others["good"]]


def test_a_blend_of_noisy_fits_is_found_by_the_search():
    """Many components of falling size: fits from different starts keep different ones, and their sum is better."""
    from rankless import complete

    rng = np.random.default_rng(0)
    array = np.einsum("ir,jr,kr,r->ijk", *(rng.normal(size=(16, 200)) for _ in range(3)), np.arange(1, 201) ** -0.5)
    array[rng.random(array.shape) > 0.8] = np.nan
    done, single = (complete(array, random_state=0, experts=["components", *more]) for more in (["draws"], []))
    assert len(single.fits) == 1
    assert len(done.fits) > 1
    drawn = done.estimator.drawn_
    assert done.rank == len(done.components()) < sum(fit.rank for fit in done.fits), "never a sum over fits"
    assert sum(fit.rank for fit in done.fits) == done.model.rank - (drawn.rank if drawn else 0)
    assert done.estimator.holdout_rmse_ < single.estimator.holdout_rmse_
    everything = sum(fit.full() for fit in [*done.fits, *([drawn] if drawn else [])])
    np.testing.assert_allclose(done.model.full(), everything, atol=1e-9)
    assert f"rank {done.rank} found, depth {done.depth:g}, penalty" in done.summary()
    assert f"components x {done.rank} in a share of" in done.answer
    assert f"rank {single.rank} found, depth {single.depth:g}, penalty" in single.summary()


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "three"])
def test_n_fits_must_be_a_number_of_fits(bad):
    from rankless import TensorCompleter

    with pytest.raises(ValueError, match="n_fits"):
        TensorCompleter(n_fits=bad).fit(np.where(np.arange(60).reshape(5, 4, 3) % 7, TRUTH[:5, :4, :3], np.nan))
