"""Other futures and other markets, to hold a strategy against: what did not happen must not change the past."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.bars import FIELDS, Bars

Array = npt.NDArray[np.float64]
Generator = np.random.Generator

# The Gregorian calendar repeats weekdays and leap years after 28 years (1901 to 2099).
CALENDAR_CYCLE = pd.DateOffset(years=28)
_DAILY_NOISE = 0.03  # standard deviation of the log factor by which a made-up future drifts from the real one
_WILD = 5.0  # times the real log returns
_HOLES = 0.1  # share of the bars that a halted market lacks
_LONGEST_HALT = 20  # sessions
_PRICES = ("open", "high", "low", "close")


def noisy(bars: Bars, last: int, random: Generator) -> Bars:
    """The same bars up to row ``last``; after it prices and volumes wander off."""
    shape = (len(bars) - last - 1, len(bars.symbols))
    drift = np.exp(random.normal(0.0, _DAILY_NOISE, shape).cumsum(axis=0))
    traded = np.exp(random.normal(0.0, 1.0, shape))
    return _with_future(bars, last, lambda name, later: later * (traded if name == "volume" else drift))


def reversed_future(bars: Bars, last: int, random: Generator) -> Bars:
    """The same bars up to row ``last``; after it every rise is a fall of the same size in logarithms."""
    level = _last_known(bars.close.to_numpy(dtype=float)[: last + 1])
    swapped = {"high": "low", "low": "high"}
    prices = {name: getattr(bars, name).to_numpy(dtype=float) for name in _PRICES}

    def mirrored(name: str, later: Array) -> Array:
        if name == "volume":
            return later[::-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(level**2 / prices[swapped.get(name, name)][last + 1 :])

    return _with_future(bars, last, mirrored)


def delisted(bars: Bars, last: int, random: Generator) -> Bars:
    """The same bars up to row ``last``; after it half of the symbols, one at least, are never seen again."""
    names = len(bars.symbols)
    gone = random.permutation(names)[: max(1, names // 2)]

    def without(name: str, later: Array) -> Array:
        later[:, gone] = np.nan
        return later

    return _with_future(bars, last, without)


FUTURES: Mapping[str, Callable[[Bars, int, Generator], Bars]] = {
    "noise": noisy,
    "reversal": reversed_future,
    "delisting": delisted,
}


def made_up(bars: Bars, random: Generator) -> dict[str, Bars]:
    """Markets that the data may not have: wild, falling, halted now and then, without any movement.

    A strategy takes other branches there. The sessions and symbols are those of ``bars``; missing bars are filled
    from the last known close before, so that every market has a price everywhere (the halted one: until holes are cut).
    """
    close = bars.close.ffill().bfill().fillna(100.0).to_numpy(dtype=float)
    close = np.where(np.isfinite(close) & (close > 0), close, 100.0)
    moves = np.diff(np.log(close), axis=0, prepend=np.log(close[:1]))
    wild = np.clip(_WILD * moves, -0.5, 0.5)
    markets = {
        "wild": _market(bars, np.exp((wild - wild.mean(axis=0)).cumsum(axis=0)) * close[0], random),
        "falling": _market(bars, np.exp(-(moves + 0.001).cumsum(axis=0)) * close[0], random),
        "flat": _market(bars, np.repeat(close[:1], len(bars), axis=0), random),
    }
    markets["halted"] = _with_holes(_market(bars, close, random), random)
    return markets


def strange(bars: Bars, random: Generator) -> Bars:
    """Nothing of the real bars but their number and the symbols: other prices, other dates, holes elsewhere."""
    walk = 100.0 * np.exp(random.normal(0.0, 0.02, bars.close.shape).cumsum(axis=0))
    moved = moved_dates(bars, pd.DateOffset(years=28, days=3))
    return _with_holes(_market(moved, walk, random), random)


def moved_dates(bars: Bars, by: pd.DateOffset) -> Bars:
    """The same prices on other dates."""
    index = (bars.sessions + by).rename(bars.sessions.name)
    return _of(bars, {name: getattr(bars, name).set_axis(index, axis="index") for name in FIELDS})


def copied(bars: Bars) -> Bars:
    """The same bars in memory of their own."""
    return _of(bars, {name: getattr(bars, name).copy() for name in FIELDS})


def same(a: Bars, b: Bars) -> bool:
    """Whether all five frames agree, place by place."""
    return all(getattr(a, name).equals(getattr(b, name)) for name in FIELDS)


def _of(bars: Bars, frames: dict[str, Any]) -> Bars:
    return Bars(**frames, adjustment=bars.adjustment, snapshot=bars.snapshot)


def _with_future(bars: Bars, last: int, change: Callable[[str, Array], Array]) -> Bars:
    frames = {}
    for name in FIELDS:
        values = getattr(bars, name).to_numpy(dtype=float, copy=True)
        values[last + 1 :] = change(name, values[last + 1 :].copy())
        frames[name] = pd.DataFrame(values, index=bars.close.index, columns=bars.close.columns)
    return _of(bars, frames)


def _market(bars: Bars, close: Array, random: Generator) -> Bars:
    """Bars around given closes: opens at the close before, highs and lows a little outside."""
    opens = np.vstack([close[:1], close[:-1]])
    reach = 1.0 + 0.005 * random.random(close.shape)
    values = {
        "open": opens,
        "high": np.maximum(opens, close) * reach,
        "low": np.minimum(opens, close) / reach,
        "close": close,
        "volume": random.lognormal(13.0, 1.0, close.shape),
    }
    index, columns = bars.close.index, bars.close.columns
    return _of(bars, {name: pd.DataFrame(value, index=index, columns=columns) for name, value in values.items()})


def _with_holes(bars: Bars, random: Generator) -> Bars:
    holes = random.random(bars.close.shape) < _HOLES
    for column in range(holes.shape[1]):
        start = int(random.integers(0, len(bars)))
        holes[start : start + int(random.integers(1, _LONGEST_HALT + 1)), column] = True
    return _of(bars, {name: getattr(bars, name).mask(holes) for name in FIELDS})


def _last_known(prices: Array) -> Array:
    return pd.DataFrame(prices).ffill().iloc[-1].to_numpy(dtype=float)
