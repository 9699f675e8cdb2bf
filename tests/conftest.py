"""What every test shares: how hypothesis runs, and where the real data lie."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

# No deadline: the first call of a compiled kernel may take seconds. Derandomised: a red run stays red.
settings.register_profile("rankless", deadline=None, derandomize=True)
settings.load_profile("rankless")

# Tiny problems: compiling is most of their time, so JAX's compiler is told to hurry. Read when JAX first computes.
# The older emitters of loops compile in half the time; XLA ends a process over a flag that it does not know, so only these versions get it.
HURRY = ["--xla_backend_optimization_level=0"]
if version("jaxlib").startswith(("0.8.", "0.9.", "0.10.")):
    HURRY.append("--xla_cpu_use_fusion_emitters=false")
os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *HURRY]).strip()

ROOT = Path(__file__).resolve().parent.parent

# Files that take longest begin first: with several processes, one that begins late keeps all others waiting.
# Seconds are in the order of a minute for the first and of ten for the last; any order is right, this one is short.
LONGEST = (
    "dynamics/test_product.py",
    "dynamics/test_networks.py",
    "test_checkpoint.py",
    "test_general.py",
    "dynamics/test_laws.py",
    "test_unfolding.py",
    "dynamics/test_factorizations.py",
    "test_selection.py",
    "test_completer.py",
    "test_progress.py",
    "test_sklearn.py",
    "test_close_cells.py",
    "test_evaluation.py",
    "figures/test_reproduce.py",
    "dynamics/test_flow.py",
    "dynamics/test_probes.py",
    "dynamics/test_problem.py",
    "later/test_extend.py",
    "test_cli.py",
    "experts/test_every_expert.py",
    "test_transforms.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], dict[str, np.ndarray]]:
    """``shared_data("metoffice_2001_2020")``: the arrays of a real data set, or a skip where it is absent."""
    folder = Path(os.environ.get("RANKLESS_DATA", ROOT.parent / "shared" / "data"))

    def load(name: str) -> dict[str, np.ndarray]:
        path = folder / name / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"data set {name} is not in {folder}; set RANKLESS_DATA to the folder that holds it")
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)

    return load
