"""Risk gates: small pure functions that look at one intent and say yes or no.

Every gate sees the worst case: what is held, plus everything that may still fill, plus the new order.
One kind of order is taken as done before it is: a market sell that the venue has *accepted*, because
at the next auction it fills before any buy does. A sell that is unknown, or has a limit, frees nothing.

Sources: SEC Rule 15c3-5(c)(1)(i)-(ii) (credit and capital thresholds, erroneous orders: price, size,
duplication); Commission Delegated Regulation (EU) 2017/589 (RTS 6) Art. 12 (kill functionality) and
Art. 15 (pre-trade controls: price collars, maximum order values).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from workbench.domain import Decision, OrderIntent, OrderType, Side, TradingState, is_positive
from workbench.settings import RiskSettings

APPROVED = Decision(approved=True)


@dataclass(slots=True)
class Exposure:
    """One symbol: shares held, and shares that may still be bought or sold. ``sure_sales`` will happen."""

    held: Decimal = Decimal(0)
    buys: Decimal = Decimal(0)
    sells: Decimal = Decimal(0)
    sure_sales: Decimal = Decimal(0)

    @property
    def most(self) -> Decimal:
        """The largest position in shares, either way, that can come of it."""
        return max(self.held - self.sure_sales + self.buys, -(self.held - self.sure_sales - self.sells), Decimal(0))


@dataclass(slots=True)
class RiskBook:
    """An account as the gates see it; the gateway updates it with every order it sends.

    ``prices`` are last raw closes in USD, read from the market by the gateway itself: the notebook's own
    reference price is never trusted. ``traded`` names the symbols that have a bar in ``session``.
    """

    session: date
    state: TradingState
    cash: Decimal
    equity: Decimal
    prices: dict[str, Decimal] = field(default_factory=dict)
    traded: set[str] = field(default_factory=set)
    exposures: dict[str, Exposure] = field(default_factory=dict)

    def exposure(self, symbol: str) -> Exposure:
        return self.exposures.setdefault(symbol, Exposure())

    def value(self, symbol: str, quantity: Decimal) -> Decimal:
        return quantity * self.prices[symbol] if quantity else quantity


Gate = Callable[[OrderIntent, date, RiskBook, RiskSettings], Decision]


def decide(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Ask every gate in turn; the first no stands. ``decided_on`` is the session the intent was decided on."""
    for name, gate in GATES.items():
        decision = gate(intent, decided_on, book, limits)
        if not decision.approved:
            return Decision(approved=False, gate=name, reason=decision.reason)
    return APPROVED


