"""Merging bars by key: an insert where no key is known, a comparison where some are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.data._tables import CLEANED, REPAIRS, Table
from workbench.data.dataset import FIELDS, Restated
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

SHOWN = 20  # restated values that a result shows
_FIELDS = ", ".join(FIELDS)
# A correction touches a few bars. Another history (adjusted over raw, another vendor) touches most of what was there.
_FEW_BARS = 20
_OTHER_HISTORY = 0.5
_CONSTANT = 1.002  # highest over lowest ratio of new to old closes that is called one factor


@dataclass(frozen=True)
class BarCounts:
    """Bars read, added and restated; the first restated values; cleaned bars that no longer hold."""

    read: int = 0
    added: int = 0
    restated: int = 0
    sample: tuple[Restated, ...] = ()
    repairs_dropped: int = 0


def merge(
    connection: duckdb.DuckDBPyConnection, table: Table, staged: str, source: str, *, restate: bool, checked: bool
) -> BarCounts:
    """Put the bars of ``staged`` into ``table``, within the transaction that is open.

    ``checked``: its cells are whole, its keys unique and in order, as the source has seen to.

    Raises
    ------
    DataError
        If a cell is empty or infinite, a key occurs twice, or most of a symbol's history is restated and
        ``restate`` does not allow it.
    """
    _, time = table.key
    _check_time(connection, table, staged, source)
    if checked:
        count, ordered = int(connection.execute(f"SELECT count(*) FROM {staged}").fetchall()[0][0]), staged
    else:
        count = _check_cells(connection, time, staged, source)
        ordered = _in_order(connection, time, staged, source) if count else staged
    if not count:
        return BarCounts()
    if not _find_known(connection, table, ordered):
        connection.execute(
            f"INSERT INTO lake.{table.name} SELECT symbol, {time}, {_FIELDS}, ? FROM {ordered}", [source]
        )
        dropped = _drop_cleaned(connection, table, ordered)
        return BarCounts(count, count, repairs_dropped=dropped)
    return _merge_known(connection, table, ordered, source, count, restate=restate)


def _check_time(connection: duckdb.DuckDBPyConnection, table: Table, staged: str, source: str) -> None:
    """Refuse moments for sessions: two of one day would become one."""
    time = table.key[1]
    # Of a view, one row would be read from the beginning of its file: half a second of a large one.
    kind = str(connection.execute(f"DESCRIBE SELECT {time} FROM {staged}").fetchall()[0][1])
    if not kind.startswith(table.columns[time]):
        raise DataError(f"{source}: {time} was staged as {kind}, not {table.columns[time]}")


def _check_cells(connection: duckdb.DuckDBPyConnection, time: str, staged: str, source: str) -> int:
    """Return the number of rows."""
    finite = " AND ".join(f"coalesce(isfinite({name}), false)" for name in FIELDS)
    good = f"symbol IS NOT NULL AND {time} IS NOT NULL AND {finite}"
    count, wrong = connection.execute(f"SELECT count(*), count(*) FILTER (NOT ({good})) FROM {staged}").fetchall()[0]
    if wrong:
        symbol, at, *values = connection.execute(
            f"SELECT symbol, {time}, {_FIELDS} FROM {staged} WHERE NOT ({good}) LIMIT 1"
        ).fetchall()[0]
        shown = ", ".join(f"{name} {value}" for name, value in zip(FIELDS, values, strict=True))
        raise DataError(f"{source}: the bar of {symbol} at {at} is not whole: {shown}")
    return int(count)


def _in_order(connection: duckdb.DuckDBPyConnection, time: str, staged: str, source: str) -> str:
    """The name of a table with the same rows by symbol and time: ``staged`` itself if it is in order.

    The lag over all rows is computed while they stream by, so that sorted input is not sorted again.
    """
    pairs = f"FROM (SELECT symbol, {time}, lag(symbol) OVER () AS s, lag({time}) OVER () AS t FROM {{}})"
    after = f"s < symbol OR (s = symbol AND t < {time})"
    wrong = connection.execute(f"SELECT count(*) FILTER (NOT ({after})) {pairs.format(staged)}").fetchall()[0][0]
    if not wrong:
        return staged
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE staged_in_order AS SELECT symbol, {time}, {_FIELDS} FROM {staged} "
        f"ORDER BY symbol, {time}"
    )
    same = f"s = symbol AND t = {time}"
    twice = connection.execute(
        f"SELECT symbol, {time} {pairs.format('staged_in_order')} WHERE {same} LIMIT 1"
    ).fetchall()
    if twice:
        raise DataError(f"{source}: {' '.join(str(value) for value in twice[0])} occurs twice")
    return "staged_in_order"


def _find_known(connection: duckdb.DuckDBPyConnection, table: Table, ordered: str) -> int:
    """Copy the lake's bars within each symbol's span into ``known``; return how many there are.

    A day's append finds none, and is read from the minima and maxima of the files.
    """
    time = table.key[1]
    files = connection.execute(
        f"SELECT file_count FROM ducklake_table_info('lake') WHERE table_name = '{table.name}'"
    ).fetchall()
    if not files or not files[0][0]:
        return 0
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE spans AS SELECT symbol, min({time}) AS since, max({time}) AS until "
        f"FROM {ordered} GROUP BY symbol"
    )
    since, until = connection.execute("SELECT min(since), max(until) FROM spans").fetchall()[0]
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE known AS SELECT b.symbol, b.{time}, {', '.join(f'b.{f}' for f in FIELDS)} "
        f"FROM lake.{table.name} AS b JOIN spans USING (symbol) "
        f"WHERE b.{time} BETWEEN ? AND ? AND b.{time} BETWEEN since AND until",
        [since, until],
    )
    return int(connection.execute("SELECT count(*) FROM known").fetchall()[0][0])


def _merge_known(
    connection: duckdb.DuckDBPyConnection, table: Table, ordered: str, source: str, count: int, *, restate: bool
) -> BarCounts:
    time = table.key[1]
    differs = " OR ".join(f"i.{name} IS DISTINCT FROM k.{name}" for name in FIELDS)
    olds = ", ".join(f"k.{name} AS old_{name}" for name in FIELDS)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE fresh AS
        SELECT i.symbol, i.{time}, {", ".join(f"i.{name}" for name in FIELDS)}, {olds}, k.symbol IS NOT NULL AS known
        FROM {ordered} AS i LEFT JOIN known AS k ON k.symbol = i.symbol AND k.{time} = i.{time}
        WHERE k.symbol IS NULL OR {differs}"""
    )
    total, restated = connection.execute("SELECT count(*), count(*) FILTER (known) FROM fresh").fetchall()[0]
    sample: tuple[Restated, ...] = ()
    if restated:
        if not restate:
            _refuse_another_history(connection, time, ordered, source)
        sample = _sample(connection, time)
        connection.execute(
            f"DELETE FROM lake.{table.name} WHERE (symbol, {time}) IN (SELECT (symbol, {time}) FROM fresh WHERE known)"
        )
    dropped = 0
    if total:
        connection.execute(
            f"INSERT INTO lake.{table.name} SELECT symbol, {time}, {_FIELDS}, ? FROM fresh ORDER BY symbol, {time}",
            [source],
        )
        dropped = _drop_cleaned(connection, table, "fresh")
    connection.execute("DROP TABLE fresh")
    connection.execute("DROP TABLE known")
    return BarCounts(count, total - restated, restated, sample, dropped)


