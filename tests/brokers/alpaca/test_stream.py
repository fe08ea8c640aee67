"""Trade updates over a real websocket that a test can break. Waits are for events, never for time to pass."""

from __future__ import annotations

import json
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from brokers.alpaca.venue import KEY, SECRET
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from workbench.brokers.alpaca.stream import TradeUpdates

PATIENCE_S = 60.0
FILL = {"stream": "trade_updates", "data": {"event": "fill"}}


class Station:
    """Alpaca's ``/stream``: signs in, confirms what is listened to, then sends what a test says.

    ``refuse`` answers the sign-in with "unauthorized"; ``mute`` never answers it.
    """

    def __init__(self, port: int = 0, *, refuse: bool = False, mute: bool = False) -> None:
        self.refuse, self.mute = refuse, mute
        self.said: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.connections: queue.Queue[ServerConnection] = queue.Queue()
        self._server = serve(self._talk, "127.0.0.1", port)
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listener(self) -> ServerConnection:
        """The next client that listens."""
        return self.connections.get(timeout=PATIENCE_S)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE_S)

    def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        try:
            for raw in connection:
                message = json.loads(raw)
                self.said.append(message)
                if self.mute:
                    continue
                if message["action"] == "authenticate":
                    status = "unauthorized" if self.refuse else "authorized"
                    _send(connection, {"stream": "authorization", "data": {"status": status}})
                else:
                    _send(connection, {"stream": "listening", "data": message["data"]})
                    self.connections.put(connection)
        except ConnectionClosed:
            pass  # a test cut it


def _send(connection: ServerConnection, message: object) -> None:
    connection.send(json.dumps(message).encode())  # Alpaca sends binary frames


@pytest.fixture
def station() -> Iterator[Station]:
    with closing(Station()) as running:
        yield running


def updates(address: str, timeout_s: float = PATIENCE_S) -> TradeUpdates:
    return TradeUpdates(address, key=KEY, secret=SECRET, timeout_s=timeout_s, retry_s=0.01)


@pytest.fixture
def stream(station: Station) -> Iterator[TradeUpdates]:
    with closing(updates(station.address)) as running:
        yield running


def hear(stream: TradeUpdates) -> None:
    assert stream.heard.wait(PATIENCE_S)
    stream.heard.clear()


def test_it_signs_in_asks_for_trade_updates_and_hears_them(station: Station, stream: TradeUpdates) -> None:
    assert not stream.up
    stream.start()
    connection = station.listener()
    hear(stream)  # connected: something may have happened before
    assert stream.up
    assert station.paths == ["/stream/"]
    assert station.said == [
        {"action": "authenticate", "data": {"key_id": KEY, "secret_key": SECRET}},
        {"action": "listen", "data": {"streams": ["trade_updates"]}},
    ]
    _send(connection, FILL)
    hear(stream)
    _send(connection, {"stream": "trade_updates", "data": {"event": "invented later"}})
    hear(stream)


def test_nothing_is_connected_before_it_is_started(station: Station, stream: TradeUpdates) -> None:
    stream.close()
    assert station.said == []


@pytest.mark.parametrize("rubbish", ["<html>", b"\xff\xfe", "[]", "7"])
def test_rubbish_ends_the_connection_and_a_new_one_takes_its_place(
    station: Station, stream: TradeUpdates, rubbish: str | bytes
) -> None:
    stream.start()
    station.listener().send(rubbish)
    again = station.listener()
    hear(stream)
    _send(again, FILL)
    hear(stream)


def test_a_cut_is_noticed_and_mended(station: Station, stream: TradeUpdates) -> None:
    stream.start()
    first = station.listener()
    hear(stream)
    first.socket.shutdown(socket.SHUT_RDWR)
    again = station.listener()
    hear(stream)  # what happened in between was not heard
    _send(again, FILL)
    hear(stream)


def test_a_venue_that_goes_and_comes_back_is_found_again(caplog: pytest.LogCaptureFixture) -> None:
    station = Station()
    with closing(updates(station.address)) as stream:
        stream.start()
        connection = station.listener()
        hear(stream)
        station.close()
        connection.socket.shutdown(socket.SHUT_RDWR)
        with closing(Station(station.port)) as back:
            back.listener()
            hear(stream)
            assert stream.up
    assert "polling" in caplog.text


def test_refused_keys_leave_it_down_and_say_so_once(caplog: pytest.LogCaptureFixture) -> None:
    with closing(Station(refuse=True)) as station, closing(updates(station.address)) as stream:
        stream.start()
        attempts = iter(lambda: len(station.said) >= 3, True)
        waited = threading.Event()
        for _ in attempts:
            waited.wait(0.01)
        assert not stream.up
        assert not stream.heard.is_set()
    assert len(caplog.records) == 1
    assert "failed to authenticate" in caplog.text
    assert SECRET not in caplog.text


def test_a_venue_that_does_not_answer_the_sign_in_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with closing(Station(mute=True)) as station, closing(updates(station.address, timeout_s=0.2)) as stream:
        stream.start()
        waited = threading.Event()
        while len(station.said) < 2:
            waited.wait(0.01)
        assert not stream.up


def test_closing_ends_the_thread_whether_it_is_connected_or_not(station: Station) -> None:
    connected = updates(station.address)
    connected.start()
    station.listener()
    connected.close()
    assert not connected.up
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    waiting = updates(nobody)
    waiting.start()
    waiting.close()
    assert [thread.name for thread in threading.enumerate()].count("alpaca-stream") == 0
