"""Writing what the lake has to a Parquet or CSV file that other programs, and the lake itself, can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data._ducklake import first_line
from workbench.data._reading import day_bounds
from workbench.data._sql import asked, literal, versioned, where
from workbench.data._tables import ACTIONS, BARS, DOCUMENTS, FUNDAMENTALS, LISTINGS, MINUTES, QUOTES, Table
from workbench.data.dataset import FIELDS
from workbench.errors import DataError, nearest

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from workbench.data.bars import Adjustment, Bars
    from workbench.data.lake import Lake

TABLES = {table.name: table for table in (BARS, MINUTES, ACTIONS, LISTINGS, FUNDAMENTALS, DOCUMENTS, QUOTES)}
_FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER",
    ".csv.gz": "FORMAT csv, HEADER, COMPRESSION gzip",
}
_DAYS = {
    "bars": "session",
    "actions": "ex_date",
    "fundamentals": "known",
    "documents": "day",
    "quotes": '"at"::DATE',
}
_CHUNK = 200  # symbols that are adjusted at a time


@dataclass(frozen=True)
class Export:
    """What is written: a table of a snapshot, of some symbols and days (both ends included).

    Raw bars are rows as they are stored, by ticker as traded. Adjusted ones are what ``Lake.bars`` or ``Lake.minutes``
    read, by ticker as of the last session.
    """

    table: str
    symbols: Sequence[str] | None
    start: date | None
    end: date | None
    adjustment: Adjustment
    snapshot: int
    cleaned: bool


def write(lake: Lake, file: Path, export: Export, *, replace: bool) -> int:
    """Write the file whole or not at all; return the number of rows.

    Raises
    ------
    DataError
        If the file is there and may not be replaced, its ending is unknown, it cannot be written, or there is
        nothing to write.
    """
    options = _options(file)
    if export.table not in TABLES:
        raise DataError(f"no table {export.table!r} to export", hint=nearest(export.table, TABLES))
    if file.exists() and not replace:
        raise DataError(f"{file.name} is there already", hint="name another file, or say --replace")
    table = TABLES[export.table]
    with _whole(file) as part:
        if table in (BARS, MINUTES) and export.adjustment != "raw":
            count = _write_adjusted(lake, table, export, part, options)
        else:
            query = _query(lake, table, export)
            count = lake._run(_copying(query, part, options), f"exporting {file.name}")
        if not count:
            raise DataError(f"there is nothing to export to {file.name}", hint="see: workbench data show")
    return count


def _options(file: Path) -> str:
    for ending, options in _FORMATS.items():
        if file.name.lower().endswith(ending):
            return options
    raise DataError(f"{file.name}: no format for this ending", hint=f"the file ends in {', '.join(_FORMATS)}")


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file beside the one wanted, which takes its name when it is complete and on the disk."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(file)
    except OSError as error:
        raise DataError(f"{file.name} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _query(lake: Lake, table: Table, export: Export) -> str:
    """The rows of a table as they are stored, in the order of their key."""
    if not lake._has(table.name, export.snapshot):
        raise DataError(f"the lake has no {table.name}", hint="see: workbench data show")
    columns = [f'"{name}"' for name in table.columns if name != "source"]
    rows = versioned(table.name, export.snapshot)
    if table in (BARS, MINUTES):
        rows = lake._sql(export.snapshot).relation(table, cleaned=export.cleaned)
    first, last = export.start or date.min, export.end or date.max
    inside = None
    if table is MINUTES:
        since, until = day_bounds(first, last, lake.time_zone)
        inside = f"start >= {literal(since)} AND start < {literal(until)}"
    elif table.name in _DAYS:
        inside = f"{_DAYS[table.name]} BETWEEN {literal(first)} AND {literal(last)}"
    keys = ", ".join(f'"{name}"' for name in table.key)
    return f"SELECT {', '.join(columns)} FROM {rows} {where(asked(export.symbols), inside)}ORDER BY {keys}"


def _copying(query: str, part: Path, options: str) -> Callable[[duckdb.DuckDBPyConnection], int]:
    def copy(connection: duckdb.DuckDBPyConnection) -> int:
        return int(connection.execute(f"COPY ({query}) TO {literal(part)} ({options})").fetchall()[0][0])

    return copy


def _write_adjusted(lake: Lake, table: Table, export: Export, part: Path, options: str) -> int:
    """Adjusted bars are computed some symbols at a time, and kept in a DuckDB of their own that spills to the disk."""
    import duckdb

    time = table.key[1]
    reader = lake._sql(export.snapshot)
    known = reader.symbols_of(table)
    names = asked(export.symbols) or reader.listings.current(known, export.end or date.max)
    fields = ", ".join(f"{name} DOUBLE" for name in FIELDS)
    try:
        with duckdb.connect(config={"temp_directory": str(part.parent)}) as connection:
            connection.execute("SET enable_progress_bar = false")
            connection.execute(f"CREATE TABLE made (symbol VARCHAR, {time} {table.columns[time]}, {fields})")
            for at in range(0, len(names), _CHUNK):
                read = lake.bars if table is BARS else lake.minutes
                bars = read(
                    names[at : at + _CHUNK],
                    start=export.start,
                    end=export.end,
                    adjustment=export.adjustment,
                    snapshot=export.snapshot,
                    cleaned=export.cleaned,
                )
                connection.register("chunk", _long(bars, time))
                connection.execute("INSERT INTO made SELECT * FROM chunk")
                connection.unregister("chunk")
            query = f"SELECT * FROM made ORDER BY symbol, {time}"
            return _copying(query, part, options)(connection)
    except duckdb.Error as error:
        raise DataError(f"exporting {part.name.split('.', 2)[1]}: {first_line(error)}") from error


def _long(bars: Bars, time: str) -> pd.DataFrame:
    import pandas as pd

    columns = {name: getattr(bars, name).rename_axis(index=time).stack(future_stack=True) for name in FIELDS}
    frame = pd.DataFrame(columns).dropna(how="all").reset_index()
    return frame[["symbol", time, *FIELDS]]
