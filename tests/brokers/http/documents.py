"""Alpaca's own OpenAPI documents, cut to what the exchange serves, and schemathesis on them.

Every override below says where a document contradicts itself or what Alpaca's servers really answer; nothing else
is changed. Values that a tester knows (a listed symbol, the id of an order) take the place of some that the document
allows, so that requests do more than fail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import schemathesis
from brokers.http.board import D3, order, send
from hypothesis import HealthCheck, Phase, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import positive_data_acceptance
from support.exchange_server import ExchangeServer

FOLDER = Path(__file__).parents[2] / "fixtures" / "alpaca"
TRADING, MARKET_DATA = "trading-api.json", "market-data-api.json"
SERVED = {
    TRADING: (
        "/v2/account", "/v2/account/activities", "/v2/account/activities/{activity_type}",
        "/v2/account/configurations", "/v2/account/portfolio/history", "/v2/assets",
        "/v2/assets/{symbol_or_asset_id}", "/v2/calendar", "/v2/clock", "/v2/orders", "/v2/orders/{order_id}",
        "/v2/orders:by_client_order_id", "/v2/positions", "/v2/positions/{symbol_or_asset_id}",
    ),
    MARKET_DATA: (
        "/v2/stocks/bars", "/v2/stocks/bars/latest", "/v2/stocks/quotes/latest", "/v2/stocks/snapshots",
        "/v2/stocks/trades/latest", "/v2/stocks/{symbol}/bars", "/v2/stocks/{symbol}/bars/latest",
        "/v2/stocks/{symbol}/quotes/latest", "/v2/stocks/{symbol}/snapshot", "/v2/stocks/{symbol}/trades/latest",
    ),
}  # fmt: skip
SYMBOLS = ["AAPL", "MSFT"]
_METHODS = ("get", "post", "patch", "delete")
_REFUSAL = {
    "type": "object",
    "properties": {"code": {"type": "integer"}, "message": {"type": "string", "minLength": 1}},
    "required": ["code", "message"],
}
Json = dict[str, Any]
Operation = APIOperation[Any, Any, Any, Any]


def load(name: str) -> Json:
    """A document as Alpaca published it."""
    found: Json = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return found


def trade(server: ExchangeServer) -> None:
    """Give an exchange positions and a history."""
    with server.http() as client:
        for symbol in SYMBOLS:
            send(client, order(symbol, "20", client_order_id=symbol))
        server.advance(D3)


def rest(server: ExchangeServer) -> list[str]:
    """Leave nothing open but some new orders, and trading allowed; their ids, after those of two that have filled."""
    resting = {"type": "limit", "limit_price": "10", "time_in_force": "gtc"}
    exits = {"take_profit": {"limit_price": "150"}, "stop_loss": {"stop_price": "4"}}
    with server.http() as client:
        client.patch("/v2/account/configurations", json={"suspend_trade": False, "fractional_trading": True})
        client.delete("/v2/orders")
        filled = [client.get(f"/v2/orders:by_client_order_id?client_order_id={symbol}").json() for symbol in SYMBOLS]
        opened = [send(client, order("MSFT", "9", **resting)) for _ in range(6)]
        bracket = send(client, order("MSFT", "9", order_class="bracket", **resting, **exits))
    return [shape["id"] for shape in (*filled, *opened, bracket)]


def document(name: str) -> Json:
    """One of the documents, cut and with its overrides."""
    found = load(name)
    found["paths"] = {path: found["paths"][path] for path in SERVED[name]}
    _override_refusals(found, name)
    if name == TRADING:
        _override_activities(found)
        _override_closed_positions(found)
        _override_times(found)
    return found


def operations(document: Json, base_url: str, headers: dict[str, str]) -> Iterator[Operation]:
    """The operations of a document, to be called at a running exchange."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=base_url, headers=headers)
    for result in schema.get_all_operations():
        yield result.ok()


def fuzz(operation: Operation, headers: dict[str, str], orders: list[str], *, examples: int) -> Counter[int]:
    """Call one operation with valid and invalid requests, the same ones in every run, and check each answer.

    ``orders`` are ids that exist. How often each status was answered.
    """
    seen: Counter[int] = Counter()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        try:
            _fuzz(operation, mode, headers, orders, examples, seen)
        except Unsatisfiable:
            # Nothing sent to an operation without parameters, or to one that takes any text, violates its document.
            assert mode is GenerationMode.NEGATIVE, operation.label
    return seen


def _fuzz(
    operation: Operation, mode: GenerationMode, headers: dict[str, str], orders: list[str], examples: int,
    seen: Counter[int],
) -> None:  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode), chance=strategies.randoms(use_true_random=False))
    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def call(case: Case, chance: Random) -> None:
        if mode is GenerationMode.POSITIVE:
            _informed(case, orders, chance)
        # Not asked for: that whatever fits the document is accepted. It types a symbol, a price and a time as any
        # text, and says in prose what Alpaca refuses of it.
        answer = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
        seen[answer.status_code] += 1

    call()


