"""What the form may ask for, and what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jupyter_scheduler.exceptions import IdempotencyTokenError, InputUriError, SchedulerError
from jupyter_scheduler.models import (
    CreateJob,
    CreateJobDefinition,
    CreateJobFromDefinition,
    ListJobsQuery,
    UpdateJobDefinition,
)

from workbench.lab.scheduler import LedgerScheduler

Server = Callable[[], LedgerScheduler]


@pytest.fixture
def scheduler(idle: Server) -> LedgerScheduler:
    return idle()


def job(notebook: str = "notebooks/sum.ipynb", **more: object) -> CreateJob:
    given = {"name": "sum", "runtime_environment_name": "workbench", "output_formats": ["ipynb"]}
    return CreateJob(input_uri=notebook, **{**given, **more})


def definition(notebook: str = "notebooks/sum.ipynb", **more: object) -> CreateJobDefinition:
    given = {"name": "sum", "runtime_environment_name": "workbench", "schedule": "55 15 * * MON-FRI"}
    return CreateJobDefinition(input_uri=notebook, **{**given, **more})


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} if folder.is_dir() else set()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (job("../outside.ipynb"), "is not in"),
        (job("workbench.toml"), "not a notebook"),
        (job(runtime_environment_name="base"), "unknown environment 'base'"),
        (job(package_input_folder=True), "clear 'Run job with input folder'"),
        (job(output_formats=["pdf"]), "output formats are ipynb and html"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_in_the_form(
    scheduler: LedgerScheduler, home: Path, asked: CreateJob, message: str
) -> None:
    (home.parent / "outside.ipynb").write_text("{}")
    with pytest.raises(SchedulerError, match=message):
        scheduler.create_job(asked)
    assert scheduler.list_jobs(ListJobsQuery()).jobs == []
    assert everything(home / "data" / "jupyter_jobs") == set()


def test_a_notebook_that_is_not_there_is_refused(scheduler: LedgerScheduler) -> None:
    with pytest.raises(InputUriError):
        scheduler.create_job(job("notebooks/nothing.ipynb"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (definition(schedule="every day"), "not five fields"),
        (definition(timezone="Mars/Olympus"), "no time zone 'Mars/Olympus'"),
        (definition(parameters={"c": "1"}), "unknown parameter 'c'"),
        (definition(parameters={"a": "many"}), "'many' is not a whole number"),
    ],
)
def test_a_schedule_whose_jobs_would_all_be_refused_is_refused_itself(
    scheduler: LedgerScheduler, home: Path, asked: CreateJobDefinition, message: str
) -> None:
    with pytest.raises(SchedulerError, match=message):
        scheduler.create_job_definition(asked)
    assert everything(home / "data" / "jupyter_jobs") == set()


def test_a_schedule_may_name_its_session_like_a_job(scheduler: LedgerScheduler) -> None:
    asked = definition(parameters={"a": "3", "session": "2013-03-01"})
    assert scheduler.get_job_definition(scheduler.create_job_definition(asked)).parameters == asked.parameters


def test_what_is_run_is_the_notebook_as_it_was_when_asked_for(scheduler: LedgerScheduler, home: Path) -> None:
    original = home / "notebooks" / "sum.ipynb"
    then = original.read_bytes()
    made = scheduler.create_job_definition(definition())
    original.write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    job_id = scheduler.create_job_from_definition(made, CreateJobFromDefinition(parameters={"a": "4"}))
    copy = Path(scheduler.get_staging_paths(scheduler.get_job(job_id))["input"])
    assert copy.read_bytes() == then
    scheduler.update_job_definition(made, UpdateJobDefinition(input_uri="notebooks/waits.ipynb"))
    later = scheduler.get_job(scheduler.create_job_from_definition(made, CreateJobFromDefinition()))
    assert later.input_filename == "waits.ipynb"
    assert (
        Path(scheduler.get_staging_paths(later)["input"]).read_bytes() == (home / "notebooks/waits.ipynb").read_bytes()
    )


def test_a_file_name_that_leads_elsewhere_is_not_followed(scheduler: LedgerScheduler, home: Path) -> None:
    made = scheduler.get_job(scheduler.create_job(job(input_filename="../../../escaped.ipynb")))
    assert made.input_filename == "sum.ipynb"
    assert not list(home.parent.rglob("escaped*"))


def test_a_token_makes_one_job_of_two_clicks(scheduler: LedgerScheduler) -> None:
    scheduler.create_job(job(idempotency_token="once"))
    with pytest.raises(IdempotencyTokenError):
        scheduler.create_job(job(idempotency_token="once"))


def test_nothing_is_kept_of_what_is_deleted(scheduler: LedgerScheduler, home: Path) -> None:
    made = scheduler.create_job_definition(definition())
    scheduler.create_job_from_definition(made, CreateJobFromDefinition())
    single = scheduler.create_job(job())
    assert everything(home / "data" / "jupyter_jobs") != set()
    scheduler.delete_job(single)
    scheduler.delete_job_definition(made)
    assert scheduler.list_jobs(ListJobsQuery()).jobs == []
    assert everything(home / "data" / "jupyter_jobs") == set()


def test_the_rows_are_kept_in_the_installation_whatever_database_is_configured(
    idle: Server, home: Path, tmp_path: Path
) -> None:
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.sqlite'}"
    made = LedgerScheduler(root_dir=str(home), environments_manager=idle().environments_manager, db_url=elsewhere)
    assert made.db_url == f"sqlite:///{home / 'data' / 'jupyter_scheduler.sqlite'}"
    assert not (tmp_path / "elsewhere.sqlite").exists()
