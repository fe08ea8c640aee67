"""The fault plan: every fault, seen from the client's end of a real socket."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from brokers.http.board import D2, D3, D4, Json, activities, events, listening, market, order, send, until
from support.exchange_server import ExchangeServer
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from workbench.brokers.exchange_http import FaultPlan
from workbench.clock import ManualClock
from workbench.errors import ConfigError

ORDERS = {"method": "POST", "path": "/v2/orders"}


def taken(client: httpx.Client) -> list[str]:
    """The client order ids that the exchange has."""
    return [found["client_order_id"] for found in client.get("/v2/orders", params={"status": "all"}).json()]


@pytest.mark.parametrize("accept", [True, False])
@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_status_comes_after_the_order_was_taken_or_before(
    server: ExchangeServer, client: httpx.Client, accept: bool, status: int
):
    server.faults({"kind": "status", "status": status, "accept": accept, **ORDERS})
    answer = client.post("/v2/orders", json=order(client_order_id="c1"))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html")
    assert taken(client) == (["c1"] if accept else [])
    assert client.post("/v2/orders", json=order(client_order_id="c2")).status_code == 200  # once means once


@pytest.mark.parametrize("accept", [True, False])
def test_a_dropped_connection_is_closed_without_an_answer(server: ExchangeServer, client: httpx.Client, accept: bool):
    server.faults({"kind": "drop", "accept": accept, **ORDERS})
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        client.post("/v2/orders", json=order(client_order_id="c1"))
    assert taken(client) == (["c1"] if accept else [])


@pytest.mark.parametrize("accept", [True, False])
def test_a_request_hangs_until_it_is_released(server: ExchangeServer, client: httpx.Client, accept: bool):
    server.faults({"kind": "hang", "accept": accept, **ORDERS})
    answers: list[int] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.post("/v2/orders", json=order(client_order_id="c1")).status_code)
    )
    thread.start()
    until(server, lambda state: state["played"] == ["hang POST /v2/orders"])
    with server.http() as other:
        assert taken(other) == (["c1"] if accept else [])
    assert answers == []
    server.release()
    thread.join(60)
    assert answers == [200]
    assert taken(client) == ["c1"]


@pytest.mark.parametrize("accept", [True, False])
def test_a_client_that_gives_up_on_a_hanging_request(server: ExchangeServer, accept: bool):
    server.faults({"kind": "hang", "accept": accept, **ORDERS})
    with server.http(timeout=0.05) as impatient, pytest.raises(httpx.ReadTimeout):
        impatient.post("/v2/orders", json=order(client_order_id="c1"))
    server.release()
    with server.http() as client:
        assert taken(client) == (["c1"] if accept else [])


def test_a_request_hangs_for_a_while_on_the_venues_clock(tmp_path: Path):
    clock = ManualClock(datetime(2013, 1, 3, tzinfo=UTC))
    with ExchangeServer(tmp_path, market=market(), opened=D2, clock=clock) as server, server.http() as client:
        server.faults({"kind": "hang", "seconds": 60, **ORDERS})
        answers: list[int] = []
        thread = threading.Thread(target=lambda: answers.append(client.post("/v2/orders", json=order()).status_code))
        thread.start()
        until(server, lambda state: state["played"] == ["hang POST /v2/orders"])
        clock.advance(59)
        assert server.state()["session"] == "2013-01-02"
        assert answers == []
        clock.advance(1)
        thread.join(60)
        assert answers == [200]


@pytest.mark.parametrize("accept", [True, False])
def test_a_page_comes_instead_of_json(server: ExchangeServer, client: httpx.Client, accept: bool):
    server.faults({"kind": "html", "accept": accept, **ORDERS})
    answer = client.post("/v2/orders", json=order(client_order_id="c1"))
    assert (answer.status_code, answer.text[:15]) == (200, "<!DOCTYPE html>")
    assert taken(client) == (["c1"] if accept else [])


@pytest.mark.parametrize("accept", [True, False])
def test_half_of_the_json_comes(server: ExchangeServer, client: httpx.Client, accept: bool):
    server.faults({"kind": "truncated", "accept": accept, **ORDERS})
    answer = client.post("/v2/orders", json=order(client_order_id="c1"))
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        answer.json()
    assert taken(client) == (["c1"] if accept else [])


def test_too_many_requests_by_plan(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "rate_limit", "seconds": 17, "path": "/v2/account"})
    answer = client.get("/v2/account")
    assert (answer.status_code, answer.json()) == (429, {"code": 42910000, "message": "rate limit exceeded"})
    assert answer.headers["x-ratelimit-remaining"] == "0"
    left = int(answer.headers["x-ratelimit-reset"]) - parsedate_to_datetime(answer.headers["date"]).timestamp()
    assert 16 <= left <= 18
    assert client.get("/v2/account").status_code == 200


def test_an_order_is_rejected_by_plan(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "reject", **ORDERS}, {"kind": "reject", "status": 422, "code": 42210000, "message": "no"})
    assert client.post("/v2/orders", json=order()).json() == {"code": 40310000, "message": "the order is rejected"}
    second = client.post("/v2/orders", json=order())
    assert (second.status_code, second.json()) == (422, {"code": 42210000, "message": "no"})
    assert taken(client) == []


def test_a_venue_that_is_down_drops_everything_and_comes_back(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "down", "times": 3})
    for path in ("/v2/account", "/v2/clock"):
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(path)
    with pytest.raises((WebSocketException, EOFError, OSError)):
        connect(server.stream_url)
    assert client.get("/v2/clock").status_code == 200


def test_a_streams_handshake_is_dropped(server: ExchangeServer):
    server.faults({"kind": "drop", "method": "WEBSOCKET", "path": "/stream"})
    with pytest.raises((WebSocketException, EOFError, OSError)) as caught:
        connect(server.stream_url)
    assert not isinstance(caught.value, InvalidStatus)
    with listening(server):
        pass


def test_faults_of_requests_leave_the_streams_alone(server: ExchangeServer):
    server.faults({"kind": "status", "times": None})
    with listening(server):
        assert server.state()["played"] == []


def test_fills_are_told_twice_under_one_id(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "duplicate_fills"})
    with listening(server) as socket:
        send(client, order())
        server.advance(D3)
        new, first, second = events(socket, 3)
    assert new["event"] == "new"
    assert first == second
    found = activities(client, activity_types="FILL")
    assert len(found) == 2
    assert found[0] == found[1]
    assert client.get("/v2/positions/AAPL").json()["qty"] == "10"


def test_fills_change_places(server: ExchangeServer, client: httpx.Client):
    for symbol in ("AAPL", "MSFT"):
        send(client, order(symbol))
    server.faults({"kind": "reorder_fills"})
    with listening(server) as socket:
        server.advance(D3)
        assert [event["order"]["symbol"] for event in events(socket, 2)] == ["MSFT", "AAPL"]
    assert [a["symbol"] for a in activities(client, activity_types="FILL")] == ["MSFT", "AAPL"]


def test_one_fill_is_told_in_pieces(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "partial_fills", "pieces": 3})
    with listening(server) as socket:
        send(client, order(qty="10"))
        server.advance(D3)
        told = events(socket, 4)[1:]
    assert [(e["event"], e["qty"], e["order"]["filled_qty"]) for e in told] == [
        ("partial_fill", "3", "3"),
        ("partial_fill", "3", "6"),
        ("fill", "4", "10"),
    ]
    found = activities(client, activity_types="FILL")
    assert [(a["type"], a["qty"], a["cum_qty"], a["leaves_qty"]) for a in found] == [
        ("partial_fill", "3", "3", "7"),
        ("partial_fill", "3", "6", "4"),
        ("fill", "4", "10", "0"),
    ]
    assert [a["id"].partition("::")[2] for a in found] == [e["execution_id"] for e in told]
    server.faults()  # what was told once stays told
    assert activities(client, activity_types="FILL") == found


def test_a_fraction_is_told_in_pieces_that_add_up(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "partial_fills", "pieces": 3})
    send(client, order(qty="0.000000005"))
    server.advance(D3)
    found = activities(client, activity_types="FILL")
    assert [a["qty"] for a in found] == ["0.000000001", "0.000000001", "0.000000003"]


def test_a_late_fill_is_told_after_some_polls(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "late_fills", "polls": 2, "symbol": "AAPL"})
    send(client, order("AAPL", client_order_id="late"))
    send(client, order("MSFT"))
    server.advance(D3)
    assert client.get("/v2/orders:by_client_order_id?client_order_id=late").json()["status"] == "filled"
    assert [[a["symbol"] for a in activities(client, activity_types="FILL")] for _ in range(3)] == [
        ["MSFT"],
        ["MSFT"],
        ["AAPL", "MSFT"],
    ]


def test_more_is_executed_than_was_ordered(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "overfill", "quantity": "2"})
    sent = send(client, order(qty="10"))
    server.advance(D3)
    after = client.get(f"/v2/orders/{sent['id']}").json()
    assert (after["qty"], after["filled_qty"], after["status"]) == ("10", "12", "filled")
    assert client.get("/v2/positions/AAPL").json()["qty"] == "12"
    assert [a["cum_qty"] for a in activities(client, activity_types="FILL")] == ["10", "12"]


def test_a_trade_is_busted_by_plan(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "bust"})
    with listening(server) as socket:
        send(client, order())
        server.advance(D3)
        assert [event["event"] for event in events(socket, 3)] == ["new", "fill", "trade_bust"]
    assert activities(client, activity_types="FILL") == []
    assert client.get("/v2/positions").json() == []
    assert client.get("/v2/account").json()["cash"] == "100000"


def test_a_trade_is_corrected_by_plan(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "correct", "price": "101"})
    send(client, order())
    server.advance(D3)
    [fill] = activities(client, activity_types="FILL")
    assert fill["price"] == "101"
    assert client.get("/v2/account").json()["cash"] == "98990"


def test_the_venues_clock_is_skewed(server: ExchangeServer, client: httpx.Client):
    right = client.get("/v2/clock")
    server.faults({"kind": "skew", "seconds": 300})
    wrong = client.get("/v2/clock")
    ahead = datetime.fromisoformat(wrong.json()["timestamp"]) - datetime.fromisoformat(right.json()["timestamp"])
    assert 300 <= ahead.total_seconds() < 330
    dates = [parsedate_to_datetime(answer.headers["date"]) for answer in (right, wrong)]
    assert 299 <= (dates[1] - dates[0]).total_seconds() < 331
    assert wrong.json()["next_open"] == right.json()["next_open"]
    server.faults()
    assert datetime.fromisoformat(client.get("/v2/clock").json()["timestamp"]) < datetime.fromisoformat(
        wrong.json()["timestamp"]
    )


def test_a_plan_is_played_in_its_order(server: ExchangeServer, client: httpx.Client):
    server.faults(
        {"kind": "status", "status": 502, "path": "/v2/account*", "times": 2},
        {"kind": "status", "status": 500, "path": "/v2/account"},
    )
    assert [client.get("/v2/account").status_code for _ in range(4)] == [502, 502, 500, 200]
    assert client.get("/v2/clock").status_code == 200


def test_drawn_faults_are_the_same_for_the_same_seed(server: ExchangeServer, client: httpx.Client):
    def played(seed: int) -> list[int]:
        server.faults({"kind": "status", "rate": 0.3, "times": None, "path": "/v2/clock"}, seed=seed)
        return [client.get("/v2/clock").status_code for _ in range(40)]

    first = played(1)
    assert 3 < first.count(504) < 25
    assert played(1) == first
    assert played(2) != first


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"faults": [{"kind": "explode"}]}, "faults.0.kind"),
        ({"faults": [{"kind": "drop", "colour": "red"}]}, "faults.0.colour"),
        ({"faults": [{"kind": "drop", "rate": 2}]}, "faults.0.rate"),
        ({"faults": [{"kind": "skew"}]}, "needs seconds"),
        ({"faults": [{"kind": "correct"}]}, "a price or a quantity"),
        ({"fault": []}, "fault"),
        ([], "the plan"),
    ],
)
def test_a_plan_with_a_mistake_is_refused_by_name(server: ExchangeServer, plan: Json, words: str):
    with pytest.raises(ConfigError, match=words):
        FaultPlan.parse(plan)
    answer = httpx.post(f"{server.url}/_exchange/faults", json=plan, trust_env=False)
    assert answer.status_code == 422
    assert server.state()["faults"] == []


def test_nothing_happens_twice_when_a_hanging_exchange_is_stopped(tmp_path: Path):
    with ExchangeServer(tmp_path, market=market(), opened=D2) as server:
        server.faults({"kind": "hang", **ORDERS})
        failures: list[type] = []

        def post() -> None:
            with server.http() as client:
                try:
                    client.post("/v2/orders", json=order(client_order_id="c1"))
                except httpx.HTTPError as error:
                    failures.append(type(error))

        thread = threading.Thread(target=post)
        thread.start()
        until(server, lambda state: bool(state["played"]))
        server.stop()
        thread.join(60)
        assert failures == [httpx.RemoteProtocolError]
        server.start()
        with server.http() as client:
            assert taken(client) == []
            server.advance(D4)


def test_a_trade_may_be_corrected_overfilled_and_busted_at_once(server: ExchangeServer, client: httpx.Client):
    server.faults({"kind": "bust"}, {"kind": "bust"}, {"kind": "correct", "price": "101"}, {"kind": "overfill"})
    with listening(server) as socket:
        sent = send(client, order(qty="10"))
        server.advance(D3)
        told = [event["event"] for event in events(socket, 5)]
    assert told == ["new", "fill", "trade_correct", "fill", "trade_bust"]
    assert client.get(f"/v2/orders/{sent['id']}").json()["filled_qty"] == "1"
    assert client.get("/v2/positions/AAPL").json()["qty"] == "1"
