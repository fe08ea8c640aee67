"""The reports file is a projection of the journal: brought up to date step by step, or made again whole.

It remembers in itself how far it has read every append-only table of the journal, so a projection reads
only what came after, and one DuckDB transaction moves rows and marks together. Whatever stops it, the next
call goes on from where the last one ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.clock import Clock
from workbench.errors import DataError, ReportsLocked
from workbench.journal import Journal
from workbench.reports import measured, records, schema, store, sweeps, tables, touched

if TYPE_CHECKING:
    import duckdb

    from workbench.data.lake import Lake

    Connection = duckdb.DuckDBPyConnection

# The append-only tables that everything follows from: what numbers and what dates their rows.
_SOURCES = {
    "run_events": ("id", "at"),
    "order_events": ("id", "at"),
    "decisions": ("id", "at"),
    "fills": ("id", "at"),
    "activities": ("id", "at"),
    "marks": ("id", "at"),
    "corrections": ("id", "at"),
    "external_fills": ("id", "at"),
    "trading_states": ("id", "at"),
    "locks": ("id", "at"),
    "reconciliations": ("id", "at"),
    "quality_verdicts": ("id", "at"),
    "quality_acceptances": ("id", "at"),
    "quality_revocations": ("id", "at"),
    # Text keys, but rows are only ever added, so SQLite's own numbers grow and stay.
    "batches": ("rowid", "created_at"),
    "legs": ("rowid", "at"),
}
# The snapshot of the lake that executions were last held against stands among the marks.
_LAKE = "lake"
_Watermarks = dict[str, tuple[int, str]]
_CHUNK = 5000


@dataclass(frozen=True)
class ProjectionResult:
    """What a projection did.

    ``rows`` counts the rows written by table; ``pending`` says that another process, named by ``holder``,
    held the file, so that the next call merges; ``replaced`` says what a rebuild replaced.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    pending: bool = False
    holder: str = ""
    replaced: str = ""

    @property
    def total(self) -> int:
        """Rows written in all tables."""
        return sum(self.rows.values())


def project(
    journal: Journal,
    reports_file: Path,
    *,
    lake: Lake | None = None,
    trials: Path | None = None,
    clock: Clock | None = None,
    wait_s: float = 2.0,
) -> ProjectionResult:
    """Bring the reports file up to date with the journal; make it if it is not there.

    A second call changes nothing, and any number of calls leave what :func:`rebuild` would.

    Parameters
    ----------
    lake
        The prices that executions are held against; without them, a later call with them fills in what they cost.
    trials
        Folder of the ledger of trials; without it, the table ``sweeps`` stays as it is.
    clock
        What to wait by; the journal's if left out.
    wait_s
        Seconds to wait while another process holds the file. If it still does, the result is pending: no
        error, and nothing is lost.

    Raises
    ------
    DataError
        If the file is damaged, is not a reports database, or belongs to another journal.
    JournalError
        If the journal cannot be read.

    Examples
    --------
    >>> from workbench.clock import SystemClock
    >>> folder = getfixture("tmp_path")
    >>> with Journal(folder / "journal.sqlite", SystemClock()) as journal:
    ...     project(journal, folder / "reports.duckdb").total
    0
    """
    clock = clock or journal.clock
    if not reports_file.exists():
        first = _make_first(journal, lake, trials, reports_file, clock)
        if first is not None:
            return first
    try:
        with store.opened(reports_file, clock=clock, wait_s=wait_s) as connection:
            return ProjectionResult(_merge(connection, journal, lake, trials, reports_file))
    except ReportsLocked as locked:
        return ProjectionResult(pending=True, holder=locked.message.partition(" is held by ")[2])


def rebuild(
    journal: Journal,
    reports_file: Path,
    *,
    lake: Lake | None = None,
    trials: Path | None = None,
    clock: Clock | None = None,
    wait_s: float = 2.0,
) -> ProjectionResult:
    """Make the reports file again from journal, lake and trials: a new file, verified, then put in place in one step.

    Whatever is at ``reports_file`` is replaced, unless it is a healthy DuckDB file of somebody else.

    Raises
    ------
    ReportsLocked
        If another process holds the file.
    DataError
        If the file is some other DuckDB database, or the new file does not hold what the journal does.
    JournalError
        If the journal cannot be read.
    """
    clock = clock or journal.clock
    if not reports_file.exists():
        first = _make_first(journal, lake, trials, reports_file, clock)
        if first is not None:
            return first
    with ExitStack() as stack:
        # Held while the new file is made and put in place, so that no other process writes to the old one.
        replaced = stack.enter_context(_held(reports_file, clock, wait_s))
        made = stack.enter_context(_scratch(reports_file))
        rows = _make(journal, lake, trials, made, clock)
        store.publish(made, reports_file)
    return ProjectionResult(rows, replaced=replaced)


def _make_first(
    journal: Journal, lake: Lake | None, trials: Path | None, reports_file: Path, clock: Clock
) -> ProjectionResult | None:
    """Make the file where none is, so that it appears whole; None if another process was first."""
    with _scratch(reports_file) as made:
        rows = _make(journal, lake, trials, made, clock)
        return ProjectionResult(rows) if store.publish_first(made, reports_file) else None


