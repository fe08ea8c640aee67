"""What to do now: run, wait for, or skip the moments that have come. Pure: the ledger and the time are arguments.

The ledger is the truth. A moment that it knows in any state is settled, so deciding again, on this machine or another,
with a clock that went back or after a crash, changes nothing. How far each pipeline has been looked through (``seen``)
only bounds what can be missed: it never moves past a moment that is not in the ledger yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from workbench.calendars import Calendar
from workbench.jobs.schedule.sessions import Sessions
from workbench.jobs.schedule.timetable import Timetable
from workbench.jobs.schedule.when import Due, parse_schedule
from workbench.journal.states import RunState

if TYPE_CHECKING:
    from workbench.jobs.pipelines import Pipeline

# More missed moments of one pipeline than this are counted, not put on record one by one.
MOST_SKIPPED = 200
_TICK = timedelta(microseconds=1)


class Past(NamedTuple):
    """What the ledger has for a slot; ``at`` is None for a run that a person started."""

    state: RunState
    at: datetime | None


History = Callable[[str, date], Mapping[int, Past]]
"""What the ledger has for a pipeline and a session, by slot."""


class Kind(StrEnum):
    RUN = "run"
    WAIT = "wait"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Action:
    """What to do about a moment, and why."""

    kind: Kind
    due: Due
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order; what to remember afterwards; when to look again at the latest.

    ``dropped`` counts missed moments, by pipeline, that are older than those that get a record each.
    """

    actions: tuple[Action, ...]
    dropped: dict[str, int]
    seen: dict[str, datetime]
    wake: datetime | None


class Agenda:
    """The moments of several pipelines. It keeps what it has worked out, and nothing about what was decided."""

    def __init__(self, pipelines: Iterable[Pipeline], calendars: Callable[[str], Calendar]) -> None:
        self._pipelines = {pipeline.name: pipeline for pipeline in pipelines}
        sessions: dict[str, Sessions] = {}
        self._tables: dict[str, Timetable] = {}
        for name, pipeline in self._pipelines.items():
            if pipeline.schedule is not None and pipeline.enabled:
                if pipeline.calendar not in sessions:
                    sessions[pipeline.calendar] = Sessions(calendars(pipeline.calendar))
                schedule = parse_schedule(pipeline.schedule)
                self._tables[name] = Timetable(pipeline, schedule, sessions[pipeline.calendar])
        self._depths = {name: self._depth(name, frozenset()) for name in self._pipelines}

    def decide(self, seen: Mapping[str, datetime], now: datetime, past: History, busy: Collection[str] = ()) -> Plan:
        """Decide every moment that has come since ``seen`` and is not in the ledger.

        Parameters
        ----------
        seen
            The one of the last plan; a pipeline that is not in it begins now.
        past
            The ledger.
        busy
            Pipelines of which a run is going on: no second one starts beside it.
        """
        remembered: dict[str, datetime] = {}
        came: list[Due] = []
        wakes: list[datetime] = []
        for name, table in self._tables.items():
            # A clock that went back comes by these moments again; the ledger knows those that were dealt with.
            since = min(seen.get(name, now - _TICK), now)
            remembered[name] = now
            following = table.next(since)
            if following is not None and following.at <= now:
                came += table.between(since, now)
                following = table.next(now)
            if following is not None:
                wakes.append(following.start)
        tick = _Tick(self, now, past, busy, came)
        actions = [action for due in sorted(came, key=self._order) if (action := tick.decide(due))]
        kept, dropped = _bounded(actions)
        for action in kept:
            name = action.due.pipeline
            remembered[name] = min(remembered[name], action.due.at - _TICK)
            if action.kind is Kind.WAIT:
                wakes += (at for at in (action.due.start, action.due.deadline) if at is not None and at > now)
        return Plan(kept, dropped, remembered, min(wakes, default=None))

    def next_wake(self, now: datetime) -> datetime | None:
        """When the next moment after ``now`` may start; None if there is none."""
        found = (table.next(now) for table in self._tables.values())
        return min((due.start for due in found if due), default=None)

    def upcoming(self, start: datetime, end: datetime) -> list[Due]:
        """The moments from ``start`` up to but not including ``end``, in the order in which they would run."""
        found = [due for table in self._tables.values() for due in table.between(start - _TICK, end - _TICK)]
        return sorted(found, key=self._order)

    def latest(self, pipeline: str, now: datetime) -> Due | None:
        """The last moment of a pipeline that has come; None if there is none within a year, or it has no schedule."""
        table = self._tables.get(pipeline)
        return table.latest(now) if table else None

    def zone(self, due: Due) -> ZoneInfo:
        """The time zone of the exchange that a moment hangs on."""
        return self._tables[due.pipeline].sessions.zone

    def closed(self, due: Due) -> str:
        """Why a moment must not be traded at whatever happens; empty if there is no such reason."""
        table = self._tables[due.pipeline]
        if table.pipeline.places_orders and table.is_closed(due):
            return f"{table.sessions.name} is closed on {table.day(due)}"
        return ""

    def needs(self, due: Due) -> list[tuple[str, Due | None]]:
        """The pipelines that must have succeeded first, and their moments; None for one that is not scheduled then."""
        return [(name, self._needed(name, due)) for name in self._pipelines[due.pipeline].after]

    def slots(self, due: Due) -> int:
        """How many moments of a pipeline decide on the session of ``due``."""
        return len(self._tables[due.pipeline].of_session(due.session))

    def _needed(self, name: str, due: Due) -> Due | None:
        """The last moment of another pipeline, up to ``due``, that decides on the same session; else its first."""
        table = self._tables.get(name)
        moments = table.of_session(due.session) if table else ()
        return next((found for found in reversed(moments) if found.at <= due.at), moments[0] if moments else None)

    def _order(self, due: Due) -> tuple[datetime, int, str]:
        return due.at, self._depths[due.pipeline], due.pipeline

    def _depth(self, name: str, above: frozenset[str]) -> int:
        """How many pipelines in a row come before this one. A circle, which files cannot make, ends here."""
        pipeline = self._pipelines.get(name)
        if pipeline is None or name in above:
            return 0
        return max((1 + self._depth(other, above | {name}) for other in pipeline.after), default=0)


