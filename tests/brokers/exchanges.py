"""Exchanges for the tests of the engine: opened without costs, asked in a few words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from workbench.brokers.exchange import Exchange
from workbench.brokers.matching import Costs
from workbench.domain import OrderState

FREE = Costs(Decimal(0), Decimal(0), Decimal(0))
NOW = datetime(2026, 1, 5, 22, tzinfo=UTC)
# Of Tuesday, 8 January 2013; New York is five hours behind UTC.
TUE_OPEN, TUE_CLOSE = datetime(2013, 1, 8, 14, 30, tzinfo=UTC), datetime(2013, 1, 8, 21, tzinfo=UTC)

Opener = Callable[..., Exchange]


def state(exchange: Exchange, identifier: str) -> OrderState:
    record = exchange.order(identifier)
    assert record is not None
    return record.order.state


def told(exchange: Exchange) -> list[tuple[str, str]]:
    return [(event.kind, event.record.order.client_order_id) for event in exchange.events()]


def held(exchange: Exchange) -> dict[str, Decimal]:
    return {holding.symbol: holding.quantity for holding in exchange.holdings()}
