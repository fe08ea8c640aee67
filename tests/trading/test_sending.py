"""How orders leave: in groups, one by one, never after a halt, never without the lease."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from support.houses import LIMITS, MON, RUN, TUE, WED, FaultyExchange, House
from support.markets import StaticMarket, bar

from workbench.clock import SystemClock
from workbench.domain import Order, OrderIntent, OrderState, Side, TradingState
from workbench.errors import BrokerUnavailable, JournalError, RateLimited, RunCancelled, RunOverlap
from workbench.journal import Owner
from workbench.settings import ThrottleSettings
from workbench.trading.gateway import LEASE_S, Gateway

BUY, SELL = Side.BUY, Side.SELL


class Watched(FaultyExchange):
    """The exchange with something happening at the first submit; it still gets that order."""

    happens: Callable[[], None]
    seen: int = 0

    def submit(self, intent: OrderIntent) -> Order:
        self.seen += 1
        if self.seen == 1:
            self.happens()
        return super().submit(intent)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


STRICT = LIMITS.model_copy(update={"require_quality": True})


def opened(house: House, faults: list[str] | None = None, **parts: object) -> Gateway:
    gateway = house.gateway(faults, **parts)
    gateway.open(MON, RUN)
    return gateway


def watched(house: House, happens: Callable[[], None]) -> Gateway:
    """A gateway on an exchange at whose first submit something happens."""
    venue = house.exchange()
    venue.__class__ = Watched
    assert isinstance(venue, Watched)
    venue.happens = happens
    return opened(house, broker=venue)


def test_buys_are_decided_once_the_sells_before_them_are_accepted(house: House) -> None:
    house.trade([("A", BUY, 490), ("B", BUY, 490)]).close()
    gateway = house.gateway()
    gateway.open(TUE, f"daily-{TUE}")
    house.propose(TUE, [("A", SELL, 490), ("C", BUY, 450)])
    gateway.pump()
    # 98,000 of 100,000 are invested: the 45,000 for C are there only because A is as good as sold.
    assert house.states()[2:] == ["accepted", "accepted"]


def test_a_halt_between_two_orders_of_a_group_stops_the_rest(house: House) -> None:
    def halt() -> None:
        house.controls.set_trading_state("*", TradingState.HALTED, "drill", "me")

    gateway = watched(house, halt)
    house.propose(MON, [("A", BUY, 10), ("B", BUY, 10), ("C", BUY, 10)])
    gateway.pump()
    # The halt was committed while the first order was on its way; the other two had been approved already.
    assert house.states() == ["accepted", "denied", "denied"]
    assert [o.symbol for o in house.exchange().open_orders()] == ["A"]
    assert house.decisions() == [("trading_state", "trading is halted")] * 2


def test_reducing_between_two_exits_of_a_group_lets_the_second_go(house: House) -> None:
    house.trade([("A", BUY, 100), ("B", BUY, 100)]).close()

    def reduce() -> None:
        house.controls.set_trading_state("paper", TradingState.REDUCING, "drill", "me")

    venue = house.exchange()
    venue.__class__ = Watched
    venue.happens = reduce  # type: ignore[attr-defined]
    gateway = house.gateway(broker=venue)
    gateway.open(TUE, f"daily-{TUE}")
    house.propose(TUE, [("A", SELL, 50), ("B", SELL, 50), ("C", BUY, 10)])
    gateway.pump()
    assert house.states()[2:] == ["accepted", "accepted", "denied"]


def test_a_process_that_was_stopped_while_sending_sends_nothing_when_it_wakes(house: House) -> None:
    def sleep_while_another_takes_over() -> None:
        house.clock.advance(LEASE_S + 1)
        other = opened(house, owner=Owner("elsewhere", 1, 1.0))
        other.pump()  # it finds both orders approved and not at the venue, and sends them under their ids

    gateway = watched(house, sleep_while_another_takes_over)
    ids = house.propose(MON, [("A", BUY, 10), ("B", BUY, 10)])
    with pytest.raises(JournalError):
        gateway.pump()
    assert [o.client_order_id for o in house.exchange().open_orders()] == ids
    assert house.states() == ["accepted", "accepted"]


def test_a_lease_that_ran_out_while_nobody_wanted_it_is_prolonged(house: House) -> None:
    gateway = watched(house, lambda: house.clock.advance(LEASE_S + 1))  # a slow call
    house.propose(MON, [("A", BUY, 10), ("B", BUY, 10)])
    gateway.pump()
    assert house.states() == ["accepted", "accepted"]


def test_a_venue_that_is_busy_gets_the_same_order_once_when_it_says_so(house: House) -> None:
    gateway = opened(house, ["busy", "busy", ""])
    (identifier,) = house.propose(MON, [("A", BUY, 10)])
    before = house.clock.monotonic()
    gateway.pump()
    assert house.clock.monotonic() - before == pytest.approx(2.0)  # it asked for a second, twice
    assert [o.client_order_id for o in house.exchange().open_orders()] == [identifier]


def test_a_venue_that_stays_busy_gets_nothing_and_the_orders_wait(house: House) -> None:
    gateway = opened(house, ["busy"] * 10)
    house.propose(MON, [("A", BUY, 10), ("B", BUY, 10)])
    with pytest.raises(RateLimited):
        gateway.pump()
    assert house.states() == ["intended", "intended"]
    assert house.exchange().open_orders() == []


def test_a_halt_is_heard_while_the_venue_asks_for_a_pause(house: House) -> None:
    gateway = opened(house, ["busy"])
    house.propose(MON, [("A", BUY, 10)])
    sleep = house.clock.sleep

    def halted_meanwhile(seconds: float) -> None:
        sleep(seconds)
        house.controls.set_trading_state("paper", TradingState.HALTED, "drill", "me")

    house.clock.sleep = halted_meanwhile  # type: ignore[method-assign]
    with pytest.raises(BrokerUnavailable, match="halted while the venue asked for a pause"):
        gateway.pump()
    assert house.states() == ["intended"]
    gateway.pump()
    assert house.states() == ["denied"]


def test_an_order_lost_on_the_way_blocks_its_symbol_and_goes_again_under_its_id(house: House) -> None:
    house.trade([("A", BUY, 100), ("B", BUY, 100)]).close()
    gateway = house.gateway(["lost"], unknown_wait_s=10.0)
    gateway.open(TUE, f"daily-{TUE}")
    ids = house.propose(TUE, [("A", SELL, 10)])
    gateway.pump()
    house.propose(TUE, [("A", SELL, 20), ("B", SELL, 20), ("C", BUY, 20)], strategy="other")
    gateway.pump()
    # Another order of A is refused, one of B is not, and a buy waits to know what it can be paid with.
    assert house.states()[2:] == ["unknown", "denied", "accepted", "intended"]
    assert house.decisions() == [("unknown_order", "an order of A is in doubt; it is looked up first")]
    house.clock.advance(9)
    gateway.step()
    assert house.states()[2] == "unknown"  # it may still be on its way
    house.clock.advance(3)
    gateway.step()
    assert house.states()[2:] == ["accepted", "denied", "accepted", "accepted"]
    assert [o.client_order_id for o in house.exchange().open_orders() if o.symbol == "A"] == ids


def test_buys_do_not_wait_for_ever_for_an_order_in_doubt(house: House) -> None:
    gateway = opened(house, ["lost"], unknown_wait_s=1e6)
    house.propose(MON, [("A", BUY, 10)])
    gateway.pump()
    house.propose(MON, [("B", BUY, 20)], strategy="other")
    gateway.pump()
    assert house.states() == ["unknown", "intended"]
    house.clock.advance(31)
    gateway.step()
    assert house.states() == ["unknown", "accepted"]


def test_a_lost_order_that_arrives_late_is_adopted(house: House) -> None:
    gateway = opened(house, ["lost"], unknown_wait_s=10.0)
    (identifier,) = house.propose(MON, [("A", BUY, 10)])
    gateway.pump()
    (record,) = house.orders.intents()
    house.exchange().submit(record.intent)  # it was only slow
    house.clock.advance(1)
    gateway.step()
    assert house.states() == ["accepted"]
    assert [o.client_order_id for o in house.exchange().open_orders()] == [identifier]


def test_a_definitive_refusal_ends_the_order_and_the_next_one_goes(house: House) -> None:
    gateway = opened(house, ["refused", ""])
    house.propose(MON, [("A", BUY, 10), ("B", BUY, 10)])
    gateway.pump()
    assert house.states() == ["rejected", "accepted"]


def test_what_was_refused_by_the_venue_does_not_count_any_more(house: House) -> None:
    gateway = opened(house, ["refused"])
    house.propose(MON, [("A", BUY, 490)])
    gateway.pump()
    house.propose(MON, [("B", BUY, 490), ("C", BUY, 490)], strategy="other")
    gateway.pump()
    assert house.states() == ["rejected", "accepted", "accepted"]


def test_the_throttle_paces_orders_and_refuses_none(house: House) -> None:
    gateway = opened(house, throttle=ThrottleSettings(per_s=2, burst=1))
    house.propose(MON, [("A", BUY, 10), ("B", BUY, 10), ("C", BUY, 10)])
    before = house.clock.monotonic()
    gateway.pump()
    assert house.states() == ["accepted"] * 3
    assert house.clock.monotonic() - before == pytest.approx(1.0, abs=0.05)


def test_faulty_data_denies_its_symbol_alone(house: House) -> None:
    asked: list[tuple[list[str], object]] = []

    def faults(symbols: object, session: object) -> dict[str, str]:
        asked.append((list(symbols), session))  # type: ignore[call-overload]
        return {"A": "unapplied_split on 2013-01-07"}

    gateway = opened(house, quality=faults, limits=STRICT)
    house.propose(MON, [("A", BUY, 10), ("B", BUY, 10)])
    gateway.pump()
    assert house.states() == ["denied", "accepted"]
    assert house.decisions() == [("data_quality", "the data of A is faulty: unapplied_split on 2013-01-07")]
    assert asked == [(["A", "B"], MON)]


def test_data_that_nobody_has_judged_is_not_traded_on(house: House) -> None:
    gateway = opened(house, limits=STRICT)
    house.propose(MON, [("A", BUY, 10)])
    gateway.pump()
    assert house.decisions() == [("data_quality", "the data of A has no quality verdict")]


@pytest.mark.parametrize(("skew_s", "state"), [(1.9, "accepted"), (300.0, "denied"), (-300.0, "denied")])
def test_a_clock_that_is_off_stops_orders(house: House, skew_s: float, state: str) -> None:
    class Skewed(FaultyExchange):
        def clock(self) -> datetime:
            return house.clock.now() + timedelta(seconds=skew_s)

    venue = house.exchange()
    venue.__class__ = Skewed
    gateway = opened(house, broker=venue)
    house.propose(MON, [("A", BUY, 10)])
    gateway.pump()
    assert house.states() == [state]


def test_a_loss_trips_the_breaker_which_only_a_named_person_resets(tmp_path: Path) -> None:
    # 490 shares of 100 fall to 75: 12,250 of 100,000 are gone in one session, over the 10 % allowed.
    days = {MON: bar("100", "100", "100", "100"), TUE: bar("100", "100", "75", "75"), WED: bar("75", "75", "75", "75")}
    house = House(tmp_path, StaticMarket({"A": days, "B": days}))
    gateway = house.trade([("A", BUY, 490)])
    assert house.controls.trading_state("paper") is TradingState.REDUCING
    house.propose(TUE, [("A", SELL, 90), ("B", BUY, 10)], reference_price=Decimal(75))
    gateway.pump()
    assert house.states() == ["filled", "accepted", "denied"]
    house.controls.set_trading_state("paper", TradingState.ACTIVE, "go on", "ada")
    assert house.controls.trading_state("paper") is TradingState.REDUCING
    gateway.close()
    house.controls.reset("paper", "daily_loss", actor="Ada L.", reason="position reviewed", session=TUE)
    assert house.controls.trading_state("paper") is TradingState.ACTIVE
    again = house.gateway()
    again.open(TUE, f"daily-{TUE}")  # the loss before the reset does not trip it again
    assert house.controls.trading_state("paper") is TradingState.ACTIVE


def test_another_run_of_the_account_is_waited_for(house: House) -> None:
    holder = opened(house, owner=Owner.current())
    impatient = house.gateway(owner=Owner("elsewhere", 1, 1.0), lease_wait_s=5.0)
    sleep, waited = house.clock.sleep, []

    def finish_meanwhile(seconds: float) -> None:
        sleep(seconds)
        waited.append(seconds)
        if len(waited) == 3:
            holder.close()

    house.clock.sleep = finish_meanwhile  # type: ignore[method-assign]
    impatient.open(MON, RUN)
    assert len(waited) == 3


def test_waiting_for_another_run_ends_with_its_patience_or_a_cancel(house: House) -> None:
    opened(house, owner=Owner.current())
    with pytest.raises(RunOverlap):
        house.gateway(owner=Owner("elsewhere", 1, 1.0), lease_wait_s=5.0).open(MON, RUN)
    with pytest.raises(RunCancelled):
        house.gateway(owner=Owner("elsewhere", 1, 1.0), lease_wait_s=5.0, interrupted=lambda: True).open(MON, RUN)


def test_two_strategies_racing_one_limit_never_exceed_it(tmp_path: Path) -> None:
    """Two gateways of two processes' making want the whole account at the same moment."""
    House(tmp_path).trade([]).close()

    def run(name: str) -> None:
        house = House(tmp_path, clock=SystemClock())
        gateway = house.gateway(owner=Owner(name, 1, 1.0), lease_wait_s=30.0)
        house.propose(TUE, [("A", BUY, 400), ("B", BUY, 400)], strategy=name)
        gateway.open(TUE, f"daily-{TUE}")
        gateway.pump()
        gateway.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    house = House(tmp_path)
    assert sorted(house.states()) == ["accepted", "accepted", "denied", "denied"]
    worth = sum(order.quantity * 100 for order in house.exchange().open_orders())
    assert worth == 80_000  # of the 100,000 that gross exposure is limited to


