"""A completion as a file and back: the tree of the answer, the entries it was fitted to, what was chosen. No pickle is written or read.

Everything is frozen dataclasses of arrays and numbers, written by `rankless.runtime.pack` beside the components. Their classes are
named in the file, and only dataclasses of this package are built from it.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from rankless.answer.tree import Placed
from rankless.completer import TensorCompleter
from rankless.kinds.given import Dense, Given
from rankless.kinds.tables import LongTable
from rankless.later.extend import Extended
from rankless.runtime.pack import pack, unpack
from rankless.tensors.observations import Observations

PREFIX, VERSION = "kept_", 2


def arrays_of(estimator: TensorCompleter, given: Given) -> dict[str, np.ndarray]:
    """What `restored` reads, to be written beside a model; nothing for constant data."""
    if estimator._answer is None:
        return {}
    whole = {
        "observations": given.observations,
        "units": given.units,
        "places": given.places,
        "notes": given.notes,
        "dtype": str(dtype) if (dtype := getattr(given, "dtype", None)) is not None else None,
        "table": hasattr(given, "roles"),
        "estimator": _of_estimator(estimator),
    }
    plain = _plain(whole)
    classes = sorted({f"{type(part).__module__}:{type(part).__name__}" for part in _parts(plain)})
    arrays = pack({"version": VERSION, "whole": plain})
    return {f"{PREFIX}{name}": array for name, array in arrays.items()} | {f"{PREFIX}classes": np.array(json.dumps(classes))}


def restored(path: str | os.PathLike) -> tuple[TensorCompleter, Given]:
    """Estimator and data of a completion that was saved; raises ValueError, naming the file, for anything else."""
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name[len(PREFIX) :]: stored[name] for name in stored.files if name.startswith(PREFIX)}
    except (ValueError, EOFError, KeyError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None and not str(problem).startswith("Failed"):
            raise
        raise ValueError(f"{path} is no completion saved by rankless ({problem}); save it again with done.save(path)") from None
    except Exception as problem:  # a damaged archive raises anything
        raise ValueError(f"{path} is no completion saved by rankless ({type(problem).__name__}); save it again") from None
    if "how" not in arrays:
        raise ValueError(f"{path} holds no entries to go on from; write it by done.save(path) or complete --keep {path}")
    try:
        kept = unpack(arrays, list(map(_class, json.loads(str(arrays["classes"])))))
        if kept["version"] != VERSION:
            raise ValueError(f"it is of version {kept['version']}")
        whole = kept["whole"]
        given = _given(whole)
        return _estimator(whole["estimator"], given.fitted), given
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as problem:
        raise ValueError(f"{path} can't be read as a completion ({problem}); fit again and save it with this version") from None


def _given(whole: dict[str, Any]) -> Given:
    obs = whole["observations"]
    known = {"units": whole["units"], "places": tuple(whole["places"]), "notes": tuple(whole["notes"])}
    if whole["table"]:
        return LongTable(obs, obs.to_table(), (*obs.modes, obs.value_name), **known)
    return Dense(obs, dtype=None if whole["dtype"] is None else np.dtype(whole["dtype"]), **known)


def _of_estimator(est: TensorCompleter) -> dict[str, Any]:
    params = {name: value for name, value in est.get_params(deep=False).items() if _sayable(value)}
    path = [{name: _number(value) for name, value in row.items()} for row in est.path_.to_dict("records")]
    known: dict[str, Any] = {"params": params, "seed": est._seed, "path": path, "came_later": est.came_later_}
    if isinstance(est, Extended) and est.before is not None:
        known |= {"before": _of_estimator(est.before), "was": est.place.was, "mode": est.place.mode, "fitted": est.before_fitted}
    return known | {"fit": est._answer}


def _estimator(known: dict[str, Any], fitted: Observations) -> TensorCompleter:
    import pandas as pd

    params = {name: value for name, value in known["params"].items() if name in TensorCompleter().get_params(deep=False)}
    est = TensorCompleter(**params)
    if "before" in known:
        est = Extended(**params)
        est.before, est.before_fitted = _estimator(known["before"], known["fitted"]), known["fitted"]
        est.place = Placed(int(known["mode"]), known["was"])
    est._seed, est.n_features_in_, est.shape_ = known["seed"], fitted.order, fitted.shape
    est.unseen_ = [fitted.counts(mode) == 0 for mode in range(fitted.order)]
    est._answer = est._calibration = None
    est._keep(known["fit"], [known["fit"]], fitted)
    est.path_, est.came_later_ = pd.DataFrame(known["path"]), int(known["came_later"])
    return est


# --- helpers --------------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """`value` with labels as arrays that a file holds."""
    if isinstance(value, Observations):
        return replace(
            value, labels=tuple(None if label is None else _label(label, value.modes[m]) for m, label in enumerate(value.labels))
        )
    if is_dataclass(value) and not isinstance(value, type):
        changed = {f.name: _plain(part) for f in fields(value) if f.init and _holds(part := getattr(value, f.name))}
        return replace(value, **changed) if changed else value
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(map(_plain, value))
    return value


def _holds(value: Any) -> bool:
    return is_dataclass(value) or isinstance(value, (tuple, list, dict))


def _label(label: np.ndarray, mode: str) -> np.ndarray:
    if label.dtype != object:
        return label
    if all(isinstance(each, str) for each in label):
        return np.array([str(each) for each in label])
    plain = np.array(label.tolist())
    if plain.dtype == object or (plain.dtype.kind == "U" and not all(isinstance(each, str) for each in label)):
        raise ValueError(f"labels of {mode} are of several types, which no file holds as they are; make them texts before the fit")
    return plain


def _parts(value: Any) -> Iterator[Any]:
    """Every dataclass in `value`."""
    if is_dataclass(value) and not isinstance(value, type):
        yield value
        for f in fields(value):
            if f.init:
                yield from _parts(getattr(value, f.name))
    elif isinstance(value, dict):
        for part in value.values():
            yield from _parts(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _parts(part)


def _class(name: str) -> type:
    module, _, own = name.partition(":")
    if not module.startswith("rankless."):
        raise ValueError(f"{name} is no part of rankless")
    found = getattr(importlib.import_module(module), own)
    if not (isinstance(found, type) and is_dataclass(found)):
        raise ValueError(f"{name} is no dataclass")
    return found


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _sayable(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str)) or (isinstance(value, (tuple, list)) and all(map(_sayable, value)))
