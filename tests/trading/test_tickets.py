from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.domain import (
    Bracket,
    Order,
    OrderState,
    OrderType,
    Side,
    Snapshot,
    TimeInForce,
    client_order_id,
)
from workbench.errors import ConfigError, DataError
from workbench.trading.orderlist import OrderList, orders
from workbench.trading.planner import PlanKey
from workbench.trading.tickets import Ticket

SESSION = date(2013, 3, 1)
KEY = PlanKey("paper", "daily", SESSION, 0, "by_hand")
PRICES = {"AAPL": Decimal("430.47"), "IBM": Decimal("202.91")}
ACCOUNT = Snapshot("paper", SESSION, Decimal(100_000))


def listed(*tickets: Ticket, snapshot: Snapshot = ACCOUNT, key: PlanKey = KEY) -> OrderList:
    return orders(key, tickets, snapshot, PRICES)


# ---- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", [430.1, "430.1", " 430.10 ", "4.301e2", Decimal("430.1"), np.float64(430.1), np.float32(430.1)]
)
def test_a_price_is_taken_exactly_as_it_is_written(written: Any) -> None:
    assert Ticket("AAPL", "buy", 1, type="limit", limit=written).limit == Decimal("430.1")


@pytest.mark.parametrize("written", [10, "10", 10.0, Decimal(10), np.int64(10), np.uint8(10), np.float64(10)])
def test_a_quantity_can_be_any_kind_of_number(written: Any) -> None:
    assert Ticket("AAPL", "buy", written).quantity == Decimal(10)


@given(st.decimals("0.01", "99999", places=2))
def test_a_float_means_the_decimal_it_prints_as(price: Decimal) -> None:
    assert Ticket("AAPL", "buy", 1, type="limit", limit=float(price)).limit == price


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (float("nan"), "quantity is nan, which is no amount"),
        (np.float32("nan"), "quantity is nan"),
        (Decimal("NaN"), "quantity is NaN"),
        (Decimal("sNaN"), "quantity is sNaN"),
        (float("inf"), "quantity is inf"),
        (-np.inf, "quantity is -inf"),
        (Decimal("-Infinity"), "quantity is -Infinity"),
        (0, "quantity must be above 0 (got 0)"),
        (-0.0, "quantity must be above 0"),
        (-5, "quantity must be above 0 (got -5)"),
        ("1e999", "quantity 1e999 is more than any venue trades"),
        (10**400, "is more than any venue trades"),
        (0.1 + 0.2, "quantity 0.30000000000000004 has more than 9 decimals"),
        (Decimal("1e-10"), "has more than 9 decimals"),
        (Decimal("1e-999999"), "has more than 9 decimals"),
        (True, "quantity True is not a number"),
        (np.bool_(True), "is not a number"),
        ("ten", "quantity 'ten' is not a number; write it as 430.1, with a point and no commas"),
        ("1,000", "quantity '1,000' is not a number"),
        ("1_000", "quantity '1_000' is not a number"),
        ("nan", "quantity 'nan' is not a number"),
        ("", "quantity '' is not a number"),
        ("\uff11\uff10", "is not a number"),
        ([10], r"quantity [10] is not a number"),
        (10j, "is not a number"),
        (b"10", "is not a number"),
        (np.array([1, 2]), "is not a number"),
    ],
)
def test_what_is_no_amount_is_refused_by_name(written: Any, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Ticket("AAPL", "buy", written)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["limit", "stop", "trail", "trail_percent", "notional", "take_profit", "stop_loss", "stop_loss_limit"]
)
def test_every_price_is_checked_under_its_own_name(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} 'x' is not a number"):
        Ticket("AAPL", "buy", 1, **{name: "x"})  # type: ignore[arg-type]


# ---- combinations ------------------------------------------------------------------------------------

