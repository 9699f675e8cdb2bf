"""Depth as arithmetic: the few formulas that both engines read.

A component of an order-`N` tensor is an outer product of `N` vectors. At depth `k` each vector is
`u = A_k ... A_1 w`, with `k` square layers on top of `w`. With balanced layers the layers drop out
and only three facts about `k` remain, each a power of a norm:

====================  ===========================  ============================================
what                  formula                      who uses it
====================  ===========================  ============================================
mobility              ``|u|^(2k/(k+1))``           the flow: how fast a vector of this norm moves
ridge weight          ``|u|^(-2k/(k+1))``          ALS: the majoriser of the penalty, its inverse
penalty               ``(k+1)/2 |u|^(2/(k+1))``    both: least weight decay that builds `u`
====================  ===========================  ============================================

`k` is any real number >= 0; `k = 0` is shallow CP. Every function is plain arithmetic, so NumPy
and JAX arrays both pass through. Sources: [arora2018], [hariz2022]; keys are in
``docs/references.bib``.
"""

from __future__ import annotations

import math


def check_depth(depth: float) -> float:
    """`depth` as a float; raises ValueError unless it is a finite number >= 0.

    >>> check_depth(2)
    2.0
    """
    try:
        value = float(depth)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"depth={depth!r} is not a number >= 0; pass depth=0 for shallow CP, depth=1 or more to go deep")
    return value


def mobility(norm, depth):
    """``|u|^(2k/(k+1))``: the factor by which depth speeds up the flow of a vector of this norm.

    >>> mobility(4.0, 0.0), mobility(4.0, 1.0)
    (1.0, 4.0)
    """
    return norm ** (2.0 * depth / (depth + 1.0))


def ridge_weight(norm, depth):
    """``|u|^(-2k/(k+1))``: weight of the ridge that majorises the penalty at a vector of this norm.

    >>> ridge_weight(4.0, 1.0)
    0.25
    """
    return norm ** (-2.0 * depth / (depth + 1.0))


def vector_penalty(norm, depth):
    """``(k+1)/2 |u|^(2/(k+1))``: least weight decay of `k` square layers and a vector that build `u`.

    >>> vector_penalty(4.0, 0.0), vector_penalty(4.0, 1.0)
    (8.0, 4.0)
    """
    return 0.5 * (depth + 1.0) * norm ** (2.0 / (depth + 1.0))


def component_penalty(norm, depth, order):
    """``N(k+1)/2 s^(2/(N(k+1)))``: the same for a whole component of norm `s`, its modes balanced.

    >>> round(component_penalty(8.0, 0.0, 3), 12)
    6.0
    """
    factors = order * (depth + 1.0)
    return 0.5 * factors * norm ** (2.0 / factors)


def last_layer_exponent(depth, order):
    """``2 - 2/N + k``: growth exponent of ``||(x)_n w||`` in deep CP [hariz2022].

    >>> last_layer_exponent(1.0, 4)
    2.5
    """
    return 2.0 - 2.0 / order + depth


def end_to_end_exponent(depth, order):
    """``2 - 2/(N(k+1))``: growth exponent of ``||(x)_n u||``, the component itself.

    >>> end_to_end_exponent(1.0, 4)
    1.75
    """
    return 2.0 - 2.0 / (order * (depth + 1.0))


def switch_on_time(norm, pull, factors):
    """``T = s^(2/M - 1) / ((M - 2) g)``: how long a component of norm `s` needs to become large under a steady pull `g`.

    The solution of ``s' = M g s^(2 - 2/M)`` for ``M > 2`` factors, ``M = N(k+1)``, grows past every bound at `T`: for a small start
    nearly all of that time goes by while the component is small, so `T` is when it switches on. A pull of zero or against it gives
    no time; ask only where ``pull > 0``.

    >>> switch_on_time(1e-4, 0.5, 4.0)
    100.0
    """
    return norm ** (2.0 / factors - 1.0) / ((factors - 2.0) * pull)
