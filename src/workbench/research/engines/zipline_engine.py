"""The same backtest through zipline's event loop, fed from memory: no bundle is written to disk.

What zipline does itself: the clock, the order book, positions, cash, commissions, splits, dividends and
the marking of the portfolio. What it is told: bars, corporate actions, the weights that are due at each
close, the fill price and the convention ``next_open`` of docs/architecture.md for sizing.

Three differences from the reference are zipline's own and remain:

- the fraction of a share left by a split is paid at cost (rounded to the cent), not at the open;
- a dividend on the day of a split is paid on the shares before the split;
- a fractional split ratio is stored inverted, as a float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.research import result
from workbench.research.engines.kernel import GUARD
from workbench.research.inputs import Inputs, prepare
from workbench.research.result import Assumptions, BacktestResult, FillRow
from workbench.strategies.base import Strategy

if TYPE_CHECKING:
    from workbench.research.engines._zipline_parts import Books


def backtest(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    *,
    start: date | None = None,
    end: date | None = None,
    assumptions: Assumptions,
    calendar: str = "XNYS",
    progress: Callable[..., Iterable[Any]] | None = None,
) -> BacktestResult:
    """Run a strategy event by event in zipline; see :func:`workbench.research.engines.backtest`.

    Parameters
    ----------
    calendar
        Exchange whose sessions zipline steps through, by its ISO 10383 code. Every session of the window
        must be in the bars: zipline's clock does not skip one.
    progress
        Shows the sessions gone through: called with an iterable and ``total=``, such as ``tqdm.tqdm``.

    Raises
    ------
    DataError
        If bars, weights or actions cannot be used, or a session of the calendar is missing.
    """
    from zipline.utils.calendar_utils import get_calendar

    inputs = prepare(strategy, bars_split, bars_raw, actions, start, end)
    exchange = get_calendar(calendar)
    due = exchange.sessions_in_range(inputs.sessions[0], inputs.sessions[-1])
    unmatched = due.symmetric_difference(inputs.sessions)
    if len(unmatched):
        where = "missing from the bars" if unmatched[0] in due else f"not a session of {calendar}"
        raise DataError(f"zipline cannot run: {unmatched[0]:%Y-%m-%d} is {where}")
    return _result(inputs, _run(inputs, assumptions, exchange, progress), assumptions)


def _run(
    inputs: Inputs, assumptions: Assumptions, exchange: Any, progress: Callable[..., Iterable[Any]] | None
) -> Books:
    from zipline.algorithm import TradingAlgorithm
    from zipline.data.data_portal import DataPortal
    from zipline.finance.blotter import SimulationBlotter
    from zipline.finance.commission import PerShare
    from zipline.finance.trading import SimulationParameters

    from workbench.research.engines import _zipline_parts as parts

    finder = parts.asset_finder(inputs.symbols, inputs.sessions, exchange.name)
    values = {"open": inputs.open, "close": inputs.close}
    portal = DataPortal(
        finder,
        exchange,
        first_trading_day=inputs.sessions[0],
        equity_daily_reader=parts.SessionBars(values, inputs.sessions, exchange),
        adjustment_reader=parts.adjustment_reader(inputs),
    )
    books = parts.Books(len(inputs.symbols))
    algorithm = TradingAlgorithm(
        sim_params=SimulationParameters(
            inputs.sessions[0],
            inputs.sessions[-1],
            exchange,
            capital_base=assumptions.capital_usd,
            data_frequency="daily",
        ),
        data_portal=portal,
        handle_data=_Decisions(inputs, assumptions, parts.equities(finder, len(inputs.symbols))),
        blotter=SimulationBlotter(
            equity_slippage=parts.NextOpenSlippage(assumptions.slippage_bps),
            equity_commission=PerShare(assumptions.commission_per_share_usd, assumptions.commission_min_usd),
        ),
        metrics_set={books},
        benchmark_returns=pd.Series(0.0, index=inputs.sessions),
    )
    # The loop of TradingAlgorithm.run, without the table of daily statistics that nobody reads here.
    events = algorithm.get_generator()
    sessions = islice(events, len(inputs.sessions))
    for _ in sessions if progress is None else progress(sessions, total=len(inputs.sessions), unit="session"):
        pass
    for _ in events:  # what comes after the last session closes the run
        pass
    return books


class _Decisions:
    """What the algorithm does at every close: cancel what did not fill, then order the next targets."""

    def __init__(self, inputs: Inputs, assumptions: Assumptions, assets: list[Any]) -> None:
        self._inputs = inputs
        self._assumed = assumptions
        self._assets = assets
        self._row = {stamp.date(): at for at, stamp in enumerate(inputs.sessions)}

    def __call__(self, context: Any, data: Any) -> None:
        for waiting in list(context.blotter.open_orders):  # a day order expires at the close
            context.blotter.cancel_all_orders_for_asset(waiting)
        portfolio = context.portfolio
        equity = portfolio.portfolio_value
        investable = equity * (1.0 - self._assumed.cash_buffer)
        smallest = max(self._assumed.min_trade_value_usd, self._assumed.tolerance * equity) - GUARD
        weights = self._inputs.weights[self._row[context.get_datetime().date()]]
        positions = portfolio.positions
        changes = []
        for asset, weight in zip(self._assets, weights.tolist(), strict=True):
            held = positions[asset].amount if asset in positions else 0
            if not held and not weight:
                continue
            price = data.current(asset, "close")
            if np.isnan(price):
                continue
            target = max(int(investable * weight / price + GUARD), 0)
            change = target - held
            if change and (abs(change) * price >= smallest or not target):
                changes.append((change, asset))
        for change, asset in sorted(changes, key=lambda item: item[0] > 0):  # sells first
            context.order(asset, change)


def _result(inputs: Inputs, books: Books, assumptions: Assumptions) -> BacktestResult:
    index, symbols = inputs.sessions, inputs.symbols
    fills: list[FillRow] = [
        (index[at - 1], index[at], symbols[sid], "buy" if amount > 0 else "sell", abs(amount), price, fee)
        for at, sid, amount, price, fee in books.fills
    ]
    return result.build(
        pd.Series(books.equity, index=index),
        pd.Series(books.cash, index=index),
        pd.DataFrame(books.shares, index=index, columns=symbols),
        fills,
        assumptions,
        engine="zipline",
    )