def test_replacing_an_order_counts_the_larger_of_the_two(house: House) -> None:
    gateway = opened(house)
    (first,) = house.propose(MON, [("A", BUY, 490)])
    gateway.pump()
    (record,) = house.orders.intents()
    assert record.state is OrderState.ACCEPTED
    house.propose(MON, [("A", BUY, 400)], strategy="s2", replaces=first)
    gateway.pump()
    gateway.refresh()
    assert house.states() == ["canceled", "accepted"]
    assert [(o.symbol, o.quantity) for o in house.exchange().open_orders()] == [("A", Decimal(400))]


def fill_the_disk(house: House) -> None:
    """From now on the journal's file cannot grow: SQLite says that the disk is full."""
    (pages,) = house.journal.read("PRAGMA page_count")[0]
    house.journal.read(f"PRAGMA max_page_count = {pages}")


def free_the_disk(house: House) -> None:
    house.journal.read("PRAGMA max_page_count = 1000000")


def go_on(house: House, gateway: Gateway) -> None:
    """Propose and send until something stops it."""
    for number in range(50):
        house.propose(MON, [(symbol, BUY, 1) for symbol in "ABC"] * 10, strategy=f"s{number}")
        gateway.pump()


def test_a_full_disk_stops_before_anything_is_sent(house: House) -> None:
    gateway = opened(house)
    fill_the_disk(house)
    with pytest.raises(JournalError, match=r"full.*free disk space"):
        go_on(house, gateway)
    free_the_disk(house)
    at_venue = {o.client_order_id for o in house.exchange().open_orders()}
    accepted = {r.intent.client_order_id for r in house.orders.intents(states=[OrderState.ACCEPTED])}
    in_flight = {r.intent.client_order_id for r in house.orders.intents(states=[OrderState.SUBMITTING])}
    assert accepted <= at_venue <= accepted | in_flight
    again = opened(house)
    again.pump()
    assert {o.client_order_id for o in house.exchange().open_orders()} == {
        r.intent.client_order_id for r in house.orders.intents(states=[OrderState.ACCEPTED])
    }
    assert not {"submitting", "intended", "unknown"} & set(house.states())


def test_a_disk_that_is_full_when_the_answer_comes_loses_no_order(house: House) -> None:
    gateway = watched(house, lambda: fill_the_disk(house))
    with pytest.raises(JournalError, match="full"):
        go_on(house, gateway)
    free_the_disk(house)
    sent = {o.client_order_id for o in house.exchange().open_orders()}
    assert sent
    again = opened(house)
    again.pump()
    accepted = {r.intent.client_order_id for r in house.orders.intents(states=[OrderState.ACCEPTED])}
    assert sent <= accepted
    assert not {"submitting", "intended", "unknown"} & set(house.states())
