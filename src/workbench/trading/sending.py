"""Takes intents through the gates to the venue, some at a time: decide, commit, send one by one, commit the answers.

A group shares two commits, so that a large rebalance does not wait for the disk twice an order. Right before each
single order, trading state and lease are looked at again: at most the one order that is on its way when a halt is
committed goes out after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.domain import Decision, Fill, Order, OrderIntent, OrderState, Side, TradingState, is_positive
from workbench.errors import (
    BrokerError,
    BrokerUnavailable,
    JournalError,
    OrderRejected,
    OrderUnknown,
    RateLimited,
    RunCancelled,
)
from workbench.journal import Controls, IntentRecord, Journal, Ledger, OrderJournal, RunJournal
from workbench.journal.leases import Lease
from workbench.journal.orders import FLATTEN, Answer
from workbench.trading import gates
from workbench.trading.reading import quote, read_book
from workbench.trading.riskbook import RiskBook, Sent
from workbench.trading.throttle import Throttle

if TYPE_CHECKING:
    from workbench.trading.gateway import GatewayParts

GROUP = 25
_SLICE_S = 0.02
_RATE_LIMIT_TRIES = 10
_DOUBT_PATIENCE_S = 30.0


class Sender:
    """Sends for one account while its lease is held.

    ``book`` is the account as the gates see it, kept up to date with every answer. ``sent`` says whether anything
    went out; ``in_doubt`` whether an order has to be looked up.
    """

    def __init__(
        self, journal: Journal, lease: Lease, parts: GatewayParts, session: date, keep_lease: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._clock = journal.clock
        self._lease = lease
        self._parts = parts
        self._session = session
        self._keep_lease = keep_lease
        self._orders = OrderJournal(journal)
        self._controls = Controls(journal)
        self._ledger = Ledger(journal)
        self._runs = RunJournal(journal)
        self._throttle = Throttle(parts.throttle, journal.clock)
        self.sent = False
        self.in_doubt = False
        self._doubted: float | None = None
        self.rebuild([], [])

    def rebuild(self, open_orders: Sequence[Order], strangers: Sequence[Fill]) -> None:
        """Read the account anew; verdicts on the data and the venue's clock stay."""
        before: RiskBook | None = getattr(self, "book", None)
        self.book = read_book(
            self._journal,
            self._parts.account,
            self._parts.market,
            self._parts.limits,
            self._session,
            lot=self._parts.lot,
            open_orders=open_orders,
            strangers=strangers,
            sure_sales=self._parts.sure_sales,
            ledger=self._ledger,
        )
        if before is not None:
            self.book.faults, self.book.checked, self.book.skew_s = before.faults, before.checked, before.skew_s
        self.in_doubt = bool(self.book.unknown)

    def _may_clear_up(self) -> bool:
        """Whether an order in doubt is worth waiting for: a sale that is not sure pays for no buy."""
        if not self.in_doubt:
            self._doubted = None
            return False
        now = self._clock.monotonic()
        if self._doubted is None:
            self._doubted = now
        return now - self._doubted < _DOUBT_PATIENCE_S

    def send(self, records: Sequence[IntentRecord]) -> None:
        """Decide every intent in turn and send what passes; buys wait up to 30 s while an order is in doubt.

        Raises
        ------
        BrokerUnavailable, RunCancelled
            The venue cannot be reached, or the run is to end; what was certainly not sent is INTENDED again.
        JournalError
            The lease has passed to another process, or nothing can be written; nothing more is sent.
        """
        for group in _groups(records):
            if group[0].intent.side is Side.BUY and self._may_clear_up():
                return  # they stay INTENDED, and are sent once the doubt is gone
            waiting = list(group)
            while waiting:  # again if what may be sent has changed while they were being sent
                self._keep_lease()
                waiting = self._dispatch(self._decide(waiting))

    # ---- deciding --------------------------------------------------------------------------------

    def _decide(self, group: Sequence[IntentRecord]) -> list[IntentRecord]:
        """Ask the gates, and commit what they said; again if the trading state has changed meanwhile."""
        self.inform([record.intent.symbol for record in group])
        waiting = list(group)
        while waiting:
            state = self._controls.trading_state(self._parts.account)
            self.book.state, self.book.now = state, self._clock.now()
            passed, refused = list[IntentRecord](), dict[str, Decision]()
            for record in waiting:
                decision = self._ask(record)
                if decision.approved:
                    passed.append(record)
                    self._count(record.intent)
                else:
                    refused[record.intent.client_order_id] = decision
            if refused:
                self._orders.deny(refused)
            if not passed:
                break
            identifiers = [record.intent.client_order_id for record in passed]
            if self._orders.authorize(identifiers, self._lease, state) is None:
                return passed
            for record in passed:
                self._forget(record.intent)
            waiting = passed
        return []

    def _ask(self, record: IntentRecord) -> Decision:
        decided_on = record.session or self._session
        if record.kind == FLATTEN:
            return self._ask_exit(record.intent)
        return gates.decide(record.intent, decided_on, self.book, self._parts.limits)

    def _ask_exit(self, intent: OrderIntent) -> Decision:
        """All that the kill switch's own orders are asked: that they close what the venue has, and no more.

        What other orders may close already is left to them.
        """
        held = Decimal(0) - intent.side.sign * self._parts.broker.account().holdings.get(intent.symbol, Decimal(0))
        open_now = self.book.exposure(intent.symbol)
        closing = open_now.sells + open_now.sure_sales if intent.side is Side.SELL else open_now.buys
        if is_positive(intent.quantity) and intent.quantity <= held - closing:
            return gates.APPROVED
        what = f"{intent.side} {intent.quantity} is more than the {held - closing} that the venue has to close"
        return Decision(False, "exit", what)

    def inform(self, symbols: Sequence[str]) -> None:
        """Read prices, volumes and verdicts of symbols that are new here, and what went out lately."""
        for symbol in symbols:
            quote(self.book, self._parts.market, symbol)
        if self._parts.quality is not None:
            new = sorted({symbol for symbol in symbols if symbol not in self.book.checked})
            if new:
                self.book.faults.update(self._parts.quality(new, self._session))
                self.book.checked.update(new)

    def _count(self, intent: OrderIntent) -> None:
        """Take an order for sent from its approval on, so that the next one of its group is decided knowing it."""
        gates.count(self.book, intent, self._parts.limits, accepted=False)
        self.book.sent.append(
            Sent(
                self.book.now, intent.symbol, intent.side, intent.quantity, self._session, intent.client_order_id,
                intent.sequence,
            )
        )  # fmt: skip

    def _forget(self, intent: OrderIntent) -> None:
        gates.count(self.book, intent, self._parts.limits, accepted=False, open_quantity=intent.quantity * 0)

    # ---- sending ---------------------------------------------------------------------------------

    def _dispatch(self, records: Sequence[IntentRecord]) -> list[IntentRecord]:
        """Send one by one and commit the answers together, whatever ends it.

        Returns
        -------
        What was not sent because trading was reduced or halted meanwhile: INTENDED again, to be decided anew.
        """
        answers: list[Answer] = []
        rest = list(records)
        try:
            while rest and not self._stopped(rest[0]):
                answers.append(self._post(rest[0]))
                del rest[0]
        except (BrokerUnavailable, RunCancelled) as failure:
            self._settle(records, [*answers, *_back(rest, failure.message)])
            raise
        self._settle(records, [*answers, *_back(rest, "trading was stopped before it was sent")])
        return rest

    def _stopped(self, record: IntentRecord) -> bool:
        """Whether an approved order must not go out after all; waits for its turn otherwise.

        Raises
        ------
        JournalError
            If the lease has run out or passed on: what is at the venue is then for the next holder to find out.
        """
        while True:
            self._keep_lease()
            self._require_lease()
            if self._tightened(record) is not None:
                return True
            delay = self._throttle.delay_s(self._parts.broker.pace())
            if delay <= 0 or record.kind == FLATTEN:
                self._throttle.take()
                return False
            self._pause(delay)

    def _require_lease(self) -> None:
        if not self._runs.holds(self._lease):
            raise JournalError(f"{self._lease.name} passed to another process; nothing more is sent")

    def _tightened(self, record: IntentRecord) -> TradingState | None:
        """The trading state, if an approved order may not go out in it; None if it may."""
        state = self._controls.trading_state(self._parts.account)
        if record.kind == FLATTEN or state is self.book.state or state is TradingState.ACTIVE:
            return None
        return state

    def _post(self, record: IntentRecord) -> Answer:
        """One call to the venue; again only if it certainly took nothing and said when to come back."""
        intent = record.intent
        for attempt in range(_RATE_LIMIT_TRIES):
            try:
                self.sent = True
                order = self._parts.broker.submit(intent)
            except RateLimited as limit:
                if attempt == _RATE_LIMIT_TRIES - 1:
                    raise
                self._rest(limit.retry_after_s, record)
            except OrderRejected as refusal:
                return Answer(intent.client_order_id, OrderState.REJECTED, refusal.message)
            except OrderUnknown as doubt:
                self._orders.move(intent.client_order_id, OrderState.UNKNOWN, doubt.message)
                return self._look_up(record)
            else:
                return Answer.of(order, order.venue_state)
        raise AssertionError("unreachable")

    def _rest(self, seconds: float, record: IntentRecord) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            self._pause(left)
            state = self._tightened(record)
            if state is not None:
                raise BrokerUnavailable(f"trading was {state.value} while the venue asked for a pause")
        self._require_lease()

    def _pause(self, seconds: float) -> None:
        """A short part of a wait, during which the lease is kept and a cancel is heard."""
        if self._parts.interrupted():
            raise RunCancelled("cancelled while orders waited for their turn")
        self._clock.sleep(min(seconds, _SLICE_S))
        self._keep_lease()

    def _look_up(self, record: IntentRecord) -> Answer:
        try:
            return look_up(self._journal, self._parts, record)
        except BrokerUnavailable as failure:  # it stays in doubt and is asked for again
            return Answer(record.intent.client_order_id, OrderState.UNKNOWN, failure.message)

    def _settle(self, records: Sequence[IntentRecord], answers: Sequence[Answer]) -> None:
        """Commit the answers and count what they mean."""
        self._orders.answer(answers, self._lease)
        by_id = {record.intent.client_order_id: record.intent for record in records}
        for answer in answers:
            intent = by_id[answer.client_order_id]
            if answer.state is OrderState.UNKNOWN:
                self.book.unknown.add(intent.symbol)
                self.in_doubt = True
            elif answer.state.may_fill or answer.state is OrderState.FILLED:
                gates.count(self.book, intent, self._parts.limits, accepted=self._parts.sure_sales)
            else:
                self._forget(intent)


