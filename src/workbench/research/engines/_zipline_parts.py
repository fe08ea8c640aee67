"""The pieces that zipline is driven with. Imports zipline: load it only where a simulation runs."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool
from zipline.algorithm import TradingAlgorithm
from zipline.assets import Asset, AssetDBWriter, AssetFinder
from zipline.data.adjustments import SQLiteAdjustmentReader, SQLiteAdjustmentWriter
from zipline.data.bar_reader import NoDataForSid, NoDataOnDate
from zipline.data.session_bars import CurrencyAwareSessionBarReader
from zipline.finance.commission import EquityCommissionModel
from zipline.finance.slippage import NoSlippage, SlippageModel, VolumeShareSlippage
from zipline.finance.transaction import create_transaction
from zipline.gens.sim_engine import BAR, SESSION_END, SESSION_START

from workbench.research.costs import Assumptions
from workbench.research.inputs import Array, Inputs
from workbench.research.result import Books


class SessionBars(CurrencyAwareSessionBarReader):  # type: ignore[misc]  # zipline has no types
    """Daily bars in memory: arrays of sessions x sids, a sid being the position of its symbol.

    zipline's own ``InMemoryDailyBarReader`` cannot serve a simulation: its ``get_value`` reads an
    attribute that does not exist (zipline-reloaded 3.2.1).
    """

    def __init__(self, inputs: Inputs, calendar: Any) -> None:
        volume = np.nan_to_num(inputs.volume)
        self._values = {"open": inputs.open, "close": inputs.close, "volume": volume}
        self._sessions = inputs.sessions
        self._calendar = calendar
        self._row = {int(stamp.value): row for row, stamp in enumerate(inputs.sessions)}

    @property
    def trading_calendar(self) -> Any:
        return self._calendar

    @property
    def sessions(self) -> pd.DatetimeIndex:
        return self._sessions

    @property
    def first_trading_day(self) -> pd.Timestamp:
        return self._sessions[0]

    @property
    def last_available_dt(self) -> pd.Timestamp:
        return self._sessions[-1]

    def get_value(self, sid: Any, dt: pd.Timestamp, field: str) -> float:
        """One value of one session; NaN if the symbol did not trade."""
        try:
            return float(self._values[field][self._row[dt.value], int(sid)])
        except KeyError as error:
            raise NoDataOnDate(dt) from error

    def get_last_traded_dt(self, asset: Any, dt: pd.Timestamp) -> Any:
        """The last session up to ``dt`` on which the symbol traded; NaT if there is none."""
        end = int(self._sessions.searchsorted(dt, side="right"))
        traded = np.flatnonzero(~np.isnan(self._values["close"][:end, int(asset)]))
        return self._sessions[traded[-1]] if traded.size else pd.NaT

    def load_raw_arrays(self, columns: Sequence[str], start: Any, end: Any, assets: Sequence[Any]) -> list[Array]:
        """Arrays of sessions x assets for each column, both ends included."""
        if start.value not in self._row or end.value not in self._row:
            raise NoDataOnDate(start)
        sids = [int(asset) for asset in assets]
        if any(sid >= self._values["close"].shape[1] for sid in sids):
            raise NoDataForSid(assets)
        rows = slice(self._row[start.value], self._row[end.value] + 1)
        return [self._values[column][rows][:, sids] for column in columns]

    def currency_codes(self, sids: Sequence[int]) -> Any:
        return np.full(len(sids), "USD", dtype=object)


class SessionSlippage(SlippageModel):  # type: ignore[misc]  # zipline has no types
    """Fill a waiting market order at the session's open or close, moved against it, up to a share of the volume.

    zipline calls this when the session has closed, and its stock models fill at that close; the open of
    the same session is what the order would have met, because it was placed at the close before.
    """

    def __init__(self, assumptions: Assumptions) -> None:
        super().__init__()
        self._field = "open" if assumptions.fill == "next_open" else "close"
        self._adverse = (assumptions.slippage_bps + assumptions.half_spread_bps) / 10_000.0
        self._limit = assumptions.max_volume_share
        self._impact = assumptions.impact
        self._lot = assumptions.lot or 1.0

    def simulate(self, data: Any, asset: Any, orders_for_asset: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield each fill; nothing if the symbol has no bar."""
        price = data.current(asset, self._field)
        if np.isnan(price):
            return
        volume = data.current(asset, "volume") if self._limit is not None else np.inf
        for order in orders_for_asset:
            moved, amount = self._priced(price, volume, order)
            if amount:
                yield order, create_transaction(order, data.current_dt, moved, amount)

    def process_order(self, data: Any, order: Any) -> tuple[float, int]:
        """Price and signed quantity of a fill."""
        price, volume = data.current(order.asset, self._field), data.current(order.asset, "volume")
        return self._priced(price, volume, order)

    def _priced(self, price: float, volume: float, order: Any) -> tuple[float, int]:
        size, share = abs(order.open_amount), 0.0
        if self._limit is not None:
            if self._limit * volume < size:
                size = np.floor(self._limit * volume / self._lot + 1e-9) * self._lot
            share = size / volume if volume else 0.0
        moved = price * (1.0 + order.direction * (self._adverse + self._impact * share * share))
        return moved, int(size * order.direction)


