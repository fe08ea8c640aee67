"""``/_exchange``: what only the person at this machine may do with the venue. Loopback callers, JSON bodies.

A page in a browser could reach a loopback address too, so the name it was reached by must be loopback's, and a
body must say that it is JSON, which no form can.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from datetime import date
from decimal import Decimal

from fastapi import Request, Response

from workbench.brokers.exchange import Phase
from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.answers import Area, answer
from workbench.brokers.exchange_http.faults import FaultPlan
from workbench.brokers.exchange_http.order_requests import read_body
from workbench.brokers.exchange_http.venue import CUT, Venue
from workbench.brokers.exchange_http.wire import Json, number, text
from workbench.domain import Side
from workbench.errors import ConfigError, WorkbenchError

_Action = Callable[[dict[str, Json]], Json]


class Admin(Area):
    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        actions: dict[str, _Action] = {
            "advance": self.advance,
            "open": self.open,
            "close": self.close,
            "faults": self.faults,
            "release": self.release,
            "cut": self.cut,
            "manual_trade": self.manual_trade,
            "bust": self.bust,
            "correct": self.correct,
            "overfill": self.overfill,
        }
        for name, action in actions.items():
            self.add("POST", f"/_exchange/{name}", _guarded(action))
        self.add("GET", "/_exchange/state", _guarded(self.state))

    def state(self, body: dict[str, Json]) -> Json:
        """Where the exchange is, what it holds, and what is left of the plan."""
        exchange, faults = self.venue.exchange, self.venue.faults
        return {
            "account": exchange.account_name,
            "session": exchange.session.isoformat(),
            "phase": exchange.phase.value,
            "cash": text(exchange.cash),
            "equity": text(exchange.equity()),
            "holdings": {h.symbol: text(h.quantity) for h in exchange.holdings()},
            "fills": [fill.fill_id for _, fill in exchange.fills()],
            "faults": [fault.model_dump(mode="json", exclude_defaults=True) for fault in faults.left],
            "played": faults.played,
            "streams": {
                "trades": len(self.venue.trade_listeners.subscribed),
                "bars": len(self.venue.bar_listeners.subscribed),
            },
        }

    def advance(self, body: dict[str, Json]) -> Json:
        """To after the close of ``session``, or of the next one without it."""
        exchange = self.venue.exchange
        if body.get("session") is not None:
            session = self.venue.calendar.require_session(_date(body["session"]))
        elif exchange.phase is Phase.OPEN:
            session = exchange.session
        else:
            session = self.venue.calendar.next(exchange.session)
        self.venue.require_data(session)
        with self.venue.changing():
            exchange.advance(session)
        return self.state(body)

    def open(self, body: dict[str, Json]) -> Json:
        self.venue.require_data(self.venue.calendar.next(self.venue.exchange.session))
        with self.venue.changing() as exchange:
            exchange.open_market()
        return self.state(body)

    def close(self, body: dict[str, Json]) -> Json:
        with self.venue.changing() as exchange:
            exchange.close_market()
        return self.state(body)

    def faults(self, body: dict[str, Json]) -> Json:
        """Play another plan; an empty one stops all faults."""
        self.venue.replay_faults(FaultPlan.parse(_plain(body)))
        return self.state(body)

    def release(self, body: dict[str, Json]) -> Json:
        """Let requests that hang go on."""
        self.venue.release()
        return self.state(body)

    def cut(self, body: dict[str, Json]) -> Json:
        """Close every stream, as a lost connection would."""
        self.venue.trade_listeners.tell(CUT)
        self.venue.bar_listeners.tell(CUT)
        return self.state(body)

    def manual_trade(self, body: dict[str, Json]) -> Json:
        """A trade of somebody else on the account: ``symbol``, ``side``, ``qty``, ``price``."""
        try:
            side = Side(str(body.get("side")))
        except ValueError as error:
            raise ConfigError(f"side is buy or sell, not {body.get('side')!r}") from error
        with self.venue.changing() as exchange:
            fill = exchange.manual_trade(
                str(body.get("symbol")), side, _amount(body, "qty"), _amount(body, "price")
            )  # fmt: skip
        return {"fill": fill.fill_id, **self.state(body)}

    def bust(self, body: dict[str, Json]) -> Json:
        """Take back the trade ``fill``."""
        with self.venue.changing() as exchange:
            exchange.bust(str(body.get("fill")))
        return self.state(body)

    def correct(self, body: dict[str, Json]) -> Json:
        """Give the trade ``fill`` another ``price`` or ``qty``."""
        price = _amount(body, "price") if body.get("price") is not None else None
        quantity = _amount(body, "qty") if body.get("qty") is not None else None
        with self.venue.changing() as exchange:
            exchange.correct(str(body.get("fill")), price=price, quantity=quantity)
        return self.state(body)

    def overfill(self, body: dict[str, Json]) -> Json:
        """Execute ``qty`` more than was left of the order ``client_order_id``."""
        with self.venue.changing() as exchange:
            exchange.overfill(str(body.get("client_order_id")), _amount(body, "qty"))
        return self.state(body)


def _guarded(action: _Action) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if not _is_local(request):
            raise problems.forbidden("the exchange is managed from its own machine only")
        raw = await request.body()
        if raw and not request.headers.get("content-type", "").startswith("application/json"):
            raise problems.malformed("the body must be application/json")
        if request.method == "POST" and not raw:
            raise problems.malformed("a JSON object is required, {} at least")
        try:
            return answer(action(read_body(raw) if raw else {}))
        except WorkbenchError as error:
            raise problems.unprocessable(str(error)) from error

    return endpoint


def _is_local(request: Request) -> bool:
    host = (request.url.hostname or "").rstrip(".")
    client = request.client.host if request.client else ""
    return _is_loopback(client) and (host == "localhost" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _date(value: Json) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise ConfigError(f"session {value!r} is not a date", hint="write it as 2013-03-01") from error


def _amount(body: dict[str, Json], name: str) -> Decimal:
    value = number(body.get(name))
    if value is None or value <= 0:
        raise ConfigError(f"{name} must be a positive number, not {body.get(name)!r}")
    return value


def _plain(body: Json) -> Json:
    """The body with its exact decimals as numbers again, as the plan's model reads them."""
    if isinstance(body, dict):
        return {key: _plain(value) for key, value in body.items()}
    if isinstance(body, list):
        return [_plain(value) for value in body]
    return str(body) if isinstance(body, Decimal) else body
