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


class TimeInForce(StrEnum):
    """How long an order stands: through one session (``day``) or its opening auction only (``opg``)."""

    DAY = "day"
    OPG = "opg"


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
    """What changed a position or cash without a trade."""

    DIVIDEND = "dividend"
    SPLIT = "split"
    CASH_IN_LIEU = "cash_in_lieu"
    DEPOSIT = "deposit"


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
class OrderIntent:
    """An order as proposed by a notebook. ``reference_price`` is the price it was sized on, in USD."""

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
    """An order as the venue sees it. ``average_price`` is None until something filled."""

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
    """A change of position or cash that is not a trade: dividend, split, cash in lieu, deposit."""

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
        waiting = (o.side.sign * (o.quantity - o.filled_quantity) for o in self.open_orders if o.symbol == symbol)
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
