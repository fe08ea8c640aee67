"""Faults put into real bars, and what becomes of them. What a bar should be is known: it is what it was."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from workbench.data.cleaning import Cleaned, CleaningPolicy, undo
from workbench.data.cleaning.policy import rules
from workbench.data.dataset import FIELDS
from workbench.data.quality import RULES
from workbench.data.rows import BarRows

PRICES = list(FIELDS[:4])
Clean = Callable[..., Cleaned]
Fault = Callable[[pd.DataFrame], pd.DataFrame]


def at(frame: pd.DataFrame, symbol: str, first: str, last: str | None = None) -> pd.Series:
    days = frame["at"].between(first, last or first)
    return (frame["symbol"] == symbol) & days


def times(fields: list[str], factor: float, symbol: str, first: str, last: str | None = None) -> Fault:
    def fault(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[at(frame, symbol, first, last), fields] *= factor
        return frame

    return fault


def becomes(field: str, value: float, symbol: str, day: str) -> Fault:
    def fault(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[at(frame, symbol, day), field] = value
        return frame

    return fault


def without(symbol: str, first: str, last: str | None = None) -> Fault:
    return lambda frame: frame[~at(frame, symbol, first, last)]


def again(symbol: str, day: str, *, on: str | None = None, factor: float = 1.0) -> Fault:
    def fault(frame: pd.DataFrame) -> pd.DataFrame:
        copy = frame[at(frame, symbol, day)].copy()
        copy[PRICES] *= factor
        copy["at"] = pd.Timestamp(on or day)
        return pd.concat([frame, copy])

    return fault


def swapped(symbol: str, day: str) -> Fault:
    def fault(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[at(frame, symbol, day), ["high", "low"]] = frame.loc[
            at(frame, symbol, day), ["low", "high"]
        ].to_numpy()
        return frame

    return fault


def found(cleaned: Cleaned, rule: str, *, before: bool = False) -> list[tuple[str, str]]:
    report = cleaned.before if before else cleaned.after
    return [(one.symbol, one.day) for one in report.told if one.rule == rule]


def bar(cleaned: Cleaned, symbol: str, day: str) -> list[float]:
    frame = cleaned.rows.frame()
    return frame.loc[at(frame, symbol, day), list(FIELDS)].to_numpy().tolist()[0]


def assert_same(cleaned: Cleaned, expected: pd.DataFrame) -> None:
    order = ["symbol", "at"]
    pd.testing.assert_frame_equal(
        cleaned.rows.frame(), expected.sort_values(order, ignore_index=True), check_exact=True
    )


def assert_undone(cleaned: Cleaned, raw: pd.DataFrame) -> None:
    back = undo(cleaned.rows, cleaned.repairs)
    expected = BarRows.from_frame(raw)
    assert back.symbols == expected.symbols
    pd.testing.assert_frame_equal(back.frame(), expected.frame(), check_exact=True)


def test_real_bars_without_a_fault_are_left_as_they_are(real: pd.DataFrame, cleaning: Clean) -> None:
    cleaned = cleaning(real)
    assert_same(cleaned, real)
    assert cleaned.repairs.empty
    assert cleaned.changes.empty
    assert cleaned.action_changes.empty
    assert cleaned.before.verdict == cleaned.after.verdict


def test_every_rule_has_an_action() -> None:
    assert set(rules()) == set(RULES)


GIVEN_BACK: list[tuple[str, str, Fault]] = [
    ("duplicate", "", again("IBM", "2012-06-13")),
    ("conflicting_duplicate", "conflicting_duplicate=first", again("IBM", "2012-06-13", factor=1.01)),
    ("extra_session", "", again("IBM", "2012-06-15", on="2012-06-16")),
    ("price_order", "", swapped("IBM", "2012-06-13")),
    ("unit_error", "", times(PRICES, 100, "IBM", "2012-06-13")),
    ("unit_error", "", times(PRICES, 0.01, "IBM", "2012-06-13")),
    ("unit_error", "", times(PRICES, 100, "IBM", "2012-06-13", "2012-07-20")),
    ("unit_error", "", times(PRICES, 1000, "MSFT", "2012-06-13", "2013-03-01")),
    ("unit_error", "", times(["volume"], 100, "IBM", "2012-06-13", "2012-07-20")),
    ("unit_error", "", times(["low"], 0.01, "IBM", "2012-06-13")),
    ("unit_error", "", times(["close"], 100, "IBM", "2012-06-13")),
    ("unit_error", "", times(["open", "close"], 1000, "IBM", "2012-06-13")),
]


@pytest.mark.parametrize(("rule", "option", "fault"), GIVEN_BACK)
def test_a_fault_with_one_right_answer_is_repaired_to_what_was_there(
    rule: str, option: str, fault: Fault, real: pd.DataFrame, cleaning: Clean
) -> None:
    raw = fault(real.copy())
    cleaned = cleaning(raw, *[option] if option else [])
    assert found(cleaned, rule, before=True)
    assert not found(cleaned, rule)
    assert_same(cleaned, real)
    assert set(cleaned.repairs["rule"]) == {rule}
    assert_undone(cleaned, raw)
    assert cleaned.rows.at.dtype == np.dtype("datetime64[ns]")


@pytest.mark.parametrize("rule", ["bad_value", "outlier", "absurd_price"])
@pytest.mark.parametrize("action", ["previous", "interpolate", "drop", "keep", "accept"])
def test_a_price_that_cannot_be_is_what_the_policy_says(
    rule: str, action: str, real: pd.DataFrame, cleaning: Clean
) -> None:
    value = {"bad_value": 0.0, "outlier": 350.0, "absurd_price": 1e8}[rule]
    raw = becomes("close", value, "IBM", "2012-06-13")(real.copy())
    raw = becomes("high", max(value, 196.0), "IBM", "2012-06-13")(raw)
    cleaned = cleaning(raw, f"{rule}={action}", "price_order=keep")
    day = [("IBM", "2012-06-13")]
    assert set(found(cleaned, rule, before=True)) >= set(day)
    assert_undone(cleaned, raw)
    known = real[at(real, "IBM", "2012-06-12", "2012-06-14")]
    before, after = known["close"].iloc[0], known["open"].iloc[2]
    if action in ("keep", "accept"):
        assert set(found(cleaned, rule)) >= set(day)
        because = [one.because for one in cleaned.left if (one.finding.symbol, one.finding.rule) == ("IBM", rule)]
        assert because == ["accepted by the policy"] if action == "accept" else len(because) == 1
        return
    assert not found(cleaned, rule)
    if action == "drop":
        assert set(found(cleaned, "missing_sessions")) >= set(day)
        assert ["IBM", False] in cleaned.changes[["symbol", "kept"]].to_numpy().tolist()
        return
    price = before if action == "previous" else (before + after) / 2
    assert bar(cleaned, "IBM", "2012-06-13")[3] == price
    assert cleaned.looks_ahead == (action == "interpolate")


def test_a_missing_session_is_filled_with_the_close_before_and_no_volume(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = without("IBM", "2012-06-13", "2012-06-14")(real)
    cleaned = cleaning(raw, "missing_sessions=previous")
    close = float(real.loc[at(real, "IBM", "2012-06-12"), "close"].iloc[0])
    for day in ("2012-06-13", "2012-06-14"):
        assert bar(cleaned, "IBM", day) == [close, close, close, close, 0.0]
    assert not found(cleaned, "missing_sessions")
    assert cleaned.after.told == cleaning(real).after.told
    assert_undone(cleaned, raw)


def test_interpolation_lies_between_its_neighbours_and_says_that_it_looks_ahead(
    real: pd.DataFrame, cleaning: Clean
) -> None:
    raw = without("IBM", "2012-06-13", "2012-06-14")(real)
    cleaned = cleaning(raw, "missing_sessions=interpolate")
    close = float(real.loc[at(real, "IBM", "2012-06-12"), "close"].iloc[0])
    opened = float(real.loc[at(real, "IBM", "2012-06-15"), "open"].iloc[0])
    assert bar(cleaned, "IBM", "2012-06-13")[0] == pytest.approx(close + (opened - close) / 3)
    assert bar(cleaned, "IBM", "2012-06-14")[0] == pytest.approx(close + (opened - close) * 2 / 3)
    assert cleaned.looks_ahead
    assert cleaned.repairs["reason"].str.contains("looks ahead").all()


def test_a_fill_uses_the_past_only(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = without("IBM", "2012-06-13", "2012-06-14")(real)
    later = times(PRICES, 1.05, "IBM", "2012-06-15", "2013-03-01")(raw.copy())
    ours, other = (cleaning(one, "missing_sessions=previous") for one in (raw, later))
    assert bar(ours, "IBM", "2012-06-14") == bar(other, "IBM", "2012-06-14")


def test_a_gap_longer_than_max_fill_stays_whole(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = without("IBM", "2012-06-13", "2012-06-20")(real)  # six sessions
    cleaned = cleaning(raw, "missing_sessions=previous")
    assert cleaned.repairs.empty
    assert [one.because for one in cleaned.left if one.finding.rule == "missing_sessions"] == [
        "6 sessions in a row are more than max_fill = 5"
    ]
    assert len(cleaning(raw, "missing_sessions=previous", "max_fill=6").changes) == 6


def test_nothing_is_filled_across_a_delisting_or_before_a_listing(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = without("IBM", "2012-06-13", "2012-06-14")(real)
    columns = ["instrument", "symbol", "first", "last"]
    ends, begins = pd.Timestamp("2012-06-12"), pd.Timestamp("2012-06-15")
    spells = [("old", "IBM", pd.Timestamp("2000-01-03"), ends), ("new", "IBM", begins, pd.NaT)]
    cleaned = cleaning(raw, "missing_sessions=previous", listings=pd.DataFrame(spells, columns=columns))
    assert cleaned.repairs.empty
    assert "listed all along" in str([one.because for one in cleaned.left]) or "another instrument" in str(
        [one.because for one in cleaned.left]
    )
    whole = [("one", "IBM", pd.Timestamp("2000-01-03"), pd.NaT)]
    cleaned = cleaning(raw, "missing_sessions=previous", listings=pd.DataFrame(whole, columns=columns))
    assert len(cleaned.changes) == 2
    first = real.loc[real["symbol"] == "FB", "at"].min()
    assert cleaned.rows.frame().query("symbol == 'FB'")["at"].min() == first == pd.Timestamp("2012-05-18")


def test_a_fill_over_a_split_is_in_shares_of_its_own_day(real: pd.DataFrame, cleaning: Clean) -> None:
    """AAPL split 2:1 on 2005-02-28, the session that is missing; it closed at 88.99 before."""
    raw = without("AAPL", "2005-02-25", "2005-02-28")(real)
    cleaned = cleaning(raw, "missing_sessions=previous")
    close = float(real.loc[at(real, "AAPL", "2005-02-24"), "close"].iloc[0])
    assert bar(cleaned, "AAPL", "2005-02-25")[3] == close
    assert bar(cleaned, "AAPL", "2005-02-28")[3] == close / 2
    cleaned = cleaning(raw, "missing_sessions=interpolate")
    assert cleaned.repairs.empty
    assert "a split lies in the gap" in str([one.because for one in cleaned.left])


def test_a_bar_that_was_dropped_is_filled_like_any_gap(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = becomes("close", 0.0, "IBM", "2012-06-13")(real.copy())
    cleaned = cleaning(raw, "bad_value=drop", "missing_sessions=previous")
    close = float(real.loc[at(real, "IBM", "2012-06-12"), "close"].iloc[0])
    assert bar(cleaned, "IBM", "2012-06-13") == [close, close, close, close, 0.0]
    assert_undone(cleaned, raw)


def test_a_range_that_would_have_to_move_far_is_left_alone(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = becomes("high", 150.0, "IBM", "2012-06-13")(real.copy())
    cleaned = cleaning(raw, "unit_error=keep", "outlier=keep")
    assert found(cleaned, "price_order") == [("IBM", "2012-06-13")]
    assert "more than max_widen = 0.05" in str([one.because for one in cleaned.left])


def test_a_bar_on_a_closed_day_stays_when_the_session_beside_it_is_missing(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = without("IBM", "2012-06-15")(again("IBM", "2012-06-15", on="2012-06-16")(real))
    cleaned = cleaning(raw)
    assert cleaned.repairs.empty
    assert "the bar may belong there" in str([one.because for one in cleaned.left])


def test_cleaning_what_was_cleaned_changes_nothing(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = real.copy()
    for _, _, fault in (GIVEN_BACK[0], GIVEN_BACK[2], GIVEN_BACK[3]):
        raw = fault(raw)
    raw = without("MSFT", "2011-03-09", "2011-03-10")(becomes("open", -1.0, "GOOG", "2010-05-05")(raw))
    options = ("missing_sessions=previous", "bad_value=previous")
    once = cleaning(raw, *options)
    twice = cleaning(once.rows.frame(), *options)
    assert twice.repairs.empty
    pd.testing.assert_frame_equal(once.rows.frame(), twice.rows.frame())
    assert_undone(once, raw)


def test_the_same_policy_has_the_same_digest_and_another_has_another() -> None:
    assert CleaningPolicy().digest == CleaningPolicy(outlier="keep").digest
    assert CleaningPolicy().digest != CleaningPolicy(outlier="drop").digest


def test_of_three_bars_at_one_time_each_keeps_its_number_in_the_ledger(real: pd.DataFrame, cleaning: Clean) -> None:
    """The third says something else, and its low is above its close: merged, dropped and widened in several passes."""
    raw = again("IBM", "2012-06-13")(real)
    third = real[at(real, "IBM", "2012-06-13")].copy()
    third["low"] = third["close"] + 1
    raw = pd.concat([raw, third])
    for choice in ("last", "first", "drop"):
        cleaned = cleaning(raw, f"conflicting_duplicate={choice}", "missing_sessions=previous")
        assert not found(cleaned, "duplicate")
        assert not found(cleaned, "conflicting_duplicate")
        assert not found(cleaned, "price_order")
        assert_undone(cleaned, raw)


def test_bars_that_repeat_a_price_are_taken_out_only_if_the_policy_says_so(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = real.copy()
    close = float(raw.loc[at(raw, "IBM", "2012-06-12"), "close"].iloc[0])
    raw.loc[at(raw, "IBM", "2012-06-13", "2012-06-22"), PRICES] = close
    cleaned = cleaning(raw)
    assert found(cleaned, "stale_run") == [("IBM", "2012-06-13")]
    cleaned = cleaning(raw, "stale_run=drop")
    assert not found(cleaned, "stale_run")
    assert len(cleaned.changes) == 8  # 2012-06-13 to 22 has eight sessions
    assert not cleaned.changes["kept"].any()
    assert_undone(cleaned, raw)


def test_a_bar_without_volume_is_taken_out_only_if_the_policy_says_so(real: pd.DataFrame, cleaning: Clean) -> None:
    raw = becomes("volume", 0.0, "IBM", "2012-06-13")(real.copy())
    day = [("IBM", "2012-06-13")]
    assert found(cleaning(raw), "zero_volume") == day
    cleaned = cleaning(raw, "zero_volume=drop")
    assert not found(cleaned, "zero_volume")
    assert found(cleaned, "missing_sessions") == day
    assert_undone(cleaned, raw)


# ---- actions on record ---------------------------------------------------------------------------------------


def recorded(symbol: str, day: str, ratio: float) -> pd.DataFrame:
    row = {"symbol": symbol, "ex_date": pd.Timestamp(day), "kind": "split", "value": ratio, "origin": "published"}
    return pd.DataFrame([row])


def without_split(actions: pd.DataFrame) -> pd.DataFrame:
    """The record without AAPL's 2:1 of 2005-02-28."""
    return actions[~((actions["symbol"] == "AAPL") & (actions["kind"] == "split"))]


