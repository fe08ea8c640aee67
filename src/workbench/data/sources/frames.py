"""Frames of pandas: long ones with columns, and those with a column per field and symbol, as yfinance gives."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from workbench.data.dataset import Staged
from workbench.data.sources.columns import plain
from workbench.data.sources.reading import Reading
from workbench.data.sources.staging import keep_rows, stage
from workbench.data.sources.tables import TypedTable, described
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

_FIELDS = frozenset({"open", "high", "low", "close", "adjclose", "volume", "dividends", "stocksplits"})
_NUMBER = "staged_number"


class FrameSource:
    """A frame as one load. The index counts as columns if it has names or is made of dates."""

    def __init__(self, frame: pd.DataFrame, reading: Reading | None = None, *, name: str = "frame") -> None:
        if not isinstance(frame, pd.DataFrame):
            raise DataError(f"a {type(frame).__name__} cannot be loaded", hint="give a location or a DataFrame")
        if frame.empty:
            raise DataError(f"{name}: there are no rows in it")
        self.reading = reading or Reading()
        self.name = name
        self._rows = _long(frame, name)

    @cached_property
    def digest(self) -> str:
        """Of all cells, in their order, and of how they are read."""
        found = hashlib.sha256(f"{self.reading.key()}\n{list(self._rows.columns)}".encode())
        found.update(pd.util.hash_pandas_object(self._rows, index=False).to_numpy().tobytes())
        return found.hexdigest()

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Read the frame into temporary tables; see :func:`workbench.data.sources.staging.stage`."""
        connection.register("staged_frame", self._rows.assign(**{_NUMBER: range(1, len(self._rows) + 1)}))
        try:
            columns = [column for column in described(connection, "staged_frame") if column.name != _NUMBER]
            table = TypedTable("staged_frame", columns, {self.name: self.name}, file=f"'{self.name}'", line=_NUMBER)
            staged = stage(connection, self.name, [table], self.reading)
            keep_rows(connection)
            return staged
        finally:
            connection.unregister("staged_frame")


def _long(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """One row per symbol and time, all of it in columns with names of text."""
    if isinstance(frame.columns, pd.MultiIndex):
        frame = _stacked(frame, name)
    if isinstance(frame.index, pd.DatetimeIndex) and frame.index.name is None:
        frame = frame.rename_axis(index="Date")
    if any(each is not None for each in frame.index.names):
        frame = frame.reset_index()
    if frame.columns.duplicated().any():
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{name}: two columns are called {twice!r}")
    return frame.rename(columns=str).reset_index(drop=True)


def _stacked(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Columns of fields and symbols, in either order, as rows per symbol; empty cells of one that did not trade go."""
    if frame.columns.nlevels != 2:
        raise DataError(
            f"{name}: its columns have {frame.columns.nlevels} levels", hint="two can be read: field, symbol"
        )
    shares = [sum(plain(str(each)) in _FIELDS for each in frame.columns.unique(level)) for level in (0, 1)]
    if max(shares) < 5:
        raise DataError(f"{name}: no level of its columns names fields", hint="open, high, low, close, volume")
    symbols = 1 - shares.index(max(shares))
    frame = frame.rename_axis(columns=["Symbol" if level == symbols else "Field" for level in (0, 1)])
    if frame.index.name is None:
        frame = frame.rename_axis(index="Date")
    rows = frame.stack(level="Symbol", future_stack=True)
    assert isinstance(rows, pd.DataFrame)  # two levels, one of them stacked
    return rows.dropna(how="all").rename_axis(columns=None)
