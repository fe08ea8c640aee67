from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from brokers.alpaca.examples import BRACKET, DIVIDEND, EQUITY, FILL, POSITION, SCHEMAS
from hypothesis import given
from hypothesis import strategies as st

from workbench.brokers.alpaca import wire
from workbench.domain import (
    ActivityKind,
    Bracket,
    Fill,
    Order,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from workbench.errors import OrderRejected

D = Decimal
PLAIN = OrderIntent("id-1", "AAPL", Side.BUY, D(2), D(150), "s", 0)
BASE = {"symbol": "AAPL", "side": "buy", "time_in_force": "day", "client_order_id": "id-1"}


def test_the_documented_order_is_read_whole() -> None:
    assert wire.order(EQUITY) == Order(
        broker_order_id="7b08df51-c1ac-453c-99f9-323a5f075f0d",
        client_order_id="5680c4bc-9ac1-4a12-a44c-df427ba53032",
        symbol="AAPL",
        side=Side.BUY,
        quantity=D(2),
        type=OrderType.LIMIT,
        limit_price=D(150),
        time_in_force=TimeInForce.GTC,
        state=OrderState.ACCEPTED,
        filled_quantity=D(0),
        average_price=None,
        venue_state="accepted",
    )


def test_the_documented_exits_of_a_bracket_are_read() -> None:
    profit, stop = (wire.order(leg, parent_id="entry") for leg in BRACKET["legs"])
    assert (profit.type, profit.limit_price, profit.parent_id) == (OrderType.LIMIT, D(170), "entry")
    assert (stop.type, stop.stop_price, stop.state, stop.venue_state) == (
        OrderType.STOP, D(140), OrderState.ACCEPTED, "held",
    )  # fmt: skip


STATES = {
    "new": "accepted", "partially_filled": "accepted", "filled": "filled", "done_for_day": "accepted",
    "canceled": "canceled", "expired": "expired", "replaced": "canceled", "pending_cancel": "accepted",
    "pending_replace": "accepted", "accepted": "accepted", "pending_new": "accepted",
    "accepted_for_bidding": "accepted", "stopped": "accepted", "rejected": "rejected", "suspended": "accepted",
    "calculated": "accepted", "held": "accepted",
}  # fmt: skip


@pytest.mark.parametrize("status", SCHEMAS["OrderStatus"]["enum"])
def test_every_documented_status_has_a_state(status: str) -> None:
    found = wire.order({**EQUITY, "status": status})
    assert (found.state, found.venue_state) == (STATES[status], status)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "accepted"),
        ({"filled_qty": "1", "filled_avg_price": "150"}, "partially_filled"),
        ({"filled_qty": "2", "filled_avg_price": "150"}, "filled"),
        ({"filled_qty": "3", "filled_avg_price": "150"}, "filled"),
        ({"canceled_at": "2025-06-24T14:00:00Z"}, "canceled"),
        ({"filled_qty": "1", "expired_at": "2025-06-24T14:00:00Z"}, "expired"),
        ({"failed_at": "2025-06-24T14:00:00Z"}, "rejected"),
    ],
)
@pytest.mark.parametrize("status", ["pending_review", "", None, 7])
def test_a_status_invented_later_may_still_fill_unless_the_rest_shows_it_is_over(
    status: object, changes: dict[str, Any], state: str
) -> None:
    found = wire.order({**EQUITY, "status": status, **changes})
    assert found.state == state
    assert found.venue_state == str(status or "")


def test_an_order_that_filled_in_part_and_was_cancelled_keeps_its_fill() -> None:
    found = wire.order({**EQUITY, "status": "canceled", "filled_qty": "0.5", "filled_avg_price": "149.995"})
    assert (found.state, found.filled_quantity, found.average_price) == (OrderState.CANCELED, D("0.5"), D("149.995"))


def test_orders_of_somebody_else_are_read_though_we_could_not_send_them() -> None:
    found = wire.order({**EQUITY, "type": "market_if_touched", "time_in_force": "fok", "side": "sell_short"})
    assert (found.type, found.time_in_force, found.side) == (OrderType.LIMIT, TimeInForce.DAY, Side.SELL)
    found = wire.order({**EQUITY, "type": "pegged", "limit_price": None, "time_in_force": "gtd", "symbol": None})
    assert (found.type, found.time_in_force, found.symbol) == (OrderType.MARKET, TimeInForce.GTC, "")


def test_the_quantity_of_an_amount_is_what_it_was_sized_on_until_it_filled() -> None:
    raw = {**EQUITY, "qty": None, "notional": "300", "limit_price": None, "type": "market"}
    assert wire.order(raw).quantity == 0  # nothing says how many
    assert wire.order(raw, asked=D("1.5")).quantity == D("1.5")
    assert wire.order({**raw, "limit_price": "150"}).quantity == 2
    part = wire.order({**raw, "status": "partially_filled", "filled_qty": "1.6"}, asked=D("1.5"))
    assert part.state is OrderState.PARTIALLY_FILLED
    done = wire.order({**raw, "status": "filled", "filled_qty": "1.6", "filled_avg_price": "187.5"}, asked=D("1.5"))
    assert (done.quantity, done.state) == (D("1.6"), OrderState.FILLED)


