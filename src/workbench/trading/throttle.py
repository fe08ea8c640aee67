"""The pace of orders: how long the next call to the venue has to wait. Waiting itself is the gateway's business."""

from __future__ import annotations

from workbench.brokers.base import Pace
from workbench.clock import Clock
from workbench.settings import ThrottleSettings


class TokenBucket:
    """``burst`` calls at once and ``rate_per_s`` on average; the bucket is full at the start.

    >>> from datetime import UTC, datetime
    >>> from workbench.clock import ManualClock
    >>> clock = ManualClock(datetime(2013, 1, 2, tzinfo=UTC))
    >>> bucket = TokenBucket(4, 2, clock)
    >>> [bucket.take() for _ in range(2)], bucket.wait_s()
    ([None, None], 0.25)
    """

    def __init__(self, rate_per_s: float, burst: int, clock: Clock) -> None:
        self._rate = rate_per_s
        self._burst = float(burst)
        self._clock = clock
        self._tokens = self._burst
        self._at = clock.monotonic()

    def wait_s(self) -> float:
        """Seconds until the next call may go; zero if it may go now."""
        self._refill()
        return max(0.0, (1 - self._tokens) / self._rate)

    def take(self) -> None:
        """Count one call; one that cannot wait (a cancel of the kill switch) is owed, and the next ones wait for it."""
        self._refill()
        self._tokens -= 1

    def _refill(self) -> None:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now


class Throttle:
    """The account's own bucket, if ``settings`` has one, and the venue's rate headers, whichever is slower."""

    def __init__(self, settings: ThrottleSettings, clock: Clock) -> None:
        self._bucket = None if settings.per_s is None else TokenBucket(settings.per_s, settings.burst, clock)
        self._clock = clock
        self._pace: Pace | None = None
        self._reset_at = 0.0

    def delay_s(self, pace: Pace | None) -> float:
        """Seconds until the next order may go. ``pace`` is what the venue said last, if it said anything.

        A venue that has no calls left is left alone until it gives them back. What it said is counted from the
        moment it was first seen here: without a call nothing newer is heard.
        """
        own = self._bucket.wait_s() if self._bucket is not None else 0.0
        return max(own, self._venue_wait_s(pace))

    def take(self) -> None:
        """Count one call to the venue; what the venue says after it is news, even in the same words."""
        self._pace = None
        if self._bucket is not None:
            self._bucket.take()

    def _venue_wait_s(self, pace: Pace | None) -> float:
        if pace is None or pace.remaining > 0:
            return 0.0
        now = self._clock.monotonic()
        if pace != self._pace:
            self._pace, self._reset_at = pace, now + pace.reset_s
        return max(0.0, self._reset_at - now)
