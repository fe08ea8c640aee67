"""Schedules made in the screen: every moment once, none long after, whatever the servers do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jupyter_scheduler.models import CreateJobDefinition, DescribeJob, ListJobsQuery, UpdateJobDefinition
from jupyter_scheduler.orm import Job, JobDefinition

from workbench.clock import ManualClock
from workbench.errors import ConfigError
from workbench.lab.links import Link
from workbench.lab.scheduler import LedgerScheduler
from workbench.lab.timetable import Timetable, first_after, last_until, parse_schedule

MONDAY = datetime(2026, 3, 2, 20, 0, tzinfo=UTC)  # 15:00 in New York
CLOSE = datetime(2026, 3, 2, 20, 55, tzinfo=UTC)  # 15:55


class Server:
    def __init__(self, scheduler: LedgerScheduler, clock: ManualClock) -> None:
        self.scheduler = scheduler
        self.timetable = Timetable(self.scheduler, clock=clock)

    def define(
        self, made: datetime, schedule: str = "55 15 * * MON-FRI", timezone: str | None = "America/New_York"
    ) -> str:
        asked = CreateJobDefinition(
            input_uri="notebooks/sum.ipynb", name="sum", runtime_environment_name="workbench", schedule=schedule,
            timezone=timezone, output_formats=["ipynb"], parameters={"a": "3"},
        )  # fmt: skip
        definition_id: str = self.scheduler.create_job_definition(asked)
        self.pretend(definition_id, made)
        return definition_id

    def pretend(self, definition_id: str, changed: datetime) -> None:
        """Date the last change, which is made on the machine's clock, by the test's."""
        with self.scheduler.db_session() as session:
            at = {"update_time": int(changed.timestamp() * 1000)}
            session.query(JobDefinition).filter(JobDefinition.job_definition_id == definition_id).update(at)
            session.commit()

    def jobs(self) -> list[DescribeJob]:
        found: list[DescribeJob] = self.scheduler.list_jobs(ListJobsQuery()).jobs
        return found

    def moments(self) -> list[str]:
        with self.scheduler.db_session() as session:
            dues = session.query(Link.due).filter(Link.due.is_not(None)).order_by(Link.due).all()
        return [datetime.fromtimestamp(due / 1000, UTC).isoformat() for (due,) in dues]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(MONDAY)


@pytest.fixture
def start(idle: Callable[[], LedgerScheduler], clock: ManualClock) -> Callable[[], Server]:
    return lambda: Server(idle(), clock)


def look_often(server: Server, clock: ManualClock, until: datetime) -> None:
    while clock.now() < until:
        clock.sleep(min(5.0, (until - clock.now()).total_seconds()))
        server.timetable.look()


def test_a_job_starts_at_its_moment_and_once(start: Callable[[], Server], clock: ManualClock) -> None:
    server = start()
    server.define(MONDAY)
    look_often(server, clock, CLOSE - timedelta(seconds=1))
    assert server.jobs() == []
    look_often(server, clock, CLOSE + timedelta(minutes=3))
    (job,) = server.jobs()
    assert (job.status.value, job.parameters, job.name) == ("IN_PROGRESS", {"a": "3"}, "sum")
    assert server.moments() == ["2026-03-02T20:55:00+00:00"]


def test_two_servers_start_a_job_once(start: Callable[[], Server], clock: ManualClock) -> None:
    one, other = start(), start()
    one.define(MONDAY)
    for moment in (CLOSE - timedelta(hours=1), CLOSE, CLOSE + timedelta(seconds=1)):
        clock.sleep((moment - clock.now()).total_seconds())
        one.timetable.look()
        other.timetable.look()
    assert len(one.jobs()) == 1


def test_what_a_sleeping_machine_missed_is_one_row_and_no_run(start: Callable[[], Server], clock: ManualClock) -> None:
    server = start()
    server.define(MONDAY, "*/5 * * * *", None)
    server.timetable.look()
    clock.sleep(3 * 3600 + 90)  # 36 moments; the last was 90 seconds ago
    server.timetable.look()
    server.timetable.look()
    (job,) = server.jobs()
    assert job.status.value == "STOPPED"
    assert job.status_message == "missed: it was due at 2026-03-02 23:00 UTC, when this server did not run"
    clock.sleep(300 - 90)
    server.timetable.look()
    assert [job.status.value for job in server.jobs()] == ["IN_PROGRESS", "STOPPED"]


def test_what_was_missed_while_no_server_ran_is_one_row(start: Callable[[], Server], clock: ManualClock) -> None:
    start().define(MONDAY)
    clock.sleep(4 * 86_400)  # Friday, 15:00: four closes have passed
    server = start()
    server.timetable.look()
    (job,) = server.jobs()
    assert job.status_message == "missed: it was due at 2026-03-05 15:55 EST, when this server did not run"


def test_a_job_that_is_a_little_late_runs(start: Callable[[], Server], clock: ManualClock) -> None:
    server = start()
    server.define(MONDAY)
    clock.sleep((CLOSE - MONDAY).total_seconds() + 45)
    server.timetable.look()
    assert [job.status.value for job in server.jobs()] == ["IN_PROGRESS"]


def test_a_clock_that_goes_back_starts_nothing_twice(start: Callable[[], Server], clock: ManualClock) -> None:
    server = start()
    server.define(MONDAY)
    clock.sleep((CLOSE - MONDAY).total_seconds())
    server.timetable.look()
    clock.sleep(-600)
    for again in (server, start()):
        look_often(again, clock, CLOSE + timedelta(seconds=5))
        clock.sleep(-10)
    assert len(server.jobs()) == 1


def test_pausing_and_changing_a_schedule_in_one_server_holds_for_the_other(
    start: Callable[[], Server], clock: ManualClock
) -> None:
    one, other = start(), start()
    definition = one.define(MONDAY)
    other.timetable.look()
    one.scheduler.update_job_definition(definition, UpdateJobDefinition(active=False))
    one.pretend(definition, clock.now())
    look_often(other, clock, CLOSE + timedelta(seconds=2))
    assert other.jobs() == []
    one.scheduler.update_job_definition(definition, UpdateJobDefinition(active=True, schedule="57 15 * * *"))
    one.pretend(definition, clock.now())
    look_often(other, clock, CLOSE + timedelta(minutes=3))
    assert other.moments() == ["2026-03-02T20:57:00+00:00"]


def test_a_broken_definition_does_not_stop_the_others(
    start: Callable[[], Server], clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    broken, _whole = server.define(MONDAY), server.define(MONDAY)
    with server.scheduler.db_session() as session:
        session.query(JobDefinition).filter(JobDefinition.job_definition_id == broken).update({"schedule": "never"})
        session.commit()
    server.pretend(broken, MONDAY)
    clock.sleep((CLOSE - MONDAY).total_seconds())
    with caplog.at_level(logging.ERROR):
        server.timetable.look()
    assert len(server.jobs()) == 1
    assert broken in caplog.text


def test_a_job_that_cannot_be_made_is_not_tried_again_every_second(
    start: Callable[[], Server], clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = start()
    definition = server.define(MONDAY)
    (Path(server.scheduler.staging_path) / definition / "sum.ipynb").unlink()
    clock.sleep((CLOSE - MONDAY).total_seconds())
    with caplog.at_level(logging.ERROR):
        look_often(server, clock, CLOSE + timedelta(seconds=10))
    assert len([record for record in caplog.records if definition in record.getMessage()]) == 1
    with server.scheduler.db_session() as session:
        assert session.query(Job).count() == 0


def test_moments_follow_the_wall_clock_through_both_changes() -> None:
    cron = parse_schedule("30 1,2 * * *", "America/New_York")
    spring = datetime(2026, 3, 8, 0, 0, tzinfo=UTC)
    assert first_after(cron, spring) == datetime(2026, 3, 8, 6, 30, tzinfo=UTC)  # 1:30 EST
    assert first_after(cron, datetime(2026, 3, 8, 6, 30, tzinfo=UTC)) == datetime(
        2026, 3, 8, 7, 0, tzinfo=UTC
    )  # 3:00 EDT
    autumn = datetime(2026, 11, 1, 4, 0, tzinfo=UTC)
    assert first_after(cron, autumn) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)  # 1:30 EDT, not again at 1:30 EST
    assert first_after(cron, datetime(2026, 11, 1, 5, 30, tzinfo=UTC)) == datetime(2026, 11, 1, 7, 30, tzinfo=UTC)


def test_a_rare_schedule_is_found_and_an_impossible_one_refused() -> None:
    leap = parse_schedule("0 0 29 2 *", None)
    assert first_after(leap, datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)
    assert last_until(leap, datetime(2024, 2, 29, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)).year == 2024
    with pytest.raises(ConfigError, match="no month has that day"):
        parse_schedule("0 0 31 2 *", None)


@pytest.mark.parametrize(
    ("schedule", "zone", "message"),
    [
        ("55 15 * *", "UTC", "not five fields"),
        ("0 55 15 * * *", "UTC", "not five fields"),
        ("@daily", "UTC", "not five fields"),
        ("61 15 * * *", "UTC", "61 is no minute"),
        ("55 15 * * *", "America/New_Yorc", "no time zone"),
    ],
)
def test_a_schedule_that_could_not_be_kept_is_refused_in_one_line(schedule: str, zone: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_schedule(schedule, zone)