@pytest.mark.parametrize(
    "changes",
    [{"id": None}, {"client_order_id": ""}, {"qty": "many"}, {"filled_qty": "NaN"}, {"limit_price": "Infinity"},
     {"side": "hold"}, {"qty": [2]}],
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_not_guessed_at(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=" is "):
        wire.order({**EQUITY, **changes})


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, {"type": "market", "qty": "2"}),
        ({"time_in_force": TimeInForce.OPG}, {"type": "market", "qty": "2", "time_in_force": "opg"}),
        ({"quantity": D("0.125")}, {"type": "market", "qty": "0.125"}),
        ({"quantity": D("1E+2")}, {"type": "market", "qty": "100"}),
        ({"notional_usd": D("250.50")}, {"type": "market", "notional": "250.50"}),
        (
            {"type": OrderType.LIMIT, "limit_price": D("149.90"), "time_in_force": TimeInForce.CLS},
            {"type": "limit", "qty": "2", "limit_price": "149.90", "time_in_force": "cls"},
        ),
        (
            {"type": OrderType.STOP, "stop_price": D("0.1234"), "time_in_force": TimeInForce.GTC},
            {"type": "stop", "qty": "2", "stop_price": "0.1234", "time_in_force": "gtc"},
        ),
        (
            {"type": OrderType.STOP_LIMIT, "stop_price": D(151), "limit_price": D("151.5"), "side": Side.SELL},
            {"type": "stop_limit", "qty": "2", "stop_price": "151", "limit_price": "151.5", "side": "sell"},
        ),
        (
            {"type": OrderType.TRAILING_STOP, "trail_price": D("1.00")},
            {"type": "trailing_stop", "qty": "2", "trail_price": "1.00"},
        ),
        (
            {"type": OrderType.TRAILING_STOP, "trail_percent": D("1.5")},
            {"type": "trailing_stop", "qty": "2", "trail_percent": "1.5"},
        ),
        (
            {"bracket": Bracket(D(170), D(140))},
            {"type": "market", "qty": "2", "order_class": "bracket", "take_profit": {"limit_price": "170"},
             "stop_loss": {"stop_price": "140"}},
        ),
        (
            {"type": OrderType.LIMIT, "limit_price": D(150), "bracket": Bracket(D(170), D(140), D("139.50"))},
            {"type": "limit", "qty": "2", "limit_price": "150", "order_class": "bracket",
             "take_profit": {"limit_price": "170"}, "stop_loss": {"stop_price": "140", "limit_price": "139.50"}},
        ),
    ],
)  # fmt: skip
def test_each_kind_of_order_is_written_as_decimal_text(changes: dict[str, Any], body: dict[str, Any]) -> None:
    assert wire.order_body(replace(PLAIN, **changes)) == {**BASE, **body}


@pytest.mark.parametrize("number", ["NaN", "sNaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": None},
        {"notional_usd": None},
        {"type": OrderType.LIMIT, "limit_price": None},
        {"type": OrderType.STOP, "stop_price": None},
        {"type": OrderType.TRAILING_STOP, "trail_price": None},
        {"type": OrderType.TRAILING_STOP, "trail_percent": None},
    ],
)
def test_what_is_not_finite_is_never_written(changes: dict[str, Any], number: str) -> None:
    filled_in = {name: D(number) if value is None else value for name, value in changes.items()}
    with pytest.raises(OrderRejected, match="not a number that can be sent"):
        wire.order_body(replace(PLAIN, **filled_in))


@pytest.mark.parametrize("exits", [Bracket(D("NaN"), D(1)), Bracket(D(1), D("NaN")), Bracket(D(2), D(1), D("NaN"))])
def test_no_exit_is_written_that_is_not_finite(exits: Bracket) -> None:
    with pytest.raises(OrderRejected, match="not a number that can be sent"):
        wire.order_body(replace(PLAIN, bracket=exits))


def test_an_order_without_its_price_is_refused() -> None:
    with pytest.raises(OrderRejected, match="a limit order needs a limit price"):
        wire.order_body(replace(PLAIN, type=OrderType.LIMIT))
    with pytest.raises(OrderRejected, match="a trailing_stop order needs a trail price"):
        wire.order_body(replace(PLAIN, type=OrderType.TRAILING_STOP))


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_exactly_and_without_exponent(value: Decimal) -> None:
    text = wire.decimal_text(value, "price")
    assert Decimal(text) == value
    assert "E" not in text.upper()


OLD = wire.order(EQUITY)


def test_a_replacement_names_only_what_differs() -> None:
    new = replace(
        PLAIN, client_order_id="id-2", type=OrderType.LIMIT, limit_price=D("150.00"), quantity=D(3),
        time_in_force=TimeInForce.GTC,
    )  # fmt: skip
    assert wire.replace_body(new, OLD) == {"client_order_id": "id-2", "qty": "3"}
    dearer = replace(new, quantity=D(2), limit_price=D("155"), time_in_force=TimeInForce.DAY)
    assert wire.replace_body(dearer, OLD) == {"client_order_id": "id-2", "limit_price": "155", "time_in_force": "day"}


