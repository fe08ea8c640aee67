"""Order requests as Alpaca's clients send them, read into intents; refused with Alpaca's codes where they are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from workbench.brokers.exchange_http.problems import forbidden, malformed, unprocessable
from workbench.brokers.exchange_http.wire import Json, decimals, number, text
from workbench.domain import Bracket, OrderIntent, OrderType, Side, TimeInForce

MOST_DECIMALS = 9
_LONGEST_ID = 128
_NOT_SERVED = {"oco", "oto", "mleg"}
_LEAST_NOTIONAL = Decimal(1)


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a replacement changes; None leaves it as it is. Prices in USD."""

    client_order_id: str
    quantity: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail: Decimal | None
    time_in_force: TimeInForce | None


def read_body(raw: bytes) -> dict[str, Json]:
    """The JSON object of a request; numbers with a point stay exact.

    >>> read_body(b'{"limit_price": 0.1}')
    {'limit_price': Decimal('0.1')}
    """
    try:
        found = json.loads(raw, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise malformed("request body format is invalid") from error
    if not isinstance(found, dict):
        raise malformed("request body format is invalid")
    return found


class Fields:
    """The fields of a request body; null counts as left out."""

    def __init__(self, values: Mapping[str, Json], prefix: str = "") -> None:
        self._values = values
        self._prefix = prefix

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def string(self, name: str) -> str | None:
        found = self._values.get(name)
        if found is None:
            return None
        if not isinstance(found, str):
            raise malformed(f"{self._prefix}{name} must be a string")
        return found

    def flag(self, name: str) -> bool:
        found = self._values.get(name)
        if found is None:
            return False
        if not isinstance(found, bool):
            raise malformed(f"{self._prefix}{name} must be true or false")
        return found

    def positive(self, name: str) -> Decimal | None:
        """A number or numeric text above zero."""
        found = self._values.get(name)
        if found is None:
            return None
        value = number(found)
        if value is None:
            raise malformed(f"{self._prefix}{name} is not a number: {found!r}")
        if value <= 0:
            raise unprocessable(f"{self._prefix}{name} must be > 0")
        if decimals(value) > MOST_DECIMALS:
            raise unprocessable(f"{self._prefix}{name} must have at most {MOST_DECIMALS} decimals")
        return value

    def price(self, name: str) -> Decimal | None:
        """A price in USD, on its tick. Source: SEC Rule 612; Alpaca refuses sub-penny prices so."""
        value = self.positive(name)
        if value is not None and decimals(value) > (2 if value >= 1 else 4):
            raise unprocessable(
                f"invalid {self._prefix}{name} {text(value)}. sub-penny increment does not fulfill minimum pricing"
                " criteria"
            )
        return value

    def choice(self, name: str, allowed: type[OrderType] | type[Side] | type[TimeInForce]) -> str:
        found = self.string(name)
        if not found:
            raise malformed(f"{self._prefix}{name} is required")
        if found not in list(allowed):
            raise unprocessable(f"invalid {self._prefix}{name}: {found!r}")
        return found

    def inner(self, name: str) -> Fields | None:
        found = self._values.get(name)
        if found is None:
            return None
        if not isinstance(found, dict):
            raise malformed(f"{self._prefix}{name} must be an object")
        return Fields(found, f"{self._prefix}{name}.")


def read_order(
    body: Mapping[str, Json],
    *,
    symbol_of: Callable[[str], str | None],
    price_of: Callable[[str], Decimal | None],
    new_id: Callable[[], str],
) -> tuple[OrderIntent, dict[str, str]]:
    """An order request as an intent, and the texts the venue keeps with it.

    ``symbol_of`` finds a symbol by symbol or asset id, ``price_of`` its price (USD), ``new_id`` makes an id.
    """
    fields = Fields(body)
    symbol = _symbol(fields, symbol_of)
    side = _side(fields)
    kind = OrderType(fields.choice("type", OrderType))
    time_in_force = TimeInForce(_time_in_force(fields))
    order_class = _order_class(fields)
    reference = price_of(symbol) or Decimal(0)
    quantity, notional = _size(fields, reference)
    intent = OrderIntent(
        client_order_id=_client_order_id(fields) or new_id(),
        symbol=symbol,
        side=side,
        quantity=quantity,
        reference_price=reference,
        strategy="",
        sequence=0,
        type=kind,
        limit_price=fields.price("limit_price"),
        time_in_force=time_in_force,
        stop_price=fields.price("stop_price"),
        trail_price=fields.positive("trail_price"),
        trail_percent=fields.positive("trail_percent"),
        notional_usd=notional,
        bracket=_bracket(fields, order_class),
    )
    _check_prices(intent)
    _check_terms(fields, intent)
    extra = {"order_class": order_class}
    if fields.string("position_intent"):
        extra["position_intent"] = str(fields.string("position_intent"))
    return intent, extra


def read_replacement(body: Mapping[str, Json], new_id: Callable[[], str]) -> Replacement:
    """A replacement request; at least one field must change."""
    fields = Fields(body)
    if fields.has("notional"):
        raise unprocessable("notional orders cannot be replaced")
    if fields.has("advanced_instructions"):
        raise unprocessable("advanced_instructions are not served by this exchange")
    changed = ("qty", "limit_price", "stop_price", "trail", "time_in_force")
    if not any(fields.has(name) for name in changed):
        raise unprocessable("order parameters are not changed")
    quantity = fields.positive("qty")
    if quantity is not None and quantity != quantity.to_integral_value():
        raise unprocessable("qty of a replacement must be a whole number of shares")
    return Replacement(
        _client_order_id(fields) or new_id(),
        quantity,
        fields.price("limit_price"),
        fields.price("stop_price"),
        fields.positive("trail"),
        TimeInForce(_time_in_force(fields)) if fields.has("time_in_force") else None,
    )


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _symbol(fields: Fields, symbol_of: Callable[[str], str | None]) -> str:
    written = fields.string("symbol")
    if not written:
        raise malformed("symbol is required")
    symbol = symbol_of(written)
    if symbol is None:
        raise unprocessable(f'asset "{written}" not found')
    return symbol


def _side(fields: Fields) -> Side:
    intent = fields.string("position_intent")
    if intent is not None and intent not in {"buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"}:
        raise unprocessable(f"invalid position_intent: {intent!r}")
    if not fields.has("side") and intent is not None:
        return Side(intent.partition("_")[0])
    side = Side(fields.choice("side", Side))
    if intent is not None and not intent.startswith(side.value):
        raise unprocessable(f"position intent mismatch, inferred: {side.value}, specified: {intent}")
    return side


def _time_in_force(fields: Fields) -> str:
    if fields.string("time_in_force") in {"ioc", "fok"}:
        raise unprocessable(f"time_in_force {fields.string('time_in_force')} is not served by this exchange")
    return fields.choice("time_in_force", TimeInForce)


def _order_class(fields: Fields) -> str:
    found = fields.string("order_class") or ""
    if found in _NOT_SERVED:
        raise unprocessable(f"order_class {found} is not served by this exchange")
    if found not in {"", "simple", "bracket"}:
        raise unprocessable(f"invalid order_class: {found!r}")
    if found != "bracket" and (fields.has("take_profit") or fields.has("stop_loss")):
        raise unprocessable("take_profit and stop_loss need order_class bracket")
    for name in ("legs", "advanced_instructions"):
        if fields.has(name):
            raise unprocessable(f"{name} are not served by this exchange")
    return found


def _client_order_id(fields: Fields) -> str | None:
    found = fields.string("client_order_id")
    if found is not None and len(found) > _LONGEST_ID:
        raise malformed(f"client_order_id must be no more than {_LONGEST_ID} characters")
    if found is not None and not found.isprintable():
        raise malformed("client_order_id must be printable")
    return found


def _size(fields: Fields, reference: Decimal) -> tuple[Decimal, Decimal | None]:
    """Shares and, where the order asks for an amount, USD."""
    quantity, notional = fields.positive("qty"), fields.positive("notional")
    if quantity is not None and notional is not None:
        raise unprocessable("only one of qty or notional is accepted")
    if quantity is not None:
        return quantity, None
    if notional is None:
        raise malformed("qty or notional is required")
    if decimals(notional) > 2:
        raise unprocessable("notional must be limited to 2 decimal places")
    if notional < _LEAST_NOTIONAL:
        raise forbidden("cost basis must be >= minimal amount of order 1")
    if reference <= 0:
        return Decimal(0), notional
    return (notional / reference).quantize(Decimal(1).scaleb(-MOST_DECIMALS), ROUND_DOWN), notional


def _bracket(fields: Fields, order_class: str) -> Bracket | None:
    if order_class != "bracket":
        return None
    profit, loss = fields.inner("take_profit"), fields.inner("stop_loss")
    limit = profit.price("limit_price") if profit else None
    stop = loss.price("stop_price") if loss else None
    if limit is None:
        raise unprocessable("bracket orders require take_profit.limit_price")
    if stop is None or loss is None:
        raise unprocessable("bracket orders require stop_loss.stop_price")
    return Bracket(limit, stop, loss.price("limit_price"))


def _check_prices(intent: OrderIntent) -> None:
    """Each type has exactly its own prices."""
    given = {
        "limit_price": intent.limit_price is not None,
        "stop_price": intent.stop_price is not None,
        "trail_price": intent.trail_price is not None,
        "trail_percent": intent.trail_percent is not None,
    }
    name = intent.type.value
    for field, wanted in (("limit_price", intent.type.has_limit), ("stop_price", intent.type.has_stop)):
        if wanted and not given[field]:
            raise unprocessable(f"{name} orders require {field.replace('_', ' ')}")
        if given[field] and not wanted:
            raise unprocessable(f"{name} orders require no {field.replace('_', ' ')}")
    trails = given["trail_price"] + given["trail_percent"]
    if intent.type is OrderType.TRAILING_STOP and trails != 1:
        raise unprocessable("trailing stop orders must specify one of trail_price or trail_percent")
    if intent.type is not OrderType.TRAILING_STOP and trails:
        raise unprocessable(f"{name} orders require no trail")


def _check_terms(fields: Fields, intent: OrderIntent) -> None:
    if fields.flag("extended_hours"):
        raise unprocessable("extended hours orders are not served by this exchange")
    if intent.notional_usd is not None and (
        intent.type is not OrderType.MARKET or intent.time_in_force is not TimeInForce.DAY
    ):
        raise unprocessable("notional orders must be market orders with time_in_force day")
    if decimals(intent.quantity) and intent.time_in_force is not TimeInForce.DAY:
        raise unprocessable("fractional orders must be DAY orders")
    if intent.bracket is not None and decimals(intent.quantity):
        raise unprocessable("fractional orders must be simple orders")
