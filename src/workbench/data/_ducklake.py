"""How the lake's DuckDB connection is opened, and how its errors and conflicts are handled.

Only DuckDB may open the catalog: two copies of the SQLite library in one process drop each other's
POSIX locks, so Python's ``sqlite3`` must never touch it.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.clock import Clock
from workbench.errors import DataError

if TYPE_CHECKING:
    import duckdb

CATALOG = "catalog.sqlite"
FILES = "files"
SPILL = "spill"
# What a load sorts and compares in; the rest goes to the lake's own spill folder, however large the file is.
LOAD_MEMORY = "1GB"
CACHE = "cache"
T = TypeVar("T")

# sqlite_scanner first: ducklake looks for it when it attaches.
_EXTENSIONS = ("sqlite_scanner", "ducklake")
_BUSY_TIMEOUT_MS = 250
_FIRST_WAIT_S = 0.01
_LONGEST_WAIT_S = 0.5
_SMALL_BYTES = 32_000_000  # about two million daily bars
_PASSING = re.compile(
    r"database is locked|database table is locked|database schema (is locked|has changed)"
    r"|Failed to commit DuckLake|[Tt]ransaction conflict|UNIQUE constraint failed|write-write conflict"
    # What attaching says when its own transaction on the catalog met another process.
    r"|Current transaction is aborted"
)
_ENCRYPTED = "SELECT 1 FROM __ducklake_metadata_lake.ducklake_metadata WHERE key = 'encrypted' AND value = 'true'"
_NO_ROOM = re.compile(r"No space left|File too large|[Qq]uota exceeded|disk is full|disk I/O error")
_NO_MEMORY = re.compile(r"Out of Memory|failed to (pin|allocate)|could not allocate")
_BROKEN = re.compile(r"not a database|malformed|Cannot open file|No such file|Invalid Input.*[Pp]arquet|[Mm]agic bytes")


def connect(folder: Path, *, read_only: bool, create: bool) -> duckdb.DuckDBPyConnection:
    """Attach the lake in ``folder`` as ``lake`` to a DuckDB of its own.

    No network and nothing in the home folder: the extensions come from their Python packages. DuckDB's
    signature check reads both files in full (130 ms of every fresh kernel), so it is left out: the
    packages are held to their hashes by requirements.lock, as DuckDB itself is, and only these two
    files can be loaded, from the interpreter's own site-packages.
    """
    import duckdb

    connection = duckdb.connect(
        config={
            "allow_unsigned_extensions": True,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
    )
    try:
        for name in _EXTENSIONS:
            connection.execute(f"LOAD {_quoted(extension_file(name, duckdb.__version__))}")
        connection.execute(f"SET temp_directory = {_quoted(folder / SPILL)}")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET TimeZone = 'UTC'")
        # A commit that meets another must fail at once: the load is worked out again on the newer data.
        # DuckLake's own retries would try to append the old answer to it, for seconds.
        connection.execute("SET ducklake_max_retry_count = 0")
        connection.execute(_attach(folder, read_only=read_only, create=create))
        settle(connection, folder)
    except BaseException:
        connection.close()
        raise
    return connection


def attach_again(connection: duckdb.DuckDBPyConnection, folder: Path, error: BaseException, *, read_only: bool) -> bool:
    """After a conflict, attach the lake anew to the same connection, which keeps what was staged in it.

    False if the error is not a passing one, or that was not possible: the connection is of no use then.
    """
    import duckdb

    if not isinstance(error, duckdb.Error) or not _PASSING.search(str(error)):
        return False
    try:
        with suppress(duckdb.TransactionException):
            connection.execute("ROLLBACK")
        connection.execute("DETACH lake")
        connection.execute(_attach(folder, read_only=read_only, create=False))
    except duckdb.Error:
        return False
    return True


def settle(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Set up for reading: a small lake by one thread, a larger one by all there are.

    What the footer of a file says is kept: every file of a lake has a name of its own, for ever. With encrypted files
    DuckDB 1.5 fails then.
    """
    connection.execute("RESET memory_limit")
    connection.execute("SET threads = 1" if _is_small(folder / FILES) else "RESET threads")
    encrypted = connection.execute(_ENCRYPTED).fetchall()
    connection.execute(f"SET parquet_metadata_cache = {str(not encrypted).lower()}")


