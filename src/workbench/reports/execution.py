"""Execution quality: what every order that was sent cost, and how long it took.

Prices and quantities are on the shares of the session that the order is judged in (``fill_session``, or
``close_session`` if nothing filled), so that a split on the way changes nothing. A cost is positive.

The arrival price is the last raw close at or before the session decided on, over the splits and without the
dividends that went ex since: a fall by the dividend is no bargain. Where the lake has no such close it is the
reference price of the order. As long as there are no minute bars, a session's VWAP is its typical price,
(high + low + close) / 3. An order that filled in several sessions is held against the mean of their prices,
weighted by the shares filled in each.

Exits that a venue made of a bracket were not sent by us and are left out.

Source: Perold (1988), The implementation shortfall: paper versus reality, Journal of Portfolio Management 14(3),
and its split into delay, trading, fees and opportunity by Kissell and Glantz (2003), Optimal Trading Strategies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.domain import OrderState, Side
from workbench.journal import Journal
from workbench.reports import schema
from workbench.reports.benchmarks import Prices, typical_price
from workbench.reports.sent import Sent, sent_orders
from workbench.reports.tables import Row

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.lake import Lake

_BPS = 10_000
_ZERO = Decimal(0)
_AS_JOURNALED = (
    "client_order_id", "run_id", "account", "pipeline", "strategy", "symbol", "side", "type", "time_in_force", "state",
)  # fmt: skip
_DTYPES = {
    "DECIMAL": "float64",
    "DOUBLE": "float64",
    "DATE": "datetime64[ns]",
    "TIMESTAMPTZ": "datetime64[ns, UTC]",
    "BOOLEAN": "bool",
}
# A slippage and the price it is relative to.
_WEIGHTS = {
    "slippage_arrival_bps": "arrival_price",
    "gap_bps": "arrival_price",
    "slippage_open_bps": "open_price",
    "slippage_vwap_bps": "vwap_price",
}
_DURATIONS = ("decision_to_send_s", "send_to_ack_s", "ack_to_fill_s")
# The venue's own words; that it does not have the order, or that we do not know, is no answer.
_ANSWERS = frozenset(
    {
        OrderState.ACCEPTED,
        OrderState.REJECTED,
        OrderState.PARTIALLY_FILLED,
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.EXPIRED,
    }
)


def executions(
    journal: Journal,
    lake: Lake | None,
    *,
    account: str | None = None,
    session: date | None = None,
    until: date | None = None,
    snapshot: int | None = None,
) -> list[Row]:
    """Every order that was sent, in the order of proposal, with what it cost against the market.

    Parameters
    ----------
    lake
        Where the market's prices come from; without them there are no costs.
    session
        The session the order was decided on.
    until
        The last session decided on to include.
    snapshot
        The lake snapshot to compare with; the newest if left out.

    Returns
    -------
    Rows with the columns of the table ``execution`` (:mod:`workbench.reports.schema`): prices, quantities, USD and
    basis points as ``Decimal``, durations in seconds as float. What is not known, or not yet, is None.

    ``ack_to_fill_s`` is None if the venue's time of the fill is simulated, which shows in its being before the order
    was sent, and 0 if the order filled before its acknowledgement reached us. Orders that were approved together are
    sent one after the other, and ``send_to_ack_s`` has the wait for their turn in it.

    Raises
    ------
    DataError
        If the lake cannot be read.

    Examples
    --------
    >>> from workbench.clock import SystemClock
    >>> with Journal(getfixture("tmp_path") / "journal.sqlite", SystemClock()) as journal:
    ...     executions(journal, None, account="paper")
    []
    """
    filters = {"i.account=?": account, "b.session=?": session, "b.session<=?": until}
    wanted = {condition: value for condition, value in filters.items() if value is not None}
    values = [value.isoformat() if isinstance(value, date) else value for value in wanted.values()]
    return executions_where(journal, lake, " AND ".join(["1=1", *wanted]), values, snapshot=snapshot)


def executions_where(
    journal: Journal, lake: Lake | None, where: str, values: Sequence[object], *, snapshot: int | None = None
) -> list[Row]:
    """:func:`executions` by a condition on ``i`` (intents) and ``b`` (batches)."""
    orders = sent_orders(journal, where, values)
    if not orders:
        return []
    prices = None
    if lake is not None and not lake.is_empty():
        symbols, first = {order.symbol for order in orders}, min(order.decided for order in orders)
        prices = Prices.read(lake, sorted(symbols), first, snapshot=snapshot)
    return [_row(order, prices) for order in orders]


def frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows of :func:`executions` for research: indexed by client_order_id, numbers as floats, NaN or NaT for None.

    Sessions are datetime64, moments datetime64 in UTC.
    """
    import pandas as pd

    types = {column.name: column.type.partition("(")[0] for column in schema.EXECUTION.columns}
    columns = {
        name: pd.Series([row[name] for row in rows], dtype=_DTYPES.get(kind, "object")) for name, kind in types.items()
    }
    return pd.DataFrame(columns).set_index("client_order_id")


