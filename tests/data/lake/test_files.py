"""A snapshot is read from the Parquet files that hold it, and through DuckLake where that would not be the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from support.staging import Frames, flat

from workbench.data import _ducklake
from workbench.data._tables import BARS, CLEANED, MINUTES
from workbench.data.instruments import Listings
from workbench.data.lake import Lake
from workbench.errors import DataError

DAYS = ["2013-01-02", "2013-01-03", "2013-01-04"]
STARTS = ["2013-01-02 14:30", "2013-01-02 14:31"]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A and B on two days in one file, a third day in a file for each, and then one bar of A restated."""
    folder = tmp_path_factory.mktemp("loaded")
    both = pd.concat([flat("A", DAYS[:2], [1.0, 2.0]), flat("B", DAYS[:2], [11.0, 12.0])])
    with Lake(folder) as lake:
        lake.load(Frames("1", {"bars": both}))
        lake.load(Frames("2", {"bars": flat("A", DAYS[2:], [3.0])}))
        lake.load(Frames("3", {"bars": flat("B", DAYS[2:], [13.0])}))
        lake.load(Frames("4", {"bars": flat("A", DAYS[1:2], [2.5])}))
    return folder


@pytest.fixture
def lake(loaded: Path, tmp_path: Path) -> Iterator[Lake]:
    with Lake(Path(shutil.copytree(loaded, tmp_path / "lake"))) as lake:
        yield lake


def closes(lake: Lake, symbol: str, snapshot: int | None = None) -> list[float]:
    pieces = Listings(()).pieces([symbol], date.max)
    return [row[4] for row in lake._sql(snapshot or lake.snapshot()).history(pieces, date.min, date.max)]


def is_direct(lake: Lake, snapshot: int | None = None) -> bool:
    """Whether bars are read from their files, not through DuckLake."""
    return "read_parquet" in lake._sql(snapshot or lake.snapshot())._at(BARS)


def delete(lake: Lake, table: str, snapshot: int) -> None:
    """Take a table's file of one load away."""
    rows = lake._rows(
        "SELECT f.path FROM __ducklake_metadata_lake.ducklake_data_file AS f "
        f"JOIN __ducklake_metadata_lake.ducklake_table USING (table_id) WHERE f.begin_snapshot = {snapshot} "
        f"AND table_name = '{table}'"
    )
    assert rows
    for (name,) in rows:
        (lake.folder / "files" / "main" / table / name).unlink()


def ducklake(folder: Path, *options: str) -> duckdb.DuckDBPyConnection:
    """The lake as another program opens it."""
    connection = duckdb.connect(config={"allow_unsigned_extensions": True})
    for name in ("sqlite_scanner", "ducklake"):
        connection.execute(f"LOAD '{_ducklake.extension_file(name, duckdb.__version__)}'")
    wanted = ", ".join([f"DATA_PATH '{folder / 'files'}', OVERRIDE_DATA_PATH true", *options])
    connection.execute(f"ATTACH 'ducklake:sqlite:{folder / 'catalog.sqlite'}' AS lake ({wanted})")
    return connection


