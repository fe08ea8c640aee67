"""Bars by the minute against the exchange's hours; made up, for the sample is daily. Each fault is put in by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from workbench.calendars import calendar
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.quality import QualityReport, check
from workbench.data.rows import BarRows

PRICES = list(FIELDS[:4])


def made_up(exchange: str, first: date, last: date, symbols: int = 3, seed: int = 1) -> pd.DataFrame:
    """Every minute of every session as the exchange's calendar has them: random walks in cents, lively at the open."""
    found = calendar(exchange)
    minutes: list[pd.Timestamp] = []
    for session in found.sessions(first, last):
        grid = pd.date_range(found.open(session), found.close(session), freq="min", inclusive="left")
        pause = found.pause(session)
        if pause is not None:
            grid = grid[(grid < pause[0]) | (grid >= pause[1])]
        minutes += list(grid.tz_localize(None))
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(symbols):
        close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.0006, len(minutes)))), 2)
        open_ = np.r_[close[0], close[:-1]]
        wick = np.round(np.abs(rng.normal(0, 0.01, (2, len(minutes)))), 2)
        bars = {
            "symbol": f"M{number}", "at": minutes, "open": open_, "high": np.maximum(open_, close) + wick[0],
            "low": np.minimum(open_, close) - wick[1], "close": close,
            "volume": np.round(rng.lognormal(7, 0.7, len(minutes))) + 1,
        }  # fmt: skip
        frames.append(pd.DataFrame(bars))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def new_york() -> pd.DataFrame:
    """Three weeks around the end of summer time on 2020-11-01; with Thanksgiving's half-day, 2020-11-27."""
    return made_up("XNYS", date(2020, 10, 19), date(2020, 11, 30))


def judged(frame: pd.DataFrame, exchange: str = "XNYS", **options: object) -> QualityReport:
    rows = BarRows.from_frame(frame, "minute")
    return check(rows, no_actions(), calendar(exchange), **options)  # type: ignore[arg-type]


def told(frame: pd.DataFrame, exchange: str = "XNYS") -> list[tuple[str, str, str]]:
    return [(f.rule, f.symbol, str(f.at.astype("datetime64[m]"))) for f in judged(frame, exchange).told]


def changed(frame: pd.DataFrame, change: Callable[[pd.DataFrame, pd.Series[bool]], None]) -> pd.DataFrame:
    made = frame.copy()
    change(made, made["symbol"] == "M1")
    return made


def test_whole_sessions_pass_half_days_and_the_change_of_the_clocks_included(new_york: pd.DataFrame) -> None:
    assert told(new_york) == []
    report = judged(new_york, session=date(2020, 11, 30))
    assert report.verdict == "pass"


def test_whole_sessions_with_a_lunch_break_pass_and_bars_in_it_do_not() -> None:
    tokyo = made_up("XTKS", date(2020, 10, 19), date(2020, 10, 30))
    assert told(tokyo, "XTKS") == []
    noon = tokyo[tokyo["at"] == "2020-10-20 02:29"].assign(at=pd.Timestamp("2020-10-20 02:40"))  # 11:40 in Tokyo
    assert told(pd.concat([tokyo, noon]), "XTKS") == [
        ("extra_minutes", symbol, "2020-10-20T02:40") for symbol in ("M0", "M1", "M2")
    ]


def test_every_gap_of_a_symbol_that_is_always_there_is_told_with_its_minutes(new_york: pd.DataFrame) -> None:
    lost = ["2020-10-21 14:00", "2020-10-21 18:00", "2020-10-21 18:01"]
    gaps = new_york[~((new_york["symbol"] == "M1") & new_york["at"].isin(pd.to_datetime(lost)))]
    assert told(gaps) == [
        ("missing_minutes", "M1", "2020-10-21T14:00"),
        ("missing_minutes", "M1", "2020-10-21T18:00"),
    ]
    assert [f.detail for f in judged(gaps).told] == [
        "1 minute is missing, 14:00 UTC",
        "2 minutes are missing, 18:00 to 18:01 UTC",
    ]


def test_a_symbol_that_trades_in_two_minutes_of_three_lacks_only_an_unlikely_hour(new_york: pd.DataFrame) -> None:
    rng = np.random.default_rng(3)
    quiet = new_york[(new_york["symbol"] != "M1") | (rng.random(len(new_york)) < 0.67)]
    assert told(quiet) == []
    hour = (quiet["symbol"] == "M1") & quiet["at"].between("2020-10-21 15:00", "2020-10-21 15:59")
    found = told(quiet[~hour])
    assert [(rule, symbol, at[:10]) for rule, symbol, at in found] == [("missing_minutes", "M1", "2020-10-21")]


def test_a_session_without_any_minute_is_a_missing_session(new_york: pd.DataFrame) -> None:
    day = (new_york["symbol"] == "M1") & (new_york["at"].dt.normalize() == "2020-10-21")
    assert [(f.rule, f.symbol, f.day) for f in judged(new_york[~day]).told] == [
        ("missing_sessions", "M1", "2020-10-21")
    ]


