"""Reading tables into the lake's connection: at full speed while all is well, row by row to say what is wrong.

The first pass casts every cell in SQL and only counts what failed. Where something did, the tables are read once more
with the number of every row; that pass names file, row and column, or sets the wrong rows aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.data.dataset import FIELDS, Frequency, Staged
from workbench.data.sources import prices
from workbench.data.sources.columns import NUMBERS
from workbench.data.sources.dates import is_ambiguous
from workbench.data.sources.plans import NAMED_BY_FILE, Plan, cell, plan
from workbench.data.sources.reading import EXCHANGE_ZONE, Reading
from workbench.data.sources.symbols import by_file
from workbench.data.sources.tables import TEXT, Table, TypedTable
from workbench.data.sources.text import quoted
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

    Connection = duckdb.DuckDBPyConnection

ROWS, BARS, FILES, WRONG = "staged_rows", "staged_bars", "staged_files", "staged_quarantine"
# What a table without the column has in it.
OPTIONAL = {"adj_close": "NULL::DOUBLE", "split": "1.0::DOUBLE", "dividend": "0.0::DOUBLE"}
_MOST_CELLS = 200_000
_STAMPS_LOOKED_AT = 10_000
# Other years come from a format that reads 13 as the year 13.
BELIEVED = "moment BETWEEN '1800-01-01' AND '2200-01-01'"


@dataclass(frozen=True)
class _Read:
    """What a pass made: the name of the rows' table, its plans, and whether they are in order."""

    plans: tuple[Plan, ...]
    symbols: str | None
    rows: str = ROWS

    @property
    def frequency(self) -> Frequency:
        return self.plans[0].frequency

    @property
    def roles(self) -> set[str]:
        return {role for each in self.plans for role in each.columns}


def stage(connection: Connection, name: str, tables: Sequence[Table], reading: Reading) -> Staged:
    """Read ``tables`` into ``staged_bars``, ``staged_actions`` and ``staged_quarantine``.

    Raises
    ------
    DataError
        If something is wrong or cannot be told: file, row and column, and what to do about it.
    """
    import duckdb

    read = None
    try:
        read = _read(connection, name, tables, reading)
    except duckdb.Error as error:  # a row of another width, a quote that is not closed: the second pass says where
        if not isinstance(error, duckdb.DataError | duckdb.InvalidInputException | duckdb.IOException):
            raise
    clean, ordered = _look_over(connection, read) if read else (False, False)
    if read is None or not clean:
        read, ordered = _read_located(connection, name, tables, reading), False
    if read.frequency == "minute" and reading.stamp is None:
        _refuse_end_stamps(connection, name, read.rows, reading.exchange_zone)
    if "adj_close" in read.roles and any("adj_close" not in each.columns for each in read.plans):
        raise DataError(f"{name}: some of it has an adjusted close and some has not", hint="load these apart")
    judged = prices.judge(connection, name, read.rows, read.roles, reading)
    time = "session" if read.frequency == "daily" else "start"
    _in_order(connection, judged.rows, time, ordered=ordered and judged.rows == read.rows)
    notes = [note for each in read.plans for note in each.assumptions]
    notes += [read.symbols] if read.symbols else []
    return Staged(
        frequency=read.frequency,
        bars=BARS,
        actions=judged.actions,
        notices=judged.notices,
        quarantine=WRONG if reading.quarantine and _exists(connection, WRONG) else None,
        assumptions=tuple(dict.fromkeys([*notes, *judged.assumptions])),
        checked=True,
    )


def _read(connection: Connection, name: str, tables: Sequence[Table], reading: Reading) -> _Read:
    """Read everything at full speed; cells that are wrong are NULL."""
    _forget(connection)
    plans = tuple(_plan(connection, table, reading, table.rows()) for table in tables)
    _require_one_frequency(plans, tables)
    symbols = _symbols_of_files(connection, tables, plans, reading)
    selected = [
        _select(each, table.rows(), located=False, table=table) for each, table in zip(plans, tables, strict=True)
    ]
    # Typed columns are read as fast as they were copied, so they stay where they are.
    lazy = all(isinstance(table, TypedTable) for table in tables) and not any(
        role in each.columns for each in plans for role in OPTIONAL
    )
    kind = "VIEW" if lazy else "TABLE"
    connection.execute(f"CREATE OR REPLACE TEMP {kind} {ROWS} AS {' UNION ALL '.join(selected)}")
    return _Read(plans, symbols)


