"""Exchange sessions. A session is a naive ``date``; open and close are UTC-aware moments.

They come from exchange_calendars. Building one of its calendars takes half a second, so what it says is kept as plain
arrays, in memory and, where a folder is given, in a file of a few hundred kilobytes. Reading it takes neither pandas
nor numpy.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from workbench.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pandas as pd
    from exchange_calendars import ExchangeCalendar

Arrays = Mapping[str, "array[int]"]
# Earlier than any bar in the sample and than most vendors' daily history.
_FIRST = "1990-01-01"
# A calendar goes on for a year from when it was built; a file is built anew when less than this is left of it.
_LEAST_AHEAD = timedelta(days=330)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_COLUMNS = ("day", "open", "close", "break_start", "break_end")


class Calendar:
    """The sessions of one exchange, by its ISO 10383 market identifier code.

    >>> xnys = calendar("XNYS")
    >>> xnys.is_session(date(2013, 1, 1))
    False
    >>> xnys.next(date(2013, 1, 18))
    datetime.date(2013, 1, 22)
    """

    def __init__(self, name: str, exchange: ExchangeCalendar) -> None:
        self._set(name, str(exchange.tz), _arrays(exchange))

    @classmethod
    def _of_arrays(cls, name: str, zone: str, arrays: Arrays) -> Calendar:
        made = cls.__new__(cls)
        made._set(name, zone, arrays)
        return made

    def _set(self, name: str, zone: str, arrays: Arrays) -> None:
        self.name = name
        self.zone = ZoneInfo(zone)  # in which the exchange states its hours
        self._arrays = arrays
        self._sessions = [date.fromordinal(_EPOCH_DAY + day) for day in arrays["day"]]

    @property
    def first(self) -> date:
        return self._sessions[0]

    @property
    def last(self) -> date:
        return self._sessions[-1]

    def is_session(self, day: date) -> bool:
        """Whether the exchange trades on ``day``; False outside the calendar's range."""
        place = bisect_left(self._sessions, day)
        return place < len(self._sessions) and self._sessions[place] == day

    def sessions(self, start: date, end: date) -> list[date]:
        """Sessions from ``start`` to ``end``, both included."""
        self._check(start)
        self._check(end)
        return self._sessions[bisect_left(self._sessions, start) : bisect_right(self._sessions, end)]

    def index(self, start: date, end: date) -> pd.DatetimeIndex:
        """The same as a timezone-naive DatetimeIndex at midnight."""
        import pandas as pd

        return pd.DatetimeIndex(pd.to_datetime(self.sessions(start, end)), dtype="datetime64[ns]")

    def hours(self, start: date, end: date) -> dict[str, array[int]]:
        """``day`` (since 1970), and ``open``, ``close``, ``break_start`` and ``break_end`` in seconds since 1970, UTC.

        One number for each session from ``start`` to ``end``, as far as the calendar goes; -1 is no lunch break.
        """
        first, last = bisect_left(self._sessions, start), bisect_right(self._sessions, end)
        return {name: values[first:last] for name, values in self._arrays.items()}

    def next(self, day: date) -> date:
        """The first session after ``day``."""
        self._check(day)
        place = bisect_right(self._sessions, day)
        if place == len(self._sessions):
            self._check(day + timedelta(days=1))
        return self._sessions[place]

    def previous(self, day: date) -> date:
        """The last session before ``day``."""
        self._check(day)
        place = bisect_left(self._sessions, day)
        if place == 0:
            self._check(day - timedelta(days=1))
        return self._sessions[place - 1]

    def open(self, session: date) -> datetime:
        """When the opening auction of ``session`` is held, UTC-aware."""
        return self._moment("open", session)

    def close(self, session: date) -> datetime:
        """When ``session`` closes (earlier on half-days), UTC-aware."""
        return self._moment("close", session)

    def pause(self, session: date) -> tuple[datetime, datetime] | None:
        """The lunch break of ``session``, its beginning and its end; None if it has none."""
        if self._arrays["break_start"][self._place(session)] < 0:
            return None
        return self._moment("break_start", session), self._moment("break_end", session)

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

    def _moment(self, what: str, session: date) -> datetime:
        return _EPOCH + timedelta(seconds=self._arrays[what][self._place(session)])

    def _place(self, session: date) -> int:
        self.require_session(session)
        return bisect_left(self._sessions, session)

    def _check(self, day: date) -> None:
        if not self.first <= day <= self.last:
            raise ConfigError(
                f"{day} is outside the {self.name} calendar",
                hint=f"it covers {self.first} to {self.last}",
            )


@lru_cache(maxsize=16)
def calendar(name: str, cache: Path | None = None) -> Calendar:
    """The calendar of an exchange.

    Parameters
    ----------
    cache
        A folder of files that spare the next process the work; whatever is wrong with one is the same as none.

    Raises
    ------
    ConfigError
        If no exchange has that code.
    """
    file = None if cache is None else cache / f"calendar-{name.replace('/', '-')}-{_version()}"
    found = None if file is None else _read(name, file)
    if found is None:
        found = _build(name)
        if file is not None:
            _write(found, file)
    return found


def _build(name: str) -> Calendar:
    import exchange_calendars

    try:
        return Calendar(name, exchange_calendars.get_calendar(name, start=_FIRST))
    except ValueError:  # some begin later than that: without a start they cover the last twenty years
        return Calendar(name, exchange_calendars.get_calendar(name))
    except exchange_calendars.errors.InvalidCalendarName as error:
        valid = exchange_calendars.get_calendar_names(include_aliases=False)
        raise ConfigError(f"no exchange calendar {name!r}", hint=nearest(name, valid)) from error


def _arrays(exchange: ExchangeCalendar) -> Arrays:
    """Days since 1970, and seconds since then of open, close and lunch break; -1 where there is none."""
    import numpy as np

    schedule = exchange.schedule
    found = {"day": array("q", schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64).tolist())}
    for column in _COLUMNS[1:]:
        moments = schedule[column]
        seconds = moments.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
        found[column] = array("q", np.where(moments.isna().to_numpy(), -1, seconds).tolist())
    return found


def _read(name: str, file: Path) -> Calendar | None:
    """What a file says; None if there is none that can be used any longer."""
    try:
        head, _, body = file.read_bytes().partition(b"\n")
        facts = json.loads(head)
        if facts["crc32"] != zlib.crc32(body):
            return None
        values = array("q", body)
        rows = len(values) // len(_COLUMNS)
        zone: str = facts["zone"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = Calendar._of_arrays(name, zone, {key: values[at * rows :][:rows] for at, key in enumerate(_COLUMNS)})
    # The calendar's end depends on the day it is built, as exchange_calendars' own does.
    return found if found.last >= datetime.now(UTC).date() + _LEAST_AHEAD else None


def _write(made: Calendar, file: Path) -> None:
    """One line of JSON, then the columns one after the other: 64-bit integers in the machine's own order."""
    body = b"".join(made._arrays[column].tobytes() for column in _COLUMNS)
    head = json.dumps({"zone": str(made.zone), "crc32": zlib.crc32(body)}).encode()
    part = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):  # a folder that cannot be written costs time, nothing else
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(head + b"\n" + body)
        part.replace(file)


@lru_cache(maxsize=1)
def _version() -> str:
    return importlib.metadata.version("exchange-calendars")
