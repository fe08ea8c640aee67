"""jupyter-scheduler's jobs and job definitions, every one of them a ``workbench run``."""

# jupyter-scheduler has no types:
# mypy: disable-error-code="misc,no-any-return"

from __future__ import annotations

import os
import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from jupyter_scheduler.exceptions import IdempotencyTokenError, InputUriError, SchedulerError
from jupyter_scheduler.models import (
    CountJobsQuery,
    CreateJob,
    CreateJobDefinition,
    DescribeJob,
    DescribeJobDefinition,
    ListJobsQuery,
    ListJobsResponse,
    Status,
    UpdateJobDefinition,
)
from jupyter_scheduler.orm import Job, JobDefinition, create_tables
from jupyter_scheduler.scheduler import Scheduler
from jupyter_scheduler.utils import create_output_directory, get_utc_timestamp
from sqlalchemy.exc import IntegrityError
from traitlets import Type, Unicode

from workbench.errors import WorkbenchError
from workbench.jobs.adhoc import pipeline_of_notebook
from workbench.jobs.binding import bind
from workbench.jobs.parameters import read_parameters
from workbench.lab.command import SESSION
from workbench.lab.environments import FORMATS, NAME
from workbench.lab.execution import LedgerExecution
from workbench.lab.links import Link, MomentTaken
from workbench.lab.timetable import Timetable, parse_schedule
from workbench.settings import Settings, load_settings

_OPEN = (Status.CREATED, Status.QUEUED, Status.IN_PROGRESS, Status.STOPPING)
_REMOVALS = 10  # attempts at a folder that is written to meanwhile


