"""Which Parquet files hold a table at a snapshot, so that DuckDB reads those that matter and nothing else.

DuckLake looks through its catalog for every statement, 25 ms and more; what a snapshot consists of never changes, so it
is asked for once. A table that this cannot read as DuckLake would (rows kept in the catalog, encrypted or foreign
files, altered columns, files that rows of later snapshots were merged into) is left to DuckLake.

Source: https://ducklake.select/docs/stable/specification/tables/overview
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from workbench.data._sql import MANY, literal, versioned
from workbench.data._tables import Table

_CATALOG = "__ducklake_metadata_lake.ducklake_"
_GLOB = frozenset("*?[{")  # a name with these means other files to DuckDB
Rows = list[tuple[Any, ...]]


class File(NamedTuple):
    """A Parquet file: its rows, those taken out of it since, and the least and the greatest symbol and time in it."""

    path: str
    rows: int
    removed: str | None
    low: str | None
    high: str | None
    since: str | None
    until: str | None

    def may_hold(self, names: Sequence[str] | None, first: date | None, last: date | None) -> bool:
        """Whether a row of one of ``names`` from ``first`` to ``last`` can be in it."""
        if names is not None and self.low is not None and self.high is not None:
            low, high = self.low, self.high
            if not any(low <= name <= high for name in names):
                return False
        since, until = _day(self.since), _day(self.until)
        early = first is not None and until is not None and until < first
        late = last is not None and since is not None and since > last
        return not (early or late)


class Files:
    """The files of every table at one snapshot; a table that is not among them has to be asked of DuckLake."""

    def __init__(self, snapshot: int, tables: dict[str, list[File]]) -> None:
        self._snapshot = snapshot
        self._tables = tables

    @classmethod
    def of(cls, fetch: Callable[[str], Rows], folder: Path, snapshot: int) -> Files:
        """Look a snapshot up in the catalog; ``folder`` is where the lake keeps its files."""
        if not _GLOB.isdisjoint(str(folder)):
            return cls(snapshot, {})
        found: dict[str, list[File]] = defaultdict(list)
        unfit: set[str] = set()
        for name, fits, file in fetch(_query(snapshot)):
            if not fits:
                unfit.add(name)
            found[name] += [] if file is None else [_file(folder, file)]
        return cls(snapshot, {name: files for name, files in found.items() if name not in unfit})

    def are_there(self) -> bool:
        """Whether nobody has deleted one since."""
        paths = [path for files in self._tables.values() for file in files for path in (file.path, file.removed)]
        return all(path is None or os.path.exists(path) for path in paths)

    def count(self, table: Table) -> int | None:
        """How many rows the files of a table have, those taken out since included; None if DuckLake has to be asked."""
        files = self._tables.get(table.name)
        return None if files is None else sum(file.rows for file in files)

    def relation(
        self,
        table: Table,
        names: Sequence[str] | None = None,
        first: date | None = None,
        last: date | None = None,
    ) -> str:
        """The table for a FROM clause, with every row there is of ``names`` on the days from ``first`` to ``last``.

        There can be others: what is not asked for is left out where a whole file can be.
        """
        files = self._tables.get(table.name)
        if files is None:
            return versioned(table.name, self._snapshot)
        wanted = names if names is not None and len(names) <= MANY else None
        kept = [file for file in files if file.may_hold(wanted, first, last)]
        columns = ", ".join(f'"{name}"' for name in table.columns)
        parts = [_without_removed(file, columns) for file in kept if file.removed is not None]
        whole = ", ".join(literal(file.path) for file in kept if file.removed is None)
        if whole:
            parts.append(f"SELECT {columns} FROM read_parquet([{whole}])")
        if not parts:
            nothing = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in table.columns.items())
            parts.append(f"SELECT {nothing} WHERE false")
        return f"({' UNION ALL '.join(parts)})"


def _without_removed(file: File, columns: str) -> str:
    return (
        f"SELECT {columns} FROM read_parquet({literal(file.path)}, file_row_number = true) AS r "
        f"ANTI JOIN (SELECT pos FROM read_parquet({literal(file.removed)})) AS removed ON r.file_row_number = pos"
    )


def _query(snapshot: int) -> str:
    """Table, whether it can be read from its files, and a file of it (None: it has none), in one statement."""
    now = "{0}.begin_snapshot <= {1} AND ({0}.end_snapshot IS NULL OR {0}.end_snapshot > {1})"
    valid = {alias: now.format(alias, snapshot) for alias in "tfd"}
    where = "{{'path': {0}, 'own': {1}, 'table': t.path, 'own_table': t.path_is_relative, 'schema': s.path}}"
    path, removed = where.format("f.path", "f.path_is_relative"), where.format("d.path", "d.path_is_relative")
    plain = "{0}.encryption_key IS NULL AND coalesce({0}.partial_max, 0) <= {1} AND lower({0}.{2}) = 'parquet'"
    return f"""
        WITH altered AS (SELECT DISTINCT table_id FROM {_CATALOG}column AS c JOIN {_CATALOG}table AS t USING (table_id)
            WHERE c.end_snapshot IS NOT NULL OR c.begin_snapshot <> t.begin_snapshot),
        bounds AS (SELECT data_file_id, min(min_value) FILTER (column_name = 'symbol') AS low,
            max(max_value) FILTER (column_name = 'symbol') AS high,
            min(min_value) FILTER (column_name <> 'symbol') AS since,
            max(max_value) FILTER (column_name <> 'symbol') AS until
            FROM {_CATALOG}file_column_stats JOIN {_CATALOG}column USING (table_id, column_id)
            WHERE column_name IN ('symbol', 'session', 'start') GROUP BY data_file_id)
        SELECT t.table_name,
            t.table_id NOT IN (FROM altered) AND s.path_is_relative
            AND t.table_id NOT IN (SELECT table_id FROM {_CATALOG}inlined_data_tables)
            AND NOT EXISTS (SELECT 1 FROM {_CATALOG}snapshot_changes WHERE contains(changes_made, 'inlined'))
            AND EXISTS (SELECT 1 FROM {_CATALOG}snapshot WHERE snapshot_id = {snapshot})
            AND (f.path IS NULL OR (f.mapping_id IS NULL AND {plain.format("f", snapshot, "file_format")}))
            AND (d.path IS NULL OR ({plain.format("d", snapshot, "format")})),
            CASE WHEN f.path IS NOT NULL THEN {{
                'path': {path}, 'removed': CASE WHEN d.path IS NOT NULL THEN {removed} END,
                'rows': f.record_count, 'low': low, 'high': high, 'since': since, 'until': until}} END
        FROM {_CATALOG}table AS t JOIN {_CATALOG}schema AS s USING (schema_id)
        LEFT JOIN {_CATALOG}data_file AS f ON f.table_id = t.table_id AND {valid["f"]}
        LEFT JOIN {_CATALOG}delete_file AS d ON d.data_file_id = f.data_file_id AND {valid["d"]}
        LEFT JOIN bounds AS b ON b.data_file_id = f.data_file_id
        WHERE {valid["t"]} ORDER BY t.table_name, f.data_file_id"""


def _file(folder: Path, found: dict[str, Any]) -> File:
    removed = None if found["removed"] is None else _path(folder, found["removed"])
    bounds = (found[name] for name in ("low", "high", "since", "until"))
    return File(_path(folder, found["path"]), found["rows"], removed, *bounds)


def _path(folder: Path, place: dict[str, Any]) -> str:
    """Where a file is: below its table's folder, or where the catalog says."""
    if not place["own"]:
        return str(place["path"])
    table = folder / place["schema"] / place["table"] if place["own_table"] else Path(place["table"])
    return str(table / place["path"])


def _day(text: str | None) -> date | None:
    """The day of a bound; None if there is none, or one that no calendar has."""
    try:
        return None if text is None else datetime.fromisoformat(text).date()
    except ValueError:
        return None
