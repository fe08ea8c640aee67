"""Metrics against empyrical, and against numbers worked out by hand."""

from __future__ import annotations

import math
import warnings
from types import ModuleType
from typing import Any

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


@pytest.fixture(scope="module")
def benchmark() -> pd.Series:
    change = np.random.default_rng(8).normal(0.0003, 0.01, 1500)
    days = pd.bdate_range("2005-01-03", periods=1501)
    return pd.Series(1_000.0 * np.cumprod(np.r_[1.0, 1.0 + change]), index=days)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """empyrical-reloaded, with the name that numpy 2 took away and it still reads."""
    monkeypatch.setattr(np, "NINF", -np.inf, raising=False)
    return empyrical


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (metrics.total_return, "cum_returns_final"),
        (metrics.cagr, "annual_return"),
        (metrics.volatility, "annual_volatility"),
        (metrics.sharpe, "sharpe_ratio"),
        (metrics.sortino, "sortino_ratio"),
        (metrics.max_drawdown, "max_drawdown"),
        (metrics.calmar, "calmar_ratio"),
        (metrics.omega, "omega_ratio"),
        (metrics.tail_ratio, "tail_ratio"),
        (metrics.value_at_risk, "value_at_risk"),
        (metrics.stability, "stability_of_timeseries"),
    ],
)
def test_shared_definitions_agree_with_empyrical(
    equity: pd.Series, library: ModuleType, ours: Any, theirs: str
) -> None:
    assert ours(equity) == pytest.approx(getattr(library, theirs)(metrics.returns(equity)), rel=1e-10)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(metrics.sharpe, "sharpe_ratio"), (metrics.sortino, "sortino_ratio"), (metrics.omega, "omega_ratio")],
)
def test_a_risk_free_rate_is_borne_by_each_session(
    equity: pd.Series, library: ModuleType, ours: Any, theirs: str
) -> None:
    # empyrical takes the rate of one period; its Sortino ratio takes it as the required return.
    name = "required_return" if theirs == "sortino_ratio" else "risk_free"
    expected = getattr(library, theirs)(metrics.returns(equity), **{name: 0.03 / 252})
    assert ours(equity, risk_free_rate=0.03) == pytest.approx(expected, rel=1e-9)
    assert ours(equity, risk_free_rate=0.03) != pytest.approx(ours(equity), rel=1e-3)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(metrics.cagr, "annual_return"), (metrics.volatility, "annual_volatility"),
                         (metrics.sharpe, "sharpe_ratio"), (metrics.sortino, "sortino_ratio")],
)  # fmt: skip
def test_another_year_annualises_as_in_empyrical(
    equity: pd.Series, library: ModuleType, ours: Any, theirs: str
) -> None:
    expected = getattr(library, theirs)(metrics.returns(equity), annualization=365)
    assert ours(equity, 365) == pytest.approx(expected, rel=1e-10)


def test_alpha_and_beta_agree_with_empyrical(equity: pd.Series, benchmark: pd.Series, library: ModuleType) -> None:
    change, theirs = metrics.returns(equity), metrics.returns(benchmark)
    assert metrics.beta(equity, benchmark) == pytest.approx(library.beta(change, theirs), rel=1e-9)
    assert metrics.alpha(equity, benchmark) == pytest.approx(library.alpha(change, theirs), rel=1e-9)
    with_rate = library.alpha(change, theirs, risk_free=0.02 / 252)
    assert metrics.alpha(equity, benchmark, risk_free_rate=0.02) == pytest.approx(with_rate, rel=1e-9)
    active = library.excess_sharpe(change, theirs) * math.sqrt(252)  # theirs is not annualised
    assert metrics.information_ratio(equity, benchmark) == pytest.approx(active, rel=1e-9)
    error = library.annual_volatility(change - theirs)
    assert metrics.tracking_error(equity, benchmark) == pytest.approx(error, rel=1e-9)
    excess = library.annual_return(change) - library.annual_return(theirs)
    assert metrics.excess_return(equity, benchmark) == pytest.approx(excess, rel=1e-9)


def test_a_benchmark_against_itself_has_a_beta_of_one_and_no_alpha(benchmark: pd.Series) -> None:
    made = metrics.against(benchmark, benchmark)
    assert made["beta"] == pytest.approx(1.0)
    assert made["alpha"] == pytest.approx(0.0, abs=1e-12)
    assert made["excess_return"] == 0.0
    assert math.isnan(made["information_ratio"])


def test_sortino_by_hand() -> None:
    equity = pd.Series([1.0, 1.02, 1.02 * 0.99, 1.02 * 0.99 * 1.03, 1.02 * 0.99 * 1.03 * 0.98])
    # Mean 0.005; downside root((0.01^2 + 0.02^2) / 4) = 0.0111803; x root(252).
    assert metrics.sortino(equity) == pytest.approx(0.005 / 0.01118034 * 15.8745079, rel=1e-6)


def test_wins_and_losses_of_closed_trades_by_hand() -> None:
    trades = pd.DataFrame({"pnl": [30.0, -10.0, 20.0, 99.0], "sessions": [2, 4, 6, 8],
                           "status": ["closed", "closed", "closed", "open"]})  # fmt: skip
    made = metrics.of_trades(trades)
    assert made == {"trades": 3.0, "win_rate": pytest.approx(2 / 3), "profit_factor": 5.0,
                    "mean_holding_sessions": 4.0}  # fmt: skip
    assert math.isnan(metrics.profit_factor(trades.iloc[:1]))
    assert math.isnan(metrics.win_rate(trades.iloc[3:]))


def test_the_longest_drawdown_counts_sessions_below_the_best() -> None:
    assert metrics.longest_drawdown(pd.Series([100.0, 80.0, 120.0, 110.0, 119.0, 90.0])) == 3
    assert metrics.longest_drawdown(pd.Series([1.0, 2.0, 2.0, 3.0])) == 0


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


@pytest.mark.parametrize("values", [[0.0, 0.0, 100.0, 90.0], [100.0, 0.0, 0.0], [100.0, float("nan"), 90.0, 95.0]])
def test_an_account_that_is_worth_nothing_for_a_while_is_judged_as_pandas_does(values: list[float]) -> None:
    equity = pd.Series(values)
    change = metrics.returns(equity)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = metrics.max_drawdown(equity), metrics.volatility(equity), metrics.exposure(equity, equity)
        assert metrics.max_drawdown(equity.to_numpy()) == pytest.approx(found[0], nan_ok=True)
    expected = metrics.drawdown(equity).min(), change.std(ddof=1) * 252**0.5, (1.0 - equity / equity).mean()
    assert found == pytest.approx(expected, nan_ok=True)
