"""``workbench data load | quarantine``: what a person sees."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support.alpaca_data import serving
from support.homes import environment, make_home

from workbench.app import open_workbench
from workbench.cli.main import main
from workbench.errors import ConfigError

HEADER = "Date,Open,High,Low,Close,Volume"
ROWS = ("2013-02-05,204.31,204.75,202.51,202.79,3636900", "2013-02-06,200.39,201.29,199.56,201.02,3624200")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("house"))


@pytest.fixture
def command(house: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run ``workbench`` there: exit code, output, errors."""
    monkeypatch.chdir(house)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, said.out, said.err

    return run


def write(folder: Path, name: str, *lines: str) -> None:
    (folder / name).write_text("\n".join(lines) + "\n")


def test_a_file_is_loaded_once_and_what_was_inferred_is_printed(command: Command, house: Path) -> None:
    write(house, "IBM.csv", HEADER, *ROWS)
    code, out, err = command("data", "load", "IBM.csv", "--raw")
    assert (code, err) == (0, "")
    first, *notes = out.splitlines()
    assert first.startswith("IBM.csv: 2 rows read, 2 added, 0 restated, 0 corporate actions, snapshot ")
    assert notes == ["  IBM.csv has the bars of IBM, by the name of the file", "  prices are as traded: declared"]
    code, out, _ = command("data", "load", "IBM.csv", "--raw")
    assert code == 0
    assert "2 rows read, 0 added" in out
    assert "the same data was loaded before: nothing was done" in out


def test_a_dry_run_tells_what_would_be_read_and_changes_nothing(command: Command, house: Path) -> None:
    write(house, "KO.csv", HEADER, *ROWS)
    code, out, _ = command("data", "load", "KO.csv", "--raw", "--dry-run", "--json")
    assert code == 0
    (told,) = json.loads(out)
    assert (told["rows"], told["symbols"], told["first"], told["last"]) == (2, 1, "2013-02-05", "2013-02-06")
    assert "prices are as traded: declared" in told["assumptions"]
    _, out, _ = command("data", "show", "--json")
    assert "KO" not in [row["symbol"] for row in json.loads(out)]


def test_what_cannot_be_told_is_refused_with_its_option(command: Command, house: Path) -> None:
    write(house, "GE.csv", HEADER, *ROWS)
    code, out, err = command("data", "load", "GE.csv")
    assert (code, out) == (65, "")
    assert err == (
        "workbench: GE.csv: it cannot be told whether prices are as traded or adjusted; "
        "say --raw if they are as traded, or --adjusted if they are divided by the splits since\n"
    )


def test_a_malformed_file_is_one_line_with_file_row_and_column(command: Command, house: Path) -> None:
    write(house, "GE.csv", HEADER, ROWS[0], ROWS[1].replace("199.56", "x"))
    code, out, err = command("data", "load", "GE.csv", "--raw")
    assert (code, out) == (65, "")
    assert err.startswith("workbench: GE.csv, line 3, column 'Low': is not a number (got 'x'); mend it, or set such")


def test_rows_set_aside_are_counted_and_can_be_seen(command: Command, house: Path) -> None:
    write(house, "XOM.csv", HEADER, ROWS[0], ROWS[1].replace("199.56", "x"))
    code, out, _ = command("data", "load", "XOM.csv", "--raw", "--quarantine")
    assert code == 0
    assert "XOM.csv: 1 rows read, 1 added" in out
    assert "1 row was set aside: workbench data quarantine --source 'XOM.csv'" in out
    code, out, _ = command("data", "quarantine", "--source", "XOM.csv", "--json")
    assert code == 0
    (row,) = json.loads(out)
    assert (row["line"], row["reason"]) == (3, "XOM.csv, line 3, column 'Low': is not a number (got 'x')")
    assert json.loads(row["row"])["Low"] == "x"


