from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.adjust import adjust, factors
from workbench.data.bars import Bars
from workbench.data.lake import Lake
from workbench.errors import DataError

NAN = float("nan")


def published(folder: Path, name: str, symbol: str) -> pd.DataFrame:
    """The vendor's own table of one symbol, read with nothing of ours."""
    frame = pd.read_csv(folder / name).rename(columns=str.lower)
    frame.index = pd.DatetimeIndex(frame["date"])
    return frame[frame["ticker"] == symbol]


@pytest.mark.parametrize("symbol", ["AAPL", "BRK_A", "MSFT", "ZEN"])
def test_total_prices_of_2014_are_the_published_ones(sample_lake: Lake, sample_folder: Path, symbol: str) -> None:
    theirs = published(sample_folder, "wiki_2014_AAPL_BRKA_MSFT_ZEN.csv", symbol)
    ours = sample_lake.bars([symbol], start=date(2014, 1, 1), adjustment="total")
    # The vendor adjusts for what came after 2014 too: one constant, taken out by the last row.
    scale = theirs["adj_close"].iloc[-1] / theirs["close"].iloc[-1]
    for field in ("open", "high", "low", "close"):
        got = getattr(ours, field)[symbol].to_numpy() * scale
        np.testing.assert_allclose(got, theirs[f"adj_{field}"], rtol=1e-12, atol=0)
    shares = theirs["adj_volume"].iloc[-1] / theirs["volume"].iloc[-1]
    np.testing.assert_allclose(ours.volume[symbol] * shares, theirs["adj_volume"], rtol=1e-12)


@pytest.mark.parametrize("symbol", ["AAPL", "FB", "GOOG", "IBM", "MSFT"])
def test_derived_actions_give_back_the_published_prices_of_2000_to_2013(
    sample_lake: Lake, sample_folder: Path, symbol: str
) -> None:
    theirs = published(sample_folder, "wiki_2000_2013_AAPL_FB_GOOG_IBM_MSFT.csv.gz", symbol)
    ours = sample_lake.bars([symbol], end=date(2013, 3, 1), adjustment="total").close[symbol]
    scale = theirs["adj close"].iloc[-1] / theirs["close"].iloc[-1]
    # 12 decimals are printed, and up to 52 rounded dividends are multiplied
    np.testing.assert_allclose(ours * scale, theirs["adj close"], rtol=1e-11)


def frame(**columns: list[float]) -> pd.DataFrame:
    days = pd.bdate_range("2013-01-02", periods=len(next(iter(columns.values()))), name="session")
    return pd.DataFrame(columns, index=days)


def events(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["symbol", "ex_date", "kind", "value"])
    return table.astype({"ex_date": "datetime64[ns]"})


def bars_of(close: pd.DataFrame) -> Bars:
    return Bars(close, close, close, close, close * 0 + 100.0, adjustment="raw", snapshot=1)


def test_a_factor_covers_the_rows_before_the_ex_date_only() -> None:
    close = frame(A=[8.0, 8.0, 4.0, 4.0], B=[1.0, 1.0, 1.0, 1.0])
    # Friday 2013-01-04 is the third row
    found = factors(close, events(("A", "2013-01-04", "split", 2.0)))
    assert found["A"].tolist() == [0.5, 0.5, 1.0, 1.0]
    assert found["B"].tolist() == [1.0] * 4


def test_a_dividend_is_taken_out_at_the_close_of_the_ex_date() -> None:
    # 1 / (1 + 0.25/5) = 1/1.05
    found = factors(frame(A=[6.0, 5.0]), events(("A", "2013-01-03", "dividend", 0.25)))
    assert found["A"].tolist() == [1 / 1.05, 1.0]


def test_a_split_and_a_dividend_of_one_day_multiply() -> None:
    actions = events(("A", "2013-01-03", "split", 2.0), ("A", "2013-01-03", "dividend", 0.25))
    assert factors(frame(A=[12.0, 5.0]), actions)["A"].tolist() == pytest.approx([0.5 / 1.05, 1.0], rel=1e-15)


def test_an_action_on_a_day_without_a_bar_works_from_the_next_bar() -> None:
    close = frame(A=[8.0, NAN, 4.0], B=[1.0, 1.0, 1.0])
    assert factors(close, events(("A", "2013-01-03", "split", 2.0)))["A"].tolist() == [0.5, 0.5, 1.0]
    # a Saturday, and a day after the last bar
    assert factors(close, events(("B", "2013-01-05", "split", 2.0)))["B"].tolist() == [1.0] * 3
    gone = frame(A=[8.0, NAN, NAN], B=[1.0, 1.0, 1.0])
    assert factors(gone, events(("A", "2013-01-03", "split", 2.0)))["A"].tolist() == [1.0] * 3


