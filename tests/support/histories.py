"""One account whose gateways die between any two commits, at a venue whose answers get lost, and what must hold.

A ``World`` is a journal and an exchange on disk. Every gateway has connections of its own, as a process has; the
clock is moved by hand. ``World.leaves`` looks at each order at the moment it leaves a gateway, with sums of its own.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from support.houses import Crash
from support.markets import StaticMarket

from workbench.brokers.base import BrokerAccount, Feed
from workbench.brokers.exchange import Phase
from workbench.brokers.market import Bar, CorporateAction
from workbench.brokers.matching import Costs
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import Fill, Order, OrderIntent, OrderState, OrderType, Side, TimeInForce, TradingState
from workbench.errors import BrokerUnavailable, ConfigError, OrderRejected, OrderUnknown, RateLimited
from workbench.journal import Batch, Controls, Journal, Ledger, OrderJournal, Owner, RunJournal, RunKey
from workbench.journal.controls import EVERY_SYMBOL
from workbench.journal.orders import FLATTEN
from workbench.settings import RiskSettings
from workbench.trading.gateway import Gateway, GatewayParts
from workbench.trading.reading import read_book

ACCOUNT, PIPELINE, CASH = "paper", "daily", Decimal(100_000)
CALENDAR = calendar("XNYS")
SESSIONS = CALENDAR.sessions(date(2013, 1, 7), date(2013, 4, 30))
SYMBOLS = ("A", "B", "C")
GROSS, NAME = Decimal(1), Decimal("0.6")
LIMITS = RiskSettings(
    max_order_value_usd=Decimal(50_000), max_gross_exposure=GROSS, max_net_exposure=GROSS, max_name_exposure=NAME,
    max_volume_share=Decimal(1), max_daily_loss=Decimal(1), max_drawdown=Decimal(1), require_quality=False,
)  # fmt: skip
# How long an order that got no answer may still be on its way, and how long one in doubt is waited for, in seconds.
ON_ITS_WAY_S, DOUBT_S = 5.0, 10.0
_CENT = Decimal("0.01")
_THIN = Decimal("0.15")  # of a volume of 2,000: 300 shares a session
# Slippage, fees and the opening price of the next session move equity a little between two looks at it.
_SLACK_USD = Decimal(500)
# The shares of an amount are a quotient of 28 digits.
_ROUNDING = Decimal("1e-12")


def _market() -> StaticMarket:
    """Three symbols that move up to 2% a session; B splits 2 for 1, C 1 for 2, A pays 0.50 USD."""
    chance = random.Random(20130107)
    actions = {
        SESSIONS[4]: [CorporateAction("A", "dividend", Decimal("0.5"))],
        SESSIONS[6]: [CorporateAction("B", "split", Decimal(2))],
        SESSIONS[9]: [CorporateAction("C", "split", Decimal("0.5"))],
    }
    bars: dict[str, dict[date, Bar]] = {}
    for symbol in SYMBOLS:
        close, bars[symbol] = Decimal(100), {}
        for session in SESSIONS:
            for action in actions.get(session, []):
                if action.symbol == symbol and action.kind == "split":
                    close /= action.value
            opened = _cents(close * Decimal(chance.randint(985, 1015)) / 1000)
            close = _cents(opened * Decimal(chance.randint(985, 1015)) / 1000)
            high = _cents(max(opened, close) * Decimal(chance.randint(1000, 1010)) / 1000)
            low = _cents(min(opened, close) * Decimal(chance.randint(990, 1000)) / 1000)
            bars[symbol][session] = Bar(opened, high, low, close, Decimal(2000))
    return StaticMarket(bars, actions)


def _cents(value: Decimal) -> Decimal:
    return value.quantize(_CENT)


MARKET = _market()


def price(symbol: str, session: date) -> Decimal:
    """The last close at or before a session."""
    found = MARKET.last_close(symbol, session)
    assert found is not None
    return found[1]


class WorldClock(ManualClock):
    """A clock during whose waits other things happen, once each."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.meanwhile: list[Callable[[], None]] = []

    def sleep(self, seconds: float) -> None:
        while self.meanwhile:
            self.meanwhile.pop(0)()
        super().sleep(seconds)


