"""Particular orders instead of target weights: a ``Ticket`` is one order as a person writes it down."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from numbers import Integral, Real
from typing import TypeVar

from workbench.domain import Bracket, OrderType, Side, TimeInForce
from workbench.errors import ConfigError, nearest
from workbench.trading.validity import on_tick

# What a person may write where a number is meant; numpy's scalars are taken too.
Number = int | float | str | Decimal
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_LARGEST, DIGITS, _CENTS = Decimal("1e12"), 9, 2
_Choice = TypeVar("_Choice", bound=StrEnum)

# The prices that each type of order needs; any other is refused.
_PRICES: dict[OrderType, frozenset[str]] = {
    OrderType.MARKET: frozenset(),
    OrderType.LIMIT: frozenset({"limit"}),
    OrderType.STOP: frozenset({"stop"}),
    OrderType.STOP_LIMIT: frozenset({"stop", "limit"}),
    OrderType.TRAILING_STOP: frozenset({"trail", "trail_percent"}),
}
_AUCTIONS = (TimeInForce.OPG, TimeInForce.CLS)
_ENTRIES = (OrderType.MARKET, OrderType.LIMIT)
_FRACTIONAL = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP)


@dataclass(frozen=True, slots=True, init=False)
class Ticket:
    """One order: ``Ticket("AAPL", "buy", 10)`` buys ten shares at the market, today.

    Parameters
    ----------
    symbol, side
        What to trade; ``buy`` or ``sell``.
    quantity
        Shares. Fractions trade in market, limit and stop orders for the day.
    type
        ``market``, ``limit``, ``stop``, ``stop_limit`` or ``trailing_stop``.
    limit, stop
        Worst price and the price that triggers the order, in USD.
    trail, trail_percent
        How far a trailing stop follows the best price: in USD, or in per cent (1 is one per cent).
    notional
        An amount in USD in place of ``quantity``; market orders for the day only.
    time_in_force
        ``day``, ``gtc`` (until cancelled), ``opg`` or ``cls`` (the opening or the closing auction only).
    take_profit, stop_loss, stop_loss_limit
        Prices in USD of the two exits that stand once the order has filled; one filling cancels the other.
        ``stop_loss_limit`` makes the stop a stop-limit order.
    replaces
        The id of a waiting order whose place this one takes: quantity and prices may differ, nothing else.

    Raises
    ------
    ConfigError
        If a value is none of these or the combination is no order that a venue takes; the message names the field.

    Notes
    -----
    A number is taken as it is written: 430.1 is exactly 430.10, whether float, text or numpy's.
    Source: the combinations are those of Alpaca ("Placing orders") and of alpaca-py's order requests.

    Examples
    --------
    >>> Ticket("AAPL", "buy", 10, type="limit", limit=430.1).limit
    Decimal('430.1')
    >>> str(Ticket("AAPL", "sell", 10, type="trailing_stop", trail_percent=2, time_in_force="gtc"))
    'sell 10 AAPL trailing_stop trail_percent 2 gtc'
    >>> Ticket("AAPL", "buy", 10, limit=430.1)
    Traceback (most recent call last):
        ...
    workbench.errors.ConfigError: a market order for AAPL has no limit; say type="limit", or leave limit out
    """

    symbol: str
    side: Side
    quantity: Decimal | None
    type: OrderType
    limit: Decimal | None
    stop: Decimal | None
    trail: Decimal | None
    trail_percent: Decimal | None
    notional: Decimal | None
    time_in_force: TimeInForce
    take_profit: Decimal | None
    stop_loss: Decimal | None
    stop_loss_limit: Decimal | None
    replaces: str | None

    def __init__(
        self,
        symbol: str,
        side: str,
        quantity: Number | None = None,
        *,
        type: str = "market",
        limit: Number | None = None,
        stop: Number | None = None,
        trail: Number | None = None,
        trail_percent: Number | None = None,
        notional: Number | None = None,
        time_in_force: str = "day",
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        stop_loss_limit: Number | None = None,
        replaces: str | None = None,
    ) -> None:
        numbers = {
            "quantity": quantity, "limit": limit, "stop": stop, "trail": trail, "trail_percent": trail_percent,
            "notional": notional, "take_profit": take_profit, "stop_loss": stop_loss,
            "stop_loss_limit": stop_loss_limit,
        }  # fmt: skip
        values: dict[str, object] = {name: _number(name, value) for name, value in numbers.items()}
        values["symbol"] = _text("symbol", symbol)
        values["side"] = _choice("side", side, Side)
        values["type"] = _choice("type", type, OrderType)
        values["time_in_force"] = _choice("time_in_force", time_in_force, TimeInForce)
        values["replaces"] = None if replaces is None else _text("replaces", replaces)
        for name, value in values.items():
            object.__setattr__(self, name, value)
        for check in _CHECKS:
            check(self)

    def __str__(self) -> str:
        prices = ("limit", "stop", "trail", "trail_percent", "take_profit", "stop_loss", "stop_loss_limit")
        words = [self.side.value, _amount(self), self.symbol, self.type.value]
        words += [f"{name} {getattr(self, name)}" for name in prices if getattr(self, name) is not None]
        words.append(self.time_in_force.value)
        return " ".join([*words, f"replaces {self.replaces}"] if self.replaces else words)

    @property
    def bracket(self) -> Bracket | None:
        """The exits that come with the order, if any."""
        if self.take_profit is None or self.stop_loss is None:
            return None
        return Bracket(self.take_profit, self.stop_loss, self.stop_loss_limit)


# ---- one value ---------------------------------------------------------------------------------------


def _number(name: str, value: object) -> Decimal | None:
    """A positive number exactly as it was written; None stays None."""
    if value is None:
        return None
    number = _exact(value)
    if number is None:
        raise ConfigError(f"{name} {value!r} is not a number", hint="write it as 430.1, with a point and no commas")
    if not number.is_finite():
        raise ConfigError(f"{name} is {value}, which is no amount")
    if number <= 0:
        raise ConfigError(f"{name} must be above 0 (got {value})")
    if number > _LARGEST:
        raise ConfigError(f"{name} {value} is more than any venue trades")
    digits = _CENTS if name == "notional" else DIGITS
    if number != round(number, digits):
        raise ConfigError(f"{name} {value} has more than {digits} decimals", hint="round it to what you mean")
    return number


def _exact(value: object) -> Decimal | None:
    """The shortest decimal that reads back as ``value``; None if it is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, Decimal):
        return value
    if isinstance(value, Integral):
        return Decimal(int(value))
    # str and not repr: numpy's repr names the type, and a float32 has the digits of its own precision.
    text = value.strip() if isinstance(value, str) else str(value) if isinstance(value, Real) else ""
    if isinstance(value, Real) and text.lower().lstrip("-") in {"nan", "inf"}:
        return Decimal(text)
    return Decimal(text) if _NUMBER.fullmatch(text) else None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise ConfigError(f"{name} {value!r} is not a name", hint="write it as text without spaces around it")
    return value