def splits(cleaned: Cleaned) -> list[tuple[str, str, float]]:
    listed = cleaned.actions[cleaned.actions["kind"] == "split"]
    days = listed["ex_date"].dt.strftime("%Y-%m-%d")
    return list(zip(listed["symbol"], days, listed["value"], strict=True))


AAPL_SPLIT = [("AAPL", "2005-02-28", 2.0)]


def test_a_split_that_is_on_record_twice_is_kept_where_the_price_moved(
    real: pd.DataFrame, actions: pd.DataFrame, cleaning: Clean
) -> None:
    twice = pd.concat([actions, recorded("AAPL", "2005-03-02", 2.0)], ignore_index=True)
    cleaned = cleaning(real, recorded=twice)
    assert found(cleaned, "split_applied_twice", before=True)
    assert not found(cleaned, "split_applied_twice")
    assert splits(cleaned) == AAPL_SPLIT
    changed = cleaned.action_changes.astype({"ex_date": str})
    assert changed.to_numpy().tolist() == [["AAPL", "2005-03-02", "split", 2.0, False]]
    assert cleaned.repairs[["table_name", "field", "old", "action"]].to_numpy().tolist() == [
        ["actions", "split", 2.0, "remove"]
    ]
    assert_same(cleaned, real)


def test_a_split_on_the_wrong_day_is_moved_to_where_the_price_moved(
    real: pd.DataFrame, actions: pd.DataFrame, cleaning: Clean
) -> None:
    misplaced = pd.concat([without_split(actions), recorded("AAPL", "2005-02-24", 2.0)], ignore_index=True)
    cleaned = cleaning(real, recorded=misplaced)
    assert found(cleaned, "split_not_in_price", before=True) == [("AAPL", "2005-02-24")]
    assert splits(cleaned) == AAPL_SPLIT
    assert not found(cleaned, "split_not_in_price")
    assert not found(cleaned, "unapplied_split")


