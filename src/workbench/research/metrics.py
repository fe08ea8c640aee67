"""What a backtest is judged by. Returns are simple returns per session; a year is 252 sessions unless said otherwise.

Every function takes the equity of the account by session; those of :func:`summary` also take it as an array, so that
who needs nothing else of pandas need not wait for it. ``risk_free_rate`` is a simple rate per year, of which
each session bears ``risk_free_rate / sessions_per_year``. An undefined ratio (no variation, no drawdown, a single
session) is NaN. Where empyrical-reloaded defines the same metric the numbers are the same (a test runs both).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    Curve = pd.Series[float] | npt.NDArray[np.float64]
    Fills = pd.DataFrame | Mapping[str, npt.NDArray[np.float64]]

SESSIONS_PER_YEAR = 252


def returns(equity: pd.Series[float]) -> pd.Series[float]:
    """Simple return of each session but the first.

    >>> import pandas as pd
    >>> returns(pd.Series([100.0, 110.0, 99.0])).round(6).tolist()
    [0.1, -0.1]
    """
    return equity.iloc[1:] / equity.to_numpy()[:-1] - 1.0


def drawdown(equity: pd.Series[float]) -> pd.Series[float]:
    """Equity below its running maximum, as a fraction of it: zero or negative.

    >>> import pandas as pd
    >>> drawdown(pd.Series([100.0, 120.0, 90.0])).tolist()
    [0.0, 0.0, -0.25]
    """
    return equity / equity.cummax() - 1.0


def total_return(equity: Curve) -> float:
    """Simple return from the first to the last session."""
    value = _values(equity)
    return float(value[-1] / value[0] - 1.0)


def cagr(equity: Curve, sessions_per_year: float = SESSIONS_PER_YEAR) -> float:
    """Compound annual growth rate, as a fraction per year; NaN if the equity ends below zero."""
    value = _values(equity)
    sessions = len(value) - 1
    growth = float(value[-1] / value[0])
    if sessions < 1 or growth < 0:
        return math.nan
    return float(growth ** (sessions_per_year / sessions)) - 1.0


def volatility(equity: Curve, sessions_per_year: float = SESSIONS_PER_YEAR) -> float:
    """Sample standard deviation of the returns, annualised by the square root of the sessions in a year."""
    return _deviation(_changes(equity)) * math.sqrt(sessions_per_year)


def sharpe(equity: Curve, sessions_per_year: float = SESSIONS_PER_YEAR, risk_free_rate: float = 0.0) -> float:
    """Mean return above the risk-free one over its sample standard deviation, annualised.

    Source: W. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management (1994).
    """
    change = _changes(equity) - risk_free_rate / sessions_per_year
    return _ratio(_mean(change) * math.sqrt(sessions_per_year), _deviation(change))


def sortino(equity: Curve, sessions_per_year: float = SESSIONS_PER_YEAR, risk_free_rate: float = 0.0) -> float:
    """Annualised mean return over annualised downside deviation; the required return is the risk-free one.

    The downside deviation is the root of the mean squared negative return over *all* sessions.
    Source: F. Sortino and L. Price, "Performance Measurement in a Downside Risk Framework" (1994).
    """
    change = _changes(equity) - risk_free_rate / sessions_per_year
    if not len(change):
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(change, 0.0) ** 2)))
    return _ratio(_mean(change) * math.sqrt(sessions_per_year), downside)


def max_drawdown(equity: Curve) -> float:
    """The deepest drawdown, as a negative fraction."""
    value = _values(equity)
    depth = _known(_over(value, np.fmax.accumulate(value)) - 1.0)
    return float(depth.min()) if len(depth) else math.nan


def longest_drawdown(equity: pd.Series[float]) -> int:
    """The most sessions in a row that the equity stayed below its highest value so far.

    >>> import pandas as pd
    >>> longest_drawdown(pd.Series([100.0, 90.0, 95.0, 101.0, 100.0]))
    2
    """
    below = (equity < equity.cummax()).to_numpy()
    runs = np.diff(np.flatnonzero(np.concatenate([[True], ~below, [True]]))) - 1
    return int(runs.max())


def calmar(equity: Curve, sessions_per_year: float = SESSIONS_PER_YEAR) -> float:
    """Compound annual growth rate over the size of the deepest drawdown."""
    return _ratio(cagr(equity, sessions_per_year), abs(max_drawdown(equity)))


def omega(equity: pd.Series[float], sessions_per_year: float = SESSIONS_PER_YEAR, risk_free_rate: float = 0.0) -> float:
    """Sum of the returns above the risk-free one over the size of the sum of those below.

    Source: C. Keating and W. Shadwick, "A Universal Performance Measure" (2002), with that threshold.
    """
    above = returns(equity) - risk_free_rate / sessions_per_year
    return _ratio(float(above[above > 0].sum()), -float(above[above < 0].sum()))


def tail_ratio(equity: pd.Series[float]) -> float:
    """The size of the 95th percentile of the returns over that of the 5th (linear interpolation)."""
    change = returns(equity)
    if change.empty:
        return math.nan
    return _ratio(abs(float(np.percentile(change, 95))), abs(float(np.percentile(change, 5))))


def value_at_risk(equity: pd.Series[float], cutoff: float = 0.05) -> float:
    """The return of a session that a fraction ``cutoff`` of the sessions fell below: historical, not annualised."""
    change = returns(equity)
    return math.nan if change.empty else float(np.percentile(change, 100 * cutoff))


def stability(equity: pd.Series[float]) -> float:
    """R squared of a straight line through the logarithm of the equity after the first session; 1 is steady growth.

    Source: pyfolio and empyrical, ``stability_of_timeseries``.
    """
    curve = equity.iloc[1:].to_numpy(dtype=float)
    if len(curve) < 2 or (curve <= 0).any():
        return math.nan
    height = np.log(curve / float(equity.iloc[0]))
    if np.ptp(height) <= 1e-15:
        return math.nan
    return float(np.corrcoef(np.arange(len(height)), height)[0, 1] ** 2)


def beta(equity: pd.Series[float], benchmark: pd.Series[float]) -> float:
    """Covariance of the returns with those of the benchmark over the variance of the benchmark's."""
    ours, theirs = returns(equity).to_numpy(), returns(benchmark).to_numpy()
    if len(ours) < 2:
        return math.nan
    covariance = np.cov(ours, theirs, ddof=1)
    return _ratio(float(covariance[0, 1]), float(covariance[1, 1]))