EXITS = {"take_profit": 460, "stop_loss": 400}


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"quantity": 0.5},
        {"type": "limit", "limit": 430.5, "time_in_force": "gtc"},
        {"type": "limit", "limit": 430.5, "quantity": 0.5},
        {"type": "limit", "limit": 430.5, "time_in_force": "opg"},
        {"type": "market", "time_in_force": "cls"},
        {"type": "stop", "stop": 440, "time_in_force": "gtc"},
        {"type": "stop", "stop": 440, "quantity": 1.5},
        {"type": "stop_limit", "stop": 440, "limit": 441},
        {"type": "trailing_stop", "trail": 5, "time_in_force": "gtc"},
        {"type": "trailing_stop", "trail_percent": 2.5},
        {"quantity": None, "notional": 1000.5},
        EXITS,
        {**EXITS, "type": "limit", "limit": 430, "stop_loss_limit": 399, "time_in_force": "gtc"},
        {**EXITS, "stop_loss_limit": 400},
        {"type": "limit", "limit": 430, "replaces": "daily-20130301-AAPL-buy-0123456789abcdef"},
    ],
)
def test_what_venues_take_is_taken(terms: dict[str, Any]) -> None:
    ticket = Ticket("AAPL", "buy", **{"quantity": 10, **terms})
    assert ticket.side is Side.BUY
    assert {name: getattr(ticket, name) for name in terms} == {
        name: value if value is None or isinstance(value, str) else Decimal(str(value)) for name, value in terms.items()
    }


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        # what is traded
        ({"symbol": ""}, "symbol '' is not a name"),
        ({"symbol": " AAPL"}, "symbol ' AAPL' is not a name; write it as text without spaces around it"),
        ({"symbol": "AA\nPL"}, "is not a name"),
        ({"symbol": None}, "symbol None is not a name"),
        ({"symbol": 5}, "symbol 5 is not a name"),
        ({"side": "by"}, "side 'by' is unknown; did you mean buy?"),
        ({"side": "long"}, "side 'long' is unknown; valid names: buy, sell"),
        ({"side": 1}, "side 1 is unknown; valid names: buy, sell"),
        ({"side": None}, "side None is unknown"),
        ({"type": "limt"}, "type 'limt' is unknown; did you mean limit?"),
        ({"type": ["limit"]}, "is unknown; valid names: market"),
        ({"time_in_force": "gtd"}, "time_in_force 'gtd' is unknown; did you mean gtc?"),
        ({"time_in_force": "ioc"}, "time_in_force 'ioc' is unknown; valid names: cls, day, gtc, opg"),
        # how much
        ({"quantity": None}, "the order for AAPL has no size; give a quantity, or notional in USD"),
        ({"notional": 1000}, "the order for AAPL has quantity and notional; give one of the two"),
        ({"quantity": None, "notional": 1000.005}, "notional 1000.005 has more than 2 decimals"),
        (
            {"quantity": None, "notional": 1000, "type": "limit", "limit": 430},
            "trades as a market order for the day only, not limit day; give a quantity instead of notional",
        ),
        ({"quantity": None, "notional": 1000, "time_in_force": "gtc"}, "for the day only, not market gtc"),
        # prices that do not belong to the type
        ({"limit": 430}, 'a market order for AAPL has no limit; say type="limit", or leave limit out'),
        ({"stop": 430}, 'a market order for AAPL has no stop; say type="stop"'),
        ({"trail": 5}, 'a market order for AAPL has no trail; say type="trailing_stop"'),
        ({"trail_percent": 5}, 'a market order for AAPL has no trail_percent; say type="trailing_stop"'),
        ({"type": "limit", "limit": 430, "stop": 420}, 'a limit order for AAPL has no stop; say type="stop_limit"'),
        ({"type": "stop", "stop": 430, "limit": 431}, 'a stop order for AAPL has no limit; say type="stop_limit"'),
        ({"type": "limit", "limit": 430, "trail": 5}, "a limit order for AAPL has no trail;"),
        ({"type": "stop", "stop": 430, "trail_percent": 5}, "a stop order for AAPL has no trail_percent;"),
        ({"type": "stop_limit", "stop": 4, "limit": 4, "trail": 5}, "a stop_limit order for AAPL has no trail;"),
        ({"type": "trailing_stop", "trail": 5, "stop": 430}, "a trailing_stop order for AAPL has no stop;"),
        ({"type": "trailing_stop", "trail": 5, "limit": 430}, "a trailing_stop order for AAPL has no limit;"),
        # prices that are missing
        ({"type": "limit"}, "a limit order for AAPL needs limit; a price in USD"),
        ({"type": "stop"}, "a stop order for AAPL needs stop"),
        ({"type": "stop_limit", "stop": 430}, "a stop_limit order for AAPL needs limit"),
        ({"type": "stop_limit", "limit": 430}, "a stop_limit order for AAPL needs stop"),
        ({"type": "trailing_stop"}, "a trailing_stop order for AAPL needs either trail or trail_percent"),
        ({"type": "trailing_stop", "trail": 5, "trail_percent": 1}, "needs either trail or trail_percent"),
        ({"type": "trailing_stop", "trail_percent": 100}, "trail_percent must be below 100 (got 100)"),
        # how long
        (
            {"type": "stop", "stop": 430, "time_in_force": "opg"},
            "a stop order for AAPL cannot wait for an auction (opg)",
        ),
        ({"type": "stop_limit", "stop": 4, "limit": 4, "time_in_force": "cls"}, "cannot wait for an auction (cls)"),
        ({"type": "trailing_stop", "trail": 4, "time_in_force": "opg"}, "cannot wait for an auction (opg)"),
        # fractions
        ({"quantity": 0.5, "time_in_force": "gtc"}, "0.5 AAPL is not whole: fractions trade in market, limit and stop"),
        ({"quantity": 0.5, "time_in_force": "opg"}, "not market opg"),
        ({"quantity": 0.5, "type": "stop_limit", "stop": 4, "limit": 4}, "not stop_limit day"),
        ({"quantity": 0.5, "type": "trailing_stop", "trail": 4}, "not trailing_stop day"),
        # exits
        ({"take_profit": 460}, "the exits of the order for AAPL need stop_loss; both exits, or none"),
        ({"stop_loss": 400}, "the exits of the order for AAPL need take_profit"),
        ({"stop_loss_limit": 400}, "the exits of the order for AAPL need take_profit"),
        ({**EXITS, "type": "stop", "stop": 430}, "a stop day order for AAPL cannot have exits"),
        (
            {**EXITS, "type": "stop_limit", "stop": 430, "limit": 431},
            "a stop_limit day order for AAPL cannot have exits",
        ),
        ({**EXITS, "type": "trailing_stop", "trail": 4}, "a trailing_stop day order for AAPL cannot have exits"),
        ({**EXITS, "time_in_force": "opg"}, "a market opg order for AAPL cannot have exits"),
        ({**EXITS, "time_in_force": "cls"}, "a market cls order for AAPL cannot have exits"),
        ({**EXITS, "quantity": 0.5}, "an order for AAPL with exits needs a whole number of shares"),
        ({**EXITS, "quantity": None, "notional": 100}, "an order for AAPL with exits needs a whole number of shares"),
        (
            {"take_profit": 400, "stop_loss": 460},
            "take_profit 400 must be above stop_loss 460 to buy AAPL with exits",
        ),
        ({"take_profit": 400, "stop_loss": 400}, "take_profit 400 must be above stop_loss 400"),
        ({**EXITS, "type": "limit", "limit": 460}, "take_profit 460 must be above limit 460"),
        ({**EXITS, "type": "limit", "limit": 399}, "limit 399 must be above stop_loss 400"),
        ({**EXITS, "stop_loss_limit": 401}, "stop_loss 400 must be above stop_loss_limit 401"),
        ({**EXITS, "side": "sell"}, "take_profit 460 must be below stop_loss 400 to sell AAPL with exits"),
        (
            {"take_profit": 400, "stop_loss": 460, "stop_loss_limit": 459, "side": "sell"},
            "stop_loss 460 must be below stop_loss_limit 459 to sell AAPL",
        ),
        # replacements
        ({"replaces": ""}, "replaces '' is not a name"),
        ({"replaces": 5}, "replaces 5 is not a name"),
        ({"quantity": None, "notional": 100, "replaces": "x"}, "an amount in USD of AAPL cannot replace an order"),
        ({**EXITS, "replaces": "x"}, "an order for AAPL with exits cannot replace one"),
        # ticks
        ({"type": "limit", "limit": 430.125}, "limit 430.125 for AAPL is off the tick; such prices have two decimals"),
        ({"type": "stop", "stop": "0.12345"}, "stop 0.12345 for AAPL is off the tick; such prices have four decimals"),
        ({"take_profit": 460.001, "stop_loss": 400}, "take_profit 460.001 for AAPL is off the tick"),
        ({"take_profit": 460, "stop_loss": 400.001}, "stop_loss 400.001 for AAPL is off the tick"),
        ({**EXITS, "stop_loss_limit": 399.999}, "stop_loss_limit 399.999 for AAPL is off the tick"),
    ],
)
def test_what_no_venue_takes_is_refused_in_one_line(terms: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Ticket(**{"symbol": "AAPL", "side": "buy", "quantity": 10, **terms})
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_ticket_does_not_change() -> None:
    ticket = Ticket("AAPL", "buy", 10)
    with pytest.raises(FrozenInstanceError):
        ticket.quantity = Decimal(20)  # type: ignore[misc]
    assert replace(ticket, quantity=20).quantity == Decimal(20)
    assert Ticket("AAPL", "buy", "10") == ticket
    assert len({ticket, Ticket("AAPL", "buy", 10.0)}) == 1


def test_a_ticket_reads_as_it_would_be_said() -> None:
    assert str(Ticket("AAPL", "buy", notional=1000)) == "buy 1000 USD of AAPL market day"
    ticket = Ticket("AAPL", "buy", 10, type="limit", limit=430.5, time_in_force="gtc", take_profit=460, stop_loss=400)
    assert str(ticket) == "buy 10 AAPL limit limit 430.5 take_profit 460 stop_loss 400 gtc"


# ---- lists -------------------------------------------------------------------------------------------


def test_tickets_become_intents_in_the_order_they_are_written() -> None:
    made = listed(
        Ticket("AAPL", "buy", 10, type="limit", limit=430.5, take_profit=460, stop_loss=400, stop_loss_limit=399),
        Ticket("IBM", "sell", 5, type="trailing_stop", trail_percent=2, time_in_force="gtc"),
        Ticket("IBM", "sell", 5, type="stop_limit", stop=200, limit=199),
        Ticket("AAPL", "buy", 10, type="limit", limit=431, replaces="some-order"),
    )
    first, second, third, fourth = made.intents
    assert [i.sequence for i in made.intents] == [0, 1, 2, 3]
    assert (first.symbol, first.side, first.quantity) == ("AAPL", Side.BUY, Decimal(10))
    assert (first.type, first.limit_price) == (OrderType.LIMIT, Decimal("430.5"))
    assert first.bracket == Bracket(Decimal(460), Decimal(400), Decimal(399))
    assert (first.reference_price, first.strategy) == (Decimal("430.47"), "by_hand")
    assert (second.trail_percent, second.trail_price) == (Decimal(2), None)
    assert second.time_in_force is TimeInForce.GTC
    assert (third.stop_price, third.limit_price) == (Decimal(200), Decimal(199))
    assert third.bracket is None
    assert fourth.replaces == "some-order"
    assert made.targets == ()
    assert made.snapshot is ACCOUNT


def test_an_amount_is_sized_on_the_close_and_rounded_down() -> None:
    # 1,000 / 430.47 = 2.3230422561...
    (intent,) = listed(Ticket("AAPL", "buy", notional=1000)).intents
    assert intent.quantity == Decimal("2.323042256")
    assert intent.notional_usd == Decimal(1000)


def test_position_and_run_give_the_id_and_nothing_else_does() -> None:
    first = listed(Ticket("AAPL", "buy", 10), Ticket("AAPL", "buy", 10))
    again = listed(Ticket("AAPL", "buy", 99, type="limit", limit=400), Ticket("AAPL", "buy", 10))
    assert [i.client_order_id for i in again.intents] == [i.client_order_id for i in first.intents]
    assert first.intents[0].client_order_id == client_order_id(
        "paper", "daily", SESSION, 0, "by_hand", "AAPL", Side.BUY, 0
    )
    assert first.intents[0].client_order_id != first.intents[1].client_order_id
    amended = listed(Ticket("AAPL", "buy", 10), key=replace(KEY, amendment=1))
    assert amended.intents[0].client_order_id != first.intents[0].client_order_id


@pytest.mark.parametrize(
    ("tickets", "message"),
    [
        ([], r"\[\] is not a list of tickets; write them as \[wb.ticket"),
        (Ticket("AAPL", "buy", 10), "is not a list of tickets"),
        (5, "5 is not a list of tickets"),
        (["AAPL"], "'AAPL' is not a ticket"),
        ("AAPL", "'A' is not a ticket"),
        ([Ticket("AAPL", "buy", 10), None], "None is not a ticket"),
        (
            [Ticket("AAPL", "buy", 1, replaces="x"), Ticket("AAPL", "buy", 2, replaces="x")],
            "two tickets replace x",
        ),
    ],
)
def test_what_is_no_list_of_tickets_is_refused(tickets: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        orders(KEY, tickets, ACCOUNT, PRICES)


def test_a_symbol_without_a_close_in_the_session_is_refused() -> None:
    with pytest.raises(DataError, match="FB, ZEN did not trade on 2013-03-01"):
        listed(Ticket("ZEN", "buy", 1), Ticket("AAPL", "buy", 1), Ticket("FB", "buy", 1))


def open_order(**changes: Any) -> Snapshot:
    order = Order(
        "o1", "old", "AAPL", Side.BUY, Decimal(10), OrderType.LIMIT, Decimal(420), TimeInForce.GTC,
        OrderState.ACCEPTED, Decimal(0), None,
    )  # fmt: skip
    return replace(ACCOUNT, open_orders=(replace(order, **changes),))


def replacement() -> Ticket:
    return Ticket("AAPL", "buy", 20, type="limit", limit=425, time_in_force="gtc", replaces="old")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"symbol": "IBM"},
            "old has symbol IBM, and the ticket to replace it AAPL; only quantity and prices may differ",
        ),
        ({"side": Side.SELL}, "old has side sell, and the ticket to replace it buy"),
        ({"type": OrderType.STOP}, "old has type stop, and the ticket to replace it limit"),
        ({"time_in_force": TimeInForce.DAY}, "old has time_in_force day, and the ticket to replace it gtc"),
    ],
)
def test_a_replacement_differs_in_quantity_and_prices_only(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        listed(replacement(), snapshot=open_order(**changes))


@pytest.mark.parametrize("snapshot", [open_order(), ACCOUNT])
def test_a_replacement_is_proposed_again_once_it_has_taken_the_place(snapshot: Snapshot) -> None:
    """A resumed run proposes it again, when the order that it replaces has gone."""
    (intent,) = listed(replacement(), snapshot=snapshot).intents
    assert (intent.replaces, intent.quantity, intent.limit_price) == ("old", Decimal(20), Decimal(425))


def test_the_frame_shows_every_price() -> None:
    frame = listed(
        Ticket("AAPL", "buy", 0.5, type="limit", limit=430.5),
        Ticket("IBM", "sell", 5, take_profit=180, stop_loss=220, stop_loss_limit=221),
    ).to_frame()
    assert frame["quantity"].tolist() == [0.5, 5.0]
    assert frame["limit"].iloc[0] == 430.5
    assert np.isnan(frame["limit"].iloc[1])
    assert frame.loc[1, ["take_profit", "stop_loss", "stop_loss_limit"]].tolist() == [180.0, 220.0, 221.0]
    assert frame["reference_price"].tolist() == [430.47, 202.91]
    assert frame["time_in_force"].tolist() == ["day", "day"]
