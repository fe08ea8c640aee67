from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from workbench.calendars import Calendar, calendar
from workbench.data.bars import FIELDS, Bars
from workbench.data.dataset import no_actions
from workbench.data.lake import Lake
from workbench.data.quality import RULES, QualityReport, check
from workbench.errors import DataError

FIVE = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def xnys() -> Calendar:
    return calendar("XNYS")


@pytest.fixture(scope="module")
def raw(sample_lake: Lake) -> Bars:
    """The five symbols up to 2013-03-01: real bars without a single fault that the rules know."""
    return sample_lake.bars(FIVE, end=date(2013, 3, 1), adjustment="raw")


@pytest.fixture(scope="module")
def actions(sample_lake: Lake) -> pd.DataFrame:
    return sample_lake.actions()


def changed(bars: Bars, change: Callable[[Frames], object]) -> Bars:
    frames = {name: getattr(bars, name).copy() for name in FIELDS}
    change(frames)
    return Bars(**frames, adjustment="raw", snapshot=bars.snapshot)


def found(report: QualityReport, rule: str | None = None) -> list[tuple[str, str, str, str]]:
    rows = report.findings if rule is None else report.findings[report.findings["rule"] == rule]
    return [(r.severity, r.symbol, f"{r.session:%Y-%m-%d}", r.rule) for r in rows.itertuples()]


# ---- the sample as it is ---------------------------------------------------------------------------


def test_ten_months_without_aapl_and_msft_block_the_whole_sample(
    sample_lake: Lake, actions: pd.DataFrame, xnys: Calendar
) -> None:
    report = check(sample_lake.bars(adjustment="raw"), actions, xnys, notices=sample_lake.notices())
    assert report.verdict == "block"
    assert report.blocked == ["AAPL", "MSFT"]
    assert found(report) == [
        ("block", "AAPL", "2013-03-04", "missing_sessions"),
        ("block", "MSFT", "2013-03-04", "missing_sessions"),
        ("warn", "GOOG", "2004-08-19", "known_fault"),
        ("warn", "MSFT", "2004-11-22", "outlier"),
        ("warn", "FB", "2013-03-04", "dropped_out"),
        ("warn", "GOOG", "2013-03-04", "dropped_out"),
        ("warn", "IBM", "2013-03-04", "dropped_out"),
    ]
    # 2013 had 252 sessions, 41 of them up to 2013-03-01
    assert report.findings["detail"].iloc[0] == "211 sessions are missing, up to 2013-12-31"


def test_a_clean_window_passes(sample_lake: Lake, actions: pd.DataFrame, xnys: Calendar) -> None:
    bars = sample_lake.bars(["AAPL", "IBM", "MSFT"], start=date(2012, 1, 3), end=date(2013, 3, 1), adjustment="raw")
    report = check(bars, actions, xnys, session=date(2013, 3, 1), notices=sample_lake.notices())
    assert (report.verdict, found(report), report.reasons(), report.blocked) == ("pass", [], [], [])
    assert (report.session, report.snapshot, report.symbols) == (date(2013, 3, 1), 2, ("AAPL", "IBM", "MSFT"))


def test_aapl_on_2000_09_29_fell_by_half_on_news_and_is_no_finding(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar
) -> None:
    # 28.19 / 53.50 - 1 at the open, 25.75 / 53.50 - 1 at the close, on 12.5 times the turnover
    report = check(raw.select(["AAPL"]), actions, xnys, session=date(2000, 9, 29))
    assert (report.verdict, found(report)) == ("pass", [])


def test_the_same_fall_on_ordinary_turnover_is_pointed_out(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    def quiet(frames: Frames) -> None:
        frames["volume"].loc["2000-09-29", "AAPL"] /= 6

    report = check(changed(raw, quiet).select(["AAPL"]), actions, xnys, session=date(2000, 9, 29))
    assert found(report) == [("warn", "AAPL", "2000-09-29", "split_like_move")]
    assert "overnight -47.3%, close to close -51.9%, turnover x 2." in report.findings["detail"].iloc[0]


def test_every_real_split_is_noticed_when_its_action_is_lost(sample_lake: Lake, xnys: Calendar) -> None:
    report = check(sample_lake.bars(adjustment="raw"), no_actions(), xnys)
    assert found(report, "unapplied_split") == [
        ("block", "AAPL", "2000-06-21", "unapplied_split"),
        ("block", "MSFT", "2003-02-18", "unapplied_split"),
        ("block", "AAPL", "2005-02-28", "unapplied_split"),
        ("block", "AAPL", "2014-06-09", "unapplied_split"),
    ]
    splits = report.findings.loc[report.findings["rule"] == "unapplied_split", "detail"]
    assert [detail.split("split of ")[1].split(" ")[0] for detail in splits] == ["2:1", "2:1", "2:1", "7:1"]


# ---- faults put into real bars ---------------------------------------------------------------------


def split_at(day: str, symbol: str, ratio: float) -> Callable[[Frames], None]:
    def change(frames: Frames) -> None:
        for name in FIELDS:
            factor = ratio if name == "volume" else 1 / ratio
            frames[name].loc[day:, symbol] *= factor

    return change


@pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0, 7.0, 0.1])
@pytest.mark.parametrize(("symbol", "day"), [("IBM", "2008-10-15"), ("GOOG", "2010-03-10"), ("FB", "2013-02-12")])
def test_an_injected_split_that_is_not_on_record_blocks(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar, symbol: str, day: str, ratio: float
) -> None:
    report = check(changed(raw, split_at(day, symbol, ratio)), actions, xnys)
    assert found(report, "unapplied_split") == [("block", symbol, day, "unapplied_split")]
    recorded = pd.DataFrame(
        {"symbol": symbol, "ex_date": [pd.Timestamp(day)], "kind": "split", "value": ratio, "origin": "published"}
    )
    report = check(changed(raw, split_at(day, symbol, ratio)), pd.concat([actions, recorded]), xnys)
    assert not found(report, "unapplied_split")
    assert not found(report, "split_not_in_price")


