"""What happens when the books and the venue disagree."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from support.houses import MON, RUN, TUE, FaultyExchange, House

from workbench.brokers.base import BrokerAccount, Feed
from workbench.domain import Fill, OrderIntent, OrderState, Side
from workbench.journal.ledger import Books, Correction
from workbench.journal.orders import Answer
from workbench.trading.gateway import Gateway
from workbench.trading.reconcile import compare_account

BUY, SELL = Side.BUY, Side.SELL
RUN_TUE = f"daily-{TUE}"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def agrees(house: House) -> bool:
    books, venue = house.ledger.books("paper"), house.exchange().account()
    return (books.cash, books.holdings) == (venue.cash, venue.holdings)


def found(gateway: Gateway) -> list[tuple[str, str]]:
    return [(difference.kind, difference.symbol) for difference in gateway.reconcile()]


def test_a_manual_trade_locks_its_symbol_until_it_is_adopted(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    house.exchange().exchange.manual_trade("A", SELL, Decimal(30), Decimal(101))
    house.propose(TUE, [("A", SELL, 10), ("B", BUY, 10)])
    (difference,) = gateway.reconcile()
    assert (difference.kind, difference.symbol) == ("external", "A")
    assert difference.text.startswith("sell 30 A at 101 was not ours (order manual-")
    gateway.pump()
    assert house.states()[1:] == ["denied", "accepted"]
    assert house.decisions()[0][0] == "locked"
    gateway.adopt([difference], "Ada L.")
    assert gateway.reconcile() == []
    assert agrees(house)
    assert house.controls.locks("paper") == {}
    (row,) = house.journal.read("SELECT kind, actor FROM corrections")
    assert (row["kind"], row["actor"]) == ("external", "Ada L.")


def test_a_manual_trade_is_found_when_the_account_is_opened(house: House) -> None:
    house.trade([("A", BUY, 100)]).close()
    house.exchange().exchange.manual_trade("B", BUY, Decimal(7), Decimal(100))
    house.gateway().open(TUE, RUN_TUE)
    assert list(house.controls.locks("paper")) == ["B"]


def test_a_busted_trade_is_taken_back_on_a_persons_word(house: House) -> None:
    gateway = house.trade([("A", BUY, 100), ("B", BUY, 100)])
    (bought, _) = house.exchange().drop_copy(MON)
    house.exchange().exchange.bust(bought.fill_id)
    (difference,) = gateway.reconcile()
    assert (difference.kind, difference.symbol) == ("bust", "A")
    assert "is now nothing" in difference.text
    gateway.adopt([difference], "ada")
    assert gateway.reconcile() == []
    assert agrees(house)
    assert house.ledger.books("paper").holdings == {"B": Decimal(100)}


def test_a_corrected_price_changes_cash_by_the_difference(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    before = house.ledger.books("paper").cash
    (bought,) = house.exchange().drop_copy(MON)
    house.exchange().exchange.correct(bought.fill_id, price=Decimal(99))
    gateway.adopt(gateway.reconcile(), "ada")
    # Bought at 100.02, now at 99: 102 USD come back.
    assert house.ledger.books("paper").cash - before == Decimal(102)
    assert gateway.reconcile() == []
    assert agrees(house)


def test_a_trade_that_is_corrected_twice_is_adopted_twice(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    (bought,) = house.exchange().drop_copy(MON)
    for price in (Decimal(99), Decimal(98)):
        house.exchange().exchange.correct(bought.fill_id, price=price)
        gateway.adopt(gateway.reconcile(), "ada")
    assert gateway.reconcile() == []
    assert agrees(house)


def test_an_overfill_is_a_fact_that_locks_until_somebody_has_seen_it(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    (record,) = house.orders.intents()
    house.exchange().exchange.overfill(record.intent.client_order_id, Decimal(50))
    gateway.refresh()
    assert agrees(house)
    (difference,) = gateway.reconcile()
    assert (difference.kind, difference.text.endswith("was filled by 50 more than it asked for")) == ("overfill", True)
    assert house.controls.locks("paper").keys() == {"A"}
    gateway.adopt([difference], "ada")
    assert gateway.reconcile() == []
    assert agrees(house)


def test_cash_that_nothing_explains_locks_the_whole_account(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    # A dollar too little in the books is a dollar too much at the venue.
    entry = Correction("cash", "", TUE, Decimal(0), Decimal(-1), "a slip")
    house.ledger.correct("paper", "paper", [entry], "somebody")
    (difference,) = gateway.reconcile()
    assert (difference.kind, difference.symbol, difference.fix) == ("cash", "*", "adopt 1 USD")
    house.propose(TUE, [("B", BUY, 10)])
    gateway.pump()
    assert house.states()[-1] == "denied"
    gateway.adopt([difference], "ada")
    assert gateway.reconcile() == []
    assert agrees(house)


def test_shares_that_nothing_explains_lock_their_symbol(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    entry = Correction("position", "A", TUE, Decimal(-1), Decimal(0), "a slip")
    house.ledger.correct("paper", "paper", [entry], "somebody")
    (difference,) = gateway.reconcile()
    assert (difference.kind, difference.text, difference.fix) == (
        "position", "the books have 99 A, the venue 100", "adopt 1 shares",
    )  # fmt: skip


def test_one_difference_is_adopted_and_another_stays(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    venue = house.exchange().exchange
    venue.manual_trade("A", SELL, Decimal(1), Decimal(100))
    venue.manual_trade("B", BUY, Decimal(1), Decimal(100))
    mine = [difference for difference in gateway.reconcile() if difference.symbol == "B"]
    gateway.adopt(mine, "ada")
    assert found(gateway) == [("external", "A")]


def test_an_open_order_of_somebody_else_locks_its_symbol_until_it_is_gone(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    house.exchange().submit(OrderIntent("by-phone", "B", BUY, Decimal(1), Decimal(100), "", 0))
    (difference,) = gateway.reconcile()
    assert (difference.kind, difference.symbol, difference.corrections) == ("external_order", "B", ())
    house.exchange().cancel("by-phone")
    assert gateway.reconcile() == []
    assert house.controls.locks("paper") == {}


def test_an_open_order_of_somebody_else_counts_against_the_limits(house: House) -> None:
    gateway = house.trade([])
    house.exchange().submit(OrderIntent("by-phone", "B", BUY, Decimal(900), Decimal(100), "", 0))
    gateway.refresh()
    house.propose(TUE, [("A", BUY, 200)])
    gateway.pump()
    assert house.decisions()[0][0] in {"exposure", "buying_power"}


def test_an_order_that_ended_here_but_is_open_there_locks_its_symbol(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    (identifier,) = house.propose(MON, [("A", BUY, 10)])
    gateway.pump()
    house.orders.answer([Answer(identifier, OrderState.CANCELED, "somebody said so")])
    assert found(gateway) == [("order_state", "A")]
    house.exchange().cancel(identifier)
    assert found(gateway) == []


def test_an_order_that_the_venue_forgot_locks_its_symbol(house: House, tmp_path: Path) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    gateway.close()
    shutil.copy(tmp_path / "exchange.sqlite", tmp_path / "old.sqlite")
    again = house.gateway()
    again.open(MON, RUN)
    house.propose(MON, [("A", BUY, 10)])
    again.pump()
    again.close()
    for left in tmp_path.glob("exchange.sqlite*"):
        left.unlink()
    shutil.copy(tmp_path / "old.sqlite", tmp_path / "exchange.sqlite")  # the venue restored a backup
    third = house.gateway()
    third.open(MON, RUN)
    assert found(third) == [("order_lost", "A")]


class Forgetful(FaultyExchange):
    """A venue whose feed leaves executions out, though its drop copy has them."""

    def feed(self, cursor: str | None) -> Feed:
        told = super().feed(cursor)
        return Feed([], told.activities, told.cursor)


def test_an_execution_that_the_feed_left_out_is_booked_from_the_drop_copy(house: House) -> None:
    gateway = house.gateway()
    gateway.open(MON, RUN)
    house.propose(MON, [("A", BUY, 100)])
    gateway.pump()
    gateway.close()
    venue = house.exchange()
    venue.__class__ = Forgetful
    later = house.gateway(broker=venue)
    later.open(TUE, RUN_TUE)
    assert agrees(house)
    assert house.controls.locks("paper") == {}


class Late(FaultyExchange):
    """A venue whose balance lags behind once."""

    asked = 0

    def account(self) -> BrokerAccount:
        self.asked += 1
        told = super().account()
        return BrokerAccount(told.cash + 5, told.holdings, told.session) if self.asked == 1 else told


def test_what_differs_for_a_moment_only_locks_nothing(house: House) -> None:
    venue = house.exchange()
    venue.__class__ = Late
    house.gateway(broker=venue).open(MON, RUN)
    assert house.controls.locks("paper") == {}
    assert house.journal.read("SELECT * FROM locks") == []


class Twice(FaultyExchange):
    """A venue that tells every execution twice, the second time from the beginning."""

    def feed(self, cursor: str | None) -> Feed:
        told = super().feed(None)
        return Feed([*reversed(told.fills), *told.fills], [*told.activities, *told.activities], told.cursor)

    def drop_copy(self, since: date) -> Sequence[Fill]:
        copy = super().drop_copy(since)
        return [*copy, *copy]


def test_executions_told_twice_and_out_of_order_count_once(house: House) -> None:
    house.trade([("A", BUY, 100), ("B", BUY, 50)]).close()
    venue = house.exchange()
    venue.__class__ = Twice
    gateway = house.gateway(broker=venue)
    gateway.open(TUE, RUN_TUE)
    assert gateway.reconcile() == []
    assert agrees(house)


def test_every_comparison_is_on_record(house: House) -> None:
    gateway = house.trade([("A", BUY, 100)])
    house.exchange().exchange.manual_trade("A", SELL, Decimal(1), Decimal(100))
    gateway.reconcile()
    rows = house.journal.read("SELECT moment, agrees, differences FROM reconciliations ORDER BY id")
    assert [(r["moment"], r["agrees"]) for r in rows] == [("start", 1), ("end", 1), ("start", 1), ("asked", 0)]
    assert json.loads(rows[-1]["differences"])[0]["symbol"] == "A"


@pytest.mark.parametrize(
    ("mine", "theirs", "fix"),
    [
        ("100", "200", "it looks like a split of 2 for 1 not reported yet; wait, or adopt"),
        ("100", "10", "it looks like a split of 1 for 10 not reported yet; wait, or adopt"),
        ("100", "107", "adopt 7 shares"),
        ("100", "0", "adopt -100 shares"),
        ("0", "3", "adopt 3 shares"),
    ],
)
def test_a_position_that_differs_says_what_it_may_be(mine: str, theirs: str, fix: str) -> None:
    ours = Books(Decimal(0), {"A": Decimal(mine)} if mine != "0" else {})
    venue = BrokerAccount(Decimal(0), {"A": Decimal(theirs)} if theirs != "0" else {}, TUE)
    (difference,) = compare_account(ours, venue, TUE, Decimal(0))
    assert difference.fix == fix


def test_a_difference_of_cash_within_the_tolerance_is_none() -> None:
    ours, venue = Books(Decimal(100), {}), BrokerAccount(Decimal("100.01"), {}, TUE)
    assert compare_account(ours, venue, TUE, Decimal("0.01")) == []
    assert len(compare_account(ours, venue, TUE, Decimal("0.009"))) == 1
