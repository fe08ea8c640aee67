"""An account as the risk gates see it: exposures, and what the venue, the data and the clock say.

Everything is counted at its worst (:mod:`workbench.trading.exposures`): what is held, plus everything that may
still fill. The sums over all symbols are kept, not computed: an order costs the same however many names are held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import NamedTuple

from workbench.domain import Side, TradingState, is_positive
from workbench.trading.exposures import ACCOUNT, Exposure, Sums, Working, largest, value

__all__ = ["ACCOUNT", "MINUTE", "RiskBook", "Sent"]

MINUTE = timedelta(minutes=1)
_NOTHING = Exposure()
_NO_VALUE = Sums()
_ZERO = Decimal(0)


class Sent(NamedTuple):
    """One submission to the venue, of any order of the account."""

    at: datetime
    symbol: str
    side: Side
    quantity: Decimal
    decided_on: date
    client_order_id: str = ""
    sequence: int = 0


@dataclass(slots=True)
class RiskBook:
    """An account as the gates see it; the gateway keeps it up to date with every order it sends.

    Shares, prices and orders change only through :meth:`hold`, :meth:`quote` and :meth:`place`, so that the sums
    stay right; ``prices``, ``exposures`` and ``sleeves`` are for reading.

    Parameters
    ----------
    prices
        Last raw closes in USD, read from the market by the gateway itself: a notebook's own reference price is
        never trusted. ``traded`` names the symbols that have a bar in ``session``.
    locks
        Symbol, or ``*`` for all of them, to why reconciliation locked it.
    unknown
        Symbols with an order in doubt.
    faults, checked
        Symbol to the fault found in the data traded on; symbols that have a verdict at all.
    skew_s
        The venue's clock less ours; None if the venue has no clock of its own.
    volumes
        Average volume of the last 20 sessions in shares.
    sent
        Submissions of the account in the last minutes, oldest first.
    sleeves
        Strategy to what its own orders bought and may still buy.
    lot
        The smallest step of a quantity in shares; below one, fractions and orders for an amount can be traded.

    Examples
    --------
    >>> book = RiskBook(date(2013, 1, 2), TradingState.ACTIVE, Decimal(100_000), Decimal(100_000))
    >>> book.quote("IBM", Decimal("196.35"))
    >>> from workbench.domain import OrderType
    >>> book.place(Working("id-1", "IBM", Side.BUY, OrderType.MARKET, Decimal(100), "momentum"))
    >>> book.sums().gross, book.sums("momentum").gross
    (Decimal('19635.00'), Decimal('19635.00'))
    """

    session: date
    state: TradingState
    cash: Decimal
    equity: Decimal
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    traded: set[str] = field(default_factory=set)
    exposures: Mapping[str, Exposure] = field(default_factory=dict)
    locks: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    skew_s: float | None = None
    volumes: dict[str, Decimal] = field(default_factory=dict)
    sent: list[Sent] = field(default_factory=list)
    now: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    sleeves: Mapping[str, Mapping[str, Exposure]] = field(default_factory=dict)
    lot: Decimal = Decimal(1)
    _prices: dict[str, Decimal] = field(init=False, repr=False)
    _scopes: dict[str, _Scope] = field(init=False, repr=False)
    _groups: dict[str, dict[str, Working]] = field(init=False, repr=False, default_factory=dict)
    _group_of: dict[str, str] = field(init=False, repr=False, default_factory=dict)
    _history: _History = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._prices = dict(self.prices)
        self.prices = MappingProxyType(self._prices)
        self._scopes = {name: _Scope(self._prices, held) for name, held in self.sleeves.items()}
        self._scopes[ACCOUNT] = _Scope(self._prices, self.exposures)
        self._history = _History()
        self._publish()

    # ---- reading ---------------------------------------------------------------------------------

    def exposure(self, symbol: str, scope: str = ACCOUNT) -> Exposure:
        """What is held and may still fill of one symbol, in the account or in one strategy's sleeve."""
        found = self._scopes.get(scope)
        return found.exposures.get(symbol, _NOTHING) if found else _NOTHING

    def sums(self, scope: str = ACCOUNT) -> Sums:
        """The account's, or one strategy's, values over all symbols."""
        found = self._scopes.get(scope)
        return found.sums if found else Sums()

    def unpriced(self, scope: str = ACCOUNT) -> set[str]:
        """Symbols that are held or ordered but have no usable price, so that the sums leave them out."""
        found = self._scopes.get(scope)
        return found.unpriced if found else set()

    def after(self, order: Working, scope: str = ACCOUNT) -> tuple[Exposure, Sums]:
        """The exposure to the order's symbol, and the sums over all symbols, if it were sent as well."""
        current = self.exposure(order.symbol, scope)
        exposure = self._with(order, scope, current)
        price = self._prices.get(order.symbol)
        return exposure, self.sums(scope).moved(value(current, price), value(exposure, price))

    def working(self, client_order_id: str) -> Working | None:
        """The order under that id, if it may still fill."""
        return self._groups.get(self._group_of.get(client_order_id, ""), {}).get(client_order_id)

    def group(self, client_order_id: str) -> str:
        """The name under which whatever replaces that order excludes it."""
        return self._group_of.get(client_order_id, client_order_id)

    def messages(self) -> int:
        """Submissions in the minute up to ``now``."""
        return self._history.last_minute(self.sent, self.now)

    def twin(self, order: Sent) -> Sent | None:
        """The latest submission of the very same order under another id, if there was one."""
        return self._history.twin(self.sent, order)

    # ---- changing --------------------------------------------------------------------------------

    def quote(self, symbol: str, price: Decimal, *, fresh: bool = True) -> None:
        """Set a symbol's price in USD; ``fresh`` says that it is of the session itself."""
        self._prices[symbol] = price
        if fresh:
            self.traded.add(symbol)
        else:
            self.traded.discard(symbol)
        for scope in self._scopes.values():
            scope.refresh(symbol)

    def hold(self, symbol: str, quantity: Decimal, scope: str = ACCOUNT) -> None:
        """Set the shares held of a symbol, in the account or in one strategy's sleeve; orders stay counted."""
        self._scope(scope).put(symbol, replace(self.exposure(symbol, scope), held=quantity))

    def place(self, order: Working) -> None:
        """Count an order that may still fill, in the account and in its strategy's sleeve.

        One that is counted already under its id takes the new values; with a quantity of zero it counts no more.
        """
        name = self._name(order)
        known = self._groups.get(name, {}).get(order.client_order_id)
        concerned = {ACCOUNT, order.strategy, known.strategy if known else order.strategy}
        concerned.update(exit_.strategy for exit_ in self._groups.get(_exits(order.client_order_id), {}).values())
        changed = {scope: self._with(order, scope, self.exposure(order.symbol, scope)) for scope in concerned}
        for scope, exposure in changed.items():
            self._scope(scope).put(order.symbol, exposure)
        self._groups.setdefault(name, {})[order.client_order_id] = order
        self._group_of[order.client_order_id] = name

    # ---- private ---------------------------------------------------------------------------------

    def _scope(self, name: str) -> _Scope:
        if name not in self._scopes:
            self._scopes[name] = _Scope(self._prices, {})
            self._publish()
        return self._scopes[name]

    def _publish(self) -> None:
        self.exposures = MappingProxyType(self._scopes[ACCOUNT].exposures)
        self.sleeves = MappingProxyType(
            {name: MappingProxyType(s.exposures) for name, s in self._scopes.items() if name != ACCOUNT}
        )

    def _name(self, order: Working) -> str:
        if order.entry:
            return _exits(order.entry)
        return self._group_of.get(order.client_order_id) or order.exclusive or order.client_order_id

    def _with(self, order: Working, scope: str, current: Exposure) -> Exposure:
        """``current`` with the order's group, and the exits that wait for it, counted with the order in it."""
        group = self._groups.get(self._name(order), {})
        entry = self.working(order.entry) if order.entry else None
        waiting = entry.quantity if entry else _ZERO
        members = {**group, order.client_order_id: order}
        found = current.minus(largest(_of(scope, group), waiting)).plus(largest(_of(scope, members), waiting))
        exits = self._groups.get(_exits(order.client_order_id))
        if exits:
            known = group.get(order.client_order_id)
            found = found.minus(largest(_of(scope, exits), known.quantity if known else _ZERO))
            found = found.plus(largest(_of(scope, exits), order.quantity))
        return found


