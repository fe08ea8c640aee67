"""The trading floor: executions, auctions, expiries and the exits of brackets, session by session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal

from workbench.brokers.exchange import corporate
from workbench.brokers.exchange.book import Book
from workbench.brokers.exchange.records import Phase
from workbench.brokers.exchange.ticket import ZERO, Ticket, shares_for, unit_of
from workbench.brokers.market import Bar
from workbench.brokers.matching import Costs, Meeting, at_price, in_range
from workbench.calendars import Calendar
from workbench.clock import Clock
from workbench.domain import Fill, OrderState, OrderType, Side, TimeInForce


@dataclass(frozen=True, slots=True)
class House:
    """The rules of one exchange. ``max_volume_share`` of a session's volume is the most of it that fills an order."""

    calendar: Calendar
    clock: Clock
    costs: Costs
    max_volume_share: Decimal | None = None
    fractional: bool = True
    shorting: bool = False


class Floor:
    """Where orders meet prices.

    In every auction and range, sells come before buys, the stops of brackets before other orders, so that of two
    exits in reach the stop is taken, and earlier orders before later ones.
    """

    def __init__(self, book: Book, house: House) -> None:
        self.book = book
        self.house = house
        self._in_range = False
        self._late: list[Ticket] = []

    # ---- a session -------------------------------------------------------------------------------

    def open_market(self, session: date) -> None:
        """Go to the open of ``session``: corporate actions, then the opening auction."""
        before = self.book.session
        self.book.move_to(session, Phase.OPEN)
        at = self.house.calendar.open(session)
        for ticket in self.book.tickets.values():
            ticket.filled_now = ZERO
        for action in self.book.quotes.market.actions(before, session):
            corporate.apply(self.book, action, at, lambda ticket: self.end(ticket, OrderState.EXPIRED, at))
        self._each(lambda t: t.time_in_force is not TimeInForce.CLS, self._meet_open)
        for ticket in list(self.book.tickets.values()):
            if ticket.time_in_force is TimeInForce.OPG:
                self.end(ticket, OrderState.EXPIRED, at)

    def close_market(self) -> None:
        """Go to the close: the session's range, the closing auction, and the end of the day's orders."""
        at = self.house.calendar.close(self.book.session)
        self._in_range = True
        self._each(lambda t: t.time_in_force is not TimeInForce.CLS, self._meet_range)
        self._in_range = False
        self._meet_late()
        self._each(lambda t: t.time_in_force is TimeInForce.CLS, self._meet_close)
        for ticket in list(self.book.tickets.values()):
            if ticket.time_in_force is not TimeInForce.GTC:
                self.end(ticket, OrderState.EXPIRED, at)
        self.book.move_to(self.book.session, Phase.CLOSED)

    def arrive(self, ticket: Ticket) -> None:
        """Let an order that became live while the market is open meet the price of the moment."""
        if self.book.phase is Phase.OPEN and ticket.is_live and ticket.time_in_force is not TimeInForce.CLS:
            self._meet_open(ticket)

    # ---- meetings --------------------------------------------------------------------------------

    def _each(self, wanted: Callable[[Ticket], bool], meet: Callable[[Ticket], None]) -> None:
        for ticket in sorted(filter(wanted, self.book.tickets.values()), key=_rank):
            if ticket.is_live:  # an execution before it may have ended it
                meet(ticket)

    def _meet_open(self, ticket: Ticket) -> None:
        bar = self.book.quotes.bar(ticket.symbol)
        if bar is not None:
            meeting = at_price(ticket.terms, bar.open, self.house.costs)
            self._settle(ticket, meeting, bar, self.house.calendar.open(self.book.session))

    def _meet_range(self, ticket: Ticket) -> None:
        bar = self.book.quotes.bar(ticket.symbol)
        if bar is not None:
            self._range(ticket, bar)

    def _meet_close(self, ticket: Ticket) -> None:
        bar = self.book.quotes.bar(ticket.symbol)
        if bar is not None:
            meeting = at_price(ticket.terms, bar.close, self.house.costs)
            self._settle(ticket, meeting, bar, self.house.calendar.close(self.book.session))

    def _meet_late(self) -> None:
        """Let the exits of entries that filled within the range meet what is left of it.

        Whether the best price came before the entry is unknown, so only the close counts for the better side.
        """
        late, self._late = self._late, []
        for ticket in sorted(late, key=_rank):
            bar = self.book.quotes.bar(ticket.symbol)
            if bar is not None and ticket.is_live:
                sells = ticket.side is Side.SELL
                left = replace(bar, high=bar.close) if sells else replace(bar, low=bar.close)
                self._range(ticket, left)

    def _range(self, ticket: Ticket, bar: Bar) -> None:
        meeting = in_range(ticket.terms, bar, self.house.costs)
        self._settle(ticket, meeting, bar, self.house.calendar.close(self.book.session))

    def _settle(self, ticket: Ticket, meeting: Meeting, bar: Bar, at: datetime) -> None:
        terms = meeting.terms
        if (terms.best, terms.triggered) != (ticket.best, ticket.triggered):
            ticket.best, ticket.triggered = terms.best, terms.triggered
            self.book.changed(ticket)
        if meeting.price is None:
            return
        quantity = self._executable(ticket, meeting.price, bar)
        if quantity > 0:
            self.execute(ticket, quantity, meeting.price, at)
        sells_out = ticket.side is Side.SELL and not self.house.shorting
        if sells_out and ticket.is_open and self.book.held(ticket.symbol) <= 0:
            self.end(ticket, OrderState.CANCELED, at)  # the shares it was to sell are gone

    def _executable(self, ticket: Ticket, price: Decimal, bar: Bar) -> Decimal:
        """How much of an order fills at ``price``: bounded by the session's volume and by what is held."""
        if ticket.notional is not None and not ticket.filled_quantity:
            ticket.quantity = shares_for(ticket.notional, price)
        quantity = ticket.open_quantity
        if self.house.max_volume_share is not None:
            share = bar.volume * self.house.max_volume_share
            most = share.quantize(unit_of(ticket.quantity), ROUND_DOWN)
            quantity = min(quantity, max(most - ticket.filled_now, ZERO))
        if ticket.side is Side.SELL and not self.house.shorting:
            quantity = min(quantity, max(self.book.held(ticket.symbol), ZERO))
        return quantity

    # ---- executions and ends ---------------------------------------------------------------------

    def execute(self, ticket: Ticket, quantity: Decimal, price: Decimal, at: datetime) -> Fill:
        """Fill ``quantity`` of an order at ``price``; the minimum commission is charged once per order."""
        filled = ticket.filled_quantity + quantity
        fee = max(self.house.costs.fee(filled) - ticket.fees, ZERO)
        fill = self.book.execute(
            Fill(
                "", ticket.client_order_id, ticket.symbol, ticket.side, quantity, price, fee, self.book.session, at
            )
        )  # fmt: skip
        ticket.filled_quantity = filled
        ticket.filled_value += quantity * price
        ticket.fees += fee
        ticket.filled_now += quantity
        complete = filled >= ticket.quantity
        if ticket.is_open:
            ticket.state = OrderState.FILLED if complete else OrderState.PARTIALLY_FILLED
            ticket.filled_at = at if complete else None
        self.book.changed(ticket)
        self.book.tell("fill" if complete else "partial_fill", ticket, at, fill)
        self._after(ticket, quantity, at)
        return fill

    def end(self, ticket: Ticket, state: OrderState, at: datetime) -> None:
        """End an open order as cancelled or expired, and what depends on it.

        The exits of an entry end with it, unless it is cancelled after a part of it filled: they stand for that
        part. The two exits of a bracket are cancelled together.
        """
        if not ticket.is_open:
            return
        ticket.state = state
        if state is OrderState.CANCELED:
            ticket.canceled_at = at
        else:
            ticket.expired_at = at
        self.book.changed(ticket)
        self.book.tell(state.value, ticket, at)
        if ticket.bracket is not None and ticket.filled_quantity and state is OrderState.CANCELED:
            self._activate(ticket, at)
        elif ticket.bracket is not None:
            for leg in self.book.exits(ticket):
                self.end(leg, state, at)
        elif ticket.parent_id is not None and state is OrderState.CANCELED:
            for sibling in self._siblings(ticket):
                self.end(sibling, state, at)

    def _after(self, ticket: Ticket, quantity: Decimal, at: datetime) -> None:
        """Keep a bracket in step with an execution of one of its orders."""
        if ticket.parent_id is not None:
            for sibling in self._siblings(ticket):
                if ticket.is_open:
                    sibling.quantity -= quantity
                    self.book.changed(sibling)
                else:
                    self.end(sibling, OrderState.CANCELED, at)
        elif ticket.bracket is not None and ticket.state is OrderState.FILLED:
            self._activate(ticket, at)

    def _activate(self, entry: Ticket, at: datetime) -> None:
        """Make the exits of an entry live, for what it filled; the stop meets the price of the moment first."""
        legs = sorted((leg for leg in self.book.exits(entry) if leg.is_open and leg.held), key=_rank)
        for leg in legs:
            leg.held, leg.quantity = False, entry.filled_quantity
            self.book.changed(leg)
            self.book.tell("new", leg, at)
        if self._in_range:
            self._late += legs
        else:
            for leg in legs:
                self.arrive(leg)

    def _siblings(self, leg: Ticket) -> list[Ticket]:
        assert leg.parent_id is not None
        entry = self.book.ticket(leg.parent_id)
        assert entry is not None
        return [other for other in self.book.exits(entry) if other is not leg and other.is_open]


def _rank(ticket: Ticket) -> tuple[bool, bool, int]:
    protects = ticket.parent_id is not None and ticket.type is not OrderType.LIMIT
    return (ticket.side is Side.BUY, not protects, ticket.id)
