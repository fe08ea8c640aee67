"""The two websockets: trade updates at ``/stream``, bars at ``/v2/iex``.

Source: https://docs.alpaca.markets/docs/websocket-streaming (binary frames that hold JSON) and
https://docs.alpaca.markets/docs/real-time-stock-pricing-data (JSON text, or MessagePack where the client's
Content-Type asks for it).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import date, datetime
from typing import Any

import msgpack
from starlette.websockets import WebSocket, WebSocketDisconnect

from workbench.brokers.exchange_http import bars
from workbench.brokers.exchange_http.transport import abort
from workbench.brokers.exchange_http.updates import TRADE_UPDATES
from workbench.brokers.exchange_http.venue import CUT, Listeners, Venue
from workbench.brokers.exchange_http.wire import Json

_CHANNELS = (
    "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds", "corrections", "cancelErrors",
)  # fmt: skip
_BAR_CHANNELS = {"bars": "b", "dailyBars": "d"}
_Messages = Callable[[Any], list[Json]]


class TradeStream:
    """``/stream``: one connection that has signed in and asked for ``trade_updates`` hears of every order."""

    def __init__(self, venue: Venue, socket: WebSocket) -> None:
        self._venue = venue
        self._socket = socket
        self._packed = _wants_msgpack(socket)
        self._signed_in = False
        self._listening = False

    async def serve(self) -> None:
        """Talk until either side ends it."""
        await self._socket.accept()
        try:
            await _converse(self._socket, self._venue.trade_listeners, self._answer, self._update)
        finally:
            self._venue.trade_listeners.subscribed.discard(self)

    async def _answer(self, raw: bytes | str) -> None:
        message = _read(raw, self._packed)
        action = message.get("action")
        data: dict[str, Json] = message["data"] if isinstance(message.get("data"), dict) else {}
        if action in ("auth", "authenticate"):
            key, secret = data.get("key_id", message.get("key")), data.get("secret_key", message.get("secret"))
            self._signed_in = self._venue.admits(str(key), str(secret))
            word = "authorized" if self._signed_in else "unauthorized"
            await self._send({"stream": "authorization", "data": {"status": word, "action": action}})
            if not self._signed_in:
                await self._socket.close()
        elif action == "listen" and self._signed_in:
            wanted = data.get("streams")
            streams = [name for name in wanted if name == TRADE_UPDATES] if isinstance(wanted, list) else []
            self._listening = bool(streams)
            if streams:
                self._venue.trade_listeners.subscribed.add(self)
            await self._send({"stream": "listening", "data": {"streams": streams}})
        else:
            error = "invalid action" if self._signed_in else "unauthorized"
            await self._send({"stream": "listening", "data": {"error": error}})

    async def _update(self, message: Json) -> None:
        if self._listening:
            await self._send(message)

    async def _send(self, message: Json) -> None:
        packed = msgpack.packb(message) if self._packed else json.dumps(message).encode()
        await self._socket.send_bytes(packed)


class BarStream:
    """``/v2/iex``: a connection that has signed in and subscribed hears each bar when the session closes."""

    def __init__(self, venue: Venue, socket: WebSocket) -> None:
        self._venue = venue
        self._socket = socket
        self._packed = _wants_msgpack(socket)
        self._signed_in = False
        self._wanted: dict[str, set[str]] = {channel: set() for channel in _CHANNELS}

    async def serve(self) -> None:
        """Talk until either side ends it."""
        await self._socket.accept()
        await self._send([{"T": "success", "msg": "connected"}])
        try:
            await _converse(self._socket, self._venue.bar_listeners, self._answer, self._closed)
        finally:
            self._venue.bar_listeners.subscribed.discard(self)

    async def _answer(self, raw: bytes | str) -> None:
        message = _read(raw, self._packed)
        action = message.get("action")
        if action == "auth":
            await self._sign_in(message)
        elif not self._signed_in:
            await self._refuse(401, "not authenticated")
        elif action in ("subscribe", "unsubscribe"):
            for channel in _CHANNELS:
                names = message.get(channel)
                symbols = {str(name) for name in names} if isinstance(names, list | tuple) else set()
                if action == "subscribe":
                    self._wanted[channel] |= symbols
                else:
                    self._wanted[channel] -= symbols
            self._venue.bar_listeners.subscribed.add(self)
            current = {channel: sorted(symbols) for channel, symbols in self._wanted.items()}
            await self._send([{"T": "subscription", **current}])
        else:
            await self._refuse(400, "invalid syntax")

    async def _sign_in(self, message: dict[str, Json]) -> None:
        if self._signed_in:
            await self._refuse(403, "already authenticated")
            return
        self._signed_in = self._venue.admits(str(message.get("key")), str(message.get("secret")))
        if self._signed_in:
            await self._send([{"T": "success", "msg": "authenticated"}])
        else:
            await self._refuse(402, "auth failed")
            await self._socket.close()

    async def _closed(self, session: date) -> None:
        """Send the bars of a session that has closed."""
        told: list[Json] = []
        for channel, kind in _BAR_CHANNELS.items():
            wanted = self._wanted[channel]
            for symbol in self._venue.listed() if "*" in wanted else sorted(wanted):
                bar = self._venue.market.bar(symbol, session)
                if bar is not None:
                    told.append({"T": kind, "S": symbol, **bars.bar_json(bar, session)})
        if told:
            await self._send(told)

    async def _refuse(self, code: int, text: str) -> None:
        await self._send([{"T": "error", "code": code, "msg": text}])

    async def _send(self, messages: list[Json]) -> None:
        if not self._packed:
            await self._socket.send_text(json.dumps(messages))
            return
        timed = [
            {**m, "t": msgpack.Timestamp.from_datetime(datetime.fromisoformat(m["t"]))} if "t" in m else m
            for m in messages
        ]
        await self._socket.send_bytes(msgpack.packb(timed))


async def _converse(
    socket: WebSocket,
    listeners: Listeners,
    answer: Callable[[bytes | str], Coroutine[None, None, None]],
    tell: Callable[[Any], Coroutine[None, None, None]],
) -> None:
    """Answer what the client says and tell it what happens, until one of both ends."""
    with listeners.listen() as queue:
        tasks = [asyncio.create_task(_hear(socket, answer)), asyncio.create_task(_tell(socket, queue, tell))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        # A client that has gone is no fault; neither is a message that came too late for it.
        if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect | RuntimeError):
            raise result


async def _hear(socket: WebSocket, answer: Callable[[bytes | str], Coroutine[None, None, None]]) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        await answer(message.get("bytes") or message.get("text") or b"")


async def _tell(
    socket: WebSocket, queue: asyncio.Queue[object], tell: Callable[[Any], Coroutine[None, None, None]]
) -> None:
    while True:
        message = await queue.get()
        if message is CUT:
            with suppress(RuntimeError):
                await abort(socket.scope)
            return
        await tell(message)


def _wants_msgpack(socket: WebSocket) -> bool:
    return "msgpack" in socket.headers.get("content-type", "")


def _read(raw: bytes | str, packed: bool) -> dict[str, Json]:
    """A client's message; empty if it is not an object."""
    try:
        found = msgpack.unpackb(raw) if packed and isinstance(raw, bytes) else json.loads(raw)
    except (ValueError, msgpack.UnpackException, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
