"""Sessions, the clock, and when to ask for news."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from brokers.alpaca.examples import ACCOUNT, CLOCK, POSITION
from brokers.alpaca.venue import DROP, Request, Venue, refusal, reply

from workbench.brokers.alpaca import AlpacaBroker
from workbench.brokers.base import BrokerAccount
from workbench.clock import ManualClock
from workbench.errors import BrokerUnavailable, ConfigError, RateLimited

Serve = Callable[[Callable[[Request], object]], Venue]
Connect = Callable[..., AlpacaBroker]

TUESDAY = {
    **CLOCK,
    "is_open": True,
    "next_close": "2025-06-24T16:00:00-04:00",
    "next_open": "2025-06-25T09:30:00-04:00",
}
TUESDAY_NIGHT = {**TUESDAY, "is_open": False, "next_close": "2025-06-25T16:00:00-04:00"}
# The 4th of July 2025 is a Friday.
HOLIDAY = {
    **CLOCK,
    "is_open": False,
    "next_close": "2025-07-07T16:00:00-04:00",
    "next_open": "2025-07-07T09:30:00-04:00",
}


@pytest.mark.parametrize(
    ("clock_says", "session", "refused"),
    [
        (TUESDAY, date(2025, 6, 23), None),
        (TUESDAY, date(2025, 6, 24), None),
        (TUESDAY, date(2025, 6, 25), "has not come yet"),
        (TUESDAY, date(2025, 6, 20), "does not go back"),
        (TUESDAY_NIGHT, date(2025, 6, 24), None),
        (TUESDAY_NIGHT, date(2025, 6, 23), "does not go back"),
        (TUESDAY_NIGHT, date(2025, 6, 25), "has not come yet"),
        (HOLIDAY, date(2025, 7, 3), None),
        (HOLIDAY, date(2025, 7, 7), "has not come yet"),
    ],
)
def test_an_account_is_at_the_last_close_or_in_todays_session(
    serve: Serve, connect: Connect, clock_says: dict[str, Any], session: date, refused: str | None
) -> None:
    broker = connect(serve(lambda _: reply(clock_says)))
    if refused is None:
        broker.advance(session)
    else:
        with pytest.raises(ConfigError, match=refused):
            broker.advance(session)


@pytest.mark.parametrize(("clock_says", "session"), [(TUESDAY, 24), (TUESDAY_NIGHT, 24)])
def test_an_account_is_cash_and_shares_and_the_session(
    serve: Serve, connect: Connect, clock_says: dict[str, Any], session: int
) -> None:
    answers = {"/v2/account": ACCOUNT, "/v2/positions": [POSITION], "/v2/clock": clock_says}
    account = connect(serve(lambda request: reply(answers[request.path]))).account()
    # cash of the documented account is -23140.2: it trades on margin
    assert (str(account.cash), account.holdings) == ("-23140.2", {"AAPL": 5})
    assert account == BrokerAccount(account.cash, account.holdings, date(2025, 6, session))


@pytest.mark.parametrize(
    "answer", [{}, {"timestamp": "noon"}, {"timestamp": None}, [], "noon", {"is_open": True, "next_close": ""}]
)
def test_a_clock_that_cannot_be_read_is_no_clock(serve: Serve, connect: Connect, answer: object) -> None:
    broker = connect(serve(lambda _: reply(answer)))
    for call in (broker.clock, lambda: broker.advance(date(2025, 6, 24))):
        with pytest.raises(BrokerUnavailable):
            call()


@pytest.mark.parametrize(
    ("round_trips_s", "asked", "expected_s"),
    [
        ([1], 1, 0.5 + 0.5),  # half of it
        ([3, 1], 2, 0.5 + 0.5),  # the slow answer does not count
        ([4, 3, 5], 3, 0.5 + 1.5 + 5),  # none is fast: the second was the fastest, and ended five seconds ago
    ],
)
def test_the_venues_clock_is_the_fastest_answers_moved_on_by_half_its_round_trip(
    serve: Serve, connect: Connect, clock: ManualClock, round_trips_s: list[float], asked: int, expected_s: float
) -> None:
    left = list(round_trips_s)

    def answer(_: Request) -> object:
        clock.advance(left.pop(0))
        return reply({**CLOCK, "timestamp": "2025-06-24T09:50:00.5-04:00"})

    said = connect(serve(answer)).clock()
    assert said == datetime(2025, 6, 24, 13, 50, tzinfo=UTC) + timedelta(seconds=expected_s)
    assert len(round_trips_s) - len(left) == asked


def quiet(_: Request) -> object:
    return reply([])


def test_without_a_stream_it_is_time_to_ask_every_poll(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    broker = connect(serve(quiet), poll_s=2.0)
    assert broker.changed()
    cursor = broker.feed(None).cursor
    assert not broker.changed()
    clock.advance(1.9)
    assert not broker.changed()
    clock.advance(0.2)
    assert broker.changed()
    broker.feed(cursor)
    assert not broker.changed()


def test_a_venue_that_is_down_is_asked_at_the_same_pace(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    broker = connect(serve(lambda _: DROP), poll_s=2.0)
    with pytest.raises(BrokerUnavailable):
        broker.feed(None)
    assert not broker.changed()
    clock.advance(2)
    assert broker.changed()


def test_a_venue_that_wants_to_be_left_alone_is(serve: Serve, connect: Connect, clock: ManualClock) -> None:
    reset = str(int(clock.now().timestamp()) + 45)
    limit = refusal(429, 42910000, "rate limit exceeded", X_RateLimit_Remaining="0", X_RateLimit_Reset=reset)
    broker = connect(serve(lambda _: limit), poll_s=2.0)
    with pytest.raises(RateLimited):
        broker.feed(None)
    clock.advance(44)
    assert not broker.changed()
    clock.advance(1)
    assert broker.changed()
