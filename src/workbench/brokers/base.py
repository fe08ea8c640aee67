"""What every venue looks like to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from workbench.domain import Activity, Fill, Order, OrderIntent


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """Cash (USD) and holdings (symbol to shares) as the venue states them; ``session`` is the one it is at."""

    cash: Decimal
    holdings: dict[str, Decimal]
    session: date | None


@dataclass(frozen=True, slots=True)
class Feed:
    """What happened at the venue, oldest first. ``cursor`` is where the next call goes on from."""

    fills: Sequence[Fill]
    activities: Sequence[Activity]
    cursor: str


@dataclass(frozen=True, slots=True)
class Pace:
    """What the venue's rate headers said last: calls left, and seconds until they are given back."""

    remaining: int
    reset_s: float


class Broker(Protocol):
    """One account at one venue. Prices, quantities and cash are ``Decimal``.

    Every call can raise ``BrokerUnavailable`` (nothing was done, it may be repeated) and its ``RateLimited``.
    """

    name: str

    def advance(self, session: date) -> None:
        """Carry the venue to the close of ``session``: a simulated one trades it, a real one must be there.

        Raises
        ------
        ConfigError
            If the venue is past that session, or a real one has not reached it.
        """
        ...

    def submit(self, intent: OrderIntent) -> Order:
        """Send one order, once; one that ``replaces`` another as a replacement of it.

        Raises
        ------
        OrderRejected
            The venue refused it definitively.
        OrderUnknown
            It may have arrived: look it up with :meth:`order`, never send it under another id.
        BrokerUnavailable
            It was certainly not accepted.
        """
        ...

    def order(self, client_order_id: str) -> Order | None:
        """The order under that id, or None if the venue never got it."""
        ...

    def open_orders(self) -> Sequence[Order]:
        """Every order that may still fill, exits of brackets included, whoever sent it."""
        ...

    def cancel(self, client_order_id: str) -> Order | None:
        """Ask to cancel an order; the order as it then stands, which can still be open. None if there is none."""
        ...

    def opening(self) -> tuple[BrokerAccount, str] | None:
        """What the account holds and the cursor of that moment; None if the feed tells its whole history."""
        ...

    def feed(self, cursor: str | None) -> Feed:
        """Executions, dividends, splits, fees and deposits since ``cursor``; all there are without one."""
        ...

    def drop_copy(self, since: date) -> Sequence[Fill]:
        """Every execution of the sessions from ``since`` on, as the venue states it now: a busted one is gone."""
        ...

    def account(self) -> BrokerAccount:
        """Cash and holdings as the venue states them."""
        ...

    def clock(self) -> datetime | None:
        """The venue's clock (UTC); None where it has none of its own."""
        ...

    def pace(self) -> Pace | None:
        """What the venue said last of its rate limit; None if it said nothing."""
        ...

    def changed(self) -> bool:
        """Whether something may have happened since the last :meth:`feed`: announced by stream, or time to ask."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
