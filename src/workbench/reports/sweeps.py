"""The table ``sweeps``: the parts of the ledger of trials, each merged once.

DuckDB reads the Parquet parts itself; a part never changes, so its name says whether it is in the file already.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import DataError
from workbench.reports import schema

if TYPE_CHECKING:
    import duckdb

# Column of the table: what it is made of, where that is not the column of the same name.
_MADE_OF = {"number": "part + file_row_number", "trades": "CAST(trades AS BIGINT)"}


def new_parts(connection: duckdb.DuckDBPyConnection, trials: Path | None, *, first: bool) -> dict[str, Path]:
    """Parts of a ledger's folder that are not in the reports file yet, by name; all of them if its tables are new."""
    if trials is None:
        return {}
    parts = {file.relative_to(trials).as_posix(): file for file in sorted(trials.glob("*/*/*.parquet"))}
    if first or not parts:
        return parts
    known = {name for (name,) in connection.execute("SELECT name FROM sweep_parts").fetchall()}
    return {name: file for name, file in parts.items() if name not in known}


def insert(connection: duckdb.DuckDBPyConnection, parts: dict[str, Path]) -> int:
    """Add the trials of some parts and remember their names, in the caller's transaction; the number of rows added.

    Raises
    ------
    DataError
        If a part cannot be read.
    """
    import duckdb

    if not parts:
        return 0
    (table,) = (table for table in schema.TABLES if table.name == "sweeps")
    columns = ", ".join(_MADE_OF.get(name, f'"{name}"') for name in table.names)
    names = ", ".join(f'"{name}"' for name in table.names)
    before = _count(connection)
    for name, file in parts.items():
        try:
            # Two sweeps that ran at once may have recorded the same combinations in different parts.
            connection.execute(
                f"INSERT OR IGNORE INTO sweeps ({names}) SELECT {columns} FROM read_parquet(?, file_row_number = true)",
                [str(file)],
            )
        except duckdb.Error as error:
            hint = "move it out of the ledger"
            raise DataError(
                f"{file} of the trial ledger cannot be read: {str(error).splitlines()[0]}", hint=hint
            ) from error
        connection.execute("INSERT INTO sweep_parts VALUES (?)", [name])
    return _count(connection) - before


def _count(connection: duckdb.DuckDBPyConnection) -> int:
    rows = connection.execute("SELECT count(*) FROM sweeps").fetchall()
    return int(rows[0][0])