def _override_refusals(found: Json, name: str) -> None:
    """Refusals have a body, and each operation can give them.

    The documents name few and describe none; Alpaca's pages on errors do, and its servers answer 401, 403, 404, 422
    and 429 wherever they apply, with code and message. (Market data answers 400 where trading answers 422.)
    """
    invalid = "422" if name == TRADING else "400"
    for item in found["paths"].values():
        for method in _METHODS:
            for status in ("400", "401", "403", "404", "422", "429", invalid):
                listed = item.get(method, {}).get("responses", {})
                if status in listed or (method in item and status in ("401", "403", "404", "429", invalid)):
                    content = {"application/json": {"schema": _REFUSAL}}
                    listed[status] = {"description": "refused", "content": content}


def _override_activities(found: Json) -> None:
    schemas = found["components"]["schemas"]
    # Neither of the two has a required property, so both always fit and "one of" never holds.
    by_type = found["paths"]["/v2/account/activities/{activity_type}"]["get"]["responses"]["200"]
    items = by_type["content"]["application/json"]["schema"]["items"]
    items["anyOf"] = items.pop("oneOf")
    # The document's own example is "2019-08-01".
    schemas["NonTradeActivities"]["properties"]["date"]["format"] = "date"
    # Cash in lieu is missing, and is in alpaca-py's ActivityType.
    schemas["ActivityType"]["enum"].append("CIL")


def _override_closed_positions(found: Json) -> None:
    """A position that could not be closed has the refusal as its body, which alpaca-py reads."""
    properties = found["components"]["schemas"]["PositionClosedResponse"]["properties"]
    properties["body"] = {"anyOf": [properties["body"], _REFUSAL]}


def _override_times(found: Json) -> None:
    """Dates are accepted too: descriptions and Alpaca's own clients have them, the formats of the parameters do not."""
    either = [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]
    for path in ("/v2/account/activities", "/v2/account/activities/{activity_type}"):
        for parameter in found["paths"][path]["get"]["parameters"]:
            if parameter["name"] in ("date", "until", "after"):
                parameter["schema"] = {"anyOf": either}
    for name in ("legacy_start", "legacy_end"):
        found["components"]["parameters"][name]["schema"] = {"anyOf": either}


def _informed(case: Case, orders: list[str], chance: Random) -> None:
    """Put what a tester knows in the place of some of what the document allows."""
    known = {
        "symbol": SYMBOLS, "symbols": [*SYMBOLS, ",".join(SYMBOLS)], "symbol_or_asset_id": SYMBOLS,
        "order_id": orders, "before_order_id": orders[2:], "after_order_id": orders[:2],
        "client_order_id": SYMBOLS, "timeframe": ["1Day", "1D"], "activity_type": ["FILL", "FEE", "CSD"],
        "period": ["1M", "1A"], "after": ["2013-01-02"], "until": ["2013-01-09T12:00:00Z"], "side": ["buy", "sell"],
        "adjustment": ["raw", "all"], "currency": ["USD"], "cashflow_types": ["ALL"], "percentage": [50],
    }  # fmt: skip
    for values in (case.path_parameters, case.query):
        for name in list(values or ()):
            if name in known and chance.random() < 0.8:
                values[name] = chance.choice(known[name])
            elif name == "page_token" and chance.random() < 0.8:
                del values[name]
    if case.method == "POST" and chance.random() < 0.7:
        case.body = _order(chance)
    elif case.method == "PATCH" and "order_id" in case.path and chance.random() < 0.7:
        case.body = {"qty": str(chance.randint(1, 9)), "limit_price": f"{chance.randint(4, 9)}.5"}


def _order(chance: Random) -> Json:
    kind = chance.choice(("market", "limit", "stop", "stop_limit", "trailing_stop"))
    body: Json = {
        "symbol": chance.choice(SYMBOLS),
        "side": chance.choice(("buy", "buy", "sell")),
        "type": kind,
        "time_in_force": chance.choice(("day", "gtc", "opg", "cls")),
        "qty": chance.choice(("1", "3", "0.5")),
    }
    if kind in ("limit", "stop_limit"):
        body["limit_price"] = chance.choice(("18.5", "19", "120"))
    if kind in ("stop", "stop_limit"):
        body["stop_price"] = chance.choice(("19.25", "25"))
    if kind == "trailing_stop":
        body["trail_percent"] = "2"
    if chance.random() < 0.2:
        body |= {"order_class": "bracket", "take_profit": {"limit_price": "500"}, "stop_loss": {"stop_price": "1"}}
    return body
