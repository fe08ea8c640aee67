"""Which orders the exchange takes at all, before it asks whether the account can carry them.

The first words of a refusal say what is wrong and do not change: "quantity ", "fractional ", "limit price ",
"stop price ", "trail ", "time in force ", "bracket ", "SYMBOL is not listed here".
"""

from __future__ import annotations

from decimal import Decimal

from workbench.brokers.exchange.records import Phase
from workbench.brokers.exchange.ticket import FRACTION
from workbench.domain import OrderIntent, OrderType, Side, TimeInForce, is_positive
from workbench.errors import OrderRejected

_FRACTIONAL = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP)
_AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
_MOST = Decimal(10) ** 12  # shares, or USD of an order by value; beyond it numbers lose digits


def check(intent: OrderIntent, *, price: Decimal | None, phase: Phase, fractional: bool) -> None:
    """Refuse an order that makes no sense; ``price`` is what a share costs now, in USD.

    Raises
    ------
    OrderRejected
        The message says what is wrong.
    """
    _check_quantity(intent, fractional)
    _check_prices(intent)
    if price is None:
        raise OrderRejected(f"{intent.symbol} is not listed here")
    _check_trail(intent, price)
    _check_time_in_force(intent, phase)
    if intent.bracket is not None:
        _check_bracket(intent, price)


def _check_quantity(intent: OrderIntent, fractional: bool) -> None:
    quantity, notional = intent.quantity, intent.notional_usd
    if notional is not None:
        if not is_positive(notional):
            raise OrderRejected(f"quantity by value must be of a positive amount, not {notional} USD")
        if not fractional:
            raise OrderRejected("fractional shares are not traded here, so orders by value are not taken")
        if notional > _MOST:
            raise OrderRejected(f"quantity by value of {notional} USD is beyond what is traded here")
    elif not is_positive(quantity) or (not fractional and quantity != quantity.to_integral_value()):
        wanted = "a positive number of shares" if fractional else "a positive whole number"
        raise OrderRejected(f"quantity must be {wanted}, not {quantity}")
    elif quantity > _MOST:
        raise OrderRejected(f"quantity {quantity} is beyond what is traded here")
    elif quantity == quantity.to_integral_value():
        return
    elif quantity != quantity.quantize(FRACTION):
        raise OrderRejected(f"quantity {quantity} has more than 9 decimals")
    plain = intent.type in _FRACTIONAL and intent.bracket is None
    if not plain or intent.time_in_force is not TimeInForce.DAY:
        raise OrderRejected("fractional quantities and orders by value are for market, limit and stop day orders")


def _check_prices(intent: OrderIntent) -> None:
    for name, price, needed in (
        ("limit price", intent.limit_price, intent.type.has_limit),
        ("stop price", intent.stop_price, intent.type.has_stop),
    ):
        kind = intent.type.value.replace("_", "-")
        if needed and not is_positive(price):
            raise OrderRejected(f"{name} {price}: a {kind} order needs a positive {name}")
        if not needed and price is not None:
            raise OrderRejected(f"{name} {price}: a {kind} order has none")


def _check_trail(intent: OrderIntent, price: Decimal) -> None:
    given = [trail for trail in (intent.trail_price, intent.trail_percent) if trail is not None]
    if intent.type is not OrderType.TRAILING_STOP:
        if given:
            raise OrderRejected(f"trail {given[0]}: a {intent.type.value.replace('_', '-')} order has none")
        return
    if len(given) != 1 or not is_positive(given[0]):
        raise OrderRejected("trail must be one positive price or one positive percentage")
    distance = intent.trail_price if intent.trail_price is not None else price * given[0] / 100
    if intent.side is Side.SELL and distance >= price:
        raise OrderRejected(f"trail {given[0]} is not less than the price of {price}")


def _check_time_in_force(intent: OrderIntent, phase: Phase) -> None:
    name = intent.time_in_force.value
    if intent.time_in_force in _AUCTIONS and intent.type not in (OrderType.MARKET, OrderType.LIMIT):
        raise OrderRejected(f"time in force {name} is for market and limit orders")
    if intent.time_in_force is TimeInForce.OPG and phase is Phase.OPEN:
        raise OrderRejected(f"time in force {name} is taken while the market is closed")


def _check_bracket(intent: OrderIntent, price: Decimal) -> None:
    bracket = intent.bracket
    assert bracket is not None
    if intent.time_in_force in _AUCTIONS or intent.type is OrderType.TRAILING_STOP:
        raise OrderRejected("bracket orders are for day and gtc, and their entry trails no price")
    stop_limit = bracket.stop_loss_limit
    if not is_positive(bracket.take_profit) or not is_positive(bracket.stop_loss):
        raise OrderRejected("bracket prices must be positive")
    if stop_limit is not None and (
        not is_positive(stop_limit) or (stop_limit - bracket.stop_loss) * intent.side.sign > 0
    ):
        raise OrderRejected(f"bracket stop_loss_limit {stop_limit} is on the wrong side of {bracket.stop_loss}")
    entry = intent.limit_price or intent.stop_price or price
    below, above = bracket.stop_loss, bracket.take_profit
    if intent.side is Side.SELL:
        below, above = above, below
    if not below < entry < above:
        raise OrderRejected(
            f"bracket exits must enclose the entry at {entry}: take_profit {bracket.take_profit},"
            f" stop_loss {bracket.stop_loss}"
        )
