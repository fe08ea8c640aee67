"""The admin interface, the rate limit, and the limits of time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from brokers.http.board import D2, D3, D4, Json, market, order, send
from support.exchange_server import ExchangeServer

from workbench.clock import ManualClock


def post(server: ExchangeServer, action: str, **more: object) -> httpx.Response:
    arguments: Json = {"json": {}, **more}
    return httpx.post(f"{server.url}/_exchange/{action}", trust_env=False, **arguments)


def test_sessions_are_traded_one_by_one_or_up_to_a_date(server: ExchangeServer):
    assert (server.open_market()["session"], server.state()["phase"]) == ("2013-01-03", "open")
    assert server.close_market()["phase"] == "closed"
    assert server.advance()["session"] == "2013-01-04"
    assert server.advance(D4)["session"] == "2013-01-04"


@pytest.mark.parametrize(
    ("action", "body", "words"),
    [
        ("close", {}, "closed"),
        ("advance", {"session": "2013-01-01"}, "not a XNYS session"),
        ("advance", {"session": "2012-12-31"}, "cannot go back"),
        ("advance", {"session": "soon"}, "not a date"),
        ("bust", {"fill": "f9"}, "f9"),
        ("bust", {}, "None"),
        ("correct", {"fill": "f9", "price": "1"}, "f9"),
        ("correct", {"fill": "f9", "price": "-1"}, "price must be"),
        ("overfill", {"client_order_id": "c9", "qty": 1}, "c9"),
        ("manual_trade", {"symbol": "AAPL", "side": "hold", "qty": 1, "price": 1}, "side is buy or sell"),
        ("manual_trade", {"symbol": "AAPL", "side": "sell", "qty": 1, "price": 1}, "insufficient shares"),
        ("manual_trade", {"symbol": "AAPL", "side": "buy", "qty": "NaN", "price": 1}, "qty must be"),
    ],
)
def test_a_mistake_is_answered_in_words(steady: ExchangeServer, action: str, body: Json, words: str):
    answer = post(steady, action, json=body)
    assert answer.status_code == 422
    assert words in answer.json()["message"]


@pytest.mark.parametrize(
    "more",
    [
        {"json": None, "content": b"{}"},  # what a form of a web page can send
        {"json": None, "data": {"session": "2013-01-03"}},
        {"headers": {"host": "exchange.example"}},  # a name that was made to point here
        {"json": []},
        {"json": None},
    ],
)
def test_a_web_page_cannot_manage_the_exchange(steady: ExchangeServer, more: Json):
    assert post(steady, "open", **more).status_code in (403, 422)
    assert steady.state()["phase"] == "closed"


def test_the_admin_interface_needs_no_keys_and_is_not_limited(tmp_path: Path):
    with ExchangeServer(tmp_path, market=market(), opened=D2, per_minute=1) as server:
        assert [server.state()["phase"] for _ in range(5)] == ["closed"] * 5


def test_the_rate_limit_counts_down_and_comes_back_with_the_minute(tmp_path: Path):
    clock = ManualClock(datetime(2013, 1, 3, 12, 0, 10, tzinfo=UTC))
    with (
        ExchangeServer(tmp_path, market=market(), opened=D2, per_minute=3, clock=clock) as server,
        server.http() as client,
    ):
        answers = [client.get("/v2/clock") for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert [a.headers["x-ratelimit-remaining"] for a in answers] == ["2", "1", "0", "0"]
        assert {a.headers["x-ratelimit-limit"] for a in answers} == {"3"}
        # the next minute begins at 12:01:00, 1357214460 seconds after 1970
        assert {a.headers["x-ratelimit-reset"] for a in answers} == {"1357214460"}
        assert answers[3].json() == {"code": 42910000, "message": "rate limit exceeded"}
        clock.advance(49)
        assert client.get("/v2/clock").status_code == 429
        clock.advance(1)
        assert client.get("/v2/clock").status_code == 200


def test_every_answer_carries_the_rate_headers(visitor: httpx.Client):
    for path in ("/v2/account", "/v2/nothing", "/v2/orders?limit=0", "/v2/stocks/bars"):
        answer = visitor.get(path)
        assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(answer.headers), path


def test_the_exchange_does_not_go_on_where_the_data_ends(server: ExchangeServer, client: httpx.Client):
    def end_at_the_4th(venue: object) -> None:
        venue.until = D4  # type: ignore[attr-defined]

    server.call(end_at_the_4th)
    send(client, order())
    server.advance(D3)
    server.advance(D4)
    for action in ("advance", "open"):
        answer = post(server, action)
        assert answer.status_code == 422
        assert "the data ends at 2013-01-04" in answer.json()["message"]
    assert server.state()["session"] == "2013-01-04"
