"""A quick frame gives what pandas gives: values, types and labels, for every operator and every other side."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.indicators.frames import QuickFrame

DAYS = pd.bdate_range("2013-01-02", periods=4, name="session")
NAMES = pd.Index(["A", "B"], name="symbol")
OPERATORS = [
    operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne, operator.add, operator.sub,
    operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow, operator.and_, operator.or_,
    operator.xor,
]  # fmt: skip
cell = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf")]))
floats = st.lists(cell, min_size=8, max_size=8).map(lambda cells: frame(np.array(cells)))
truths = st.lists(st.booleans(), min_size=8, max_size=8).map(lambda cells: frame(np.array(cells)))
whole = st.lists(st.integers(-3, 3), min_size=8, max_size=8).map(lambda cells: frame(np.array(cells)))
numbers = st.one_of(st.floats(), st.integers(), st.booleans(), st.floats(-3, 3).map(np.float64), st.just(np.int8(2)))
labelled = st.one_of(floats, truths, whole)


def frame(values: Any) -> pd.DataFrame:
    return pd.DataFrame(values.reshape(4, 2), index=DAYS, columns=NAMES)


def otherwise(given: pd.DataFrame) -> st.SearchStrategy[Any]:
    """Other sides that are not simple: other labels or types, several types, series, arrays, text."""
    return st.sampled_from([
        given.iloc[::-1], given.iloc[:, ::-1], given.iloc[:2], given.set_axis(["A", "C"], axis=1), given.to_numpy(),
        given.iloc[0], given.assign(B=1), given.astype("float32"), given.astype("Float64"), given.astype(object),
        given.copy(), None, "text", pd.Timestamp("2013-01-02"), [1.0, 2.0],
    ])  # fmt: skip


def outcome(function: Callable[..., Any], *sides: Any) -> Any:
    try:
        return function(*sides)
    except Exception as error:
        return type(error)


def check(operator: Callable[..., Any], left: Any, right: Any) -> None:
    """Both sides plain, and either one or both of them quick."""
    expected = outcome(operator, left, right)
    quick = [QuickFrame.of(side, deep=True) if isinstance(side, pd.DataFrame) else side for side in (left, right)]
    for sides in ((quick[0], right), (left, quick[1]), quick):
        found = outcome(operator, *sides)
        if isinstance(expected, pd.DataFrame):
            pd.testing.assert_frame_equal(found, expected, check_exact=True, check_freq=True)
        else:
            assert found is expected


@pytest.mark.filterwarnings("ignore")  # pandas warns of some other sides; the same of all
@given(st.sampled_from(OPERATORS), labelled, st.one_of(labelled, numbers))
def test_operators_of_equal_labels_and_numbers_are_those_of_pandas(
    operator: Callable[..., Any], left: pd.DataFrame, right: Any
) -> None:
    check(operator, left, right)
    if not isinstance(right, pd.DataFrame | np.generic):
        check(operator, right, left)


@pytest.mark.filterwarnings("ignore")
@given(st.sampled_from(OPERATORS), floats, st.data())
def test_operators_of_what_is_not_simple_are_those_of_pandas(
    operator: Callable[..., Any], left: pd.DataFrame, data: st.DataObject
) -> None:
    check(operator, left, data.draw(otherwise(left)))


def test_simple_operators_are_quick_and_methods_give_plain_frames() -> None:
    quick = QuickFrame.of(frame(np.arange(8.0)), deep=False)
    for made in (quick > quick, quick > 2.0, quick * 2, 1.0 - quick, (quick > 1.0) * 1.0, (quick > 1) & (quick < 3)):
        assert type(made) is QuickFrame
    for made in (quick.shift(), quick.copy(), quick[["A"]], quick.mul(2.0), quick > quick.iloc[::-1].iloc[::-1]):
        assert type(made) is pd.DataFrame


def test_attributes_and_flags_go_on_as_in_pandas() -> None:
    quick = QuickFrame.of(frame(np.arange(8.0)), deep=False)
    quick.attrs["unit"] = "USD"
    assert (quick * 2.0).attrs == {"unit": "USD"}
    strict = QuickFrame.of(frame(np.arange(8.0)), deep=False)
    strict.flags.allows_duplicate_labels = False
    assert not (strict * 2.0).flags.allows_duplicate_labels


def test_what_was_changed_in_place_is_what_is_computed_with() -> None:
    quick = QuickFrame.of(frame(np.arange(8.0)), deep=True)
    quick["A"] = 5
    quick.columns = pd.Index(["B", "C"])
    quick.iloc[0, 1] = -1.0
    expected = pd.DataFrame({"B": [5] * 4, "C": [-1.0, 3.0, 5.0, 7.0]}, index=DAYS) * 2.0
    pd.testing.assert_frame_equal(quick * 2.0, expected)
