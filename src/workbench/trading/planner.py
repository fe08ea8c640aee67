"""From target weights and a snapshot to order intents: steps 1 to 3 of the convention ``next_open``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from workbench.domain import (
    Order,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    Snapshot,
    Target,
    TimeInForce,
    client_order_id,
)
from workbench.errors import ConfigError, DataError
from workbench.settings import PlannerSettings
from workbench.trading.sizing import ZERO, Bounds, Sizing, Step, side_of

if TYPE_CHECKING:
    import pandas as pd

_WEIGHT_DIGITS = Decimal("1e-9")
_AT_THE_VENUE = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class PlanKey:
    """What makes a rebalance the same one again, so that a rerun proposes the same order ids."""

    account: str
    pipeline: str
    session: date
    amendment: int
    strategy: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets (by symbol) and the orders that lead to them, sells before buys, by symbol.

    ``untouched`` names holdings that the strategy says nothing about or that did not trade in the session;
    ``blocked`` symbols with an order in doubt, which are left alone until it is settled; ``short_of_cash`` symbols
    of which less is bought than the weight asks for, because the cash does not pay for it. ``note`` goes on record.
    """

    key: PlanKey
    snapshot: Snapshot
    targets: tuple[Target, ...]
    intents: tuple[OrderIntent, ...]
    untouched: tuple[str, ...]
    blocked: tuple[str, ...] = ()
    short_of_cash: tuple[str, ...] = ()
    note: str = ""

    def to_frame(self) -> pd.DataFrame:
        """One row per target: weight, price (USD), shares held and wanted, and the change between them."""
        import pandas as pd

        rows = [
            {
                "symbol": target.symbol,
                "weight": float(target.weight),
                "price": float(target.price),
                "held": float(target.held),
                "wanted": float(target.quantity),
                "order": float(target.quantity - target.held),
            }
            for target in self.targets
        ]
        columns = ["symbol", "weight", "price", "held", "wanted", "order"]
        return pd.DataFrame(rows, columns=columns).set_index("symbol")


def plan(
    key: PlanKey,
    weights: Mapping[str, float],
    snapshot: Snapshot,
    prices: Mapping[str, Decimal],
    settings: PlannerSettings,
    bounds: Bounds | None = None,
) -> Plan:
    """Size orders: equity x (1 - cash buffer) x weight / close, in lots, toward zero.

    The same inputs give the same orders and ids, whatever order they come in.

    - What is on its way is not ordered again, and a sale never takes more than is held and not being sold. A symbol
      with an order in doubt is left alone. A bracket's exits wait for their price and do not count.
    - A change below the minimum value or the tolerance is not traded; an exit is, however small.
    - Turning a long position into a short one, or back, takes two orders: out, then in. A venue that does not queue
      the second behind the first refuses it, and the next plan makes up for it.
    - With ``limit_bps`` orders have a limit that far from the close, rounded to the tick that is no worse.
    - Buys that cash does not pay for (see :func:`_within_cash`) are made smaller in proportion.
    - An order over ``max_order_value_usd`` that adds to a position is cut into equal slices, 10 at most.

    Parameters
    ----------
    weights
        Symbol to fraction of equity, rounded here to 9 decimals; zero means out, below zero short.
    prices
        Symbol to raw close of the session in USD; a symbol that is not in it did not trade and is left alone.
        Symbols with open orders are looked up here too.

    Raises
    ------
    DataError
        If a weight is not finite, or negative without ``allow_short``, the weights exceed 1 in sum, a weight is
        wanted without a price, a waiting order has no price at all, or equity is not positive.
    ConfigError
        If the settings ask for fractions of shares in the opening auction.

    Examples
    --------
    >>> key = PlanKey("paper", "daily", date(2013, 1, 2), 0, "momentum")
    >>> flat = Snapshot("paper", date(2013, 1, 2), Decimal(100_000))
    >>> made = plan(key, {"IBM": 0.5}, flat, {"IBM": Decimal("196.35")}, PlannerSettings())
    >>> [(i.side.value, str(i.quantity), i.symbol) for i in made.intents]
    [('buy', '249', 'IBM')]
    """
    bounds = bounds or Bounds()
    equity = snapshot.cash + sum((p.value for _, p in sorted(snapshot.positions.items())), ZERO)
    exact = _check(key, weights, equity, prices, settings, bounds)
    blocked = {order.symbol for order in snapshot.open_orders if order.state is OrderState.UNKNOWN}
    sizing = Sizing(settings, bounds, equity)
    steps = [
        sizing.step(symbol, exact[symbol], prices[symbol], snapshot)
        for symbol in sorted(exact)
        if symbol in prices and symbol not in blocked
    ]
    funded = _within_cash(steps, snapshot, prices, sizing)
    targets = tuple(Target(s.symbol, s.weight, s.price, s.held, s.held + s.reduce + s.enlarge) for s in funded)
    intents = [intent for step in funded for intent in _intents(key, step, sizing)]
    intents.sort(key=lambda intent: (intent.side is Side.BUY, intent.symbol, intent.sequence))
    return Plan(
        key,
        snapshot,
        targets,
        tuple(intents),
        untouched=tuple(sorted(set(snapshot.positions) - {target.symbol for target in targets} - blocked)),
        blocked=tuple(sorted(blocked)),
        short_of_cash=tuple(
            full.symbol for full, paid in zip(steps, funded, strict=True) if paid.enlarge != full.enlarge
        ),
    )


