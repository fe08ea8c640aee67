"""Keeps the journal's books of one account true to the venue: executions, order states, marks, opening balance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal

from workbench.brokers.base import Broker
from workbench.brokers.market import Market
from workbench.domain import Activity, Fill, Order, OrderState, Position, Snapshot
from workbench.errors import ConfigError, RateLimited
from workbench.journal import IntentRecord, Journal, Ledger, OrderJournal
from workbench.journal.orders import Answer

WORKING = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
IN_FLIGHT = (OrderState.SUBMITTING, OrderState.UNKNOWN)
# A venue may count an execution before it lists it.
_TELLING_S = 60.0


class Bookkeeper:
    """The books of one account at one venue."""

    def __init__(
        self, journal: Journal, account: str, broker: Broker, market: Market, rest: Callable[[float], None]
    ) -> None:
        self.account = account
        self.unpriced: set[str] = set()  # symbols held that the market has no price of
        self.mismatched: dict[str, str] = {}  # orders of ours that the venue knows as others, with their symbol
        self._rest = rest
        self._clock = journal.clock
        self._ahead: dict[str, float] = {}
        self.lost: dict[str, str] = {}  # orders of ours that the venue took and no longer knows, with their symbol
        self._broker = broker
        self._market = market
        self._orders = OrderJournal(journal)
        self._ledger = Ledger(journal)

    def begin(self, session: date) -> None:
        """Book what the account held when it is seen for the first time; nothing afterwards.

        Raises
        ------
        ConfigError
            If the account has books of another venue: the two would be added up.
        """
        other = self._ledger.other_venue(self.account, self._broker.name)
        if other is not None:
            raise ConfigError(
                f"account {self.account} has books of {other}, not of {self._broker.name}",
                hint="give the account at another broker another name",
            )
        if self._ledger.cursor(self.account, self._broker.name) is None:
            opening = self._broker.opening()
            if opening is not None:
                held, cursor = opening
                self._ledger.record_opening(self.account, self._broker.name, session, held.cash, held.holdings, cursor)

    def pull(self) -> int:
        """Bring executions, activities and the states of our orders from the venue into the journal.

        Returns
        -------
        How many executions of orders that are not ours were new.
        """
        before = self._ledger.cursor(self.account, self._broker.name)
        feed = self._broker.feed(before)
        others = 0
        if feed.fills or feed.activities or feed.cursor != before:
            others = self.book(feed.fills, feed.activities, feed.cursor)
        self.follow()
        return others

    def book(self, fills: Sequence[Fill], activities: Sequence[Activity] = (), cursor: str | None = None) -> int:
        """Write executions and activities down, each once; returns how many new executions were not of our orders."""
        known = self._ledger.legs(self.account)
        for identifier in {fill.client_order_id for fill in fills}:
            if identifier not in known and self._orders.intent(identifier) is None:
                self._learn(identifier)
        _, others = self._ledger.record(self.account, self._broker.name, fills, activities, cursor)
        return others

    def follow(self) -> None:
        """Ask the venue for the state of every order that we think is working."""
        working = self._orders.intents(account=self.account, states=WORKING)
        self.lost.clear()
        if not working:
            self._ahead = {}
            return
        listed = {order.client_order_id: order for order in self._broker.open_orders()}
        self._orders.answer([Answer.of(order, order.venue_state) for order in self._still(working, listed)])
        ahead = set[str]()
        for record in working:
            identifier = record.intent.client_order_id
            order = listed.get(identifier)
            if order is None:  # it has ended: each is asked for, and written down, by itself
                order = self._ended(identifier)
                if order is None:
                    self.lost[identifier] = record.intent.symbol
                    continue
                self._orders.answer([Answer.of(order, order.venue_state)])
            if order.filled_quantity > record.filled_quantity:
                ahead.add(record.intent.symbol)
        now = self._clock.monotonic()
        self._ahead = {symbol: self._ahead.get(symbol, now) for symbol in ahead}

    def _still(self, working: Sequence[IntentRecord], listed: Mapping[str, Order]) -> list[Order]:
        found = (listed.get(record.intent.client_order_id) for record in working)
        return [order for order in found if order is not None]

    def _ended(self, client_order_id: str) -> Order | None:
        """Ask for one order, and wait where the venue says that it is asked too much."""
        while True:
            try:
                return self._broker.order(client_order_id)
            except RateLimited as limit:
                self._rest(limit.retry_after_s)

    def untold(self) -> set[str]:
        """Symbols whose executions the venue has counted, but not told yet; not those that stay so for a minute."""
        now = self._clock.monotonic()
        return {symbol for symbol, since in self._ahead.items() if now - since < _TELLING_S}

    def mark(self, session: date) -> None:
        """Write the account's value at the close of a session, once."""
        books = self._ledger.books(self.account, until=session)
        held = {symbol: (quantity, self.price(symbol, session)) for symbol, quantity in books.holdings.items()}
        self._ledger.mark(self.account, session, books.cash, held)

    def snapshot(self, session: date, open_orders: Sequence[Order]) -> Snapshot:
        """The account by the journal's own books, valued at the market's last closes."""
        books = self._ledger.books(self.account)
        positions = {
            symbol: Position(symbol, quantity, self.price(symbol, session))
            for symbol, quantity in books.holdings.items()
        }
        return Snapshot(self.account, session, books.cash, positions, tuple(open_orders))

    # ---- private ---------------------------------------------------------------------------------

    def _learn(self, client_order_id: str) -> None:
        """Find out whether an order that we did not send is the exit of a bracket that we did."""
        order = self._broker.order(client_order_id)
        if order is not None and order.parent_id is not None and self._orders.intent(order.parent_id) is not None:
            self._ledger.add_leg(self.account, client_order_id, order.parent_id)

    def price(self, symbol: str, session: date) -> Decimal:
        """The market's last close; what was last paid, or nothing, for what the market does not know."""
        last = self._market.last_close(symbol, session)
        if last is not None:
            return last[1]
        self.unpriced.add(symbol)
        return self._ledger.last_price(self.account, symbol) or Decimal(0)
