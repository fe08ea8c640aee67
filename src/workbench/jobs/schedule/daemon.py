"""The scheduler's daemon: wakes up, asks what is due, has worker processes do it, ends as it is asked to.

What is due is a pure function of pipelines, ledger and time (:mod:`workbench.jobs.schedule.agenda`), so nothing is lost
or done twice when the daemon dies: it is decided again. One daemon is at work per installation, by a lease; the claim
of a run in the ledger is the fence behind it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from workbench.errors import JournalError, RunCancelled, RunOverlap
from workbench.jobs.schedule.alarm import Alarm, SchedulerAlarm
from workbench.jobs.schedule.crew import Crew, Event, Job
from workbench.jobs.schedule.dispatcher import Dispatcher, Limits, Post
from workbench.jobs.schedule.events import EventLog
from workbench.journal import Journal, Owner, RunJournal
from workbench.journal.leases import Lease


class Daemon:
    """Runs every pipeline at its moments until :meth:`stop` is called.

    Parameters
    ----------
    command
        What starts a worker; see :class:`workbench.jobs.schedule.worker.Assignment` for what is added to it.
    env
        A worker's environment.
    drain
        Whether running jobs may finish after the first :meth:`stop`.
    """

    def __init__(
        self,
        post: Post,
        log: EventLog,
        *,
        command: Sequence[str],
        env: Mapping[str, str],
        drain: bool = False,
        limits: Limits | None = None,
        alarm: Callable[[Callable[[], object]], Alarm] = SchedulerAlarm,
    ) -> None:
        self._post = post
        self._log = log
        self._drain = drain
        self._limits = limits or Limits()
        self._make_alarm = alarm
        self._inbox: queue.SimpleQueue[tuple[Job, Event] | None] = queue.SimpleQueue()
        self._crew = Crew(command, env, log.stream, lambda job, event: self._inbox.put((job, event)))
        self._renewed = 0.0
        self._stops = 0
        self._cut_short = False

    def stop(self) -> None:
        """Stop; may be called from a signal handler. Once more stops what still runs, and once more kills it."""
        self._stops += 1
        self._inbox.put(None)

    def ring(self) -> None:
        """Look at what is due now; may be called from any thread."""
        self._inbox.put(None)

    def run(self, *, standby: bool = False) -> int:
        """Work until stopped; the exit code: 0, or 143 if that stopped a running job.

        Raises
        ------
        RunOverlap
            If another scheduler is at work, unless ``standby`` waits for its end; or if it took over from this one.
        JournalError
            If the journal cannot be opened.
        """
        with Journal(self._post.settings.journal_file, self._post.machine_clock) as journal:
            self._runs = RunJournal(journal)
            lease = self._acquire(standby)
            if lease is None:
                return 0
            alarm = self._make_alarm(self.ring)
            try:
                self._work(journal, lease, alarm)
                return RunCancelled.exit_code if self._cut_short else 0
            finally:
                alarm.close()
                for job in self._crew:
                    job.worker.dismiss()

    def _acquire(self, standby: bool) -> Lease | None:
        """The right to be the only one; None if it was stopped while it waited for that."""
        while not self._stops:
            try:
                self._renewed = self._post.machine_clock.monotonic()
                return self._runs.acquire(self._post.name, Owner.current(), self._limits.lease_s)
            except RunOverlap as error:
                if not standby:
                    hint = "--standby waits until it ends"
                    raise RunOverlap(f"another scheduler is at work: {error.message}", hint=hint) from error
                self._log.once("standby", error.message)
            self._receive(self._limits.look_s)
        return None

    def _work(self, journal: Journal, lease: Lease, alarm: Alarm) -> None:
        folder = self._post.settings.pipelines_dir
        self._log.write("on duty", f"account {self._post.account}, pipelines in {folder}", account=self._post.account)
        self._dispatcher = Dispatcher(self._post, self._limits, journal, self._crew, self._log)
        while not self._stops:
            delay_s = self._limits.look_s
            try:
                self._keep(lease)
                delay_s = self._dispatcher.tick()
            except JournalError as error:  # full disk, locked file: nothing can be claimed, so nothing is started
                self._log.once("journal", str(error), level="error")
            except OSError as error:  # no process, no log file: another look may be luckier
                self._log.once("system", str(error), level="error")
            else:
                self._log.over("journal")
                self._log.over("system")
            alarm.set(delay_s)
            self._receive(
                delay_s + self._limits.look_s
            )  # a clock that is set back must not keep the alarm from ringing
        self._wind_up(lease)

    def _receive(self, timeout_s: float) -> None:
        """Wait for the next message; take in all that are there."""
        try:
            message = self._inbox.get(timeout=timeout_s)
            while True:
                if message is not None:
                    self._hear(*message)
                message = self._inbox.get_nowait()
        except queue.Empty:
            return

    def _keep(self, lease: Lease) -> None:
        """Prolong the lease in time, but not while a bell is about to ring: the journal is the job's then.

        Raises
        ------
        RunOverlap
            If it has passed to another scheduler, because this one was suspended for longer than it lasts.
        """
        now_s = self._post.machine_clock.monotonic()
        quiet = any(job.told and not job.begun for job in self._crew)
        if now_s - self._renewed < self._limits.lease_s / (2 if quiet else 3):
            return
        if not self._runs.renew(lease, self._limits.lease_s):
            raise RunOverlap(
                "another scheduler has taken over", hint="running jobs are finished by their own processes"
            )
        self._renewed = now_s

    def _hear(self, job: Job, event: Event) -> None:
        if "text" in event:
            self._log.write("says", str(event["text"]), pipeline=job.pipeline, pid=job.worker.pid)
        elif "error" in event:
            job.error = str(event["error"])
        elif "begun" in event:
            job.begun = True
            late_s = (datetime.fromisoformat(str(event["begun"])) - job.assignment.start).total_seconds()
            text = f"{late_s * 1000:,.1f} ms after its moment" if late_s < 1 else f"{late_s:,.1f} s after its moment"
            self._log.write("begins", text, pipeline=job.pipeline, pid=job.worker.pid, late_s=late_s)
        elif "jumped_s" in event:
            job.told = False  # what is due is decided again, by the new time
            text = f"set forward by {event['jumped_s']} s"
            self._log.write("clock", text, pipeline=job.pipeline, level="warning")
        elif "ended" in event:
            self._end(job, int(str(event["ended"])))

    def _end(self, job: Job, code: int) -> None:
        self._crew.forget(job)
        if job.dismissed or (self._stops and not job.begun):
            return  # its moment is decided again, by the next scheduler if there is one
        if not job.told:
            self._dispatcher.warming_failed(job)
            text = f"exit code {code}: {job.error or 'it did not say why'}"
            self._log.write("warming failed", text, pipeline=job.pipeline, level="warning", code=code)
            return
        self._cut_short |= bool(self._stops) and code != 0
        state, why = "not recorded", job.error
        try:
            run = self._dispatcher.settle(job, code)
            state, why = run.state.value, run.reason or job.error
        except JournalError as error:
            self._log.once("journal", str(error), level="error")
        text = f"{state}, exit code {code}" + (f": {why}" if code and why else "")
        self._log.write(
            "ended", text, pipeline=job.pipeline, level="error" if code else "info", code=code, state=state,
            run=job.key.run_id,
        )  # fmt: skip

    def _wind_up(self, lease: Lease) -> None:
        """Start nothing more; wait for what runs, stop it, or kill it, as asked."""
        for job in self._crew:
            if not job.told:
                self._crew.dismiss(job)
            elif not job.begun:
                job.worker.dismiss()  # it may be at its bell right now: what it does is waited for
        if self._crew.told:
            self._log.write("stopping", f"{len(self._crew.told)} at work, {'waits' if self._drain else 'stops them'}")
        self._end_jobs(lease)
        try:
            self._dispatcher.remember()
            self._runs.release(lease)
        except JournalError as error:
            self._log.once("journal", str(error), level="error")
        self._log.write("off duty")

    def _end_jobs(self, lease: Lease) -> None:
        clock = self._post.machine_clock
        asked_s: float | None = None
        killed = False
        while self._crew.told:
            pressure = self._stops - self._drain
            if pressure > 0 and asked_s is None:
                asked_s = clock.monotonic()
                for job in self._crew.told:
                    job.worker.terminate()
            overdue = asked_s is not None and clock.monotonic() - asked_s > self._limits.stop_s
            if not killed and (pressure > 1 or overdue):
                killed = True
                for job in self._crew.told:
                    self._log.write("kills", f"process {job.worker.pid}", pipeline=job.pipeline, level="warning")
                    job.worker.kill()
            self._receive(self._limits.look_s)
            try:
                self._keep(lease)
            except JournalError as error:
                self._log.once("journal", str(error), level="error")
