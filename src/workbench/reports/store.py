"""The reports file: opened late, closed at once, and never shared.

A DuckDB file has one read-write process or many readers; whoever comes second gets an error that names the
holder. Nothing else in this package opens the file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.clock import Clock
from workbench.errors import DataError, ReportsLocked

if TYPE_CHECKING:
    import duckdb

REBUILD = "run `workbench reports rebuild` to make it again from the journal"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.25


class _Busy(Exception):
    """Another opener holds the file; the text names it."""


@contextmanager
def opened(file: Path, *, clock: Clock, wait_s: float, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """The reports file for a moment.

    Parameters
    ----------
    wait_s
        Seconds to try again for while another process holds the file.

    Raises
    ------
    ReportsLocked
        If it is still held then; the message names the holder.
    DataError
        If the file is damaged, is no DuckDB file, or cannot be read or written.
    """
    connection = _connect_patiently(file, clock, wait_s, read_only)
    try:
        with _damage_named(file):
            # What is written at a time is small: waking other threads costs more than they do. The number is the
            # file's, and with it that of whoever else has it open in this process.
            connection.execute("SET threads = 1")
            yield connection
            connection.execute("RESET threads")
    finally:
        connection.close()


def publish(made: Path, file: Path) -> None:
    """Put a finished file in the place of another in one step; its write-ahead log must be empty."""
    # A log of the file replaced would be replayed into the new one.
    wal(file).unlink(missing_ok=True)
    os.replace(made, file)


def publish_first(made: Path, file: Path) -> bool:
    """Put a finished file where none is; False if another process was first, whose file stands."""
    if not file.exists():
        wal(file).unlink(missing_ok=True)  # left over from a file that somebody deleted
    try:
        os.link(made, file)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        os.replace(made, file)
    return True


def scratch(file: Path) -> Path:
    """Where this process makes a new file, beside the one it will replace."""
    return file.with_name(f".{file.name}.{os.getpid()}")


def discard(made: Path) -> None:
    """Remove an unfinished file and its log."""
    made.unlink(missing_ok=True)
    wal(made).unlink(missing_ok=True)


def discard_abandoned(file: Path) -> None:
    """Remove the unfinished files of processes that are gone."""
    import psutil

    for left in file.parent.glob(f".{file.name}.*"):
        pid = left.suffix.removeprefix(".")
        if pid.isdigit() and int(pid) != os.getpid() and not psutil.pid_exists(int(pid)):
            discard(left)


def wal(file: Path) -> Path:
    """DuckDB's write-ahead log of a file."""
    return file.with_name(f"{file.name}.wal")


def _connect_patiently(file: Path, clock: Clock, wait_s: float, read_only: bool) -> duckdb.DuckDBPyConnection:
    deadline, pause = clock.monotonic() + wait_s, _FIRST_PAUSE_S
    while True:
        try:
            return _connect(file, read_only)
        except _Busy as busy:
            left = deadline - clock.monotonic()
            if left <= 0:
                raise ReportsLocked(
                    f"{file} is held by {busy}", hint="close it there; the next run merges what is missing"
                ) from busy
            clock.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _connect(file: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    import duckdb

    try:
        with _damage_named(file):
            return duckdb.connect(file, read_only=read_only)
    except duckdb.ConnectionException as error:  # open here already, in another mode
        raise _Busy(f"this process ({os.getpid()}) in another mode") from error


@contextmanager
def _damage_named(file: Path) -> Iterator[None]:
    """Turn DuckDB's complaints about a file into one line, except the ones about another opener."""
    import duckdb

    try:
        yield
    except duckdb.ConnectionException:
        raise
    except _damage() as error:
        message = str(error).splitlines()[0]
        if "Could not set lock" in message:
            raise _Busy(_holder(message)) from error
        if _cannot_open(message):
            hint = "check that the file and its folder can be written"
            raise DataError(f"{file}: {message}", hint=hint) from error
        raise DataError(f"{file}: not a readable reports database: {message}", hint=REBUILD) from error


def _damage() -> tuple[type[Exception], ...]:
    import duckdb

    return (
        duckdb.IOException,
        duckdb.InternalException,
        duckdb.FatalException,
        duckdb.SerializationException,
    )


def _holder(message: str) -> str:
    """The process that DuckDB names: "process 4711 (python3.11)"."""
    found = re.search(r"held in (?P<program>.*?) \(PID (?P<pid>\d+)\)", message)
    if found is None:
        return "another process"
    return f"process {found['pid']} ({Path(found['program']).name})"


def _cannot_open(message: str) -> bool:
    """Whether the fault is the way to the file, not what is in it."""
    faults = ("Permission denied", "Read-only file system", "No space left", "Is a directory", "No such file")
    return any(fault in message for fault in faults)