def _look_over(connection: Connection, read: _Read) -> tuple[bool, bool]:
    """Whether every row has all that it needs and no key occurs twice; and whether rows are in order.

    Rows in order are told apart while they stream by; others have to be grouped.
    """
    numbers = " + ".join(role for role in NUMBERS if role in read.roles)
    # One sum tells of any number among them that is missing, infinite or none.
    good = f"symbol <> '' AND {BELIEVED} AND isfinite({numbers})"
    count, wrong = connection.execute(
        f"SELECT count(*), count_if(NOT coalesce({good}, false)) FROM {read.rows}"
    ).fetchall()[0]
    if wrong or not count:
        return False, False
    # A query of its own: with all columns in it, the window would copy them.
    disorder = connection.execute(
        "SELECT count_if(NOT (s < symbol OR (s = symbol AND t < moment))) "
        f"FROM (SELECT symbol, moment, lag(symbol) OVER () AS s, lag(moment) OVER () AS t FROM {read.rows})"
    ).fetchall()[0][0]
    if not disorder:
        return True, True
    twice = f"SELECT 1 FROM {read.rows} GROUP BY symbol, moment HAVING count(*) > 1 LIMIT 1"
    return not connection.execute(twice).fetchall(), False


def _read_located(connection: Connection, name: str, tables: Sequence[Table], reading: Reading) -> _Read:
    """Read everything with row numbers. Without quarantine the first fault is raised."""
    _forget(connection)
    sources = [table.located(connection, number) for number, table in enumerate(tables)]
    plans = tuple(
        _plan(connection, table, reading, source, whole=True) for table, source in zip(tables, sources, strict=True)
    )
    _require_one_frequency(plans, tables)
    symbols = _symbols_of_files(connection, tables, plans, reading)
    selected = [
        _select(each, source, located=True, table=table)
        for each, table, source in zip(plans, tables, sources, strict=True)
    ]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE staged_all AS {' UNION ALL '.join(selected)}")
    _mark_duplicates(connection, plans[0].frequency)
    wrong = connection.execute("SELECT count(*) FROM staged_all WHERE fault IS NOT NULL").fetchall()[0][0]
    if wrong and not reading.quarantine:
        raise _first_fault(connection, int(wrong))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {WRONG} AS SELECT line, label || fault AS reason, row FROM staged_all "
        "WHERE fault IS NOT NULL ORDER BY file, line"
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {ROWS} AS SELECT * EXCLUDE (file, line, label, fault, row) "
        "FROM staged_all WHERE fault IS NULL"
    )
    if not connection.execute(f"SELECT 1 FROM {ROWS} LIMIT 1").fetchall():
        hint = _first_fault(connection, int(wrong)).message if wrong else None
        raise DataError(f"{name}: no row of it can be read" if wrong else f"{name}: there are no bars in it", hint=hint)
    return _Read(plans, symbols)


def _plan(connection: Connection, table: Table, reading: Reading, source: str, *, whole: bool = False) -> Plan:
    sample = table.sample(connection)
    where = next(iter(table.names.values()))

    def cells(column: int) -> Sequence[str]:
        shown = [row[column] for row in sample]
        text = f"c{column}" if table.columns[column].type == TEXT else f"c{column}::VARCHAR"
        if whole:
            # Numbers that are written plainly say nothing about marks, and there are many of them.
            query = (
                f"SELECT DISTINCT {text} FROM {source} WHERE try_cast({text} AS DOUBLE) IS NULL AND {text} <> '' "
                f"LIMIT {_MOST_CELLS}"
            )
            return [*shown, *(row[0] for row in connection.execute(query).fetchall())]
        if is_ambiguous(shown):
            parts = [rf"try_cast(regexp_extract({text}, '^\s*(\d+)\D(\d+)', {part}) AS INTEGER)" for part in (1, 2)]
            query = f"SELECT {', '.join(f'arg_max({text}, {part})' for part in parts)} FROM {source}"
            return [*shown, *(each for each in connection.execute(query).fetchall()[0] if each)]
        return shown

    return plan(table, reading, where, sample, cells)


