"""A small strategy, costs of nothing, and markets made of log returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field

from workbench.data.bars import Bars
from workbench.research.costs import Assumptions
from workbench.strategies.base import Strategy

FREE = Assumptions(
    commission_per_share_usd=0.0,
    commission_min_usd=0.0,
    slippage_bps=0.0,
    cash_buffer=0.0,
    min_trade_value_usd=0.0,
    tolerance=0.0,
)
NO_ACTIONS = pd.DataFrame(columns=["symbol", "ex_date", "kind", "value"])


@dataclass(frozen=True)
class Market:
    total: Bars
    raw: Bars
    actions: pd.DataFrame


class Trend(Strategy):
    """Holds, in equal parts, what has risen over ``lookback`` sessions."""

    lookback: int = Field(6, ge=1, le=60, description="sessions")

    def weights(self, bars: Bars) -> pd.DataFrame:
        held = bars.close > bars.close.shift(self.lookback)
        return held.astype(float) / len(bars.symbols)


def market_of(close: pd.DataFrame) -> Market:
    """Opens are the closes before."""
    opens = close.shift(1).fillna(close.iloc[0])
    high, low = np.maximum(opens, close), np.minimum(opens, close)

    def bars(adjustment: str) -> Bars:
        return Bars(opens, high, low, close, close * 0 + 1e6, adjustment, 0)  # type: ignore[arg-type]

    return Market(bars("total"), bars("raw"), NO_ACTIONS)


def closes(moves: np.ndarray) -> pd.DataFrame:
    days = pd.bdate_range("2005-01-03", periods=len(moves), name="session")
    names = [f"S{number}" for number in range(moves.shape[1])]
    return pd.DataFrame(50.0 * np.exp(moves.cumsum(axis=0)), index=days, columns=names)
