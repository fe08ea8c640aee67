"""Schedules for those who have a cluster: an Airflow DAG and Kubernetes CronJobs per pipeline.

Neither knows what an exchange session is. So what they start is always the same gate, ``workbench schedule due NAME``:
it asks the pipeline file, the calendar and the ledger what is due, and runs that, or nothing. A trigger that comes at
the wrong time, twice, or late trades nothing. What is exported only has to come at every moment that could be right:

- Airflow gets the exact moments of the coming year, as events.
- Kubernetes gets a CronJob for each distinct time of day at which the schedule has a moment in the coming year. For
  ``close - 15min`` in New York these are 15:45 and, for the half-days, 12:45; on the wrong one nothing is due.
"""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from workbench.errors import ConfigError
from workbench.jobs.pipelines import Pipeline
from workbench.jobs.schedule.when import GRACE, Due, Wall, parse_schedule

_MOST_EVENTS = 20_000
_STOPPING = timedelta(seconds=300)  # a run that is stopped may take that long to end cleanly
_UNBOUNDED = timedelta(days=1)  # how late Kubernetes may still start what has no deadline


@dataclass(frozen=True, slots=True)
class CronLine:
    """Minutes and hours of one cron expression, on some days of the week (0 is Sunday)."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def text(self) -> str:
        """Its five fields.

        >>> CronLine((0, 30), (9,), (1, 2, 3, 4, 5)).text
        '0,30 9 * * 1-5'
        """
        return f"{_list(self.minutes)} {_list(self.hours)} * * {_list(self.weekdays) if self.weekdays else '*'}"


def cron_lines(moments: Iterable[datetime], zone: ZoneInfo) -> list[CronLine]:
    """The fewest simple lines that come at every moment's time of day, and at no other."""
    minutes: dict[int, set[int]] = defaultdict(set)
    weekdays: set[int] = set()
    for moment in moments:
        local = moment.astimezone(zone)
        minutes[local.hour].add(local.minute)
        weekdays.add(local.isoweekday() % 7)
    hours: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for hour in sorted(minutes):
        hours[tuple(sorted(minutes[hour]))].append(hour)
    days = () if len(weekdays) == 7 else tuple(sorted(weekdays))
    return [CronLine(found, tuple(when), days) for found, when in hours.items()]


def airflow_dag(pipeline: Pipeline, dues: Sequence[Due], command: Sequence[str], home: Path, config: Path) -> str:
    """A Python file for Airflow 2.4 or later, and 3, that triggers the gate at every moment.

    Raises
    ------
    ConfigError
        If there are too many moments for a list.
    """
    if len(dues) > _MOST_EVENTS:
        raise ConfigError(
            f"{pipeline.file}: {len(dues)} moments are too many for an Airflow DAG", hint="use `workbench schedule run`"
        )
    events = "".join(f'    "{due.at.isoformat()}",\n' for due in dues)
    limit_s = int(_longest(pipeline, dues).total_seconds())
    return _DAG.format(
        name=pipeline.name,
        schedule=pipeline.schedule,
        calendar=pipeline.calendar,
        first=dues[0].at.date(),
        last=dues[-1].at.date(),
        events=events,
        dag_id=json.dumps(f"workbench_{pipeline.name}"),
        description=ascii(pipeline.description),
        command=ascii("exec " + shlex.join([*command, "schedule", "due", pipeline.name])),
        home=ascii(str(home)),
        config=ascii(str(config)),
        limit_s=limit_s,
    )


_DAG = '''"""Pipeline {name} of the workbench: {schedule} on {calendar}, {first} to {last}.

Written by `workbench schedule export --airflow`; write it again before it runs out, and when the pipeline's file or the
exchange's calendar has changed.

- Airflow only says when to look. `workbench schedule due` decides what is due, by the pipeline's file, the calendar and
  the run ledger, waits for pipelines named in `after`, and becomes `workbench run {name} --session ...`. It runs
  nothing if nothing is due: a trigger by hand, a late or a second one does no harm, and a backfill runs nothing old.
- Missed moments are handed over when Airflow is back (catchup), and the pipeline's own policy decides about them.
- No retries here: the pipeline's steps have their own, and never repeat an order.
- Tasks have to run on the machine that has the workbench's folder: the ledger is a SQLite file on a local disk.
"""

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
try:
    from airflow.providers.standard.operators.bash import BashOperator
except ImportError:  # Airflow 2
    from airflow.operators.bash import BashOperator
from airflow.timetables.events import EventsTimetable

EVENTS = [
{events}]

with DAG(
    dag_id={dag_id},
    description={description},
    schedule=EventsTimetable(event_dates=[pendulum.parse(event) for event in EVENTS], presorted=True),
    start_date=pendulum.parse(EVENTS[0]),
    catchup=True,
    max_active_runs=1,
    default_args={{"retries": 0}},
    tags=["workbench"],
) as dag:
    BashOperator(
        task_id="run",
        bash_command={command},
        cwd={home},
        env={{"WORKBENCH_CONFIG": {config}}},
        append_env=True,
        execution_timeout=timedelta(seconds={limit_s}),
    )
'''