def _select(each: Plan, source: str, *, located: bool, table: Table) -> str:
    """SQL for the rows of a table; with ``located`` also file, line, label, fault and row."""
    symbol = each.sql["symbol"]
    joined = source
    if symbol == NAMED_BY_FILE:
        symbol = "f.symbol"
        joined = f"{source} AS r JOIN {FILES} AS f ON f.file = r.file"
        source_file = "r.file"
    else:
        source_file = "file"
    columns = [f"{symbol} AS symbol", f"{each.sql['at']} AS moment"]
    columns += [f"{each.sql[role]} AS {role}" for role in FIELDS]
    columns += [f"{each.sql.get(role, nothing)} AS {role}" for role, nothing in OPTIONAL.items()]
    if not located:
        return f"SELECT {', '.join(columns)} FROM {joined}"
    names = "MAP {" + ", ".join(f"{quoted(path)}: {quoted(name)}" for path, name in table.names.items()) + "}"
    label = f"element_at({names}, file)[1]" if len(table.names) > 1 else quoted(next(iter(table.names.values())))
    pairs = ", ".join(f"{quoted(c.name)}, c{place}::VARCHAR" for place, c in enumerate(table.columns))
    inner = f"SELECT {', '.join(columns)}, {source_file} AS file, line, shape_fault, COLUMNS('^c\\d+$') FROM {joined}"
    return (
        f"SELECT symbol, moment, {', '.join((*FIELDS, *OPTIONAL))}, file, line, "
        f"{label} || ', {table.place} ' || line AS label, {_fault(each, table)} AS fault, "
        f"CASE WHEN {_fault(each, table)} IS NOT NULL THEN json_object({pairs})::VARCHAR END AS row FROM ({inner})"
    )


def _fault(each: Plan, table: Table) -> str:
    """SQL for what is wrong with a row, from left to right; NULL if nothing is."""
    checks = ["CASE WHEN shape_fault IS NOT NULL THEN ': ' || shape_fault END"]
    day = "the start of a minute" if each.frequency == "minute" else "a date that can be read"
    wrong = {"date": (f"NOT coalesce({BELIEVED}, false)", day)}
    wrong |= {role: (f"NOT coalesce(isfinite({role}), false)", "a number") for role in NUMBERS}
    wrong["symbol"] = ("coalesce(symbol, '') = ''", "a symbol")
    for role, column in sorted(each.columns.items(), key=lambda item: item[1]):
        if role not in wrong:
            continue
        condition, what = wrong[role]
        name = f", column {table.columns[column].name!r}: "
        text = cell(table, column)
        checks.append(
            f"CASE WHEN {condition} THEN {quoted(name)} || CASE WHEN {text} IS NULL THEN 'is empty' "
            f"ELSE 'is not {what} (got ''' || {text} || ''')' END END"
        )
    return f"coalesce({', '.join(checks)})"