def _refuse_another_history(connection: duckdb.DuckDBPyConnection, time: str, ordered: str, source: str) -> None:
    """Refuse to restate most of a symbol's bars: a history that becomes adjusted unseen is the classic disaster."""
    found = connection.execute(
        f"""SELECT symbol, changed, bars, low, high FROM (
            SELECT symbol, count(*) AS changed, min(close / old_close) AS low, max(close / old_close) AS high
            FROM fresh WHERE known GROUP BY symbol HAVING count(*) >= {_FEW_BARS})
        JOIN (SELECT k.symbol, count(*) AS bars FROM known AS k SEMI JOIN {ordered} AS i
              ON i.symbol = k.symbol AND i.{time} = k.{time} GROUP BY k.symbol) USING (symbol)
        WHERE changed > bars * {_OTHER_HISTORY} ORDER BY changed DESC, symbol"""
    ).fetchall()
    if not found:
        return
    symbol, changed, bars, low, high = found[0]
    others = f" and {len(found) - 1} more symbols likewise" if len(found) > 1 else ""
    raise DataError(
        f"{source}: {symbol}: {changed:,} of {bars:,} known bars would be restated, {_factor(low, high)}{others}",
        hint="were adjusted prices loaded over raw ones, or another vendor's? If the new history is right: --restate",
    )


def _factor(low: float, high: float) -> str:
    if low > 0 and high / low <= _CONSTANT:
        middle = (low + high) / 2
        return "their closes unchanged" if abs(middle - 1) < _CONSTANT - 1 else f"by a constant factor of {middle:.4g}"
    return f"by factors of {low:.4g} to {high:.4g}"


def _sample(connection: duckdb.DuckDBPyConnection, time: str) -> tuple[Restated, ...]:
    """The first restated values by symbol, time and field."""
    olds = ", ".join(f"old_{name}" for name in FIELDS)
    rows = connection.execute(
        f"SELECT symbol, {time}, {_FIELDS}, {olds} FROM fresh WHERE known ORDER BY symbol, {time} LIMIT {SHOWN}"
    ).fetchall()
    found = []
    for symbol, at, *values in rows:
        news, befores = values[: len(FIELDS)], values[len(FIELDS) :]
        pairs = zip(FIELDS, befores, news, strict=True)
        found += [Restated(symbol, at, name, old, new) for name, old, new in pairs if old != new]
    return tuple(found[:SHOWN])


def _drop_cleaned(connection: duckdb.DuckDBPyConnection, table: Table, changed: str) -> int:
    """Delete the cleaned bars whose raw bar is new or another now, with their repairs: they were made for another."""
    there = connection.execute(
        f"SELECT count(*) FROM duckdb_tables() WHERE database_name = 'lake' AND table_name = '{CLEANED.name}'"
    ).fetchall()
    if not there[0][0]:
        return 0
    time = table.key[1]
    counts = [
        connection.execute(
            f"DELETE FROM lake.{kind} WHERE table_name = '{table.name}' "
            f'AND (symbol, "at") IN (SELECT (symbol, {time}::TIMESTAMP) FROM {changed})'
        ).fetchall()[0][0]
        for kind in (CLEANED.name, REPAIRS.name)
    ]
    return int(counts[0])
