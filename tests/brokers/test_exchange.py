"""The venue from inside: phases, order records, events, replacements."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from brokers.contract_venue import (
    BUY,
    CLS,
    DAY,
    FRI,
    GTC,
    LIMIT,
    MON,
    OPG,
    SELL,
    THU,
    TRAILING,
    TUE,
    WED,
    intent,
)
from brokers.exchanges import NOW, TUE_CLOSE, TUE_OPEN, Opener, held, state, told
from support.markets import StaticMarket, bar

from workbench.brokers.exchange import Phase
from workbench.domain import OrderState
from workbench.errors import ConfigError, OrderRejected, OrderUnknown

DAYS = (MON, TUE, WED, THU, FRI)


# ---- phases --------------------------------------------------------------------------------------


def test_opening_and_closing_is_what_advancing_does(start: Opener, tmp_path: Path) -> None:
    exchange = start()
    exchange.submit(intent("c1"))
    exchange.submit(intent("c2", type=LIMIT, limit_price="95"))
    assert (exchange.session, exchange.phase, exchange.price("ABC")) == (MON, Phase.CLOSED, Decimal(100))
    assert exchange.open_market() == TUE
    assert (exchange.session, exchange.phase, exchange.price("ABC")) == (TUE, Phase.OPEN, Decimal(100))
    assert [(f.client_order_id, f.at) for _, f in exchange.fills()] == [("c1", TUE_OPEN)]
    exchange.close_market()
    assert (exchange.session, exchange.phase, exchange.price("ABC")) == (TUE, Phase.CLOSED, Decimal(102))
    assert [(f.client_order_id, f.at) for _, f in exchange.fills(1)] == [("c2", TUE_CLOSE)]


def test_the_price_of_an_open_session_is_never_its_close(start: Opener) -> None:
    exchange = start()
    exchange.advance(TUE)
    exchange.open_market()
    assert exchange.price("ABC") == Decimal(103)
    assert exchange.price("NONE") is None


def test_a_market_opens_and_closes_once(start: Opener) -> None:
    exchange = start()
    with pytest.raises(ConfigError, match="has closed for 2013-01-07 already"):
        exchange.close_market()
    exchange.open_market()
    with pytest.raises(ConfigError, match="open for 2013-01-08 already"):
        exchange.open_market()


def test_advancing_an_open_session_closes_it_and_never_goes_back(start: Opener) -> None:
    exchange = start()
    exchange.open_market()
    with pytest.raises(ConfigError, match="cannot go back to 2013-01-07"):
        exchange.advance(MON)
    exchange.advance(TUE)
    assert (exchange.session, exchange.phase) == (TUE, Phase.CLOSED)
    exchange.open_market()
    exchange.advance(FRI)
    assert (exchange.session, exchange.phase) == (FRI, Phase.CLOSED)


def test_an_open_session_survives_a_restart(start: Opener) -> None:
    market = StaticMarket({"ABC": dict.fromkeys(DAYS, bar("10", "12", "8", "10", "1000"))})
    exchange = start(market, max_volume_share=Decimal("0.1"))
    exchange.submit(intent("c1", quantity=150, type=LIMIT, limit_price="11"))
    exchange.open_market()
    exchange.close()
    again = start(market, max_volume_share=Decimal("0.1"))
    assert (again.session, again.phase) == (TUE, Phase.OPEN)
    again.close_market()
    # The order had its 100 shares of the session at the open; the range gives it no more.
    assert [fill.quantity for _, fill in again.fills()] == [Decimal(100)]
    assert state(again, "c1") is OrderState.EXPIRED


def test_auction_orders_are_taken_when_their_auction_is_still_to_come(start: Opener) -> None:
    exchange = start()
    exchange.open_market()
    with pytest.raises(OrderRejected, match=r"^time in force opg"):
        exchange.submit(intent("c1", time_in_force=OPG))
    exchange.submit(intent("c2", time_in_force=CLS))
    assert state(exchange, "c2") is OrderState.ACCEPTED
    exchange.close_market()
    assert [(f.price, f.at) for _, f in exchange.fills()] == [(Decimal(102), TUE_CLOSE)]


def test_without_a_bar_nothing_fills_and_only_gtc_orders_wait(start: Opener) -> None:
    market = StaticMarket({"ABC": {MON: bar("10", "10", "10", "10"), WED: bar("11", "11", "11", "11")}})
    exchange = start(market)
    for identifier, tif in (("day", DAY), ("gtc", GTC), ("opg", OPG), ("cls", CLS)):
        exchange.submit(intent(identifier, time_in_force=tif))
    exchange.open_market()
    assert state(exchange, "opg") is OrderState.EXPIRED
    assert exchange.price("ABC") == Decimal(10)
    exchange.submit(intent("late"))
    assert state(exchange, "late") is OrderState.ACCEPTED
    exchange.close_market()
    assert {i: state(exchange, i).value for i in ("day", "gtc", "cls", "late")} == {
        "day": "expired", "gtc": "accepted", "cls": "expired", "late": "expired",
    }  # fmt: skip
    exchange.advance(WED)
    assert [(f.client_order_id, f.price) for _, f in exchange.fills()] == [("gtc", Decimal(11))]


# ---- records and events --------------------------------------------------------------------------


def test_a_record_tells_an_orders_times(start: Opener) -> None:
    exchange = start()
    new = exchange.submit(intent("c1"), {"position_intent": "buy_to_open"})
    assert (new.created_at, new.updated_at, new.filled_at) == (NOW, NOW, None)
    assert (new.extra, new.order.venue_state) == ({"position_intent": "buy_to_open"}, "new")
    assert new.venue_id == new.order.broker_order_id
    exchange.submit(intent("c2", type=LIMIT, limit_price="1"))
    exchange.submit(intent("c3", type=LIMIT, limit_price="1", time_in_force=GTC))
    exchange.advance(TUE)
    filled, expired = exchange.order("c1"), exchange.order_by_venue_id(exchange.orders()[1].venue_id)
    assert filled is not None
    assert expired is not None
    assert (filled.filled_at, filled.extra) == (TUE_OPEN, {"position_intent": "buy_to_open"})
    assert (expired.order.client_order_id, expired.expired_at, expired.canceled_at) == ("c2", TUE_CLOSE, None)
    cancelled = exchange.cancel("c3")
    assert cancelled is not None
    assert cancelled.canceled_at == NOW
    assert exchange.order_by_venue_id("nonsense") is None
    assert exchange.order_by_venue_id(new.venue_id[:-1] + "9") is None


def test_no_two_orders_have_the_same_time(start: Opener) -> None:
    exchange = start()
    for number in range(3):
        exchange.submit(intent(f"c{number}"))
    exchange.close()
    again = start()
    again.submit(intent("c3"))
    microsecond = timedelta(microseconds=1)
    times = [record.created_at for record in again.orders(newest_first=False)]
    assert times == [NOW + number * microsecond for number in range(4)]


def test_orders_are_found_by_state_symbol_side_and_time(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", symbol="FLAT"))
    exchange.advance(TUE)
    exchange.submit(intent("c2", type=LIMIT, limit_price="1", time_in_force=GTC))
    exchange.submit(intent("c3", SELL, symbol="FLAT"))

    def names(**wanted: Any) -> list[str]:
        return [record.order.client_order_id for record in exchange.orders(**wanted)]

    assert names() == ["c3", "c2", "c1"]
    assert names(newest_first=False, limit=2) == ["c1", "c2"]
    assert names(open_only=True) == ["c3", "c2"]
    assert names(open_only=False) == ["c1"]
    assert names(symbols=["FLAT"]) == ["c3", "c1"]
    assert names(symbols=["FLAT", "ABC"], side=BUY) == ["c2", "c1"]
    assert names(symbols=[]) == []
    second = exchange.order("c2")
    assert second is not None
    assert (names(after=second.created_at), names(until=second.created_at)) == (["c3"], ["c1"])


def test_events_are_numbered_without_gaps_and_stay_as_they_were(start: Opener) -> None:
    market = StaticMarket({"ABC": dict.fromkeys(DAYS, bar("10", "10", "10", "10", "100"))})
    exchange = start(market, max_volume_share=Decimal("0.5"))
    exchange.submit(intent("c1", quantity=80, time_in_force=GTC))
    with pytest.raises(OrderRejected):
        exchange.submit(intent("c2", SELL))
    exchange.submit(intent("c3", type=LIMIT, limit_price="1"))
    exchange.advance(WED)
    exchange.submit(intent("c4", SELL, 10))
    exchange.cancel("c4")
    events = exchange.events()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert told(exchange) == [
        ("new", "c1"), ("new", "c3"), ("partial_fill", "c1"), ("expired", "c3"), ("fill", "c1"), ("new", "c4"),
        ("canceled", "c4"),
    ]  # fmt: skip
    part, whole = events[2], events[4]
    assert (part.record.order.state, part.record.order.filled_quantity) == (
        OrderState.PARTIALLY_FILLED, Decimal(50),
    )  # fmt: skip
    assert (part.position_quantity, part.at) == (Decimal(50), TUE_OPEN)
    assert part.fill is not None
    assert part.fill.fill_id == "f1"
    assert (whole.position_quantity, whole.record.order.filled_quantity) == (Decimal(80), Decimal(80))
    assert [event.number for event in exchange.events(after=2, limit=3)] == [3, 4, 5]
    assert exchange.last_numbers == (2, 1, 7)


def test_a_replacement_is_told_and_chained(start: Opener) -> None:
    exchange = start()
    old = exchange.submit(intent("c1", type=LIMIT, limit_price="90", time_in_force=GTC), {"note": "kept"})
    new = exchange.replace("c1", "c2", limit_price=Decimal(91))
    before = exchange.order("c1")
    assert before is not None
    assert (new.replaces, before.order.replaced_by) == (old.venue_id, new.venue_id)
    assert (before.order.venue_state, before.replaced_at) == ("replaced", new.created_at)
    assert (new.order.quantity, new.order.limit_price, new.order.time_in_force) == (Decimal(10), Decimal(91), GTC)
    assert new.extra == {"note": "kept"}
    assert told(exchange) == [("new", "c1"), ("replaced", "c1"), ("new", "c2")]
    with pytest.raises(OrderRejected, match="order c1 is canceled and cannot be replaced"):
        exchange.replace("c1", "c3")
    with pytest.raises(OrderUnknown, match="c1 exists already"):
        exchange.replace("c2", "c1")


def test_a_replacement_is_for_what_is_left_unless_it_says_more(start: Opener) -> None:
    exchange = start(max_volume_share=Decimal("0.1"))
    exchange.submit(intent("c1", quantity=250, symbol="THIN", type=LIMIT, limit_price="25", time_in_force=GTC))
    exchange.advance(TUE)
    assert exchange.replace("c1", "c2", limit_price=Decimal(24)).order.quantity == Decimal(150)
    assert exchange.replace("c2", "c3", quantity=Decimal(30)).order.quantity == Decimal(30)
    exchange.advance(FRI)
    assert held(exchange) == {"THIN": Decimal(130)}


def test_a_replacement_may_use_what_the_order_had_claimed(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", quantity=1900, type=LIMIT, limit_price="100"))
    assert exchange.replace("c1", "c2", quantity=Decimal(2000)).order.quantity == Decimal(2000)
    with pytest.raises(OrderRejected, match=r"^insufficient buying power"):
        exchange.replace("c2", "c3", quantity=Decimal(2001))
    exchange.advance(TUE)
    exchange.submit(intent("s1", SELL, 2000, type=LIMIT, limit_price="200"))
    exchange.replace("s1", "s2", limit_price=Decimal(150))
    with pytest.raises(OrderRejected, match=r"^insufficient shares: 2001 ABC to sell, 2000 free"):
        exchange.replace("s2", "s3", quantity=Decimal(2001))


def test_a_trailing_stop_keeps_its_best_price_over_a_replacement(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1"))
    exchange.advance(TUE)
    exchange.submit(intent("t1", SELL, type=TRAILING, trail_price="10", time_in_force=GTC))
    exchange.advance(WED)  # high 108
    exchange.replace("t1", "t2", trail=Decimal(5))
    exchange.advance(THU)
    assert [(f.client_order_id, f.price) for _, f in exchange.fills(1)] == [("t2", Decimal(103))]
    exchange.submit(intent("m1"))
    with pytest.raises(OrderRejected, match=r"^trail "):
        exchange.replace("m1", "m2", trail=Decimal(5))
