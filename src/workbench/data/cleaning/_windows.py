"""The compiled loops behind :mod:`workbench.data.cleaning.normalise`: one row per series, columns in time order.

Element t of a result is made of elements up to t only, in one order, so that it has the same bits however many follow.
"""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from workbench.compiling import compiled

# A sum of squares below this share of the largest since the last anchor is what rounding has left of it.
_CANCELLED = 1e-6


@compiled
def rolling_moments(values, window: int, least: int, mean, deviation) -> None:
    """Mean and sample deviation of the last ``window`` values, NaN ones left out; NaN below ``least`` of them.

    Sums are taken against an anchor near the values, which is set anew once per window and whenever the values have
    moved away from it: sums of squares of plain prices would lose the digits that a deviation is made of.
    """
    for series in range(values.shape[0]):
        count, total, squares, anchor, largest = 0, 0.0, 0.0, 0.0, 0.0
        for at in range(values.shape[1]):
            begin = max(0, at + 1 - window)
            fresh = at % window == 0
            if not fresh:
                value = values[series, at]
                if not np.isnan(value):
                    count, total, squares = count + 1, total + (value - anchor), squares + (value - anchor) ** 2
                gone = values[series, at - window] if at >= window else np.nan
                if not np.isnan(gone):
                    count, total, squares = count - 1, total - (gone - anchor), squares - (gone - anchor) ** 2
                largest = max(largest, squares)
                fresh = count > 0 and squares - total * total / count < _CANCELLED * largest
            if fresh:
                anchor, count = 0.0, 0
                for back in range(begin, at + 1):
                    if not np.isnan(values[series, back]):
                        count += 1
                        anchor += (values[series, back] - anchor) / count
                total, squares = 0.0, 0.0
                for back in range(begin, at + 1):
                    if not np.isnan(values[series, back]):
                        total += values[series, back] - anchor
                        squares += (values[series, back] - anchor) ** 2
                largest = squares
            mean[series, at], deviation[series, at] = np.nan, np.nan
            if count >= least and count > 0:
                mean[series, at] = anchor + total / count
                if count > 1:
                    deviation[series, at] = np.sqrt(max(0.0, squares - total * total / count) / (count - 1))


@compiled
def expanding_moments(values, least: int, mean, deviation) -> None:
    """Mean and sample deviation of all values so far (Welford 1962), NaN ones left out; NaN below ``least``."""
    for series in range(values.shape[0]):
        count, middle, squares = 0, 0.0, 0.0
        for at in range(values.shape[1]):
            value = values[series, at]
            if not np.isnan(value):
                count += 1
                step = value - middle
                middle += step / count
                squares += step * (value - middle)
            mean[series, at], deviation[series, at] = np.nan, np.nan
            if count >= least and count > 0:
                mean[series, at] = middle
                if count > 1:
                    deviation[series, at] = np.sqrt(squares / (count - 1))


@compiled
def past_quantiles(values, window: int, least: int, low: float, high: float, lower, upper) -> None:
    """Two quantiles of the ``window`` values before each (0: of all before it), interpolated linearly.

    They are read from a sorted copy of the window, into which each value is put once and from which it is taken once.
    """
    length = values.shape[1]
    ordered = np.empty(length if window == 0 else min(window, length) + 1)
    for series in range(values.shape[0]):
        count = 0
        for at in range(length):
            lower[series, at], upper[series, at] = np.nan, np.nan
            if count >= least and count > 0:
                lower[series, at] = _quantile(ordered, count, low)
                upper[series, at] = _quantile(ordered, count, high)
            gone = values[series, at - window] if window > 0 and at >= window else np.nan
            if not np.isnan(gone):
                place = np.searchsorted(ordered[:count], gone)
                for item in range(place, count - 1):
                    ordered[item] = ordered[item + 1]
                count -= 1
            value = values[series, at]
            if not np.isnan(value):
                place = np.searchsorted(ordered[:count], value)
                for item in range(count, place, -1):
                    ordered[item] = ordered[item - 1]
                ordered[place] = value
                count += 1


@compiled
def _quantile(ordered, count: int, share: float):
    position = share * (count - 1)
    below = int(np.floor(position))
    above = min(below + 1, count - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


@compiled
def past_volatility(values, decay: float, least: int, out) -> None:
    """The root of the exponentially weighted mean square of the values before each; NaN ones are skipped."""
    for series in range(values.shape[0]):
        count, variance = 0, 0.0
        for at in range(values.shape[1]):
            out[series, at] = np.sqrt(variance) if count >= least and count > 0 else np.nan
            value = values[series, at]
            if not np.isnan(value):
                variance = value * value if count == 0 else decay * variance + (1.0 - decay) * value * value
                count += 1


@compiled
def average_ranks(values, out) -> None:
    """The rank of each value in its row over the number of values, ties at their mean; NaN stays NaN."""
    width = values.shape[1]
    for row in range(values.shape[0]):
        order = np.argsort(values[row])  # NaN goes to the end
        count = width
        while count > 0 and np.isnan(values[row, order[count - 1]]):
            count -= 1
            out[row, order[count]] = np.nan
        first = 0
        while first < count:
            last = first
            while last + 1 < count and values[row, order[last + 1]] == values[row, order[first]]:
                last += 1
            for item in range(first, last + 1):
                out[row, order[item]] = (first + last + 2) / 2 / count
            first = last + 1
