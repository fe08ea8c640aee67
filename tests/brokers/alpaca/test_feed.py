"""Activities since a cursor, at a venue that lists them by the ids' times as Alpaca documents it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from brokers.alpaca.examples import ACCOUNT, CLOCK, POSITION, equity, execution, venue_id
from brokers.alpaca.venue import Request, Venue, refusal, reply

from workbench.brokers.alpaca import AlpacaBroker
from workbench.clock import ManualClock
from workbench.domain import ActivityKind
from workbench.errors import BrokerError, BrokerUnavailable

Serve = Callable[[Callable[[Request], object]], Venue]
Connect = Callable[..., AlpacaBroker]
Raw = dict[str, Any]
D = Decimal


class Account:
    """Activities, orders and positions of a venue. Pages follow the order of the ids, whenever something came in."""

    def __init__(self, orders: int = 10) -> None:
        self.activities: list[Raw] = []
        self.orders = {venue_id(n): equity(n) for n in range(orders)}
        self.cash = "1000"
        self.positions: list[Raw] = []
        self.asked: list[dict[str, str]] = []
        self.happens: Callable[[], None] = lambda: None

    def __call__(self, request: Request) -> object:
        name = request.path.removeprefix("/v2/")
        if name == "account/activities":
            self.asked.append(request.query)
            return reply(self.page(request.query))
        if name == "account":
            self.happens()
            return reply({**ACCOUNT, "cash": self.cash})
        if name == "orders":
            return reply(list(self.orders.values())[: int(request.query["limit"])])
        if name.startswith("orders/"):
            raw = self.orders.get(name.removeprefix("orders/"))
            return refusal(404, 40410000, "order not found") if raw is None else reply(raw)
        return reply({"positions": self.positions, "clock": CLOCK}[name])

    def page(self, query: dict[str, str]) -> list[Raw]:
        found = sorted(self.activities, key=lambda raw: str(raw["id"]))
        if query["direction"] == "desc":
            found.reverse()
            found = [raw for raw in found if "page_token" not in query or raw["id"] < query["page_token"]]
        else:
            found = [raw for raw in found if "page_token" not in query or raw["id"] > query["page_token"]]
        types, after = query.get("activity_types"), query.get("after", "")
        if query.get("category") == "non_trade_activity":
            found = [raw for raw in found if raw["activity_type"] != "FILL"]
        found = [raw for raw in found if types in (None, raw["activity_type"]) and _created(raw) > after]
        return found[: int(query["page_size"])]

    def fill(self, time: str, tail: str = "a", order: int = 1, **changes: Any) -> str:
        """An execution at ``HH:MM:SS.mmm`` of New York on 24 June 2025; its id."""
        digits = time.replace(":", "").replace(".", "")
        identifier = f"20250624{digits}::{tail}"
        hour = int(time[:2]) + 4  # New York is four hours behind UTC in summer
        at = f"2025-06-24T{hour:02d}{time[2:]}Z"
        self.activities.append(execution(identifier, order, transaction_time=at, **changes))
        return identifier

    def entry(self, kind: str, day: str, tail: str, amount: str, created: str) -> str:
        """Anything else; its id carries the midnight of its day."""
        identifier = f"{day.replace('-', '')}000000000::{tail}"
        self.activities.append(
            {"activity_type": kind, "id": identifier, "date": day, "net_amount": amount, "created_at": created}
        )
        return identifier


def _created(raw: Raw) -> str:
    return str(raw.get("created_at") or raw["transaction_time"])


def ids(feed: Any) -> list[str]:
    return [fill.fill_id for fill in feed.fills] + [activity.activity_id for activity in feed.activities]


def test_each_execution_is_told_once_with_our_id_of_its_order(serve: Serve, connect: Connect) -> None:
    account = Account()
    first = account.fill("09:30:00.000", order=3, qty="1.5", price="10.005", side="sell")
    broker = connect(serve(account))
    feed = broker.feed(None)
    (fill,) = feed.fills
    assert (fill.fill_id, fill.client_order_id, fill.quantity, fill.price) == (first, "c3", D("1.5"), D("10.005"))
    assert (fill.session, fill.fee, fill.cash_delta) == (date(2025, 6, 24), 0, D("15.0075"))
    second = account.fill("09:31:00.000")
    again = broker.feed(feed.cursor)
    assert ids(again) == [second]
    assert ids(broker.feed(again.cursor)) == []
    assert broker.feed(again.cursor).cursor == again.cursor


def test_a_quiet_feed_costs_one_call_and_keeps_its_cursor(serve: Serve, connect: Connect) -> None:
    account = Account()
    for number in range(150):
        account.fill("09:30:00.000", f"{number:03d}")
    broker = connect(serve(account))
    cursor = broker.feed(None).cursor
    account.asked.clear()
    assert broker.feed(cursor).cursor == cursor
    assert len(account.asked) == 1


@pytest.mark.parametrize("count", [99, 100, 101, 350])
def test_every_page_of_activities_is_read(serve: Serve, connect: Connect, count: int) -> None:
    account = Account()
    expected = [account.fill("09:30:00.000", f"{number:04d}") for number in range(count)]
    feed = connect(serve(account)).feed(None)
    assert ids(feed) == expected


def test_a_cursor_is_good_for_another_process(serve: Serve, connect: Connect) -> None:
    account = Account()
    account.fill("09:30:00.000", "b")
    account.entry("FEE", "2025-06-24", "f", "-0.02", "2025-06-24T14:00:00Z")
    venue = serve(account)
    cursor = connect(venue).feed(None).cursor
    other = connect(venue)
    assert ids(other.feed(cursor)) == []
    new = account.fill("16:00:00.000", "z")
    assert ids(other.feed(cursor)) == [new]
    assert ids(connect(venue).feed(cursor)) == [new]


def test_executions_of_one_millisecond_are_all_told_whichever_comes_first(serve: Serve, connect: Connect) -> None:
    account = Account()
    account.fill("09:30:00.000", "m")
    venue = serve(account)
    broker = connect(venue)
    cursor = broker.feed(None).cursor
    before, after = account.fill("09:30:00.000", "a"), account.fill("09:30:00.000", "z")
    assert sorted(ids(connect(venue).feed(cursor))) == [before, after]


def test_a_late_execution_is_found_when_the_list_is_read_again(
    serve: Serve, connect: Connect, clock: ManualClock
) -> None:
    account = Account()
    account.fill("09:35:00.000")
    broker = connect(serve(account))
    cursor = broker.feed(None).cursor
    late = account.fill("09:30:00.000", "0")
    clock.advance(31)
    assert broker.changed()
    feed = broker.feed(cursor)
    assert ids(feed) == [late]
    clock.advance(31)
    assert ids(broker.feed(feed.cursor)) == []


def test_a_fee_dated_before_what_was_read_is_found_by_its_creation(
    serve: Serve, connect: Connect, clock: ManualClock
) -> None:
    account = Account()
    account.fill("09:30:00.000")
    account.fill("15:59:00.000")
    broker = connect(serve(account))
    cursor = broker.feed(None).cursor
    account.entry("FEE", "2025-06-24", "fee", "-0.02", "2025-06-25T06:00:00Z")
    clock.advance(3601)
    feed = broker.feed(cursor)
    assert [(a.kind, a.symbol, a.cash_delta, a.session) for a in feed.activities] == [
        (ActivityKind.FEE, "", D("-0.02"), date(2025, 6, 24))
    ]
    clock.advance(3601)
    again = broker.feed(feed.cursor)
    assert ids(again) == []
    assert again.cursor == feed.cursor


def test_the_cursor_does_not_grow_with_the_days(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    account = Account()
    for number in range(400):
        account.fill(f"{10 + number // 100:02d}:{number % 60:02d}:00.000", f"{number:04d}")
    for day in range(1, 24):
        account.entry("FEE", f"2025-06-{day:02d}", "fee", "-0.02", f"2025-06-{day:02d}T06:00:00Z")
    feed = connect(serve(account)).feed(None)
    assert len(ids(feed)) == 423
    # 15 minutes of the last hour's hundred, each minute has one or two; and the fees of seven days.
    assert len(feed.cursor) < 2000


def test_an_activity_listed_twice_is_told_once(serve: Serve, connect: Connect) -> None:
    account = Account()
    first = account.fill("09:30:00.000")
    account.activities *= 2
    assert ids(connect(serve(account)).feed(None)) == [first]


def test_the_orders_of_a_burst_are_looked_up_together(serve: Serve, connect: Connect) -> None:
    account = Account(orders=60)
    for number in range(60):
        account.fill("09:30:00.000", f"{number:03d}", order=number)
    venue = serve(account)
    feed = connect(venue).feed(None)
    assert [fill.client_order_id for fill in feed.fills] == [f"c{number}" for number in range(60)]
    assert len([line for line in venue.lines() if "orders" in line]) == 1


@pytest.mark.parametrize("order", [venue_id(77), "manual-1"])
def test_a_trade_without_an_order_keeps_the_venues_id(serve: Serve, connect: Connect, order: str) -> None:
    account = Account()
    account.fill("09:30:00.000")
    account.activities[0]["order_id"] = order
    (fill,) = connect(serve(account)).feed(None).fills
    assert fill.client_order_id == order


def test_a_feed_that_fails_half_way_is_told_whole_the_next_time(serve: Serve, connect: Connect) -> None:
    account = Account()
    first = account.fill("09:30:00.000")
    fee = account.entry("FEE", "2025-06-24", "fee", "-0.02", "2025-06-24T14:00:00Z")
    venue = serve(account)
    broker = connect(venue)
    venue.answer = lambda r: reply("", 502) if "/orders/" in r.path else account(r)
    with pytest.raises(BrokerUnavailable):
        broker.feed(None)
    venue.answer = account
    assert sorted(ids(broker.feed(None))) == sorted([first, fee])


def test_a_venue_that_lists_the_same_page_for_ever_is_not_followed(serve: Serve, connect: Connect) -> None:
    account = Account()
    for number in range(100):
        account.fill("09:30:00.000", f"{number:03d}")
    venue = serve(lambda r: reply(account.activities) if "activities" in r.path else account(r))
    with pytest.raises(BrokerUnavailable, match="no activities past"):
        connect(venue).feed(None)


@pytest.mark.parametrize("cursor", ["", "20250624093000000::a", "[]", '{"token": 1}'])
def test_a_cursor_that_is_not_ours_is_refused(serve: Serve, connect: Connect, cursor: str) -> None:
    with pytest.raises(BrokerError, match="cursor"):
        connect(serve(Account())).feed(cursor)


@pytest.mark.parametrize("change", [{"id": None}, {"qty": "NaN"}, {"side": ""}, {"transaction_time": "noon"}])
def test_an_execution_that_cannot_be_read_is_no_execution(serve: Serve, connect: Connect, change: Raw) -> None:
    account = Account()
    account.fill("09:30:00.000")
    broker = connect(serve(lambda r: reply([account.activities[0] | change]) if "activities" in r.path else account(r)))
    with pytest.raises(BrokerUnavailable, match="cannot be read"):
        broker.feed(None)


def test_the_drop_copy_is_every_execution_of_the_sessions_as_listed_now(serve: Serve, connect: Connect) -> None:
    account = Account()
    account.activities.append(execution("20250620155900000::x", 2, transaction_time="2025-06-20T19:59:00Z"))
    account.activities.append(execution("20250623155900000::y", 2, transaction_time="2025-06-23T19:59:00Z"))
    account.entry("DIV", "2025-06-24", "d", "1", "2025-06-24T14:00:00Z")
    account.fill("09:30:00.000", "z")
    broker = connect(serve(account))
    broker.feed(None)
    assert [f.fill_id[-1] for f in broker.drop_copy(date(2025, 6, 23))] == ["y", "z"]
    assert [f.fill_id[-1] for f in broker.drop_copy(date(2025, 6, 24))] == ["z"]
    del account.activities[-1]  # taken back
    assert [f.fill_id[-1] for f in broker.drop_copy(date(2025, 6, 23))] == ["y"]


def test_the_fee_of_an_execution_that_only_the_drop_copy_has_is_told_next(serve: Serve, connect: Connect) -> None:
    account = Account()
    account.fill("09:30:00.000", "a")
    account.fill("16:00:00.000", "z")  # which settles everything of the morning
    broker = connect(serve(account))
    cursor = broker.feed(None).cursor
    late = account.fill("09:30:00.000", "0")
    fee = account.entry("FEE", "2025-06-24", "fee", "-1", "2025-06-24T13:30:00Z")
    assert ids(broker.feed(cursor)) == []
    assert late in [fill.fill_id for fill in broker.drop_copy(date(2025, 6, 24))]
    assert ids(broker.feed(cursor)) == [fee]


def test_the_opening_is_what_is_held_and_where_the_feed_begins(serve: Serve, connect: Connect) -> None:
    account = Account()
    account.fill("09:30:00.000", "old")
    account.entry("CSD", "2025-06-20", "cash", "1000", "2025-06-20T12:00:00Z")
    account.positions = [POSITION, {**POSITION, "symbol": "T", "qty": "3.5", "side": "short"}]
    venue = serve(account)
    broker = connect(venue)
    held, cursor = broker.opening()
    assert (held.cash, held.holdings) == (1000, {"AAPL": 5, "T": D("-3.5")})
    assert ids(broker.feed(cursor)) == []
    new = account.fill("09:40:00.000", "new")
    assert ids(connect(venue).feed(cursor)) == [new]


def test_the_opening_of_an_account_without_a_history_tells_everything_after_it(serve: Serve, connect: Connect) -> None:
    account = Account()
    broker = connect(serve(account))
    _, cursor = broker.opening()
    first = account.fill("09:30:00.000")
    assert ids(broker.feed(cursor)) == [first]


@pytest.mark.parametrize("count", [5, 100, 250])
def test_the_opening_counts_a_busy_morning_as_read(serve: Serve, connect: Connect, count: int) -> None:
    account = Account()
    account.fill("09:00:00.000", "early")
    for number in range(count):
        account.fill("09:30:00.000", f"{number:04d}")
    broker = connect(serve(account))
    _, cursor = broker.opening()
    assert ids(broker.feed(cursor)) == []


def test_a_trade_while_the_opening_is_read_makes_it_read_again(serve: Serve, connect: Connect) -> None:
    account = Account()
    trades = [lambda: account.fill("09:30:00.000"), lambda: account.fill("09:31:00.000")]

    def trade() -> None:
        if trades:
            trades.pop()()
            account.cash = str(int(account.cash) - 1)

    account.happens = trade
    held, cursor = connect(serve(account)).opening()
    assert held.cash == 998
    assert ids(connect(serve(account)).feed(cursor)) == []


def test_an_account_that_never_keeps_still_has_no_opening_yet(serve: Serve, connect: Connect) -> None:
    account = Account()

    def trade() -> None:
        account.cash = str(int(account.cash) - 1)

    account.happens = trade
    with pytest.raises(BrokerUnavailable, match="changed each time"):
        connect(serve(account)).opening()
