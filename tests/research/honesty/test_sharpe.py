"""What a Sharpe ratio is worth, against the numbers of the papers and of skfolio."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skfolio.measures import deflated_sharpe_ratio, expected_max_sharpe_ratio, probabilistic_sharpe_ratio

from workbench.errors import DataError
from workbench.research.honesty import sharpe
from workbench.research.honesty.sharpe import ReturnShape


@pytest.fixture(scope="module")
def returns() -> np.ndarray:
    """Skewed, with fat tails."""
    random = np.random.default_rng(3)
    return 0.0008 + 0.01 * random.standard_t(5, 1_000) - 0.004 * (random.random(1_000) < 0.03)


def test_the_probabilistic_sharpe_ratio_has_the_numbers_of_the_hedge_fund_in_the_paper() -> None:
    # Bailey and Lopez de Prado (2012): 24 monthly returns, mean 0.036, deviation 0.079
    fund = {"skew": -2.448, "kurtosis": 10.164}
    assert sharpe.probabilistic_sharpe(0.458, 24, **fund) == pytest.approx(0.913, abs=5e-4)
    assert sharpe.probabilistic_sharpe(0.458, 24) == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize(
    ("periods", "skew", "kurtosis", "years"),
    [(252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99)],
)
def test_the_minimum_track_record_is_that_of_the_paper(
    periods: int, skew: float, kurtosis: float, years: float
) -> None:
    # an annual Sharpe ratio of 2 to be above 1 with 95 % confidence, daily, weekly, monthly, and of hedge funds
    root = math.sqrt(periods)
    needed = sharpe.minimum_track_record(2 / root, skew=skew, kurtosis=kurtosis, threshold=1 / root)
    assert needed / periods == pytest.approx(years, abs=5e-3)


def test_no_history_is_long_enough_for_a_sharpe_ratio_below_the_threshold() -> None:
    assert sharpe.minimum_track_record(0.05, threshold=0.05) == math.inf


def test_the_deflated_sharpe_ratio_is_that_of_the_paper() -> None:
    # Bailey and Lopez de Prado (2014), "A numerical example"
    best = ReturnShape(sessions=1250, sharpe=2.5 / math.sqrt(250), skew=-3.0, kurtosis=10.0)
    made = sharpe.deflated_sharpe(best, trials=100, variance=0.5 / 250)
    assert made.threshold == pytest.approx(0.1132, abs=5e-5)
    assert made.probability == pytest.approx(0.9004, abs=5e-5)
    assert sharpe.deflated_sharpe(best, trials=46, variance=0.5 / 250).probability == pytest.approx(0.9505, abs=5e-5)
    # with normal returns it would have been above 95 % after 88 trials
    normal = ReturnShape(1250, best.sharpe, 0.0, 3.0)
    assert sharpe.deflated_sharpe(normal, trials=88, variance=0.5 / 250).probability == pytest.approx(0.9505, abs=5e-4)


def test_the_minimum_backtest_length_is_that_of_the_paper() -> None:
    # Bailey, Borwein, Lopez de Prado and Zhu (2014): with five years, no more than 45 independent trials
    assert sharpe.minimum_backtest_years(45) <= 5 < sharpe.minimum_backtest_years(46)


def test_they_agree_with_skfolio_on_real_returns(returns: np.ndarray) -> None:
    found = sharpe.shape(returns)
    theirs = probabilistic_sharpe_ratio(returns, benchmark_sharpe_ratio=0.02)
    ours = sharpe.probabilistic_sharpe(
        found.sharpe, found.sessions, skew=found.skew, kurtosis=found.kurtosis, threshold=0.02
    )
    assert ours == pytest.approx(theirs, abs=1e-12)
    tried = np.random.default_rng(4).normal(0.0, 0.03, 300)
    assert sharpe.expected_max_sharpe(300, tried.var(ddof=1)) == pytest.approx(
        expected_max_sharpe_ratio(300, tried.std(ddof=1)), abs=1e-12
    )
    made = sharpe.deflated_sharpe(found, trials=300, variance=tried.var(ddof=1))
    assert made.probability == pytest.approx(deflated_sharpe_ratio(returns, tried), abs=1e-12)


def test_the_expected_maximum_is_what_simulation_gives() -> None:
    best = np.random.default_rng(5).normal(0.0, 0.05, (4_000, 200)).max(axis=1)
    assert sharpe.expected_max_sharpe(200, 0.05**2) == pytest.approx(best.mean(), rel=0.01)


def test_hardly_more_than_one_trial_is_never_rewarded() -> None:
    thresholds = [sharpe.expected_max_sharpe(number, 1.0) for number in np.linspace(1.0, 4.0, 61)]
    assert min(thresholds) == 0.0
    assert np.diff(thresholds).min() >= 0.0
    # the exact expectation of the larger of two is one over the root of pi
    assert thresholds[20] == pytest.approx(1 / math.sqrt(math.pi), rel=0.08)


def test_one_trial_is_not_deflated(returns: np.ndarray) -> None:
    made = sharpe.deflated_sharpe(sharpe.shape(returns), trials=1, variance=0.0)
    assert (made.threshold, made.probability) == (0.0, made.undeflated)


def test_effective_trials_follow_the_mean_of_all_correlations() -> None:
    random = np.random.default_rng(6)
    common = random.normal(size=(2_000, 1))
    returns = common + random.normal(size=(2_000, 12)) * np.linspace(0.3, 2.0, 12)
    matrix = np.corrcoef(returns.T)
    rho = matrix[np.triu_indices(12, 1)].mean()
    assert sharpe.effective_trials(returns) == pytest.approx(rho + (1 - rho) * 12, abs=1e-9)
    assert sharpe.effective_trials(returns, 500) == pytest.approx(rho + (1 - rho) * 500, abs=1e-9)
    assert sharpe.effective_trials(random.normal(size=(2_000, 12))) == pytest.approx(12, abs=0.3)


def test_too_little_is_refused_in_one_line(returns: np.ndarray) -> None:
    with pytest.raises(DataError, match="5 returns are too few to judge a Sharpe ratio; at least 20"):
        sharpe.shape(returns[:5])
    with pytest.raises(DataError, match="not a finite number"):
        sharpe.shape(np.append(returns, np.nan))
    with pytest.raises(DataError, match="0 trials: there was at least the one that is judged"):
        sharpe.expected_max_sharpe(0, 0.1)
    with pytest.raises(DataError, match="variance of the trials' Sharpe ratios is nan"):
        sharpe.expected_max_sharpe(10, math.nan)
    with pytest.raises(DataError, match="1 trials with varying returns"):
        sharpe.effective_trials(returns[:, None])


def test_returns_without_any_variation_have_no_sharpe_ratio() -> None:
    assert math.isnan(sharpe.shape(np.zeros(50)).sharpe)
    assert np.isnan(sharpe.sharpe_of(np.zeros((50, 2)))).all()
