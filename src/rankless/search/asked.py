"""The options of `TensorCompleter`, checked, as the searches take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from rankless.als import signs_of
from rankless.als.losses import loss_of
from rankless.depth import check_depth
from rankless.search.walk import Limits
from rankless.tensors.observations import Observations


class Options(Protocol):
    """What a `TensorCompleter` was made with; what each may be is said there."""

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


def limits_of(options: Options, obs: Observations) -> Limits:
    """What may be searched; ValueError, with the mend, for an option that is not known."""
    if not (isinstance(options.holdout, (int, float)) and 0 < options.holdout < 1):
        raise ValueError(f"holdout={options.holdout!r} is not a share between 0 and 1; pass holdout=0.1 for a tenth")
    given: dict[str, Any] = {}
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
    if not is_auto(options.n_fits):
        if isinstance(options.n_fits, bool) or not (isinstance(options.n_fits, (int, np.integer)) and options.n_fits >= 1):
            raise ValueError(f"n_fits={options.n_fits!r} is not a number of fits >= 1; pass n_fits='auto', or 1 for a single fit")
        given["fits"] = int(options.n_fits)
    if not (options.local is None or is_auto(options.local)):
        raise ValueError(f"local={options.local!r} is not known; pass 'auto' to let close cells help, or None")
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
    return Limits(noise=options.noise, local=options.local is not None, **given)


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
    if any(positive) and options.loss == "bernoulli":
        raise ValueError("loss='bernoulli' makes up log odds, which are of both signs; pass nonnegative=False")
    if any(positive) and options.effects is True:
        raise ValueError("effects=True would lie under nonnegative components, which make up the values alone; pass effects='auto'")
    return positive


def is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"