def _choice(name: str, value: str, kind: type[_Choice]) -> _Choice:
    try:
        return kind(value)
    except ValueError as error:
        names = [member.value for member in kind]
        hint = nearest(value, names) if isinstance(value, str) else f"valid names: {', '.join(names)}"
        raise ConfigError(f"{name} {value!r} is unknown", hint=hint) from error


# ---- what goes together ------------------------------------------------------------------------------


def _check_amount(t: Ticket) -> None:
    if t.quantity is None and t.notional is None:
        raise ConfigError(f"the order for {t.symbol} has no size", hint="give a quantity, or notional in USD")
    if t.quantity is not None and t.notional is not None:
        raise ConfigError(f"the order for {t.symbol} has quantity and notional", hint="give one of the two")
    if t.notional is None:
        return
    if t.type is not OrderType.MARKET or t.time_in_force is not TimeInForce.DAY:
        raise ConfigError(
            f"an amount in USD of {t.symbol} trades as a market order for the day only, not {t.type} {t.time_in_force}",
            hint="give a quantity instead of notional",
        )


def _check_prices(t: Ticket) -> None:
    allowed = _PRICES[t.type]
    for name in ("limit", "stop", "trail", "trail_percent"):
        if getattr(t, name) is not None and name not in allowed:
            types = [kind.value for kind, names in _PRICES.items() if allowed < names and name in names]
            types = types or [kind.value for kind, names in _PRICES.items() if name in names]
            raise ConfigError(
                f"a {t.type} order for {t.symbol} has no {name}",
                hint=f'say type="{types[0]}", or leave {name} out',
            )
    if t.type is OrderType.TRAILING_STOP:
        if (t.trail is None) == (t.trail_percent is None):
            raise ConfigError(f"a trailing_stop order for {t.symbol} needs either trail or trail_percent")
        if t.trail_percent is not None and t.trail_percent >= 100:
            raise ConfigError(f"trail_percent must be below 100 (got {t.trail_percent})", hint="1 is one per cent")
        return
    for name in sorted(allowed):
        if getattr(t, name) is None:
            raise ConfigError(f"a {t.type} order for {t.symbol} needs {name}", hint="a price in USD")


