"""Rules about how one bar follows another, on real rows of the sample with one fault put in, and without."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest

from workbench.calendars import Calendar, calendar
from workbench.data.dataset import FIELDS, no_actions
from workbench.data.lake import Lake
from workbench.data.quality import RULES, QualityReport, check
from workbench.data.rows import BarRows

FIVE = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
PRICES = list(FIELDS[:4])
END = date(2013, 3, 1)


@pytest.fixture(scope="module")
def xnys() -> Calendar:
    return calendar("XNYS")


@pytest.fixture(scope="module")
def frame(sample_lake: Lake) -> pd.DataFrame:
    """Real bars of five symbols to 2013-03-01."""
    return sample_lake.rows(FIVE, end=END).frame()


@pytest.fixture(scope="module")
def actions(sample_lake: Lake) -> pd.DataFrame:
    return sample_lake.actions(FIVE, end=END)


@pytest.fixture
def judge(frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar) -> Callable[..., list[tuple[str, str, str]]]:
    """(rule, symbol, session) of what is found beyond the one real fault that the sample has."""

    def judge(
        change: Callable[[pd.DataFrame], object] | None = None,
        records: pd.DataFrame | None = None,
        **options: object,
    ) -> list[tuple[str, str, str]]:
        broken = frame.copy()
        if change is not None:
            change(broken)
        rows = BarRows.from_frame(broken)
        report = check(rows, actions if records is None else records, xnys, **options)  # type: ignore[arg-type]
        return told(report)

    return judge


def told(report: QualityReport) -> list[tuple[str, str, str]]:
    real = ("outlier", "MSFT", "2004-11-22")
    return [key for f in report.told if (key := (f.rule, f.symbol, f.day)) != real]


def at(frame: pd.DataFrame, symbol: str, first: str, last: str | None = None) -> pd.Series[bool]:
    return (frame["symbol"] == symbol) & frame["at"].between(first, last or first)


def scale(symbol: str, factor: float, first: str, last: str | None = None, *fields: str):  # type: ignore[no-untyped-def]
    def change(frame: pd.DataFrame) -> None:
        frame.loc[at(frame, symbol, first, last), list(fields) or PRICES] *= factor

    return change


def record(actions: pd.DataFrame, symbol: str, day: str, kind: str, value: float) -> pd.DataFrame:
    """The actions with one more."""
    row = {"symbol": symbol, "ex_date": pd.Timestamp(day), "kind": kind, "value": value, "origin": "published"}
    return pd.concat([actions, pd.DataFrame([row])], ignore_index=True)


# ---- what is no fault ------------------------------------------------------------------------------


def test_thirteen_real_years_with_two_crashes_three_splits_and_a_special_dividend_have_one_bad_print(
    frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    report = check(BarRows.from_frame(frame), actions, xnys)
    assert [(f.rule, f.symbol, f.day, f.field, f.value) for f in report.told] == [
        # The other lows of that week are 26.4 to 26.84, and the close of the day was 26.65.
        ("outlier", "MSFT", "2004-11-22", "low", 24.86)
    ]


def test_the_flash_crash_of_2010_05_06_is_the_market_and_no_outlier(judge: Callable[..., object]) -> None:
    # AAPL's low was 199.25 on a close of 246.25; IBM and GOOG fell with it and came back, too.
    assert judge() == []


# ---- outliers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.25, 0.8])
def test_a_bar_that_leaves_the_others_and_comes_back_is_an_outlier(judge: Callable[..., object], factor: float) -> None:
    assert judge(scale("IBM", factor, "2006-05-10")) == [("outlier", "IBM", "2006-05-10")]


def test_the_same_move_on_ten_times_the_turnover_is_news(judge: Callable[..., object]) -> None:
    def news(frame: pd.DataFrame) -> None:
        scale("IBM", 1.2, "2006-05-10")(frame)
        scale("IBM", 10.0, "2006-05-10", None, "volume")(frame)

    assert judge(news) == []


def test_the_same_move_of_all_symbols_is_the_market(judge: Callable[..., object]) -> None:
    def crash(frame: pd.DataFrame) -> None:
        for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
            scale(symbol, 0.8, "2006-05-10")(frame)

    assert judge(crash) == []


def test_an_outlier_says_what_the_price_should_be(frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar) -> None:
    broken = frame.copy()
    day = at(broken, "IBM", "2006-05-10")
    close = float(broken.loc[day, "close"].iloc[0])
    broken.loc[day, ["close", "high"]] = close * 1.3
    report = check(BarRows.from_frame(broken), actions, xnys, session=date(2006, 6, 1))
    found = next(f for f in report.told if f.symbol == "IBM")
    assert (found.rule, found.field) == ("outlier", "close")
    assert found.value == pytest.approx(close * 1.3)
    assert found.expected == pytest.approx(close, rel=0.02)


# ---- units -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [100.0, 1000.0, 0.01, 0.001])
@pytest.mark.parametrize("last", ["2006-05-10", "2006-06-09"])
def test_prices_in_other_units_for_a_day_or_a_month_block(
    judge: Callable[..., object], factor: float, last: str
) -> None:
    assert judge(scale("IBM", factor, "2006-05-10", last)) == [("unit_error", "IBM", "2006-05-10")]


def test_a_stretch_of_wrong_units_is_one_finding_with_its_end(
    frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    broken = frame.copy()
    scale("IBM", 100.0, "2006-05-10", "2006-06-09")(broken)
    report = check(BarRows.from_frame(broken), actions, xnys)
    found = next(f for f in report.told if f.symbol == "IBM")
    assert (found.day, found.until, found.severity) == ("2006-05-10", "2006-06-09", "block")
    assert found.value == pytest.approx(100 * found.expected)
    # 15 sessions left in May (the 29th was a holiday), 7 in June
    assert "22 bars" in found.detail


@pytest.mark.parametrize(
    ("field", "factor"), [("low", 0.01), ("high", 100.0), ("close", 100.0), ("close", 0.001), ("open", 1000.0)]
)
def test_one_field_in_other_units_is_named(
    frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar, field: str, factor: float
) -> None:
    broken = frame.copy()
    scale("IBM", factor, "2006-05-10", None, field)(broken)
    report = check(BarRows.from_frame(broken), actions, xnys)
    found = [f for f in report.told if f.rule == "unit_error"]
    assert [(f.symbol, f.day, f.field) for f in found] == [("IBM", "2006-05-10", field)]


def test_volumes_in_lots_are_wrong_units_and_a_busy_day_is_not(judge: Callable[..., object]) -> None:
    assert judge(scale("IBM", 0.01, "2006-05-10", "2006-05-19", "volume")) == [("unit_error", "IBM", "2006-05-10")]
    assert judge(scale("IBM", 12.0, "2006-05-10", None, "volume")) == []


# ---- stale runs ------------------------------------------------------------------------------------


def freeze(symbol: str, first: str, last: str, volume: float | None = None) -> Callable[[pd.DataFrame], None]:
    def change(frame: pd.DataFrame) -> None:
        rows = at(frame, symbol, first, last)
        before = frame.loc[(frame["symbol"] == symbol) & (frame["at"] < first), "close"].iloc[-1]
        frame.loc[rows, PRICES] = before
        if volume is not None:
            frame.loc[rows, "volume"] = volume

    return change


def test_five_days_at_one_price_though_shares_were_traded_are_stale(judge: Callable[..., object]) -> None:
    assert judge(freeze("IBM", "2006-05-10", "2006-05-16")) == [("stale_run", "IBM", "2006-05-10")]


def test_a_halt_written_as_flat_bars_without_volume_is_not(judge: Callable[..., object]) -> None:
    assert judge(freeze("IBM", "2006-05-10", "2006-05-16", volume=0.0)) == []


def test_two_days_at_one_price_are_chance(judge: Callable[..., object]) -> None:
    assert judge(freeze("IBM", "2006-05-10", "2006-05-11")) == []


def test_a_stale_price_in_the_session_decided_on_blocks(
    frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    broken = frame.copy()
    freeze("IBM", "2006-05-10", "2006-05-16")(broken)
    report = check(BarRows.from_frame(broken), actions, xnys, session=date(2006, 5, 16))
    assert [(f.rule, f.severity) for f in report.told if f.symbol == "IBM"] == [("stale_run", "block")]


def test_a_penny_stock_that_seldom_moves_is_not_stale(xnys: Calendar) -> None:
    # Made up: a share at 4 to 6 cents in ticks of a cent stands still on every other day.
    rng = np.random.default_rng(7)
    days = xnys.index(date(2010, 1, 4), date(2012, 12, 31))
    cents = rng.choice([4, 5, 6], len(days), p=[0.15, 0.7, 0.15])
    price = cents / 100
    bars = pd.DataFrame({"symbol": "PINK", "at": days, "volume": 20_000.0})
    bars[PRICES] = np.repeat(price[:, None], 4, axis=1)
    assert told(check(BarRows.from_frame(bars), no_actions(), xnys)) == []


# ---- splits ----------------------------------------------------------------------------------------


def test_a_split_on_record_upside_down_or_of_another_ratio_is_not_in_the_price(
    judge: Callable[..., object], actions: pd.DataFrame
) -> None:
    for ratio in (0.5, 4.0):
        wrong = actions.copy()
        wrong.loc[(wrong["symbol"] == "AAPL") & (wrong["ex_date"] == "2005-02-28"), "value"] = ratio
        found = judge(None, wrong)
        assert ("split_not_in_price", "AAPL", "2005-02-28") in found or ratio == 4.0
        assert len(found) == 1


def test_a_price_that_fell_by_the_square_of_a_split_was_divided_twice(judge: Callable[..., object]) -> None:
    assert judge(scale("AAPL", 0.5, "2005-02-28", "2013-03-01")) == [("split_applied_twice", "AAPL", "2005-02-28")]


def test_a_split_recorded_a_week_late_is_found_on_both_days(
    judge: Callable[..., object], actions: pd.DataFrame
) -> None:
    late = actions.copy()
    late.loc[(late["symbol"] == "AAPL") & (late["ex_date"] == "2005-02-28"), "ex_date"] = pd.Timestamp("2005-03-04")
    assert judge(None, late) == [
        ("unapplied_split", "AAPL", "2005-02-28"),
        ("split_not_in_price", "AAPL", "2005-03-04"),
    ]


def test_prices_divided_by_splits_that_are_still_listed_are_adjusted_already(judge: Callable[..., object]) -> None:
    def adjust(frame: pd.DataFrame) -> None:
        for ex_date in ("2000-06-21", "2005-02-28"):
            frame.loc[(frame["symbol"] == "AAPL") & (frame["at"] < ex_date), PRICES] /= 2

    found = judge(adjust)
    assert [key for key in found if key[1] == "AAPL"] == [("pre_adjusted", "AAPL", "2000-03-01")]  # type: ignore[attr-defined]


def test_prices_without_the_dividends_that_are_still_listed_are_adjusted_already(
    sample_lake: Lake, xnys: Calendar
) -> None:
    actions = sample_lake.actions(["IBM"], end=END)
    raw = sample_lake.rows(["IBM"], end=END).frame()
    adjusted = sample_lake.bars(["IBM"], end=END, adjustment="total")
    assert told(check(BarRows.from_frame(raw), actions, xnys)) == []
    for name in PRICES:
        raw[name] = getattr(adjusted, name)["IBM"].to_numpy()
    assert told(check(BarRows.from_frame(raw), actions, xnys)) == [("pre_adjusted", "IBM", "2000-03-01")]


def test_volume_that_does_not_double_with_the_shares_was_adjusted(sample_lake: Lake, xnys: Calendar) -> None:
    # AAPL's 7:1 of 2014-06-09, a real split: raw volumes as they are, and divided out.
    actions = sample_lake.actions(["AAPL"], start=date(2014, 1, 2))
    frame = sample_lake.rows(["AAPL"], start=date(2014, 1, 2)).frame()
    assert told(check(BarRows.from_frame(frame), actions, xnys)) == []
    frame.loc[frame["at"] < "2014-06-09", "volume"] *= 7
    assert told(check(BarRows.from_frame(frame), actions, xnys)) == [("volume_adjusted", "AAPL", "2014-01-02")]


# ---- dividends -------------------------------------------------------------------------------------


def amount(actions: pd.DataFrame, symbol: str, day: str, factor: float) -> pd.DataFrame:
    changed = actions.copy()
    row = (changed["symbol"] == symbol) & (changed["ex_date"] == day) & (changed["kind"] == "dividend")
    assert row.sum() == 1
    changed.loc[row, "value"] *= factor
    return changed


def test_a_dividend_in_other_units_is_wrong(judge: Callable[..., object], actions: pd.DataFrame) -> None:
    # IBM paid 0.80 on 2012-05-08, after and before 0.75 to 0.85.
    for factor in (10.0, 100.0, 0.01):
        found = judge(None, amount(actions, "IBM", "2012-05-08", factor))
        assert found == [("wrong_dividend", "IBM", "2012-05-08")]


def test_microsofts_special_dividend_of_3_08_is_right_and_on_another_day_misplaced(
    judge: Callable[..., object], actions: pd.DataFrame
) -> None:
    row = (actions["symbol"] == "MSFT") & (actions["ex_date"] == "2004-11-15")
    assert actions.loc[row, "value"].tolist() == [3.08]
    assert judge() == []
    moved = actions.copy()
    moved.loc[row, "ex_date"] = pd.Timestamp("2004-11-18")
    assert judge(None, moved) == [("misplaced_dividend", "MSFT", "2004-11-18")]


def test_a_dividend_on_a_holiday_or_on_record_twice_is_misplaced(
    judge: Callable[..., object], actions: pd.DataFrame
) -> None:
    assert judge(None, record(actions, "IBM", "2012-07-04", "dividend", 0.3)) == [
        ("misplaced_dividend", "IBM", "2012-07-05")
    ]
    assert judge(None, record(actions, "IBM", "2012-05-10", "dividend", 0.85)) == [
        ("misplaced_dividend", "IBM", "2012-05-10")
    ]


# ---- another instrument ----------------------------------------------------------------------------


def test_another_price_level_after_a_long_hole_is_another_instrument(judge: Callable[..., object]) -> None:
    def reuse(frame: pd.DataFrame) -> None:
        frame.drop(index=frame.index[at(frame, "GOOG", "2006-05-10", "2006-07-10")], inplace=True)
        scale("GOOG", 0.1, "2006-07-11", "2013-03-01")(frame)

    assert judge(reuse) == [("missing_sessions", "GOOG", "2006-05-10"), ("ticker_reuse", "GOOG", "2006-07-11")]


def test_the_real_hole_of_2013_is_no_other_instrument(sample_lake: Lake, xnys: Calendar) -> None:
    report = check(sample_lake.rows(["AAPL", "MSFT"]), sample_lake.actions(["AAPL", "MSFT"]), xnys)
    assert "ticker_reuse" not in {f.rule for f in report.told}


# ---- many faults -----------------------------------------------------------------------------------


def test_a_file_full_of_faults_is_told_in_a_few_findings_and_a_count(
    frame: pd.DataFrame, actions: pd.DataFrame, xnys: Calendar
) -> None:
    broken = frame.copy()
    broken.loc[broken["symbol"] == "IBM", "low"] = -1.0
    report = check(BarRows.from_frame(broken), actions, xnys, most=10)
    found = [f for f in report.told if f.rule == "bad_value"]
    count = int((frame["symbol"] == "IBM").sum())
    assert len(found) == 11
    assert found[-1].detail == f"and {count - 10:,} more, the last on 2013-03-01"
    everything = check(BarRows.from_frame(broken), actions, xnys, most=None)
    assert sum(f.rule == "bad_value" for f in everything.told) == count


def test_every_rule_says_what_it_asks() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert rule.definition.endswith(".")
        assert rule.frequencies