def _bounded(actions: list[Action]) -> tuple[tuple[Action, ...], dict[str, int]]:
    """The last so many actions of each pipeline, and how many before them are left out."""
    counts = Counter(action.due.pipeline for action in actions)
    dropped = {name: count - MOST_SKIPPED for name, count in counts.items() if count > MOST_SKIPPED}
    left = dict(dropped)
    kept = []
    for action in actions:
        if left.get(action.due.pipeline, 0) > 0:
            left[action.due.pipeline] -= 1
        else:
            kept.append(action)
    return tuple(kept), dropped


class _Tick:
    """One look at everything that has come."""

    def __init__(
        self, agenda: Agenda, now: datetime, past: History, busy: Collection[str], came: Iterable[Due]
    ) -> None:
        self._agenda = agenda
        self._now = now
        self._past = past
        self._busy = busy
        self._known: dict[tuple[str, date], Mapping[int, Past]] = {}
        self._taken: set[tuple[str, date, int]] = set()
        self._skipped: dict[tuple[str, datetime], str] = {}
        # Of a pipeline, only the last moment that has come and can be run is; later ones supersede it.
        self._last: dict[str, datetime] = {}
        for due in came:
            if due.start <= now and not agenda.closed(due):
                self._last[due.pipeline] = max(due.at, self._last.get(due.pipeline, due.at))

    def decide(self, due: Due) -> Action | None:
        """What to do about a moment; None if the ledger has it."""
        placed = self._place(due)
        if placed is None:
            return None
        self._taken.add((placed.pipeline, placed.session, placed.slot))
        action = self._judge(placed)
        if action.kind is Kind.SKIP:
            self._skipped[placed.pipeline, placed.at] = action.reason
        return action

    def _judge(self, due: Due) -> Action:
        if reason := self._agenda.closed(due):
            return Action(Kind.SKIP, due, reason)
        if self._now < due.start:
            return Action(Kind.WAIT, due, "its jitter")
        if failed := self._failed(due):
            return Action(Kind.SKIP, due, failed)
        waits_for = self._unfinished(due) or ("an earlier run of it" if due.pipeline in self._busy else "")
        if due.deadline is not None and self._now >= due.deadline:
            why = "it came later" if due.deadline <= due.at else "nothing ran it in time"
            why = f"{waits_for} was not through" if waits_for else why
            return Action(Kind.SKIP, due, f"missed its deadline, {due.deadline:%Y-%m-%d %H:%M:%S} UTC: {why}")
        later = self._last[due.pipeline]
        if later > due.at:
            return Action(Kind.SKIP, due, f"superseded by the moment at {later:%Y-%m-%d %H:%M} UTC")
        return Action(Kind.WAIT, due, f"waits for {waits_for}") if waits_for else Action(Kind.RUN, due)

    def _place(self, due: Due) -> Due | None:
        """The moment with a slot that is its own; None if it has been dealt with.

        Slots count the moments of the schedule as it is now. If it was another one earlier in the session, a slot can
        belong to another moment. A schedule with one moment a session has then had its run of this session; else the
        next free slot is taken.
        """
        records = self._records(due.pipeline, due.session)
        if any(record.at == due.at for record in records.values()):
            return None
        slot = due.slot
        if slot in records and (records[slot].at is None or self._agenda.slots(due) == 1):
            return None
        while slot in records or (due.pipeline, due.session, slot) in self._taken:
            slot += 1
        return due if slot == due.slot else replace(due, slot=slot)

    def _failed(self, due: Due) -> str:
        """What became of the first dependency that did not, and will not, succeed; empty if there is none."""
        for name, needed in self._agenda.needs(due):
            state = self._state(name, needed, due)
            if state is not None and not state.is_active and state is not RunState.SUCCEEDED:
                return f"{name} for {due.session}: {state.value}"
            if needed is not None and (reason := self._skipped.get((name, needed.at))):
                return f"{name} for {due.session}: skipped, {reason}"
        return ""

    def _unfinished(self, due: Due) -> str:
        """The dependencies that have not succeeded yet."""
        needs = self._agenda.needs(due)
        return ", ".join(n for n, needed in needs if self._state(n, needed, due) is not RunState.SUCCEEDED)

    def _state(self, name: str, needed: Due | None, due: Due) -> RunState | None:
        records = self._records(name, due.session)
        if needed is None:  # not scheduled: the run that a person started
            return records[0].state if 0 in records else None
        own = next((record for record in records.values() if record.at == needed.at), None)
        found = own or records.get(needed.slot)
        return found.state if found else None

    def _records(self, pipeline: str, session: date) -> Mapping[int, Past]:
        if (pipeline, session) not in self._known:
            self._known[pipeline, session] = self._past(pipeline, session)
        return self._known[pipeline, session]
