"""How one order meets a price or a session's range, as pure functions (docs/architecture.md, ``next_open``).

Where the order of a session's prices is unknown, the worse one is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from workbench.brokers.market import Bar
from workbench.domain import OrderType, Side

_BPS = Decimal(10_000)
_PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the exchange charges: USD a share, USD minimum per order, basis points of slippage on market orders."""

    commission_per_share: Decimal
    commission_min: Decimal
    slippage_bps: Decimal

    def fee(self, quantity: Decimal) -> Decimal:
        """Commission in USD for an order of which ``quantity`` shares filled.

        >>> Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2)).fee(Decimal(300))
        Decimal('1.500')
        """
        return max(self.commission_min, self.commission_per_share * quantity)

    def market_price(self, price: Decimal, side: Side) -> Decimal:
        """A price made worse by the slippage; not rounded to a tick."""
        return price * (1 + side.sign * self.slippage_bps / _BPS)


@dataclass(frozen=True, slots=True)
class Terms:
    """What of an order decides when it fills. Prices in USD; ``trail_percent`` 1 is one per cent.

    ``best`` is the best price a trailing stop has seen, ``triggered`` whether a stop-limit order has become a limit.
    """

    side: Side
    type: OrderType
    limit: Decimal | None = None
    stop: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    best: Decimal | None = None
    triggered: bool = False

    @property
    def stop_level(self) -> Decimal | None:
        """Where the stop stands: fixed, or the trail behind the best price.

        >>> Terms(Side.SELL, OrderType.TRAILING_STOP, trail_percent=Decimal(5), best=Decimal(200)).stop_level
        Decimal('190.00')
        """
        if self.type is not OrderType.TRAILING_STOP:
            return self.stop
        if self.best is None:
            return None
        if self.trail_price is not None:
            return self.best + self.side.sign * self.trail_price
        assert self.trail_percent is not None
        return self.best * (1 + self.side.sign * self.trail_percent / _PERCENT)

    def following(self, price: Decimal) -> Terms:
        """The same terms after a trailing stop has seen ``price``."""
        if self.type is not OrderType.TRAILING_STOP:
            return self
        if self.best is not None and (price - self.best) * self.side.sign >= 0:
            return self
        return replace(self, best=price)


@dataclass(frozen=True, slots=True)
class Meeting:
    """What came of it: the price (USD) at which the order fills, if it does, and its terms from now on."""

    price: Decimal | None
    terms: Terms


def at_price(terms: Terms, price: Decimal, costs: Costs) -> Meeting:
    """Meet one price: an auction, or the market while it is open.

    A market order and a stop that the price triggers fill there with slippage; a limit order fills there if that is
    its limit or better, without slippage; a triggered stop-limit order is a limit order from then on.
    """
    if terms.type is OrderType.MARKET:
        return Meeting(costs.market_price(price, terms.side), terms)
    if terms.type is not OrderType.LIMIT and not terms.triggered:
        if not _stop_reached(terms, price):
            return Meeting(None, terms.following(price))
        if terms.type is not OrderType.STOP_LIMIT:
            return Meeting(costs.market_price(price, terms.side), terms)
        terms = replace(terms, triggered=True)
    return Meeting(price if _limit_reached(terms, price) else None, terms)


def in_range(terms: Terms, bar: Bar, costs: Costs) -> Meeting:
    """Meet the range of a session whose opening auction the order has been through.

    A limit order fills at its limit if the range reaches it; a stop at its level, with slippage. A stop-limit order
    that the range triggers fills at its limit (at the worst price of the range if that is better), if the range
    reaches that too. A trailing stop stands where the best price *before* this range left it; if the range does not
    reach it there, it follows the range's best price, and the close, which comes after, may still reach it.
    """
    buys = terms.side is Side.BUY
    adverse, favourable = (bar.high, bar.low) if buys else (bar.low, bar.high)
    if terms.type is OrderType.MARKET:
        return Meeting(None, terms)
    if terms.type is OrderType.LIMIT or terms.triggered:
        return Meeting(terms.limit if _limit_reached(terms, favourable) else None, terms)
    if _stop_reached(terms, adverse):
        if terms.type is not OrderType.STOP_LIMIT:
            return Meeting(_at_stop(terms, costs), terms)
        terms = replace(terms, triggered=True)
        assert terms.limit is not None
        worst = min(terms.limit, adverse) if buys else max(terms.limit, adverse)
        return Meeting(worst if _limit_reached(terms, favourable) else None, terms)
    terms = terms.following(favourable)
    if terms.type is OrderType.TRAILING_STOP and _stop_reached(terms, bar.close):
        return Meeting(_at_stop(terms, costs), terms)
    return Meeting(None, terms)


def _at_stop(terms: Terms, costs: Costs) -> Decimal:
    level = terms.stop_level
    assert level is not None
    return costs.market_price(level, terms.side)


def _stop_reached(terms: Terms, price: Decimal) -> bool:
    level = terms.stop_level
    return level is not None and (price - level) * terms.side.sign >= 0


def _limit_reached(terms: Terms, price: Decimal) -> bool:
    assert terms.limit is not None
    return (price - terms.limit) * terms.side.sign <= 0
