"""The tables of the lake: columns, and what makes a row unique. A table is made when a load first needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.data.dataset import FIELDS

_PRICES = dict.fromkeys(FIELDS, "DOUBLE")


@dataclass(frozen=True, eq=False)
class Table:
    """One table: its columns with their types, and the columns that name a row (none: every row stands alone)."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """What a row says beyond its key and its source."""
        return tuple(name for name in self.columns if name not in (*self.key, "source"))

    @property
    def staged(self) -> tuple[str, ...]:
        """The columns that a source stages: all but its own name."""
        return tuple(name for name in self.columns if name != "source")

    def create(self) -> str:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self.columns.items())
        return f"CREATE TABLE IF NOT EXISTS lake.{self.name} ({columns})"


BARS = Table(
    "bars", {"symbol": "VARCHAR", "session": "DATE"} | _PRICES | {"source": "VARCHAR"}, key=("symbol", "session")
)
# "start" is the left edge in UTC.
MINUTES = Table(
    "minutes", {"symbol": "VARCHAR", "start": "TIMESTAMP"} | _PRICES | {"source": "VARCHAR"}, key=("symbol", "start")
)
ACTIONS = Table(
    "actions",
    {
        "symbol": "VARCHAR",
        "ex_date": "DATE",
        "kind": "VARCHAR",
        "value": "DOUBLE",
        "origin": "VARCHAR",
        "source": "VARCHAR",
    },
    key=("symbol", "ex_date", "kind"),
)
LISTINGS = Table(
    "listings",
    {
        "instrument": "VARCHAR",
        "symbol": "VARCHAR",
        "first": "DATE",
        "last": "DATE",
        "name": "VARCHAR",
        "origin": "VARCHAR",
        "source": "VARCHAR",
    },
    key=("instrument", "symbol", "first"),
)
FUNDAMENTALS = Table(
    "fundamentals",
    {
        "symbol": "VARCHAR",
        "period": "DATE",
        "known": "DATE",
        "item": "VARCHAR",
        "value": "DOUBLE",
        "unit": "VARCHAR",
        "origin": "VARCHAR",
        "source": "VARCHAR",
    },
    key=("symbol", "period", "known", "item"),
)
DOCUMENTS = Table(
    "documents",
    {
        "symbol": "VARCHAR",
        "day": "DATE",
        "kind": "VARCHAR",
        "key": "VARCHAR",
        "body": "JSON",
        "source": "VARCHAR",
    },
    key=("symbol", "day", "kind", "key"),
)
# "at" is the moment in UTC. A crossed quote is kept as it came.
QUOTES = Table(
    "quotes",
    {
        "symbol": "VARCHAR",
        "at": "TIMESTAMP",
        "bid": "DOUBLE",
        "ask": "DOUBLE",
        "bid_size": "DOUBLE",
        "ask_size": "DOUBLE",
        "source": "VARCHAR",
    },
    key=("symbol", "at"),
)
NOTICES = Table(
    "notices",
    {"symbol": "VARCHAR", "first": "DATE", "last": "DATE", "detail": "VARCHAR", "source": "VARCHAR"},
    key=("symbol", "first", "last", "detail"),
)
QUARANTINE = Table(
    "quarantine",
    {
        "digest": "VARCHAR",
        "source": "VARCHAR",
        "line": "BIGINT",
        "reason": "VARCHAR",
        "row": "JSON",
        "at": "TIMESTAMP",
    },
    key=("digest", "line", "reason"),
)
LOADS = Table(
    "loads", {"digest": "VARCHAR", "source": "VARCHAR", "loaded_at": "TIMESTAMPTZ", "rows_read": "BIGINT"}, ("digest",)
)
CLEANED = Table(
    "cleaned",
    {"table_name": "VARCHAR", "symbol": "VARCHAR", "at": "TIMESTAMP"}
    | _PRICES
    | {"kept": "BOOLEAN", "policy": "VARCHAR"},
    key=("table_name", "symbol", "at"),
)
REPAIRS = Table(
    "repairs",
    {
        "table_name": "VARCHAR",
        "symbol": "VARCHAR",
        "at": "TIMESTAMP",
        "field": "VARCHAR",
        "old": "DOUBLE",
        "new": "DOUBLE",
        "rule": "VARCHAR",
        "action": "VARCHAR",
        "reason": "VARCHAR",
        "policy": "VARCHAR",
        "raw_snapshot": "BIGINT",
        "made_at": "TIMESTAMPTZ",
    },
)
# Corrected actions: one that is changed or added, or taken out with kept = false.
CLEANED_ACTIONS = Table(
    "cleaned_actions",
    {
        "symbol": "VARCHAR",
        "ex_date": "DATE",
        "kind": "VARCHAR",
        "value": "DOUBLE",
        "kept": "BOOLEAN",
        "policy": "VARCHAR",
    },
    key=("symbol", "ex_date", "kind"),
)
TABLES = {
    table.name: table
    for table in (
        BARS,
        MINUTES,
        ACTIONS,
        LISTINGS,
        FUNDAMENTALS,
        DOCUMENTS,
        QUOTES,
        NOTICES,
        QUARANTINE,
        LOADS,
        CLEANED,
        REPAIRS,
        CLEANED_ACTIONS,
    )
}
# Those that a source may fill, beside its bars.
BESIDE = (ACTIONS, LISTINGS, FUNDAMENTALS, DOCUMENTS, QUOTES, NOTICES)
