"""What the lake answers with, as pandas frames: imported by :class:`workbench.data.lake.Lake` when first asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.adjust import Events, apply
from workbench.data.bars import FIELDS, Adjustment, Bars
from workbench.data.dataset import Frequency

__all__ = [
    "actions",
    "adjusted",
    "coverage",
    "days_of",
    "empty",
    "notices",
    "snapshots",
    "table",
    "widen_days",
    "widen_minutes",
]

Rows = Sequence[tuple[Any, ...]]
Columns = Mapping[str, np.ndarray[Any, Any]]
_EPOCH = date(1970, 1, 1)
_NUMBERS: dict[str, np.dtype[Any]] = {
    "DOUBLE": np.dtype("float64"),
    "BIGINT": np.dtype("int64"),
    "BOOLEAN": np.dtype("bool"),
}


def snapshots(rows: Rows) -> pd.DataFrame:
    """``snapshot``, ``at`` (UTC) and ``note``."""
    frame = pd.DataFrame(rows, columns=["snapshot", "at", "note"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True)
    frame["note"] = frame["note"].fillna("")
    return frame


def coverage(rows: Rows, names: Sequence[str] | None) -> pd.DataFrame:
    """``first``, ``last`` and ``rows`` by symbol, in the order of ``names`` if there are any."""
    frame = pd.DataFrame(rows, columns=["symbol", "first", "last", "rows"]).set_index("symbol")
    frame["first"] = pd.to_datetime(frame["first"])
    frame["last"] = pd.to_datetime(frame["last"])
    return frame if names is None else frame.loc[list(names)]


def actions(rows: Rows) -> pd.DataFrame:
    """``symbol``, ``ex_date``, ``kind``, ``value`` and ``origin``."""
    return _columns(rows, {"symbol": "O", "ex_date": "M8[D]", "kind": "O", "value": "f8", "origin": "O"})


def notices(rows: Rows) -> pd.DataFrame:
    """``symbol``, ``first``, ``last`` and ``detail``."""
    return _columns(rows, {"symbol": "O", "first": "M8[D]", "last": "M8[D]", "detail": "O"})


def adjusted(bars: Bars, actions: Rows, adjustment: Adjustment, *, days: pd.DatetimeIndex | None = None) -> Bars:
    """Raw bars adjusted by actions that take effect, in plain rows."""
    symbols, ex_dates, kinds, values, _ = zip(*actions, strict=True) if actions else ((), (), (), (), ())
    events = Events.from_columns(symbols, np.array(ex_dates, dtype="M8[D]"), kinds, values)
    return apply(bars, events, adjustment, days=days)


def _columns(rows: Rows, kinds: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a frame, column by column: letting pandas guess and correcting it takes ten times as long."""
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    made = {name: np.array(values, dtype=kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)}
    days = {name: values.astype("M8[ns]") for name, values in made.items() if values.dtype.kind == "M"}
    return pd.DataFrame(made | days)


def table(found: Rows, columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows of a table with the dtypes of its columns: text is object, dates and moments datetime64."""
    frame = pd.DataFrame(found, columns=list(columns))
    for name, kind in columns.items():
        if kind == "TIMESTAMPTZ":
            frame[name] = pd.to_datetime(frame[name], utc=True)
        elif kind in ("DATE", "TIMESTAMP"):
            frame[name] = pd.to_datetime(frame[name]).astype("datetime64[ns]")
        elif kind in _NUMBERS:
            frame[name] = frame[name].astype(_NUMBERS[kind])
    return frame


def empty(columns: Mapping[str, str]) -> pd.DataFrame:
    """A frame without rows, with the columns and dtypes of a table."""
    return table([], columns)


def days_of(starts: pd.DatetimeIndex, time_zone: str) -> pd.DatetimeIndex:
    """The session of every minute: its day in the exchange's time zone."""
    return starts.tz_localize("UTC").tz_convert(time_zone).tz_localize(None).normalize()


def widen_days(columns: Columns, names: Sequence[str], snapshot: int) -> Bars:
    """Long columns ``code``, ``day`` (since 1970) and the fields, in any order, to wide frames."""
    days = np.asarray(columns["day"])
    first, last = int(days.min()), int(days.max())
    present = np.zeros(last - first + 1, dtype=bool)
    present[days - first] = True
    row_of_day = np.cumsum(present) - 1
    offsets = np.flatnonzero(present)
    index = pd.DatetimeIndex(
        np.datetime64(_EPOCH + timedelta(days=first), "ns") + offsets * np.timedelta64(1, "D"), name="session"
    )
    return _widen(columns, row_of_day[days - first], index, names, snapshot, "daily")


def widen_minutes(columns: Columns, names: Sequence[str], snapshot: int) -> Bars:
    """Long columns ``code``, ``us`` (since 1970) and the fields, in any order, to wide frames."""
    starts, at = np.unique(np.asarray(columns["us"], dtype=np.int64), return_inverse=True)
    index = pd.DatetimeIndex(starts.view("datetime64[us]").astype("datetime64[ns]"), name="start")
    return _widen(columns, at, index, names, snapshot, "minute")


def _widen(
    columns: Columns,
    at: np.ndarray[Any, Any],
    index: pd.DatetimeIndex,
    names: Sequence[str],
    snapshot: int,
    frequency: Frequency,
) -> Bars:
    cells = at * len(names) + np.asarray(columns["code"])
    frames = {}
    for field in FIELDS:
        wide = np.full(len(index) * len(names), np.nan)
        wide[cells] = np.asarray(columns[field])
        frames[field] = pd.DataFrame(
            wide.reshape(len(index), len(names)), index=index, columns=pd.Index(names, name="symbol")
        )
    return Bars(**frames, adjustment="raw", snapshot=snapshot, frequency=frequency)
