"""How every SQLite file of the product is opened: write-ahead log, every commit on disk before it returns."""

from __future__ import annotations

import sqlite3
from pathlib import Path

_BUSY_TIMEOUT_S = 10.0
_WAL_ATTEMPTS = 100


def connect(file: Path) -> sqlite3.Connection:
    """Open a database with explicit transactions and rows by name; its folder is made if it is not there.

    Raises
    ------
    sqlite3.Error, OSError
        As they come: the caller knows what the file is and says so.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log; several processes may do so at once on a new file.

    SQLite does not wait for a lock inside this switch, so a write lock is waited for in between.
    """
    for attempt in range(_WAL_ATTEMPTS):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == _WAL_ATTEMPTS - 1:
                raise
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        else:
            return
