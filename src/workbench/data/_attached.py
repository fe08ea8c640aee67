"""The lake's connection: attached on first use, conflicts retried, DuckDB's errors in the user's words."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from workbench.clock import Clock, SystemClock
from workbench.data import _ducklake, _merge
from workbench.data._reading import Reader, SqlReader
from workbench.data._small import SmallReader, State, Store
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import pandas as pd

T = TypeVar("T")
_MOST_READERS = 32
LOAD_HINT = "run: workbench data load"
_TABLES = "SELECT table_name, begin_snapshot, end_snapshot FROM __ducklake_metadata_lake.ducklake_table"


class Attached:
    """A lake in a folder: its life, its snapshots, and questions put to it in SQL."""

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        clock: Clock | None = None,
        jitter: Callable[[], float] = random.random,
        patience_s: float = 20.0,
        time_zone: str = "America/New_York",
    ) -> None:
        self.folder = folder
        self.read_only = read_only
        self.time_zone = time_zone
        self._clock = clock or SystemClock()
        self._jitter = jitter
        self._patience_s = patience_s
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._lock = threading.RLock()
        self._state = ""  # of the catalog, that these belong to
        self._readers: dict[int, SqlReader] = {}
        self._small: dict[int, SmallReader | None] = {}
        self._spans: dict[str, tuple[int, int | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r}{', read_only=True' if self.read_only else ''})"

    def close(self) -> None:
        """Let go of the files; the next call attaches again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def is_empty(self) -> bool:
        """Whether nothing was ever loaded."""
        if not self._catalog.is_file():
            return True
        newest = self._newest()
        return not newest or (self._kept(newest) is None and self._run(_merge.is_empty, "reading the lake"))

    def snapshot(self, at: datetime | None = None) -> int:
        """The newest snapshot, or the newest that was there at a moment.

        Raises
        ------
        DataError
            If the moment has no time zone, or is before the lake.
        """
        if at is None:
            return self._newest()
        if at.tzinfo is None:
            raise DataError(f"the moment {at.isoformat(' ')} has no time zone", hint="add +00:00 if it is in UTC")
        moment = at.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        rows = self._rows(
            f"SELECT max(snapshot_id) FILTER (snapshot_time <= TIMESTAMPTZ '{moment}+00'), min(snapshot_time) "
            "FROM lake.snapshots()"
        )
        found, first = rows[0]
        if found is None:
            raise DataError(f"the lake has no snapshot of {at.isoformat(' ')}", hint=f"its first is of {first}")
        return int(found)

    def snapshots(self) -> pd.DataFrame:
        """All snapshots, oldest first: ``snapshot`` (int), ``at`` (UTC) and ``note`` (what was loaded)."""
        from workbench.data import _frames

        rows = self._rows("SELECT snapshot_id, snapshot_time, commit_message FROM lake.snapshots() ORDER BY 1")
        return _frames.snapshots(rows)

    def _newest(self) -> int:
        """The newest snapshot, without DuckDB if the catalog is as it was when somebody last asked."""
        state = State.of(self._catalog)
        known = None if state is None else self._store(state).newest()
        if known is not None:
            return known
        snapshot = int(self._rows("SELECT id FROM lake.current_snapshot()")[0][0])
        if state is not None and self._keeps(state):
            self._store(state).keep_newest(snapshot)
        return snapshot

    def _reader(self, snapshot: int | None = None, at: datetime | None = None) -> Reader:
        """What answers for a snapshot: a small lake's file, or the lake itself."""
        version = self._version(snapshot, at)
        return self._kept(version) or self._sql(version)

    def _sql(self, version: int) -> SqlReader:
        with self._lock:
            self._look_at_catalog()
            if version not in self._readers:
                self._readers[version] = SqlReader(self, version)
            return self._readers[version]

    def _kept(self, version: int) -> SmallReader | None:
        """A small lake's snapshot from its file, which the first read of it writes; None if there can be none."""
        if version < 0:
            return None
        with self._lock:
            state = self._look_at_catalog()
            if state is None:
                return None
            if version not in self._small:
                found = self._store(state).read(version)
                if found is None and not self._keeps(state):
                    return None  # asked again when the catalog has been the same for a while
                self._small[version] = found or self._make_small(version, state)
            return self._small[version]

    def _look_at_catalog(self) -> State | None:
        """Its state; what was read of another one is forgotten."""
        state = State.of(self._catalog)
        if state is not None and (state.name != self._state or len(self._readers) > _MOST_READERS):
            self._state, self._small = state.name, {}
            self._readers.clear()
        return state

    def _make_small(self, version: int, state: State) -> SmallReader | None:
        content = self._sql(version).content()
        if content is None or not self._keeps(state):
            return None
        self._store(state).keep(version, *content)
        return self._store(state).read(version)

    def _store(self, state: State) -> Store:
        return Store(self.folder / _ducklake.CACHE, state)

    def _keeps(self, state: State) -> bool:
        """Whether what was read since ``state`` was looked at belongs to it, and can be kept for it."""
        now_ns = int(self._clock.now().timestamp() * 1e9)
        return state.settled(now_ns) and State.of(self._catalog) == state

    @property
    def _catalog(self) -> Path:
        return self.folder / _ducklake.CATALOG

    def _version(self, snapshot: int | None, at: datetime | None) -> int:
        """The snapshot that a read means: the one named, that of a moment, or the newest."""
        if snapshot is None or at is None:
            return self.snapshot(at) if snapshot is None else snapshot
        raise DataError(f"a read names a snapshot ({snapshot}) or a moment ({at.isoformat(' ')}), not both")

    def _has(self, table: str, snapshot: int) -> bool:
        """Whether the table was there at a snapshot: some are made only when a load first needs them."""
        begun = self._spans.get(table)
        if begun is None or (begun[1] is not None and begun[1] <= snapshot):
            rows = self._rows(_TABLES)
            self._spans = {str(name): (int(begin), end) for name, begin, end in rows}
            begun = self._spans.get(table)
        return begun is not None and begun[0] <= snapshot and (begun[1] is None or snapshot < begun[1])

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._run(lambda connection: connection.execute(sql).fetchall(), "reading the lake")

    def _columns(self, sql: str) -> Mapping[str, np.ndarray[Any, Any]]:
        columns = self._run(lambda connection: connection.execute(sql).fetchnumpy(), "reading the lake")
        return cast("dict[str, np.ndarray[Any, Any]]", columns)  # or categories, for types that no table here has

    def _run(self, action: Callable[[duckdb.DuckDBPyConnection], T], what: str, *, create: bool = False) -> T:
        """Do ``action`` on the attached lake; conflicts are retried, DuckDB's errors become DataErrors."""
        if not create and not self._catalog.is_file():
            raise DataError(f"there is no lake in {self.folder}", hint=LOAD_HINT)

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
            with self._lock:
                return _ducklake.retry(
                    attempt, what=what, clock=self._clock, jitter=self._jitter, patience_s=self._patience_s
                )
        except DataError as error:
            known = self._explain(error)
            if known is None:
                raise
            raise known from error.__cause__

    def _explain(self, error: DataError) -> DataError | None:
        """A better error for the two that a wrong snapshot or a lake without tables leads to."""
        message = str(error.__cause__)
        if "No snapshot found" in message:
            wanted = message.rsplit(maxsplit=1)[-1]
            known = self.snapshots()["snapshot"]
            return DataError(f"the lake has no snapshot {wanted}", hint=f"it has {known.iloc[0]} to {known.iloc[-1]}")
        if "does not exist" in message and "Table with name" in message:
            at = message.split("at version ")[1].split("!")[0] if "at version " in message else None
            newest = self.snapshot()
            if at is None or not self._has("loads", newest):
                return DataError(f"the lake in {self.folder} is empty", hint=LOAD_HINT)
            return DataError(f"snapshot {at} is from before the first load", hint=f"the newest is {newest}")
        if "is explicitly disabled" in message:
            return DataError(f"there is no lake in {self.folder}", hint=LOAD_HINT)
        return None