def test_bars_after_the_close_of_a_half_day_are_extra(new_york: pd.DataFrame) -> None:
    # 2020-11-27 closed at 13:00 in New York, 18:00 UTC.
    late = new_york[(new_york["symbol"] == "M1") & (new_york["at"] == "2020-11-27 17:59")]
    late = pd.concat([late.assign(at=pd.Timestamp(f"2020-11-27 18:{minute:02}")) for minute in range(3)])
    assert told(pd.concat([new_york, late])) == [("extra_minutes", "M1", "2020-11-27T18:00")]


@pytest.mark.parametrize("hours", [1, -1, 5])
def test_bars_that_are_whole_hours_off_are_shifted_and_nothing_else(new_york: pd.DataFrame, hours: int) -> None:
    def shift(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        days = own & frame["at"].between("2020-11-02", "2020-11-07")
        frame.loc[days, "at"] += timedelta(hours=hours)

    report = judged(changed(new_york, shift))
    assert [(f.rule, f.symbol, f.day, f.until, f.severity, f.value) for f in report.told] == [
        ("time_zone_shift", "M1", "2020-11-02", "2020-11-06", "block", 60.0 * hours)
    ]


def test_a_source_that_never_left_summer_time_is_shifted_from_that_day_on(new_york: pd.DataFrame) -> None:
    def stay(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        frame.loc[own & (frame["at"] >= "2020-11-01"), "at"] -= timedelta(hours=1)

    (found,) = judged(changed(new_york, stay)).told
    assert (found.rule, found.day, found.until) == ("time_zone_shift", "2020-11-02", "2020-11-30")
    assert "change of the clocks" in found.detail


def test_a_print_off_the_rest_is_an_outlier_and_a_move_of_all_is_not(new_york: pd.DataFrame) -> None:
    def spike(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        frame.loc[own & (frame["at"] == "2020-10-21 15:00"), PRICES] *= 1.03

    def crash(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        frame.loc[frame["at"] == "2020-10-21 15:00", PRICES] *= 1.03

    assert told(changed(new_york, spike)) == [("outlier", "M1", "2020-10-21T15:00")]
    assert told(changed(new_york, crash)) == []


def test_a_stretch_in_cents_is_wrong_units(new_york: pd.DataFrame) -> None:
    def cents(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        frame.loc[own & frame["at"].between("2020-10-21 15:00", "2020-10-21 15:09"), PRICES] *= 100

    (found,) = judged(changed(new_york, cents)).told
    assert (found.rule, found.symbol, str(found.at)[:16]) == ("unit_error", "M1", "2020-10-21T15:00")
    assert "10 bars" in found.detail


def test_ten_minutes_at_one_price_with_volume_are_stale_and_without_are_quiet(new_york: pd.DataFrame) -> None:
    def freeze(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        rows = own & frame["at"].between("2020-10-21 15:00", "2020-10-21 15:09")
        frame.loc[rows, PRICES] = frame.loc[own & (frame["at"] == "2020-10-21 14:59"), "close"].iloc[0]

    def quieten(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        freeze(frame, own)
        frame.loc[own & frame["at"].between("2020-10-21 15:00", "2020-10-21 15:09"), "volume"] = 0

    assert told(changed(new_york, freeze)) == [("stale_run", "M1", "2020-10-21T15:00")]
    assert told(changed(new_york, quieten)) == []


def test_a_split_overnight_is_found_by_the_minute_too(new_york: pd.DataFrame) -> None:
    def split(frame: pd.DataFrame, own: pd.Series[bool]) -> None:
        later = own & (frame["at"] >= "2020-11-10")
        frame.loc[later, PRICES] /= 2
        frame.loc[later, "volume"] *= 2

    halved = changed(new_york, split)
    assert [(f.rule, f.symbol, f.day) for f in judged(halved).told] == [("unapplied_split", "M1", "2020-11-10")]
    recorded = pd.DataFrame(
        {"symbol": ["M1"], "ex_date": [pd.Timestamp("2020-11-10")], "kind": ["split"], "value": [2.0]}
    )
    assert check(BarRows.from_frame(halved, "minute"), recorded, calendar("XNYS")).verdict == "pass"
    assert [f.rule for f in check(BarRows.from_frame(new_york, "minute"), recorded, calendar("XNYS")).told] == [
        "split_not_in_price"
    ]


def test_crossed_quotes_are_told_and_locked_or_missing_ones_are_not(new_york: pd.DataFrame) -> None:
    rows = BarRows.from_frame(new_york, "minute")
    bid, ask = rows.close - 0.01, rows.close + 0.01
    bid[5], ask[6], bid[7], ask[8] = ask[5] + 0.01, 0.0, ask[7], np.nan
    quoted = BarRows(
        rows.symbols, rows.offsets, rows.at, rows.open, rows.high, rows.low, rows.close, rows.volume, "minute",
        bid=bid, ask=ask,
    )  # fmt: skip
    report = check(quoted, no_actions(), calendar("XNYS"))
    assert [(f.rule, f.symbol, f.at) for f in report.told] == [
        ("crossed_quotes", "M0", rows.at[5]),
        ("crossed_quotes", "M0", rows.at[6]),
    ]
