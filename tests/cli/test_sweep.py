"""``workbench sweep`` as typed: the table, what it counts, how it goes on after an interruption, what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from support.homes import environment, make_home, workbench

from workbench.app import open_workbench
from workbench.cli.sweep import parse_grid
from workbench.errors import ConfigError
from workbench.research import TrialLedger


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_home(tmp_path_factory.mktemp("sweep"))
    wb = open_workbench(start=folder, env={})
    wb.load_sample()
    wb.close()
    return folder


def test_a_sweep_shows_the_best_counts_its_trials_and_is_only_read_again(home: Path) -> None:
    command = ["sweep", "moving_average", "-p", "fast=5:60:5", "-p", "slow=50,100", "--symbols", "AAPL,IBM"]
    first = workbench(home, *command, "--from", "2005-01-03", "--to", "2013-03-01", "-a", "lot=none")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("21 combinations of moving_average on AAPL, IBM, 2005-01-03 to 2013-03-01")
    assert "assuming lot=None" in first.stdout
    assert "refused: 3 combinations, the first fast=50 slow=50: slow: must be above fast" in first.stdout
    assert "most stable: fast=" in first.stdout
    assert "trials of moving_average on these symbols so far: 21;" in first.stdout
    again = workbench(home, *command, "--from", "2005-01-03", "--to", "2013-03-01", "-a", "lot=none", "--json")
    found = json.loads(again.stdout)
    assert (found["combinations"], found["resumed"], found["refused"], found["trials"]) == (21, 21, 3, 21)
    assert found["best"][0]["sharpe"] == max(row["sharpe"] for row in found["best"])
    assert {"fast", "slow", "total_return", "win_rate"} <= found["best"][0].keys()
    with duckdb.connect(str(home / "data" / "reports.duckdb"), read_only=True) as reports:
        rows = reports.execute("SELECT count(*), max(sharpe_per_session) * sqrt(252) FROM sweeps").fetchall()
    assert rows == [(21, pytest.approx(found["best"][0]["sharpe"]))]


def test_an_interrupted_sweep_ends_with_143_and_keeps_what_is_done(home: Path) -> None:
    grid = ["-p", "lookback=2:2500", "-p", "top=1:5"]  # many times what is done before a first part is written
    command = [sys.executable, "-m", "workbench.cli.main", "sweep", "momentum", *grid]
    running = subprocess.Popen(command, cwd=home, env=environment(), stderr=subprocess.PIPE, text=True)
    parts, deadline = home / "data" / "research" / "trials" / "momentum", time.monotonic() + 60
    while not list(parts.glob("*/*.parquet")) and time.monotonic() < deadline and running.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            running.wait(timeout=0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 143, said
    assert "combinations are done" in said
    assert said.strip().endswith("the same sweep goes on from there")
    assert 0 < TrialLedger(parts.parent).count("momentum") < 12_495


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["momentun", "-p", "top=1"], ["no strategy 'momentun'", "did you mean momentum?"]),
        (["momentum", "-p", "tpo=1:3"], ["no parameter 'tpo'", "did you mean top?"]),
        (["momentum", "-p", "lookback=20", "--by", "shrape"], ["'shrape'", "did you mean sharpe?"]),
        (["momentum", "-p", "lookback=20", "--cluster", "127.0.0.1:9"], ["no dask scheduler at 127.0.0.1:9"]),
    ],
)
def test_a_sweep_asked_for_wrongly_gets_one_line(home: Path, arguments: list[str], words: list[str]) -> None:
    done = workbench(home, "sweep", *arguments)
    assert done.returncode == 64, (done.returncode, done.stdout, done.stderr)
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("workbench: ")
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fast=5", [5]),
        ("fast=5:8", [5, 6, 7, 8]),
        ("fast=5:11:3", [5, 8, 11]),
        ("fast=5:10:3,20, 30", [5, 8, 20, 30]),
        ("fast=0.1:0.3:0.1", [0.1, 0.2, 0.3]),  # exact: no 0.30000000000000004
        ("fast=-1:1", [-1, 0, 1]),
        ("fast=long,short", ["long", "short"]),
    ],
)
def test_values_are_lists_and_ranges_with_their_last_value(text: str, values: list[object]) -> None:
    assert parse_grid([text]) == {"fast": values}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["fast"], "is not KEY=VALUES"),
        (["fast="], "is not KEY=VALUES"),
        (["fast=1", "fast=2"], "given twice"),
        (["fast=9:5"], "the range 9:5 has no values"),
        (["fast=5:9:0"], "the range 5:9:0 has no values"),
        (["fast=5:9:-1"], "has no values"),
        (["fast=a:b"], "'a:b' is no range"),
        (["fast=1:2:3:4"], "is no range"),
        (["fast=1:nan"], "is no range"),
        (["fast=0:1e9:0.1"], "has 10,000,000,001 values; take a larger step"),
    ],
)
def test_a_range_that_is_none_is_refused(given: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_grid(given)
