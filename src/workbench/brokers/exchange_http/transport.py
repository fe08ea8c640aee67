"""The way in and out of the exchange: rate headers, the venue's clock in ``Date``, and the faults of the plan.

It wraps the application below FastAPI, because a fault must be able to close the TCP connection itself.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from email.utils import format_datetime
from typing import Any, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.faults import WEBSOCKET, Fault, Kind
from workbench.brokers.exchange_http.problems import Problem
from workbench.brokers.exchange_http.venue import Venue

_TRANSPORT = "workbench.transport"
_TICK_S = 0.01
_LIMIT_S = 30.0
_PAGE = b"<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%s</h1></body></html>\n"
_REASONS = {500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Time-out"}


class HttpProtocol(H11Protocol):
    """uvicorn's HTTP protocol, which lets the application reach the connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.app = _with_transport(self.app, self)


class SocketProtocol(WebSocketsSansIOProtocol):
    """The same for websockets."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.app = _with_transport(self.app, self)


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose body has been read."""

    scope: Scope
    body: bytes
    receive: Receive
    send: Send
    met: float  # when on the venue's monotonic clock it met its fault, which whoever asks knows from then on

    def again(self) -> Receive:
        """A ``receive`` that gives the body, then goes on as before."""
        messages: list[Message] = [{"type": "http.request", "body": self.body, "more_body": False}]

        async def receive() -> Message:
            return messages.pop() if messages else await self.receive()

        return receive


async def abort(scope: Scope) -> None:
    """Close the TCP connection of a request at once, whatever was to be answered."""
    transport = scope.get(_TRANSPORT)
    if transport is not None:
        transport.abort()


class Front:
    """The outermost layer: each request meets the plan, is counted, and its answer gets the venue's headers."""

    def __init__(self, app: ASGIApp, venue: Venue) -> None:
        self._app = app
        self._venue = venue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        served = path.startswith(("/v2", "/stream"))
        if scope["type"] == "websocket" and served:
            if self._venue.faults.for_request(WEBSOCKET, path) is None:
                await self._app(scope, receive, send)
            else:
                await _drop(scope, receive)
        elif scope["type"] == "http" and served:
            await self._request(scope, receive, self._headed(send))
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault, met = self._venue.faults.for_request(scope["method"], scope["path"]), self._venue.clock.monotonic()
        if fault is None:
            await self._counted(scope, receive, send)
            return
        call = _Call(scope, await _read_body(receive), receive, send, met)
        done = await self._carry_out(call) if fault.accept else None
        await self._play(fault, done, call)

    async def _play(self, fault: Fault, done: list[Message] | None, call: _Call) -> None:
        """Answer wrongly; ``done`` is the right answer where the request was carried out."""
        kind, send = fault.kind, call.send
        if kind in (Kind.DROP, Kind.DOWN):
            await _drop(call.scope, call.receive)
        elif kind is Kind.HANG:
            await self._hang(fault, done, call)
        elif kind is Kind.STATUS:
            status = fault.status or 504
            reason = _REASONS.get(status, b"Error")
            await _respond(send, status, "text/html", _PAGE % (b"%d " % status + reason, reason))
        elif kind is Kind.HTML:
            await _respond(send, 200, "text/html", _PAGE % (b"Maintenance", b"We will be back soon"))
        elif kind is Kind.TRUNCATED:
            right = b"".join(m.get("body", b"") for m in done or []) or b'{"id": "00000000-0000'
            await _respond(send, 200, "application/json", right[: max(len(right) // 2, 1)])
        elif kind is Kind.RATE_LIMIT:
            await self._limited(fault, send)
        else:
            status, code = fault.status or 403, fault.code or problems.FORBIDDEN
            await refuse(send, Problem(status, code, fault.message or "the order is rejected"))

    async def _hang(self, fault: Fault, done: list[Message] | None, call: _Call) -> None:
        """Say nothing until told, or for a while; then answer, if anybody is still there.

        A request that was not carried out before never is once its client has gone.
        """
        gone = asyncio.create_task(_disconnected(call.receive))
        patience = asyncio.create_task(self._wait(None if fault.seconds is None else call.met + fault.seconds))
        await asyncio.wait({gone, patience}, return_when=asyncio.FIRST_COMPLETED)
        left = gone.done()
        for task in (gone, patience):
            task.cancel()
        await asyncio.gather(gone, patience, return_exceptions=True)
        if left or self._venue.stopping:
            await _drop(call.scope, call.receive)
            return
        if done is None:
            await self._counted(call.scope, call.again(), call.send)
        for message in done or []:
            await call.send(message)

    async def _wait(self, deadline: float | None) -> None:
        """Until released, or until that moment on the venue's clock."""
        clock, released = self._venue.clock, self._venue.released
        while not released.is_set() and (deadline is None or clock.monotonic() < deadline):
            # The clock may be one that only a test moves, so it is looked at again and again.
            try:
                await asyncio.wait_for(released.wait(), None if deadline is None else _TICK_S)
            except TimeoutError:
                continue

    async def _limited(self, fault: Fault, send: Send) -> None:
        over = int(self._venue.now().timestamp() + (fault.seconds or _LIMIT_S))
        headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(over)}
        await refuse(send, problems.too_many(), headers)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._venue.limit.take():
            await self._app(scope, receive, send)
        else:
            await refuse(send, problems.too_many())

    async def _carry_out(self, call: _Call) -> list[Message]:
        """Let the request happen, and keep its answer."""
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)

        await self._counted(call.scope, call.again(), keep)
        return kept

    def _headed(self, send: Send) -> Send:
        """``send`` that adds what every answer carries."""

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name.lower(), value) for name, value in message.get("headers", [])]
                names = {name for name, _ in given}
                ours = {"date": format_datetime(self._venue.now(), usegmt=True), **self._venue.limit.headers()}
                given += [(n.encode(), v.encode()) for n, v in ours.items() if n.encode() not in names]
                message = {**message, "headers": given}
            await send(message)

        return headed


async def refuse(send: Send, problem: Problem, headers: dict[str, str] | None = None) -> None:
    """Answer with a problem."""
    await _respond(send, problem.status, "application/json", json.dumps(problem.body).encode(), headers)


async def _respond(
    send: Send, status: int, media: str, body: bytes, headers: dict[str, str] | None = None
) -> None:  # fmt: skip
    named = {"content-type": media, "content-length": str(len(body)), **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


async def _drop(scope: Scope, receive: Receive) -> None:
    """Close the connection, and wait until it is closed: uvicorn would answer 500 for us otherwise."""
    await abort(scope)
    await _disconnected(receive)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] not in {"http.disconnect", "websocket.disconnect"}:
        pass


async def _read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return body


def _with_transport(app: Any, protocol: Any) -> Any:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        scope[_TRANSPORT] = protocol.transport
        await cast(ASGIApp, app)(scope, receive, send)

    return wrapped