class MortalJournal(Journal):
    """The journal of a process that dies right after it has committed ``fuse`` more times; None lives."""

    fuse: int | None = None

    @contextmanager
    def transaction(self) -> Iterator[object]:  # type: ignore[override]
        with super().transaction() as connection:
            yield connection
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                raise Crash


class Line(PaperExchange):
    """The real exchange behind a connection that does what the world's plan says.

    A live one does not trade when it is told to: sessions come and go by themselves.
    """

    world: World

    def advance(self, session: date) -> None:
        if not self.world.live:
            super().advance(session)
        elif session != self.world.closed:
            raise ConfigError(f"the venue is at {self.world.closed}, not at {session}")

    def submit(self, intent: OrderIntent) -> Order:
        world = self.world
        world.arrive()
        world.leaves(intent, self)
        while world.as_it_leaves:
            world.as_it_leaves.pop(0)()
        fault = world.faults.pop(0) if world.faults else ""
        if fault == "crash before":
            raise Crash
        if fault == "unavailable":
            raise BrokerUnavailable("no route to the venue")
        if fault == "refused":
            raise OrderRejected("not today")
        if fault == "busy":
            raise RateLimited("too many requests", retry_after_s=1.0)
        if fault == "lost":
            raise OrderUnknown("timed out on the way there")
        if fault == "late":
            if world.live:
                world.on_their_way.append((world.clock.monotonic() + ON_ITS_WAY_S, intent))
            raise OrderUnknown("timed out on the way there")
        order = super().submit(intent)
        world.taken[intent.client_order_id] += 1
        if fault == "crash after":
            raise Crash
        if fault == "answer lost":
            raise OrderUnknown("timed out on the way back")
        return order

    def order(self, client_order_id: str) -> Order | None:
        self.world.answered()
        return super().order(client_order_id)

    def open_orders(self) -> Sequence[Order]:
        self.world.answered()
        return super().open_orders()

    def feed(self, cursor: str | None) -> Feed:
        self.world.answered()
        told = super().feed(cursor)
        how = self.world.telling.pop(0) if self.world.telling else ""
        if how == "again":
            everything = super().feed(None)
            return Feed(everything.fills, everything.activities, told.cursor)
        if how == "late":
            return Feed([], [], cursor or "f0.a0")
        if how == "missing":  # only the drop copy will tell
            return Feed([], told.activities, told.cursor)
        if how == "reversed":
            return Feed(told.fills[::-1], told.activities[::-1], told.cursor)
        return told

    def drop_copy(self, since: date) -> Sequence[Fill]:
        self.world.answered()
        return super().drop_copy(since)

    def account(self) -> BrokerAccount:
        self.world.answered()
        return super().account()


@dataclass
class Life:
    """A gateway with the connections of its process."""

    gateway: Gateway
    journal: MortalJournal
    line: Line

    def end(self) -> None:
        """What the operating system does when the process is gone."""
        self.journal.close()
        self.line.close()


