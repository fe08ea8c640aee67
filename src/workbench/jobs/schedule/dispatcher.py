"""Turns what the agenda says into worker processes: warm before the moment, told to go, put on record if not run.

Jobs with orders go one after the other on an account. Jobs without go side by side, a few at once, and never keep one
with orders waiting.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from workbench.calendars import calendar
from workbench.clock import Clock
from workbench.errors import DeadlineMissed
from workbench.jobs.pipelines import Pipeline
from workbench.jobs.schedule.agenda import Agenda, Kind, Plan
from workbench.jobs.schedule.crew import Crew, Job
from workbench.jobs.schedule.events import EventLog
from workbench.jobs.schedule.fingerprint import fingerprint
from workbench.jobs.schedule.folder import PipelineFolder
from workbench.jobs.schedule.history import LedgerHistory
from workbench.jobs.schedule.when import Due
from workbench.jobs.schedule.worker import JUMP_S, Assignment, Order
from workbench.journal import Journal, Origin, Owner, RunJournal, RunKey, RunRecord
from workbench.journal.records import SLOT
from workbench.journal.states import RunState
from workbench.settings import Settings

_NOTE_S = 60.0  # how often it is noted how far the schedule has come, when nothing happens


@dataclass(frozen=True, slots=True)
class Limits:
    """The scheduler's times, and how many jobs without orders run at once.

    ``look_s`` is how often files, lease and dead runs are looked at, ``warm_s`` how long before its moment a worker is
    started, ``arm_s`` how long before it the worker is told that it may go and gets ready, ``stop_s`` what a job gets
    for a clean stop (its kernel's own grace is 10 s).
    """

    look_s: float = 2.0
    lease_s: float = 30.0
    warm_s: float = 60.0
    arm_s: float = 2.0
    stop_s: float = 30.0
    side_by_side: int = 4


@dataclass(frozen=True, slots=True)
class Post:
    """For whom the scheduler works: the account, the time it goes by, and how that differs from the machine's.

    ``name`` keeps a rehearsal apart from the real thing: in the lease, and in what is remembered.
    """

    settings: Settings
    account: str
    name: str
    clock: Clock
    machine_clock: Clock
    allow_dirty: bool = False

    @property
    def offset_s(self) -> float:
        """By how much the scheduler's time is ahead of the machine's: 0 except in a rehearsal."""
        if self.clock is self.machine_clock:
            return 0.0
        return (self.clock.now() - self.machine_clock.now()).total_seconds()


class Dispatcher:
    """What is scheduled, and who works on it."""

    def __init__(self, post: Post, limits: Limits, journal: Journal, crew: Crew, log: EventLog) -> None:
        self._post = post
        self._limits = limits
        self._runs = runs = RunJournal(journal)
        self._crew = crew
        self._log = log
        self._history = LedgerHistory(journal, post.account)
        self._calendars = partial(calendar, cache=post.settings.cache_dir)
        self._folder = PipelineFolder(post.settings.pipelines_dir, self._calendars)
        self._agenda = Agenda((), self._calendars)
        self._settled: set[RunKey] = set()  # what has ended in this process, should the ledger not say so
        self._cold: set[RunKey] = set()  # whose warming failed: they are started when they are due
        self._note, self._noted = "", float("-inf")
        self._last: tuple[datetime, float] | None = None
        self._broken = "broken:" if post.name == "scheduler" else f"{post.name}:broken:"
        noted = runs.recall(f"{post.name}:seen")
        self._seen = {name: datetime.fromisoformat(at) for name, at in json.loads(noted or "{}").items()}
        for name in runs.recall_all(self._broken):
            runs.remember(f"{self._broken}{name}", "")  # told again by the first look, if it still is

    def tick(self) -> float:
        """Do what is due; the seconds until there may be more."""
        self._look(self._post.clock.now())
        for run in self._runs.reap():
            self._log.write("lost", run.reason, pipeline=run.key.pipeline, level="error", run=run.run_id)
        now = self._post.clock.now()
        self._watch_clock(now)
        plan = self._decide(now)
        self._carry_out(plan, now)
        self._move_on(plan)
        ahead = self._ahead(now)
        self._arm(now, ahead)
        self._warm(plan, ahead)
        return self._delay_s(now, plan, ahead)

    def warming_failed(self, job: Job) -> None:
        """A worker has ended before it was told to go; the next one is started when the job is due."""
        self._cold.add(job.key)

    def settle(self, job: Job, code: int) -> RunRecord:
        """The record of a job whose process is gone; one that never claimed its run is put aside, not run again."""
        self._settled.add(job.key)
        self._runs.reap()
        run = self._runs.find(job.key)
        if run is not None and run.state is not RunState.QUEUED:
            return run
        reason = job.error or f"its process ended with exit code {code} before the run began"
        state = RunState.SKIPPED if code in {0, DeadlineMissed.exit_code} else RunState.REJECTED
        return self._runs.put_aside(
            job.key, Owner.current(), state, reason, origin=Origin("schedule", job.assignment.at)
        )

    def remember(self) -> None:
        """Keep how far the schedule has come, for the next process."""
        text = json.dumps({name: at.isoformat() for name, at in self._seen.items()})
        if text != self._note:
            self._runs.remember(f"{self._post.name}:seen", text)
        self._note, self._noted = text, self._post.machine_clock.monotonic()

    # ---- what is due -----------------------------------------------------------------------------

    def _look(self, since: datetime) -> None:
        """Take in what was edited; what is new counts from ``since``, however long the look takes."""
        edits = self._folder.look()
        for edit in edits:
            stays = "the last good pipeline stays: " if edit.name in self._folder.pipelines else ""
            broken = edit.change == "broken"
            self._log.write(
                edit.change, f"{stays}{edit.detail}" if broken else "", pipeline=edit.name,
                level="warning" if broken else "info",
            )  # fmt: skip
            self._runs.remember(f"{self._broken}{edit.name}", edit.detail)
        if edits:
            self._agenda = Agenda(self._folder.pipelines.values(), self._calendars)
            self._cold.clear()
            self._seen = dict.fromkeys(self._folder.pipelines, since) | self._seen

    def _watch_clock(self, now: datetime) -> None:
        """Say that the clock was set, or that the machine slept: moments may then come late, or once more."""
        elapsed_s = self._post.clock.monotonic()
        if self._last is not None:
            jumped_s = (now - self._last[0]).total_seconds() - (elapsed_s - self._last[1])
            if abs(jumped_s) > JUMP_S:
                self._log.write("clock", f"set by {jumped_s:+,.1f} s", level="warning", jumped_s=jumped_s)
        self._last = now, elapsed_s

    def _decide(self, at: datetime) -> Plan:
        busy = self._history.busy() | {job.pipeline for job in self._crew.told}
        return self._agenda.decide(self._seen, at, self._history, busy)

    def _carry_out(self, plan: Plan, now: datetime) -> None:
        for action in plan.actions:
            due, key = action.due, self._key(action.due)
            if key in self._settled or self._is_told(due):  # it is on its way to the ledger
                continue
            if action.kind is Kind.SKIP:
                self._skip(due, action.reason)
            elif action.kind is Kind.RUN:
                self._start(due, now)
            else:
                self._log.once("waits", action.reason, pipeline=due.pipeline, about=key)
        for name, count in plan.dropped.items():
            text = f"{count} moments, too many for a record each"
            self._log.once("missed", text, pipeline=name, level="warning", about=name)

    def _start(self, due: Due, now: datetime) -> None:
        """Tell a worker to go at the moment, if it is its turn."""
        key, pipeline = self._key(due), self._folder.pipelines[due.pipeline]
        job = self._crew.get(key)
        if not self._has_room(pipeline):
            if now >= due.start:
                self._runs.enqueue(key, Owner.current(), folder="", origin=Origin("schedule", due.at))
            self._log.once("waits", "for the jobs before it", pipeline=due.pipeline, about=key)
            return
        made_of = fingerprint(self._post.settings, pipeline)
        if job is not None and job.made_of != made_of:
            self._discard(job)
            job = None
        warm = job is not None
        job = job or self._crew.start(key, self._assignment(due), made_of)
        self._crew.go(job, Order(due.start, due.deadline, self._post.offset_s))
        late_s = (now - due.start).total_seconds()
        self._log.write(
            "starts", _describe(due, late_s, warm), pipeline=due.pipeline, pid=job.worker.pid, session=due.session,
            slot=due.slot, due=due.at,
        )  # fmt: skip

    def _has_room(self, pipeline: Pipeline) -> bool:
        running = [self._folder.pipelines.get(job.pipeline) for job in self._crew.told]
        alike = [other for other in running if other is None or other.places_orders == pipeline.places_orders]
        return len(alike) < (1 if pipeline.places_orders else self._limits.side_by_side)

    def _skip(self, due: Due, reason: str) -> None:
        key = self._key(due)
        job = self._crew.get(key)
        if job is not None:
            self._crew.dismiss(job)
        self._runs.put_aside(key, Owner.current(), RunState.SKIPPED, reason, origin=Origin("schedule", due.at))
        self._settled.add(key)
        self._log.write(
            "skipped", f"{due.at:%Y-%m-%d %H:%M} UTC: {reason}", pipeline=due.pipeline, level="warning",
            session=due.session, slot=due.slot, due=due.at,
        )  # fmt: skip

    def _move_on(self, plan: Plan) -> None:
        """Leave the moments behind that are in the ledger. What is kept on disk may lag behind by a minute."""
        known = self._seen.keys()
        self._seen = plan.seen
        aged = self._post.machine_clock.monotonic() - self._noted > _NOTE_S
        if aged or known != self._seen.keys():
            self.remember()

    # ---- before it is due ------------------------------------------------------------------------

    def _ahead(self, now: datetime) -> list[Due]:
        """The moments whose start comes within the time that a worker is warmed in, the next one first."""
        jitter = max((p.jitter_s for p in self._folder.pipelines.values()), default=0.0)
        end = now + timedelta(seconds=self._limits.warm_s)
        found = self._agenda.upcoming(now - timedelta(seconds=jitter), end)
        return sorted((due for due in found if now < due.start <= end), key=lambda due: due.start)

    def _arm(self, now: datetime, ahead: list[Due]) -> None:
        """Tell the workers of the next moments that they may go when it is time."""
        horizon = now + timedelta(seconds=self._limits.arm_s)
        if not any(due.start <= horizon for due in ahead):
            return
        for action in self._decide(horizon).actions:
            ours = action.kind is Kind.RUN and action.due.start > now
            if ours and self._key(action.due) not in self._settled and not self._is_told(action.due):
                self._start(action.due, now)

    def _warm(self, plan: Plan, ahead: list[Due]) -> None:
        """Start workers for what comes next; throw away those that are not wanted or not fresh any more."""
        wanted = {self._key(due): due for due in ahead}
        pending = {self._key(action.due) for action in plan.actions if action.kind is not Kind.SKIP}
        for job in self._crew:
            if job.told:
                continue
            pipeline = self._folder.pipelines.get(job.pipeline)
            if pipeline is None or job.key not in wanted.keys() | pending:
                self._discard(job, "it is not due any more")
            elif job.made_of != fingerprint(self._post.settings, pipeline):
                self._discard(job)
        room = self._limits.side_by_side + 1 - sum(not job.told for job in self._crew)
        fresh = [key for key in wanted if key not in self._cold | self._settled and self._crew.get(key) is None]
        for key in fresh[: max(0, room)]:
            due = wanted[key]
            made_of = fingerprint(self._post.settings, self._folder.pipelines[due.pipeline])
            job = self._crew.start(key, self._assignment(due), made_of)
            self._log.write("warms", f"process {job.worker.pid}", pipeline=due.pipeline, pid=job.worker.pid, due=due.at)

    def _discard(self, job: Job, why: str = "what it was made of has changed") -> None:
        self._log.write("discards", f"the warm process {job.worker.pid}: {why}", pipeline=job.pipeline)
        self._crew.dismiss(job)

    def _delay_s(self, now: datetime, plan: Plan, ahead: list[Due]) -> float:
        """Until the next look, moment to arm a worker, or decision, whichever is first."""
        untold = [due.start for due in ahead if not self._is_told(due)]
        moments = [start - timedelta(seconds=self._limits.arm_s) for start in untold] + untold
        if plan.wake is not None and not any(job.told and not job.begun for job in self._crew):
            moments.append(plan.wake)  # else the bell is the worker's alone: it tells when it has begun
        left = [(moment - now).total_seconds() for moment in moments if moment > now]
        return min([self._limits.look_s, *left])

    def _is_told(self, due: Due) -> bool:
        job = self._crew.get(self._key(due))
        return job is not None and job.told

    def _key(self, due: Due) -> RunKey:
        return RunKey(self._post.account, due.pipeline, due.session, due.slot * SLOT)

    def _assignment(self, due: Due) -> Assignment:
        post, definition = self._post, self._folder.pipelines[due.pipeline].model_dump_json(exclude_unset=True)
        return Assignment(
            due.pipeline, post.account, due.session, due.slot, due.at, due.start, post.allow_dirty, definition
        )


def _describe(due: Due, late_s: float, warm: bool) -> str:
    slot = f" slot {due.slot}" if due.slot else ""
    late = f", {late_s:,.0f} s late" if late_s >= 1 else ""
    return f"{due.session}{slot}, due {due.at:%Y-%m-%d %H:%M:%S} UTC{late}, {'warm' if warm else 'cold'}"
