"""Compiled indicators against pandas' own expressions, published numbers, and numbers worked out by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench import indicators
from workbench.errors import DataError, ParameterError

# The closes and the index printed in "Relative Strength Index (RSI)" of StockCharts' ChartSchool, for 14 days.
CLOSES = (
    "44.3389 44.0902 44.1497 43.6124 44.3278 44.8264 45.0955 45.4245 45.8433 46.0826 45.8931 46.0328 45.6140 46.2820"
    " 46.2820 46.0028 46.0328 46.4116 46.2222 45.6439 46.2122 46.2521 45.7137 46.4515 45.7835 45.3548 44.0288 44.1783"
    " 44.2181 44.5672 43.4205 42.6628 43.1314"
)
RSI = (
    "70.53 66.32 66.55 69.41 66.36 57.97 62.93 63.26 56.06 62.38 54.71 50.42 39.99 41.46 41.87 45.46 37.30 33.08 37.77"
)


@pytest.fixture(scope="module")
def closes() -> pd.DataFrame:
    """Three symbols: one listed late, one with gaps, one complete."""
    rng = np.random.default_rng(5)
    index = pd.bdate_range("2010-01-04", periods=400, name="session")
    table = pd.DataFrame(50 * np.exp(np.cumsum(rng.normal(0, 0.02, (400, 3)), 0)), index, ["LATE", "GAPS", "FULL"])
    table.loc[table.index[:120], "LATE"] = np.nan
    table.loc[table.index[[0, 57, 58, 200, 399]], "GAPS"] = np.nan
    return table


@pytest.mark.parametrize("window", [1, 2, 7, 50, 250])
def test_moving_averages_and_deviations_are_those_of_pandas(closes: pd.DataFrame, window: int) -> None:
    rolling = closes.rolling(window)
    pd.testing.assert_frame_equal(indicators.moving_average(closes, window), rolling.mean(), rtol=1e-12, atol=1e-12)
    for ddof in (0, 1):
        if window > ddof:  # pandas' own rolling deviation is an online algorithm, and right to 6 digits only
            expected = rolling.apply(lambda values, ddof=ddof: np.std(values, ddof=ddof), raw=True)
        else:
            expected = closes * np.nan
        pd.testing.assert_frame_equal(indicators.moving_deviation(closes, window, ddof), expected, rtol=1e-9, atol=1e-9)


def test_a_moving_average_does_not_drift_over_a_million_sessions() -> None:
    values = np.random.default_rng(1).random(1_000_000) * 1e6
    last = values[-20:].mean()
    assert indicators.moving_average(values, 20)[-1] == pytest.approx(last, rel=1e-14)


def test_rolling_ranks_and_volatilities_are_those_of_pandas(closes: pd.DataFrame) -> None:
    rounded = closes.round(0)  # equal values share a rank
    expected = rounded.rolling(30).rank(pct=True)
    pd.testing.assert_frame_equal(indicators.rolling_rank(rounded, 30), expected, rtol=1e-12)
    changes = closes.pct_change(fill_method=None)
    expected = changes.rolling(20).std() * np.sqrt(252)
    pd.testing.assert_frame_equal(indicators.rolling_volatility(closes, 20), expected, rtol=1e-9)


def test_exponential_averages_are_those_of_pandas_with_gaps_left_out(closes: pd.DataFrame) -> None:
    expected = closes.ewm(span=10, adjust=False, ignore_na=True, min_periods=10).mean().where(closes.notna())
    pd.testing.assert_frame_equal(indicators.ema(closes, 10), expected, rtol=1e-12)


def test_macd_is_made_of_exponential_averages(closes: pd.DataFrame) -> None:
    def average(values: pd.DataFrame, span: int) -> pd.DataFrame:
        return values.ewm(span=span, adjust=False, ignore_na=True, min_periods=span).mean().where(values.notna())

    made = indicators.macd(closes, 5, 9, 4)
    line = average(closes, 5) - average(closes, 9)
    pd.testing.assert_frame_equal(made.line, line, rtol=1e-9, atol=1e-12)
    pd.testing.assert_frame_equal(made.signal, average(line, 4), rtol=1e-9, atol=1e-12)
    pd.testing.assert_frame_equal(made.histogram, made.line - made.signal)


def test_the_relative_strength_index_is_the_published_one() -> None:
    closes = np.array([float(number) for number in CLOSES.split()])
    published = [float(number) for number in RSI.split()]
    found = indicators.rsi(closes, 14)
    assert np.isnan(found[:14]).all()
    assert found[14:] == pytest.approx(published, abs=0.005001)


def test_relative_strength_by_hand_with_a_gap_and_without_any_move() -> None:
    # changes 2, -1, then 3 over the gap; averages 1 and .5, then (1 + 3) / 2 = 2 and .25
    found = indicators.rsi(np.array([10, 12, 11, np.nan, 14.0]), 2)
    assert found[[2, 4]] == pytest.approx([100 * 1 / 1.5, 100 * 2 / 2.25])
    assert np.isnan(found[[0, 1, 3]]).all()
    assert indicators.rsi(np.full(5, 7.0), 2)[-1] == 50.0


def test_the_average_true_range_by_hand() -> None:
    high = np.array([48.70, 48.72, 48.90, 48.87, np.nan, 50.00])
    low = np.array([47.79, 48.14, 48.39, 48.37, np.nan, 49.20])
    close = np.array([48.16, 48.61, 48.75, 48.63, np.nan, 49.30])
    # true ranges: .91, .58, .51, .50, and 50.00 - 48.63 = 1.37 over the gap; the mean of three is 2/3
    second = (2.0 / 3.0 * 2 + 0.50) / 3
    expected = [np.nan, np.nan, 2.0 / 3.0, second, np.nan, (second * 2 + 1.37) / 3]
    assert indicators.atr(high, low, close, 3) == pytest.approx(expected, nan_ok=True)


def test_bollinger_bands_use_the_population_deviation(closes: pd.DataFrame) -> None:
    bands = indicators.bollinger(closes, 20, 2.0)
    middle, spread = closes.rolling(20).mean(), 2.0 * closes.rolling(20).std(ddof=0)
    for found, expected in zip(bands, (middle - spread, middle, middle + spread), strict=True):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def test_what_comes_in_as_a_series_or_an_array_goes_out_as_one(closes: pd.DataFrame) -> None:
    series = closes["FULL"]
    as_series = indicators.ema(series, 5)
    pd.testing.assert_series_equal(as_series, indicators.ema(closes, 5)["FULL"])
    assert np.array_equal(indicators.ema(series.to_numpy(), 5), as_series.to_numpy(), equal_nan=True)
    table = np.asfortranarray(closes.to_numpy(dtype=np.float32))
    assert indicators.ema(table, 5).shape == table.shape


def test_a_position_is_held_from_entry_to_exit() -> None:
    entries = pd.DataFrame({"A": [1, 1, 0, 0, 1, 0], "B": [0, 1, 1, 0, 0, 0]}).astype(bool)
    exits = pd.DataFrame({"A": [0, 0, 1, 0, 1, 0], "B": [1, 0, 1, 0, 0, 1]}).astype(bool)
    expected = pd.DataFrame({"A": [1, 1, 0, 0, 0, 0], "B": [0, 1, 1, 1, 1, 0]}).astype(bool)
    pd.testing.assert_frame_equal(indicators.held(entries, exits), expected)


@pytest.mark.parametrize("wrong", [0, -3, 2.5, True, "20"])
def test_a_window_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(ParameterError, match="must be a whole number"):
        indicators.moving_average(np.arange(5.0), wrong)  # type: ignore[arg-type]


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="differ in shape"):
        indicators.atr(np.ones(3), np.ones(4), np.ones(3))
    with pytest.raises(DataError, match="true or false"):
        indicators.held(np.ones(3), np.ones(3, dtype=bool))
    with pytest.raises(ParameterError, match="must be above fast"):
        indicators.macd(np.ones(3), 26, 12)


def test_strategies_and_indicators_are_imported_without_numba() -> None:
    code = (
        "import sys, workbench.indicators, workbench.strategies.momentum, workbench.strategies.moving_average;"
        " sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0


def test_an_installation_that_cannot_be_written_still_computes(tmp_path: Path) -> None:
    package, copied = Path(indicators.__file__).parents[1], tmp_path / "site" / "workbench"
    for room in ("indicators", "compiling"):
        shutil.copytree(package / room, copied / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "errors.py"):
        shutil.copy(package / name, copied / name)
    # A file in the place of a folder is what nobody can write into, not even root.
    for nowhere in (copied / "indicators" / "__pycache__", tmp_path / "home"):
        nowhere.write_text("")
    home = str(tmp_path / "home")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HOME": home, "XDG_CACHE_HOME": home}
    env.pop("NUMBA_CACHE_DIR", None)
    code = (
        "import numpy as np, workbench.indicators as i; print(i.__file__); print(i.moving_average(np.arange(4.0), 2))"
    )
    made = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert made.stdout.splitlines() == [str(copied / "indicators/__init__.py"), "[nan 0.5 1.5 2.5]"], made.stderr
