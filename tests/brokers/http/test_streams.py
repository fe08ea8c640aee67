"""The websockets, by both clients unchanged and by a plain one."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import msgpack
import pytest
from alpaca.data.live import StockDataStream
from alpaca.trading.stream import TradingStream
from alpaca_trade_api.stream import Stream
from brokers.http.board import D3, Json, events, listening, order, send, told, until
from support.exchange_server import ExchangeServer
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

Heard = queue.Queue[Any]

# alpaca-trade-api says so itself whenever a line is lost.
pytestmark = pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")


@contextmanager
def running(server: ExchangeServer, stream: Any) -> Iterator[None]:
    """A client's stream in a thread of its own; the venue cuts the line to end it, since clients wait five seconds."""
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stream.stop()
        server.cut()
        thread.join(60)
        assert not thread.is_alive()


def collector(heard: Heard) -> Callable[[Any], Coroutine[None, None, None]]:
    async def hear(message: Any) -> None:
        heard.put(message)

    return hear


def test_alpaca_trade_api_hears_an_order_from_new_to_filled(server: ExchangeServer, client: httpx.Client):
    heard: Heard = queue.Queue()
    stream = Stream(server.key, server.secret, server.url, server.url)
    stream.subscribe_trade_updates(collector(heard))
    with running(server, stream):
        until(server, lambda state: state["streams"]["trades"] == 1)
        sent = send(client, order())
        server.advance(D3)
        new, fill = heard.get(timeout=60), heard.get(timeout=60)
    assert (new.event, new.order["status"], new.order["id"]) == ("new", "accepted", sent["id"])
    assert (fill.event, fill.price, fill.qty, fill.position_qty) == ("fill", "103", "10", "10")
    assert (fill.order["filled_qty"], fill.order["status"]) == ("10", "filled")


def test_alpaca_py_hears_an_order_from_new_to_cancelled(server: ExchangeServer, client: httpx.Client):
    heard: Heard = queue.Queue()
    stream = TradingStream(server.key, server.secret, url_override=server.stream_url)
    stream.subscribe_trade_updates(collector(heard))
    with running(server, stream):
        until(server, lambda state: state["streams"]["trades"] == 1)
        sent = send(client, order())
        client.delete(f"/v2/orders/{sent['id']}")
        new, canceled = heard.get(timeout=60), heard.get(timeout=60)
    assert (new.event, canceled.event) == ("new", "canceled")
    assert str(canceled.order.id) == sent["id"]
    assert canceled.order.canceled_at is not None


def test_both_clients_hear_bars_when_a_session_closes(server: ExchangeServer):
    heard: Heard = queue.Queue()
    old = Stream(server.key, server.secret, server.url, server.url)
    old.subscribe_bars(collector(heard), "AAPL")
    new = StockDataStream(server.key, server.secret, url_override=server.url.replace("http", "ws") + "/v2/iex")
    new.subscribe_daily_bars(collector(heard), "*")
    with ExitStack() as stack:
        stack.enter_context(running(server, old))
        stack.enter_context(running(server, new))
        until(server, lambda state: state["streams"]["bars"] == 2)
        server.open_market()
        server.close_market()
        found = sorted((heard.get(timeout=60) for _ in range(3)), key=lambda bar: (bar.symbol, str(type(bar))))
    assert [(bar.symbol, bar.close) for bar in found] == [("AAPL", 108), ("AAPL", 108), ("MSFT", 21)]


def test_every_listener_hears_the_same(server: ExchangeServer, client: httpx.Client):
    with listening(server) as first, listening(server) as second:
        send(client, order(client_order_id="c1"))
        server.advance(D3)
        assert events(first, 2) == events(second, 2)


def test_a_replacement_is_told_of_both_orders(server: ExchangeServer, client: httpx.Client):
    with listening(server) as socket:
        sent = send(client, order(type="limit", limit_price="90", time_in_force="gtc"))
        client.patch(f"/v2/orders/{sent['id']}", json={"qty": "4"})
        found = events(socket, 3)
    assert sorted(event["event"] for event in found) == ["new", "new", "replaced"]