class LedgerScheduler(Scheduler):
    """The screen's jobs. Rows are jupyter-scheduler's, in a database of this installation; the truth is the ledger's.

    What is run is the notebook as it was when the job, or the definition, was made: jupyter-scheduler's rule. Its
    copy keeps the file's name, which names the run, and runs in the home folder as every other run does.
    """

    # No traits of configuration: a Jupyter configuration elsewhere must not lead around the ledger.
    execution_manager_class = Type(klass=LedgerExecution, default_value=LedgerExecution)
    task_runner_class = Type(klass=Timetable, default_value=Timetable)
    output_directory = Unicode()
    staging_path = Unicode()

    def __init__(self, root_dir: str, environments_manager: Any, db_url: str = "", **more: Any) -> None:
        self.settings = load_settings(Path(root_dir))
        own = database_url(self.settings)
        if own != db_url:
            create_tables(own)
        super().__init__(root_dir=root_dir, environments_manager=environments_manager, db_url=own, **more)
        folder = self.settings.data_dir / "jupyter_jobs"
        inside = folder.is_relative_to(root_dir)  # only what is below the root can be opened in JupyterLab
        self.output_directory = str(folder.relative_to(root_dir)) if inside else "jobs"
        self.staging_path = str(Path(root_dir) / self.output_directory)
        self._watched: set[str] = set()

    # ---- jobs ------------------------------------------------------------------------------------------------------

    def create_job(self, model: CreateJob) -> str:
        """Make a job and start it at once."""
        return self.start_job(model)

    def start_job(self, model: CreateJob, *, due: datetime | None = None, missed: str = "") -> str:
        """Make a job; ``due`` is the moment of its definition's schedule, ``missed`` why that is not run any more.

        Raises
        ------
        SchedulerError
            In one line, if it cannot be made; nothing is left of it then.
        MomentTaken
            If another server has made the job of that moment.
        """
        source, original = self._source(model)
        model.input_filename = source.name
        if model.idempotency_token:
            self._check_token(model.idempotency_token)
        job_id = str(uuid.uuid4())
        now = get_utc_timestamp()
        row = Job(
            **model.dict(exclude_none=True, exclude={"input_uri", "output_formats", "package_input_folder"}),
            output_formats=model.output_formats or [],
            job_id=job_id, create_time=now, start_time=None if missed else now, end_time=now if missed else None,
            status=Status.STOPPED if missed else Status.IN_PROGRESS, status_message=missed or None,
        )  # fmt: skip
        moment = None if due is None else int(due.timestamp() * 1000)
        link = Link(id=job_id, notebook=str(original), definition_id=model.job_definition_id, due=moment)
        folder = Path(self.staging_path) / create_output_directory(model.input_filename, job_id)
        with _cleaned_up(folder):
            _copy(source, folder / model.input_filename)
            with self.db_session() as session:
                session.add_all([row, link])
                session.commit()
        if not missed:
            self._watched.add(job_id)
            execution = self._execution(job_id)
            threading.Thread(target=self._watch, args=(execution,), name=f"job {job_id}", daemon=True).start()
        return job_id

    def stop_job(self, job_id: str) -> None:
        """End a job cleanly; the screen shows Stopping until its process is gone."""
        if Status(self._row(job_id).status) in _OPEN:
            self._execution(job_id).stop()
            self.refresh()

    def delete_job(self, job_id: str) -> None:
        """Take a job off the screen with its copies; the ledger keeps the run and its files."""
        self.stop_job(job_id)
        folder = Path(self.get_staging_paths(DescribeJob.from_orm(self._row(job_id)))["input"]).parent
        with self.db_session() as session:
            session.query(Job).filter(Job.job_id == job_id).delete()
            # A scheduled moment stays taken: deleting its job does not bring it back.
            session.query(Link).filter(Link.id == job_id, Link.due.is_(None)).delete()
            session.commit()
        _remove(folder)

    def list_jobs(self, query: ListJobsQuery) -> ListJobsResponse:
        self.refresh()
        return super().list_jobs(query)

    def count_jobs(self, query: CountJobsQuery) -> int:
        self.refresh()
        return super().count_jobs(query)

    def get_job(self, job_id: str, job_files: bool | None = True) -> DescribeJob:
        self.refresh()
        return super().get_job(job_id, job_files)

    def refresh(self) -> None:
        """Settle the jobs that have ended unseen, because the server that started them is gone."""
        with self.db_session() as session:
            rows = session.query(Job.job_id).filter(Job.status.in_(_OPEN)).all()
        for (job_id,) in rows:
            if job_id not in self._watched:
                try:
                    self._settle_if_over(job_id)
                except (WorkbenchError, OSError) as error:  # the row stays as it is, and the list can be seen
                    self.log.warning("job %s: %s", job_id, error)

    # ---- job definitions -------------------------------------------------------------------------------------------

    def create_job_definition(self, model: CreateJobDefinition) -> str:
        source, original = self._source(model)
        model.input_filename = source.name
        self._check_schedule(model.schedule, model.timezone)
        self._check_parameters(source, model.parameters or {})
        definition_id = str(uuid.uuid4())
        values = model.dict(exclude_none=True, exclude={"input_uri", "output_formats", "package_input_folder"})
        row = JobDefinition(**values, output_formats=model.output_formats or [], job_definition_id=definition_id)
        folder = Path(self.staging_path) / definition_id
        with _cleaned_up(folder):
            _copy(source, folder / model.input_filename)
            with self.db_session() as session:
                session.add_all([row, Link(id=definition_id, notebook=str(original))])
                session.commit()
        return definition_id

    def update_job_definition(self, job_definition_id: str, model: UpdateJobDefinition) -> None:
        if model.schedule or model.timezone:
            known = self.get_job_definition(job_definition_id)
            self._check_schedule(model.schedule or known.schedule, model.timezone or known.timezone)
        super().update_job_definition(job_definition_id, model)

    def delete_job_definition(self, job_definition_id: str) -> None:
        folder = Path(self.get_staging_paths(self.get_job_definition(job_definition_id))["input"]).parent
        super().delete_job_definition(job_definition_id)
        with self.db_session() as session:
            session.query(Link).filter(
                (Link.id == job_definition_id) | (Link.definition_id == job_definition_id)
            ).delete()
            session.commit()
        _remove(folder)

    def copy_input_file(self, input_uri: str, copy_to_path: str) -> None:
        """A definition is given another notebook, or the same one anew."""
        original = self._notebook(input_uri)
        _copy(original, Path(copy_to_path))
        with self.db_session() as session:
            changed = {"notebook": str(original)}
            session.query(Link).filter(Link.id == Path(copy_to_path).parent.name).update(changed)
            session.commit()

    # ---- files -----------------------------------------------------------------------------------------------------

    def get_staging_paths(self, model: DescribeJob | DescribeJobDefinition) -> dict[str, str]:
        """The files of a job lie where the screen shows them, so nothing is left to be downloaded."""
        if isinstance(model, DescribeJobDefinition):
            return {"input": os.path.join(self.staging_path, model.job_definition_id, model.input_filename)}
        folder = self.get_local_output_path(model)
        names = self.get_job_filenames(model)
        return {kind: os.path.join(folder, name) for kind, name in names.items() if isinstance(name, str)}

    def add_job_files(self, model: DescribeJob) -> None:
        """Say which files are there; a job that made none has none to be downloaded."""
        super().add_job_files(model)
        if not model.downloaded:
            with self.db_session() as session:
                model.downloaded = session.query(Link.run_id).filter(Link.id == model.job_id).scalar() is None

    def deliver(self, job_id: str) -> None:
        """Copy the outputs of a job's run once more."""
        self._execution(job_id).deliver()

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _settle_if_over(self, job_id: str) -> None:
        execution = self._execution(job_id)
        if execution.is_over():
            execution.settle()

    def _watch(self, execution: LedgerExecution) -> None:
        try:
            execution.process()
        finally:
            self._watched.discard(execution.job_id)

    def _execution(self, job_id: str) -> LedgerExecution:
        paths = self.get_staging_paths(DescribeJob.from_orm(self._row(job_id)))
        return self.execution_manager_class(
            job_id=job_id, root_dir=self.root_dir, db_url=self.db_url, staging_paths=paths
        )

    def _row(self, job_id: str) -> Job:
        with self.db_session() as session:
            row = session.get(Job, job_id)
        if row is None:
            raise SchedulerError(f"no job {job_id}")
        return row

    def _source(self, model: CreateJob | CreateJobDefinition) -> tuple[Path, Path]:
        """The file to copy and the notebook it comes from, after everything the form can get wrong has been checked."""
        if model.runtime_environment_name != NAME:
            raise SchedulerError(f"unknown environment {model.runtime_environment_name!r}; the only one is {NAME}")
        if model.package_input_folder:
            raise SchedulerError("clear 'Run job with input folder': notebooks run in the workbench folder itself")
        if not set(model.output_formats or []) <= set(FORMATS):
            raise SchedulerError(f"output formats are {' and '.join(FORMATS)}")
        definition_id = getattr(model, "job_definition_id", None)
        if definition_id is not None:
            definition = self.get_job_definition(definition_id)
            with self.db_session() as session:
                original = Path(session.get_one(Link, definition_id).notebook)
            return Path(self.get_staging_paths(definition)["input"]), original
        original = self._notebook(model.input_uri)
        return original, original

    def _notebook(self, input_uri: str) -> Path:
        """The notebook that the form names, which must be one and lie in this installation."""
        path = Path(os.path.normpath(os.path.join(self.root_dir, input_uri.lstrip("/"))))
        if not path.is_relative_to(self.settings.home):
            raise SchedulerError(f"{input_uri} is not in {self.settings.home}")
        if not path.is_file():
            raise InputUriError(input_uri)
        try:
            self.execution_manager_class.validate(str(path))
        except WorkbenchError as error:
            raise SchedulerError(str(error)) from error
        return path

    def _check_token(self, token: str) -> None:
        with self.db_session() as session:
            if session.query(Job).filter(Job.idempotency_token == token).first():
                raise IdempotencyTokenError(token)

    def _check_parameters(self, notebook: Path, given: dict[str, str]) -> None:
        """Refuse a schedule whose every job would be refused; a job itself is checked by the runner."""
        values = {name: value for name, value in given.items() if name != SESSION}
        try:
            pipeline = pipeline_of_notebook(notebook, self.settings.calendar)
            bind(pipeline, {step.name: read_parameters(notebook) for step in pipeline.steps}, values)
        except WorkbenchError as error:
            raise SchedulerError(str(error)) from error

    def _check_schedule(self, schedule: str | None, timezone: str | None) -> None:
        if schedule is not None:
            try:
                parse_schedule(schedule, timezone)
            except WorkbenchError as error:
                raise SchedulerError(str(error)) from error


def database_url(settings: Settings) -> str:
    """Where jupyter-scheduler keeps its rows: beside the journal, not in the user's own folder."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{settings.data_dir / 'jupyter_scheduler.sqlite'}"


@contextmanager
def _cleaned_up(folder: Path) -> Iterator[None]:
    """Leave no folder behind if what is done in it fails."""
    try:
        yield
    except IntegrityError as error:
        _remove(folder)
        raise MomentTaken("another server has made the job of that moment") from error
    except OSError as error:
        _remove(folder)
        raise SchedulerError(f"{error.filename or folder}: {error.strerror or error}") from error
    except BaseException:
        _remove(folder)
        raise


def _remove(folder: Path) -> None:
    """Remove a job's folder, in which what is just being started may open its log meanwhile."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
