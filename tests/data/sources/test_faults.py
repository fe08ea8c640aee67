"""Malformed files: one line with file, row and column, and nothing loaded; or the wrong rows set aside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from data.sources.conftest import Desk

from workbench.data.lake import Lake
from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource
from workbench.errors import ConfigError, DataError

HEADER = "Date,Open,High,Low,Close,Volume"
ROW, NEXT = "2013-02-05,204.31,204.75,202.51,202.79,3636900", "2013-02-06,200.39,201.29,199.56,201.02,3624200"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, ROW, NEXT.replace("199.56", "19x.56")], r", line 3, column 'Low': is not a number \(got '19x.56'\)"),
        ([HEADER, ROW, NEXT.replace("199.56", "1_9")], r", line 3, column 'Low': is not a number \(got '1_9'\)"),
        ([HEADER, ROW, NEXT.replace("3624200", "")], ", line 3, column 'Volume': is empty"),
        ([HEADER, ROW.replace("204.31", "inf"), NEXT], r", line 2, column 'Open': is not a number \(got 'inf'\)"),
        ([HEADER, ROW, NEXT.replace("-02-06", "-02-30")], r", line 3, column 'Date': is not a date .*got '2013-02-30'"),
        ([HEADER, ROW, "", NEXT.replace("199.56", "x")], ", line 4, column 'Low': is not a number"),
        ([HEADER, ROW, ROW], ", line 3: IBM has this session already, in IBM.csv, line 2"),
        ([HEADER, ROW, NEXT + ",7"], ", line 3: has 7 cells, the header has 6"),
        ([HEADER, ROW, "2013-02-06,200.39"], ", line 3: has 2 cells, the header has 6"),
        ([HEADER, ROW, '"2013-02-06,200.39'], ": cannot be read: unexpected end of data"),
        ([HEADER.replace("Low", "Lo"), ROW], "there is no column for low among Date, Open, High, Lo, Close, Volume"),
        (["Date,AAPL,MSFT,IBM", "2013-02-05,1,2,3"], ": this looks like one column per symbol"),
        (["Date,Open,High,Low,Close,close,Volume", ROW + ",1"], "columns 'Close' and 'close' could both be the close"),
        ([ROW, NEXT], ", line 1: no header with the names of date"),
        ([HEADER], ": there are no rows below the header"),
        ([HEADER, "05/02/2013,1,1,1,1,1"], "'05/02/2013' may be day first or month first.*--date-format day-first"),
        ([HEADER, "05/22/2013,1,1,1,1,1", "22/05/2013,1,1,1,1,1"], "is written day first and '05/22/2013' month first"),
        (
            [HEADER, "yesterday,1,1,1,1,1"],
            r"'Date': there is no date in it that can be read \(got 'yesterday'\)",
        ),
        ([HEADER, '2013-02-05,"1,234",1,1,1,1'], "'1,234' may be a number of thousands or .*--decimal"),
        ([HEADER, '2013-02-05,"1,234.5","1.234,5",1,1,1'], "has a decimal point and '1.234,5' a decimal comma"),
        (
            [HEADER, "2013-02-05 09:30,1,1,1,1,1", "2013-02-05 09:31,1,1,1,1,1"],
            "do not say their time zone.*--timez",
        ),
        ([HEADER, "2013-02-05 09:30,1,1,1,1,1"], "does not tell daily bars from minutes; say --frequency"),
        (
            [HEADER, *(f"2013-02-05T14:{minute}:00Z,1,1,1,1,1" for minute in ("30", "35", "40"))],
            "these bars look 5 minutes long or longer",
        ),
        (
            [HEADER, "2013-02-05T14:30:00Z,1,1,1,1,1", "2013-02-05T14:31:20Z,1,1,1,1,1"],
            "line 3, column 'Date': is not the start of a minute",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(desk: Desk, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=rf"^IBM\.csv.*{message}") as caught:
        desk.bars("IBM.csv", *lines)
    assert "\n" not in str(caught.value)


def test_a_malformed_file_loads_nothing_and_its_neighbours_neither(desk: Desk) -> None:
    desk.write("MSFT.csv", HEADER, ROW, NEXT)
    desk.write("IBM.csv", HEADER, ROW, NEXT.replace("199.56", "x"))
    with Lake(desk.folder / "lake") as lake:
        with pytest.raises(DataError, match=r"^IBM\.csv, line 3, column 'Low'"):
            lake.load(FileSource(str(desk.folder / "*.csv"), Reading(adjusted=False)))
        assert lake.is_empty()


def test_wrong_rows_are_set_aside_with_their_reason_and_the_rest_is_read(desk: Desk) -> None:
    rows = [
        ROW,
        NEXT.replace("199.56", "x"),
        "2013-02-07,1,1",
        "2013-02-08,1,1,1,1,5",
        "2013-02-08,1,1,1,1,5",  # says the same twice: the first is kept
        "2013-02-11,1,1,1,1,5",
        "2013-02-11,2,2,2,2,5",  # two prices for one session: neither is believed
    ]
    found = desk.bars("IBM.csv", HEADER, *rows, quarantine=True)
    assert [row[1] for row in found] == ["2013-02-05", "2013-02-08"]
    aside = desk.table(desk.staged.quarantine, "line, reason")
    assert aside == [
        (3, "IBM.csv, line 3, column 'Low': is not a number (got 'x')"),
        (4, "IBM.csv, line 4: has 3 cells, the header has 6"),
        (6, "IBM.csv, line 6: IBM has this session already, in IBM.csv, line 5"),
        (7, "IBM.csv, line 7: IBM has this session again, with other prices"),
        (8, "IBM.csv, line 8: IBM has this session already, in IBM.csv, line 7, with other prices"),
    ]
    raw = json.loads(desk.table(desk.staged.quarantine, "row")[0][0])
    assert raw == {
        "Date": "2013-02-06", "Open": "200.39", "High": "201.29", "Low": "x", "Close": "201.02", "Volume": "3624200",
    }  # fmt: skip


def test_what_is_set_aside_is_kept_in_the_lake(desk: Desk) -> None:
    file = desk.write("IBM.csv", HEADER, ROW, NEXT.replace("199.56", "x"))
    with Lake(desk.folder / "lake") as lake:
        result = lake.load(FileSource(file, Reading(adjusted=False, quarantine=True)))
    assert (result.rows_read, result.rows_added, result.quarantined) == (1, 1, 1)


def test_a_file_of_which_no_row_is_right_is_refused_even_then(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"no row of it can be read; IBM\.csv, line 2, column 'Open'"):
        desk.bars("IBM.csv", HEADER, ROW.replace("204.31", "x"), quarantine=True)


def test_a_row_of_a_parquet_file_is_named_by_its_number(desk: Desk) -> None:
    frame = pd.DataFrame(
        {"symbol": ["IBM", None], "date": pd.to_datetime(["2013-02-05"] * 2)}
        | dict.fromkeys(HEADER.lower().split(",")[1:], 1.0)
    )
    frame.to_parquet(desk.folder / "prices.parquet")
    with pytest.raises(DataError, match=r"^prices\.parquet, row 2, column 'symbol': is empty"):
        desk.read(FileSource(desk.folder / "prices.parquet", Reading(adjusted=False)))


def test_a_cell_of_a_workbook_is_named_by_its_row_and_column(desk: Desk) -> None:
    frame = pd.DataFrame({"Date": pd.to_datetime(["2013-02-05", "2013-02-06"])}).assign(Open=[1.0, "x"], High=1.0)
    frame.assign(Low=1.0, Close=1.0, Volume=5).to_excel(desk.folder / "IBM.xlsx", index=False)
    with pytest.raises(DataError, match=r"^IBM\.xlsx, row 3, column 'Open': is not a number \(got 'x'\)"):
        desk.read(FileSource(desk.folder / "IBM.xlsx", Reading(adjusted=False)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("IBM.csv", b"", "the file is empty"),
        ("IBM.csv", b"\x00\x01\x02PNG", "this is no text"),
        ("IBM.csv.gz", b"\x1f\x8bnot really", "cannot be read"),
        ("IBM.zip", b"PKnot really", "cannot be unpacked"),
        ("IBM.parquet", b"PAR1not really", "cannot be read"),
        ("IBM.xlsx", b"PKnot really", "cannot be read"),
    ],
)
def test_a_file_that_is_something_else_is_refused(desk: Desk, name: str, content: bytes, message: str) -> None:
    (desk.folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{name}: {message}"):
        desk.read(FileSource(desk.folder / name, Reading(adjusted=False)))


def test_a_header_that_is_found_late_makes_the_right_line_numbers(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"^IBM\.csv, line 6, column 'Low'"):
        desk.bars("IBM.csv", "IBM", "daily prices", "", HEADER, ROW, NEXT.replace("199.56", "x"))


def test_symbols_that_cannot_be_told_are_asked_for(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"^history_2013\.csv: no column has the symbol.*say --symbol"):
        desk.bars("history_2013.csv", HEADER, ROW)
    assert desk.bars("history_2013.csv", HEADER, ROW, symbol="IBM")[0][0] == "IBM"
    assert desk.bars("history_2013.csv", HEADER, ROW, symbol="O'NEIL")[0][0] == "O'NEIL"
    with pytest.raises(DataError, match="column 'Ticker' has the symbols"):
        desk.bars("x.csv", f"Ticker,{HEADER}", f"IBM,{ROW}", symbol="IBM")


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"timezone": "America/Newyork"}, "no time zone 'America/Newyork'; did you mean America/New_York"),
        ({"frequency": "hourly"}, "no frequency 'hourly'; it is daily or minute"),
        ({"decimal": ";"}, "no decimal mark ';'"),
    ],
)
def test_what_is_declared_has_to_be_known(declared: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Reading(**declared)


def test_bars_of_days_and_of_minutes_are_not_one_load(desk: Desk) -> None:
    desk.write("IBM.csv", HEADER, ROW)
    minutes = HEADER.replace("Date", "timestamp")
    desk.write("SPY.csv", minutes, "2013-02-05T14:30:00Z,1,1,1,1,1", "2013-02-05T14:31:00Z,1,1,1,1,1")
    with pytest.raises(DataError, match=r"^IBM\.csv has daily bars and SPY\.csv minute bars"):
        desk.read(FileSource(desk.folder, Reading(adjusted=False)))


def test_both_ways_of_reading_give_the_same_bars(desk: Desk, tmp_path: Path) -> None:
    # the wrong last row sends everything through the second, slower pass
    rows = [
        f"2013-01-{day:02},{100 + day / 7:.4f},{day * 1.1},{day / 3:.10f},{day},{day * 1000}" for day in range(1, 32)
    ]
    fast = desk.bars("IBM.csv", HEADER, *rows)
    slow = desk.bars("IBM.csv", HEADER, *rows, "nothing,,,,,", quarantine=True)
    assert fast == slow
    assert len(fast) == 31
