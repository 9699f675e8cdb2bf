"""A network in the place of components: what it fills, says and refuses, and that it is fitted again, saved and grown as the rest is."""

from __future__ import annotations

import numpy as np
import pytest

import rankless
from rankless.als.networks import resumed
from rankless.answer.tree import Tools
from rankless.experts.multilinear import PATH, Multilinear, best_network, fitted, most_columns
from rankless.runtime.workers import Workers
from rankless.search.walk import Limits, Search
from rankless.tensors.observations import Observations

SHAPE, RANKS, NOISE = (8, 7, 6), (2, 2, 2), 0.01


def planted() -> tuple[np.ndarray, np.ndarray]:
    """A tensor of multilinear rank 2, 2, 2, unit root mean square, and what is seen of it with noise of 1 %."""
    rng = np.random.default_rng(0)
    core, factors = rng.normal(size=RANKS), [rng.normal(size=(d, r)) for d, r in zip(SHAPE, RANKS, strict=True)]
    truth = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    truth /= np.sqrt(np.mean(truth**2))
    return truth, np.where(rng.random(SHAPE) < 0.5, truth + NOISE * rng.normal(size=SHAPE), np.nan)


@pytest.fixture(scope="module")
def done():
    """Filled by a Tucker model alone: experts of series have nothing to say of such data."""
    return rankless.complete(planted()[1], model="tucker", experts=["components"], random_state=0, n_jobs=1)


def test_rank_does_not_matter_of_tucker_data(done):
    """The oracle: with noise of 1 % the cells never seen are known to 2 %; no rank was given, and the multilinear rank is found."""
    truth, seen = planted()
    hidden = np.isnan(seen)
    assert np.sqrt(np.mean((done.filled - truth)[hidden] ** 2)) < 2 * NOISE
    assert done.estimator.ranks_ == RANKS and done.rank == 0 and done.model.rank == 0
    assert "a tucker of ranks 2, 2, 2" in done.answer and "tucker of ranks 2, 2, 2 found" in done.summary()


def test_its_intervals_cover(done):
    truth, seen = planted()
    hidden = np.argwhere(np.isnan(seen))
    lower, upper = done.estimator.predict_interval(hidden, 0.9)
    inside = np.mean((lower <= truth[tuple(hidden.T)]) & (truth[tuple(hidden.T)] <= upper))
    assert inside > 0.85 and np.median(upper - lower) < 10 * NOISE


def test_it_comes_back_from_a_file(done, tmp_path):
    done.save(tmp_path / "kept.npz")
    back = rankless.Completion.load(tmp_path / "kept.npz")
    np.testing.assert_allclose(back.filled, done.filled, rtol=1e-12)
    assert back.estimator.ranks_ == RANKS


def test_new_slices_are_filled_by_the_network(done):
    """A ninth slice, of which half is seen: a row of the first factor more."""
    rng = np.random.default_rng(0)
    core, factors = rng.normal(size=RANKS), [rng.normal(size=(d, r)) for d, r in zip(SHAPE, RANKS, strict=True)]
    truth = np.einsum("abc,ia,jb,kc->ijk", core, *factors)
    row = np.einsum("abc,a,jb,kc->jk", core, np.array([0.7, -1.1]), *factors[1:]) / np.sqrt(np.mean(truth**2))
    shown = np.where(np.random.default_rng(5).random(row.shape) < 0.5, row, np.nan)
    grown = done.extend(shown[None], along=0)
    assert np.sqrt(np.mean((grown.filled[-1] - row) ** 2)) < 5 * NOISE


@pytest.mark.parametrize("model, penalty, ranks", [("tucker", 0.01, RANKS), ("train", 0.1, (2, 2))])
def test_fitted_again_it_says_the_same_and_nothing_of_slices_never_seen(model, penalty, ranks):
    truth, seen = planted()
    seen[3] = np.nan
    obs = Observations.from_array(seen)
    first = fitted(obs, model, 4.0, penalty)
    with Workers(1) as workers:
        again, afresh = (first.again(obs, Tools(workers, iter(()), gaps=gaps)) for gaps in (False, True))
    cells = np.argwhere(np.ones(SHAPE))
    there = cells[:, 0] != 3
    for network in (again, afresh):
        said = network.at(cells)
        assert np.isnan(said[~there]).all() and network.ranks == ranks
        assert np.linalg.norm(said[there] - truth.ravel()[there]) < 0.05 * np.linalg.norm(truth)
    assert isinstance(again, Multilinear) and again.components.rank == 0


def test_of_data_without_noise_the_search_compares_fits_at_rest():
    """Stopped early, fits erred by how early they stopped: their order, and so depth and penalty, hung on the last bit of the values."""
    rng, shape = np.random.default_rng(2), (10, 9, 7)
    core, factors = rng.normal(size=(3, 2, 2)), [rng.normal(size=(d, r)) for d, r in zip(shape, (3, 2, 2), strict=True)]
    truth, seen = np.einsum("abc,ia,jb,kc->ijk", core, *factors), rng.random(shape)
    parts = (np.where(part, truth / truth.std(), np.nan) for part in (seen < 0.45, (seen >= 0.45) & (seen < 0.5)))
    train, held = map(Observations.from_array, parts)
    found = []
    with Workers(1) as workers:
        best_network(Search(train, held, Limits(effects=(False,), model="tucker", max_rank=5), iter(()), workers), found)
    best = found[0][1]
    assert best.ranks == (3, 2, 2) and best.penalty == PATH[0]  # without noise the weakest is best
    how = {"layers": best.layers, "penalty": best.penalty, "tol": 1e-6, "max_sweeps": 300}
    on = best.size * resumed("tucker", train.with_values(train.values / best.size), best.arrays, **how).at(held.indices)
    judged, driven = (np.sqrt(np.mean((said - held.values) ** 2)) for said in (best.at(held.indices), on))
    assert 0.8 * judged < driven < 1.05 * judged


def test_a_core_has_at_most_so_many_numbers():
    for shape in ((50, 50), (40, 30, 20), (9, 9, 9, 9, 9)):
        assert np.prod(most_columns("tucker", shape, None)) <= 640
    assert most_columns("tucker", (40, 2, 20), 3) == [3, 2, 3] and most_columns("train", (40, 2, 20), 3) == [3, 3]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"model": "parafac"}, "model='parafac' is not known; pass 'cp', 'tucker', 'train'"),
        ({"model": "tucker", "loss": "poisson"}, "loss='poisson' is for components and not for model='tucker'"),
        ({"model": "train", "nonnegative": True}, "nonnegative=True is for components and not for model='train'"),
        ({"model": "tucker", "noise": 0}, "noise=0 is for components"),
        ({"model": "tucker", "smooth": [0]}, r"smooth=\[0\] is for components"),
        ({"model": "tucker", "experts": ["components", "draws"]}, "the expert 'draws' stands beside components"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        rankless.complete(np.abs(planted()[1]), random_state=0, **options)