def trading_state(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """HALTED lets nothing pass; REDUCING only orders that shrink a position and cannot turn it (RTS 6 Art. 12)."""
    if book.state is TradingState.HALTED:
        return _no("trading is halted")
    if book.state is TradingState.REDUCING and not _only_shrinks(intent, book):
        return _no("only orders that reduce a position pass")
    return APPROVED


def validity(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Quantity a positive whole number, prices finite and positive, symbol traded in the session, decision fresh."""
    if not is_positive(intent.quantity):
        return _no(f"quantity {intent.quantity} is not a positive number")
    if intent.quantity != intent.quantity.to_integral_value():
        return _no(f"quantity {intent.quantity} is not whole")
    if not is_positive(intent.reference_price):
        return _no(f"reference price {intent.reference_price} is not a positive number")
    if intent.type is OrderType.LIMIT and not is_positive(intent.limit_price):
        return _no(f"limit price {intent.limit_price} is not a positive number")
    if intent.type is OrderType.MARKET and intent.limit_price is not None:
        return _no("a market order has no limit price")
    if decided_on != book.session:
        return _no(f"decided on {decided_on}, but the account is at {book.session}")
    if intent.symbol not in book.traded:
        return _no(f"{intent.symbol} has no bar on {book.session}")
    return APPROVED


def price_collar(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Reference and limit price within ``price_collar`` of the market's own close.

    Source: 15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(a).
    """
    market = book.prices[intent.symbol]
    for name, price in (("reference", intent.reference_price), ("limit", intent.limit_price)):
        if price is not None and abs(price / market - 1) > limits.price_collar:
            return _no(f"{name} price {price} is more than {limits.price_collar:%} from the market's {market}")
    return APPROVED


def max_order_value(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Value of one order at its worst price at most ``max_order_value_usd``.

    An order that can only shrink a position passes: a holding that has grown over the limit must stay sellable.
    Source: 15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(b).
    """
    if _only_shrinks(intent, book):
        return APPROVED
    value = intent.quantity * worst_price(intent, book, limits)
    if value > limits.max_order_value_usd:
        return _no(f"order value {value:.2f} USD is over {limits.max_order_value_usd} USD")
    return APPROVED


def exposure(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Per-name, gross and net exposure on the worst case, as multiples of equity (15c3-5(c)(1)(i)).

    An order that can only shrink a position always passes. Sales beyond what is held need ``allow_short``.
    """
    current = book.exposure(intent.symbol)
    free = current.held - current.sells - current.sure_sales
    if intent.side is Side.SELL:
        if intent.quantity <= free:
            return APPROVED
        if not limits.allow_short:
            return _no(f"{intent.quantity} to sell but {max(free, Decimal(0))} held free; short sales are off")
    if not book.equity > 0:
        return _no(f"equity is {book.equity:.2f} USD")
    added = Exposure(current.held, current.buys, current.sells, current.sure_sales)
    if intent.side is Side.BUY:
        added.buys += intent.quantity
    else:
        added.sells += intent.quantity
    name = book.value(intent.symbol, added.most)
    others = {s: e for s, e in book.exposures.items() if s != intent.symbol}
    gross = name + sum((book.value(s, e.most) for s, e in others.items()), Decimal(0))
    long = sum((book.value(s, e.held - e.sure_sales + e.buys) for s, e in others.items()), Decimal(0))
    net = abs(long + book.value(intent.symbol, added.held - added.sure_sales + added.buys))
    for label, value, limit in (
        (f"exposure to {intent.symbol}", name, limits.max_name_exposure),
        ("gross exposure", gross, limits.max_gross_exposure),
        ("net exposure", net, limits.max_net_exposure),
    ):
        if value > limit * book.equity:
            return _no(f"{label} would be {value / book.equity:.4f} of equity, over {limit}")
    return APPROVED


def buying_power(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Cash and sure proceeds cover all open buys and this one, each at its worst price (15c3-5(c)(1)(i))."""
    if intent.side is Side.SELL:
        return APPROVED
    up, down = 1 + limits.market_order_buffer, 1 - limits.market_order_buffer
    power = book.cash
    for symbol, current in book.exposures.items():
        power += book.value(symbol, current.sure_sales) * down - book.value(symbol, current.buys) * up
    cost = intent.quantity * worst_price(intent, book, limits)
    if cost > power:
        return _no(f"costs up to {cost:.2f} USD with {power:.2f} USD of buying power")
    return APPROVED


# In the order they are asked: what makes an intent meaningless comes before anything is computed from it.
GATES: dict[str, Gate] = {
    "validity": validity,
    "trading_state": trading_state,
    "price_collar": price_collar,
    "max_order_value": max_order_value,
    "exposure": exposure,
    "buying_power": buying_power,
}


def worst_price(intent: OrderIntent, book: RiskBook, limits: RiskSettings) -> Decimal:
    """The most an order may pay or fetch a share, in USD: its limit, or the market's close plus the buffer."""
    if intent.limit_price is not None:
        return intent.limit_price
    return book.prices[intent.symbol] * (1 + limits.market_order_buffer)


def count(book: RiskBook, symbol: str, side: Side, kind: OrderType, quantity: Decimal, *, accepted: bool) -> None:
    """Add an order that may fill to the book; ``accepted`` says that the venue has confirmed it."""
    current = book.exposure(symbol)
    if side is Side.BUY:
        current.buys += quantity
    elif accepted and kind is OrderType.MARKET:
        current.sure_sales += quantity
    else:
        current.sells += quantity


def _only_shrinks(intent: OrderIntent, book: RiskBook) -> bool:
    """Whether the order sells no more than what is held and not being sold already."""
    current = book.exposure(intent.symbol)
    return intent.side is Side.SELL and intent.quantity <= current.held - current.sells - current.sure_sales


def _no(reason: str) -> Decision:
    return Decision(approved=False, reason=reason)
