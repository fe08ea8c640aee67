"""Alpaca's rate limit: so many calls a minute, told in the headers of every answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

_WINDOW_S = 60


class RateLimit:
    """Calls left in the current minute of the venue's clock. Source: Alpaca's default of 200 calls a minute.

    >>> from datetime import UTC
    >>> limit = RateLimit(2, lambda: datetime(2013, 1, 2, tzinfo=UTC))
    >>> [limit.take() for _ in range(3)], limit.headers()["x-ratelimit-remaining"]
    ([True, True, False], '0')
    """

    def __init__(self, per_minute: int, now: Callable[[], datetime]) -> None:
        self.per_minute = per_minute
        self._now = now
        self._window = -1
        self._taken = 0

    def take(self) -> bool:
        """Count one call; False if there was none left."""
        self._turn()
        if self._taken >= self.per_minute:
            return False
        self._taken += 1
        return True

    def headers(self) -> dict[str, str]:
        """The three headers; the reset is in seconds since 1970."""
        self._turn()
        return {
            "x-ratelimit-limit": str(self.per_minute),
            "x-ratelimit-remaining": str(self.per_minute - self._taken),
            "x-ratelimit-reset": str((self._window + 1) * _WINDOW_S),
        }

    def _turn(self) -> None:
        window = int(self._now().timestamp()) // _WINDOW_S
        if window != self._window:
            self._window, self._taken = window, 0