def by(orders: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """What orders (:func:`frame`) cost and how long they took, by one or several of their columns.

    Returns
    -------
    One row per group, all orders in one row without keys: ``orders``; ``waiting``, those that may still fill;
    ``filled_share``, the fraction of what the others wanted that filled, by value at reference prices;
    ``traded_usd``; ``slippage_arrival_bps``, ``gap_bps``, ``slippage_open_bps`` and ``slippage_vwap_bps``, weighted
    by value, positive is a cost; ``fee_bps`` of the value traded; ``fee_usd``, ``opportunity_usd`` and
    ``shortfall_usd``, sums over what is known; median and 95th percentile (linear between two orders) of each
    duration in seconds.
    """
    import pandas as pd

    groups = [orders[key] for key in keys] or [pd.Series("all orders", orders.index, name="")]
    sums = _summands(orders).groupby(groups, dropna=False).sum()
    table = sums[["orders", "waiting"]].copy()
    table["filled_share"] = sums["got"] / sums["wanted"]
    table["traded_usd"] = sums["traded_usd"]
    for name in _WEIGHTS:
        table[name] = sums[f"{name} cost"] / sums[f"{name} of"]
    table["fee_bps"] = sums["fee_usd"] / sums["traded_usd"] * _BPS
    for name in ("fee_usd", "opportunity_usd", "shortfall_usd"):
        table[name] = sums[name]
    for name in _DURATIONS:
        times = orders[name].groupby(groups, dropna=False)
        table[f"{name.removesuffix('_s')}_median_s"] = times.median()
        table[f"{name.removesuffix('_s')}_p95_s"] = times.quantile(0.95)
    return table


def worst(orders: pd.DataFrame, cost: str = "shortfall_usd", most: int = 10) -> pd.DataFrame:
    """The orders (:func:`frame`) that cost most, dearest first; ``cost`` is one of the columns in USD or bps."""
    return orders[orders[cost] > 0].nlargest(most, cost)


def _summands(orders: pd.DataFrame) -> pd.DataFrame:
    """What :func:`by` adds up, order by order; NaN counts for nothing."""
    import pandas as pd

    filled, wanted = orders["filled_quantity"], orders["filled_quantity"] + orders["unfilled_quantity"]
    waiting = orders["state"].isin([state.value for state in OrderState if state.may_fill])
    parts = {
        "orders": pd.Series(1, orders.index),
        "waiting": waiting.astype("int64"),
        "got": (filled * orders["reference_price"]).where(~waiting),
        "wanted": (wanted * orders["reference_price"]).where(~waiting),
        "traded_usd": filled * orders["fill_price"],
        "fee_usd": orders["fee"],
        "opportunity_usd": orders["opportunity_usd"],
        "shortfall_usd": orders["shortfall_usd"],
    }
    for name, price in _WEIGHTS.items():
        parts[f"{name} of"] = (filled * orders[price]).where(orders[name].notna())
        parts[f"{name} cost"] = parts[f"{name} of"] * orders[name]
    return pd.DataFrame(parts)


@dataclass(frozen=True, slots=True)
class _Values:
    """What filled, in USD: as paid, and at each benchmark (None where there is none)."""

    paid: Decimal
    arrival: Decimal | None
    open: Decimal | None
    vwap: Decimal | None


def _row(order: Sent, prices: Prices | None) -> Row:
    row = order.row
    judged = order.fill_session or order.close_session or order.decided
    if prices is not None and not prices.reach(order.symbol, judged):
        prices = None  # a split may be missing too
    ratio = _Ratio(order.symbol, judged, prices)
    filled = sum((part.quantity * ratio(part.session) for part in order.fills), _ZERO)
    unfilled = _unfilled(order, ratio)
    close_session = order.close_session or order.fill_session if unfilled and order.state.is_final else None
    values = _values(order, prices)
    arrival, source = (None, None) if prices is None else _arrival(order, prices, judged)
    close = None if prices is None or close_session is None else _close(order.symbol, prices, close_session)
    fee = sum((part.fee for part in order.parts), _ZERO)
    return {
        **{name: row[name] for name in _AS_JOURNALED},
        "broker": order.parts[0].broker if order.parts else order.broker,
        "session": order.decided,
        "fill_session": order.fill_session,
        "close_session": close_session,
        "quantity": Decimal(row["quantity"]) * ratio(order.decided),
        "filled_quantity": filled,
        "unfilled_quantity": unfilled,
        "reference_price": Decimal(row["reference_price"]) / ratio(order.decided),
        "arrival_price": _over(values.arrival, filled) if filled else arrival,
        "arrival_source": source,
        "open_price": _over(values.open, filled),
        "vwap_price": _over(values.vwap, filled),
        "vwap_source": "typical price" if filled and values.vwap is not None else None,
        "fill_price": _over(values.paid, filled),
        "close_price": close,
        "fee": fee,
        **_times(order),
        **_costs(Side(row["side"]), values, fee, _missed(order, unfilled, arrival, close)),
        "final": prices is not None and order.state.is_final and (not unfilled or close_session is not None),
    }


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Shares of the session judged in for one share of another; 1 where splits are not known."""

    symbol: str
    judged: date
    prices: Prices | None

    def __call__(self, session: date) -> Decimal:
        return Decimal(1) if self.prices is None else self.prices.split_ratio(self.symbol, session, self.judged)


def _unfilled(order: Sent, ratio: _Ratio) -> Decimal:
    """Shares that the order asked for and that did not fill, or are still to fill.

    An order that the venue calls filled lacks only what was taken back later: a split may have rounded its size.
    """
    if order.replaced:
        return _ZERO
    if order.state is OrderState.FILLED:
        missing = sum(((part.told - part.quantity) * ratio(part.session) for part in order.parts), _ZERO)
    else:
        wanted = Decimal(order.row["quantity"]) * ratio(order.decided)
        missing = wanted - sum((part.quantity * ratio(part.session) for part in order.parts), _ZERO)
    return max(missing, _ZERO)


def _values(order: Sent, prices: Prices | None) -> _Values:
    paid = sum((part.value for part in order.fills), _ZERO)
    if prices is None:
        return _Values(paid, None, None, None)
    arrival, opened, vwap = _ZERO, _ZERO, _ZERO
    complete = True
    for part in order.fills:
        arrival += part.quantity * _arrival(order, prices, part.session)[0]
        bar = prices.bar(order.symbol, part.session)
        if bar is None:
            complete = False
        else:
            opened += part.quantity * bar.open
            vwap += part.quantity * typical_price(bar)
    return _Values(paid, arrival, opened if complete else None, vwap if complete else None)


def _arrival(order: Sent, prices: Prices, through: date) -> tuple[Decimal, str]:
    """The market's price when the order was sent, as it compares with ``through``, and where it is from."""
    last = prices.last_close(order.symbol, order.decided)
    since, price = last or (order.decided, Decimal(order.row["reference_price"]))
    return prices.carried(order.symbol, price, since, through), "close" if last else "reference"


def _close(symbol: str, prices: Prices, session: date) -> Decimal | None:
    last = prices.last_close(symbol, session)
    return None if last is None else last[1] / prices.split_ratio(symbol, last[0], session)


def _missed(order: Sent, unfilled: Decimal, arrival: Decimal | None, close: Decimal | None) -> Decimal | None:
    """What not having traded the rest cost by the close, in USD; None while it may still trade, or without prices."""
    if not unfilled and order.state.is_final:
        return _ZERO
    by_share = _cost(Side(order.row["side"]), close, arrival)
    return None if by_share is None else unfilled * by_share


def _costs(side: Side, values: _Values, fee: Decimal, missed: Decimal | None) -> Row:
    delay, trading = _cost(side, values.open, values.arrival), _cost(side, values.paid, values.open)
    executed = _cost(side, values.paid, values.arrival)
    return {
        "slippage_arrival_bps": _bps(executed, values.arrival),
        "gap_bps": _bps(delay, values.arrival),
        "slippage_open_bps": _bps(trading, values.open),
        "slippage_vwap_bps": _bps(_cost(side, values.paid, values.vwap), values.vwap),
        "fee_bps": _bps(fee, values.paid),
        "delay_usd": delay,
        "trading_usd": trading,
        "opportunity_usd": missed,
        "shortfall_usd": None if executed is None or missed is None else executed + fee + missed,
    }


def _times(order: Sent) -> Row:
    events = order.events
    sent = max(n for n, (state, _) in enumerate(events) if state is OrderState.SUBMITTING)
    decided, approved = events[0][1], events[sent][1]
    acknowledged = next((at for state, at in events[sent:] if state in _ANSWERS), None)
    moments = [part.at for part in order.fills]
    first = min(moments, default=None)
    waited = None
    if acknowledged is not None and first is not None and first >= approved:
        waited = max((first - acknowledged).total_seconds(), 0.0)
    return {
        "decided_at": decided,
        "approved_at": approved,
        "acknowledged_at": acknowledged,
        "first_fill_at": first,
        "last_fill_at": max(moments, default=None),
        "decision_to_send_s": (approved - decided).total_seconds(),
        "send_to_ack_s": None if acknowledged is None else (acknowledged - approved).total_seconds(),
        "ack_to_fill_s": waited,
    }


def _cost(side: Side, paid: Decimal | None, benchmark: Decimal | None) -> Decimal | None:
    """What a side loses by ``paid`` instead of the benchmark."""
    if paid is None or benchmark is None:
        return None
    return paid - benchmark if side is Side.BUY else benchmark - paid


def _over(value: Decimal | None, shares: Decimal) -> Decimal | None:
    return None if value is None or not shares else value / shares


def _bps(cost: Decimal | None, value: Decimal | None) -> Decimal | None:
    return None if cost is None or not value else cost / value * _BPS
