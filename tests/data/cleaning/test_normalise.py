from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from workbench.data.cleaning.normalise import (
    CrossSectionalRank,
    ExpandingScaler,
    LogReturns,
    RollingZScore,
    VolatilityScaler,
    Winsorizer,
)
from workbench.data.lake import Lake

IN_TIME_ORDER = [
    RollingZScore(window=3),
    ExpandingScaler(min_periods=2),
    Winsorizer(min_periods=2),
    VolatilityScaler(min_periods=2),
    LogReturns(),
]
# What a row is depends on the rows before it: that is what these are for.
_ORDER = "rows are moments in order"
_EXPECTED = {"check_methods_sample_order_invariance": _ORDER, "check_methods_subset_invariance": _ORDER}


@parametrize_with_checks(
    [*IN_TIME_ORDER, CrossSectionalRank()],
    expected_failed_checks=lambda one: {} if isinstance(one, CrossSectionalRank) else _EXPECTED,
)
def test_scikit_learns_own_checks_hold(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def closes(sample_lake: Lake) -> pd.DataFrame:
    """Adjusted closes of five stocks, 2011 to 2013-03-01; FB begins within it."""
    names = ["AAPL", "FB", "GOOG", "IBM", "MSFT"]
    return sample_lake.bars(names, start=date(2011, 1, 3), end=date(2013, 3, 1), adjustment="total").close


@pytest.fixture(scope="module")
def returns(closes: pd.DataFrame) -> pd.DataFrame:
    return closes.pct_change(fill_method=None)


def framed(transformer: Any, values: pd.DataFrame) -> pd.DataFrame:
    return transformer.set_output(transform="pandas").fit_transform(values)


def scored(values: pd.DataFrame, over: Any) -> pd.DataFrame:
    return (values - over.mean()) / over.std()


REFERENCES: list[tuple[Any, Callable[[pd.DataFrame], pd.DataFrame]]] = [
    (RollingZScore(20), lambda x: scored(x, x.rolling(20))),
    (RollingZScore(63, min_periods=5), lambda x: scored(x, x.rolling(63, min_periods=5))),
    (ExpandingScaler(min_periods=30), lambda x: scored(x, x.expanding(30))),
    (
        Winsorizer(0.05, 0.95, window=60, min_periods=30),
        lambda x: x.clip(x.rolling(60, 30).quantile(0.05).shift(1), x.rolling(60, 30).quantile(0.95).shift(1)).where(
            x.rolling(60, 30).count().shift(1) >= 30
        ),
    ),
    (
        Winsorizer(0.1, 0.8),
        lambda x: x.clip(x.expanding(20).quantile(0.1).shift(1), x.expanding(20).quantile(0.8).shift(1)).where(
            x.expanding().count().shift(1) >= 20
        ),
    ),
    (
        VolatilityScaler(0.97, min_periods=1),
        lambda x: x / (x**2).ewm(alpha=1 - 0.97, adjust=False).mean().shift(1) ** 0.5,
    ),
    (CrossSectionalRank(), lambda x: x.rank(axis=1, pct=True)),
    (
        CrossSectionalRank(centred=True),
        lambda x: x.rank(axis=1, pct=True).sub(x.rank(axis=1, pct=True).mean(1), axis=0),
    ),
]


@pytest.mark.parametrize(
    ("transformer", "reference"),
    REFERENCES,
    ids=[f"{type(one).__name__}-{number}" for number, (one, _) in enumerate(REFERENCES)],
)
def test_results_are_those_of_pandas(
    transformer: Any, reference: Callable[[pd.DataFrame], pd.DataFrame], returns: pd.DataFrame
) -> None:
    pd.testing.assert_frame_equal(
        framed(transformer, returns), reference(returns), rtol=1e-9, atol=1e-12, check_names=False
    )


def test_log_returns_are_those_of_pandas(closes: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(framed(LogReturns(5), closes), np.log(closes / closes.shift(5)), check_names=False)
    with pytest.raises(ValueError, match="Negative values in data passed to LogReturns: -1 in row 1, column 0"):
        LogReturns().fit([[1.0], [-1.0]])


def test_prices_far_from_zero_keep_the_digits_of_their_deviation(closes: pd.DataFrame) -> None:
    """Sums of squares of such prices have no digit left for the deviation; a jump and a spike must not hurt either."""
    values = closes[["IBM"]] + 1e9
    values.iloc[200:] += 1e9
    values.iloc[300] *= 1e3
    window = np.lib.stride_tricks.sliding_window_view(values["IBM"].to_numpy(), 20)
    expected = (window[:, -1] - window.mean(axis=1)) / window.std(axis=1, ddof=1)  # both passes over every window
    np.testing.assert_allclose(framed(RollingZScore(20), values)["IBM"].to_numpy()[19:], expected, atol=1e-6)


@pytest.mark.parametrize("transformer", [*IN_TIME_ORDER, CrossSectionalRank()], ids=lambda one: type(one).__name__)
@settings(max_examples=10, deadline=None)
@given(cut=st.integers(min_value=1, max_value=540), seed=st.integers(min_value=0, max_value=9))
def test_no_row_changes_when_later_ones_are_taken_away_or_are_others(
    transformer: Any, closes: pd.DataFrame, cut: int, seed: int
) -> None:
    whole = clone(transformer).fit_transform(closes)
    np.testing.assert_array_equal(clone(transformer).fit_transform(closes.iloc[:cut]), whole[:cut])
    other = closes.copy()
    other.iloc[cut:] *= np.random.default_rng(seed).uniform(0.1, 10, other.iloc[cut:].shape)
    np.testing.assert_array_equal(clone(transformer).fit_transform(other)[:cut], whole[:cut])


@pytest.mark.parametrize("transformer", IN_TIME_ORDER, ids=lambda one: type(one).__name__)
def test_a_test_fold_begins_warm_and_equals_the_whole(transformer: Any, closes: pd.DataFrame) -> None:
    whole = framed(clone(transformer), closes)
    for train, test in TimeSeriesSplit(4).split(closes):
        fitted = clone(transformer).set_output(transform="pandas").fit(closes.iloc[train])
        pd.testing.assert_frame_equal(fitted.transform(closes.iloc[test]), whole.iloc[test])
        pd.testing.assert_frame_equal(fitted.transform(closes.iloc[train[5:]]), whole.iloc[train[5:]])
        assert fitted.transform(closes.iloc[test]).notna().to_numpy()[:, 0].all()


def test_they_work_in_a_pipeline_under_time_series_split(closes: pd.DataFrame) -> None:
    four = closes[["AAPL", "GOOG", "IBM", "MSFT"]]
    target = np.log(four["IBM"]).diff().shift(-1).fillna(0.0)
    model = make_pipeline(
        LogReturns(), Winsorizer(0.05, 0.95), RollingZScore(20), SimpleImputer(strategy="constant"), Ridge()
    ).set_output(transform="pandas")
    scores = cross_val_score(model, four, target, cv=TimeSeriesSplit(3), scoring="neg_mean_squared_error")
    assert np.isfinite(scores).all()
    features = model[:-2].fit(four).transform(four)
    assert list(features.columns) == list(four.columns)
    pd.testing.assert_index_equal(features.index, four.index)


@pytest.mark.parametrize(
    ("transformer", "said"),
    [
        (RollingZScore(1), "'window' parameter of RollingZScore must be an int"),
        (Winsorizer(0.9, 0.1), "lower=0.9 is above upper=0.1"),
        (Winsorizer(window=5), "window=5 never holds min_periods=20 values"),
        (VolatilityScaler(1.0), "'decay' parameter of VolatilityScaler must be a float"),
    ],
)
def test_parameters_that_cannot_be_meant_are_refused(transformer: Any, said: str, closes: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=said):
        transformer.fit(closes)


def test_rows_that_are_not_in_time_order_are_refused(closes: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="the index has to ascend without repeats"):
        RollingZScore().fit(closes.iloc[::-1])
    fitted = RollingZScore().fit(closes)
    with pytest.raises(ValueError, match=r"fitted on an index of datetime64\[ns\], asked about one of int64"):
        fitted.transform(closes.reset_index(drop=True))
