from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd
import pytest
from support.staging import Frames, actions, flat

from workbench.data.lake import Lake
from workbench.errors import DataError

# New York is UTC-5 on Friday 2013-03-08 and UTC-4 on Monday 2013-03-11. 2013-03-09 00:59 UTC is Friday 19:59 there.
STARTS = ["2013-03-08 14:30", "2013-03-09 00:59", "2013-03-11 13:30", "2013-03-11 13:31"]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    bars = pd.concat(
        [
            flat("B", STARTS, [10.0, 12.0, 6.0, 6.5], time="start"),
            flat("A", STARTS[1:3], [1.0, 2.0], time="start"),
        ]
    )
    beside = actions(("B", "2013-03-11", "split", 2.0), ("B", "2013-03-11", "dividend", 0.65))
    with Lake(tmp_path_factory.mktemp("lake")) as made:
        result = made.load(Frames("1", {"bars": bars, "actions": beside}, frequency="minute"))
        assert (result.frequency, result.rows_added) == ("minute", 6)
        yield made


def test_minutes_are_wide_frames_by_their_start_in_utc(lake: Lake) -> None:
    bars = lake.minutes(["B", "A"], adjustment="raw")
    assert bars.frequency == "minute"
    assert bars.sessions.tolist() == [pd.Timestamp(start) for start in STARTS]
    assert bars.close["B"].tolist() == [10.0, 12.0, 6.0, 6.5]
    assert np.isnan(bars.close["A"].to_numpy()).tolist() == [True, False, False, True]


def test_a_session_of_minutes_is_a_day_of_the_exchange(lake: Lake) -> None:
    friday = lake.minutes(["B"], start=date(2013, 3, 8), end=date(2013, 3, 8), adjustment="raw")
    assert friday.sessions.tolist() == [pd.Timestamp("2013-03-08 14:30"), pd.Timestamp("2013-03-09 00:59")]
    monday = lake.rows(["B"], start=date(2013, 3, 11), frequency="minute")
    assert monday.at.tolist() == pd.to_datetime(STARTS[2:]).astype("int64").tolist()


def test_minutes_are_adjusted_from_the_session_of_the_ex_date(lake: Lake) -> None:
    assert lake.minutes(["B"]).close["B"].tolist() == [5.0, 6.0, 6.0, 6.5]
    assert lake.minutes(["B"]).volume["B"].tolist() == [2000.0, 2000.0, 1000.0, 1000.0]
    # 0.65 USD on the last close of the ex-date, 6.50: 1 / 1.1
    assert lake.minutes(["B"], adjustment="total").close["B"].tolist() == pytest.approx([5 / 1.1, 6 / 1.1, 6.0, 6.5])
    assert lake.minutes(["B"], end=date(2013, 3, 8)).close["B"].tolist() == [10.0, 12.0]


def test_rows_are_sorted_by_symbol_and_start(lake: Lake) -> None:
    rows = lake.rows(frequency="minute")
    assert (rows.symbols, rows.offsets.tolist(), rows.frequency) == (("A", "B"), [0, 2, 6], "minute")
    assert rows.close.tolist() == [1.0, 2.0, 10.0, 12.0, 6.0, 6.5]
    assert rows.at.dtype == "datetime64[ns]"


def test_unknown_minutes_get_one_clear_line(lake: Lake) -> None:
    with pytest.raises(DataError, match=r"^no minutes of C in the lake"):
        lake.minutes(["C"])
    with pytest.raises(DataError, match=r"^no minutes of A from 2014-01-02 to the end"):
        lake.minutes(["A"], start=date(2014, 1, 2))
    with pytest.raises(DataError, match=r"^no minutes of C in the lake"):
        lake.rows(["C"], frequency="minute")
