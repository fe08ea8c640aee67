"""Cleaned bars beside the raw ones, and the ledger of their repairs: written by difference, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.clock import Clock
from workbench.data._merge import abandon, make_tables
from workbench.data._sql import literal
from workbench.data._tables import BARS, CLEANED, CLEANED_ACTIONS, MINUTES, REPAIRS, Table
from workbench.data.dataset import Frequency
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

# Not what a repair says, but when it was first said.
_MADE = ("raw_snapshot", "made_at")


@dataclass(frozen=True)
class CleanResult:
    """What is stored for the symbols now: cleaned bars, corrected actions and repairs.

    ``unchanged``: exactly that was stored before, and there is no new snapshot.
    """

    snapshot: int
    cleaned: int
    actions: int
    repairs: int
    unchanged: bool


@dataclass(frozen=True)
class Cleaning:
    """What a policy made of the raw bars of ``symbols`` as of ``raw_snapshot``.

    ``cleaned``: ``symbol``, ``at``, the fields and ``kept`` (false: the raw bar is taken out), only bars that differ
    from the raw ones. ``repairs``: ``symbol``, ``at``, ``field``, ``old``, ``new``, ``rule``, ``action``, ``reason``,
    and ``table_name`` where it is not that of the frequency. ``actions``: ``symbol``, ``ex_date``, ``kind``, ``value``,
    ``kept``.
    """

    frequency: Frequency
    symbols: Sequence[str]
    cleaned: pd.DataFrame
    repairs: pd.DataFrame
    actions: pd.DataFrame | None
    policy: str
    raw_snapshot: int

    @property
    def table(self) -> Table:
        return BARS if self.frequency == "daily" else MINUTES


def write(connection: duckdb.DuckDBPyConnection, cleaning: Cleaning, clock: Clock) -> CleanResult:
    """Make what is stored for the symbols exactly ``cleaning``.

    Raises
    ------
    DataError
        If raw bars of the symbols are others now than in the snapshot that was cleaned.
    """
    connection.execute("BEGIN")
    try:
        _refuse_stale(connection, cleaning)
        scopes = _scopes(cleaning)
        make_tables(connection, *scopes)
        counts = {table.name: _stage(connection, table, cleaning, clock) for table in scopes}
        changed = [_replace(connection, table, scope) for table, scope in scopes.items()]
        if any(changed):
            made = f"{counts['cleaned']} {cleaning.table.name}, {counts['repairs']} repairs"
            note = f"cleaned by {cleaning.policy}: {made}"
            connection.execute("CALL lake.set_commit_message('workbench', ?)", [note])
            connection.execute("COMMIT")
        else:
            connection.execute("ROLLBACK")
    except BaseException:
        abandon(connection)
        raise
    snapshot = int(connection.execute("SELECT id FROM lake.current_snapshot()").fetchall()[0][0])
    actions = counts.get("cleaned_actions", 0)
    return CleanResult(snapshot, counts["cleaned"], actions, counts["repairs"], unchanged=not any(changed))


def _scopes(cleaning: Cleaning) -> dict[Table, str]:
    """The tables concerned, each with the rows that are replaced."""
    symbols = f"symbol IN (SELECT unnest([{', '.join(literal(name) for name in cleaning.symbols)}]::VARCHAR[]))"
    mine = f"table_name = '{cleaning.table.name}'"
    if cleaning.frequency == "minute":
        return {CLEANED: f"{mine} AND {symbols}", REPAIRS: f"{mine} AND {symbols}"}
    ours = "table_name IN ('bars', 'actions')"
    return {CLEANED: f"{mine} AND {symbols}", REPAIRS: f"{ours} AND {symbols}", CLEANED_ACTIONS: symbols}


def _refuse_stale(connection: duckdb.DuckDBPyConnection, cleaning: Cleaning) -> None:
    """Refuse what was made of raw bars that are others now."""
    newest = int(connection.execute("SELECT id FROM lake.current_snapshot()").fetchall()[0][0])
    if newest <= cleaning.raw_snapshot:
        return
    symbols = ", ".join(literal(name) for name in cleaning.symbols)
    table = cleaning.table
    changed = connection.execute(
        f"SELECT symbol, {table.key[1]} FROM lake.table_changes('{table.name}', {cleaning.raw_snapshot + 1}, {newest}) "
        f"WHERE symbol IN (SELECT unnest([{symbols}]::VARCHAR[])) ORDER BY ALL LIMIT 1"
    ).fetchall()
    if changed:
        symbol, at = changed[0]
        raise DataError(
            f"the raw bar of {symbol} at {at} is new or another since the cleaned snapshot {cleaning.raw_snapshot}",
            hint="clean again",
        )


def _stage(connection: duckdb.DuckDBPyConnection, table: Table, cleaning: Cleaning, clock: Clock) -> int:
    """Copy what belongs into ``table`` to a temporary table of the same columns; return the number of rows."""
    given = {CLEANED.name: cleaning.cleaned, REPAIRS.name: cleaning.repairs, CLEANED_ACTIONS.name: cleaning.actions}
    name = f"staged_{table.name}"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM lake.{table.name} WHERE false")
    frame = given[table.name]
    if frame is None or frame.empty:
        return 0
    fixed: dict[str, Any] = {
        "table_name": cleaning.table.name,
        "policy": cleaning.policy,
        "raw_snapshot": cleaning.raw_snapshot,
        "made_at": clock.now(),
    }
    full = frame.assign(**{key: value for key, value in fixed.items() if key in table.columns and key not in frame})
    missing = [column for column in table.columns if column not in full]
    if missing:
        raise DataError(f"{cleaning.policy}: {table.name} without the column {', '.join(missing)}")
    strangers = sorted(set(full["symbol"]) - set(cleaning.symbols))
    if strangers:
        raise DataError(f"{cleaning.policy}: {table.name} has rows of {strangers[0]}, which was not cleaned")
    columns = ", ".join(f'"{column}"::{kind}' for column, kind in table.columns.items())
    connection.register("incoming", full[list(table.columns)])
    connection.execute(f"INSERT INTO {name} SELECT {columns} FROM incoming")
    connection.unregister("incoming")
    if table.key:
        keys = ", ".join(f'"{column}"' for column in table.key)
        twice = connection.execute(f"SELECT {keys} FROM {name} GROUP BY ALL HAVING count(*) > 1 LIMIT 1").fetchall()
        if twice:
            raise DataError(f"{cleaning.policy}: {' '.join(str(v) for v in twice[0])} occurs twice in {table.name}")
    return len(full)


def _replace(connection: duckdb.DuckDBPyConnection, table: Table, scope: str) -> bool:
    """Make the rows of ``scope`` those staged; whether any was different. Rows that stay keep when they were made."""
    staged = f"staged_{table.name}"
    same = " AND ".join(
        f't."{column}" IS NOT DISTINCT FROM s."{column}"' for column in table.columns if column not in _MADE
    )
    gone = connection.execute(
        f"DELETE FROM lake.{table.name} WHERE rowid IN (SELECT t.rowid FROM lake.{table.name} AS t "
        f"ANTI JOIN {staged} AS s ON {same} WHERE {scope})"
    ).fetchall()[0][0]
    keys = ", ".join(f'"{column}"' for column in table.key or ("symbol", "at", "field"))
    new = connection.execute(
        f"INSERT INTO lake.{table.name} SELECT * FROM {staged} AS s ANTI JOIN "
        f"(SELECT * FROM lake.{table.name} WHERE {scope}) AS t ON {same} ORDER BY {keys}"
    ).fetchall()[0][0]
    return bool(gone or new)
