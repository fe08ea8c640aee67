from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from support.markets import StaticMarket, bar

from workbench.brokers.exchange.floor import Floor
from workbench.brokers.exchange.store import Store
from workbench.brokers.exchange.ticket import Ticket
from workbench.brokers.market import CorporateAction
from workbench.brokers.matching import Costs
from workbench.brokers.paper import PaperExchange
from workbench.calendars import calendar
from workbench.domain import ActivityKind, Fill, OrderIntent, OrderState, OrderType, Side
from workbench.errors import BrokerError, BrokerUnavailable, ConfigError, OrderRejected, OrderUnknown

MON, TUE, WED, THU = (date(2013, 1, day) for day in (7, 8, 9, 10))
BARS = {
    "IBM": {
        MON: bar("193.40", "193.78", "192.34", "192.87"),
        TUE: bar("192.92", "193.30", "191.60", "192.60"),
        WED: bar("193.49", "193.49", "191.65", "192.32"),
        THU: bar("192.65", "192.96", "191.28", "192.96"),
    },
    # Splits 3 for 2 on Wednesday, pays 0.50 on Thursday.
    "SPL": {
        MON: bar("90", "91", "89", "90"),
        TUE: bar("90", "91", "89", "90"),
        WED: bar("61", "62", "60", "61"),
        THU: bar("61", "62", "60", "61"),
    },
    "GAP": {MON: bar("10", "10", "10", "10")},
}
ACTIONS = {
    WED: [CorporateAction("SPL", "split", Decimal("1.5"))],
    THU: [CorporateAction("SPL", "dividend", Decimal("0.50"))],
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., PaperExchange]]:
    """Open the exchange; opened again it is the same account."""
    opened: list[PaperExchange] = []

    def opener(name: str = "paper", cash: str = "100000") -> PaperExchange:
        exchange = PaperExchange(
            tmp_path / "exchange" / "paper.sqlite",
            account=name,
            market=StaticMarket(BARS, ACTIONS),
            calendar=calendar("XNYS"),
            costs=Costs(Decimal("0.005"), Decimal("1.00"), Decimal(2)),
            starting_cash=Decimal(cash),
            opened=MON,
            fractional=False,
        )
        opened.append(exchange)
        return exchange

    yield opener
    for exchange in opened:
        exchange.close()


def order(identifier: str, symbol: str, side: Side, quantity: str, limit: str | None = None) -> OrderIntent:
    kind = OrderType.MARKET if limit is None else OrderType.LIMIT
    price = None if limit is None else Decimal(limit)
    return OrderIntent(identifier, symbol, side, Decimal(quantity), Decimal(100), "s", 0, kind, price)


def test_an_account_opens_with_one_deposit(start: Callable[..., PaperExchange]) -> None:
    start().close()
    exchange = start()
    assert exchange.account().cash == Decimal(100_000)
    assert [(a.kind, a.cash_delta) for a in exchange.feed(None).activities] == [
        (ActivityKind.DEPOSIT, Decimal(100_000))
    ]


def test_an_order_fills_at_the_next_open_with_slippage_and_commission(
    start: Callable[..., PaperExchange],
) -> None:
    exchange = start()
    assert exchange.submit(order("c1", "IBM", Side.BUY, "300")).state is OrderState.ACCEPTED
    assert exchange.account().cash == Decimal(100_000)
    exchange.advance(TUE)
    (fill,) = exchange.feed(None).fills
    # 192.92 x 1.0002 = 192.958584; 300 x 192.958584 = 57,887.5752; fee 300 x 0.005 = 1.50.
    assert (fill.price, fill.fee, fill.session) == (Decimal("192.958584"), Decimal("1.500"), TUE)
    assert exchange.account().cash == Decimal("42110.9248")
    assert exchange.account().holdings == {"IBM": Decimal(300)}
    found = exchange.order("c1")
    assert found is not None
    assert (found.state, found.average_price) == (OrderState.FILLED, Decimal("192.958584"))