class World:
    """A journal, an exchange, and what can happen to them.

    Parameters
    ----------
    live
        Whether the market opens and closes by itself, as at a real venue; else a gateway trades session by session.
    thin
        Whether a session's volume fills 300 shares of an order only.
    lot
        The step of quantities.
    """

    def __init__(self, folder: Path, *, live: bool = False, thin: bool = False, lot: Decimal = Decimal(1)) -> None:
        self.folder, self.live, self.thin, self.lot = folder, live, thin, lot
        self.clock = WorldClock(datetime(2013, 1, 7, 22, tzinfo=UTC))
        self.journal = Journal(folder / "journal.sqlite", self.clock)
        self.orders, self.ledger = OrderJournal(self.journal), Ledger(self.journal)
        self.controls, self.runs = Controls(self.journal), RunJournal(self.journal)
        self.venue = self._line()  # for the test's own eyes; nothing is lost on it
        self.session = SESSIONS[0]  # that intents are decided on
        self.as_it_leaves: list[Callable[[], None]] = []  # what else happens in that moment, once each
        self.faults: list[str] = []
        self.telling: list[str] = []
        self.silent = 0  # how many more questions the venue leaves unanswered
        self.on_their_way: list[tuple[float, OrderIntent]] = []
        self.taken = Counter[str]()
        self.holder: Line | None = None  # whose gateway has the lease
        self.disturbed = False  # whether the venue did something that the books cannot know before they are compared
        self.changed = False  # whether it ever did
        self.generation = 0

    def close(self) -> None:
        self.journal.close()
        self.venue.close()

    # ---- gateways --------------------------------------------------------------------------------

    def born(self) -> Life:
        """A gateway of a new process; the one before may be dead or only asleep."""
        self.generation += 1
        journal, line = MortalJournal(self.folder / "journal.sqlite", self.clock), self._line()
        parts = GatewayParts(
            ACCOUNT, line, MARKET, CALENDAR, LIMITS, Owner(Owner.current().host, 2**22 + self.generation, 1.0),
            replays=not self.live, unknown_wait_s=DOUBT_S if self.live else 0.0, lot=self.lot,
            patience_s=60.0,
            sure_sales=not self.thin,
        )  # fmt: skip
        self.holder = line
        return Life(Gateway(journal, parts), journal, line)

    @property
    def run_id(self) -> str:
        return f"{PIPELINE}-{self.session}"

    def _line(self) -> Line:
        line = Line(
            self.folder / "exchange.sqlite", account=ACCOUNT, market=MARKET, calendar=CALENDAR,
            costs=Costs(Decimal("0.005"), Decimal(1), Decimal(2)), starting_cash=CASH, opened=SESSIONS[0],
            clock=self.clock, max_volume_share=_THIN if self.thin else None, fractional=self.lot < 1,
        )  # fmt: skip
        line.world = self
        return line

    # ---- proposals -------------------------------------------------------------------------------

    def propose(self, strategy: str, intents: Sequence[OrderIntent]) -> bool:
        """Write a batch as a notebook would; False if that strategy has one for the session."""
        self.runs.claim(
            RunKey(ACCOUNT, PIPELINE, self.session), Owner.current(), run_id=self.run_id, folder="", parameters={},
            provenance={}, steps=[],
        )  # fmt: skip
        batch = Batch(
            f"{self.run_id}:{strategy}", self.run_id, ACCOUNT, PIPELINE, self.session, 0, strategy, Decimal(0),
            Decimal(0), 1,
        )  # fmt: skip
        return self.orders.propose(batch, [], intents)

    # ---- the venue -------------------------------------------------------------------------------

    @property
    def exchange_is_open(self) -> bool:
        return self.venue.exchange.phase is Phase.OPEN

    @property
    def closed(self) -> date:
        """The last session that has closed at the venue."""
        session = self.venue.exchange.session
        return CALENDAR.previous(session) if self.exchange_is_open else session

    def arrive(self) -> None:
        """Let orders that were late arrive, if their time has come."""
        due = [intent for at, intent in self.on_their_way if at <= self.clock.monotonic()]
        self.on_their_way = [(at, intent) for at, intent in self.on_their_way if at > self.clock.monotonic()]
        for intent in due:
            try:
                PaperExchange.submit(self.venue, intent)
            except (OrderRejected, OrderUnknown):
                continue  # nobody hears the answer
            self.taken[intent.client_order_id] += 1

    def answered(self) -> None:
        """Called for every question; raises if the venue does not answer it."""
        self.arrive()
        if self.silent > 0:
            self.silent -= 1
            raise BrokerUnavailable("no answer")

    # ---- what must hold --------------------------------------------------------------------------

    def leaves(self, intent: OrderIntent, line: Line) -> None:
        """The rules for an order that leaves a gateway, looked at in that very moment."""
        record = self.orders.intent(intent.client_order_id)
        assert record is not None, "it was never proposed"
        assert record.intent == intent, "it is not what was proposed"
        assert record.state is OrderState.SUBMITTING, f"it was not authorised: {record.state}"
        assert line is self.holder, "its gateway does not hold the account any more"
        state = self.controls.trading_state(ACCOUNT)
        if record.kind == FLATTEN:  # asked for by a person; one that had to wait may go after `resume`
            return
        assert state is not TradingState.HALTED, "trading is halted"
        locks = self.controls.locks(ACCOUNT)
        assert not {intent.symbol, EVERY_SYMBOL} & set(locks), f"locked: {locks}"
        if not self.disturbed:
            assert record.session is not None
            self._within_limits(intent, state, record.session)

    def _within_limits(self, intent: OrderIntent, state: TradingState, session: date) -> None:
        """Gross and per-name exposure at their worst, and nothing sold that is not held, by the venue's own state."""
        cash, holdings = self._as_told()
        at_venue = {o.client_order_id: o for o in PaperExchange.open_orders(self.venue)}
        most = dict(holdings)
        sells: dict[str, Decimal] = {}
        for order in at_venue.values():
            _count(most, sells, order.symbol, order.side, order.open_quantity, exit_=order.is_exit,
                   sure=order.type is OrderType.MARKET and order.time_in_force is not TimeInForce.CLS)  # fmt: skip
        instead: dict[str, Decimal] = {}  # by how much the largest of the replacements on their way is more
        for record in self.orders.intents(account=ACCOUNT, states=[OrderState.SUBMITTING, OrderState.UNKNOWN]):
            flying = record.intent
            if self.venue.exchange.order(flying.client_order_id) is None:
                old = at_venue.get(flying.replaces or "")
                if old is None and flying.replaces and self.venue.exchange.order(flying.replaces) is not None:
                    continue  # its place is gone: the venue refuses it, as every broker's contract test asks
                beyond = flying.quantity - (old.open_quantity if old else 0)
                name = flying.replaces or flying.client_order_id
                more = max(beyond - instead.get(name, Decimal(0)), Decimal(0))
                instead[name] = instead.get(name, Decimal(0)) + more
                _count(most, sells, flying.symbol, flying.side, more, exit_=False, sure=False)
        equity = cash + sum((q * price(s, session) for s, q in holdings.items()), Decimal(0))
        if intent.side is Side.SELL:
            free = holdings.get(intent.symbol, Decimal(0))
            assert sells.get(intent.symbol, Decimal(0)) <= free, f"sells {sells} of {holdings}"
            return
        assert state is TradingState.ACTIVE, "it does not reduce"
        values = {s: max(q, Decimal(0)) * price(s, session) for s, q in most.items()}
        gross = sum(values.values(), Decimal(0))
        assert gross <= GROSS * equity + _SLACK_USD, f"gross exposure {gross} of {equity}: {values}"
        named = values[intent.symbol]
        assert named <= NAME * equity + _SLACK_USD, f"{named} of {intent.symbol} of {equity}"

    def _as_told(self) -> tuple[Decimal, dict[str, Decimal]]:
        """What the account has at the venue, without trades by hand that no gateway has heard of yet."""
        account = PaperExchange.account(self.venue)
        cash, holdings = account.cash, dict(account.holdings)
        sql = "SELECT fill_id FROM fills UNION SELECT fill_id FROM external_fills"
        told = {row["fill_id"] for row in self.journal.read(sql)}
        for _, fill in self.venue.exchange.fills():
            if fill.client_order_id.startswith("manual-") and fill.fill_id not in told:
                cash -= fill.cash_delta
                holdings[fill.symbol] = holdings.get(fill.symbol, Decimal(0)) - fill.side.sign * fill.quantity
        return cash, holdings

    def check(self) -> None:
        """What holds at every moment, whatever has happened."""
        known = {record.intent.client_order_id: record for record in self.orders.intents()}
        records = {r.order.client_order_id: r for r in self.venue.exchange.orders()}
        assert not self.taken or max(self.taken.values()) == 1, f"taken twice: {self.taken}"
        for identifier, found in records.items():
            parent = found.order.parent_id
            if parent is not None and parent in records:
                assert found.order.symbol == records[parent].order.symbol
            elif not identifier.startswith(("manual-", "theirs-")):
                assert identifier in known, f"nobody proposed {identifier}"
        flying = {intent.client_order_id for _, intent in self.on_their_way}
        for identifier, record in known.items():
            if record.state in {OrderState.INTENDED, OrderState.DENIED, OrderState.REJECTED}:
                assert identifier not in records, f"{identifier} is {record.state} here and at the venue"
                assert identifier not in flying, f"{identifier} is {record.state} here and on its way"
            elif record.state not in {OrderState.SUBMITTING, OrderState.UNKNOWN}:
                assert identifier in records, f"{identifier} is {record.state} here and not at the venue"
        self._fills_once(known)
        if not self.changed:
            assert all(q >= 0 for q in PaperExchange.account(self.venue).holdings.values()), "sold short"

    def _fills_once(self, known: dict[str, object]) -> None:
        """Every execution is booked once, as the venue told it first, and under an order of ours or adopted."""
        rows = self.journal.read("SELECT fill_id, client_order_id, quantity, symbol FROM fills")
        assert len(rows) == len({row["fill_id"] for row in rows})
        legs = self.ledger.legs(ACCOUNT)
        assert all(parent in known for parent in legs.values())
        adopted = {row["fill_id"] for row in self.journal.read("SELECT fill_id FROM corrections WHERE kind='external'")}
        for row in rows:
            ours = row["client_order_id"] in known or row["client_order_id"] in legs
            assert ours or row["fill_id"] in adopted, f"{dict(row)} was booked without anybody's word"

    def agrees(self) -> None:
        """Books and venue are the same, to the cent."""
        account, books = PaperExchange.account(self.venue), self.ledger.books(ACCOUNT)
        assert (books.cash, books.holdings) == (account.cash, account.holdings)

    def same_books(self, life: Life) -> None:
        """The risk book that a gateway keeps up to date is the one that the journal and the venue give anew."""
        running = life.gateway._require_sender().book
        anew = read_book(
            self.journal, ACCOUNT, MARKET, LIMITS, running.session, lot=self.lot,
            open_orders=PaperExchange.open_orders(self.venue),
            strangers=life.gateway._reconciler.strangers if life.gateway._reconciler else None,
            sure_sales=not self.thin,
        )  # fmt: skip
        for symbol in SYMBOLS:
            ours, theirs = running.exposure(symbol), anew.exposure(symbol)
            apart = max(abs(ours.highest - theirs.highest), abs(ours.lowest - theirs.lowest))
            assert apart < _ROUNDING, f"{symbol}: {ours}, anew {theirs}"
        assert (running.cash, running.equity) == (anew.cash, anew.equity)


def _count(
    most: dict[str, Decimal], sells: dict[str, Decimal], symbol: str, side: Side, quantity: Decimal, *, exit_: bool,
    sure: bool,
) -> None:  # fmt: skip
    """Add one order to the worst case: buys fill, sells do not, but for sure ones."""
    if side is Side.BUY:
        most[symbol] = most.get(symbol, Decimal(0)) + quantity
    elif not exit_:
        sells[symbol] = sells.get(symbol, Decimal(0)) + quantity
        if sure:
            most[symbol] = most.get(symbol, Decimal(0)) - quantity
