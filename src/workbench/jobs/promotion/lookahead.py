"""The look-ahead check: a strategy's past must not change when later bars arrive.

The weights of sessions long gone are worked out anew on bars that end there (truncation replay), and held against
those worked out on all bars. A strategy that has seen the future decides otherwise without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from workbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.bars import Bars
    from workbench.strategies.base import Strategy

# Weights are traded rounded to nine decimals.
_TOLERANCE = 1e-9
_CUTS = 100
_EARLIEST = 2  # sessions of the shortest replay


@dataclass(frozen=True, slots=True)
class Lookahead:
    """What the check looked at, and the first fault it found (empty if there is none)."""

    sessions: int
    cuts: int
    fault: str = ""


def check_lookahead(strategy: Strategy, bars: Bars, *, cuts: int = _CUTS) -> Lookahead:
    """Replay a strategy on bars cut off at ``cuts`` sessions: spread over all of them, and the latest ones.

    Besides, its weights have to be a row for every session, a column for every symbol, and a number in every place.

    Raises
    ------
    DataError
        If there are too few bars to cut.
    """
    sessions = len(bars)
    if sessions <= _EARLIEST:
        raise DataError(f"{sessions} sessions are too few for a look-ahead check", hint="load more data")
    tried, seen = 0, bars
    try:
        full = strategy.weights(bars)
        fault = _shape(full, bars)
        for last in () if fault else _places(sessions, cuts):
            tried += 1
            seen = bars.between(None, bars.sessions[last].date())
            fault = _difference(strategy.weights(seen), full.iloc[: last + 1], seen)
            if fault:
                break
    except Exception as error:  # a strategy is anybody's code
        fault = f"it fails on bars up to {seen.sessions[-1]:%Y-%m-%d}: {type(error).__name__}: {error}"
    return Lookahead(sessions, tried, fault)


def _places(sessions: int, cuts: int) -> Iterator[int]:
    """Where to cut: half of the places evenly, half after each of the latest sessions.

    A strategy that decides at the end of a month gives itself away only there.
    """
    half = max(1, cuts // 2)
    evenly = {_EARLIEST + (sessions - 1 - _EARLIEST) * number // half for number in range(half)}
    near = {sessions - 2 - number for number in range(cuts - half)}
    yield from sorted(place for place in evenly | near if _EARLIEST <= place < sessions - 1)


def _shape(weights: pd.DataFrame, bars: Bars) -> str:
    if not weights.index.equals(bars.close.index) or list(weights.columns) != list(bars.close.columns):
        return "its weights are not a row for every session and a column for every symbol of the bars"
    bad = ~weights.apply(lambda column: column.abs() < float("inf"))
    if bad.to_numpy().any():
        session, symbol = _first(bad)
        return f"its weight of {symbol} on {session} is {weights.loc[str(session), symbol]}, which is no number"
    return ""


def _difference(alone: pd.DataFrame, full: pd.DataFrame, seen: Bars) -> str:
    if fault := _shape(alone, seen):
        return f"on bars that end on {seen.sessions[-1]:%Y-%m-%d}, {fault}"
    changed = (alone - full).abs() > _TOLERANCE
    if not changed.to_numpy().any():
        return ""
    session, symbol = _first(changed)
    then, later = alone.loc[str(session), symbol], full.loc[str(session), symbol]
    return (
        f"it looks ahead: its weight of {symbol} on {session} is {then:.6g} on bars up to {seen.sessions[-1]:%Y-%m-%d},"
        f" but {later:.6g} when later bars are known"
    )


def _first(found: pd.DataFrame) -> tuple[date, str]:
    row, column = found.to_numpy().nonzero()
    return found.index[row[0]].date(), str(found.columns[column[0]])
