"""``python -m torture.fuzzer SUFFIX LOG FOLDER [OPTION OF LIBFUZZER ...]``: a reader under atheris, steered by what code inputs reach.

A process of its own: code is instrumented as it is imported, and an input may end it. LOG takes a letter for every input
that was tried (of `LETTERS`), and what was wrong goes to LOG.crashed, so that nothing is lost where the process ends.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from typing import Any

from torture.record import Outcome

INSTRUMENTED = [
    "rankless.io",
    "rankless.kinds",
    "rankless.tensors.observations",
    "scipy.io",
    "h5netcdf",
    "xarray.backends",
    "xarray.coding",
    "zipfile",
]
LETTERS: dict[Outcome, bytes] = {"refused": b"r", "accepted": b"a", "crashed": b"c"}


def main() -> None:
    atheris: Any = importlib.import_module("atheris")

    suffix, log, *options = sys.argv[1:]
    with atheris.instrument_imports(include=INSTRUMENTED):
        from torture import child, judge
        from torture.seeds import NAME, seeds

        files = seeds(suffix)
        judge.read((suffix, files[0]))  # brings what is imported late
    import numpy as np

    for function in vars(np.lib.format).values():  # NumPy is here before anyone is asked
        if inspect.isfunction(function):
            atheris.instrument_func(function)
    letters = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    crashed = os.open(f"{log}.crashed", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def one(content: bytes) -> None:
        outcome, said = judge.read((suffix, {f"{NAME}{suffix}": content}))
        os.write(letters, LETTERS[outcome])
        if outcome == "crashed":
            os.write(crashed, said.replace("\n", " ").encode()[:300] + b"\n")

    for seed in files:
        one(*seed.values())  # all libraries are loaded before memory is short
    child.limit_memory(child.GIB)
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
