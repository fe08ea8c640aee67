"""What one symbol may come to: shares held, orders that may still fill, and what that is worth at its worst.

One kind of order is taken as done before it is: a market sell that the venue has *accepted*, because at the next
auction it fills before any buy does. A sell that is unknown, or has a price, frees nothing. Orders that exclude one
another (a bracket's two exits; an order and its replacement) count as the larger of them, never as both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from workbench.domain import OrderType, Side, is_positive

ACCOUNT = ""  # the scope of the whole account; what no strategy of ours ordered is in it and in no sleeve
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Exposure:
    """One symbol: shares held (short: negative), and shares that may still be bought or sold.

    ``sure_sales`` will happen and are not in ``sells``. Of ``buys``, ``priced`` cost at most ``priced_cost`` USD
    (limit and stop orders); the rest costs what the market asks.
    """

    held: Decimal = _ZERO
    buys: Decimal = _ZERO
    sells: Decimal = _ZERO
    sure_sales: Decimal = _ZERO
    priced: Decimal = _ZERO
    priced_cost: Decimal = _ZERO

    @property
    def highest(self) -> Decimal:
        """The position in shares if every buy fills and no doubtful sell does."""
        return self.held - self.sure_sales + self.buys

    @property
    def lowest(self) -> Decimal:
        """The position in shares if every sell fills and no buy does."""
        return self.held - self.sure_sales - self.sells

    @property
    def most(self) -> Decimal:
        """The largest position in shares, either way, that can come of it."""
        return max(self.highest, -self.lowest, _ZERO)

    def plus(self, other: Exposure) -> Exposure:
        return Exposure(
            self.held + other.held, self.buys + other.buys, self.sells + other.sells,
            self.sure_sales + other.sure_sales, self.priced + other.priced, self.priced_cost + other.priced_cost,
        )  # fmt: skip

    def minus(self, other: Exposure) -> Exposure:
        return Exposure(
            self.held - other.held, self.buys - other.buys, self.sells - other.sells,
            self.sure_sales - other.sure_sales, self.priced - other.priced, self.priced_cost - other.priced_cost,
        )  # fmt: skip


class Sums(NamedTuple):
    """Values in USD at the market's prices, of one symbol or summed over all.

    ``gross`` is the largest position either way; ``high`` and ``low`` are the signed positions if everything is
    bought or everything sold; ``short`` is what buying back the shares that may be short costs; ``buys`` and
    ``sure`` are open buys without a price of their own and sales that will happen; ``priced`` is the cost of buys
    with a price.
    """

    gross: Decimal = _ZERO
    high: Decimal = _ZERO
    low: Decimal = _ZERO
    short: Decimal = _ZERO
    buys: Decimal = _ZERO
    sure: Decimal = _ZERO
    priced: Decimal = _ZERO

    def moved(self, old: Sums, new: Sums) -> Sums:
        """These sums with one symbol's part exchanged."""
        return Sums(*map(_exchange, self, old, new))


@dataclass(frozen=True, slots=True)
class Working:
    """An order that may still fill. ``quantity`` is what may still fill of it, in shares.

    Parameters
    ----------
    worst_price
        The most a buy may pay a share, in USD; None if the market decides.
    sure
        Whether it will fill at the next auction: an accepted market sell.
    exclusive
        Name of a group of orders that exclude one another: of them only the largest counts.
    entry
        Id of the bracket entry that an exit belongs to. The exits of one entry exclude one another, and until
        the entry has filled they have nothing to sell.
    """

    client_order_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    strategy: str = ACCOUNT
    worst_price: Decimal | None = None
    sure: bool = False
    exclusive: str = ""
    entry: str = ""


def largest(orders: Iterable[Working], waiting: Decimal = _ZERO) -> Exposure:
    """What orders of which only one can fill come to: the largest of them.

    ``waiting`` shares of a bracket's entry are still to be bought before its exits can sell them.
    """
    buys = sells = sure = priced = priced_cost = _ZERO
    market = False
    count = 0
    for order in orders:
        count += 1
        shares = max(order.quantity - waiting, _ZERO) if order.entry else order.quantity
        if order.side is Side.BUY:
            buys = max(buys, shares)
            if order.worst_price is None:
                market = True
            else:
                priced, priced_cost = max(priced, shares), max(priced_cost, shares * order.worst_price)
        else:
            sells = max(sells, shares)
            if order.sure:
                sure = max(sure, shares)
    if sure and count == 1:
        return Exposure(sure_sales=sure)
    return Exposure(
        buys=buys, sells=sells, priced=_ZERO if market else priced, priced_cost=_ZERO if market else priced_cost
    )  # fmt: skip


def value(exposure: Exposure, price: Decimal | None) -> Sums:
    """What an exposure is worth at a price in USD; without a usable one only orders with their own price count."""
    if price is None or not is_positive(price):
        return Sums(priced=exposure.priced_cost)
    high, low = exposure.highest, exposure.lowest
    return Sums(
        gross=max(high, -low, _ZERO) * price,
        high=high * price,
        low=low * price,
        short=max(-low, _ZERO) * price,
        buys=(exposure.buys - exposure.priced) * price,
        sure=exposure.sure_sales * price,
        priced=exposure.priced_cost,
    )


def _exchange(total: Decimal, old: Decimal, new: Decimal) -> Decimal:
    return total - old + new
