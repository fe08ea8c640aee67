"""Readers of vendors' files. So far the two shapes in which Quandl WIKI daily prices were handed on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.data.actions import derive_actions
from workbench.data.bars import FIELDS
from workbench.data.dataset import BAR_COLUMNS, PUBLISHED, Dataset, no_actions, no_notices
from workbench.errors import DataError, nearest

# Column in the file to column in the lake. The adjusted close and the listed actions are read besides.
_BARE = {"Ticker": "symbol", "Date": "session"} | {name.capitalize(): name for name in FIELDS}
_FULL = {"ticker": "symbol", "date": "session"} | {name: name for name in FIELDS}
_ADJUSTED = "Adj Close"
_DIVIDEND, _SPLIT = "ex-dividend", "split_ratio"
# Part of every digest: raise it when the same file is to be read differently, so that it is loaded again.
_READER = b"wiki-1"


def wiki_digest(file: Path) -> str:
    """What identifies the file's data as this reader understands it, as hexadecimal text.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    try:
        return hashlib.sha256(_READER + file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{file.name}: cannot be read: {error.strerror}") from error


def read_wiki(file: Path, notices: pd.DataFrame | None = None) -> Dataset:
    """Read a CSV file of Quandl WIKI prices, plain or gzipped.

    Two shapes are known by their header. ``Ticker, Date, Open, High, Low, Close, Volume, Adj Close`` lists no
    actions: they are derived from the adjusted close (see ``derive_actions``). ``ticker, date, open, ...,
    ex-dividend, split_ratio`` lists them. Prices are as traded; symbols keep their names.

    Raises
    ------
    DataError
        If the file cannot be read, has another header, or a cell is wrong: the message names file, line
        (the header is line 1) and column.
    """
    digest = wiki_digest(file)
    text = _read_text(file)
    columns = _shape(text, file.name)
    bars = pd.DataFrame(
        {
            "symbol": _symbols(text, file.name, next(iter(columns))),
            "session": _sessions(text, file.name, list(columns)[1]),
            **{lake: _numbers(text, file.name, name) for name, lake in list(columns.items())[2:]},
        }
    )
    twice = bars.duplicated(["symbol", "session"])
    if twice.any():
        raise _fault(file.name, int(np.argmax(twice)), list(columns)[1], "the symbol has this session already")
    actions = _derived(bars, text, file.name) if columns is _BARE else _published(bars, text, file.name)
    return Dataset(bars[list(BAR_COLUMNS)], actions, file.name, digest, no_notices() if notices is None else notices)


def _read_text(file: Path) -> pd.DataFrame:
    """All cells as text, so that a wrong one can be shown; blank lines stay, so that line numbers hold."""
    try:
        return pd.read_csv(file, dtype=str, keep_default_na=False, skip_blank_lines=False)
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{file.name}: the file is empty") from error
    except pd.errors.ParserError as error:
        raise DataError(
            f"{file.name}: {str(error).removeprefix('Error tokenizing data. C error: ').strip()}"
        ) from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{file.name}: cannot be read: {error}") from error


def _shape(text: pd.DataFrame, source: str) -> Mapping[str, str]:
    bare = [*_BARE, _ADJUSTED]
    full = [*_FULL, _DIVIDEND, _SPLIT]
    present = [str(name) for name in text.columns]
    for columns, needed in ((_BARE, bare), (_FULL, full)):
        if all(name in present for name in needed):
            if text.empty:
                raise DataError(f"{source}: there are no rows below the header")
            return columns
    needed = min((bare, full), key=lambda names: sum(name not in present for name in names))
    missing = next(name for name in needed if name not in present)
    raise DataError(f"{source}, line 1: there is no column {missing!r}", hint=nearest(missing, present))


def _symbols(text: pd.DataFrame, source: str, column: str) -> pd.Series[str]:
    symbols = text[column].fillna("").str.strip()
    if (symbols == "").any():
        raise _fault(source, int(np.argmax(symbols == "")), column, "is empty")
    return symbols


def _sessions(text: pd.DataFrame, source: str, column: str) -> pd.Series[pd.Timestamp]:
    sessions = pd.to_datetime(text[column], format="%Y-%m-%d", errors="coerce")
    if sessions.isna().any():
        row = int(np.argmax(sessions.isna()))
        raise _fault(source, row, column, f"is not a date like 2013-03-01 (got {text[column].iloc[row]!r})")
    return sessions


def _numbers(text: pd.DataFrame, source: str, column: str) -> pd.Series[float]:
    try:
        numbers = text[column].astype(np.float64)  # Python's own conversion: correct to the last digit
    except (TypeError, ValueError):
        numbers = pd.to_numeric(text[column], errors="coerce").astype(np.float64)
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise _fault(source, row, column, f"is not a number (got {text[column].iloc[row]!r})")
    return numbers


def _derived(bars: pd.DataFrame, text: pd.DataFrame, source: str) -> pd.DataFrame:
    adjusted = _numbers(text, source, _ADJUSTED)
    for column, values in ((_ADJUSTED, adjusted), ("Close", bars["close"])):
        if (values <= 0).any():
            raise _fault(source, int(np.argmax(values <= 0)), column, "is not above zero, so no action can be derived")
    decimals = int(text[_ADJUSTED].str.partition(".")[2].str.len().max())
    found = []
    for symbol, rows in bars.assign(adjusted=adjusted).sort_values(["symbol", "session"]).groupby("symbol"):
        found.append(
            derive_actions(
                str(symbol),
                pd.DatetimeIndex(rows["session"]),
                rows["open"].to_numpy(),
                rows["close"].to_numpy(),
                rows["adjusted"].to_numpy(),
                decimals=decimals,
            )
        )
    found = [frame for frame in found if len(frame)]
    return pd.concat(found, ignore_index=True) if found else no_actions()


def _published(bars: pd.DataFrame, text: pd.DataFrame, source: str) -> pd.DataFrame:
    found = []
    for column, kind, nothing in ((_SPLIT, "split", 1.0), (_DIVIDEND, "dividend", 0.0)):
        values = _numbers(text, source, column)
        wrong = values <= 0 if kind == "split" else values < 0
        if wrong.any():
            raise _fault(source, int(np.argmax(wrong)), column, "is below what a split or dividend can be")
        rows = bars.loc[values != nothing, ["symbol", "session"]].rename(columns={"session": "ex_date"})
        found.append(rows.assign(kind=kind, value=values[values != nothing], origin=PUBLISHED))
    return pd.concat(found).sort_values(["symbol", "ex_date", "kind"], ascending=[True, True, False], ignore_index=True)


def _fault(source: str, row: int, column: str, what: str) -> DataError:
    return DataError(f"{source}, line {row + 2}, column {column!r}: {what}")
