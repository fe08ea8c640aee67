"""One job of the screen: ``workbench run`` in a process of its own, and the ledger's word on how it went.

The process is not the server's to lose: it has a session of its own, so Ctrl-C in the server's terminal does not
reach it, and it goes on when the server is gone. Whoever looks at the job next reads the ledger.
"""

# jupyter-scheduler has no types:
# mypy: disable-error-code="misc"

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyter_scheduler.executors import ExecutionManager
from jupyter_scheduler.models import JobFeature, Status
from jupyter_scheduler.orm import Job
from jupyter_scheduler.utils import get_utc_timestamp

from workbench.clock import SystemClock
from workbench.errors import WorkbenchError
from workbench.jobs.parameters import read_cells
from workbench.journal import Journal, Owner, RunJournal, RunRecord
from workbench.journal.process import process_started
from workbench.lab.command import run_command, run_environment
from workbench.lab.links import Link
from workbench.lab.verdict import judge
from workbench.settings import load_settings

# How long a job may have no process before it counts as never started; starting one takes milliseconds.
START_S = 60.0
LOG = "run.log"
_FEATURES = {JobFeature.job_name, JobFeature.parameters, JobFeature.output_formats, JobFeature.job_definition,
             JobFeature.idempotency_token, JobFeature.tags, JobFeature.stop_job, JobFeature.delete_job}  # fmt: skip
_log = logging.getLogger(__name__)


