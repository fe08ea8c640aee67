"""The gateway: the only part that talks to a broker. One per account, by lease; never inside a kernel.

An order's way: INTENDED is in the journal before the gateway sees it. The gates decide. Approval and
SUBMITTING are committed together. One call to the broker. The answer is committed. Whatever happens in
between, :meth:`Gateway.open` finds out at the venue under the same id before anything new is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

from workbench.brokers.base import Broker
from workbench.brokers.market import Market
from workbench.calendars import Calendar
from workbench.domain import OrderState, Snapshot, TradingState
from workbench.errors import BrokerUnavailable, JournalError, RateLimited, RunCancelled, RunOverlap
from workbench.journal import Controls, IntentRecord, Journal, Ledger, OrderJournal, Owner, RunJournal
from workbench.journal.leases import Lease
from workbench.journal.orders import FLATTEN
from workbench.settings import ReconcileSettings, RiskSettings, ThrottleSettings
from workbench.trading import breakers
from workbench.trading.bookkeeping import IN_FLIGHT, Bookkeeper
from workbench.trading.killswitch import KillSwitch
from workbench.trading.reconcile import Difference, Reconciler
from workbench.trading.sending import OrderMismatch, Sender, look_up

LEASE_S = 30.0
_LOOK_S = 0.002
_FOLLOW_S, _FOLLOW_STEP_S = 2.0, 0.05
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.1, 5.0
_CLOCK_EVERY_S = 60.0
_FIRST_DOUBT_S, _LONGEST_DOUBT_S = 0.05, 2.0


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What a gateway is made of; the broker is closed with it.

    Parameters
    ----------
    replays
        Whether the venue trades sessions when it is told to, so that every one up to the wanted one is gone through.
    quality
        Asked for the faults of some symbols in the data traded on: symbol to fault.
    unknown_wait_s
        How long an order in doubt may still turn up at the venue before it counts as never arrived.
    lease_s
        How long the account is held without being heard of: a gateway that sleeps longer than that sends nothing more.
    lease_wait_s
        How long to wait for another run that holds the account.
    patience_s
        How long a venue may be out of reach before the gateway gives up; not at all is for an embedded one.
    lot
        The venue's step of quantities in shares.
    universe
        Symbols that may be ordered, to be judged ahead of the first order; the others are judged when they come.
    sure_sales
        Whether an accepted market sell is sure to fill, so that it pays for buys.
    interrupted
        Whether somebody wants the run to end: no wait goes on then.
    """

    account: str
    broker: Broker
    market: Market
    calendar: Calendar
    limits: RiskSettings
    owner: Owner
    throttle: ThrottleSettings = field(default_factory=ThrottleSettings)
    reconcile: ReconcileSettings = field(default_factory=ReconcileSettings)
    replays: bool = True
    quality: Callable[[Sequence[str], date], Mapping[str, str]] | None = None
    unknown_wait_s: float = 0.0
    lease_s: float = LEASE_S
    lease_wait_s: float = 0.0
    patience_s: float = 0.0
    lot: Decimal = Decimal(1)
    universe: Sequence[str] = ()
    sure_sales: bool = True
    interrupted: Callable[[], bool] = bool


