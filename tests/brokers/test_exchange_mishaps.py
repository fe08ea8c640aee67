"""Busts, corrections, overfills, trades of others, and a store that fails."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from brokers.contract_venue import (
    BUY,
    GTC,
    LIMIT,
    MON,
    SELL,
    TUE,
    WED,
    intent,
)
from brokers.exchanges import NOW, Opener, held, state, told

from workbench.brokers.exchange import Phase
from workbench.brokers.exchange.store import Store
from workbench.brokers.matching import Costs
from workbench.clock import ManualClock
from workbench.domain import OrderState
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, OrderRejected, OrderUnknown

# ---- mishaps -------------------------------------------------------------------------------------


def test_a_busted_trade_never_was(start: Opener) -> None:
    exchange = start(costs=Costs(Decimal("0.005"), Decimal(1), Decimal(2)))
    exchange.submit(intent("c1"))
    exchange.submit(intent("c2", symbol="FLAT"))
    exchange.advance(TUE)
    exchange.bust("f1")
    assert [fill.fill_id for _, fill in exchange.fills()] == ["f2"]
    # Only 10 FLAT at 50.01 and the fee of 1 are left.
    assert (held(exchange), exchange.cash) == ({"FLAT": Decimal(10)}, Decimal("99498.9"))
    event = exchange.events()[-1]
    assert (event.kind, event.position_quantity) == ("trade_bust", Decimal(0))
    assert event.fill is not None
    assert event.fill.fill_id == "f1"
    assert (event.record.order.filled_quantity, event.record.order.average_price) == (Decimal(0), None)
    for gone in ("f1", "f9", "", "x1", "f-1"):
        with pytest.raises(ConfigError, match="has no fill"):
            exchange.bust(gone)


def test_a_corrected_trade_has_its_new_values_everywhere(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1"))
    exchange.advance(TUE)
    exchange.correct("f1", price=Decimal("99.50"), quantity=Decimal(8))
    ((number, fill),) = exchange.fills()
    assert (number, fill.price, fill.quantity) == (1, Decimal("99.50"), Decimal(8))
    assert exchange.cash == Decimal(100_000) - Decimal(796)
    record = exchange.order("c1")
    assert record is not None
    assert (record.order.filled_quantity, record.order.average_price) == (Decimal(8), Decimal("99.5"))
    (holding,) = exchange.holdings()
    assert (holding.quantity, holding.cost) == (Decimal(8), Decimal(796))
    assert exchange.events()[-1].kind == "trade_correct"


def test_an_overfill_goes_beyond_the_order(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1"))
    exchange.submit(intent("c2", type=LIMIT, limit_price="1", time_in_force=GTC))
    exchange.advance(TUE)
    exchange.overfill("c1", Decimal(3))  # at 100, its price before
    exchange.overfill("c2", Decimal(5))  # 10 were open; at 102, the price now
    assert [(f.client_order_id, f.quantity, f.price) for _, f in exchange.fills(1)] == [
        ("c1", Decimal(3), Decimal(100)), ("c2", Decimal(15), Decimal(102)),
    ]  # fmt: skip
    assert held(exchange) == {"ABC": Decimal(28)}
    first, second = exchange.order("c1"), exchange.order("c2")
    assert first is not None
    assert second is not None
    assert (first.order.filled_quantity, first.order.open_quantity) == (Decimal(13), Decimal(0))
    assert (second.order.state, second.order.filled_quantity) == (OrderState.FILLED, Decimal(15))
    with pytest.raises(ConfigError, match="has no order"):
        exchange.overfill("never-sent", Decimal(1))


def test_somebody_else_can_trade_on_the_account(start: Opener) -> None:
    exchange = start()
    fill = exchange.manual_trade("ABC", BUY, Decimal(7), Decimal(99))
    assert fill.client_order_id.startswith("manual-")
    assert (held(exchange), exchange.cash) == ({"ABC": Decimal(7)}, Decimal(99_307))
    assert told(exchange) == [("new", fill.client_order_id), ("fill", fill.client_order_id)]
    with pytest.raises(OrderRejected, match=r"^insufficient shares"):
        exchange.manual_trade("ABC", SELL, Decimal(8), Decimal(99))


def test_a_sale_whose_shares_are_gone_is_cancelled_not_sold_short(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", quantity=10))
    exchange.advance(TUE)
    exchange.submit(intent("s1", SELL, 6))
    exchange.submit(intent("s2", SELL, 4))
    exchange.manual_trade("ABC", SELL, Decimal(7), Decimal(100))
    exchange.advance(WED)
    assert held(exchange) == {}
    first, second = exchange.order("s1"), exchange.order("s2")
    assert first is not None
    assert second is not None
    assert (first.order.state, first.order.filled_quantity) == (OrderState.CANCELED, Decimal(3))
    assert (second.order.state, second.order.filled_quantity) == (OrderState.CANCELED, Decimal(0))


# ---- the store -----------------------------------------------------------------------------------


def test_a_failed_transaction_leaves_memory_as_the_disk_is(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = start()
    exchange.submit(intent("c1"))

    def fail(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "add_event", fail)
    with pytest.raises(OrderUnknown, match=r"paper\.sqlite: database or disk is full"):
        exchange.submit(intent("c2"))
    with pytest.raises(BrokerUnavailable, match="disk is full"):
        exchange.cancel("c1")
    with pytest.raises(BrokerUnavailable, match="disk is full"):
        exchange.open_market()
    monkeypatch.undo()
    assert exchange.order("c2") is None
    assert state(exchange, "c1") is OrderState.ACCEPTED
    assert (exchange.session, exchange.phase, exchange.cash) == (MON, Phase.CLOSED, Decimal(100_000))
    exchange.submit(intent("c2"))
    exchange.advance(TUE)
    assert held(exchange) == {"ABC": Decimal(20)}


def test_a_commit_that_fails_leaves_memory_as_the_disk_is(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = start()
    flush = exchange._book.flush

    def flush_and_fail() -> None:
        flush()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(exchange._book, "flush", flush_and_fail)
    with pytest.raises(OrderUnknown, match="disk I/O error"):
        exchange.submit(intent("c1"))
    assert exchange.order("c1") is None
    assert exchange.submit(intent("c1")).order.client_order_id == "c1"


def test_two_openers_of_one_file_see_each_others_changes(start: Opener) -> None:
    first, second = start(), start()
    first.submit(intent("c1", quantity=1500))
    assert state(second, "c1") is OrderState.ACCEPTED
    with pytest.raises(OrderRejected, match=r"^insufficient buying power"):
        second.submit(intent("c2", quantity=501))
    second.advance(TUE)
    assert (first.session, held(first)) == (TUE, {"ABC": Decimal(1500)})


def test_an_account_remembers_when_it_was_opened(start: Opener) -> None:
    exchange = start()
    assert (exchange.created_at, exchange.account_name) == (NOW, "paper")
    exchange.close()
    later = start(clock=ManualClock(NOW + timedelta(days=1)))
    assert later.created_at == NOW


def test_a_file_of_a_newer_release_is_refused(start: Opener, tmp_path: Path) -> None:
    start().close()
    with sqlite3.connect(tmp_path / "paper.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(BrokerError, match=r"paper\.sqlite: it was made by a newer release \(schema 99"):
        start()
