"""Frozen values that every room shares. Prices, quantities and cash are ``Decimal``; sessions are naive dates."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """+1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"

    @property
    def has_limit(self) -> bool:
        """Whether the order names a worst price."""
        return self in {OrderType.LIMIT, OrderType.STOP_LIMIT}

    @property
    def has_stop(self) -> bool:
        """Whether the order waits for a fixed stop price."""
        return self in {OrderType.STOP, OrderType.STOP_LIMIT}


class TimeInForce(StrEnum):
    """How long an order stands: one session (``day``), until cancelled (``gtc``), or one auction (``opg``, ``cls``)."""

    DAY = "day"
    GTC = "gtc"
    OPG = "opg"
    CLS = "cls"


class OrderState(StrEnum):
    """Life of an order. "Denied" is our own refusal, "rejected" the venue's."""

    INTENDED = "intended"
    DENIED = "denied"
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to the order any more."""
        return self in _FINAL

    @property
    def may_fill(self) -> bool:
        """Whether the order may still fill at the venue, so that limits must count it in full."""
        return self in _MAY_FILL


_FINAL = frozenset({OrderState.DENIED, OrderState.REJECTED, OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED})
_MAY_FILL = frozenset({OrderState.SUBMITTING, OrderState.UNKNOWN, OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})


class TradingState(StrEnum):
    """What the account may send: everything, only orders that reduce a position, or nothing."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


class ActivityKind(StrEnum):
    """What changed a position or cash without a trade.

    ``opening`` is what an account held when the journal first saw it; ``other`` whatever a venue reports that
    has no name here.
    """

    DIVIDEND = "dividend"
    SPLIT = "split"
    CASH_IN_LIEU = "cash_in_lieu"
    DEPOSIT = "deposit"
    FEE = "fee"
    INTEREST = "interest"
    OPENING = "opening"
    OTHER = "other"

    @property
    def is_flow(self) -> bool:
        """Whether it moves money in or out of the account, which is neither profit nor loss."""
        return self in {ActivityKind.DEPOSIT, ActivityKind.OPENING}


@dataclass(frozen=True, slots=True)
class Target:
    """What a strategy wants to hold: a weight of equity, and the whole shares planned for it.

    ``price`` is the raw close of the session decided on, in USD; ``held`` is the quantity before.
    """

    symbol: str
    weight: Decimal
    price: Decimal
    held: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Bracket:
    """Exits that stand from the moment the entry fills; one filling cancels the other. Prices in USD.

    ``stop_loss_limit`` makes the stop a stop-limit order.
    """

    take_profit: Decimal
    stop_loss: Decimal
    stop_loss_limit: Decimal | None = None


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """An order as proposed by a notebook. ``reference_price`` is the price it was sized on, in USD.

    ``notional_usd`` asks for an amount instead of shares; ``quantity`` is then the amount over the reference price.
    ``replaces`` names the order whose place this one takes: quantity and prices may differ, nothing else.
    A trailing stop has either ``trail_price`` (USD) or ``trail_percent`` (1 is one per cent).
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    reference_price: Decimal
    strategy: str
    sequence: int
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.DAY
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    notional_usd: Decimal | None = None
    bracket: Bracket | None = None
    replaces: str | None = None

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Decision:
    """What the risk gates said of one intent. ``gate`` names the gate that refused; empty if none did."""

    approved: bool
    gate: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the venue sees it. ``average_price`` is None until something filled.

    ``parent_id`` is the client order id of the entry that a bracket's exit belongs to; ``venue_state`` is the
    venue's own word for the state.
    """

    broker_order_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType
    limit_price: Decimal | None
    time_in_force: TimeInForce
    state: OrderState
    filled_quantity: Decimal
    average_price: Decimal | None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    notional_usd: Decimal | None = None
    parent_id: str | None = None
    replaced_by: str | None = None
    venue_state: str = ""

    @property
    def open_quantity(self) -> Decimal:
        """Shares that may still fill; zero once the order is final."""
        return Decimal(0) if self.state.is_final else self.quantity - self.filled_quantity

    @property
    def is_exit(self) -> bool:
        """Whether it is a bracket's exit, which waits for its price and shares its shares with the other exit."""
        return self.parent_id is not None


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. ``fill_id`` is the venue's and unique per broker; ``fee`` is in USD and positive."""

    fill_id: str
    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    session: date
    at: datetime

    @property
    def cash_delta(self) -> Decimal:
        """What the fill does to cash, in USD: price times quantity, signed, less the fee."""
        return -self.side.sign * self.quantity * self.price - self.fee


@dataclass(frozen=True, slots=True)
class Activity:
    """A change of position or cash that is not a trade. ``symbol`` is empty where it concerns cash alone."""

    activity_id: str
    kind: ActivityKind
    symbol: str
    session: date
    quantity_delta: Decimal
    cash_delta: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """Shares held of one symbol and the raw close (USD) they are valued at."""

    symbol: str
    quantity: Decimal
    price: Decimal

    @property
    def value(self) -> Decimal:
        return self.quantity * self.price


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One account at the close of ``session``: the only feedback a job reads, once, at its start."""

    account: str
    session: date
    cash: Decimal
    positions: Mapping[str, Position] = field(default_factory=lambda: MappingProxyType({}))
    open_orders: tuple[Order, ...] = ()

    @property
    def equity(self) -> Decimal:
        """Cash plus the value of all positions, in USD."""
        return self.cash + sum((p.value for p in self.positions.values()), Decimal(0))

    def quantity(self, symbol: str) -> Decimal:
        """Shares held of ``symbol``; zero if none."""
        position = self.positions.get(symbol)
        return position.quantity if position else Decimal(0)

    def expected(self, symbol: str) -> Decimal:
        """Shares held once every order that may still be sent or filled has filled."""
        waiting = (o.side.sign * o.open_quantity for o in self.open_orders if o.symbol == symbol and not o.is_exit)
        return self.quantity(symbol) + sum(waiting, Decimal(0))


def is_positive(value: Decimal | None) -> bool:
    """Whether a value is a finite number above zero; comparing NaN itself would raise.

    >>> [is_positive(v) for v in (Decimal(1), Decimal(0), Decimal("NaN"), Decimal("Infinity"), None)]
    [True, False, False, False, False]
    """
    return value is not None and value.is_finite() and value > 0


def client_order_id(
    account: str,
    pipeline: str,
    session: date,
    amendment: int,
    strategy: str,
    symbol: str,
    side: Side,
    sequence: int,
) -> str:
    """Derive the id under which an order is known for ever: a rerun proposes the very same one.

    At most 48 characters (Alpaca's limit); a readable head and a hash of all eight parts.

    >>> client_order_id("paper", "daily", date(2013, 1, 2), 0, "momentum", "AAPL", Side.BUY, 0)
    'daily-20130102-AAPL-buy-deb958d11913d1fb'
    """
    parts = (
        account,
        pipeline,
        session.isoformat(),
        str(amendment),
        strategy,
        symbol,
        side.value,
        str(sequence),
    )
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]
    head = f"{pipeline[:10]}-{session:%Y%m%d}-{symbol[:6]}-{side.value}"
    return f"{head}-{digest}"
