from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.data.dataset import Dataset
from workbench.data.lake import Lake
from workbench.errors import DataError

FIVE = ["MSFT", "AAPL", "FB", "GOOG", "IBM"]


def test_bars_are_wide_frames_in_the_order_asked_for(sample_lake: Lake) -> None:
    bars = sample_lake.bars(FIVE, start=date(2012, 5, 16), end=date(2012, 5, 21), adjustment="raw")
    assert bars.symbols == FIVE
    assert [day.date().isoformat() for day in bars.sessions] == [
        "2012-05-16",
        "2012-05-17",
        "2012-05-18",
        "2012-05-21",
    ]
    assert bars.sessions.dtype == "datetime64[ns]"
    assert (bars.close.dtypes == np.float64).all()
    # Facebook's first day was 2012-05-18: opened 42.05, closed 38.2318, 573,576,400 shares.
    assert bars.close["FB"].isna().tolist() == [True, True, False, False]
    assert bars.volume["FB"].isna().tolist() == [True, True, False, False]
    assert bars.open.loc["2012-05-18", "FB"] == 42.05
    assert bars.close.loc["2012-05-18", "FB"] == 38.2318
    assert bars.volume.loc["2012-05-18", "FB"] == 573_576_400


def test_split_adjusted_prices_compare_with_the_last_session_read(sample_lake: Lake) -> None:
    # AAPL split 2:1 on 2005-02-28: 88.99 before it is 44.495 after it, and the shares double.
    bars = sample_lake.bars(["AAPL"], start=date(2005, 2, 25), end=date(2005, 2, 28))
    assert bars.adjustment == "split"
    assert bars.close["AAPL"].tolist() == [44.495, 44.86]
    assert bars.volume["AAPL"].tolist() == [2 * 16_348_400, 11_635_900]


def test_a_read_as_of_a_date_never_sees_a_later_split(sample_lake: Lake) -> None:
    bars = sample_lake.bars(["AAPL"], start=date(2005, 2, 24), end=date(2005, 2, 25), adjustment="total")
    assert bars.close["AAPL"].iloc[-1] == 88.99


def test_all_symbols_are_read_in_alphabetical_order(sample_lake: Lake) -> None:
    assert sample_lake.symbols() == ["AAPL", "BRK_A", "FB", "GOOG", "IBM", "MSFT", "ZEN"]
    assert sample_lake.bars(start=date(2014, 12, 31)).symbols == sample_lake.symbols()


def test_one_symbol_may_be_given_as_text(sample_lake: Lake) -> None:
    assert sample_lake.bars("IBM", start=date(2013, 3, 1), adjustment="raw").prices_on(date(2013, 3, 1)) == {
        "IBM": 202.91
    }


def test_coverage_shows_what_there_is(sample_lake: Lake) -> None:
    coverage = sample_lake.coverage(["ZEN", "AAPL"])
    assert coverage.index.tolist() == ["ZEN", "AAPL"]
    assert coverage.loc["ZEN"].tolist() == [pd.Timestamp("2014-05-15"), pd.Timestamp("2014-12-31"), 160]
    # 3,270 rows to 2013-03-01, none until 2014, and the 252 sessions of 2014
    assert coverage.loc["AAPL"].tolist() == [pd.Timestamp("2000-03-01"), pd.Timestamp("2014-12-31"), 3522]


def test_coverage_of_an_old_snapshot_is_what_there_was(sample_lake: Lake) -> None:
    assert sample_lake.coverage(snapshot=1).index.tolist() == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert sample_lake.symbols(snapshot=1) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]


def test_the_last_common_session_is_one_on_which_all_traded(sample_lake: Lake) -> None:
    assert sample_lake.last_common_session(["AAPL", "MSFT"]) == date(2014, 12, 31)
    assert sample_lake.last_common_session(["AAPL", "IBM"]) == date(2013, 3, 1)
    # 2013-01-01 is a holiday, the session before is 2012-12-31
    assert sample_lake.last_common_session(["AAPL", "IBM"], on_or_before=date(2013, 1, 1)) == date(2012, 12, 31)


def test_without_a_common_session_the_error_shows_both_spans(sample_lake: Lake) -> None:
    with pytest.raises(DataError, match=r"ZEN, FB; there are ZEN 2014-05-15 to .*, FB 2012-05-18 to 2013-03-01$"):
        sample_lake.last_common_session(["ZEN", "FB"])
    with pytest.raises(DataError, match="no session up to 2000-02-28 with bars of all of IBM"):
        sample_lake.last_common_session(["IBM"], on_or_before=date(2000, 2, 28))


