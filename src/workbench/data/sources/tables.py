"""What rows are read from: files of text, JSON, Parquet and Excel, and frames, all with their columns as c0, c1, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from workbench.data._ducklake import extension_file, first_line
from workbench.data.sources.text import SAMPLE_ROWS, TextFile, load_located, quoted, read_csv_sql, sample
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

TEXT = "VARCHAR"
LOCATED = "staged_text"
_SAMPLED_FILES = 8


@dataclass(frozen=True)
class Column:
    """A column's name as printed, and its type in DuckDB; ``VARCHAR`` has to be read from text."""

    name: str
    type: str


class Table(Protocol):
    """One or several files of one shape, or a frame.

    ``names``: what messages call each value of the column ``file``. ``symbol``: whose bars these are, if the header
    says it. ``place``: what a row's number is called.
    """

    @property
    def columns(self) -> tuple[Column, ...]: ...

    @property
    def names(self) -> Mapping[str, str]: ...

    @property
    def symbol(self) -> str | None: ...

    @property
    def place(self) -> str: ...

    def rows(self) -> str:
        """SQL to select from: c0, c1, ... and ``file``."""
        ...

    def located(self, connection: duckdb.DuckDBPyConnection, number: int) -> str:
        """The same with ``line`` (BIGINT) and ``shape_fault`` (VARCHAR); slower."""
        ...

    def sample(self, connection: duckdb.DuckDBPyConnection) -> Sequence[Sequence[str]]:
        """Its first rows, every cell as text, nothing as the empty text."""
        ...


class TextTable:
    """Text files of one shape."""

    place = "line"

    def __init__(self, files: Sequence[TextFile]) -> None:
        self.files = files
        self.columns = tuple(Column(name, TEXT) for name in files[0].names)
        self.names = {str(file.path): file.name for file in files}
        self.symbol = files[0].symbol

    def rows(self) -> str:
        return read_csv_sql(self.files)

    def located(self, connection: duckdb.DuckDBPyConnection, number: int) -> str:
        name = f"{LOCATED}_{number}"
        load_located(connection, name, self.files)
        return name

    def sample(self, connection: duckdb.DuckDBPyConnection) -> Sequence[Sequence[str]]:
        # One file of many may be told from others by how it writes numbers or dates.
        step = -(-len(self.files) // _SAMPLED_FILES)
        chosen = self.files[::step]
        return [row for file in chosen for row in sample(file, SAMPLE_ROWS // len(chosen))]


class TypedTable:
    """Anything that DuckDB knows the columns of: ``relation`` is SQL to select from.

    ``file``: SQL for the column ``file``; ``line``: SQL for a row's number, from 1.
    """

    def __init__(
        self,
        relation: str,
        columns: Sequence[Column],
        names: Mapping[str, str],
        *,
        file: str,
        line: str,
        place: str = "row",
        symbol: str | None = None,
    ) -> None:
        self.relation, self.columns, self.names = relation, tuple(columns), names
        self.symbol, self.place = symbol, place
        self._file, self._line = file, line

    def rows(self) -> str:
        return f"(SELECT {self._cells()}, {self._file} AS file FROM {self.relation})"

    def located(self, connection: duckdb.DuckDBPyConnection, number: int) -> str:
        return (
            f"(SELECT {self._cells()}, {self._file} AS file, {self._line} AS line, NULL::VARCHAR AS shape_fault "
            f"FROM {self.relation})"
        )

    def sample(self, connection: duckdb.DuckDBPyConnection) -> Sequence[Sequence[str]]:
        cells = ", ".join(f"coalesce(c{place}::VARCHAR, '')" for place in range(len(self.columns)))
        return connection.execute(f"SELECT {cells} FROM {self.rows()} LIMIT {SAMPLE_ROWS}").fetchall()

    def _cells(self) -> str:
        return ", ".join(f"{identifier(column.name)} AS c{place}" for place, column in enumerate(self.columns))


def parquet(connection: duckdb.DuckDBPyConnection, files: Mapping[str, str]) -> TypedTable:
    """Parquet files of one shape: paths with what messages call them.

    Raises
    ------
    DataError
        If one cannot be read.
    """
    import duckdb

    paths = "[" + ", ".join(quoted(path) for path in files) + "]"
    relation = f"read_parquet({paths}, filename = 'staged_file', file_row_number = true)"
    try:
        found = described(connection, relation)
    except duckdb.Error as error:
        text = first_line(error).replace(next(iter(files)), "")
        raise DataError(f"{next(iter(files.values()))}: cannot be read: {text}") from error
    columns = [column for column in found if column.name not in ("staged_file", "file_row_number")]
    return TypedTable(relation, columns, files, file="staged_file", line="file_row_number + 1")


def described(connection: duckdb.DuckDBPyConnection, relation: str) -> list[Column]:
    """The columns of anything that can be selected from."""
    rows = connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()
    return [Column(str(row[0]), str(row[1])) for row in rows]


def identifier(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def sheet(connection: duckdb.DuckDBPyConnection, path: Path, name: str, number: int) -> TypedTable:
    """The first sheet of an Excel workbook, all cells as text; its first row has the names. ``number``: of the sheet.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    import duckdb

    load_extension(connection, "excel")
    table = f"staged_sheet_{number}"
    relation = f"read_xlsx({quoted(str(path))}, header = true, all_varchar = true, stop_at_empty = false)"
    try:
        columns = described(connection, relation)
        filled = " OR ".join(f"{identifier(column.name)} <> ''" for column in columns)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM "
            f"(SELECT *, row_number() OVER () + 1 AS staged_line FROM {relation}) WHERE {filled}"
        )
    except duckdb.Error as error:
        raise DataError(f"{name}: cannot be read: {first_line(error)}") from error
    return TypedTable(table, columns, {str(path): name}, file=quoted(str(path)), line="staged_line")


def documents(connection: duckdb.DuckDBPyConnection, path: Path, name: str, number: int) -> TypedTable:
    """The bars of a JSON file, all cells as text; a bar is counted from 1. ``number``: of the file.

    Raises
    ------
    DataError
        If it is no JSON, or there are no bars in it.
    """
    import pyarrow as pa

    from workbench.data.sources.json_rows import rows

    table, places = f"staged_json_{number}", dict[str, list[str | None]]()
    count = 0
    for row in rows(path, name):
        for key, value in row.items():
            column = places.setdefault(key, [])
            column.extend([None] * (count - len(column)))
            column.append(value)
        count += 1
    for column in places.values():
        column.extend([None] * (count - len(column)))
    names = _distinct(list(places), name)
    arrays = [pa.array(column, pa.string()) for column in places.values()]
    loaded = pa.table([*arrays, pa.array(range(1, count + 1), pa.int64())], names=[*names, "staged_line"])
    connection.register("staged_json", loaded)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM staged_json")
    connection.unregister("staged_json")
    columns = [Column(each, TEXT) for each in names]
    return TypedTable(table, columns, {str(path): name}, file=quoted(str(path)), line="staged_line", place="bar")


def _distinct(names: list[str], where: str) -> list[str]:
    """Names as they are; DuckDB tells ``S`` and ``s`` not apart.

    Raises
    ------
    DataError
        If two differ in case only.
    """
    seen: dict[str, str] = {}
    for each in names:
        other = seen.setdefault(each.lower(), each)
        if other != each:
            raise DataError(f"{where}: {other!r} and {each!r} differ in case only", hint="rename one of them")
    return names


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load one of DuckDB's extensions from its Python package: nothing is downloaded."""
    import duckdb

    connection.execute(f"LOAD {quoted(str(extension_file(name, duckdb.__version__)))}")
