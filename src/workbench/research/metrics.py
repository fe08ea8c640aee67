"""What a backtest is judged by. Returns are simple returns per session; a year is 252 sessions.

An undefined ratio (no variation, no drawdown, a single session) is NaN.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

SESSIONS_PER_YEAR = 252


def returns(equity: pd.Series[float]) -> pd.Series[float]:
    """Simple return of each session but the first.

    >>> returns(pd.Series([100.0, 110.0, 99.0])).round(6).tolist()
    [0.1, -0.1]
    """
    return equity.pct_change().iloc[1:]


def drawdown(equity: pd.Series[float]) -> pd.Series[float]:
    """Equity below its running maximum, as a fraction of it: zero or negative.

    >>> drawdown(pd.Series([100.0, 120.0, 90.0])).tolist()
    [0.0, 0.0, -0.25]
    """
    return equity / equity.cummax() - 1.0


def total_return(equity: pd.Series[float]) -> float:
    """Simple return from the first to the last session."""
    return float(equity.iloc[-1] / equity.iloc[0] - 1.0)


def cagr(equity: pd.Series[float]) -> float:
    """Compound annual growth rate, as a fraction per year."""
    sessions = len(equity) - 1
    if sessions < 1:
        return math.nan
    return float((equity.iloc[-1] / equity.iloc[0]) ** (SESSIONS_PER_YEAR / sessions) - 1.0)


def volatility(equity: pd.Series[float]) -> float:
    """Sample standard deviation of the returns, annualised by the square root of 252."""
    return float(returns(equity).std(ddof=1) * math.sqrt(SESSIONS_PER_YEAR))


def sharpe(equity: pd.Series[float]) -> float:
    """Mean return over its sample standard deviation, annualised; the risk-free rate is taken as zero.

    Source: W. Sharpe, "The Sharpe Ratio", Journal of Portfolio Management (1994).
    """
    change = returns(equity)
    return _ratio(float(change.mean()) * math.sqrt(SESSIONS_PER_YEAR), float(change.std(ddof=1)))


def sortino(equity: pd.Series[float]) -> float:
    """Annualised mean return over annualised downside deviation; the required return is zero.

    The downside deviation is the root of the mean squared negative return over *all* sessions.
    Source: F. Sortino and L. Price, "Performance Measurement in a Downside Risk Framework" (1994).
    """
    change = returns(equity)
    if change.empty:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(change.to_numpy(), 0.0) ** 2)))
    return _ratio(float(change.mean()) * math.sqrt(SESSIONS_PER_YEAR), downside)


def max_drawdown(equity: pd.Series[float]) -> float:
    """The deepest drawdown, as a negative fraction."""
    return float(drawdown(equity).min())


def calmar(equity: pd.Series[float]) -> float:
    """Compound annual growth rate over the size of the deepest drawdown."""
    return _ratio(cagr(equity), abs(max_drawdown(equity)))


def exposure(equity: pd.Series[float], cash: pd.Series[float]) -> float:
    """Mean over the sessions of the invested fraction of equity."""
    return float((1.0 - cash / equity).mean())


def turnover(equity: pd.Series[float], fills: pd.DataFrame) -> float:
    """Value bought plus value sold, per year, as a multiple of mean equity."""
    years = (len(equity) - 1) / SESSIONS_PER_YEAR
    if years <= 0:
        return math.nan
    return float((fills["quantity"] * fills["price"]).sum() / equity.mean() / years)


def summary(equity: pd.Series[float], cash: pd.Series[float], fills: pd.DataFrame) -> dict[str, float]:
    """All metrics of one backtest by name; money in USD, everything else a fraction or a ratio."""
    return {
        "final_equity_usd": float(equity.iloc[-1]),
        "total_return": total_return(equity),
        "cagr": cagr(equity),
        "volatility": volatility(equity),
        "sharpe": sharpe(equity),
        "sortino": sortino(equity),
        "max_drawdown": max_drawdown(equity),
        "calmar": calmar(equity),
        "exposure": exposure(equity, cash),
        "turnover": turnover(equity, fills),
        "fills": float(len(fills)),
        "fees_usd": float(fills["fee"].sum()),
    }


def _ratio(value: float, by: float) -> float:
    # A spread below rounding noise is none.
    return value / by if by > 1e-15 else math.nan
