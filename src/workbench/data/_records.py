"""Reads of the tables beside the bars: listings, fundamentals, documents, repairs, quarantine, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from workbench.data._attached import versioned
from workbench.data._loading import Loading
from workbench.data._reading import SqlReader, asked, literal, where
from workbench.data._tables import DOCUMENTS, FUNDAMENTALS, LISTINGS, QUARANTINE, REPAIRS, Table

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data.dataset import Frequency


class Records(Loading):
    """A lake with what it knows beside bars. Every read can name a snapshot or a moment; none is an empty frame."""

    def listings(
        self, symbols: Sequence[str] | None = None, *, snapshot: int | None = None, at: datetime | None = None
    ) -> pd.DataFrame:
        """The spells of instruments under a ticker, ordered by instrument and ``first``.

        Columns: ``instrument``, ``symbol``, ``first``, ``last`` (NaT: still listed), ``name``, ``origin``, ``source``.

        ``symbols`` gives every spell of each instrument that ever had one of these tickers.
        """
        version = self._version(snapshot, at)
        names = asked(symbols)
        chosen = None
        if names is not None and self._has(LISTINGS.name, version):
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
        return self._table(REPAIRS, version, where(asked(symbols), tables[frequency]), "symbol, at, field")

    def quarantine(self, *, snapshot: int | None = None, at: datetime | None = None) -> pd.DataFrame:
        """Rows that loads left out: ``digest``, ``source``, ``line``, ``reason``, ``row`` (JSON text), ``at`` (UTC)."""
        return self._table(QUARANTINE, self._version(snapshot, at), "", "at, source, line")

    def _table(self, table: Table, version: int, clause: str, order: str) -> pd.DataFrame:
        from workbench.data import _frames

        if not self._has(table.name, version):
            return _frames.empty(table.columns)
        columns = ", ".join(f'"{name}"' for name in table.columns)
        rows = self._rows(f"SELECT {columns} FROM {versioned(table.name, version)} {clause} ORDER BY {order}")
        return _frames.table(rows, table.columns)

    def _sql(self, version: int) -> SqlReader:
        return SqlReader(self, version)
