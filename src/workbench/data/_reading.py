"""What a snapshot of the lake answers, in SQL. Rows come back as DuckDB gives them; ``_frames`` makes frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from zoneinfo import ZoneInfo

from workbench.data import _ducklake
from workbench.data._files import Files
from workbench.data._small import MOST_ROWS
from workbench.data._sql import literal, literals, where
from workbench.data._tables import (
    ACTIONS,
    BARS,
    CLEANED,
    CLEANED_ACTIONS,
    LISTINGS,
    LOADS,
    MINUTES,
    NOTICES,
    QUOTES,
    Table,
)
from workbench.data.dataset import FIELDS
from workbench.data.instruments import Listings, Piece, Spell
from workbench.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from workbench.data._attached import Attached

Rows = list[tuple[Any, ...]]
Day = tuple[date, float, float, float, float, float]  # a session, its four prices and its volume
Columns = Mapping[str, "np.ndarray[Any, Any]"]
T = TypeVar("T")
_FIELDS = ", ".join(FIELDS)
_DAY = timedelta(days=1)
_FAR_PAST, _FAR_FUTURE = date(1700, 1, 1), date(2200, 1, 1)


class Reader(Protocol):
    """What every way of reading one snapshot answers."""

    @property
    def symbols(self) -> list[str]: ...

    @property
    def listings(self) -> Listings: ...

    @property
    def has_quotes(self) -> bool: ...

    def coverage(self, names: Sequence[str] | None) -> Rows: ...

    def last_session(self) -> date | None: ...

    def traded(self, session: date, names: Sequence[str] | None) -> list[str]: ...

    def last_common(self, names: Sequence[str], until: date) -> date | None: ...

    def bars(self, pieces: Sequence[Piece], first: date, last: date) -> Columns: ...

    def history(self, pieces: Sequence[Piece], first: date, last: date) -> list[Day]: ...

    def actions(self, names: Sequence[str] | None, first: date, last: date) -> Rows: ...

    def notices(self, names: Sequence[str] | None) -> Rows: ...


class SqlReader:
    """Answers from the lake's Parquet files, one statement for each question."""

    def __init__(self, lake: Attached, snapshot: int) -> None:
        self._lake = lake
        self.snapshot = snapshot

    @cached_property
    def symbols(self) -> list[str]:
        return self.symbols_of(BARS)

    @cached_property
    def listings(self) -> Listings:
        return Listings(Spell(*row) for row in self._spells())

    @property
    def has_quotes(self) -> bool:
        return self._lake._has(QUOTES.name, self.snapshot)

    def coverage(self, names: Sequence[str] | None, table: Table = BARS) -> Rows:
        if table is not BARS and not self._lake._has(table.name, self.snapshot):
            return []
        time = table.key[1]
        return self._rows(
            lambda: (
                f"SELECT symbol, min({time}), max({time}), count(*) FROM {self._at(table, names)} {where(names)}"
                "GROUP BY symbol ORDER BY symbol"
            )
        )

    def last_session(self) -> date | None:
        session: date | None = self._rows(lambda: f"SELECT max(session) FROM {self._at(BARS)}")[0][0]
        return session

    def traded(self, session: date, names: Sequence[str] | None) -> list[str]:
        on = where(names, f"session = {literal(session)}")
        rows = self._rows(lambda: f"SELECT symbol FROM {self._at(BARS, names, session, session)} {on}ORDER BY symbol")
        return [str(row[0]) for row in rows]

    def last_common(self, names: Sequence[str], until: date) -> date | None:
        by_then = where(names, f"session <= {literal(until)}")
        rows = self._rows(
            lambda: (
                f"SELECT session FROM {self._at(BARS, names, None, until)} {by_then}"
                f"GROUP BY session HAVING count(*) = {len(names)} ORDER BY session DESC LIMIT 1"
            )
        )
        return rows[0][0] if rows else None

    def bars(self, pieces: Sequence[Piece], first: date, last: date, *, cleaned: bool = False) -> Columns:
        """``code``, ``day`` (since 1970) and the fields of every bar of the pieces, in any order."""
        selected = f"SELECT code, session - DATE '1970-01-01' AS day, {_FIELDS}"
        return self._columns(lambda: f"{selected} {self._of_pieces(BARS, pieces, first, last, cleaned=cleaned)}")

    def minutes(self, pieces: Sequence[Piece], first: date, last: date, *, cleaned: bool = False) -> Columns:
        """``code``, ``us`` (since 1970, UTC) and the fields of every minute of the pieces, in any order."""
        selected = f"SELECT code, epoch_us(start) AS us, {_FIELDS}"
        return self._columns(lambda: f"{selected} {self._of_pieces(MINUTES, pieces, first, last, cleaned=cleaned)}")

    def history(self, pieces: Sequence[Piece], first: date, last: date) -> list[Day]:
        """Session and fields of one symbol, ascending."""
        rows = self._rows(
            lambda: f"SELECT session, {_FIELDS} {self._of_pieces(BARS, pieces, first, last)} ORDER BY session"
        )
        return cast("list[Day]", rows)

    def actions(self, names: Sequence[str] | None, first: date, last: date, *, cleaned: bool = False) -> Rows:
        columns = "symbol, ex_date, kind, value, origin"
        inside = where(names, f"ex_date BETWEEN {literal(first)} AND {literal(last)}")
        corrected = cleaned and self._lake._has(CLEANED_ACTIONS.name, self.snapshot)

        def statement() -> str:
            table = self._at(ACTIONS, names)
            if corrected:
                changed = self._at(CLEANED_ACTIONS, names)
                table = (
                    f"(SELECT {columns} FROM {table} ANTI JOIN {changed} USING (symbol, ex_date, kind) UNION ALL "
                    f"SELECT symbol, ex_date, kind, value, 'cleaned' AS origin FROM {changed} WHERE kept)"
                )
            return f"SELECT {columns} FROM {table} {inside}ORDER BY ex_date, symbol, kind DESC"

        return self._rows(statement)

    def notices(self, names: Sequence[str] | None) -> Rows:
        columns = 'symbol, "first", "last", detail'
        return self._rows(lambda: f"SELECT {columns} FROM {self._at(NOTICES, names)} {where(names)}ORDER BY ALL")

    def table(self, table: Table, clause: str, order: str) -> Rows:
        """All columns of a table's rows that a clause chooses; none if it was not there yet."""
        if not self._lake._has(table.name, self.snapshot):
            return []
        columns = ", ".join(f'"{name}"' for name in table.columns)
        return self._rows(lambda: f"SELECT {columns} FROM {self._at(table)} {clause} ORDER BY {order}")

    def content(self) -> tuple[dict[str, Any], list[bytes]] | None:
        """Everything that a small lake's file holds (see ``_small``); None if there is too much of it."""
        import numpy as np

        count = self._files.count(BARS)
        if count is None:
            count = self._rows(lambda: f"SELECT count(*) FROM {self._at(BARS)}")[0][0]
        if count > MOST_ROWS:
            return None
        symbols = self.symbols
        pieces = Listings(()).pieces(symbols, date.max)
        columns = self.bars(pieces, date.min, date.max)
        order = np.lexsort((columns["day"], columns["code"]))
        counts = np.bincount(columns["code"], minlength=len(symbols))
        loads = self._rows(lambda: f"SELECT digest, source, rows_read FROM {self._at(LOADS)}")
        header = {
            "rows": len(order),
            "symbols": symbols,
            "offsets": [0, *np.cumsum(counts).tolist()],
            "listings": _texts(self._spells()),
            "actions": _texts(self.actions(None, date.min, date.max)),
            "notices": _texts(self.notices(None)),
            "quotes": self.has_quotes,
            "loads": {digest: [source, count] for digest, source, count in loads},
        }
        days = np.ascontiguousarray(columns["day"][order], dtype="<i4")
        values = [np.ascontiguousarray(columns[name][order], dtype="<f8") for name in FIELDS]
        return header, [days.tobytes(), *(value.tobytes() for value in values)]

    def symbols_of(self, table: Table) -> list[str]:
        """Every symbol of a table of bars, sorted."""
        if table is not BARS and not self._lake._has(table.name, self.snapshot):
            return []
        rows = self._rows(lambda: f"SELECT DISTINCT symbol FROM {self._at(table)} ORDER BY 1")
        return [str(row[0]) for row in rows]

    def relation(
        self,
        table: Table,
        *,
        cleaned: bool,
        tickers: Sequence[str] | None = None,
        first: date | None = None,
        last: date | None = None,
    ) -> str:
        """Bars of a table with the repairs applied, for a FROM clause.

        Where tickers and days are named, rows of others can be among them.
        """
        raw = self._at(table, tickers, first, last)
        time = table.key[1]
        if not cleaned or not self._lake._has(CLEANED.name, self.snapshot):
            return raw
        mine = where(tickers, f"table_name = '{table.name}'")
        changed = (
            f'(SELECT symbol, "at"::{table.columns[time]} AS {time}, {_FIELDS}, kept '
            f"FROM {self._at(CLEANED, tickers)} {mine})"
        )
        return (
            f"(SELECT symbol, {time}, {_FIELDS} FROM (SELECT * FROM {raw} {where(tickers)}) ANTI JOIN {changed} "
            f"USING (symbol, {time}) UNION ALL SELECT symbol, {time}, {_FIELDS} FROM {changed} WHERE kept)"
        )

    def _of_pieces(
        self, table: Table, pieces: Sequence[Piece], first: date, last: date, *, cleaned: bool = False
    ) -> str:
        """The rows of a table that belong to the pieces on the days from first to last, as the end of a statement."""
        tickers = sorted({piece.ticker for piece in pieces})
        rows = self.relation(table, cleaned=cleaned, tickers=tickers, first=first, last=last)
        inside = where(tickers, *self._within(table, first, last))
        if len(pieces) == 1:
            (piece,) = pieces
            own = where(tickers, *self._within(table, max(first, piece.first), min(last, piece.last)))
            return f"FROM (SELECT *, {piece.code}::INTEGER AS code FROM {rows} {own})"
        names = [
            f"unnest({literals(piece.ticker for piece in pieces)}::VARCHAR[]) AS symbol",
            f"unnest({[piece.code for piece in pieces]}::INTEGER[]) AS code",
        ]
        if any(piece.first != date.min or piece.last != date.max for piece in pieces):
            kind = table.columns[table.key[1]]
            bounds: list[tuple[date, date]] = [(piece.first, piece.last) for piece in pieces]
            if table is MINUTES:
                bounds = [day_bounds(since, until, self._lake.time_zone) for since, until in bounds]
            names.append(f"unnest({literals(since for since, _ in bounds)}::{kind}[]) AS since")
            names.append(f"unnest({literals(until for _, until in bounds)}::{kind}[]) AS until")
            inside += f"AND {' AND '.join(_between(table, 'since', 'until'))} "
        return f"FROM {rows} JOIN (SELECT {', '.join(names)}) AS names USING (symbol) {inside}"

    def _within(self, table: Table, first: date, last: date) -> list[str]:
        """The conditions that a bar is of the days from first to last."""
        since, until = (first, last) if table is BARS else day_bounds(first, last, self._lake.time_zone)
        after, before = _between(table, literal(since), literal(until))
        return ([after] if first != date.min else []) + ([before] if last != date.max else [])

    @cached_property
    def _files(self) -> Files:
        return Files.of(self._lake._rows, self._lake.folder / _ducklake.FILES, self.snapshot)

    def _at(
        self, table: Table, names: Sequence[str] | None = None, first: date | None = None, last: date | None = None
    ) -> str:
        """A table, for a FROM clause: at least its rows of ``names`` on the days from first to last."""
        if table is MINUTES:  # a file tells the first and the last day in UTC, which can be the next
            first = None if first in (None, date.min) else first - _DAY
            last = None if last in (None, date.max) else last + _DAY
        return self._files.relation(table, names, first, last)

    def _rows(self, statement: Callable[[], str]) -> Rows:
        return self._asked(lambda: self._lake._rows(statement()))

    def _columns(self, statement: Callable[[], str]) -> Columns:
        return self._asked(lambda: self._lake._columns(statement()))

    def _asked(self, ask: Callable[[], T]) -> T:
        """Ask, and ask DuckLake itself if a file is not there any more: another process merged it into a new one."""
        try:
            return ask()
        except DataError:
            if self._files.are_there():
                raise
            self._files = Files(self.snapshot, {})
            return ask()

    def _spells(self) -> Rows:
        if not self._lake._has(LISTINGS.name, self.snapshot):
            return []
        return self._rows(lambda: f'SELECT instrument, symbol, "first", "last" FROM {self._at(LISTINGS)}')


def _between(table: Table, since: str, until: str) -> tuple[str, str]:
    """A session is within days, both included; a minute within moments, the second excluded."""
    time = table.key[1]
    return f"{time} >= {since}", f"{time} {'<=' if table is BARS else '<'} {until}"


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