class Commission(EquityCommissionModel):  # type: ignore[misc]  # zipline has no types
    """The commission of the assumptions, on each transaction: an order has one, because it lives for a day."""

    def __init__(self, assumptions: Assumptions) -> None:
        self._assumed = assumptions

    def calculate(self, order: Any, transaction: Any) -> float:
        """USD for one transaction."""
        return self._assumed.fee(abs(transaction.amount), transaction.price)


def slippage(assumptions: Assumptions) -> Any:
    """The slippage model: zipline's own if it says the same, ours if not."""
    spread = assumptions.slippage_bps + assumptions.half_spread_bps
    if assumptions.fill == "next_close" and not spread and assumptions.lot == 1:
        if assumptions.max_volume_share is None:
            return NoSlippage()
        return VolumeShareSlippage(assumptions.max_volume_share, assumptions.impact)
    return SessionSlippage(assumptions)


class Algorithm(TradingAlgorithm):  # type: ignore[misc]  # zipline has no types
    """zipline's algorithm with a clock of sessions only.

    Its own clock first builds an index of minutes for every session, which costs a tenth of a daily simulation, to
    step through one minute of each.
    """

    def _create_clock(self) -> Any:
        sessions = self.sim_params.sessions
        closes = self.trading_calendar.schedule.loc[sessions, "close"].to_numpy()
        events = []
        # zipline compares time zones by identity, and knows the one that pandas makes of utc=True.
        for session, close in zip(pd.to_datetime(sessions, utc=True), pd.to_datetime(closes, utc=True), strict=True):
            events += [(session, SESSION_START), (close, BAR), (close, SESSION_END)]
        return events


class Ledger:
    """A zipline metric that only reads the books at each close, which is all that is needed.

    zipline's default metrics recompute risk figures every session and cost several times the loop. It also charges
    what zipline does not know: interest on debit and the cost of borrowing.
    """

    def __init__(self, inputs: Inputs, assumptions: Assumptions) -> None:
        self._inputs = inputs
        self._assumed = assumptions
        shape = inputs.close.shape
        self._equity, self._cash = np.zeros(shape[0]), np.full(shape[0], float(assumptions.capital_usd))
        self._shares, self._income, self._flows = np.zeros(shape), np.zeros(shape), np.zeros((shape[0], 4))
        self._close = np.zeros(shape[1])  # last known close, of the session before
        self._records: list[tuple[float, ...]] = []
        self._waiting: tuple[int, list[Any]] = (-1, [])
        self._due: tuple[int, list[Any]] = (-1, [])
        self._at = -1

    def placed(self, at: int, orders: list[Any]) -> None:
        """Remember the orders that were placed at the close of a session; those placed before are due."""
        self._due, self._waiting = self._waiting, (at, orders)

    def start_of_session(self, ledger: Any, session: Any, data_portal: Any) -> None:
        """Zipline has just paid the dividends of the session; splits follow."""
        self._at = at = self._at + 1
        if not at:
            return
        before = self._shares[at - 1]
        self._flows[at, 0] = float(ledger.portfolio.cash) - self._cash[at - 1]
        if at in self._inputs.dividends:
            self._income[at] += before * self._inputs.dividends[at]
        part = self._inputs.year_fraction[at]
        borrow = np.where(before < 0, before * self._close, 0.0) * self._assumed.borrow_rate * part
        self._income[at] += borrow
        self._flows[at, 2] = borrow.sum()
        self._flows[at, 3] = min(self._cash[at - 1], 0.0) * self._assumed.debit_rate * part
        charged = self._flows[at, 2] + self._flows[at, 3]
        if charged:
            ledger.capital_change(charged)

    def end_of_session(self, packet: Any, ledger: Any, session: Any, session_ix: int, data_portal: Any) -> None:
        """Copy the books, and enter what came of the orders that were due."""
        at, portfolio = self._at, ledger.portfolio
        self._equity[at], self._cash[at] = float(portfolio.portfolio_value), float(portfolio.cash)
        for asset, position in ledger.position_tracker.positions.items():
            self._shares[at, asset.sid] = position.amount
        fills = ledger.transactions()
        by_order = {fill["order_id"]: fill for fill in fills}
        spent = sum(float(fill["amount"]) * float(fill["price"]) for fill in fills)
        spent += self._enter(at, by_order)
        if at in self._inputs.splits:
            before = self._cash[at - 1] + self._flows[at].sum()
            self._fractions(at, float(self._cash[at] - before + spent), fills)
        traded = ~np.isnan(self._inputs.close[at])
        self._close = np.where(traded, self._inputs.close[at], self._close)

    def books(self, marks: Array) -> Books:
        """What was read, with the orders that wait at the end."""
        decided, orders = self._waiting
        for order in orders:
            self._records.append((decided, -1, order.asset.sid, order.amount, 0.0, np.nan, 0.0, 0.0))
        records = np.array(self._records, dtype=float).reshape(-1, 8)
        return Books(self._equity, self._cash, self._shares, marks, self._income, self._flows, records)

    def _enter(self, at: int, by_order: dict[Any, Any]) -> float:
        """One record for each order that was due; their fees in USD."""
        decided, orders = self._due
        paid = 0.0
        for order in orders:
            fill = by_order.get(order.id)
            if fill is None and not order.amount:  # a reverse split left nothing of it
                continue
            price, filled = (float(fill["price"]), float(fill["amount"])) if fill else (np.nan, 0.0)
            fee = float(order.commission)
            self._records.append((decided, at, order.asset.sid, order.amount, filled, price, fee, 0.0))
            paid += fee
        if None in by_order:  # zipline's close-out of a delisted asset
            fill = by_order[None]
            amount = float(fill["amount"])
            self._records.append((at - 1, at, fill["sid"].sid, amount, amount, float(fill["price"]), 0.0, 1.0))
        return paid

    def _fractions(self, at: int, paid: float, fills: Sequence[Any]) -> None:
        """What zipline paid for the fractions that splits left, by symbol."""
        self._flows[at, 1] = paid
        exact = self._shares[at - 1] * self._inputs.splits[at]
        over = np.abs(exact - np.trunc(exact)) * self._close / self._inputs.splits[at]
        if over.sum() > 0.0:
            self._income[at] += paid * over / over.sum()


