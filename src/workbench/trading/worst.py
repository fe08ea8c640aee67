"""What an order may cost or sell at its worst, before anybody knows: what the gates compare and the book counts."""

from __future__ import annotations

from decimal import Decimal

from workbench.domain import Order, OrderIntent, OrderType, Side, is_positive
from workbench.settings import RiskSettings
from workbench.trading.exposures import Sums, Working
from workbench.trading.riskbook import RiskBook


def worst_price(order: OrderIntent | Order, book: RiskBook, limits: RiskSettings) -> Decimal:
    """The most an order may pay or fetch a share, in USD.

    A market order: the market's price plus the buffer. A buy with a limit: the limit; a sale with one: the limit
    or the market, whichever is more. A buy stop: its stop (or the market, if that is more) plus the buffer; a
    trailing one: the market and the trail plus the buffer.
    """
    market = book.prices.get(order.symbol, Decimal(0))
    buffer = 1 + limits.market_order_buffer
    if order.limit_price is not None:
        return order.limit_price if order.side is Side.BUY else max(order.limit_price, market)
    if order.side is Side.SELL:
        return market * buffer
    if order.stop_price is not None:
        return max(order.stop_price, market) * buffer
    trail = order.trail_price or market * (order.trail_percent or Decimal(0)) / 100
    return (market + trail) * buffer


def shares(order: OrderIntent | Order, book: RiskBook) -> Decimal:
    """The shares an order is for; one for an amount buys as many as that is at the market's price, if more."""
    if order.notional_usd is None or not is_positive(book.prices.get(order.symbol)):
        return order.quantity
    return max(order.quantity, order.notional_usd / book.prices[order.symbol])


def as_working(intent: OrderIntent, book: RiskBook, limits: RiskSettings) -> Working:
    """An intent as it would count if it were sent; one that replaces another excludes that one."""
    group = book.group(intent.replaces) if intent.replaces else ""
    return Working(
        intent.client_order_id, intent.symbol, intent.side, intent.type, shares(intent, book), intent.strategy,
        own_price(intent, book, limits), exclusive=group,
    )  # fmt: skip


def own_price(order: OrderIntent | Order, book: RiskBook, limits: RiskSettings) -> Decimal | None:
    """The worst price of a buy that has a price of its own; the others cost what the market asks."""
    if order.side is Side.SELL or order.type is OrderType.MARKET:
        return None
    return worst_price(order, book, limits)


def buying_power_usd(cash: Decimal, sums: Sums, limits: RiskSettings) -> Decimal:
    """What is left to buy with, in USD, after everything that may still be bought."""
    up, down = 1 + limits.market_order_buffer, 1 - limits.market_order_buffer
    return cash + sums.sure * down - sums.buys * up - sums.priced - sums.short * up
