"""Does an intent mean anything? Asked before any number in it is compared or computed with.

Every answer is a reason in words, or nothing. Nothing here raises, whatever an intent is made of: a notebook can
put a float, a NumPy number, text or nothing at all where a ``Decimal`` belongs.

Sources: SEC Rule 612 of Regulation NMS (17 CFR 242.612): no price in steps below 0.01 USD, or below 0.0001 USD if
the price is under 1.00 USD; Alpaca, "Placing orders" (fractional and notional orders, brackets, times in force).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from workbench.domain import Bracket, OrderIntent, OrderType, Side, TimeInForce
from workbench.trading.riskbook import RiskBook

MAX_ID = 48  # characters, as in workbench.domain.client_order_id
_LARGEST, _SMALLEST = 15, -9  # powers of ten: what is beyond them is a mistake
_FRACTIONAL = frozenset({OrderType.MARKET, OrderType.LIMIT, OrderType.STOP})
_AUCTION = frozenset({TimeInForce.OPG, TimeInForce.CLS})
_CENT = Decimal("0.01")
_NOTIONAL_TOLERANCE = Decimal("0.01")
_PRICES = ("limit_price", "stop_price", "trail_price", "trail_percent")
_OPTIONAL = frozenset({*_PRICES, "notional_usd", "stop_loss_limit"})
_NEEDS: dict[OrderType, frozenset[str]] = {
    OrderType.MARKET: frozenset(),
    OrderType.LIMIT: frozenset({"limit_price"}),
    OrderType.STOP: frozenset({"stop_price"}),
    OrderType.STOP_LIMIT: frozenset({"limit_price", "stop_price"}),
}


def fault(intent: OrderIntent, book: RiskBook) -> str | None:
    """The first thing that makes an intent meaningless, in words; None if nothing does."""
    for found in _faults(intent, book):
        if found:
            return found
    return None


def on_tick(price: Decimal) -> bool:
    """Whether a price may be quoted: two decimals from 1 USD up, four below (SEC Rule 612).

    >>> [on_tick(Decimal(p)) for p in ("10.01", "10.001", "1.005", "0.9999", "0.99995", "1.10000")]
    [True, False, False, True, False, True]
    """
    return _decimals(price) <= (2 if price >= 1 else 4)


def _faults(intent: OrderIntent, book: RiskBook) -> Iterator[str | None]:
    # In this order: each step may compute with what the steps before it have found to be sound.
    yield _identity(intent)
    yield _numbers(intent)
    yield _symbol(intent, book)
    yield _combination(intent)
    yield _ticks(intent, book)
    yield _quantity(intent, book)
    yield _notional(intent, book)
    yield _bracket(intent)
    yield _replacement(intent, book)


def _identity(intent: OrderIntent) -> str | None:
    for name, kind in (("side", Side), ("type", OrderType), ("time_in_force", TimeInForce)):
        value = getattr(intent, name)
        if not isinstance(value, kind):
            return f"{name.replace('_', ' ')} is {_kind(value)}, not one of {', '.join(kind)}"
    for name, empty in (("client_order_id", False), ("symbol", False), ("strategy", True)):
        value = getattr(intent, name)
        if not isinstance(value, str) or not (value or empty):
            return f"{name.replace('_', ' ')} is {_kind(value)}, not text"
    if len(intent.client_order_id) > MAX_ID:
        return f"client order id has {len(intent.client_order_id)} characters, at most {MAX_ID} are allowed"
    if type(intent.sequence) is not int or intent.sequence < 0:
        return "sequence is not a whole number from 0 up"
    for name, wanted in (("replaces", str), ("bracket", Bracket)):
        value = getattr(intent, name)
        if value is not None and (not isinstance(value, wanted) or not value):
            return f"{name} is {_kind(value)}, not {'the id of an order' if wanted is str else 'a bracket'}"
    return None


def _numbers(intent: OrderIntent) -> str | None:
    wanted: list[tuple[str, object]] = [
        (name, getattr(intent, name)) for name in ("quantity", "reference_price", *_PRICES, "notional_usd")
    ]
    if intent.bracket is not None:
        bracket = intent.bracket
        wanted += [("take_profit", bracket.take_profit), ("stop_loss", bracket.stop_loss)]
        wanted.append(("stop_loss_limit", bracket.stop_loss_limit))
    for name, value in wanted:
        if value is None and name in _OPTIONAL:
            continue
        if type(value) is not Decimal:
            return f"{name.replace('_', ' ')} is {_kind(value)}, not a Decimal"
        wrong = _size(value)
        if wrong:
            return f"{name.replace('_', ' ')} {wrong}"
    return None


def _symbol(intent: OrderIntent, book: RiskBook) -> str | None:
    price = book.prices.get(intent.symbol)
    if price is None:
        return f"{intent.symbol[:20]!r} is not known: the market has no price of it"
    wrong = _size(price)
    return f"the market's price of {intent.symbol} {wrong}" if wrong else None


def _combination(intent: OrderIntent) -> str | None:
    kind, tif = intent.type, intent.time_in_force
    given = {name for name in _PRICES if getattr(intent, name) is not None}
    label = kind.value.replace("_", " ")
    if kind is OrderType.TRAILING_STOP:
        if given not in ({"trail_price"}, {"trail_percent"}):
            return "a trailing stop has either a trail price or a trail percent, and no other price"
        if intent.trail_percent is not None and intent.trail_percent >= 100:
            return f"a trail of {intent.trail_percent} per cent never triggers"
    elif given != _NEEDS[kind]:
        needs = " and a ".join(sorted(_words(_NEEDS[kind]))) or "no price"
        return f"a {label} order has {'a ' if _NEEDS[kind] else ''}{needs}, this one {_listed(given)}"
    if tif in _AUCTION and kind not in {OrderType.MARKET, OrderType.LIMIT}:
        return f"a {label} order cannot be for an auction alone ({tif.value})"
    return None


def _ticks(intent: OrderIntent, book: RiskBook) -> str | None:
    prices = [("limit price", intent.limit_price), ("stop price", intent.stop_price)]
    if intent.bracket is not None:
        prices += [("take profit", intent.bracket.take_profit), ("stop loss", intent.bracket.stop_loss)]
        prices.append(("stop loss limit", intent.bracket.stop_loss_limit))
    for name, price in prices:
        if price is not None and not on_tick(price):
            return f"{name} {_short(price)} is off the tick: {'two' if price >= 1 else 'four'} decimals are allowed"
    trail = intent.trail_price
    if trail is not None and _decimals(trail) > (2 if book.prices[intent.symbol] >= 1 else 4):
        return f"trail price {_short(trail)} is off the tick of {intent.symbol}"
    return None


def _quantity(intent: OrderIntent, book: RiskBook) -> str | None:
    """Steps of the lot, worth at least a cent; all that is held may be any fraction, or it could never be sold."""
    quantity = intent.quantity
    if intent.notional_usd is not None:
        return None
    fraction = _decimals(quantity)
    if quantity != abs(book.exposure(intent.symbol).held):
        if fraction > 9:
            return f"quantity {_short(quantity)} has more than 9 decimals"
        if book.lot == 1 and fraction:
            return f"quantity {quantity} is not whole, and fractions are off"
        if book.lot != 1 and Fraction(quantity) % Fraction(book.lot):
            return f"quantity {quantity} is not in steps of {book.lot}"
        if quantity * book.prices[intent.symbol] < _CENT:
            return f"quantity {quantity} is worth less than a cent"
    plain = intent.type in _FRACTIONAL and intent.time_in_force is TimeInForce.DAY and intent.bracket is None
    if fraction and not plain:
        return f"quantity {quantity} is a fraction, which only plain day orders (market, limit, stop) can have"
    return None


def _notional(intent: OrderIntent, book: RiskBook) -> str | None:
    amount = intent.notional_usd
    if amount is None:
        return None
    if book.lot >= 1:
        return "an order for an amount buys fractions, and fractions are off"
    if intent.type is not OrderType.MARKET or intent.time_in_force is not TimeInForce.DAY or intent.bracket:
        return "an order for an amount is a plain market day order"
    if _decimals(amount) > 2:
        return f"notional {_short(amount)} USD has more than two decimals"
    if abs(intent.quantity * intent.reference_price / amount - 1) > _NOTIONAL_TOLERANCE:
        return f"{_short(intent.quantity)} shares at {_short(intent.reference_price)} USD are not worth {amount} USD"
    return None


def _bracket(intent: OrderIntent) -> str | None:
    """The exits lie on both sides of the entry: for a long one stop loss < entry < take profit."""
    bracket = intent.bracket
    if bracket is None:
        return None
    if intent.type not in {OrderType.MARKET, OrderType.LIMIT} or intent.time_in_force in _AUCTION:
        return "a bracket's entry is a market or limit order for the day or until cancelled"
    entry = intent.limit_price or intent.reference_price
    sign = intent.side.sign
    if not sign * bracket.stop_loss < sign * entry < sign * bracket.take_profit:
        below, above = ("stop loss", "take profit") if sign > 0 else ("take profit", "stop loss")
        return f"the bracket of a {intent.side.value} has its {below} below and its {above} above {_short(entry)}"
    limit = bracket.stop_loss_limit
    if limit is not None and sign * limit > sign * bracket.stop_loss:
        side = "above" if sign > 0 else "below"
        return f"the stop loss limit {limit} is {side} the stop loss {bracket.stop_loss}, and would not fill"
    return None


def _replacement(intent: OrderIntent, book: RiskBook) -> str | None:
    if intent.replaces is None:
        return None
    if intent.replaces == intent.client_order_id:
        return "an order cannot replace itself"
    old = book.working(intent.replaces)
    if old is None or not old.quantity:
        return f"it replaces {intent.replaces[:MAX_ID]}, which is not an open order"
    if (old.symbol, old.side, old.type) != (intent.symbol, intent.side, intent.type):
        return f"it replaces {old.client_order_id}, a {old.type.value} {old.side.value} of {old.symbol}"
    return None


def _size(value: Decimal) -> str | None:
    """What is wrong with the size of a number: decimal arithmetic stays exact, or nearly so, within these bounds."""
    if not value.is_finite() or value <= 0:
        return f"{_short(value)} is not a positive number"
    if value.adjusted() >= _LARGEST:
        return f"{_short(value)} is larger than any order"
    if value.adjusted() < _SMALLEST:
        return f"{_short(value)} is next to nothing"
    return None


def _short(value: Decimal) -> str:
    """A number in a few characters, whatever its length."""
    text = str(value)
    return text if len(text) <= 16 else f"{text[:12]}..."


def _decimals(value: Decimal) -> int:
    """Decimals that are not trailing zeros, of a finite number."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int), "a finite number"
    count = -exponent
    for digit in reversed(digits):
        if count <= 0 or digit:
            break
        count -= 1
    return max(count, 0)


def _kind(value: object) -> str:
    """What a value is, without printing it: an object of a notebook's can print anything, or fail to."""
    if value is None or (isinstance(value, str) and not value):
        return "empty"
    return f"of the type {type(value).__name__}"


def _words(names: set[str] | frozenset[str]) -> list[str]:
    return [name.replace("_", " ") for name in names]


def _listed(given: set[str]) -> str:
    return " and ".join(f"a {name}" for name in sorted(_words(given))) or "none"
