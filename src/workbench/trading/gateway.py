"""The gateway: the only part that talks to a broker. One per account, by lease; never inside a kernel.

An order's way: INTENDED is in the journal before the gateway sees it. The gates decide. Approval and
SUBMITTING are committed together. One call to the broker. The answer is committed. Whatever happens in
between, :meth:`Gateway.open` finds out at the venue under the same id before anything new is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from workbench.brokers.base import Broker
from workbench.brokers.market import Market
from workbench.calendars import Calendar
from workbench.domain import Decision, Order, OrderIntent, OrderState, Position, Snapshot, TradingState
from workbench.errors import BrokerError, BrokerUnavailable, JournalError, OrderRejected, OrderUnknown
from workbench.journal import IntentRecord, Journal, OrderJournal, Owner, RunJournal
from workbench.journal.runs import Lease
from workbench.settings import RiskSettings
from workbench.trading import gates

LEASE_S = 30.0
_IN_FLIGHT = (OrderState.SUBMITTING, OrderState.UNKNOWN)
_WORKING = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What a gateway is made of; the broker is closed with it."""

    account: str
    broker: Broker
    market: Market
    calendar: Calendar
    limits: RiskSettings
    owner: Owner


class Gateway:
    """The gateway of one account.

    Use it in the thread that made it: it holds a connection to the journal.
    """

    def __init__(self, journal: Journal, parts: GatewayParts) -> None:
        self._journal = journal
        self._orders = OrderJournal(journal)
        self._runs = RunJournal(journal)
        self._parts = parts
        self._lease: Lease | None = None
        self._renewed = 0.0
        self._run_id = ""
        self._book: gates.RiskBook | None = None

    @property
    def account(self) -> str:
        return self._parts.account

    def open(self, session: date, run_id: str) -> Snapshot:
        """Take the account for a run: settle what is in flight, carry it to the close of ``session``, reconcile.

        Raises
        ------
        RunOverlap
            If another process holds the account.
        ConfigError
            If the account is already past that session.
        BrokerError
            If the books and the venue disagree: the account is halted.
        """
        self._lease = self._runs.acquire(f"gateway:{self.account}", self._parts.owner, LEASE_S)
        self._renewed = self._journal.clock.monotonic()
        self._settle_in_flight()
        for day in self._days_to(session):
            self._parts.broker.advance(day)
            self._pull()
            self._mark(day)
            self._keep_lease()
        self._reconcile()
        self._run_id = run_id
        self._book = self._risk_book(session)
        # Before a planner looks: what an earlier session left unsent is not on its way any more.
        for record in self._orders.intents(account=self.account, states=[OrderState.INTENDED]):
            decided_on = self._origin(record)[1]
            if decided_on != session:
                self._handle(record.intent, decided_on)
        return self.snapshot(session)

    def pump(self) -> int:
        """Decide and send every intent of this run that waits; returns how many there were.

        What another run of the session has not sent is left to it; what an earlier session left, `open` has denied.
        """
        done = 0
        for record in self._orders.intents(account=self.account, states=[OrderState.INTENDED]):
            run_id, decided_on = self._origin(record)
            if run_id == self._run_id:
                self._keep_lease()
                self._handle(record.intent, decided_on)
                done += 1
        return done

    def serve(self, stop: threading.Event, *, wait: Callable[[float], bool] | None = None) -> None:
        """Pump until ``stop`` is set, looking every 10 ms. What is unsent then stays in the journal for a resume."""
        wait = wait or stop.wait
        while not stop.is_set():
            self.pump()
            self._keep_lease()
            wait(0.01)

    def snapshot(self, session: date) -> Snapshot:
        """The account from the journal's own books, valued at the market's last closes."""
        books = self._orders.books(self.account)
        positions = {
            symbol: Position(symbol, quantity, self._price(symbol, session))
            for symbol, quantity in books.holdings.items()
        }
        return Snapshot(self.account, session, books.cash, positions, tuple(self._parts.broker.open_orders()))

    def cancel_all(self) -> list[Order]:
        """Cancel every order that may still fill; passes whatever the trading state is."""
        done = []
        for order in self._parts.broker.open_orders():
            after = self._parts.broker.cancel(order.client_order_id)
            if after is not None:
                done.append(after)
        self._pull()
        return done

    def close(self) -> None:
        """Give the account back."""
        if self._lease is not None:
            self._runs.release(self._lease)
            self._lease = None
        self._parts.broker.close()

    # ---- one order -------------------------------------------------------------------------------

    def _handle(self, intent: OrderIntent, decided_on: date) -> None:
        assert self._book is not None, "the gateway is not open"
        assert self._lease is not None, "the gateway is not open"
        self._quote(self._book, intent.symbol)
        state: TradingState | None = self._trading_state()
        while state is not None:  # decided again if the trading state changes before the order is authorized
            self._book.state = state
            decision = self._decide(intent, decided_on)
            if not decision.approved:
                self._orders.deny(intent.client_order_id, decision)
                return
            state = self._orders.authorize(intent.client_order_id, self._lease, state)
        answer = self._send(intent)
        if answer.may_fill or answer is OrderState.FILLED:
            accepted = answer is not OrderState.UNKNOWN
            gates.count(self._book, intent.symbol, intent.side, intent.type, intent.quantity, accepted=accepted)

    def _decide(self, intent: OrderIntent, decided_on: date) -> Decision:
        assert self._book is not None, "the gateway is not open"
        try:
            return gates.decide(intent, decided_on, self._book, self._parts.limits)
        except ArithmeticError as error:  # a number that cannot be computed with must not stop the account
            return Decision(approved=False, gate="validity", reason=f"cannot be evaluated: {error!r}")

    def _send(self, intent: OrderIntent) -> OrderState:
        """One call to the venue and its answer, committed."""
        try:
            order = self._parts.broker.submit(intent)
        except OrderRejected as refusal:
            self._orders.move(intent.client_order_id, OrderState.REJECTED, refusal.message)
            return OrderState.REJECTED
        except BrokerUnavailable as failure:
            # Certainly not sent: it goes back to the queue, and the run ends with the reason.
            self._orders.move(intent.client_order_id, OrderState.INTENDED, failure.message)
            raise
        except OrderUnknown as doubt:
            self._orders.move(intent.client_order_id, OrderState.UNKNOWN, doubt.message)
            return self._look_up(intent)
        self._orders.acknowledge(order)
        return order.state

    def _look_up(self, intent: OrderIntent) -> OrderState:
        """Find out what became of an order in doubt, under its own id.

        An order that the venue has with other fields is not ours: the account halts.
        """
        order = self._parts.broker.order(intent.client_order_id)
        if order is None:
            self._orders.move(intent.client_order_id, OrderState.INTENDED, "the venue does not have it")
            return OrderState.INTENDED
        if (order.symbol, order.side, order.type) != (intent.symbol, intent.side, intent.type):
            self._halt(f"the venue knows {intent.client_order_id} as another order: {order}")
        self._orders.acknowledge(order, "adopted")
        return order.state

    def _settle_in_flight(self) -> None:
        for record in self._orders.intents(account=self.account, states=_IN_FLIGHT):
            self._look_up(record.intent)

    def _origin(self, record: IntentRecord) -> tuple[str, date]:
        """The run that proposed an intent and the session it was decided on."""
        row = self._journal.read("SELECT run_id, session FROM batches WHERE batch_id=?", (record.batch_id,))[0]
        return str(row["run_id"]), date.fromisoformat(row["session"])

    # ---- the books -------------------------------------------------------------------------------

    def _days_to(self, session: date) -> list[date]:
        """The sessions to go through: those after the last mark, and always ``session`` itself."""
        last = self._orders.last_mark(self.account)
        if last is None or date.fromisoformat(last["session"]) >= session:
            return [session]
        first = self._parts.calendar.next(date.fromisoformat(last["session"]))
        return self._parts.calendar.sessions(first, session)

    def _pull(self) -> None:
        """Bring fills, activities and order states from the venue into the journal."""
        broker = self._parts.broker
        fills = broker.fills(self._orders.last_fill_id(self.account, broker.name))
        if fills:
            self._orders.record_fills(self.account, broker.name, fills)
        activities = broker.activities(self._orders.last_activity_id(self.account, broker.name))
        if activities:
            self._orders.record_activities(self.account, broker.name, activities)
        for record in self._orders.intents(account=self.account, states=_WORKING):
            order = broker.order(record.intent.client_order_id)
            if order is not None:
                self._orders.acknowledge(order)

    def _mark(self, session: date) -> None:
        books = self._orders.books(self.account)
        positions = {s: (quantity, self._price(s, session)) for s, quantity in books.holdings.items()}
        self._orders.mark(self.account, session, books.cash, positions)

    def _reconcile(self) -> None:
        """Our books against the venue's: cash, shares, open orders. Any difference halts the account."""
        ours, theirs = self._orders.books(self.account), self._parts.broker.account()
        if ours.cash != theirs.cash or ours.holdings != theirs.holdings:
            self._halt(
                f"books and venue disagree: we have {ours.cash} USD and {_shares(ours.holdings)},"
                f" the venue {theirs.cash} USD and {_shares(theirs.holdings)}"
            )
        known = {
            record.intent.client_order_id
            for record in self._orders.intents(account=self.account, states=(*_WORKING, *_IN_FLIGHT))
        }
        foreign = [o for o in self._parts.broker.open_orders() if o.client_order_id not in known]
        if foreign:
            self._halt(f"the venue has orders that are not ours: {', '.join(o.client_order_id for o in foreign)}")

    def _risk_book(self, session: date) -> gates.RiskBook:
        snapshot = self.snapshot(session)
        book = gates.RiskBook(
            session=session,
            state=self._trading_state(),
            cash=snapshot.cash,
            equity=snapshot.equity,
        )
        for symbol, position in snapshot.positions.items():
            self._quote(book, symbol)
            book.exposure(symbol).held = position.quantity
        for order in snapshot.open_orders:
            self._quote(book, order.symbol)
            left = order.quantity - order.filled_quantity
            gates.count(book, order.symbol, order.side, order.type, left, accepted=True)
        return book

    def _quote(self, book: gates.RiskBook, symbol: str) -> None:
        """Read the market's own price of a symbol into the book, once."""
        if symbol not in book.prices:
            last = self._parts.market.last_close(symbol, book.session)
            if last is not None:
                book.prices[symbol] = last[1]
                if last[0] == book.session:
                    book.traded.add(symbol)

    def _price(self, symbol: str, session: date) -> Decimal:
        last = self._parts.market.last_close(symbol, session)
        if last is None:
            raise BrokerError(f"{symbol} is held but has no price up to {session}")
        return last[1]

    def _trading_state(self) -> TradingState:
        return self._orders.trading_state(self.account)

    def _halt(self, reason: str) -> None:
        self._orders.set_trading_state(self.account, TradingState.HALTED, reason, "gateway")
        raise BrokerError(
            f"account {self.account} is halted: {reason}",
            hint="find out why, then `workbench resume`",
        )

    def _keep_lease(self) -> None:
        now = self._journal.clock.monotonic()
        if self._lease is not None and now - self._renewed > LEASE_S / 3:
            if not self._runs.renew(self._lease, LEASE_S):
                raise JournalError(f"{self._lease.name} passed to another process; nothing more is sent")
            self._renewed = now


def _shares(holdings: dict[str, Decimal]) -> str:
    return ", ".join(f"{quantity} {symbol}" for symbol, quantity in sorted(holdings.items())) or "no shares"
