from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest

from workbench.domain import Activity, ActivityKind
from workbench.reports import figures, tables


def series(values: dict[str, float]) -> pd.Series[float]:
    return pd.Series(list(values.values()), index=pd.DatetimeIndex(list(values)))


def test_buy_and_hold_leaves_out_what_did_not_trade_at_the_start():
    closes = pd.DataFrame({"A": [10.0, 12.0, 15.0], "B": [None, 5.0, 50.0], "C": [4.0, None, 2.0]})
    # A: 1, 1.2, 1.5; C: 1, 1 (kept over the gap), 0.5; B is not bought
    assert figures.buy_and_hold(closes, 200.0).tolist() == pytest.approx([200.0, 220.0, 200.0])


def test_buy_and_hold_of_nothing_is_empty():
    assert figures.buy_and_hold(pd.DataFrame(), 100.0).empty
    assert figures.buy_and_hold(pd.DataFrame({"A": [None, 1.0]}), 100.0).empty


def test_a_month_runs_from_the_last_close_of_the_month_before():
    wealth = series({"2012-11-05": 100, "2012-11-30": 110, "2012-12-31": 99, "2013-01-31": 108.9})
    # November 110/100, December 99/110, January 108.9/99; 2012 is 99/100
    assert figures.monthly_returns(wealth) == {2012: {11: 0.1, 12: -0.1, 0: -0.01}, 2013: {1: 0.1, 0: 0.1}}


def test_metrics_of_the_story_are_those_worked_out_by_hand(told):
    rows, fills = tables.equity(told.journal), tables.counted_fills(told.journal, account="paper")
    values = figures.summary(figures.equity_frame(rows), fills)
    assert values["total_return"] == pytest.approx(0.0883991)
    assert values["fees_usd"] == 4.0
    # 4000.80 + 4000.80 + 545.109 + 1499.70 traded; 19 of 252 sessions
    mean = sum(float(row["equity"]) for row in rows) / 20
    assert values["turnover"] == pytest.approx(10046.409 / mean / (19 / 252))


def test_metrics_leave_money_paid_in_out(story):
    story.play(2)
    deposit = Activity("D2", ActivityKind.DEPOSIT, "", story.sessions[2], Decimal(0), Decimal(5000), story.clock.now())
    story.ledger.record("paper", "paper", [], [deposit])
    story.play(3)
    values = figures.summary(figures.equity_frame(tables.equity(story.journal)), [])
    # 10036.40 / 10000, then 15076.40 / 15036.40
    assert values["total_return"] == pytest.approx(1.00364 * 15076.40 / 15036.40 - 1)
    assert values["final_equity_usd"] == pytest.approx(15076.40)
