"""Quotes in the lake: read from files, kept as they came, versioned like bars, and judged by the check."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench.app import open_workbench
from workbench.app.workbench import Workbench
from workbench.cli.commands import command_line
from workbench.errors import ConfigError, DataError

# Real ones would be a vendor's property: these are made up around IBM's bar of 2013-02-05.
HEADER = "symbol,time,bid,ask,bid_size,ask_size"
ROWS = (
    "IBM,2013-02-05T14:30:00.120Z,204.30,204.33,300,200",
    "IBM,2013-02-05T14:30:00.480Z,204.33,204.33,100,100",
    "IBM,2013-02-05T14:30:01.004Z,204.36,204.33,100,500",
    "MSFT,2013-02-05T14:30:00.200Z,0,27.50,,",
)
BARS = (
    "symbol,date,open,high,low,close,volume",
    "IBM,2013-02-05,204.31,204.75,202.51,202.79,3636900",
    "MSFT,2013-02-05,27.62,27.66,27.36,27.5,35410400",
)


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    (tmp_path / "workbench.toml").touch()
    monkeypatch.chdir(tmp_path)
    made = open_workbench(start=tmp_path)
    yield made
    made.close()


def write(name: str, *lines: str) -> str:
    Path(name).write_text("\n".join(lines) + "\n")
    return name


def held(workbench: Workbench, **asked: object) -> list[tuple[object, ...]]:
    frame = workbench.lake.quotes(**asked)  # type: ignore[arg-type]
    return [(row.symbol, f"{row.at:%H:%M:%S.%f}"[:12], row.bid, row.ask) for row in frame.itertuples()]


def test_quotes_are_kept_as_they_came_and_loading_them_again_changes_nothing(workbench: Workbench) -> None:
    made = workbench.load(write("quotes.csv", HEADER, *ROWS[:3]), kind="quotes")
    assert (dict(made.beside)["quotes"], made.snapshot) == (3, 1)
    assert workbench.load("quotes.csv", kind="quotes").repeated
    more = workbench.load(write("more.csv", HEADER, *ROWS[1:]), kind="quotes")  # two of them are known
    assert (dict(more.beside)["quotes"], more.snapshot) == (1, 2)
    assert held(workbench) == [
        ("IBM", "14:30:00.120", 204.30, 204.33),
        ("IBM", "14:30:00.480", 204.33, 204.33),
        ("IBM", "14:30:01.004", 204.36, 204.33),
        ("MSFT", "14:30:00.200", 0.0, 27.50),
    ]
    assert len(held(workbench, snapshot=1)) == 3
    assert held(workbench, symbols=["MSFT"], start=date(2013, 2, 6)) == []
    sizes = workbench.lake.quotes(["IBM"])[["bid_size", "ask_size"]].to_numpy().tolist()
    assert sizes == [[300.0, 200.0], [100.0, 100.0], [100.0, 500.0]]
    assert workbench.lake.quotes(["MSFT"])["bid_size"].isna().all()
    assert workbench.lake.export(Path("out.parquet"), table="quotes", end=date(2013, 2, 5)) == 4
    assert dict(workbench.load("out.parquet", kind="quotes", timezone="UTC").beside)["quotes"] == 0
    assert workbench.lake.export(Path("none.csv"), ["MSFT"], table="quotes") == 1


def test_a_quote_that_is_restated_is_another_snapshot_and_the_old_one_stays(workbench: Workbench) -> None:
    workbench.load(write("quotes.csv", HEADER, ROWS[0]), kind="quotes")
    workbench.load(write("again.csv", HEADER, ROWS[0].replace("204.30", "204.29")), kind="quotes")
    assert held(workbench) == [("IBM", "14:30:00.120", 204.29, 204.33)]
    assert held(workbench, snapshot=1) == [("IBM", "14:30:00.120", 204.30, 204.33)]


def test_times_without_a_zone_are_asked_for_and_json_is_read_too(workbench: Workbench) -> None:
    local = [f"IBM,2013-02-05 09:30:0{second},204.3,204.4,1,1" for second in (0, 1)]
    with pytest.raises(DataError, match=r"the times do not say their time zone.*--timezone America/New_York"):
        workbench.load(write("quotes.csv", HEADER, *local), kind="quotes")
    workbench.load("quotes.csv", kind="quotes", timezone="America/New_York")
    assert [row[1] for row in held(workbench)] == ["14:30:00.000", "14:30:01.000"]
    # Alpaca's names: S, t, bp, bs, ap, as.
    message = {"S": "KO", "t": "2013-02-05T14:30:00Z", "bp": 37.1, "bs": 2, "ap": 37.2, "as": 3}
    workbench.load(write("KO.jsonl", json.dumps(message)), kind="quotes")
    assert held(workbench, symbols=["KO"]) == [("KO", "14:30:00.000", 37.1, 37.2)]


def test_a_wrong_row_is_named_and_of_one_moment_the_last_quote_stands(workbench: Workbench) -> None:
    twice = ROWS[0].replace("204.30", "204.31")
    with pytest.raises(DataError, match=r"quotes.csv, line 2: IBM has another quote of this moment after it"):
        workbench.load(write("quotes.csv", HEADER, ROWS[0], twice), kind="quotes")
    with pytest.raises(DataError, match=r"wrong.csv, line 3, column 'bid': is not a number \(got 'n/a'\)"):
        workbench.load(write("wrong.csv", HEADER, ROWS[0], ROWS[1].replace("204.33,204", "n/a,204")), kind="quotes")
    assert workbench.lake.snapshot() == 0
    made = workbench.load("quotes.csv", kind="quotes", quarantine=True)
    assert made.quarantined == 1
    assert held(workbench) == [("IBM", "14:30:00.120", 204.31, 204.33)]
    assert workbench.lake.quarantine()["line"].tolist() == [2]


def test_what_is_no_quote_is_refused_with_the_way_out(workbench: Workbench) -> None:
    for lines, said in (
        (BARS, "no column for bid and ask among symbol, date"),
        ((HEADER.replace("time", "date"), "IBM,2013-02-05,1,2,3,4"), "a quote needs a time of day"),
    ):
        with pytest.raises(DataError, match=said):
            workbench.load(write("file.csv", *lines), kind="quotes")
    with pytest.raises(ConfigError, match="no kind 'quote'; did you mean quotes"):
        workbench.load("file.csv", kind="quote")
    with pytest.raises(ConfigError, match="quotes are read from files, not from postgresql:"):
        workbench.load("postgresql://host/db", kind="quotes")


def test_the_check_tells_of_crossed_quotes_and_not_of_locked_ones(workbench: Workbench) -> None:
    workbench.load(write("bars.csv", *BARS), adjusted=False)
    app = command_line(["data"])
    loaded = CliRunner().invoke(app, ["data", "load", write("quotes.csv", HEADER, *ROWS), "--kind", "quotes"])
    assert "4 quotes added" in loaded.output
    checked = CliRunner().invoke(app, ["data", "check", "--json"])
    crossed = [
        (f["symbol"], f["at"], f["value"], f["expected"], f["severity"])
        for f in json.loads(checked.output)["findings"]
        if f["rule"] == "crossed_quotes"
    ]
    assert crossed == [
        ("IBM", "2013-02-05T14:30:01", 204.36, 204.33, "warn"),
        ("MSFT", "2013-02-05T14:30:00", 0.0, 27.5, "warn"),
    ]