def asset_finder(inputs: Inputs, assumptions: Assumptions, exchange: str) -> Any:
    """An asset database in memory; the sid of a symbol is its position."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    sessions = inputs.sessions
    ends = pd.Series(sessions[-1], index=range(len(inputs.symbols)))
    closes = pd.Series(pd.NaT, index=ends.index, dtype="datetime64[ns]")
    if assumptions.delisting == "last_close":
        for sid in np.flatnonzero(inputs.delisted >= 0).tolist():
            closes[sid] = sessions[inputs.delisted[sid]]
    equities = pd.DataFrame(
        {
            "symbol": list(inputs.symbols),
            "asset_name": list(inputs.symbols),
            "start_date": sessions[0],
            "end_date": ends,
            "auto_close_date": closes,
            "exchange": exchange,
        }
    )
    exchanges = pd.DataFrame({"exchange": [exchange], "canonical_name": [exchange], "country_code": ["US"]})
    with warnings.catch_warnings():
        # zipline-reloaded 3.2.1 groups a frame the way pandas 3 will not; the result is right in 2.3.
        warnings.filterwarnings("ignore", message="DataFrameGroupBy.apply", category=FutureWarning)
        AssetDBWriter(engine).write(equities=equities, exchanges=exchanges)
    return AssetFinder(engine)


def adjustment_reader(inputs: Inputs) -> Any:
    """Splits and dividends in memory, in zipline's own tables.

    A dividend is paid on its ex-date, the only date known. The table of dividend *price* adjustments
    stays empty, because positions are marked on raw prices.
    """
    writer = SQLiteAdjustmentWriter(sqlite3.connect(":memory:"), equity_daily_bar_reader=None)
    # Table by table, and each once: an empty table is made with text columns, to which rows appended
    # later compare as text, so that zipline would find no dividend.
    writer.write_frame("splits", _splits(inputs))
    writer.write_frame("mergers", None)
    writer.write_frame("dividends", None)
    writer.write_dividend_payouts(_dividends(inputs))
    writer.write_stock_dividend_payouts(None)
    return SQLiteAdjustmentReader(writer.conn)


def equities(finder: Any, count: int) -> list[Asset]:
    return list(finder.retrieve_all(range(count)))


def _splits(inputs: Inputs) -> pd.DataFrame:
    rows = [
        (inputs.sessions[at], 1.0 / float(ratios[sid]), int(sid))  # zipline's ratio is that of the price
        for at, ratios in sorted(inputs.splits.items())
        for sid in np.flatnonzero(ratios != 1.0)
    ]
    return pd.DataFrame(rows, columns=["effective_date", "ratio", "sid"])


def _dividends(inputs: Inputs) -> pd.DataFrame:
    rows = []
    for at, amounts in sorted(inputs.dividends.items()):
        day = int(inputs.sessions[at].timestamp())
        rows += [(int(sid), day, day, day, day, float(amounts[sid])) for sid in np.flatnonzero(amounts)]
    columns = ["sid", "ex_date", "declared_date", "record_date", "pay_date", "amount"]
    return pd.DataFrame(rows, columns=columns)
