"""``/v2/account``: funds, configuration, activities, the equity curve."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from fastapi import Request, Response

from workbench.brokers.exchange_http import problems
from workbench.brokers.exchange_http.answers import Area, answer, query
from workbench.brokers.exchange_http.history import Point, curve
from workbench.brokers.exchange_http.ledger import FILL, KNOWN_TYPES, Wanted
from workbench.brokers.exchange_http.order_requests import read_body
from workbench.brokers.exchange_http.parameters import Parameters
from workbench.brokers.exchange_http.shapes import account_json
from workbench.brokers.exchange_http.venue import Venue
from workbench.brokers.exchange_http.wire import NEW_YORK, Json, is_identifier, stamp

_PAGE = 100
_PERIOD = re.compile(r"(\d{1,4})([DWMA])")
_DAYS = {"D": 1, "W": 7, "M": 30, "A": 365}
# A daily point of Alpaca's carries the end of the extended session.
_DAY_END = time(20)
# No longer in Alpaca's document; alpaca-py still has both fields and sends null for them.
_RETIRED = frozenset({"dtbp_check", "pdt_check"})
_CONFIGURATION: dict[str, type | tuple[object, ...]] = {
    "disable_overnight_trading": bool,
    "dtbp_check": ("both", "entry", "exit"),
    "fractional_trading": bool,
    "max_margin_multiplier": ("2",),  # the engine's margin is Regulation T's, always
    "max_options_trading_level": (0, 1, 2, 3),
    "no_shorting": bool,
    "pdt_check": ("both", "entry", "exit"),
    "ptp_no_exception_entry": bool,
    "suspend_trade": bool,
    "trade_confirm_email": ("all", "none"),
}


class Account(Area):
    def __init__(self, venue: Venue) -> None:
        super().__init__(venue)
        self.add("GET", "/v2/account", self.funds)
        self.add("GET", "/v2/account/configurations", self.configuration)
        self.add("PATCH", "/v2/account/configurations", self.configure)
        self.add("GET", "/v2/account/activities", self.activities)
        self.add("GET", "/v2/account/activities/{activity_type}", self.activities_of_type)
        self.add("GET", "/v2/account/portfolio/history", self.history)

    async def funds(self, request: Request) -> Response:
        venue = self.venue
        shorting = venue.shorting and not venue.configuration["no_shorting"]
        shape = account_json(
            venue.exchange.account_name, stamp(venue.exchange.created_at), venue.funds(), shorting=shorting,
            suspended=bool(venue.configuration["suspend_trade"]),
        )  # fmt: skip
        return answer(shape)

    async def configuration(self, request: Request) -> Response:
        return answer(self.venue.configuration)

    async def configure(self, request: Request) -> Response:
        """Change settings; they last as long as the server."""
        body = read_body(await request.body())
        changes = {name: value for name, value in body.items() if not (value is None and name in _RETIRED)}
        for name, value in changes.items():
            allowed = _CONFIGURATION.get(name)
            if isinstance(allowed, tuple):
                right = any(type(value) is type(choice) and value == choice for choice in allowed)
            else:
                right = allowed is None or isinstance(value, allowed)
            if not right:
                raise problems.unprocessable(f"invalid {name}: {value!r}")
        self.venue.configuration.update({name: v for name, v in changes.items() if name in _CONFIGURATION})
        return answer(self.venue.configuration)

    async def activities(self, request: Request) -> Response:
        wanted = query(request)
        names = wanted.names("activity_types")
        category = wanted.optional_choice("category", ("trade_activity", "non_trade_activity"))
        if names is not None and category is not None:
            raise problems.malformed("category cannot be used with activity_types")
        if category is not None:
            names = [FILL] if category == "trade_activity" else sorted(KNOWN_TYPES - {FILL})
        return self._activities(wanted, names)

    async def activities_of_type(self, request: Request) -> Response:
        return self._activities(query(request), [str(request.path_params["activity_type"])])

    async def history(self, request: Request) -> Response:
        """Equity by session. Only the timeframe 1D exists here: the data is daily."""
        wanted = query(request)
        if wanted.choice("timeframe", ("1D", "1H", "15Min", "5Min", "1Min"), "1D") != "1D":
            raise problems.unprocessable("this exchange keeps equity by session: use timeframe 1D")
        wanted.choice("intraday_reporting", ("market_hours", "extended_hours", "continuous"), "market_hours")
        wanted.choice("pnl_reset", ("no_reset", "per_day"), "per_day")
        first, last = self._span(wanted)
        calendar = self.venue.calendar
        sessions = calendar.sessions(first, last) if first <= last else []
        before = calendar.previous(first) if sessions else last
        points = curve(self.venue.exchange, self.venue.market, [before, *sessions])
        return answer(_history_json(points, _flow_types(wanted)))

    def _activities(self, wanted: Parameters, names: Sequence[str] | None) -> Response:
        for name in names or ():
            if name not in KNOWN_TYPES:
                raise problems.unprocessable(f"invalid activity type: {name}")
        order_id = wanted.text("order_id")
        if order_id is not None and not is_identifier(order_id):
            raise problems.malformed(f"invalid order_id: {order_id!r}; it is the id of an order")
        page = self.venue.ledger.page(
            Wanted(
                types=None if names is None else frozenset(names),
                order_id=order_id and order_id.lower(),
                after=wanted.moment("after"),
                until=wanted.moment("until"),
                on=wanted.day("date"),
                newest_first=wanted.choice("direction", ("asc", "desc"), "desc") == "desc",
                token=wanted.text("page_token"),
                size=wanted.integer("page_size", _PAGE, 1, _PAGE),
            )
        )
        return answer(page)

    def _span(self, wanted: Parameters) -> tuple[date, date]:
        """First and last session of the history: of start, end and period, two at most are given."""
        start = wanted.moment("start") or wanted.moment("date_start")
        end = wanted.moment("end") or wanted.moment("date_end")
        period = wanted.text("period")
        if start is not None and end is not None and period is not None:
            raise problems.malformed("only two of start, end and period are accepted")
        match = _PERIOD.fullmatch(period or "1M")
        if match is None or int(match[1]) == 0:
            raise problems.malformed(f"invalid period: {period!r}; write 7D, 4W, 1M or 1A")
        length = timedelta(days=int(match[1]) * _DAYS[match[2]])
        newest, oldest = self.venue.last_session, self.venue.calendar.first + timedelta(days=7)
        if end is not None:
            last = min(end.date(), newest)
        else:
            last = min(start.date() + length, newest) if start is not None and period else newest
        first = start.date() if start is not None else _earlier(last, length)
        opened = min((a.session for _, a in self.venue.exchange.activities()), default=oldest)
        return max(first, opened, oldest), max(last, oldest)


def _earlier(day: date, length: timedelta) -> date:
    try:
        return day - length
    except OverflowError:
        return date.min


def _flow_types(wanted: Parameters) -> set[str] | None:
    """The cash flows to list; None for all of them."""
    names = wanted.names("cashflow_types") or ["NONE"]
    if names == ["ALL"]:
        return None
    if names == ["NONE"]:
        return set()
    for name in names:
        if name not in KNOWN_TYPES:
            raise problems.malformed(f"invalid cashflow_types: {name}")
    return set(names)


def _history_json(points: Sequence[Point], flow_types: set[str] | None) -> Json:
    """The points after the first, which is the base; profit and loss leave deposits out."""
    base, shown = points[0], points[1:]
    profits, shares, earlier = [], [], base.equity
    for point in shown:
        profit = point.equity - earlier - point.flows.get("CSD", Decimal(0))
        profits.append(float(profit))
        shares.append(float(round(profit / earlier, 10)) if earlier else 0.0)
        earlier = point.equity
    found = {name for point in shown for name in point.flows}
    names = sorted(found if flow_types is None else found & flow_types)
    return {
        "timestamp": [int(datetime.combine(p.session, _DAY_END, NEW_YORK).timestamp()) for p in shown],
        "equity": [float(p.equity) for p in shown],
        "profit_loss": profits,
        "profit_loss_pct": shares,
        "base_value": float(base.equity),
        "base_value_asof": base.session.isoformat(),
        "timeframe": "1D",
        "cashflow": {name: [float(p.flows.get(name, 0)) for p in shown] for name in names},
    }
