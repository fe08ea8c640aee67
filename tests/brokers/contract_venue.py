"""What the contract trades on and what it asks of a venue; see :mod:`brokers.contract`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

from support.markets import StaticMarket, bar

from workbench.brokers.base import Broker
from workbench.brokers.market import CorporateAction
from workbench.brokers.matching import Costs
from workbench.domain import (
    ActivityKind,
    Fill,
    Order,
    OrderIntent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)

CALENDAR = "XNYS"
MON, TUE, WED, THU, FRI = (date(2013, 1, day) for day in (7, 8, 9, 10, 11))
CASH = Decimal(100_000)
# A market order pays 2 basis points; an order costs 0.005 USD a share, 1 USD at least.
COSTS = Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2))
MAX_VOLUME_SHARE = Decimal("0.1")
_FLAT = bar("50", "50", "50", "50")
MARKET = StaticMarket(
    {
        "ABC": {
            MON: bar("100", "100", "100", "100"),
            TUE: bar("100", "106", "94", "102"),
            WED: bar("103", "108", "101", "107"),
            THU: bar("107", "110", "90", "95"),
            FRI: bar("95", "95", "95", "95"),
        },
        # Splits 3 for 2 on Wednesday and pays 0.50 on Thursday.
        "SPL": {
            MON: bar("90", "90", "90", "90"),
            TUE: bar("90", "90", "90", "90"),
            **dict.fromkeys((WED, THU, FRI), bar("60", "60", "60", "60")),
        },
        # 1,000 shares a session, of which an order gets 100.
        "THIN": dict.fromkeys((MON, TUE, WED, THU, FRI), bar("20", "20", "20", "20", "1000")),
        "FLAT": dict.fromkeys((MON, TUE, WED, THU, FRI), _FLAT),
    },
    {
        WED: [CorporateAction("SPL", "split", Decimal("1.5"))],
        THU: [CorporateAction("SPL", "dividend", Decimal("0.50"))],
    },
)

BUY, SELL = Side.BUY, Side.SELL
MARKET_ORDER, LIMIT, STOP, STOP_LIMIT, TRAILING = (
    OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP,
)  # fmt: skip
DAY, GTC, OPG, CLS = TimeInForce.DAY, TimeInForce.GTC, TimeInForce.OPG, TimeInForce.CLS
ACCEPTED, PARTIAL, FILLED = OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED, OrderState.FILLED
CANCELED, EXPIRED = OrderState.CANCELED, OrderState.EXPIRED

# Buys handed in after Monday's close, and what Tuesday (open 100, high 106, low 94, close 102) makes of them.
BUYS: list[tuple[dict[str, Any], OrderState, str | None]] = [
    ({}, FILLED, "100.02"),
    ({"time_in_force": GTC}, FILLED, "100.02"),
    ({"time_in_force": OPG}, FILLED, "100.02"),
    ({"time_in_force": CLS}, FILLED, "102.0204"),
    ({"type": LIMIT, "limit_price": "101"}, FILLED, "100"),  # the open is better
    ({"type": LIMIT, "limit_price": "95"}, FILLED, "95"),
    ({"type": LIMIT, "limit_price": "93"}, EXPIRED, None),
    ({"type": LIMIT, "limit_price": "93", "time_in_force": GTC}, ACCEPTED, None),
    ({"type": LIMIT, "limit_price": "100", "time_in_force": OPG}, FILLED, "100"),
    ({"type": LIMIT, "limit_price": "99", "time_in_force": OPG}, EXPIRED, None),
    ({"type": LIMIT, "limit_price": "103", "time_in_force": CLS}, FILLED, "102"),
    ({"type": LIMIT, "limit_price": "101", "time_in_force": CLS}, EXPIRED, None),
    ({"type": STOP, "stop_price": "105"}, FILLED, "105.021"),
    ({"type": STOP, "stop_price": "107"}, EXPIRED, None),
    ({"type": STOP, "stop_price": "107", "time_in_force": GTC}, ACCEPTED, None),
    ({"type": STOP_LIMIT, "stop_price": "105", "limit_price": "105.50"}, FILLED, "105.50"),
    ({"type": STOP_LIMIT, "stop_price": "105", "limit_price": "93"}, EXPIRED, None),  # triggered, limit not reached
    ({"type": STOP_LIMIT, "stop_price": "107", "limit_price": "108"}, EXPIRED, None),
]
# Sales of shares held, handed in after Tuesday's close at 102.
# Wednesday is 103, 108, 101, 107 (open, high, low, close); Thursday 107, 110, 90, 95.
SALES: list[tuple[dict[str, Any], date, OrderState, str | None]] = [
    ({}, WED, FILLED, "102.9794"),
    ({"type": LIMIT, "limit_price": "108"}, WED, FILLED, "108"),
    ({"type": LIMIT, "limit_price": "108.01"}, WED, EXPIRED, None),
    ({"type": STOP, "stop_price": "101.50"}, WED, FILLED, "101.4797"),
    ({"type": STOP_LIMIT, "stop_price": "101.50", "limit_price": "101.25"}, WED, FILLED, "101.25"),
    # The best price is 102, then 103 at the open: one per cent below are 101.97.
    ({"type": TRAILING, "trail_percent": "1"}, WED, FILLED, "101.949606"),
    ({"type": TRAILING, "trail_price": "5"}, WED, EXPIRED, None),
    # Wednesday's high of 108 leaves the stop at 103 for Thursday.
    ({"type": TRAILING, "trail_price": "5", "time_in_force": GTC}, THU, FILLED, "102.9794"),
]


class Venue(Protocol):
    """A fresh account at a venue, and what can be done to it from outside."""

    @property
    def broker(self) -> Broker:
        """The broker in use."""
        ...

    def reopen(self) -> Broker:
        """Close the broker and come back to the same account with a new one, which ``broker`` then is."""
        ...

    def open_market(self) -> None:
        """Go to the open of the next session."""
        ...

    def close_market(self) -> None:
        """Go to the close of the session that is open."""
        ...

    def manual_trade(self, symbol: str, side: Side, quantity: Decimal, price: Decimal) -> None:
        """Trade as somebody else with access to the account."""
        ...

    def bust(self, fill: Fill) -> None:
        """Take a trade back, named as the broker tells it."""
        ...

    def correct(self, fill: Fill, price: Decimal) -> None:
        """Give a trade another price."""
        ...


def intent(
    identifier: str, side: Side = BUY, quantity: object = 10, symbol: str = "ABC", **terms: Any
) -> OrderIntent:  # fmt: skip
    """An order; prices may be written as text."""
    prices = {name: Decimal(value) for name, value in terms.items() if type(value) is str and name != "replaces"}
    return OrderIntent(identifier, symbol, side, Decimal(str(quantity)), Decimal(100), "s", 0, **(terms | prices))


def go_to(venue: Venue, session: date) -> None:
    """Trade up to and including ``session``, and let the broker follow."""
    at = venue.broker.account().session
    while at is None or at < session:
        venue.open_market()
        venue.close_market()
        at = venue.broker.account().session
    venue.broker.advance(session)


def found(venue: Venue, identifier: str) -> Order:
    order = venue.broker.order(identifier)
    assert order is not None
    return order


def buy(venue: Venue, quantity: int = 10, symbol: str = "ABC") -> None:
    """Own shares after Tuesday's close, bought at its open."""
    venue.broker.submit(intent("bought", quantity=quantity, symbol=symbol))
    go_to(venue, TUE)


