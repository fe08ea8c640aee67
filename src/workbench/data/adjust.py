"""Adjustment of raw prices for splits and dividends, on reading: the lake itself stays raw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.data import _effects
from workbench.data.bars import Adjustment, Bars
from workbench.errors import DataError

PRICES = ("open", "high", "low", "close")


def adjust(bars: Bars, actions: pd.DataFrame, adjustment: Adjustment, *, days: pd.DatetimeIndex | None = None) -> Bars:
    """Raw bars made comparable with the last session among them.

    ``split`` divides earlier prices by the splits that follow, ``total`` also takes out the dividends;
    both multiply earlier volumes by the splits. The last bar of every symbol is unchanged, and an action
    after the last session is not used: a read as of a date never sees a later split.

    Parameters
    ----------
    bars
        As traded (``raw``).
    actions
        ``symbol``, ``ex_date``, ``kind``, ``value`` and ``origin``, as from ``Lake.actions``; those of other symbols
        are ignored.
    adjustment
        ``raw`` returns ``bars`` themselves.
    days
        The session of every row, ascending, if the bars are minutes. A dividend is held against the last close of
        its day.

    Raises
    ------
    DataError
        If ``bars`` are adjusted already.

    Source: Quandl WIKI documentation: the factor before an ex-date is 1/split / (1 + dividend/close), with
    the close of the ex-date. It reproduces the published adjusted close to 1e-12.
    """
    if bars.adjustment != "raw":
        raise DataError(f"bars are adjusted already ({bars.adjustment})", hint="read them with adjustment='raw'")
    return apply(bars, Events.of(effective(actions)), adjustment, days=days)


class Events(NamedTuple):
    """Actions that take effect, N of them: splits and dividends, one of a kind for a symbol and ex-date at most."""

    symbols: Sequence[str]
    ex_dates: npt.NDArray[np.datetime64]
    values: npt.NDArray[np.float64]
    are_splits: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, actions: pd.DataFrame) -> Events:
        """From ``symbol``, ``ex_date``, ``kind`` (``split`` or ``dividend``) and ``value``."""
        return cls.from_columns(*(actions[name].to_numpy() for name in ("symbol", "ex_date", "kind", "value")))

    @classmethod
    def from_columns(cls, symbols: Any, ex_dates: Any, kinds: Any, values: Any) -> Events:
        """From four columns of one length."""
        days = np.asarray(ex_dates, dtype="datetime64[ns]")
        return cls(symbols, days, np.asarray(values, dtype=np.float64), np.asarray(kinds, dtype=object) == "split")

    def splits(self) -> Events:
        chosen = np.flatnonzero(self.are_splits).tolist()
        symbols = [self.symbols[at] for at in chosen]
        return Events(symbols, self.ex_dates[chosen], self.values[chosen], self.are_splits[chosen])


def apply(bars: Bars, events: Events, adjustment: Adjustment, *, days: pd.DatetimeIndex | None = None) -> Bars:
    """``adjust`` for what takes effect."""
    if adjustment == "raw":
        return bars
    closes = bars.close if days is None else bars.close.groupby(days).last()
    splits = _factors(closes, events.splits())
    prices = splits if adjustment == "split" else _factors(closes, events)
    if days is not None:
        rows = closes.index.get_indexer(days)
        splits, prices = splits[rows], prices[rows]
    made = {name: getattr(bars, name).to_numpy() * prices for name in PRICES}
    made["volume"] = bars.volume.to_numpy() / splits
    # Frames on one index, built directly: pandas would hold both sides' labels against each other for every field.
    index, symbols = bars.close.index, bars.close.columns
    frames: dict[str, Any] = {name: pd.DataFrame(cells, index, symbols) for name, cells in made.items()}
    return replace(bars, **frames, adjustment=adjustment)


def effective(actions: pd.DataFrame) -> pd.DataFrame:
    """Actions as what takes effect: a stock dividend is a split, a special dividend is cash.

    Several of one kind on one ex-date become one row: splits multiply, dividends add up. Columns, and the order by
    ex-date, symbol, splits first, are those of ``Lake.actions``.

    >>> listed = pd.DataFrame({"symbol": "KO", "ex_date": pd.to_datetime(["2013-01-02"] * 3), "origin": "published",
    ...     "kind": ["stock_dividend", "special_dividend", "dividend"], "value": [0.05, 1.0, 0.25]})
    >>> effective(listed)[["kind", "value"]].values.tolist()
    [['split', 1.05], ['dividend', 1.25]]
    """
    if actions.empty or (
        actions["kind"].isin(("split", "dividend")).all()
        and not actions.duplicated(["symbol", "ex_date", "kind"]).any()
    ):
        return actions
    columns = ["symbol", "ex_date", "kind", "value", "origin"]
    given = actions if "origin" in actions else actions.assign(origin="")
    rows = _effects.effective(list(given[columns].itertuples(index=False, name=None)))
    return pd.DataFrame(rows, columns=columns).astype(given[columns].dtypes.to_dict())


def factors(close: pd.DataFrame, actions: pd.DataFrame) -> pd.DataFrame:
    """What to multiply raw prices by, so that they compare with each symbol's last close.

    An action works from the symbol's first close on or after its ex-date (the ex-date itself, unless the
    symbol did not trade); if there is none among the rows, it is not used.

    Parameters
    ----------
    close
        Raw closes in USD, sessions x symbols, ascending; NaN where a symbol did not trade.
    actions
        ``symbol``, ``ex_date``, ``kind`` (``split`` or ``dividend``) and ``value``; both kinds are applied.

    Returns
    -------
    A float64 frame of the shape of ``close``; 1 at each symbol's last close.

    Example
    -------
    >>> days = pd.DatetimeIndex(["2005-02-25", "2005-02-28"], name="session")
    >>> close = pd.DataFrame({"AAPL": [88.99, 44.86]}, index=days)
    >>> split = pd.DataFrame({"symbol": "AAPL", "ex_date": days[1:], "kind": "split", "value": 2.0})
    >>> factors(close, split)["AAPL"].tolist()
    [0.5, 1.0]
    """
    return pd.DataFrame(_factors(close, Events.of(actions)), index=close.index, columns=close.columns)


def _factors(close: pd.DataFrame, events: Events) -> npt.NDArray[np.float64]:
    """``factors`` as an array."""
    prices = close.to_numpy(dtype=np.float64)
    steps = np.ones_like(prices)
    if not len(events.symbols):
        return steps
    columns = close.columns.get_indexer(pd.Index(events.symbols, dtype=object))
    days = close.index.to_numpy().searchsorted(events.ex_dates, side="left")
    inside = (columns >= 0) & (days < len(prices))
    columns, days = columns[inside], days[inside]
    rows = _next_traded(prices)[days, columns]
    found = rows < len(prices)
    columns, rows = columns[found], rows[found]
    values, are_splits = events.values[inside][found], events.are_splits[inside][found]
    prior = np.where(are_splits, 1 / values, 1 / (1 + values / prices[rows, columns]))
    np.multiply.at(steps, (rows, columns), prior)
    # The factor of a row is the product of all later steps, its own excluded.
    product = np.ones_like(steps)
    product[:-1] = np.cumprod(steps[:0:-1], axis=0)[::-1]
    return product


def _next_traded(prices: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """For every cell, the first row at or after it with a price; the number of rows if there is none."""
    rows = np.arange(len(prices))[:, None]
    traded = np.where(prices > 0, rows, len(prices))
    later: npt.NDArray[np.intp] = np.minimum.accumulate(traded[::-1], axis=0)[::-1]
    return later
