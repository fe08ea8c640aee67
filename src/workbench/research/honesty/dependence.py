"""What a result hangs on: a few days, a few names, one kind of market, or the market itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.research import metrics
from workbench.research.result import BacktestResult

BEST_DAYS = 10
_TREND = 200  # sessions of the mean that separates rising from falling markets
_RECENT = 63  # sessions of the volatility that separates calm from wild markets
_SPREADLESS = 1e-15


@dataclass(frozen=True)
class Concentration:
    """How much hangs on little.

    Attributes
    ----------
    best_days_share
        Share of the total log return that the ten best sessions made; NaN if the total is not positive.
    cagr_without_best_days
        Annual growth if those sessions had not been.
    names
        By symbol, in USD: what sales and the final value brought less what purchases and fees cost, dividends left out.
    top_name_share
        Share of the largest gain among all gains.
    """

    best_days_share: float
    cagr_without_best_days: float
    names: pd.Series[float]
    top_name_share: float


def concentration(made: BacktestResult, bars_raw: Bars, *, sessions_per_year: int = 252) -> Concentration:
    """See :class:`Concentration`."""
    logs = np.log1p(metrics.returns(made.equity).to_numpy(dtype=float))
    best = np.sort(logs)[::-1][:BEST_DAYS]
    total = float(logs.sum())
    left = len(logs) - len(best)
    fills = made.fills
    sign = np.where(fills["side"] == "sell", 1.0, -1.0)
    flows = (sign * fills["quantity"] * fills["price"] - fills["fee"]).groupby(fills["symbol"]).sum()
    last = bars_raw.between(None, made.equity.index[-1].date()).close.ffill().iloc[-1]
    held = (made.positions.iloc[-1] * last.reindex(made.positions.columns)).fillna(0.0)
    names = (flows.reindex(made.positions.columns).fillna(0.0) + held).rename("profit_usd").sort_values(ascending=False)
    gains = names[names > 0]
    return Concentration(
        best_days_share=float(best.sum() / total) if total > 0 else math.nan,
        cagr_without_best_days=math.expm1((total - float(best.sum())) * sessions_per_year / left) if left else math.nan,
        names=names,
        top_name_share=float(gains.iloc[0] / gains.sum()) if len(gains) else math.nan,
    )


def entries(made: BacktestResult) -> int:
    """How often a position was opened: a symbol held that was not held at the close before."""
    held = made.positions.to_numpy() != 0
    return int(held[0].sum() + (held[1:] & ~held[:-1]).sum())


def equal_weight(bars: Bars, sessions: pd.DatetimeIndex) -> pd.Series[float]:
    """Equity of holding all symbols of ``bars`` in equal parts, rebalanced every session free of costs; 1 at the start.

    Give it bars adjusted for splits and dividends. A symbol counts in the sessions in which it has a return.
    """
    closes = bars.close.reindex(sessions)
    moves = closes.pct_change(fill_method=None).mean(axis=1).fillna(0.0)
    return (1.0 + moves).cumprod().rename("equal_weight")


def regimes(returns: pd.Series[float], market: pd.Series[float], *, sessions_per_year: int = 252) -> pd.DataFrame:
    """The strategy in rising and falling, calm and wild markets, and year by year.

    A market is rising if it is above its own mean of 200 sessions, wild if its volatility over 63 sessions is above the
    median of what that had been until then; both are known at the close before the session. Sessions before there is
    such a mean belong to neither.

    Returns
    -------
    Indexed by ``kind`` and ``regime``: ``sessions``, annualised ``sharpe`` (NaN without variation) and ``log_return``
    (total).
    """
    moves = market.pct_change(fill_method=None)
    mean = market.rolling(_TREND).mean()
    recent = moves.rolling(_RECENT).std()
    usual = recent.expanding(_RECENT).median()
    labels = {
        "trend": _labelled(market, mean, "rising", "falling"),
        "volatility": _labelled(recent, usual, "wild", "calm"),
        "year": pd.Series(returns.index.year.astype(str), index=returns.index),  # type: ignore[attr-defined]
    }
    rows = {}
    for kind, label in labels.items():
        for regime, part in returns.groupby(label.reindex(returns.index)):
            spread = float(part.std(ddof=1)) if len(part) > 1 else 0.0
            sharpe = float(part.mean()) / spread * math.sqrt(sessions_per_year) if spread > _SPREADLESS else math.nan
            rows[(kind, str(regime))] = (len(part), sharpe, float(np.log1p(part).sum()))
    index = pd.MultiIndex.from_tuples(list(rows), names=["kind", "regime"])
    return pd.DataFrame(list(rows.values()), index=index, columns=["sessions", "sharpe", "log_return"])


def _labelled(value: pd.Series[float], usual: pd.Series[float], above: str, below: str) -> pd.Series[str]:
    """Where a value stood at the close before; missing where there is nothing to compare it with."""
    label = pd.Series(np.where(value > usual, above, below), index=value.index, dtype=object)
    return label.where(usual.notna() & value.notna()).shift(1)
