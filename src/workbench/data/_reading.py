"""What a snapshot of the lake answers, in SQL. Rows come back as DuckDB gives them; ``_frames`` makes frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from workbench.data._small import MOST_ROWS
from workbench.data._sql import literal, literals, versioned, where
from workbench.data._tables import BARS, MINUTES, Table
from workbench.data.dataset import FIELDS
from workbench.data.instruments import Listings, Piece, Spell

if TYPE_CHECKING:
    import numpy as np

    from workbench.data._attached import Attached

Rows = list[tuple[Any, ...]]
Columns = Mapping[str, "np.ndarray[Any, Any]"]
_FIELDS = ", ".join(FIELDS)
_FAR_PAST, _FAR_FUTURE = date(1700, 1, 1), date(2200, 1, 1)


class Reader(Protocol):
    """What every way of reading one snapshot answers."""

    @property
    def symbols(self) -> list[str]: ...

    @property
    def listings(self) -> Listings: ...

    def coverage(self, names: Sequence[str] | None) -> Rows: ...

    def last_session(self) -> date | None: ...

    def traded(self, session: date, names: Sequence[str] | None) -> list[str]: ...

    def last_common(self, names: Sequence[str], until: date) -> date | None: ...

    def bars(self, pieces: Sequence[Piece], first: date, last: date) -> Columns: ...

    def history(self, pieces: Sequence[Piece], last: date) -> Rows: ...

    def actions(self, names: Sequence[str] | None, first: date, last: date) -> Rows: ...

    def notices(self, names: Sequence[str] | None) -> Rows: ...


class SqlReader:
    """Answers from the lake's Parquet files, one statement for each question."""

    def __init__(self, lake: Attached, snapshot: int) -> None:
        self._lake = lake
        self.snapshot = snapshot

    @cached_property
    def symbols(self) -> list[str]:
        rows = self._lake._rows(f"SELECT DISTINCT symbol FROM {self._at('bars')} ORDER BY 1")
        return [str(row[0]) for row in rows]

    @cached_property
    def listings(self) -> Listings:
        if not self._lake._has("listings", self.snapshot):
            return Listings(())
        rows = self._lake._rows(f'SELECT instrument, symbol, "first", "last" FROM {self._at("listings")}')
        return Listings(Spell(*row) for row in rows)

    def coverage(self, names: Sequence[str] | None, table: Table = BARS) -> Rows:
        if table is not BARS and not self._lake._has(table.name, self.snapshot):
            return []
        time = table.key[1]
        return self._lake._rows(
            f"SELECT symbol, min({time}), max({time}), count(*) FROM {self._at(table.name)} {where(names)}"
            "GROUP BY symbol ORDER BY symbol"
        )

    def last_session(self) -> date | None:
        session: date | None = self._lake._rows(f"SELECT max(session) FROM {self._at('bars')}")[0][0]
        return session

    def traded(self, session: date, names: Sequence[str] | None) -> list[str]:
        rows = self._lake._rows(
            f"SELECT symbol FROM {self._at('bars')} {where(names, f'session = {literal(session)}')}ORDER BY symbol"
        )
        return [str(row[0]) for row in rows]

    def last_common(self, names: Sequence[str], until: date) -> date | None:
        rows = self._lake._rows(
            f"SELECT session FROM {self._at('bars')} {where(names, f'session <= {literal(until)}')}"
            f"GROUP BY session HAVING count(*) = {len(names)} ORDER BY session DESC LIMIT 1"
        )
        return rows[0][0] if rows else None

    def bars(self, pieces: Sequence[Piece], first: date, last: date, *, cleaned: bool = False) -> Columns:
        """``code``, ``day`` (since 1970) and the fields of every bar of the pieces, in any order."""
        inside = f"session BETWEEN {literal(first)} AND {literal(last)}"
        rows = self._of_pieces(BARS, pieces, inside, cleaned=cleaned)
        return self._lake._columns(f"SELECT code, session - DATE '1970-01-01' AS day, {_FIELDS} {rows}")

    def minutes(self, pieces: Sequence[Piece], first: date, last: date, *, cleaned: bool = False) -> Columns:
        """``code``, ``us`` (since 1970, UTC) and the fields of every minute of the pieces, in any order."""
        start, end = day_bounds(first, last, self._lake.time_zone)
        inside = f"start >= {literal(start)} AND start < {literal(end)}"
        rows = self._of_pieces(MINUTES, pieces, inside, cleaned=cleaned)
        return self._lake._columns(f"SELECT code, epoch_us(start) AS us, {_FIELDS} {rows}")

    def history(self, pieces: Sequence[Piece], last: date) -> Rows:
        """Session and fields of one symbol, ascending."""
        rows = self._of_pieces(BARS, pieces, f"session <= {literal(last)}")
        return self._lake._rows(f"SELECT session, {_FIELDS} {rows} ORDER BY session")

    def actions(self, names: Sequence[str] | None, first: date, last: date, *, cleaned: bool = False) -> Rows:
        table = self._at("actions")
        if cleaned and self._lake._has("cleaned_actions", self.snapshot):
            changed = self._at("cleaned_actions")
            table = (
                f"(SELECT symbol, ex_date, kind, value, origin FROM {table} ANTI JOIN {changed} "
                "USING (symbol, ex_date, kind) UNION ALL "
                f"SELECT symbol, ex_date, kind, value, 'cleaned' AS origin FROM {changed} WHERE kept)"
            )
        days = f"ex_date BETWEEN {literal(first)} AND {literal(last)}"
        return self._lake._rows(
            f"SELECT symbol, ex_date, kind, value, origin FROM {table} {where(names, days)}"
            "ORDER BY ex_date, symbol, kind DESC"
        )

    def notices(self, names: Sequence[str] | None) -> Rows:
        return self._lake._rows(
            f'SELECT symbol, "first", "last", detail FROM {self._at("notices")} {where(names)}ORDER BY ALL'
        )

    def content(self) -> tuple[dict[str, Any], list[bytes]] | None:
        """Everything that a small lake's file holds (see ``_small``); None if there is too much of it."""
        import numpy as np

        tables = "__ducklake_metadata_lake.ducklake_table"
        files = "__ducklake_metadata_lake.ducklake_data_file"
        rows = self._lake._rows(
            f"SELECT coalesce(sum(record_count), 0) FROM {files} JOIN {tables} USING (table_id) "
            "WHERE table_name = 'bars'"
        )
        if rows[0][0] > MOST_ROWS:
            return None
        symbols = self.symbols
        pieces = Listings(()).pieces(symbols, date.max)
        columns = self.bars(pieces, date.min, date.max)
        order = np.lexsort((columns["day"], columns["code"]))
        counts = np.bincount(columns["code"], minlength=len(symbols))
        spells = (
            self._lake._rows(f'SELECT instrument, symbol, "first", "last" FROM {self._at("listings")}')
            if (self._lake._has("listings", self.snapshot))
            else []
        )
        loads = self._lake._rows(f"SELECT digest, source, rows_read FROM {self._at('loads')}")
        header = {
            "rows": len(order),
            "symbols": symbols,
            "offsets": [0, *np.cumsum(counts).tolist()],
            "listings": _texts(spells),
            "actions": _texts(self.actions(None, date.min, date.max)),
            "notices": _texts(self.notices(None)),
            "loads": {digest: [source, count] for digest, source, count in loads},
        }
        days = np.ascontiguousarray(columns["day"][order], dtype="<i4")
        values = [np.ascontiguousarray(columns[name][order], dtype="<f8") for name in FIELDS]
        return header, [days.tobytes(), *(value.tobytes() for value in values)]

    def symbols_of(self, table: Table) -> list[str]:
        """Every symbol of a table of bars, sorted."""
        if table is BARS:
            return self.symbols
        if not self._lake._has(table.name, self.snapshot):
            return []
        rows = self._lake._rows(f"SELECT DISTINCT symbol FROM {self._at(table.name)} ORDER BY 1")
        return [str(row[0]) for row in rows]

    def relation(self, table: Table, *, cleaned: bool, tickers: Sequence[str] | None = None) -> str:
        """Bars of a table with the repairs applied, for a FROM clause."""
        raw = self._at(table.name)
        time = table.key[1]
        if not cleaned or not self._lake._has("cleaned", self.snapshot):
            return raw
        mine = where(tickers, f"table_name = '{table.name}'")
        changed = (
            f'(SELECT symbol, "at"::{table.columns[time]} AS {time}, {_FIELDS}, kept FROM {self._at("cleaned")} {mine})'
        )
        return (
            f"(SELECT symbol, {time}, {_FIELDS} FROM (SELECT * FROM {raw} {where(tickers)}) ANTI JOIN {changed} "
            f"USING (symbol, {time}) UNION ALL SELECT symbol, {time}, {_FIELDS} FROM {changed} WHERE kept)"
        )

    def _of_pieces(self, table: Table, pieces: Sequence[Piece], inside: str, *, cleaned: bool = False) -> str:
        """The rows of a table that belong to the pieces, as the end of a statement."""
        tickers = sorted({piece.ticker for piece in pieces})
        bounded = any(piece.first != date.min or piece.last != date.max for piece in pieces)
        names = [
            f"unnest({literals(piece.ticker for piece in pieces)}::VARCHAR[]) AS symbol",
            f"unnest({[piece.code for piece in pieces]}::INTEGER[]) AS code",
        ]
        within = ""
        if bounded:
            kind = table.columns[table.key[1]]
            within = f" AND {table.key[1]} BETWEEN since AND until"
            bounds: list[tuple[date, date]] = [(piece.first, piece.last) for piece in pieces]
            if table is MINUTES:
                bounds = [day_bounds(first, last, self._lake.time_zone) for first, last in bounds]
                within = " AND start >= since AND start < until"
            names.append(f"unnest({literals(since for since, _ in bounds)}::{kind}[]) AS since")
            names.append(f"unnest({literals(until for _, until in bounds)}::{kind}[]) AS until")
        return (
            f"FROM {self.relation(table, cleaned=cleaned, tickers=tickers)} JOIN "
            f"(SELECT {', '.join(names)}) AS names USING (symbol) {where(tickers, inside)}{within}"
        )

    def _at(self, table: str) -> str:
        return versioned(table, self.snapshot)


def _texts(rows: Rows) -> list[list[object]]:
    """Rows as JSON can hold them: dates as ISO text."""
    return [[value.isoformat() if isinstance(value, date) else value for value in row] for row in rows]


def day_bounds(first: date, last: date, time_zone: str) -> tuple[datetime, datetime]:
    """The first moment of one day and the first after another, in UTC without saying so, as minutes are stored.

    >>> [str(moment) for moment in day_bounds(date(2013, 3, 8), date(2013, 3, 8), "America/New_York")]
    ['2013-03-08 05:00:00', '2013-03-09 05:00:00']
    """
    zone = ZoneInfo(time_zone)

    def midnight(day: date) -> datetime:
        if not _FAR_PAST < day < _FAR_FUTURE:  # beyond what a time zone is defined for, and any bar
            return datetime.combine(day, time.min)
        return datetime.combine(day, time.min, zone).astimezone(UTC).replace(tzinfo=None)

    return midnight(first), midnight(last if last == date.max else last + timedelta(days=1))