class Gateway:
    """The gateway of one account.

    Use it in the thread that made it: it holds a connection to the journal.
    """

    def __init__(self, journal: Journal, parts: GatewayParts) -> None:
        self.journal = journal
        self._journal = journal
        self._clock = journal.clock
        self._orders = OrderJournal(journal)
        self._runs = RunJournal(journal)
        self._controls = Controls(journal)
        self._parts = parts
        self._books = Bookkeeper(journal, parts.account, parts.broker, parts.market, self._rest)
        self.kill_switch = KillSwitch(self)
        self._lease: Lease | None = None
        self._renewed = 0.0
        self._run_id = ""
        self._session: date | None = None
        self._sender: Sender | None = None
        self._reconciler: Reconciler | None = None
        self._reconciled = 0.0
        self._timed = 0.0
        self._touched = -1
        self._doubt_at, self._doubt_pause = 0.0, _FIRST_DOUBT_S
        self._retry_at, self._retry_pause, self._failing_since = 0.0, _FIRST_RETRY_S, 0.0

    @property
    def account(self) -> str:
        return self._parts.account

    # ---- life ------------------------------------------------------------------------------------

    def open(self, session: date, run_id: str) -> Snapshot:
        """Take the account for a run: settle what is in flight, carry it to the close of ``session``, reconcile.

        A symbol on which books and venue disagree is locked; see :class:`workbench.trading.reconcile.Reconciler`.

        Raises
        ------
        RunOverlap
            If another process holds the account.
        ConfigError
            If the account is already past that session.
        """
        self._take()
        if not self._parts.replays:
            self._parts.broker.advance(session)
        self._books.begin(session)
        self.settle()
        for day in self._days_to(session):
            if self._parts.replays:
                self._parts.broker.advance(day)
            self._books.pull()
            self._books.mark(day)
            self.keep_lease()
        self._run_id = run_id
        self._stand_at(session)
        # Before a planner looks: what an earlier session left unsent is not on its way any more.
        self._require_sender().send([r for r in self._intended() if r.session != session and r.kind != FLATTEN])
        return self.snapshot(session)

    def attach(self) -> date:
        """Take the account where it stands, for somebody who wants to look, cancel or go flat.

        Returns
        -------
        The session the account was last marked at.

        Raises
        ------
        RunOverlap
            If another process holds the account.
        """
        mark = Ledger(self._journal).last_mark(self.account)
        assert mark is not None, "an account that was never opened has nothing to attach to"
        session = date.fromisoformat(mark["session"])
        self._take()
        self._books.begin(session)
        self.settle()
        self._books.pull()
        self._stand_at(session, moment="asked")
        return session

    def close(self, *, failed: bool = False) -> None:
        """Compare once more if anything was sent and nothing has ``failed``, and give the account back."""
        try:
            if self._lease is not None and self._sender is not None and self._sender.sent and not failed:
                with suppress(BrokerUnavailable):  # the next opening compares first of all
                    self.reconcile("end")
        finally:
            if self._lease is not None:
                self._runs.release(self._lease)
                self._lease = None
            self._parts.broker.close()

    # ---- work ------------------------------------------------------------------------------------

    def pump(self) -> int:
        """Decide and send every intent of this run that waits; returns how many there were.

        What another run of the session has not sent is left to it. What an earlier session left is denied: `open` did
        so with all that was not in doubt then. The kill switch's own orders are always sent.
        """
        if not self._orders.waiting(self.account):
            return 0
        mine = [record for record in self._intended() if self._is_mine(record)]
        self._require_sender().send(mine)
        return len(mine)

    def prepare(self) -> None:
        """Read prices and verdicts of everything that may be ordered, while the notebook is still thinking."""
        self._require_sender().inform(self._parts.universe)

    def serve(self, stop: threading.Event, *, wait: Callable[[float], bool] | None = None) -> None:
        """Pump until ``stop`` is set, looking every 2 ms. What is unsent then stays in the journal for a resume."""
        wait = wait or stop.wait
        while not stop.is_set():
            self.step()
            wait(_LOOK_S)

    def follow(self) -> None:
        """Book what happens, and compare now and then, until no order is open any more or somebody interrupts."""
        while not self._parts.interrupted():
            with self._patience():
                if not self._parts.broker.open_orders():
                    return
            until = self._clock.monotonic() + _FOLLOW_S
            while self._clock.monotonic() < until and not self._parts.interrupted():
                self.step()
                self._clock.sleep(_FOLLOW_STEP_S)

    def step(self) -> None:
        """One look at everything: commands, the venue's news, intents, orders in doubt, the books.

        A venue that cannot be reached is asked again, less and less often, for ``patience_s``.

        Raises
        ------
        BrokerUnavailable
            The venue has not been reached for longer than that.
        """
        self.keep_lease()
        if self._clock.monotonic() < self._retry_at:
            return
        with self._patience():
            self._step()

    def _step(self) -> None:
        touched = self._journal.touched()
        new = touched != self._touched
        if new or self.kill_switch.pending:  # somebody else has written something since the last look
            self.kill_switch.obey()
        if self._parts.broker.changed():  # before anything is decided
            self.refresh()
        if new:
            self.pump()
            self._touched = touched
        if self._require_sender().in_doubt:
            self._settle_doubts()
        self._watch()

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Forgive a venue that cannot be reached, for a while."""
        now = self._clock.monotonic()
        try:
            yield
        except BrokerUnavailable as failure:
            self._failing_since = self._failing_since or now
            if now - self._failing_since >= self._parts.patience_s:
                raise
            pause = failure.retry_after_s if isinstance(failure, RateLimited) else self._retry_pause
            self._retry_pause = min(2 * self._retry_pause, _LONGEST_RETRY_S)
            self._retry_at = now + pause
        else:
            self._failing_since, self._retry_pause = 0.0, _FIRST_RETRY_S

    def snapshot(self, session: date) -> Snapshot:
        """The account from the journal's own books, valued at the market's last closes."""
        return self._books.snapshot(session, self._parts.broker.open_orders())

    def reconcile(self, moment: str = "asked") -> list[Difference]:
        """Compare books and venue, lock what differs, unlock what agrees again."""
        assert self._reconciler is not None, "the gateway is not open"
        found = self._reconciler.run(moment, self._since(moment))
        self._reconciled = self._clock.monotonic()
        self._rebuild()  # it has read the venue's news into the books, and locked or unlocked symbols
        return found

    def adopt(self, differences: Sequence[Difference], actor: str) -> int:
        """Apply the fixes of those differences that still stand, on record; returns how many entries that made."""
        assert self._reconciler is not None, "the gateway is not open"
        assert self._lease is not None, "the gateway is not open"
        self.keep_lease()
        return self._reconciler.adopt(differences, actor, self._since("asked"), self._lease)

    def _since(self, moment: str) -> date:
        """From where executions are compared: the last days, or since yesterday while orders are open."""
        days = 1 if moment == "open" else self._parts.reconcile.lookback_days
        return self._require_session() - timedelta(days=days)

    # ---- what the kill switch needs --------------------------------------------------------------

    @property
    def trades_by_itself(self) -> bool:
        """Whether open orders fill while one looks on; an embedded exchange trades when a run advances it."""
        return not self._parts.replays

    @property
    def broker(self) -> Broker:
        return self._parts.broker

    @property
    def session(self) -> date:
        """The session the account stands at."""
        return self._require_session()

    @property
    def mismatched(self) -> Mapping[str, str]:
        """Orders of ours that the venue knows as others, with their symbol."""
        return self._books.mismatched

    def refresh(self) -> None:
        """Bring the venue's news into the books and start the risk book anew."""
        if self._books.pull():
            self.reconcile("open")  # somebody else traded: lock that symbol now
        else:
            self._rebuild()

    def price(self, symbol: str) -> Decimal:
        """What a share is valued at, in USD; zero if nobody knows."""
        return self._books.price(symbol, self._require_session())

    def settle(self) -> None:
        """Look up every order in flight. One that the venue knows as another stays in doubt, and is a difference."""
        for record in self._in_flight():
            try:
                answer = look_up(self._journal, self._parts, record)
            except OrderMismatch:
                self._books.mismatched[record.intent.client_order_id] = record.intent.symbol
            else:
                self._orders.answer([answer], self._lease)

    # ---- private ---------------------------------------------------------------------------------

    def _rest(self, seconds: float) -> None:
        """Wait because the venue says so, keeping the account."""
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0:
            if self._parts.interrupted():
                raise RunCancelled("cancelled while the venue asked for a pause")
            self._clock.sleep(min(left, 0.1))
            self.keep_lease()

    def _take(self) -> None:
        """The lease of the account, waiting for another run that holds it."""
        deadline = self._clock.monotonic() + self._parts.lease_wait_s
        while True:
            try:
                self._lease = self._runs.acquire(f"gateway:{self.account}", self._parts.owner, self._parts.lease_s)
            except RunOverlap as held:
                if self._clock.monotonic() >= deadline:
                    waited = f"; waited {self._parts.lease_wait_s:g} s" if self._parts.lease_wait_s else ""
                    raise RunOverlap(
                        f"account {self.account} is in use: {held.message}{waited}",
                        hint="run the same command again once that process has ended",
                    ) from None
                if self._parts.interrupted():
                    raise RunCancelled(f"cancelled while account {self.account} was held by another run") from None
                self._clock.sleep(0.1)
            else:
                self._renewed = self._clock.monotonic()
                return

    def _stand_at(self, session: date, moment: str = "start") -> None:
        assert self._lease is not None
        self._session = session
        self._sender = Sender(self._journal, self._lease, self._parts, session, self.keep_lease)
        self._reconciler = Reconciler(self._journal, self._parts.broker, self._books, self._parts.reconcile, session)
        self.reconcile(moment)
        self._time_venue()
        self._trip(session)

    def _rebuild(self) -> None:
        assert self._reconciler is not None, "the gateway is not open"
        self._require_sender().rebuild(self._parts.broker.open_orders(), self._reconciler.strangers)

    def _trip(self, session: date) -> None:
        """Latch the circuit breakers that the account's curve has run into."""
        state = TradingState(self._parts.limits.breaker)
        for trip in breakers.check(self._journal, self.account, self._parts.limits):
            self._controls.trip(self.account, trip.name, state, trip.message)

    def _days_to(self, session: date) -> list[date]:
        """The sessions to go through: those after the last mark, and always ``session`` itself."""
        last = Ledger(self._journal).last_mark(self.account)
        if not self._parts.replays or last is None or date.fromisoformat(last["session"]) >= session:
            return [session]
        first = self._parts.calendar.next(date.fromisoformat(last["session"]))
        return self._parts.calendar.sessions(first, session)

    def _is_mine(self, record: IntentRecord) -> bool:
        stale = record.session is not None and record.session < self._require_session()
        return stale or record.run_id == self._run_id or record.kind == FLATTEN

    def _intended(self) -> list[IntentRecord]:
        return self._orders.intents(account=self.account, states=[OrderState.INTENDED])

    def _in_flight(self) -> list[IntentRecord]:
        return self._orders.intents(account=self.account, states=IN_FLIGHT)

    def _settle_doubts(self) -> None:
        """Ask for the orders in doubt again, less and less often."""
        now = self._clock.monotonic()
        if now < self._doubt_at:
            return
        self._doubt_pause = min(2 * self._doubt_pause, _LONGEST_DOUBT_S) if self._doubt_at else _FIRST_DOUBT_S
        self._doubt_at = now + self._doubt_pause
        self.settle()
        self.refresh()
        if not self._require_sender().in_doubt:
            self._doubt_at = 0.0
        self.pump()

    def _watch(self) -> None:
        """While orders are open: compare books and venue now and then, and look at the venue's clock."""
        now = self._clock.monotonic()
        if now - self._timed > _CLOCK_EVERY_S:
            self._time_venue()
        if now - self._reconciled > self._parts.reconcile.every_s:
            self._reconciled = now
            if self._parts.broker.open_orders():
                self.reconcile("open")

    def _time_venue(self) -> None:
        theirs = self._parts.broker.clock()
        self._timed = self._clock.monotonic()
        if theirs is not None:
            self._require_sender().book.skew_s = (theirs - self._clock.now()).total_seconds()

    def _require_session(self) -> date:
        assert self._session is not None, "the gateway is not open"
        return self._session

    def _require_sender(self) -> Sender:
        assert self._sender is not None, "the gateway is not open"
        return self._sender

    def keep_lease(self) -> None:
        """Prolong the lease once a third of it has passed.

        Raises
        ------
        JournalError
            If it has passed to another process.
        """
        now = self._clock.monotonic()
        if self._lease is not None and now - self._renewed > self._parts.lease_s / 3:
            if not self._runs.renew(self._lease, self._parts.lease_s):
                raise JournalError(f"{self._lease.name} passed to another process; nothing more is sent")
            self._renewed = now
