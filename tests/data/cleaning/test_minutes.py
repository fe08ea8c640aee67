"""Bars by the minute, made up (one random path on cents over four sessions, the second a half-day), with faults."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.app import open_workbench
from workbench.calendars import Calendar
from workbench.data.cleaning import Cleaned, CleaningPolicy, clean, undo
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.rows import BarRows

SESSIONS = (date(2013, 7, 2), date(2013, 7, 3), date(2013, 7, 5), date(2013, 7, 8))
PRICES = list(FIELDS[:4])


@pytest.fixture(scope="module")
def minutes(xnys: Calendar) -> pd.DataFrame:
    times = [
        pd.date_range(xnys.open(day), xnys.close(day), freq="min", inclusive="left").tz_convert(None)
        for day in SESSIONS
    ]
    at = times[0].append(times[1:])
    assert [len(one) for one in times] == [390, 210, 390, 390]  # 2013-07-03 closed at 13:00
    rng = np.random.default_rng(3)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 4e-4, len(at)))), 2)
    opened = np.r_[close[0], close[:-1]]
    wick = 0.01 * rng.integers(0, 4, (2, len(at)))
    high, low = np.maximum(opened, close) + wick[0], np.minimum(opened, close) - wick[1]
    volume = rng.integers(100, 5000, len(at)).astype(float)
    columns = {"open": opened, "high": high.round(2), "low": low.round(2), "close": close, "volume": volume}
    return pd.DataFrame({"symbol": "ZZZ", "at": at, **columns})


def cleaned(frame: pd.DataFrame, xnys: Calendar, *options: str) -> Cleaned:
    rows = BarRows.from_frame(frame, "minute")
    found = clean(rows, no_actions(), xnys, CleaningPolicy().with_options(options))
    pd.testing.assert_frame_equal(undo(found.rows, found.repairs).frame(), rows.frame(), check_exact=True)
    return found


def between(frame: pd.DataFrame, first: str, last: str) -> pd.Series:
    return frame["at"].between(first, last)


def test_minutes_without_a_fault_are_left_as_they_are(minutes: pd.DataFrame, xnys: Calendar) -> None:
    found = cleaned(minutes, xnys, "missing_minutes=previous", "extra_minutes=drop", "outlier=previous")
    assert found.repairs.empty
    pd.testing.assert_frame_equal(found.rows.frame(), minutes, check_exact=True)


def test_a_short_gap_is_filled_from_the_past_and_a_long_one_stays(minutes: pd.DataFrame, xnys: Calendar) -> None:
    short = between(minutes, "2013-07-02 15:00", "2013-07-02 15:02")
    long = between(minutes, "2013-07-05 15:00", "2013-07-05 15:06")
    found = cleaned(minutes[~short & ~long], xnys, "missing_minutes=previous")
    frame = found.rows.frame().set_index("at")
    before = minutes.set_index("at")["close"]["2013-07-02 14:59"]
    filled = frame.loc["2013-07-02 15:00":"2013-07-02 15:02", list(FIELDS)]
    assert filled.to_numpy().tolist() == [[before] * 4 + [0.0]] * 3
    assert len(frame) == len(minutes) - 7
    assert [one.because for one in found.left] == ["7 minutes in a row are more than max_fill_minutes = 5"]
    assert set(found.repairs["table_name"]) == {"minutes"}


def test_nothing_is_filled_after_the_close_of_a_half_day(minutes: pd.DataFrame, xnys: Calendar) -> None:
    last = between(minutes, "2013-07-03 16:58", "2013-07-03 16:59")  # 13:00 in New York is 17:00 UTC
    found = cleaned(minutes[~last], xnys, "missing_minutes=previous")
    times = found.rows.frame()["at"]
    assert times[times.dt.date == date(2013, 7, 3)].max() == pd.Timestamp("2013-07-03 16:59")
    assert len(times) == len(minutes)


def test_minutes_off_the_hours_are_taken_out_only_if_the_policy_says_so(minutes: pd.DataFrame, xnys: Calendar) -> None:
    late = minutes[between(minutes, "2013-07-02 15:00", "2013-07-02 15:04")].copy()
    late["at"] += pd.Timestamp("2013-07-03 17:30") - late["at"].iloc[0]
    raw = pd.concat([minutes, late], ignore_index=True)
    assert cleaned(raw, xnys).repairs.empty
    found = cleaned(raw, xnys, "extra_minutes=drop")
    pd.testing.assert_frame_equal(found.rows.frame(), minutes, check_exact=True)


def test_minutes_in_cents_are_divided_to_what_they_were(minutes: pd.DataFrame, xnys: Calendar) -> None:
    raw = minutes.copy()
    raw.loc[between(raw, "2013-07-05 15:00", "2013-07-05 15:30"), PRICES] *= 100
    raw[PRICES] = raw[PRICES].round(2)
    found = cleaned(raw, xnys)
    assert found.before.verdict == "block"
    pd.testing.assert_frame_equal(found.rows.frame(), minutes, check_exact=True)


def test_cleaned_minutes_stand_in_the_lake_beside_the_raw_ones(minutes: pd.DataFrame, tmp_path: Path) -> None:
    (tmp_path / "workbench.toml").touch()
    raw = minutes.copy()
    raw.loc[between(raw, "2013-07-05 15:00", "2013-07-05 15:00"), PRICES] *= 100
    raw[PRICES] = raw[PRICES].round(2)
    workbench = open_workbench(start=tmp_path, env={})
    workbench.load(raw.rename(columns={"at": "start"}), adjusted=False, timezone="UTC")
    result = workbench.clean(frequency="minute")
    assert result.stored is not None
    assert (result.stored.cleaned, result.stored.repairs) == (1, 4)
    rows = {cleaned: workbench.lake.rows(frequency="minute", cleaned=cleaned).frame() for cleaned in (False, True)}
    pd.testing.assert_frame_equal(rows[True], minutes, check_exact=True)
    pd.testing.assert_frame_equal(rows[False], raw, check_exact=True)
    again = workbench.clean(frequency="minute")
    assert again.stored is not None
    assert again.stored.unchanged
    workbench.close()
