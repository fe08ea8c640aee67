"""The lake: raw daily bars and corporate actions in DuckLake, every load a snapshot that stays readable.

Prices and volumes are DOUBLE: a double gives back every decimal a vendor prints (up to 15 digits), research
computes with nothing else, and the order path turns the printed form into ``Decimal``. Bars are unique by
(symbol, session) at every snapshot and stored sorted by them, so that one symbol is a short read.

pandas is imported by the first question whose answer is a frame: a runner only asks for symbols and sessions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from workbench.clock import Clock, SystemClock
from workbench.data import _ducklake, _merge
from workbench.data.dataset import FIELDS
from workbench.errors import DataError, nearest

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pandas as pd

    from workbench.data.bars import Adjustment, Bars
    from workbench.data.dataset import Frequency, LoadResult, Source, Staged
    from workbench.data.rows import BarRows

T = TypeVar("T")
_LOAD_HINT = "run: workbench data load"


class Lake:
    """The lake in one folder: ``catalog.sqlite`` and Parquet files under ``files/``.

    It is attached on first use and holds no lock between calls; several processes may read and write at
    once. One object belongs to one thread. Every read can name a ``snapshot`` and then gives the same
    answer for ever.

    >>> import tempfile
    >>> import pandas as pd
    >>> from workbench.data.dataset import Dataset, no_actions
    >>> day = pd.Timestamp("2013-01-02")
    >>> row = {"symbol": "IBM", "session": day, "open": 194.1, "high": 196.4, "low": 193.8, "close": 196.3}
    >>> with tempfile.TemporaryDirectory() as folder, Lake(Path(folder)) as lake:
    ...     result = lake.load(Dataset(pd.DataFrame([row | {"volume": 1e6}]), no_actions(), "by hand", "1"))
    ...     lake.bars(["IBM"], snapshot=result.snapshot).prices_on(date(2013, 1, 2))
    {'IBM': 196.3}
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        patience_s: float = 20.0,
    ) -> None:
        self.folder = folder
        self.read_only = read_only
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._patience_s = patience_s
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._symbols: dict[int | None, list[str]] = {}

    def __enter__(self) -> Lake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Lake({str(self.folder)!r}{', read_only=True' if self.read_only else ''})"

    def close(self) -> None:
        """Let go of the files; the next call attaches again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def load(
        self, source: Source, *, restate: bool = False, progress: Callable[[str], None] | None = None
    ) -> LoadResult:
        """Put what a source has into the lake, all of it in one snapshot or nothing.

        Data loaded before changes nothing. A row that is there already with the same prices is left alone;
        one with other prices is restated: reads get the newest, older snapshots keep the old. A load that
        would restate most of a symbol's known bars (and at least 20) needs ``restate``: that is another
        history, not a correction. ``progress`` is told what is being done, a phrase at a time.

        Raises
        ------
        DataError
            If the data is malformed or another history, the lake is read-only or broken, or other processes
            keep it busy.
        """
        if self.read_only:
            raise DataError(f"{source.name}: the lake is open for reading only")
        self.folder.mkdir(parents=True, exist_ok=True)
        tell = progress or (lambda _: None)
        staged: dict[int, Staged] = {}  # by connection: what is staged survives a conflict, unless it has to be closed

        def merge(connection: duckdb.DuckDBPyConnection) -> LoadResult:
            known = _merge.find_load(connection, source.digest)
            if known is not None:
                return known
            if id(connection) not in staged:
                staged.clear()
                tell(f"reading {source.name}")
                staged[id(connection)] = source.stage(connection)
            tell("comparing and writing")
            return _merge.merge(connection, source, staged[id(connection)], self._clock, restate=restate)

        result = self._run(merge, f"loading {source.name}", create=True)
        self._drop_staged()
        return result

    def loaded(self, digest: str) -> LoadResult | None:
        """What loading the data of this digest would do if it was loaded before; None if it was not."""
        if not self._catalog.is_file():
            return None
        return self._run(lambda connection: _merge.find_load(connection, digest), "reading the lake")

    def is_empty(self) -> bool:
        """Whether nothing was ever loaded."""
        return not self._catalog.is_file() or self._run(_merge.is_empty, "reading the lake")

    def snapshot(self) -> int:
        """The newest snapshot."""
        return int(self._rows("SELECT id FROM lake.current_snapshot()")[0][0])

    def snapshots(self) -> pd.DataFrame:
        """All snapshots, oldest first: ``snapshot`` (int), ``at`` (UTC) and ``note`` (what was loaded)."""
        from workbench.data import _frames

        rows = self._rows("SELECT snapshot_id, snapshot_time, commit_message FROM lake.snapshots() ORDER BY 1")
        return _frames.snapshots(rows)

    def symbols(self, snapshot: int | None = None) -> list[str]:
        """Every symbol with bars, sorted."""
        if snapshot in self._symbols:
            return list(self._symbols[snapshot])
        found = [str(row[0]) for row in self._rows(f"SELECT DISTINCT symbol FROM {_at('bars', snapshot)} ORDER BY 1")]
        if snapshot is not None:  # a snapshot never changes
            self._symbols[snapshot] = found
        return list(found)

    def coverage(self, symbols: Sequence[str] | None = None, snapshot: int | None = None) -> pd.DataFrame:
        """The ``first`` and ``last`` session (datetime64) and number of ``rows``, indexed by symbol.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown.
        """
        from workbench.data import _frames

        names = _names(symbols)
        where, parameters = ("", []) if names is None else ("WHERE symbol IN (SELECT unnest(?))", [names])
        rows = self._rows(
            f"SELECT symbol, min(session), max(session), count(*) FROM {_at('bars', snapshot)} {where} "
            "GROUP BY symbol ORDER BY symbol",
            parameters,
        )
        if names is not None:
            self._require(names, {row[0] for row in rows}, snapshot)
        return _frames.coverage(rows, names)

    def last_session(self, snapshot: int | None = None) -> date:
        """The last session on which any symbol has a bar.

        Raises
        ------
        DataError
            If there are no bars.
        """
        session = self._rows(f"SELECT max(session) FROM {_at('bars', snapshot)}")[0][0]
        if session is None:
            raise DataError(f"the lake in {self.folder} is empty", hint=_LOAD_HINT)
        assert isinstance(session, date)
        return session

    def traded(self, session: date, symbols: Sequence[str] | None = None, *, snapshot: int | None = None) -> list[str]:
        """Those of ``symbols`` (default: all) with a bar on ``session``, sorted; none is an empty list."""
        names = _names(symbols)
        where, parameters = ("", []) if names is None else ("AND symbol IN (SELECT unnest(?))", [names])
        rows = self._rows(
            f"SELECT symbol FROM {_at('bars', snapshot)} WHERE session = ? {where} ORDER BY symbol",
            [session, *parameters],
        )
        return [str(row[0]) for row in rows]

    def last_common_session(
        self, symbols: Sequence[str], snapshot: int | None = None, on_or_before: date | None = None
    ) -> date:
        """The last session on which every one of ``symbols`` has a bar.

        Raises
        ------
        DataError
            If a symbol is unknown, or there is no such session.
        """
        names = _names(symbols) or []
        until = on_or_before or date.max
        rows = self._rows(
            f"SELECT session FROM {_at('bars', snapshot)} "
            "WHERE symbol IN (SELECT unnest(?)) AND session <= ? "
            "GROUP BY session HAVING count(*) = ? ORDER BY session DESC LIMIT 1",
            [names, until, len(names)],
        )
        if rows:
            session = rows[0][0]
            assert isinstance(session, date)
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
    ) -> Bars:
        """Daily bars as wide frames, one column per symbol in the order asked for (sorted if all).

        Rows are the sessions on which any of the symbols traded, ``start`` and ``end`` included. Prices are
        comparable with the last session read; actions after it are not used.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown, or nothing traded in the range.
        """
        from workbench.data import _frames

        if adjustment not in ("raw", "split", "total"):
            raise DataError(f"no adjustment {adjustment!r}", hint=nearest(adjustment, ("raw", "split", "total")))
        snapshot = self.snapshot() if snapshot is None else snapshot
        names = self.symbols(snapshot) if symbols is None else _names(symbols)
        assert names is not None
        first, last = start or date.min, end or date.max
        columns = self._columns(
            f"SELECT code, session - DATE '1970-01-01' AS day, {', '.join(FIELDS)} "
            f"FROM {_at('bars', snapshot)} JOIN "
            "(SELECT unnest(?::VARCHAR[]) AS symbol, unnest(range(?)) AS code) AS names USING (symbol) "
            "WHERE session BETWEEN ? AND ?",
            [names, len(names), first, last],
        )
        seen = set(columns["code"].tolist())
        if len(seen) < len(names):
            self._require(names, {names[code] for code in seen}, snapshot, only_new=True)
        if not seen:
            raise self._nothing(names, start, end, snapshot)
        raw = _frames.widen(columns, names, snapshot)
        if adjustment == "raw":
            return raw
        since, until = raw.sessions[0].date(), raw.sessions[-1].date()
        return _frames.adjust(raw, self.actions(names, start=since, end=until, snapshot=snapshot), adjustment)

    def rows(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        frequency: Frequency = "daily",
        snapshot: int | None = None,
        cleaned: bool = False,
    ) -> BarRows:
        """Raw bars as long columns, sorted by symbol, then time: what rules and cleaning work on.

        Symbols are the tickers of the day, as stored. ``start`` and ``end`` are sessions (UTC days for minutes), both
        included. Symbols without a bar in the range are left out; none at all is an empty answer.

        Raises
        ------
        DataError
            If a symbol or the snapshot is unknown.
        """
        from workbench.data import _frames

        table, time = ("bars", "session") if frequency == "daily" else ("minutes", "start")
        snapshot = self.snapshot() if snapshot is None else snapshot
        names = sorted(_names(symbols) or self.symbols(snapshot))
        where, parameters = ("", []) if symbols is None else ("AND symbol IN (SELECT unnest(?))", [names])
        columns = self._columns(
            f"SELECT symbol, {time} AS at, {', '.join(FIELDS)} FROM {_at(table, snapshot)} "
            f"WHERE {time}::DATE BETWEEN ? AND ? {where} ORDER BY symbol, {time}",
            [start or date.min, end or date.max, *parameters],
        )
        rows = _frames.rows(columns, frequency, snapshot)
        if symbols is not None and len(rows.symbols) < len(names):
            self._require(names, set(rows.symbols), snapshot, only_new=True)
        return rows

    def actions(
        self,
        symbols: Sequence[str] | None = None,
        *,
        start: date | None = None,
        end: date | None = None,
        snapshot: int | None = None,
    ) -> pd.DataFrame:
        """Corporate actions with an ex-date from ``start`` to ``end``, both included; none is an empty frame.

        Columns: ``symbol``, ``ex_date`` (datetime64), ``kind`` (``split`` or ``dividend``), ``value`` (new
        shares per old share, or USD per share) and ``origin``; ordered by ex-date, symbol, splits first.

        Raises
        ------
        DataError
            If the snapshot is unknown.
        """
        from workbench.data import _frames

        names = _names(symbols)
        where, parameters = ("", []) if names is None else ("AND symbol IN (SELECT unnest(?))", [names])
        rows = self._rows(
            f"SELECT symbol, ex_date, kind, value, origin FROM {_at('actions', snapshot)} "
            f"WHERE ex_date BETWEEN ? AND ? {where} ORDER BY ex_date, symbol, kind DESC",
            [start or date.min, end or date.max, *parameters],
        )
        return _frames.actions(rows)

    def notices(self, symbols: Sequence[str] | None = None, *, snapshot: int | None = None) -> pd.DataFrame:
        """Known faults of the sources: ``symbol``, ``first`` and ``last`` session concerned, ``detail``."""
        from workbench.data import _frames

        names = _names(symbols)
        where, parameters = ("", []) if names is None else ("WHERE symbol IN (SELECT unnest(?))", [names])
        rows = self._rows(
            f'SELECT symbol, "first", "last", detail FROM {_at("notices", snapshot)} {where} ORDER BY ALL',
            parameters,
        )
        return _frames.notices(rows)

    @property
    def _catalog(self) -> Path:
        return self.folder / _ducklake.CATALOG

    def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(sql, parameters).fetchall(), "reading the lake")

    def _columns(self, sql: str, parameters: Sequence[object]) -> dict[str, np.ndarray[Any, Any]]:
        columns = self._run(lambda connection: connection.execute(sql, parameters).fetchnumpy(), "reading the lake")
        return cast("dict[str, np.ndarray[Any, Any]]", columns)  # or categories, for types that no table here has

    def _run(self, action: Callable[[duckdb.DuckDBPyConnection], T], what: str, *, create: bool = False) -> T:
        """Do ``action`` on the attached lake; conflicts are retried, DuckDB's errors become DataErrors."""
        if not create and not self._catalog.is_file():
            raise DataError(f"there is no lake in {self.folder}", hint=_LOAD_HINT)

        def attempt() -> T:
            if self._connection is None:
                self._connection = _ducklake.connect(self.folder, read_only=self.read_only, create=create)
            try:
                return action(self._connection)
            except BaseException as error:
                # A transaction that failed can leave an attached lake of no use: the next call starts afresh.
                if not _ducklake.attach_again(self._connection, self.folder, error, read_only=self.read_only):
                    self.close()
                raise

        try:
            return _ducklake.retry(
                attempt, what=what, clock=self._clock, jitter=self._jitter, patience_s=self._patience_s
            )
        except DataError as error:
            known = self._explain(error)
            if known is None:
                raise
            raise known from error.__cause__

    def _drop_staged(self) -> None:
        if self._connection is not None:
            _merge.drop_temporary(self._connection)

    def _explain(self, error: DataError) -> DataError | None:
        """A better error for the two that a wrong snapshot or a lake without tables leads to."""
        message = str(error.__cause__)
        if "No snapshot found" in message:
            wanted = message.rsplit(maxsplit=1)[-1]
            known = self.snapshots()["snapshot"]
            return DataError(f"the lake has no snapshot {wanted}", hint=f"it has {known.iloc[0]} to {known.iloc[-1]}")
        if "does not exist" in message and "Table with name" in message:
            at = message.split("at version ")[1].split("!")[0] if "at version " in message else None
            if at is None:
                return DataError(f"the lake in {self.folder} is empty", hint=_LOAD_HINT)
            return DataError(f"snapshot {at} is from before the first load", hint=f"the newest is {self.snapshot()}")
        if "is explicitly disabled" in message:
            return DataError(f"there is no lake in {self.folder}", hint=_LOAD_HINT)
        return None

    def _require(self, names: list[str], seen: set[str], snapshot: int | None, *, only_new: bool = False) -> None:
        """Refuse names without any bar; with ``only_new`` they may have bars outside the range read."""
        missing = [name for name in names if name not in seen]
        if not missing:
            return
        known = self.symbols(snapshot)
        unknown = [name for name in missing if name not in known] if only_new else missing
        if unknown:
            raise DataError(f"no bars of {', '.join(unknown)} in the lake", hint=nearest(unknown[0], known))

    def _nothing(self, names: list[str], start: date | None, end: date | None, snapshot: int) -> DataError:
        coverage = self.coverage(names, snapshot)
        asked = f"from {start or 'the beginning'} to {end or 'the end'}"
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return DataError(
            f"no bars of {shown} {asked}",
            hint=f"there are {_span(coverage['first'].min(), coverage['last'].max())}",
        )


def _at(table: str, snapshot: int | None) -> str:
    if snapshot is None:
        return f"lake.{table}"
    if snapshot < 0:
        raise DataError(f"the lake has no snapshot {snapshot}", hint="they count from 0")
    return f"lake.{table} AT (VERSION => {int(snapshot)})"


def _names(symbols: Sequence[str] | None) -> list[str] | None:
    if symbols is None:
        return None
    names = [symbols] if isinstance(symbols, str) else list(symbols)
    if not names:
        raise DataError("no symbols are asked for")
    twice = [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []
    if twice:
        raise DataError(f"{twice[0]} is asked for twice")
    return names


def _span(first: pd.Timestamp, last: pd.Timestamp) -> str:
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