def _back(records: Sequence[IntentRecord], why: str) -> list[Answer]:
    """Orders that were certainly not sent wait again."""
    return [Answer(record.intent.client_order_id, OrderState.INTENDED, why) for record in records]


def look_up(journal: Journal, parts: GatewayParts, record: IntentRecord) -> Answer:
    """Find out what became of an order in doubt, under its own id.

    One that the venue does not have may still be on its way to it: it stays UNKNOWN for ``unknown_wait_s`` since
    the call ended, then it is INTENDED again, to be sent under the same id.

    Raises
    ------
    OrderMismatch
        If the venue has that id with other fields: the account is halted.
    BrokerUnavailable
        If the venue cannot be asked.
    """
    intent = record.intent
    order = parts.broker.order(intent.client_order_id)
    if order is None:
        if _in_doubt_s(journal, intent.client_order_id) < parts.unknown_wait_s:
            return Answer(intent.client_order_id, OrderState.UNKNOWN, "not at the venue so far")
        return Answer(intent.client_order_id, OrderState.INTENDED, "the venue does not have it")
    if _same(order, intent):
        return Answer.of(order, "adopted")
    theirs = f"{order.side} {order.quantity} {order.symbol} {order.type}"
    reason = f"the venue knows {intent.client_order_id} as another order: {theirs}"
    if not journal.read("SELECT 1 FROM trading_states WHERE account=? AND reason=?", (parts.account, reason)):
        Controls(journal).set_trading_state(parts.account, TradingState.HALTED, reason, "gateway")
    raise OrderMismatch(f"account {parts.account} is halted: {reason}", hint="see `workbench reconcile`")


