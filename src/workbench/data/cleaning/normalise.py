"""Normalisation as scikit-learn transformers whose rows know the past only.

Rows are moments in ascending order, columns are symbols or features; a result has the shape of what went in. No row
changes when later rows are taken away or change. They work in a ``Pipeline``, under ``TimeSeriesSplit``, and keep the
index of a frame after ``set_output(transform="pandas")``.

*What the past of a row is.* ``fit`` remembers the rows it has seen. A frame that goes on where the fitted one ended is
transformed with them as its past, so a test fold begins warm; a frame that overlaps the fitted one takes those fitted
rows that are earlier than its first. An array has no times: it is taken as a series of its own, and begins cold.

*NaN.* A NaN is no value: it counts in no window and stays NaN. A row with fewer than ``min_periods`` values in its past
is NaN as well, and nothing is filled; ``sklearn.impute.SimpleImputer`` after it is the explicit choice.
"""

# scikit-learn has no types; it calls what it is given X.
# ruff: noqa: N803

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = [
    "CrossSectionalRank",
    "ExpandingScaler",
    "LogReturns",
    "RollingZScore",
    "VolatilityScaler",
    "Winsorizer",
]

Array = npt.NDArray[np.float64]
_POSITIVE = [Interval(Integral, 1, None, closed="left")]
_SHARE = [Interval(Real, 0, 1, closed="both")]