def _make(journal: Journal, lake: Lake | None, trials: Path | None, made: Path, clock: Clock) -> dict[str, int]:
    """Write a whole new file and verify that it opens and holds every row."""
    with store.opened(made, clock=clock, wait_s=0) as connection:
        rows = _merge(connection, journal, lake, trials, made)
    with store.opened(made, clock=clock, wait_s=0, read_only=True) as connection:
        for table, written in rows.items():
            count = connection.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0]
            if count != written:
                raise DataError(f"{made}: {count} rows of {table} where {written} were written")
    return rows


@contextmanager
def _scratch(reports_file: Path) -> Iterator[Path]:
    reports_file.parent.mkdir(parents=True, exist_ok=True)
    store.discard_abandoned(reports_file)
    made = store.scratch(reports_file)
    store.discard(made)
    try:
        yield made
    finally:
        store.discard(made)


@contextmanager
def _held(reports_file: Path, clock: Clock, wait_s: float) -> Iterator[str]:
    """Keep everybody off the file that is about to be replaced; the value says what it is."""
    with ExitStack() as stack:
        try:
            connection = stack.enter_context(store.opened(reports_file, clock=clock, wait_s=wait_s))
            found = _tables(connection)
        except DataError as error:
            if error.hint != store.REBUILD:
                raise
            connection, found = None, set[str]()
        if connection is None:
            yield "a damaged file"
        else:
            _refuse_foreign(reports_file, found)
            yield "the reports" if found else "an empty file"


def _merge(
    connection: Connection, journal: Journal, lake: Lake | None, trials: Path | None, file: Path
) -> dict[str, int]:
    """Write what the journal has and the file has not, in one transaction; nothing if there is nothing."""
    before = _watermarks(connection, journal, file)
    after = _journal_ends(journal) | _lake_end(lake) | measured.end(file.parent)
    parts = sweeps.new_parts(connection, trials, first=before is None)
    if before is not None and not parts and all(before.get(source) == end for source, end in after.items()):
        return {table.name: 0 for table in schema.TABLES}
    last = {source: (before or {}).get(source, (0, ""))[0] for source in _SOURCES}
    restated = touched.restated(journal, last)
    changed = _changes(journal, last, restated)
    unfinished = []
    if lake is not None and before is not None and any(before.get(s) != after.get(s) for s in (_LAKE, "marks")):
        unfinished = _unfinished(connection)
    changed["execution"] = _executions(journal, lake, last, unfinished)
    fresh = measured.changes(file.parent, None if before is None else before.get(measured.SOURCE))
    changed |= fresh.rows
    connection.execute("BEGIN")  # an error leaves it open, and closing the connection undoes it
    if before is None:
        for statement in schema.ddl():
            connection.execute(statement)
    for account, first in restated.items():  # a position that a correction took away has no row to replace it
        connection.execute("DELETE FROM positions WHERE account = ? AND session >= ?", [account, first])
    if fresh.anew:
        for name in fresh.rows:
            connection.execute(f"DELETE FROM {name}")
    for table in schema.TABLES:
        _write(connection, table, changed.get(table.name, []))
    added = sweeps.insert(connection, parts)
    if lake is None:  # the next call that has prices looks at everything unfinished
        connection.execute("DELETE FROM watermarks WHERE source = ?", [_LAKE])
    moved = [(source, *end) for source, end in after.items() if before is None or before.get(source) != end]
    if moved:
        values = (f"({_literal(source)}, {number:d}, {_literal(moment)})" for source, number, moment in moved)
        connection.execute(f"INSERT OR REPLACE INTO watermarks VALUES {', '.join(values)}")
    connection.execute("COMMIT")
    return {name: len(rows) for name, rows in changed.items()} | {"sweeps": added}


def _watermarks(connection: Connection, journal: Journal, file: Path) -> _Watermarks | None:
    """How far the file has read the journal; None if its tables must be made first.

    Raises
    ------
    DataError
        If the file is not ours, was written by a newer version, or follows another journal.
    """
    found = _tables(connection)
    _refuse_foreign(file, found)
    if not found:
        return None
    version = connection.execute("SELECT version FROM schema_version").fetchall()[0][0]
    if version > schema.VERSION:
        raise DataError(f"{file} was written by a newer workbench (layout {version})", hint="update it")
    if version < schema.VERSION:
        return None
    rows = connection.execute("SELECT source, last_id, last_at FROM watermarks").fetchall()
    marks: _Watermarks = {source: (last_id, last_at) for source, last_id, last_at in rows}
    for source, (last_id, last_at) in marks.items():
        if source in (_LAKE, measured.SOURCE):
            continue
        number, moment = _SOURCES[source]
        there = journal.read(f"SELECT {moment} FROM {source} WHERE {number}=?", (last_id,))
        if not there or there[0][0] != last_at:
            raise DataError(f"{file} was made from another journal than {journal.file}", hint=store.REBUILD)
    return marks


