"""The options of `TensorCompleter`, checked, as the searches take them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from rankless.als import signs_of
from rankless.als.losses import loss_of
from rankless.answer.stack import MOST_FITS
from rankless.depth import check_depth
from rankless.kinds.side import known_of
from rankless.search.effort import effort_of
from rankless.search.walk import Limits
from rankless.tensors.observations import Observations

OWN = ("components", "draws", "neighbours")  # what the search itself makes


MODELS = ("cp", "tucker", "train")  # what components may be, or a network in their place


class Options(Protocol):
    """What a `TensorCompleter` was made with; what each may be is said there."""

    model: Any
    effort: Any
    experts: Any
    depth: Any
    penalty: Any
    max_rank: Any
    effects: Any
    noise: Any
    n_fits: Any
    local: Any
    value_transform: Any
    smooth: Any
    loss: Any
    nonnegative: Any
    holdout: Any
    side: Any


def limits_of(options: Options, obs: Observations, others: Sequence[str]) -> Limits:
    """What may be searched; ValueError, with the mend, for an option that is not known. `others` are the experts beside the search."""
    if not (isinstance(options.holdout, (int, float)) and 0 < options.holdout < 1):
        raise ValueError(f"holdout={options.holdout!r} is not a share between 0 and 1; pass holdout=0.1 for a tenth")
    given: dict[str, Any] = {"effort": effort_of(options.effort), **_experts_of(options, others)}
    if not is_auto(options.depth):
        given["depths"] = (check_depth(options.depth),)  # pyright: ignore[reportArgumentType]
    if not is_auto(options.penalty):
        if not (isinstance(options.penalty, (int, float, np.number)) and math.isfinite(options.penalty) and options.penalty > 0):
            raise ValueError(f"penalty={options.penalty!r} is not a positive number; pass penalty='auto' to have it found")
        given["penalties"] = (float(options.penalty),)
    if not is_auto(options.max_rank):
        if not (isinstance(options.max_rank, (int, np.integer)) and options.max_rank >= 1):
            raise ValueError(f"max_rank={options.max_rank!r} is not a whole number >= 1; pass max_rank='auto' to have it found")
        given["max_rank"] = int(options.max_rank)
    if not is_auto(options.effects):
        if not isinstance(options.effects, (bool, np.bool_)):
            raise ValueError(f"effects={options.effects!r} is not known; pass 'auto', True or False")
        given["effects"] = (bool(options.effects),)
    if isinstance(options.noise, bool):  # a bool is an int, and no mode
        raise ValueError(f"noise={options.noise!r} is not known; pass 'auto', None for the same noise everywhere, or a mode")
    if not (options.noise is None or is_auto(options.noise)):
        obs.mode_index(options.noise)
    if options.smooth is None:
        given["smooth"] = ()
    elif not is_auto(options.smooth):
        if isinstance(options.smooth, str) or not isinstance(options.smooth, Sequence):
            raise ValueError(f"smooth={options.smooth!r} is not known; pass 'auto', None, or a list of modes: smooth=[{options.smooth!r}]")
        given["smooth"] = tuple(dict.fromkeys(obs.mode_index(mode) for mode in options.smooth))
    positive = signs_in(options, obs)
    known = known_of(options.side, obs)
    _check_model(options)
    return Limits(noise=options.noise, model=options.model, side=known, loss=loss_of(options.loss, positive), nonnegative=positive, **given)


def _check_model(options: Options) -> None:
    """Raise ValueError for a model that is not known, or for options that do not go with a network in the place of components."""
    model = options.model
    if not (isinstance(model, str) and model in MODELS):
        raise ValueError(f"model={model!r} is not known; pass {', '.join(map(repr, MODELS))}")
    if model == "cp":
        return
    if options.loss != "gaussian" or np.any(options.nonnegative):
        what = f"loss={options.loss!r}" if options.loss != "gaussian" else f"nonnegative={options.nonnegative!r}"
        raise ValueError(f"{what} is for components and not for model={model!r}; leave it out, or pass model='cp'")
    for name in ("noise", "smooth"):
        value = getattr(options, name)
        if not (value is None or is_auto(value)):
            raise ValueError(f"{name}={value!r} is for components and not for model={model!r}; leave it out, or pass model='cp'")
    of_components = [each for each in ("draws", "neighbours") if not is_auto(options.experts) and each in options.experts]
    if of_components:
        raise ValueError(
            f"the expert {of_components[0]!r} stands beside components and not beside model={model!r}; leave it out of experts"
        )


def _experts_of(options: Options, others: Sequence[str]) -> dict[str, Any]:
    """Who may fill cells: `fits`, `local` and `experts` of `Limits`."""
    given: dict[str, Any] = {}
    known = (*OWN, *others)
    listed = ", ".join(map(repr, known))
    if not is_auto(options.experts):
        if isinstance(options.experts, str) or not isinstance(options.experts, Sequence):
            raise ValueError(f"experts={options.experts!r} is not known; pass 'auto', or a list of {listed}")
        names = [each for each in options.experts if isinstance(each, str)]
        for name in names:
            if name not in known:
                raise ValueError(f"the expert {name!r} is not known; there are {listed}")
        beside = tuple(each for each in options.experts if each not in OWN)
        given = {"fits": MOST_FITS if "draws" in names else 1, "local": "neighbours" in names, "experts": beside}
    if not is_auto(options.n_fits):
        if isinstance(options.n_fits, bool) or not (isinstance(options.n_fits, (int, np.integer)) and options.n_fits >= 1):
            raise ValueError(
                f"n_fits={options.n_fits!r} is not a number of fits >= 1; leave it out, or pass experts=['components'] for one fit"
            )
        _say_so("n_fits", "experts=['components'] or ['components', 'neighbours'] for a single fit")
        given["fits"] = int(options.n_fits)
        if options.n_fits == 1:
            given.setdefault("experts", ())
    if not (options.local is None or is_auto(options.local)):
        raise ValueError(f"local={options.local!r} is not known; leave it out, or pass experts=['components', 'draws'] without neighbours")
    if options.local is None:
        _say_so("local", "experts=['components', 'draws']")
        given |= {"local": False, "experts": ()}
    return given


def _say_so(old: str, new: str) -> None:
    warnings.warn(f"{old}= will go with the next release; pass {new} instead", DeprecationWarning, stacklevel=2)


def signs_in(options: Options, obs: Observations) -> tuple[bool, ...]:
    """For each mode whether its factor may hold no negative number; ValueError where it doesn't go with loss and values."""
    positive = signs_of(options.nonnegative, obs.order)
    loss_of(options.loss, positive).check(obs)
    if options.loss == "gaussian" and not any(positive):
        return positive
    what = f"loss={options.loss!r}" if options.loss != "gaussian" else f"nonnegative={options.nonnegative!r}"
    for name in ("value_transform", "noise", "smooth"):
        value = getattr(options, name)
        if not (value is None or is_auto(value)):
            raise ValueError(f"{name}={value!r} is for squares and not for {what}; leave it out")
    if options.side is not None:
        raise ValueError(f"side= is for squares and not for {what}; leave it out")
    if any(positive) and options.loss == "bernoulli":
        raise ValueError("loss='bernoulli' makes up log odds, which are of both signs; pass nonnegative=False")
    if any(positive) and options.effects is True:
        raise ValueError("effects=True would lie under nonnegative components, which make up the values alone; pass effects='auto'")
    return positive


def is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
