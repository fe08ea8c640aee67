"""What the charts show is what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.closes import FREE, Market, Trend

from workbench.errors import DataError
from workbench.research.honesty import charts
from workbench.research.honesty.bands import equity_fan
from workbench.research.honesty.overfitting import backtest_overfitting
from workbench.research.honesty.plateau import plateau
from workbench.research.honesty.sharpe import ReturnShape, deflated_sharpe
from workbench.research.honesty.trial_returns import TrialReturns, trial_returns
from workbench.research.honesty.walk_forward import walk_forward


@pytest.fixture(scope="module")
def trials(trending: Market) -> TrialReturns:
    grid = [Trend(lookback=each) for each in (3, 5, 7)]
    return trial_returns(grid, trending.total, trending.raw, trending.actions, assumptions=FREE)


def test_curves_begin_at_one_and_end_where_the_equity_ends() -> None:
    days = pd.bdate_range("2010-01-04", periods=2_000)
    equity = pd.Series(1e5 * np.exp(np.linspace(0, 1, 2_000)), index=days)
    fan = equity_fan(equity.pct_change().iloc[1:], seed=1, repetitions=20)
    figure = charts.equity_lines({"mine": equity}, title="t", split="2012-01-03", shade=fan)
    line = figure.data[-1]
    assert (line.name, line.y[0], line.y[-1]) == ("mine", 1.0, pytest.approx(np.e, abs=1e-4))
    assert len(line.x) <= 500
    assert pd.Timestamp(line.x[-1]) == days[-1]
    assert figure.layout.yaxis.type == "log"
    assert pd.Timestamp(figure.layout.shapes[0].x0) == pd.Timestamp("2012-01-03")


def test_a_heat_map_frames_the_combination_that_is_marked() -> None:
    table = pd.DataFrame(
        [[1.0, 2.0], [3.0, 4.0]], index=pd.Index([10, 20], name="fast"), columns=pd.Index([50, 60], name="slow")
    )
    figure = charts.heat_maps({"before": table, "after": table * 2}, mark=(20, 50))
    assert figure.data[1].z.tolist() == [[2.0, 4.0], [6.0, 8.0]]
    frame = figure.layout.shapes[0]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (-0.5, 0.5, 0.5, 1.5)
    with pytest.raises(DataError, match="no table to draw"):
        charts.heat_maps({})


def test_one_parameter_is_a_curve_with_the_chosen_one_on_it(trials: TrialReturns) -> None:
    made = plateau(trials, Trend(lookback=5))
    figure = charts.plateau_map(made)
    assert list(figure.data[0].x) == [3, 5, 7]
    assert (figure.data[1].x[0], figure.data[1].y[0]) == (5, pytest.approx(made.chosen))


def test_bars_of_a_walk_forward_name_what_was_chosen(trials: TrialReturns, trending: Market) -> None:
    made = walk_forward(trials, trending.total, trending.raw, trending.actions, train=300, test=200, assumptions=FREE)
    figure = charts.walk_forward_bars(made)
    assert [trace.name for trace in figure.data] == ["in sample", "out of sample"]
    assert list(figure.data[1].y) == pytest.approx(made.folds["out_of_sample"].tolist())
    assert figure.data[0].customdata[0] == f"lookback {made.folds['lookback'].iloc[0]}"


def test_the_deflation_curve_goes_through_its_marks() -> None:
    shape = ReturnShape(1_250, 0.08, -0.5, 6.0)
    figure = charts.deflation_curve(shape, 0.001, {"few": 10.0, "many": 500.0})
    marks = {trace.name: trace.y[0] for trace in figure.data if trace.mode == "markers+text"}
    assert marks["few"] == deflated_sharpe(shape, trials=10, variance=0.001).probability
    assert marks["many"] < marks["few"]
    assert (np.diff(figure.data[0].y) <= 0).all()


def test_ranks_are_counted_and_coloured_by_which_half_they_are_in() -> None:
    made = backtest_overfitting(np.random.default_rng(1).normal(0, 0.01, (400, 11)), blocks=8)
    bars = charts.overfitting_charts(made).data[0]
    assert sum(bars.y) == made.splits
    below = sum(y for x, y in zip(bars.x, bars.y, strict=True) if x < 0.5)
    strictly = float(np.mean(made.logits < 0))
    assert below / made.splits == pytest.approx(strictly, abs=1e-9)


def test_stress_is_drawn_over_multiples_and_sessions() -> None:
    table = pd.DataFrame({"sharpe": [1.0, 0.5], "cagr": [0.1, 0.05]}, index=[1.0, 2.0])
    figure = charts.stress_charts(table, table.set_axis([0, 3]))
    assert [list(trace.x) for trace in figure.data] == [[1.0, 2.0], [0, 3]]
