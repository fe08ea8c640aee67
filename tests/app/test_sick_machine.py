"""A run that may order does not start on a sick machine; everything else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.homes import make_home, workbench, write_pipeline

# More than any machine has.
FULL_DISK = {"WORKBENCH_MACHINE__MIN_FREE_DISK_MB": "900000000000"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = make_home(tmp_path_factory.mktemp("sick"), loaded=True)
    write_pipeline(home, "looks", {"one": ["1 + 1"]})
    return home


def test_a_job_that_may_order_is_refused_in_one_line(home: Path) -> None:
    done = workbench(home, "run", "daily", "--session", "2013-03-01", "--allow-dirty", **FULL_DISK)
    assert done.returncode == 71
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("workbench: this machine is not fit to trade on: ")
    assert line.endswith("900,000,000,000 are needed; free some space")
    assert not (home / "data" / "exchange" / "paper.sqlite").exists()
    assert json.loads(workbench(home, "runs", "--json").stdout) == []


def test_a_scheduled_job_is_rejected_on_record(home: Path) -> None:
    moment = "2013-03-01T21:30:00+00:00"
    asked = [
        "run",
        "daily",
        "--session",
        "2013-03-01",
        "--trigger",
        "schedule",
        "--scheduled-at",
        moment,
        "--allow-dirty",
    ]
    assert workbench(home, *asked, **FULL_DISK).returncode == 71
    [run] = json.loads(workbench(home, "runs", "--json").stdout)
    assert run["state"] == "rejected"
    assert "not fit to trade on" in run["reason"]
    assert json.loads(workbench(home, "orders", "--json").stdout) == []


def test_a_job_that_does_not_order_runs_all_the_same(home: Path) -> None:
    done = workbench(home, "run", "looks", "--session", "2013-03-01", "--allow-dirty", **FULL_DISK)
    assert done.returncode == 0, done.stderr