def _tables(connection: Connection) -> set[str]:
    rows = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name=current_database()")
    return {name for (name,) in rows.fetchall()}


def _refuse_foreign(file: Path, found: set[str]) -> None:
    if found and not {"schema_version", "watermarks"} <= found:
        hint = f"move it away, then {store.REBUILD}"
        raise DataError(f"{file} is a DuckDB file of something else", hint=hint)


def _journal_ends(journal: Journal) -> _Watermarks:
    """The last row of every source, all as of one moment."""
    parts = [
        f"SELECT '{source}' AS source, {number} AS last_id, {moment} AS last_at FROM {source}"
        f" WHERE {number} = (SELECT max({number}) FROM {source})"
        for source, (number, moment) in _SOURCES.items()
    ]
    rows = journal.read(" UNION ALL ".join(parts))
    return {row["source"]: (row["last_id"], row["last_at"]) for row in rows}


def _changes(journal: Journal, last: Mapping[str, int], restated: Mapping[str, date]) -> dict[str, list[tables.Row]]:
    """Every row that is new or different, by table.

    Rows may be newer than the watermarks that were read first: they are then written once more the next
    time, which changes nothing.
    """
    fills = tables.fills_where(journal, "f.id > ?", [last["fills"]])
    since = touched.revalued(journal, last, restated)
    equity = [
        row
        for account, first in since.items()
        for row in tables.equity(journal, account=account)
        if row["session"] >= first
    ]
    judged = sorted(since.keys() | {row["account"] for row in fills})
    return {
        "runs": tables.runs_where(
            journal, "r.run_id IN (SELECT run_id FROM run_events WHERE id > ?)", [last["run_events"]]
        ),
        "targets": tables.targets_where(journal, "b.rowid > ?", [last["batches"]]),
        "orders": [_order(row) for row in tables.orders_where(journal, *touched.orders(last))],
        "fills": fills,
        "activities": tables.activities_where(journal, "a.id > ?", [last["activities"]]),
        **records.changes(journal, last),
        "positions": tables.positions_where(journal, *touched.marks(last, restated)),
        "equity": equity,
        "metrics": [row for account in judged for row in _metrics(journal, account)],
    }


def _lake_end(lake: Lake | None) -> _Watermarks:
    return {} if lake is None or lake.is_empty() else {_LAKE: (lake.snapshot(), "")}


def _unfinished(connection: Connection) -> list[str]:
    """Orders whose execution may look different now, with more prices or closes."""
    rows = connection.execute("SELECT client_order_id FROM execution WHERE NOT final").fetchall()
    return [identifier for (identifier,) in rows]


def _executions(
    journal: Journal, lake: Lake | None, last: Mapping[str, int], unfinished: Sequence[str]
) -> list[tables.Row]:
    """Rows of the orders that something happened to, of those that one of them replaces, and of the unfinished."""
    where, values = touched.orders(last)
    wanted = set(unfinished)
    for row in journal.read(f"SELECT i.client_order_id, i.replaces FROM intents i WHERE {where}", values):
        wanted |= {row["client_order_id"], row["replaces"]}
    if not wanted:
        return []
    from workbench.reports.execution import executions_where  # and with it numpy, which a run without orders spares

    listed = json.dumps(sorted(wanted - {None}))
    return executions_where(journal, lake, "i.client_order_id IN (SELECT value FROM json_each(?))", [listed])


def _order(row: tables.Row) -> tables.Row:
    decision = row["decision"]
    return {**row, "state": row["status"], "approved": None if decision is None else decision == "approved"}


def _metrics(journal: Journal, account: str) -> list[tables.Row]:
    from workbench.reports import figures

    equity = tables.equity(journal, account=account)
    if not equity:
        return []
    last = equity[-1]["session"]
    fills = tables.counted_fills(journal, account=account, until=last)
    return [
        {"account": account, "metric": name, "session": last, "value": figures.finite(value)}
        for name, value in figures.summary(figures.curves(equity), fills).items()
    ]


def _write(connection: Connection, table: schema.Table, rows: Sequence[tables.Row]) -> None:
    """Insert or replace rows: sent as one JSON text and cast by DuckDB, far faster than row by row."""
    types = json.dumps([{column.name: column.type if column.type != "JSON" else "VARCHAR" for column in table.columns}])
    names = ", ".join(f'"{name}"' for name in table.names)
    for start in range(0, len(rows), _CHUNK):
        chunk = [{name: _plain(row[name]) for name in table.names} for row in rows[start : start + _CHUNK]]
        connection.execute(
            f"INSERT OR REPLACE INTO {table.name} ({names}) SELECT row.* FROM"
            f" (SELECT unnest(from_json_strict({_literal(json.dumps(chunk, allow_nan=False))}, '{types}')) AS row)"
        )


def _literal(text: str) -> str:
    """Text in a statement. As a parameter, the first of any kind, DuckDB would import pandas: half a second."""
    return "'" + text.replace("'", "''") + "'"


def _plain(value: object) -> object:
    """A value as JSON text that DuckDB casts to the column's type without loss."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value)
    return value
