"""Risk gates: small pure functions that look at one intent and say yes or no.

Every gate sees the worst case that :mod:`workbench.trading.riskbook` counts: what is held, plus everything that
may still fill, orders in doubt included in full, plus the new order. Gates never raise and change nothing.

An order that can only shrink a position passes the limits on size, exposure and buying power: what has grown over
a limit must stay sellable. It passes no other gate more easily than any other order.

Sources: SEC Rule 15c3-5 (17 CFR 240.15c3-5), market access: (c)(1)(i) credit and capital thresholds, (c)(1)(ii)
erroneous orders by price, size, frequency and duplication, (c)(2) regulatory requirements and restricted
securities; Commission Delegated Regulation (EU) 2017/589 ("RTS 6" of MiFID II): Art. 12 kill functionality,
Art. 15(1)(a) price collars, (b) maximum order values, (c) maximum order volumes, (d) maximum messages limits,
Art. 15(3) repeated automated execution throttles.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

from workbench.domain import Decision, Order, OrderIntent, OrderType, Side, TimeInForce, TradingState, is_positive
from workbench.settings import RiskSettings
from workbench.trading.exposures import ACCOUNT, Exposure, Sums, Working
from workbench.trading.riskbook import RiskBook, Sent
from workbench.trading.validity import fault
from workbench.trading.worst import as_working, buying_power_usd, own_price, shares, worst_price

APPROVED = Decision(approved=True)
EVERYTHING = "*"  # a lock on this stands for every symbol
WIDE = 5  # stops and exits may be this many collars away: they are meant for prices that are not there yet

Gate = Callable[[OrderIntent, date, RiskBook, RiskSettings], Decision]


def decide(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Ask every gate in turn; the first no stands. ``decided_on`` is the session the intent was decided on.

    >>> book = RiskBook(date(2013, 1, 2), TradingState.HALTED, Decimal(1000), Decimal(1000), {"A": Decimal(10)}, {"A"})
    >>> order = OrderIntent("id", "A", Side.BUY, Decimal(1), Decimal(10), "momentum", 0)
    >>> decide(order, date(2013, 1, 2), book, RiskSettings()).reason
    'trading is halted'
    """
    for name, gate in GATES.items():
        decision = gate(intent, decided_on, book, limits)
        if not decision.approved:
            return Decision(approved=False, gate=name, reason=decision.reason)
    return APPROVED


def review(
    intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings
) -> list[tuple[str, Decision | None]]:
    """Every gate's own answer; None of those that cannot be asked about an order that means nothing."""
    answers: list[tuple[str, Decision | None]] = []
    for name, gate in GATES.items():
        meaningless = answers and answers[0][1] != APPROVED
        answers.append((name, None if meaningless else gate(intent, decided_on, book, limits)))
    return answers


# ---- what an order is, and whether anything may be sent at all --------------------------------------------


