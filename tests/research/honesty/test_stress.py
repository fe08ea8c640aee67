"""Trials, walk-forward, plateau, stress and dependence, on numbers that can be worked out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.closes import FREE, Market, Trend, closes, market_of

from workbench.errors import ConfigError, DataError
from workbench.research import backtest, metrics
from workbench.research.costs import Assumptions
from workbench.research.honesty import dependence, stress
from workbench.research.honesty.plateau import plateau
from workbench.research.honesty.trial_returns import TrialReturns, neighbourhood, trial_returns
from workbench.research.honesty.walk_forward import Given, walk_forward
from workbench.strategies import load

DEAR = Assumptions(commission_per_share_usd=0.0, commission_min_usd=0.0, slippage_bps=10.0, tolerance=0.0)


def data(market: Market) -> tuple[Any, Any, Any]:
    return market.total, market.raw, market.actions


def trials_of(returns: np.ndarray, lookbacks: list[int]) -> TrialReturns:
    days = pd.bdate_range("2005-01-04", periods=len(returns), name="session")
    strategies = tuple(Trend(lookback=each) for each in lookbacks)
    parameters = pd.DataFrame({"lookback": lookbacks})
    return TrialReturns(pd.DataFrame(returns, index=days), parameters, strategies)


# ---- returns of trials -------------------------------------------------------------------------------------------


def test_each_column_is_the_return_of_that_backtest(trending: Market) -> None:
    end = trending.raw.sessions[299].date()
    made = trial_returns([Trend(lookback=3), Trend(lookback=9)], *data(trending), end=end, assumptions=DEAR)
    alone = backtest(Trend(lookback=9), *data(trending), end=end, assumptions=DEAR)
    assert made.returns[1].tolist() == pytest.approx(metrics.returns(alone.equity).tolist(), abs=1e-15)
    assert made.returns.index.equals(alone.equity.index[1:])
    assert made.parameters["lookback"].tolist() == [3, 9]
    assert made.position(Trend(lookback=9)) == 1


def test_more_returns_than_memory_allows_are_refused_before_anything_runs(lucky: Market) -> None:
    with pytest.raises(DataError, match="returns of 2 trials x 900 sessions need 0 MB, the limit is 0 MB; give fewer"):
        trial_returns([Trend(), Trend(lookback=9)], *data(lucky), assumptions=FREE, max_bytes=10_000)
    with pytest.raises(DataError, match="0 trials on 900 sessions have no returns"):
        trial_returns([], *data(lucky), assumptions=FREE)


def test_the_neighbourhood_is_around_the_parameters_within_their_bounds() -> None:
    near = neighbourhood(Trend(lookback=40), most=9)
    values = [each.lookback for each in near]  # type: ignore[attr-defined]
    assert values == sorted(values)
    assert 40 in values
    assert min(values) == 20  # half
    assert 40 < max(values) <= 60  # twice is above the bound
    assert len(neighbourhood(load("moving_average", {}), most=49)) in range(40, 50)
    small = neighbourhood(load("momentum", {"lookback": 10, "top": 1}), most=25)
    assert {each.top for each in small} == {1, 2, 3, 4, 5}  # type: ignore[attr-defined]
    assert all(each.slow > each.fast for each in neighbourhood(load("moving_average", {"fast": 60, "slow": 70})))  # type: ignore[attr-defined]


# ---- walk-forward ------------------------------------------------------------------------------------------------


def test_each_window_trades_what_was_best_before_it_and_nothing_else() -> None:
    """Trial 0 earns in the first 50 sessions, trial 1 afterwards; the choice follows when training has seen it."""
    market = market_of(closes(np.random.default_rng(1).normal(0, 0.01, (121, 2))))
    random = np.random.default_rng(2)
    returns = random.normal(0, 0.001, (120, 2))
    returns[:50, 0] += 0.01
    returns[50:, 1] += 0.01
    trials = trials_of(returns, [3, 9])
    made = walk_forward(trials, *data(market), train=40, test=20, embargo=0, assumptions=FREE)
    assert made.folds["lookback"].tolist() == [3, 3, 9, 9]
    # rows 40 to 59: trained on rows 0 to 39
    first = made.folds.iloc[0]
    days = trials.returns.index
    assert [first[name] for name in ("train_from", "train_to", "test_from", "test_to")] == list(days[[0, 39, 40, 59]])
    inside = returns[:40, 0].mean() / returns[:40, 0].std(ddof=1) * math.sqrt(252)
    assert first["in_sample"] == pytest.approx(inside)
    assert made.result.equity.index[0] == days[39]
    assert made.result.equity.index[-1] == days[119]


def test_the_books_of_a_walk_forward_are_those_of_its_choices_one_after_the_other(trending: Market) -> None:
    grid = [Trend(lookback=each) for each in (2, 6, 20)]
    end = trending.raw.sessions[499].date()
    trials = trial_returns(grid, *data(trending), end=end, assumptions=DEAR)
    made = walk_forward(trials, *data(trending), train=200, test=100, embargo=1, assumptions=DEAR)
    rows = {each.lookback: each.weights(trending.total) for each in grid}
    table = trending.total.close * 0.0
    for fold in made.folds.to_dict("records"):
        at = trending.total.sessions.get_loc(fold["test_from"])
        table.iloc[at - 1 : at + 99] = rows[fold["lookback"]].iloc[at - 1 : at + 99]
    start, last = made.result.equity.index[[0, -1]]
    table.loc[table.index > last] = 0.0
    by_hand = backtest(Given.of(table), *data(trending), start=start.date(), end=last.date(), assumptions=DEAR)
    # the decision on the last close cannot fill any more, so what it is does not matter
    assert made.result.equity.tolist() == pytest.approx(by_hand.equity.tolist(), abs=1e-6)
    assert 0 < made.sharpe == made.result.metrics["sharpe"]
    assert made.efficiency == pytest.approx(made.sharpe / made.folds["in_sample"].mean())


def test_one_trial_or_a_short_history_is_no_walk_forward(lucky: Market) -> None:
    returns = np.random.default_rng(1).normal(size=(100, 2)) / 100
    with pytest.raises(DataError, match="100 sessions are too few for a walk-forward of 756"):
        walk_forward(trials_of(returns, [3, 9]), *data(lucky), assumptions=FREE)
    with pytest.raises(DataError, match="1 trials: nothing to choose from"):
        walk_forward(trials_of(returns[:, :1], [3]), *data(lucky), assumptions=FREE)


# ---- plateau -----------------------------------------------------------------------------------------------------


def with_sharpes(values: list[float]) -> np.ndarray:
    """Returns whose Sharpe ratio per session is as asked for."""
    shape = np.random.default_rng(1).normal(size=(200, len(values)))
    standard = (shape - shape.mean(axis=0)) / shape.std(axis=0, ddof=1)
    return (standard + np.array(values)) / 100


def test_a_plateau_is_the_median_of_the_neighbours_over_the_chosen_one() -> None:
    trials = trials_of(with_sharpes([0.02, 0.08, 0.10, 0.06, -0.01]), [2, 4, 6, 8, 10])
    made = plateau(trials, Trend(lookback=6))
    assert made.chosen == pytest.approx(0.10 * math.sqrt(252))
    assert made.neighbours == pytest.approx(0.07 * math.sqrt(252))
    assert (made.ratio, made.profitable, made.rank) == (pytest.approx(0.7), 0.8, 1.0)
    assert made.table.index[made.table["neighbour"]].tolist() == [1, 3]
    edge = plateau(trials, Trend(lookback=2))
    assert edge.table.index[edge.table["neighbour"]].tolist() == [1]
    assert math.isnan(plateau(trials, Trend(lookback=10)).ratio)


def test_a_strategy_without_neighbours_has_no_plateau() -> None:
    with pytest.raises(DataError, match="no neighbour among the trials"):
        plateau(trials_of(with_sharpes([0.1]), [6]), Trend(lookback=6))
    with pytest.raises(DataError, match="is not one of the 2 trials"):
        plateau(trials_of(with_sharpes([0.1, 0.2]), [6, 8]), Trend(lookback=7))


# ---- stress ------------------------------------------------------------------------------------------------------


def test_costs_are_multiplied_one_by_one(trending: Market) -> None:
    end = trending.raw.sessions[299].date()
    table = stress.cost_stress(Trend(), *data(trending), end=end, assumptions=DEAR, multiples=(0, 1, 4))
    for multiple, bps in ((0, 0.0), (1, 10.0), (4, 40.0)):
        costs = Assumptions(commission_per_share_usd=0.0, commission_min_usd=0.0, slippage_bps=bps, tolerance=0.0)
        alone = backtest(Trend(), *data(trending), end=end, assumptions=costs)
        assert table.loc[multiple, "final_equity_usd"] == alone.metrics["final_equity_usd"]
    assert table["cagr"].is_monotonic_decreasing
    assert stress.costlier(Assumptions(), 3.0).commission_min_usd == 3.0
    assert stress.costlier(Assumptions(), 3.0).capital_usd == Assumptions().capital_usd
    with pytest.raises(ConfigError, match="a multiple is at least 0"):
        stress.cost_stress(Trend(), *data(trending), end=end, assumptions=DEAR, multiples=(-1,))


def test_the_break_even_is_where_growth_crosses_zero() -> None:
    grows = pd.DataFrame({"cagr": [0.3, 0.1, -0.3]}, index=[0.0, 1.0, 2.0])
    assert stress.break_even(grows) == pytest.approx(1.25)
    assert stress.break_even(grows + 1) == math.inf
    assert stress.break_even(grows - 1) == 0.0


def test_a_delay_is_the_same_decisions_later() -> None:
    market = market_of(closes(np.random.default_rng(3).normal(0, 0.01, (60, 2))))
    table = stress.delay_stress(Trend(), *data(market), assumptions=FREE, delays=(0, 2))
    now = backtest(Trend(), *data(market), assumptions=FREE)
    later = backtest(Given.of(Trend().weights(market.total).shift(2).fillna(0.0)), *data(market), assumptions=FREE)
    assert table["final_equity_usd"].tolist() == [now.equity.iloc[-1], later.equity.iloc[-1]]
    with pytest.raises(ConfigError, match="a delay of -1 sessions would be look-ahead"):
        stress.delay_stress(Trend(), *data(market), assumptions=FREE, delays=(-1,))


# ---- dependence --------------------------------------------------------------------------------------------------


def bought(quantity_by_session: list[list[float]], prices: list[list[float]]) -> tuple[Any, Market]:
    """A backtest of weights that follow from shares held, free of costs."""
    days = pd.bdate_range("2013-01-02", periods=len(prices), name="session")
    close = pd.DataFrame(prices, index=days, columns=["A", "B"], dtype=float)
    market = market_of(close)
    weights = pd.DataFrame(quantity_by_session, index=days, columns=["A", "B"], dtype=float)
    return backtest(Given.of(weights), *data(market), assumptions=FREE), market


def test_profits_by_name_are_sales_and_final_value_less_purchases() -> None:
    # bought at the open of the second session, the close of the first: 500 A at 100, 250 B at 200; B is sold at 210
    made, market = bought(
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.0], [0.5, 0.0]], [[100, 200], [100, 200], [110, 210], [110, 220]]
    )
    part = dependence.concentration(made, market.raw)
    # A: part of it is sold at the open of session 4 (110, as at the close of 3) to come back to half of equity
    assert part.names["B"] == pytest.approx(250 * 10)
    assert part.names["A"] == pytest.approx(500 * 10)
    assert part.names.sum() == pytest.approx(made.equity.iloc[-1] - 100_000)
    assert part.top_name_share == pytest.approx(5 / 7.5)
    assert dependence.entries(made) == 2


def test_the_ten_best_sessions_are_taken_away_in_logarithms() -> None:
    moves = np.full((41, 1), 0.0)
    moves[1:31, 0] = -0.001
    moves[31:, 0] = 0.02
    made = backtest(Given.of(closes(moves) * 0 + 1.0), *data(market_of(closes(moves))), assumptions=FREE)
    part = dependence.concentration(made, market_of(closes(moves)).raw)
    # held from the open of session 2 on, at the close of session 1: all moves are earned
    total = 30 * -0.001 + 10 * 0.02
    assert part.best_days_share == pytest.approx(10 * 0.02 / total, rel=2e-3)  # whole shares leave a little cash
    assert part.cagr_without_best_days == pytest.approx(math.expm1(-0.001 * 252), rel=2e-3)


def test_the_benchmark_holds_equal_parts_of_what_has_a_return() -> None:
    close = pd.DataFrame({"A": [100, 110, 121, 121], "B": [math.nan, 50, 60, 60]}, dtype=float)
    close.index = pd.bdate_range("2013-01-02", periods=4, name="session")
    market = market_of(close)
    held = dependence.equal_weight(market.total, market.total.sessions)
    assert held.tolist() == pytest.approx([1.0, 1.1, 1.1 * 1.15, 1.1 * 1.15])


def test_regimes_are_known_before_their_session() -> None:
    """Rising for 300 sessions, then falling: the first falling session still counts as rising."""
    days = pd.bdate_range("2010-01-04", periods=600, name="session")
    level = np.concatenate([np.linspace(100, 200, 300), np.linspace(199, 50, 300)])
    market = pd.Series(level, index=days)
    returns = pd.Series(0.001, index=days)
    table = dependence.regimes(returns, market)
    mean = market.rolling(200).mean()
    below = (market < mean).shift(1, fill_value=False)
    assert table.loc[("trend", "falling"), "sessions"] == below.sum()
    assert table.loc[("trend", "rising"), "sessions"] == 600 - 200 - below.sum()
    assert table.loc["year", "sessions"].sum() == 600
    assert table.loc[("year", "2010"), "log_return"] == pytest.approx((days.year == 2010).sum() * math.log(1.001))
    assert math.isnan(table.loc[("year", "2010"), "sharpe"])  # the same return every session
