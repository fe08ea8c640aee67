"""How what a source has staged becomes one snapshot of the lake: compare, delete what is restated, insert, remember."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.clock import Clock
from workbench.data import _merge_bars
from workbench.data._sql import literal
from workbench.data._tables import ACTIONS, BARS, BESIDE, LISTINGS, LOADS, MINUTES, NOTICES, QUARANTINE, Table
from workbench.data.dataset import ACTION_KINDS, LoadResult, Source, Staged
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

# Made by the first load, because every read asks them; the others when there is something to put into them.
_ALWAYS = (BARS, ACTIONS, NOTICES, LOADS)
_OPTIONS = {
    # Two thirds of the time that the default takes to write, and smaller files for prices.
    "parquet_compression": "lz4",
    # About six million daily bars. A symbol is looked for in every row group of a file: in one of 25 million for 14 ms.
    "target_file_size": "64MB",
}
_TABLES_THERE = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'"


def find_load(connection: duckdb.DuckDBPyConnection, digest: str) -> LoadResult | None:
    """What loading the data of ``digest`` again amounts to; None if it was never loaded."""
    if is_empty(connection):
        return None
    rows = connection.execute(
        "SELECT source, rows_read, (SELECT id FROM lake.current_snapshot()) FROM lake.loads "
        f"WHERE digest = {literal(digest)}"
    ).fetchall()
    if not rows:
        return None
    source, count, snapshot = rows[0]
    return LoadResult(source, count, 0, count, 0, 0, snapshot, repeated=True)


def is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether nothing was ever loaded: the first load makes the tables."""
    return LOADS.name not in tables_there(connection)


def tables_there(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """The lake's tables at the newest snapshot."""
    return {str(row[0]) for row in connection.execute(_TABLES_THERE).fetchall()}


def make_tables(connection: duckdb.DuckDBPyConnection, *tables: Table) -> None:
    """Those of ``tables`` that are not there yet."""
    there = tables_there(connection)
    for table in tables:
        if table.name not in there:
            connection.execute(table.create())


def merge(
    connection: duckdb.DuckDBPyConnection, source: Source, staged: Staged, clock: Clock, *, restate: bool
) -> LoadResult:
    """Load what is staged in one transaction. Another process's commit in between fails it as a whole.

    Everything, the question whether the data is new included, is read at the snapshot the transaction
    began on, and nothing is kept if it fails: so it can simply be done again.
    """
    if is_empty(connection):
        # Not part of a snapshot.
        for option, value in _OPTIONS.items():
            connection.execute(f"CALL lake.set_option('{option}', '{value}')")
    connection.execute("BEGIN")
    try:
        known = find_load(connection, source.digest)
        if known is not None:
            connection.execute("ROLLBACK")
            return known
        make_tables(connection, *_ALWAYS)
        bars = _merge_bars.BarCounts()
        if staged.bars is not None:
            table = BARS if staged.frequency == "daily" else MINUTES
            make_tables(connection, table)
            bars = _merge_bars.merge(
                connection, table, staged.bars, source.name, restate=restate, checked=staged.checked
            )
        beside = {table.name: _merge_beside(connection, table, staged, source.name) for table in BESIDE}
        quarantined = _keep_quarantine(connection, staged, source, clock)
        connection.execute(
            "INSERT INTO lake.loads VALUES (?, ?, ?, ?)", [source.digest, source.name, clock.now(), bars.read]
        )
        note = _note(source.name, staged, bars, beside, quarantined)
        connection.execute("CALL lake.set_commit_message('workbench', ?)", [note])
        connection.execute("COMMIT")
    except BaseException:
        abandon(connection)
        raise
    snapshot = connection.execute("SELECT id FROM lake.last_committed_snapshot()").fetchall()[0][0]
    return LoadResult(
        source.name,
        bars.read,
        bars.added,
        bars.read - bars.added - bars.restated,
        bars.restated,
        beside[ACTIONS.name],
        snapshot,
        frequency=staged.frequency,
        restated=bars.sample,
        repairs_dropped=bars.repairs_dropped,
        quarantined=quarantined,
        beside=beside,
        assumptions=staged.assumptions,
    )


def abandon(connection: duckdb.DuckDBPyConnection) -> None:
    """Roll back, unless the failed commit has ended the transaction already."""
    import duckdb

    try:
        connection.execute("ROLLBACK")
    except duckdb.TransactionException:
        return


def drop_temporary(connection: duckdb.DuckDBPyConnection) -> None:
    """Let go of what was staged: it can be larger than the lake's own cache."""
    for kind in ("table", "view"):
        rows = connection.execute(
            f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE temporary AND NOT internal AND database_name = 'temp'"
        ).fetchall()
        for (name,) in rows:
            connection.execute(f'DROP {kind} temp."{name}"')


def _merge_beside(connection: duckdb.DuckDBPyConnection, table: Table, staged: Staged, source: str) -> int:
    """Return the number of rows that are new or say something else than before."""
    name: str | None = getattr(staged, table.name)
    if name is None:
        return 0
    make_tables(connection, table)
    _check_beside(connection, table, name, source)
    key = " AND ".join(f't."{column}" = i."{column}"' for column in table.key)
    differs = " OR ".join([f't."{table.key[0]}" IS NULL', *(f't."{v}" IS DISTINCT FROM i."{v}"' for v in table.values)])
    columns = ", ".join(f'i."{column}"::{table.columns[column]} AS "{column}"' for column in table.staged)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT {columns} FROM (SELECT {columns} FROM {name} AS i) AS i "
        f"LEFT JOIN lake.{table.name} AS t ON {key} WHERE {differs}"
    )
    count = int(connection.execute("SELECT count(*) FROM fresh").fetchall()[0][0])
    if count:
        keys = ", ".join(f'"{column}"' for column in table.key)
        if table.values:
            connection.execute(f"DELETE FROM lake.{table.name} WHERE ({keys}) IN (SELECT ({keys}) FROM fresh)")
        connection.execute(f"INSERT INTO lake.{table.name} SELECT *, ? FROM fresh ORDER BY {keys}", [source])
    connection.execute("DROP TABLE fresh")
    if count and table is LISTINGS:
        _check_spells(connection, source)
    return count


