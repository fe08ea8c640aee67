"""The kernel and the vectorbt engine against the plain reference, on random markets under random assumptions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import plain_backtest as reference

from workbench.data.bars import Bars
from workbench.research import Assumptions, BacktestResult
from workbench.research.engines import kernel, vectorbt_engine
from workbench.research.inputs import Inputs, prepare
from workbench.research.result import Books, build
from workbench.strategies.base import Strategy

FEW = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
NAN = float("nan")
FREE = Assumptions(
    capital_usd=10_000, commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0,
    min_trade_value_usd=0, tolerance=0, lot=None, max_leverage=3.0, allow_short=True,
)  # fmt: skip


class Scripted(Strategy):
    table: Any

    def weights(self, bars: Bars) -> pd.DataFrame:
        return self.table


@st.composite
def assumptions(draw: Any) -> Assumptions:
    """Any convention that the kernel knows, with costs of every kind."""

    def some(*values: Any) -> Any:
        return draw(st.sampled_from(values))

    share = some(None, None, 0.01, 0.3)
    return Assumptions(
        capital_usd=some(10_000.0, 250_000.0), commission_per_share_usd=some(0.0, 0.01),
        commission_per_trade_usd=some(0.0, 0.7), commission_bps=some(0.0, 3.0), commission_min_usd=some(0.0, 1.0),
        commission_max_share=some(None, 0.002), slippage_bps=some(0.0, 7.0), half_spread_bps=some(0.0, 2.5),
        max_volume_share=share, impact=some(0.0, 0.5) if share else 0.0, fill=some("next_open", "next_close", "close"),
        lot=some(None, 1.0, 7.0, 0.01), target="weights", sizing=some("decision", "decision", "fill"),
        rebalance=some("every_session", "on_change", "week_end"),
        cash_buffer=some(0.0, 0.02), min_trade_value_usd=some(0.0, 100.0), tolerance=some(0.0, 0.01),
        compounding=some(True, False), buys=some("in_full", "within_cash"), allow_short=True,
        borrow_rate=some(0.0, 0.1), max_leverage=3.0, debit_rate=some(0.0, 0.08),
        day_count=some("actual/360", "actual/365", "sessions/252"), delisting=some("hold", "last_close"),
    )  # fmt: skip


@st.composite
def markets(draw: Any, width: int = 3, length: int = 25) -> tuple[Bars, Bars, pd.DataFrame, pd.DataFrame]:
    """Raw and split-adjusted bars with gaps, a listing and a delisting; actions; and weights, long and short."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    days = pd.bdate_range("2013-01-02", periods=length, name="session")
    symbols = pd.Index([f"S{number}" for number in range(width)], name="symbol")
    close = 40 * np.cumprod(1 + rng.normal(0, 0.03, (length, width)), axis=0)
    opens = close * (1 + rng.normal(0, 0.01, (length, width)))
    gone = rng.random((length, width)) < 0.05
    gone[: draw(st.integers(0, 6)), 0] = True
    gone[length - draw(st.integers(0, 6)) :, 1] = True
    actions = []
    for _ in range(draw(st.integers(0, 4))):
        at, column = int(rng.integers(1, length)), int(rng.integers(0, width))
        if draw(st.booleans()):
            ratio = float(rng.choice([2.0, 1.5, 0.1, 3.0]))
            opens[at:, column] /= ratio
            close[at:, column] /= ratio
            actions.append((f"S{column}", days[at], "split", ratio))
        else:
            actions.append((f"S{column}", days[at], "dividend", round(float(rng.random()) + 0.01, 2)))
    frames = [pd.DataFrame(np.where(gone, NAN, values), index=days, columns=symbols) for values in (opens, close)]
    volume = pd.DataFrame(np.where(gone, NAN, rng.integers(0, 5000, (length, width))), index=days, columns=symbols)
    parts = (frames[0], frames[1], frames[1], frames[1], volume)
    weights = pd.DataFrame(rng.normal(0.1, 0.4, (length, width)).clip(-0.9, 0.9).round(2), index=days, columns=symbols)
    weights = weights.where(rng.random((length, width)) < 0.7, 0.0).where(frames[1].notna(), 0.0)
    table = pd.DataFrame(actions, columns=["symbol", "ex_date", "kind", "value"])
    table["ex_date"] = pd.to_datetime(table["ex_date"])
    return Bars(*parts, "split", 0), Bars(*parts, "raw", 0), table, weights


def inputs_of(market: Any, assumed: Assumptions) -> Inputs:
    split, raw, actions, weights = market
    return prepare(Scripted(table=weights), split, raw, actions, None, None, assumed)


def made(market: Any, assumed: Assumptions) -> tuple[Inputs, Books, BacktestResult]:
    inputs = inputs_of(market, assumed)
    books = kernel.run(inputs, assumed)
    return inputs, books, build(books, inputs, assumed, "kernel")


