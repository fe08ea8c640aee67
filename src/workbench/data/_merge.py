"""How a dataset becomes one snapshot of the lake: compare, delete what is restated, insert, remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.clock import Clock
from workbench.data.dataset import FIELDS, Dataset, LoadResult

if TYPE_CHECKING:
    import duckdb

_TABLES = (
    """CREATE TABLE IF NOT EXISTS lake.bars (
        symbol VARCHAR, session DATE, open DOUBLE, high DOUBLE, low DOUBLE, close DOUBLE, volume DOUBLE,
        source VARCHAR)""",
    """CREATE TABLE IF NOT EXISTS lake.actions (
        symbol VARCHAR, ex_date DATE, kind VARCHAR, value DOUBLE, origin VARCHAR, source VARCHAR)""",
    """CREATE TABLE IF NOT EXISTS lake.notices (
        symbol VARCHAR, "first" DATE, "last" DATE, detail VARCHAR, source VARCHAR)""",
    """CREATE TABLE IF NOT EXISTS lake.loads (
        digest VARCHAR, source VARCHAR, loaded_at TIMESTAMPTZ, rows_read BIGINT)""",
)
_LOADS_EXIST = "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake' AND table_name = 'loads'"


def find_load(connection: duckdb.DuckDBPyConnection, digest: str) -> LoadResult | None:
    """What loading the data of ``digest`` again amounts to; None if it was never loaded."""
    if is_empty(connection):
        return None
    rows = connection.execute(
        "SELECT source, rows_read, (SELECT id FROM lake.current_snapshot()) FROM lake.loads WHERE digest = ?",
        [digest],
    ).fetchall()
    if not rows:
        return None
    source, count, snapshot = rows[0]
    return LoadResult(source, count, 0, count, 0, 0, snapshot, repeated=True)


def is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether nothing was ever loaded: the first load makes the tables."""
    return not connection.execute(_LOADS_EXIST).fetchall()[0][0]


def merge(connection: duckdb.DuckDBPyConnection, dataset: Dataset, clock: Clock) -> LoadResult:
    """Load ``dataset`` in one transaction. Another process's commit in between fails it as a whole.

    Everything, the question whether the data is new included, is read at the snapshot the transaction
    began on, and nothing is kept if it fails: so it can simply be done again.
    """
    connection.execute("BEGIN")
    try:
        known = find_load(connection, dataset.digest)
        if known is not None:
            connection.execute("ROLLBACK")
            return known
        for statement in _TABLES:
            connection.execute(statement)
        added, restated = _merge_bars(connection, dataset)
        actions = _merge_actions(connection, dataset)
        _add_notices(connection, dataset)
        rows = len(dataset.bars)
        connection.execute(
            "INSERT INTO lake.loads VALUES (?, ?, ?, ?)", [dataset.digest, dataset.source, clock.now(), rows]
        )
        note = f"{dataset.source}: {added} bars added, {restated} restated, {actions} actions"
        connection.execute("CALL lake.set_commit_message('workbench', ?)", [note])
        connection.execute("COMMIT")
    except BaseException:
        _abandon(connection)
        raise
    snapshot = connection.execute("SELECT id FROM lake.last_committed_snapshot()").fetchall()[0][0]
    return LoadResult(dataset.source, rows, added, rows - added - restated, restated, actions, snapshot)


def _merge_bars(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> tuple[int, int]:
    """Return the number of rows added and restated."""
    differs = " OR ".join(f"i.{name} IS DISTINCT FROM b.{name}" for name in FIELDS)
    fields = ", ".join(f"i.{name}" for name in FIELDS)
    connection.register("incoming", dataset.bars)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fresh AS
        SELECT i.symbol, i.session::DATE AS session, {fields}, b.symbol IS NOT NULL AS known
        FROM incoming AS i LEFT JOIN lake.bars AS b ON b.symbol = i.symbol AND b.session = i.session::DATE
        WHERE b.symbol IS NULL OR {differs}"""
    )
    connection.unregister("incoming")
    total, restated = connection.execute("SELECT count(*), count(*) FILTER (known) FROM fresh").fetchall()[0]
    if restated:
        connection.execute(
            "DELETE FROM lake.bars WHERE (symbol, session) IN (SELECT (symbol, session) FROM fresh WHERE known)"
        )
    if total:
        connection.execute(
            f"INSERT INTO lake.bars SELECT symbol, session, {', '.join(FIELDS)}, ? FROM fresh ORDER BY symbol, session",
            [dataset.source],
        )
    connection.execute("DROP TABLE fresh")
    return total - restated, restated


def _merge_actions(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> int:
    """Return the number of actions that are new or say something else than before."""
    if dataset.actions.empty:
        return 0
    connection.register("incoming", dataset.actions)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE fresh AS
        SELECT i.symbol, i.ex_date::DATE AS ex_date, i.kind, i.value, i.origin FROM incoming AS i
        LEFT JOIN lake.actions AS a ON a.symbol = i.symbol AND a.ex_date = i.ex_date::DATE AND a.kind = i.kind
        WHERE a.symbol IS NULL OR a.value <> i.value OR a.origin <> i.origin"""
    )
    connection.unregister("incoming")
    count = int(connection.execute("SELECT count(*) FROM fresh").fetchall()[0][0])
    if count:
        connection.execute(
            "DELETE FROM lake.actions WHERE (symbol, ex_date, kind) IN (SELECT (symbol, ex_date, kind) FROM fresh)"
        )
        connection.execute(
            "INSERT INTO lake.actions SELECT *, ? FROM fresh ORDER BY symbol, ex_date, kind", [dataset.source]
        )
    connection.execute("DROP TABLE fresh")
    return count


def _add_notices(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> None:
    if dataset.notices.empty:
        return
    connection.register("incoming", dataset.notices)
    connection.execute(
        """INSERT INTO lake.notices
        SELECT symbol, "first"::DATE, "last"::DATE, detail, ? FROM incoming
        WHERE (symbol, "first"::DATE, "last"::DATE, detail) NOT IN
            (SELECT (symbol, "first", "last", detail) FROM lake.notices)""",
        [dataset.source],
    )
    connection.unregister("incoming")


def _abandon(connection: duckdb.DuckDBPyConnection) -> None:
    """Roll back, unless the failed commit has ended the transaction already."""
    import duckdb

    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException:
        return
