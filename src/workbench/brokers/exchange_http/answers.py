"""How an endpoint answers, and what every area of the interface has in common."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response

from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.parameters import Parameters
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import Json

Endpoint = Callable[[Request], Awaitable[Response]]


class Area:
    """Endpoints that belong together, over one venue."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.router = APIRouter()

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        """Serve ``path`` by an endpoint that reads its request itself: Alpaca's refusals are not FastAPI's."""
        self.router.add_api_route(path, endpoint, methods=[method], response_model=None)

    def symbol(self, request: Request, name: str, what: str) -> str:
        """The listed symbol in the path, by symbol or asset id."""
        written = str(request.path_params[name])
        symbol = self.venue.symbol_of(written)
        if symbol is None:
            raise problems.not_found(f"{what} not found for {written}")
        return symbol


def answer(body: Json, status: int = 200) -> Response:
    return Response(json.dumps(body), status, media_type="application/json")


def nothing() -> Response:
    return Response(status_code=204)


def query(request: Request) -> Parameters:
    return Parameters(request.query_params)
