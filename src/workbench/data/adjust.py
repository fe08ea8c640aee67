"""Adjustment of raw prices for splits and dividends, on reading: the lake itself stays raw."""

from __future__ import annotations

from dataclasses import replace

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
    if adjustment == "raw":
        return bars
    closes = bars.close if days is None else bars.close.groupby(days).last()
    took_effect = effective(actions)
    splits = _factors(closes, took_effect[took_effect["kind"] == "split"])
    prices = splits if adjustment == "split" else _factors(closes, took_effect)
    if days is not None:
        rows = closes.index.get_indexer(days)
        splits, prices = splits[rows], prices[rows]
    made = {name: getattr(bars, name).to_numpy() * prices for name in PRICES}
    made["volume"] = bars.volume.to_numpy() / splits
    # Frames on one index, built directly: pandas would hold both sides' labels against each other for every field.
    frames = {
        name: pd.DataFrame(values, index=bars.close.index, columns=bars.close.columns) for name, values in made.items()
    }
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
    return pd.DataFrame(_factors(close, actions), index=close.index, columns=close.columns)


def _factors(close: pd.DataFrame, actions: pd.DataFrame) -> npt.NDArray[np.float64]:
    """``factors`` as an array."""
    prices = close.to_numpy(dtype=np.float64)
    steps = np.ones_like(prices)
    if actions.empty:
        return steps
    columns = close.columns.get_indexer(pd.Index(actions["symbol"]))
    days = close.index.searchsorted(pd.DatetimeIndex(actions["ex_date"]).to_numpy(), side="left")
    inside = (columns >= 0) & (days < len(prices))
    columns, days = columns[inside], days[inside]
    rows = _next_traded(prices)[days, columns]
    found = rows < len(prices)
    columns, rows = columns[found], rows[found]
    values = actions["value"].to_numpy(dtype=np.float64)[inside][found]
    is_split = (actions["kind"] == "split").to_numpy()[inside][found]
    prior = np.where(is_split, 1 / values, 1 / (1 + values / prices[rows, columns]))
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