def _check_beside(connection: duckdb.DuckDBPyConnection, table: Table, name: str, source: str) -> None:
    """Refuse rows that the lake could not tell apart or make sense of."""
    keys = ", ".join(f'"{column}"' for column in table.key)
    empty = " OR ".join(f'"{column}" IS NULL' for column in table.key)
    if connection.execute(f"SELECT count(*) FROM {name} WHERE {empty}").fetchall()[0][0]:
        raise DataError(f"{source}: an empty cell in {table.name}")
    twice = connection.execute(f"SELECT {keys} FROM {name} GROUP BY ALL HAVING count(*) > 1 LIMIT 1").fetchall()
    if twice:
        raise DataError(f"{source}: {' '.join(str(value) for value in twice[0])} occurs twice in {table.name}")
    if table is ACTIONS:
        kinds = ", ".join(f"'{kind}'" for kind in ACTION_KINDS)
        wrong = connection.execute(
            f"SELECT symbol, kind, value, ex_date FROM {name} WHERE kind NOT IN ({kinds}) OR value IS NULL "
            "OR NOT isfinite(value) OR value <= 0 LIMIT 1"
        ).fetchall()
        if wrong:
            symbol, kind, value, day = wrong[0]
            raise DataError(
                f"{source}: {symbol} has a {kind} of {value} on {day}",
                hint=f"an action is one of {', '.join(ACTION_KINDS)}, and its value is above zero",
            )


def _check_spells(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    """A ticker belongs to one instrument at a time, and an instrument has one ticker at a time."""
    backwards = connection.execute(
        'SELECT symbol, "first", "last" FROM lake.listings WHERE "last" < "first"'
    ).fetchall()
    if backwards:
        symbol, first, last = backwards[0]
        raise DataError(f"{source}: {symbol} is listed from {first}, but only to {last}")
    for owner, other in (("symbol", "instrument"), ("instrument", "symbol")):
        found = connection.execute(
            f"""SELECT {owner}, {other}, next_{other}, next_first FROM (
                SELECT *, lead("first") OVER w AS next_first, lead({other}) OVER w AS next_{other}
                FROM lake.listings WINDOW w AS (PARTITION BY {owner} ORDER BY "first", {other}))
            WHERE next_first IS NOT NULL AND next_first <= coalesce("last", DATE 'infinity') LIMIT 1"""
        ).fetchall()
        if found:
            name, one, two, day = found[0]
            raise DataError(
                f"{source}: {name} is listed as {one} and as {two} on {day}",
                hint=f"the {other} before needs a last session before {day}",
            )


def _keep_quarantine(connection: duckdb.DuckDBPyConnection, staged: Staged, source: Source, clock: Clock) -> int:
    if staged.quarantine is None:
        return 0
    make_tables(connection, QUARANTINE)
    count = connection.execute(f"SELECT count(*) FROM {staged.quarantine}").fetchall()[0][0]
    connection.execute(
        "INSERT INTO lake.quarantine SELECT ?, ?, line, reason, row, ?::TIMESTAMPTZ::TIMESTAMP "
        f"FROM {staged.quarantine}",
        [source.digest, source.name, clock.now()],
    )
    return int(count)


def _note(source: str, staged: Staged, bars: _merge_bars.BarCounts, beside: dict[str, int], quarantined: int) -> str:
    """What ``snapshots`` says of the load: bars and actions always, the rest where there is some."""
    unit = "bars" if staged.frequency == "daily" else "minutes"
    others = {name: count for name, count in beside.items() if count and name not in (ACTIONS.name, NOTICES.name)}
    others |= {"repairs dropped": bars.repairs_dropped, "rows in quarantine": quarantined}
    rest = "".join(f", {count} {name}" for name, count in others.items() if count)
    return f"{source}: {bars.added} {unit} added, {bars.restated} restated, {beside[ACTIONS.name]} actions{rest}"
