"""Comparing two sets of books."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pandas as pd
import pytest

from workbench.errors import DataError
from workbench.research import Assumptions, BacktestResult, backtest
from workbench.research.comparison import compare


@pytest.fixture
def books(sample: Any, holder: Any) -> BacktestResult:
    return backtest(
        holder,
        sample.split,
        sample.raw,
        sample.actions,
        start=date(2013, 1, 2),
        end=date(2013, 3, 1),
        assumptions=Assumptions(),
    )


def test_the_same_books_differ_nowhere(books: BacktestResult) -> None:
    made = compare(books, books)
    assert made.summary == {
        "sessions": 41,
        "max_difference_usd": 0.0,
        "final_difference_usd": 0.0,
        "first_difference": None,
        "differing_fills": 0,
    }
    assert list(made.equity.columns) == ["kernel 1", "kernel 2", "difference"]


def test_half_a_cent_is_the_first_difference(books: BacktestResult) -> None:
    other = books.equity.copy()
    other.iloc[10:] += 0.004
    other.iloc[20:] += 0.002
    made = compare(books, replace(books, equity=other, engine="other"))
    assert made.first_difference == books.equity.index[20]
    assert not made.equal_to_the_cent
    assert made.max_difference_usd == pytest.approx(0.006)
    assert made.summary["first_difference"] == books.equity.index[20].date()


def test_missing_and_changed_fills_are_listed(books: BacktestResult) -> None:
    fills = books.fills.iloc[1:].copy()
    fills.iloc[0, fills.columns.get_loc("fee")] += 0.01
    made = compare(books, replace(books, fills=fills, engine="other"))
    assert len(made.fills) == 2
    assert made.fills["quantity other"].isna().sum() == 1
    changed = made.fills.dropna().iloc[0]
    assert changed["fee other"] - changed["fee kernel"] == pytest.approx(0.01)


def test_different_windows_are_refused(books: BacktestResult) -> None:
    with pytest.raises(DataError, match="cover different sessions"):
        compare(books, replace(books, equity=books.equity.iloc[1:]))


def test_comparing_does_not_change_what_it_compares(books: BacktestResult) -> None:
    before = books.fills.copy()
    compare(books, books)
    pd.testing.assert_frame_equal(books.fills, before)
