"""The wait for the bell: to the millisecond, never early, and not fooled by a clock that is set."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workbench.clock import ManualClock, SystemClock
from workbench.errors import ConfigError, DeadlineMissed
from workbench.jobs.schedule.worker import Assignment, Link, Order, await_bell, wait_until

NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)


class SetClock(ManualClock):
    """A clock that somebody sets while it is slept on: at ``when`` seconds, by ``by`` seconds."""

    def __init__(self, start: datetime, when: float, by: float) -> None:
        super().__init__(start)
        self._when = when
        self._by = by

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self._by and self.monotonic() >= self._when:
            self._now += timedelta(seconds=self._by)
            self._by = 0.0


class Wire:
    """A link whose daemon is the test."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.orders = os.fdopen(writing, "w")
        self.events = io.StringIO()
        self.fallback = io.StringIO()
        self._reading = os.fdopen(reading)
        self.link = Link(self._reading, self.events, self.fallback)

    def go(self, order: Order) -> None:
        self.orders.write(order.line() + "\n")
        self.orders.flush()

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.events.getvalue().splitlines()]


@pytest.fixture
def wire() -> Any:
    made = Wire()
    yield made
    made.orders.close()
    made.link.gone.wait(60)
    made._reading.close()


def never() -> bool:
    return False


def test_the_wait_ends_at_the_moment_and_not_before() -> None:
    clock = SystemClock()
    at = clock.now() + timedelta(seconds=0.05)
    assert wait_until(at, clock, never) is None
    late_s = (clock.now() - at).total_seconds()
    assert 0 <= late_s < 5  # on an idle machine a fraction of a millisecond


def test_a_moment_that_has_passed_is_not_waited_for() -> None:
    clock = ManualClock(NOON)
    assert wait_until(NOON - timedelta(hours=1), clock, never) is None
    assert clock.now() == NOON


def test_a_clock_that_is_set_forward_does_not_end_the_wait_as_if_the_moment_had_come() -> None:
    clock = SetClock(NOON, when=10, by=3600)
    assert wait_until(NOON + timedelta(seconds=60), clock, never) == pytest.approx(50, abs=0.2)


def test_a_clock_that_is_set_back_is_waited_for() -> None:
    clock = SetClock(NOON, when=10, by=-30)
    assert wait_until(NOON + timedelta(seconds=60), clock, never) is None
    assert clock.monotonic() == pytest.approx(90, abs=0.01)


def test_a_clock_that_is_put_right_by_a_little_is_no_jump() -> None:
    clock = SetClock(NOON, when=10, by=0.3)
    assert wait_until(NOON + timedelta(seconds=60), clock, never) is None


def test_an_order_rings_the_bell_and_is_told(wire: Wire) -> None:
    wire.go(Order(NOON))
    assert await_bell(wire.link, SystemClock(), never)
    assert [next(iter(event)) for event in wire.told] == ["ready", "begun"]


def test_what_is_prepared_is_prepared_after_the_order_and_before_the_bell(wire: Wire) -> None:
    clock = ManualClock(NOON)
    seen: list[datetime] = []
    wire.go(Order(NOON + timedelta(seconds=2)))
    assert await_bell(wire.link, clock, never, lambda: seen.append(clock.now()))
    assert seen == [NOON]


def test_nothing_is_prepared_when_the_bell_is_near_or_has_rung(wire: Wire) -> None:
    wire.go(Order(NOON + timedelta(seconds=0.1)))
    assert await_bell(wire.link, ManualClock(NOON), never, lambda: pytest.fail("too late for that"))


def test_after_a_jump_the_daemon_decides_again(wire: Wire) -> None:
    clock = SetClock(NOON, when=10, by=3600)
    wire.go(Order(NOON + timedelta(seconds=60)))
    wire.go(Order(NOON + timedelta(seconds=60)))  # it says once more that it may go
    assert await_bell(wire.link, clock, never)
    assert [next(iter(event)) for event in wire.told] == ["ready", "jumped_s", "begun"]


def test_a_worker_that_is_ready_after_its_deadline_does_not_begin(wire: Wire) -> None:
    wire.go(Order(NOON - timedelta(minutes=2), deadline=NOON))
    with pytest.raises(DeadlineMissed, match="2013-03-01 12:00:00 UTC"):
        await_bell(wire.link, ManualClock(NOON), never)


@pytest.mark.parametrize("order", [None, Order(NOON + timedelta(days=36500))], ids=["no order", "before the bell"])
def test_a_worker_whose_daemon_is_gone_before_the_bell_does_not_begin(wire: Wire, order: Order | None) -> None:
    if order is not None:
        wire.go(order)
    wire.orders.close()
    assert not await_bell(wire.link, SystemClock(), never)


def test_a_worker_that_is_told_to_stop_does_not_begin(wire: Wire) -> None:
    wire.go(Order(datetime.now(UTC) + timedelta(days=1)))
    answers: Callable[[], bool] = iter([False, False, True, True, True, True]).__next__
    assert not await_bell(wire.link, SystemClock(), answers)


def test_printed_lines_become_events_and_go_to_the_log_when_the_daemon_is_gone() -> None:
    events, fallback = io.StringIO(), io.StringIO()
    reading, writing = os.pipe()
    with os.fdopen(reading) as orders, os.fdopen(writing, "w"):
        link = Link(orders, events, fallback)
        print("one line,", "whole", file=link)
        print("half", end="", file=link)
        assert events.getvalue() == '{"text": "one line, whole"}\n'

        def broken(_text: str) -> int:
            raise BrokenPipeError

        events.write = broken  # type: ignore[method-assign]
        print(" a line", file=link)
        assert fallback.getvalue() == "half a line\n"
        assert link.gone.is_set()


def test_only_an_assignment_is_an_assignment() -> None:
    with pytest.raises(ConfigError, match="workbench schedule run"):
        Assignment.parse(["daily", "paper"])
    with pytest.raises(ConfigError, match="workbench schedule run"):
        Assignment.parse(["daily", "paper", "tomorrow", "0", NOON.isoformat(), NOON.isoformat(), ""])
