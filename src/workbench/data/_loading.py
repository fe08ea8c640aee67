"""What writes to the lake: loads, and cleaned bars beside the raw ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workbench.data import _ducklake, _maintenance, _merge
from workbench.data._attached import Attached
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from workbench.data._ledger import CleanResult
    from workbench.data.dataset import Frequency, LoadResult, Source, Staged


class Loading(Attached):
    """A lake that can be written to."""

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
        # What is staged survives a conflict, unless the connection has to be closed. The connection itself is kept:
        # a new one can have the id of one that is no more.
        held: tuple[duckdb.DuckDBPyConnection, Staged] | None = None

        def merge(connection: duckdb.DuckDBPyConnection) -> LoadResult:
            nonlocal held
            known = _merge.find_load(connection, source.digest)
            if known is not None:
                return known
            if held is None or held[0] is not connection:
                _ducklake.open_up(connection)
                tell(f"reading {source.name}")
                held = connection, source.stage(connection)
            tell("comparing and writing")
            return _merge.merge(connection, source, held[1], self._clock, restate=restate)

        with self._writing():
            if self._catalog.is_file() and self._run(_maintenance.is_scattered, "reading the lake", create=True):
                tell("merging small files")
                self._run(_maintenance.compact, "merging small files")
            result = self._run(merge, f"loading {source.name}", create=True)
            self._run(self._settle, "letting go of what was read")
        return result

    def loaded(self, digest: str) -> LoadResult | None:
        """What loading the data of this digest would do if it was loaded before; None if it was not."""
        if not self._catalog.is_file():
            return None
        newest = self._newest()
        kept = self._kept(newest) if newest else None
        if kept is not None:
            return kept.load(digest)
        return self._run(lambda connection: _merge.find_load(connection, digest), "reading the lake")

    def compact(self) -> int:
        """Merge the small files that daily loads leave behind; return how many there are fewer.

        Every snapshot reads as before. The files that were merged stay for a day, for whoever reads them now.
        """
        if self.read_only:
            raise DataError("the lake cannot be compacted: it is open for reading only")
        with self._writing():
            return self._run(_maintenance.compact, "compacting the lake")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Be one of the lake's writers, after clearing away what a killed one has left."""

        def clear_away() -> bool:
            return not self._catalog.is_file() or self._sweep()

        with _maintenance.Writers(self.folder).writing(clear_away):
            yield

    def _sweep(self) -> bool:
        """Delete files that no snapshot refers to, without waiting for anybody; whether that was possible."""
        import duckdb

        try:
            if self._connection is None:
                self._connection = _ducklake.connect(self.folder, read_only=False, create=True)
            _maintenance.sweep(self._connection)
        except duckdb.Error:  # somebody is reading the catalog, or it is broken: the load itself says so
            self.close()
            return False
        return True

    def _settle(self, connection: duckdb.DuckDBPyConnection) -> None:
        """After a load, let go of what was staged: it can be larger than the lake."""
        _merge.drop_temporary(connection)
        _ducklake.settle(connection, self.folder)

    def write_cleaned(
        self,
        cleaned: pd.DataFrame,
        repairs: pd.DataFrame,
        *,
        symbols: Sequence[str],
        policy: str,
        raw_snapshot: int,
        frequency: Frequency = "daily",
        actions: pd.DataFrame | None = None,
    ) -> CleanResult:
        """Keep cleaned bars beside the raw ones, which stay as they are. Reads with ``cleaned=True`` apply them.

        What is stored for ``symbols`` becomes exactly what is given; if it is that already, there is no new snapshot.
        A later load that restates or adds a raw bar takes its cleaned bar away.

        Parameters
        ----------
        cleaned
            ``symbol``, ``at`` (the session, or the minute's start in UTC), the fields and ``kept`` (false: the raw bar
            is taken out); only bars that differ from the raw ones.
        repairs
            ``symbol``, ``at``, ``field``, ``old``, ``new``, ``rule``, ``action`` and ``reason``; ``table_name`` is
            ``actions`` for a corrected action.
        raw_snapshot
            The snapshot whose raw bars were cleaned.
        actions
            Corrected actions: ``symbol``, ``ex_date``, ``kind``, ``value`` and ``kept``, only those that differ.

        Raises
        ------
        DataError
            If the raw bars of the symbols have changed since, or the lake is read-only, broken or busy.
        """
        from workbench.data import _ledger

        if self.read_only:
            raise DataError("cleaned bars cannot be kept: the lake is open for reading only")
        made = _ledger.Cleaning(frequency, list(symbols), cleaned, repairs, actions, policy, raw_snapshot)
        with self._writing():
            return self._run(lambda connection: _ledger.write(connection, made, self._clock), "keeping cleaned bars")
