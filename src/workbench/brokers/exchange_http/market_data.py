"""``/v2/stocks``: daily bars and what is derived from them; see :mod:`bars` for what that is worth."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from fastapi import Request, Response

from workbench.brokers.exchange_http import bars
from workbench.brokers.exchange_http.answers import Area, Endpoint, answer
from workbench.brokers.exchange_http.parameters import Parameters
from workbench.brokers.exchange_http.problems import bad_request, not_found
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import NEW_YORK, Json

_TIMEFRAME = re.compile(r"([1-9]|[1-5]\d)(Min|T)|([1-9]|1\d|2[0-3])(Hour|H)|1(Day|D)|1(Week|W)|([12346]|12)(Month|M)")
_DAILY = frozenset({"1Day", "1D"})
_HISTORICAL_FEEDS = frozenset({"iex", "otc", "sip", "boats"})
_LATEST_FEEDS = _HISTORICAL_FEEDS | {"delayed_sip", "overnight"}
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./-]{0,15}")
_DEFAULT, _MOST = 1000, 10_000
_Shape = Callable[[Venue, str], Json]


@dataclass(frozen=True, slots=True)
class _Latest:
    """An endpoint for the latest something: ``/v2/stocks/NAME/latest`` and ``/v2/stocks/{symbol}/NAME/latest``."""

    one: str
    many: str
    shape: _Shape


class MarketData(Area):
    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.add("GET", "/v2/stocks/bars", self.history)
        self.add("GET", "/v2/stocks/snapshots", self.snapshots)
        for latest in (
            _Latest("bar", "bars", _latest_bar),
            _Latest("quote", "quotes", bars.quote_json),
            _Latest("trade", "trades", bars.trade_json),
        ):
            self.add("GET", f"/v2/stocks/{latest.many}/latest", self._many(latest))
            self.add("GET", f"/v2/stocks/{{symbol}}/{latest.many}/latest", self._one(latest))
        self.add("GET", "/v2/stocks/{symbol}/bars", self.history_of_one)
        self.add("GET", "/v2/stocks/{symbol}/snapshot", self.snapshot)

    async def history(self, request: Request) -> Response:
        wanted = _query(request)
        found, token = self._pages(wanted, _symbols(wanted))
        return answer({"bars": found, "next_page_token": token})

    async def history_of_one(self, request: Request) -> Response:
        symbol = _valid(str(request.path_params["symbol"]))
        found, token = self._pages(_query(request), [symbol])
        return answer({"bars": found.get(symbol, []), "symbol": symbol, "next_page_token": token})

    async def snapshots(self, request: Request) -> Response:
        wanted = _latest_query(request)
        return answer({s: bars.snapshot_json(self.venue, s) for s in self._known(_symbols(wanted))})

    async def snapshot(self, request: Request) -> Response:
        _latest_query(request)
        symbol = self._listed(request, "snapshot")
        return answer({"symbol": symbol, **bars.snapshot_json(self.venue, symbol)})

    def _many(self, latest: _Latest) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            wanted = _latest_query(request)
            return answer({latest.many: {s: latest.shape(self.venue, s) for s in self._known(_symbols(wanted))}})

        return endpoint

    def _one(self, latest: _Latest) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            _latest_query(request)
            symbol = self._listed(request, latest.one)
            return answer({"symbol": symbol, latest.one: latest.shape(self.venue, symbol)})

        return endpoint

    def _known(self, symbols: list[str]) -> list[str]:
        """Those that are listed; Alpaca leaves the others out without a word."""
        return [symbol for symbol in symbols if self.venue.symbol_of(symbol) == symbol]

    def _listed(self, request: Request, what: str) -> str:
        symbol = _valid(str(request.path_params["symbol"]))
        if not self._known([symbol]):
            raise not_found(f"no {what} found for {symbol}")
        return symbol

    def _pages(self, wanted: Parameters, symbols: list[str]) -> tuple[dict[str, list[Json]], str | None]:
        """One page: by symbol, then by time, as many bars as asked for over all symbols."""
        asked = self._asked(wanted)
        limit = wanted.integer("limit", _DEFAULT, 1, _MOST)
        after = _read_token(wanted.text("page_token"))
        found: dict[str, list[Json]] = {}
        count, last = 0, ("", date.min)
        for symbol in sorted(set(self._known(symbols))):
            if after is not None and symbol < after[0]:
                continue
            for session, bar in bars.series(self.venue, symbol, asked):
                if after is not None and symbol == after[0] and not _later(session, after[1], asked.newest_first):
                    continue
                if count == limit:
                    return found, _token(*last)
                found.setdefault(symbol, []).append(bars.bar_json(bar, session))
                count, last = count + 1, (symbol, session)
        return found, None

    def _asked(self, wanted: Parameters) -> bars.Asked:
        timeframe = wanted.required("timeframe")
        if not _TIMEFRAME.fullmatch(timeframe):
            raise bad_request(f"invalid timeframe: {timeframe}")
        if timeframe not in _DAILY:
            raise bad_request(f"timeframe {timeframe} is not served by this exchange, which has daily bars: use 1Day")
        start, end = wanted.moment("start"), wanted.moment("end")
        wanted.day("asof")
        # A bare date is that day in New York, a moment the day it falls on there; a bar is stamped at midnight.
        return bars.Asked(
            start=_first_day(wanted, "start") if start else self.venue.today,
            end=_last_day(wanted, "end") if end else self.venue.today,
            adjustments=bars.adjustments(wanted.text("adjustment") or "raw"),
            newest_first=wanted.choice("sort", ("asc", "desc"), "asc") == "desc",
        )


def _query(request: Request) -> Parameters:
    wanted = Parameters(request.query_params, bad_request)
    wanted.choice("feed", _HISTORICAL_FEEDS, "sip")
    _check_currency(wanted)
    return wanted


def _latest_query(request: Request) -> Parameters:
    wanted = Parameters(request.query_params, bad_request)
    wanted.choice("feed", _LATEST_FEEDS, "sip")
    _check_currency(wanted)
    return wanted


def _check_currency(wanted: Parameters) -> None:
    if wanted.text("currency") not in (None, "", "USD"):
        raise bad_request("this exchange quotes in USD")


def _symbols(wanted: Parameters) -> list[str]:
    wanted.required("symbols")
    return [_valid(symbol) for symbol in wanted.names("symbols") or ()]


def _valid(symbol: str) -> str:
    if not _SYMBOL.fullmatch(symbol):
        raise bad_request(f"invalid symbol: {symbol}")
    return symbol


def _latest_bar(venue: Venue, symbol: str) -> Json:
    """The bar of the last session that closed; Alpaca's is of the last minute, which the data does not have."""
    found = bars.latest_bar(venue, symbol)
    assert found is not None  # a listed symbol has closed once
    return bars.bar_json(found[1], found[0])


