"""What every backtest engine returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from workbench.research import metrics
from workbench.research.costs import Assumptions

__all__ = ["FILL_COLUMNS", "Assumptions", "BacktestResult", "FillRow", "build"]

FILL_COLUMNS = ("decided", "session", "symbol", "side", "quantity", "price", "fee")
# decided, session, symbol, side, quantity, price, fee
FillRow = tuple[pd.Timestamp, pd.Timestamp, str, str, float, float, float]


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
        Which program made it: ``kernel``, ``zipline`` or ``vectorbt``.
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
