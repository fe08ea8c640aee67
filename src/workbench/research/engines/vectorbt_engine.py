"""vectorbt: many strategies at once for screening, and a second set of books for one backtest.

What ``Portfolio.from_orders`` (vectorbt 1.0) cannot express, and what is done about it:

=====================================  ==================================  ===============================
rule of docs/architecture.md           :func:`sweep`                       :func:`replay`
=====================================  ==================================  ===============================
whole shares, floor of the *target*    fractions of a share                quantities are given
minimum trade and tolerance            every change is traded              quantities are given
fee: the larger of two                 per share only, no minimum          the fee of each order is given
dividends                              in prices, if bars are ``total``    not paid
splits                                 in prices                           in prices and quantities
a buy always fills in full             limited by cash                     the overdraft is lent, then repaid
=====================================  ==================================  ===============================
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research import metrics, result
from workbench.research.comparison import distributions
from workbench.research.inputs import Array, Inputs, event_arrays, prepare
from workbench.research.result import Assumptions, BacktestResult, FillRow
from workbench.strategies.base import Strategy

# How a long loop is shown: a function from what is looped over to the same, such as tqdm.tqdm.
Progress = Callable[[list[Any]], Iterable[Any]]
_CHUNK = 16
_METRICS = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown")


def sweep(
    strategies: Sequence[Strategy],
    bars: Bars,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions,
    progress: Progress = list,
) -> pd.DataFrame:
    """Simulate many strategies in vectorbt, some at a time, to screen them.

    Each is rebalanced at every open to the weights decided on the close before, in fractions of a
    share; slippage and the commission per share are charged. Use :func:`workbench.research.backtest`
    for what would have been traded.

    Parameters
    ----------
    strategies
        Of one class, differing in parameters.
    bars
        Adjusted for splits, or for splits and dividends.
    progress
        Wraps the list that is worked through, such as ``tqdm.tqdm`` for a progress bar.

    Returns
    -------
    One row per strategy, in order, indexed by its parameters: ``total_return``, ``cagr``,
    ``volatility``, ``sharpe`` and ``max_drawdown`` as in :mod:`workbench.research.metrics`, and
    ``orders``, the number of orders filled.

    Raises
    ------
    DataError
        If bars or weights cannot be used, or the strategies are none or of different classes.
    """
    if len({type(strategy) for strategy in strategies}) != 1 or not type(strategies[0]).model_fields:
        raise DataError("a sweep needs at least one strategy, and all of one class with parameters")
    as_traded = Bars(bars.open, bars.high, bars.low, bars.close, bars.volume, "raw", bars.snapshot)
    none = pd.DataFrame(columns=["symbol", "ex_date", "kind", "value"])
    rows: list[list[float]] = []
    for chunk in progress([strategies[at : at + _CHUNK] for at in range(0, len(strategies), _CHUNK)]):
        rows += _sweep([prepare(strategy, bars, as_traded, none, start, end) for strategy in chunk], assumptions)
    index = pd.MultiIndex.from_frame(pd.DataFrame([strategy.model_dump() for strategy in strategies]))
    return pd.DataFrame(rows, index=index, columns=[*_METRICS, "orders"]).astype({"orders": int})


def _sweep(runs: list[Inputs], assumptions: Assumptions) -> list[list[float]]:
    """The metrics of some strategies on the same bars, from one call of vectorbt."""
    opens = np.tile(runs[0].open, (1, len(runs)))
    portfolio = _portfolio(
        opens,
        np.tile(runs[0].close, (1, len(runs))),
        runs[0],
        size=np.hstack([_previous(run.weights) for run in runs]) * (1.0 - assumptions.cash_buffer),
        size_type="targetpercent",
        fees=np.nan_to_num(assumptions.commission_per_share_usd / opens),
        slippage=assumptions.slippage_bps / 10_000.0,
        init_cash=assumptions.capital_usd,
    )
    values = portfolio.value().to_numpy().reshape(len(runs[0].sessions), len(runs))
    orders = np.bincount(portfolio.orders.values["col"] // len(runs[0].symbols), minlength=len(runs))
    equities = [pd.Series(values[:, at], index=runs[0].sessions) for at in range(len(runs))]
    return [
        [getattr(metrics, name)(equity) for name in _METRICS] + [int(count)]
        for equity, count in zip(equities, orders, strict=True)
    ]


def replay(made: BacktestResult, bars_raw: Bars, actions: pd.DataFrame) -> BacktestResult:
    """Keep the books of a backtest's orders in vectorbt: its cash, positions, fill prices and equity.

    The quantity and the fee of each order are taken from ``made``; price and slippage are vectorbt's
    doing. vectorbt pays no dividends and no cash for fractions of a share, so its cash lags behind by
    exactly those (:func:`workbench.research.comparison.distributions`).

    Raises
    ------
    DataError
        If the bars do not cover the sessions and symbols of the backtest.
    """
    index, symbols = made.equity.index, list(made.positions.columns)
    window = bars_raw.select(symbols).between(index[0].date(), index[-1].date())
    if not window.close.index.equals(index):
        raise DataError(f"the raw bars have other sessions than the backtest by {made.engine}")
    splits, _ = event_arrays(actions, window)
    units = _units(splits, window.close.shape)  # shares of the last session per share of each session
    prices = Inputs(
        sessions=window.sessions,
        symbols=symbols,
        weights=np.zeros(units.shape),
        open=window.open.to_numpy(dtype=float) / units,
        close=window.close.to_numpy(dtype=float) / units,
        splits={},
        dividends={},
    )
    rows = index.get_indexer(pd.DatetimeIndex(made.fills["session"]))
    columns = made.positions.columns.get_indexer(pd.Index(made.fills["symbol"]))
    size, fees = np.full(units.shape, np.nan), np.zeros(units.shape)
    sign = np.where(made.fills["side"] == "buy", 1.0, -1.0)
    size[rows, columns] = sign * made.fills["quantity"].to_numpy() * units[rows, columns]
    fees[rows, columns] = made.fills["fee"].to_numpy()
    # vectorbt buys less than ordered when cash runs out: lend it the overdraft and what it is not paid.
    lent = float(distributions(made, bars_raw, actions).sum() + max(0.0, -made.cash.min())) + 1.0
    portfolio = _portfolio(
        prices.open,
        prices.close,
        prices,
        size=size,
        size_type="amount",
        fixed_fees=fees,
        slippage=made.assumptions.slippage_bps / 10_000.0,
        init_cash=made.assumptions.capital_usd + lent,
    )
    return _books(portfolio, prices, units, lent, made)


def _portfolio(opens: Array, closes: Array, window: Inputs, *, size: Array, **how: Any) -> Any:
    """Run ``from_orders`` on one or more groups of columns, each with cash of its own.

    Orders fill at the open; what a target is a percentage of is valued at the close before.
    """
    import vectorbt as vbt

    marks = pd.DataFrame(closes, index=window.sessions).ffill().fillna(1.0)  # 1.0 is never multiplied
    valued = np.vstack([marks.to_numpy()[:1], marks.to_numpy()[:-1]])
    known = np.vstack([np.zeros_like(closes[:1], dtype=bool), ~np.isnan(closes[:-1])])
    groups = np.repeat(np.arange(closes.shape[1] // len(window.symbols)), len(window.symbols))
    return vbt.Portfolio.from_orders(
        marks,
        size=np.where(known & ~np.isnan(opens), size, np.nan),
        price=opens,
        val_price=valued,
        direction="longonly",
        group_by=pd.Index(groups, name="run"),
        cash_sharing=True,
        call_seq="auto",  # sells first
        **how,
    )


def _books(portfolio: Any, prices: Inputs, units: Array, lent: float, made: BacktestResult) -> BacktestResult:
    """Read vectorbt's books back into shares and prices of each day."""
    index, symbols = prices.sessions, prices.symbols
    records = portfolio.orders.values  # idx, col, size, price, fees, side in the order of execution
    if len(records) != len(made.fills):
        raise DataError(f"vectorbt filled {len(records)} of the {len(made.fills)} orders of {made.engine}")
    fills: list[FillRow] = []
    for row in records:
        at, column = int(row["idx"]), int(row["col"])
        unit, side = units[at, column], "buy" if row["side"] == 0 else "sell"
        quantity, price, fee = float(row["size"] / unit), float(row["price"] * unit), float(row["fees"])
        fills.append((index[at - 1], index[at], symbols[column], side, quantity, price, fee))
    shares = portfolio.assets().to_numpy() / units
    return result.build(
        pd.Series(portfolio.value().to_numpy().ravel() - lent, index=index),
        pd.Series(portfolio.cash().to_numpy().ravel() - lent, index=index),
        pd.DataFrame(shares, index=index, columns=symbols),
        fills,
        made.assumptions,
        engine="vectorbt",
    )


def _units(splits: Mapping[int, Array], shape: tuple[int, ...]) -> Array:
    """Shares of the last session that one share of each session has become."""
    ratios = np.ones(shape)
    for at, ratio in splits.items():
        ratios[at] = ratio
    later = np.vstack([ratios[1:], np.ones((1, shape[1]))])
    units: Array = np.cumprod(later[::-1], axis=0)[::-1].astype(np.float64)
    return units


def _previous(values: Array) -> Array:
    """The same array one session later; the first row is NaN."""
    return np.vstack([np.full((1, values.shape[1]), np.nan), values[:-1]])
