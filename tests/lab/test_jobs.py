"""A job of the screen is a run like any other: same ledger, same gates, same end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from jupyter_scheduler.models import CreateJob, DescribeJob, ListJobsQuery
from jupyter_scheduler.orm import Job
from support.lab import PATIENCE_S, Door

from workbench.clock import SystemClock
from workbench.journal import Journal, RunJournal, RunRecord
from workbench.journal.states import RunState
from workbench.lab.execution import LedgerExecution
from workbench.lab.files import LedgerFiles
from workbench.lab.links import Link
from workbench.lab.scheduler import LedgerScheduler, _remove

Server = Callable[[], LedgerScheduler]
SESSION = "2013-03-01"


def click(scheduler: LedgerScheduler, name: str, **parameters: str) -> str:
    """What "Create" sends."""
    asked = CreateJob(
        input_uri=f"notebooks/{name}.ipynb", name=name, runtime_environment_name="workbench",
        output_formats=["ipynb", "html"], parameters={"session": SESSION, **parameters},
    )  # fmt: skip
    return scheduler.create_job(asked)


def wait_for_job(job_id: str) -> None:
    for thread in threading.enumerate():
        if thread.name == f"job {job_id}":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def ended(scheduler: LedgerScheduler, job_id: str) -> DescribeJob:
    """The job's row when its process is gone."""
    wait_for_job(job_id)
    return scheduler.get_job(job_id)


def runs(home: Path) -> list[RunRecord]:
    with Journal(home / "data" / "journal.sqlite", SystemClock()) as journal:
        return RunJournal(journal).runs()


def test_a_click_is_a_run_in_the_ledger_and_two_clicks_are_two(server: Server, home: Path) -> None:
    scheduler = server()
    first = ended(scheduler, click(scheduler, "sum", a="3"))
    second = ended(scheduler, click(scheduler, "sum", a="40"))
    assert [(job.status.value, job.status_message) for job in (first, second)] == [("COMPLETED", "")] * 2
    assert [
        (run.key.session.isoformat(), run.key.amendment, run.state, run.trigger, run.parameters) for run in runs(home)
    ] == [
        (SESSION, 0, RunState.SUCCEEDED, "jupyter", {"a": 3, "b": 2}),
        (SESSION, 1, RunState.SUCCEEDED, "jupyter", {"a": 40, "b": 2}),
    ]
    files = {file.file_format: home / file.file_path for file in first.job_files}
    assert files.keys() == {"ipynb", "html", "input"}
    assert f"total 5 in {home}" in files["ipynb"].read_text()  # 3 + 2, in the home folder as every other run
    assert "total 5" in files["html"].read_text()
    assert files["input"].read_bytes() == (home / "notebooks" / "sum.ipynb").read_bytes()
    assert first.downloaded

    files["html"].write_text("scribbled over")
    asyncio.run(LedgerFiles(scheduler).copy_from_staging(first.job_id, redownload=True))
    assert "total 5" in files["html"].read_text()


def test_what_is_refused_and_what_fails_says_why_in_one_line(server: Server, home: Path) -> None:
    scheduler = server()
    clicks = [click(scheduler, "sum", c="3"), click(scheduler, "fails"), click(scheduler, "orders")]
    unknown, failing, ordering = (ended(scheduler, job_id) for job_id in clicks)
    assert [job.status.value for job in (unknown, failing, ordering)] == ["FAILED"] * 3
    assert "\n" not in unknown.status_message + failing.status_message + ordering.status_message

    assert "unknown parameter 'c'" in unknown.status_message
    assert not list((home / "data").rglob("*_sum.ipynb"))  # no kernel was started for it
    assert unknown.downloaded  # the screen offers no files to download

    assert "ZeroDivisionError" in failing.status_message
    (run,) = (run for run in runs(home) if run.state is not RunState.REJECTED)
    assert (run.key.pipeline, run.state) == ("nb-fails", RunState.FAILED)
    assert run.run_id in failing.status_message
    made = next(home / file.file_path for file in failing.job_files if file.file_format == "ipynb")
    assert "so far" in made.read_text()

    assert "not promoted" in ordering.status_message
    assert "notebooks/orders.ipynb" in ordering.status_message  # not the copy, which nobody knows
    assert "jupyter_jobs" not in ordering.status_message


