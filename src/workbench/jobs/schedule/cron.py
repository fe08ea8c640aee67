"""Cron lines with a time zone, where every matching wall-clock time comes exactly once.

A time that the clocks skip in spring comes at the first moment after the gap; several such times are one moment. A
time that the clocks show twice in autumn comes the first time only. So a line in a zone with daylight saving counts
times on the wall, not hours that pass: a job for every hour of the day belongs in UTC.

As in Vixie's cron, a day has to match day of month *or* day of week if both are restricted, and both if one of them
begins with ``*``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from workbench.errors import nearest

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?")
_GAP = timedelta(hours=26)  # more than clocks were ever set by: a whole day (Pacific/Apia, 30 December 2011)


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five: its name, its bounds, and the words that stand for numbers."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()
    first: int = 0  # what the first word stands for

    def parse(self, text: str) -> frozenset[int]:
        found: set[int] = set()
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if not match:
                raise ValueError(f"{part!r} is no {self.name}; lists (1,2), ranges (1-5) and steps (*/15) are")
            low, high, step = match.groups()
            if part[0] == "*":
                start, end = self.low, self.high
            else:
                start = self._number(low)
                end = start if high is None else self._number(high)
                if self.words is _WEEKDAYS and high is not None and end == 0:
                    end = 7  # sat-sun
                if step is not None and high is None:
                    raise ValueError(f"{part!r}: a step needs a range, such as {low}-{self.high}/{step}")
            if end < start:
                raise ValueError(f"{part!r}: a range of {self.name}s goes up")
            if step is not None and int(step) == 0:
                raise ValueError(f"{part!r}: a step is at least 1")
            found.update(range(start, end + 1, int(step or 1)))
        return frozenset(number % 7 for number in found) if self.words is _WEEKDAYS else frozenset(found)

    def _number(self, text: str) -> int:
        if text in self.words:
            return self.words.index(text) + self.first
        if not text.isascii() or not text.isdigit():
            hint = f", {nearest(text, self.words)}" if self.words else ""
            raise ValueError(f"{text!r} is no {self.name}{hint}")
        if not self.low <= int(text) <= self.high:
            raise ValueError(f"{text} is no {self.name}: {self.low} to {self.high}")
        return int(text)


_MINUTE, _HOUR = _Field("minute", 0, 59), _Field("hour", 0, 23)
_DAY, _MONTH = _Field("day of the month", 1, 31), _Field("month", 1, 12, _MONTHS, 1)
_WEEKDAY = _Field("day of the week", 0, 7, _WEEKDAYS)


@dataclass(frozen=True)
class Cron:
    """Five fields and an IANA time zone.

    >>> from datetime import datetime, timezone
    >>> cron = Cron.parse("30 2 * * * America/New_York")
    >>> [at.isoformat() for at in cron.between(datetime(2024, 3, 10, tzinfo=UTC), datetime(2024, 3, 11, tzinfo=UTC))]
    ['2024-03-10T07:00:00+00:00']
    """

    fields: tuple[str, str, str, str, str]
    zone: ZoneInfo
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read ``30 16 * * mon-fri America/New_York``.

        Raises
        ------
        ValueError
            Saying which field is wrong, or that the line never comes.
        """
        parts = text.split()
        if len(parts) != 6:
            raise ValueError(
                "a cron line is minute, hour, day of month, month, day of week and a time zone: "
                f"cron 30 16 * * mon-fri America/New_York ({len(parts)} of 6 are there)"
            )
        minute, hour, day, month, weekday = (part.lower() for part in parts[:5])
        cron = cls(
            (minute, hour, day, month, weekday),
            time_zone(parts[5]),
            tuple(sorted(_MINUTE.parse(minute))),
            tuple(sorted(_HOUR.parse(hour))),
            _DAY.parse(day),
            _MONTH.parse(month),
            _WEEKDAY.parse(weekday),
        )
        if cron._days_restrict and all(min(cron.days) > _LONGEST[number - 1] for number in cron.months):
            raise ValueError(f"no month has that day: {day} {month}")
        return cron

    @property
    def text(self) -> str:
        """The line in its normal form."""
        return f"cron {' '.join(self.fields)} {self.zone.key}"

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """The moments from ``start`` up to but not including ``end``, each once, in UTC."""
        low = start.astimezone(self.zone).replace(tzinfo=None) - self._margin(start)
        high = end.astimezone(self.zone).replace(tzinfo=None) + self._margin(end)
        moments = {moment_of(wall, self.zone) for wall in self._walls(low, high)}
        return sorted(moment for moment in moments if start <= moment < end)

    @property
    def _days_restrict(self) -> bool:
        """Whether a day has to match both fields for days."""
        return self.fields[2].startswith("*") or self.fields[4].startswith("*")

    def _matches(self, day: date) -> bool:
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and ((in_month and in_week) if self._days_restrict else (in_month or in_week))

    def _margin(self, moment: datetime) -> timedelta:
        """How far from a moment a wall clock's time can be that belongs on the other side of it."""
        before, after = ((moment + way * _GAP).astimezone(self.zone).utcoffset() for way in (-1, 1))
        return timedelta(0) if before == after else _GAP

    def _walls(self, low: datetime, high: datetime) -> Iterator[datetime]:
        """The matching times as a clock on the wall would show them, whether or not it ever does."""
        for number in range((high.date() - low.date()).days + 1):
            day = low.date() + timedelta(days=number)
            if not self._matches(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    wall = datetime.combine(day, time(hour, minute))
                    if low <= wall <= high:
                        yield wall


def moment_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """When a wall clock in ``zone`` shows that time: the first time if it does twice, the end of the gap if never.

    >>> moment_of(datetime(2024, 11, 3, 1, 30), ZoneInfo("America/New_York")).isoformat()
    '2024-11-03T05:30:00+00:00'
    """
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    return _end_of_gap(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment, zone)


@lru_cache(maxsize=256)
def time_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises
    ------
    ValueError
        If there is none, naming the nearest.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # what a bad key, a folder, and an unknown name raise
        raise ValueError(f"no time zone {name!r}, {nearest(name, available_timezones())}") from None


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which the clocks jump; ``before`` is earlier than it, ``after`` is not."""
    changed = after.astimezone(zone).utcoffset()
    span = int((after - before).total_seconds())
    low, high = 0, span
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == changed:
            high = middle
        else:
            low = middle
    return before + timedelta(seconds=high)