def test_nine_in_ten_splits_injected_anywhere_block(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    days = raw.sessions[100:3200:100]
    caught = 0
    for day in days:
        window = raw.select(["IBM"]).between(day - pd.Timedelta(days=120), day + pd.Timedelta(days=3))
        report = check(changed(window, split_at(f"{day:%Y-%m-%d}", "IBM", 2.0)), actions, xnys)
        caught += found(report, "unapplied_split") == [("block", "IBM", f"{day:%Y-%m-%d}", "unapplied_split")]
    assert caught >= 0.9 * len(days)


def test_a_split_on_record_that_the_price_does_not_show_blocks(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar
) -> None:
    phantom = pd.DataFrame({"symbol": "IBM", "ex_date": [pd.Timestamp("2010-03-10")], "kind": "split", "value": 2.0})
    report = check(raw, pd.concat([actions, phantom]), xnys)
    assert found(report, "split_not_in_price") == [("block", "IBM", "2010-03-10", "split_not_in_price")]


def drop(symbol: str, first: str, last: str) -> Callable[[Frames], None]:
    def change(frames: Frames) -> None:
        for name in FIELDS:
            frames[name].loc[first:last, symbol] = np.nan

    return change


@pytest.mark.parametrize(
    ("last", "severity", "detail"),
    [
        ("2010-03-10", "warn", "1 session is missing"),
        ("2010-03-16", "warn", "5 sessions are missing, up to 2010-03-16"),
        ("2010-03-17", "block", "6 sessions are missing, up to 2010-03-17"),
    ],
)
def test_up_to_five_missing_sessions_warn_and_six_block(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar, last: str, severity: str, detail: str
) -> None:
    report = check(changed(raw, drop("IBM", "2010-03-10", last)), actions, xnys)
    assert found(report, "missing_sessions") == [(severity, "IBM", "2010-03-10", "missing_sessions")]
    assert report.findings.query("rule == 'missing_sessions'")["detail"].tolist() == [detail]


def test_a_session_missing_for_all_symbols_is_seen_too(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    def without(frames: Frames) -> None:
        for name in FIELDS:
            frames[name] = frames[name].drop(pd.Timestamp("2010-03-10"))

    report = check(changed(raw, without), actions, xnys)
    assert [symbol for _, symbol, _, _ in found(report, "missing_sessions")] == ["AAPL", "GOOG", "IBM", "MSFT"]


def test_a_bar_on_a_holiday_or_weekend_warns(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    def extra(frames: Frames) -> None:
        for name in FIELDS:
            frame = frames[name]
            for day in ("2010-12-24", "2010-12-25"):  # the Friday before Christmas was a holiday
                frame.loc[pd.Timestamp(day)] = frame.loc["2010-12-23"].where(frame.columns == "IBM")
            frames[name] = frame.sort_index()

    report = check(changed(raw, extra), actions, xnys)
    assert found(report, "extra_session") == [
        ("warn", "IBM", "2010-12-24", "extra_session"),
        ("warn", "IBM", "2010-12-25", "extra_session"),
    ]


def put(field: str, value: float, day: str = "2010-03-10") -> Callable[[Frames], None]:
    def change(frames: Frames) -> None:
        frames[field].loc[day, "IBM"] = value

    return change


@pytest.mark.parametrize(
    ("field", "value"),
    [("close", 0.0), ("low", -1.0), ("open", np.nan), ("high", np.inf), ("volume", -1.0), ("volume", np.nan)],
)
def test_a_value_that_cannot_be_blocks(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar, field: str, value: float
) -> None:
    report = check(changed(raw, put(field, value)), actions, xnys)
    assert found(report, "bad_value") == [("block", "IBM", "2010-03-10", "bad_value")]
    assert f"{field} {value:g}" in report.findings.query("rule == 'bad_value'")["detail"].iloc[0]


@pytest.mark.parametrize(("field", "value"), [("high", 100.0), ("low", 150.0)])
def test_prices_out_of_order_warn_in_history_and_block_today(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar, field: str, value: float
) -> None:
    # IBM traded between 124 and 127 that day
    bars = changed(raw, put(field, value))
    assert found(check(bars, actions, xnys), "price_order") == [("warn", "IBM", "2010-03-10", "price_order")]
    report = check(bars, actions, xnys, session=date(2010, 3, 10))
    assert found(report, "price_order") == [("block", "IBM", "2010-03-10", "price_order")]


def test_a_bar_without_volume_warns(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    report = check(changed(raw, put("volume", 0.0)), actions, xnys)
    assert found(report, "zero_volume") == [("warn", "IBM", "2010-03-10", "zero_volume")]


# ---- the session decided on ------------------------------------------------------------------------


def test_a_symbol_that_did_not_trade_in_the_session_decided_on_blocks(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar
) -> None:
    report = check(changed(raw, drop("IBM", "2010-03-10", "2010-03-10")), actions, xnys, session=date(2010, 3, 10))
    assert found(report, "stale") == [("block", "IBM", "2010-03-10", "stale")]
    assert report.findings.query("rule == 'stale'")["detail"].tolist() == ["the last bar is of 2010-03-09"]


def test_data_that_ends_before_the_session_decided_on_blocks_every_symbol(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar
) -> None:
    report = check(raw, actions, xnys, session=date(2013, 3, 4))
    assert [symbol for _, symbol, _, _ in found(report, "stale")] == FIVE


def test_what_happens_after_the_session_decided_on_is_not_seen(
    raw: Bars, actions: pd.DataFrame, xnys: Calendar
) -> None:
    report = check(changed(raw, put("close", -1.0)), actions, xnys, session=date(2010, 3, 9))
    assert not found(report, "bad_value")


def test_a_symbol_that_is_not_listed_yet_warns(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    report = check(raw.select(["FB", "IBM"]), actions, xnys, session=date(2010, 3, 10))
    assert found(report) == [("warn", "FB", "2010-03-10", "no_bars")]


def test_a_window_without_any_bar_blocks(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    report = check(raw.select(["FB"]), actions, xnys, session=date(2010, 3, 10))
    assert found(report) == [("block", "FB", "2010-03-10", "no_bars")]
    report = check(raw.select(["IBM"]), actions, xnys, session=date(1999, 3, 10))
    assert found(report) == [("block", "IBM", "1999-03-10", "no_bars")]


# ---- the report ------------------------------------------------------------------------------------


def test_a_known_fault_is_named_only_where_it_is_in_the_window(
    sample_lake: Lake, actions: pd.DataFrame, xnys: Calendar
) -> None:
    notices = sample_lake.notices()
    before = sample_lake.bars(["GOOG", "IBM"], end=date(2004, 8, 18), adjustment="raw")
    assert not found(check(before, actions, xnys, notices=notices), "known_fault")
    within = sample_lake.bars(["GOOG", "IBM"], start=date(2012, 1, 3), end=date(2012, 2, 1), adjustment="raw")
    assert found(check(within, actions, xnys, notices=notices)) == [("warn", "GOOG", "2012-01-03", "known_fault")]


def test_every_rule_that_is_found_is_defined(raw: Bars, actions: pd.DataFrame, xnys: Calendar) -> None:
    def break_all(frames: Frames) -> None:
        for change in (
            split_at("2010-06-10", "IBM", 2.0),
            drop("IBM", "2011-03-10", "2011-03-10"),
            put("close", 0.0),
            put("high", 1.0, "2010-03-11"),
            put("volume", 0.0, "2010-03-12"),
        ):
            change(frames)

    report = check(changed(raw, break_all), actions, xnys, session=date(2013, 3, 4))
    rules = set(report.findings["rule"])
    expected = {"stale", "unapplied_split", "missing_sessions", "bad_value", "price_order", "zero_volume"}
    assert expected <= rules <= set(RULES)
    assert report.reasons()[0].startswith("block: ")
    assert report.findings["severity"].is_monotonic_increasing  # "block" before "warn"


def test_adjusted_bars_are_not_judged(sample_lake: Lake, actions: pd.DataFrame, xnys: Calendar) -> None:
    bars = sample_lake.bars(["IBM"], start=date(2013, 1, 2), end=date(2013, 3, 1))
    with pytest.raises(DataError, match="raw bars, not split-adjusted"):
        check(bars, actions, xnys)
