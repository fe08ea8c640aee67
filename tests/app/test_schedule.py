"""`workbench schedule run` as a person starts it: a rehearsed evening with real notebooks, ended in every way."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.homes import make_home, start, workbench
from support.offices import until

DUE = "2013-03-01T21:30:00+00:00"
REHEARSAL = ("schedule", "run", "--allow-dirty", "--json", "--rehearse")
CELL = """
import time
from pathlib import Path
Path("begun").touch()
try:
    while Path("hold").exists():
        time.sleep(0.01)
finally:
    Path("cleaned").touch()
session
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_home(tmp_path_factory.mktemp("schedule") / "home", loaded=True)
    (folder / "pipelines" / "daily.toml").unlink()
    cells = [(["parameters"], 'session: "date" = "2013-03-01"  # the session'), ([], CELL)]
    notebook = {
        "cells": [
            {"cell_type": "code", "id": f"c{n}", "metadata": {"tags": tags}, "source": source,
             "execution_count": None, "outputs": []}
            for n, (tags, source) in enumerate(cells)
        ],
        "metadata": {}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    (folder / "pipelines" / "evening.ipynb").write_text(json.dumps(notebook))
    lines = ['description = "An evening"', 'schedule = "close + 30min"', "[[steps]]", 'name = "look"',
             'notebook = "evening.ipynb"']  # fmt: skip
    (folder / "pipelines" / "evening.toml").write_text("\n".join(lines))
    return folder


class Evening:
    """A rehearsal in a process of its own, a few seconds before the job is due."""

    def __init__(self, home: Path, account: str, *arguments: str) -> None:
        self.home = home
        for name in ("begun", "cleaned"):
            (home / name).unlink(missing_ok=True)
        self.account = account
        self.process: subprocess.Popen[str] = start(
            home, *REHEARSAL, "2013-03-01T21:29:55", "--account", account, *arguments
        )

    def has_begun(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[0]
        return (self.home / "begun").exists()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Send a signal; the exit code, and what it said."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    def run(self) -> dict[str, Any]:
        listed = json.loads(workbench(self.home, "runs", "--account", self.account, "--json").stdout)
        (found,) = listed
        assert isinstance(found, dict)
        return found


@pytest.fixture
def held(home: Path) -> Iterator[Path]:
    file = home / "hold"
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def test_a_rehearsed_evening_runs_the_job_once_on_its_own_account(home: Path) -> None:
    evening = Evening(home, "first")
    until(evening.has_begun)
    second = workbench(home, *REHEARSAL, "2013-03-01T21:29:55", "--account", "first")
    assert second.returncode == 75
    assert f"process {evening.process.pid}" in second.stderr
    assert second.stderr.count("\n") == 1
    log = home / "data" / "runs" / "scheduler.log"
    until(lambda: '"ended"' in log.read_text())
    code, said = evening.end(signal.SIGINT)
    assert code == 0
    events = [event["event"] for event in said if event["pipeline"] == "evening"]
    assert [event for event in events if event not in {"says", "warms"}] == ["added", "starts", "begins", "ended"]
    (started,) = (event["text"] for event in said if event["event"] == "starts")
    assert started.endswith("warm" if "warms" in events else "cold")  # as a busy machine has it
    assert any(re.fullmatch(r"evening for 2013-03-01: succeeded \(evening-20130301-\w+\)", e["text"]) for e in said)
    run = evening.run()
    assert (run["state"], run["session"], run["exit_code"]) == ("succeeded", "2013-03-01", 0)
    assert log.read_text().count("\n") >= len(said)


def test_a_stopped_scheduler_stops_its_job_cleanly(home: Path, held: Path) -> None:
    evening = Evening(home, "stopped")
    until(evening.has_begun)
    code, _ = evening.end()
    assert code == 143
    assert (home / "cleaned").exists()
    assert evening.run()["state"] == "cancelled"


def test_a_job_outlives_a_scheduler_that_is_killed_and_is_not_run_again(home: Path, held: Path) -> None:
    evening = Evening(home, "orphan")
    until(evening.has_begun)
    code, _ = evening.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    next_one = Evening(home, "orphan", "--drain")
    log = home / "data" / "runs" / "scheduler.log"
    until(lambda: log.read_text().count('"account": "orphan"') == 2)
    held.unlink()
    until(lambda: evening.run()["state"] == "succeeded")
    code, said = next_one.end()
    assert code == 0
    assert "starts" not in [event["event"] for event in said]
    assert evening.run()["attempt"] == 1
    assert "evening for 2013-03-01: succeeded" in (home / "data" / "runs" / "scheduler.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        (["--rehearse", "yesterday"], {}, "'yesterday' is not a moment; write it as 2013-03-01T20:59, in UTC"),
        (["--rehearse", "2013-03-01T21:29"], {"WORKBENCH_ACCOUNT__BROKER": "alpaca"}, "a rehearsal is for paper"),
        (["--account", "other"], {}, "--account is for rehearsals"),
        (["--rehearse", "2013-03-01T21:29", "--account", "No Name"], {}, "cannot be the name of an account"),
    ],
    ids=["no moment", "real money", "an account without a rehearsal", "no name"],
)
def test_a_wrong_request_is_one_clear_line(
    home: Path, arguments: list[str], settings: dict[str, str], says: str
) -> None:
    refused = workbench(home, "schedule", "run", *arguments, **settings)
    assert refused.returncode == 64
    assert refused.stderr.count("\n") == 1
    assert says in refused.stderr
    assert not refused.stdout
