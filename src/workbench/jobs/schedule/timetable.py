"""The moments of one pipeline, session by session, worked out once and kept.

Time is cut at every close: the moments from one close to the next decide on the session of the first, and are numbered
from 0. Nothing here depends on when it is asked.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from workbench.jobs.schedule.sessions import Sessions
from workbench.jobs.schedule.when import GRACE, Due, Missed, Schedule, Wall

if TYPE_CHECKING:
    from workbench.jobs.pipelines import Pipeline

_KEPT = 1024  # sessions
_DAY = timedelta(days=1)


class Timetable:
    """What a pipeline's schedule makes of a calendar."""

    def __init__(self, pipeline: Pipeline, schedule: Schedule, sessions: Sessions) -> None:
        self.pipeline = pipeline
        self.sessions = sessions
        self._schedule = schedule
        self._missed: Missed = pipeline.policy
        self._kept: dict[date, tuple[Due, ...]] = {}
        self._next: tuple[datetime, datetime, Due | None] | None = None  # valid from, until before, the answer

    def of_session(self, session: date) -> tuple[Due, ...]:
        """The moments that decide on one session, in order.

        Raises
        ------
        ConfigError
            If the calendar does not reach to the session after it.
        """
        if session not in self._kept:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            close = self.sessions.close(self.sessions.following(session))
            moments = self._schedule.between(self.sessions, self.sessions.close(session), close)
            self._kept[session] = tuple(
                self._due(at, session, slot, close) for slot, at in enumerate(sorted(set(moments)))
            )
        return self._kept[session]

    def between(self, after: datetime, until: datetime) -> list[Due]:
        """The moments after ``after`` up to and including ``until``.

        Raises
        ------
        ConfigError
            If the calendar ends before ``until``.
        """
        found: list[Due] = []
        for session in self._onwards(after):
            if self.sessions.close(session) > until:
                return found
            found += (due for due in self.of_session(session) if after < due.at <= until)
        if self.sessions.close(self.sessions.last) <= until:
            self.sessions.following(self.sessions.last)
        return found

    def next(self, after: datetime) -> Due | None:
        """The first moment after ``after``; None if the calendar ends before it."""
        if self._next is None or not self._next[0] <= after < self._next[1]:
            self._next = self._find_next(after)
        return self._next[2]

    def latest(self, until: datetime) -> Due | None:
        """The last moment up to and including ``until``, within the year before it."""
        session = self.sessions.last_closed(until)
        oldest = max(self.sessions.first, session - 366 * _DAY)
        while session > oldest:
            dues = self.of_session(session)
            number = bisect_right([due.at for due in dues], until)
            if number:
                return dues[number - 1]
            session = self.sessions.previous(session)
        return None

    def is_closed(self, due: Due) -> bool:
        """Whether a moment by the wall clock falls on a day on which the exchange does not trade."""
        if not isinstance(self._schedule, Wall):
            return False
        return not self.sessions.is_session(self.day(due))

    def day(self, due: Due) -> date:
        """The date of a moment where the exchange is."""
        return due.at.astimezone(self.sessions.zone).date()

    def _find_next(self, after: datetime) -> tuple[datetime, datetime, Due | None]:
        for session in self._onwards(after):
            for due in self.of_session(session):
                if due.at > after:
                    return after, due.at, due
        return after, after + _DAY, None

    def _onwards(self, after: datetime) -> Iterator[date]:
        """The sessions that moments after ``after`` can decide on."""
        session = self.sessions.last_closed(after)
        self.sessions.following(session)  # past the calendar's end nothing is known: that is an error, not a "no"
        while session < self.sessions.last:
            yield session
            session = self.sessions.following(session)

    def _due(self, at: datetime, session: date, slot: int, close: datetime) -> Due:
        """A moment with its deadline and its jitter; ``close`` is the next one, after which others would decide."""
        latest = self._missed.deadline(self._schedule, at, session, self.sessions)
        if self.pipeline.places_orders:
            latest = close if latest is None else min(latest, close)
        room = (close if latest is None else min(latest, close)) - at
        start = at + self._jitter(at, room)
        deadline = latest
        if self._missed.word == "skip":
            deadline = min(start + GRACE, latest) if latest is not None else start + GRACE
        return Due(self.pipeline.name, at, session, slot, deadline, start)

    def _jitter(self, at: datetime, room: timedelta) -> timedelta:
        """How much later a moment starts: always the same for it, and never in the second half of the time it has."""
        most = min(timedelta(seconds=self.pipeline.jitter_s), room / 2)
        if most <= timedelta(0):
            return timedelta(0)
        digest = hashlib.sha256(f"{self.pipeline.name}\x1f{at.isoformat()}".encode()).digest()
        return timedelta(milliseconds=int(most / timedelta(milliseconds=1) * int.from_bytes(digest[:6]) / 2**48))
