"""A folder of its own for data that comes from elsewhere, gone with the source that fetched it."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data.sources.text import quoted
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb


def folder_of(owner: object) -> Path:
    """A new folder that is removed when ``owner`` is gone."""
    folder = tempfile.mkdtemp(prefix="workbench-load-")
    weakref.finalize(owner, shutil.rmtree, folder, True)
    return Path(folder)


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB beside the lake's: what it attaches and the secrets it is given end with it."""
    import duckdb

    connection = duckdb.connect(
        config={
            "allow_unsigned_extensions": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
    return connection


def fingerprint(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    """What identifies the rows of a Parquet file, in whatever order they came."""
    relation = f"read_parquet({quoted(str(file))})"
    count, mixed, total = connection.execute(
        f"SELECT count(*), coalesce(bit_xor(hash(r)), 0), coalesce(sum(hash(r)::HUGEINT), 0) FROM {relation} AS r"
    ).fetchall()[0]
    names = connection.execute(f"SELECT * FROM {relation} LIMIT 0").description
    return f"{[(column[0], str(column[1])) for column in names or []]} {count} {mixed} {total}"


def failure(name: str, what: str, error: Exception, secrets: tuple[str, ...]) -> DataError:
    """What a library said, in one line and without anything secret."""
    from workbench.data._ducklake import first_line

    text = first_line(error)
    for secret in sorted((each for each in secrets if each), key=len, reverse=True):
        text = text.replace(secret, "***")
    return DataError(f"{name}: {what}: {text}")
