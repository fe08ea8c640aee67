"""JSON as vendors and libraries write it: IBM's bars of 2013-02-05 and 06, in nests as the vendors document them."""

from __future__ import annotations

import gzip
import json
import zipfile
from typing import Any

import pandas as pd
import pytest
from data.sources.conftest import Desk

from workbench.data.sources import Reading
from workbench.data.sources.files import FileSource
from workbench.errors import DataError

IBM = ("IBM", "2013-02-05", 204.31, 204.75, 202.51, 202.79, 3_636_900.0)
IBM_NEXT = ("IBM", "2013-02-06", 200.39, 201.29, 199.56, 201.02, 3_624_200.0)
NAMES = ("open", "high", "low", "close", "volume")
FIRST, NEXT = dict(zip(NAMES, IBM[2:], strict=True)), dict(zip(NAMES, IBM_NEXT[2:], strict=True))
SHORT = [{name[0]: bar[name] for name in NAMES} for bar in (FIRST, NEXT)]
LISTS = {name: [FIRST[name], NEXT[name]] for name in NAMES}
SHORT_LISTS = {name[0]: values for name, values in LISTS.items()}
# Midnight in New York, as Polygon and Yahoo stamp a session.
MOMENTS = [1_360_040_400, 1_360_126_800]
DAYS, MOMENTS_OF = list(zip((5, 6), SHORT, strict=True)), list(zip(MOMENTS, SHORT, strict=True))
FRAME = pd.DataFrame({"date": ["2013-02-05", "2013-02-06"], **LISTS})
INDEXED = FRAME.assign(date=pd.to_datetime(FRAME["date"])).set_index("date")

