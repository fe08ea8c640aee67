"""The same backtest through zipline's event loop, fed from memory: no bundle is written to disk.

What zipline does itself: the clock, the order book, positions, cash, splits, dividends, the close-out of delisted
assets and the marking of the portfolio. What it is told: bars, corporate actions, the weights that are due at each
close, the price and the commission of a fill, interest and the cost of borrowing, and the convention of
docs/architecture.md for sizing. Filled at the next close without a spread, its own slippage models are used.

Three differences from the other engines are zipline's own and remain; `compare` names what they are worth:

- the fraction of a share left by a split is paid at cost (rounded to the cent), not at the open;
- a dividend on the day of a split is paid on the shares before the split;
- a fractional split ratio is stored inverted, as a float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from math import copysign, floor, isnan
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import DataError
from workbench.research.costs import Assumptions
from workbench.research.inputs import Inputs, day, marks_of
from workbench.research.result import Books

if TYPE_CHECKING:
    from workbench.research.engines._zipline_parts import Ledger

# Floats may land a hair below the whole share or the dollar that exact decimals reach.
_GUARD = 1e-9


def refusal(assumptions: Assumptions) -> str | None:
    """Why these assumptions cannot be expressed; None if they can."""
    if assumptions.fill == "close":
        return "fill='close': it fills an order in the next session at the earliest"
    if assumptions.lot is None or assumptions.lot % 1:
        return f"lot={assumptions.lot!r}: it trades whole shares"
    if assumptions.buys == "within_cash":
        return "buys='within_cash': it lets cash go below zero"
    if assumptions.sizing == "fill":
        return "sizing='fill': it counts the shares when they are ordered"
    return None


def run(
    inputs: Inputs,
    assumptions: Assumptions,
    *,
    calendar: str = "XNYS",
    progress: Callable[..., Iterable[Any]] | None = None,
) -> Books:
    """Simulate a window event by event.

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
        If a session of the calendar is missing.
    """
    from zipline.utils.calendar_utils import get_calendar

    exchange = get_calendar(calendar)
    due = exchange.sessions_in_range(inputs.sessions[0], inputs.sessions[-1])
    unmatched = due.symmetric_difference(inputs.sessions)
    if len(unmatched):
        where = "missing from the bars" if unmatched[0] in due else f"not a session of {calendar}"
        raise DataError(f"zipline cannot run: {day(unmatched[0])} is {where}")
    return _run(inputs, assumptions, exchange, progress).books(marks_of(inputs))


def _run(
    inputs: Inputs, assumptions: Assumptions, exchange: Any, progress: Callable[..., Iterable[Any]] | None
) -> Ledger:
    from zipline.data.data_portal import DataPortal
    from zipline.finance.blotter import SimulationBlotter
    from zipline.finance.trading import SimulationParameters

    from workbench.research.engines import _zipline_parts as parts

    finder = parts.asset_finder(inputs, assumptions, exchange.name)
    portal = DataPortal(
        finder,
        exchange,
        first_trading_day=inputs.sessions[0],
        equity_daily_reader=parts.SessionBars(inputs, exchange),
        adjustment_reader=parts.adjustment_reader(inputs),
    )
    ledger = parts.Ledger(inputs, assumptions)
    algorithm = parts.Algorithm(
        sim_params=SimulationParameters(
            inputs.sessions[0],
            inputs.sessions[-1],
            exchange,
            capital_base=assumptions.capital_usd,
            data_frequency="daily",
        ),
        data_portal=portal,
        handle_data=_Decisions(inputs, assumptions, parts.equities(finder, len(inputs.symbols)), ledger),
        blotter=SimulationBlotter(
            equity_slippage=parts.slippage(assumptions), equity_commission=parts.Commission(assumptions)
        ),
        metrics_set={ledger},
        benchmark_returns=pd.Series(0.0, index=inputs.sessions),
    )
    # The loop of zipline's TradingAlgorithm.run, without the table of daily statistics that nobody reads here.
    events = algorithm.get_generator()
    sessions = islice(events, len(inputs.sessions))
    for _ in sessions if progress is None else progress(sessions, total=len(inputs.sessions), unit="session"):
        pass
    for _ in events:  # what comes after the last session closes the run
        pass
    return ledger


class _Decisions:
    """What the algorithm does at every close: cancel what did not fill, then order the next targets."""

    def __init__(self, inputs: Inputs, assumptions: Assumptions, assets: list[Any], ledger: Ledger) -> None:
        self._inputs = inputs
        self._assumed = assumptions
        self._assets = assets
        self._ledger = ledger
        self._row = {stamp.date(): at for at, stamp in enumerate(inputs.sessions)}

    def __call__(self, context: Any, data: Any) -> None:
        for waiting in list(context.blotter.open_orders):  # a day order expires at the close
            context.blotter.cancel_all_orders_for_asset(waiting)
        at = self._row[context.get_datetime().date()]
        portfolio, assumed = context.portfolio, self._assumed
        equity = portfolio.portfolio_value
        base = equity if assumed.compounding or equity <= 0 else assumed.capital_usd
        smallest = max(assumed.min_trade_value_usd, assumed.tolerance * base) - _GUARD
        weights, acts = self._inputs.weights[at].tolist(), self._inputs.decide[at].tolist()
        positions = portfolio.positions
        changes = []
        for asset, weight, decided in zip(self._assets, weights, acts, strict=True):
            held = positions[asset].amount if asset in positions else 0
            if not decided or (not held and not weight):
                continue
            price = data.current(asset, "close")
            if isnan(price):
                continue
            target = self._target(base, weight, price)
            change = target - held
            if change and (abs(change) * price >= smallest or not target):
                changes.append((change, asset))
        changes.sort(key=lambda item: item[0] > 0)  # sells first
        placed = [(context.order(asset, change), asset) for change, asset in changes]
        self._ledger.placed(at, [context.blotter.orders[order] for order, _ in placed])

    def _target(self, base: float, weight: float, price: float) -> int:
        if base <= 0:
            return 0
        lot = self._assumed.lot or 1.0
        exact = weight
        if self._assumed.target == "weights":
            exact = base * (1.0 - self._assumed.cash_buffer) * weight / price
        return int(copysign(floor(abs(exact) / lot + _GUARD) * lot, exact))