def _check(
    key: PlanKey,
    weights: Mapping[str, float],
    equity: Decimal,
    prices: Mapping[str, Decimal],
    settings: PlannerSettings,
    bounds: Bounds,
) -> dict[str, Decimal]:
    where = f"{key.strategy} on {key.session}"
    if settings.lot % 1 and settings.time_in_force == "opg":
        raise ConfigError(
            f"planner.lot is {settings.lot}, but fractions of shares trade in day orders only",
            hint='set planner.time_in_force = "day" or a whole lot',
        )
    if not equity > 0:
        raise DataError(f"{where}: the account's equity is {equity} USD; nothing can be sized on it")
    exact = {}
    for symbol, weight in weights.items():
        if not math.isfinite(weight):
            raise DataError(f"{where}: the weight of {symbol} is {weight}")
        if weight < 0 and not bounds.allow_short:
            raise DataError(
                f"{where}: the weight of {symbol} is {weight}",
                hint="short positions are off; risk.allow_short = true allows them",
            )
        if abs(weight) >= 2:  # before it is rounded, which takes only so many digits
            raise DataError(
                f"{where}: the weight of {symbol} is {weight}, more than the account", hint="leverage is off"
            )
        exact[symbol] = Decimal(repr(float(weight))).quantize(_WEIGHT_DIGITS)
        if exact[symbol] and symbol not in prices:
            raise DataError(f"{where}: {symbol} is wanted but did not trade in that session")
    for total in (sum(w for w in exact.values() if w > 0), -sum(w for w in exact.values() if w < 0)):
        if total > 1 + len(exact) * _WEIGHT_DIGITS:
            raise DataError(f"{where}: the weights add up to {total}, more than the account", hint="leverage is off")
    return exact


def _within_cash(steps: list[Step], snapshot: Snapshot, prices: Mapping[str, Decimal], sizing: Sizing) -> list[Step]:
    """The steps with long buys made smaller, all by the same factor, where cash does not pay for them.

    They must be paid for twice over: with every price worse by the buffer, as the gate ``buying_power`` counts, and at
    reference prices with all fees. Where that gate would have passed all of them nothing changes, so that sizes are
    those of the backtests.
    """
    fees = sum((sizing.fees(step) for step in steps), ZERO)
    share = min(
        _payable(steps, snapshot, prices, sizing, sizing.bounds.market_order_buffer, ZERO),
        _payable(steps, snapshot, prices, sizing, ZERO, fees),
    )
    if share == 1:
        return steps
    return [_smaller(step, share, sizing) if step.enlarge > 0 else step for step in steps]


def _smaller(step: Step, share: Decimal, sizing: Sizing) -> Step:
    enlarge = sizing.lots(step.enlarge * share)
    return replace(step, enlarge=enlarge if enlarge * step.price >= sizing.smallest else ZERO)


