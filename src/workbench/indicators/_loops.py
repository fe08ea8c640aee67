"""The compiled loops behind :mod:`workbench.indicators`: float64 arrays, sessions x symbols, written into ``out``.

Sessions are the outer loop, as the arrays lie. A sliding sum is made anew once per window, so that rounding does not
pile up; a row is NaN as long as its window has a NaN in it or is not full.
"""

# Compiled code: arrays are described in words, numba infers their types.
# mypy: disable-error-code="no-untyped-def,no-untyped-call"

from __future__ import annotations

import numpy as np

from workbench.compiling import bare


@bare
def moving_average(values, window: int, out) -> None:
    """The mean of the last ``window`` values."""
    for column in range(values.shape[1]):
        _moving_average(values[:, column], window, out[:, column])


@bare
def moving_averages(values, windows, out) -> None:
    """The means of one series over many windows, ``out`` being windows x sessions."""
    for place in range(len(windows)):
        _moving_average(values, windows[place], out[place])


@bare
def _moving_average(values, window: int, out) -> None:
    total, full = 0.0, 0
    for row in range(len(values)):
        value = values[row]
        full = 0 if np.isnan(value) else full + 1
        if full < window:
            out[row] = np.nan
            continue
        if full == window or row % window == 0:
            total = 0.0
            for back in range(window):
                total += values[row - back]
        else:
            total += value - values[row - window]
        out[row] = total / window


@bare
def moving_deviation(values, window: int, ddof: int, out) -> None:
    """The standard deviation of the last ``window`` values, both passes over the window each time."""
    for column in range(values.shape[1]):
        full = 0
        for row in range(values.shape[0]):
            full = 0 if np.isnan(values[row, column]) else full + 1
            if full < window or window <= ddof:
                out[row, column] = np.nan
                continue
            total = 0.0
            for back in range(window):
                total += values[row - back, column]
            mean, squares = total / window, 0.0
            for back in range(window):
                squares += (values[row - back, column] - mean) ** 2
            out[row, column] = np.sqrt(squares / (window - ddof))


@bare
def exponential(values, alpha: float, warm_up: int, out) -> None:
    """``a = a + alpha (x - a)`` from the first value on; the first ``warm_up - 1`` values give NaN."""
    for column in range(values.shape[1]):
        average, seen = 0.0, 0
        for row in range(values.shape[0]):
            value = values[row, column]
            out[row, column] = np.nan
            if np.isnan(value):
                continue
            average = value if seen == 0 else average + alpha * (value - average)
            seen += 1
            if seen >= warm_up:
                out[row, column] = average


@bare
def wilder(values, window: int, out) -> None:
    """Wilder's smoothing: the mean of the first ``window`` values, then ``a = (a (window - 1) + x) / window``."""
    for column in range(values.shape[1]):
        average, seen = 0.0, 0
        for row in range(values.shape[0]):
            value = values[row, column]
            out[row, column] = np.nan
            if np.isnan(value):
                continue
            seen += 1
            if seen <= window:
                average += value / window
            else:
                average = (average * (window - 1) + value) / window
            if seen >= window:
                out[row, column] = average


@bare
def relative_strength(closes, window: int, out) -> None:
    """Wilder's relative strength index, from the changes between known closes."""
    for column in range(closes.shape[1]):
        gain, loss, seen, before = 0.0, 0.0, 0, np.nan
        for row in range(closes.shape[0]):
            close = closes[row, column]
            out[row, column] = np.nan
            if np.isnan(close):
                continue
            change = close - before
            before = close
            if np.isnan(change):
                continue
            seen += 1
            up, down = max(change, 0.0), max(-change, 0.0)
            if seen <= window:
                gain += up / window
                loss += down / window
            else:
                gain = (gain * (window - 1) + up) / window
                loss = (loss * (window - 1) + down) / window
            if seen >= window:
                out[row, column] = 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 50.0


@bare
def true_range(highs, lows, closes, out) -> None:
    """The widest of high - low, high - close before and close before - low; high - low where none is before."""
    for column in range(closes.shape[1]):
        before = np.nan
        for row in range(closes.shape[0]):
            high, low = highs[row, column], lows[row, column]
            if not np.isnan(before):
                high, low = max(high, before), min(low, before)
            missing = np.isnan(closes[row, column]) or np.isnan(highs[row, column]) or np.isnan(lows[row, column])
            out[row, column] = np.nan if missing else high - low
            if not np.isnan(closes[row, column]):
                before = closes[row, column]


@bare
def rolling_rank(values, window: int, out) -> None:
    """The rank of the last value within its window over ``window``; equal values share the mean of their ranks."""
    for column in range(values.shape[1]):
        full = 0
        for row in range(values.shape[0]):
            value = values[row, column]
            full = 0 if np.isnan(value) else full + 1
            if full < window:
                out[row, column] = np.nan
                continue
            below, same = 0, 0
            for back in range(window):
                other = values[row - back, column]
                below += other < value
                same += other == value
            out[row, column] = (below + 0.5 * (same + 1)) / window


@bare
def held(entries, exits, out) -> None:
    """Whether a position is open: from an entry until an exit; a row with both changes nothing."""
    for column in range(entries.shape[1]):
        inside = False
        for row in range(entries.shape[0]):
            if entries[row, column] != exits[row, column]:
                inside = entries[row, column]
            out[row, column] = inside
