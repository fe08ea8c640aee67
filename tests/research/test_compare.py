"""Comparing two sets of books, and naming every cent of the difference."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.research import Assumptions, BacktestResult, backtest, compare

PLAIN = Assumptions(
    capital_usd=10_000, commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0,
    min_trade_value_usd=0, tolerance=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def books(sample: Any, holder: Any) -> BacktestResult:
    return backtest(
        holder,
        sample.split,
        sample.raw,
        sample.actions,
        start=date(2013, 1, 2),
        end=date(2013, 3, 1),
        assumptions=Assumptions(),
    )


def test_the_same_books_differ_nowhere(books: BacktestResult) -> None:
    made = compare(books, books)
    assert made.summary == {
        "sessions": 41,
        "max_difference_usd": 0.0,
        "final_difference_usd": 0.0,
        "first_difference": None,
        "differing_fills": 0,
        "unexplained_usd": 0.0,
    }
    assert list(made.equity.columns) == ["kernel 1", "kernel 2", "difference"]
    assert made.parts.empty


def test_half_a_cent_is_the_first_difference(books: BacktestResult) -> None:
    other = books.equity.copy()
    other.iloc[10:] += 0.004
    other.iloc[20:] += 0.002
    made = compare(books, replace(books, equity=other, engine="other"))
    assert made.first_difference == books.equity.index[20]
    assert not made.equal_to_the_cent
    assert made.max_difference_usd == pytest.approx(0.006)
    assert made.summary["first_difference"] == books.equity.index[20].date()
    # Nothing in the books accounts for it.
    assert not made.explained_to_the_cent
    assert made.parts.to_dict() == pytest.approx({"unexplained": 0.006})


def test_missing_and_changed_fills_are_listed(books: BacktestResult) -> None:
    fills = books.fills.iloc[1:].copy()
    fills.iloc[0, fills.columns.get_loc("fee")] += 0.01
    made = compare(books, replace(books, fills=fills, engine="other"))
    assert len(made.fills) == 2
    assert made.fills["quantity other"].isna().sum() == 1
    changed = made.fills.dropna().iloc[0]
    assert changed["fee other"] - changed["fee kernel"] == pytest.approx(0.01)
    assert changed["fees_usd"] == pytest.approx(-0.01)
    assert changed["cause"] == ""


def test_different_windows_and_symbols_are_refused(books: BacktestResult) -> None:
    with pytest.raises(DataError, match="cover different sessions"):
        compare(books, replace(books, equity=books.equity.iloc[1:]))
    with pytest.raises(DataError, match="cover different symbols"):
        compare(books, replace(books, positions=books.positions.iloc[:, 1:]))


def test_comparing_does_not_change_what_it_compares(books: BacktestResult) -> None:
    before = books.fills.copy()
    compare(books, books)
    pd.testing.assert_frame_equal(books.fills, before)


# Changes below two fifths of equity are not traded: one purchase, one sale.
HELD = replace(PLAIN, tolerance=0.4)


def differ(market: Any, scripted: Any, weights: list[float], first: Assumptions = HELD, **changed: Any) -> Any:
    """Compare two runs on a price that rises by a dollar a session from 10, opens and closes alike."""
    prices = {"A": [10.0, 11.0, 12.0, 13.0, 14.0]}
    made = market(prices, prices)
    given = (scripted(pd.DataFrame({"A": weights}, index=made.raw.sessions)), made.split, made.raw, made.actions)
    found = compare(backtest(*given, assumptions=first), backtest(*given, assumptions=replace(first, **changed)))
    assert found.explained_to_the_cent
    total = found.attribution.sum(axis=1)
    pd.testing.assert_series_equal(total, found.equity["difference"], check_names=False, atol=1e-8)
    return found


def test_another_price_of_the_same_shares_is_a_difference_of_fill_price(market: Any, scripted: Any) -> None:
    # 500 shares in at 11 and out at 14, each 1 % worse: 500 x 0.11 + 500 x 0.14.
    made = differ(market, scripted, [0.5, 0.5, 0.5, 0, 0], slippage_bps=100)
    assert made.parts.to_dict() == pytest.approx({"fill_price": -55.0 - 70.0})
    assert made.fills["fill_price_usd"].tolist() == pytest.approx([-55.0, -70.0])
    assert made.fills["cause"].tolist() == ["", ""]


def test_another_fee_is_a_difference_of_fees(market: Any, scripted: Any) -> None:
    made = differ(market, scripted, [0.5, 0.5, 0.5, 0, 0], commission_per_trade_usd=3)
    assert made.parts.to_dict() == pytest.approx({"fees": -6.0})
    assert made.fills["fees_usd"].tolist() == [-3.0, -3.0]


def test_a_part_of_a_lot_is_a_difference_of_rounding(market: Any, scripted: Any) -> None:
    # 10000 x 0.55 / 10 = 550 shares, in lots of 60 only 540; the ten rise from 11 to 13.
    made = differ(market, scripted, [0.55, 0.55, 0, 0, 0], lot=60)
    assert made.parts.to_dict() == pytest.approx({"rounding": -20.0})
    assert set(made.fills["cause"]) == {"rounding"}


def test_the_same_trade_a_session_later_is_a_difference_of_timing(market: Any, scripted: Any) -> None:
    prices = {"A": [10.0, 11.0, 12.0, 13.0, 14.0]}
    made = market(prices, prices)
    rows = ([0.5, 0.5, 0.5, 0, 0], [0, 0.55, 0.55, 0, 0])
    tables = [pd.DataFrame({"A": row}, index=made.raw.sessions) for row in rows]
    runs = [backtest(scripted(one), made.split, made.raw, made.actions, assumptions=HELD) for one in tables]
    found = compare(*runs)
    # 10000 x 0.5 / 10 = 500 shares in at 11; 10000 x 0.55 / 11 = 500 shares a session later at 12: a dollar each.
    assert found.parts.to_dict() == pytest.approx({"timing": -500.0})
    assert found.fills["cause"].tolist() == ["timing", "timing"]


def test_an_order_that_volume_cuts_is_a_difference_of_liquidity(market: Any, scripted: Any) -> None:
    # The market of these tests trades as many shares as its price: half of 11 is 5 of the 500 shares ordered.
    made = differ(market, scripted, [0.5, 0, 0, 0, 0], max_volume_share=0.5)
    assert made.parts.index.tolist() == ["liquidity"]
    # 495 shares are missing on the way from 11 to 12.
    assert made.equity["difference"].tolist() == pytest.approx([0, 0, -495, -495, -495])
    assert set(made.fills["cause"]) == {"liquidity"}


def test_shares_decided_on_another_share_of_equity_are_a_difference_of_sizing(market: Any, scripted: Any) -> None:
    made = differ(market, scripted, [0.5, 0.5, 0.5, 0, 0], cash_buffer=0.1)
    # 50 shares fewer from 11 to 14.
    assert made.parts.to_dict() == pytest.approx({"sizing": -150.0})


def test_interest_and_borrowing_are_parts_of_their_own(market: Any, scripted: Any) -> None:
    costs = replace(PLAIN, max_leverage=2.0, allow_short=True, tolerance=0.9)
    lent = differ(market, scripted, [2, 2, 2, 2, 2], costs, debit_rate=0.36)
    # 2000 shares at 11 on Thursday leave -12000. At 0.1 % a day Friday costs 12.00, Monday three days on 12012 and
    # Tuesday one on 12048.036.
    assert lent.parts.to_dict() == pytest.approx({"interest": -(12.0 + 36.036 + 12.048036)})
    short = differ(market, scripted, [-1, -1, -1, -1, -1], costs, borrow_rate=0.36)
    # 1000 shares, each day 0.1 % of the close before: 11 for a day, 12 for the three of the weekend, 13 for one.
    assert short.parts.to_dict() == pytest.approx({"borrow": -(11.0 + 36.0 + 13.0)})
    days = differ(market, scripted, [-1, -1, -1, -1, -1], replace(costs, day_count="sessions/252"), borrow_rate=0.252)
    assert days.parts.to_dict() == pytest.approx({"borrow": -(11.0 + 12.0 + 13.0)})