def test_actions_outside_the_rows_or_of_others_change_nothing() -> None:
    actions = events(
        ("A", "2013-01-02", "split", 2.0),  # ex on the first row: no row before it
        ("A", "2012-06-01", "split", 2.0),
        ("A", "2014-06-01", "split", 2.0),
        ("Z", "2013-01-03", "split", 2.0),
    )
    assert factors(frame(A=[1.0, 1.0]), actions)["A"].tolist() == [1.0, 1.0]
    assert factors(frame(A=[1.0, 1.0]), actions.iloc[:0])["A"].tolist() == [1.0, 1.0]


def test_split_leaves_dividends_in_and_both_multiply_the_volume() -> None:
    actions = events(("A", "2013-01-03", "split", 2.0), ("A", "2013-01-04", "dividend", 0.25))
    raw = bars_of(frame(A=[12.0, 6.0, 5.0]))
    split, total = adjust(raw, actions, "split"), adjust(raw, actions, "total")
    assert split.close["A"].tolist() == [6.0, 6.0, 5.0]
    assert total.close["A"].tolist() == pytest.approx([6 / 1.05, 6 / 1.05, 5.0])
    assert split.volume["A"].tolist() == total.volume["A"].tolist() == [200.0, 100.0, 100.0]
    assert (split.adjustment, total.adjustment, split.snapshot) == ("split", "total", 1)
    assert adjust(raw, actions, "raw") is raw


def test_adjusted_bars_are_not_adjusted_again() -> None:
    bars = adjust(bars_of(frame(A=[1.0, 1.0])), events(), "split")
    with pytest.raises(DataError, match=r"adjusted already \(split\)"):
        adjust(bars, events(), "split")


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[float], dict[int, float], dict[int, float]]:
    """Raw closes, splits by row and dividends by row; a bar can have both."""
    closes = draw(st.lists(st.floats(1, 500), min_size=2, max_size=60))
    rows = st.integers(0, len(closes) - 1)
    splits = draw(st.dictionaries(rows, st.sampled_from([0.1, 0.5, 1.5, 2.0, 3.0, 7.0]), max_size=4))
    dividends = draw(st.dictionaries(rows, st.floats(0.001, 5), max_size=12))
    return closes, splits, dividends


def table(splits: dict[int, float], dividends: dict[int, float], days: pd.DatetimeIndex) -> pd.DataFrame:
    rows = [("A", days[row], "split", value) for row, value in splits.items()]
    rows += [("A", days[row], "dividend", value) for row, value in dividends.items()]
    return pd.DataFrame(rows, columns=["symbol", "ex_date", "kind", "value"]).astype({"ex_date": "datetime64[ns]"})


@given(histories())
def test_total_returns_are_those_of_a_holder_who_reinvests(
    history: tuple[list[float], dict[int, float], dict[int, float]],
) -> None:
    closes, splits, dividends = history
    close = frame(A=closes)
    adjusted = adjust(bars_of(close), table(splits, dividends, close.index), "total").close["A"].to_numpy()
    shares = 1.0  # bought at the first close, after the first row's own actions
    for row in range(1, len(closes)):
        shares *= splits.get(row, 1.0)
        # the holder's dividend is on the shares after the split, and buys at the close
        shares += shares * dividends.get(row, 0.0) / closes[row]
        assert adjusted[row] / adjusted[0] == pytest.approx(shares * closes[row] / closes[0], rel=1e-9)


@given(histories(), st.data())
def test_what_came_later_changes_no_return(
    history: tuple[list[float], dict[int, float], dict[int, float]], data: st.DataObject
) -> None:
    closes, splits, dividends = history
    close = frame(A=closes)
    rows = data.draw(st.integers(2, len(closes)))
    actions = table(splits, dividends, close.index)
    for adjustment in ("split", "total"):
        full = adjust(bars_of(close), actions, adjustment).close["A"].to_numpy()[:rows]
        short = adjust(bars_of(close.iloc[:rows]), actions, adjustment).close["A"].to_numpy()
        np.testing.assert_allclose(short / short[0], full / full[0], rtol=1e-9)
        assert short[-1] == closes[rows - 1]


@given(histories())
def test_a_split_changes_no_turnover(history: tuple[list[float], dict[int, float], dict[int, float]]) -> None:
    closes, splits, _ = history
    close = frame(A=closes)
    raw = bars_of(close)
    bars = adjust(raw, table(splits, {}, close.index), "split")
    np.testing.assert_allclose(bars.close * bars.volume, raw.close * raw.volume, rtol=1e-12)
