"""``/v2/assets``, ``/v2/calendar`` and ``/v2/clock``: what is listed, and when it trades."""

from __future__ import annotations

from datetime import date
from functools import lru_cache

from fastapi import Request, Response

from workbench.brokers.exchange import Phase
from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.answers import Area, answer, query
from workbench.brokers.exchange_http.parameters import Parameters
from workbench.brokers.exchange_http.shapes import CLASS, EXCHANGE, asset_json
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import NEW_YORK, Json, local
from workbench.calendars import Calendar

# Days from trade to settlement, and the first trade date of each. Source: SEC Rule 15c6-1 and its amendments.
_CYCLES = ((date(2024, 5, 28), 1), (date(2017, 9, 5), 2), (date.min, 3))
_ATTRIBUTES = frozenset(
    {
        "ptp_no_exception", "ptp_with_exception", "ipo", "has_options", "options_late_close",
        "fractional_eh_enabled", "overnight_tradable", "overnight_halted",
    }
)  # fmt: skip


class Reference(Area):
    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.add("GET", "/v2/assets", self.assets)
        self.add("GET", "/v2/assets/{symbol_or_asset_id}", self.asset)
        self.add("GET", "/v2/calendar", self.calendar)
        self.add("GET", "/v2/clock", self.clock)

    async def assets(self, request: Request) -> Response:
        wanted = query(request)
        attributes = wanted.names("attributes") or []
        if not _ATTRIBUTES.issuperset(attributes):
            raise problems.malformed(f"invalid attributes: {wanted.text('attributes')}")
        fits = (
            wanted.text("status") in (None, "active", "all")
            and wanted.text("asset_class") in (None, CLASS, "all")
            and wanted.text("exchange") in (None, EXCHANGE)
            and not attributes
        )
        return answer([self._shape(symbol) for symbol in self.venue.listed()] if fits else [])

    async def asset(self, request: Request) -> Response:
        return answer(self._shape(self.symbol(request, "symbol_or_asset_id", "asset")))

    async def calendar(self, request: Request) -> Response:
        wanted = Parameters(request.query_params, problems.bad_request)
        by_settlement = wanted.choice("date_type", ("TRADING", "SETTLEMENT"), "TRADING") == "SETTLEMENT"
        calendar = self.venue.calendar
        start, end = wanted.day("start") or calendar.first, wanted.day("end") or calendar.last
        rows = _rows(calendar)
        field = "settlement_date" if by_settlement else "date"
        return answer([row for row in rows if start.isoformat() <= row[field] <= end.isoformat()])

    async def clock(self, request: Request) -> Response:
        """Now by the wall clock, the market by the engine: a replayed exchange is open when it was opened."""
        venue, calendar = self.venue, self.venue.calendar
        is_open = venue.exchange.phase is Phase.OPEN
        following = calendar.next(venue.today)
        return answer(
            {
                "timestamp": local(venue.now()),
                "is_open": is_open,
                "next_open": local(calendar.open(following)),
                "next_close": local(calendar.close(venue.today if is_open else following)),
            }
        )

    def _shape(self, symbol: str) -> Json:
        return asset_json(symbol, shorting=self.venue.shorting, fractional=self.venue.fractional)


@lru_cache(maxsize=4)
def _rows(calendar: Calendar) -> list[dict[str, str]]:
    """Every session of a calendar as Alpaca lists it; the last ones have no session left to settle on."""
    sessions = calendar.sessions(calendar.first, calendar.last)
    rows = []
    for place, session in enumerate(sessions):
        settles = place + next(days for first, days in _CYCLES if session >= first)
        if settles < len(sessions):
            rows.append(
                {
                    "date": session.isoformat(),
                    "open": f"{calendar.open(session).astimezone(NEW_YORK):%H:%M}",
                    "close": f"{calendar.close(session).astimezone(NEW_YORK):%H:%M}",
                    "session_open": "0400",
                    "session_close": "2000",
                    "settlement_date": sessions[settles].isoformat(),
                }
            )
    return rows
