"""The lake: raw bars, corporate actions and what belongs to them in DuckLake; every load is a snapshot that stays.

Prices and volumes are DOUBLE: a double gives back every decimal a vendor prints (up to 15 digits), research
computes with nothing else, and the order path turns the printed form into ``Decimal``. Bars are unique by
(symbol, session) at every snapshot and stored sorted by them, so that one symbol is a short read.

pandas is imported by the first question whose answer is a frame: a runner only asks for symbols and sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data._effects import effective
from workbench.data._plain import Plain
from workbench.data._reading import Reader
from workbench.data._sql import asked
from workbench.data._tables import MINUTES
from workbench.errors import DataError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from workbench.data.bars import Adjustment, Bars
    from workbench.data.dataset import Frequency

_ADJUSTMENTS = ("raw", "split", "total")


class Lake(Plain):
    """The lake in one folder: ``catalog.sqlite`` and Parquet files under ``files/``.

    It is attached on first use and holds no lock between calls; several processes may read and write at
    once, and several threads may share one object: they take turns. Every read can name a ``snapshot``, or a
    moment ``at`` which it was the newest, and then gives the same answer for ever. ``time_zone`` is the
    exchange's: it says which session a minute belongs to.

    A symbol is a ticker as of the last session read. Where the lake knows listings, its bars are those of the
    instrument that had the ticker then, under whatever ticker it was traded before; rows of another instrument
    that used the ticker are not among them.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import pandas as pd
    >>> from workbench.data.dataset import Dataset, no_actions
    >>> day = pd.Timestamp("2013-01-02")
    >>> row = {"symbol": "IBM", "session": day, "open": 194.1, "high": 196.4, "low": 193.8, "close": 196.3}
    >>> with tempfile.TemporaryDirectory() as folder, Lake(Path(folder)) as lake:
    ...     result = lake.load(Dataset(pd.DataFrame([row | {"volume": 1e6}]), no_actions(), "by hand", "1"))
    ...     lake.bars(["IBM"], snapshot=result.snapshot).prices_on(date(2013, 1, 2))
    {'IBM': 196.3}
    """

    def coverage(
        self,
        symbols: Sequence[str] | None = None,
        snapshot: int | None = None,
        at: datetime | None = None,
        *,
        frequency: Frequency = "daily",
    ) -> pd.DataFrame:
        """The ``first`` and ``last`` session (minute: start in UTC; datetime64) and number of ``rows``, by ticker.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown.
        """
        from workbench.data import _frames

        names = asked(symbols)
        version = self._version(snapshot, at)
        reader = self._reader(version)
        rows = reader.coverage(names) if frequency == "daily" else self._sql(version).coverage(names, MINUTES)
        if names is not None:
            _require(names, {row[0] for row in rows}, reader)
        return _frames.coverage(rows, names)

    def last_common_session(
        self, symbols: Sequence[str], snapshot: int | None = None, on_or_before: date | None = None
    ) -> date:
        """The last session on which every one of ``symbols`` has a bar.

        Raises
        ------
        DataError
            If a symbol is unknown, or there is no such session.
        """
        names = asked(symbols) or []
        reader = self._reader(snapshot)
        session = reader.last_common(names, on_or_before or date.max)
        if session is not None:
            return session
        coverage = self.coverage(names, snapshot)
        spans = ", ".join(f"{name} {_span(row['first'], row['last'])}" for name, row in coverage.iterrows())
        limit = f" up to {on_or_before}" if on_or_before else ""
        raise DataError(f"there is no session{limit} with bars of all of {', '.join(names)}", hint=f"there are {spans}")

    def bars(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        adjustment: Adjustment = "split",
        snapshot: int | None = None,
        at: datetime | None = None,
        cleaned: bool = False,
    ) -> Bars:
        """Daily bars as wide frames, one column per symbol in the order asked for (sorted if all).

        Rows are the sessions on which any of the symbols traded, ``start`` and ``end`` included. Prices are
        comparable with the last session read; actions after it are not used. All symbols are those that an
        instrument is known by on the last session. ``cleaned`` reads with the repairs applied.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown, or nothing traded in the range.
        """
        from workbench.data import _frames

        _check_adjustment(adjustment)
        version = self._version(snapshot, at)
        reader = self._reader(version)
        names = self._names(symbols, reader, end)
        pieces = reader.listings.pieces(names, end or date.max)
        columns = self._long(pieces, start, end, "daily", version, cleaned=cleaned)
        self._require_some(columns["code"], names, reader, start, end)
        raw = _frames.widen_days(columns, names, version)
        if adjustment == "raw":
            return raw
        since, until = raw.sessions[0].date(), raw.sessions[-1].date()
        return _frames.adjusted(raw, self._effective(names, since, until, version, cleaned=cleaned), adjustment)

    def minutes(
        self,
        symbols: Sequence[str],
        *,
        start: date | None = None,
        end: date | None = None,
        adjustment: Adjustment = "split",
        snapshot: int | None = None,
        at: datetime | None = None,
        cleaned: bool = False,
    ) -> Bars:
        """Minute bars as wide frames, indexed by their left edge in UTC; otherwise as ``bars``.

        ``start`` and ``end`` are sessions, both included: days of the exchange's time zone.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown, or nothing traded in the range.
        """
        from workbench.data import _frames

        _check_adjustment(adjustment)
        version = self._version(snapshot, at)
        reader = self._sql(version)
        known = reader.symbols_of(MINUTES)
        names = asked(symbols) or []
        pieces = reader.listings.pieces(names, end or date.max)
        columns = self._long(pieces, start, end, "minute", version, cleaned=cleaned)
        seen = {names[code] for code in set(columns["code"].tolist())}
        unknown = [name for name in names if name not in seen and name not in known]
        if unknown:
            raise DataError(f"no minutes of {', '.join(unknown)} in the lake", hint=nearest(unknown[0], known))
        if not seen:
            asked_for = f"from {start or 'the beginning'} to {end or 'the end'}"
            raise DataError(f"no minutes of {_shown(names)} {asked_for}")
        raw = _frames.widen_minutes(columns, names, version)
        if adjustment == "raw":
            return raw
        days = _frames.days_of(raw.sessions, self.time_zone)
        since, until = days[0].date(), days[-1].date()
        actions = self._effective(names, since, until, version, cleaned=cleaned)
        return _frames.adjusted(raw, actions, adjustment, days=days)

    def actions(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        snapshot: int | None = None,
        at: datetime | None = None,
        cleaned: bool = False,
        listed: bool = False,
    ) -> pd.DataFrame:
        """Corporate actions with an ex-date from ``start`` to ``end``, both included; none is an empty frame.

        Columns: ``symbol``, ``ex_date`` (datetime64), ``kind`` (``split`` or ``dividend``), ``value`` (new
        shares per old share, or USD per share) and ``origin``; ordered by ex-date, symbol, splits first. A stock
        dividend is given as the split it is, a special dividend as cash; with ``listed`` all four kinds are given as
        they were listed (``stock_dividend``: new shares on top of each old one).

        Raises
        ------
        DataError
            If the snapshot is unknown.
        """
        from workbench.data import _frames

        rows = self._actions(asked(symbols), start or date.min, end or date.max, self._version(snapshot, at), cleaned)
        return _frames.actions(rows if listed else effective(rows))

    def notices(self, symbols: Sequence[str] | None = None, *, snapshot: int | None = None) -> pd.DataFrame:
        """Known faults of the sources: ``symbol``, ``first`` and ``last`` session concerned, ``detail``."""
        from workbench.data import _frames

        return _frames.notices(self._reader(snapshot).notices(asked(symbols)))

    def export(
        self,
        file: Path,
        symbols: Sequence[str] | None = None,
        *,
        table: str = "bars",
        start: date | None = None,
        end: date | None = None,
        adjustment: Adjustment = "raw",
        snapshot: int | None = None,
        at: datetime | None = None,
        cleaned: bool = False,
        replace: bool = False,
    ) -> int:
        """Write ``bars``, ``minutes``, ``actions``, ``listings``, ``fundamentals`` or ``documents`` to a file.

        The ending chooses the format: ``.parquet``, ``.csv`` or ``.csv.gz``. Raw bars are rows as stored, by ticker as
        traded; loading them gives the same bars. Returns the number of rows; the file is whole or not there.

        Raises
        ------
        DataError
            If the file is there and not to be replaced, cannot be written, or there is nothing to write.
        """
        from workbench.data import export

        _check_adjustment(adjustment)
        version = self._version(snapshot, at)
        wanted = export.Export(table, symbols, start, end, adjustment, version, cleaned)
        return export.write(self, file, wanted, replace=replace)

    def _names(self, symbols: Sequence[str] | None, reader: Reader, end: date | None) -> list[str]:
        """The symbols of a read; all are those that an instrument is known by on its last day."""
        names = asked(symbols)
        return reader.listings.current(reader.symbols, end or date.max) if names is None else names

    def _require_some(
        self, codes: np.ndarray[Any, Any], names: list[str], reader: Reader, start: date | None, end: date | None
    ) -> None:
        """Refuse an unknown symbol, and a read of nothing."""
        seen = {names[code] for code in set(codes.tolist())}
        if len(seen) < len(names):
            known = set(reader.symbols)
            _require([name for name in names if name not in known], seen, reader)
        if seen:
            return
        asked_for = f"from {start or 'the beginning'} to {end or 'the end'}"
        pieces = reader.listings.pieces(names, end or date.max)
        coverage = reader.coverage(sorted({piece.ticker for piece in pieces})) if pieces else []
        if not coverage:
            raise DataError(f"no bars of {_shown(names)} {asked_for}", hint="they were not listed by then")
        first, last = min(row[1] for row in coverage), max(row[2] for row in coverage)
        raise DataError(f"no bars of {_shown(names)} {asked_for}", hint=f"there are {first} to {last}")


def _check_adjustment(adjustment: str) -> None:
    if adjustment not in _ADJUSTMENTS:
        raise DataError(f"no adjustment {adjustment!r}", hint=nearest(adjustment, _ADJUSTMENTS))


def _require(names: list[str], seen: set[str], reader: Reader) -> None:
    """Refuse names that nothing was found of."""
    unknown = [name for name in names if name not in seen]
    if unknown:
        raise DataError(f"no bars of {', '.join(unknown)} in the lake", hint=nearest(unknown[0], reader.symbols))


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _span(first: pd.Timestamp, last: pd.Timestamp) -> str:
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