@FEW
@given(markets(), assumptions())
def test_kernel_and_vectorbt_give_the_reference_under_any_convention(market: Any, assumed: Assumptions) -> None:
    inputs = inputs_of(market, assumed)
    expected = reference.backtest(inputs, assumed)
    for engine in (kernel, vectorbt_engine):
        if engine.refusal(assumed) is not None:  # vectorbt, of shares counted at the fill; the kernel refuses nothing
            continue
        books = engine.run(inputs, assumed)
        np.testing.assert_allclose(books.positions, reference.rows(inputs, expected), rtol=1e-7, atol=1e-6)
        np.testing.assert_allclose(books.equity, expected.equity, rtol=1e-9, atol=1e-5)
        np.testing.assert_allclose(books.cash, expected.cash, rtol=1e-9, atol=1e-5)
        filled = books.records[books.records[:, 4] != 0.0]
        assert len(filled) == len(expected.fills)
        np.testing.assert_allclose(filled[:, 5], [fill[3] for fill in expected.fills], rtol=1e-9)


@FEW
@given(markets(), assumptions())
def test_every_dollar_is_accounted_for(market: Any, assumed: Assumptions) -> None:
    _, books, result = made(market, assumed)
    sign = np.where(result.fills["side"] == "buy", 1.0, -1.0)
    spent = (sign * result.fills["quantity"] * result.fills["price"] + result.fills["fee"]).sum()
    paid = result.cashflows.to_numpy().sum()
    assert result.cash.iloc[-1] == pytest.approx(assumed.capital_usd - spent + paid, abs=1e-6)
    held = (books.positions * np.nan_to_num(books.marks)).sum(axis=1)
    np.testing.assert_allclose(books.equity, books.cash + held, atol=1e-7)
    # The round trips are the whole story too.
    earned = result.trades["pnl"].sum() + result.cashflows["interest"].sum()
    assert earned == pytest.approx(result.equity.iloc[-1] - assumed.capital_usd, abs=1e-5)
    assert (result.cashflows[["borrow", "interest"]] <= 0).all(axis=None)


@FEW
@given(markets(), assumptions())
def test_nothing_is_earned_where_prices_never_move(market: Any, assumed: Assumptions) -> None:
    _, raw, actions, weights = market
    flat = [frame.where(frame.isna(), 50.0) for frame in (raw.open, raw.close)]
    parts = (flat[0], flat[1], flat[1], flat[1], raw.volume)
    still = (Bars(*parts, "split", 0), Bars(*parts, "raw", 0), actions.iloc[:0], weights)
    _, _, result = made(still, assumed)
    costs = result.fills["fee"].sum() - result.cashflows[["borrow", "interest"]].to_numpy().sum()
    assert result.equity.iloc[-1] <= assumed.capital_usd - costs + 1e-6
    assert (result.equity.diff().iloc[1:] <= 1e-6).all()


@FEW
@given(markets(), st.sampled_from([2.0, 10.0, 0.5]))
def test_twice_the_capital_without_fixed_costs_is_twice_the_equity(market: Any, times: float) -> None:
    costs = replace(FREE, commission_bps=4, slippage_bps=3, debit_rate=0.05, borrow_rate=0.02)
    small, large = (made(market, replace(costs, capital_usd=10_000 * scale))[2] for scale in (1.0, times))
    assume((small.equity > 100).all())
    np.testing.assert_allclose(large.equity, times * small.equity, rtol=1e-7)


@FEW
@given(markets())
def test_opposite_weights_earn_the_opposite_where_it_holds(market: Any) -> None:
    # Of the capital instead of equity, in fractions, free of costs: each session's gain is linear in the weights.
    split, raw, actions, weights = market
    costs = replace(FREE, compounding=False, capital_usd=1_000_000)
    long = made((split, raw, actions, 0.1 * weights), costs)[2]
    short = made((split, raw, actions, -0.1 * weights), costs)[2]
    np.testing.assert_allclose(long.equity - 1_000_000, -(short.equity - 1_000_000), atol=1e-5)


@FEW
@given(markets(), assumptions())
def test_scaling_prices_up_and_shares_down_changes_nothing(market: Any, assumed: Assumptions) -> None:
    _, raw, actions, weights = market
    assumed = replace(
        assumed, lot=None, commission_per_share_usd=0, max_volume_share=None, impact=0.0, target="weights"
    )
    before = made(market, assumed)[2]
    parts = [frame * 4.0 for frame in (raw.open, raw.high, raw.low, raw.close)]
    dear = actions.assign(value=actions["value"].where(actions["kind"] == "split", 4.0 * actions["value"]))
    after = made((Bars(*parts, raw.volume, "split", 0), Bars(*parts, raw.volume, "raw", 0), dear, weights), assumed)[2]
    np.testing.assert_allclose(after.equity, before.equity, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(after.positions * 4.0, before.positions, rtol=1e-7, atol=1e-7)
