"""What wakes the scheduler. When something is due is not decided here: see :mod:`workbench.jobs.schedule.agenda`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Alarm(Protocol):
    """Rings when it was set to. One that was set again rings once, at the new time."""

    def set(self, delay_s: float) -> None: ...

    def close(self) -> None: ...


class SchedulerAlarm:
    """APScheduler, of which only the waking is used.

    Its defaults would drop a job that wakes more than a second late, and a cron time of its own fires twice or never
    when the clocks change; so it gets one moment at a time, in UTC, and is never too late for it.

    Examples
    --------
    >>> import threading
    >>> rung = threading.Event()
    >>> alarm = SchedulerAlarm(rung.set)
    >>> alarm.set(0.01)
    >>> rung.wait(30)
    True
    >>> alarm.close()
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        from apscheduler.executors.debug import DebugExecutor
        from apscheduler.schedulers.background import BackgroundScheduler

        self._ring = ring
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},  # in the scheduler's own thread: ringing takes no time
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.start()

    def set(self, delay_s: float) -> None:
        moment = datetime.now(UTC) + timedelta(seconds=max(0.0, delay_s))
        self._scheduler.add_job(self._ring, "date", run_date=moment, id="wake", replace_existing=True)

    def close(self) -> None:
        self._scheduler.shutdown(wait=False)
