"""Whatever is asked wrongly gets one clear line and exit code 64, and nothing is started or recorded."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.homes import REPOSITORY, environment, make_home, workbench

from workbench.app import open_workbench

GOOD = (REPOSITORY / "pipelines" / "daily.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation with data and no run."""
    folder = make_home(tmp_path_factory.mktemp("bad-input"))
    wb = open_workbench(start=folder, env={})
    wb.load_sample()
    wb.close()
    return folder


def refused(home: Path, *arguments: str, **environment: str) -> str:
    """The one line that a wrong command gets."""
    done = workbench(home, *arguments, **environment)
    assert done.returncode == 64, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("workbench: ")
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "dayly"], ["no pipeline 'dayly'", "did you mean daily?"]),
        (["run", "../daily"], ["../daily"]),
        (["run", "daily", "-p", "strategy=momentun"], ["momentun", "did you mean momentum?"]),
        (["run", "daily", "-p", "lokback=20"], ["unknown parameter 'lokback'", "did you mean lookback?"]),
        (["run", "daily", "-p", "top=two"], ["strategy momentum", "top", "valid integer", "'two'"]),
        (["run", "daily", "-p", "top=0"], ["strategy momentum", "top", "greater than or equal to 1"]),
        (["run", "daily", "-p", "top=2.5"], ["top"]),
        (["run", "daily", "-p", "fast=20"], ["unknown parameter 'fast'"]),
        (["run", "daily", "-p", "top"], ["-p 'top' is not KEY=VALUE"]),
        (["run", "daily", "-p", "top=1", "-p", "top=2"], ["'top' is given twice"]),
        (["run", "daily", "-p", "session=2013-01-02"], ["use --session DATE"]),
        (["run", "daily", "-p", "symbols=AAPL,GOGL"], ["no data for symbol 'GOGL'", "did you mean GOOG?"]),
        (["run", "daily", "--session", "1999-12-31"], ["no data for session 1999-12-31", "AAPL 2000-03-01 to"]),
        (["run", "daily", "--session", "2015-01-05"], ["no data for session 2015-01-05"]),
        (["run", "daily", "--session", "1985-01-02"], ["outside the XNYS calendar"]),
        (["run", "daily", "--session", "tomorrow"], ["'tomorrow' is not a date"]),
        (["run", "daily", "--account", "My Account!"], ["My Account!"]),
        (["replay", "daily", "--from", "2013-02-01", "--to", "2013-01-02"], ["is after --to"]),
        (["replay", "daily", "--from", "2013-01-05", "--to", "2013-01-06"], ["not a XNYS session"]),
        (["run", "daily", "-p", "symbols=AAPL,AAPL"], ["named twice", "AAPL"]),
        (["run", "daily", "-p", "symbols="], ["symbols is empty"]),
        (["run", "daily", "-p", "history=0"], ["history", "greater than or equal to 1"]),
        (["run", "daily", "-p", 'strategy_parameters={"top": 0}'], ["one by one", "-p top=3"]),
        (["run", "daily", "--session", ""], ["'' is not a date"]),
        (["run", "daily", "--account", ""], ["'' cannot be the name of an account"]),
        (["run"], ["Missing argument"]),
        (["run", "daily", "--frobnicate"], ["No such option"]),
        (["frobnicate"], ["No such command"]),
        (["orders", "--session", "yesterday"], ["'yesterday' is not a date"]),
        (["pipelines", "inspect", "nightly"], ["no pipeline 'nightly'"]),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_64(home: Path, arguments: list[str], words: list[str]) -> None:
    line = refused(home, *arguments)
    for word in words:
        assert word in line
    with closing(sqlite3.connect(home / "data" / "journal.sqlite")) as journal:
        tables = [row[0] for row in journal.execute("SELECT name FROM sqlite_master WHERE name='runs'")]
        runs = journal.execute("SELECT count(*) FROM runs").fetchone()[0] if tables else 0
    assert runs == 0


