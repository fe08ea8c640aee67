"""The numbers of a report, worked out of journal rows and prices; metrics are those of the research room."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.reports.tables import Row

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from workbench.research.metrics import Curve

_ON_RETURNS = ("total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar")

# With fewer sessions the number would say more about luck than about the strategy.
SESSIONS_FOR_SHARPE = 20
SESSIONS_FOR_CAGR = 252


def equity_frame(equity: Sequence[Row]) -> pd.DataFrame:
    """The rows of one account (``tables.equity``) as floats.

    Returns
    -------
    A float64 frame indexed by session (ascending) with cash and equity (USD), and wealth (USD): what the
    first session's equity became by the returns alone. Wealth is equity if nothing was paid in later.

    Examples
    --------
    >>> from datetime import date
    >>> from decimal import Decimal
    >>> row = {"session": date(2013, 1, 2), "cash": Decimal(50), "equity": Decimal(100)}
    >>> first = {**row, "deposits": Decimal(100), "return": None}
    >>> later = {**row, "session": date(2013, 1, 3), "equity": Decimal(165), "deposits": Decimal(50)}
    >>> equity_frame([first, {**later, "return": Decimal("0.1")}])["wealth"].round(6).tolist()
    [100.0, 110.0]
    """
    import pandas as pd

    days = np.array([row["session"] for row in equity], dtype="datetime64[ns]")
    return pd.DataFrame(curves(equity), index=pd.DatetimeIndex(days, name="session"))


def curves(equity: Sequence[Row]) -> dict[str, npt.NDArray[np.float64]]:
    """The columns of :func:`equity_frame` by name, for who needs no pandas."""
    found = {name: np.array([float(row[name]) for row in equity]) for name in ("cash", "equity")}
    found["wealth"] = found["equity"]
    if any(row["deposits"] for row in equity[1:]):
        growth = np.array([1.0 + float(row["return"] or 0) for row in equity])
        found["wealth"] = found["equity"][0] * growth.cumprod()
    return found


def summary(curves: Mapping[str, Curve] | pd.DataFrame, fills: Sequence[Row]) -> dict[str, float]:
    """The research room's metrics of an account; a ratio that is not defined is NaN.

    ``curves`` are those of :func:`curves` or :func:`equity_frame`, not empty, ``fills`` are rows of the same account.
    Money that was paid in counts for no return.
    """
    from workbench.research import metrics

    traded = {name: np.array([float(fill[name]) for fill in fills]) for name in ("quantity", "price", "fee")}
    values = metrics.summary(curves["equity"], curves["cash"], traded)
    if not np.array_equal(curves["wealth"], curves["equity"]):
        values |= of_curve(curves["wealth"])
    return values


def of_curve(value: Curve) -> dict[str, float]:
    """The metrics that need nothing but a curve of values (USD by session); NaN where undefined."""
    from workbench.research import metrics

    return {name: getattr(metrics, name)(value) for name in _ON_RETURNS}


def buy_and_hold(closes: pd.DataFrame, capital: float) -> pd.Series[float]:
    """The value of equal amounts put into every symbol at the first close and left alone.

    Parameters
    ----------
    closes
        Total-return closes (sessions x symbols). A symbol without a close in the first session is left
        out; a later gap keeps the last close.
    capital
        USD at the first close.

    Returns
    -------
    USD by session; empty if no symbol has a first close.

    Examples
    --------
    >>> import pandas as pd
    >>> buy_and_hold(pd.DataFrame({"A": [10.0, 11.0], "B": [5.0, 5.0]}), 100.0).round(6).tolist()
    [100.0, 105.0]
    """
    import pandas as pd

    held = closes.loc[:, closes.iloc[0].notna()] if len(closes) else closes
    if held.empty:
        return pd.Series(dtype="float64")
    return (held.ffill() / held.iloc[0]).mean(axis=1) * capital


def monthly_returns(wealth: pd.Series[float]) -> dict[int, dict[int, float]]:
    """Simple return by year and month; month 0 is the whole year. The first month starts at the first close.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.DatetimeIndex(["2013-01-02", "2013-01-31", "2013-02-28"])
    >>> monthly_returns(pd.Series([100.0, 110.0, 99.0], index=days))[2013][2]
    -0.1
    """
    import pandas as pd

    days = [(day.year, day.month) for day in pd.DatetimeIndex(wealth.index)]
    found: dict[int, dict[int, float]] = {}
    for ends, by_year in ((dict(zip(days, wealth, strict=True)), False), (_year_ends(days, wealth), True)):
        before = float(wealth.iloc[0])
        for (year, month), value in ends.items():
            found.setdefault(year, {})[0 if by_year else month] = round(float(value) / before - 1.0, 12)
            before = float(value)
    return found


def finite(value: float | None) -> float | None:
    """The number, or None in the place of one that is not defined."""
    return value if value is not None and math.isfinite(value) else None


def _year_ends(days: Sequence[tuple[int, int]], wealth: pd.Series[float]) -> dict[tuple[int, int], float]:
    return {(year, 0): float(value) for (year, _), value in zip(days, wealth, strict=True)}
