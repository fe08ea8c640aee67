"""Files as their vendors write them. The rows are real prices of the sample or of the vendor's own example."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from data.sources.conftest import Desk

from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource
from workbench.errors import ConfigError, DataError

IBM = ("IBM", "2013-02-05", 204.31, 204.75, 202.51, 202.79, 3_636_900.0)
IBM_NEXT = ("IBM", "2013-02-06", 200.39, 201.29, 199.56, 201.02, 3_624_200.0)
PLAIN = ("2013-02-05,204.31,204.75,202.51,202.79,3636900", "2013-02-06,200.39,201.29,199.56,201.02,3624200")
HEADER = "Date,Open,High,Low,Close,Volume"

SHAPES = {
    "plain": ("IBM.csv", (HEADER, *PLAIN)),
    "yahoo": (
        "IBM.csv",
        (
            "Date,Open,High,Low,Close,Adj Close,Volume",
            "2013-02-05,204.31,204.75,202.51,202.79,202.79,3636900",
            "2013-02-06,200.39,201.29,199.56,201.02,201.02,3624200",
        ),
    ),
    "yfinance in three lines": (
        "prices.csv",
        (
            "Price,Close,High,Low,Open,Volume",
            "Ticker,IBM,IBM,IBM,IBM,IBM",
            "Date,,,,,",
            "2013-02-05,202.79,204.75,202.51,204.31,3636900",
            "2013-02-06,201.02,201.29,199.56,200.39,3624200",
        ),
    ),
    "stooq": (
        "prices.txt",
        (
            "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
            "IBM.US,D,20130205,000000,204.31,204.75,202.51,202.79,3636900,0",
            "IBM.US,D,20130206,000000,200.39,201.29,199.56,201.02,3624200,0",
        ),
    ),
    "alpha vantage, newest first": (
        "daily_IBM.csv",
        (
            "timestamp,open,high,low,close,volume",
            "2013-02-06,200.39,201.29,199.56,201.02,3624200",
            "2013-02-05,204.31,204.75,202.51,202.79,3636900",
        ),
    ),
    "nasdaq": (
        "IBM.csv",
        (
            "Date,Close/Last,Volume,Open,High,Low",
            "02/05/2013,$202.79,3636900,$204.31,$204.75,$202.51",
            "02/06/2013,$201.02,3624200,$200.39,$201.29,$199.56",
        ),
    ),
    "investing.com": (
        "IBM Historical Data.csv",
        (
            '"Date","Price","Open","High","Low","Vol.","Change %"',
            '"Feb 06, 2013","201.02","200.39","201.29","199.56","3.6242M","-0.87%"',
            '"Feb 05, 2013","202.79","204.31","204.75","202.51","3.6369M","0.55%"',
        ),
    ),
    "semicolons and decimal commas": (
        "IBM.csv",
        (
            "Datum;Date;Open;High;Low;Close;Volume",
            ";05.02.2013;204,31;204,75;202,51;202,79;3.636.900",
            ";06.02.2013;200,39;201,29;199,56;201,02;3.624.200",
        ),
    ),
    "interactive brokers": (
        "IBM.csv",
        (
            "date,open,high,low,close,volume,average,barCount",
            "20130205,204.31,204.75,202.51,202.79,3636900,203.4,9",
            "20130206,200.39,201.29,199.56,201.02,3624200,200.7,9",
        ),
    ),
    "kaggle, one long file": (
        "all_stocks_5yr.csv",
        (
            "date,open,high,low,close,volume,Name",
            "2013-02-05,204.31,204.75,202.51,202.79,3636900,IBM",
            "2013-02-06,200.39,201.29,199.56,201.02,3624200,IBM",
        ),
    ),
    "google finance": (
        "IBM.csv",
        (
            HEADER,
            "2/13/2013 16:00:00,200.65,201.04,199.12,200.04,2747900",
            "2/14/2013 16:00:00,199.73,200.32,199.26,199.65,3294200",
        ),
    ),
    "day, name of month, short year": (
        "IBM.csv",
        (HEADER, "5-Feb-13,204.31,204.75,202.51,202.79,3636900", "6-Feb-13,200.39,201.29,199.56,201.02,3624200"),
    ),
    "polygon, milliseconds": (
        # midnight in New York: 1360040400 is 2013-02-05 05:00 UTC
        "IBM.csv",
        (
            "v,vw,o,c,h,l,t,n",
            "3636900,203.4,204.31,202.79,204.75,202.51,1360040400000,9",
            "3624200,200.7,200.39,201.02,201.29,199.56,1360126800000,9",
        ),
    ),
    "midnight with an offset": (
        "IBM.csv",
        (
            HEADER,
            "2013-02-05 00:00:00-05:00,204.31,204.75,202.51,202.79,3636900",
            "2013-02-06 00:00:00-05:00,200.39,201.29,199.56,201.02,3624200",
        ),
    ),
    "alpaca's midnight in UTC": (
        "IBM.csv",
        (
            HEADER,
            "2013-02-05T05:00:00Z,204.31,204.75,202.51,202.79,3636900",
            "2013-02-06T05:00:00Z,200.39,201.29,199.56,201.02,3624200",
        ),
    ),
    "words above the header, an index, blank lines": (
        "IBM.csv",
        ("Price history of IBM", "", ",Date,Open,High,Low,Close,Volume", f"0,{PLAIN[0]}", "", f"1,{PLAIN[1]}", ""),
    ),
    "tabs and thousands": (
        "IBM.txt",
        (
            "Date\tOpen\tHigh\tLow\tClose\tVolume",
            '2013-02-05\t204.31\t204.75\t202.51\t202.79\t"3,636,900"',
            '2013-02-06\t200.39\t201.29\t199.56\t201.02\t"3,624,200"',
        ),
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_is_read_in_the_shape_its_vendor_gave_it(desk: Desk, shape: str) -> None:
    name, lines = SHAPES[shape]
    declared: dict[str, Any] = {"date_format": "month-first"} if shape == "nasdaq" else {}
    if shape.startswith("semicolons"):
        declared = {"columns": {"date": "Date"}}
    expected = [IBM, IBM_NEXT]
    if shape == "google finance":
        expected = [
            ("IBM", "2013-02-13", 200.65, 201.04, 199.12, 200.04, 2_747_900.0),
            ("IBM", "2013-02-14", 199.73, 200.32, 199.26, 199.65, 3_294_200.0),
        ]
    assert desk.bars(name, *lines, **declared) == expected
    assert desk.staged.frequency == "daily"


MINUTES = [
    ("SPY", "2013-07-01 13:30:00", 160.5, 160.6, 160.4, 160.55, 1000.0),
    ("SPY", "2013-07-01 13:31:00", 160.55, 160.7, 160.5, 160.6, 900.0),
]
FIRST, SECOND = "160.5,160.6,160.4,160.55,1000", "160.55,160.7,160.5,160.6,900"


@pytest.mark.parametrize(
    ("stamps", "declared"),
    [
        # New York is four hours behind UTC in July, five in winter
        (("2013-07-01 09:30:00-04:00", "2013-07-01 09:31:00-04:00"), {}),
        (("2013-07-01T13:30:00Z", "2013-07-01T13:31:00Z"), {}),
        (("2013-07-01 09:30", "2013-07-01 09:31"), {"timezone": "America/New_York"}),
        (("7/1/2013 9:30 AM", "7/1/2013 9:31 AM"), {"timezone": "America/New_York", "date_format": "month-first"}),
        (("20130701 09:30:00 US/Eastern", "20130701 09:31:00 US/Eastern"), {}),
        (("20130701 153000", "20130701 153100"), {"timezone": "Europe/Warsaw"}),
        (("1372685400", "1372685460"), {}),
        (("1372685400000", "1372685460000"), {}),
        (("1372685400000000000", "1372685460000000000"), {}),
    ],
)
def test_minutes_are_kept_in_utc(desk: Desk, stamps: tuple[str, str], declared: dict[str, Any]) -> None:
    lines = ("timestamp,open,high,low,close,volume", f"{stamps[0]},{FIRST}", f"{stamps[1]},{SECOND}")
    assert desk.bars("SPY.csv", *lines, **declared) == MINUTES
    assert desk.staged.frequency == "minute"


def test_a_date_and_a_time_column_are_read_together(desk: Desk) -> None:
    lines = ("Date,Time,Open,High,Low,Close,Vol", f"2013.07.01,09:30,{FIRST}", f"2013.07.01,09:31,{SECOND}")
    assert desk.bars("SPY.csv", *lines, timezone="America/New_York") == MINUTES


def test_summer_and_winter_are_told_apart_on_either_side_of_the_change(desk: Desk) -> None:
    # clocks went forward on 2013-03-10
    rows = [f"2013-03-0{day} 09:3{minute},{FIRST}" for day in (8,) for minute in (0, 1)]
    rows += [f"2013-03-11 09:3{minute},{FIRST}" for minute in (0, 1)]
    found = desk.bars("SPY.csv", "date,open,high,low,close,volume", *rows, timezone="America/New_York")
    assert [row[1] for row in found] == [
        "2013-03-08 14:30:00", "2013-03-08 14:31:00", "2013-03-11 13:30:00", "2013-03-11 13:31:00",
    ]  # fmt: skip


def test_minutes_stamped_at_their_end_have_to_be_declared(desk: Desk) -> None:
    # a whole session, each minute known by the one it ends in
    stamps = [f"2013-07-01 {hour:02}:{minute:02}" for hour in range(9, 17) for minute in range(60)]
    rows = [f"{stamp},{FIRST}" for stamp in stamps if "09:31" <= stamp[11:] <= "16:00"]
    header = "date,open,high,low,close,volume"
    declared = {"timezone": "America/New_York"}
    with pytest.raises(DataError, match=r"from 09:31 to 16:00 in America/New_York, as if stamped at their end; say"):
        desk.bars("SPY.csv", header, *rows, **declared)
    found = desk.bars("SPY.csv", header, *rows, **declared, stamp="end")
    assert (found[0][1], found[-1][1], len(found)) == ("2013-07-01 13:30:00", "2013-07-01 19:59:00", 390)
    assert desk.bars("SPY.csv", header, *rows, **declared, stamp="start")[0][1] == "2013-07-01 13:31:00"


def test_packed_files_are_read_like_plain_ones(desk: Desk) -> None:
    text = "\n".join((HEADER, *PLAIN)) + "\n"
    (desk.folder / "IBM.csv.gz").write_bytes(gzip.compress(text.encode()))
    with zipfile.ZipFile(desk.folder / "prices.zip", "w") as packed:
        packed.writestr("history/IBM.csv", text)
        packed.writestr("__MACOSX/history/._IBM.csv", "nothing")
        packed.writestr("readme.md", "nothing")
    for name in ("IBM.csv.gz", "prices.zip"):
        assert desk.read(FileSource(desk.folder / name, Reading(adjusted=False))) == [IBM, IBM_NEXT]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings_are_told_from_the_file(desk: Desk, encoding: str) -> None:
    file = desk.folder / "IBM.csv"
    file.write_text("\n".join((f"{HEADER},Größe", *(f"{row},é" for row in PLAIN))), encoding=encoding)
    assert desk.read(FileSource(file, Reading(adjusted=False))) == [IBM, IBM_NEXT]


def test_parquet_is_read_with_its_types(desk: Desk) -> None:
    frame = pd.DataFrame(
        {
            "Ticker": ["IBM", "IBM"],
            "Date": pd.to_datetime(["2013-02-05", "2013-02-06"]),
            "Open": [204.31, 200.39], "High": [204.75, 201.29], "Low": [202.51, 199.56], "Close": [202.79, 201.02],
            "Volume": [3636900, 3624200],
        }
    )  # fmt: skip
    frame.to_parquet(desk.folder / "prices.parquet")
    source = FileSource(desk.folder / "prices.parquet", Reading(adjusted=False))
    assert desk.read(source) == [IBM, IBM_NEXT]
    # 32-bit numbers stand for their shortest decimals, as DuckDB and pandas print them
    frame.astype({name: "float32" for name in ("Open", "High", "Low", "Close")}).to_parquet(
        desk.folder / "small.parquet"
    )
    assert desk.read(FileSource(desk.folder / "small.parquet", Reading(adjusted=False))) == [IBM, IBM_NEXT]


def test_the_first_sheet_of_a_workbook_is_read(desk: Desk) -> None:
    pd.DataFrame(
        {
            "Date": pd.to_datetime(["2013-02-05", "2013-02-06"]),
            "Open": [204.31, 200.39], "High": [204.75, 201.29], "Low": [202.51, 199.56], "Close": [202.79, 201.02],
            "Volume": [3636900, 3624200],
        }
    ).to_excel(desk.folder / "IBM.xlsx", index=False)  # fmt: skip
    assert desk.read(FileSource(desk.folder / "IBM.xlsx", Reading(adjusted=False))) == [IBM, IBM_NEXT]
    assert "dates are days as Excel counts them: '41310'" in desk.staged.assumptions


def test_minutes_of_a_workbook_are_whole_although_excel_counts_days(desk: Desk) -> None:
    times = pd.date_range("2013-07-01 09:30", periods=390, freq="min")
    prices = dict.fromkeys(("Open", "High", "Low", "Close", "Volume"), 1.0)
    pd.DataFrame({"Time": times} | prices).to_excel(desk.folder / "SPY.xlsx", index=False)
    source = FileSource(desk.folder / "SPY.xlsx", Reading(adjusted=False, timezone="America/New_York"))
    expected = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in times + pd.Timedelta(hours=4)]
    assert [row[1] for row in desk.read(source)] == expected


def test_a_folder_of_files_named_after_symbols_is_one_load(desk: Desk) -> None:
    for name in ("ibm.csv", "msft.csv"):
        desk.write(name, HEADER, *PLAIN)
    desk.write("BRK-B.csv", "Date,Close,Low,High,Open,Volume", "05/22/2013,1,1,1,1,5")
    desk.write("notes.md", "not a file of prices")
    found = desk.read(FileSource(desk.folder, Reading(adjusted=False)))
    assert [row[0] for row in found] == ["BRK-B", "IBM", "IBM", "MSFT", "MSFT"]
    assert found[0][1] == "2013-05-22"
    pattern = FileSource(str(desk.folder / "*sft.csv"), Reading(adjusted=False, symbol="MSFT"))
    assert [row[0] for row in desk.read(pattern)] == ["MSFT", "MSFT"]


def test_columns_can_be_named(desk: Desk) -> None:
    lines = ("When,A,B,C,D,E", PLAIN[0])
    columns = {"date": "When", "open": "A", "high": "B", "low": "C", "close": "D", "volume": "E"}
    assert desk.bars("IBM.csv", *lines, columns=columns) == [IBM]
    with pytest.raises(ConfigError, match="no column is called 'closing' here; did you mean close"):
        Reading(columns={"closing": "D"})
    with pytest.raises(DataError, match="there is no column 'Closing'"):
        desk.bars("IBM.csv", HEADER, PLAIN[0], columns={"close": "Closing"})


def test_dates_are_read_as_declared(desk: Desk) -> None:
    line = "02/05/2013,204.31,204.75,202.51,202.79,3636900"
    assert desk.bars("IBM.csv", HEADER, line, date_format="month-first")[0][1] == "2013-02-05"
    assert desk.bars("IBM.csv", HEADER, line, date_format="day-first")[0][1] == "2013-05-02"
    assert desk.bars("IBM.csv", HEADER, line.replace("/", "~"), date_format="%m~%d~%Y")[0][1] == "2013-02-05"


def test_a_day_far_below_tells_which_number_is_the_day(desk: Desk) -> None:
    # more rows than are looked at first, and each could be either
    ambiguous = [
        f"{one:02}/{two:02}/{year},1,1,1,1,1"
        for year in range(1990, 2011)
        for one in range(1, 13)
        for two in range(1, 13)
    ]
    found = desk.bars("IBM.csv", HEADER, *ambiguous, "01/31/2013,1,1,1,1,1")
    assert ("IBM", "2013-01-31", 1.0, 1.0, 1.0, 1.0, 1.0) in found
    assert "dates are month first: '01/31/2013'" in desk.staged.assumptions


def test_what_was_inferred_is_told_with_its_reason(desk: Desk) -> None:
    desk.bars("IBM Historical Data.csv", *SHAPES["investing.com"][1])
    assert desk.staged.assumptions == (
        "columns not read: Change %",
        "close is column 'Price', by its name",
        "IBM Historical Data.csv has the bars of IBM, by the name of the file",
        "prices are as traded: declared",
    )


def test_the_digest_is_of_the_data_and_of_how_it_is_read(desk: Desk) -> None:
    file = desk.write("IBM.csv", HEADER, *PLAIN)
    one = FileSource(file, Reading(adjusted=False)).digest
    assert FileSource(file, Reading(adjusted=False)).digest == one
    assert FileSource(file, Reading(adjusted=True)).digest != one
    assert FileSource(file, Reading(adjusted=False, symbol="MSFT")).digest != one
    desk.write("IBM.csv", HEADER, PLAIN[0])
    assert FileSource(file, Reading(adjusted=False)).digest != one


def test_a_location_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file, and none that fits it"):
        FileSource(tmp_path / "prices.csv")
    with pytest.raises(DataError, match="no file of prices in this folder"):
        FileSource(tmp_path)
    (tmp_path / "prices.docx").touch()
    with pytest.raises(DataError, match="a file of this kind cannot be read"):
        FileSource(tmp_path / "prices.docx")
