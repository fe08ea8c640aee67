"""Exchange sessions. A session is a naive ``date``; open and close are UTC-aware moments.

Backed by exchange_calendars, loaded on first use because it costs about half a second.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from workbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from exchange_calendars import ExchangeCalendar

# Earlier than any bar in the sample and than most vendors' daily history.
_FIRST = "1990-01-01"


class Calendar:
    """The sessions of one exchange, by its ISO 10383 market identifier code.

    >>> xnys = calendar("XNYS")
    >>> xnys.is_session(date(2013, 1, 1))
    False
    >>> xnys.next(date(2013, 1, 18))
    datetime.date(2013, 1, 22)
    """

    def __init__(self, name: str, exchange: ExchangeCalendar) -> None:
        self.name = name
        self._exchange = exchange

    @property
    def first(self) -> date:
        return _date(self._exchange.first_session)

    @property
    def last(self) -> date:
        return _date(self._exchange.last_session)

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on ``day``; False outside the calendar's range."""
        return self.first <= day <= self.last and bool(self._exchange.is_session(day.isoformat()))

    def sessions(self, start: date, end: date) -> list[date]:
        """Sessions from ``start`` to ``end``, both included."""
        return [stamp.date() for stamp in self.index(start, end)]

    def index(self, start: date, end: date) -> pd.DatetimeIndex:
        """The same as a timezone-naive DatetimeIndex at midnight."""
        self._check(start)
        self._check(end)
        found: pd.DatetimeIndex = self._exchange.sessions_in_range(start.isoformat(), end.isoformat())
        return found

    def next(self, day: date) -> date:
        """The first session after ``day``."""
        self._check(day)
        stamp = self._exchange.date_to_session(day.isoformat(), direction="next")
        if _date(stamp) == day:
            stamp = self._exchange.next_session(stamp)
        return _date(stamp)

    def previous(self, day: date) -> date:
        """The last session before ``day``."""
        self._check(day)
        stamp = self._exchange.date_to_session(day.isoformat(), direction="previous")
        if _date(stamp) == day:
            stamp = self._exchange.previous_session(stamp)
        return _date(stamp)

    def open(self, session: date) -> datetime:
        """When the opening auction of ``session`` is held, UTC-aware."""
        return _moment(self._exchange.session_open(session.isoformat()))

    def close(self, session: date) -> datetime:
        """When ``session`` closes (earlier on half-days), UTC-aware."""
        return _moment(self._exchange.session_close(session.isoformat()))

    def last_closed(self, now: datetime) -> date:
        """The latest session that has closed at ``now``."""
        day = min(now.date(), self.last)
        if self.is_session(day) and self.close(day) <= now:
            return day
        return self.previous(day)

    def require_session(self, day: date) -> date:
        """Return ``day`` if the exchange trades on it.

        Raises
        ------
        ConfigError
            If it does not; the message names the nearest sessions on either side.
        """
        if self.is_session(day):
            return day
        self._check(day)
        raise ConfigError(
            f"{day} ({day:%A}) is not a {self.name} session",
            hint=f"the nearest are {self.previous(day)} and {self.next(day)}",
        )

    def _check(self, day: date) -> None:
        if not self.first <= day <= self.last:
            raise ConfigError(
                f"{day} is outside the {self.name} calendar",
                hint=f"it covers {self.first} to {self.last}",
            )


def _date(stamp: pd.Timestamp) -> date:
    return stamp.date()


def _moment(stamp: pd.Timestamp) -> datetime:
    return stamp.to_pydatetime()


@lru_cache(maxsize=8)
def calendar(name: str) -> Calendar:
    """The calendar of an exchange.

    Raises
    ------
    ConfigError
        If no exchange has that code.
    """
    import exchange_calendars

    try:
        return Calendar(name, exchange_calendars.get_calendar(name, start=_FIRST))
    except ValueError:  # some begin later than that: without a start they cover the last twenty years
        return Calendar(name, exchange_calendars.get_calendar(name))
    except exchange_calendars.errors.InvalidCalendarName as error:
        valid = exchange_calendars.get_calendar_names(include_aliases=False)
        raise ConfigError(f"no exchange calendar {name!r}", hint=nearest(name, valid)) from error