def test_two_jobs_of_one_notebook_run_side_by_side_and_stop_ends_one_of_them_cleanly(
    server: Server, home: Path
) -> None:
    scheduler = server()
    doors = [Door(home.parent / name) for name in ("door", "other")]
    first, second = (click(scheduler, "waits", door=str(door.path)) for door in doors)
    for door in doors:
        door.wait()
    assert {scheduler.get_job(job).status.value for job in (first, second)} == {"IN_PROGRESS"}

    scheduler.stop_job(first)
    stopped = ended(scheduler, first)
    assert stopped.status.value == "STOPPED"
    assert stopped.status_message.startswith("cancelled: ")
    assert scheduler.get_job(second).status.value == "IN_PROGRESS"
    scheduler.stop_job(second)
    assert ended(scheduler, second).status.value == "STOPPED"
    assert {run.key.amendment: (run.state, run.exit_code) for run in runs(home)} == {
        number: (RunState.CANCELLED, 143) for number in (0, 1)
    }


def test_deleting_a_job_stops_what_it_has_started(server: Server, home: Path) -> None:
    scheduler = server()
    job_id = click(scheduler, "waits", door=str(home / "nowhere"))
    scheduler.delete_job(job_id)
    assert scheduler.list_jobs(ListJobsQuery()).jobs == []
    assert not Path(scheduler.staging_path, f"waits-{job_id}").exists()
    wait_for_job(job_id)
    assert [run for run in runs(home) if run.state is not RunState.CANCELLED] == []


def test_a_folder_goes_though_a_log_is_opened_in_it_meanwhile(tmp_path: Path) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(200):
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "input.ipynb").touch()
            writer = threading.Thread(target=_open_logs, args=[folder])
            writer.start()
            _remove(folder)
            writer.join()
            assert not folder.exists()
    finally:
        sys.setswitchinterval(before)


def _open_logs(folder: Path) -> None:
    with suppress(FileNotFoundError):  # it was quicker
        for number in range(3):
            (folder / f"{number}.log").touch()


class Forgetful(LedgerExecution):
    """As if the server were killed before it could tell how its job ended."""

    def on_complete(self) -> None: ...


def test_a_job_whose_process_was_killed_is_not_in_progress_for_ever(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after, door = server(), server(), Door(home.parent / "door")
    monkeypatch.setattr(before, "execution_manager_class", Forgetful)
    job_id = click(before, "waits", door=str(door.path))
    door.wait()
    assert after.get_job(job_id).status.value == "IN_PROGRESS"
    (run,) = runs(home)
    os.kill(run.owner.pid, signal.SIGKILL)
    ended(before, job_id)
    lost = after.get_job(job_id)
    assert lost.status.value == "FAILED"
    assert lost.status_message.startswith("lost: ")
    assert run.run_id in lost.status_message
    assert runs(home)[0].state is RunState.LOST


def test_an_unreadable_ledger_does_not_hide_the_list(idle: Server, home: Path) -> None:
    scheduler = idle()
    job_id = click(scheduler, "sum")
    gone = subprocess.Popen(["true"])
    gone.wait()
    with scheduler.db_session() as session:
        process = {"host": socket.gethostname(), "pid": gone.pid, "started": 1.0}
        session.query(Link).filter(Link.id == job_id).update(process)
        session.commit()
    (home / "data" / "journal.sqlite").write_text("not a database, but long enough to be looked at as one" * 100)
    (job,) = scheduler.list_jobs(ListJobsQuery()).jobs
    assert job.status.value == "IN_PROGRESS"  # nobody knows better
    (home / "data" / "journal.sqlite").unlink()
    (job,) = scheduler.list_jobs(ListJobsQuery()).jobs
    assert job.status.value == "FAILED"


def test_a_job_that_cannot_be_followed_is_not_left_running(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def locked(self: LedgerExecution, pid: int) -> None:
        started.append(pid)
        raise OSError("database is locked")

    monkeypatch.setattr(LedgerExecution, "_started", locked)
    scheduler = server()
    job = ended(scheduler, click(scheduler, "sum"))
    assert (job.status.value, job.status_message) == ("FAILED", "database is locked")
    assert not Path(f"/proc/{started[0]}").exists()


def test_a_job_that_its_server_never_started_is_not_in_progress_for_ever(idle: Server, home: Path) -> None:
    scheduler = idle()
    job_id = click(scheduler, "sum")
    assert idle().get_job(job_id).status.value == "IN_PROGRESS"  # another server may be starting it right now
    with scheduler.db_session() as session:
        session.query(Job).filter(Job.job_id == job_id).update({"create_time": Job.create_time - 61_000})
        session.commit()
    job = idle().get_job(job_id)
    assert job.status.value == "FAILED"
    assert job.status_message == "it ended without a run in the ledger (it was never seen to end)"