class OrderMismatch(BrokerError):
    """The venue has one of our ids for an order that is not the one we sent."""


def _same(order: Order, intent: OrderIntent) -> bool:
    """Whether the venue's order is the one that was sent.

    An amount is turned into shares by the venue, and a trailing order's stop price is the venue's own.
    """
    alike = (order.symbol, order.side, order.type, order.limit_price) == (
        intent.symbol, intent.side, intent.type, intent.limit_price,
    )  # fmt: skip
    if intent.type.has_stop and order.stop_price != intent.stop_price:
        return False
    return alike and (intent.notional_usd is not None or order.quantity == intent.quantity)


def _in_doubt_s(journal: Journal, client_order_id: str) -> float:
    """Seconds since the call for an order ended without an answer (of a process that died: since it began)."""
    rows = journal.read(
        "SELECT max(at) AS at FROM order_events WHERE client_order_id=? AND to_state IN (?,?)",
        (client_order_id, OrderState.SUBMITTING.value, OrderState.UNKNOWN.value),
    )
    return abs((journal.clock.now() - datetime.fromisoformat(rows[0]["at"])).total_seconds())


def _groups(records: Sequence[IntentRecord]) -> Iterator[list[IntentRecord]]:
    """Runs of one side, some at a time: buys are decided once the sells before them have been answered."""
    group: list[IntentRecord] = []
    for record in records:
        if group and (len(group) == GROUP or record.intent.side is not group[0].intent.side):
            yield group
            group = []
        group.append(record)
    if group:
        yield group