def test_going_to_a_session_twice_trades_it_once(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.submit(order("c1", "IBM", Side.BUY, "300"))
    exchange.advance(WED)
    exchange.close()
    again = start()
    again.advance(WED)
    assert [fill.session for fill in again.feed(None).fills] == [TUE]


def test_the_exchange_does_not_go_back(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.advance(WED)
    with pytest.raises(ConfigError, match="at the close of 2013-01-09; it cannot go back to 2013-01-08"):
        exchange.advance(TUE)


def test_an_order_that_cannot_fill_expires_at_the_close(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.submit(order("c1", "GAP", Side.BUY, "10"))
    exchange.submit(order("c2", "IBM", Side.BUY, "10", limit="150"))
    exchange.advance(TUE)
    assert [o.state for o in (exchange.order("c1"), exchange.order("c2")) if o] == [OrderState.EXPIRED] * 2
    assert exchange.open_orders() == []
    assert exchange.account().cash == Decimal(100_000)


def test_a_split_multiplies_shares_and_pays_the_fraction_and_a_dividend_pays_cash(
    start: Callable[..., PaperExchange],
) -> None:
    exchange = start()
    exchange.submit(order("c1", "SPL", Side.BUY, "101"))
    exchange.advance(TUE)
    before = exchange.account().cash
    exchange.advance(WED)
    # 101 x 1.5 = 151.5: 151 whole shares, half a share paid out at the open of 61.
    assert exchange.account().holdings == {"SPL": Decimal(151)}
    assert exchange.account().cash == before + Decimal("30.5")
    exchange.advance(THU)
    assert exchange.account().cash == before + Decimal("30.5") + Decimal("75.5")
    kinds = [a.kind for a in exchange.feed(None).activities]
    assert kinds == [
        ActivityKind.DEPOSIT,
        ActivityKind.SPLIT,
        ActivityKind.CASH_IN_LIEU,
        ActivityKind.DIVIDEND,
    ]


def test_actions_of_days_without_a_session_apply_at_the_next_open(tmp_path: Path) -> None:
    """A dividend dated on a Saturday; a split while the symbol does not trade pays the fraction at its last close."""
    friday, saturday, monday = date(2013, 1, 11), date(2013, 1, 12), date(2013, 1, 14)
    market = StaticMarket(
        {"X": {date(2013, 1, 10): bar("30", "30", "30", "30"), friday: bar("30", "30", "30", "30")}},
        {
            saturday: [CorporateAction("X", "dividend", Decimal(1))],
            monday: [CorporateAction("X", "split", Decimal("1.5"))],
        },
    )
    exchange = PaperExchange(
        tmp_path / "x.sqlite", account="paper", market=market, calendar=calendar("XNYS"),
        costs=Costs(Decimal(0), Decimal(0), Decimal(0)), starting_cash=Decimal(1000), opened=date(2013, 1, 10),
    )  # fmt: skip
    exchange.submit(order("c1", "X", Side.BUY, "11"))
    exchange.advance(friday)
    exchange.advance(monday)
    # 1000 - 11 x 30 + 11 x 1.00 dividend + half a share at 30 / 1.5 = 20; 11 x 1.5 = 16.5.
    assert exchange.account().cash == Decimal(1000 - 330 + 11 + 10)
    assert exchange.account().holdings == {"X": Decimal(16)}
    assert market.last_close("X", monday) == (friday, Decimal(20))
    exchange.close()


def test_an_order_waiting_over_a_split_is_split_too(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.advance(TUE)
    exchange.submit(order("c1", "SPL", Side.BUY, "101"))
    exchange.submit(order("c2", "SPL", Side.BUY, "10", limit="93"))
    exchange.advance(WED)
    # 151.5 rounded down; the limit of 93 becomes 62, and the open of 61 is better.
    assert [(f.quantity, f.price) for f in exchange.feed(None).fills] == [
        (Decimal(151), Decimal("61.0122")),
        (Decimal(15), Decimal(61)),
    ]


def test_the_same_id_is_never_taken_twice(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.submit(order("c1", "IBM", Side.BUY, "1"))
    with pytest.raises(OrderUnknown, match="c1 exists already"):
        exchange.submit(order("c1", "IBM", Side.BUY, "1"))
    assert len(exchange.open_orders()) == 1


@pytest.mark.parametrize(
    ("intent", "message"),
    [
        (order("c", "XYZ", Side.BUY, "1"), "XYZ is not listed here"),
        (order("c", "IBM", Side.BUY, "NaN"), "positive whole number"),
        (order("c", "IBM", Side.BUY, "Infinity"), "positive whole number"),
        (order("c", "IBM", Side.BUY, "-1"), "positive whole number"),
        (order("c", "IBM", Side.BUY, "0"), "positive whole number"),
        (order("c", "IBM", Side.BUY, "0.5"), "positive whole number"),
        (order("c", "IBM", Side.BUY, "1", limit="0"), "positive limit price"),
        (order("c", "IBM", Side.BUY, "1", limit="NaN"), "positive limit price"),
        (order("c", "IBM", Side.SELL, "1"), "insufficient shares: 1 IBM to sell, 0 free"),
        # Twice the equity of 100,000 buys 1036 shares at 192.87, not 1037.
        (order("c", "IBM", Side.BUY, "1037"), "insufficient buying power"),
    ],
)
def test_a_bad_order_is_refused_and_leaves_nothing(
    start: Callable[..., PaperExchange], intent: OrderIntent, message: str
) -> None:
    exchange = start()
    with pytest.raises(OrderRejected, match=message):
        exchange.submit(intent)
    assert exchange.order("c") is None


def test_shares_can_be_sold_once(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.submit(order("c1", "IBM", Side.BUY, "10"))
    exchange.advance(TUE)
    exchange.submit(order("c2", "IBM", Side.SELL, "6"))
    with pytest.raises(OrderRejected, match="5 IBM to sell, 4 free"):
        exchange.submit(order("c3", "IBM", Side.SELL, "5"))


def test_a_cancelled_order_does_not_fill(start: Callable[..., PaperExchange]) -> None:
    exchange = start()
    exchange.submit(order("c1", "IBM", Side.BUY, "10"))
    cancelled = exchange.cancel("c1")
    assert cancelled is not None
    assert cancelled.state is OrderState.CANCELED
    exchange.advance(TUE)
    assert exchange.feed(None).fills == []
    assert exchange.cancel("unheard of") is None


def test_a_crash_in_the_middle_of_a_session_leaves_the_exchange_before_it(
    start: Callable[..., PaperExchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = start()
    exchange.submit(order("c1", "IBM", Side.BUY, "10"))
    exchange.submit(order("c2", "SPL", Side.BUY, "10"))
    execute = Floor.execute

    def fail_at_the_second(floor: Floor, ticket: Ticket, quantity: Decimal, price: Decimal, at: datetime) -> Fill:
        if ticket.client_order_id == "c2":
            raise ZeroDivisionError
        return execute(floor, ticket, quantity, price, at)

    monkeypatch.setattr(Floor, "execute", fail_at_the_second)
    with pytest.raises(ZeroDivisionError):
        exchange.advance(TUE)
    monkeypatch.undo()
    assert (exchange.account().session, len(exchange.open_orders())) == (MON, 2)
    exchange.close()
    again = start()
    assert (again.account().session, again.feed(None).fills, len(again.open_orders())) == (MON, [], 2)
    again.advance(TUE)
    assert len(again.feed(None).fills) == 2


def test_an_exchange_file_of_another_account_is_refused(start: Callable[..., PaperExchange]) -> None:
    start("paper")
    with pytest.raises(BrokerError, match="belongs to account paper, not other"):
        start("other")


def test_a_broken_exchange_file_is_one_error(tmp_path: Path, start: Callable[..., PaperExchange]) -> None:
    (tmp_path / "exchange").mkdir()
    (tmp_path / "exchange" / "paper.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(BrokerUnavailable, match=r"paper\.sqlite"):
        start()


def test_a_failure_of_the_store_while_an_order_is_taken_leaves_it_in_doubt(
    start: Callable[..., PaperExchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    exchange = start()

    def fail(store: Store, ticket: Ticket) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Store, "add", fail)
    with pytest.raises(OrderUnknown, match="disk I/O error"):
        exchange.submit(order("c1", "IBM", Side.BUY, "1"))


def test_something_has_changed_until_the_feed_has_told_it(start: Callable[..., PaperExchange]) -> None:
    paper = start()
    assert paper.changed()
    cursor = paper.feed(None).cursor
    assert not paper.changed()
    paper.submit(order("c1", "IBM", Side.BUY, "1"))
    assert paper.changed()
    cursor = paper.feed(cursor).cursor
    assert not paper.changed()
    paper.advance(TUE)
    assert paper.changed()
    assert [fill.client_order_id for fill in paper.feed(cursor).fills] == ["c1"]


def test_a_bust_is_news_that_only_the_drop_copy_tells(start: Callable[..., PaperExchange]) -> None:
    paper = start()
    paper.submit(order("c1", "IBM", Side.BUY, "1"))
    paper.advance(TUE)
    cursor = paper.feed(None).cursor
    paper.exchange.bust("f1")
    assert paper.changed()
    assert (list(paper.feed(cursor).fills), list(paper.drop_copy(MON))) == ([], [])


def test_the_embedded_broker_has_no_clock_pace_or_opening_of_its_own(start: Callable[..., PaperExchange]) -> None:
    paper = start()
    assert (paper.clock(), paper.pace(), paper.opening()) == (None, None, None)


@pytest.mark.parametrize("cursor", ["", "f1", "20130107::uuid", "f1.a-1"])
def test_another_venues_cursor_is_refused(start: Callable[..., PaperExchange], cursor: str) -> None:
    paper = start()
    with pytest.raises(BrokerError, match="is not a cursor of the paper exchange"):
        paper.feed(cursor)
