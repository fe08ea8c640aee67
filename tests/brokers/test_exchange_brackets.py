"""The exits of brackets, from the venue's side."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from brokers.contract_venue import (
    BUY,
    GTC,
    LIMIT,
    MON,
    SELL,
    THU,
    TUE,
    WED,
    intent,
)
from brokers.exchanges import Opener, held, state
from support.markets import StaticMarket, bar

from workbench.domain import Bracket, OrderState
from workbench.errors import OrderRejected


def test_an_entry_filled_within_the_range_takes_its_stop_but_not_its_profit(start: Opener) -> None:
    """Tuesday goes from 100 to 106 and 94; whether the high came after a fill at 97 nobody knows."""
    exchange = start()
    exchange.submit(
        intent("c1", type=LIMIT, limit_price="97", time_in_force=GTC, bracket=Bracket(Decimal(103), Decimal(95)))
    )  # fmt: skip
    exchange.submit(
        intent("c2", type=LIMIT, limit_price="97", time_in_force=GTC, bracket=Bracket(Decimal(103), Decimal(90)))
    )  # fmt: skip
    # The close of 102 comes after any fill.
    exchange.submit(
        intent("c3", type=LIMIT, limit_price="97", time_in_force=GTC, bracket=Bracket(Decimal(102), Decimal(90)))
    )  # fmt: skip
    exchange.advance(TUE)
    legs = {
        i: [leg.order.state.value for leg in record.legs] for i in ("c1", "c2", "c3") if (record := exchange.order(i))
    }
    assert legs == {
        "c1": ["canceled", "filled"], "c2": ["accepted", "accepted"], "c3": ["filled", "canceled"],
    }  # fmt: skip


def test_exits_wait_until_the_entry_has_filled(start: Opener) -> None:
    exchange = start(max_volume_share=Decimal("0.1"))
    record = exchange.submit(
        intent("c1", quantity=150, symbol="THIN", time_in_force=GTC, bracket=Bracket(Decimal(30), Decimal(10)))
    )  # fmt: skip
    assert [leg.order.venue_state for leg in record.legs] == ["held", "held"]
    exchange.advance(TUE)
    part = exchange.order("c1")
    assert part is not None
    assert [leg.order.venue_state for leg in part.legs] == ["held", "held"]
    exchange.submit(intent("c2", SELL, 100, symbol="THIN"))  # what is held is free until then
    exchange.cancel("c2")
    exchange.advance(WED)
    whole = exchange.order("c1")
    assert whole is not None
    assert [(leg.order.venue_state, leg.order.quantity) for leg in whole.legs] == [("new", Decimal(150))] * 2
    assert exchange.free_shares("THIN") == 0


def test_an_entry_cancelled_in_the_middle_leaves_exits_for_what_it_filled(start: Opener) -> None:
    exchange = start(max_volume_share=Decimal("0.1"))
    exchange.submit(
        intent("c1", quantity=250, symbol="THIN", time_in_force=GTC, bracket=Bracket(Decimal(30), Decimal(10)))
    )  # fmt: skip
    exchange.advance(TUE)
    record = exchange.cancel("c1")
    assert record is not None
    assert [(leg.order.venue_state, leg.order.quantity) for leg in record.legs] == [("new", Decimal(100))] * 2


def test_exits_that_fill_in_parts_share_what_is_left(start: Opener) -> None:
    thin = StaticMarket(
        {"ABC": {
            MON: bar("20", "20", "20", "20"), TUE: bar("20", "20", "20", "20"),
            WED: bar("20", "25", "20", "24", "400"), THU: bar("24", "24", "10", "10"),
        }}
    )  # fmt: skip
    exchange = start(thin, max_volume_share=Decimal("0.1"))
    exchange.submit(intent("c1", quantity=100, time_in_force=GTC, bracket=Bracket(Decimal(25), Decimal(15))))
    exchange.advance(WED)  # 40 at the profit of 25
    record = exchange.order("c1")
    assert record is not None
    assert [leg.order.open_quantity for leg in record.legs] == [Decimal(60), Decimal(60)]
    exchange.advance(THU)  # 60 at the stop of 15
    assert [(f.quantity, f.price) for _, f in exchange.fills(1)] == [
        (Decimal(40), Decimal(25)), (Decimal(60), Decimal(15)),
    ]  # fmt: skip
    assert held(exchange) == {}
    after = exchange.order("c1")
    assert after is not None
    assert [leg.order.state for leg in after.legs] == [OrderState.CANCELED, OrderState.FILLED]


def test_cancelling_one_exit_cancels_the_other(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", time_in_force=GTC, bracket=Bracket(Decimal(150), Decimal(50))))
    exchange.advance(TUE)
    record = exchange.order("c1")
    assert record is not None
    exchange.cancel(record.legs[0].order.client_order_id)
    assert exchange.orders(open_only=True) == []
    exchange.submit(intent("c2", SELL, 10))  # the shares are free again


def test_an_exit_can_be_moved_and_still_cancels_the_other(start: Opener) -> None:
    exchange = start()
    exchange.submit(intent("c1", time_in_force=GTC, bracket=Bracket(Decimal(150), Decimal(50))))
    exchange.advance(TUE)
    record = exchange.order("c1")
    assert record is not None
    profit, loss = (leg.order.client_order_id for leg in record.legs)
    with pytest.raises(OrderRejected, match=r"^quantity of a bracket's exit"):
        exchange.replace(profit, "x1", quantity=Decimal(1))
    exchange.replace(profit, "x1", limit_price=Decimal(108))
    moved = exchange.order("c1")
    assert moved is not None
    assert [leg.order.client_order_id for leg in moved.legs] == ["x1", loss]
    exchange.advance(WED)  # high 108
    assert (state(exchange, "x1"), state(exchange, loss)) == (OrderState.FILLED, OrderState.CANCELED)


def test_a_replaced_entry_takes_its_exits_along(start: Opener) -> None:
    exchange = start()
    terms: dict[str, Any] = {"type": LIMIT, "time_in_force": GTC, "bracket": Bracket(Decimal(110), Decimal(50))}
    exchange.submit(intent("c1", limit_price="80", **terms))
    new = exchange.replace("c1", "c2", quantity=Decimal(4), limit_price=Decimal(96))
    assert [(leg.order.parent_id, leg.order.quantity) for leg in new.legs] == [("c2", Decimal(4))] * 2
    exchange.advance(THU)  # filled at 96 on Tuesday; Thursday's high is 110
    after = exchange.order("c2")
    assert after is not None
    assert [leg.order.state for leg in after.legs] == [OrderState.FILLED, OrderState.CANCELED]
    assert held(exchange) == {}


def test_a_short_bracket_is_the_mirror_image(start: Opener) -> None:
    exchange = start(shorting=True)
    exchange.submit(intent("c1", SELL, bracket=Bracket(Decimal(95), Decimal(120)), time_in_force=GTC))
    exchange.advance(TUE)  # low 94
    record = exchange.order("c1")
    assert record is not None
    assert [(leg.order.side, leg.order.state.value, leg.order.average_price) for leg in record.legs] == [
        (BUY, "filled", Decimal(95)), (BUY, "canceled", None),
    ]  # fmt: skip
    assert (held(exchange), exchange.cash) == ({}, Decimal(100_050))
