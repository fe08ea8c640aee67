"""What every venue looks like to the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from workbench.domain import Activity, Fill, Order, OrderIntent


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """Cash (USD) and holdings (symbol to shares) as the venue states them, at the close of ``session``."""

    cash: Decimal
    holdings: dict[str, Decimal]
    session: date | None


class Broker(Protocol):
    """One account at one venue. Prices, quantities and cash are ``Decimal``."""

    name: str

    def advance(self, session: date) -> None:
        """Carry the venue to the close of ``session``: a simulated one trades it, a real one is there."""
        ...

    def submit(self, intent: OrderIntent) -> Order:
        """Send one order, once.

        Raises
        ------
        OrderRejected
            The venue refused it definitively.
        OrderUnknown
            It may have arrived: look it up with :meth:`order`, never send it under another id.
        BrokerUnavailable
            It was certainly not sent.
        """
        ...

    def order(self, client_order_id: str) -> Order | None:
        """The order under that id, or None if the venue never got it."""
        ...

    def open_orders(self) -> Sequence[Order]:
        """Every order that may still fill."""
        ...

    def cancel(self, client_order_id: str) -> Order | None:
        """Cancel an order if it is still open; the order as it then stands."""
        ...

    def fills(self, after: str | None = None) -> Sequence[Fill]:
        """Executions in the venue's order, after the fill with that id."""
        ...

    def activities(self, after: str | None = None) -> Sequence[Activity]:
        """Dividends, splits and deposits in the venue's order, after the activity with that id."""
        ...

    def account(self) -> BrokerAccount:
        """Cash and holdings as the venue states them."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
