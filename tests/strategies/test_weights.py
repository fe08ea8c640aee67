"""Weights on prices small enough to work out by hand; causality on the committed sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import strategies
from workbench.data.bars import Bars
from workbench.strategies.momentum import Momentum
from workbench.strategies.moving_average import MovingAverageCrossover

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "wiki_2000_2013_AAPL_FB_GOOG_IBM_MSFT.csv.gz"


def bars_of(close: dict[str, list[float]]) -> Bars:
    days = pd.bdate_range("2013-01-02", periods=len(next(iter(close.values()))), name="session")
    frame = pd.DataFrame(close, index=days, dtype=float)
    return Bars(frame, frame, frame, frame, frame, "split", 0)


@pytest.fixture(scope="module")
def sample() -> Bars:
    """Real closes; adjusted for nothing, which does not matter to causality."""
    rows = pd.read_csv(SAMPLE, parse_dates=["Date"])
    frame = rows.pivot(index="Date", columns="Ticker", values="Close").rename_axis("session")
    return Bars(frame, frame, frame, frame, frame, "split", 0)


def test_momentum_holds_the_highest_positive_returns() -> None:
    # Over 2 sessions: A +10 %, B +30 %, C +20 %, D -10 %.
    bars = bars_of({"A": [10, 10, 11], "B": [10, 9, 13], "C": [10, 10, 12], "D": [10, 20, 9]})
    weights = Momentum(lookback=2, top=2).weights(bars)
    assert weights.iloc[2].to_dict() == {"A": 0.0, "B": 0.5, "C": 0.5, "D": 0.0}
    assert (weights.iloc[:2] == 0.0).all(axis=None)


def test_momentum_leaves_a_slot_in_cash_when_too_few_have_risen() -> None:
    bars = bars_of({"A": [10, 10, 11], "B": [10, 10, 10], "C": [10, 10, 9]})
    assert Momentum(lookback=2, top=4).weights(bars).iloc[2].to_dict() == {"A": 0.25, "B": 0.0, "C": 0.0}


def test_momentum_breaks_a_tie_by_name_whatever_the_order_of_the_columns() -> None:
    bars = bars_of({"C": [10, 10, 12], "A": [5, 5, 6], "B": [20, 20, 24]})
    weights = Momentum(lookback=2, top=2).weights(bars)
    assert list(weights.columns) == ["C", "A", "B"]
    assert weights.iloc[2].to_dict() == {"C": 0.0, "A": 0.5, "B": 0.5}


def test_momentum_needs_a_price_at_both_ends_of_the_window() -> None:
    gap = float("nan")
    bars = bars_of({"A": [gap, 10, 30, 40], "B": [10, 10, 30, gap], "C": [10, gap, 11, 11]})
    weights = Momentum(lookback=2, top=1).weights(bars)
    assert weights.to_numpy().tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0]]


def test_moving_average_holds_what_is_above_its_own_trend() -> None:
    # Means of 2 and 3 closes. A: 4.5 > 4, then 4 < 4.33. B: flat, never above.
    bars = bars_of({"A": [3, 4, 5, 3], "B": [7, 7, 7, 7]})
    weights = MovingAverageCrossover(fast=2, slow=3).weights(bars)
    assert weights.to_numpy().tolist() == [[0, 0], [0, 0], [0.5, 0], [0, 0]]


def test_moving_average_does_not_hold_a_symbol_with_a_hole_in_its_window() -> None:
    bars = bars_of({"A": [1, 2, float("nan"), 4, 5, 6, 7]})
    weights = MovingAverageCrossover(fast=1, slow=3).weights(bars)
    assert weights["A"].tolist() == [0, 0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("name", strategies.names())
def test_weights_are_finite_fractions_that_need_no_borrowing(name: str, sample: Bars) -> None:
    weights = strategies.load(name, {}).weights(sample)
    assert weights.index.equals(sample.close.index)
    assert weights.columns.equals(sample.close.columns)
    assert np.isfinite(weights.to_numpy()).all()
    assert (weights.to_numpy() >= 0).all()
    assert weights.sum(axis=1).max() <= 1 + 1e-12
    assert weights.sum(axis=1).max() > 0


@pytest.mark.parametrize("name", strategies.names())
def test_the_past_does_not_change_when_later_bars_arrive(name: str, sample: Bars) -> None:
    strategy = strategies.load(name, {})
    full = strategy.weights(sample)
    for stamp in sample.sessions[250::331]:
        seen = strategy.weights(sample.between(None, stamp.date()))
        pd.testing.assert_frame_equal(seen, full.loc[:stamp], check_exact=True)


@pytest.mark.parametrize("name", strategies.names())
def test_the_unit_of_a_price_does_not_matter(name: str, sample: Bars) -> None:
    # A later split rescales the whole history; seven is not a power of two, so the last bits move.
    close = sample.close / pd.Series({"AAPL": 7.0, "IBM": 3.0}).reindex(sample.close.columns, fill_value=1.0)
    scaled = Bars(close, close, close, close, close, "split", 0)
    strategy = strategies.load(name, {})
    pd.testing.assert_frame_equal(strategy.weights(scaled), strategy.weights(sample), check_exact=True)
