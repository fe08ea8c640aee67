"""Indicators that many strategies use, compiled: fast on arrays and frames without a line of numba.

All take float64 values of sessions (rows, ascending) x symbols (columns), as a frame, a series or an array of one or
two dimensions, and give back the same kind and shape. Row t uses rows up to t only. Windows are in sessions.

NaN: an average, deviation or rank is NaN unless its whole window is known. What is smoothed without an end (EMA, RSI,
ATR, MACD) is NaN in the session without a value and goes on from the next one as if that session had not been. Nothing
is filled or dropped.

The loops are loaded, and on the first use on a machine compiled, when an indicator is first called.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import DataError, ParameterError
from workbench.indicators.memo import remembered

__all__ = [
    "Bands",
    "Macd",
    "atr",
    "bollinger",
    "ema",
    "held",
    "macd",
    "moving_average",
    "moving_deviation",
    "rolling_rank",
    "rolling_volatility",
    "rsi",
]

Array = npt.NDArray[np.float64]
Values = TypeVar("Values", pd.DataFrame, "pd.Series[Any]", npt.NDArray[Any])


class Bands(NamedTuple):
    """Bollinger bands, each of the kind and shape of the closes."""

    lower: Any
    middle: Any
    upper: Any


class Macd(NamedTuple):
    """Moving average convergence/divergence, each of the kind and shape of the closes."""

    line: Any
    signal: Any
    histogram: Any


@remembered
def moving_average(values: Values, window: int) -> Values:
    """The simple mean of the last ``window`` values.

    >>> moving_average(np.array([1.0, 2.0, 6.0, np.nan, 3.0]), 2)
    array([nan, 1.5, 4. , nan, nan])
    """
    from workbench.indicators import _loops

    table, out = _table(values)
    _loops.moving_average(table, _whole("window", window), out)
    return _like(values, out)


@remembered
def moving_deviation(values: Values, window: int, ddof: int = 1) -> Values:
    """The standard deviation of the last ``window`` values, over ``window - ddof``.

    >>> moving_deviation(np.array([1.0, 3.0, 7.0]), 2, ddof=0)
    array([nan,  1.,  2.])
    """
    from workbench.indicators import _loops

    table, out = _table(values)
    _loops.moving_deviation(table, _whole("window", window), _whole("ddof", ddof, least=0), out)
    return _like(values, out)


@remembered
def ema(values: Values, span: int) -> Values:
    """Exponential moving average with the weight 2 / (span + 1) on the newest value.

    It starts at the first value; the first ``span - 1`` values give NaN, because the start still weighs too much.

    >>> ema(np.array([2.0, 4.0, 4.0, 8.0]), 3)
    array([ nan,  nan, 3.5 , 5.75])
    """
    from workbench.indicators import _loops

    span = _whole("span", span)
    table, out = _table(values)
    _loops.exponential(table, 2.0 / (span + 1.0), span, out)
    return _like(values, out)


@remembered
def rsi(closes: Values, window: int = 14) -> Values:
    """Relative strength index: 100 times the average gain over average gain plus average loss; 0 to 100.

    Gains and losses are absolute changes of the close, smoothed as by Wilder. 50 where nothing has moved at all.

    Source: J. W. Wilder, "New Concepts in Technical Trading Systems" (1978).

    >>> rsi(np.array([10.0, 12.0, 11.0, 11.0]), 2)
    array([        nan,         nan, 66.66666667, 66.66666667])
    """
    from workbench.indicators import _loops

    table, out = _table(closes)
    _loops.relative_strength(table, _whole("window", window), out)
    return _like(closes, out)


@remembered
def atr(highs: Values, lows: Values, closes: Values, window: int = 14) -> Values:
    """Average true range, in the unit of the prices: the true range smoothed as by Wilder.

    Source: J. W. Wilder, "New Concepts in Technical Trading Systems" (1978).

    >>> high, low, close = np.array([12.0, 13.0, 16.0]), np.array([10.0, 12.0, 14.0]), np.array([11.0, 12.5, 15.0])
    >>> atr(high, low, close, 2)  # true ranges 2, 2 and 16 - 12.5
    array([ nan, 2.  , 2.75])
    """
    from workbench.indicators import _loops

    (high, ranges), (low, _), (close, out) = _table(highs), _table(lows), _table(closes)
    if not high.shape == low.shape == close.shape:
        raise DataError(f"highs, lows and closes differ in shape: {high.shape}, {low.shape}, {close.shape}")
    _loops.true_range(high, low, close, ranges)
    _loops.wilder(ranges, _whole("window", window), out)
    return _like(closes, out)


def bollinger(closes: Values, window: int = 20, width: float = 2.0) -> Bands:
    """Moving average and ``width`` population standard deviations (over ``window``, not one less) on both sides of it.

    Source: J. Bollinger, "Bollinger on Bollinger Bands" (2001).

    >>> bollinger(np.array([1.0, 3.0]), 2)
    Bands(lower=array([nan,  0.]), middle=array([nan,  2.]), upper=array([nan,  4.]))
    """
    middle = moving_average(closes, window)
    spread = width * moving_deviation(closes, window, ddof=0)
    return Bands(middle - spread, middle, middle + spread)


def macd(closes: Values, fast: int = 12, slow: int = 26, signal: int = 9) -> Macd:
    """The fast EMA less the slow one, the EMA of that difference (the signal), and what is between them.

    Source: G. Appel, "Technical Analysis: Power Tools for Active Investors" (2005).

    >>> macd(np.array([1.0, 2.0, 4.0]), fast=1, slow=2, signal=1).line.round(6)
    array([     nan, 0.333333, 0.777778])
    """
    if fast >= slow:
        raise ParameterError(f"macd: slow ({slow}) must be above fast ({fast})")
    line = ema(closes, fast) - ema(closes, slow)
    smooth = ema(line, signal)
    return Macd(line, smooth, line - smooth)


@remembered
def rolling_rank(values: Values, window: int) -> Values:
    """Where the newest value stands among the last ``window``: its rank over ``window``, 1.0 for the highest.

    Equal values share the mean of their ranks.

    >>> rolling_rank(np.array([5.0, 1.0, 3.0, 3.0]), 3)
    array([       nan,        nan, 0.66666667, 0.83333333])
    """
    from workbench.indicators import _loops

    table, out = _table(values)
    _loops.rolling_rank(table, _whole("window", window), out)
    return _like(values, out)


@remembered
def rolling_volatility(closes: Values, window: int = 20, sessions_per_year: int = 252) -> Values:
    """Sample standard deviation of the last ``window`` simple returns, annualised by the root of the sessions per year.

    >>> rolling_volatility(np.array([100.0, 110.0, 99.0]), 2, sessions_per_year=1).round(6)
    array([     nan,      nan, 0.141421])
    """
    from workbench.indicators import _loops

    table, out = _table(closes)
    changes = np.full_like(table, np.nan)
    changes[1:] = table[1:] / table[:-1] - 1.0
    _loops.moving_deviation(changes, _whole("window", window, least=2), 1, out)
    return _like(closes, out * np.sqrt(sessions_per_year))


def held(entries: Values, exits: Values) -> Values:
    """Turn entry and exit signals (true or false) into "in a position": from an entry until an exit.

    An entry while in, and an exit while out, change nothing; nor does a session with both.

    >>> held(np.array([False, True, True, False]), np.array([False, False, False, True]))
    array([False,  True,  True, False])
    """
    from workbench.indicators import _loops

    tables = [np.atleast_2d(np.asarray(signals).T).T for signals in (entries, exits)]
    if tables[0].shape != tables[1].shape or any(table.dtype != np.bool_ for table in tables):
        raise DataError("entries and exits must be true or false, and of one shape")
    out = np.empty(tables[0].shape, dtype=np.bool_)
    _loops.held(np.ascontiguousarray(tables[0]), np.ascontiguousarray(tables[1]), out)
    return _like(entries, out)


def _table(values: Any) -> tuple[Array, Array]:
    """The values as a float64 array of two dimensions, and one of its shape to write to."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise DataError(f"an indicator takes values of one or two dimensions, not {array.ndim}")
    table = np.ascontiguousarray(array.reshape(len(array), -1))
    return table, np.empty_like(table)


def _like(values: Values, out: npt.NDArray[Any]) -> Values:
    if isinstance(values, pd.DataFrame):
        return pd.DataFrame(out, index=values.index, columns=values.columns)
    if isinstance(values, pd.Series):
        return pd.Series(out[:, 0], index=values.index, name=values.name)
    return out.reshape(values.shape)


def _whole(name: str, value: object, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ParameterError(f"{name}: must be a whole number of at least {least} (got {value!r})")
    return int(value)
