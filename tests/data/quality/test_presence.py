"""Symbols that end, tickers that are listed anew, days that are shifted, bars that are there twice: on real rows."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd
import pytest

from workbench.calendars import calendar
from workbench.data.dataset import FIELDS
from workbench.data.lake import Lake
from workbench.data.quality import Acceptance, Finding, QualityReport, check
from workbench.data.quality.acceptances import excuses
from workbench.data.rows import BarRows
from workbench.errors import ConfigError

XNYS = calendar("XNYS")
END = date(2013, 3, 1)


@pytest.fixture(scope="module")
def frame(sample_lake: Lake) -> pd.DataFrame:
    """Real bars of four symbols in 2012, without a finding."""
    return sample_lake.rows(["AAPL", "GOOG", "IBM", "MSFT"], start=date(2012, 1, 3), end=END).frame()


@pytest.fixture(scope="module")
def actions(sample_lake: Lake) -> pd.DataFrame:
    return sample_lake.actions(["AAPL", "GOOG", "IBM", "MSFT"], start=date(2012, 1, 3), end=END)


def told(report: QualityReport) -> list[tuple[str, str, str, str]]:
    return [(f.rule, f.symbol, f.day, f.until) for f in report.told]


def test_a_symbol_whose_bars_end_before_the_others_has_dropped_out_unless_it_was_delisted(
    frame: pd.DataFrame, actions: pd.DataFrame
) -> None:
    ended = frame[(frame["symbol"] != "IBM") | (frame["at"] < "2013-02-20")]
    rows = BarRows.from_frame(ended)
    assert told(check(rows, actions, XNYS)) == [("dropped_out", "IBM", "2013-02-20", "2013-03-01")]
    spell = {"instrument": ["1"], "symbol": ["IBM"], "first": [pd.Timestamp("1962-01-02")]}
    delisted = pd.DataFrame(spell | {"last": [pd.Timestamp("2013-02-19")]})
    assert told(check(rows, actions, XNYS, listings=delisted)) == []
    going_on = pd.DataFrame(spell | {"last": [pd.NaT]})
    assert told(check(rows, actions, XNYS, listings=going_on)) == [("dropped_out", "IBM", "2013-02-20", "2013-03-01")]


def test_a_symbol_that_begins_later_is_new_and_no_finding(frame: pd.DataFrame, actions: pd.DataFrame) -> None:
    later = frame[(frame["symbol"] != "GOOG") | (frame["at"] >= "2012-09-04")]
    assert told(check(BarRows.from_frame(later), actions, XNYS)) == []


@pytest.mark.parametrize("days", [-1, 1])
def test_bars_dated_a_day_off_are_shifted_and_nothing_else(
    frame: pd.DataFrame, actions: pd.DataFrame, days: int
) -> None:
    shifted = frame.copy()
    rows = (shifted["symbol"] == "IBM") & shifted["at"].between("2012-07-09", "2012-08-03")
    shifted.loc[rows, "at"] += timedelta(days=days)
    report = check(BarRows.from_frame(shifted), actions, XNYS)
    assert [(f.rule, f.symbol, f.severity) for f in report.told] == [("time_zone_shift", "IBM", "block")]
    assert ("early" if days < 0 else "late") in report.told[0].detail


def test_one_odd_sunday_is_an_extra_session(frame: pd.DataFrame, actions: pd.DataFrame) -> None:
    odd = frame[(frame["symbol"] == "IBM") & (frame["at"] == "2012-07-09")].assign(at=pd.Timestamp("2012-07-08"))
    report = check(BarRows.from_frame(pd.concat([frame, odd])), actions, XNYS)
    assert ("extra_session", "IBM", "2012-07-08", "2012-07-08") in told(report)
    assert "closed on this Sunday" in next(f.detail for f in report.told if f.rule == "extra_session")


def test_a_bar_twice_is_a_duplicate_and_one_that_differs_a_conflict(frame: pd.DataFrame, actions: pd.DataFrame) -> None:
    again = frame[(frame["symbol"] == "IBM") & (frame["at"] == "2012-07-09")]
    report = check(BarRows.from_frame(pd.concat([frame, again])), actions, XNYS)
    assert told(report) == [("duplicate", "IBM", "2012-07-09", "2012-07-09")]
    assert report.verdict == "warn"
    report = check(BarRows.from_frame(pd.concat([frame, again.assign(close=again["close"] + 0.5)])), actions, XNYS)
    assert told(report) == [("conflicting_duplicate", "IBM", "2012-07-09", "2012-07-09")]
    assert report.verdict == "block"


def test_bars_from_before_the_calendar_are_judged_by_what_they_say(actions: pd.DataFrame) -> None:
    # IBM around 1987-10-19, as Quandl WIKI has it to the cent; the calendar begins in 1990.
    days = pd.to_datetime(["1987-10-14", "1987-10-15", "1987-10-16", "1987-10-19", "1987-10-20", "1987-10-21"])
    close = [140.5, 139.0, 135.0, 103.3, 115.0, 122.8]
    bars = pd.DataFrame({"symbol": "IBM", "at": days, "close": close, "volume": [2e6, 2e6, 3e6, 1e7, 1e7, 6e6]})
    bars["open"] = [141.0, 140.0, 139.0, 130.0, 110.0, 117.0]
    bars["high"], bars["low"] = bars[["open", "close"]].max(axis=1) + 1, bars[["open", "close"]].min(axis=1) - 1
    assert told(check(BarRows.from_frame(bars), actions.iloc[:0], XNYS)) == []


def test_absurd_prices_block_and_the_dearest_real_share_does_not(frame: pd.DataFrame, actions: pd.DataFrame) -> None:
    dear = frame.copy()
    rows = dear["symbol"] == "GOOG"
    dear.loc[rows, list(FIELDS[:4])] *= 1000  # about what a share of Berkshire Hathaway costs today
    assert told(check(BarRows.from_frame(dear), actions, XNYS)) == []
    dear.loc[rows, list(FIELDS[:4])] *= 100
    report = check(BarRows.from_frame(dear), actions, XNYS)
    assert {f.rule for f in report.told} == {"absurd_price"}
    assert report.by_symbol["GOOG"] == "block"
    assert report.by_symbol["IBM"] == "pass"


# ---- the report ------------------------------------------------------------------------------------


@pytest.fixture
def hole(frame: pd.DataFrame, actions: pd.DataFrame) -> QualityReport:
    """IBM lacks eight sessions."""
    rows = (frame["symbol"] == "IBM") & frame["at"].between("2012-07-09", "2012-07-18")
    return check(BarRows.from_frame(frame[~rows]), actions, XNYS)


def accept(**changes: object) -> Acceptance:
    day = date(2012, 7, 9)
    facts: dict[str, object] = {
        "rule": "missing_sessions", "symbol": "IBM", "first": day, "last": date(2012, 7, 18), "who": "ann",
        "why": "a strike", "until": date(2026, 1, 31),
    }  # fmt: skip
    return Acceptance(**(facts | changes))  # type: ignore[arg-type]


def test_an_accepted_finding_does_not_count_and_is_kept_with_its_reason(hole: QualityReport) -> None:
    assert (hole.verdict, hole.by_symbol["IBM"]) == ("block", "block")
    excused = hole.excuse(excuses([accept()], date(2026, 1, 31)))
    assert (excused.verdict, excused.blocked, len(excused.findings)) == ("pass", [], 0)
    (row,) = excused.accepted.itertuples()
    assert (row.rule, row.because) == ("missing_sessions", "accepted by ann until 2026-01-31: a strike")


@pytest.mark.parametrize(
    "other",
    [
        {"rule": "stale"},
        {"symbol": "MSFT"},
        {"last": date(2012, 7, 17)},  # the hole is longer than what was accepted
        {"first": date(2012, 7, 10)},
        {"until": date(2026, 1, 30)},  # expired
    ],
)
def test_an_acceptance_of_something_else_or_from_before_does_not_count(
    hole: QualityReport, other: dict[str, object]
) -> None:
    assert hole.excuse(excuses([accept(**other)], date(2026, 1, 31))).verdict == "block"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rule": "missing_session"}, "did you mean missing_sessions?"),
        ({"symbol": "*"}, "an acceptance names one symbol"),
        ({"why": " "}, "needs a person and a reason"),
        ({"who": ""}, "needs a person and a reason"),
        ({"first": date(2013, 1, 1)}, "is after"),
    ],
)
def test_an_acceptance_of_everything_or_by_nobody_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\\?")):
        accept(**wrong)


def test_a_notebook_shows_the_verdict_each_finding_and_what_the_rule_asks(hole: QualityReport) -> None:
    page = hole._repr_html_()
    assert "block" in page
    assert "2012-07-09 to 2012-07-18" in page
    assert "8 sessions are missing" in page
    assert "An exchange session between" in page
    assert hole.excuse(excuses([accept(why="<b>")], None))._repr_html_().count("&lt;b&gt;") == 1
    assert repr(hole) == "<QualityReport block: 4 symbols, missing_sessions 1>"


def test_findings_are_a_frame_with_the_types_that_others_read(hole: QualityReport) -> None:
    frame = hole.findings
    assert list(frame.columns) == [
        "symbol", "session", "at", "last", "rule", "severity", "field", "value", "expected", "detail",
    ]  # fmt: skip
    assert [str(frame[name].dtype) for name in ("session", "at", "last", "value")] == ["datetime64[ns]"] * 3 + [
        "float64"
    ]
    assert isinstance(hole.told[0], Finding)
    empty = hole.excuse(excuses([accept()], None)).findings
    assert list(empty.columns) == list(frame.columns)
    assert (empty.dtypes == frame.dtypes).all()
