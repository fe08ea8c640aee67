"""kill -9 at chosen moments of a run, then the same command again: nothing doubled, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.homes import make_home, start, workbench

SESSION = "2013-02-28"
ORDERS = "SELECT client_order_id, symbol, side, quantity FROM orders ORDER BY client_order_id"


def rows(file: Path, sql: str) -> list[tuple[object, ...]]:
    if not file.is_file():
        return []
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as connection:
        table = sql.split(" FROM ")[1].split()[0]
        there = connection.execute("SELECT 1 FROM sqlite_master WHERE name=?", (table,)).fetchone()
        return connection.execute(sql).fetchall() if there else []


def step_is_running(name: str) -> Callable[[Path], bool]:
    def moment(home: Path) -> bool:
        sql = f"SELECT 1 FROM steps WHERE name='{name}' AND state='running'"
        return bool(rows(home / "data" / "journal.sqlite", sql))

    return moment


def first_order_is_sent(home: Path) -> bool:
    return bool(rows(home / "data" / "exchange" / "paper.sqlite", "SELECT 1 FROM orders"))


def intents_are_written(home: Path) -> bool:
    return bool(rows(home / "data" / "journal.sqlite", "SELECT 1 FROM intents"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[object, ...]]:
    """What the exchange gets from a run that nobody kills."""
    home = make_home(tmp_path_factory.mktemp("undisturbed"))
    done = workbench(home, "run", "daily", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    orders = rows(home / "data" / "exchange" / "paper.sqlite", ORDERS)
    assert len(orders) == 2
    return orders


def kill_when(process: subprocess.Popen[str], moment: Callable[[Path], bool], home: Path) -> None:
    """SIGKILL the runner as soon as the moment is there; its kernels must die of it by themselves."""
    deadline = time.monotonic() + 120
    while not moment(home):
        assert process.poll() is None, f"the run ended before the moment came: {process.communicate()[0]}"
        assert time.monotonic() < deadline
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize(
    "moment",
    [step_is_running("update_data"), step_is_running("rebalance"), intents_are_written, first_order_is_sent,
     step_is_running("report")],
    ids=["update", "rebalance", "intents", "first-order", "report"],
)  # fmt: skip
def test_a_killed_run_is_finished_by_the_same_command(
    tmp_path: Path, undisturbed: list[tuple[object, ...]], moment: Callable[[Path], bool]
) -> None:
    home = make_home(tmp_path / "home")
    kill_when(start(home, "run", "daily", "--session", SESSION), moment, home)
    done = workbench(home, "run", "daily", "--session", SESSION)
    assert done.returncode == 0, done.stderr
    assert "attempt 2" in done.stdout
    assert rows(home / "data" / "exchange" / "paper.sqlite", ORDERS) == undisturbed
    listed = json.loads(workbench(home, "orders", "--json").stdout)
    assert sorted(row["client_order_id"] for row in listed) == [row[0] for row in undisturbed]
    assert {row["status"] for row in listed} == {"accepted"}


def test_an_amendment_asked_for_after_a_crash_resumes_the_crashed_run(
    tmp_path: Path, undisturbed: list[tuple[object, ...]]
) -> None:
    home = make_home(tmp_path / "home")
    kill_when(start(home, "run", "daily", "--session", SESSION), intents_are_written, home)
    done = workbench(home, "run", "daily", "--session", SESSION, "--amend")
    assert done.returncode == 0, done.stderr
    assert "attempt 2" in done.stdout
    assert rows(home / "data" / "exchange" / "paper.sqlite", ORDERS) == undisturbed


def test_an_interrupted_run_ends_cleanly_and_can_be_resumed(
    tmp_path: Path, undisturbed: list[tuple[object, ...]]
) -> None:
    home = make_home(tmp_path / "home")
    process = start(home, "run", "daily", "--session", SESSION)
    while not step_is_running("update_data")(home):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 143, said
    state = rows(home / "data" / "journal.sqlite", "SELECT state, exit_code FROM runs")
    assert state == [("cancelled", 143)]
    assert workbench(home, "run", "daily", "--session", SESSION).returncode == 0
    assert rows(home / "data" / "exchange" / "paper.sqlite", ORDERS) == undisturbed


def test_two_runs_of_a_session_at_once_order_once(tmp_path: Path, undisturbed: list[tuple[object, ...]]) -> None:
    home = make_home(tmp_path / "home", loaded=True)
    both = [start(home, "run", "daily", "--session", SESSION) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert codes in ([0, 75], [0, 0]), said  # the second finds it running, or already done
    if codes == [0, 75]:
        assert any("is already running as" in text for text in said)
    assert rows(home / "data" / "exchange" / "paper.sqlite", ORDERS) == undisturbed