def alpha(
    equity: pd.Series[float],
    benchmark: pd.Series[float],
    sessions_per_year: float = SESSIONS_PER_YEAR,
    risk_free_rate: float = 0.0,
) -> float:
    """Jensen's alpha per year, compounded: what the return exceeds beta times that of the benchmark by.

    Source: M. Jensen, "The Performance of Mutual Funds in the Period 1945-1964" (1968), as annualised by empyrical.
    """
    each = risk_free_rate / sessions_per_year
    ours, theirs = returns(equity) - each, returns(benchmark) - each
    mean = float(np.mean(ours.to_numpy() - beta(equity, benchmark) * theirs.to_numpy()))
    return float((1.0 + mean) ** sessions_per_year - 1.0)


def excess_return(
    equity: pd.Series[float], benchmark: pd.Series[float], sessions_per_year: float = SESSIONS_PER_YEAR
) -> float:
    """Compound annual growth rate less that of the benchmark."""
    return cagr(equity, sessions_per_year) - cagr(benchmark, sessions_per_year)


def tracking_error(
    equity: pd.Series[float], benchmark: pd.Series[float], sessions_per_year: float = SESSIONS_PER_YEAR
) -> float:
    """Sample standard deviation of the returns less those of the benchmark, annualised."""
    active = returns(equity).to_numpy() - returns(benchmark).to_numpy()
    return float(np.std(active, ddof=1) * math.sqrt(sessions_per_year)) if len(active) > 1 else math.nan


def information_ratio(
    equity: pd.Series[float], benchmark: pd.Series[float], sessions_per_year: float = SESSIONS_PER_YEAR
) -> float:
    """Annualised mean of the returns less those of the benchmark, over the tracking error.

    Source: W. Sharpe (1994), the Sharpe ratio of an active return; empyrical's ``excess_sharpe`` is not annualised.
    """
    active = returns(equity).to_numpy() - returns(benchmark).to_numpy()
    mean = float(np.mean(active)) * sessions_per_year if len(active) else math.nan
    return _ratio(mean, tracking_error(equity, benchmark, sessions_per_year))


def exposure(equity: Curve, cash: Curve) -> float:
    """Mean over the sessions of the invested fraction of equity, short positions counting against long ones."""
    return _mean(1.0 - _over(_values(cash), _values(equity)))


def turnover(equity: Curve, fills: Fills, sessions_per_year: float = SESSIONS_PER_YEAR) -> float:
    """Value bought plus value sold, per year, as a multiple of mean equity."""
    years = (len(equity) - 1) / sessions_per_year
    if years <= 0:
        return math.nan
    traded = float(np.dot(_values(fills["quantity"]), _values(fills["price"])))
    return traded / _mean(_values(equity)) / years