class _Scope:
    """The account, or one strategy's sleeve: exposure by symbol and the sums over all of them."""

    __slots__ = ("_parts", "_prices", "exposures", "sums", "unpriced")

    def __init__(self, prices: Mapping[str, Decimal], exposures: Mapping[str, Exposure]) -> None:
        self._prices = prices
        self._parts: dict[str, Sums] = {}
        self.exposures: dict[str, Exposure] = {}
        self.sums = Sums()
        self.unpriced: set[str] = set()
        for symbol, exposure in exposures.items():
            self.put(symbol, exposure)

    def put(self, symbol: str, exposure: Exposure) -> None:
        self.exposures[symbol] = exposure
        self.refresh(symbol)

    def refresh(self, symbol: str) -> None:
        """Take a symbol's part of the sums anew, after its shares or its price changed."""
        exposure = self.exposures.get(symbol)
        if exposure is None:
            return
        price = self._prices.get(symbol)
        part = value(exposure, price)
        self.sums = self.sums.moved(self._parts.get(symbol, _NO_VALUE), part)
        self._parts[symbol] = part
        if exposure.most and not is_positive(price):
            self.unpriced.add(symbol)
        else:
            self.unpriced.discard(symbol)


class _History:
    """The recent submissions, looked through once each."""

    __slots__ = ("_minute", "_read", "_twins")

    def __init__(self) -> None:
        self._read = 0
        self._minute: deque[datetime] = deque()
        self._twins: dict[tuple[str, Side, Decimal, date, int], list[Sent]] = {}

    def last_minute(self, sent: list[Sent], now: datetime) -> int:
        self._catch_up(sent)
        while self._minute and self._minute[0] <= now - MINUTE:
            self._minute.popleft()
        return len(self._minute)

    def twin(self, sent: list[Sent], order: Sent) -> Sent | None:
        self._catch_up(sent)
        for earlier in reversed(self._twins.get(_likeness(order), [])):
            if earlier.client_order_id != order.client_order_id:
                return earlier
        return None

    def _catch_up(self, sent: list[Sent]) -> None:
        for entry in sent[self._read :]:
            one = Sent(*entry)
            self._minute.append(one.at)
            self._twins.setdefault(_likeness(one), []).append(one)
        self._read = len(sent)


def _likeness(order: Sent) -> tuple[str, Side, Decimal, date, int]:
    # The slices of one large order are alike on purpose; their number tells them apart.
    return order.symbol, order.side, order.quantity, order.decided_on, order.sequence


def _exits(entry: str) -> str:
    """The group of the exits of a bracket entry."""
    return f"exits of {entry}"


def _of(scope: str, orders: Mapping[str, Working]) -> list[Working]:
    """The orders that count in the account, or in one strategy's sleeve."""
    return [order for order in orders.values() if scope in (ACCOUNT, order.strategy)]
