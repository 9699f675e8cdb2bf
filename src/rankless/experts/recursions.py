"""Matern Gaussian processes along a line, by recursions that take time linear in its length.

A Matern process of smoothness ``p + 1/2`` and length scale `l` is the first component of a linear
stochastic differential equation of order ``p + 1`` [hartikainen2010]. With ``u = sqrt(2p + 1) / l`` times the
distance, the state being the function and its derivatives in units of `u`, a step is

    x <- A(u) x + noise of covariance Q(u),

from the stationary covariance `C`. What is seen is ``level + x_0 + noise``. A Kalman filter runs
forwards; backwards runs the adjoint of its errors [bryson1963], which needs no inverse of a covariance, and
so stands steps and noise of any size. Covariances are relative to the variance of the process: the mean
does not depend on it. The level is found by generalised least squares from the same filter,
run on the values and on a series of ones.

Compiled once for all smoothness. Where the compiler knew it, a run took half to two thirds of the time, which is a
hundredth of a fit's; but two more compilations took eight seconds of the first call.
"""

from __future__ import annotations

import numba as nb
import numpy as np

_SERIES = 4.0  # below it the incomplete gamma function is summed, above it taken from 4! less the rest


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def stationary(size, cov):
    """The stationary covariance of a state of `size` numbers, of variance 1."""
    cov[:] = 0.0
    cov[0, 0] = 1.0
    if size == 2:
        cov[1, 1] = 1.0
    if size == 3:
        cov[1, 1] = 1.0 / 3.0
        cov[2, 2] = 1.0
        cov[0, 2] = cov[2, 0] = -1.0 / 3.0


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def transition(size, u, a, q):
    """Fill `a` with the transition over a distance `u` >= 0, and `q` with the covariance of the noise on the way.

    With ``e`` the last column of ``A``, ``q = c * integral over 0..u of e e'``, in integrals of ``s^k exp(-2 s)``
    that are sums of positive terms: for small `u` all digits of `q` hold, down to ``u^(2p+1)``.
    """
    decay = np.exp(-u)
    if size == 1:
        a[0, 0] = decay
        q[0, 0] = -np.expm1(-2.0 * u)
        return
    x = 2.0 * u
    fade = decay * decay
    top = 2 * size - 1  # the largest gamma(k, x) that is needed; the others follow downwards
    if x < _SERIES:
        term, total, n = 1.0, 1.0, 0
        while term > 1e-17 * total:
            n += 1
            term *= x / (top + n)
            total += term
        gamma = x**top / top * fade * total
    elif top == 3:
        gamma = 2.0 - fade * (x * x + 2.0 * x + 2.0)
    else:
        gamma = 24.0 - fade * (((x + 4.0) * x + 12.0) * x * x + 24.0 * x + 24.0)
    if x > 700.0:  # where exp(-x) is nothing, and a power of x may be infinite
        gamma = 2.0 if top == 3 else 24.0
        decay, fade, u, x = 0.0, 0.0, 1.0, 1.0
    if size == 2:
        g3 = gamma
        g2 = (g3 + x * x * fade) / 2.0
        g1 = g2 + x * fade
        i0, i1, i2 = g1 / 2.0, g2 / 4.0, g3 / 8.0
        a[0, 0], a[0, 1] = decay * (1.0 + u), decay * u
        a[1, 0], a[1, 1] = -decay * u, decay * (1.0 - u)
        q[0, 0] = 4.0 * i2
        q[0, 1] = q[1, 0] = 4.0 * (i1 - i2)
        q[1, 1] = 4.0 * (i0 - 2.0 * i1 + i2)
        return
    g5 = gamma
    g4 = (g5 + x**4 * fade) / 4.0
    g3 = (g4 + x**3 * fade) / 3.0
    g2 = (g3 + x * x * fade) / 2.0
    g1 = g2 + x * fade
    i0, i1, i2, i3, i4 = g1 / 2.0, g2 / 4.0, g3 / 8.0, g4 / 16.0, g5 / 32.0
    half = 0.5 * u * u
    a[0, 0], a[0, 1], a[0, 2] = decay * (1.0 + u + half), decay * (u + u * u), decay * half
    a[1, 0], a[1, 1], a[1, 2] = -decay * half, decay * (1.0 + u - u * u), decay * (u - half)
    a[2, 0], a[2, 1], a[2, 2] = decay * (half - u), decay * (u * u - 3.0 * u), decay * (1.0 - 2.0 * u + half)
    c = 16.0 / 3.0  # e = exp(-s) (s^2 / 2, s - s^2 / 2, 1 - 2 s + s^2 / 2)
    q[0, 0] = c * 0.25 * i4
    q[0, 1] = q[1, 0] = c * (0.5 * i3 - 0.25 * i4)
    q[0, 2] = q[2, 0] = c * (0.5 * i2 - i3 + 0.25 * i4)
    q[1, 1] = c * (i2 - i3 + 0.25 * i4)
    q[1, 2] = q[2, 1] = c * (i1 - 2.5 * i2 + 1.5 * i3 - 0.25 * i4)
    q[2, 2] = c * (i0 - 4.0 * i1 + 5.0 * i2 - 2.0 * i3 + 0.25 * i4)


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def smooth(d, starts, places, values, noise, pick, rates, ratios, widths, asked_starts, asked, out):
    """Conditional means of every picked series at its asked places, of processes whose state has `d` numbers.

    Series `s` has entries ``starts[s]`` to ``starts[s+1]``, sorted by place, and asks for places ``asked_starts[s]`` to
    ``asked_starts[s+1]``, sorted; `out` gets their values, and keeps what it has where a series has no entry.
    `noise` is each entry's own, relative to the others' (empty: all alike). Of each series: `rates`, ``sqrt(2p + 1) / l``;
    `ratios`, the variance of the noise over that of the process; `widths`, the prior variance of its level about 0 over the same.
    """
    longest = 0
    for s in range(len(starts) - 1):
        if pick[s] and asked_starts[s + 1] > asked_starts[s]:
            longest = max(longest, starts[s + 1] - starts[s])
    covs, means, ones, errors = np.empty((longest, d, d)), np.empty((longest, d)), np.empty((longest, d)), np.empty((longest, 3))
    a, q, cov, left, still = np.empty((d, d)), np.empty((d, d)), np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    a_to, q_to, a_from, q_from = np.empty((d, d)), np.empty((d, d)), np.empty((d, d)), np.empty((d, d))
    pull, moved = np.empty(d), np.empty(d)
    stationary(d, still)
    for s in range(len(starts) - 1):
        lo, n, first, last = starts[s], starts[s + 1] - starts[s], asked_starts[s], asked_starts[s + 1]
        if not pick[s] or n == 0 or first == last:
            continue
        rate, step, to, back = rates[s], -1.0, -1.0, -1.0

        # forwards: of the values, and of a series of ones
        along, norm = 0.0, 1.0 / widths[s]
        for i in range(n):
            if i == 0:
                for j in range(d):
                    means[0, j] = ones[0, j] = 0.0
                    for k in range(d):
                        cov[j, k] = still[j, k]
            else:
                u = (places[lo + i] - places[lo + i - 1]) * rate
                if u != step:
                    transition(d, u, a, q)
                    step = u
                for j in range(d):
                    mean, one = 0.0, 0.0
                    for k in range(d):
                        mean += a[j, k] * means[i - 1, k]
                        one += a[j, k] * ones[i - 1, k]
                    means[i, j], ones[i, j] = mean, one
                    for k in range(d):
                        part = 0.0
                        for m in range(d):
                            part += a[j, m] * covs[i - 1, m, k]
                        left[j, k] = part
                for j in range(d):
                    for k in range(j + 1):
                        part = q[j, k]
                        for m in range(d):
                            part += left[j, m] * a[k, m]
                        cov[j, k] = cov[k, j] = part
            r = ratios[s] if len(noise) == 0 else ratios[s] * noise[lo + i]
            total = cov[0, 0] + r
            error, one = values[lo + i] - means[i, 0], 1.0 - ones[i, 0]
            errors[i, 0], errors[i, 1], errors[i, 2] = error, one, total
            along += error * one / total
            norm += one * one / total
            for j in range(d):
                gain = cov[j, 0] / total
                means[i, j] += gain * error
                ones[i, j] += gain * one
                covs[i, j, 0] = covs[i, 0, j] = cov[j, 0] * (r / total)  # no difference of near numbers
                for k in range(1, j + 1):
                    covs[i, j, k] = covs[i, k, j] = cov[j, k] - gain * cov[0, k]
        level = along / norm

        # backwards, answering what is asked on the way
        for j in range(d):
            pull[j] = 0.0
        t = last - 1
        for i in range(n - 1, -1, -1):
            for j in range(d):
                means[i, j] -= level * ones[i, j]
            while t >= first and asked[t] >= places[lo + i]:
                u = (asked[t] - places[lo + i]) * rate
                if u != to:
                    transition(d, u, a_to, q_to)
                    to = u
                said = level
                for k in range(d):
                    said += a_to[0, k] * means[i, k]
                if i < n - 1:
                    u = (places[lo + i + 1] - asked[t]) * rate
                    if u != back:
                        transition(d, u, a_from, q_from)
                        back = u
                    for k in range(d):
                        part = 0.0
                        for m in range(d):
                            part += a_to[0, m] * covs[i, m, k]
                        moved[k] = part
                    for j in range(d):
                        part = q_to[0, j]
                        for k in range(d):
                            part += moved[k] * a_to[j, k]
                        for k in range(d):
                            said += part * a_from[k, j] * pull[k]
                out[t] = said
                t -= 1
            if i < n - 1:
                u = (places[lo + i + 1] - places[lo + i]) * rate
                if u != step:
                    transition(d, u, a, q)
                    step = u
                for j in range(d):
                    part = 0.0
                    for k in range(d):
                        part += a[k, j] * pull[k]
                    moved[j] = part
                for j in range(d):
                    pull[j] = moved[j]
            r = ratios[s] if len(noise) == 0 else ratios[s] * noise[lo + i]
            part = (errors[i, 0] - level * errors[i, 1]) / errors[i, 2]
            for j in range(d):
                part -= covs[i, j, 0] / r * pull[j]
            pull[0] += part
        while t >= first:
            transition(d, (places[lo] - asked[t]) * rate, a_from, q_from)
            said = level
            for j in range(d):
                for k in range(d):
                    said += still[0, j] * a_from[k, j] * pull[k]
            out[t] = said
            t -= 1


@nb.njit(nogil=True, cache=True, error_model="numpy")
def straight(starts, places, values, noise, asked_starts, asked, out):
    """Straight lines between the entries of every series, level beyond its ends; entries at one place count as their mean."""
    for s in range(len(starts) - 1):
        i, hi, first, last = starts[s], starts[s + 1], asked_starts[s], asked_starts[s + 1]
        if i == hi:
            continue
        t, before, at = first, 0.0, -np.inf
        while t < last:
            # the next distinct place and its mean
            here, total, weight = np.inf, 0.0, 0.0
            if i < hi:
                here = places[i]
                while i < hi and places[i] == here:
                    w = 1.0 if len(noise) == 0 else 1.0 / noise[i]
                    total += w * values[i]
                    weight += w
                    i += 1
            value = total / weight if weight > 0 else before
            while t < last and (asked[t] < here or here == np.inf):
                if at == -np.inf:
                    out[t] = value
                elif here == np.inf:
                    out[t] = before
                else:
                    share = (asked[t] - at) / (here - at)
                    out[t] = before + share * (value - before)
                t += 1
            before, at = value, here
