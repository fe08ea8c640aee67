"""What every backtest engine returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.research import metrics
from workbench.research.costs import Assumptions
from workbench.research.flags import flags_of
from workbench.research.inputs import Array, Inputs
from workbench.research.trades import round_trips

__all__ = ["Assumptions", "BacktestResult", "Books", "build"]

FLOWS = ("dividends", "fractions", "borrow", "interest")


@dataclass(frozen=True)
class Books:
    """What an engine kept, as arrays: sessions, or sessions x symbols.

    Attributes
    ----------
    income
        USD that each symbol's shares brought in or cost before the open of a session.
    flows
        Sessions x 4, USD: dividends, fractions of split shares, borrowing, interest on debit.
    records
        One row per order: positions of the session it was decided in and was due in (-1 while it waits) and of the
        symbol, signed quantity ordered (in shares of the day it was due) and filled, price and fee in USD (NaN and
        0 if not filled), and 0 for an order or 1 for a delisted position that was paid out.
    """

    equity: Array
    cash: Array
    positions: Array
    marks: Array
    income: Array
    flows: Array
    records: Array


@dataclass(frozen=True)
class BacktestResult:
    """One strategy over one window, marked at every close.

    Attributes
    ----------
    equity, cash
        USD by session (float64, indexed by ``session``); equity = cash + shares x last known raw close.
    positions, marks
        Signed shares at each close in shares of that day, and the last known raw close in USD: sessions x symbols,
        float64.
    fills
        One row per fill in the order of execution: ``decided`` and ``session`` (timestamps), ``symbol``,
        ``side`` ('buy' or 'sell'), ``quantity`` (positive, shares), ``price`` and ``fee`` (USD).
    orders
        One row per order: the columns of ``fills``, but ``quantity`` as ordered, in shares of the day it was due,
        then ``filled`` and ``status`` ('filled', 'partially_filled', 'expired', 'waiting', or 'paid_out' for a
        position in a delisted symbol).
    trades
        Round trips, see :func:`workbench.research.trades.round_trips`.
    cashflows
        USD by session: ``dividends``, ``fractions`` of shares paid out by splits, ``borrow`` and ``interest`` (both
        zero or negative).
    metrics
        By name; see :mod:`workbench.research.metrics`.
    flags
        What a reader must know before believing the numbers, in words; empty if nothing.
    engine
        Which program made it: ``kernel``, ``vectorbt`` or ``zipline``.
    benchmark
        What it is measured against, scaled to the capital on the first session; None if there is none.
    """

    equity: pd.Series[float]
    cash: pd.Series[float]
    positions: pd.DataFrame
    marks: pd.DataFrame
    fills: pd.DataFrame
    orders: pd.DataFrame
    trades: pd.DataFrame
    cashflows: pd.DataFrame
    metrics: dict[str, float]
    assumptions: Assumptions
    engine: str
    flags: tuple[str, ...] = ()
    benchmark: pd.Series[float] | None = None

    @property
    def returns(self) -> pd.Series[float]:
        """Simple return of each session; the first is measured from the capital."""
        capital = self.assumptions.capital_usd
        before = self.equity.shift(1, fill_value=capital)
        return (self.equity / before - 1.0).rename("return")

    def __repr__(self) -> str:
        made = self.metrics
        return (
            f"<BacktestResult {self.engine}: {self.equity.index[0]:%Y-%m-%d} to {self.equity.index[-1]:%Y-%m-%d}, "
            f"return {made['total_return']:.2%}, Sharpe {made['sharpe']:.2f}, drawdown {made['max_drawdown']:.1%}, "
            f"{len(self.fills)} fills, {len(self.flags)} flags>"
        )


def build(
    books: Books,
    inputs: Inputs,
    assumptions: Assumptions,
    engine: str,
    benchmark: pd.Series[float] | None = None,
) -> BacktestResult:
    """Put the books of an engine into the form that all engines share: tables, trades, metrics, flags."""
    index, symbols = inputs.sessions.rename("session"), inputs.symbols
    columns = pd.Index(symbols, name="symbol")
    equity = pd.Series(books.equity, index=index, name="equity")
    cash = pd.Series(books.cash, index=index, name="cash")
    orders = _orders(books.records, index, symbols)
    fills = orders[orders["filled"] > 0].drop(columns=["quantity", "status"]).rename(columns={"filled": "quantity"})
    executed = books.records[books.records[:, 4] != 0.0][:, [1, 2, 4, 5, 6]]
    trades = round_trips(executed, books.positions, books.marks, books.income, index, symbols)
    year, free = assumptions.sessions_per_year, assumptions.risk_free_rate
    # Fills at the first close are part of the result: its curve starts from the capital, a session earlier.
    curve, held = _from_capital(equity, cash, assumptions) if assumptions.fill == "close" else (equity, cash)
    found = metrics.summary(curve, held, fills, year, free)
    found |= metrics.of_shape(curve, year, free) | metrics.of_trades(trades)
    if benchmark is not None:
        found |= metrics.against(equity, benchmark, year, free)
    return BacktestResult(
        equity=equity,
        cash=cash,
        positions=pd.DataFrame(books.positions, index=index, columns=columns),
        marks=pd.DataFrame(books.marks, index=index, columns=columns),
        fills=fills.reset_index(drop=True)[["decided", "session", "symbol", "side", "quantity", "price", "fee"]],
        orders=orders,
        trades=trades,
        cashflows=pd.DataFrame(books.flows, index=index, columns=list(FLOWS)),
        metrics=found,
        assumptions=assumptions,
        engine=engine,
        flags=flags_of(books.equity, books.cash, books.positions, books.marks, orders, inputs, assumptions),
        benchmark=benchmark,
    )


def _from_capital(
    equity: pd.Series[float], cash: pd.Series[float], assumptions: Assumptions
) -> tuple[pd.Series[float], pd.Series[float]]:
    before = pd.DatetimeIndex([pd.Timestamp(equity.index[0]) - pd.Timedelta(days=1)])
    first = pd.Series(float(assumptions.capital_usd), index=before)
    return pd.concat([first, equity]), pd.concat([first, cash])


def _orders(records: Array, index: pd.DatetimeIndex, symbols: list[str]) -> pd.DataFrame:
    decided, due, symbol = (records[:, at].astype(int) for at in range(3))
    ordered, filled, price, fee, kind = records[:, 3:].T
    short = np.abs(filled) < np.abs(ordered)
    status = np.select(
        [kind == 1.0, due < 0, filled == 0.0, short], ["paid_out", "waiting", "expired", "partially_filled"], "filled"
    )
    return pd.DataFrame(
        {
            "decided": index[decided],
            "session": index[due].where(due >= 0),
            "symbol": np.array(symbols, dtype=object)[symbol],
            "side": np.where(ordered > 0, "buy", "sell").astype(object),
            "quantity": np.abs(ordered),
            "filled": np.abs(filled),
            "price": price,
            "fee": fee,
            "status": status.astype(object),
        }
    )