def test_who_traded_on_a_day(sample_lake: Lake) -> None:
    assert sample_lake.traded(date(2013, 3, 1)) == ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    assert sample_lake.traded(date(2014, 5, 15), ["ZEN", "IBM"]) == ["ZEN"]
    assert sample_lake.traded(date(2013, 6, 3)) == []


def test_actions_are_read_by_ex_date_from_start_to_end(sample_lake: Lake) -> None:
    found = sample_lake.actions(["AAPL"], start=date(2014, 5, 8), end=date(2014, 6, 9))
    assert found.drop(columns="ex_date").to_numpy().tolist() == [
        ["AAPL", "dividend", 3.29, "published"],
        ["AAPL", "split", 7.0, "published"],
    ]
    assert found["ex_date"].tolist() == [pd.Timestamp("2014-05-08"), pd.Timestamp("2014-06-09")]
    assert sample_lake.actions(["FB"]).empty
    assert len(sample_lake.actions()) == 104  # 95 derived, 9 published


def test_the_doubled_volume_of_goog_is_on_record(sample_lake: Lake) -> None:
    notices = sample_lake.notices(["GOOG", "IBM"])
    assert notices["symbol"].tolist() == ["GOOG"]
    assert "twice" in notices["detail"].iloc[0]
    assert sample_lake.notices(["IBM"]).empty


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda lake: lake.bars(["APPL"]), r"^no bars of APPL in the lake; did you mean AAPL"),
        (lambda lake: lake.coverage(["MSTF"]), r"^no bars of MSTF in the lake; did you mean MSFT\?"),
        (lambda lake: lake.last_common_session(["IBN"]), r"^no bars of IBN in the lake; did you mean IBM\?"),
        (lambda lake: lake.bars([]), "^no symbols are asked for"),
        (lambda lake: lake.bars(["IBM", "IBM"]), "^IBM is asked for twice"),
        (lambda lake: lake.bars(["IBM"], adjustment="splits"), "^no adjustment 'splits'; did you mean split"),
        (
            lambda lake: lake.bars(["FB"], end=date(2005, 1, 3)),
            "^no bars of FB from the beginning to 2005-01-03; there are 2012-05-18 to 2013-03-01$",
        ),
        (
            lambda lake: lake.bars(["IBM", "FB"], start=date(2014, 1, 2), end=date(2014, 1, 3)),
            "^no bars of IBM, FB from 2014-01-02 to 2014-01-03; there are 2000-03-01 to 2013-03-01$",
        ),
        (lambda lake: lake.bars(["IBM"], snapshot=99), "^the lake has no snapshot 99; it has 0 to 2$"),
        (lambda lake: lake.actions(snapshot=-1), "^the lake has no snapshot -1; they count from 0$"),
        (
            lambda lake: lake.symbols(snapshot=0),
            "^snapshot 0 is from before the first load; the newest is 2$",
        ),
    ],
)
def test_what_is_not_there_gets_one_clear_line(sample_lake: Lake, read: Callable[[Lake], object], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(sample_lake)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read_only", [False, True])
def test_reading_does_not_make_a_lake(tmp_path: Path, read_only: bool) -> None:
    lake = Lake(tmp_path / "lake", read_only=read_only)
    assert lake.is_empty()
    assert lake.loaded("1") is None
    with pytest.raises(DataError, match=r"^there is no lake in .*lake; run: workbench data load$"):
        lake.symbols()
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_an_empty_catalog_says_what_to_run(tmp_path: Path, read_only: bool) -> None:
    # what a process killed at its very first step leaves behind
    (tmp_path / "catalog.sqlite").touch()
    with (
        Lake(tmp_path, read_only=read_only) as lake,
        pytest.raises(DataError, match=r"run: workbench data load$"),
    ):
        lake.symbols()


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("damage", ["garbage", "truncated", "a file is gone"])
def test_a_damaged_lake_gets_one_clear_line(
    tmp_path: Path, make_dataset: Callable[..., Dataset], damage: str, read_only: bool
) -> None:
    with Lake(tmp_path) as lake:
        lake.load(make_dataset({"A": {"2013-01-02": 1.0}}, "1"))
    catalog = tmp_path / "catalog.sqlite"
    if damage == "garbage":
        catalog.write_bytes(b"not a catalog, " * 1000)
    elif damage == "truncated":
        catalog.write_bytes(catalog.read_bytes()[:20_000])
    else:
        for file in (tmp_path / "files").rglob("*.parquet"):
            file.unlink()
    with (
        Lake(tmp_path, read_only=read_only) as lake,
        pytest.raises(DataError, match=r"^reading the lake: .*the lake is damaged: restore it") as caught,
    ):
        lake.bars(["A"])
    assert "\n" not in str(caught.value)