def test_a_busted_and_a_corrected_trade_are_told(server: ExchangeServer, client: httpx.Client):
    send(client, order())
    server.advance(D3)
    [fill] = server.state()["fills"]
    with listening(server) as socket:
        server.correct(fill, price=101)
        server.bust(fill)
        correct, bust = events(socket, 2)
    assert (correct["event"], correct["price"]) == ("trade_correct", "101")
    assert (bust["event"], bust["position_qty"]) == ("trade_bust", "0")
    assert correct["execution_id"] == bust["execution_id"]


def test_wrong_keys_are_told_so_and_shown_out(server: ExchangeServer):
    with connect(server.stream_url) as socket:
        data = {"key_id": server.key, "secret_key": "wrong"}
        socket.send(json.dumps({"action": "authenticate", "data": data}))
        assert told(socket)["data"] == {"status": "unauthorized", "action": "authenticate"}
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)


def test_nothing_is_heard_before_signing_in(server: ExchangeServer):
    with connect(server.stream_url) as socket:
        for message in ('{"action": "listen", "data": {"streams": ["trade_updates"]}}', "[1]", "{", b"\xff"):
            socket.send(message)
            assert told(socket)["data"] == {"error": "unauthorized"}
    assert server.state()["streams"]["trades"] == 0


def test_messagepack_is_spoken_to_a_client_that_asks_for_it(server: ExchangeServer, client: httpx.Client):
    with connect(server.stream_url, additional_headers={"Content-Type": "application/msgpack"}) as socket:
        socket.send(msgpack.packb({"action": "auth", "key": server.key, "secret": server.secret}))
        assert msgpack.unpackb(socket.recv(timeout=60))["data"]["status"] == "authorized"
        socket.send(msgpack.packb({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        socket.recv(timeout=60)
        send(client, order(client_order_id="c1"))
        assert msgpack.unpackb(socket.recv(timeout=60))["data"]["order"]["client_order_id"] == "c1"


def test_the_data_stream_answers_as_documented(server: ExchangeServer):
    with connect(server.url.replace("http", "ws") + "/v2/iex") as socket:

        def ask(**message: Any) -> Json:
            socket.send(json.dumps(message))
            [answer] = json.loads(socket.recv(timeout=60))
            found: Json = answer
            return found

        assert json.loads(socket.recv(timeout=60)) == [{"T": "success", "msg": "connected"}]
        assert ask(action="subscribe", bars=["AAPL"])["code"] == 401
        assert ask(action="auth", key=server.key, secret=server.secret) == {"T": "success", "msg": "authenticated"}
        assert ask(action="auth", key=server.key, secret=server.secret)["code"] == 403
        assert ask(action="dance")["code"] == 400
        assert ask(action="subscribe", bars=["AAPL", "MSFT"])["bars"] == ["AAPL", "MSFT"]
        assert ask(action="unsubscribe", bars=["MSFT"])["bars"] == ["AAPL"]
        server.advance(D3)
        [bar] = json.loads(socket.recv(timeout=60))
        assert (bar["T"], bar["S"], bar["t"], bar["c"]) == ("b", "AAPL", "2013-01-03T05:00:00Z", 108)


def test_a_cut_line_is_closed_and_a_new_one_works(server: ExchangeServer, client: httpx.Client):
    with listening(server) as socket:
        server.cut()
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)
    with listening(server) as again:
        send(client, order())
        assert told(again)["data"]["event"] == "new"


def test_alpaca_py_comes_back_after_the_line_was_cut(server: ExchangeServer, client: httpx.Client):
    heard: Heard = queue.Queue()
    stream = TradingStream(server.key, server.secret, url_override=server.stream_url)
    stream._reconnect_min_backoff = 0.01
    stream.subscribe_trade_updates(collector(heard))
    with running(server, stream):
        until(server, lambda state: state["streams"]["trades"] == 1)
        server.faults({"kind": "drop", "method": "WEBSOCKET"})  # the first time it comes back in vain
        server.cut()
        until(server, lambda state: state["played"] == ["drop WEBSOCKET /stream"] and state["streams"]["trades"] == 1)
        send(client, order())
        assert heard.get(timeout=60).event == "new"


def test_many_listeners_leave_nothing_behind(server: ExchangeServer):
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(listening(server))
        until(server, lambda state: state["streams"]["trades"] == 20)
    until(server, lambda state: state["streams"]["trades"] == 0)