def test_columns_dates_and_zones_are_declared_by_options(command: Command, house: Path) -> None:
    write(house, "odd.csv", "When;Last;Open;High;Low;Vol", "01/07/2013 09:30;160,55;160,5;160,6;160,4;1.000")
    code, out, err = command(
        "data", "load", "odd.csv", "--raw", "--symbol", "SPY", "--column", "date=When", "--map", "close=Last",
        "--date-format", "day-first", "--decimal", ",", "--frequency", "minute", "--timezone", "America/New_York",
        "--stamp", "start", "--calendar", "XNYS", "--dry-run", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    (told,) = json.loads(out)
    assert (told["frequency"], told["first"]) == ("minute", "2013-07-01 13:30:00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--raw"], "--raw without a location"),
        (["IBM.csv", "--column", "close"], "is not of the form ROLE=COLUMN"),
        (["IBM.csv", "--column", "closing=Last"], "no column is called 'closing' here; did you mean close"),
        (["IBM.csv", "--timezone", "Mars/Base"], "no time zone 'Mars/Base'"),
        (["IBM.csv", "--table", "prices"], "IBM.csv has no tables or queries"),
        (["IBM.csv", "--start", "2013-01-01"], "IBM.csv is read as a whole"),
        (["ftp://host/prices.csv"], "nothing can be read from ftp://"),
        (["sqlite:prices.db"], "say which rows; with --table NAME or --query"),
        (["s3://bucket"], "write s3://BUCKET/KEY"),
        (["alpaca:IBM"], "the environment has no APCA_API_KEY_ID"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_64(command: Command, arguments: list[str], message: str) -> None:
    code, out, err = command("data", "load", *arguments)
    assert (code, out) == (64, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_missing_file_is_one_line_and_exit_65(command: Command) -> None:
    code, _, err = command("data", "load", "nothing.csv")
    assert code == 65
    assert err.startswith("workbench: nothing.csv: there is no such file, and none that fits it")


def test_a_notebook_loads_files_and_frames(house: Path) -> None:
    workbench = open_workbench(start=house)
    try:
        frame = pd.DataFrame(
            [["T", pd.Timestamp("2013-02-05"), 36.0, 36.4, 35.9, 36.2, 1e6]],
            columns=["symbol", "date", "open", "high", "low", "close", "volume"],
        )
        result = workbench.load(frame, adjusted=False)
        assert (result.source, result.rows_added) == ("frame", 1)
        assert workbench.load(frame, adjusted=False).repeated
        with pytest.raises(ConfigError, match="load has no 'adjust'; did you mean adjusted"):
            workbench.load(frame, adjust=False)
        assert workbench.lake.bars(["T"], adjustment="raw").close["T"].tolist() == [36.2]
    finally:
        workbench.close()


def test_bars_of_alpaca_are_asked_for_by_symbols_and_a_span(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as venue:
        monkeypatch.setenv("WORKBENCH_ALPACA__DATA_URL", venue.address)
        monkeypatch.setenv("APCA_API_KEY_ID", "PK1")
        monkeypatch.setenv("APCA_API_SECRET_KEY", "s3cret")
        code, out, err = command("data", "load", "alpaca:ibm, KO", "--start", "2013-02-05", "--end", "2013-02-06")
        assert (code, err) == (0, "")
        assert out.startswith("alpaca: IBM, KO: 3 rows read, ")
        assert "  prices are as traded: asked for with adjustment=raw" in out.splitlines()
        assert venue.asked[0][1]["symbols"] == "IBM,KO"
        code, _, err = command("data", "load", "alpaca:IBM")
        assert (code, err) == (64, "workbench: whose bars, and since when?; alpaca:AAPL,MSFT --start 2020-01-01\n")


def test_a_table_of_a_database_is_named_by_an_option(command: Command, house: Path) -> None:
    with sqlite3.connect(house / "prices.db") as connection:
        connection.execute("CREATE TABLE bars (symbol, date, open, high, low, close, volume)")
        connection.execute("INSERT INTO bars VALUES ('CVX', '2013-02-05', 1.5, 2.5, 0.5, 1.25, 100)")
    connection.close()
    code, out, err = command("data", "load", "sqlite:prices.db", "--table", "bars", "--raw")
    assert (code, err) == (0, "")
    assert out.startswith("sqlite: bars: 1 rows read, 1 added")


def test_a_terminal_sees_progress_and_a_pipe_does_not(house: Path) -> None:
    write(house, "PG.csv", HEADER, *ROWS)
    theirs, ours = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", "data", "load", "PG.csv", "--raw"],
        cwd=house, env=environment(TERM="xterm"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=ours,
        text=True,
    ) as process:  # fmt: skip
        os.close(ours)
        drawn = _all_of(theirs)
        assert process.stdout is not None
        assert "PG.csv: 2 rows read, 2 added" in process.stdout.read()
    assert process.returncode == 0
    assert "comparing and writing" in drawn


def _all_of(terminal: int) -> str:
    """What was drawn until the other side has gone, which a terminal tells by an error."""
    found = b""
    try:
        while part := os.read(terminal, 4096):
            found += part
    except OSError:
        pass
    finally:
        os.close(terminal)
    return found.decode()
