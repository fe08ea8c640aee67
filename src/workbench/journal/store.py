"""The journal's file: one SQLite database that every process of an installation reads and writes.

WAL lets readers and one writer work at once; ``synchronous=FULL`` makes every commit durable before it
returns. A connection belongs to the thread that opened it, so every thread opens a journal of its own.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from workbench.clock import Clock
from workbench.errors import JournalError
from workbench.journal.schema import MIGRATIONS
from workbench.sqlite import connect


class Journal:
    """An open journal.

    Parameters
    ----------
    file
        The database; it and its folder are made if they are not there.
    clock
        Where timestamps come from.

    Raises
    ------
    JournalError
        If the file cannot be opened, is not a journal or was written by a newer version.

    Examples
    --------
    >>> from workbench.clock import SystemClock
    >>> with Journal(getfixture("tmp_path") / "journal.sqlite", SystemClock()) as journal:
    ...     journal.read("SELECT count(*) AS runs FROM runs")[0]["runs"]
    0
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self.file = file
        self.clock = clock
        with self._errors():
            self._connection = connect(file)
            # Without it, INSERT OR REPLACE takes a row away unseen by the triggers that guard history.
            self._connection.execute("PRAGMA recursive_triggers = ON")
        try:
            self._prepare()
        except JournalError:
            self._connection.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def now(self) -> str:
        """The current moment as the journal writes it: ISO 8601, UTC, microseconds."""
        return timestamp(self.clock.now())

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """The rows of a query, by column name, as of one moment.

        Raises
        ------
        JournalError
            If the journal cannot be read.
        """
        with self._errors():
            return self._connection.execute(sql, parameters).fetchall()

    def touched(self) -> int:
        """A number that changes whenever another connection has committed; cheap enough to ask all the time."""
        return int(self.read("PRAGMA data_version")[0][0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: everything in the block is committed and durable when it ends, or nothing is.

        Raises
        ------
        JournalError
            If it cannot be written: locked, full disk, damaged file.
        """
        with self._errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has rolled back already
                    self._connection.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        if self._version() < MIGRATIONS[-1].version:
            self._migrate()
        if self._version() > MIGRATIONS[-1].version:
            raise JournalError(
                f"{self.file} was written by a newer workbench (schema {self._version()})",
                hint="update workbench",
            )

    def _version(self) -> int:
        return int(self.read("PRAGMA user_version")[0][0])

    def _migrate(self) -> None:
        """Apply what is missing; ``user_version`` moves in the same transaction as the tables."""
        for migration in MIGRATIONS:
            with self.transaction() as connection:
                # Read again under the write lock: another process may have been first.
                current = connection.execute("PRAGMA user_version").fetchone()[0]
                if current >= migration.version:
                    continue
                for statement in migration.statements():
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {migration.version}")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise JournalError(f"{self.file}: {error}", hint=_way_out(str(error))) from error
        except sqlite3.DatabaseError as error:
            raise JournalError(f"{self.file}: {error}", hint=_way_out(str(error))) from error
        except OSError as error:
            raise JournalError(f"{self.file}: {error.strerror or error}") from error


def timestamp(moment: datetime) -> str:
    """A UTC-aware moment as the journal writes it.

    >>> timestamp(datetime(2013, 1, 2, 21, tzinfo=UTC))
    '2013-01-02T21:00:00.000000+00:00'
    """
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _way_out(message: str) -> str:
    if "locked" in message:
        return "another process has held it for 10 s; try again"
    if "full" in message:
        return "free disk space, then run the same command again"
    if "malformed" in message or "not a database" in message:
        return "trading is halted; move the file aside and restore a backup before anything is sent"
    return "check that the file and its folder can be written"