def test_a_split_that_no_price_shows_is_left_on_record_unless_the_policy_removes_it(
    real: pd.DataFrame, actions: pd.DataFrame, cleaning: Clean
) -> None:
    phantom = pd.concat([actions, recorded("IBM", "2012-06-13", 2.0)], ignore_index=True)
    cleaned = cleaning(real, recorded=phantom)
    assert len(splits(cleaned)) == 2
    assert "no one session nearby shows it" in str([one.because for one in cleaned.left])
    cleaned = cleaning(real, "split_not_in_price=remove", recorded=phantom)
    assert splits(cleaned) == AAPL_SPLIT


def test_a_split_that_is_not_on_record_is_recorded_only_if_the_policy_says_so(
    real: pd.DataFrame, actions: pd.DataFrame, cleaning: Clean
) -> None:
    cleaned = cleaning(real, recorded=without_split(actions))
    assert splits(cleaned) == []
    assert found(cleaned, "unapplied_split") == [("AAPL", "2005-02-28")]
    cleaned = cleaning(real, "unapplied_split=record", recorded=without_split(actions))
    assert splits(cleaned) == AAPL_SPLIT
    assert not found(cleaned, "unapplied_split")


def test_a_dividend_that_the_price_denies_is_taken_off_the_record_only_if_the_policy_says_so(
    real: pd.DataFrame, actions: pd.DataFrame, cleaning: Clean
) -> None:
    """IBM's 0.85 USD of 2012-08-08 as 85: the open would have had to fall by 43 %."""
    wrong = actions.copy()
    ibm = (wrong["symbol"] == "IBM") & (wrong["ex_date"] == "2012-08-08")
    assert wrong.loc[ibm, "value"].tolist() == [0.85]
    wrong.loc[ibm, "value"] = 85.0
    day = [("IBM", "2012-08-08")]
    assert found(cleaning(real, recorded=wrong), "wrong_dividend") == day
    cleaned = cleaning(real, "wrong_dividend=remove", recorded=wrong)
    assert not found(cleaned, "wrong_dividend")
    assert len(cleaned.actions) == len(actions) - 1
    assert cleaned.action_changes["kept"].tolist() == [False]
