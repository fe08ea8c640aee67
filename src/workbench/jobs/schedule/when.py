"""When a pipeline runs, as it is written in its file, and the exact moments that follow from it.

=================================================  ==================================================================
``open``, ``close``, ``open - 10min``, ``close + 1h``  once a session, on half-days too
``every 15min``                                    from the open, included, to the close, not included; not in a lunch
                                                   break
``every 15min from open + 30min to close - 5min``  counted from the first moment; the last one is included
``cron 30 16 * * mon-fri America/New_York``        by the wall clock, whether or not the exchange trades (see cron.py)
=================================================  ==================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from workbench.jobs.schedule.cron import Cron
from workbench.jobs.schedule.sessions import Sessions

_SPAN = r"(\d{1,5})\s*(min|h)"
_ANCHOR = rf"(open|close)(?:\s*([+-])\s*{_SPAN})?"
_ANCHORED = re.compile(_ANCHOR)
_EVERY = re.compile(rf"every\s+{_SPAN}(?:\s+from\s+(?P<start>{_ANCHOR})\s+to\s+(?P<end>{_ANCHOR}))?")
_UNIT = {"min": timedelta(minutes=1), "h": timedelta(hours=1)}
_WEEK = timedelta(days=7)
# A scheduler that comes later than this has missed the moment of a pipeline that says `skip`.
GRACE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Due:
    """One scheduled moment of a pipeline.

    ``session`` is the one it decides on, the last to have closed; ``slot`` counts the schedule's moments that decide on
    it. The run may start from ``start`` (``at`` and its jitter) and before ``deadline``.
    """

    pipeline: str
    at: datetime
    session: date
    slot: int
    deadline: datetime | None
    start: datetime


@dataclass(frozen=True, slots=True)
class Anchor:
    """A moment of every session, from its open or its close.

    >>> Anchor.parse("close-15min").text
    'close - 15min'
    """

    bell: str
    offset: timedelta
    text: str

    @classmethod
    def parse(cls, text: str) -> Anchor:
        """Read ``open - 10min``.

        Raises
        ------
        ValueError
            If it is not that.
        """
        found = _ANCHORED.fullmatch(text.strip())
        if not found:
            raise ValueError(
                f"{text.strip()!r} is not open or close, with time added or taken: open - 10min, close + 1h"
            )
        bell, sign, count, unit = found.groups()
        if not sign:
            return cls(bell, timedelta(0), bell)
        offset = int(count) * _UNIT[unit]
        if offset > _WEEK:
            raise ValueError(f"{text.strip()!r} is more than a week from the session")
        return cls(bell, offset if sign == "+" else -offset, f"{bell} {sign} {int(count)}{unit}")

    def of(self, sessions: Sessions, session: date) -> datetime:
        """The moment in one session."""
        return (sessions.open(session) if self.bell == "open" else sessions.close(session)) + self.offset

    def between(self, sessions: Sessions, start: datetime, end: datetime) -> list[datetime]:
        """The moments of all sessions from ``start`` up to but not including ``end``."""
        near = _near(sessions, start - self.offset, end - self.offset)
        return [at for at in (self.of(sessions, session) for session in near) if start <= at < end]


OPEN, CLOSE = Anchor("open", timedelta(0), "open"), Anchor("close", timedelta(0), "close")


@dataclass(frozen=True, slots=True)
class Every:
    """Moments at equal distances within each session, counted from ``start``."""

    step: timedelta
    start: Anchor
    end: Anchor
    text: str

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read ``every 15min`` or ``every 15min from open + 30min to close - 5min``.

        Raises
        ------
        ValueError
            If it is not that, or reaches beyond the session.
        """
        found = _EVERY.fullmatch(text.strip())
        if not found:
            raise ValueError(f"{text.strip()!r} is not every 15min, or every 15min from open + 30min to close - 5min")
        count, unit = int(found[1]), found[2]
        if count == 0:
            raise ValueError("every 0min never ends")
        normal = f"every {count}{unit}"
        start, end = OPEN, CLOSE
        if found["start"]:
            start, end = Anchor.parse(found["start"]), Anchor.parse(found["end"])
            normal += f" from {start.text} to {end.text}"
        for anchor in (start, end):
            if (anchor.bell == "open") == (anchor.offset < timedelta(0)) and anchor.offset:
                raise ValueError(f"{anchor.text} is outside the session")
        if start.bell == end.bell and start.offset >= end.offset:
            raise ValueError(f"{end.text} does not come after {start.text}")
        if start.bell == "close" and end.bell == "open":
            raise ValueError(f"{start.text} to {end.text} is not within a session")
        return cls(count * _UNIT[unit], start, end, normal)

    def between(self, sessions: Sessions, start: datetime, end: datetime) -> list[datetime]:
        """The moments of all sessions from ``start`` up to but not including ``end``."""
        moments: list[datetime] = []
        for session in _near(sessions, start, end):
            moments += (at for at in self._of(sessions, session) if start <= at < end)
        return moments

    def _of(self, sessions: Sessions, session: date) -> list[datetime]:
        first, last = self.start.of(sessions, session), self.end.of(sessions, session)
        opens, closes, rest = sessions.open(session), sessions.close(session), sessions.pause(session)
        moments = (first + number * self.step for number in range((last - first) // self.step + 1))
        # On a half-day, `close - 5h` can come before the open.
        return [at for at in moments if opens <= at < closes and not (rest and rest[0] <= at < rest[1])]


@dataclass(frozen=True, slots=True)
class Wall:
    """Moments by the wall clock of a time zone."""

    cron: Cron

    @property
    def text(self) -> str:
        return self.cron.text

    def between(self, sessions: Sessions, start: datetime, end: datetime) -> list[datetime]:
        """The moments from ``start`` up to but not including ``end``."""
        return self.cron.between(start, end)


Schedule = Anchor | Every | Wall


@lru_cache(maxsize=256)
def parse_schedule(text: str) -> Schedule:
    """Read a schedule.

    >>> parse_schedule("every  15min").text
    'every 15min'

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    word = text.split()[0] if text.split() else ""
    if word == "every":
        return Every.parse(text)
    if word == "cron":
        return Wall(Cron.parse(text.split(maxsplit=1)[1] if len(text.split()) > 1 else ""))
    if not _ANCHORED.fullmatch(text.strip()):
        raise ValueError(
            "a schedule is open or close, with time added or taken (close + 30min, open - 1h), every 15min,"
            " or cron 30 16 * * mon-fri America/New_York"
        )
    return Anchor.parse(text)


@dataclass(frozen=True, slots=True)
class Missed:
    """What becomes of a moment that nobody was there for: ``skip``, ``run_once``, or ``run_until`` a deadline."""

    word: str
    within: timedelta | None = None
    anchor: Anchor | None = None

    @property
    def text(self) -> str:
        """Its normal form."""
        if self.anchor is not None:
            return f"{self.word} {self.anchor.text}"
        if self.within is None:
            return self.word
        minutes = self.within // _UNIT["min"]
        return f"{self.word} {minutes // 60}h" if minutes % 60 == 0 else f"{self.word} {minutes}min"

    def deadline(self, schedule: Schedule, due_at: datetime, session: date, sessions: Sessions) -> datetime | None:
        """Until when a moment may be run late; None if there is no end to it, or if it may not be late at all.

        An anchor is the one of the session under way for `every`, else the first that comes after the moment.
        """
        if self.within is not None:
            return due_at + self.within
        if self.anchor is None:
            return None
        if isinstance(schedule, Every):
            return self.anchor.of(sessions, sessions.following(session))
        while (found := self.anchor.of(sessions, session)) <= due_at:
            session = sessions.following(session)
        return found


SKIP, RUN_ONCE = Missed("skip"), Missed("run_once")


@lru_cache(maxsize=256)
def parse_missed(text: str) -> Missed:
    """Read a policy for missed moments.

    >>> parse_missed("run_until close-5min").text
    'run_until close - 5min'

    Raises
    ------
    ValueError
        Saying what is wrong with it.
    """
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if text.strip() in {"skip", "run_once"}:
        return SKIP if word == "skip" else RUN_ONCE
    if word != "run_until" or not rest:
        raise ValueError("missed is skip, run_once, run_until 2h or run_until close - 5min")
    if span := re.fullmatch(_SPAN, rest):
        within = int(span[1]) * _UNIT[span[2]]
        if not timedelta(0) < within <= _WEEK:
            raise ValueError(f"run_until {rest} is not between a minute and a week")
        return Missed("run_until", within=within)
    return Missed("run_until", anchor=Anchor.parse(rest))


def check_deadline(schedule: Schedule, missed: Missed) -> None:
    """Refuse a deadline that has passed when the moment comes, and so would be the next session's.

    Raises
    ------
    ValueError
        Naming both.
    """
    if missed.anchor is None or isinstance(schedule, Wall):
        return
    until = missed.anchor.offset
    if isinstance(schedule, Every):
        passed = missed.anchor.bell == "open" and until <= timedelta(0)
    else:
        # `close + 30min` until `close - 5min` is plainly the next session's; until `close + 10min` is a mistake.
        next_one = until <= timedelta(0) <= schedule.offset and until != schedule.offset
        passed = missed.anchor.bell == schedule.bell and until <= schedule.offset and not next_one
    if passed:
        raise ValueError(f"{missed.anchor.text} has passed when {schedule.text} comes")


def _near(sessions: Sessions, start: datetime, end: datetime) -> list[date]:
    """The sessions that can have their open or close between two moments, and some more."""
    margin = timedelta(days=2)  # a session's open and close lie within a day of midnight UTC of its date
    return sessions.between(start.date() - margin, end.date() + margin)