class _PastOnly(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Remembers the fitted rows and puts those before a frame's first in front of it."""

    _parameter_constraints: dict[str, list[Any]] = {}  # noqa: RUF012 - scikit-learn's own name and form

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember ``X``, moments x columns in ascending order, as the past of what comes after it."""
        self.past_ = self._read(X, reset=True)
        self.times_ = _times(X)
        return self

    def transform(self, X: Any) -> Array:
        """The normalised rows, of the shape of ``X``."""
        check_is_fitted(self)
        values = self._read(X, reset=False)
        before = _earlier(self.times_, _times(X))
        if before:
            values = np.vstack([self.past_[:before], values])
        return self._compute(values)[before:]

    def _compute(self, values: Array) -> Array:
        raise NotImplementedError

    def _read(self, X: Any, *, reset: bool) -> Array:
        read: Array = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        return read

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class RollingZScore(_PastOnly):
    """``(x - mean) / deviation`` over the last ``window`` rows, the row itself included.

    Parameters
    ----------
    window
        Rows; at least 2.
    min_periods
        Values needed for a score; all of the window if None.

    The deviation is the sample's (n - 1), as pandas' ``rolling(window).std()``. A window without any variation has no
    score: NaN.

    >>> frame = pd.DataFrame({"IBM": [1.0, 2.0, 3.0, 5.0]})
    >>> RollingZScore(window=3).set_output(transform="pandas").fit_transform(frame)["IBM"].round(4).tolist()
    [nan, nan, 1.0, 1.0911]
    """

    _parameter_constraints = {  # noqa: RUF012
        "window": [Interval(Integral, 2, None, closed="left")],
        "min_periods": [*_POSITIVE, None],
    }

    def __init__(self, window: int = 63, *, min_periods: int | None = None) -> None:
        self.window = window
        self.min_periods = min_periods

    def _compute(self, values: Array) -> Array:
        from workbench.data.cleaning import _windows

        series = np.ascontiguousarray(values.T)
        mean, deviation = np.empty_like(series), np.empty_like(series)
        least = self.window if self.min_periods is None else self.min_periods
        _windows.rolling_moments(series, int(self.window), int(least), mean, deviation)
        return _scores(series, mean, deviation)


class ExpandingScaler(_PastOnly):
    """``(x - mean) / deviation`` over all rows so far, the row itself included.

    Parameters
    ----------
    min_periods
        Values needed for a score; at least 2.

    What ``StandardScaler`` would say if it were fitted anew on every row's past, with the sample's deviation (n - 1).

    >>> frame = pd.DataFrame({"IBM": [1.0, 2.0, 3.0]})
    >>> ExpandingScaler(min_periods=2).fit_transform(frame).ravel().round(4).tolist()
    [nan, 0.7071, 1.0]
    """

    _parameter_constraints = {"min_periods": [Interval(Integral, 2, None, closed="left")]}  # noqa: RUF012

    def __init__(self, *, min_periods: int = 20) -> None:
        self.min_periods = min_periods

    def _compute(self, values: Array) -> Array:
        from workbench.data.cleaning import _windows

        series = np.ascontiguousarray(values.T)
        mean, deviation = np.empty_like(series), np.empty_like(series)
        _windows.expanding_moments(series, int(self.min_periods), mean, deviation)
        return _scores(series, mean, deviation)


class Winsorizer(_PastOnly):
    """Values beyond two quantiles of their own past are set to them.

    Parameters
    ----------
    lower, upper
        Shares of the past below the bounds, 0 to 1; interpolated linearly, as numpy does.
    window
        Rows before the one judged that the quantiles are taken of; all before it if None.
    min_periods
        Values needed for bounds; a row without bounds is NaN, for nobody can say yet what is usual.

    The row itself is not part of its past: an outlier must not move the bound that it is held against.

    >>> frame = pd.DataFrame({"IBM": [0.01, -0.02, 0.015, 0.40, 0.01]})
    >>> Winsorizer(0.0, 1.0, min_periods=3).fit_transform(frame).ravel().tolist()
    [nan, nan, nan, 0.015, 0.01]
    """

    _parameter_constraints = {  # noqa: RUF012
        "lower": _SHARE,
        "upper": _SHARE,
        "window": [*_POSITIVE, None],
        "min_periods": _POSITIVE,
    }

    def __init__(
        self, lower: float = 0.01, upper: float = 0.99, *, window: int | None = None, min_periods: int = 20
    ) -> None:
        self.lower = lower
        self.upper = upper
        self.window = window
        self.min_periods = min_periods

    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember ``X``, moments x columns in ascending order, as the past of what comes after it.

        Raises
        ------
        ValueError
            If ``lower`` is above ``upper``, or ``window`` is shorter than ``min_periods``.
        """
        self._validate_params()
        if self.lower > self.upper:
            raise ValueError(f"lower={self.lower} is above upper={self.upper}")
        if self.window is not None and self.window < self.min_periods:
            raise ValueError(f"window={self.window} never holds min_periods={self.min_periods} values")
        super().fit(X, y)
        return self

    def _compute(self, values: Array) -> Array:
        from workbench.data.cleaning import _windows

        series = np.ascontiguousarray(values.T)
        low, high = np.empty_like(series), np.empty_like(series)
        window, least = int(self.window or 0), int(self.min_periods)
        _windows.past_quantiles(series, window, least, float(self.lower), float(self.upper), low, high)
        clipped: Array = np.clip(series, low, high)
        return np.ascontiguousarray(clipped.T)


class VolatilityScaler(_PastOnly):
    """Returns over their volatility as it was known the row before: a position of constant risk earns this.

    Parameters
    ----------
    decay
        Weight of yesterday's variance in today's, above 0 and below 1.
    min_periods
        Returns needed before the first is scaled.

    The variance is exponentially weighted around zero, ``v[t] = decay * v[t-1] + (1 - decay) * r[t]**2``, and begins
    with the first return's square; ``r[t]`` is divided by the root of ``v[t-1]``. In pandas:
    ``r / (r**2).ewm(alpha=1 - decay, adjust=False).mean().shift(1)**0.5``.

    Source: J.P. Morgan/Reuters (1996), RiskMetrics Technical Document, 4th ed., section 5.2, with its daily decay.

    >>> frame = pd.DataFrame({"IBM": [0.01, 0.02, -0.03]})
    >>> VolatilityScaler(decay=0.5, min_periods=1).fit_transform(frame).ravel().round(4).tolist()
    [nan, 2.0, -1.8974]
    """

    _parameter_constraints = {  # noqa: RUF012
        "decay": [Interval(Real, 0, 1, closed="neither")],
        "min_periods": _POSITIVE,
    }

    def __init__(self, decay: float = 0.94, *, min_periods: int = 20) -> None:
        self.decay = decay
        self.min_periods = min_periods

    def _compute(self, values: Array) -> Array:
        from workbench.data.cleaning import _windows

        series = np.ascontiguousarray(values.T)
        volatility = np.empty_like(series)
        _windows.past_volatility(series, float(self.decay), int(self.min_periods), volatility)
        return _scores(series, 0.0, volatility)


class LogReturns(_PastOnly):
    """``log(x[t] / x[t - periods])``; NaN where either is missing or zero. Prices have to be adjusted first.

    Raises
    ------
    ValueError
        If a value is negative.

    >>> frame = pd.DataFrame({"IBM": [100.0, 110.0, 99.0]})
    >>> LogReturns().fit_transform(frame).ravel().round(6).tolist()
    [nan, 0.09531, -0.105361]
    """

    _parameter_constraints = {"periods": _POSITIVE}  # noqa: RUF012

    def __init__(self, periods: int = 1) -> None:
        self.periods = periods

    def _compute(self, values: Array) -> Array:
        out = np.full_like(values, np.nan)
        logs = np.log(np.where(values > 0, values, np.nan))
        out[self.periods :] = logs[self.periods :] - logs[: -self.periods]
        return out

    def _read(self, X: Any, *, reset: bool) -> Array:
        values = super()._read(X, reset=reset)
        if (values < 0).any():
            row, column = np.argwhere(values < 0)[0]
            raise ValueError(
                f"Negative values in data passed to LogReturns: {values[row, column]:g} in row {row}, column {column}"
            )
        return values

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


class CrossSectionalRank(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Where each value stands among those of its row: its rank over their number, above 0 and up to 1.

    Parameters
    ----------
    centred
        Take off the mean, so that a row sums to zero: the weights of a market-neutral portfolio.

    Ties share their mean rank, as in pandas' ``rank(axis=1, pct=True)``. Every row stands alone, so there is nothing to
    fit but the columns.

    >>> frame = pd.DataFrame({"AAPL": [3.0], "GOOG": [np.nan], "IBM": [1.0], "MSFT": [3.0]})
    >>> CrossSectionalRank().fit_transform(frame).round(4).tolist()
    [[0.8333, nan, 0.3333, 0.8333]]
    """

    _parameter_constraints = {"centred": ["boolean"]}  # noqa: RUF012

    def __init__(self, *, centred: bool = False) -> None:
        self.centred = centred

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None) -> Self:
        """Remember the columns."""
        validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        return self

    def transform(self, X: Any) -> Array:
        """The ranks, of the shape of ``X``."""
        from workbench.data.cleaning import _windows

        check_is_fitted(self)
        values: Array = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan", order="C")
        ranks = np.empty_like(values)
        _windows.average_ranks(values, ranks)
        if self.centred:  # ranks 1 to n average (n + 1) / 2, which over n is 0.5 + 0.5 / n
            known = np.maximum(1, np.count_nonzero(~np.isnan(values), axis=1, keepdims=True))
            ranks -= 0.5 + 0.5 / known
        return ranks

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.requires_fit = True
        return tags


def _times(X: Any) -> pd.Index[Any] | None:
    """The index of a frame, which has to ascend; None for what has none."""
    index = getattr(X, "index", None)
    if not isinstance(index, pd.Index):
        return None
    if not (index.is_monotonic_increasing and index.is_unique):
        raise ValueError("the index has to ascend without repeats: rows are moments, and the past comes first")
    return index


def _earlier(fitted: pd.Index[Any] | None, times: pd.Index[Any] | None) -> int:
    """How many fitted rows are the past of these."""
    if fitted is None or times is None or not len(times):
        return 0
    try:
        return int(fitted.searchsorted(times[0]))
    except TypeError as error:
        raise ValueError(f"fitted on an index of {fitted.dtype}, asked about one of {times.dtype}") from error


def _scores(series: Array, middle: Array | float, scale: Array) -> Array:
    """``(series - middle) / scale`` as moments x columns; NaN where the scale is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(scale > 0, (series - middle) / scale, np.nan)
    return np.ascontiguousarray(scores.T)
