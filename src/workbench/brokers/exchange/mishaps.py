"""What a venue, or somebody else on the account, can do to one: busts, corrections, trades not asked for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from workbench.brokers.exchange.floor import Floor
from workbench.brokers.exchange.records import Phase
from workbench.brokers.exchange.store import Store
from workbench.brokers.exchange.ticket import Ticket, venue_id_of
from workbench.domain import Fill, OrderType, Side, TimeInForce
from workbench.errors import ConfigError, OrderRejected


class Mishaps:
    """Changes to the account that no order of its owner explains; inside the caller's transaction."""

    def __init__(self, floor: Floor, store: Store) -> None:
        self._floor = floor
        self._book = floor.book
        self._store = store

    def bust(self, fill_id: str) -> None:
        number, fill = self._fill(fill_id)
        self._store.db.execute("UPDATE fills SET busted=1 WHERE id=?", (number,))
        self._amend(fill, None)

    def correct(self, fill_id: str, price: Decimal | None, quantity: Decimal | None) -> None:
        number, fill = self._fill(fill_id)
        now = replace(
            fill,
            price=fill.price if price is None else price,
            quantity=fill.quantity if quantity is None else quantity,
        )
        self._store.db.execute(
            "UPDATE fills SET price=?, quantity=? WHERE id=?", (str(now.price), str(now.quantity), number)
        )
        self._amend(fill, now)

    def overfill(self, client_order_id: str, quantity: Decimal) -> None:
        ticket = self._book.ticket(client_order_id)
        if ticket is None:
            raise ConfigError(f"the exchange has no order {client_order_id}")
        before = self._store.fills_of(client_order_id)
        price = before[-1][1].price if before else self._book.quotes.price(ticket.symbol)
        assert price is not None  # it was listed when the order was taken
        self._floor.execute(ticket, ticket.open_quantity + quantity, price, self._moment())

    def manual_trade(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> Fill:
        book, held = self._book, self._book.held(symbol)
        if side is Side.SELL and not self._floor.house.shorting and quantity > held:
            raise OrderRejected(f"insufficient shares: {quantity} {symbol} to sell, {held} held")
        identifier, stamp = f"manual-{book.last_order + 1}", book.stamp()
        ticket = Ticket(
            book.last_order + 1, identifier, venue_id_of(book.account, book.last_order + 1), symbol, side, quantity,
            OrderType.MARKET, TimeInForce.DAY, book.session, stamp, stamp,
        )  # fmt: skip
        book.add(ticket)
        book.tell("new", ticket, stamp)
        return self._floor.execute(ticket, quantity, price, self._moment())

    def _moment(self) -> datetime:
        """The time of an execution outside the auctions, on the exchange's own days."""
        calendar, session = self._floor.house.calendar, self._book.session
        return calendar.open(session) if self._book.phase is Phase.OPEN else calendar.close(session)

    def _fill(self, fill_id: str) -> tuple[int, Fill]:
        number = int(fill_id[1:]) if fill_id[:1] == "f" and fill_id[1:].isdecimal() else 0
        fill = self._store.fill(number)
        if fill is None:
            raise ConfigError(f"the exchange has no fill {fill_id}")
        return number, fill

    def _amend(self, before: Fill, after: Fill | None) -> None:
        """Put a corrected execution, or none, in the place of one that was booked."""
        book, ticket = self._book, self._book.ticket(before.client_order_id)
        assert ticket is not None
        book.unexecute(before)
        ticket.filled_quantity -= before.quantity
        ticket.filled_value -= before.quantity * before.price
        if after is None:
            ticket.fees -= before.fee
        else:
            book.reexecute(after)
            ticket.filled_quantity += after.quantity
            ticket.filled_value += after.quantity * after.price
        book.changed(ticket)
        kind = "trade_bust" if after is None else "trade_correct"
        book.tell(kind, ticket, self._floor.house.clock.now(), after or before)
