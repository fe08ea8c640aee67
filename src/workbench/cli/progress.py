"""What a running command shows, and how it is stopped."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from workbench.jobs.engine import CellProgress
    from workbench.jobs.pipelines import Step
    from workbench.journal import RunRecord


class TerminalWatcher:
    """A progress bar on the terminal's error stream; silent when that is not a terminal."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._sessions: TaskID | None = None
        self._cells: TaskID | None = None

    def __enter__(self) -> TerminalWatcher:
        if not sys.stderr.isatty():  # a job under a scheduler does not wait for the imports either
            return self
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from workbench.cli.output import console

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._sessions = self._cells = None
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def sessions(self, total: int) -> None:
        """Announce a replay of so many sessions."""
        if self._progress is not None:
            self._sessions = self._progress.add_task("sessions", total=total)

    def session_done(self, session: date) -> None:
        if self._progress is not None and self._sessions is not None:
            self._progress.update(self._sessions, advance=1, description=f"sessions to {session}")

    def step(self, run: RunRecord, step: Step, number: int, total: int) -> None:
        if self._progress is None:
            return
        if self._cells is not None:
            self._progress.remove_task(self._cells)
        label = f"{run.key.pipeline} {run.key.session} {number + 1}/{total} {step.name}"
        self._cells = self._progress.add_task(label, total=None)

    def cell(self, progress: CellProgress) -> None:
        if self._progress is not None and self._cells is not None:
            self._progress.update(self._cells, completed=progress.number, total=progress.total)


@contextmanager
def cancelling(cancel: threading.Event) -> Iterator[None]:
    """Set ``cancel`` on SIGINT and SIGTERM while the block runs, instead of dying at once."""

    def handler(_number: int, _frame: object) -> None:
        cancel.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
