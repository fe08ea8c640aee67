"""Reads of the tables beside the bars: listings, fundamentals, documents, repairs, quarantine, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from workbench.data import history
from workbench.data._loading import Loading
from workbench.data._sql import asked, literal, versioned, where
from workbench.data._tables import DOCUMENTS, FUNDAMENTALS, LISTINGS, QUARANTINE, REPAIRS, Table
from workbench.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.dataset import Frequency


_CHANGED = "old IS DISTINCT FROM new"


class Records(Loading):
    """A lake with what it knows beside bars. Every read can name a snapshot or a moment; none is an empty frame."""

    def listings(
        self, symbols: Sequence[str] | None = None, *, snapshot: int | None = None, at: datetime | None = None
    ) -> pd.DataFrame:
        """The spells of instruments under a ticker, ordered by instrument and ``first``.

        Columns: ``instrument``, ``symbol``, ``first``, ``last`` (NaT: still listed), ``name``, ``origin``, ``source``.

        ``symbols`` gives every spell of each instrument that ever had one of these tickers.
        """
        from workbench.data import _frames

        version = self._version(snapshot, at)
        if not self._reader(version).listings:
            return _frames.empty(LISTINGS.columns)
        names = asked(symbols)
        chosen = None
        if names is not None:
            chosen = f"instrument IN (SELECT instrument FROM {versioned(LISTINGS.name, version)} {where(names)})"
        return self._table(LISTINGS, version, where(None, chosen), 'instrument, "first"')

    def fundamentals(
        self,
        symbols: Sequence[str] | None = None,
        *,
        on: date | None = None,
        items: Sequence[str] | None = None,
        snapshot: int | None = None,
        at: datetime | None = None,
    ) -> pd.DataFrame:
        """The figures known on a day (default: today's knowledge): the last published by then of each period and item.

        Columns: ``symbol``, ``period`` (the last day of what the figure is about), ``known`` (when it was published),
        ``item``, ``value``, ``unit``, ``origin``, ``source``; ordered by symbol, period and item.
        """
        version = self._version(snapshot, at)
        until = None if on is None else f"known <= {literal(on)}"
        wanted = None if items is None else f"item IN ({', '.join(literal(item) for item in items)})"
        latest = "QUALIFY row_number() OVER (PARTITION BY symbol, period, item ORDER BY known DESC) = 1"
        clause = f"{where(asked(symbols), until, wanted)}{latest}"
        return self._table(FUNDAMENTALS, version, clause, "symbol, period, item")

    def documents(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        kind: str | None = None,
        snapshot: int | None = None,
        at: datetime | None = None,
    ) -> pd.DataFrame:
        """Documents of the days from ``start`` to ``end``, both included; ordered by day, symbol, kind and key.

        Columns: ``symbol``, ``day``, ``kind``, ``key``, ``body`` (JSON text) and ``source``.
        """
        version = self._version(snapshot, at)
        days = f"day BETWEEN {literal(start or date.min)} AND {literal(end or date.max)}"
        of_kind = None if kind is None else f"kind = {literal(kind)}"
        return self._table(DOCUMENTS, version, where(asked(symbols), days, of_kind), "day, symbol, kind, key")

    def repairs(
        self,
        symbols: Sequence[str] | None = None,
        *,
        frequency: Frequency | None = None,
        snapshot: int | None = None,
        at: datetime | None = None,
    ) -> pd.DataFrame:
        """The repair ledger: one row per cell that cleaned bars have otherwise than the raw ones.

        Columns: ``table_name`` (``bars``, ``minutes`` or ``actions``), ``symbol``, ``at``, ``field``, ``old``, ``new``,
        ``rule``, ``action``, ``reason``, ``policy``, ``raw_snapshot``, ``made_at``; ordered by symbol, at and field.
        """
        version = self._version(snapshot, at)
        tables = {None: None, "daily": "table_name IN ('bars', 'actions')", "minute": "table_name = 'minutes'"}
        return self._table(REPAIRS, version, where(asked(symbols), tables[frequency]), 'symbol, "at", field')

    def quarantine(
        self, source: str | None = None, *, snapshot: int | None = None, at: datetime | None = None
    ) -> pd.DataFrame:
        """Rows that loads left out, oldest first; ``source`` names one source.

        Columns: ``digest``, ``source``, ``line``, ``reason``, ``row`` (JSON text) and ``at`` (UTC).
        """
        mine = None if source is None else f"source = {literal(source)}"
        return self._table(QUARANTINE, self._version(snapshot, at), where(None, mine), '"at", source, line')

    def diff(
        self, old: int, new: int, symbols: Sequence[str] | None = None, *, limit: int | None = None
    ) -> pd.DataFrame:
        """Every value of bars, minutes and actions that is another at snapshot ``new`` than at ``old``.

        Columns: ``table_name``, ``symbol``, ``at``, ``field`` (of an action its kind), ``old``, ``new`` (NaN where
        there is none) and ``change`` (``added``, ``removed`` or ``restated``); ordered by the first four. A bar in only
        one of the two is one row, its close. ``limit`` gives the first only.

        Raises
        ------
        DataError
            If a snapshot is unknown.
        """
        from workbench.data import _frames

        query = self._changes(old, new, asked(symbols))
        if query is None:
            return _frames.empty(history.COLUMNS)
        first = "" if limit is None else f" LIMIT {int(limit)}"
        order = 'ORDER BY table_name, symbol, "at", field'
        return _frames.table(self._rows(f"SELECT * FROM ({query}) WHERE {_CHANGED} {order}{first}"), history.COLUMNS)

    def diff_counts(self, old: int, new: int, symbols: Sequence[str] | None = None) -> pd.DataFrame:
        """How many bars and actions changed.

        Columns: ``table_name``, ``symbol``, ``change``, ``rows``, ``first`` and ``last`` (when); ordered by these.
        """
        from workbench.data import _frames

        columns = {"table_name": "VARCHAR", "symbol": "VARCHAR", "change": "VARCHAR"}
        columns |= {"rows": "BIGINT", "first": "TIMESTAMP", "last": "TIMESTAMP"}
        query = self._changes(old, new, asked(symbols))
        if query is None:
            return _frames.empty(columns)
        counted = 'count(DISTINCT "at"), min("at"), max("at")'
        grouped = f"FROM ({query}) WHERE {_CHANGED} GROUP BY ALL ORDER BY 1, 2, 3"
        return _frames.table(self._rows(f"SELECT table_name, symbol, change, {counted} {grouped}"), columns)

    def _changes(self, old: int, new: int, symbols: Sequence[str] | None) -> str | None:
        """The statement that compares two snapshots; None if there is nothing to compare in either."""
        newest = self.snapshot()
        for version in (old, new):
            if not 0 <= version <= newest:
                raise DataError(f"the lake has no snapshot {version}", hint=f"it has 0 to {newest}")
        there = [table for table in history.TABLES if self._has(table.name, max(old, new))]
        before = [table for table in there if self._has(table.name, min(old, new))]
        return history.changes(old, new, there, before, symbols) if there and old != new else None

    def _table(self, table: Table, version: int, clause: str, order: str) -> pd.DataFrame:
        from workbench.data import _frames

        return _frames.table(self._sql(version).table(table, clause, order), table.columns)
