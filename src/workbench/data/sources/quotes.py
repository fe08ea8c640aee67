"""Quotes out of files: bid and ask of a symbol at a moment, with their sizes where there are some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from workbench.data.dataset import Staged
from workbench.data.sources import staging
from workbench.data.sources.columns import QUOTE_NUMBERS, QUOTE_REQUIRED
from workbench.data.sources.files import FileSource
from workbench.data.sources.plans import NAMED_BY_FILE, Plan, cell, quote_plan
from workbench.data.sources.symbols import by_file
from workbench.data.sources.tables import Table
from workbench.data.sources.text import quoted
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

QUOTES, WRONG = "staged_quotes", "staged_quarantine"
_ALL = "staged_quotes_all"


class QuoteSource(FileSource):
    """Files of quotes as one load; a file, folder or pattern as of :class:`FileSource`.

    Every quote is kept, a crossed one too: the rule ``crossed_quotes`` tells of it. A symbol has one quote at a moment,
    so of several with the same time none is chosen silently: they are refused, and with ``quarantine`` the last of them
    stands, as it did at the end of that moment.
    """

    @property
    def digest(self) -> str:
        """As of the files, and of their being read as quotes."""
        return f"{super().digest}-quotes"

    def _stage(self, connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> Staged:
        selected: list[str] = []
        notes: list[str] = []
        names = self._symbols(tables)
        for number, table in enumerate(tables):
            source = table.located(connection, number)
            plan = _plan(connection, table, self, source)
            notes += plan.assumptions
            selected.append(_select(plan, table, source, names))
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {_ALL} AS {' UNION ALL '.join(selected)}")
        self._mark_repeated(connection)
        wrong = connection.execute(f"SELECT count(*) FROM {_ALL} WHERE fault IS NOT NULL").fetchall()[0][0]
        if wrong and not self.reading.quarantine:
            raise _first_fault(connection, int(wrong))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {WRONG} AS SELECT line, label || fault AS reason, row FROM {_ALL} "
            "WHERE fault IS NOT NULL ORDER BY file, line"
        )
        columns = ", ".join(f'{name}::DOUBLE AS "{name}"' for name in QUOTE_NUMBERS)
        connection.execute(
            f'CREATE OR REPLACE TEMP TABLE {QUOTES} AS SELECT symbol, moment AS "at", {columns} FROM {_ALL} '
            "WHERE fault IS NULL"
        )
        if not connection.execute(f"SELECT 1 FROM {QUOTES} LIMIT 1").fetchall():
            raise DataError(f"{self.name}: there are no quotes in it that can be read")
        return Staged(
            quotes=QUOTES,
            quarantine=WRONG if self.reading.quarantine else None,
            assumptions=tuple(dict.fromkeys(notes)),
        )

    def _symbols(self, tables: Sequence[Table]) -> Mapping[str, str]:
        """The symbol of each file that has no column of them; only asked where it is needed."""
        try:
            return by_file(tables)[0]
        except DataError:  # their columns have the symbols, or `_select` says that nothing does
            return {}

    @staticmethod
    def _mark_repeated(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(
            f"""UPDATE {_ALL} SET fault = ': ' || a.symbol || ' has another quote of this moment after it'
            FROM (SELECT rowid AS place, symbol, row_number() OVER (
                PARTITION BY symbol, moment ORDER BY file DESC, line DESC) AS turn FROM {_ALL} WHERE fault IS NULL) AS a
            WHERE a.place = {_ALL}.rowid AND turn > 1"""
        )


def _plan(connection: duckdb.DuckDBPyConnection, table: Table, source: QuoteSource, relation: str) -> Plan:
    sample = table.sample(connection)

    def cells(column: int) -> Sequence[str]:
        return [row[column] for row in sample]

    return quote_plan(table, source.reading, next(iter(table.names.values())), sample, cells)


def _select(plan: Plan, table: Table, source: str, names: Mapping[str, str]) -> str:
    """SQL for the quotes of a table with file, line, label, fault and row."""
    symbol = plan.sql["symbol"]
    if symbol == NAMED_BY_FILE:
        if not set(table.names) <= set(names):
            raise DataError(
                f"{next(iter(table.names.values()))}: no column has the symbol, and the file is not named like one",
                hint="say --symbol",
            )
        pairs = ", ".join(f"{quoted(path)}: {quoted(names[path])}" for path in table.names)
        symbol = f"element_at(MAP {{{pairs}}}, file)[1]"
    numbers = ", ".join(f"{plan.sql.get(role, 'NULL')} AS {role}" for role in QUOTE_NUMBERS)
    labels = ", ".join(f"{quoted(path)}: {quoted(name)}" for path, name in table.names.items())
    row = ", ".join(f"{quoted(c.name)}, c{place}::VARCHAR" for place, c in enumerate(table.columns))
    inner = f"SELECT {symbol} AS symbol, {plan.sql['at']} AS moment, {numbers}, file, line, shape_fault, " + (
        f"COLUMNS('^c\\d+$') FROM {source}"
    )
    fault = _fault(plan, table)
    return (
        f"SELECT symbol, moment, {', '.join(QUOTE_NUMBERS)}, file, line, element_at(MAP {{{labels}}}, file)[1] "
        f"|| ', {table.place} ' || line AS label, {fault} AS fault, "
        f"CASE WHEN {fault} IS NOT NULL THEN json_object({row})::VARCHAR END AS row FROM ({inner})"
    )


def _fault(plan: Plan, table: Table) -> str:
    """SQL for what is wrong with a row; a size that is empty is no fault, a price that is empty is."""
    checks = ["CASE WHEN shape_fault IS NOT NULL THEN ': ' || shape_fault END"]
    wrong = {"date": (f"NOT coalesce({staging.BELIEVED}, false)", "a time that can be read")}
    wrong |= {role: (f"NOT coalesce(isfinite({role}), false)", "a number") for role in QUOTE_NUMBERS}
    wrong["symbol"] = ("coalesce(symbol, '') = ''", "a symbol")
    for role, column in sorted(plan.columns.items(), key=lambda item: item[1]):
        if role not in wrong:
            continue
        condition, what = wrong[role]
        text, name = cell(table, column), f", column {table.columns[column].name!r}: "
        if role not in (*QUOTE_REQUIRED, "symbol"):
            condition = f"{condition} AND {text} IS NOT NULL"
        checks.append(
            f"CASE WHEN {condition} THEN {quoted(name)} || CASE WHEN {text} IS NULL THEN 'is empty' "
            f"ELSE 'is not {what} (got ''' || {text} || ''')' END END"
        )
    return f"coalesce({', '.join(checks)})"


def _first_fault(connection: duckdb.DuckDBPyConnection, wrong: int) -> DataError:
    label, fault = connection.execute(
        f"SELECT label, fault FROM {_ALL} WHERE fault IS NOT NULL ORDER BY file, line LIMIT 1"
    ).fetchall()[0]
    more = f"; {wrong - 1} more rows are wrong" if wrong > 1 else ""
    return DataError(f"{label}{fault}{more}", hint="mend it, or set such rows aside with --quarantine")
