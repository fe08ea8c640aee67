from __future__ import annotations

import itertools
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.markets import StaticMarket, bar

from workbench.brokers.matching import Costs
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.clock import ManualClock
from workbench.domain import Order, OrderIntent, OrderState, Side, Snapshot, TradingState, client_order_id
from workbench.errors import BrokerError, BrokerUnavailable, JournalError, OrderUnknown, RunOverlap
from workbench.journal import Batch, Journal, OrderJournal, Owner, RunJournal, RunKey
from workbench.settings import RiskSettings
from workbench.trading.gateway import Gateway, GatewayParts

SESSIONS = calendar("XNYS").sessions(date(2013, 1, 7), date(2013, 3, 1))
MON, TUE, WED = SESSIONS[:3]
RUN = f"daily-{MON}"
FLAT = bar("100", "100", "100", "100")
MARKET = StaticMarket({symbol: dict.fromkeys(SESSIONS, FLAT) for symbol in ("A", "B", "C")})
LIMITS = RiskSettings(max_order_value_usd=Decimal(50_000), max_gross_exposure=Decimal(1), max_name_exposure=Decimal(1))


class Crash(BaseException):
    """The process dies here."""


class FaultyExchange(PaperExchange):
    """The real exchange behind a connection that can fail at chosen calls of ``submit``."""

    faults: list[str]

    def submit(self, intent: OrderIntent) -> Order:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "crash before":
            raise Crash
        if fault == "unavailable":
            raise BrokerUnavailable("no route to the exchange")
        order = super().submit(intent)
        if fault == "crash after":
            raise Crash
        if fault == "answer lost":
            raise OrderUnknown("timed out")
        return order


