"""What every backtest engine assumes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import ConfigError
from workbench.research import metrics

if TYPE_CHECKING:
    from workbench.settings import Settings

FILL_COLUMNS = ("decided", "session", "symbol", "side", "quantity", "price", "fee")
# decided, session, symbol, side, quantity, price, fee
FillRow = tuple[pd.Timestamp, pd.Timestamp, str, str, float, float, float]


@dataclass(frozen=True, slots=True)
class Assumptions:
    """Capital and costs of a backtest; the defaults are those of :class:`workbench.settings.Settings`.

    ``cash_buffer`` and ``tolerance`` are fractions of equity; ``slippage_bps`` is charged against the
    opening price; ``commission_min_usd`` is per order.

    >>> Assumptions(slippage_bps=0.0).capital_usd
    100000.0
    """

    capital_usd: float = 100_000.0
    commission_per_share_usd: float = 0.005
    commission_min_usd: float = 1.0
    slippage_bps: float = 2.0
    cash_buffer: float = 0.02
    min_trade_value_usd: float = 100.0
    tolerance: float = 0.005

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not np.isfinite(value) or value < 0:
                raise ConfigError(f"assumption {name}: must be a number of at least 0 (got {value!r})")
        if self.capital_usd == 0:
            raise ConfigError("assumption capital_usd: must be above 0")
        if self.cash_buffer > 1 or self.slippage_bps >= 10_000:
            raise ConfigError("assumptions: cash_buffer is at most 1 and slippage_bps below 10000")

    @classmethod
    def from_settings(cls, settings: Settings) -> Assumptions:
        """The capital and costs that the paper exchange and the planner are configured with."""
        return cls(
            capital_usd=float(settings.account.starting_cash_usd),
            commission_per_share_usd=float(settings.costs.commission_per_share_usd),
            commission_min_usd=float(settings.costs.commission_min_usd),
            slippage_bps=float(settings.costs.slippage_bps),
            cash_buffer=float(settings.planner.cash_buffer),
            min_trade_value_usd=float(settings.planner.min_trade_value_usd),
            tolerance=float(settings.planner.tolerance),
        )

    def fee(self, quantity: float) -> float:
        """Commission of one order in USD: per share, with a minimum.

        >>> Assumptions().fee(100), Assumptions().fee(1000)
        (1.0, 5.0)
        """
        return max(self.commission_min_usd, self.commission_per_share_usd * quantity)


@dataclass(frozen=True)
class BacktestResult:
    """One strategy over one window, marked at every close.

    Attributes
    ----------
    equity, cash
        USD by session (float64, indexed by ``session``); equity = cash + shares x last known raw close.
    positions
        Whole shares at each close, sessions x symbols (float64), in shares of that day.
    fills
        One row per fill in the order of execution: ``decided`` and ``session`` (timestamps), ``symbol``,
        ``side`` ('buy' or 'sell'), ``quantity`` (positive, shares), ``price`` and ``fee`` (USD).
    metrics
        See :func:`workbench.research.metrics.summary`.
    engine
        Which program made it: ``workbench``, ``zipline`` or ``vectorbt``.
    """

    equity: pd.Series[float]
    cash: pd.Series[float]
    positions: pd.DataFrame
    fills: pd.DataFrame
    metrics: dict[str, float]
    assumptions: Assumptions
    engine: str


def build(
    equity: pd.Series[float],
    cash: pd.Series[float],
    positions: pd.DataFrame,
    fills: Sequence[FillRow],
    assumptions: Assumptions,
    engine: str,
) -> BacktestResult:
    """Put the books of an engine into the form that all engines share, metrics included."""
    table = pd.DataFrame(list(fills), columns=list(FILL_COLUMNS))
    for column in ("decided", "session"):
        table[column] = pd.to_datetime(table[column])
    for column in ("quantity", "price", "fee"):
        table[column] = table[column].astype(float)
    positions = positions.rename_axis(index="session", columns="symbol")
    equity = equity.rename("equity").rename_axis("session")
    cash = cash.rename("cash").rename_axis("session")
    return BacktestResult(
        equity=equity,
        cash=cash,
        positions=positions,
        fills=table,
        metrics=metrics.summary(equity, cash, table),
        assumptions=assumptions,
        engine=engine,
    )
