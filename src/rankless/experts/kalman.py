"""Compiled recursions of a factor model in time: a Kalman filter forwards, a smoother backwards, and sums of moments.

    f(t + 1) = A f(t) + q,  q ~ N(0, Q),        y(t, s) = l_s' f(t) + e,  e ~ N(0, psi_s)

with few factors `f` and many series `s` [shumway1982]. What is seen at a time enters one entry after another, so that a step takes
``r^3`` and an entry ``r^2`` multiply-adds, however many series there are, and times of which nothing was seen no more than a step.
"""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _product(a, b, out):
    """``out = a b``, square."""
    r = len(a)
    for i in range(r):
        for j in range(r):
            total = 0.0
            for k in range(r):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def _spread(a, b, more, work, out):
    """``out = a b a' + more`` of symmetric `b` and `more`, symmetric to the last bit."""
    r = len(a)
    _product(a, b, work)
    for i in range(r):
        for j in range(i + 1):
            total = more[i, j]
            for k in range(r):
                total += work[i, k] * a[j, k]
            out[i, j] = out[j, i] = total


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def solve(matrix, right):
    """Solve ``matrix x = column`` for every row of `right`, in place; `matrix`, symmetric and positive, is overwritten by its root."""
    r = len(matrix)
    for i in range(r):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(max(total, 1e-300)) if i == j else total / matrix[j, j]
    for n in range(len(right)):
        row = right[n]
        for i in range(r):
            for k in range(i):
                row[i] -= matrix[i, k] * row[k]
            row[i] /= matrix[i, i]
        for i in range(r - 1, -1, -1):
            for k in range(i + 1, r):
                row[i] -= matrix[k, i] * row[k]
            row[i] /= matrix[i, i]


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def smoothed(starts, series, values, loadings, noises, step, drive, first):
    """Means and covariances of the factors given all entries, and covariances of each time's with the time's before.

    Entries of time `t` are ``starts[t]`` to ``starts[t + 1]``, of `series` and `values`; `loadings` has shape ``(S, r)``, `noises`
    ``(S,)``, `step` and `drive` are `A` and `Q`, `first` is the covariance of the factors a step before the first time. Returns arrays
    of shapes ``(T, r)``, ``(T, r, r)`` twice.
    """
    times, r = len(starts) - 1, len(step)
    means, covs, ties = np.empty((times, r)), np.empty((times, r, r)), np.zeros((times, r, r))
    ahead, ahead_covs = np.empty((times, r)), np.empty((times, r, r))
    work, root, back, gain = np.empty((r, r)), np.empty((r, r)), np.empty((r, r)), np.empty(r)
    for t in range(times):
        mean, cov = means[t], covs[t]
        for i in range(r):
            mean[i] = 0.0
            for k in range(r):
                mean[i] += step[i, k] * means[t - 1, k] if t else 0.0
        _spread(step, covs[t - 1] if t else first, drive, work, cov)
        for i in range(r):
            ahead[t, i] = mean[i]
            for j in range(r):
                ahead_covs[t, i, j] = cov[i, j]
        for n in range(starts[t], starts[t + 1]):  # one entry after another: nothing is inverted
            s = series[n]
            error, total = values[n], noises[s]
            for i in range(r):
                gain[i] = 0.0
                for k in range(r):
                    gain[i] += cov[i, k] * loadings[s, k]
                error -= loadings[s, i] * mean[i]
                total += loadings[s, i] * gain[i]
            for i in range(r):
                mean[i] += gain[i] * error / total
                for j in range(i + 1):
                    cov[i, j] -= gain[i] * gain[j] / total
                    cov[j, i] = cov[i, j]
    for t in range(times - 2, -1, -1):
        # rows of `back`: covs[t] A' over ahead_covs[t + 1]
        for i in range(r):
            for j in range(r):
                total = 0.0
                for k in range(r):
                    total += covs[t, i, k] * step[j, k]
                back[i, j] = total
                root[i, j] = ahead_covs[t + 1, i, j]
        solve(root, back)
        for i in range(r):
            for k in range(r):
                means[t, i] += back[i, k] * (means[t + 1, k] - ahead[t + 1, k])
            for j in range(r):
                total = 0.0
                for k in range(r):
                    total += covs[t + 1, i, k] * back[j, k]
                ties[t + 1, i, j] = total
                root[i, j] = covs[t + 1, i, j] - ahead_covs[t + 1, i, j]
        _spread(back, root, covs[t], work, covs[t])
    return means, covs, ties


@nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def loaded(starts, series, values, means, covs, noises, loadings, levels, squares):
    """New `loadings`, `levels` and mean squared errors (`squares`) of every series by regression on the factors, written in place.

    `values` are as they are, levels included. Loadings have a standard normal prior, which holds series of few entries.
    """
    r, count = means.shape[1], len(noises)
    moments, sums = np.zeros((count, r + 1, r + 1)), np.zeros((count, r + 1))
    totals, seen = np.zeros(count), np.zeros(count)
    found, root = np.empty((1, r + 1)), np.empty((r + 1, r + 1))
    for t in range(len(starts) - 1):
        for n in range(starts[t], starts[t + 1]):
            s, y = series[n], values[n]
            for i in range(r):
                sums[s, i] += y * means[t, i]
                for j in range(i + 1):
                    moments[s, i, j] += means[t, i] * means[t, j] + covs[t, i, j]
                moments[s, r, i] += means[t, i]
            sums[s, r] += y
            totals[s] += y * y
            seen[s] += 1.0
    for s in range(count):
        if seen[s] == 0.0:
            continue
        moment = moments[s]
        moment[r, r] = seen[s]
        for i in range(r + 1):
            for j in range(i):
                moment[j, i] = moment[i, j]
        for i in range(r):
            moment[i, i] += noises[s]
        for i in range(r + 1):
            found[0, i] = sums[s, i]
            for j in range(r + 1):
                root[i, j] = moment[i, j]
        solve(root, found)
        for i in range(r):
            loadings[s, i] = found[0, i]
            moment[i, i] -= noises[s]
        levels[s] = found[0, r]
        error = totals[s]
        for i in range(r + 1):
            error -= 2.0 * found[0, i] * sums[s, i]
            for j in range(r + 1):
                error += found[0, i] * moment[i, j] * found[0, j]
        squares[s] = error / seen[s]
