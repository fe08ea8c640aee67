"""The adapter while the paper exchange plays faults: what became of an order, and whether the feed still adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from brokers.contract import CALENDAR, CASH, COSTS, MARKET, MON, TUE, Told, intent
from support.exchange_server import ExchangeServer

from workbench.brokers.alpaca import AlpacaBroker
from workbench.calendars import calendar
from workbench.clock import SystemClock
from workbench.domain import Bracket, OrderType, Side, TimeInForce
from workbench.errors import BrokerError, BrokerUnavailable, OrderRejected, OrderUnknown, RateLimited
from workbench.settings import AlpacaSettings

Open = Callable[..., AlpacaBroker]
PATIENCE_S = 60.0
POST = {"method": "POST", "path": "/v2/orders"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ExchangeServer]:
    with ExchangeServer(
        tmp_path, market=MARKET, opened=MON, costs=COSTS, starting_cash=CASH, trading_calendar=calendar(CALENDAR)
    ) as running:
        yield running


@pytest.fixture
def connect(server: ExchangeServer) -> Iterator[Open]:
    opened: list[AlpacaBroker] = []

    def opener(key: str = server.key, **changes: Any) -> AlpacaBroker:
        settings = AlpacaSettings(base_url=server.url, **{"stream": False, **changes})
        opened.append(
            AlpacaBroker(
                settings, account="paper", key=key, secret=server.secret, calendar=server.calendar, clock=SystemClock()
            )
        )
        return opened[-1]

    yield opener
    for broker in opened:
        broker.close()


@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "not accepted"])
@pytest.mark.parametrize(
    "fault",
    [{"kind": "status", "status": 504}, {"kind": "status", "status": 500}, {"kind": "drop"}, {"kind": "html"},
     {"kind": "truncated"}, {"kind": "hang"}],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)  # fmt: skip
def test_an_order_in_doubt_is_found_out_under_its_own_id(
    server: ExchangeServer, connect: Open, fault: dict[str, Any], accept: bool
) -> None:
    impatient = connect(read_timeout_s=0.5 if fault["kind"] == "hang" else 10.0)
    server.faults({**fault, **POST, "accept": accept})
    with pytest.raises(OrderUnknown):
        impatient.submit(intent("c1"))
    server.release()
    broker = connect()  # the time-out is the fault's alone: a busy machine may take longer to answer
    assert len(server.state()["played"]) == 1  # one POST only
    found = broker.order("c1")
    assert (found is not None) is accept
    if found is None:
        assert broker.submit(intent("c1")).client_order_id == "c1"
    else:
        with pytest.raises(OrderUnknown, match="of that id already"):
            broker.submit(intent("c1"))
    assert [order.client_order_id for order in broker.open_orders()] == ["c1"]


def test_a_replacement_in_doubt_is_found_out_under_its_own_id(server: ExchangeServer, connect: Open) -> None:
    broker = connect()
    terms: dict[str, Any] = {"type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC}
    broker.submit(intent("c1", limit_price="90", **terms))
    server.faults({"kind": "drop", "method": "PATCH", "accept": True})
    with pytest.raises(OrderUnknown):
        broker.submit(intent("c2", limit_price="91", replaces="c1", **terms))
    found, before = broker.order("c2"), broker.order("c1")
    assert found is not None
    assert before is not None
    assert (found.limit_price, before.replaced_by) == (91, "c2")


def test_a_refusal_and_a_limit_are_told_apart(server: ExchangeServer, connect: Open) -> None:
    broker = connect()
    server.faults({"kind": "reject", **POST}, {"kind": "rate_limit", "seconds": 30, **POST})
    with pytest.raises(OrderRejected):
        broker.submit(intent("c1"))
    with pytest.raises(RateLimited) as caught:
        broker.submit(intent("c1"))
    assert 1 <= caught.value.retry_after_s <= 60
    assert broker.order("c1") is None


def test_a_real_rate_limit_is_told_before_it_bites(tmp_path: Path) -> None:
    with ExchangeServer(tmp_path, market=MARKET, opened=MON, per_minute=3) as server:
        settings = AlpacaSettings(base_url=server.url, stream=False)
        broker = AlpacaBroker(
            settings, account="paper", key=server.key, secret=server.secret, calendar=server.calendar,
            clock=SystemClock(),
        )  # fmt: skip
        assert broker.order("c1") is None
        pace = broker.pace()
        assert pace is not None
        assert pace.remaining == 2
        assert 0 <= pace.reset_s <= 60
        broker.close()


def test_wrong_keys_are_refused_with_what_to_check(connect: Open) -> None:
    broker = connect(key="not-the-key")
    for call in (lambda: broker.submit(intent("c1")), broker.account, lambda: broker.feed(None)):
        with pytest.raises(BrokerError, match="check that APCA_API_KEY_ID") as caught:
            call()
        assert not isinstance(caught.value, BrokerUnavailable)


def test_a_venue_that_is_gone_took_nothing_and_is_found_again(server: ExchangeServer, connect: Open) -> None:
    broker = connect()
    assert broker.order("c1") is None
    server.stop()
    with pytest.raises(BrokerUnavailable):
        broker.submit(intent("c1"))
    with pytest.raises(BrokerUnavailable):
        broker.feed(None)
    server.start()
    assert broker.submit(intent("c1")).client_order_id == "c1"


@pytest.mark.parametrize(
    "fault",
    [{"kind": "duplicate_fills"}, {"kind": "reorder_fills"}, {"kind": "partial_fills", "pieces": 3},
     {"kind": "late_fills", "polls": 2}],
    ids=lambda fault: str(fault["kind"]),
)  # fmt: skip
def test_fills_told_wrongly_add_up_all_the_same(server: ExchangeServer, connect: Open, fault: dict[str, Any]) -> None:
    broker = connect()
    told = Told(broker)
    server.faults({**fault, "times": None})
    for number in range(4):
        broker.submit(intent(f"c{number}", quantity=12))
    server.advance(TUE)
    for _ in range(6):
        told.listen(connect() if fault["kind"] == "late_fills" else broker)
    assert sum(fill.quantity for fill in told.fills) == 48
    assert told.agrees_with(broker)
    assert {fill.client_order_id for fill in told.fills} == {"c0", "c1", "c2", "c3"}
    assert sorted(fill.fill_id for fill in broker.drop_copy(TUE)) == sorted(fill.fill_id for fill in told.fills)


def test_more_than_a_page_of_executions_and_fees_is_told(server: ExchangeServer, connect: Open) -> None:
    broker = connect()
    told = Told(broker)
    for number in range(130):
        broker.submit(intent(f"c{number}", quantity=1))
    server.advance(TUE)
    told.listen(connect())
    assert len(told.fills) == 130
    assert told.agrees_with(broker)
    told.listen(connect())
    assert len(told.fills) == 130


def test_the_exits_of_many_brackets_are_all_listed(server: ExchangeServer, connect: Open) -> None:
    broker = connect()
    for number in range(170):
        bracket = Bracket(Decimal(120), Decimal(80))
        broker.submit(intent(f"c{number}", quantity=1, bracket=bracket, time_in_force=TimeInForce.GTC))
    assert len(broker.open_orders()) == 510
    server.advance(TUE)
    after = connect().open_orders()
    assert len(after) == 340
    assert {order.parent_id for order in after} == {f"c{number}" for number in range(170)}


def test_a_skewed_clock_is_seen(server: ExchangeServer, connect: Open) -> None:
    broker, ours = connect(), SystemClock()

    def ahead_s() -> tuple[float, float]:
        """How far the venue's clock is ahead of ours, and how much of that the round trip leaves in doubt (s)."""
        before = ours.monotonic()
        theirs = broker.clock()
        return (theirs - ours.now()).total_seconds(), ours.monotonic() - before

    plain_s, doubt_s = ahead_s()
    server.faults({"kind": "skew", "seconds": 300})
    skewed_s, more_doubt_s = ahead_s()
    assert skewed_s - plain_s == pytest.approx(300, abs=doubt_s + more_doubt_s)


