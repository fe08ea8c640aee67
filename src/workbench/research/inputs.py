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
from workbench.research.costs import Assumptions
from workbench.strategies.base import Strategy

Array = npt.NDArray[np.float64]
# Weights are rounded so that exact decimals and floats agree on them (docs/architecture.md).
WEIGHT_DECIMALS = 9


@dataclass(frozen=True)
class Inputs:
    """One window, checked: arrays are sessions x symbols, float64, NaN where a symbol did not trade.

    Attributes
    ----------
    weights
        Targets, rounded to 9 decimals (numbers of shares if ``Assumptions.target`` says so).
    decide
        Booleans: whether a symbol's target is acted on at that close (``Assumptions.rebalance``).
    open, close, volume
        Raw prices in USD and raw volume in shares.
    splits, dividends
        Position of a session to one value per symbol, effective before its open: new shares per old share
        (1 where none) and USD per share after the split (0 where none).
    delisted
        One position per symbol: the first session after its last bar, or -1 if it has bars to the end.
    year_fraction
        One number per session: the part of a year since the session before (0 on the first).
    """

    sessions: pd.DatetimeIndex
    symbols: list[str]
    weights: Array
    decide: npt.NDArray[np.bool_]
    open: Array
    close: Array
    volume: Array
    splits: Mapping[int, Array]
    dividends: Mapping[int, Array]
    delisted: npt.NDArray[np.int64]
    year_fraction: Array
    warm_up_lacking: int = 0


def prepare(
    strategy: Strategy,
    bars_split: Bars,
    bars_raw: Bars,
    actions: pd.DataFrame,
    start: date | None,
    end: date | None,
    assumptions: Assumptions = Assumptions(),  # noqa: B008  # frozen
) -> Inputs:
    """Compute the weights and align everything on the window.

    Sessions of ``bars_split`` before ``start`` serve as warm-up; sessions after ``end`` are not shown
    to the strategy.

    Raises
    ------
    DataError
        If the bars are unsorted, do not match, or have no price in the window; if there are too few for the
        strategy's lookback; if the weights are missing, not finite, negative, above the limit in sum, or on
        a symbol without a price; if a volume that is needed is missing; if an action is unusable.
    """
    _check_bars(bars_split, bars_raw)
    window = bars_raw.between(start, end)
    _check_window(window, bars_raw, start, end)
    _check_prices(window)
    if assumptions.max_volume_share is not None:
        _check_volume(window)
    signals = bars_split.between(None, end)
    lacking = _warm_up_lacking(strategy, signals, window)
    weights = _weights(strategy, signals, window, assumptions)
    splits, dividends = event_arrays(actions, window)
    return Inputs(
        sessions=window.sessions,
        symbols=window.symbols,
        weights=weights,
        decide=decisions(weights, window.sessions, bars_raw.sessions, assumptions.rebalance),
        open=window.open.to_numpy(dtype=float),
        close=window.close.to_numpy(dtype=float),
        volume=window.volume.to_numpy(dtype=float),
        splits=splits,
        dividends=dividends,
        delisted=_delisted(window, bars_raw),
        year_fraction=year_fractions(window.sessions, assumptions.day_count),
        warm_up_lacking=lacking,
    )


def decisions(
    weights: Array, sessions: pd.DatetimeIndex, known: pd.DatetimeIndex, rebalance: str
) -> npt.NDArray[np.bool_]:
    """Where targets are acted on: booleans of the shape of ``weights``.

    ``known`` are all sessions there are: whether one is the last of its month is told by the one after it, and the
    very last of all is the end of nothing.
    """
    if rebalance == "every_session":
        return np.ones(weights.shape, dtype=bool)
    if rebalance == "on_change":
        before = np.vstack([np.zeros((1, weights.shape[1])), weights[:-1]])
        changed: npt.NDArray[np.bool_] = weights != before
        return changed
    period = known.to_period("W" if rebalance == "week_end" else "M")
    differs = np.asarray(period[1:] != period[:-1])
    # The first of all sessions starts nothing either: the one before it is unknown.
    turns = np.append(differs, False) if rebalance.endswith("_end") else np.insert(differs, 0, False)
    rows = turns[known.get_indexer(sessions)]
    return np.repeat(rows[:, None], weights.shape[1], axis=1)


def year_fractions(sessions: pd.DatetimeIndex, day_count: str) -> Array:
    """The part of a year from each session's predecessor to it; 0 on the first.

    >>> year_fractions(pd.DatetimeIndex(["2013-01-04", "2013-01-07"]), "actual/360").round(6).tolist()
    [0.0, 0.008333]
    """
    convention, basis = day_count.split("/")
    days = np.diff(sessions.to_numpy()).astype("timedelta64[D]").astype(float)
    steps = days if convention == "actual" else np.ones(len(days))
    return np.insert(steps / float(basis), 0, 0.0)


