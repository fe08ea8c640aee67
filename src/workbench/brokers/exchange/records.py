"""What the exchange shows of itself: orders, holdings and the events of its stream, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from workbench.domain import Bracket, Fill, Order


class Phase(StrEnum):
    """Where the exchange is in its day: ``closed`` is after the close of its session, before the next open."""

    CLOSED = "closed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """An order with what only the venue knows. Times are UTC; ``replaces`` is the venue id of the order before it.

    ``order.replaced_by`` is the *venue* id of the order that took its place. ``legs`` are the exits of a bracket's
    entry, the take-profit first; ``extra`` is text that whoever submitted it had stored with it.
    """

    order: Order
    venue_id: str
    created_at: datetime
    updated_at: datetime
    filled_at: datetime | None
    canceled_at: datetime | None
    expired_at: datetime | None
    replaced_at: datetime | None
    replaces: str | None
    bracket: Bracket | None
    legs: tuple[OrderRecord, ...]
    extra: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Holding:
    """Shares held (negative: sold short) and what they cost in all, in USD without fees (negative: received)."""

    symbol: str
    quantity: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class VenueEvent:
    """What a stream tells, numbered without gaps. ``record`` and ``fill`` are as they were then.

    ``kind`` is new, fill, partial_fill, canceled, expired, replaced, trade_bust or trade_correct;
    ``position_quantity`` is what is held after an execution.
    """

    number: int
    kind: str
    record: OrderRecord
    fill: Fill | None
    position_quantity: Decimal | None
    at: datetime
