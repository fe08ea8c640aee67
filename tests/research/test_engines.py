"""The three engines against each other, on real prices with real splits and dividends.

They share the weights and nothing else: cash, positions, fees and marking are each engine's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench import strategies
from workbench.data.bars import FIELDS, Bars
from workbench.errors import ConfigError, DataError
from workbench.research import Assumptions, BacktestResult, backtest, compare

NAN = float("nan")
WINDOWS = {
    "dividends of three symbols": (date(2013, 1, 2), date(2013, 3, 1)),
    "split of AAPL in 2005": (date(2005, 2, 1), date(2005, 3, 31)),
    "split of MSFT in 2003": (date(2003, 1, 15), date(2003, 3, 31)),
    "two years with listings": (date(2011, 6, 1), date(2013, 3, 1)),
}
STRATEGIES = [("momentum", {}), ("moving_average", {})]
COMMON = Assumptions()
# What both zipline and vectorbt can express, one convention after the other.
CONVENTIONS = {
    "at the next close": {"fill": "next_close"},
    "zipline's own volume share slippage": {
        "fill": "next_close", "slippage_bps": 0.0, "max_volume_share": 0.0001, "impact": 0.1,
    },
    "zipline without slippage": {"fill": "next_close", "slippage_bps": 0.0},
    "a share of the volume at the open": {"max_volume_share": 0.0001, "impact": 10.0, "half_spread_bps": 1.0},
    "every kind of fee": {
        "commission_per_trade_usd": 0.5, "commission_bps": 1.0, "commission_min_usd": 2.0,
        "commission_max_share": 0.001,
    },
    "lots of ten, every month": {"lot": 10.0, "rebalance": "month_end"},
    "on change": {"rebalance": "on_change", "min_trade_value_usd": 0.0, "tolerance": 0.0},
    "without compounding": {"compounding": False},
    "leverage with interest": {"max_leverage": 2.0, "debit_rate": 0.06, "day_count": "actual/365", "cash_buffer": 0.0},
}  # fmt: skip


def agree(a: BacktestResult, b: BacktestResult) -> None:
    made = compare(a, b)
    assert made.equal_to_the_cent, made.summary
    assert made.max_difference_usd < 1e-6
    assert made.fills.empty
    assert made.parts.empty
    assert made.explained_to_the_cent
    pd.testing.assert_frame_equal(a.positions, b.positions)
    pd.testing.assert_frame_equal(a.orders, b.orders)
    pd.testing.assert_frame_equal(a.trades, b.trades)
    pd.testing.assert_frame_equal(a.cashflows, b.cashflows, atol=1e-9)


@pytest.mark.parametrize(("name", "parameters"), STRATEGIES)
def test_three_engines_agree_to_the_cent_on_the_whole_sample(
    sample: Any, name: str, parameters: dict[str, object]
) -> None:
    strategy = strategies.load(name, parameters)
    made = {
        engine: backtest(strategy, sample.split, sample.raw, sample.actions, assumptions=COMMON, engine=engine)
        for engine in ("kernel", "vectorbt", "zipline")
    }
    assert len(made["kernel"].fills) > 100
    agree(made["kernel"], made["vectorbt"])
    agree(made["kernel"], made["zipline"])
    assert [one.engine for one in made.values()] == list(made)


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS.keys())
def test_three_engines_agree_around_splits_and_dividends(sample: Any, holder: Any, window: tuple[date, date]) -> None:
    how = {"start": window[0], "end": window[1], "assumptions": COMMON}
    ours = backtest(holder, sample.split, sample.raw, sample.actions, **how)
    for engine in ("vectorbt", "zipline"):
        agree(ours, backtest(holder, sample.split, sample.raw, sample.actions, engine=engine, **how))


@pytest.mark.parametrize("changed", CONVENTIONS.values(), ids=CONVENTIONS.keys())
def test_three_engines_agree_under_each_convention(sample: Any, scripted: Any, changed: dict[str, Any]) -> None:
    assumed = replace(COMMON, **changed)
    weights = strategies.load("momentum", {"lookback": 20, "top": 3}).weights(sample.split) * assumed.max_leverage
    how = {"start": date(2003, 1, 2), "end": date(2005, 4, 1), "assumptions": assumed}
    ours = backtest(scripted(weights), sample.split, sample.raw, sample.actions, **how)
    usual = backtest(scripted(weights), sample.split, sample.raw, sample.actions, **how | {
        "assumptions": replace(COMMON, max_leverage=assumed.max_leverage)})  # fmt: skip
    assert not compare(usual, ours).equal_to_the_cent, "the convention makes no difference here"
    for engine in ("vectorbt", "zipline"):
        agree(ours, backtest(scripted(weights), sample.split, sample.raw, sample.actions, engine=engine, **how))


def test_three_engines_agree_on_short_positions_that_pay_dividends_and_borrowing(sample: Any, scripted: Any) -> None:
    weights = pd.DataFrame(0.0, index=sample.raw.sessions, columns=sample.raw.close.columns)
    weights["IBM"], weights["AAPL"], weights["MSFT"] = -0.3, 0.5, -0.2
    assumed = replace(COMMON, allow_short=True, borrow_rate=0.03)
    # AAPL splits 2:1 in the first window; all three go ex dividend in the second.
    for start, end in ((date(2005, 1, 3), date(2005, 6, 1)), (date(2013, 1, 2), date(2013, 3, 1))):
        how = {"start": start, "end": end, "assumptions": assumed}
        ours = backtest(scripted(weights), sample.split, sample.raw, sample.actions, **how)
        assert (ours.cashflows["borrow"].iloc[3:] < 0).all()
        for engine in ("vectorbt", "zipline"):
            agree(ours, backtest(scripted(weights), sample.split, sample.raw, sample.actions, engine=engine, **how))
    paid = ours.cashflows["dividends"]
    # IBM paid 0.85 on its ex-date to whoever the shares were borrowed from.
    assert paid.loc["2013-02-06"] == pytest.approx(0.85 * ours.positions.loc["2013-02-05", "IBM"])
    assert paid.loc["2013-02-06"] < -100


def test_three_engines_pay_out_a_delisted_position_or_keep_it(sample: Any, scripted: Any) -> None:
    weights = pd.DataFrame(0.0, index=sample.raw.sessions, columns=sample.raw.close.columns)
    weights.loc[:"2012-12-31", ["IBM", "MSFT"]] = 0.4
    weights.loc["2013-01-01":, "MSFT"] = 0.4
    raw = Bars(**{name: getattr(sample.raw, name).copy() for name in FIELDS}, adjustment="raw", snapshot=0)
    for name in FIELDS:
        getattr(raw, name).loc["2013-01-01":, "IBM"] = NAN
    how = {"start": date(2012, 12, 3), "end": date(2013, 3, 1)}
    last = sample.raw.close.loc["2012-12-31", "IBM"]
    for delisting in ("hold", "last_close"):
        assumed = replace(COMMON, delisting=delisting, tolerance=0.3)
        ours = backtest(scripted(weights), sample.split, raw, sample.actions, assumptions=assumed, **how)
        held = ours.positions.loc["2012-12-31", "IBM"]
        assert held > 100
        assert ours.positions.loc["2013-01-02", "IBM"] == (held if delisting == "hold" else 0)
        if delisting == "last_close":
            out = ours.orders.iloc[-1]
            assert (out["status"], out["price"], out["filled"], out["fee"]) == ("paid_out", last, held, 0)
            assert ours.cash.diff().loc["2013-01-02"] == pytest.approx(held * last, abs=1e-6)
        assert any("IBM has no bars after 2012-12-31" in flag for flag in ours.flags)
        for engine in ("vectorbt", "zipline"):
            made = backtest(
                scripted(weights), sample.split, raw, sample.actions, engine=engine, assumptions=assumed, **how
            )
            assert compare(ours, made).equal_to_the_cent, engine
            assert made.flags == ours.flags


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fill": "close"}, "fill='close': it fills an order in the next session at the earliest"),
        ({"lot": None}, "lot=None: it trades whole shares"),
        ({"lot": 0.5}, "lot=0.5: it trades whole shares"),
        ({"buys": "within_cash"}, "buys='within_cash': it lets cash go below zero"),
        ({"sizing": "fill"}, "sizing='fill': it counts the shares when they are ordered"),
    ],
)
def test_zipline_refuses_what_it_cannot_express(sample: Any, holder: Any, changed: Any, message: str) -> None:
    assumed = replace(COMMON, **changed)
    with pytest.raises(ConfigError, match=f"zipline cannot express {message}; the kernel can"):
        backtest(holder, sample.split, sample.raw, sample.actions, assumptions=assumed, engine="zipline")


def test_an_unknown_engine_is_refused_with_the_nearest_name(sample: Any, holder: Any) -> None:
    with pytest.raises(ConfigError, match="no engine 'zipiline'; did you mean zipline"):
        backtest(holder, sample.split, sample.raw, sample.actions, engine="zipiline")  # type: ignore[arg-type]


def test_an_order_waiting_through_a_split_is_doubled_in_every_engine(sample: Any, scripted: Any) -> None:
    # In on the close before AAPL's split of 2005-02-28, out on the close before MSFT's rise of nothing.
    days = sample.raw.between(date(2005, 2, 24), date(2005, 3, 4)).sessions
    table = pd.DataFrame({"AAPL": [0.0, 0.6, 0.6, 0.0, 0.0, 0.0, 0.0]}, index=days)
    how = {"start": days[0].date(), "end": days[-1].date(), "assumptions": COMMON}
    ours = backtest(scripted(table), sample.split, sample.raw, sample.actions, **how)
    # 100000 x 0.98 x 0.6 / 88.99, the raw close of 2005-02-25, is 660 shares, and 1320 after the split.
    assert ours.fills["quantity"].iloc[0] == 2 * (98_000 * 0.6 // sample.raw.close.loc["2005-02-25", "AAPL"])
    for engine in ("vectorbt", "zipline"):
        agree(ours, backtest(scripted(table), sample.split, sample.raw, sample.actions, engine=engine, **how))


def test_zipline_pays_the_fraction_of_a_split_share_at_cost_and_the_comparison_says_so(
    market: Any, scripted: Any
) -> None:
    made = market({"A": [49, 51, 36, 36]}, {"A": [50, 52, 36, 36]}, [("A", "2013-01-04", "split", 1.5)])
    costs = Assumptions(capital_usd=10_000, cash_buffer=0.0, slippage_bps=0, tolerance=0.4)
    strategy = scripted(pd.DataFrame({"A": [0.505, 0.505, 0.505, 0.505]}, index=made.raw.sessions))
    given = (strategy, made.split, made.raw, made.actions)
    ours = backtest(*given, assumptions=costs)
    theirs = backtest(*given, assumptions=costs, engine="zipline")
    found = compare(ours, theirs)
    # 101 shares cost 51 each and 1 of fee: (5151 + 1) / 101 / 1.5 = 34.0066 -> 34.01 a share after the
    # split; half of it is 17.005, which floats round to 17.00. The open is 36, half of it 18.00.
    assert found.equity["difference"].tolist() == pytest.approx([0, 0, -1.00, -1.00], abs=0.006)
    assert found.parts.to_dict() == pytest.approx({"fractions": found.equity["difference"].iloc[-1]})
    assert found.explained_to_the_cent
    assert ours.cashflows["fractions"].tolist() == pytest.approx([0, 0, 18.0, 0])
    pd.testing.assert_frame_equal(ours.positions, theirs.positions)
    agree(ours, backtest(*given, assumptions=costs, engine="vectorbt"))


def test_zipline_pays_a_dividend_of_the_split_day_on_the_shares_before(market: Any, scripted: Any) -> None:
    actions = [("A", "2013-01-04", "split", 2.0), ("A", "2013-01-04", "dividend", 0.25)]
    made = market({"A": [50, 50, 25, 25]}, {"A": [50, 50, 25, 25]}, actions)
    costs = Assumptions(capital_usd=10_000, slippage_bps=0, tolerance=0.4)
    strategy = scripted(pd.DataFrame({"A": [0.5] * 4}, index=made.raw.sessions))
    given = (strategy, made.split, made.raw, made.actions)
    ours = backtest(*given, assumptions=costs)
    found = compare(ours, backtest(*given, assumptions=costs, engine="zipline"))
    # 98 shares are 196 after the split: 49.00 by the convention, 24.50 in zipline.
    assert found.equity["difference"].tolist() == pytest.approx([0, 0, -24.5, -24.5], abs=1e-9)
    assert found.parts.to_dict() == pytest.approx({"dividends": -24.5})


def test_every_engine_expires_an_order_that_meets_no_bar(market: Any, scripted: Any) -> None:
    prices = {"A": [10, NAN, 11, 12], "B": [10, 10, 10, 10]}
    made = market(prices, prices)
    strategy = scripted(pd.DataFrame({"A": [0.5, 0, 0, 0], "B": [0.4] * 4}, index=made.raw.sessions))
    for engine in ("kernel", "vectorbt", "zipline"):
        done = backtest(strategy, made.split, made.raw, made.actions, assumptions=COMMON, engine=engine)
        assert done.fills["symbol"].tolist() == ["B"]
        assert done.orders[["symbol", "status"]].to_numpy().tolist() == [["A", "expired"], ["B", "filled"]]
        assert done.flags == ("1 of 2 orders found no bar, volume or cash and expired",)


def test_every_engine_marks_a_symbol_without_a_bar_at_its_last_close(market: Any, scripted: Any) -> None:
    prices = {"A": [50, 50, NAN, 25, 26], "B": [10.0, 10, 10, 10, 10]}
    made = market(prices, prices, [("A", "2013-01-04", "split", 2.0)])
    strategy = scripted(pd.DataFrame({"A": [0.5, 0.5, 0, 0.5, 0.5]}, index=made.raw.sessions))
    ours = backtest(strategy, made.split, made.raw, made.actions, assumptions=COMMON)
    assert ours.marks["A"].tolist() == [50, 50, 25, 25, 26]
    assert ours.equity.iloc[2] == pytest.approx(ours.equity.iloc[1])
    for engine in ("vectorbt", "zipline"):
        agree(ours, backtest(strategy, made.split, made.raw, made.actions, assumptions=COMMON, engine=engine))


def test_zipline_refuses_bars_that_skip_a_session(market: Any, holder: Any) -> None:
    made = market({"A": [10] * 14}, {"A": [10] * 14})  # business days: one is Martin Luther King's day
    with pytest.raises(DataError, match="2013-01-21 is not a session of XNYS"):
        backtest(holder, made.split, made.raw, made.actions, engine="zipline")
    rows = [0, 1, 3, 4]
    gapped = [type(b)(*[b.close.iloc[rows]] * 5, b.adjustment, 0) for b in (made.split, made.raw)]
    with pytest.raises(DataError, match="2013-01-04 is missing from the bars"):
        backtest(holder, *gapped, made.actions, engine="zipline")


@pytest.mark.parametrize("engine", ["vectorbt", "zipline"])
def test_the_slower_engines_show_every_session_they_go_through(sample: Any, engine: Any) -> None:
    how = {"start": date(2013, 1, 2), "end": date(2013, 3, 1), "assumptions": COMMON, "engine": engine}
    strategy = strategies.load("momentum", {})
    seen: list[int] = []

    def watch(events: Iterable[Any], *, total: int, unit: str) -> Iterator[Any]:
        assert (total, unit) == (41, "session")
        for event in events:
            seen.append(1)
            yield event

    watched = backtest(strategy, sample.split, sample.raw, sample.actions, progress=watch, **how)
    alone = backtest(strategy, sample.split, sample.raw, sample.actions, **how)
    assert len(seen) == 41
    pd.testing.assert_series_equal(watched.equity, alone.equity)


def test_the_kernel_gives_what_vectorbts_own_portfolio_gives(sample: Any, scripted: Any) -> None:
    import vectorbt as vbt

    # The crossover of vectorbt's documentation: all in or all out at the close of the signal, fractions of a share.
    close = sample.split.close[["IBM"]]  # IBM had no split and, but for 2013, no dividend in this sample
    fast, slow = (close.rolling(sessions).mean() for sessions in (10, 50))
    entries, exits = (fast > slow) & ~(fast > slow).shift(1, fill_value=False), (fast < slow)
    exits &= ~(fast < slow).shift(1, fill_value=False)
    theirs = vbt.Portfolio.from_signals(close, entries, exits, init_cash=10_000, fees=0.001, freq="1D")
    assumed = Assumptions(
        capital_usd=10_000, commission_per_share_usd=0, commission_min_usd=0, commission_bps=10, slippage_bps=0,
        cash_buffer=0, min_trade_value_usd=0, tolerance=0, fill="close", lot=None, rebalance="on_change",
        buys="within_cash", sessions_per_year=365,
    )  # fmt: skip
    weights = (fast > slow).astype(float)
    bars = [b.select(["IBM"]) for b in (sample.split, sample.raw)]
    for engine in ("kernel", "vectorbt"):
        made = backtest(scripted(weights), *bars, sample.actions.iloc[:0], assumptions=assumed, engine=engine)
        np.testing.assert_allclose(made.equity, theirs.value()["IBM"].to_numpy(), rtol=1e-12)
        trades = theirs.exit_trades.records_readable
        assert len(trades) == len(made.trades) > 30
        np.testing.assert_allclose(made.trades["pnl"], trades["PnL"], atol=1e-8)
        np.testing.assert_allclose(made.trades["return"], trades["Return"], atol=1e-12)
        np.testing.assert_allclose(made.trades["entry_price"], trades["Avg Entry Price"], rtol=1e-12)
        assert made.trades["entered"].tolist() == trades["Entry Timestamp"].tolist()
        assert made.metrics["total_return"] == pytest.approx(theirs.total_return().iloc[0], rel=1e-12)
        assert made.metrics["max_drawdown"] == pytest.approx(theirs.max_drawdown().iloc[0], rel=1e-12)
        assert made.metrics["sharpe"] == pytest.approx(theirs.sharpe_ratio().iloc[0], rel=1e-9)
        assert made.metrics["win_rate"] == pytest.approx(theirs.exit_trades.closed.win_rate().iloc[0], rel=1e-12)
        assert made.metrics["profit_factor"] == pytest.approx(
            theirs.exit_trades.closed.profit_factor().iloc[0], rel=1e-9
        )


def test_partial_exits_and_shorts_give_vectorbts_own_trades(scripted: Any, market: Any) -> None:
    import vectorbt as vbt

    rng = np.random.default_rng(5)
    prices = {name: (20 * np.cumprod(1 + rng.normal(0, 0.02, 80))).tolist() for name in "AB"}
    made = market(prices, prices)
    shares = pd.DataFrame(rng.integers(-3, 4, (80, 2)) * 10.0, index=made.raw.sessions, columns=["A", "B"])
    assumed = Assumptions(
        commission_per_share_usd=0, commission_min_usd=0, commission_bps=5, slippage_bps=0, min_trade_value_usd=0,
        tolerance=0, fill="close", target="shares", allow_short=True,
    )  # fmt: skip
    ours = backtest(scripted(shares), made.split, made.raw, made.actions, assumptions=assumed)
    theirs = vbt.Portfolio.from_orders(
        made.raw.close, size=shares, size_type="targetamount", fees=0.0005, init_cash=100_000, cash_sharing=True,
        group_by=True,
    )  # fmt: skip
    np.testing.assert_allclose(ours.equity, theirs.value().to_numpy(), rtol=1e-12)
    records = theirs.exit_trades.records_readable
    columns = {"Column": "symbol", "Size": "quantity", "Avg Entry Price": "entry_price", "Avg Exit Price": "exit_price",
               "PnL": "pnl"}  # fmt: skip
    theirs_sorted = records.rename(columns=columns).sort_values(["symbol", "Exit Timestamp", "pnl"])
    last = ours.trades["exited"].fillna(made.raw.sessions[-1])
    ours_sorted = ours.trades.assign(last=last).sort_values(["symbol", "last", "pnl"])
    assert len(records) == len(ours.trades) > 80
    assert set(ours.trades["side"]) == {"long", "short"}
    for column in ("quantity", "entry_price", "exit_price", "pnl"):
        np.testing.assert_allclose(ours_sorted[column], theirs_sorted[column], atol=1e-9)