class House:
    """A journal and an exchange on disk; gateways come and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(datetime(2013, 1, 7, 22, tzinfo=UTC))
        self.journal = Journal(folder / "journal.sqlite", self.clock)
        self.orders = OrderJournal(self.journal)
        self.generation = 0

    def exchange(self, faults: list[str] | None = None) -> FaultyExchange:
        found = FaultyExchange(
            self.folder / "exchange.sqlite", account="paper", market=MARKET, calendar=calendar("XNYS"),
            costs=Costs(Decimal("0.005"), Decimal(1), Decimal(2)), starting_cash=Decimal(100_000), opened=MON,
        )  # fmt: skip
        found.faults = faults or []
        return found

    def gateway(self, faults: list[str] | None = None, owner: Owner | None = None) -> Gateway:
        """A gateway of a new process: the one before is dead, whatever its lease says."""
        self.generation += 1
        me = Owner.current()
        parts = GatewayParts(
            "paper", self.exchange(faults), MARKET, calendar("XNYS"), LIMITS,
            owner or Owner(me.host, 2**22 + self.generation, 1.0),
        )  # fmt: skip
        return Gateway(self.journal, parts)

    def propose(self, session: date, wanted: list[tuple[str, Side, int]]) -> list[str]:
        run_id = f"daily-{session}"
        RunJournal(self.journal).claim(
            RunKey("paper", "daily", session), Owner.current(), run_id=run_id, folder="", parameters={},
            provenance={}, steps=[],
        )  # fmt: skip
        batch = Batch(f"{run_id}:s", run_id, "paper", "daily", session, 0, "s", Decimal(0), Decimal(0), 1)
        intents = [
            OrderIntent(
                client_order_id("paper", "daily", session, 0, "s", symbol, side, number), symbol, side,
                Decimal(quantity), Decimal(100), "s", number,
            )
            for number, (symbol, side, quantity) in enumerate(wanted)
        ]  # fmt: skip
        self.orders.propose(batch, [], intents)
        return [intent.client_order_id for intent in intents]

    def states(self) -> list[str]:
        return [record.state.value for record in self.orders.intents()]

    def close(self) -> None:
        self.journal.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


BUY, SELL = Side.BUY, Side.SELL


def test_an_order_goes_from_intent_to_fill_and_the_books_agree(house: House) -> None:
    gateway = house.gateway()
    assert gateway.open(MON, RUN).cash == Decimal(100_000)
    house.propose(MON, [("A", BUY, 100)])
    assert gateway.pump() == 1
    assert house.states() == ["accepted"]
    gateway.close()
    later = house.gateway()
    snapshot = later.open(TUE, "daily-2013-01-08")
    assert house.states() == ["filled"]
    # 100 x 100.02 and a fee of 1.
    assert (snapshot.cash, snapshot.quantity("A")) == (Decimal("89997"), Decimal(100))
    marks = house.journal.read("SELECT session, equity FROM marks ORDER BY session")
    assert [(row["session"], Decimal(row["equity"])) for row in marks] == [
        ("2013-01-07", Decimal(100_000)),
        ("2013-01-08", Decimal(99_997)),
    ]


def test_every_session_in_between_is_marked(house: House) -> None:
    house.gateway().open(MON, RUN)
    house.gateway().open(SESSIONS[4], RUN)
    marks = house.journal.read("SELECT session FROM marks ORDER BY session")
    assert [row["session"] for row in marks] == [day.isoformat() for day in SESSIONS[:5]]


def test_a_refused_order_is_denied_and_never_sent(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 600), ("B", BUY, 100)])
    gateway.pump()
    assert house.states() == ["denied", "accepted"]
    assert [o.symbol for o in house.exchange().open_orders()] == ["B"]


def test_what_was_sent_counts_against_the_next_order(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 490), ("B", BUY, 490), ("C", BUY, 100)])
    gateway.pump()
    # 490 + 490 shares of 100 USD are 98,000; another 10,000 is over the equity of 100,000.
    assert house.states() == ["accepted", "accepted", "denied"]


def test_a_lost_answer_is_looked_up_and_adopted(house: House) -> None:
    gateway = house.gateway(faults=["answer lost"])
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    gateway.pump()
    assert house.states() == ["accepted"]
    assert len(house.exchange().open_orders()) == 1
    moves = [r["to_state"] for r in house.journal.read("SELECT to_state FROM order_events ORDER BY id")]
    assert moves == ["intended", "submitting", "unknown", "accepted"]


def test_an_order_that_was_not_sent_waits_for_the_next_gateway(house: House) -> None:
    gateway = house.gateway(faults=["unavailable"])
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    with pytest.raises(BrokerUnavailable):
        gateway.pump()
    assert house.states() == ["intended"]
    again = house.gateway()
    again.open(MON, RUN)
    again.pump()
    assert house.states() == ["accepted"]


@pytest.mark.parametrize("fault", ["crash before", "crash after"])
def test_a_crash_around_the_send_neither_doubles_nor_loses_the_order(house: House, fault: str) -> None:
    gateway = house.gateway(faults=[fault])
    gateway.open(MON, RUN)
    ids = house.propose(MON, [("A", BUY, 100), ("B", BUY, 100)])
    with pytest.raises(Crash):
        gateway.pump()
    assert house.states() == ["submitting", "intended"]
    again = house.gateway()
    again.open(MON, RUN)
    again.pump()
    assert house.states() == ["accepted", "accepted"]
    assert sorted(o.client_order_id for o in house.exchange().open_orders()) == sorted(ids)


def test_an_intent_left_over_from_an_earlier_session_is_denied(house: House) -> None:
    house.gateway().open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    later = house.gateway()
    later.open(TUE, "daily-2013-01-08")
    assert house.states() == ["denied"]
    assert house.exchange().open_orders() == []


def test_a_halt_denies_what_waits_and_survives_a_restart(house: House) -> None:
    house.gateway().open(MON, RUN)
    house.orders.set_trading_state("*", TradingState.HALTED, "drill", "me")
    house.propose(MON, [("A", BUY, 100)])
    again = house.gateway()
    again.open(MON, RUN)
    again.pump()
    assert house.states() == ["denied"]
    gate = house.journal.read("SELECT gate FROM decisions")[0]["gate"]
    assert gate == "trading_state"


def test_an_account_has_one_gateway(house: House) -> None:
    me = Owner.current()
    house.gateway(owner=me).open(MON, RUN)
    house.journal.clock.sleep(1)
    impostor = Owner("another-host", 1, 1.0)  # cannot be seen to be dead, so its wish to hold must wait
    with pytest.raises(RunOverlap, match="gateway:paper is held by process"):
        house.gateway(owner=impostor).open(MON, RUN)


def test_a_gateway_whose_lease_passed_on_sends_nothing(house: House) -> None:
    paused = house.gateway()
    paused.open(MON, RUN)
    other = house.gateway()
    other.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    with pytest.raises(JournalError, match="passed to another process; nothing was sent"):
        paused.pump()
    assert house.exchange().open_orders() == []
    other.pump()
    assert house.states() == ["accepted"]


def test_books_that_disagree_with_the_venue_halt_the_account(house: House) -> None:
    house.gateway().open(MON, RUN)
    venue = house.exchange()
    with venue._transaction() as db:  # somebody wires money out at the broker
        db.execute("UPDATE account SET cash='99000'")
    with pytest.raises(BrokerError, match=r"halted: books and venue disagree: we have 100000 USD .* venue 99000 USD"):
        house.gateway().open(MON, RUN)
    assert house.orders.trading_state("paper") is TradingState.HALTED


def test_an_order_at_the_venue_that_is_not_ours_halts_the_account(house: House) -> None:
    house.gateway().open(MON, RUN)
    house.exchange().submit(OrderIntent("by-phone", "A", BUY, Decimal(1), Decimal(100), "", 0))
    with pytest.raises(BrokerError, match="orders that are not ours: by-phone"):
        house.gateway().open(MON, RUN)


def test_the_same_id_with_other_fields_halts_the_account(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    (identifier,) = house.propose(MON, [("A", BUY, 100)])
    house.exchange().submit(OrderIntent(identifier, "B", BUY, Decimal(5), Decimal(100), "", 0))
    with pytest.raises(BrokerError, match=r"knows .* as another order"):
        gateway.pump()
    assert house.orders.trading_state("paper") is TradingState.HALTED


def test_cancel_all_passes_in_a_halt(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    gateway.pump()
    house.orders.set_trading_state("paper", TradingState.HALTED, "drill", "me")
    assert [o.state for o in gateway.cancel_all()] == [OrderState.CANCELED]
    assert house.states() == ["canceled"]


def test_what_another_run_of_the_session_has_not_sent_is_left_to_it(house: House) -> None:
    house.gateway().open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    other = house.gateway()
    other.open(MON, "second-run")
    assert other.pump() == 0
    assert house.states() == ["intended"]
    mine = house.gateway()
    mine.open(MON, RUN)
    assert mine.pump() == 1
    assert house.states() == ["accepted"]


def test_an_intent_that_cannot_be_computed_with_is_denied_and_the_next_one_passes(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 10**40), ("B", BUY, 100)])
    gateway.pump()
    assert house.states() == ["denied", "accepted"]


def test_a_stop_in_the_middle_sends_nothing_more(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    stop = threading.Event()
    stop.set()
    gateway.serve(stop)
    assert house.states() == ["intended"]


class AnyHistory(RuleBasedStateMachine):
    """Sessions, proposals, crashes, lost answers, halts in any order: nothing doubled, lost or over a limit."""

    counter = itertools.count()

    @initialize()
    def start(self) -> None:
        import tempfile

        self.scratch = tempfile.TemporaryDirectory()
        self.house = House(Path(self.scratch.name))
        self.day = 0
        self.proposed: dict[str, int] = {}
        self.snapshot: Snapshot | None = None

    def work(self, faults: list[str]) -> None:
        """One life of a gateway: it opens, deals with what waits, and ends, perhaps badly."""
        gateway = self.house.gateway(faults)
        try:
            self.snapshot = gateway.open(SESSIONS[self.day], f"daily-{SESSIONS[self.day]}")
            gateway.pump()
        except (Crash, BrokerUnavailable):
            return
        gateway.close()

    @precondition(lambda self: self.day < 30)
    @rule()
    def next_session(self) -> None:
        self.day += 1

    @rule(
        wanted=st.lists(
            st.tuples(st.sampled_from("ABC"), st.sampled_from([BUY, SELL]), st.integers(1, 600)), max_size=4
        )
    )
    def propose(self, wanted: list[tuple[str, Side, int]]) -> None:
        for identifier, (_, _, quantity) in zip(self.house.propose(SESSIONS[self.day], wanted), wanted, strict=True):
            self.proposed.setdefault(identifier, quantity)

    @rule(
        faults=st.lists(st.sampled_from(["", "crash before", "crash after", "answer lost", "unavailable"]), max_size=5)
    )
    def gateway_lives(self, faults: list[str]) -> None:
        self.work(faults)

    @rule(state=st.sampled_from(list(TradingState)))
    def trading_state(self, state: TradingState) -> None:
        self.house.orders.set_trading_state("paper", state, "drill", "me")

    @invariant()
    def orders_at_the_venue_are_intents_once(self) -> None:
        if not hasattr(self, "house"):
            return
        venue = self.house.exchange()
        at_venue = [row["client_order_id"] for row in venue._all("SELECT client_order_id FROM orders", ())]
        assert len(at_venue) == len(set(at_venue))
        known = {r.intent.client_order_id: r for r in self.house.orders.intents()}
        assert set(at_venue) <= set(known)
        for identifier, record in known.items():
            if record.state in {OrderState.INTENDED, OrderState.DENIED, OrderState.REJECTED}:
                assert identifier not in at_venue
            elif record.state is not OrderState.SUBMITTING:
                assert identifier in at_venue
        account = venue.account()
        assert all(quantity >= 0 for quantity in account.holdings.values())
        gross = sum((quantity * 100 for quantity in account.holdings.values()), Decimal(0))
        assert gross <= Decimal(100_000)
        venue.close()

    def teardown(self) -> None:
        if not hasattr(self, "house"):
            return
        self.house.orders.set_trading_state("paper", TradingState.ACTIVE, "", "me")
        self.work([])
        # After one undisturbed life nothing is left in doubt, and the books are the venue's.
        assert not {"submitting", "unknown", "intended"} & set(self.house.states())
        venue = self.house.exchange()
        books = self.house.orders.books("paper")
        assert (books.cash, books.holdings) == (venue.account().cash, venue.account().holdings)
        venue.close()
        self.house.close()
        self.scratch.cleanup()


AnyHistory.TestCase.settings = hypothesis_settings(max_examples=40, stateful_step_count=15, deadline=None)
TestAnyHistory = AnyHistory.TestCase