def marks_of(inputs: Inputs) -> Array:
    """The last known raw close of each symbol at each close, in shares of that day; NaN before the first."""
    marks = inputs.close.copy()
    for at in range(1, len(marks)):
        before = marks[at - 1] / inputs.splits[at] if at in inputs.splits else marks[at - 1]
        gone = np.isnan(marks[at])
        marks[at, gone] = before[gone]
    return marks


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
            raise DataError(f"{symbol}: cannot apply action {kind!r} of {amount:g} with ex-date {day(ex_date)}")
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
            raise DataError(f"sessions are not ascending and unique: {day(second)} follows {day(first)}")
        if not bars.close.columns.is_unique:
            raise DataError(f"{bars.close.columns[bars.close.columns.duplicated()][0]} has two columns in the bars")
    unmatched = sorted(set(bars_split.symbols) ^ set(bars_raw.symbols))
    if unmatched:
        raise DataError(f"{unmatched[0]} is in only one of the split-adjusted and the raw bars")


def _check_window(window: Bars, bars_raw: Bars, start: date | None, end: date | None) -> None:
    if not len(window):
        have = f"the bars cover {day(bars_raw.sessions[0])} to {day(bars_raw.sessions[-1])}" if len(bars_raw) else ""
        raise DataError(f"no sessions from {start} to {end}", hint=have or "there are no bars")
    if window.close.isna().all(axis=None):
        names = ", ".join(window.symbols) or "any symbol"
        raise DataError(f"no price of {names} from {day(window.sessions[0])} to {day(window.sessions[-1])}")


def _check_prices(window: Bars) -> None:
    for name in ("open", "close"):
        frame: pd.DataFrame = getattr(window, name)
        prices = frame.to_numpy(dtype=float)
        _refuse(frame, ~np.isnan(prices) & ~((prices > 0) & np.isfinite(prices)), f"has a raw {name} of")
    lone = np.isnan(window.open.to_numpy(dtype=float)) != np.isnan(window.close.to_numpy(dtype=float))
    _refuse(window.close, lone, "has only one of open and close; its close is")


def _check_volume(window: Bars) -> None:
    volume = window.volume.to_numpy(dtype=float)
    traded = ~np.isnan(window.close.to_numpy(dtype=float))
    _refuse(window.volume, traded & ~((volume >= 0) & np.isfinite(volume)), "max_volume_share needs a volume, not")


def _warm_up_lacking(strategy: Strategy, signals: Bars, window: Bars) -> int:
    """How many sessions at the start of the window have fewer bars than the strategy looks back on."""
    needed = strategy.warm_up_sessions
    if len(signals) < needed:
        raise DataError(
            f"{type(strategy).__name__} needs {needed} sessions of bars to decide, and there are {len(signals)}, "
            f"{day(signals.sessions[0])} to {day(signals.sessions[-1])}",
            hint="read bars from an earlier start, or shorten its lookback",
        )
    before = int(signals.sessions.searchsorted(window.sessions[0]))
    return max(needed - 1 - before, 0)


def _delisted(window: Bars, bars_raw: Bars) -> npt.NDArray[np.int64]:
    last = np.full(len(window.symbols), -1, dtype=np.int64)
    traded = bars_raw.close.loc[:, window.symbols].notna().to_numpy()
    offset = int(bars_raw.sessions.searchsorted(window.sessions[0]))
    for column in np.flatnonzero(traded.any(axis=0)):
        after = int(np.flatnonzero(traded[:, column])[-1]) + 1 - offset
        if 0 < after < len(window):
            last[column] = after
    return last


def _weights(strategy: Strategy, signals: Bars, window: Bars, assumed: Assumptions) -> Array:
    frame = strategy.weights(signals)
    name = type(strategy).__name__
    if not frame.index.equals(signals.close.index) or not frame.columns.equals(signals.close.columns):
        raise DataError(f"{name}.weights returned other sessions or symbols than its bars have")
    missing = window.sessions.difference(signals.sessions)
    if len(missing):
        raise DataError(f"session {day(missing[0])} is in the raw bars but not in the split-adjusted bars")
    frame = frame.loc[window.sessions, window.symbols]
    values = frame.to_numpy(dtype=float)
    weight = f"weight given by {name} is"
    _refuse(frame, ~np.isfinite(values), f"{weight} not a finite number:")
    if not assumed.allow_short:
        _refuse(frame, values < 0, f"{weight} negative (short positions need allow_short):")
    _refuse(frame, (values != 0) & np.isnan(window.close.to_numpy(dtype=float)), f"has no price, but its {weight}")
    values = np.round(values, WEIGHT_DECIMALS)
    if assumed.target == "weights":
        _check_leverage(values, window, name, assumed.max_leverage)
    return values


def _check_leverage(values: Array, window: Bars, name: str, limit: float) -> None:
    total = np.abs(values).sum(axis=1)
    over = np.flatnonzero(total > limit + len(window.symbols) * 10.0**-WEIGHT_DECIMALS)
    if over.size:
        session = day(window.sessions[over[0]])
        raise DataError(
            f"weights of {name} sum to {total[over[0]]:g} on {session}, and max_leverage is {limit:g}",
            hint="raise max_leverage to borrow, or scale the weights",
        )


def _refuse(frame: pd.DataFrame, wrong: npt.NDArray[np.bool_], what: str) -> None:
    """Raise for the first wrong value, naming symbol and session."""
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        value = frame.iat[row, column]
        raise DataError(f"{frame.columns[column]} on {day(frame.index[row])}: {what} {value:g}")


def day(stamp: object) -> str:
    """A session as ISO text."""
    return f"{pd.Timestamp(stamp):%Y-%m-%d}"  # type: ignore[arg-type]  # any label of a session index