SHAPES: dict[str, Any] = {
    "objects": [{"symbol": "IBM", "date": day, **bar} for day, bar in (("2013-02-05", FIRST), ("2013-02-06", NEXT))],
    "numbers as text": [
        {"Date": day, **{name.title(): str(value) for name, value in bar.items()}}
        for day, bar in (("2013-02-05", FIRST), ("2013-02-06", NEXT))
    ],
    "a list per column": {"date": ["2013-02-05", "2013-02-06"], **LISTS},
    "alpaca, one symbol": {
        "symbol": "IBM",
        "bars": [{"t": f"2013-02-0{day}T05:00:00Z", "n": 9, "vw": 1.0, **bar} for day, bar in DAYS],
        "next_page_token": None,
    },
    "alpaca, several symbols": {
        "bars": {"IBM": [{"t": f"2013-02-0{day}T05:00:00Z", **bar} for day, bar in DAYS]},
        "next_page_token": None,
    },
    "alpaca's stream": [
        {"T": "d", "S": "IBM", "t": f"2013-02-0{day}T05:00:00Z", **bar} for day, bar in DAYS
    ],
    "polygon": {
        "ticker": "IBM", "queryCount": 2, "resultsCount": 2, "adjusted": False, "status": "OK",
        "results": [{"t": 1000 * moment, "vw": 203.1, "n": 30_000, **bar} for moment, bar in MOMENTS_OF],
    },
    "polygon, grouped": {
        "results": [{"T": "IBM", "t": 1000 * moment, **bar} for moment, bar in MOMENTS_OF],
    },
    "yahoo": {"chart": {"error": None, "result": [{
        "meta": {"currency": "USD", "symbol": "IBM", "gmtoffset": -18000},
        "timestamp": MOMENTS, "indicators": {"quote": [LISTS]},
    }]}},
    "alpha vantage": {
        "Meta Data": {"1. Information": "Daily Prices", "2. Symbol": "IBM", "5. Time Zone": "US/Eastern"},
        "Time Series (Daily)": {
            day: {f"{place}. {name}": str(bar[name]) for place, name in enumerate(NAMES, 1)}
            for day, bar in (("2013-02-06", NEXT), ("2013-02-05", FIRST))
        },
    },
    "finnhub": {**SHORT_LISTS, "s": "ok", "t": MOMENTS},
    "pandas, columns": json.loads(FRAME.to_json()),
    "pandas, records": json.loads(FRAME.to_json(orient="records")),
    "pandas, split": json.loads(FRAME.to_json(orient="split")),
    "pandas, table": json.loads(FRAME.to_json(orient="table")),
    "pandas, dates in the index": json.loads(INDEXED.to_json(orient="index", date_format="iso")),
    "pandas, split with dates in the index": json.loads(INDEXED.to_json(orient="split", date_format="iso")),
    "pandas, columns with dates in the index": json.loads(INDEXED.to_json(date_format="iso")),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_json_file_is_read_as_its_vendor_writes_it(desk: Desk, shape: str) -> None:
    assert desk.bars("IBM.json", json.dumps(SHAPES[shape])) == [IBM, IBM_NEXT]


def test_lines_of_json_are_read_packed_or_not_whatever_the_file_is_called(desk: Desk) -> None:
    lines = [json.dumps(each) for each in SHAPES["objects"]]
    assert desk.bars("IBM.jsonl", *lines) == [IBM, IBM_NEXT]
    assert desk.bars("IBM.json", *lines, "") == [IBM, IBM_NEXT]
    packed = desk.folder / "IBM.ndjson.gz"
    packed.write_bytes(gzip.compress("\n".join(lines).encode()))
    assert desk.read(FileSource(packed, Reading(adjusted=False))) == [IBM, IBM_NEXT]
    with zipfile.ZipFile(desk.folder / "bars.zip", "w") as archive:
        archive.write(packed, "IBM.ndjson.gz")
        archive.writestr("readme.md", "no prices")
    assert desk.read(FileSource(desk.folder / "bars.zip", Reading(adjusted=False))) == [IBM, IBM_NEXT]


def test_minutes_of_several_symbols_are_read(desk: Desk) -> None:
    bars = {name: [{"t": f"2013-02-05T14:{minute}:00Z", **SHORT[0]} for minute in (30, 31)] for name in ("IBM", "KO")}
    read = desk.bars("minutes.json", json.dumps({"bars": bars}))
    assert [row[:2] for row in read] == [
        (name, f"2013-02-05 14:{minute}:00") for name in ("IBM", "KO") for minute in (30, 31)
    ]


def test_rows_without_names_are_read_by_the_place_of_what_is_declared(desk: Desk) -> None:
    # Binance: open time, open, high, low, close, volume, close time, ...
    rows = [[f"2013-02-0{day}", *bar.values(), 0] for day, bar in ((5, FIRST), (6, NEXT))]
    columns = {role: str(place) for place, role in enumerate(("date", *NAMES))}
    assert desk.bars("IBM.json", json.dumps(rows), columns=columns) == [IBM, IBM_NEXT]
    with pytest.raises(DataError, match=r"no column for date, open, high, low, close and volume among 0, 1, 2"):
        desk.bars("IBM.json", json.dumps(rows))


def test_a_number_is_read_as_it_is_written(desk: Desk) -> None:
    text = json.dumps(SHAPES["objects"]).replace("202.79", "202.790000000000000001").replace("3636900.0", "3.6369e6")
    assert desk.bars("IBM.json", text) == [IBM, IBM_NEXT]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("",), "it is empty"),
        (('[{"date": "2013-02-05", "open": 1,]',), "line 1, column 35: this is no JSON"),
        (("{}",), "there are no bars in it"),
        (('{"error": "limit reached", "results": []}',), "there are no bars in it"),
        (('{"open": [1], "high": [1, 2], "low": [1], "close": [1], "volume": [1]}',), "open 1, high 2, low 1"),
        (('{"date": "2013-02-05", "open": 1}', "[1, 2]", '{"a": 1}'), "no JSON"),
    ],
)
def test_what_is_no_bars_in_json_is_refused_and_the_place_is_named(
    desk: Desk, lines: tuple[str, ...], said: str
) -> None:
    with pytest.raises(DataError, match=rf"^IBM.json.*{said}"):
        desk.bars("IBM.json", *lines)


def test_a_wrong_value_is_named_by_bar_and_column_and_can_be_set_aside(desk: Desk) -> None:
    rows = [dict(SHAPES["objects"][0]), {**SHAPES["objects"][1], "close": None}]
    with pytest.raises(DataError, match=r"IBM.json, bar 2, column 'close': is empty"):
        desk.bars("IBM.json", json.dumps(rows))
    assert desk.bars("IBM.json", json.dumps(rows), quarantine=True) == [IBM]
    (aside,) = desk.table(desk.staged.quarantine, "reason")
    assert aside == ("IBM.json, bar 2, column 'close': is empty",)
    rows[1]["close"] = float("nan")
    with pytest.raises(DataError, match=r"bar 2, column 'close': is not a number \(got 'NaN'\)"):
        desk.bars("IBM.json", json.dumps(rows))


def test_a_line_that_is_no_object_is_named(desk: Desk) -> None:
    with pytest.raises(DataError, match=r"IBM.jsonl, line 2: this is no object"):
        desk.bars("IBM.jsonl", json.dumps(SHAPES["objects"][0]), "[1, 2]")
