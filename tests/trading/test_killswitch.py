"""Halt, cancel, flatten: at once, until confirmed, and whoever holds the account."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path

import pytest
from support.houses import MON, RUN, TUE, Crash, FaultyExchange, House

from workbench.clock import SystemClock
from workbench.domain import Order, Side, TradingState
from workbench.errors import BrokerUnavailable, RunOverlap
from workbench.journal import Owner
from workbench.journal.orders import FLATTEN
from workbench.trading.killswitch import CANCEL, demand

BUY, SELL = Side.BUY, Side.SELL


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def halt(house: House) -> None:
    house.controls.set_trading_state("*", TradingState.HALTED, "drill", "ada")


def with_open_orders(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100), ("B", BUY, 100)])
    gateway.pump()
    gateway.close()


def test_everything_open_is_cancelled_in_a_halt(house: House) -> None:
    with_open_orders(house)
    halt(house)
    assert demand(house.journal, "paper", [CANCEL], "ada", house.gateway) == ["2 orders cancelled"]
    assert house.states() == ["canceled", "canceled"]
    assert house.exchange().open_orders() == []


class Deaf(FaultyExchange):
    """A venue that does not hear the first cancels, and cannot be reached for a while."""

    cancels = 0

    def cancel(self, client_order_id: str) -> Order | None:
        self.cancels += 1
        if self.cancels == 1:
            raise BrokerUnavailable("no route to the exchange")
        if self.cancels <= 4:
            return self.order(client_order_id)
        return super().cancel(client_order_id)


def test_cancels_are_repeated_until_the_venue_confirms(house: House) -> None:
    with_open_orders(house)
    venue = house.exchange()
    venue.__class__ = Deaf
    answers = demand(house.journal, "paper", [CANCEL], "ada", lambda: house.gateway(broker=venue))
    assert answers == ["2 orders cancelled"]
    assert house.exchange().open_orders() == []


class Stubborn(FaultyExchange):
    """A venue that never cancels anything."""

    def cancel(self, client_order_id: str) -> Order | None:
        return self.order(client_order_id)


def test_what_cannot_be_cancelled_is_said_and_stays_asked(house: House) -> None:
    with_open_orders(house)
    venue = house.exchange()
    venue.__class__ = Stubborn
    with pytest.raises(BrokerUnavailable, match="has not confirmed in 30 s; 2 orders are open there"):
        demand(house.journal, "paper", [CANCEL], "ada", lambda: house.gateway(broker=venue))
    later = house.gateway()  # the next gateway of the account, once the venue hears again
    later.open(MON, RUN)
    later.step()
    assert house.exchange().open_orders() == []
    assert house.controls.asked("paper") == []


def test_an_order_in_doubt_is_cancelled_when_it_turns_up(house: House) -> None:
    gateway = house.gateway(["lost"], unknown_wait_s=10.0)
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 10)])
    gateway.pump()
    halt(house)
    house.controls.ask("paper", CANCEL, "ada")
    gateway.step()
    assert [command.kind for command in house.controls.asked("paper")] == [CANCEL]  # not done: it may be on its way
    house.exchange().submit(house.orders.intents()[0].intent)
    house.clock.advance(3)
    gateway.step()
    house.clock.advance(3)
    gateway.step()
    assert house.exchange().open_orders() == []
    assert house.states() == ["canceled"]
    assert house.controls.asked("paper") == []


def test_an_order_that_was_not_sent_yet_is_withdrawn(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    (identifier,) = house.propose(MON, [("A", BUY, 10)])
    house.controls.ask("paper", CANCEL, "ada", identifier)
    gateway.step()
    assert house.states() == ["denied"]
    assert house.decisions() == [("cancel", "cancelled by ada before it was sent")]


def test_going_flat_closes_what_the_venue_has_whatever_the_books_say(house: House) -> None:
    house.trade([("A", BUY, 100)]).close()
    house.exchange().exchange.manual_trade("A", SELL, Decimal(40), Decimal(100))
    house.exchange().exchange.manual_trade("C", BUY, Decimal(7), Decimal(100))
    halt(house)
    assert demand(house.journal, "paper", [FLATTEN], "ada", house.gateway) == ["2 positions are being closed"]
    waiting = sorted((o.side.value, o.symbol, o.quantity) for o in house.exchange().open_orders())
    assert waiting == [("sell", "A", Decimal(60)), ("sell", "C", Decimal(7))]


def test_an_exit_that_the_venue_refuses_is_named(house: House) -> None:
    house.trade([("A", BUY, 100), ("B", BUY, 10)]).close()
    halt(house)
    answers = demand(house.journal, "paper", [FLATTEN], "ada", lambda: house.gateway(["refused", ""]))
    assert answers == ["1 positions are being closed; not closed: A (rejected)"]


def test_a_batch_that_calls_itself_an_exit_but_opens_a_position_is_denied(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    halt(house)
    house.propose(MON, [("A", BUY, 900)], kind=FLATTEN)
    gateway.pump()
    assert house.decisions() == [("exit", "buy 900 is more than the 0 that the venue has to close")]


def test_going_flat_sells_all_that_is_held_and_nothing_else_passes(house: House) -> None:
    gateway = house.trade([("A", BUY, 100), ("B", BUY, 50)])
    house.propose(TUE, [("A", SELL, 1)])
    gateway.close()
    halt(house)
    answers = demand(house.journal, "paper", [CANCEL, FLATTEN], "ada", house.gateway)
    assert answers == ["0 orders cancelled", "2 positions are being closed"]
    again = house.gateway()
    again.open(TUE, f"daily-{TUE}")
    again.pump()
    assert house.states()[2:] == ["denied", "accepted", "accepted"]
    waiting = sorted((o.side.value, o.symbol, o.quantity) for o in house.exchange().open_orders())
    assert waiting == [("sell", "A", Decimal(100)), ("sell", "B", Decimal(50))]
    (run,) = house.journal.read("SELECT pipeline, parameters FROM runs WHERE pipeline = 'halt'")
    assert run["parameters"] == '{"by": "ada"}'


def test_going_flat_leaves_the_strategies_with_nothing(house: House) -> None:
    house.trade([("A", BUY, 100)]).close()
    halt(house)
    demand(house.journal, "paper", [FLATTEN], "ada", house.gateway)
    house.gateway().open(house.exchange().exchange.session.replace(day=9), "daily-2013-01-09")
    assert house.ledger.books("paper").holdings == {}
    assert house.ledger.sleeves("paper") == {"s": {}}


@pytest.mark.parametrize("fault", ["crash before", "crash after"])
def test_dying_while_going_flat_neither_doubles_nor_forgets_an_exit(house: House, fault: str) -> None:
    house.trade([("A", BUY, 100), ("B", BUY, 50)]).close()
    halt(house)
    with pytest.raises(Crash):
        demand(house.journal, "paper", [FLATTEN], "ada", lambda: house.gateway([fault]))
    again = house.gateway()
    again.attach()
    again.kill_switch.obey()
    again.close()
    waiting = sorted((o.side.value, o.symbol, o.quantity) for o in house.exchange().open_orders())
    assert waiting == [("sell", "A", Decimal(100)), ("sell", "B", Decimal(50))]


def test_a_job_that_holds_the_account_carries_the_command_out(tmp_path: Path) -> None:
    house = House(tmp_path)
    with_open_orders(house)
    ready, stop = threading.Event(), threading.Event()

    def job() -> None:
        mine = House(tmp_path, clock=SystemClock())
        gateway = mine.gateway(owner=Owner.current())
        gateway.open(MON, RUN)
        ready.set()
        gateway.serve(stop)
        gateway.close()

    holder = threading.Thread(target=job)
    holder.start()
    ready.wait()
    person = House(tmp_path, clock=SystemClock())
    elsewhere = Owner("elsewhere", 1, 1.0)
    answers = demand(person.journal, "paper", [CANCEL], "ada", lambda: person.gateway(owner=elsewhere))
    stop.set()
    holder.join()
    assert answers == ["2 orders cancelled"]
    assert house.exchange().open_orders() == []


def test_a_job_that_does_not_answer_is_reported_and_the_command_stays(house: House) -> None:
    house.gateway(owner=Owner.current()).open(MON, RUN)  # holds the account and never looks
    elsewhere = Owner("elsewhere", 1, 1.0)
    renew = house.clock.sleep

    def still_there(seconds: float) -> None:
        renew(seconds)
        house.journal._connection.execute("UPDATE leases SET expires_at = '2099-01-01T00:00:00+00:00'")

    house.clock.sleep = still_there
    with pytest.raises(BrokerUnavailable, match="has not answered in 30 s"):
        demand(house.journal, "paper", [CANCEL], "ada", lambda: house.gateway(owner=elsewhere))
    assert [command.kind for command in house.controls.asked("paper")] == [CANCEL]


def test_one_order_is_cancelled_by_its_id(house: House) -> None:
    with_open_orders(house)
    first, second = (record.intent.client_order_id for record in house.orders.intents())
    house.controls.ask("paper", CANCEL, "ada", first)
    gateway = house.gateway()
    gateway.attach()
    gateway.step()
    assert [o.client_order_id for o in house.exchange().open_orders()] == [second]


def test_an_account_that_is_held_cannot_be_attached_to(house: House) -> None:
    house.gateway(owner=Owner.current()).open(MON, RUN)
    with pytest.raises(RunOverlap):
        house.gateway(owner=Owner("elsewhere", 1, 1.0)).attach()
