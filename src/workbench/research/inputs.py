"""What a strategy and its bars must be before any engine runs on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data.bars import Bars
from workbench.errors import DataError
from workbench.strategies.base import Strategy

Array = npt.NDArray[np.float64]
# Weights are rounded so that exact decimals and floats agree on them (docs/architecture.md).
WEIGHT_DECIMALS = 9


@dataclass(frozen=True)
class Inputs:
    """One window, checked: arrays are sessions x symbols, float64, NaN where a symbol did not trade.

    ``weights`` are rounded to 9 decimals; ``open`` and ``close`` are raw prices in USD. ``splits`` and
    ``dividends`` map the position of a session to one value per symbol, effective before its open:
    new shares per old share (1 where none) and USD per share after the split (0 where none).
    """

    sessions: pd.DatetimeIndex
    symbols: list[str]
    weights: Array
    open: Array
    close: Array
    splits: Mapping[int, Array]
    dividends: Mapping[int, Array]


def prepare(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    start: date | None,
    end: date | None,
) -> Inputs:
    """Compute the weights and align everything on the window.

    Sessions of ``bars_split`` before ``start`` serve as warm-up; sessions after ``end`` are not shown
    to the strategy.

    Raises
    ------
    DataError
        If the bars are unsorted, do not match, or the window is empty; if the weights are missing, not
        finite, negative, above one in sum, or on a symbol without a price; if an action is unusable.
    """
    _check_bars(bars_split, bars_raw)
    window = bars_raw.between(start, end)
    if not len(window):
        have = f"the bars cover {_day(bars_raw.sessions[0])} to {_day(bars_raw.sessions[-1])}"
        raise DataError(f"no sessions from {start} to {end}", hint=have if len(bars_raw) else "there are no bars")
    _check_prices(window)
    weights = _weights(strategy, bars_split.between(None, end), window)
    splits, dividends = event_arrays(actions, window)
    return Inputs(
        sessions=window.sessions,
        symbols=window.symbols,
        weights=weights,
        open=window.open.to_numpy(dtype=float),
        close=window.close.to_numpy(dtype=float),
        splits=splits,
        dividends=dividends,
    )


def event_arrays(actions: pd.DataFrame, window: Bars) -> tuple[dict[int, Array], dict[int, Array]]:
    """Splits and dividends of the window by position of the session, as in :class:`Inputs`.

    An ex-date between two sessions takes effect before the open of the later one. Ex-dates up to the
    first session are left out, because nothing can be held yet.

    Raises
    ------
    DataError
        If an action is neither split nor dividend, or its value is not a positive number.
    """
    splits: dict[int, Array] = {}
    dividends: dict[int, Array] = {}
    column = {symbol: at for at, symbol in enumerate(window.symbols)}
    rows = actions[actions["symbol"].isin(window.symbols)]
    positions = window.sessions.searchsorted(pd.DatetimeIndex(pd.to_datetime(rows["ex_date"])))
    values = zip(positions, rows["symbol"], rows["kind"], rows["value"], rows["ex_date"], strict=True)
    for position, symbol, kind, value, ex_date in values:
        amount = float(value)
        if kind not in ("split", "dividend") or not np.isfinite(amount) or amount <= 0:
            raise DataError(f"{symbol}: cannot apply action {kind!r} of {amount:g} with ex-date {_day(ex_date)}")
        at = int(position)
        if at == 0 or at == len(window):  # before the first order can have filled, or after the window
            continue
        if kind == "split":
            splits.setdefault(at, np.ones(len(column)))[column[symbol]] *= amount
        else:
            dividends.setdefault(at, np.zeros(len(column)))[column[symbol]] += amount
    return splits, dividends


def _check_bars(bars_split: Bars, bars_raw: Bars) -> None:
    if bars_raw.adjustment != "raw":
        raise DataError(f"fills need raw bars, not bars adjusted for {bars_raw.adjustment}")
    if bars_split.adjustment == "raw":
        raise DataError("signals need bars adjusted for splits, not raw bars")
    for bars in (bars_split, bars_raw):
        index = bars.sessions
        wrong = np.flatnonzero(np.diff(index.to_numpy()) <= np.timedelta64(0, "ns"))
        if wrong.size:
            first, second = index[wrong[0]], index[wrong[0] + 1]
            raise DataError(f"sessions are not ascending and unique: {_day(second)} follows {_day(first)}")
    unmatched = sorted(set(bars_split.symbols) ^ set(bars_raw.symbols))
    if unmatched:
        raise DataError(f"{unmatched[0]} is in only one of the split-adjusted and the raw bars")


def _check_prices(window: Bars) -> None:
    for name in ("open", "close"):
        frame: pd.DataFrame = getattr(window, name)
        prices = frame.to_numpy(dtype=float)
        _refuse(frame, ~np.isnan(prices) & ~((prices > 0) & np.isfinite(prices)), f"has a raw {name} of")
    lone = np.isnan(window.open.to_numpy(dtype=float)) != np.isnan(window.close.to_numpy(dtype=float))
    _refuse(window.close, lone, "has only one of open and close; its close is")


def _weights(strategy: Strategy, signals: Bars, window: Bars) -> Array:
    frame = strategy.weights(signals)
    name = type(strategy).__name__
    if not frame.index.equals(signals.close.index) or not frame.columns.equals(signals.close.columns):
        raise DataError(f"{name}.weights returned other sessions or symbols than its bars have")
    missing = window.sessions.difference(signals.sessions)
    if len(missing):
        raise DataError(f"session {_day(missing[0])} is in the raw bars but not in the split-adjusted bars")
    frame = frame.loc[window.sessions, window.symbols]
    values = frame.to_numpy(dtype=float)
    weight = f"weight given by {name} is"
    _refuse(frame, ~np.isfinite(values), f"{weight} not a finite number:")
    _refuse(frame, values < 0, f"{weight} negative (short positions are not modelled):")
    _refuse(frame, (values != 0) & np.isnan(window.close.to_numpy(dtype=float)), f"has no price, but its {weight}")
    values = np.round(values, WEIGHT_DECIMALS)
    total = values.sum(axis=1)
    over = np.flatnonzero(total > 1 + len(window.symbols) * 10.0**-WEIGHT_DECIMALS)
    if over.size:
        session = _day(window.sessions[over[0]])
        raise DataError(f"weights of {name} sum to {total[over[0]]:g} on {session}; borrowing is not modelled")
    return values


def _refuse(frame: pd.DataFrame, wrong: npt.NDArray[np.bool_], what: str) -> None:
    """Raise for the first wrong value, naming symbol and session."""
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value = frame.iat[row, column]
        raise DataError(f"{frame.columns[column]} on {_day(frame.index[row])}: {what} {value:g}")


def _day(stamp: object) -> str:
    return f"{pd.Timestamp(stamp):%Y-%m-%d}"  # type: ignore[arg-type]  # any label of a session index