class Told:
    """Everything a broker's feed has told, checked to come once, summed into cash and shares."""

    def __init__(self, broker: Broker) -> None:
        self.fills: list[Fill] = []
        self.cash = Decimal(0)
        self.shares: dict[str, Decimal] = {}
        self.kinds: list[ActivityKind] = []
        self._seen: set[str] = set()
        self.cursor: str | None = None
        opening = broker.opening()
        if opening is not None:
            account, self.cursor = opening
            self.cash, self.shares = account.cash, dict(account.holdings)

    def listen(self, broker: Broker) -> None:
        feed = broker.feed(self.cursor)
        self.cursor = feed.cursor
        self._once(fill.fill_id for fill in feed.fills)
        self._once(f"activity {activity.activity_id}" for activity in feed.activities)
        for fill in feed.fills:
            self.fills.append(fill)
            self._move(fill.symbol, fill.side.sign * fill.quantity, fill.cash_delta)
        for activity in feed.activities:
            self.kinds.append(activity.kind)
            self._move(activity.symbol, activity.quantity_delta, activity.cash_delta)

    def agrees_with(self, broker: Broker) -> bool:
        account = broker.account()
        held = {symbol: quantity for symbol, quantity in self.shares.items() if quantity}
        return (self.cash, held) == (account.cash, dict(account.holdings))

    def _once(self, identifiers: Iterable[str]) -> None:
        for identifier in identifiers:
            assert identifier not in self._seen
            self._seen.add(identifier)

    def _move(self, symbol: str, quantity: Decimal, cash: Decimal) -> None:
        self.cash += cash
        if quantity:
            self.shares[symbol] = self.shares.get(symbol, Decimal(0)) + quantity
