"""Trouble around a run: a locked reports file, the kill switch, a denial, a failing notebook, a full account."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import nbformat
import pytest
from support.homes import make_home, start, workbench, write_notebook
from support.lab import Door

SESSION = "2013-02-28"


def orders(home: Path) -> list[dict[str, Any]]:
    rows = json.loads(workbench(home, "orders", "--json").stdout)
    assert isinstance(rows, list)
    return rows


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home", loaded=True)


@pytest.fixture
def holder(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the reports database open for writing, as DBeaver or a notebook would."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(home / "data" / "reports.duckdb")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield process
    if process.poll() is None:
        process.communicate("\n")


def test_a_locked_reports_database_delays_the_report_only(home: Path, holder: subprocess.Popen[str]) -> None:
    done = workbench(home, "run", "daily", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    assert "reports.duckdb is locked by" in done.stdout
    assert str(holder.pid) in done.stdout
    assert (home / "data" / "reports" / "paper" / f"{SESSION}.html").is_file()
    holder.communicate("\n")
    assert workbench(home, "run", "daily", "--session", "2013-03-01").returncode == 0
    with duckdb.connect(str(home / "data" / "reports.duckdb"), read_only=True) as reports:
        runs = reports.execute("SELECT session::VARCHAR, state FROM runs ORDER BY session").fetchall()
        counted = reports.execute("SELECT count(*) FROM orders").fetchall()
    assert runs == [(SESSION, "succeeded"), ("2013-03-01", "succeeded")]
    assert counted == [(len(orders(home)),)]


def test_damaged_reports_are_told_after_a_run_that_went_well_and_made_again_from_the_journal(home: Path) -> None:
    file = home / "data" / "reports.duckdb"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"no database" * 2000)
    done = workbench(home, "run", "daily", "--session", SESSION)
    assert done.returncode == 65
    assert f"daily for {SESSION}: succeeded" in done.stdout
    (line,) = done.stderr.splitlines()
    assert "reports.duckdb: not a" in line
    assert "run `workbench reports rebuild`" in line
    assert [row["status"] for row in orders(home)] == ["accepted", "accepted"]
    assert workbench(home, "reports", "rebuild").returncode == 0
    with duckdb.connect(str(file), read_only=True) as reports:
        assert reports.execute("SELECT session::VARCHAR, state FROM runs").fetchall() == [(SESSION, "succeeded")]


def test_what_a_cancelled_replay_has_done_is_in_the_reports(home: Path) -> None:
    door = Door(home / "door")
    (home / "pipelines" / "slow.toml").write_text(
        'description = "Slow at last"\n[[steps]]\nname = "wait"\nnotebook = "wait.ipynb"\n'
    )
    write_notebook(
        home / "pipelines" / "wait.ipynb",
        "import time\nif str(session) == '2013-01-04':\n    open('door', 'w').write('here')\n    time.sleep(600)",
        parameters='session: "date" = "2013-01-02"  # the session',
    )
    process = start(home, "replay", "slow", "--from", "2013-01-02", "--to", "2013-12-31", "--allow-dirty")
    door.wait()
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 143, said
    with duckdb.connect(str(home / "data" / "reports.duckdb"), read_only=True) as reports:
        merged = reports.execute("SELECT session::VARCHAR, state FROM runs ORDER BY session").fetchall()
    assert merged == [("2013-01-02", "succeeded"), ("2013-01-03", "succeeded"), ("2013-01-04", "cancelled")]


def test_a_halt_stops_orders_survives_a_restart_and_is_lifted_by_hand(home: Path) -> None:
    assert "HALTED" in workbench(home, "halt", "--reason", "drill").stdout
    done = workbench(home, "run", "daily", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    rows = orders(home)
    assert [(row["status"], row["gate"]) for row in rows] == [("denied", "trading_state")] * 2
    assert "denied: buy" in done.stdout
    status = json.loads(workbench(home, "status", "--json").stdout)
    assert [row["trading"] for row in status] == ["halted"]
    assert "ACTIVE" in workbench(home, "resume").stdout
    assert workbench(home, "run", "daily", "--session", SESSION, "--amend").returncode == 0
    assert [row["status"] for row in orders(home)] == ["denied", "denied", "accepted", "accepted"]


def test_a_limit_denies_and_the_report_says_which(home: Path) -> None:
    done = workbench(home, "run", "daily", "--session", SESSION, WORKBENCH_RISK__MAX_ORDER_VALUE_USD="1000")
    assert done.returncode == 0, done.stderr
    assert {row["gate"] for row in orders(home)} == {"max_order_value"}
    page = (home / "data" / "reports" / "paper" / f"{SESSION}.html").read_text()
    assert "over 1000 USD" in page


def test_a_failing_cell_fails_the_run_and_the_same_command_resumes_it(home: Path) -> None:
    notebook = home / "pipelines" / "report.ipynb"
    good = notebook.read_text()
    broken = nbformat.reads(good, as_version=4)
    broken.cells[-2].source = "1 / 0"
    nbformat.write(broken, notebook)
    done = workbench(home, "run", "daily", "--session", SESSION, "--allow-dirty")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "report.ipynb" in line
    assert "ZeroDivisionError" in line
    (run,) = json.loads(workbench(home, "runs", "--json").stdout)
    assert (run["state"], run["exit_code"]) == ("failed", 1)
    with duckdb.connect(str(home / "data" / "reports.duckdb"), read_only=True) as reports:
        assert reports.execute("SELECT state, exit_code FROM runs").fetchall() == [("failed", 1)]
    before = orders(home)
    assert [row["status"] for row in before] == ["accepted", "accepted"]
    notebook.write_text(good)
    done = workbench(home, "run", "daily", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    assert "attempt 2" in done.stdout
    assert orders(home) == before


def test_an_account_does_not_go_back_in_time(home: Path) -> None:
    assert workbench(home, "run", "daily", "--session", SESSION).returncode == 0
    done = workbench(home, "run", "daily", "--session", "2013-02-27")
    assert done.returncode == 64
    assert "at the close of 2013-02-28; it cannot go back to 2013-02-27; use --account NAME" in done.stderr
    assert len(json.loads(workbench(home, "runs", "--json").stdout)) == 1  # refused before anything was recorded
    fresh = workbench(home, "run", "daily", "--session", "2013-02-27", "--account", "second")
    assert fresh.returncode == 0, fresh.stderr
    assert {row["account"] for row in orders(home)} == {"paper", "second"}


def test_the_reports_database_can_be_lost_and_made_again(home: Path) -> None:
    assert workbench(home, "run", "daily", "--session", SESSION).returncode == 0
    file = home / "data" / "reports.duckdb"
    with duckdb.connect(str(file), read_only=True) as reports:
        before = reports.execute("SELECT client_order_id, quantity FROM orders ORDER BY 1").fetchall()
    assert before
    file.unlink()
    assert workbench(home, "reports", "rebuild").returncode == 0
    with duckdb.connect(str(file), read_only=True) as reports:
        assert reports.execute("SELECT client_order_id, quantity FROM orders ORDER BY 1").fetchall() == before


AVERAGES = ("-p", "strategy=moving_average", "-p", "fast=5", "-p", "slow=20")


def shares_ordered(home: Path) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in orders(home):
        if row["status"] in {"accepted", "filled", "intended"}:
            total[row["symbol"]] = total.get(row["symbol"], 0) + row["quantity"]
    return total


def test_a_second_rebalance_counts_what_the_first_has_sent(home: Path) -> None:
    """Neither an amendment nor another pipeline on the account buys again what is already on its way."""
    assert workbench(home, "run", "daily", "--session", SESSION, *AVERAGES).returncode == 0
    once = shares_ordered(home)
    assert once
    assert workbench(home, "run", "daily", "--session", SESSION, *AVERAGES, "--amend").returncode == 0
    assert shares_ordered(home) == once
    shutil.copy(home / "pipelines" / "daily.toml", home / "pipelines" / "second.toml")
    assert workbench(home, "run", "second", "--session", SESSION, *AVERAGES, "--allow-dirty").returncode == 0
    assert shares_ordered(home) == once


def test_the_notebooks_use_the_configuration_that_the_runner_uses(home: Path) -> None:
    text = (home / "workbench.toml").read_text().replace('cash_buffer = "0.02"', 'cash_buffer = "0.50"')
    (home / "careful.toml").write_text(text)
    done = workbench(home, "run", "daily", "--session", SESSION, WORKBENCH_CONFIG=str(home / "careful.toml"))
    assert done.returncode == 0, done.stderr
    # Half of 100,000 USD, two names: at most 25,000 USD each.
    for row in orders(home):
        assert 20_000 < row["quantity"] * row["reference_price"] <= 25_000


def test_a_halt_of_an_account_that_is_not_there_is_refused(home: Path) -> None:
    done = workbench(home, "halt", "--account", "papr")
    assert done.returncode == 64
    assert "no account 'papr'; nothing was changed; did you mean paper?" in done.stderr
    assert workbench(home, "halt", "--account", "paper").returncode == 0


def test_a_step_that_may_not_place_orders_places_none(home: Path) -> None:
    pipeline = home / "pipelines" / "daily.toml"
    pipeline.write_text(pipeline.read_text().replace("orders = true\n", ""))
    done = workbench(home, "run", "daily", "--session", SESSION, "--allow-dirty")
    assert done.returncode == 1
    assert "this step may not place orders" in done.stderr
    assert orders(home) == []


def test_asking_again_with_other_parameters_is_told(home: Path) -> None:
    assert workbench(home, "run", "daily", "--session", SESSION).returncode == 0
    assert "other parameters" not in workbench(home, "run", "daily", "--session", SESSION).stdout
    assert "it ran with other parameters" in workbench(home, "run", "daily", "--session", SESSION, "-p", "top=1").stdout


def test_a_pipeline_of_another_exchange_is_refused(home: Path) -> None:
    pipeline = home / "pipelines" / "daily.toml"
    pipeline.write_text(pipeline.read_text().replace('calendar = "XNYS"', 'calendar = "XLON"'))
    done = workbench(home, "run", "daily")
    assert done.returncode == 64
    assert "daily is for XLON, but this installation trades XNYS" in done.stderr