def _mark_duplicates(connection: Connection, frequency: Frequency) -> None:
    """Of rows that say the same, all but the first are wrong; of rows that contradict each other, all."""
    what = "session" if frequency == "daily" else "minute"
    values = ", ".join((*FIELDS, *OPTIONAL))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE staged_twice AS
        SELECT symbol, moment, count(DISTINCT ({values})) AS versions,
            arg_min(label, {{'f': file, 'n': line}}) AS first_label, min({{'f': file, 'n': line}}) AS first
        FROM staged_all WHERE fault IS NULL GROUP BY symbol, moment HAVING count(*) > 1"""
    )
    connection.execute(
        f"""UPDATE staged_all SET fault = ': ' || a.symbol || ' has this {what} already, in ' || d.first_label
            || CASE WHEN versions = 1 THEN '' ELSE ', with other prices' END
        FROM staged_twice AS d, staged_all AS a
        WHERE a.rowid = staged_all.rowid AND a.fault IS NULL AND a.symbol = d.symbol AND a.moment = d.moment
            AND {{'f': a.file, 'n': a.line}} <> d.first"""
    )
    connection.execute(
        f"""UPDATE staged_all SET fault = ': ' || staged_all.symbol || ' has this {what} again, with other prices'
        FROM staged_twice AS d
        WHERE fault IS NULL AND versions > 1 AND staged_all.symbol = d.symbol AND staged_all.moment = d.moment"""
    )


def _first_fault(connection: Connection, wrong: int) -> DataError:
    """The fault nearest to the beginning; a duplicate is told by its second row."""
    label, fault = connection.execute(
        "SELECT label, fault FROM staged_all WHERE fault IS NOT NULL "
        "ORDER BY contains(fault, ' again, with other prices'), file, line LIMIT 1"
    ).fetchall()[0]
    more = f"; {wrong - 1} more rows are wrong" if wrong > 1 else ""
    return DataError(f"{label}{fault}{more}", hint="mend it, or set such rows aside with --quarantine")


def _symbols_of_files(
    connection: Connection, tables: Sequence[Table], plans: Sequence[Plan], reading: Reading
) -> str | None:
    """Make the table of symbols by file, for tables without a column of them."""
    nameless = [table for table, each in zip(tables, plans, strict=True) if each.sql["symbol"] == NAMED_BY_FILE]
    if not nameless:
        return None
    symbols, reason = by_file(nameless)
    rows = ", ".join(f"({quoted(path)}, {quoted(symbol)})" for path, symbol in symbols.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {FILES} AS SELECT * FROM (VALUES {rows}) AS f(file, symbol)")
    return reason


def _require_one_frequency(plans: Sequence[Plan], tables: Sequence[Table]) -> None:
    found = {each.frequency: table for each, table in zip(plans, tables, strict=True)}
    if len(found) > 1:
        daily, minute = (next(iter(found[kind].names.values())) for kind in ("daily", "minute"))
        raise DataError(f"{daily} has daily bars and {minute} minute bars", hint="load them one after the other")


def _refuse_end_stamps(connection: Connection, name: str, rows: str, zone: str) -> None:
    """Refuse minutes from 09:31 to 16:00: taken for starts, every bar would be a minute late, in backtest and gate.

    It is only looked for in New York's hours, and in the first sessions.
    """
    if zone != EXCHANGE_ZONE:
        return
    opens, seconds, closes = connection.execute(
        f"""SELECT count_if(t = '09:30'), count_if(t = '09:31'), count_if(t = '16:00')
        FROM (SELECT strftime((moment AT TIME ZONE 'UTC') AT TIME ZONE '{zone}', '%H:%M') AS t
              FROM (SELECT moment FROM {rows} LIMIT {_STAMPS_LOOKED_AT}))"""
    ).fetchall()[0]
    if not opens and seconds and closes:
        raise DataError(
            f"{name}: minutes run from 09:31 to 16:00 in {zone}, as if stamped at their end",
            hint="say --stamp end, or --stamp start if they are not",
        )


def _in_order(connection: Connection, rows: str, time: str, *, ordered: bool) -> None:
    """``staged_bars``: the rows with the lake's columns, by symbol and time, so that the lake need not sort them."""
    columns = f"symbol, moment AS {time}, {', '.join(FIELDS)}"
    _drop(connection, BARS)
    if ordered:
        connection.execute(f"CREATE TEMP VIEW {BARS} AS SELECT {columns} FROM {rows}")
    else:
        connection.execute(f"CREATE TEMP TABLE {BARS} AS SELECT {columns} FROM {rows} ORDER BY symbol, moment")


def _forget(connection: Connection) -> None:
    """Drop what an earlier try has made: a name that was a view may be a table now."""
    for name in (BARS, "staged_kept", prices.RAW, ROWS, WRONG, FILES, "staged_all", "staged_twice"):
        _drop(connection, name)


def _drop(connection: Connection, name: str) -> None:
    for kind in ("view", "table"):
        if _exists(connection, name, kind):
            connection.execute(f"DROP {kind} {name}")


def _exists(connection: Connection, name: str, kind: str = "table") -> bool:
    return bool(
        connection.execute(f"SELECT 1 FROM duckdb_{kind}s() WHERE temporary AND {kind}_name = ?", [name]).fetchall()
    )


def keep_rows(connection: Connection) -> None:
    """Copy what is still read from a file that goes away."""
    if _exists(connection, BARS, "view"):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE staged_kept AS SELECT * FROM {BARS}")
        _drop(connection, BARS)
        connection.execute(f"ALTER TABLE staged_kept RENAME TO {BARS}")
