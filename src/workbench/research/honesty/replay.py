"""Deciding again on bars that end earlier, or go on otherwise: the weights of the past must not change."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.bars import Bars

# Weights are traded rounded to nine decimals.
TOLERANCE = 1e-9
EARLIEST = 2  # the first row at which bars are cut

Decide = Callable[[Bars], pd.DataFrame]


class StrategyFailed(Exception):
    """The strategy raised, or gave something that is no table of weights; the text says what, on which bars."""


def deciding(weights: Decide) -> Decide:
    """Make a strategy's weights checked: a row for every session, a column for every symbol, a number everywhere."""

    def decide(bars: Bars) -> pd.DataFrame:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                made = weights(bars)
        except Exception as error:  # a strategy is anybody's code
            raise StrategyFailed(
                f"it fails on bars up to {bars.sessions[-1]:%Y-%m-%d}: {type(error).__name__}: {error}"
            ) from error
        if fault := shape_fault(made, bars):
            raise StrategyFailed(fault)
        return made

    return decide


def places(sessions: pd.DatetimeIndex, cuts: int | None, random: np.random.Generator) -> list[int]:
    """The rows to cut after, ascending: every row, or ``cuts`` of them.

    Three in ten are the latest ones, three in ten the ends of the latest months and weeks and the sessions before
    them, where a strategy that decides at the end of a period gives itself away; the others lie anywhere, one in each
    of as many equal stretches.
    """
    last = len(sessions) - 2
    every = range(EARLIEST, last + 1)
    if cuts is None or cuts >= len(every):
        return list(every)
    some = max(1, cuts * 3 // 10)
    chosen = set(every[-some:])
    chosen |= set(_period_ends(sessions, some) & set(every))
    stretches = max(1, cuts - len(chosen))
    edges = np.linspace(EARLIEST, last + 1, stretches + 1)
    for low, high in itertools.pairwise(edges):
        chosen.add(min(last, int(low + (high - low) * random.random())))
    return sorted(chosen)


def replay(
    decide: Decide, bars: Bars, rows: Sequence[int], *, keep: int | None = None, full: bool = True
) -> tuple[str, int, pd.DataFrame | None]:
    """Decide on bars cut after each of ``rows``, ascending, and at last on all; each has to repeat the one before.

    So the strategy sees nothing later than what it is asked about, and two tables of weights are held at most (a third
    for ``keep``, the row whose table is wanted back).

    Returns
    -------
    The first fault (empty if none), the number of cuts that were tried, and the table after row ``keep``.
    """
    before: pd.DataFrame | None = None
    kept: pd.DataFrame | None = None
    tried = 0
    for last in (*rows, *((len(bars) - 1,) if full else ())):
        now = decide(until(bars, last))
        tried += last in rows
        if before is not None and (fault := difference(before, now)):
            return fault, tried, kept
        before = now
        kept = now if last == keep else kept
    return "", tried, kept


def until(bars: Bars, last: int) -> Bars:
    """The bars up to row ``last``, included."""
    frames: dict[str, Any] = {
        name: getattr(bars, name).iloc[: last + 1] for name in ("open", "high", "low", "close", "volume")
    }
    return Bars(**frames, adjustment=bars.adjustment, snapshot=bars.snapshot)


def difference(earlier: pd.DataFrame, later: pd.DataFrame, why: str = "when later bars are known") -> str:
    """The first weight of ``earlier`` that ``later`` has otherwise, in words; empty if there is none."""
    rows = len(earlier)
    old, new = earlier.to_numpy(dtype=float), later.to_numpy(dtype=float)[:rows]
    changed = np.argwhere(~(np.abs(old - new) <= TOLERANCE))
    if not len(changed):
        return ""
    row, column = changed[0]
    session, last = earlier.index[row], earlier.index[-1]
    return (
        f"it looks ahead: its weight of {earlier.columns[column]} on {session:%Y-%m-%d} is {old[row, column]:.6g}"
        f" on bars up to {last:%Y-%m-%d}, but {new[row, column]:.6g} {why}"
    )


def shape_fault(weights: object, bars: Bars) -> str:
    """What is wrong with a table of weights, in words; empty if nothing."""
    close = bars.close
    where = f"on bars that end on {bars.sessions[-1]:%Y-%m-%d}, "
    if not isinstance(weights, pd.DataFrame):
        return f"{where}its weights are {type(weights).__name__}, no DataFrame"
    if not weights.index.equals(close.index) or list(weights.columns) != list(close.columns):
        return f"{where}its weights are not a row for every session and a column for every symbol of the bars"
    try:
        values = weights.to_numpy(dtype=float)
    except (TypeError, ValueError):
        return f"{where}its weights are not numbers"
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        session: date = weights.index[row].date()
        return f"its weight of {weights.columns[column]} on {session} is {values[row, column]}, which is no number"
    return ""


def _period_ends(sessions: pd.DatetimeIndex, many: int) -> set[int]:
    """The last ``many`` rows that end a month or a week, or come right before or after such a row."""
    months = np.asarray(sessions.year * 12 + sessions.month)
    weeks = np.asarray((sessions - pd.Timestamp("1970-01-05")).days) // 7  # that was a Monday
    month_ends = np.flatnonzero(np.diff(months))
    week_ends = np.flatnonzero(np.diff(weeks))
    ends: list[int] = []
    for end in month_ends[::-1][: many // 3 + 1]:
        ends += [int(end), int(end) - 1]
    ends += [int(end) for end in week_ends[::-1][:many]]
    return set(ends[:many])
