"""Tables and queries of PostgreSQL, MySQL and SQLite, read through DuckDB's own connectors.

The answer is copied into a Parquet file first, by a DuckDB of its own: the lake's connection never sees an address or
a password, and rows are read and checked like those of any file.
"""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from workbench.data.dataset import Staged
from workbench.data.sources import spool, tables
from workbench.data.sources.reading import Reading
from workbench.data.sources.staging import stage
from workbench.data.sources.text import quoted
from workbench.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import duckdb

# Scheme: what DuckDB calls it, its extension, and the function that hands a query over as it is.
_KINDS = {
    "postgresql": ("postgres", "postgres_scanner", "postgres_query"),
    "mysql": ("mysql", "mysql_scanner", "mysql_query"),
    "sqlite": ("sqlite", "sqlite_scanner", None),
}
_SAME = {"postgres": "postgresql", "mariadb": "mysql"}


class DatabaseSource:
    """The rows of one table or query.

    Parameters
    ----------
    address
        ``postgresql://USER@HOST/DB``, ``mysql://USER@HOST/DB`` or ``sqlite:FILE``. A password is better left to
        ``PGPASSWORD`` or ``MYSQL_PWD``; in the address it is never shown or kept either.
    table, query
        One of them: a name, with its schema if need be, or SQL in the database's own words.

    Raises
    ------
    ConfigError
        If the address is none, or not exactly one of table and query is given.
    DataError
        If the file of a SQLite database is not there.
    """

    def __init__(
        self, address: str, reading: Reading | None = None, *, table: str | None = None, query: str | None = None
    ) -> None:
        scheme = address.partition(":")[0].lower()
        self._scheme = _SAME.get(scheme, scheme)
        if self._scheme not in _KINDS:
            raise ConfigError(f"no database is called {scheme}:", hint=nearest(scheme, _KINDS))
        if (table is None) == (query is None):
            raise ConfigError(f"{self._scheme}: say which rows", hint="with --table NAME or --query 'SELECT ...'")
        self.reading = reading or Reading()
        self.name = f"{self._scheme}: {table or 'query'}"
        self._attached, self._secrets = _attachment(self._scheme, address)
        self._table, self._query = table, query

    @cached_property
    def digest(self) -> str:
        """Of the rows of the answer, and of how they are read."""
        with spool.connect() as connection:
            found = spool.fingerprint(connection, self._file)
        return hashlib.sha256(f"{self.reading.key()}\n{found}".encode()).hexdigest()

    def stage(self, connection: duckdb.DuckDBPyConnection) -> Staged:
        """Read the answer into temporary tables; see :func:`workbench.data.sources.staging.stage`."""
        return stage(connection, self.name, [tables.parquet(connection, {str(self._file): self.name})], self.reading)

    @cached_property
    def _file(self) -> Path:
        """The answer, fetched once."""
        import duckdb

        file = spool.folder_of(self) / "answer.parquet"
        kind, extension, ask = _KINDS[self._scheme]
        with spool.connect() as connection:
            tables.load_extension(connection, extension)
            try:
                connection.execute(f"ATTACH {quoted(self._attached)} AS remote (TYPE {kind}, READ_ONLY)")
            except duckdb.Error as error:
                raise spool.failure(self.name, "cannot be reached", error, self._secrets) from None
            try:
                rows = self._rows(connection, ask)
                if kind == "sqlite" and any(c.type == "BLOB" for c in tables.described(connection, rows)):
                    # Columns without a type can hold anything, so they are read as text.
                    connection.execute("SET sqlite_all_varchar = true")
                connection.execute(f"COPY (SELECT * FROM {rows}) TO {quoted(str(file))}")
            except duckdb.Error as error:
                raise spool.failure(self.name, "cannot be read", error, self._secrets) from None
        return file

    def _rows(self, connection: duckdb.DuckDBPyConnection, ask: str | None) -> str:
        if self._query is not None:
            if ask is not None:
                return f"{ask}('remote', {quoted(self._query)})"
            connection.execute("USE remote")
            return f"({self._query.rstrip().rstrip(';')})"
        assert self._table is not None
        known = [
            (str(schema), str(table))
            for schema, table in connection.execute(
                "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'remote' UNION ALL "
                "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'remote' AND NOT internal"
            ).fetchall()
        ]
        for schema, table in known:
            if self._table in (table, f"{schema}.{table}"):
                return f"remote.{tables.identifier(schema)}.{tables.identifier(table)}"
        raise DataError(
            f"{self.name}: there is no such table", hint=nearest(self._table, {table for _, table in known})
        )


def _attachment(scheme: str, address: str) -> tuple[str, tuple[str, ...]]:
    """What DuckDB attaches, and the parts of it that no message may show."""
    if scheme == "sqlite":
        file = Path(re.sub(r"^sqlite:(//)?", "", address, flags=re.IGNORECASE))
        if not file.is_file():
            raise DataError(f"{file}: there is no such file", hint="a SQLite database is written sqlite:FILE")
        return str(file), ()
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{scheme}: the address cannot be read", hint=f"write {scheme}://USER@HOST:PORT/DB") from None
    password = unquote(parts.password or "")
    secrets = (address, parts.password or "", password)
    if scheme == "postgresql":
        return f"postgresql:{address.partition(':')[2]}", secrets
    values = {
        "host": parts.hostname,
        "port": port,
        "user": unquote(parts.username or "") or None,
        "password": password or None,
        "database": parts.path.lstrip("/") or None,
    } | dict(parse_qsl(parts.query))
    attached = " ".join(f"{key}={_value(str(value))}" for key, value in values.items() if value is not None)
    return attached, (*secrets, attached)


def _value(text: str) -> str:
    """A value of a MySQL attachment."""
    if re.fullmatch(r"[\w./@:-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
