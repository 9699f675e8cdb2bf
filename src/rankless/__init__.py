"""rankless: fill in and factorise multiway data without choosing a rank.

A partially observed array goes in; the missing entries, the few components that explain the data
and their number come out. Depth does it: a CP factorization whose components carry `k` extra layers
each, trained with weight decay, counts components more and shrinks them less as `k` grows
[hariz2022], so those that do not pay for themselves vanish.

    done = rankless.complete(array)      # NaN where nothing was observed
    done.filled, done.rank, done.depth

Public names are imported when first used, so that importing the package stays instant.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankless.completer import TensorCompleter
    from rankless.completion import Completion, complete
    from rankless.io import read
    from rankless.tensors.cp_tensor import CPTensor
    from rankless.tensors.observations import Observations
    from rankless.trust.assure import factorize
    from rankless.trust.matching import match

__version__ = "0.1.0"

_HOMES = {
    "complete": "rankless.completion",
    "factorize": "rankless.trust.assure",
    "Completion": "rankless.completion",
    "TensorCompleter": "rankless.completer",
    "Observations": "rankless.tensors.observations",
    "CPTensor": "rankless.tensors.cp_tensor",
    "read": "rankless.io",
    "match": "rankless.trust.matching",
}

__all__ = ["CPTensor", "Completion", "Observations", "TensorCompleter", "complete", "factorize", "match", "read"]


def __getattr__(name: str):
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in ("als", "dynamics", "large", "plots"):
        return importlib.import_module(f"rankless.{name}")
    raise AttributeError(f"module 'rankless' has no attribute {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return [*__all__, "__version__", "als", "dynamics", "large", "plots"]
