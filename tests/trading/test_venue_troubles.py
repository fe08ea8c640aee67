"""A venue that is slow, busy, forgetful or wrong, as seen by the gateway that lives with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from support.houses import LIMITS, MON, RUN, SESSIONS, TUE, FaultyExchange, House
from support.markets import StaticMarket, bar

from workbench.brokers.base import BrokerAccount, Feed
from workbench.domain import Activity, ActivityKind, Fill, Order, OrderIntent, OrderType, Side, TradingState
from workbench.errors import BrokerUnavailable, ConfigError, JournalError, RateLimited, RunOverlap
from workbench.journal import Owner
from workbench.trading.gateway import Gateway
from workbench.trading.proposal import read_snapshot
from workbench.trading.reading import read_book

BUY, SELL = Side.BUY, Side.SELL
RUN_TUE = f"daily-{TUE}"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def living(house: House, kind: type[FaultyExchange], **parts: object) -> tuple[Gateway, FaultyExchange]:
    """A gateway at a venue with a fault of its own."""
    venue = house.exchange()
    venue.__class__ = kind
    return house.gateway(broker=venue, **parts), venue


class Slow(FaultyExchange):
    """Order states and balances are told at once; executions after the first only later."""

    def feed(self, cursor: str | None) -> Feed:
        return Feed([], [], cursor or "f1.a1")

    def drop_copy(self, since: date) -> Sequence[Fill]:
        return [fill for fill in super().drop_copy(since) if fill.fill_id == "f1"]


def test_shares_that_have_filled_but_were_not_told_yet_count(house: House) -> None:
    house.trade([("A", BUY, 10)]).close()
    gateway, venue = living(house, Slow, limits=LIMITS.model_copy(update={"max_name_exposure": Decimal("0.2")}))
    gateway.open(TUE, RUN_TUE)
    house.propose(TUE, [("A", BUY, 180)])
    gateway.pump()
    venue.exchange.open_market()  # it fills
    gateway.refresh()
    house.propose(TUE, [("A", BUY, 150)], strategy="again")
    gateway.pump()
    # 10 held and 180 bought are 19 % of equity, and 15 % more is over the limit of 20 %.
    assert house.decisions() == [("exposure", "exposure to A would be 0.3400 of equity, over 0.2")]


def test_a_planner_sees_what_was_filled_and_adopted_after_the_close(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    house.exchange().exchange.manual_trade("B", BUY, Decimal(7), Decimal(101))
    gateway.adopt(gateway.reconcile(), "ada")
    snapshot = read_snapshot(house.journal, "paper", TUE, Decimal(0))
    assert {symbol: position.quantity for symbol, position in snapshot.positions.items()} == {"A": 100, "B": 7}
    assert snapshot.positions["B"].price == 101  # what was paid: the close is not known here
    assert snapshot.cash == house.exchange().account().cash


def test_a_waiting_order_that_a_split_has_changed_counts_at_its_new_size(tmp_path: Path) -> None:
    from workbench.brokers.market import CorporateAction
    from workbench.domain import TimeInForce

    flat, half = bar("100", "100", "100", "100"), bar("50", "50", "50", "50")
    days = {MON: flat, **dict.fromkeys(SESSIONS[1:], half)}
    market = StaticMarket({"A": days}, {TUE: [CorporateAction("A", "split", Decimal(2))]})
    house = House(tmp_path, market)
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(
        MON, [("A", BUY, 100)], type=OrderType.LIMIT, limit_price=Decimal(96), time_in_force=TimeInForce.GTC
    )  # fmt: skip
    gateway.pump()
    gateway.close()
    house.gateway().open(TUE, RUN_TUE)
    assert read_snapshot(house.journal, "paper", TUE, Decimal(0)).expected("A") == 200


class Counted(FaultyExchange):
    asked = 0

    def open_orders(self) -> Sequence[Order]:
        self.asked += 1
        return super().open_orders()


def test_an_idle_gateway_does_not_ask_all_the_time(house: House) -> None:
    gateway, venue = living(house, Counted)
    gateway.open(MON, RUN)
    house.clock.advance(40)
    before = venue.asked  # type: ignore[attr-defined]
    for _ in range(100):
        gateway.step()
        house.clock.advance(0.01)
    assert venue.asked - before <= 4  # type: ignore[attr-defined]


class Away(FaultyExchange):
    """Out of reach for some questions, with something to tell."""

    silent = 0

    def changed(self) -> bool:
        return True

    def feed(self, cursor: str | None) -> Feed:
        if self.silent:
            self.silent -= 1
            raise BrokerUnavailable("no route to the exchange")
        return super().feed(cursor)


def test_a_venue_that_is_away_for_a_moment_does_not_end_the_job(house: House) -> None:
    gateway, venue = living(house, Away, patience_s=30.0)
    gateway.open(MON, RUN)
    venue.silent = 3  # type: ignore[attr-defined]
    house.propose(MON, [("A", BUY, 10)])
    for _ in range(20):
        gateway.step()
        house.clock.advance(0.5)
    assert house.states() == ["accepted"]


def test_a_venue_that_stays_away_ends_it(house: House) -> None:
    gateway, venue = living(house, Away, patience_s=30.0)
    gateway.open(MON, RUN)
    venue.silent = 10_000  # type: ignore[attr-defined]
    began = house.clock.monotonic()
    with pytest.raises(BrokerUnavailable):
        keep_stepping(house, gateway)
    assert 30 <= house.clock.monotonic() - began < 40


def keep_stepping(house: House, gateway: Gateway) -> None:
    for _ in range(1000):
        gateway.step()
        house.clock.advance(0.5)


class Metered(FaultyExchange):
    """Answers 50 single questions, then asks for a minute of peace."""

    left = 50

    def order(self, client_order_id: str) -> Order | None:
        if not self.left:
            self.left = 50
            raise RateLimited("too many requests", retry_after_s=60.0)
        self.left -= 1
        return super().order(client_order_id)


def test_many_orders_that_ended_meanwhile_are_asked_for_in_the_venues_time(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [(symbol, BUY, 1) for symbol in "ABC"] * 60)
    gateway.pump()
    gateway.close()
    later, _ = living(house, Metered)
    later.open(TUE, RUN_TUE)
    assert set(house.states()) == {"filled"}


def test_adopting_needs_the_account_and_a_difference_that_still_stands(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    house.exchange().exchange.manual_trade("A", SELL, Decimal(30), Decimal(101))
    found = gateway.reconcile()
    assert gateway.adopt(found, "ada") == 1
    assert gateway.adopt(found, "bob") == 0
    assert house.ledger.books("paper").holdings == {"A": Decimal(70)}
    other = house.gateway()
    other.open(TUE, RUN_TUE)  # the account passes on
    house.clock.advance(60)
    with pytest.raises(JournalError, match="passed to another process"):
        gateway.adopt(found, "ada")


class Fickle(FaultyExchange):
    """Every question about the account finds another symbol one share apart."""

    asked = 0

    def account(self) -> BrokerAccount:
        self.asked += 1
        told = super().account()
        symbol = "ABC"[self.asked % 3]
        return replace(told, holdings={**told.holdings, symbol: told.holdings.get(symbol, Decimal(0)) + 1})


def test_only_a_difference_seen_every_time_locks(house: House) -> None:
    gateway, _ = living(house, Fickle)
    gateway.open(MON, RUN)
    assert house.controls.locks("paper") == {}


def test_an_id_that_the_venue_knows_as_another_order_does_not_close_the_account(house: House) -> None:
    gateway = house.gateway(["lost"], unknown_wait_s=1e6)
    gateway.open(MON, RUN)
    (identifier,) = house.propose(MON, [("A", BUY, 100)])
    gateway.pump()
    house.exchange().submit(OrderIntent(identifier, "B", BUY, Decimal(5), Decimal(100), "", 0))
    again = house.gateway()
    again.open(MON, RUN)
    assert house.controls.trading_state("paper") is TradingState.HALTED
    house.controls.set_trading_state("paper", TradingState.ACTIVE, "seen", "ada")
    again.close()
    third = house.gateway()
    third.open(MON, RUN)
    assert house.controls.trading_state("paper") is TradingState.ACTIVE  # it was said once
    (mine,) = [difference for difference in third.reconcile() if difference.kind == "order_id"]
    third.adopt([mine], "ada")
    assert house.states() == ["canceled"]
    house.exchange().cancel(identifier)
    assert third.reconcile() == []


def test_an_account_of_another_venue_is_refused(house: House) -> None:
    class Elsewhere(FaultyExchange):
        name = "elsewhere"

    house.trade([]).close()
    gateway, _ = living(house, Elsewhere)
    with pytest.raises(ConfigError, match="has books of paper, not of elsewhere"):
        gateway.open(TUE, RUN_TUE)


class Gifted(FaultyExchange):
    """The account holds something that the lake has never heard of."""

    def opening(self) -> tuple[BrokerAccount, str] | None:
        return BrokerAccount(Decimal(50_000), {"Z": Decimal(10)}, MON), "f0.a1"

    def account(self) -> BrokerAccount:
        return BrokerAccount(Decimal(50_000), {"Z": Decimal(10)}, MON)


def test_a_holding_without_data_locks_its_symbol_and_the_account_opens(house: House) -> None:
    gateway, _ = living(house, Gifted)
    gateway.open(MON, RUN)
    assert list(house.controls.locks("paper")) == ["Z"]
    assert "load its data" in house.controls.locks("paper")["Z"]


def test_an_open_order_by_value_counts_by_its_value(house: House) -> None:
    house.trade([]).close()
    amount = Order(
        "v1", "theirs", "A", BUY, Decimal(0), OrderType.MARKET, None, "day", "accepted", Decimal(0), None,  # type: ignore[arg-type]
        notional_usd=Decimal(50_000),
    )  # fmt: skip
    from workbench.domain import OrderState, TimeInForce

    amount = replace(amount, state=OrderState.ACCEPTED, time_in_force=TimeInForce.DAY)
    book = read_book(house.journal, "paper", house.market, LIMITS, TUE, open_orders=[amount])
    assert book.exposure("A").buys == 500  # 50,000 USD at 100


def test_money_that_comes_after_the_close_is_no_gain_and_no_loss(house: House) -> None:
    house.trade([]).close()
    at = datetime(2013, 1, 9, 15, tzinfo=UTC)
    late = Activity("dep", ActivityKind.DEPOSIT, "", SESSIONS[2], Decimal(0), Decimal(50_000), at)
    house.ledger.record("paper", "paper", [], [late])
    assert house.ledger.books("paper", until=TUE).cash == 100_000
    assert house.ledger.books("paper").cash == 150_000
    for day in SESSIONS[2:4]:
        cash = house.ledger.books("paper", until=day).cash
        house.ledger.mark("paper", day, cash, {})
    flows = [(mark.equity, mark.flow) for mark in house.ledger.curve("paper")]
    assert flows == [(100_000, 100_000), (100_000, 0), (150_000, 50_000), (150_000, 0)]


def test_shares_that_are_moved_in_are_a_flow_at_their_price(house: House) -> None:
    house.trade([]).close()
    moved = Activity("acats", ActivityKind.DEPOSIT, "A", SESSIONS[2], Decimal(100), Decimal(0), datetime.now(UTC))
    house.ledger.record("paper", "paper", [], [moved])
    house.ledger.mark("paper", SESSIONS[2], Decimal(100_000), {"A": (Decimal(100), Decimal(100))})
    last = house.ledger.curve("paper")[-1]
    assert (last.equity, last.flow) == (110_000, 10_000)


def test_two_jobs_of_one_account_take_turns(house: House) -> None:
    first = house.gateway(owner=Owner.current())
    first.open(MON, RUN)
    second = house.gateway(owner=Owner("elsewhere", 1, 1.0))
    with pytest.raises(RunOverlap, match="account paper is in use"):
        second.open(MON, RUN)
    first.close()
    second = house.gateway(owner=Owner("elsewhere", 1, 1.0))
    assert second.open(MON, RUN).cash == Decimal(100_000)
    second.close()
    tokens = house.journal.read("SELECT token FROM leases WHERE name='gateway:paper'")
    assert [row["token"] for row in tokens] == [2]
