"""Alpaca's JSON <-> domain. Prices and quantities travel as decimal text, never as floats.

Source: Alpaca's OpenAPI document of the trading interface (schemas Order, CreateOrderRequest, PatchOrderRequest,
TradingActivities, NonTradeActivities). What an answer must have and has not raises ``ValueError`` or ``KeyError``.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from workbench.domain import (
    Activity,
    ActivityKind,
    Fill,
    Order,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from workbench.errors import OrderRejected

Json = dict[str, Any]

NEW_YORK = ZoneInfo("America/New_York")

# Every status of Alpaca's schema that is not simply "may still fill". done_for_day rests until tomorrow; calculated
# waits for settlement; held is a bracket's exit whose entry has not filled.
_FINAL_STATES = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "replaced": OrderState.CANCELED,
    "rejected": OrderState.REJECTED,
}
_OPEN_STATES = frozenset(
    {
        "new", "partially_filled", "done_for_day", "pending_cancel", "pending_replace", "accepted", "pending_new",
        "accepted_for_bidding", "stopped", "suspended", "calculated", "held",
    }
)  # fmt: skip
# How a status that is in neither list shows that it is final.
_ENDED_AT = (
    ("canceled_at", OrderState.CANCELED),
    ("expired_at", OrderState.EXPIRED),
    ("failed_at", OrderState.REJECTED),
    ("replaced_at", OrderState.CANCELED),
)

_KINDS = {
    "SPLIT": ActivityKind.SPLIT,
    "CIL": ActivityKind.CASH_IN_LIEU,
    "CSD": ActivityKind.DEPOSIT,
    "CSW": ActivityKind.DEPOSIT,
    "TRANS": ActivityKind.DEPOSIT,
    "JNLC": ActivityKind.DEPOSIT,
    "ACATC": ActivityKind.DEPOSIT,
    "ACATS": ActivityKind.DEPOSIT,
    "JNLS": ActivityKind.DEPOSIT,
    "FEE": ActivityKind.FEE,
    "CFEE": ActivityKind.FEE,
    "PTC": ActivityKind.FEE,
    "INT": ActivityKind.INTEREST,
    "INTNRA": ActivityKind.INTEREST,
    "INTTW": ActivityKind.INTEREST,
}
# Where qty is what the position changed by; at a dividend it is the shares that were paid on.
_MOVES_SHARES = frozenset(
    {
        "SPLIT", "ACATS", "CFEE", "FOPT", "JNLS", "MA", "NC", "OCT", "OPASN", "OPCA", "OPEXC", "OPEXP", "OPTRD",
        "REO", "REORG", "SPIN",
    }
)  # fmt: skip


def moment(text: str) -> datetime:
    """Read a timestamp; digits below a microsecond are dropped.

    >>> moment("2023-12-12T22:31:24.577215743Z").isoformat()
    '2023-12-12T22:31:24.577215+00:00'
    """
    stamp = datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)


def decimal_text(value: Decimal, what: str) -> str:
    """Write a number exactly, without an exponent.

    Raises
    ------
    OrderRejected
        If it is not finite: NaN and infinity never reach the wire.

    >>> decimal_text(Decimal("1E+2"), "quantity"), decimal_text(Decimal("10.50"), "limit price")
    ('100', '10.50')
    """
    if not value.is_finite():
        raise OrderRejected(f"{what} is {value}, which is not a number that can be sent")
    return f"{value:f}"


def order_body(intent: OrderIntent) -> Json:
    """The request that places an order.

    Raises
    ------
    OrderRejected
        If a number is missing or not finite.
    """
    body: Json = {
        "symbol": intent.symbol,
        "side": intent.side.value,
        "type": intent.type.value,
        "time_in_force": intent.time_in_force.value,
        "client_order_id": intent.client_order_id,
    }
    if intent.notional_usd is not None:
        body["notional"] = decimal_text(intent.notional_usd, "notional")
    else:
        body["qty"] = decimal_text(intent.quantity, "quantity")
    body |= _prices(intent)
    if intent.bracket is not None:
        exits = intent.bracket
        stop = {"stop_price": decimal_text(exits.stop_loss, "stop loss")}
        if exits.stop_loss_limit is not None:
            stop["limit_price"] = decimal_text(exits.stop_loss_limit, "limit of the stop loss")
        body["order_class"] = "bracket"
        body["take_profit"] = {"limit_price": decimal_text(exits.take_profit, "take profit")}
        body["stop_loss"] = stop
    return body


def replace_body(intent: OrderIntent, old: Order) -> Json:
    """The request that puts ``intent`` in the place of ``old``: what differs, and the new id.

    Raises
    ------
    OrderRejected
        If more than quantity, prices and time in force differ: Alpaca would keep the old ones unsaid.
    """
    if (intent.symbol, intent.side, intent.type) != (old.symbol, old.side, old.type):
        raise OrderRejected(
            f"a replacement of {old.client_order_id} must be a {old.type} order to {old.side} {old.symbol},"
            f" not a {intent.type} order to {intent.side} {intent.symbol}"
        )
    body: Json = {"client_order_id": intent.client_order_id}
    if intent.notional_usd is None and intent.quantity != old.quantity:
        body["qty"] = decimal_text(intent.quantity, "quantity")
    before = {"limit_price": old.limit_price, "stop_price": old.stop_price}
    before |= {"trail_price": old.trail_price, "trail_percent": old.trail_percent}
    for name, text in _prices(intent).items():
        if before[name] is None or Decimal(text) != before[name]:
            body["trail" if name.startswith("trail") else name] = text
    if intent.time_in_force is not old.time_in_force:
        body["time_in_force"] = intent.time_in_force.value
    return body


def order(
    raw: Json, *, parent_id: str | None = None, replaced_by: str | None = None, asked: Decimal | None = None
) -> Order:
    """An order as Alpaca states it.

    ``asked`` is the quantity a notional order was sized on: Alpaca states none until it filled.
    """
    filled = _number(raw, "filled_qty") or Decimal(0)
    limit, notional = _number(raw, "limit_price"), _number(raw, "notional")
    stated = _number(raw, "qty")
    quantity = stated or asked
    if quantity is None:
        quantity = notional / limit if notional and limit else filled
    state = _state(raw, stated, filled)
    if notional is not None and state is OrderState.FILLED:
        quantity = filled
    return Order(
        broker_order_id=_text(raw, "id"),
        client_order_id=_text(raw, "client_order_id"),
        symbol=raw.get("symbol") or "",  # an options spread of somebody else has none
        side=side(raw.get("side")),
        quantity=quantity,
        type=_type(raw, limit),
        limit_price=limit,
        time_in_force=_time_in_force(raw.get("time_in_force")),
        state=state,
        filled_quantity=filled,
        average_price=_number(raw, "filled_avg_price") if filled else None,
        stop_price=_number(raw, "stop_price"),
        trail_price=_number(raw, "trail_price"),
        trail_percent=_number(raw, "trail_percent"),
        notional_usd=notional,
        parent_id=parent_id,
        replaced_by=replaced_by,
        venue_state=str(raw.get("status") or ""),
    )


def fill(raw: Json, client_order_id: str) -> Fill:
    """An execution (activity FILL). Alpaca charges fees apart, as activities of their own."""
    at = moment(_text(raw, "transaction_time"))
    return Fill(
        fill_id=_text(raw, "id"),
        client_order_id=client_order_id,
        symbol=_text(raw, "symbol"),
        side=side(raw.get("side")),
        quantity=_required(raw, "qty"),
        price=_required(raw, "price"),
        fee=Decimal(0),
        session=at.astimezone(NEW_YORK).date(),
        at=at,
    )


def activity(raw: Json) -> Activity:
    """Anything that is not an execution. One that was taken back moved nothing."""
    name = _text(raw, "activity_type")
    kind = ActivityKind.DIVIDEND if name.startswith("DIV") else _KINDS.get(name, ActivityKind.OTHER)
    shares = _number(raw, "qty") if name in _MOVES_SHARES else None
    cash = _number(raw, "net_amount")
    if raw.get("status") == "canceled":
        shares = cash = None
    symbol = "" if kind is ActivityKind.FEE and not shares else raw.get("symbol") or ""
    return Activity(
        activity_id=_text(raw, "id"),
        kind=kind,
        symbol=symbol,
        session=date.fromisoformat(_text(raw, "date")[:10]),
        quantity_delta=shares or Decimal(0),
        cash_delta=cash or Decimal(0),
        at=moment(raw.get("created_at") or raw["date"]),
    )


def side(value: object) -> Side:
    """Buy or sell; Alpaca also writes sell_short and buy_minus."""
    if isinstance(value, str):
        if value.startswith("buy"):
            return Side.BUY
        if value.startswith("sell"):
            return Side.SELL
    raise ValueError(f"{value!r} is no side of an order")


def holding(raw: Json) -> tuple[str, Decimal]:
    """Symbol and shares of a position; negative when short."""
    shares = abs(_required(raw, "qty"))
    return _text(raw, "symbol"), -shares if raw.get("side") == "short" else shares


def cash(raw: Json) -> Decimal:
    """Cash of an account, in USD; negative on margin."""
    return _required(raw, "cash")


def _prices(intent: OrderIntent) -> Json:
    """The prices an order of that type names."""
    named: dict[str, Decimal | None] = {}
    if intent.type.has_limit:
        named["limit_price"] = intent.limit_price
    if intent.type.has_stop:
        named["stop_price"] = intent.stop_price
    if intent.type is OrderType.TRAILING_STOP:
        by_percent = intent.trail_percent is not None
        named["trail_percent" if by_percent else "trail_price"] = (
            intent.trail_percent if by_percent else intent.trail_price
        )
    prices = {}
    for name, value in named.items():
        what = name.replace("_", " ")
        if value is None:
            raise OrderRejected(f"a {intent.type} order needs a {what}")
        prices[name] = decimal_text(value, what)
    return prices


def _state(raw: Json, quantity: Decimal | None, filled: Decimal) -> OrderState:
    """Our word for the status. One that Alpaca invents later may still fill, unless the rest shows that it is over."""
    status = raw.get("status")
    if status in _FINAL_STATES:
        return _FINAL_STATES[status]
    if quantity and filled >= quantity:
        return OrderState.FILLED
    if status not in _OPEN_STATES:
        for stamp, state in _ENDED_AT:
            if raw.get(stamp):
                return state
    return OrderState.PARTIALLY_FILLED if filled else OrderState.ACCEPTED


def _type(raw: Json, limit: Decimal | None) -> OrderType:
    """The order type; one we do not know is somebody else's and counts by whether it names a worst price."""
    name = raw.get("type") or raw.get("order_type")
    if name in set(OrderType):
        return OrderType(name)
    return OrderType.LIMIT if limit is not None else OrderType.MARKET


def _time_in_force(name: object) -> TimeInForce:
    """How long it stands; ioc and fok are over at once, what we do not know counts as standing longest."""
    if name in set(TimeInForce):
        return TimeInForce(str(name))
    return TimeInForce.DAY if name in ("ioc", "fok") else TimeInForce.GTC


def _text(raw: Json, name: str) -> str:
    value = raw[name]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}")
    return value


def _required(raw: Json, name: str) -> Decimal:
    value = _number(raw, name)
    if value is None:
        raise ValueError(f"{name} is missing")
    return value


def _number(raw: Json, name: str) -> Decimal | None:
    value = raw.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal(value) if isinstance(value, str | int | Decimal) else Decimal("NaN")
    except InvalidOperation as error:
        raise ValueError(f"{name} is {value!r}") from error
    if not number.is_finite():
        raise ValueError(f"{name} is {value!r}")
    return number
