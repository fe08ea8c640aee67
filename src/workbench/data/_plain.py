"""What the lake answers in plain rows and arrays: a runner, a gateway and the quality check need no pandas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING

from workbench.data._attached import LOAD_HINT
from workbench.data._effects import effective
from workbench.data._reading import Columns, Day, Rows
from workbench.data._records import Records
from workbench.data._sql import asked
from workbench.data._tables import MINUTES
from workbench.data.instruments import Listings, Piece
from workbench.errors import DataError, nearest

if TYPE_CHECKING:
    from workbench.data.dataset import Frequency
    from workbench.data.rows import BarRows


class Plain(Records):
    """A lake's answers without pandas."""

    def symbols(self, snapshot: int | None = None, at: datetime | None = None) -> list[str]:
        """Every ticker with daily bars, sorted."""
        return list(self._reader(snapshot, at).symbols)

    def last_session(self, snapshot: int | None = None) -> date:
        """The last session on which any symbol has a bar.

        Raises
        ------
        DataError
            If there are no bars.
        """
        session = self._reader(snapshot).last_session()
        if session is None:
            raise DataError(f"the lake in {self.folder} is empty", hint=LOAD_HINT)
        return session

    def traded(self, session: date, symbols: Sequence[str] | None = None, *, snapshot: int | None = None) -> list[str]:
        """Those of ``symbols`` (default: all) with a bar on ``session``, sorted; none is an empty list."""
        return self._reader(snapshot).traded(session, asked(symbols))

    def rows(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        frequency: Frequency = "daily",
        snapshot: int | None = None,
        at: datetime | None = None,
        cleaned: bool = False,
        followed: bool = False,
    ) -> BarRows:
        """Raw bars as long columns, sorted by symbol, then time: what rules and cleaning work on.

        Symbols are tickers as traded on the day, as they are stored; ``followed`` takes them for those of the last
        session read, as ``bars`` does, with what their instruments were before. ``start`` and ``end`` are sessions,
        both included. Symbols without a bar in the range are left out; none at all is an empty answer.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown.
        """
        from workbench.data.rows import BarRows

        version = self._version(snapshot, at)
        daily = frequency == "daily"
        known = self._reader(version).symbols if daily else self._sql(version).symbols_of(MINUTES)
        names = sorted(asked(symbols) or known)
        if not known and symbols is None:
            return BarRows.none(frequency, version)
        unknown = sorted(set(names) - set(known))
        if unknown:
            kind = "bars" if daily else "minutes"
            raise DataError(f"no {kind} of {', '.join(unknown)} in the lake", hint=nearest(unknown[0], known))
        listings = self._reader(version).listings if followed else Listings(())
        pieces = listings.pieces(names, (end or date.max) if followed else date.max)
        columns = self._long(pieces, start, end, frequency, version, cleaned=cleaned)
        return BarRows.from_columns(columns, names, frequency, version)

    def history(
        self, symbol: str, *, start: date | None = None, end: date | None = None, snapshot: int | None = None
    ) -> list[Day]:
        """Raw daily bars of one symbol as plain rows, ascending: session, the four prices, volume.

        ``start`` and ``end`` are sessions, both included. None is an empty list. Neither pandas nor numpy is imported
        for it.
        """
        reader = self._reader(snapshot)
        last = end or date.max
        pieces = reader.listings.pieces([symbol], last)
        return reader.history(pieces, start or date.min, last) if pieces else []

    def action_rows(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        snapshot: int | None = None,
        listed: bool = False,
    ) -> list[tuple[str, date, str, float]]:
        """``actions`` as plain rows, without pandas: symbol, ex-date, kind and value.

        Ordered by ex-date, splits first, then symbol.
        """
        rows = self._actions(
            asked(symbols), start or date.min, end or date.max, self._version(snapshot, None), cleaned=False
        )
        plain = [
            (symbol, ex_date, kind, value) for symbol, ex_date, kind, value, _ in (rows if listed else effective(rows))
        ]
        return sorted(plain, key=lambda row: (row[1], row[2] != "split", row[0]))

    def notice_rows(
        self, symbols: Sequence[str] | None = None, *, snapshot: int | None = None
    ) -> list[tuple[str, date, date, str]]:
        """``notices`` as plain rows, without pandas."""
        return [
            (symbol, first, last, detail)
            for symbol, first, last, detail in self._reader(snapshot).notices(asked(symbols))
        ]

    def has_quotes(self, *, snapshot: int | None = None) -> bool:
        """Whether quotes were ever loaded."""
        return self._reader(snapshot).has_quotes

    def spells(self, *, snapshot: int | None = None) -> Listings:
        """Which instrument had which ticker when, without pandas."""
        return self._reader(snapshot).listings

    def _long(
        self,
        pieces: Sequence[Piece],
        start: date | None,
        end: date | None,
        frequency: Frequency,
        version: int,
        *,
        cleaned: bool,
    ) -> Columns:
        """Bars of the pieces as long columns."""
        first, last = start or date.min, end or date.max
        if frequency == "minute":
            return self._sql(version).minutes(pieces, first, last, cleaned=cleaned)
        if cleaned:
            return self._sql(version).bars(pieces, first, last, cleaned=True)
        return self._reader(version).bars(pieces, first, last)

    def _actions(self, names: list[str] | None, first: date, last: date, version: int, cleaned: bool) -> Rows:
        """Actions as they were listed, as plain rows; of an instrument those under the tickers it had."""
        reader = self._reader(version)
        pieces = reader.listings.pieces(names, last) if names and reader.listings else None
        wanted = names if pieces is None else sorted({piece.ticker for piece in pieces})
        if wanted == []:
            return []
        source = self._sql(version)
        rows = source.actions(wanted, first, last, cleaned=True) if cleaned else reader.actions(wanted, first, last)
        return rows if pieces is None else _renamed(rows, pieces, names or [])

    def _effective(self, names: list[str], first: date, last: date, version: int, *, cleaned: bool) -> Rows:
        return effective(self._actions(names, first, last, version, cleaned))


def _renamed(rows: Rows, pieces: Sequence[Piece], names: Sequence[str]) -> Rows:
    """Actions by the ticker of their day, as actions of the symbols asked for."""
    owners: dict[str, list[Piece]] = {}
    for piece in pieces:
        owners.setdefault(piece.ticker, []).append(piece)
    found = [
        (names[piece.code], ex_date, *rest)
        for ticker, ex_date, *rest in rows
        for piece in owners[ticker]
        if piece.first <= ex_date <= piece.last
    ]
    found.sort(key=lambda row: row[2], reverse=True)
    found.sort(key=lambda row: (row[1], row[0]))
    return found
