"""Account activities and the orders' list: ids, pages, fees, and that cash is the sum of what is told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from brokers.http.board import D2, D3, D4, D7, D8, Json, activities, market, order, send
from support.exchange_server import ExchangeServer
from support.markets import StaticMarket, bar

from workbench.brokers.exchange_http import Venue
from workbench.brokers.market import CorporateAction
from workbench.brokers.matching import Costs
from workbench.domain import OrderIntent, OrderType, Side, TimeInForce

COSTS = Costs(Decimal("0.0035"), Decimal("0.35"), Decimal("1.5"))


@pytest.fixture
def costly(tmp_path: Path) -> Iterator[ExchangeServer]:
    with ExchangeServer(tmp_path, market=market(), opened=D2, costs=COSTS, max_volume_share=Decimal("0.02")) as running:
        yield running


def cash_told(found: list[Json]) -> Decimal:
    """Cash as a bookkeeper has it who knows only the activities."""
    cash = Decimal(0)
    for activity in found:
        if activity["activity_type"] == "FILL":
            sign = -1 if activity["side"] == "buy" else 1
            cash += sign * Decimal(activity["price"]) * Decimal(activity["qty"])
        else:
            cash += Decimal(activity["net_amount"])
    return cash


def shares_told(found: list[Json]) -> dict[str, Decimal]:
    """Holdings in the same way."""
    held: dict[str, Decimal] = {}
    for activity in found:
        sign = -1 if activity.get("side") == "sell" else 1
        if activity["activity_type"] in ("FILL", "SPLIT"):
            held[activity["symbol"]] = held.get(activity["symbol"], Decimal(0)) + sign * Decimal(activity["qty"])
    return {symbol: quantity for symbol, quantity in held.items() if quantity}


def all_pages(client: httpx.Client, path: str, **query: Any) -> list[Json]:
    """Follow the page tokens to the end."""
    found: list[Json] = []
    while True:
        more = {"page_token": found[-1]["id"]} if found else {}
        page = client.get(path, params={**query, **more}).json()
        if not page:
            return found
        found += page


def test_a_fill_and_its_fee_are_two_activities_joined_by_group(costly: ExchangeServer):
    with costly.http() as client:
        send(client, order(qty="10"))
        costly.advance(D3)
        fill, fee = activities(client, after="2013-01-03")
        # 103 and 1.5 basis points of slippage; ten shares at 0.0035 are less than the minimum of 0.35
        assert (fill["price"], fill["transaction_time"]) == ("103.01545", "2013-01-03T14:30:00Z")
        assert (fee["activity_type"], fee["net_amount"], fee["group_id"]) == ("FEE", "-0.35", fill["id"])
        assert fill["id"] < fee["id"]
        assert fill["id"].startswith("20130103093000000::")  # New York's time
        assert client.get("/v2/account").json()["cash"] == "98969.4955"  # 100,000 - 1030.1545 - 0.35


@pytest.mark.parametrize("seed", range(4))
def test_cash_and_shares_are_the_sum_of_the_activities_whatever_happens(costly: ExchangeServer, seed: int):
    chance = random.Random(seed)
    with costly.http() as client:
        for session in (D3, D4, D7, D8):
            for _ in range(6):
                symbol, side = chance.choice(("AAPL", "MSFT")), chance.choice(("buy", "buy", "sell"))
                quantity = chance.choice((str(chance.randint(1, 60)), f"{chance.random() * 5:.9f}"))
                client.post("/v2/orders", json=order(symbol, quantity, side))
            costly.advance(session)
            fills = costly.state()["fills"]
            if chance.random() < 0.5 and fills:
                costly.bust(chance.choice(fills))
            if chance.random() < 0.5 and costly.state()["fills"]:
                costly.correct(chance.choice(costly.state()["fills"]), price=Decimal("77.77"))
            if chance.random() < 0.5:
                costly.manual_trade("MSFT", "buy", 3, Decimal("20.5"))
            found = all_pages(client, "/v2/account/activities", direction="asc", page_size=7)
            positions = client.get("/v2/positions").json()
            assert cash_told(found) == Decimal(client.get("/v2/account").json()["cash"])
            assert shares_told(found) == {p["symbol"]: Decimal(p["qty"]) for p in positions}


def test_pages_follow_one_another_in_both_directions(costly: ExchangeServer):
    with costly.http() as client:
        for number in range(23):
            send(client, order(("AAPL", "MSFT")[number % 2], "1", client_order_id=f"c{number}"))
        costly.advance(D8)
        whole = activities(client, page_size=100)
        assert len(whole) == 1 + 2 * 23 + 2  # the deposit, fills with fees, a split and a dividend
        assert [a["id"] for a in whole] == sorted(a["id"] for a in whole)
        for size in (1, 4, 100):
            assert all_pages(client, "/v2/account/activities", direction="asc", page_size=size) == whole
            assert all_pages(client, "/v2/account/activities", page_size=size) == whole[::-1]


def test_activities_are_chosen_by_type_group_order_and_time(costly: ExchangeServer):
    with costly.http() as client:
        first = send(client, order(qty="3"))
        costly.advance(D3)
        send(client, order("MSFT", "4"))
        costly.advance(D8)

        def types(**query: Any) -> list[str]:
            return [a["activity_type"] for a in activities(client, **query)]

        assert types() == ["CSD", "FILL", "FEE", "FILL", "FEE", "SPLIT", "DIV"]
        assert types(activity_types="FILL,DIV") == ["FILL", "FILL", "DIV"]
        assert types(activity_types="TRANS") == ["CSD"]
        assert types(activity_types="MISC") == ["FEE", "FEE", "SPLIT"]
        assert types(category="trade_activity") == ["FILL", "FILL"]
        assert types(category="non_trade_activity") == ["CSD", "FEE", "FEE", "SPLIT", "DIV"]
        assert types(order_id=first["id"]) == ["FILL", "FEE"]
        assert types(after="2013-01-04", until="2013-01-08") == ["FILL", "FEE", "SPLIT"]
        assert types(date="2013-01-04") == ["FILL", "FEE"]
        path = "/v2/account/activities/SPLIT"
        assert [a["qty"] for a in client.get(path).json()] == ["3"]


def test_a_busted_fill_is_gone_and_a_corrected_one_keeps_its_id(server: ExchangeServer, client: httpx.Client):
    send(client, order("AAPL", "10"))
    send(client, order("MSFT", "10"))
    server.advance(D3)
    before = activities(client, activity_types="FILL")
    [aapl, msft] = server.state()["fills"]
    server.correct(aapl, price=Decimal(101), quantity=Decimal(9))
    server.bust(msft)
    [after] = activities(client, activity_types="FILL")
    assert after["id"] == before[0]["id"]
    assert (after["price"], after["qty"]) == ("101", "9")
    assert client.get("/v2/account").json()["cash"] == str(100_000 - 9 * 101)


def test_a_split_pays_the_fraction_of_a_share_in_cash(tmp_path: Path):
    three_for_two = StaticMarket(
        {"AAPL": {day: bar("60", "60", "60", "60") for day in (D2, D3, D4)}},
        {D4: [CorporateAction("AAPL", "split", Decimal("1.5"))]},
    )
    with ExchangeServer(tmp_path, market=three_for_two, opened=D2) as server, server.http() as client:
        send(client, order(qty="5"))
        server.advance(D4)
        found = {a["activity_type"]: a for a in activities(client)}
    # 5 shares become 7.5: seven shares, and half a share at the open of 60
    assert (found["SPLIT"]["qty"], found["SPLIT"]["net_amount"]) == ("2", "0")
    assert (found["CIL"]["net_amount"], found["CIL"]["symbol"]) == ("30", "AAPL")


def test_somebody_elses_trade_appears_with_an_order_of_its_own(server: ExchangeServer, client: httpx.Client):
    server.manual_trade("MSFT", "buy", 5, Decimal("20.5"))
    [fill] = activities(client, activity_types="FILL")
    theirs = client.get(f"/v2/orders/{fill['order_id']}").json()
    assert theirs["client_order_id"].startswith("manual-")
    assert (theirs["status"], theirs["filled_avg_price"]) == ("filled", "20.5")


def test_all_of_620_orders_are_found_by_paging(server: ExchangeServer, client: httpx.Client):
    def submit_all(venue: Venue) -> None:
        for number in range(620):
            patient = OrderIntent(
                f"c{number}", "MSFT", Side.BUY, Decimal(1), Decimal(21), "", 0, OrderType.LIMIT, Decimal(1),
                TimeInForce.GTC,
            )  # fmt: skip
            venue.exchange.submit(patient)

    server.call(submit_all)
    wanted = [f"c{number}" for number in range(620)]
    assert len(client.get("/v2/orders").json()) == 50
    found: list[Json] = []
    while page := client.get(
        "/v2/orders",
        params={"limit": 500, "direction": "asc", **({"after": found[-1]["submitted_at"]} if found else {})},
    ).json():
        found += page
    assert [o["client_order_id"] for o in found] == wanted
    found = client.get("/v2/orders", params={"limit": 500}).json()
    while page := client.get("/v2/orders", params={"limit": 500, "before_order_id": found[-1]["id"]}).json():
        found += page
    assert [o["client_order_id"] for o in found] == wanted[::-1]
    after = client.get("/v2/orders", params={"after_order_id": found[2]["id"]}).json()
    assert [o["client_order_id"] for o in after] == ["c619", "c618"]
    cancelled = client.delete("/v2/orders")
    assert cancelled.status_code == 207
    assert len(cancelled.json()) == 620
    assert client.get("/v2/orders").json() == []


def test_a_nested_list_shows_exits_inside_their_entry(server: ExchangeServer, client: httpx.Client):
    bracket = order(
        order_class="bracket", take_profit={"limit_price": 150}, stop_loss={"stop_price": 90}, time_in_force="gtc"
    )
    for _ in range(3):
        send(client, bracket)
    send(client, order("MSFT"))
    nested = client.get("/v2/orders", params={"nested": "true", "limit": 3}).json()
    assert [(o["symbol"], len(o["legs"] or [])) for o in nested] == [("MSFT", 0), ("AAPL", 2), ("AAPL", 2)]
    server.advance(D3)  # the entries are filled; their exits are open by themselves
    alone = client.get("/v2/orders", params={"nested": "true"}).json()
    assert [o["group_role"] for o in alone] == ["stop_loss", "take_profit"] * 3
    assert len({o["group_id"] for o in alone}) == 3


def test_a_restart_shows_the_same_account(server: ExchangeServer, client: httpx.Client):
    send(client, order())
    server.advance(D3)
    paths = ("/v2/orders?status=all", "/v2/positions", "/v2/account/activities", "/v2/account")
    before = [client.get(path).json() for path in paths]
    server.stop()
    server.start()
    with server.http() as again:
        assert [again.get(path).json() for path in paths] == before
