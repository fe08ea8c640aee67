"""What goes into the lake in one load: raw bars, corporate actions, and known faults of the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

Frequency = Literal["daily", "minute"]

FIELDS = ("open", "high", "low", "close", "volume")
BAR_COLUMNS = ("symbol", "session", *FIELDS)
ACTION_COLUMNS = ("symbol", "ex_date", "kind", "value", "origin")
NOTICE_COLUMNS = ("symbol", "first", "last", "detail")
# A stock dividend of 0.05 is a split of 1.05; a special dividend is cash like any other, but named.
ACTION_KINDS = ("split", "dividend", "special_dividend", "stock_dividend")

PUBLISHED = "published"
DERIVED = "derived from adj_close"


def no_actions() -> pd.DataFrame:
    """An empty frame of corporate actions, with the columns and dtypes of a full one."""
    import pandas as pd

    return pd.DataFrame(
        {
            "symbol": pd.Series(dtype=object),
            "ex_date": pd.Series(dtype="datetime64[ns]"),
            "kind": pd.Series(dtype=object),
            "value": pd.Series(dtype="float64"),
            "origin": pd.Series(dtype=object),
        }
    )


def no_notices() -> pd.DataFrame:
    """An empty frame of notices, with the columns and dtypes of a full one."""
    import pandas as pd

    return pd.DataFrame(
        {
            "symbol": pd.Series(dtype=object),
            "first": pd.Series(dtype="datetime64[ns]"),
            "last": pd.Series(dtype="datetime64[ns]"),
            "detail": pd.Series(dtype=object),
        }
    )


@dataclass(frozen=True)
class Staged:
    """What a source has read, as the names of temporary tables (or views) in the lake's own DuckDB connection.

    ``bars``: ``symbol`` VARCHAR, ``session`` DATE (``start`` TIMESTAMP in UTC, the left edge, for minutes), ``open``,
    ``high``, ``low``, ``close``, ``volume`` DOUBLE. The other tables have the columns of the lake's (``_tables.py``)
    but ``source``; ``quarantine`` has ``line``, ``reason`` and ``row`` (JSON text). None where there is nothing.
    ``assumptions``: what the source inferred, each a sentence with its reason. ``checked``: the source has made sure
    that every cell of a bar is there and finite, that keys are unique, and that rows come by symbol and time.
    """

    frequency: Frequency = "daily"
    bars: str | None = None
    actions: str | None = None
    listings: str | None = None
    fundamentals: str | None = None
    documents: str | None = None
    quotes: str | None = None
    notices: str | None = None
    quarantine: str | None = None
    assumptions: tuple[str, ...] = ()
    checked: bool = False


class Source(Protocol):
    """What the lake can load: a file, a query, a DataFrame.

    ``name`` is what messages and the lake call it. Two sources of one ``digest`` are the same data, read in the same
    way; it says nothing about credentials.
    """

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Read everything into temporary tables of ``connection``, whose names begin with ``staged_``.

        It may be called again after a conflict with another process, and then replaces what it made.

        Raises
        ------
        DataError
            If the data is malformed: with file, row and column. Nothing is loaded then.
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """One file, or one answer of a vendor, ready to be loaded.

    ``bars``: ``symbol`` (str), ``session`` (datetime64, midnight), ``open``, ``high``, ``low``, ``close``
    (USD as traded) and ``volume`` (shares), all float64; one row per symbol and session, in any order.
    ``actions``: ``symbol``, ``ex_date`` (datetime64), ``kind``, ``value`` and ``origin`` (``published`` or
    ``derived from adj_close``). Kinds: ``split`` (new shares per old share), ``dividend`` and ``special_dividend``
    (USD per share), ``stock_dividend`` (new shares on top of each old share).
    ``notices``: ``symbol``, ``first`` and ``last`` session concerned, ``detail``: faults of the source
    that its numbers do not betray. ``source`` is the name to remember it by; two datasets of one
    ``digest`` are the same data.
    """

    bars: pd.DataFrame
    actions: pd.DataFrame
    source: str
    digest: str
    notices: pd.DataFrame = field(default_factory=no_notices)

    @property
    def name(self) -> str:
        return self.source

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Copy the frames into temporary tables.

        Raises
        ------
        DataError
            As ``check`` does.
        """
        self.check()
        casts = {"session": "DATE", "ex_date": "DATE", "first": "DATE", "last": "DATE"}
        made: dict[str, str] = {}
        for kind, frame, names in (
            ("bars", self.bars, BAR_COLUMNS),
            ("actions", self.actions, ACTION_COLUMNS),
            ("notices", self.notices, NOTICE_COLUMNS),
        ):
            if frame.empty:
                continue
            columns = ", ".join(
                f'"{name}"::{casts[name]} AS "{name}"' if name in casts else f'"{name}"' for name in names
            )
            connection.register("incoming", frame[list(names)])
            connection.execute(f"CREATE OR REPLACE TEMP TABLE staged_{kind} AS SELECT {columns} FROM incoming")
            connection.unregister("incoming")
            made[kind] = f"staged_{kind}"
        return Staged(bars=made.get("bars"), actions=made.get("actions"), notices=made.get("notices"))

    def check(self) -> None:
        """Refuse what the lake could not give back unchanged.

        Wrong prices are accepted (the lake is raw; the quality check judges them), missing ones are not.

        Raises
        ------
        DataError
            If columns are missing, a cell is empty or infinite, a key occurs twice, or an action is
            not possible.
        """
        import numpy as np

        self._require_columns(self.bars, BAR_COLUMNS, "bars")
        self._require_columns(self.actions, ACTION_COLUMNS, "actions")
        self._require_columns(self.notices, NOTICE_COLUMNS, "notices")
        if self.bars.empty:
            raise DataError(f"{self.source}: there are no bars in it")
        numbers = self.bars[list(FIELDS)].to_numpy(dtype=np.float64)
        if not np.isfinite(numbers).all():
            row, column = np.argwhere(~np.isfinite(numbers))[0]
            bar = self.bars.iloc[row]
            raise DataError(
                f"{self.source}: {FIELDS[column]} of {bar.symbol} on {bar.session:%Y-%m-%d} is {numbers[row, column]}"
            )
        self._require_unique(self.bars, ["symbol", "session"])
        self._require_unique(self.actions, ["symbol", "ex_date", "kind"])
        wrong = ~self.actions["kind"].isin(ACTION_KINDS) | ~(self.actions["value"] > 0)
        if wrong.any():
            bad = self.actions[wrong].iloc[0]
            raise DataError(
                f"{self.source}: {bad.symbol} has a {bad.kind} of {bad.value} on {bad.ex_date:%Y-%m-%d}",
                hint=f"an action is one of {', '.join(ACTION_KINDS)}, and its value is above zero",
            )

    def _require_columns(self, frame: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
        missing = [column for column in columns if column not in frame.columns]
        if missing:
            raise DataError(f"{self.source}: {name} without the column {', '.join(missing)}")
        if frame[list(columns)].isna().to_numpy().any() and name != "bars":
            raise DataError(f"{self.source}: an empty cell in {name}")

    def _require_unique(self, frame: pd.DataFrame, key: list[str]) -> None:
        twice = frame.duplicated(key)
        if twice.any():
            values = [
                f"{value:%Y-%m-%d}" if hasattr(value, "year") else str(value) for value in frame[twice].iloc[0][key]
            ]
            raise DataError(f"{self.source}: {' '.join(values)} occurs twice")


@dataclass(frozen=True)
class Restated:
    """One value that a load found to be another than before; ``at`` is the session, or the minute's start in UTC."""

    symbol: str
    at: date | datetime
    field: str
    old: float
    new: float

    def __str__(self) -> str:
        return f"{self.symbol} {self.at} {self.field}: {self.old:.10g} -> {self.new:.10g}"


@dataclass(frozen=True)
class LoadResult:
    """What one load did. ``rows_read`` is always the sum of added, unchanged and restated rows.

    A restated row had other prices before; they stay readable at the snapshot before this one, and ``restated`` shows
    the first of them (``Lake.diff`` all). ``repairs_dropped`` cleaned bars were made for prices that are restated now,
    and hold no longer. ``beside`` counts what is new or changed in the other tables by their name. ``snapshot`` is the
    newest snapshot after the load. ``repeated`` says that the very same data was loaded before, so that nothing was
    done.
    """

    source: str
    rows_read: int
    rows_added: int
    rows_unchanged: int
    rows_restated: int
    actions_added: int
    snapshot: int
    repeated: bool = False
    frequency: Frequency = "daily"
    restated: tuple[Restated, ...] = ()
    repairs_dropped: int = 0
    quarantined: int = 0
    beside: Mapping[str, int] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()
