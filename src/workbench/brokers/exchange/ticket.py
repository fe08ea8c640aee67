"""One order as the exchange works on it, and its way to and from a row of the database."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal
from functools import lru_cache
from typing import Any, Protocol

from workbench.brokers.exchange.records import OrderRecord
from workbench.brokers.matching import Terms
from workbench.domain import Bracket, Order, OrderState, OrderType, Side, TimeInForce

ZERO = Decimal(0)
SHARE = Decimal(1)
FRACTION = Decimal("1e-9")  # the smallest part of a share that is traded
_VENUE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAMESPACE = uuid.UUID("6d2c1f0e-6f0b-5f0a-9d3e-2f1c7c1d9a55")


class Row(Protocol):
    """A database row or a mapping: anything read by column name."""

    def __getitem__(self, key: str, /) -> Any: ...


@lru_cache(maxsize=16)
def _account_part(account: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, account))[:-12]


def venue_id_of(account: str, number: int) -> str:
    """The id under which the venue knows an order: a UUID of the account, whose last part is the order's number.

    >>> venue_id_of("paper", 26)
    'a21ae665-492c-53fa-9baa-00000000001a'
    """
    return f"{_account_part(account)}{number:012x}"


def number_of(venue_id: str) -> int:
    """The order's number in a venue id; zero if it has none.

    >>> number_of(venue_id_of("paper", 26)), number_of("nonsense")
    (26, 0)
    """
    return int(venue_id[-12:], 16) if _VENUE_ID.fullmatch(venue_id) else 0


def unit_of(quantity: Decimal) -> Decimal:
    """The steps in which a quantity is counted: whole shares stay whole."""
    return SHARE if quantity == quantity.to_integral_value() else FRACTION


def shares_for(notional: Decimal, price: Decimal) -> Decimal:
    """How many shares an amount of USD buys, down to nine decimals.

    >>> shares_for(Decimal(1000), Decimal(8)), shares_for(Decimal(1), Decimal(3))
    (Decimal('125'), Decimal('0.333333333'))
    """
    exact = (notional / price).quantize(FRACTION, ROUND_DOWN)
    return exact.quantize(SHARE) if exact == exact.to_integral_value() else exact


@dataclass(slots=True, eq=False)
class Ticket:
    """A working order. ``filled_value`` is price times quantity of its executions, ``fees`` what they were charged.

    ``held`` marks a bracket's exit whose entry has not filled yet; ``best`` is the best price a trailing stop has
    seen; ``filled_now`` counts what filled in the session going on.
    """

    id: int
    client_order_id: str
    venue_id: str
    symbol: str
    side: Side
    quantity: Decimal
    type: OrderType
    time_in_force: TimeInForce
    submitted: date
    created_at: datetime
    updated_at: datetime
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    notional: Decimal | None = None
    bracket: Bracket | None = None
    parent_id: str | None = None
    replaces: str | None = None
    replaced_by: str | None = None
    state: OrderState = OrderState.ACCEPTED
    held: bool = False
    triggered: bool = False
    best: Decimal | None = None
    filled_quantity: Decimal = ZERO
    filled_value: Decimal = ZERO
    fees: Decimal = ZERO
    filled_at: datetime | None = None
    canceled_at: datetime | None = None
    expired_at: datetime | None = None
    replaced_at: datetime | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    filled_now: Decimal = ZERO

    @property
    def is_open(self) -> bool:
        return self.state is OrderState.ACCEPTED or self.state is OrderState.PARTIALLY_FILLED

    @property
    def is_live(self) -> bool:
        """Whether it can fill now: open, and no exit whose entry is still to fill."""
        return self.is_open and not self.held

    @property
    def open_quantity(self) -> Decimal:
        return self.quantity - self.filled_quantity if self.is_open else ZERO

    @property
    def average_price(self) -> Decimal | None:
        return self.filled_value / self.filled_quantity if self.filled_quantity else None

    @property
    def terms(self) -> Terms:
        return Terms(
            self.side, self.type, self.limit_price, self.stop_price, self.trail_price, self.trail_percent,
            self.best, self.triggered,
        )  # fmt: skip

    def order(self) -> Order:
        """The order as every broker shows it."""
        return Order(
            broker_order_id=self.venue_id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            type=self.type,
            limit_price=self.limit_price,
            time_in_force=self.time_in_force,
            state=self.state,
            filled_quantity=self.filled_quantity,
            average_price=self.average_price,
            stop_price=self.stop_price,
            trail_price=self.trail_price,
            trail_percent=self.trail_percent,
            notional_usd=self.notional,
            parent_id=self.parent_id,
            replaced_by=self.replaced_by,
            venue_state=self._venue_state(),
        )

    def record(self, legs: Sequence[Ticket] = ()) -> OrderRecord:
        """The order with what only the venue knows, and the exits that belong to it."""
        return OrderRecord(
            order=self.order(),
            venue_id=self.venue_id,
            created_at=self.created_at,
            updated_at=self.updated_at,
            filled_at=self.filled_at,
            canceled_at=self.canceled_at,
            expired_at=self.expired_at,
            replaced_at=self.replaced_at,
            replaces=self.replaces,
            bracket=self.bracket,
            legs=tuple(leg.record() for leg in legs),
            extra=self.extra,
        )

    def _venue_state(self) -> str:
        if self.replaced_by is not None:
            return "replaced"
        if self.state is OrderState.ACCEPTED:
            return "held" if self.held else "new"
        return self.state.value

    # ---- rows ------------------------------------------------------------------------------------

    def values(self) -> list[str | int | None]:
        """What is stored, in the order of ``COLUMNS``."""
        return [
            self.id, self.client_order_id, self.venue_id, self.symbol, self.side.value, str(self.quantity),
            self.type.value, self.time_in_force.value, self.submitted.isoformat(), stamp_text(self.created_at),
            stamp_text(self.updated_at), _text(self.limit_price), _text(self.stop_price), _text(self.trail_price),
            _text(self.trail_percent), _text(self.notional), _exits_text(self.bracket), self.parent_id,
            self.replaces, self.replaced_by, self.state.value, int(self.held), int(self.triggered),
            _text(self.best), str(self.filled_quantity), str(self.filled_value), str(self.fees),
            _text(self.average_price), _time_text(self.filled_at), _time_text(self.canceled_at),
            _time_text(self.expired_at), _time_text(self.replaced_at), json.dumps(dict(self.extra)),
        ]  # fmt: skip

    @classmethod
    def from_row(cls, row: Row) -> Ticket:
        return cls(
            id=row["id"],
            client_order_id=row["client_order_id"],
            venue_id=row["venue_id"],
            symbol=row["symbol"],
            side=Side(row["side"]),
            quantity=Decimal(row["quantity"]),
            type=OrderType(row["type"]),
            time_in_force=TimeInForce(row["time_in_force"]),
            submitted=date.fromisoformat(row["submitted"]),
            created_at=datetime.fromisoformat(row["created_at"]),
            updated_at=datetime.fromisoformat(row["updated_at"]),
            limit_price=_decimal(row["limit_price"]),
            stop_price=_decimal(row["stop_price"]),
            trail_price=_decimal(row["trail_price"]),
            trail_percent=_decimal(row["trail_percent"]),
            notional=_decimal(row["notional"]),
            bracket=_bracket(row["bracket"]),
            parent_id=row["parent_id"],
            replaces=row["replaces"],
            replaced_by=row["replaced_by"],
            state=OrderState(row["state"]),
            held=bool(row["held"]),
            triggered=bool(row["triggered"]),
            best=_decimal(row["best"]),
            filled_quantity=Decimal(row["filled_quantity"]),
            filled_value=Decimal(row["filled_value"]),
            fees=Decimal(row["fees"]),
            filled_at=_moment(row["filled_at"]),
            canceled_at=_moment(row["canceled_at"]),
            expired_at=_moment(row["expired_at"]),
            replaced_at=_moment(row["replaced_at"]),
            extra=json.loads(row["extra"]),
        )


COLUMNS = (
    "id", "client_order_id", "venue_id", "symbol", "side", "quantity",
    "type", "time_in_force", "submitted", "created_at",
    "updated_at", "limit_price", "stop_price", "trail_price",
    "trail_percent", "notional", "bracket", "parent_id",
    "replaces", "replaced_by", "state", "held", "triggered",
    "best", "filled_quantity", "filled_value", "fees",
    "average_price", "filled_at", "canceled_at",
    "expired_at", "replaced_at", "extra",
)  # fmt: skip


def stamp_text(moment: datetime) -> str:
    """A time as stored: always with microseconds, so that text sorts as time does."""
    return moment.isoformat(timespec="microseconds")


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else stamp_text(moment)


def _exits_text(bracket: Bracket | None) -> str | None:
    if bracket is None:
        return None
    return json.dumps([str(bracket.take_profit), str(bracket.stop_loss), _text(bracket.stop_loss_limit)])


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _bracket(text: str | None) -> Bracket | None:
    if text is None:
        return None
    take_profit, stop_loss, limit = json.loads(text)
    return Bracket(Decimal(take_profit), Decimal(stop_loss), _decimal(limit))