def test_every_snapshot_is_read_from_its_files(lake: Lake) -> None:
    assert is_direct(lake)
    assert closes(lake, "A") == [1.0, 2.5, 3.0]
    assert [closes(lake, "A", snapshot) for snapshot in (1, 2, 3)] == [[1.0, 2.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert [closes(lake, "B", snapshot) for snapshot in (1, 3)] == [[11.0, 12.0], [11.0, 12.0, 13.0]]


def test_a_file_that_cannot_hold_what_is_asked_for_is_not_opened(lake: Lake) -> None:
    lake.load(Frames("m1", {"bars": flat("A", STARTS, [1.0, 2.0], time="start")}, frequency="minute"))
    lake.load(Frames("m2", {"bars": flat("B", STARTS, [3.0, 4.0], time="start")}, frequency="minute"))
    newest = lake.snapshot()
    everyone = Listings(()).pieces(["A"], date.max)
    delete(lake, "bars", 3)
    delete(lake, "minutes", newest)
    reader = lake._sql(newest)
    assert sorted(reader.bars(everyone, date.min, date.max)["close"].tolist()) == [1.0, 2.5, 3.0]
    assert [row[4] for row in reader.history(everyone, date.min, date(2013, 1, 3))] == [1.0, 2.5]
    assert reader.traded(date(2013, 1, 3), None) == ["A", "B"]
    assert sorted(reader.minutes(everyone, date.min, date.max, cleaned=True)["close"].tolist()) == [1.0, 2.0]
    with pytest.raises(DataError, match="No such file"):
        reader.history(Listings(()).pieces(["B"], date.max), date.min, date.max)


def test_cleaned_bars_are_read_from_files_too(lake: Lake) -> None:
    repaired = flat("A", DAYS[:1], [1.5]).rename(columns={"session": "at"}).assign(kept=True)
    ledger = pd.DataFrame(
        {"symbol": "A", "at": pd.to_datetime(DAYS[:1]), "field": "close", "old": 1.0, "new": 1.5, "rule": "r"}
    ).assign(action="a", reason="by hand")
    lake.write_cleaned(repaired, ledger, symbols=["A"], policy="p", raw_snapshot=lake.snapshot())
    assert "read_parquet" in lake._sql(lake.snapshot())._at(CLEANED)
    assert lake.rows(["A"], cleaned=True).close.tolist() == [1.5, 2.5, 3.0]
    assert closes(lake, "A") == [1.0, 2.5, 3.0]


def test_files_that_another_process_merged_and_deleted_under_a_read_are_read_where_they_went(lake: Lake) -> None:
    newest = lake.snapshot()
    reader = lake._sql(newest)
    pieces = Listings(()).pieces(["A"], date.max)
    assert [row[4] for row in reader.history(pieces, date.min, date.max)] == [
        1.0,
        2.5,
        3.0,
    ]  # knows its files from here on
    with Lake(lake.folder) as other:
        assert other.compact() > 0
        other._rows("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    assert [row[4] for row in reader.history(pieces, date.min, date.max)] == [1.0, 2.5, 3.0]
    assert [closes(lake, "A", snapshot) for snapshot in (1, 2, newest)] == [
        [1.0, 2.0],
        [1.0, 2.0, 3.0],
        [1.0, 2.5, 3.0],
    ]
    assert is_direct(lake)  # by the files there are now


def test_an_encrypted_lake_is_read_through_ducklake(tmp_path: Path) -> None:
    with ducklake(tmp_path, "ENCRYPTED", "DATA_INLINING_ROW_LIMIT 0") as other:
        other.execute("SET force_mbedtls_unsafe = true")  # to write without the extension that carries OpenSSL
        other.execute(BARS.create())
        for day, close in zip(DAYS[:2], (1.0, 2.0), strict=True):
            other.execute(f"INSERT INTO lake.bars VALUES ('A', '{day}', {close}, {close}, {close}, {close}, 1, 'x')")
        other.execute("DELETE FROM lake.bars WHERE session = '2013-01-03'")
    with Lake(tmp_path, read_only=True) as lake:
        assert not is_direct(lake)
        assert [closes(lake, "A", snapshot) for snapshot in (2, 3, 4)] == [[1.0], [1.0, 2.0], [1.0]]


def test_rows_that_another_program_keeps_in_the_catalog_are_read(lake: Lake) -> None:
    with ducklake(lake.folder, "DATA_INLINING_ROW_LIMIT 10") as other:
        other.execute("DELETE FROM lake.bars WHERE symbol = 'B' AND session = '2013-01-03'")
        other.execute("INSERT INTO lake.bars VALUES ('A', '2013-01-07', 4, 4, 4, 4, 1, 'by hand')")
    assert closes(lake, "A") == [1.0, 2.5, 3.0, 4.0]
    assert closes(lake, "B") == [11.0, 13.0]


def test_a_column_that_another_program_added_is_no_hindrance(lake: Lake) -> None:
    with ducklake(lake.folder) as other:
        other.execute("ALTER TABLE lake.bars ADD COLUMN vwap DOUBLE")
    assert not is_direct(lake)
    assert closes(lake, "A") == [1.0, 2.5, 3.0]


def test_a_folder_whose_name_is_a_pattern_is_read(tmp_path: Path) -> None:
    with Lake(tmp_path / "lake[1]") as lake:
        lake.load(Frames("1", {"bars": flat("A", DAYS, [1.0, 2.0, 3.0])}))
        assert closes(lake, "A") == [1.0, 2.0, 3.0]


def test_minutes_of_a_session_are_found_in_files_of_the_next_day_in_utc(tmp_path: Path) -> None:
    late = flat("A", ["2013-01-03 00:30"], [1.0], time="start")  # 19:30 in New York on the 2nd
    with Lake(tmp_path) as lake:
        lake.load(Frames("1", {"bars": late}, frequency="minute"))
        assert "read_parquet" in lake._sql(lake.snapshot())._at(MINUTES)
        day = date(2013, 1, 2)
        assert lake.rows(["A"], start=day, end=day, frequency="minute").close.tolist() == [1.0]
