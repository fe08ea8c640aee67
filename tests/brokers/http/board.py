"""The market that the exchange's HTTP tests trade, written down by hand, and what several of them do with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
from support.exchange_server import ExchangeServer
from support.markets import StaticMarket, bar
from websockets.sync.client import ClientConnection, connect

from workbench.brokers.market import CorporateAction

D2, D3, D4, D7, D8 = (date(2013, 1, day) for day in (2, 3, 4, 7, 8))
Json = dict[str, Any]


def market() -> StaticMarket:
    """AAPL splits two for one on the 7th and pays 0.50 on the 8th; MSFT is quiet."""
    return StaticMarket(
        {
            "AAPL": {
                D2: bar("100", "104", "98", "102", "1000"),
                D3: bar("103", "110", "101", "108", "2000"),
                D4: bar("107", "112", "105", "110", "3000"),
                D7: bar("56", "60", "54", "58", "4000"),
                D8: bar("58", "59", "50", "51", "5000"),
            },
            "MSFT": {day: bar("20", "22", "19", "21", "9000") for day in (D2, D3, D4, D7, D8)},
        },
        {
            D7: [CorporateAction("AAPL", "split", Decimal(2))],
            D8: [CorporateAction("AAPL", "dividend", Decimal("0.50"))],
        },
    )


def order(symbol: str = "AAPL", qty: str = "10", side: str = "buy", **more: Any) -> Json:
    """The body of a market order for the day, with whatever else is named."""
    return {"symbol": symbol, "qty": qty, "side": side, "type": "market", "time_in_force": "day", **more}


def send(client: httpx.Client, body: Json) -> Json:
    """Submit an order that must be taken."""
    answer = client.post("/v2/orders", json=body)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def activities(client: httpx.Client, **query: Any) -> list[Json]:
    """Account activities, oldest first."""
    answer = client.get("/v2/account/activities", params={"direction": "asc", **query})
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()
    return found


def until(server: ExchangeServer, holds: Callable[[Json], bool]) -> Json:
    """Ask for the venue's state until something holds of it."""
    for _ in range(5000):
        state = server.state()
        if holds(state):
            return state
    raise AssertionError(f"never so: {state}")


@contextmanager
def listening(server: ExchangeServer) -> Iterator[ClientConnection]:
    """A plain connection that hears trade updates."""
    with connect(server.stream_url) as socket:
        socket.send(json.dumps({"action": "auth", "key": server.key, "secret": server.secret}))
        assert told(socket) == {"stream": "authorization", "data": {"status": "authorized", "action": "auth"}}
        socket.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert told(socket) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        yield socket


def told(socket: ClientConnection) -> Json:
    """The next message, which comes in a binary frame as Alpaca's do."""
    frame = socket.recv(timeout=60)
    assert isinstance(frame, bytes)
    found: Json = json.loads(frame)
    return found


def events(socket: ClientConnection, count: int) -> list[Json]:
    return [told(socket)["data"] for _ in range(count)]
