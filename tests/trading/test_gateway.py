from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest
from support.houses import MON, RUN, SESSIONS, TUE, Crash, House

from workbench.domain import OrderIntent, Side, TradingState
from workbench.errors import BrokerError, BrokerUnavailable, JournalError, RunOverlap
from workbench.journal import Owner


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
    assert house.states() == ["submitting", "submitting"]  # approved together; both are looked up
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
    house.controls.set_trading_state("*", TradingState.HALTED, "drill", "me")
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
    with pytest.raises(JournalError, match="passed to another process"):
        paused.pump()
    assert house.exchange().open_orders() == []
    other.pump()
    assert house.states() == ["accepted"]


def test_the_same_id_with_other_fields_halts_the_account(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    (identifier,) = house.propose(MON, [("A", BUY, 100)])
    house.exchange().submit(OrderIntent(identifier, "B", BUY, Decimal(5), Decimal(100), "", 0))
    with pytest.raises(BrokerError, match=r"knows .* as another order"):
        gateway.pump()
    assert house.controls.trading_state("paper") is TradingState.HALTED


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
