"""The repair ledger: every cell that was changed, and the way back to the raw bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from workbench.data.cleaning._work import Entry
from workbench.data.dataset import FIELDS
from workbench.data.rows import BarRows, Floats

REPAIR_COLUMNS = (
    "table_name",
    "symbol",
    "at",
    "occurrence",
    "step",
    "field",
    "old",
    "new",
    "rule",
    "action",
    "reason",
    "policy",
)
CHANGE_COLUMNS = ("symbol", "at", *FIELDS, "kept")
ACTION_CHANGE_COLUMNS = ("symbol", "ex_date", "kind", "value", "kept")
# What puts a bar where there was none.
FILLS = ("missing_sessions", "missing_minutes")
_TAKES_OUT = ("drop", "merge", "first", "last")
_BAR = ["symbol", "at", "occurrence"]


def ledger(entries: Sequence[Entry], policy: str) -> pd.DataFrame:
    """One row per changed cell, in the order in which they were changed.

    ``table_name`` (``bars``, ``minutes`` or ``actions``), ``symbol``, ``at`` (datetime64; of an action its ex-date),
    ``occurrence`` (0, or the number of the bar among those of one time), ``step`` (ascending; a cell can be changed
    twice), ``field`` (of an action its kind), ``old`` and ``new`` (NaN: none, so a bar taken out is five rows with a
    ``new`` of NaN), ``rule``, ``action``, ``reason`` and ``policy`` (its digest).
    """
    columns: dict[str, Any] = {
        "table_name": [entry.table for entry in entries],
        "symbol": [entry.symbol for entry in entries],
        "at": np.array([entry.at for entry in entries], dtype=np.int64).view("datetime64[ns]"),
        "occurrence": np.array([entry.occurrence for entry in entries], dtype=np.int64),
        "step": np.arange(len(entries)),
        "field": [entry.field for entry in entries],
        "old": np.array([entry.old for entry in entries], dtype=np.float64),
        "new": np.array([entry.new for entry in entries], dtype=np.float64),
        "rule": [entry.rule for entry in entries],
        "action": [entry.action for entry in entries],
        "reason": [entry.reason for entry in entries],
        "policy": [policy] * len(entries),
    }
    frame = pd.DataFrame(columns, columns=list(REPAIR_COLUMNS))
    texts = ["table_name", "symbol", "field", "rule", "action", "reason", "policy"]
    frame[texts] = frame[texts].astype(object)  # columns without a row are of no type
    return frame


def lost(entries: Sequence[Entry]) -> dict[tuple[str, int], set[int]]:
    """By symbol and time the occurrences that are taken out."""
    found: dict[tuple[str, int], set[int]] = {}
    for entry in entries:
        if entry.table == "actions":
            continue
        numbers = found.setdefault((entry.symbol, entry.at), set())
        if entry.action in _TAKES_OUT:
            numbers.add(entry.occurrence)
        else:
            numbers.discard(entry.occurrence)
    return found


def changes(raw: BarRows, cleaned: BarRows, repairs: pd.DataFrame) -> pd.DataFrame:
    """The bars that differ from raw, by symbol and time: their five numbers, or ``kept`` False where one is gone."""
    keys = repairs.loc[repairs["table_name"] != "actions", ["symbol", "at"]].drop_duplicates()
    rows = []
    for symbol, group in keys.groupby("symbol", sort=True):
        before, after = _bars_at(raw, str(symbol), group["at"]), _bars_at(cleaned, str(symbol), group["at"])
        for at in sorted(group["at"]):
            old, new = before.get(at.value, []), after.get(at.value, [])
            if not new:
                rows.append((symbol, at, *[np.nan] * 5, False))
            elif not old or not np.array_equal(old[0], new[0], equal_nan=True):
                rows.append((symbol, at, *new[0], True))
    frame = pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))
    frame[list(FIELDS)] = frame[list(FIELDS)].astype(np.float64)
    return frame.astype({"at": "datetime64[ns]", "kept": bool})


def action_changes(raw: pd.DataFrame, corrected: pd.DataFrame) -> pd.DataFrame:
    """The actions that differ, one row for each symbol, ex-date and kind.

    ``symbol``, ``ex_date``, ``kind``, ``value`` as corrected, and ``kept``; where it is False, the action with that
    value is taken off the record.
    """
    key = ["symbol", "ex_date", "kind", "value"]
    joined = raw[key].merge(corrected[key], how="outer", on=key, indicator=True)
    joined = joined[joined["_merge"] != "both"]
    joined = joined.assign(kept=joined["_merge"] == "right_only").drop(columns="_merge")
    joined = joined.sort_values(["symbol", "ex_date", "kind", "kept"])
    return joined.drop_duplicates(["symbol", "ex_date", "kind"], keep="last", ignore_index=True)


def undo(cleaned: BarRows, repairs: pd.DataFrame) -> BarRows:
    """The raw bars that a ledger was made on, exactly.

    >>> from workbench.data.cleaning._work import Work
    >>> day = pd.Timestamp("2013-01-02")
    >>> bar = {"symbol": "IBM", "session": day, "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 5.0}
    >>> work = Work(BarRows.from_frame(pd.DataFrame([bar])))
    >>> work.drop("IBM", 0, "outlier", "drop", "as an example")
    >>> undo(work.result(), ledger(work.entries, "policy")).close.tolist()
    [1.0]
    """
    repairs = repairs[repairs["table_name"] != "actions"]
    if repairs.empty:
        return cleaned
    first = repairs.sort_values("step").drop_duplicates([*_BAR, "field"])
    olds = first.pivot(index=_BAR, columns="field", values="old").reindex(columns=list(FIELDS))
    was_filled = first[first["rule"].isin(FILLS)].groupby(_BAR).size().index
    last = repairs.sort_values("step").drop_duplicates([*_BAR, "field"], keep="last")
    gone = last[last["action"].isin(_TAKES_OUT)].groupby(_BAR).size().index
    frame = _numbered(cleaned.frame(), gone).set_index(_BAR)
    frame = frame[~frame.index.isin(was_filled)]
    changed = olds.index.difference(was_filled)
    there = changed.intersection(frame.index)
    known = first.set_index([*_BAR, "field"]).index
    for field in FIELDS:
        cells = there[pd.MultiIndex.from_frame(there.to_frame(index=False).assign(field=field)).isin(known)]
        frame.loc[cells, field] = olds.loc[cells, field]
    back = pd.concat([frame, olds.loc[changed.difference(frame.index)]]) if len(changed) else frame
    made = BarRows.from_frame(back.sort_index().reset_index(), cleaned.frequency, cleaned.snapshot)
    return _with_symbols(made, cleaned.symbols)


def _bars_at(rows: BarRows, symbol: str, times: pd.Series[Any]) -> dict[int, list[Floats]]:
    """The bars of a symbol at some times, by ns since 1970."""
    where = rows.rows_of(symbol)
    ns = rows.at[where].astype("datetime64[ns]", copy=False).view(np.int64)
    wanted = np.sort(times.to_numpy(dtype="datetime64[ns]").view(np.int64))
    low, high = np.searchsorted(ns, wanted), np.searchsorted(ns, wanted, side="right")
    found: dict[int, list[Floats]] = {}
    for at, begin, stop in zip(wanted.tolist(), low.tolist(), high.tolist(), strict=True):
        for row in range(where.start + begin, where.start + stop):
            found.setdefault(at, []).append(np.array([getattr(rows, name)[row] for name in FIELDS]))
    return found


def _numbered(frame: pd.DataFrame, gone: pd.Index[Any]) -> pd.DataFrame:
    """Bars with their number among those of one time, as it was before some of them were taken out."""
    frame = frame.assign(occurrence=frame.groupby(["symbol", "at"]).cumcount())
    taken = pd.DataFrame(list(gone), columns=_BAR) if len(gone) else None
    if taken is None:
        return frame
    for (symbol, at), numbers in taken.groupby(["symbol", "at"])["occurrence"]:
        place = (frame["symbol"] == symbol) & (frame["at"] == at)
        if place.any():
            lost = set(numbers)
            left = [number for number in range(int(place.sum()) + len(lost)) if number not in lost]
            frame.loc[place, "occurrence"] = left
    return frame


def _with_symbols(rows: BarRows, symbols: tuple[str, ...]) -> BarRows:
    """The same with symbols that have no row, too."""
    counts = dict(zip(rows.symbols, np.diff(rows.offsets).tolist(), strict=True))
    names = sorted({*symbols, *rows.symbols})
    offsets = np.concatenate([[0], np.cumsum([counts.get(name, 0) for name in names])]).astype(np.int64)
    return replace(rows, symbols=tuple(names), offsets=offsets)
