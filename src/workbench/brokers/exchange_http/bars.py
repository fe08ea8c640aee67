"""Market data as Alpaca serves it, from daily bars alone, and never of a session that has not closed.

Only the timeframe ``1Day`` exists here. A day's trade count is not known (0), and its ``vw`` is the typical price,
a third of high, low and close. Quotes and trades have the price orders fill at now: the open while the market is
open, the last close after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from workbench.brokers.exchange import Phase
from workbench.brokers.exchange_http.problems import bad_request
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import Json, midnight, stamp
from workbench.brokers.market import Bar, Market

ADJUSTMENTS = frozenset({"raw", "split", "dividend", "spin-off", "all"})
_LOT = 100


def bar_json(bar: Bar, session: date) -> dict[str, Json]:
    """One daily bar; its time is midnight in New York."""
    return {
        "t": stamp(midnight(session)),
        "o": float(bar.open),
        "h": float(bar.high),
        "l": float(bar.low),
        "c": float(bar.close),
        "v": int(bar.volume),
        "n": 0,
        "vw": round(float((bar.high + bar.low + bar.close) / 3), 6),
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for bars: sessions (both included), adjustment, order."""

    start: date
    end: date
    adjustments: frozenset[str]
    newest_first: bool = False


def adjustments(written: str) -> frozenset[str]:
    """What ``adjustment`` asks for; several may be joined by commas."""
    found = frozenset(part.strip() for part in written.split(","))
    if not found <= ADJUSTMENTS:
        raise bad_request(f"invalid adjustment: {written}")
    return frozenset({"split", "dividend"}) if "all" in found else found & {"split", "dividend"}


def series(venue: Venue, symbol: str, asked: Asked) -> Iterator[tuple[date, Bar]]:
    """The bars of one symbol, adjusted as asked for."""
    last = min(asked.end, venue.last_session)
    first = max(asked.start, venue.calendar.first)
    if first > last:
        return
    sessions = venue.calendar.sessions(first, last)
    factors = _factors(venue.market, symbol, first, venue.last_session, asked.adjustments)
    for session in reversed(sessions) if asked.newest_first else sessions:
        bar = venue.market.bar(symbol, session)
        if bar is not None:
            yield session, _adjusted(bar, [f for f in factors if f.ex_date > session])


def latest_bar(venue: Venue, symbol: str, before: int = 0) -> tuple[date, Bar] | None:
    """The last bar of a session that has closed; ``before`` counts bars back from it."""
    found = venue.market.last_close(symbol, venue.last_session)
    while found is not None:
        session = found[0]
        bar = venue.market.bar(symbol, session)
        if bar is not None and before == 0:
            return session, bar
        before -= 1
        found = venue.market.last_close(symbol, session - timedelta(days=1))
    return None


def trade_json(venue: Venue, symbol: str) -> Json:
    """The latest trade."""
    return {
        "t": stamp(_priced_at(venue, symbol)),
        "x": "V",
        "p": float(venue.exchange.price(symbol) or 0),
        "s": _LOT,
        "c": ["@"],
        "i": _priced_at(venue, symbol).toordinal(),
        "z": "A",
    }


def quote_json(venue: Venue, symbol: str) -> Json:
    """The latest quote: both sides at the price, because the data has no spread."""
    price = float(venue.exchange.price(symbol) or 0)
    return {
        "t": stamp(_priced_at(venue, symbol)),
        "ax": "V", "ap": price, "as": _LOT,
        "bx": "V", "bp": price, "bs": _LOT,
        "c": ["R"],
        "z": "A",
    }  # fmt: skip


def snapshot_json(venue: Venue, symbol: str) -> Json:
    """Latest trade and quote, the last day's bar and the one before; there are no minute bars to show."""
    shape = {"latestTrade": trade_json(venue, symbol), "latestQuote": quote_json(venue, symbol)}
    for name, before in (("dailyBar", 0), ("prevDailyBar", 1)):
        found = latest_bar(venue, symbol, before)
        if found is not None:
            shape[name] = bar_json(found[1], found[0])
    return shape


@dataclass(frozen=True, slots=True)
class _Factor:
    """What prices and volumes before an ex-date are multiplied by."""

    ex_date: date
    price: Decimal
    volume: Decimal


def _factors(market: Market, symbol: str, after: date, last: date, wanted: frozenset[str]) -> list[_Factor]:
    """Of ex-dates in (``after``, ``last``]. Source: the lake's rules (docs/architecture.md), so both adjust alike.

    A market tells actions of a span without their days, so the span is halved until it is one day.
    """
    actions = [a for a in market.actions(after, last) if a.symbol == symbol and a.kind in wanted] if wanted else []
    if not actions:
        return []
    if (last - after).days > 1:
        middle = after + (last - after) // 2
        return [
            *_factors(market, symbol, after, middle, wanted), *_factors(market, symbol, middle, last, wanted),
        ]  # fmt: skip
    bar = market.bar(symbol, last)
    found = []
    for action in actions:
        if action.kind == "split":
            found.append(_Factor(last, 1 / action.value, action.value))
        elif bar is not None:
            found.append(_Factor(last, 1 / (1 + action.value / bar.close), Decimal(1)))
    return found


def _adjusted(bar: Bar, factors: Sequence[_Factor]) -> Bar:
    price = volume = Decimal(1)
    for factor in factors:
        price *= factor.price
        volume *= factor.volume
    if price == volume == 1:
        return bar
    open_, high, low, close = (round(value * price, 6) for value in (bar.open, bar.high, bar.low, bar.close))
    return Bar(open_, high, low, close, bar.volume * volume)


def _priced_at(venue: Venue, symbol: str) -> datetime:
    if venue.exchange.phase is Phase.OPEN:
        return venue.calendar.open(venue.today)
    found = venue.market.last_close(symbol, venue.last_session)
    return venue.calendar.close(found[0] if found else venue.last_session)
