"""Every fill comes after its decision at a price of its session, or the audit says which does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.closes import Market, Trend

from workbench.data.bars import FIELDS, Bars
from workbench.errors import DataError
from workbench.research import Assumptions, audit_fills, backtest
from workbench.research.result import BacktestResult
from workbench.strategies.base import Strategy

COSTS = Assumptions(slippage_bps=5.0)


class Always(Strategy):
    """Holds whatever trades, in equal parts."""

    def weights(self, bars: Bars) -> pd.DataFrame:
        return bars.close.notna() / len(bars.symbols)


@pytest.fixture(scope="module")
def gaps(lucky: Market) -> Market:
    """The lucky market with opens that are not the closes before."""
    jump = np.exp(np.random.default_rng(2).normal(0, 0.01, lucky.raw.close.shape))
    opens = lucky.raw.open * jump
    frames = {
        "open": opens,
        "high": np.maximum(opens, lucky.raw.close) * 1.001,
        "low": np.minimum(opens, lucky.raw.close) / 1.001,
    }
    return Market(replace(lucky.total, **frames), replace(lucky.raw, **frames), lucky.actions)


@pytest.fixture(scope="module")
def made(gaps: Market) -> BacktestResult:
    end = gaps.raw.sessions[249].date()
    return backtest(Trend(), gaps.total, gaps.raw, gaps.actions, end=end, assumptions=COSTS)


def changed(made: BacktestResult, row: int, **values: Any) -> BacktestResult:
    fills = made.fills.copy()
    for name, value in values.items():
        fills.loc[row, name] = value
    return replace(made, fills=fills)


def close_of(gaps: Market, session: pd.Timestamp, symbol: str) -> float:
    return float(gaps.raw.close.loc[session, symbol])


def test_the_fills_of_an_honest_backtest_are_clean(made: BacktestResult, gaps: Market) -> None:
    audit = audit_fills(made, gaps.raw)
    assert (audit.clean, audit.fault, audit.caution, audit.convention) == (True, "", "", "next_open")
    assert audit.fills == len(made.fills) > 100
    assert str(audit) == f"all {audit.fills} fills come after their decision, at a price of their session"


@pytest.mark.parametrize(
    "assumed",
    [
        Assumptions(fill="next_close", half_spread_bps=3.0, lot=None),
        Assumptions(max_volume_share=0.1, impact=0.1, rebalance="week_end"),
        Assumptions(delisting="last_close", slippage_bps=0.0),
    ],
    ids=["next_close", "impact", "delisting"],
)
def test_every_convention_of_the_kernel_passes_its_audit(gaps: Market, assumed: Assumptions) -> None:
    ended = [getattr(gaps.raw, name).copy() for name in FIELDS]
    for frame in ended:
        frame.iloc[100:, 0] = float("nan")  # delisted in the middle
    bars = dict(zip(FIELDS, ended, strict=True))
    raw, total = replace(gaps.raw, **bars), replace(gaps.total, **bars)
    made = backtest(Always(), total, raw, gaps.actions, end=raw.sessions[249].date(), assumptions=assumed)
    assert (made.orders["status"] == "paid_out").sum() == (assumed.delisting == "last_close")
    audit = audit_fills(made, raw)
    assert audit.fault == ""
    assert audit.fills > 20
    assert audit.caution == ""


def test_filling_at_the_close_that_was_decided_on_is_called_optimistic(gaps: Market) -> None:
    end = gaps.raw.sessions[99].date()
    made = backtest(Trend(), gaps.total, gaps.raw, gaps.actions, end=end, assumptions=Assumptions(fill="close"))
    audit = audit_fills(made, gaps.raw)
    assert audit.clean
    assert "take for granted that it is known before it is made" in audit.caution
    # the same fills do not pass as fills at the next open
    late = replace(made, assumptions=Assumptions())
    assert len(audit_fills(late, gaps.raw).faults) == len(made.fills)


def test_a_fill_at_the_close_that_was_decided_on_is_found_whatever_session_it_claims(
    made: BacktestResult, gaps: Market
) -> None:
    fill = made.fills.iloc[7]
    stale = close_of(gaps, fill["decided"], fill["symbol"])
    audit = audit_fills(changed(made, 7, price=stale), gaps.raw)
    assert "has the price of the close it was decided on" in audit.fault
    assert audit.faults.index.tolist() == [7]
    audit = audit_fills(changed(made, 7, price=stale, session=fill["decided"]), gaps.raw)
    assert "is in the session of its own decision" in audit.fault


def test_a_whole_engine_that_fills_at_the_same_close_is_found(made: BacktestResult, gaps: Market) -> None:
    fills = made.fills.copy()
    fills["price"] = [close_of(gaps, row["decided"], row["symbol"]) for row in fills.to_dict("records")]
    audit = audit_fills(replace(made, fills=fills), gaps.raw)
    # a few opens are as near to that close as slippage is large
    assert len(audit.faults) > 0.95 * len(fills)
    assert f"(and {len(audit.faults) - 1} more)" in audit.fault


def test_a_fill_before_its_decision_outside_the_range_or_at_the_wrong_price_is_found(
    made: BacktestResult, gaps: Market
) -> None:
    fill = made.fills.iloc[3]
    before = gaps.raw.sessions[gaps.raw.sessions.get_loc(fill["decided"]) - 1]
    assert "comes before its decision" in audit_fills(changed(made, 3, session=before), gaps.raw).fault
    assert "outside its session's range" in audit_fills(changed(made, 3, price=fill["price"] * 1.2), gaps.raw).fault
    high = float(gaps.raw.high.loc[fill["session"], fill["symbol"]])
    low = float(gaps.raw.low.loc[fill["session"], fill["symbol"]])
    audit = audit_fills(changed(made, 3, price=(high + low) / 2), gaps.raw)
    assert "is not at the open of its session" in audit.fault


def test_a_fill_better_than_its_reference_price_is_found(made: BacktestResult, gaps: Market) -> None:
    buy = int(made.fills.index[made.fills["side"] == "buy"][0])
    fill = made.fills.loc[buy]
    opening = float(gaps.raw.open.loc[fill["session"], fill["symbol"]])
    assert audit_fills(changed(made, buy, price=opening), gaps.raw).clean  # no slippage is within the assumption
    assert not audit_fills(changed(made, buy, price=opening * 0.9999), gaps.raw).clean


def test_a_fill_without_a_bar_is_an_error_that_names_it(made: BacktestResult, gaps: Market) -> None:
    with pytest.raises(DataError, match="there is no bar for the fill of NONE on"):
        audit_fills(changed(made, 0, symbol="NONE"), gaps.raw)


def test_no_fills_are_clean_and_none(made: BacktestResult, gaps: Market) -> None:
    audit = audit_fills(replace(made, fills=made.fills.iloc[:0]), gaps.raw)
    assert (audit.clean, audit.fills) == (True, 0)
