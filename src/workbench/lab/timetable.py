"""The schedules made in the screen: cron and a time zone, looked at every second.

jupyter-scheduler's own queue lives in one server's memory: with two servers a job runs twice, a schedule that was
edited in one is unknown to the other, and after a machine has slept the job of hours ago is run. Here every look
reads the definitions, and a moment is taken in the database or found taken. Cron lines mean what they mean in a
pipeline's file.
"""

# jupyter-scheduler has no types:
# mypy: disable-error-code="misc"

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from jupyter_scheduler.models import CreateJob, DescribeJobDefinition, UpdateJobDefinition
from jupyter_scheduler.orm import JobDefinition
from jupyter_scheduler.task_runner import BaseTaskRunner
from sqlalchemy import func

from workbench.clock import Clock, SystemClock
from workbench.errors import ConfigError
from workbench.jobs.schedule.cron import Cron
from workbench.lab.links import Link, MomentTaken

LOOK_S = 1.0
# A job that could not be started for so long after its moment is not run any more.
LATE_S = 60.0
_TICK = timedelta(milliseconds=1)  # moments are kept in milliseconds
_NEAR, _FAR = timedelta(days=7), timedelta(days=366 * 8 + 1)  # 29 February can be eight years away


class Timetable(BaseTaskRunner):
    """Starts the jobs of definitions when they are due, each moment once, and none long after."""

    def __init__(self, scheduler: Any, config: Any = None, clock: Clock | None = None) -> None:
        super().__init__(config=config)
        self._scheduler = scheduler
        self._clock = clock or SystemClock()
        self._next: dict[tuple[str, int], datetime | None] = {}

    async def start(self) -> None:
        """Look every second for as long as the server lives."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Start what is due; a schedule that fails is told in the server's log and does not stop the others."""
        try:
            with self._scheduler.db_session() as session:
                mine = session.query(JobDefinition).filter(JobDefinition.active, JobDefinition.schedule.is_not(None))
                definitions = [DescribeJobDefinition.from_orm(row) for row in mine]
        except Exception:  # a locked database, a full disk: the next look is in a second
            self.log.exception("the schedules cannot be read")
            return
        for definition in definitions:
            try:
                self._look_at(definition, self._clock.now())
            except Exception:  # of this definition alone
                self.log.exception("job definition %s (%s)", definition.name, definition.job_definition_id)

    def _look_at(self, definition: DescribeJobDefinition, now: datetime) -> None:
        cron = parse_schedule(definition.schedule, definition.timezone)
        state = (definition.job_definition_id, definition.update_time)
        if state not in self._next:
            self._next[state] = first_after(cron, self._since(definition))
        upcoming = self._next[state]
        if upcoming is None or now < upcoming:
            return
        due = last_until(cron, upcoming, now)
        missed = ""
        if (now - due).total_seconds() > LATE_S:
            missed = (
                f"missed: it was due at {due.astimezone(cron.zone):%Y-%m-%d %H:%M %Z}, when this server did not run"
            )
        attributes = definition.dict(exclude={"schedule", "timezone", "active"}, exclude_none=True)
        job = CreateJob(**attributes, input_uri=definition.input_filename)
        try:
            self._scheduler.start_job(job, due=due, missed=missed)
        except MomentTaken:
            self.log.info("%s: the job of %s is another server's", definition.name, due)
        finally:  # whatever went wrong would go wrong again a second later
            self._next[state] = first_after(cron, due)

    def _since(self, definition: DescribeJobDefinition) -> datetime:
        """The moment up to which a definition is done: its last job's, or when it was made or changed."""
        with self._scheduler.db_session() as session:
            mine = Link.definition_id == definition.job_definition_id
            last = session.query(func.max(Link.due)).filter(mine).scalar() or 0
        return datetime.fromtimestamp(max(last, definition.update_time) / 1000, UTC)

    # Every look reads the definitions themselves, so there is nothing to be told.

    def add_job_definition(self, job_definition_id: str) -> None: ...

    def update_job_definition(self, job_definition_id: str, model: UpdateJobDefinition) -> None: ...

    def delete_job_definition(self, job_definition_id: str) -> None: ...

    def pause_jobs(self, job_definition_id: str) -> None: ...

    def resume_jobs(self, job_definition_id: str) -> None: ...


def parse_schedule(schedule: str, timezone: str | None) -> Cron:
    """Read what the form says; without a time zone it is UTC.

    Raises
    ------
    ConfigError
        Naming what is wrong.

    Examples
    --------
    >>> parse_schedule("55 15 * * MON-FRI", "America/New_York").text
    'cron 55 15 * * mon-fri America/New_York'
    """
    if len(schedule.split()) != 5:
        raise ConfigError(f"schedule {schedule!r} is not five fields", hint="for example 55 15 * * MON-FRI")
    try:
        return Cron.parse(f"{schedule} {timezone or 'UTC'}")
    except ValueError as error:
        raise ConfigError(f"schedule {schedule!r}: {error}") from error


def first_after(cron: Cron, moment: datetime) -> datetime | None:
    """The next moment of a schedule; None if there is none in the years that it is looked for."""
    start = moment + _TICK
    for end in (start + timedelta(days=1), start + _NEAR, start + _FAR):
        found = cron.between(start, end)
        if found:
            return found[0]
    return None


def last_until(cron: Cron, first: datetime, now: datetime) -> datetime:
    """The last moment of a schedule that has come, when ``first`` has: those between them are not made up for."""
    recent = cron.between(max(first, now - _NEAR), now + _TICK)
    return (recent or cron.between(first, now + _TICK))[-1]