def test_a_session_that_has_not_closed_is_refused(home: Path) -> None:
    wb = open_workbench(start=home, env={})
    upcoming = wb.calendar.next(wb.clock.now().date())
    wb.close()
    assert "has not closed yet" in refused(home, "run", "daily", "--session", str(upcoming))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[risk]\nmax_order_valu_usd = 5\n", ["unknown key 'risk.max_order_valu_usd'", "max_order_value_usd"]),
        ('[risk]\nmax_order_value_usd = "lots"\n', ["risk.max_order_value_usd", "'lots'"]),
        ("[risk]\nmax_order_value_usd = -1\n", ["risk.max_order_value_usd", "greater than 0"]),
        ("[risk]\nmax_order_value_usd = nan\n", ["risk.max_order_value_usd"]),
        ("[planner]\ncash_buffer = 2\n", ["planner.cash_buffer", "less than or equal to 1"]),
        ('calendar = "XNYZ"\n', ["no exchange calendar 'XNYZ'", "XNYS"]),
        ('home = "elsewhere"\n', ["home"]),
        ("[risk\n", ["not valid TOML"]),
        ("\xff\xfe", ["workbench.toml"]),
    ],
)
def test_a_broken_configuration_is_named_with_file_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    home = make_home(tmp_path / "home")
    (home / "workbench.toml").write_text(text, encoding="latin-1")
    line = refused(home, "run", "daily")
    for word in words:
        assert word in line


def test_a_missing_configuration_says_where_it_was_looked_for(tmp_path: Path) -> None:
    assert "no workbench.toml in" in refused(tmp_path, "status")
    assert "is not a file" in refused(tmp_path, "status", WORKBENCH_CONFIG=str(tmp_path / "none.toml"))


def test_a_setting_from_the_environment_is_checked_too(home: Path) -> None:
    line = refused(home, "run", "daily", WORKBENCH_RISK__MAX_ORDER_VALUE_USD="five")
    assert "environment" in line
    assert "risk.max_order_value_usd" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('description="x"\n[[steps]]\nname="a"\nnotebok="report.ipynb"\n', ["broken.toml", "notebok"]),
        ('description="x"\n[[steps]]\nname="a"\nnotebook="nowhere.ipynb"\n', ["nowhere.ipynb"]),
        ("schedule = [", ["broken.toml"]),
        (GOOD.replace("[parameters]", "[parameters]\nlokback = 3"), ["broken", "[parameters]", "unknown 'lokback'"]),
        (GOOD.replace("[strategies.momentum]", "[strategies.momentun]"), ["momentun", "did you mean momentum?"]),
        (GOOD.replace("top = 2", "top = 0"), ["strategy momentum", "top", "greater than or equal to 1"]),
    ],
)
def test_a_broken_pipeline_is_named(home: Path, text: str, words: list[str]) -> None:
    file = home / "pipelines" / "broken.toml"
    file.write_text(text)
    try:
        line = refused(home, "run", "broken")
    finally:
        file.unlink()
    for word in words:
        assert word in line


def test_a_broken_pipeline_does_not_hide_the_others(home: Path) -> None:
    file = home / "pipelines" / "broken.toml"
    file.write_text("schedule = [")
    try:
        done = workbench(home, "pipelines", "list")
    finally:
        file.unlink()
    assert (done.returncode, "daily" in done.stdout) == (64, True)
    assert "broken.toml: not valid TOML" in done.stderr


def test_a_corrupt_journal_stops_everything_and_says_the_way_out(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    (home / "data" / "journal.sqlite").write_bytes(b"not a journal" * 1000)
    for command in (["status"], ["run", "daily"], ["halt"]):
        done = workbench(home, *command)
        assert done.returncode == 74
        assert "trading is halted; move the file aside and restore a backup" in done.stderr
    assert not (home / "data" / "exchange").exists()


def test_listings_are_json_even_when_empty(home: Path) -> None:
    for command in ("orders", "positions", "runs", "status"):
        done = workbench(home, command, "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_a_command_without_arguments_shows_its_help(home: Path) -> None:
    for arguments in ([], ["data"], ["pipelines"]):
        done = workbench(home, *arguments)
        assert done.returncode == 64
        assert "Usage:" in done.stderr
        assert len(done.stderr.splitlines()) > 5


def test_a_reader_that_has_gone_is_no_failure(home: Path) -> None:
    command = f"{sys.executable} -m workbench.cli.main pipelines list | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=home, env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
