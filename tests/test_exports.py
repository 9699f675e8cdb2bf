"""What other packages call: components and filled cells in the types of TLViz, TensorLy, tensortools and xarray."""

from __future__ import annotations

import importlib
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rankless.completion import Completion
from rankless.kinds.labelled import labelled_array
from rankless.tensors.cp_tensor import CPTensor
from rankless.tensors.observations import Observations
from rankless.trust.assure import Factorization
from rankless.trust.labelled import labelled_cp

NAMES = ["station", "hour", "variable"]


@pytest.fixture
def obs() -> Observations:
    return Observations.from_array(np.ones((5, 4, 3)), modes=NAMES, labels=[[f"ST{n}" for n in range(5)], None, ["warm", "wet", "windy"]])


@pytest.fixture
def model() -> CPTensor:
    rng = np.random.default_rng(0)
    return CPTensor([rng.normal(size=(d, 2)) * [1.0, 3.0] for d in (5, 4, 3)])


@pytest.fixture
def tlviz():
    pytest.importorskip("tlviz", reason="needs tlviz: pip install tlviz")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        return importlib.import_module("tlviz")


def dense(weights: np.ndarray, factors: list[Any]) -> np.ndarray:
    return np.einsum("r,ir,jr,kr->ijk", weights, *(np.asarray(factor) for factor in factors))


def test_a_labelled_cp_tensor_is_the_same_tensor_with_the_labels_of_its_modes(obs, model):
    weights, tables = labelled_cp(model, obs)
    np.testing.assert_allclose(dense(weights, tables), model.full(), atol=1e-12)
    assert [table.index.name for table in tables] == NAMES
    assert tables[0].index.tolist() == [f"ST{n}" for n in range(5)] and tables[1].index.tolist() == [0, 1, 2, 3]
    for table in tables:
        assert table.columns.tolist() == [0, 1]
        np.testing.assert_allclose(np.linalg.norm(table, axis=0), 1.0)
    np.testing.assert_allclose(weights, sorted(model.component_norms(), reverse=True))
    for table in tables[1:]:  # the largest loading is positive
        assert (table.to_numpy()[np.abs(table.to_numpy()).argmax(axis=0), [0, 1]] > 0).all()
    none = labelled_cp(CPTensor([np.zeros((d, 0)) for d in obs.shape]), obs)
    assert none[0].shape == (0,) and [table.shape for table in none[1]] == [(5, 0), (4, 0), (3, 0)]


def test_completions_and_factorizations_give_it(obs, model):
    done: Any = SimpleNamespace(best=model, observations=obs, _array=lambda: model.full())
    weights, tables = Completion.to_tlviz(done)
    np.testing.assert_allclose(dense(weights, tables), model.full(), atol=1e-12)
    found = Factorization(model, obs, None)  # pyright: ignore[reportArgumentType]
    weights, tables = found.to_tlviz()
    np.testing.assert_allclose(dense(weights, tables), model.full(), atol=1e-12)
    assert tables[2].index.tolist() == found.loadings("variable").index.tolist() == ["warm", "wet", "windy"]
    pytest.importorskip("xarray")
    array = Completion.to_xarray(done)
    assert array.dims == tuple(NAMES) and array.coords["variable"].to_numpy().tolist() == ["warm", "wet", "windy"]
    assert float(array.sel(station="ST3", hour=1, variable="wet")) == pytest.approx(model.full()[3, 1, 1])


def test_tensortools_takes_a_list_of_even_factors(model):
    factors = model.to_tensortools()  # KTensor keeps a list of (size, rank) arrays, and setting one of them has to work
    assert isinstance(factors, list) and [factor.shape for factor in factors] == [(5, 2), (4, 2), (3, 2)]
    np.testing.assert_allclose(np.einsum("ir,jr,kr->ijk", *factors), model.full(), atol=1e-12)
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    np.testing.assert_allclose(norms[0], norms[1])
    np.testing.assert_allclose(norms[0], norms[2])
    assert norms[0][0] > norms[0][1]
    tensortools: Any = pytest.importorskip("tensortools", reason="needs tensortools: pip install tensortools")
    there = tensortools.KTensor(factors)
    assert there.rank == 2 and there.shape == (5, 4, 3)
    np.testing.assert_allclose(there.full(), model.full(), atol=1e-12)
    turned = tensortools.KTensor([factor[:, ::-1] * sign for factor, sign in zip(factors, (-1, -1, 1), strict=True)])
    assert tensortools.kruskal_align(there, turned, permute_U=True, permute_V=True) == pytest.approx(1.0)


def test_tlviz_reads_compares_and_draws_it(obs, model, tlviz):
    plt = pytest.importorskip("matplotlib.pyplot")
    labelled, array = labelled_cp(model, obs), labelled_array(model.full(), obs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert tlviz.model_evaluation.fit(labelled, array) == pytest.approx(1.0)
        assert tlviz.factor_tools.factor_match_score(labelled, labelled) == pytest.approx(1.0)
        again = tlviz.postprocessing.postprocess(labelled, array)
        assert [table.index.name for table in again[1]] == NAMES
        _, axes = tlviz.visualisation.components_plot(labelled)
        assert len(axes) == 3 and len(axes[0].get_lines()) == 2
    plt.close("all")