def _check_time(t: Ticket) -> None:
    if t.time_in_force in _AUCTIONS and t.type not in _ENTRIES:
        raise ConfigError(
            f"a {t.type} order for {t.symbol} cannot wait for an auction ({t.time_in_force})",
            hint="say day or gtc; auctions take market and limit orders",
        )


def _check_fraction(t: Ticket) -> None:
    if t.quantity is None or t.quantity == t.quantity.to_integral_value():
        return
    if t.type not in _FRACTIONAL or t.time_in_force is not TimeInForce.DAY:
        raise ConfigError(
            f"{t.quantity} {t.symbol} is not whole: fractions trade in market, limit and stop orders for the day only,"
            f" not {t.type} {t.time_in_force}"
        )


def _check_bracket(t: Ticket) -> None:
    if t.take_profit is None and t.stop_loss is None and t.stop_loss_limit is None:
        return
    if t.take_profit is None or t.stop_loss is None:
        missing = "take_profit" if t.take_profit is None else "stop_loss"
        raise ConfigError(f"the exits of the order for {t.symbol} need {missing}", hint="both exits, or none")
    if t.type not in _ENTRIES or t.time_in_force in _AUCTIONS:
        raise ConfigError(
            f"a {t.type} {t.time_in_force} order for {t.symbol} cannot have exits",
            hint="market and limit orders, day or gtc, can",
        )
    if t.quantity is None or t.quantity != t.quantity.to_integral_value():
        raise ConfigError(f"an order for {t.symbol} with exits needs a whole number of shares")
    up = t.side.sign
    ladder = [("stop_loss_limit", t.stop_loss_limit), ("stop_loss", t.stop_loss), ("limit", t.limit)]
    steps = [(name, price) for name, price in [*ladder, ("take_profit", t.take_profit)] if price is not None]
    for (low, lower), (high, higher) in itertools.pairwise(steps):
        # A stop-limit exit may sell down to its stop price and not lower.
        if (higher - lower) * up < 0 or (higher == lower and low != "stop_loss_limit"):
            relation = "above" if up > 0 else "below"
            raise ConfigError(f"{high} {higher} must be {relation} {low} {lower} to {t.side} {t.symbol} with exits")


def _check_replacement(t: Ticket) -> None:
    if t.replaces is None:
        return
    if t.notional is not None:
        raise ConfigError(f"an amount in USD of {t.symbol} cannot replace an order", hint="give a quantity")
    if t.bracket is not None:
        raise ConfigError(f"an order for {t.symbol} with exits cannot replace one", hint="cancel it and order anew")


def _check_ticks(t: Ticket) -> None:
    for name in ("limit", "stop", "take_profit", "stop_loss", "stop_loss_limit"):
        price = getattr(t, name)
        if price is not None and not on_tick(price):
            decimals = "two decimals" if price >= 1 else "four decimals"
            raise ConfigError(f"{name} {price} for {t.symbol} is off the tick", hint=f"such prices have {decimals}")


# In the order they are asked: the first that does not hold is the one that is reported.
_CHECKS = (
    _check_amount, _check_prices, _check_time, _check_fraction, _check_bracket, _check_replacement, _check_ticks,
)  # fmt: skip


def _amount(t: Ticket) -> str:
    return str(t.quantity) if t.quantity is not None else f"{t.notional} USD of"
