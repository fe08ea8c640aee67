from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.brokers.base import Pace
from workbench.clock import ManualClock
from workbench.settings import ThrottleSettings
from workbench.trading.throttle import Throttle, TokenBucket


def clock() -> ManualClock:
    return ManualClock(datetime(2013, 1, 2, 21, tzinfo=UTC))


def test_a_burst_goes_at_once_and_then_one_by_one() -> None:
    time = clock()
    bucket = TokenBucket(rate_per_s=2, burst=3, clock=time)
    for _ in range(3):
        assert bucket.wait_s() == 0
        bucket.take()
    assert bucket.wait_s() == 0.5
    time.sleep(0.5)
    assert bucket.wait_s() == 0
    bucket.take()
    assert bucket.wait_s() == 0.5


def test_a_rest_fills_the_bucket_and_no_more() -> None:
    time = clock()
    bucket = TokenBucket(rate_per_s=2, burst=3, clock=time)
    for _ in range(3):
        bucket.take()
    time.sleep(3600)
    for _ in range(3):
        assert bucket.wait_s() == 0
        bucket.take()
    assert bucket.wait_s() == 0.5


def test_a_call_that_cannot_wait_is_owed() -> None:
    time = clock()
    bucket = TokenBucket(rate_per_s=2, burst=1, clock=time)
    for _ in range(3):
        bucket.take()
    assert bucket.wait_s() == 1.5
    time.sleep(1.5)
    assert bucket.wait_s() == 0


@given(
    rate=st.sampled_from([0.25, 0.5, 2.0, 4.0, 64.0]), burst=st.integers(1, 20),
    pauses=st.lists(st.integers(0, 80).map(lambda n: n / 8), max_size=60),
)  # fmt: skip
def test_no_window_of_time_ever_sees_more_than_the_burst_and_the_rate(
    rate: float, burst: int, pauses: list[float]
) -> None:
    time = clock()
    bucket = TokenBucket(rate, burst, time)
    calls = []
    for pause in pauses:
        time.sleep(pause)
        while wait := bucket.wait_s():
            time.sleep(wait)
        bucket.take()
        calls.append(time.monotonic())
    for first in range(len(calls)):
        for last in range(first, len(calls)):
            assert last - first + 1 <= burst + rate * (calls[last] - calls[first]) + 1e-9


def test_without_a_rate_of_its_own_nothing_waits() -> None:
    throttle = Throttle(ThrottleSettings(), clock())
    for _ in range(1000):
        assert throttle.delay_s(None) == 0
        throttle.take()


def test_the_accounts_own_rate_and_the_venues_hold_whichever_is_slower() -> None:
    time = clock()
    throttle = Throttle(ThrottleSettings(per_s=1.0, burst=1), time)
    throttle.take()
    assert throttle.delay_s(None) == 1
    assert throttle.delay_s(Pace(remaining=5, reset_s=30)) == 1
    assert throttle.delay_s(Pace(remaining=0, reset_s=30)) == 30
    assert throttle.delay_s(Pace(remaining=0, reset_s=0.25)) == 1


def test_a_venue_without_calls_left_is_left_alone_until_it_gives_them_back() -> None:
    time = clock()
    throttle = Throttle(ThrottleSettings(), time)
    spent = Pace(remaining=0, reset_s=30)
    assert throttle.delay_s(spent) == 30
    time.sleep(20)
    assert throttle.delay_s(spent) == 10  # what it said 20 s ago, for nobody has called it since
    time.sleep(10)
    assert throttle.delay_s(spent) == 0
    throttle.take()
    assert throttle.delay_s(spent) == 30  # the answer to that call, in the same words


@pytest.mark.parametrize("pauses", [[10.0, 10.0, 10.0], [0.5] * 60])
def test_a_pace_that_counts_down_by_itself_ends_at_the_same_moment(pauses: list[float]) -> None:
    time = clock()
    throttle = Throttle(ThrottleSettings(), time)
    until = time.monotonic() + 30
    for pause in pauses:
        assert throttle.delay_s(Pace(remaining=0, reset_s=until - time.monotonic())) == until - time.monotonic()
        time.sleep(pause)
    assert throttle.delay_s(Pace(remaining=0, reset_s=0.0)) == 0
