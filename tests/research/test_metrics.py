"""Metrics against empyrical, and against numbers worked out by hand."""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest

from workbench.research import metrics


@pytest.fixture(scope="module")
def equity() -> pd.Series:
    change = np.random.default_rng(7).normal(0.0004, 0.012, 1500)
    days = pd.bdate_range("2005-01-03", periods=1501)
    return pd.Series(100_000.0 * np.cumprod(np.r_[1.0, 1.0 + change]), index=days)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.total_return, empyrical.cum_returns_final),
        (metrics.cagr, empyrical.annual_return),
        (metrics.volatility, empyrical.annual_volatility),
        (metrics.sharpe, empyrical.sharpe_ratio),
        (metrics.max_drawdown, empyrical.max_drawdown),
        (metrics.calmar, empyrical.calmar_ratio),
    ],
)
def test_shared_definitions_agree_with_empyrical(equity: pd.Series, ours: object, theirs: object) -> None:
    assert ours(equity) == pytest.approx(theirs(metrics.returns(equity)), rel=1e-10)  # type: ignore[operator]  # both are functions


def test_sortino_by_hand() -> None:
    # empyrical 0.5.9 cannot compute it under numpy 2 (it reads np.NINF).
    equity = pd.Series([1.0, 1.02, 1.02 * 0.99, 1.02 * 0.99 * 1.03, 1.02 * 0.99 * 1.03 * 0.98])
    # Mean 0.005; downside root((0.01^2 + 0.02^2) / 4) = 0.0111803; x root(252).
    assert metrics.sortino(equity) == pytest.approx(0.005 / 0.01118034 * 15.8745079, rel=1e-6)


def test_growth_over_one_year_is_the_total_return() -> None:
    equity = pd.Series(np.linspace(100.0, 121.0, 253))  # 252 steps
    assert metrics.cagr(equity) == pytest.approx(0.21)
    assert metrics.cagr(pd.Series(np.linspace(100.0, 121.0, 505))) == pytest.approx(0.10)  # two years


def test_exposure_and_turnover_by_hand() -> None:
    equity, cash = pd.Series([100.0, 100.0, 100.0, 100.0]), pd.Series([100.0, 50.0, 50.0, 100.0])
    fills = pd.DataFrame({"quantity": [5.0, 5.0], "price": [10.0, 10.0], "fee": [1.0, 2.0]})
    assert metrics.exposure(equity, cash) == 0.25
    # 100 USD traded on 100 USD of equity in 3/252 of a year.
    assert metrics.turnover(equity, fills) == pytest.approx(84.0)
    made = metrics.summary(equity, cash, fills)
    assert (made["fills"], made["fees_usd"], made["final_equity_usd"]) == (2, 3.0, 100.0)


def test_the_deepest_drawdown_is_measured_from_the_peak_before_it() -> None:
    equity = pd.Series([100.0, 80.0, 120.0, 90.0, 130.0])
    assert metrics.max_drawdown(equity) == -0.25  # 120 to 90, deeper than 100 to 80
    assert metrics.drawdown(equity).tolist() == pytest.approx([0, -0.2, 0, -0.25, 0])


def test_ratios_without_a_denominator_are_undefined() -> None:
    flat = pd.Series([100.0, 100.0, 100.0])
    assert all(math.isnan(one(flat)) for one in (metrics.sharpe, metrics.sortino, metrics.calmar))
    assert metrics.volatility(flat) == 0.0
    single = pd.Series([100.0])
    assert all(math.isnan(one(single)) for one in (metrics.cagr, metrics.sharpe, metrics.sortino, metrics.calmar))
    assert metrics.total_return(single) == 0.0
