"""How many shares of one symbol to trade, at which limit and in how many orders: the arithmetic of the planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from workbench.domain import Side, Snapshot
from workbench.settings import PlannerSettings, RiskSettings

ZERO = Decimal(0)
# An order of more than this many times the largest allowed value is more likely a mistake than a large order: it
# is left whole, and the gate denies it.
MAX_SLICES = 10
_BPS = Decimal(10_000)


def _no_fee(quantity: Decimal) -> Decimal:
    return ZERO


@dataclass(frozen=True, slots=True)
class Bounds:
    """What limits and costs leave to a plan, so that it proposes nothing that is bound to be denied.

    The gates decide all the same. ``max_order_value_usd`` counts an order at its worst price: its limit, or the
    reference price x (1 + ``market_order_buffer``). ``fee`` is the commission in USD of an order of so many shares.
    """

    max_order_value_usd: Decimal | None = None
    market_order_buffer: Decimal = ZERO
    allow_short: bool = False
    fee: Callable[[Decimal], Decimal] = _no_fee

    @classmethod
    def of(cls, risk: RiskSettings, strategy: str, fee: Callable[[Decimal], Decimal]) -> Bounds:
        """The bounds of one strategy: the stricter of its own largest order and the account's."""
        own = risk.strategies.get(strategy)
        largest = own.max_order_value_usd if own else None
        value = risk.max_order_value_usd if largest is None else min(largest, risk.max_order_value_usd)
        return cls(value, risk.market_order_buffer, risk.allow_short, fee)


@dataclass(frozen=True, slots=True)
class Step:
    """The way of one symbol to its target, in signed shares: first toward zero, then away from it."""

    symbol: str
    weight: Decimal
    price: Decimal
    held: Decimal
    reduce: Decimal = ZERO
    enlarge: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Sizing:
    """The rules of one plan."""

    settings: PlannerSettings
    bounds: Bounds
    equity: Decimal

    @property
    def smallest(self) -> Decimal:
        """The least value in USD worth trading."""
        return max(self.settings.min_trade_value_usd, self.settings.tolerance * self.equity)

    def step(self, symbol: str, weight: Decimal, price: Decimal, snapshot: Snapshot) -> Step:
        """What to trade of one symbol if cash were no object."""
        held = snapshot.expected(symbol)
        wanted = self._wanted(self.equity * (1 - self.settings.cash_buffer) * weight / price, held)
        crosses = held * wanted < 0
        if crosses:
            reduce, enlarge = -held, wanted
        elif abs(wanted) < abs(held):
            reduce, enlarge = wanted - held, ZERO
        else:
            reduce, enlarge = ZERO, wanted - held
        free = _free(snapshot, symbol, held)
        if abs(reduce) > free:  # the rest is still on its way
            reduce, enlarge = free.copy_sign(reduce), ZERO
        if abs(reduce) != abs(snapshot.quantity(symbol)):  # only a whole position may be an odd lot
            reduce = self.lots(reduce)
        if wanted and not crosses and abs(reduce) * price < self.smallest:
            reduce = ZERO
        if abs(enlarge) * price < self.smallest:
            enlarge = ZERO
        return Step(symbol, weight, price, held, reduce, enlarge)

    def lots(self, quantity: Decimal) -> Decimal:
        """A quantity in whole lots, toward zero, written without trailing zeros."""
        exact = (quantity / self.settings.lot).to_integral_value(ROUND_DOWN) * self.settings.lot
        whole = exact.to_integral_value()
        return whole if whole == exact else exact.normalize()

    def limit(self, side: Side, price: Decimal) -> Decimal | None:
        """The limit of an order in USD, on a tick that is no worse than asked for; None for a market order.

        Source: SEC Rule 612 (17 CFR 242.612): prices below 1 USD move in hundredths of the tick above it.
        """
        if self.settings.limit_bps is None:
            return None
        exact = price * (1 + side.sign * self.settings.limit_bps / _BPS)
        tick = self.settings.tick_usd if exact >= 1 else self.settings.tick_usd / 100
        rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        return max((exact / tick).to_integral_value(rounding), Decimal(1)) * tick

    def worst_buy(self, price: Decimal, buffer: Decimal) -> Decimal:
        """What a share may cost at worst, in USD: the limit, or the price with the buffer."""
        limit = self.limit(Side.BUY, price)
        return limit if limit is not None else price * (1 + buffer)

    def slices(self, quantity: Decimal, price: Decimal) -> list[Decimal]:
        """Equal parts (to a lot) of an order that adds to a position, each within the largest order value."""
        size, lot, largest = abs(quantity), self.settings.lot, self.bounds.max_order_value_usd
        limit = self.limit(side_of(quantity), price)
        value = limit if limit is not None else price * (1 + self.bounds.market_order_buffer)
        if largest is None or size * value <= largest:
            return [size]
        each = (largest / value / lot).to_integral_value(ROUND_DOWN)
        lots = size / lot
        count = (lots / each).to_integral_value(ROUND_CEILING) if each else Decimal(MAX_SLICES + 1)
        if count > MAX_SLICES:
            return [size]
        base, longer = divmod(lots, count)
        return [(base + (number < longer)) * lot for number in range(int(count))]

    def fees(self, step: Step) -> Decimal:
        """Commission of the step's orders, in USD."""
        parts = [abs(step.reduce)] if step.reduce else []
        parts += self.slices(step.enlarge, step.price) if step.enlarge else []
        return sum((self.bounds.fee(part) for part in parts), ZERO)

    def _wanted(self, exact: Decimal, held: Decimal) -> Decimal:
        """Shares to hold: never more than ``exact``, and a whole number of lots away from ``held`` or zero."""
        lot = self.settings.lot
        in_lots = self.lots(exact)
        if not in_lots or held * exact <= 0 or held % lot == 0:
            return in_lots
        change = ((abs(exact) - abs(held)) / lot).to_integral_value(ROUND_FLOOR) * lot  # odd lots stay odd
        return (abs(held) + change).copy_sign(exact)


def side_of(quantity: Decimal) -> Side:
    return Side.BUY if quantity > 0 else Side.SELL


def _free(snapshot: Snapshot, symbol: str, held: Decimal) -> Decimal:
    """Shares of a position, either way, that are there and not being closed already."""
    there = snapshot.quantity(symbol)
    if there * held <= 0:
        return ZERO
    closing = Side.SELL if held > 0 else Side.BUY
    waiting = (
        o.open_quantity for o in snapshot.open_orders if o.symbol == symbol and o.side is closing and not o.is_exit
    )
    return max(abs(there) - sum(waiting, ZERO), ZERO)