def open_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Set up for reading what is not the lake's: how much there is is not known, and files can be written anew."""
    connection.execute("RESET threads")
    connection.execute("SET parquet_metadata_cache = false")
    connection.execute(f"SET memory_limit = '{LOAD_MEMORY}'")


def _is_small(files: Path) -> bool:
    """Whether the lake is read faster by one thread: waking others doubles the processor time of a short query."""
    total = 0
    for folder, _, names in os.walk(files):
        for name in names:
            with suppress(OSError):  # replaced just now
                total += os.stat(os.path.join(folder, name)).st_size
            if total > _SMALL_BYTES:
                return False
    return True


def retry(action: Callable[[], T], *, what: str, clock: Clock, jitter: Callable[[], float], patience_s: float) -> T:
    """Do ``action`` again while other processes are in the way, for at most ``patience_s`` seconds.

    Waits double from 10 ms to 0.5 s and are scaled by 0.5 to 1.5 (``jitter`` gives 0 to 1), so that two
    processes do not meet again and again.

    Raises
    ------
    DataError
        If they are still in the way at the end, or the failure is of another kind.
    """
    import duckdb

    end = clock.monotonic() + patience_s
    wait = _FIRST_WAIT_S
    while True:
        try:
            return action()
        except duckdb.Error as error:
            if not _PASSING.search(str(error)):
                raise DataError(f"{what}: {first_line(error)}", hint=_advice(error)) from error
            if clock.monotonic() >= end:
                raise DataError(
                    f"{what}: other processes kept the lake busy for {patience_s:g} s ({first_line(error)})",
                    hint="try again when they are done",
                ) from error
        clock.sleep(wait * (0.5 + jitter()))
        wait = min(2 * wait, _LONGEST_WAIT_S)


def first_line(error: BaseException) -> str:
    """The first line of a DuckDB message, without its error class."""
    line = next((part.strip() for part in str(error).splitlines() if part.strip()), type(error).__name__)
    return re.sub(r"^(?:[A-Z]\w+ )+Error: ", "", line)


def _attach(folder: Path, *, read_only: bool, create: bool) -> str:
    options = [
        f"DATA_PATH {_quoted(folder / FILES)}",
        "OVERRIDE_DATA_PATH true",  # a lake may be moved or restored elsewhere
        # Rows of a small load would be kept in the catalog: a second storage for no gain at this size.
        "DATA_INLINING_ROW_LIMIT 0",
        f"META_BUSY_TIMEOUT {_BUSY_TIMEOUT_MS}",
        f"CREATE_IF_NOT_EXISTS {str(create).lower()}",
    ]
    # With a write-ahead log, readers and a writer do not wait for each other.
    options.append("READ_ONLY" if read_only else "META_JOURNAL_MODE 'WAL'")
    return f"ATTACH {_quoted(f'ducklake:sqlite:{folder / CATALOG}')} AS lake ({', '.join(options)})"


def extension_file(name: str, version: str) -> Path:
    """The file of an extension for a version of DuckDB, from its Python package.

    Raises
    ------
    DataError
        If it is not installed, or for another version.
    """
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / "extensions" / f"v{version}" / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    package = f"duckdb-extension-{name.replace('_', '-')}"
    raise DataError(
        f"the DuckDB extension {name} for version {version} is not installed",
        hint=f"install {package}=={version}, the version of duckdb",
    )


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _advice(error: BaseException) -> str | None:
    if _NO_ROOM.search(str(error)):
        return "there is no room left for it on the disk; the lake is as it was"
    if _NO_MEMORY.search(str(error)):
        return f"it does not fit into the {LOAD_MEMORY} that a load works in: load it in parts"
    if _BROKEN.search(str(error)):
        return "the lake is damaged: restore it from a backup, or remove its folder and run: workbench data load"
    return None
