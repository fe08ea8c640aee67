from __future__ import annotations

import pandas as pd
import pytest
from data.sources.conftest import Desk

from workbench.data.sources import Reading
from workbench.data.sources.frames import FrameSource
from workbench.errors import DataError

DAYS = pd.DatetimeIndex(["2013-02-05", "2013-02-06"], name="Date")
IBM = [
    ("IBM", "2013-02-05", 204.31, 204.75, 202.51, 202.79, 3_636_900.0),
    ("IBM", "2013-02-06", 200.39, 201.29, 199.56, 201.02, 3_624_200.0),
]
RAW = Reading(adjusted=False)


def wide() -> pd.DataFrame:
    """One symbol, dates in the index, as most libraries give it."""
    return pd.DataFrame([row[2:] for row in IBM], index=DAYS, columns=["Open", "High", "Low", "Close", "Volume"])


def test_a_long_frame_is_read(desk: Desk) -> None:
    frame = wide().reset_index().assign(Ticker="IBM")
    assert desk.read(FrameSource(frame, RAW)) == IBM


def test_dates_may_stand_in_the_index_with_or_without_a_name(desk: Desk) -> None:
    for frame in (wide(), wide().rename_axis(index=None)):
        assert desk.read(FrameSource(frame, Reading(adjusted=False, symbol="IBM"))) == IBM


def test_an_index_of_symbol_and_date_is_read(desk: Desk) -> None:
    frame = pd.concat({"IBM": wide(), "MSFT": wide()}, names=["symbol"])
    assert [row[0] for row in desk.read(FrameSource(frame, RAW))] == ["IBM", "IBM", "MSFT", "MSFT"]


@pytest.mark.parametrize("fields_first", [True, False])
def test_columns_of_fields_and_symbols_are_read_as_yfinance_gives_them(desk: Desk, fields_first: bool) -> None:
    frame = pd.concat({"IBM": wide(), "ZEN": wide().iloc[1:]}, axis=1)
    if fields_first:
        frame = frame.swaplevel(axis=1).sort_index(axis=1)
        frame.columns.names = ["Price", "Ticker"]
    found = desk.read(FrameSource(frame, RAW))
    assert found == [*IBM, ("ZEN", *IBM[1][1:])]  # ZEN did not trade on the first day


def test_minutes_with_a_zone_are_kept_in_utc(desk: Desk) -> None:
    frame = wide()
    frame.index = pd.DatetimeIndex(["2013-07-01 09:30", "2013-07-01 09:31"], tz="America/New_York", name="Datetime")
    found = desk.read(FrameSource(frame, Reading(adjusted=False, symbol="IBM")))
    assert [row[1] for row in found] == ["2013-07-01 13:30:00", "2013-07-01 13:31:00"]


def test_a_row_that_is_not_whole_is_named_by_its_number(desk: Desk) -> None:
    frame = wide().assign(Symbol="IBM")
    frame.loc[DAYS[1], "Low"] = float("nan")
    with pytest.raises(DataError, match=r"^frame, row 2, column 'Low': is (not a number|empty)"):
        desk.read(FrameSource(frame, RAW))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (wide().iloc[:0], "there are no rows in it"),
        (pd.concat({"a": pd.concat({"IBM": wide()}, axis=1)}, axis=1), "its columns have 3 levels"),
        (pd.DataFrame({("a", "b"): [1.0]}, index=DAYS[:1]), "no level of its columns names fields"),
        (pd.concat([wide(), wide()], axis=1), "two columns are called 'Open'"),
    ],
)
def test_a_frame_of_another_shape_is_refused(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        FrameSource(frame, RAW)


def test_the_digest_is_of_the_cells(desk: Desk) -> None:
    one = FrameSource(wide(), RAW).digest
    assert FrameSource(wide(), RAW).digest == one
    assert FrameSource(wide() + 1, RAW).digest != one