def test_a_replacement_moves_stop_and_trail() -> None:
    stop = replace(OLD, type=OrderType.STOP, limit_price=None, stop_price=D(140), time_in_force=TimeInForce.DAY)
    new = replace(PLAIN, type=OrderType.STOP, stop_price=D(141))
    assert wire.replace_body(new, stop) == {"client_order_id": "id-1", "stop_price": "141"}
    trailing = replace(stop, type=OrderType.TRAILING_STOP, trail_percent=D(1))
    new = replace(PLAIN, type=OrderType.TRAILING_STOP, trail_percent=D("0.5"))
    assert wire.replace_body(new, trailing) == {"client_order_id": "id-1", "trail": "0.5"}


@pytest.mark.parametrize("changes", [{"symbol": "MSFT"}, {"side": Side.SELL}, {"type": OrderType.MARKET}])
def test_a_replacement_that_would_be_another_order_is_refused(changes: dict[str, Any]) -> None:
    new = replace(PLAIN, type=OrderType.LIMIT, limit_price=D(150))
    with pytest.raises(OrderRejected, match="must be a limit order to buy AAPL"):
        wire.replace_body(replace(new, **changes), OLD)


def test_the_documented_execution_is_read_with_the_session_of_new_york() -> None:
    assert wire.fill(FILL, "ours") == Fill(
        "20220202135509981::2d7be4ff-d1f3-43e9-856a-0f5cf5c5088e", "ours", "AAPL", Side.BUY, D(2), D("174.78"), D(0),
        date(2022, 2, 2), datetime(2022, 2, 2, 18, 55, 9, 981482, tzinfo=UTC),
    )  # fmt: skip
    # Half past midnight in UTC is still the day before in New York.
    assert wire.fill({**FILL, "transaction_time": "2022-02-03T00:30:00Z"}, "ours").session == date(2022, 2, 2)


def test_a_dividend_brings_cash_and_no_shares() -> None:
    found = wire.activity(DIVIDEND)
    assert (found.kind, found.symbol, found.cash_delta, found.quantity_delta) == (
        ActivityKind.DIVIDEND, "T", D("1.02"), D(0),
    )  # fmt: skip
    assert found.session == date(2019, 8, 1)
    assert found.at == datetime(2021, 5, 10, 14, 1, 4, 650275, tzinfo=UTC)


KINDS = {
    "DIV": "dividend", "DIVCGL": "dividend", "DIVCGS": "dividend", "DIVFEE": "dividend", "DIVFT": "dividend",
    "DIVNRA": "dividend", "DIVROC": "dividend", "DIVTW": "dividend", "DIVTXEX": "dividend", "SPLIT": "split",
    "CIL": "cash_in_lieu", "CSD": "deposit", "CSW": "deposit", "JNLC": "deposit", "ACATC": "deposit",
    "TRANS": "deposit", "FEE": "fee", "CFEE": "fee", "PTC": "fee", "INT": "interest", "INTNRA": "interest",
    "INTTW": "interest", "ACATS": "deposit", "JNLS": "deposit",
}  # fmt: skip


ACTIVITIES = [name for name in SCHEMAS["ActivityType"]["enum"] if name != "FILL"]


@pytest.mark.parametrize("name", [*ACTIVITIES, "CIL", "INVENTED"])
def test_every_documented_activity_has_a_kind(name: str) -> None:
    raw = {"activity_type": name, "id": "20250624000000000::x", "date": "2025-06-24", "net_amount": "-1.25"}
    found = wire.activity(raw)
    assert (found.kind, found.cash_delta) == (KINDS.get(name, "other"), D("-1.25"))
    assert found.at == datetime(2025, 6, 24, tzinfo=UTC)


def test_a_split_moves_shares_and_a_fee_names_no_symbol() -> None:
    split = {"activity_type": "SPLIT", "id": "1::x", "date": "2025-06-24", "qty": "30", "symbol": "AAPL"}
    assert (wire.activity(split).quantity_delta, wire.activity(split).cash_delta) == (D(30), D(0))
    fee = {
        "activity_type": "FEE",
        "id": "1::y",
        "date": "2025-06-24T00:00:00Z",
        "net_amount": "-0.02",
        "symbol": "AAPL",
    }
    assert (wire.activity(fee).symbol, wire.activity(fee).cash_delta) == ("", D("-0.02"))


def test_an_activity_that_was_taken_back_moves_nothing() -> None:
    found = wire.activity({**DIVIDEND, "status": "canceled"})
    assert (found.cash_delta, found.quantity_delta) == (0, 0)


@pytest.mark.parametrize(("quantity", "side", "shares"), [("5", "long", 5), ("-5", "short", -5), ("5", "short", -5)])
def test_a_short_position_is_negative_however_it_is_written(quantity: str, side: str, shares: int) -> None:
    assert wire.holding({**POSITION, "qty": quantity, "side": side}) == ("AAPL", D(shares))
