"""Keeping the lake's files in order: merging small ones, and removing those that nothing refers to any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_FILES = "SELECT coalesce(sum(file_count), 0) FROM ducklake_table_info('lake')"
_KEPT = "INTERVAL 1 DAY"


def compact(connection: duckdb.DuckDBPyConnection) -> int:
    """Merge adjacent small files; return the number of files there are fewer at the newest snapshot.

    DuckLake writes into a merged file which snapshot every row came with, so that older snapshots read it too.
    """
    before = connection.execute(_FILES).fetchall()[0][0]
    connection.execute("CALL ducklake_merge_adjacent_files('lake')")
    connection.execute(f"CALL ducklake_cleanup_old_files('lake', older_than => now() - {_KEPT})")
    return int(before - connection.execute(_FILES).fetchall()[0][0])