def win_rate(trades: pd.DataFrame) -> float:
    """The fraction of closed trades that earned something after costs."""
    pnl = trades.loc[trades["status"] == "closed", "pnl"]
    return float((pnl > 0).mean()) if len(pnl) else math.nan


def profit_factor(trades: pd.DataFrame) -> float:
    """What closed trades earned over what they lost, after costs; NaN if none lost."""
    pnl = trades.loc[trades["status"] == "closed", "pnl"]
    return _ratio(float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum()))


def summary(
    equity: Curve,
    cash: Curve,
    fills: Fills,
    sessions_per_year: float = SESSIONS_PER_YEAR,
    risk_free_rate: float = 0.0,
) -> dict[str, float]:
    """The metrics of any account by name; money in USD, everything else a fraction or a ratio."""
    return {
        "final_equity_usd": float(_values(equity)[-1]),
        "total_return": total_return(equity),
        "cagr": cagr(equity, sessions_per_year),
        "volatility": volatility(equity, sessions_per_year),
        "sharpe": sharpe(equity, sessions_per_year, risk_free_rate),
        "sortino": sortino(equity, sessions_per_year, risk_free_rate),
        "max_drawdown": max_drawdown(equity),
        "calmar": calmar(equity, sessions_per_year),
        "exposure": exposure(equity, cash),
        "turnover": turnover(equity, fills, sessions_per_year),
        "fills": float(len(fills["fee"])),
        "fees_usd": float(_values(fills["fee"]).sum()),
    }


def of_shape(
    equity: pd.Series[float], sessions_per_year: float = SESSIONS_PER_YEAR, risk_free_rate: float = 0.0
) -> dict[str, float]:
    """The metrics of the shape of a curve, beyond those of :func:`summary`."""
    return {
        "omega": omega(equity, sessions_per_year, risk_free_rate),
        "tail_ratio": tail_ratio(equity),
        "value_at_risk": value_at_risk(equity),
        "stability": stability(equity),
        "longest_drawdown_sessions": float(longest_drawdown(equity)),
    }


def of_trades(trades: pd.DataFrame) -> dict[str, float]:
    """The metrics of closed round trips; the holding time is in sessions."""
    closed = trades[trades["status"] == "closed"]
    return {
        "trades": float(len(closed)),
        "win_rate": win_rate(trades),
        "profit_factor": profit_factor(trades),
        "mean_holding_sessions": float(closed["sessions"].mean()) if len(closed) else math.nan,
    }


def against(
    equity: pd.Series[float],
    benchmark: pd.Series[float],
    sessions_per_year: float = SESSIONS_PER_YEAR,
    risk_free_rate: float = 0.0,
) -> dict[str, float]:
    """The metrics of an equity against a benchmark of the same sessions, all per year but ``beta``."""
    return {
        "alpha": alpha(equity, benchmark, sessions_per_year, risk_free_rate),
        "beta": beta(equity, benchmark),
        "excess_return": excess_return(equity, benchmark, sessions_per_year),
        "tracking_error": tracking_error(equity, benchmark, sessions_per_year),
        "information_ratio": information_ratio(equity, benchmark, sessions_per_year),
    }


def _ratio(value: float, by: float) -> float:
    # A spread below rounding noise is none.
    return value / by if by > 1e-15 else math.nan


def _values(column: Any) -> npt.NDArray[np.float64]:
    return np.asarray(column, dtype=np.float64)


def _changes(equity: Curve) -> npt.NDArray[np.float64]:
    """:func:`returns` as an array: a frame of a few dozen sessions costs more in pandas than its numbers do."""
    value = _values(equity)
    return _over(value[1:], value[:-1]) - 1.0


def _over(values: npt.NDArray[np.float64], by: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The quotient without a warning where an account is worth nothing, as pandas has it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return values / by


def _known(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Without NaN, which pandas leaves out of every sum as well."""
    return values[~np.isnan(values)]


def _mean(values: npt.NDArray[np.float64]) -> float:
    found = _known(values)
    return float(found.mean()) if len(found) else math.nan


def _deviation(values: npt.NDArray[np.float64]) -> float:
    """Sample standard deviation; NaN of fewer than two."""
    found = _known(values)
    with np.errstate(invalid="ignore"):
        return float(found.std(ddof=1)) if len(found) > 1 else math.nan
