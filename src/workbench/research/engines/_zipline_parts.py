"""The pieces that zipline is driven with. Imports zipline: load it only where a simulation runs."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool
from zipline.assets import Asset, AssetDBWriter, AssetFinder
from zipline.data.adjustments import SQLiteAdjustmentReader, SQLiteAdjustmentWriter
from zipline.data.bar_reader import NoDataForSid, NoDataOnDate
from zipline.data.session_bars import CurrencyAwareSessionBarReader
from zipline.finance.slippage import SlippageModel
from zipline.finance.transaction import create_transaction

from workbench.research.inputs import Array, Inputs


class SessionBars(CurrencyAwareSessionBarReader):  # type: ignore[misc]  # zipline has no types
    """Daily bars in memory: arrays of sessions x sids, a sid being the position of its symbol.

    zipline's own ``InMemoryDailyBarReader`` cannot serve a simulation: its ``get_value`` reads an
    attribute that does not exist (zipline-reloaded 3.2.1).
    """

    def __init__(self, values: Mapping[str, Array], sessions: pd.DatetimeIndex, calendar: Any) -> None:
        self._values = values
        self._sessions = sessions
        self._calendar = calendar
        self._row = {int(stamp.value): row for row, stamp in enumerate(sessions)}

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


class NextOpenSlippage(SlippageModel):  # type: ignore[misc]  # zipline has no types
    """Fill a waiting market order in full at the session's open, moved against it by basis points.

    zipline calls this when the session has closed, and its stock models fill at that close; the open of
    the same session is what the order would have met, because it was placed at the close before.
    """

    def __init__(self, slippage_bps: float) -> None:
        super().__init__()
        self._slippage = slippage_bps / 10_000.0

    def simulate(self, data: Any, asset: Any, orders_for_asset: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield each fill; nothing if the symbol has no bar. Volume sets no limit."""
        opening = data.current(asset, "open")
        if np.isnan(opening):
            return
        for order in orders_for_asset:
            price, amount = self._priced(opening, order)
            if amount:
                yield order, create_transaction(order, data.current_dt, price, amount)

    def process_order(self, data: Any, order: Any) -> tuple[float, int]:
        """Price and signed quantity of a fill."""
        return self._priced(data.current(order.asset, "open"), order)

    def _priced(self, opening: float, order: Any) -> tuple[float, int]:
        return opening * (1.0 + order.direction * self._slippage), order.open_amount


class Books:
    """A zipline metric that only keeps the books at each close, which is all that is needed.

    zipline's default metrics recompute risk figures every session and cost several times the loop.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self.equity: list[float] = []
        self.cash: list[float] = []
        self.shares: list[Array] = []
        # session position, sid, signed quantity, price in USD, fee in USD
        self.fills: list[tuple[int, int, float, float, float]] = []

    def end_of_session(self, packet: Any, ledger: Any, session: Any, session_ix: int, data_portal: Any) -> None:
        portfolio = ledger.portfolio
        self.equity.append(float(portfolio.portfolio_value))
        self.cash.append(float(portfolio.cash))
        shares = np.zeros(self._width)
        for asset, position in ledger.position_tracker.positions.items():
            shares[asset.sid] = position.amount
        self.shares.append(shares)
        transactions = ledger.transactions()
        if not transactions:
            return
        fees = {order["id"]: float(order["commission"]) for order in ledger.orders()}
        for fill in transactions:
            fee = fees[fill["order_id"]]
            sid, amount, price = fill["sid"].sid, float(fill["amount"]), float(fill["price"])
            self.fills.append((session_ix, sid, amount, price, fee))


def asset_finder(symbols: Sequence[str], sessions: pd.DatetimeIndex, exchange: str) -> Any:
    """An asset database in memory; the sid of a symbol is its position."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    equities = pd.DataFrame(
        {
            "symbol": list(symbols),
            "asset_name": list(symbols),
            "start_date": sessions[0],
            "end_date": sessions[-1],
            "exchange": exchange,
        },
        index=range(len(symbols)),
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
