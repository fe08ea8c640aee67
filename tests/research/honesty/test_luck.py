"""Tests for snooping and bootstrap bands: no edge is not found, an edge is, and seeds repeat."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arch.bootstrap import SPA

from workbench.errors import ConfigError, DataError
from workbench.research import metrics
from workbench.research.honesty.bands import bootstrap_bands, equity_fan, measures
from workbench.research.honesty.snooping import block_length, snooping_test


def noise(seed: int, trials: int = 20, sessions: int = 600) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (sessions, trials))


def test_without_an_edge_p_values_are_spread_out_and_rarely_small() -> None:
    found = [snooping_test(noise(seed), seed=seed, repetitions=200, stepwise=False, block=5) for seed in range(25)]
    small = sum(each.spa <= 0.05 for each in found)
    assert small <= 4  # 1.25 expected; more than 4 has a probability below 1 %
    assert 0.3 < np.mean([each.spa for each in found]) < 0.7
    assert 0.3 < np.mean([each.reality_check for each in found]) < 0.8


def test_an_edge_is_found_and_named() -> None:
    returns = noise(1)
    returns[:, 4] += 0.002
    returns[:, 9] += 0.002
    found = snooping_test(returns, seed=1, repetitions=500)
    assert found.spa <= 0.01
    assert found.reality_check <= 0.01
    assert set(found.superior) == {4, 9}


def test_hopeless_trials_blunt_the_reality_check_but_not_the_studentised_test() -> None:
    returns = noise(2, trials=40)
    returns[:, 0] += 0.0011
    returns[:, 20:] = 4.0 * returns[:, 20:] - 0.01  # wild and losing
    found = snooping_test(returns, seed=2, repetitions=500, stepwise=False)
    assert found.spa < 0.05 < found.reality_check
    assert found.spa_lower <= found.spa <= found.spa_upper


def test_the_p_values_are_those_of_arch_and_the_seed_repeats_them() -> None:
    returns = noise(3)
    first = snooping_test(returns, 0.0002, seed=7, repetitions=200, block=4, stepwise=False)
    assert first == snooping_test(returns, 0.0002, seed=7, repetitions=200, block=4, stepwise=False)
    seed = int(np.random.default_rng(7).integers(0, 2**31, 3)[0])
    theirs = SPA(np.full(600, -0.0002), -returns, block_size=4, reps=200, seed=seed)
    theirs.compute()
    assert first.spa == theirs.pvalues["consistent"]


def test_what_equals_the_benchmark_is_left_out_and_counted() -> None:
    returns = noise(4, trials=3)
    returns[:, 1] = 0.0
    assert snooping_test(returns, seed=1, repetitions=100, stepwise=False).trials == 2
    with pytest.raises(DataError, match="no trial differs from the benchmark"):
        snooping_test(np.zeros((100, 2)), seed=1)
    with pytest.raises(DataError, match="30 sessions are too few for a bootstrap"):
        snooping_test(returns[:30], seed=1)


def test_blocks_are_longer_where_sessions_depend_on_each_other() -> None:
    random = np.random.default_rng(8)
    shocks = random.normal(size=3_000)
    dependent = np.empty(3_000)
    dependent[0] = shocks[0]
    for at in range(1, 3_000):
        dependent[at] = 0.8 * dependent[at - 1] + shocks[at]
    assert block_length(shocks) < 10 < block_length(dependent)


def test_bands_around_normal_returns_have_the_width_that_theory_says() -> None:
    # Lo (2002): the standard error of a Sharpe ratio of T returns is the root of (1 + SR^2 / 2) / T
    returns = np.random.default_rng(9).normal(0.0006, 0.01, 2_000)
    made = bootstrap_bands(returns, seed=1, repetitions=1_500, block=1)
    per_session = returns.mean() / returns.std(ddof=1)
    error = math.sqrt((1 + per_session**2 / 2) / 2_000) * math.sqrt(252)
    low, high = made.table.loc["sharpe", ["low", "high"]]
    assert high - low == pytest.approx(2 * 1.645 * error, rel=0.08)
    assert made.table.loc["sharpe", "estimate"] == pytest.approx(per_session * math.sqrt(252))


def test_estimates_are_those_of_the_metrics() -> None:
    import pandas as pd

    returns = np.random.default_rng(10).normal(0.0004, 0.01, 500)
    equity = pd.Series(np.concatenate([[1.0], np.cumprod(1 + returns)]))
    expected = [metrics.sharpe(equity), metrics.cagr(equity), metrics.max_drawdown(equity)]
    assert measures(returns, 252).tolist() == pytest.approx(expected, abs=1e-12)


def test_the_same_seed_gives_the_same_bands_and_another_one_others() -> None:
    returns = np.random.default_rng(11).normal(0.0004, 0.01, 300)
    first = bootstrap_bands(returns, seed=5, repetitions=200)
    assert first.table.equals(bootstrap_bands(returns, seed=5, repetitions=200).table)
    assert not first.table.equals(bootstrap_bands(returns, seed=6, repetitions=200).table)


def test_the_fan_opens_around_the_median() -> None:
    import pandas as pd

    returns = pd.Series(np.random.default_rng(12).normal(0.0004, 0.01, 400))
    fan = equity_fan(returns, seed=1, repetitions=100)
    assert fan.shape == (400, 5)
    assert (fan.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert fan[0.95].iloc[-1] - fan[0.05].iloc[-1] > 5 * (fan[0.95].iloc[9] - fan[0.05].iloc[9])


def test_too_little_for_bands_is_one_clear_line() -> None:
    with pytest.raises(DataError, match="10 returns that vary and are finite are needed for bands; at least 50"):
        bootstrap_bands(np.ones(10), seed=1)
    with pytest.raises(DataError, match="are needed for bands"):
        bootstrap_bands(np.zeros(100), seed=1)
    with pytest.raises(ConfigError, match="bands of confidence"):
        bootstrap_bands(np.random.default_rng(1).normal(size=100), seed=1, confidence=1.5)
