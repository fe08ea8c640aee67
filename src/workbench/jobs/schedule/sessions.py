"""The sessions of an exchange as a scheduler asks for them: many times a second, around now.

The same answers as :class:`workbench.calendars.Calendar` gives, read a year at a time and kept as plain Python values.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, datetime

from workbench.calendars import Calendar
from workbench.errors import ConfigError


class Sessions:
    """The sessions of one calendar.

    >>> from datetime import UTC
    >>> from workbench.calendars import calendar
    >>> Sessions(calendar("XNYS")).last_closed(datetime(2024, 7, 3, 17, tzinfo=UTC))  # a half-day
    datetime.date(2024, 7, 3)
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self.name = calendar.name
        self.first, self.last = calendar.first, calendar.last
        self.zone = calendar.zone
        self._years: dict[int, tuple[list[date], list[datetime]]] = {}  # sessions, and their closes
        self._hours: dict[date, tuple[datetime, datetime]] = {}

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on a day; False outside the calendar."""
        self._year(day.year)
        return day in self._hours

    def open(self, session: date) -> datetime:
        self._year(session.year)
        return self._hours[session][0]

    def close(self, session: date) -> datetime:
        self._year(session.year)
        return self._hours[session][1]

    def pause(self, session: date) -> tuple[datetime, datetime] | None:
        """The lunch break of a session: its beginning and its end; None if it has none."""
        return self._calendar.pause(session)

    def last_closed(self, now: datetime) -> date:
        """The latest session that has closed at ``now``.

        Raises
        ------
        ConfigError
            If that is before the calendar begins.
        """
        for year in (min(now.year, self.last.year), min(now.year, self.last.year) - 1):
            sessions, closes = self._year(year)
            if number := bisect_right(closes, now):
                return sessions[number - 1]
        return self._calendar.last_closed(now)

    def following(self, session: date) -> date:
        """The session after ``session``.

        Raises
        ------
        ConfigError
            If the calendar does not go on: it ends a year after it was loaded.
        """
        if session >= self.last:
            raise ConfigError(f"the {self.name} calendar ends on {self.last}", hint="start the process anew")
        sessions, _ = self._year(session.year)
        number = bisect_right(sessions, session)
        return sessions[number] if number < len(sessions) else self._calendar.next(session)

    def previous(self, session: date) -> date:
        """The session before ``session``."""
        sessions, _ = self._year(session.year)
        number = bisect_left(sessions, session)
        return sessions[number - 1] if number else self._calendar.previous(session)

    def between(self, start: date, end: date) -> list[date]:
        """The sessions from ``start`` to ``end``, both included; days outside the calendar have none."""
        found: list[date] = []
        for year in range(start.year, end.year + 1):
            sessions, _ = self._year(year)
            found += sessions[bisect_left(sessions, start) : bisect_right(sessions, end)]
        return found

    def _year(self, year: int) -> tuple[list[date], list[datetime]]:
        if year not in self._years:
            start, end = max(self.first, date(year, 1, 1)), min(self.last, date(year, 12, 31))
            sessions = self._calendar.sessions(start, end) if start <= end else []
            for session in sessions:
                self._hours[session] = self._calendar.open(session), self._calendar.close(session)
            self._years[year] = sessions, [self._hours[session][1] for session in sessions]
        return self._years[year]
