from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.data.actions import derive_actions
from workbench.data.sample import read_sample


@pytest.fixture(scope="module")
def derived(sample_folder: Path) -> pd.DataFrame:
    return read_sample(sample_folder)[0].actions


def of(actions: pd.DataFrame, symbol: str, kind: str) -> dict[str, float]:
    rows = actions[(actions["symbol"] == symbol) & (actions["kind"] == kind)]
    return dict(zip(rows["ex_date"].dt.strftime("%Y-%m-%d"), rows["value"], strict=True))


def test_the_splits_of_2000_to_2013_are_found_and_no_other(derived: pd.DataFrame) -> None:
    # Company histories: Apple 2:1 in June 2000 and February 2005, Microsoft 2:1 in February 2003.
    splits = derived[derived["kind"] == "split"]
    assert of(derived, "AAPL", "split") == {"2000-06-21": 2.0, "2005-02-28": 2.0}
    assert of(derived, "MSFT", "split") == {"2003-02-18": 2.0}
    assert len(splits) == 3  # so AAPL's fall by 51.9 % on 2000-09-29 is none


def test_dividends_come_out_to_the_cent_that_was_paid(derived: pd.DataFrame) -> None:
    # Company announcements; 3.08 is Microsoft's special dividend of 3.00 with the ordinary 0.08.
    assert of(derived, "AAPL", "dividend") == {"2012-08-09": 2.65, "2012-11-07": 2.65, "2013-02-07": 2.65}
    microsoft = of(derived, "MSFT", "dividend")
    assert microsoft["2004-11-15"] == 3.08
    assert microsoft["2013-02-19"] == 0.23
    assert of(derived, "IBM", "dividend")["2013-02-06"] == 0.85


def test_ibm_paid_every_quarter_and_nothing_else_was_derived(derived: pd.DataFrame) -> None:
    days = pd.DatetimeIndex(list(of(derived, "IBM", "dividend")))
    quarters = days.to_period("Q")
    # from the second quarter of 2000 to the first of 2013: 52 quarters, one dividend each
    assert quarters.tolist() == pd.period_range("2000Q2", "2013Q1", freq="Q").tolist()
    assert not of(derived, "GOOG", "dividend")
    assert not of(derived, "FB", "dividend")
    assert len(derived) == 3 + 3 + 52 + 37


def test_a_constant_factor_is_no_action(derived: pd.DataFrame) -> None:
    # GOOG's adjusted close is 0.50157 of its close on all rows: a split after the file ends.
    assert "GOOG" not in set(derived["symbol"])


def derive(closes: list[float], adjusted: list[float], decimals: int, opens: list[float] | None = None) -> list[list]:
    days = pd.bdate_range("2013-01-02", periods=len(closes))
    found = derive_actions(
        "X", days, np.array(opens or closes), np.array(closes), np.array(adjusted), decimals=decimals
    )
    return found[["kind", "value"]].to_numpy().tolist()


def test_a_split_and_a_dividend_on_one_day_are_told_apart() -> None:
    # 3:2 with 0.50 on a close of 40: factor before = 1/1.5 / (1 + 0.5/40) = 0.658436...
    before = 60.6 * (1 / 1.5) / (1 + 0.5 / 40)
    assert derive([60.6, 40.0], [before, 40.0], 10) == [["split", 1.5], ["dividend", 0.5]]


def test_a_reverse_split_is_found() -> None:
    assert derive([1.0, 10.1], [10.0, 10.1], 2) == [["split", 0.1]]


def test_a_large_dividend_is_not_taken_for_a_split() -> None:
    # 4.00 on a close of 18.00: the factor 1.2222 is 11/9, which no company splits by
    before = 22.0 / (1 + 4 / 18)
    assert derive([22.0, 18.0], [before, 18.0], 10) == [["dividend", 4.0]]


def test_a_factor_of_two_without_a_fall_of_the_raw_price_is_no_split() -> None:
    # Adjusted doubles, raw stands still: if anything it is a dividend of the whole price.
    assert derive([50.0, 50.0], [25.0, 50.0], 4) == [["dividend", 50.0]]


@example(closes=[11.25, 83.29], scale=0.5, decimals=2)  # both roundings at their worst, in opposite directions
@given(
    closes=st.lists(st.integers(500, 50_000).map(lambda cents: cents / 100), min_size=2, max_size=40),
    scale=st.floats(0.05, 1.0),
    decimals=st.integers(2, 6),
)
def test_rounding_of_the_printed_adjusted_close_never_becomes_an_action(
    closes: list[float], scale: float, decimals: int
) -> None:
    # at least 0.25 USD, so that two decimals still say something
    assert derive(closes, [round(close * scale, decimals) for close in closes], decimals) == []


def test_one_row_has_no_actions() -> None:
    assert derive([10.0], [10.0], 2) == []