def validity(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Every field of the right kind, every number finite, positive and on its step, every price where its type has one.

    Also: the symbol has a price in the market, the decision was made on the account's session, and what it
    replaces is open. The rules are in :mod:`workbench.trading.validity`; every other gate relies on them.
    Source: 15c3-5(c)(1)(ii).
    """
    found = fault(intent, book)
    if found is not None:
        return _no(found)
    if decided_on != book.session:
        return _no(f"decided on {decided_on}, but the account is at {book.session}")
    if intent.bracket is not None and _only_shrinks(intent, book, limits):
        return _no("a bracket's entry opens a position, this one would close one")
    return APPROVED


def trading_state(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """HALTED lets nothing pass; REDUCING only orders that shrink a position and cannot turn it.

    Source: RTS 6 Art. 12.
    """
    if book.state is TradingState.HALTED:
        return _no("trading is halted")
    if book.state is TradingState.REDUCING and not _only_shrinks(intent, book, limits):
        return _no("only orders that reduce a position pass")
    return APPROVED


def locked(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """No order, exits included, for a symbol (or any, with ``*``) whose books and venue disagree.

    What is held is not known there, so that an exit could turn the position. Source: RTS 6 Art. 17(3)
    (reconciliation of one's own records with the venue's).
    """
    for scope, name in ((EVERYTHING, "every symbol"), (intent.symbol, intent.symbol)):
        if scope in book.locks:
            return _no(f"{name} is locked: {book.locks[scope]}")
    return APPROVED


def unknown_order(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """No order, exits included, for a symbol with an order of which nobody knows whether it is at the venue."""
    if intent.symbol in book.unknown:
        return _no(f"an order of {intent.symbol} is in doubt; it is looked up first")
    return APPROVED


def restricted(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """No order, exits included, for a symbol of the restricted list, in whichever case it is written.

    Source: 15c3-5(c)(2)(ii).
    """
    if limits.restricted and intent.symbol.upper() in {symbol.upper() for symbol in limits.restricted}:
        return _no(f"{intent.symbol} is on the restricted list")
    return APPROVED


def clock_skew(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """The venue's clock within ``max_clock_skew_s`` of ours, either way; a venue without one has no skew.

    A wrong clock makes every age, time in force and duplicate window wrong, for exits too.
    """
    skew = book.skew_s
    if skew is not None and not abs(skew) <= limits.max_clock_skew_s:  # so put, NaN is refused
        return _no(f"the venue's clock is {skew:+.1f} s from ours, over {limits.max_clock_skew_s:g} s")
    return APPROVED


def data_quality(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """A quality verdict on the symbol in the data traded on, and no fault in it.

    Without ``require_quality`` a missing verdict passes, a fault does not. Exits are held to it as well, for a
    split that is not in the data makes them as wrong as entries; only in REDUCING, where nothing but exits
    passes, getting out does not wait for clean data.
    """
    if book.state is TradingState.REDUCING:
        return APPROVED
    if intent.symbol in book.faults:
        return _no(f"the data of {intent.symbol} is faulty: {book.faults[intent.symbol]}")
    if limits.require_quality and intent.symbol not in book.checked:
        return _no(f"the data of {intent.symbol} has no quality verdict")
    return APPROVED


# ---- the order by itself: price, size, how often ----------------------------------------------------------


def price_collar(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Every price near the market's own close of the session, which must be of that session.

    Reference and limit price within ``price_collar`` of it. Stop prices, trails and a bracket's exits, which are
    meant for another market than today's, within five times as much; a stop on that side of the market on which it
    does not trigger at once; the limit of a stop within ``price_collar`` of its stop.
    Source: 15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(a).
    """
    market = book.prices[intent.symbol]
    if intent.symbol not in book.traded:
        return _no(f"the market's price of {intent.symbol} is stale: no bar on {book.session}")
    near, wide = limits.price_collar, limits.price_collar * WIDE
    for name, price, base, width in _collared(intent, market, near, wide):
        if price is not None and abs(price / base - 1) > width:
            what = "the market's" if base == market else "its stop at"
            return _no(f"{name} {_number(price)} is more than {width:.2%} from {what} {_number(base)}")
    sign, stop = intent.side.sign, intent.stop_price
    if stop is not None and sign * stop <= sign * market:
        return _no(f"a {intent.side.value} stop at {stop} would trigger at once: the market is at {_number(market)}")
    return APPROVED


def max_order_value(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Value of one order at its worst price at most ``max_order_value_usd``; see :func:`worst_price`.

    Source: 15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(b).
    """
    value = shares(intent, book) * worst_price(intent, book, limits)
    if value > limits.max_order_value_usd and not _only_shrinks(intent, book, limits):
        return _no(f"order value {value:.2f} USD is over {limits.max_order_value_usd} USD")
    return APPROVED


def max_quantity(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """At most ``max_order_quantity`` shares and ``max_volume_share`` of the average volume of 20 sessions.

    A volume that is not known is no volume. Source: 15c3-5(c)(1)(ii); RTS 6 Art. 15(1)(c).
    """
    wanted, volume = shares(intent, book), book.volumes.get(intent.symbol)
    if volume is None or not is_positive(volume):
        reason = f"the average volume of {intent.symbol} is not known"
    elif wanted > limits.max_order_quantity:
        reason = f"{_number(wanted)} shares are over {limits.max_order_quantity}"
    elif wanted > limits.max_volume_share * volume:
        reason = f"{_number(wanted)} shares are over {limits.max_volume_share:.2%} of the {volume:.0f} traded a session"
    else:
        return APPROVED
    return APPROVED if _only_shrinks(intent, book, limits) else _no(reason)


def duplicate(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """No second order for the same symbol, side and quantity, decided on the same session, within the window.

    The same means: under another id, whichever notebook or strategy it comes from, in the last
    ``duplicate_window_s`` (zero: off). The slices of one large order are told apart by their sequence, and a
    replacement is no duplicate. Source: 15c3-5(c)(1)(ii); RTS 6 Art. 15(3).
    """
    if intent.replaces is not None:
        return APPROVED
    like = Sent(
        book.now, intent.symbol, intent.side, intent.quantity, decided_on, intent.client_order_id, intent.sequence
    )
    earlier = book.twin(like)
    if earlier is not None and (book.now - earlier.at).total_seconds() < limits.duplicate_window_s:
        seconds = (book.now - earlier.at).total_seconds()
        return _no(f"the same order was sent {seconds:.1f} s ago, under the id {earlier.client_order_id or 'unknown'}")
    return APPROVED


def message_rate(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """At most ``max_orders_per_minute`` submissions of the account, replacements included, by all its notebooks.

    Over it something runs away, so exits are held back too; cancels do not pass through gates and always go.
    Source: RTS 6 Art. 15(1)(d).
    """
    if book.messages() >= limits.max_orders_per_minute:
        return _no(f"{limits.max_orders_per_minute} orders were sent in the last minute")
    return APPROVED


# ---- the account with the order in it ---------------------------------------------------------------------


def exposure(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Per-name, gross and net exposure of the account on the worst case, as multiples of equity.

    Sales beyond what is held and not on sale already need ``allow_short``. Source: 15c3-5(c)(1)(i).
    """
    after, sums = book.after(as_working(intent, book, limits))
    if _shrinks(intent.side, after):
        return APPROVED
    if intent.side is Side.SELL and not limits.allow_short:
        free = max(after.lowest + shares(intent, book), Decimal(0))
        return _no(f"{_number(intent.quantity)} to sell but {_number(free)} held free; short sales are off")
    return _within(
        intent.symbol, book, after, sums,
        (limits.max_name_exposure, limits.max_gross_exposure, limits.max_net_exposure), "",
    )  # fmt: skip


def strategy_limits(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """The limits of the strategy itself, on the shares that its own orders bought and may still buy.

    As multiples of the whole account's equity; what ``[risk.strategies]`` leaves out is bounded by the account
    alone. A strategy that sells what another one bought is short in its own sleeve, and counts so.
    Source: 15c3-5(c)(1)(i).
    """
    own = limits.strategies.get(intent.strategy)
    if own is None:
        return APPROVED
    working = as_working(intent, book, limits)
    after, sums = book.after(working, intent.strategy)
    if _shrinks(intent.side, after):
        return APPROVED
    value = working.quantity * worst_price(intent, book, limits)
    if own.max_order_value_usd is not None and value > own.max_order_value_usd:
        return _no(f"order value {value:.2f} USD is over {own.max_order_value_usd} USD, the limit of {intent.strategy}")
    bounds = (own.max_name_exposure, own.max_gross_exposure, own.max_net_exposure)
    return _within(intent.symbol, book, after, sums, bounds, f"{intent.strategy}'s ", intent.strategy)


def buying_power(intent: OrderIntent, decided_on: date, book: RiskBook, limits: RiskSettings) -> Decision:
    """Cash and sure proceeds cover all open buys and this one, each at its worst price.

    Market orders count at the market's price with the buffer, sales that will happen at the price less the
    buffer, orders with a price at that. Shares sold short must be payable back, so that the proceeds of a short
    sale are never spent. A venue's own margin rules come on top. Source: 15c3-5(c)(1)(i).
    """
    after, sums = book.after(as_working(intent, book, limits))
    if _shrinks(intent.side, after):
        return APPROVED
    power = buying_power_usd(book.cash, book.sums(), limits)
    cost = power - buying_power_usd(book.cash, sums, limits)
    if cost > 0 and cost > power:
        return _no(f"costs up to {cost:.2f} USD with {power:.2f} USD of buying power")
    return APPROVED


# In the order they are asked: what makes an intent meaningless comes before anything is computed from it, what
# stops every order before what stops this one, and what only counts before what adds up.
GATES: dict[str, Gate] = {
    "validity": validity,
    "trading_state": trading_state,
    "locked": locked,
    "unknown_order": unknown_order,
    "restricted": restricted,
    "clock_skew": clock_skew,
    "data_quality": data_quality,
    "price_collar": price_collar,
    "max_order_value": max_order_value,
    "max_quantity": max_quantity,
    "duplicate": duplicate,
    "message_rate": message_rate,
    "exposure": exposure,
    "strategy_limits": strategy_limits,
    "buying_power": buying_power,
}


def count(
    book: RiskBook,
    order: OrderIntent | Order,
    limits: RiskSettings,
    *,
    accepted: bool,
    strategy: str = ACCOUNT,
    open_quantity: Decimal | None = None,
) -> None:
    """Count an order that may still fill, in the account and in its strategy's sleeve.

    Parameters
    ----------
    order
        An intent of ours, or an order as the venue has it (a bracket's exit, somebody else's). One that is counted
        already under its id takes its new values.
    accepted
        Whether the venue has confirmed it: an accepted market sell, but at the close, counts as done.
    strategy
        Whose it is, if it is an order of the venue's; an intent says so itself.
    open_quantity
        Shares that may still fill; all of an intent, and what is open of an order, if left out. Zero takes it
        out: it has filled (then :meth:`RiskBook.hold` says so) or ended.
    """
    sure = (
        accepted
        and order.side is Side.SELL
        and order.type is OrderType.MARKET
        and order.time_in_force is not TimeInForce.CLS
    )
    if isinstance(order, OrderIntent):
        working = as_working(order, book, limits)
        quantity = working.quantity if open_quantity is None else open_quantity
        strategy, group, entry = order.strategy, working.exclusive, ""
    else:
        quantity = left_of(order, book) if open_quantity is None else open_quantity
        group, entry = "", order.parent_id or ""
    book.place(
        Working(
            order.client_order_id, order.symbol, order.side, order.type, quantity, strategy,
            own_price(order, book, limits), sure, group, entry,
        )
    )  # fmt: skip


def left_of(order: Order, book: RiskBook) -> Decimal:
    """Shares that may still fill of an order; of one by value at least what the rest of it buys at the market."""
    price = book.prices.get(order.symbol)
    if order.notional_usd is None or order.state.is_final or price is None or not is_positive(price):
        return order.open_quantity
    spent = order.filled_quantity * (order.average_price or Decimal(0))
    return max(order.open_quantity, (order.notional_usd - spent) / price)


def _collared(
    intent: OrderIntent, market: Decimal, near: Decimal, wide: Decimal
) -> list[tuple[str, Decimal | None, Decimal, Decimal]]:
    """Name, price, what it is compared with, and how far it may be from that."""
    limit_base = intent.stop_price or market
    found = [
        ("reference price", intent.reference_price, market, near),
        ("stop price", intent.stop_price, market, wide),
        ("limit price", intent.limit_price, limit_base, near),
    ]
    trail = intent.trail_price
    if intent.trail_percent is not None:
        trail = market * intent.trail_percent / 100
    if trail is not None:
        found.append(("the stop it trails", market + intent.side.sign * trail, market, wide))
    bracket = intent.bracket
    if bracket is not None:
        found += [
            ("take profit", bracket.take_profit, market, wide),
            ("stop loss", bracket.stop_loss, market, wide),
            ("stop loss limit", bracket.stop_loss_limit, bracket.stop_loss, near),
        ]
    return found


def _within(
    symbol: str,
    book: RiskBook,
    after: Exposure,
    sums: Sums,
    bounds: tuple[Decimal | None, Decimal | None, Decimal | None],
    whose: str,
    scope: str = ACCOUNT,
) -> Decision:
    """Name, gross and net exposure against their bounds; None is no bound."""
    if not is_positive(book.equity):
        return _no(f"equity is {book.equity:.2f} USD")
    missing = book.unpriced(scope)
    if missing:
        return _no(f"exposure cannot be stated: no price of {', '.join(sorted(missing)[:5])}")
    values = (after.most * book.prices[symbol], sums.gross, max(abs(sums.high), abs(sums.low)))
    labels = (f"exposure to {symbol}", "gross exposure", "net exposure")
    for label, value, limit in zip(labels, values, bounds, strict=True):
        if limit is not None and value > limit * book.equity:
            return _no(f"{whose}{label} would be {value / book.equity:.4f} of equity, over {limit}")
    return APPROVED


def _only_shrinks(intent: OrderIntent, book: RiskBook, limits: RiskSettings) -> bool:
    """Whether the order can do nothing but make the account's position smaller."""
    after, _ = book.after(as_working(intent, book, limits))
    return _shrinks(intent.side, after)


def _shrinks(side: Side, after: Exposure) -> bool:
    """Whether, with the order in it, every way things can fill leaves the position on its side of zero."""
    return after.lowest >= 0 if side is Side.SELL else after.highest <= 0


def _number(value: Decimal) -> str:
    """A number as a person writes it: no exponent, no noise behind the ninth decimal."""
    text = f"{value:.9f}"
    return text.rstrip("0").rstrip(".")


def _no(reason: str) -> Decision:
    return Decision(approved=False, reason=reason)
