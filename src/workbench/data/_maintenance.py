"""Keeping the lake's files in order: who is writing, what a killed writer left behind, and merging small files."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from workbench.data._ducklake import SPILL
from workbench.data._merge import abandon

if TYPE_CHECKING:
    import duckdb

_LOCK = "writers.lock"
_WRITERS = "writers"
_FILES = "SELECT coalesce(sum(file_count), 0) FROM ducklake_table_info('lake')"
_SMALL_FILES = (
    "SELECT count(*) FROM __ducklake_metadata_lake.ducklake_data_file "
    "WHERE end_snapshot IS NULL AND file_size_bytes < 16000000"
)
_KEPT = "INTERVAL 1 DAY"
# Half a year of daily loads, which write two files each. One symbol of 300 loads took 93 ms, after a merge 30 ms.
_MANY_FILES = 250


class Writers:
    """Who is writing to a lake: a shared lock that a process keeps while it does, and a mark that outlives it.

    A mark without anybody holding the lock is that of a process that was killed: it may have left Parquet files that
    no snapshot refers to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._marks = folder / _WRITERS

    @contextmanager
    def writing(self, clear_away: Callable[[], bool]) -> Iterator[None]:
        """Be one of the writers.

        If somebody was killed here before and nobody else is writing, ``clear_away`` is called first, alone. It is
        called as well if what is done here fails: the file that did not fit on the disk is still there. If it cannot
        clear away (false), the mark stays for the next writer.
        """
        self._marks.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if self._alone(handle) and any(self._marks.iterdir()) and clear_away():
                self._forget()
            fcntl.flock(handle, fcntl.LOCK_SH)
            mark = self._marks / f"{os.getpid()}-{uuid4().hex[:8]}"
            mark.touch()
            try:
                yield
            except BaseException:
                if self._alone(handle) and clear_away():
                    self._forget()
                raise
            mark.unlink(missing_ok=True)
        finally:
            os.close(handle)

    def _forget(self) -> None:
        """Take away the marks of those that were killed, and what they had spilled to the disk."""
        for mark in self._marks.iterdir():
            mark.unlink(missing_ok=True)
        shutil.rmtree(self._folder / SPILL, ignore_errors=True)

    @staticmethod
    def _alone(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def sweep(connection: duckdb.DuckDBPyConnection) -> int:
    """Delete the files that no snapshot refers to; return how many. Nobody else may be writing."""
    return len(connection.execute("CALL ducklake_delete_orphaned_files('lake', cleanup_all => true)").fetchall())


def is_scattered(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether so many small files have gathered that every read and load takes longer for it."""
    return int(connection.execute(_SMALL_FILES).fetchall()[0][0]) > _MANY_FILES


def compact(connection: duckdb.DuckDBPyConnection) -> int:
    """Merge adjacent small files; return the number of files there are fewer at the newest snapshot.

    DuckLake writes into a merged file which snapshot every row came with, so that older snapshots read it too.
    """
    before = int(connection.execute(_FILES).fetchall()[0][0])
    connection.execute("BEGIN")
    try:
        merged = connection.execute("CALL ducklake_merge_adjacent_files('lake')").fetchall()
        if merged:
            connection.execute("CALL lake.set_commit_message('workbench', 'small files merged')")
        connection.execute("COMMIT" if merged else "ROLLBACK")
    except BaseException:
        abandon(connection)
        raise
    connection.execute(f"CALL ducklake_cleanup_old_files('lake', older_than => now() - {_KEPT})")
    return before - int(connection.execute(_FILES).fetchall()[0][0])
