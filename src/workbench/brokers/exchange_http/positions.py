"""``/v2/positions``: what is held, and orders that close it."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from fastapi import Request, Response

from workbench.brokers.exchange import Holding
from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.answers import Area, answer, query
from workbench.brokers.exchange_http.order_requests import MOST_DECIMALS
from workbench.brokers.exchange_http.orders import cancel_all, submit
from workbench.brokers.exchange_http.problems import Problem
from workbench.brokers.exchange_http.shapes import ZERO, position_json
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import Json, decimals
from workbench.domain import OrderIntent, Side

_HUNDRED = Decimal(100)


class Positions(Area):
    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.add("GET", "/v2/positions", self.listed)
        self.add("DELETE", "/v2/positions", self.close_all)
        self.add("GET", "/v2/positions/{symbol_or_asset_id}", self.one)
        self.add("DELETE", "/v2/positions/{symbol_or_asset_id}", self.close)

    async def listed(self, request: Request) -> Response:
        return answer([self._shape(holding) for holding in self.venue.exchange.holdings()])

    async def one(self, request: Request) -> Response:
        return answer(self._shape(self._holding(request)))

    async def close(self, request: Request) -> Response:
        holding = self._holding(request)
        wanted = query(request)
        quantity, percentage = wanted.amount("qty"), wanted.amount("percentage")
        return answer(self._close(holding, closing_quantity(holding.quantity, quantity, percentage)))

    async def close_all(self, request: Request) -> Response:
        if query(request).flag("cancel_orders"):
            cancel_all(self.venue)
        answers = []
        for holding in self.venue.exchange.holdings():
            try:
                status, body = 200, self._close(holding, abs(holding.quantity))
            except Problem as problem:
                status, body = problem.status, problem.body
            answers.append({"symbol": holding.symbol, "status": status, "body": body})
        return answer(answers, 207)

    def _close(self, holding: Holding, quantity: Decimal) -> Json:
        side = Side.SELL if holding.quantity > 0 else Side.BUY
        intent = OrderIntent(
            client_order_id=self.venue.new_id(),
            symbol=holding.symbol,
            side=side,
            quantity=quantity,
            reference_price=self.venue.exchange.price(holding.symbol) or ZERO,
            strategy="",
            sequence=0,
        )
        return submit(self.venue, intent, {"position_intent": f"{side.value}_to_close"})

    def _holding(self, request: Request) -> Holding:
        symbol = self.venue.symbol_of(str(request.path_params["symbol_or_asset_id"]))
        for holding in self.venue.exchange.holdings():
            if holding.symbol == symbol:
                return holding
        raise problems.not_found("position does not exist")

    def _shape(self, holding: Holding) -> Json:
        waiting, _ = self.venue.waiting(holding.symbol)
        available = max(holding.quantity - waiting, ZERO) if holding.quantity > 0 else holding.quantity
        return position_json(holding, self.venue.quoted(holding.symbol), available)


def closing_quantity(held: Decimal, quantity: Decimal | None, percentage: Decimal | None) -> Decimal:
    """Shares to trade to close ``quantity`` or ``percentage`` (of 100) of a holding, all of it without either.

    Of whole shares a percentage closes whole shares, rounded down.

    >>> closing_quantity(Decimal(7), None, Decimal(50))
    Decimal('3')
    """
    if quantity is not None and percentage is not None:
        raise problems.malformed("only one of qty or percentage is accepted")
    if quantity is not None:
        if quantity <= 0 or decimals(quantity) > MOST_DECIMALS:
            raise problems.unprocessable("qty must be > 0 with at most 9 decimals")
        return quantity
    if percentage is None:
        return abs(held)
    if not 0 < percentage <= _HUNDRED or decimals(percentage) > MOST_DECIMALS:
        raise problems.unprocessable("percentage must be between 0 and 100 with at most 9 decimals")
    step = Decimal(1).scaleb(-MOST_DECIMALS) if decimals(held) else Decimal(1)
    found = (abs(held) * percentage / _HUNDRED).quantize(step, ROUND_DOWN)
    if not found:
        raise problems.unprocessable("qty must be > 0")
    return found