# ---- the stream ----------------------------------------------------------------------------------


def announced(broker: AlpacaBroker) -> None:
    """Wait until the stream has announced something, then read it."""
    assert broker._updates.heard.wait(PATIENCE_S)
    assert broker.changed()


def test_the_stream_announces_orders_and_executions(server: ExchangeServer, connect: Open) -> None:
    broker = connect(stream=True, poll_s=3600)
    told = Told(broker)
    assert broker.changed()  # it connects
    announced(broker)
    told.listen(broker)
    assert not broker.changed()
    broker.submit(intent("c1"))
    announced(broker)
    told.listen(broker)
    server.advance(TUE)
    announced(broker)
    told.listen(broker)
    assert [fill.client_order_id for fill in told.fills] == ["c1"]


def test_a_stream_that_was_cut_comes_back_and_announces_what_was_missed(server: ExchangeServer, connect: Open) -> None:
    broker = connect(stream=True, poll_s=3600)
    told = Told(broker)
    assert broker.changed()
    announced(broker)
    told.listen(broker)
    server.cut()
    announced(broker)  # connected again
    broker.submit(intent("c1", Side.BUY))
    server.advance(TUE)
    announced(broker)
    told.listen(broker)
    assert [fill.client_order_id for fill in told.fills] == ["c1"]
    assert broker._updates.up