def _payable(
    steps: list[Step],
    snapshot: Snapshot,
    prices: Mapping[str, Decimal],
    sizing: Sizing,
    buffer: Decimal,
    fees: Decimal,
) -> Decimal:
    """The share of the long buys, 0 to 1, that can be paid for if prices are worse by ``buffer``.

    Market sales bring their proceeds before any buy; sales with a limit, or in doubt, may not. Buys on their way and
    shares to buy back cost what they may cost at worst, and so do shares that are short: what a short sale brings is
    kept for that.
    """
    power = snapshot.cash - fees
    for step in steps:
        if step.reduce > 0:
            power -= step.reduce * sizing.worst_buy(step.price, buffer)
    for order in snapshot.open_orders:
        if order.side is Side.BUY and not order.is_exit and order.open_quantity:
            power -= order.open_quantity * _worst_buy(order, snapshot, prices, buffer)
    sure, doubtful = _sales(steps, snapshot, sizing)
    for symbol in sorted(snapshot.positions.keys() | sure.keys() | doubtful.keys()):
        sold = sure.get(symbol, ZERO)
        short = max(sold + doubtful.get(symbol, ZERO) - snapshot.quantity(symbol), ZERO)
        if sold or short:
            power += (sold * (1 - buffer) - short * (1 + buffer)) * _price(symbol, snapshot, prices)
    cost = sum((step.enlarge * sizing.worst_buy(step.price, buffer) for step in steps if step.enlarge > 0), ZERO)
    return Decimal(1) if cost <= power or not cost else max(power / cost, ZERO)


def _sales(steps: list[Step], snapshot: Snapshot, sizing: Sizing) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Shares by symbol that are sold for certain before any buy fills, and shares that may be sold."""
    sure: dict[str, Decimal] = {}
    doubtful: dict[str, Decimal] = {}
    for order in snapshot.open_orders:
        if order.side is Side.SELL and not order.is_exit and order.open_quantity:
            certain = order.type is OrderType.MARKET and order.state in _AT_THE_VENUE
            kind = sure if certain and order.time_in_force is not TimeInForce.CLS else doubtful
            kind[order.symbol] = kind.get(order.symbol, ZERO) + order.open_quantity
    planned = sure if sizing.settings.limit_bps is None else doubtful
    for step in steps:
        sold = -(min(step.reduce, ZERO) + min(step.enlarge, ZERO))
        if sold:
            planned[step.symbol] = planned.get(step.symbol, ZERO) + sold
    return sure, doubtful


def _price(symbol: str, snapshot: Snapshot, prices: Mapping[str, Decimal]) -> Decimal:
    found = _known_price(symbol, snapshot, prices)
    if found is None:
        raise DataError(f"{symbol} is being sold, and there is no price of it", hint=f"load bars of {symbol}")
    return found


def _known_price(symbol: str, snapshot: Snapshot, prices: Mapping[str, Decimal]) -> Decimal | None:
    """The raw close of the session, or the one the position is valued at."""
    position = snapshot.positions.get(symbol)
    return prices.get(symbol, position.price if position else None)


def _worst_buy(order: Order, snapshot: Snapshot, prices: Mapping[str, Decimal], buffer: Decimal) -> Decimal:
    """What a share of a waiting buy may cost, in USD: its limit, or the higher of market and stop with the buffer."""
    if order.limit_price is not None:
        return order.limit_price
    known = (_known_price(order.symbol, snapshot, prices), order.stop_price)
    found = [price for price in known if price is not None]
    if not found:
        raise DataError(
            f"a buy of {order.open_quantity} {order.symbol} is waiting, and there is no price to know what it costs",
            hint=f"cancel the order {order.client_order_id}, or load bars of {order.symbol}",
        )
    return max(found) * (1 + buffer)


def _intents(key: PlanKey, step: Step, sizing: Sizing) -> Iterable[OrderIntent]:
    """The orders of one step. Orders of one symbol and side are numbered from 0 in the order they are sent."""
    parts = [(side_of(step.reduce), abs(step.reduce))] if step.reduce else []
    if step.enlarge:
        parts += [(side_of(step.enlarge), part) for part in sizing.slices(step.enlarge, step.price)]
    for sequence, (side, quantity) in enumerate(parts):
        limit = sizing.limit(side, step.price)
        identifier = client_order_id(
            key.account, key.pipeline, key.session, key.amendment, key.strategy, step.symbol, side, sequence
        )
        yield OrderIntent(
            identifier,
            step.symbol,
            side,
            quantity,
            step.price,
            key.strategy,
            sequence,
            OrderType.MARKET if limit is None else OrderType.LIMIT,
            limit,
            TimeInForce(sizing.settings.time_in_force),
        )