def cron_jobs(pipeline: Pipeline, dues: Sequence[Due], zone: ZoneInfo, *, image: str) -> str:
    """Kubernetes CronJobs (1.27 or later, for ``timeZone``) that start the gate at every time of day there is."""
    assert pipeline.schedule is not None
    schedule = parse_schedule(pipeline.schedule)
    if isinstance(schedule, Wall):
        zone, lines = schedule.cron.zone, [" ".join(schedule.cron.fields)]
    else:
        lines = [line.text for line in cron_lines((due.at for due in dues), zone)]
    parts = [
        _HEADER.format(
            name=pipeline.name, schedule=pipeline.schedule, calendar=pipeline.calendar, grace_s=GRACE.seconds
        )
    ]
    for number, line in enumerate(lines):
        parts.append(
            _CRON_JOB.format(
                job=cron_job_name(pipeline.name) + (f"-{number + 1}" if len(lines) > 1 else ""),
                schedule=json.dumps(line),
                zone=json.dumps(zone.key),
                starting_s=_starting_s(dues),
                active_s=int(_longest(pipeline, dues).total_seconds()),
                image=json.dumps(image),
                name=json.dumps(pipeline.name),
            )
        )
    return "---\n".join(parts)


def cron_job_name(pipeline: str) -> str:
    """What a pipeline is called in a cluster, where an underscore is not allowed.

    >>> cron_job_name("update_data")
    'workbench-update-data'
    """
    return f"workbench-{pipeline.replace('_', '-').strip('-')}"


_HEADER = """\
# Pipeline {name} of the workbench: {schedule} on {calendar}.
# Written by `workbench schedule export --kubernetes`; write it again when the pipeline's file has changed.
#
# A CronJob knows times of day and nothing of sessions, so these come at every time of day at which there can be a
# moment, half-days included, and start `workbench schedule due`. That decides by the pipeline's file, the exchange's
# calendar and the run ledger what is due, and runs it or nothing: a holiday, the wrong one of two closing times, a late
# or a second pod trade nothing. A time of day that the clocks skip is as Kubernetes takes it, and may not come.
# A pod needs a while to start; with missed = "skip" a moment is lost {grace_s} s after it, so say run_until instead.
#
# The claim `workbench` holds the folder with workbench.toml, pipelines and data. The ledger is a SQLite file: use a
# volume with working POSIX locks, mounted on one node at a time, never NFS.
"""

_CRON_JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {job}
  labels:
    app.kubernetes.io/name: workbench
spec:
  schedule: {schedule}
  timeZone: {zone}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {starting_s}
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 5
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: {active_s}
      template:
        spec:
          restartPolicy: Never
          terminationGracePeriodSeconds: 120
          containers:
            - name: workbench
              image: {image}
              command: ["workbench", "schedule", "due", {name}]
              workingDir: /workbench
              env:
                - name: WORKBENCH_CONFIG
                  value: /workbench/workbench.toml
              envFrom:
                - secretRef:
                    name: workbench
                    optional: true
              volumeMounts:
                - name: workbench
                  mountPath: /workbench
          volumes:
            - name: workbench
              persistentVolumeClaim:
                claimName: workbench
"""


def _starting_s(dues: Sequence[Due]) -> int:
    """How late a pod may start: as late as the policy allows, but Kubernetes gives up after a hundred missed times."""
    latest = max((due.deadline - due.at if due.deadline else _UNBOUNDED for due in dues), default=GRACE)
    gaps = (later.at - due.at for due, later in pairwise(dues))
    return int(max(GRACE, min([latest, *(90 * gap for gap in gaps)])).total_seconds())


def _longest(pipeline: Pipeline, dues: Sequence[Due]) -> timedelta:
    """How long the gate and the run can take: the wait for others, all steps with their retries, a clean end."""
    steps_s = sum((step.timeout_s + step.retry_delay_s) * (1 + step.retries) for step in pipeline.steps)
    run = timedelta(seconds=steps_s if pipeline.timeout_s is None else min(steps_s, pipeline.timeout_s))
    waits = pipeline.after or pipeline.jitter_s
    wait = max((due.deadline - due.at if due.deadline else _UNBOUNDED for due in dues), default=GRACE)
    return run + _STOPPING + (wait if waits else timedelta(0))


def _list(numbers: Sequence[int]) -> str:
    """Numbers as a cron field: a range if they are one."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers))
