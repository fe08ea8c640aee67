"""A source for tests that stages frames of any of the lake's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import pandas as pd

from workbench.data.dataset import Frequency, Staged

FIELDS = ("open", "high", "low", "close", "volume")


@dataclass
class Frames:
    """Frames by the lake's table, with the columns that a source stages."""

    digest: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    frequency: Frequency = "daily"
    assumptions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"file {self.digest}"

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        for table, frame in self.tables.items():
            connection.register("incoming", frame)
            day = " REPLACE (session::DATE AS session)" if "session" in frame else ""
            connection.execute(f"CREATE OR REPLACE TEMP TABLE staged_{table} AS SELECT *{day} FROM incoming")
            connection.unregister("incoming")
        return Staged(
            self.frequency, **{table: f"staged_{table}" for table in self.tables}, assumptions=self.assumptions
        )


def flat(symbol: str, times: Sequence[str], closes: Sequence[float], *, time: str = "session") -> pd.DataFrame:
    """Bars whose four prices are the close, and whose volume is 1,000 shares."""
    bars = pd.DataFrame({"symbol": symbol, time: pd.to_datetime(list(times)), "close": closes, "volume": 1000.0})
    return bars.assign(open=bars["close"], high=bars["close"], low=bars["close"])[["symbol", time, *FIELDS]]


def listings(*spells: tuple[str, str, str, str | None]) -> pd.DataFrame:
    """Instrument, ticker, first and last session."""
    frame = pd.DataFrame(spells, columns=["instrument", "symbol", "first", "last"])
    frame["first"], frame["last"] = pd.to_datetime(frame["first"]), pd.to_datetime(frame["last"])
    return frame.assign(name=frame["instrument"], origin="by hand")


def actions(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Symbol, ex-date, kind and value."""
    frame = pd.DataFrame(rows, columns=["symbol", "ex_date", "kind", "value"])
    return frame.assign(ex_date=pd.to_datetime(frame["ex_date"]), origin="published")
