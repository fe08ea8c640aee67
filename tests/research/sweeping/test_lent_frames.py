"""Strategies that write into the frames of indicators see the same numbers as if nothing were remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numpy as np
import pandas as pd
import pytest

from workbench import indicators
from workbench.data.bars import FIELDS, Bars
from workbench.research import Assumptions, sweep
from workbench.research.sweeping import jobs
from workbench.strategies.base import Strategy

FREE = Assumptions(
    commission_per_share_usd=0, commission_min_usd=0, slippage_bps=0, cash_buffer=0, min_trade_value_usd=0, lot=None
)


@pytest.fixture(scope="module", params=[1, 3])
def bars(request: pytest.FixtureRequest) -> Bars:
    rng = np.random.default_rng(4)
    days = pd.bdate_range("2013-01-02", periods=60, name="session")
    walk = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (60, request.param)), axis=0))
    close = pd.DataFrame(walk, index=days, columns=list("ABC")[: request.param])
    return Bars(**dict.fromkeys(FIELDS, close), adjustment="total", snapshot=5)


@pytest.fixture(autouse=True)
def nobody_has_written_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_writers", WeakSet())


def assign(frame: pd.DataFrame, name: str, value: Any) -> None:
    setattr(frame, name, value)


WAYS: dict[str, Callable[[pd.DataFrame], object]] = {
    "loc": lambda frame: frame.loc.__setitem__((frame.index[20], "A"), -7.0),
    "loc rows": lambda frame: frame.loc.__setitem__(slice(frame.index[30], None), 0.0),
    "loc mask": lambda frame: frame.loc.__setitem__(frame["A"] > 50, 1.0),
    "iloc": lambda frame: frame.iloc.__setitem__((20, 0), -7.0),
    "iloc column": lambda frame: frame.iloc.__setitem__((slice(None), 0), 3.0),
    "at": lambda frame: frame.at.__setitem__((frame.index[20], "A"), -7.0),
    "iat": lambda frame: frame.iat.__setitem__((20, 0), -7.0),
    "mask": lambda frame: frame.__setitem__(frame > 50, 2.0),
    "column": lambda frame: frame.__setitem__("A", 4.0),
    "a new column": lambda frame: frame.__setitem__("Z", 4.0),
    "series": lambda frame: frame["A"].to_numpy().__setitem__(20, 9.0),
    "values": lambda frame: frame.values.__setitem__(slice(20, 40), 9.0),
    "to_numpy": lambda frame: frame.to_numpy().__setitem__(20, 9.0),
    "asarray": lambda frame: np.asarray(frame).__setitem__(20, 9.0),
    "out": lambda frame: np.multiply(frame.to_numpy(), 2.0, out=frame.to_numpy()),
    "nan_to_num": lambda frame: np.nan_to_num(frame.to_numpy(), copy=False, nan=5.0),
    "fillna": lambda frame: frame.fillna(6.0, inplace=True),
    "bfill": lambda frame: frame.bfill(inplace=True),
    "interpolate": lambda frame: frame.interpolate(limit_direction="both", inplace=True),
    "clip": lambda frame: frame.clip(45.0, 48.0, inplace=True),
    "where": lambda frame: frame.where(frame > 50, 1.0, inplace=True),
    "mask method": lambda frame: frame.mask(frame > 50, 1.0, inplace=True),
    "replace": lambda frame: frame.replace(np.nan, 8.0, inplace=True),
    "update": lambda frame: frame.update(frame * 3.0),
    "times": lambda frame: frame.__imul__(3.0),
    "plus": lambda frame: frame.__iadd__(frame),
    "sort": lambda frame: frame.sort_index(ascending=False, inplace=True),
    "drop": lambda frame: frame.drop(frame.index[20], inplace=True),
    "dropna": lambda frame: frame.dropna(inplace=True),
    "pop": lambda frame: frame.pop("A"),
    "insert": lambda frame: frame.insert(0, "Z", 1.0),
    "rename": lambda frame: frame.rename(columns={"A": "Z"}, inplace=True),
    "columns": lambda frame: assign(frame, "columns", list("XYZ")[: frame.shape[1]]),
    "index": lambda frame: assign(frame, "index", frame.index + pd.Timedelta(days=1)),
    "reset": lambda frame: frame.reset_index(inplace=True),
}


class Writer(Strategy):
    """A weight that tells everything of an average after it was written into: values, order, labels."""

    way: str
    window: int
    share: float
    remembered: bool = True

    def weights(self, bars: Bars) -> pd.DataFrame:
        close = bars.close if self.remembered else bars.close * 1.0
        average = indicators.moving_average(close, self.window)
        WAYS[self.way](average)
        told = pd.util.hash_pandas_object(average).to_numpy().astype(float) @ np.arange(1.0, len(average) + 1.0)
        named = float(pd.util.hash_array(np.array(average.columns, dtype=object)).astype(float).sum())
        part = 0.2 + 0.8 * (np.log(told + named) % 1.0)
        return bars.close.notna() * (self.share * part / len(bars.symbols))


@pytest.mark.parametrize("way", WAYS)
def test_whoever_writes_into_an_indicator_finds_it_whole_the_next_time(bars: Bars, way: str) -> None:
    grid = {"remembered": [True, False], "share": [1.0, 0.5, 0.25], "window": [3, 5]}
    table = sweep(Writer(way=way, window=3, share=1.0), grid, bars, assumptions=FREE, progress=False).table
    assert table["total_return"].abs().gt(0).all()
    pd.testing.assert_frame_equal(table.loc[True], table.loc[False], check_exact=True)


class Fills(Strategy):
    """An average with its gap filled, written in place; it says how often it was asked."""

    window: int

    def weights(self, bars: Bars) -> pd.DataFrame:
        asked.append(self.window)
        average = indicators.moving_average(bars.close, self.window)
        average.iloc[: self.window] = 0.0
        return (average > 0.0) * (1.0 / len(bars.symbols))


asked: list[int] = []


def test_a_strategy_that_writes_is_asked_twice_only_once(bars: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.research.sweeping.running.cores", lambda: 1)
    asked.clear()
    sweep(Fills, {"window": [3, 4, 5]}, bars, assumptions=FREE, progress=False)
    sweep(Fills, {"window": [6, 7]}, bars, assumptions=FREE, progress=False)
    assert asked == [3, 3, 4, 5, 6, 7]


class Fails(Strategy):
    window: int

    def weights(self, bars: Bars) -> pd.DataFrame:
        raise ZeroDivisionError(f"window {self.window}")


def test_a_strategy_that_fails_fails_with_its_own_error(bars: Bars) -> None:
    with pytest.raises(ZeroDivisionError, match="window 3") as raised:
        sweep(Fails, {"window": [3]}, bars, assumptions=FREE, progress=False)
    assert raised.value.__context__ is None
    assert Fails not in jobs._writers


class Itself(Strategy):
    """Weights that are the frame of an indicator: the close, where it is below one."""

    window: int
    remembered: bool = True

    def weights(self, bars: Bars) -> pd.DataFrame:
        return indicators.moving_average(bars.close if self.remembered else bars.close * 1.0, self.window)


def test_weights_may_be_the_frame_of_an_indicator_itself(bars: Bars) -> None:
    penny = Bars(**dict.fromkeys(FIELDS, bars.close / 500.0), adjustment="total", snapshot=5)
    grid = {"remembered": [True, False], "window": [1]}
    table = sweep(Itself, grid, penny, assumptions=FREE, progress=False).table
    assert table["exposure"].min() > 0.05
    pd.testing.assert_frame_equal(table.loc[True], table.loc[False], check_exact=True)


class Again(Strategy):
    """Weights that are written into the same frame for every combination, or into a new one."""

    window: int
    share: float
    same: bool = True

    def weights(self, bars: Bars) -> pd.DataFrame:
        frame = buffers.setdefault(bars.close.shape, bars.close * 0.0) if self.same else bars.close * 0.0
        held = bars.close > indicators.moving_average(bars.close, self.window)
        frame[:] = held.to_numpy() * (self.share / len(bars.symbols))
        return frame


buffers: dict[tuple[int, ...], pd.DataFrame] = {}


def test_a_strategy_may_give_back_the_same_frame_again_and_again(bars: Bars) -> None:
    grid = {"same": [True, False], "window": [2, 3, 5, 8], "share": [1.0, 0.5, 0.25]}
    table = sweep(Again, grid, bars, assumptions=FREE, progress=False).table
    assert table.loc[True, "total_return"].nunique() == 12
    pd.testing.assert_frame_equal(table.loc[True], table.loc[False], check_exact=True)