class LedgerExecution(ExecutionManager):
    """Runs a job by our runner. ``staging_paths`` are its files; ``input`` is the notebook as it was when asked for."""

    def __init__(self, job_id: str, root_dir: str, db_url: str, staging_paths: dict[str, str]) -> None:
        super().__init__(job_id=job_id, root_dir=root_dir, db_url=db_url, staging_paths=staging_paths)
        self._settings = load_settings(Path(root_dir))
        self._code: int | None = None

    # ---- jupyter-scheduler's template: before_start, execute, then on_complete or on_failure ------------------------

    def before_start(self) -> None:
        """The row says so already: a job is started as it is made."""

    def execute(self) -> None:
        """Start ``workbench run`` and wait for its end."""
        if self._status() is None:
            return  # deleted before it began
        job, link = self.model, self._link()
        due = None if link.due is None else datetime.fromtimestamp(link.due / 1000, UTC)
        command = run_command(self._input, job.parameters or {}, scheduled_at=due)
        with (self._input.parent / LOG).open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd=self._settings.home,
                env=run_environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            status = self._started(child.pid)
        except BaseException:  # nobody could follow it, and it has hardly begun
            child.terminate()
            child.wait()
            raise
        if status is not Status.IN_PROGRESS:  # stopped or deleted while there was nothing to stop yet
            child.terminate()
        self._code = child.wait()

    def on_complete(self) -> None:
        """The process has ended; what that means stands in the ledger."""
        self.settle(self._code)

    def on_failure(self, e: Exception) -> None:
        """The job could not be run at all."""
        if not isinstance(e, WorkbenchError | OSError):
            _log.error("job %s", self.job_id, exc_info=e)
        self._end(Status.FAILED, " ".join(str(e).split()))

    @staticmethod
    def supported_features(_cls: object = None) -> dict[JobFeature, bool]:
        return {feature: feature in _FEATURES for feature in JobFeature}

    @classmethod
    def validate(cls, input_path: str) -> bool:
        """Any notebook will do, whatever kernel it names: it runs in this interpreter."""
        read_cells(Path(input_path))
        return True

    # ---- what is asked of a job from outside -----------------------------------------------------------------------

    def is_over(self) -> bool:
        """Whether the job's process is gone; of another machine's, whether the ledger has its run as ended."""
        owner = self._link().owner
        if owner is None:
            age_ms: int = get_utc_timestamp() - self.model.create_time
            return age_ms > START_S * 1000
        if owner.host == socket.gethostname():
            return not owner.is_alive()
        run = self._run(owner)
        return run is not None and not run.state.is_active

    def settle(self, code: int | None = None) -> None:
        """Write into the row how the job ended, and put its files beside its input."""
        if self._status() is None:
            return  # deleted; the ledger keeps the run
        owner = self._link().owner
        run = None if owner is None else self._run(owner)
        log = self._input.parent / LOG
        said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        verdict = judge(run, said, code, stopping=self._status() is Status.STOPPING)
        message = verdict.message.replace(str(self._input), self._original())
        delivered = None
        if run is not None and self._executed(run) is not None:
            delivered = run.run_id
            try:
                self.deliver(run)
            except OSError as error:
                message = f"{message} (its files stay in {run.folder}: {error.strerror})".strip()
        self._end(Status[verdict.status], message, delivered)

    def deliver(self, run: RunRecord | None = None) -> None:
        """Copy the run's notebook and page out of the ledger's folder, where they are read-only."""
        if run is None:
            run_id = self._link().run_id
            with self._ledger() as ledger:
                run = None if run_id is None else RunJournal(ledger).run(run_id)
        if run is None:
            return
        executed = self._executed(run)
        for kind in self.model.output_formats or []:
            if executed is not None and (source := executed.with_suffix(f".{kind}")).is_file():
                _copy(source, Path(self.staging_paths[kind]))

    def stop(self) -> None:
        """Ask the job's process to end; its run is then recorded as cancelled."""
        with self.db_session() as session:
            session.query(Job).filter(Job.job_id == self.job_id).update({"status": Status.STOPPING})
            session.commit()
        owner = self._link().owner
        if owner is not None and owner.host == socket.gethostname() and owner.is_alive():
            os.kill(owner.pid, signal.SIGTERM)

    # ---- rows ------------------------------------------------------------------------------------------------------

    @property
    def _input(self) -> Path:
        return Path(self.staging_paths["input"])

    def _executed(self, run: RunRecord) -> Path | None:
        """The notebook that a run has made; None if it never came to that."""
        return next(iter(sorted((self._settings.home / run.folder).glob("*.ipynb"))), None)

    def _ledger(self) -> Journal:
        return Journal(self._settings.journal_file, SystemClock())

    def _run(self, owner: Owner) -> RunRecord | None:
        """The run that a process claimed, after those of dead ones have been marked as lost."""
        with self._ledger() as ledger:
            runs = RunJournal(ledger)
            runs.reap()
            found = ledger.read(
                "SELECT run_id FROM runs WHERE owner_host=? AND owner_pid=? AND abs(owner_started-?)<1"
                " ORDER BY rowid DESC LIMIT 1",
                (owner.host, owner.pid, owner.started),
            )
            return runs.run(found[0]["run_id"]) if found else None

    def _link(self) -> Link:
        """What is known beside the row; of a deleted job, nothing."""
        with self.db_session() as session:
            return session.get(Link, self.job_id) or Link(id=self.job_id, notebook=str(self._input))

    def _original(self) -> str:
        """The notebook that a person knows, in place of the copy that was run."""
        path = Path(self._link().notebook)
        return str(path.relative_to(self._settings.home) if path.is_relative_to(self._settings.home) else path)

    def _status(self) -> Status | None:
        """The row's state; None if the job has been deleted."""
        with self.db_session() as session:
            status = session.query(Job.status).filter(Job.job_id == self.job_id).scalar()
            return None if status is None else Status(status)

    def _started(self, pid: int) -> Status | None:
        """Note the job's process; returns the row's state after that."""
        process: dict[str, Any] = {"host": socket.gethostname(), "pid": pid, "started": process_started(pid) or 0.0}
        with self.db_session() as session:
            session.query(Link).filter(Link.id == self.job_id).update(process)
            session.query(Job).filter(Job.job_id == self.job_id).update({"pid": pid})
            session.commit()
        return self._status()

    def _end(self, status: Status, message: str, run_id: str | None = None) -> None:
        row = {"status": status, "status_message": message, "end_time": get_utc_timestamp()}
        with self.db_session() as session:
            session.query(Job).filter(Job.job_id == self.job_id).update(row)
            session.query(Link).filter(Link.id == self.job_id).update({"run_id": run_id})
            session.commit()


def _copy(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all."""
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)
