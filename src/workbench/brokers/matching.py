"""How one order meets one session, as pure functions: convention ``next_open`` of docs/architecture.md."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from workbench.brokers.market import Bar
from workbench.domain import OrderType, Side, TimeInForce

_BPS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the exchange charges: USD a share, USD minimum per order, basis points of slippage on market orders."""

    commission_per_share: Decimal
    commission_min: Decimal
    slippage_bps: Decimal

    def fee(self, quantity: Decimal) -> Decimal:
        """Commission in USD for an execution.

        >>> Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2)).fee(Decimal(300))
        Decimal('1.500')
        """
        return max(self.commission_min, self.commission_per_share * quantity)

    def market_price(self, open_price: Decimal, side: Side) -> Decimal:
        """The opening price made worse by the slippage; not rounded to a tick."""
        return open_price * (1 + side.sign * self.slippage_bps / _BPS)


def fill_price(
    side: Side, kind: OrderType, limit: Decimal | None, time_in_force: TimeInForce, bar: Bar, costs: Costs
) -> Decimal | None:
    """The price at which an order fills in a session, in USD; None if it does not.

    A market order fills at the open with slippage. A limit order fills at the open if that is at its limit
    or better, otherwise at the limit if the session's range reaches it (``day`` only), without slippage.
    """
    if kind is OrderType.MARKET:
        return costs.market_price(bar.open, side)
    assert limit is not None
    if (bar.open - limit) * side.sign <= 0:
        return bar.open
    if time_in_force is TimeInForce.OPG:
        return None
    reached = bar.low <= limit if side is Side.BUY else bar.high >= limit
    return limit if reached else None
