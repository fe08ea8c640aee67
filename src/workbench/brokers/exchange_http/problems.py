"""Alpaca's refusals: status, numeric code and message, with the extra fields its clients read.

Source: https://docs.alpaca.markets/docs/working-with-orders and the error tables of the options page; bodies as
quoted in the issues of alpacahq's client libraries. Messages may change at Alpaca, codes and statuses may not.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from workbench.brokers.exchange_http.wire import Json, text

UNAUTHORIZED = 40110000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
NOT_ALLOWED = 40510000
MALFORMED = 40010001
UNPROCESSABLE = 42210000
TOO_MANY = 42910000
INTERNAL = 50010000


class Problem(Exception):
    """An answer other than success: HTTP status and the body's code, message and further fields."""

    def __init__(self, status: int, code: int, message: str, **extra: Json) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.extra = extra

    @property
    def body(self) -> dict[str, Json]:
        """The JSON object that is sent."""
        return {"code": self.code, "message": self.message, **self.extra}


def unauthorized() -> Problem:
    return Problem(401, UNAUTHORIZED, "request is not authorized")


def forbidden(message: str) -> Problem:
    return Problem(403, FORBIDDEN, message)


def insufficient_buying_power(available: Decimal, cost: Decimal) -> Problem:
    """Refusal of an order that costs more (USD) than the account may spend."""
    return Problem(
        403, FORBIDDEN, "insufficient buying power", buying_power=text(available), cost_basis=text(cost)
    )  # fmt: skip


def insufficient_quantity(
    symbol: str, requested: Decimal, held: Decimal, waiting: Decimal, orders: Sequence[str]
) -> Problem:
    """Refusal of a sale of more shares than are held and not promised to ``orders`` (venue ids) already."""
    available = text(max(held - waiting, Decimal(0)))
    message = f"insufficient qty available for order (requested: {text(requested)}, available: {available})"
    return Problem(
        403, FORBIDDEN, message, symbol=symbol, available=available, existing_qty=text(held),
        held_for_orders=text(waiting), related_orders=list(orders),
    )  # fmt: skip


def not_found(message: str) -> Problem:
    return Problem(404, NOT_FOUND, message)


def malformed(message: str) -> Problem:
    """Refusal of a field that is missing or cannot be read."""
    return Problem(422, MALFORMED, message)


def unprocessable(message: str) -> Problem:
    """Refusal of an order or request that reads well and makes no sense here."""
    return Problem(422, UNPROCESSABLE, message)


def bad_request(message: str) -> Problem:
    """Refusal by the market data and calendar endpoints, which answer 400 where trading answers 422."""
    return Problem(400, MALFORMED, message)


def too_many() -> Problem:
    return Problem(429, TOO_MANY, "rate limit exceeded")


def internal(message: str = "internal server error occurred") -> Problem:
    return Problem(500, INTERNAL, message)
