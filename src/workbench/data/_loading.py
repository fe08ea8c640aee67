"""What writes to the lake: loads, and cleaned bars beside the raw ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.data import _merge
from workbench.data._attached import Attached
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

    from workbench.data.dataset import LoadResult, Source, Staged


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
        self._run(_merge.drop_temporary, "letting go of what was read")
        return result

    def loaded(self, digest: str) -> LoadResult | None:
        """What loading the data of this digest would do if it was loaded before; None if it was not."""
        if not self._catalog.is_file():
            return None
        return self._run(lambda connection: _merge.find_load(connection, digest), "reading the lake")