def _first_day(wanted: Parameters, name: str) -> date:
    """The first session whose midnight in New York is not before the moment."""
    day, moment = wanted.day(name), wanted.moment(name)
    assert day is not None
    assert moment is not None
    if len(wanted.text(name) or "") == len("2013-01-02"):
        return day
    local = moment.astimezone(NEW_YORK)
    at_midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return local.date() if local == at_midnight else date.fromordinal(min(local.toordinal() + 1, date.max.toordinal()))


def _last_day(wanted: Parameters, name: str) -> date:
    """The last session whose midnight in New York is not after the moment."""
    day, moment = wanted.day(name), wanted.moment(name)
    assert day is not None
    assert moment is not None
    return day if len(wanted.text(name) or "") == len("2013-01-02") else moment.astimezone(NEW_YORK).date()


def _later(session: date, than: date, newest_first: bool) -> bool:
    return session < than if newest_first else session > than


def _token(symbol: str, session: date) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{session.isoformat()}".encode()).decode()


def _read_token(token: str | None) -> tuple[str, date] | None:
    if token is None:
        return None
    try:
        symbol, _, session = base64.urlsafe_b64decode(token.encode()).decode().partition("|")
        return symbol, date.fromisoformat(session)
    except (ValueError, binascii.Error) as error:
        raise bad_request("invalid page_token") from error
