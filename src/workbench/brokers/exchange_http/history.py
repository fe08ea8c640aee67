"""Equity by session, worked out again from fills and activities."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from workbench.brokers.exchange import Exchange
from workbench.brokers.exchange_http.shapes import ZERO
from workbench.brokers.market import Market
from workbench.domain import ActivityKind

_FLOWS = {ActivityKind.DEPOSIT: "CSD", ActivityKind.DIVIDEND: "DIV", ActivityKind.CASH_IN_LIEU: "CIL"}


@dataclass(frozen=True, slots=True)
class Point:
    """The account at the close of a session: equity, and what came in or went out in it by type, in USD."""

    session: date
    equity: Decimal
    flows: dict[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Change:
    session: date
    symbol: str
    shares: Decimal
    cash: Decimal
    flow: str = ""


def curve(exchange: Exchange, market: Market, sessions: Sequence[date]) -> list[Point]:
    """Equity at the close of each of ``sessions`` (ascending)."""
    changes = _changes(exchange)
    days = [change.session for change in changes]
    cash, held, place, points = ZERO, dict[str, Decimal](), 0, list[Point]()
    for session in sessions:
        upto = bisect_right(days, session)
        first = bisect_left(days, session)
        for change in changes[place:upto]:
            cash += change.cash
            held[change.symbol] = held.get(change.symbol, ZERO) + change.shares
        flows: dict[str, Decimal] = {}
        for change in changes[first:upto]:
            if change.flow:
                flows[change.flow] = flows.get(change.flow, ZERO) + change.cash
        place = max(place, upto)
        points.append(Point(session, cash + _value(held, market, session), flows))
    return points


def equity_at(exchange: Exchange, market: Market, session: date) -> Decimal:
    """Equity at the close of a session, in USD; before the account was opened, what it was opened with."""
    opened = min((a.session for _, a in exchange.activities()), default=session)
    return curve(exchange, market, [max(session, opened)])[0].equity


def _changes(exchange: Exchange) -> list[_Change]:
    found = [
        _Change(a.session, a.symbol, a.quantity_delta, a.cash_delta, _FLOWS.get(a.kind, ""))
        for _, a in exchange.activities()
    ]
    found += [_Change(f.session, f.symbol, f.side.sign * f.quantity, f.cash_delta) for _, f in exchange.fills()]
    return sorted(found, key=lambda change: change.session)


def _value(held: dict[str, Decimal], market: Market, session: date) -> Decimal:
    value = ZERO
    for symbol, shares in held.items():
        last = market.last_close(symbol, session) if shares else None
        value += shares * last[1] if last else ZERO
    return value
