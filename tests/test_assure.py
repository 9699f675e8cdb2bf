"""How many components, and are they real: three of a made fluorescence, none of noise, and each ground by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rankless
from planted import planted
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.trust.assure import assured, conventional, core_consistency, factorize

FEW: dict[str, Any] = {"seeds": 3, "halves": 2, "n_jobs": 1}


def fluorescence(seed: int = 0) -> tuple[np.ndarray, CPTensor]:
    """Samples x emission x excitation of three fluorophores; light below its excitation, and scatter, are missing."""
    rng = np.random.default_rng(seed)
    emission, excitation = np.arange(280, 600, 8.0), np.arange(240, 450, 10.0)

    def peak(x, at, wide):
        return np.exp(-(((x - at) / wide) ** 2) / 2)

    light = np.stack([peak(emission, 305, 14), peak(emission, 350, 22), peak(emission, 440, 45)], axis=1)
    taken = np.stack(
        [peak(excitation, 275, 9), peak(excitation, 285, 14) + 0.5 * peak(excitation, 250, 14), peak(excitation, 345, 28)], axis=1
    )
    amounts = rng.gamma(2, 1, size=(25, 3))
    truth = CPTensor([100 * amounts, light, taken])
    array = truth.full() + rng.normal(size=truth.shape)
    e, x = np.meshgrid(emission, excitation, indexing="ij")
    return np.where((np.abs(e - x) < 14) | (e < x), np.nan, array), truth


@pytest.mark.parametrize("nonnegative", [False, True])
def test_three_of_a_fluorescence(nonnegative):
    array, truth = fluorescence()
    found = factorize(array, nonnegative=nonnegative, half="sample", modes=["sample", "emission", "excitation"], **FEW)
    assert found.rank == 3
    assert rankless.match(found.model, truth, sizes=False).scores.min() > 0.99
    rank = found.assurance.ranks[3]
    assert rank.seeds.shape == (3, 3) and rank.halves.shape == (4, 3)
    assert rank.seeds.min() > 0.99 and rank.halves.min() > 0.99 and rank.core > 90 and (rank.rise > 0.5).all()
    assert str(found).startswith("Three components, and they are real: found again from 3 random starts (match 0.99") or "1.000" in str(
        found
    )
    assert list(found.loadings("emission").columns) == [0, 1, 2] and found.table().real.all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_none_of_noise(seed):
    rng = np.random.default_rng(seed)
    array = np.where(rng.random((14, 12, 10)) < 0.7, rng.normal(size=(14, 12, 10)), np.nan)
    found = factorize(array, **FEW)
    assert found.rank == 0 and found.model.shape == (14, 12, 10)
    assert str(found).startswith("No component is real")


def test_more_than_are_there_are_not_real():
    _, seen = planted((16, 14, 12), 2, 0.6, noise=0.3, seed=2)
    found = factorize(seen, rank=4, **FEW)
    assert found.rank == 4 and not found.assurance.ranks[4].real.all()
    assert found.assurance.count == 0
    assert factorize(seen, **FEW).rank == 2


def test_a_completion_assures_its_components_and_the_page_shows_it(tmp_path):
    _, seen = planted((16, 14, 12), 2, 0.6, noise=0.2, seed=1)
    done = rankless.complete(seen + 10, random_state=0, n_jobs=1, experts=["components", "neighbours"])
    assert done.assurance is None
    found = done.assure(**FEW)
    assert found.count == 2 and done.assurance is found
    done.report(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "How many, and are they real" in page and "Two components, and they are real" in page
    other = rankless.complete(np.random.default_rng(0).poisson(3.0, (12, 9)).astype(float), loss="poisson", random_state=0, n_jobs=1)
    with pytest.raises(ValueError, match="loss='poisson'"):
        other.assure()


def test_core_consistency_is_that_of_the_superdiagonal():
    rng = np.random.default_rng(0)
    true = CPTensor([rng.normal(size=(d, 2)) for d in (8, 7, 6)])
    array = true.full()
    array[rng.random(array.shape) < 0.3] = np.nan
    assert core_consistency(true, Observations.from_array(array)) == pytest.approx(100.0)
    core = rng.normal(size=(2, 2, 2))
    tucker = np.einsum("abc,ia,jb,kc->ijk", core, *true.factors)
    balanced = true.balanced()
    scales = [np.linalg.lstsq(b, f, rcond=None)[0] for b, f in zip(balanced.factors, true.factors, strict=True)]  # true = balanced @ scales
    moved = np.einsum("abc,xa,yb,zc->xyz", core, *scales)
    ideal = np.zeros((2, 2, 2))
    ideal[0, 0, 0] = ideal[1, 1, 1] = 1.0
    wanted = 100 * (1 - np.sum((moved - ideal) ** 2) / 2)
    assert core_consistency(true, Observations.from_array(tucker)) == pytest.approx(wanted)
    assert np.isnan(
        core_consistency(CPTensor([rng.normal(size=(20, 12)) for _ in range(3)]), Observations.from_array(np.ones((20, 20, 20))))
    )


def test_conventional_is_the_same_tensor():
    rng = np.random.default_rng(0)
    model = CPTensor([rng.normal(size=(d, 3)) for d in (6, 5, 4)])
    found = conventional(model, scores=1)
    np.testing.assert_allclose(found.full(), model.full(), atol=1e-12)
    for mode in (0, 2):
        np.testing.assert_allclose(np.linalg.norm(found.factors[mode], axis=0), 1.0)
        assert (np.sum(found.factors[mode] ** 3, axis=0) >= 0).all()
    assert (np.diff(np.linalg.norm(found.factors[1], axis=0)) <= 0).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"half": "nothing"}, "no mode 'nothing'"),
        ({"seeds": 1}, "seeds=1"),
        ({"rank": 0}, "rank=0"),
        ({"max_rank": 0}, "max_rank=0"),
        ({"depth": -1.0}, "depth=-1.0"),
    ],
)
def test_what_is_out_of_range_is_said(options, words):
    with pytest.raises(ValueError, match=words):
        factorize(np.random.default_rng(0).normal(size=(8, 7, 6)), **options)


def test_constant_data_have_no_components():
    with pytest.raises(ValueError, match="constant"):
        assured(Observations.from_array(np.ones((5, 5))))
