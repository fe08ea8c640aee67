"""The application: Alpaca's trading and market data interfaces and streams over one venue."""

from __future__ import annotations

import base64
import binascii

from fastapi import FastAPI, Request, Response, WebSocket
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.account import Account
from workbench.brokers.exchange_http.admin import Admin
from workbench.brokers.exchange_http.answers import answer
from workbench.brokers.exchange_http.market_data import MarketData
from workbench.brokers.exchange_http.orders import Orders
from workbench.brokers.exchange_http.positions import Positions
from workbench.brokers.exchange_http.problems import Problem
from workbench.brokers.exchange_http.reference import Reference
from workbench.brokers.exchange_http.streams import BarStream, TradeStream
from workbench.brokers.exchange_http.transport import Front, refuse
from workbench.brokers.exchange_http.venue import Venue
from workbench.errors import WorkbenchError


def create_app(venue: Venue) -> ASGIApp:
    """Everything that is served, faults and rate limit included, as one ASGI application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for area in (Orders, Positions, Account, Reference, MarketData, Admin):
        app.include_router(area(venue).router)
    _add_streams(app, venue)

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return answer(problem.body, problem.status)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        problem = _plain(error)
        response = answer(problem.body, problem.status)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(WorkbenchError)
    async def _failed(request: Request, error: WorkbenchError) -> Response:
        return answer(problems.internal(str(error)).body, 500)

    return Front(_Gate(app, venue), venue)


class _Gate:
    """Lets only the account's owner in; Alpaca checks the keys before it looks at anything else."""

    def __init__(self, app: ASGIApp, venue: Venue) -> None:
        self._app = app
        self._venue = venue

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v2") and not self._admitted(scope):
            await refuse(send, problems.unauthorized())
        else:
            await self._app(scope, receive, send)

    def _admitted(self, scope: Scope) -> bool:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if "apca-api-key-id" in headers:
            return self._venue.admits(headers["apca-api-key-id"], headers.get("apca-api-secret-key", ""))
        return self._venue.admits(*_basic(headers.get("authorization", "")))


def _add_streams(app: FastAPI, venue: Venue) -> None:
    @app.websocket("/stream")
    async def _trades(socket: WebSocket) -> None:
        await TradeStream(venue, socket).serve()

    @app.websocket("/stream/")
    async def _trades_of_the_old_client(socket: WebSocket) -> None:
        await TradeStream(venue, socket).serve()

    @app.websocket("/v2/{feed}")
    async def _bars(socket: WebSocket, feed: str) -> None:
        if feed in ("iex", "sip", "delayed_sip"):
            await BarStream(venue, socket).serve()
        else:
            await socket.close()


def _plain(error: HTTPException) -> Problem:
    if error.status_code == 404:
        return problems.not_found("endpoint not found.")
    code = problems.NOT_ALLOWED if error.status_code == 405 else error.status_code * 100_000
    return Problem(error.status_code, code, str(error.detail).lower())


def _basic(header: str) -> tuple[str, str]:
    """Key and secret out of a Basic header; empty if it is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        key, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return key, secret
