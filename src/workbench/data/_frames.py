"""What the lake answers with, as pandas frames: imported by :class:`workbench.data.lake.Lake` when first asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.adjust import adjust
from workbench.data.bars import FIELDS, Bars
from workbench.data.dataset import Frequency
from workbench.data.rows import BarRows

__all__ = ["actions", "adjust", "coverage", "notices", "rows", "snapshots", "widen"]

Rows = Sequence[tuple[Any, ...]]
_EPOCH = date(1970, 1, 1)


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
    frame = pd.DataFrame(rows, columns=["symbol", "ex_date", "kind", "value", "origin"])
    return frame.astype({"ex_date": "datetime64[ns]", "value": np.float64})


def notices(rows: Rows) -> pd.DataFrame:
    """``symbol``, ``first``, ``last`` and ``detail``."""
    frame = pd.DataFrame(rows, columns=["symbol", "first", "last", "detail"])
    return frame.astype({"first": "datetime64[ns]", "last": "datetime64[ns]"})


def rows(columns: Mapping[str, np.ndarray[Any, Any]], frequency: Frequency, snapshot: int) -> BarRows:
    """Long columns ``symbol``, ``at`` and the fields, sorted by symbol and time."""
    names = np.asarray(columns["symbol"])
    starts = np.concatenate([[0], np.flatnonzero(names[1:] != names[:-1]) + 1]) if len(names) else np.zeros(0, int)
    return BarRows(
        tuple(str(name) for name in names[starts]),
        np.concatenate([starts, [len(names)]]).astype(np.int64),
        np.asarray(columns["at"]).astype("datetime64[ns]"),
        **{name: np.asarray(columns[name], dtype=np.float64) for name in FIELDS},
        frequency=frequency,
        snapshot=snapshot,
    )


def widen(columns: Mapping[str, np.ndarray[Any, Any]], names: Sequence[str], snapshot: int) -> Bars:
    """Long columns ``code``, ``day`` (since 1970) and the fields, in any order, to wide frames."""
    days, codes = np.asarray(columns["day"]), np.asarray(columns["code"])
    first, last = int(days.min()), int(days.max())
    present = np.zeros(last - first + 1, dtype=bool)
    present[days - first] = True
    row_of_day = np.cumsum(present) - 1
    offsets = np.flatnonzero(present)
    index = pd.DatetimeIndex(
        np.datetime64(_EPOCH + timedelta(days=first), "ns") + offsets * np.timedelta64(1, "D"), name="session"
    )
    cells = row_of_day[days - first] * len(names) + codes
    frames = {}
    for field in FIELDS:
        wide = np.full(len(index) * len(names), np.nan)
        wide[cells] = np.asarray(columns[field])
        frames[field] = pd.DataFrame(
            wide.reshape(len(index), len(names)), index=index, columns=pd.Index(names, name="symbol")
        )
    return Bars(**frames, adjustment="raw", snapshot=snapshot)
