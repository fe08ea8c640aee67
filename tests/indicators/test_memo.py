"""What a sweep remembers of indicators: each is computed once, and nobody can spoil it for the next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from workbench import indicators
from workbench.errors import ParameterError
from workbench.indicators.memo import remembered, remembering

CLOSE = pd.DataFrame({"IBM": np.arange(1.0, 9.0)}, index=pd.bdate_range("2013-01-02", periods=8))
OTHER = CLOSE * 2
asked: list[float] = []


@remembered
def scaled(values: pd.DataFrame, factor: float = 1.0) -> pd.DataFrame:
    """An indicator that says when it is computed."""
    asked.append(factor)
    return values * factor


@pytest.fixture(autouse=True)
def nothing_asked_yet() -> None:
    asked.clear()


def test_an_indicator_is_computed_once_however_its_parameters_are_given() -> None:
    with remembering([CLOSE]):
        made = [scaled(CLOSE, 3.0), scaled(values=CLOSE, factor=3.0), scaled(CLOSE, factor=3.0)]
    assert asked == [3.0]
    for one in made:
        pd.testing.assert_frame_equal(one, CLOSE * 3.0)


def test_other_parameters_other_frames_and_other_times_are_computed_anew() -> None:
    with remembering([CLOSE]):
        scaled(CLOSE, 3.0), scaled(CLOSE, 2.0), scaled(OTHER, 3.0), scaled(OTHER, 3.0)
    scaled(CLOSE, 3.0)
    assert asked == [3.0, 2.0, 3.0, 3.0, 3.0]


def test_whoever_writes_into_an_indicator_writes_into_his_own() -> None:
    with remembering([CLOSE]):
        mine = scaled(CLOSE, 2.0)
        mine.iloc[0, 0] = 0.0
        pd.testing.assert_frame_equal(scaled(CLOSE, 2.0), CLOSE * 2.0)
    assert asked == [2.0]


def test_what_was_not_asked_for_longest_is_forgotten_first() -> None:
    with remembering([CLOSE], most_bytes=2 * CLOSE.to_numpy().nbytes):
        for factor in (1.0, 2.0, 1.0, 3.0, 1.0, 2.0):
            scaled(CLOSE, factor)
    assert asked == [1.0, 2.0, 3.0, 2.0]


def test_a_wrong_parameter_is_refused_though_an_equal_one_is_known() -> None:
    with remembering([CLOSE]):
        indicators.moving_average(CLOSE, 1)
        with pytest.raises(ParameterError, match="window: must be a whole number"):
            indicators.moving_average(CLOSE, 1.0)  # type: ignore[arg-type]


def test_another_thread_remembers_nothing_of_it() -> None:
    with remembering([CLOSE]), ThreadPoolExecutor(1) as other:
        scaled(CLOSE, 2.0)
        other.submit(scaled, CLOSE, 2.0).result()
    assert asked == [2.0, 2.0]


@pytest.mark.parametrize("name", ["moving_average", "moving_deviation", "ema", "rsi", "rolling_rank"])
def test_the_indicators_take_part_and_stay_what_they_are(name: str) -> None:
    indicator = getattr(indicators, name)
    expected = indicator(CLOSE, 3)
    with remembering([CLOSE]):
        pd.testing.assert_frame_equal(indicator(CLOSE, 3), expected)
        pd.testing.assert_frame_equal(indicator(CLOSE, 3), expected)
    pd.testing.assert_series_equal(indicator(CLOSE["IBM"], 3), expected["IBM"])
