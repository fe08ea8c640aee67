"""What is refused, and the bodies Alpaca documents for it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from brokers.http.board import D3, Json, order, send
from support.exchange_server import ExchangeServer

NOWHERE = "00000000-0000-4000-8000-000000000000"


def refusal(client: httpx.Client, body: Any) -> tuple[int, Json]:
    answer = client.post("/v2/orders", json=body)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"APCA-API-KEY-ID": "test-key", "APCA-API-SECRET-KEY": "wrong"},
        {"APCA-API-KEY-ID": "test-key"},
        {"APCA-API-KEY-ID": "wrong", "APCA-API-SECRET-KEY": "test-secret"},
        {"Authorization": "Basic dGVzdC1rZXk6d3Jvbmc="},
        {"Authorization": "Bearer test-secret"},
        {"Authorization": "Basic ???"},
    ],
)
@pytest.mark.parametrize("path", ["/v2/account", "/v2/orders", "/v2/stocks/bars", "/v2/nothing"])
def test_wrong_keys_open_nothing(steady: ExchangeServer, headers: dict[str, str], path: str):
    answer = httpx.get(steady.url + path, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()) == (401, {"code": 40110000, "message": "request is not authorized"})


def test_an_order_beyond_the_buying_power(visitor: httpx.Client):
    # 200,000 USD of buying power at 102 a share
    assert refusal(visitor, order(qty="2000")) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient buying power",
            "buying_power": "200000",
            "cost_basis": "204000",
        },
    )


def test_a_sale_of_more_than_is_free(server: ExchangeServer, client: httpx.Client):
    send(client, order(qty="10"))
    server.advance(D3)
    waiting = send(client, order(side="sell", qty="7"))
    assert refusal(client, order(side="sell", qty="4")) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 4, available: 3)",
            "symbol": "AAPL",
            "available": "3",
            "existing_qty": "10",
            "held_for_orders": "7",
            "related_orders": [waiting["id"]],
        },
    )


def test_a_second_order_under_the_same_id(client: httpx.Client):
    send(client, order(client_order_id="c1"))
    assert refusal(client, order(client_order_id="c1")) == (
        422,
        {"code": 40010001, "message": "client_order_id must be unique"},
    )
    assert len(client.get("/v2/orders").json()) == 1


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ([], 40010001, "request body format is invalid"),
        ({}, 40010001, "symbol is required"),
        ({"symbol": "AAPL"}, 40010001, "side is required"),
        (order(side=None), 40010001, "side is required"),
        (order(type=None), 40010001, "type is required"),
        (order(time_in_force=None), 40010001, "time_in_force is required"),
        (order(qty=None), 40010001, "qty or notional is required"),
        (order(qty="ten"), 40010001, "qty is not a number"),
        (order(qty=True), 40010001, "qty is not a number"),
        (order(qty="NaN"), 40010001, "qty is not a number"),
        (order(qty="1e400"), 40010001, "qty is not a number"),
        (order(qty={"a": 1}), 40010001, "qty is not a number"),
        (order(client_order_id=7), 40010001, "client_order_id must be a string"),
        (order(client_order_id="x" * 129), 40010001, "no more than 128"),
        (order(extended_hours="yes"), 40010001, "extended_hours must be true or false"),
        (order(take_profit=5, order_class="bracket"), 40010001, "take_profit must be an object"),
        (order("NONE"), 42210000, 'asset "NONE" not found'),
        (order(qty="0"), 42210000, "qty must be > 0"),
        (order(qty="-1"), 42210000, "qty must be > 0"),
        (order(qty="0.0000000001"), 42210000, "at most 9 decimals"),
        (order(notional="5"), 42210000, "only one of qty or notional"),
        (order(qty=None, notional="5.005"), 42210000, "2 decimal places"),
        (order(side="hold"), 42210000, "invalid side"),
        (order(type="iceberg"), 42210000, "invalid type"),
        (order(time_in_force="ioc"), 42210000, "ioc is not served"),
        (order(time_in_force="fok"), 42210000, "fok is not served"),
        (order(time_in_force="gtd"), 42210000, "invalid time_in_force"),
        (order(order_class="oco"), 42210000, "oco is not served"),
        (order(order_class="oto"), 42210000, "oto is not served"),
        (order(order_class="mleg"), 42210000, "mleg is not served"),
        (order(order_class="trio"), 42210000, "invalid order_class"),
        (order(order_class="bracket"), 42210000, "require take_profit.limit_price"),
        (order(order_class="bracket", take_profit={"limit_price": 110}), 42210000, "require stop_loss.stop_price"),
        (order(take_profit={"limit_price": 110}), 42210000, "need order_class bracket"),
        (order(legs=[]), 42210000, "legs are not served"),
        (order(limit_price="5"), 42210000, "market orders require no limit price"),
        (order(type="limit"), 42210000, "limit orders require limit price"),
        (order(type="stop"), 42210000, "stop orders require stop price"),
        (order(type="stop_limit", stop_price="5"), 42210000, "stop_limit orders require limit price"),
        (order(type="limit", limit_price="100.005"), 42210000, "sub-penny increment"),
        (order(type="limit", limit_price="0.50005"), 42210000, "sub-penny increment"),
        (order(type="trailing_stop"), 42210000, "one of trail_price or trail_percent"),
        (order(type="trailing_stop", trail_price="1", trail_percent="1"), 42210000, "one of trail_price"),
        (order(trail_price="1"), 42210000, "market orders require no trail"),
        (order(extended_hours=True), 42210000, "extended hours orders are not served"),
        (order(qty="0.5", time_in_force="gtc"), 42210000, "fractional orders must be DAY orders"),
        (order(qty=None, notional="50", time_in_force="gtc"), 42210000, "notional orders must be market orders"),
        (order(position_intent="buy_to_think"), 42210000, "invalid position_intent"),
        (order(position_intent="sell_to_close"), 42210000, "position intent mismatch"),
        (order(qty=None, notional="0.99"), 40310000, "minimal amount of order 1"),
    ],
)  # fmt: skip
def test_an_order_that_makes_no_sense(visitor: httpx.Client, body: Any, code: int, words: str):
    status, refused = refusal(visitor, body)
    assert (status, refused["code"]) == (403 if code == 40310000 else 422, code)
    assert words in refused["message"]
    assert visitor.get("/v2/orders", params={"status": "all"}).json() == []


@pytest.mark.parametrize("raw", [b"", b"{", b"null", b"\xff\xfe", b'{"qty": NaN}', b"[" * 100_000, b'"' + b"a" * 99])
def test_a_body_that_is_not_a_json_object(visitor: httpx.Client, raw: bytes):
    answer = visitor.post("/v2/orders", content=raw)
    assert (answer.status_code, answer.json()["code"]) == (422, 40010001)


def test_the_engine_refuses_what_the_wire_cannot_see(visitor: httpx.Client):
    bracket = order(order_class="bracket", take_profit={"limit_price": 90}, stop_loss={"stop_price": 80})
    status, refused = refusal(visitor, bracket)  # the entry is at 102
    assert (status, refused["code"]) == (422, 42210000)
    assert "bracket" in refused["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v2/orders/{NOWHERE}"),
        ("DELETE", f"/v2/orders/{NOWHERE}"),
        ("PATCH", f"/v2/orders/{NOWHERE}"),
        ("GET", "/v2/orders/none"),
        ("GET", "/v2/orders:by_client_order_id?client_order_id=none"),
        ("GET", "/v2/positions/AAPL"),
        ("DELETE", "/v2/positions/AAPL"),
        ("GET", "/v2/assets/NONE"),
        ("GET", "/v2/stocks/NONE/bars/latest"),
        ("GET", "/v2/nothing"),
    ],
)
def test_what_is_not_there_is_404(visitor: httpx.Client, method: str, path: str):
    answer = visitor.request(method, path, json={"qty": "1"} if method == "PATCH" else None)
    assert (answer.status_code, answer.json()["code"]) == (404, 40410000)


def test_a_method_that_is_not_served_is_405_and_says_which_are(visitor: httpx.Client):
    answer = visitor.put("/v2/account", json={})
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert set(answer.json()) == {"code", "message"}


def test_an_order_that_is_over_is_neither_cancelled_nor_replaced(server: ExchangeServer, client: httpx.Client):
    sent = send(client, order())
    server.advance(D3)
    cancelled = client.delete(f"/v2/orders/{sent['id']}")
    assert (cancelled.status_code, cancelled.json()) == (
        422,
        {"code": 42210000, "message": 'order is already in "filled" state'},
    )
    replaced = client.patch(f"/v2/orders/{sent['id']}", json={"qty": "5"})
    assert (replaced.status_code, replaced.json()) == (
        422,
        {"code": 42210000, "message": "cannot replace order in filled status"},
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "not changed"),
        ({"qty": "1.5"}, "whole number"),
        ({"notional": "5"}, "notional orders cannot be replaced"),
        ({"limit_price": "1.001"}, "sub-penny"),
        ({"time_in_force": "ioc"}, "not served"),
        ({"stop_price": "5"}, "stop price"),
    ],
)
def test_a_replacement_that_makes_no_sense_leaves_the_order_as_it_was(client: httpx.Client, change: Json, words: str):
    sent = send(client, order(type="limit", limit_price="90", time_in_force="gtc"))
    answer = client.patch(f"/v2/orders/{sent['id']}", json=change)
    assert (answer.status_code, answer.json()["code"]) == (422, 42210000)
    assert words in answer.json()["message"]
    assert client.get(f"/v2/orders/{sent['id']}").json() == sent


@pytest.mark.parametrize(
    "path",
    [
        "orders?status=maybe",
        "orders?limit=501",
        "orders?limit=0",
        "orders?limit=ten",
        "orders?direction=up",
        "orders?nested=perhaps",
        "orders?after=yesterday",
        "orders?until=2013-02-30",
        "orders?side=long",
        "orders?asset_class=stamps",
        f"orders?before_order_id={NOWHERE}&after_order_id={NOWHERE}",
        "orders:by_client_order_id",
        "account/activities?page_size=101",
        "account/activities?category=other",
        "account/activities?category=trade_activity&activity_types=FILL",
        "account/activities?activity_types=PARTY",
        "account/activities/PARTY",
        "account/portfolio/history?timeframe=1Min",
        "account/portfolio/history?period=1Y",
        "account/portfolio/history?period=0D",
        "account/portfolio/history?period=1M&start=2013-01-01&end=2013-02-01",
    ],
)
def test_a_query_that_cannot_be_read_is_422(visitor: httpx.Client, path: str):
    answer = visitor.get(f"/v2/{path}")
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] in (40010001, 42210000)


@pytest.mark.parametrize(
    "path",
    [
        "calendar?start=tomorrow",
        "calendar?date_type=LUNCH",
        "stocks/bars?timeframe=1Day",
        "stocks/bars?symbols=AAPL",
        "stocks/bars?symbols=aapl&timeframe=1Day",
        "stocks/bars?symbols=AAPL&timeframe=61Min",
        "stocks/bars?symbols=AAPL&timeframe=1Hour",
        "stocks/bars?symbols=AAPL&timeframe=1Day&adjustment=some",
        "stocks/bars?symbols=AAPL&timeframe=1Day&limit=10001",
        "stocks/bars?symbols=AAPL&timeframe=1Day&sort=up",
        "stocks/bars?symbols=AAPL&timeframe=1Day&page_token=%00",
        "stocks/bars?symbols=AAPL&timeframe=1Day&currency=EUR",
        "stocks/bars?symbols=AAPL&timeframe=1Day&feed=radio",
        "stocks/quotes/latest",
    ],
)
def test_market_data_and_calendar_answer_400(visitor: httpx.Client, path: str):
    answer = visitor.get(f"/v2/{path}")
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"code", "message"}


@pytest.mark.parametrize(
    ("query", "words"),
    [("qty=0", "> 0"), ("percentage=101", "0 and 100"), ("qty=1&percentage=1", "only one"), ("percentage=1", "> 0")],
)
def test_a_position_is_not_closed_by_nonsense(server: ExchangeServer, client: httpx.Client, query: str, words: str):
    send(client, order(qty="10"))
    server.advance(D3)
    answer = client.delete(f"/v2/positions/AAPL?{query}")
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_settings_that_are_none(visitor: httpx.Client):
    for change in ({"suspend_trade": "yes"}, {"trade_confirm_email": "some"}, {"max_margin_multiplier": "4"}):
        assert visitor.patch("/v2/account/configurations", json=change).status_code == 422


def test_fractions_are_refused_where_the_account_switched_them_off(client: httpx.Client):
    client.patch("/v2/account/configurations", json={"fractional_trading": False})
    assert refusal(client, order(qty="0.5"))[0] == 403
    assert refusal(client, order(qty="1"))[0] == 200


def test_a_database_that_fails_is_a_500_and_no_order_is_acknowledged(server: ExchangeServer, client: httpx.Client):
    server.call(lambda venue: venue.exchange.close())
    for method, path, body in (("POST", "/v2/orders", order()), ("GET", "/v2/orders", None)):
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (500, 50010000)
